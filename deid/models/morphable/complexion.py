"""What sets one skin off from the next beyond the modes: pores, blotches, ruddy places, shadowed eyes, a shaved beard.

Photographs in which light was regressed out lose these with it, because they look like light. They are drawn from
statistics instead: Gaussian fields of the bands and strengths measured on portraits (``tools/face_appearance.py`` says
how those are read), shaped by where blood, melanin and hair follicles lie in every face. A seed decides everything, so
it costs no space and is nobody's.

Images are the crop of the tile at 768 texels, 660 x 640, a texel being a quarter of a millimetre; values add to log
relative albedo.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from deid import imaging

HEIGHT, WIDTH = 660, 640
_COARSE = 4  # the reduction at which what is smooth is made
_UNLINED = (18.0, 30.0, 48.0), (0.2, 0.4, 1.0)  # years, and the share of folds that is left
_GROWN = 17.0  # years from which lips can be painted
_BEARDED = (20.0, 38.0)  # the years in which a beard comes to show: a boy may be taken for a young man
_BAGS = (17.0, 40.0), (0.18, 1.0)  # the same of shadows below eyes, and how much of them shows
_BLOOD = np.array((-0.10, -1.0, -0.75), np.float32)  # log albedo that blood takes from each channel
_MELANIN = np.array((-0.62, -1.0, -1.42), np.float32)
_STUBBLE = np.array((-1.04, -1.0, -0.92), np.float32)  # seen through skin, hair looks blue
# log albedo of bare lips beside that of the skin around them: men's on portraits, less what the renderer shades
_UPPER_LIP = np.array((-0.18, -0.66, -0.42), np.float32)
_LOWER_LIP = np.array((-0.17, -0.46, -0.25), np.float32)
_WET = np.array((-0.36, -0.56, -0.48), np.float32)  # and what they lose towards where they meet
_CORNERS = 0.3
_GROOVE, _RIDGE = 0.09, 0.05  # log albedo
_VEINS = np.array((-1.0, -1.0, -0.72), np.float32)


@dataclass(frozen=True, slots=True)
class Complexion:
    """How strongly each shows. ``pores``, ``blotches``: factors. ``cheeks``, ``nose``, ``chin``: log of green that more
    blood takes there. ``eyes``: the same for the shadows below them, ``eyes_brown`` the share of melanin in these.
    ``stubble``: of a shaved beard. ``lips``: more blood in the lips' red, negative for paler ones. ``lines``: fine ones
    below and beside the eyes."""

    pores: float
    blotches: float
    cheeks: float
    nose: float
    chin: float
    eyes: float
    eyes_brown: float
    stubble: float
    lips: float
    lines: float

    @classmethod
    def drawn(cls, seed: int, gender: float, age: float) -> Complexion:
        """``gender``: -1 (a man) to 1 (a woman); ``age`` in years."""
        rng = np.random.default_rng((seed, 7))
        normal, painted = _chances(rng, gender)
        old = float(np.clip((age - 25) / 40, 0, 1.2))
        stubble, lips, eyes, cheeks = _shown(normal[None], *(np.array([x]) for x in (painted, gender, age)))[0].tolist()
        return cls(
            pores=float(np.exp(0.22 * normal[0]) * (0.7 + 0.3 * old) * (1 - 0.12 * gender)),
            blotches=float(np.exp(0.3 * normal[1]) * (0.6 + 0.75 * old)),
            cheeks=cheeks,
            nose=float(np.clip(0.022 + 0.022 * normal[3], 0, 0.08) * (0.6 + 0.6 * old)),
            chin=float(np.clip(0.014 + 0.015 * normal[4], 0, 0.05)),
            eyes=eyes,
            eyes_brown=float(np.clip(0.5 + 0.25 * normal[6], 0, 1)),
            stubble=stubble,
            lips=lips,
            lines=float(np.clip((age - 20) / 40, 0, 1.3) * np.exp(0.3 * rng.normal())),
        )


def shown(seeds: Sequence[int], genders: np.ndarray, ages: np.ndarray) -> np.ndarray:
    """float64 (n, 4): ``stubble``, ``lips``, ``eyes`` and ``cheeks`` of :meth:`Complexion.drawn` for each of ``seeds``,
    of ``genders`` and ``ages``, (n,)."""
    chances = [_chances(np.random.default_rng((seed, 7)), gender) for seed, gender in zip(seeds, genders, strict=True)]
    normal, painted = (np.array(part, np.float64) for part in zip(*chances, strict=True))
    return _shown(normal, painted, genders, ages)


def _chances(rng: np.random.Generator, gender: float) -> tuple[np.ndarray, float]:
    """Nine normal numbers, and how red a lipstick is, 0 for none."""
    normal = rng.normal(size=9)
    worn = rng.random() < 0.35 * min(max(gender, 0.0), 1.0)
    return normal, float(rng.uniform(0.06, 0.20)) if worn else 0.0


def _shown(normal: np.ndarray, painted: np.ndarray, gender: np.ndarray, age: np.ndarray) -> np.ndarray:
    """:func:`shown` of numbers (n, 9) and lipsticks, (n,)."""
    old = np.clip((age - 25) / 40, 0, 1.2)
    man = np.clip(-gender, 0, 1) * np.interp(age, _BEARDED, (0, 1))
    stubble = man * np.clip(0.18 + 0.17 * normal[:, 7], 0.0, 0.52)
    lips = np.clip(0.04 + 0.07 * gender + 0.08 * normal[:, 8] - 0.04 * old, -0.12, 0.24)
    eyes = np.clip(0.14 + 0.09 * normal[:, 5] + 0.06 * old, 0, 0.36) * np.interp(age, *_BAGS)
    cheeks = np.clip(0.022 + 0.024 * normal[:, 2], 0, 0.08) * (0.8 + 0.3 * old)
    return np.stack([stubble, lips + np.where(age >= _GROWN, painted, 0.0), eyes, cheeks], axis=1)


def tint(style: Complexion, seed: int) -> np.ndarray:
    """What is smooth: float32 (165, 160, 3), to be added to log relative albedo."""
    rng = np.random.default_rng((seed, 8))
    zones = _zones()
    height, width = zones["eyes"].shape
    wobble = [_field(rng, height, width, sigma) for sigma in (2.0, 5.0, 12.0, 4.0, 1.0, 1.0, 1.8, 3.4)]
    uneven = 1 + 0.35 * wobble[2]
    blood = style.cheeks * zones["cheeks"] + style.nose * zones["nose"] + style.chin * zones["chin"]
    patches = 0.021 * wobble[4] + 0.023 * wobble[0] + 0.018 * wobble[1]
    patches = np.where(patches < 0, 0.5 * patches, patches)  # skin without blood would look green
    blood = blood * uneven + style.blotches * zones["skin"] * patches
    melanin = style.blotches * zones["skin"] * (0.007 * wobble[5] + 0.009 * wobble[3] + 0.009 * wobble[2])
    relief = style.pores * zones["skin"] * (0.022 * _dented(wobble[6]) + 0.018 * _dented(wobble[7]))
    shadow = style.eyes * zones["eyes"]
    shaved = 0.7 * style.stubble * zones["beard"] * (1 + 0.25 * wobble[1])
    out = blood[..., None] * _BLOOD + melanin[..., None] * _MELANIN + shaved[..., None] * _STUBBLE
    out += relief[..., None]
    out += (shadow * style.eyes_brown)[..., None] * _MELANIN + (shadow * (1 - style.eyes_brown))[..., None] * _VEINS
    return out.astype(np.float32)


def grain(style: Complexion, seed: int) -> np.ndarray:
    """What is fine, pores and follicles: float32 (660, 640), to be added to log relative albedo."""
    rng = np.random.default_rng((seed, 9))
    fine = style.pores * _pores(rng) + _lip_lines(rng) + style.lines * _eye_lines(rng)
    if style.stubble > 0.02:
        fine = fine + 1.2 * style.stubble * _follicles(rng)
    return fine.astype(np.float32)


def unlined(log: np.ndarray, age: float) -> None:
    """Takes from ``log``, float32 (h, w, 3), log relative albedo of the crop, in place, the folds and bags that the
    young lack: donors are 57 on average, and what differs between ages linearly does not take all of them out."""
    share = 1 - float(np.interp(age, _UNLINED[0], _UNLINED[1]))
    if share <= 0:
        return
    plain = _zones()["plain"]
    height, width = plain.shape
    grey = imaging.resize(log, (width, height), interpolation=imaging.INTER_AREA).mean(axis=2)
    band = grey - imaging.gaussian_blur(grey, (0, 0), 6.0)
    band *= np.float32(share) * plain
    log -= imaging.resize(band, (log.shape[1], log.shape[0]), interpolation=imaging.INTER_LINEAR)[..., None]


def rested(log: np.ndarray, age: float) -> None:
    """Takes from ``log``, float32 (h, w, 3), log relative albedo of the crop, in place, most of the shade below eyes
    that the young lack: by what differs between ages linearly, donors' bags would even darken towards twenty."""
    share = float(np.interp(age, *_RESTED))
    if share <= 0:
        return
    place = _below_eyes()
    height, width = place.zone.shape
    small = imaging.resize(log, (width, height), interpolation=imaging.INTER_AREA).mean(axis=2)
    change = np.float32(share) * place.shade(small)
    log += imaging.resize(change, (log.shape[1], log.shape[0]), interpolation=imaging.INTER_LINEAR)[..., None]


