"""What skin looks like: a statistical model of albedo in the face's UV tile, and faces drawn from it.

Two bands, as in Saito et al., *Photorealistic Facial Texture Inference* (2017), section 4, but both are statistics:

* the low and middle band is a linear model of log relative albedo (principal components over the donors, lighting,
  smile and skin tone regressed out), luminance finer than colour;
* what the components leave, pores and creases, is a Gaussian texture of the place's own covariance: each stored sheet
  is a sum of every donor's remainder with a random sign, so that no donor weighs more than 0.1. Two sheets are turned
  into each other from place to place (cosine and sine of a smooth random angle), which keeps the variance.

Brows are drawn hair by hair (:mod:`.brows`), moles and freckles spot by spot; pores, blotches and the shade of a shaved
beard are :mod:`.complexion`. ``tools/face_appearance.py`` estimates
the rest. Nobody's photograph is in the asset. Spaces: :mod:`.codes`; the tile is that of ``Geometry.uv``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from safetensors import SafetensorError
from safetensors.numpy import load_file

from deid import imaging
from deid.errors import ModelError
from deid.models.morphable.brows import COUNT, BrowStyle, brows, lay_brows
from deid.models.morphable.codes import IdentityCode
from deid.models.morphable.complexion import (
    HEIGHT,
    WIDTH,
    Complexion,
    beard_zone,
    grain,
    lids,
    lip_zones,
    lips,
    nostrils,
    rested,
    tint,
    unlined,
)
from deid.models.morphable.features import features
from deid.models.morphable.side_by_side import side_by_side
from deid.models.morphable.spots import spots

_ASSET = Path(__file__).with_name("appearance.safetensors")
TILE = 768  # texels a side of the tile that the asset's crop belongs to
_CROP = (64, 40, 704, 700)  # x0 y0 x1 y1 of the crop in the tile, ends exclusive
_YEARS = (20.0, 80.0)  # what the age direction is trusted for
_CHILD, _SQUEEZED = 6.0, 14.0  # years down to which codes tell ages, and how much nearer the younger lie to the first
_MEAN_YEARS = 57.0
_SPREAD = 0.75  # of the donors' spread: faces from the middle of the distribution, in which no donor weighs much
_BROW_SPREAD = 1.0  # brows are nobody's
_LIMIT = 2.0
_DETAIL = 0.88  # of the donors' remainder, which holds their photographs' noise and sharpening as well
_MELANIN = np.array([0.75, 1.0, 1.25], np.float32)  # how much more a spot takes of each channel
_IRISES = np.array(  # linear RGB: dark brown, brown, hazel, green, grey, blue
    [
        (0.080, 0.042, 0.022),
        (0.140, 0.075, 0.035),
        (0.190, 0.135, 0.060),
        (0.160, 0.160, 0.112),
        (0.205, 0.222, 0.230),
        (0.150, 0.198, 0.262),
    ],
    np.float32,
)
_BROWN = 2  # the first so many are brown
_LIGHTNESS, _GREYNESS = 6 - COUNT, 7 - COUNT
_FAIR = 0.15  # reflectance of brows, relative to the skin's, from which on irises can be light
_IRIS_SHARES = (0.24, 0.30, 0.16, 0.06, 0.11, 0.13)


@dataclass(frozen=True, slots=True, eq=False)
class Appearance:
    """The asset; arrays of the crop are (660, 640) or a fraction of it.

    ``mean``: float32 (H, W, 3), mean log relative albedo. ``luma_modes``: int8 (A - 8, h, w) with ``luma_scale``
    (A - 8,), and ``chroma_modes``: int8 (A - 8, h', w', 2), red and blue less luminance, with ``chroma_scale``: modes
    of one standard deviation. ``detail``: int8 (n, H, W) sheets of remainder with ``detail_scale`` for unit variance;
    ``detail_amplitude``: float32 (3, h, w), log of their strength, and its change to a woman and with a decade.
    ``domain``: float32 (h'', w''), 1 where the donors showed skin. ``gender``, ``age``: float32 (A,), what coefficients
    gain from the mean to a woman, and with a decade. ``centre``, ``spread``: float32 (A,), mean and standard deviation
    of coefficients once those are taken off. The last 8 of the A coefficients are those of :mod:`.brows`.
    """

    mean: np.ndarray
    luma_modes: np.ndarray
    luma_scale: np.ndarray
    chroma_modes: np.ndarray
    chroma_scale: np.ndarray
    detail: np.ndarray
    detail_scale: np.ndarray
    detail_amplitude: np.ndarray
    domain: np.ndarray
    gender: np.ndarray
    age: np.ndarray
    centre: np.ndarray
    spread: np.ndarray

    @property
    def modes(self) -> int:
        """A, the number of coefficients: the albedo's, then those of the brows."""
        return len(self.spread)

    def sample(
        self,
        rng: np.random.Generator,
        gender: float | None = None,
        age: float | None = None,
        dark: bool = False,
        brows: float | None = None,
    ) -> tuple[np.ndarray, np.ndarray, int]:
        """A plausible person: coefficients float32 (A,), iris float32 (3,) linear RGB, seed of the detail.

        ``gender``: -1 (a man's skin) to 1 (a woman's); ``age``: years; drawn at random when ``None``. ``dark``: the
        skin that these go with is, so the irises are brown, as they are with dark brows. ``brows``: the number of
        theirs that says how light they are, see :class:`~.brows.BrowStyle`; drawn at random when ``None``.
        """
        gender = float(rng.choice((-1.0, 1.0)) if gender is None else np.clip(gender, -1, 1))
        age = _written(float(rng.normal(50, 10) if age is None else age))
        wide = np.repeat((_SPREAD, _BROW_SPREAD), (self.modes - COUNT, COUNT))
        free = np.clip(rng.normal(size=self.modes), -_LIMIT, _LIMIT) * self.spread * wide
        basis, _ = _trait_space(self)
        free -= basis @ (basis.T @ free)
        code = self.centre + gender * self.gender + (age - _MEAN_YEARS) / 10 * self.age + free
        if brows is not None:
            code[_LIGHTNESS] = brows
            code[_GREYNESS] = min(code[_GREYNESS], brows)
        kind = int(rng.choice(len(_IRISES), p=_IRIS_SHARES))
        fair = not dark and BrowStyle.of(code[-COUNT:]).dark > _FAIR
        iris = _IRISES[kind if fair else 0 if dark else kind % _BROWN] * np.exp(rng.normal(0, 0.12, 3))
        return code.astype(np.float32), iris.astype(np.float32), int(rng.integers(2**31))

    def widened(self, code: np.ndarray, seen: np.ndarray, times: float) -> np.ndarray:
        """Coefficients, float32 (A,), that differ ``times`` as much from the usual of their gender and age along
        ``seen``, (A - 8, n), orthonormal directions of the albedo's coefficients over their spread, and less in others:
        none is further out than before, nor all together, so that no donor weighs more."""
        count = self.modes - COUNT
        basis, _ = _trait_space(self)
        free = code.astype(np.float64) - self.centre
        free -= basis @ (basis.T @ free)
        unit = free[:count] / np.maximum(self.spread[:count], 1e-6)
        more = np.zeros(self.modes)
        more[:count] = (times - 1) * (seen @ (seen.T @ unit))
        wide = unit + more[:count]
        wide *= np.linalg.norm(unit) / max(float(np.linalg.norm(wide)), 1e-9)
        more[:count] = (np.clip(wide, -_LIMIT * _SPREAD, _LIMIT * _SPREAD) - unit) * self.spread[:count]
        more -= basis @ (basis.T @ more)
        more[count:] = 0
        found: np.ndarray = (code + more).astype(np.float32)
        return found

    def traits(self, code: np.ndarray) -> tuple[float, float]:
        """Gender (-1 to 1) and age (years) that coefficients were drawn for."""
        _, reading = _trait_space(self)
        gender, decades = reading @ (code - self.centre)
        return float(np.clip(gender, -1, 1)), _read(float(_MEAN_YEARS + 10 * decades))

    def ageless(self, change: np.ndarray) -> np.ndarray:
        """``change`` of the albedo's coefficients, (A - 8,), without what tells gender and age; brows stay as they
        are."""
        basis = np.linalg.qr(np.column_stack([self.gender, self.age])[: len(change)].astype(np.float64))[0]
        found: np.ndarray = change - basis @ (basis.T @ change)
        return found

    def albedo(self, code: IdentityCode, size: int = 512) -> np.ndarray:
        """Relative linear reflectance, float32 (size, size, 3), RGB; over the core skin its mean is 1 in each channel.

        Raises ``ValueError`` when the code has another number of coefficients.
        """
        if code.appearance.shape != self.spread.shape:
            raise ValueError(f"{code.appearance.shape} coefficients; this model has {self.spread.shape}")
        gender, age = self.traits(code.appearance)
        style = Complexion.drawn(code.detail, gender, age)

        def coarse() -> tuple[Any, ...]:
            low = self._low(code.appearance)
            unlined(low, age)
            rested(low, age)
            nostrils(low)
            log = low + self._fine(code)[..., None] * np.array([0.92, 1.0, 1.08], np.float32)
            log += self._resized(tint(style, code.detail) + features(code.detail, age))
            lips(log, style)
            dark = spots(code.detail, age, *self.mean.shape[:2])
            return log, dark, brows(BrowStyle.of(code.appearance[-COUNT:], gender), code.detail, size)

        (log, dark, laid), (pores,) = side_by_side(
            lambda part: part(), (coarse, lambda: (grain(style, code.detail),))
        )
        log += pores[..., None]
        crop = np.exp(np.clip(log, -3, 0.9) + dark[..., None] * _MELANIN)
        core = self._resized(self.domain) > 0.98
        crop /= crop[core].mean(axis=0)
        skin = _sized(_tiled(crop), size)
        lay_brows(skin, *laid)
        return skin

    def draft(self, code: IdentityCode, size: int = 256) -> np.ndarray:
        """As :meth:`albedo`, without what is finer than the modes: enough for the pictures of a recogniser, in a tenth
        of the time. Float32 (size, size, 3)."""
        if code.appearance.shape != self.spread.shape:
            raise ValueError(f"{code.appearance.shape} coefficients; this model has {self.spread.shape}")
        height, width = self.luma_modes.shape[1:]
        mean, core = _reduced(self)
        gender, age = self.traits(code.appearance)
        style = Complexion.drawn(code.detail, gender, age)
        brow = BrowStyle.of(code.appearance[-COUNT:], gender)

        def donors() -> tuple[Any, ...]:
            log = mean + self._modes(code.appearance, (width, height))
            unlined(log, age)
            rested(log, age)
            nostrils(log)
            return log, brows(brow, code.detail, size)

        def drawn() -> tuple[Any, ...]:
            return (tint(style, code.detail) + features(code.detail, age),)

        (log, laid), (shown,) = side_by_side(lambda part: part(), (donors, drawn))
        log += imaging.resize(shown, (width, height), interpolation=imaging.INTER_LINEAR)
        lips(log, style)
        crop = np.exp(np.clip(log, -3, 0.9))
        crop /= crop[core].mean(axis=0)
        x0, y0, x1, y1 = _CROP
        across, down = size / TILE * (x1 - x0) / width, size / TILE * (y1 - y0) / height
        place = np.array(
            [
                [across, 0, size / TILE * x0 + 0.5 * across - 0.5],
                [0, down, size / TILE * y0 + 0.5 * down - 0.5],
            ]
        )
        skin = imaging.warp_affine(
            crop, place, (size, size), flags=imaging.INTER_LINEAR, borderMode=imaging.BORDER_REPLICATE
        )
        lay_brows(skin, *laid)
        return skin

    def gloss(self, size: int = 512) -> np.ndarray:
        """Relative specular strength, float32 (size, size), 1 on average skin."""
        return _gloss(size)

    def bumps(self, code: IdentityCode, size: int = 512) -> np.ndarray:
        """Fine relief, float32 (size, size), about -1 to 1, dark being deep. (Its shading is in the albedo already.)"""
        fine = self._fine(code)
        fine = fine - imaging.gaussian_blur(fine, (0, 0), 3)
        return _sized(_tiled(np.clip(fine / 0.15, -1, 1)), size)

    def _low(self, code: np.ndarray) -> np.ndarray:
        """Mean and modes: float32 (H, W, 3) log relative albedo."""
        height, width = self.mean.shape[:2]
        out = self._modes(code, (width, height))
        out += self.mean
        return out

    def _modes(self, code: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """What the modes add to the mean, float32 (h, w, 3) for ``size`` w, h."""
        luma = _weighted(code[:-COUNT] * self.luma_scale, self.luma_modes)
        lids(luma)
        chroma = _weighted(code[:-COUNT] * self.chroma_scale, self.chroma_modes)
        if luma.shape != size[::-1]:
            luma = imaging.resize(luma, size, interpolation=imaging.INTER_CUBIC)
        chroma = imaging.resize(chroma, size, interpolation=imaging.INTER_CUBIC)
        out = np.repeat(luma[..., None], 3, axis=2)
        out[..., 0] += chroma[..., 0]
        out[..., 1] -= chroma.sum(axis=2)
        out[..., 2] += chroma[..., 1]
        return out

    def _fine(self, code: IdentityCode) -> np.ndarray:
        """The remainder that ``code.detail`` stands for, float32 (H, W)."""
        rng = np.random.default_rng(code.detail)
        first, second = rng.choice(len(self.detail), 2, replace=False)
        height, width = self.mean.shape[:2]
        angle = imaging.resize(
            rng.uniform(0, np.pi, (5, 5)).astype(np.float32), (width, height), interpolation=imaging.INTER_CUBIC
        )
        sheets = [self.detail[i][:, :: rng.choice((-1, 1))] for i in (first, second)]
        gender, age = self.traits(code.appearance)
        base, by_gender, by_decade = self.detail_amplitude
        decades = (age - _MEAN_YEARS) / 10
        strength = base + gender * by_gender + decades * (by_decade + 0.1 * (decades < 0)) + _lines(age)
        amount = np.exp(strength) * (self.detail_scale[0] * _DETAIL)
        return (sheets[0] * np.cos(angle) + sheets[1] * np.sin(angle)) * self._resized(amount)

    def _resized(self, image: np.ndarray) -> np.ndarray:
        height, width = self.mean.shape[:2]
        image = np.ascontiguousarray(image, np.float32)
        return imaging.resize(image, (width, height), interpolation=imaging.INTER_CUBIC)


def _written(age: float) -> float:
    """The years that a code's coefficients have for somebody of ``age``. The skin of children is that of the youngest
    that donors tell of, but that it is a child's must be known: no beard, bags or make-up is drawn on it."""
    return float(np.clip(age, *_YEARS)) - (_YEARS[0] - float(np.clip(age, _CHILD, _YEARS[0]))) / _SQUEEZED


def _read(years: float) -> float:
    """The age, in years, of coefficients that have ``years``: undoes :func:`_written`."""
    below = max(_YEARS[0] - years, 0.0)
    return max(_YEARS[0] - _SQUEEZED * below, _CHILD) if below else min(years, _YEARS[1])


_GLOSSY = (  # u, v of the centre; u, v spread; gain
    (0.5, 0.40, 0.035, 0.05, 0.42),
    (0.5, 0.16, 0.13, 0.05, 0.30),
    (0.5, 0.51, 0.07, 0.02, 0.3),
    (0.5, 0.625, 0.07, 0.025, 0.9),
    (0.30, 0.36, 0.06, 0.05, 0.15),
    (0.5, 0.68, 0.05, 0.03, 0.1),
)


@lru_cache(maxsize=3)
def _gloss(size: int) -> np.ndarray:
    v, u = (np.mgrid[:128, :128].astype(np.float32) + 0.5) / 128
    out = np.full((128, 128), 0.85, np.float32)
    for cu, cv, su, sv, gain in _GLOSSY:
        for side in (cu, 1 - cu) if cu != 0.5 else (0.5,):
            out += gain * np.exp(-(((u - side) / su) ** 2 + ((v - cv) / sv) ** 2) / 2)
    out = imaging.resize(out, (size, size), interpolation=imaging.INTER_LINEAR)
    out.setflags(write=False)
    return out


def _lines(age: float) -> float:
    """Log of how much of the remainder, lines for a good part, is seen at an age."""
    return float(np.log(np.interp(age, (18, 30, 45, 57, 80), (0.3, 0.5, 0.8, 0.88, 0.85))))


def _tiled(crop: np.ndarray) -> np.ndarray:
    """The crop in its tile, mirrored at its border: float32 (768, 768, ...)."""
    x0, y0, x1, y1 = _CROP
    edges = [(y0, TILE - y1), (x0, TILE - x1)] + [(0, 0)] * (crop.ndim - 2)
    return np.pad(crop.astype(np.float32, copy=False), edges, mode="reflect")


def _sized(tile: np.ndarray, size: int) -> np.ndarray:
    if size == TILE:
        return tile
    way = imaging.INTER_AREA if size < TILE else imaging.INTER_CUBIC
    return np.maximum(imaging.resize(tile, (size, size), interpolation=way), tile.min())


def bearded_part(size: int) -> np.ndarray:
    """Where beards grow on the face's tile: float32 (size, size), 0 to about 1."""
    zone = imaging.resize(beard_zone(), (WIDTH, HEIGHT), interpolation=imaging.INTER_LINEAR)
    return _sized(_tiled(zone), size)


def lip_parts(size: int) -> np.ndarray:
    """The red of the upper and of the lower lip on the face's tile: float32 (size, size, 2), 0 to about 1."""
    zones = imaging.resize(lip_zones(), (WIDTH, HEIGHT), interpolation=imaging.INTER_LINEAR)
    return _sized(_tiled(zones), size)


@njit(cache=True, nogil=True)
def _sum(weights: np.ndarray, modes: np.ndarray, out: np.ndarray) -> None:  # pragma: no cover - compiled
    for k in range(len(modes)):
        weight = weights[k]
        for i in range(len(out)):
            out[i] += weight * modes[k, i]


def _weighted(weights: np.ndarray, modes: np.ndarray) -> np.ndarray:
    """Sum of int8 ``modes`` (n, ...) times ``weights`` (n,): float32 (...)."""
    out = np.zeros(modes[0].size, np.float32)
    _sum(weights.astype(np.float32), modes.reshape(len(modes), -1), out)
    return out.reshape(modes.shape[1:])


@lru_cache(maxsize=1)
def _trait_space(model: Appearance) -> tuple[np.ndarray, np.ndarray]:
    """Of the directions of gender and age: an orthonormal basis, float64 (A, 2), and their pseudo-inverse (2, A). Brows
    have no part in them: a surrogate has the subject's, and dark ones took 15 to 28 years off an old face."""
    both = np.column_stack([model.gender, model.age]).astype(np.float64)
    both[model.modes - COUNT :] = 0
    return np.linalg.qr(both)[0], np.linalg.pinv(both)


@lru_cache(maxsize=1)
def _reduced(model: Appearance) -> tuple[np.ndarray, np.ndarray]:
    """The mean at the size of the modes, and where the core of the skin lies there."""
    height, width = model.luma_modes.shape[1:]
    mean = imaging.resize(model.mean, (width, height), interpolation=imaging.INTER_AREA)
    domain = imaging.resize(model.domain, (width, height), interpolation=imaging.INTER_CUBIC)
    return mean, domain > 0.98


@lru_cache(maxsize=1)
def load_appearance() -> Appearance:
    """The packaged model. Raises :class:`~deid.errors.ModelError` when it is missing or damaged."""
    try:
        data = load_file(_ASSET)
        kept = {name: data[name] for name in Appearance.__dataclass_fields__}
    except (OSError, KeyError, ValueError, SafetensorError) as problem:
        raise ModelError(f"the face appearance model cannot be read ({_ASSET}): install deid again") from problem
    for name, value in kept.items():
        kept[name] = value if value.dtype == np.int8 else value.astype(np.float32)
    return Appearance(**kept)