@dataclass(frozen=True, slots=True, eq=False)
class _Shaded:
    """A place that is darker than the skin around it. ``zone``: where it is; ``bare``: the skin around; ``near``: that
    blurred by ``soft``. Float32 (165, 160), or (165, 160, 1) for colours."""

    zone: np.ndarray
    bare: np.ndarray
    near: np.ndarray
    soft: float

    @classmethod
    def of(cls, zone: np.ndarray, bare: np.ndarray, soft: float) -> _Shaded:
        """``zone``, ``bare``: (165, 160)."""
        near = np.maximum(imaging.gaussian_blur(bare, (0, 0), soft), np.float32(1e-3))
        return cls(zone, bare, near, soft)

    def shade(self, small: np.ndarray) -> np.ndarray:
        """How much darker than the skin around ``small``, log albedo at this size, is in the zone."""
        around = imaging.gaussian_blur(small * self.bare, (0, 0), self.soft) / self.near
        out: np.ndarray = self.zone * np.maximum(around - small, 0)
        return out


@lru_cache(maxsize=1)
def _below_eyes() -> _Shaded:
    """The lower lids and what lies below them, among cheeks and temples."""
    v, u = (np.mgrid[: HEIGHT // _COARSE, : WIDTH // _COARSE].astype(np.float32) + 0.5) * _COARSE
    off = np.abs(u - WIDTH / 2)
    zone = _step(166, 182, v) * (1 - _step(225, 262, v)) * _step(30, 50, off) * (1 - _step(150, 185, off))
    bare = (_step(225, 262, v) * (1 - _step(330, 360, v)) * _step(45, 60, off)).astype(np.float32)
    return _Shaded.of(zone.astype(np.float32), bare, 8.0)


def lips(log: np.ndarray, style: Complexion) -> None:
    """Gives the lips of ``log``, float32 (h, w, 3), log relative albedo of the crop, in place, the colour that bare
    ones have beside the skin around them. Of donors' lips only the finest is kept: smiles stretch them, so that their
    mean is red along the border and pale inside, and half of them are painted."""
    shape, wide, bare, near = _around_lips()
    small = imaging.resize(log, shape.shape[::-1], interpolation=imaging.INTER_AREA)
    around = imaging.gaussian_blur(small * bare, (0, 0), 5.0) / near
    colour = _lip_colours() + np.float32(style.lips) * _BLOOD
    around = around - np.float32(_CORNERS) * _lip_shapes()[3][..., None]
    change = wide[..., None] * (around + shape[..., None] * colour - small) + _philtrum()[..., None]
    log += imaging.resize(change, (log.shape[1], log.shape[0]), interpolation=imaging.INTER_LINEAR)


def lids(luma: np.ndarray) -> None:
    """Bounds, in place, how much lighter or darker than in the mean the skin around the eyes is: ``luma``, float32
    (h, w), what modes add to log relative albedo of the crop. Modes vary most there, by .2 to .4, for lids of donors
    never lie where the mean's do, and lamps, flashes and shadows of brows lie on them; skin varies by less. Pale bows
    below eyes look painted, and under light from above dark rings, beside shadows of the new face's own, bruised."""
    zone = _around_eyes(*luma.shape)
    most = np.where(luma > 0, np.float32(_LIGHTER), np.float32(_DARKER))
    luma -= zone * (luma - most * np.tanh(luma / most))


@lru_cache(maxsize=2)
def _around_eyes(height: int, width: int) -> np.ndarray:
    """Float32 (height, width), of the crop: 1 on the lower lids, half on the upper ones."""
    v, u = (np.mgrid[: HEIGHT // _COARSE, : WIDTH // _COARSE].astype(np.float32) + 0.5) * _COARSE
    off = np.abs(u - WIDTH / 2)
    lower, upper = _step(160, 176, v) * (1 - _step(225, 262, v)), _step(110, 135, v) * (1 - _step(160, 176, v))
    along = _step(25, 50, off) * (1 - _step(160, 195, off))
    zone = ((lower + 0.5 * upper) * along).astype(np.float32)
    return imaging.resize(zone, (width, height), interpolation=imaging.INTER_LINEAR)


@lru_cache(maxsize=1)
def _around_lips() -> tuple[np.ndarray, ...]:
    """float32: the lips' red with the mouth between and all that its edge colours, as :func:`_lip_shapes` has them;
    where the skin around is, (165, 160, 1), and that blurred."""
    shape, wide, _, _ = _lip_shapes()
    bare = (wide < 0.02).astype(np.float32)
    near = imaging.gaussian_blur(bare, (0, 0), 5.0)
    return shape, wide, bare[..., None], np.maximum(near, np.float32(1e-3))[..., None]


@lru_cache(maxsize=1)
def _lip_colours() -> np.ndarray:
    """Float32 (165, 160, 3): log albedo of bare lips beside the skin."""
    zones = _zones()
    lower = (zones["lower"] / np.maximum(zones["lips"], 1e-3))[..., None]
    found: np.ndarray = _UPPER_LIP + lower * (_LOWER_LIP - _UPPER_LIP) + _lip_shapes()[2][..., None] * _WET
    return found


def nostrils(log: np.ndarray) -> None:
    """Takes from ``log``, float32 (h, w, 3), log relative albedo of the crop, in place, most of the shadows below
    donors' noses: they lie where those nostrils were, and beside a drawn nose's own they look like a moustache."""
    place = _around_nostrils()
    height, width = place.zone.shape[:2]
    small = imaging.resize(log, (width, height), interpolation=imaging.INTER_AREA)
    change = np.float32(_SHADED) * place.shade(small)
    log += imaging.resize(change, (log.shape[1], log.shape[0]), interpolation=imaging.INTER_LINEAR)


@lru_cache(maxsize=1)
def _around_nostrils() -> _Shaded:
    """The underside of the nose in the skin around it, for colours."""
    zone = _below_nose()
    found = _Shaded.of(zone, (1 - np.minimum(1.5 * zone, 1)) * (1 - _zones()["lips"]), 5.0)
    return _Shaded(found.zone[..., None], found.bare[..., None], found.near[..., None], found.soft)


@lru_cache(maxsize=1)
def _below_nose() -> np.ndarray:
    """Float32 (165, 160): 1 on the underside of the nose and on the nostrils' sills."""
    v, u = (np.mgrid[: HEIGHT // _COARSE, : WIDTH // _COARSE].astype(np.float32) + 0.5) * _COARSE
    inside = np.hypot((u - WIDTH / 2) / 68, (v - 300) / 25)
    return (1 - _step(0.7, 1.15, inside)).astype(np.float32)


def lip_zones() -> np.ndarray:
    """The red of the upper and of the lower lip on the crop, float32 (165, 160, 2), 0 to 1."""
    zones = _zones()
    return np.stack([zones["upper"], zones["lower"]], axis=-1)


def _field(rng: np.random.Generator, height: int, width: int, sigma: float) -> np.ndarray:
    """Gaussian noise of unit variance, float32, as soft as ``sigma``."""
    noise = rng.standard_normal((height, width), np.float32)
    return imaging.gaussian_blur(noise, (0, 0), sigma) * np.float32(2 * np.sqrt(np.pi) * sigma)


def _dented(field: np.ndarray) -> np.ndarray:
    """Dark places smaller and deeper than light ones."""
    return field - np.float32(0.2) * (field * field - 1)


def _pores(rng: np.random.Generator) -> np.ndarray:
    """Float32 (660, 640): dark dots between raised skin, as strong as the place's pores are."""
    noise = rng.standard_normal((HEIGHT, WIDTH), np.float32)
    fine = imaging.gaussian_blur(noise, (0, 0), 0.75) - imaging.gaussian_blur(noise, (0, 0), 1.5)
    wide = imaging.gaussian_blur(noise[::-1], (0, 0), 1.5) - imaging.gaussian_blur(noise[::-1], (0, 0), 3.0)
    fine /= fine.std()
    wide /= wide.std()
    mixed = 0.7 * fine + 1.1 * wide
    # where the tile is stretched downwards, on chin and hairline, what is as wide as high there
    flat = imaging.gaussian_blur(noise[:, ::-1], (0, 0), sigmaX=2.6, sigmaY=1.1)
    flat -= imaging.gaussian_blur(noise[:, ::-1], (0, 0), sigmaX=4.5, sigmaY=2.2)
    tall = imaging.resize(_zones()["tall"], (WIDTH, HEIGHT), interpolation=imaging.INTER_LINEAR)
    mixed += tall * (1.3 * flat / flat.std() - mixed)
    dots = np.minimum(mixed, 1.1) - 0.35 * np.maximum(-mixed - 0.8, 0)  # pores are deep and narrow
    strength = imaging.resize(_zones()["pores"], (WIDTH, HEIGHT), interpolation=imaging.INTER_LINEAR)
    return (dots - dots.mean()) * strength


def _lip_lines(rng: np.random.Generator) -> np.ndarray:
    """Float32 (660, 640): fine folds across the lips' red, fanning out from the middle."""
    noise = imaging.gaussian_blur(rng.standard_normal((HEIGHT, WIDTH), np.float32), (0, 0), sigmaX=1.3, sigmaY=9.0)
    noise = noise - imaging.gaussian_blur(noise, (0, 0), sigmaX=5.0, sigmaY=9.0)
    zone = imaging.resize(_zones()["lips"], (WIDTH, HEIGHT), interpolation=imaging.INTER_LINEAR)
    return noise / noise.std() * zone * np.float32(0.05)


def _eye_lines(rng: np.random.Generator) -> np.ndarray:
    """Float32 (660, 640): fine folds below the eyes and at their outer corners, where skin is thinnest."""
    zone = imaging.resize(_zones()["thin"], (WIDTH, HEIGHT), interpolation=imaging.INTER_LINEAR)
    out = np.zeros((HEIGHT, WIDTH), np.float32)
    for across, along, strength in ((1.1, 9.0, 0.055), (2.2, 16.0, 0.055)):
        noise = rng.standard_normal((HEIGHT, WIDTH), np.float32)
        lines = imaging.gaussian_blur(noise, (0, 0), sigmaX=along, sigmaY=across)
        lines -= imaging.gaussian_blur(noise, (0, 0), sigmaX=along, sigmaY=3 * across)
        out += np.float32(strength) * _dented(lines / lines.std())
    return out * zone


def _follicles(rng: np.random.Generator) -> np.ndarray:
    """Float32 (660, 640): cut hairs of a shaved beard."""
    noise = rng.standard_normal((HEIGHT, WIDTH), np.float32)
    dots = imaging.gaussian_blur(noise, (0, 0), 0.8)
    dots = -np.maximum(dots / dots.std() - 0.9, 0)
    zone = imaging.resize(_zones()["beard"], (WIDTH, HEIGHT), interpolation=imaging.INTER_LINEAR)
    return (dots - dots.mean()) * zone


def _step(low: float, high: float, v: np.ndarray) -> np.ndarray:
    t = np.clip((v - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


_LIGHTER, _DARKER = 0.06, 0.14  # logarithms: how much lighter, and darker, than in the mean skin around eyes gets
_RESTED = (24.0, 45.0), (0.7, 0.0)  # years, and how much of the shade below eyes is taken off
_SHADED = 0.75  # share of the shadows below noses that is taken off
_RED = ((88, 383), (84, 401), (80, 421), (60, 442), (34, 450), (0, 452))  # the lips' outer edge: texels from the middle
# line, and down; above the middle the border dips between the two peaks of Cupid's bow
_RED_ABOVE = ((0, 345), (8, 343), (19, 338), (31, 340), (53, 348), (66, 361), (74, 375))


def _lips(soft: float = 5.0) -> np.ndarray:
    """1 on the lips' red, and in the mouth between, edges ``soft`` texels: float32 (165, 160)."""
    half = np.array(_RED_ABOVE + _RED, np.float64)
    middle = WIDTH / 2 - 0.5
    ring = np.concatenate([half * (1, 1) + (middle, 0), (half * (-1, 1) + (middle, 0))[::-1]])
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    imaging.fill_convex_poly(mask, np.rint(ring).astype(np.int32), 1)
    smooth = imaging.gaussian_blur(mask.astype(np.float32), (0, 0), soft)
    return imaging.resize(smooth, (WIDTH // _COARSE, HEIGHT // _COARSE), interpolation=imaging.INTER_AREA)


@lru_cache(maxsize=1)
def _philtrum() -> np.ndarray:
    """Log albedo, float32 (165, 160), that stands for the groove from the nose to the upper lip and its two ridges,
    which meshes of heads have too flat for light to show."""
    v, u = (np.mgrid[: HEIGHT // _COARSE, : WIDTH // _COARSE].astype(np.float32) + 0.5) * _COARSE
    off = np.abs(u - WIDTH / 2)
    tall = _step(296, 312, v) * (1 - _step(334, 346, v))
    groove, ridge = np.exp(-((off / 8) ** 2)), np.exp(-(((off - 19) / 6) ** 2))
    return (tall * (_RIDGE * ridge - _GROOVE * groove)).astype(np.float32)


@lru_cache(maxsize=1)
def _lip_shapes() -> tuple[np.ndarray, ...]:
    """Float32 (165, 160), each 0 to 1: the lips' red with the mouth between; that and all that its edge colours; how
    near the line where lips meet it is; the corners, which lie in a fold."""
    v, u = (np.mgrid[: HEIGHT // _COARSE, : WIDTH // _COARSE].astype(np.float32) + 0.5) * _COARSE
    off, up = np.abs(u - WIDTH / 2) / 64, (v - 400) / np.where(v < 400, 29.0, 27.0)
    inside = np.sqrt(off * off + up * up)  # 1 on the inner edge, about 2 on the outer
    wet = 1 - 0.4 * _step(1.0, 1.7, inside) - 0.6 * _step(0.98, 1.3, inside)
    corners = np.exp(-(((off - 1.2) / 0.2) ** 2 + ((v - 396) / 13) ** 2)).astype(np.float32)
    wide = np.minimum(imaging.dilate((_lips(3.0) > 0.1).astype(np.float32), np.ones((5, 5), np.uint8)), 1)
    return _lips(4.0), imaging.gaussian_blur(wide, (0, 0), 1.0), wet.astype(np.float32), corners


@lru_cache(maxsize=1)
def _zones() -> dict[str, np.ndarray]:
    """Where things show, float32 (165, 160), 0 to about 1, symmetric."""
    v, u = (np.mgrid[: HEIGHT // _COARSE, : WIDTH // _COARSE].astype(np.float32) + 0.5) * _COARSE
    off = np.abs(u - WIDTH / 2)

    def spot(o: float, at: float, so: float, sv: float) -> np.ndarray:
        return np.exp(-(((off - o) / so) ** 2 + ((v - at) / sv) ** 2))

    lips = _lips()
    sockets = np.exp(-((((off - 108) / 56) ** 2 + ((v - 178) / 26) ** 2) ** 2))
    bare = (1 - lips) * (1 - sockets)
    edge = np.interp(off, [0, 20, 60, 95, 120, 160, 200, 235, 262], [322, 314, 322, 352, 388, 372, 330, 282, 250])
    beard = _step(-6, 26, v - edge) * (1 - _step(535, 585, v)) * (1 - _step(235, 275, off))
    beard *= (
        (1 - 0.45 * spot(100, 425, 30, 40)) * (1 - 0.6 * spot(0, 466, 24, 8)) * (1 - np.minimum(1.25 * _lips(3.0), 1))
    )
    skin = _step(8, 60, v) * (1 - _step(500, 560, v)) * (1 - _step(225, 275, off))
    pores = 0.75 + 0.6 * spot(0, 262, 52, 55) + 0.5 * spot(85, 300, 62, 60) + 0.25 * spot(0, 60, 140, 60)
    pores += 0.3 * spot(0, 470, 75, 45)
    zones = {
        "tall": (_step(410, 450, v) * (1 - _step(560, 600, v)) * (1 - _step(60, 100, off)) + _step(530, 590, v))
        + (1 - _step(30, 75, v)),
        "thin": spot(90, 222, 48, 18) + 0.8 * spot(168, 205, 26, 34),
        "skin": np.ones_like(off),
        "cheeks": spot(128, 292, 68, 52) + 0.35 * spot(190, 300, 50, 70),
        "nose": spot(0, 268, 42, 34) + 0.7 * spot(38, 280, 20, 16),
        "chin": spot(0, 468, 70, 40) + 0.5 * spot(0, 100, 130, 50),
        "eyes": spot(88, 214, 42, 13) + 0.6 * spot(62, 196, 16, 18) + 0.35 * spot(112, 150, 44, 14),
        "beard": beard,
        "lips": lips,
        "upper": lips * (1 - _step(385, 405, v)),
        "lower": lips * _step(385, 405, v),
        "plain": (1 - spot(110, 118, 95, 34)) * (1 - spot(0, 275, 70, 34)) * bare * (1 - lips) ** 2,
        "pores": pores * (1 - 0.75 * lips) * (1 - 0.6 * sockets) * 0.050,
    }
    whole = ("tall", "eyes", "thin", "pores", "lips", "plain", "upper", "lower")
    return {name: (zone * skin * (1 if name in whole else bare)).astype(np.float32) for name, zone in zones.items()}


def beard_zone() -> np.ndarray:
    """Where beards grow: float32 (165, 160), 0 to about 1."""
    return _zones()["beard"]
