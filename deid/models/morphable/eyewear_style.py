"""What kind of glasses a subject wears: the outline that follows lines on the sheet best, and how rims and lenses look.

A generalised Hough transform (D. Ballard, *Generalizing the Hough Transform to Detect Arbitrary Shapes*, 1981): every
outline of a family is asked how much of it lies on lines of its own direction, thin or thick, light or dark.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product

import numpy as np
from numba import njit

from deid import imaging
from deid.models.morphable import eyewear_sheet as sheet
from deid.models.morphable.eyewear import Eyewear, Outline
from deid.models.morphable.eyewear_find import likely

_SURE = 1.2  # log odds: fewer than one bare portrait in a hundred is beyond, held out
_TOGETHER, _MANY = 0.4, 4  # how much less will do for the mean of several pictures, and how many those are
_ASIDE = 4.0  # log odds that pictures from the side must reach, where brows and temples look like rims
_DIRECTIONS = 12
_REACHES = (1.6, 2.6, 4.0)  # samples from a line's middle to where it has ended
_FAINT = 0.07  # contrast, share of the brightness, of half a line
_EYE = (3.15, 0.0, 1.75, 0.8)  # x, y, half width and height of an eye with its lids, where lines mean nothing
_X, _Y = np.arange(2.9, 4.15, 0.15), np.arange(-1.25, 0.5, 0.15)
_A, _B = np.arange(2.1, 3.6, 0.2), np.arange(1.2, 2.95, 0.2)
_CORNERS, _TAPERS, _LIFTS = (2.1, 2.8, 4.0), (0.05,), (0.0, 0.25, 0.5)
_SHIFTS = (-0.3, 0.0, 0.3)
_POINTS = 36
_USUAL = Outline(3.35, -0.35, 2.75, 1.95)
_WEIGHT = 0.01  # of a centimetre away from that, squared
_SIZE_STEP = 0.2  # centimetres: drawn sizes
_WIDEST, _BESIDE = 2.8, 0.75  # centimetres: half of the widest lens, and from the middle of the nose to one
_THIN, _LIGHT_RIM = 0.07, 0.1  # centimetres, half of a thin rim, and of a broad light one
_BLACKEST, _BLACKS = 0.01, 0.95
"""Share of the picture that its blacks are told by, and how much of what these show is taken for haze: a dark rim in
haze is as bright as a light one without."""
_FAINT = 0.85  # of the skin's brightness as filmed: rims that show fainter than this
_DARK = 0.72  # of the skin's brightness, below which a rim is dark
_DARK_THIN = 0.88  # the same for thin rims
_GOLDEN = 1.2  # of the skin's warmth, above which a thin rim is gold
_TINTED = (0.62, 0.42)  # brightness of skin through a lens from which on it is tinted, and dark

_COLOURS = {
    "black": (0.018, 0.018, 0.02),
    "brown": (0.07, 0.035, 0.018),
    "red": (0.25, 0.03, 0.03),
    "blue": (0.03, 0.05, 0.15),
    "light": (0.55, 0.5, 0.45),
    "silver": (0.5, 0.5, 0.5),
    "gold": (0.62, 0.43, 0.25),
    "gunmetal": (0.09, 0.09, 0.1),
}


def lines(picture: np.ndarray) -> np.ndarray:
    """float32 (2, _DIRECTIONS, h, w), 0 to 1: how much a dark, and a light, thin line that runs across each direction
    passes each sample.

    ``picture``: float32 (h, w, 3), code values 0 to 255.
    """
    grey = imaging.gaussian_blur(picture @ np.array([0.3, 0.59, 0.11], np.float32), (0, 0), 0.5)
    level = imaging.gaussian_blur(grey, (0, 0), 6.0) + 8
    h, w = grey.shape
    y, x = np.mgrid[:h, :w].astype(np.float32)
    out = np.zeros((2, _DIRECTIONS, h, w), np.float32)
    for k in range(_DIRECTIONS):
        turn = np.pi * k / _DIRECTIONS
        for reach in _REACHES:
            dx, dy = np.float32(reach * np.cos(turn)), np.float32(reach * np.sin(turn))
            sides = [
                grey - imaging.remap(grey, x + s * dx, y + s * dy, imaging.INTER_LINEAR,
                                     borderMode=imaging.BORDER_REPLICATE)
                for s in (-1, 1)
            ]  # fmt: skip
            for tone, sign in enumerate((-1, 1)):
                np.maximum(out[tone, k], np.minimum(sign * sides[0], sign * sides[1]) / level, out=out[tone, k])
    out /= out + np.float32(_FAINT)
    return np.where(_eyes(), np.float32(0), out)


@lru_cache(maxsize=1)
def _eyes() -> np.ndarray:
    """bool (h, w): where eyes are on the sheet."""
    x = np.abs(sheet.LEFT + sheet.STEP * np.arange(sheet.WIDTH))[None]
    y = sheet.TOP - sheet.STEP * np.arange(sheet.HEIGHT)[:, None]
    out: np.ndarray = ((x - _EYE[0]) / _EYE[2]) ** 2 + ((y - _EYE[1]) / _EYE[3]) ** 2 < 1
    return out


@njit(cache=True, nogil=True)
def _along(flat, planes, row, column):  # type: ignore[no-untyped-def]
    """How much of one outline lies on lines: of all of it, and of that quarter that does least. ``planes``, int64
    (n, 2), ``row``, (n,), and ``column``, (n, 2): where in ``flat`` its points are; negative beyond the sheet."""
    n = len(row)
    total, least, part = np.float32(0), np.float32(1e9), np.float32(0)
    quarter, count = n // 4, 0
    for p in range(n):
        if row[p] >= 0:
            for side in range(2):
                if column[p, side] >= 0:
                    part += flat[np.uintp(planes[p, side] + row[p] + column[p, side])]
        count += 1
        if count == quarter:
            total += part
            least = min(least, part)
            part, count = np.float32(0), 0
    return total / (2 * n) * np.float32(0.6) + least / (n / 2) * np.float32(0.4)


@njit(cache=True, nogil=True)
def _scores(strength, shapes, turns, x, y, a, b, shifts, step, left, top):  # type: ignore[no-untyped-def]
    """float32 (shapes, len(x), len(y), len(a), len(b), len(shifts)): how much of every outline lies on lines."""
    n = shapes.shape[1]
    h, w = strength.shape[1], strength.shape[2]
    out = np.zeros((shapes.shape[0], len(x), len(y), len(a), len(b), len(shifts)), np.float32)
    flat = strength.reshape(-1)
    # where each point lies on the sheet, worked out once: -1 beyond it
    rows, columns = np.empty((len(b), len(y), n), np.int64), np.empty((len(a), len(x), len(shifts), n, 2), np.int64)
    for s in range(shapes.shape[0]):
        for ib in range(len(b)):
            for iy in range(len(y)):
                for p in range(n):
                    row = int((top - (y[iy] + b[ib] * shapes[s, p, 1] + shapes[s, p, 2])) / step + 0.5)
                    rows[ib, iy, p] = row * w if 0 <= row < h else -1
        for ia in range(len(a)):
            for ix in range(len(x)):
                for k in range(len(shifts)):
                    for p in range(n):
                        for side in range(2):
                            sign = 1 - 2 * side
                            u = (sign * (x[ix] + a[ia] * shapes[s, p, 0]) + shifts[k] - left) / step
                            column = int(u + 0.5)
                            columns[ia, ix, k, p, side] = column if 0 <= column < w else -1
        for ia in range(len(a)):
            for ib in range(len(b)):
                planes = turns[s, ia, ib] * (h * w)
                for ix in range(len(x)):
                    if a[ia] > x[ix] - 0.2:
                        continue
                    for iy in range(len(y)):
                        for k in range(len(shifts)):
                            out[s, ix, iy, ia, ib, k] = _along(flat, planes, rows[ib, iy], columns[ia, ix, k])
    return out


@lru_cache(maxsize=1)
def _family() -> tuple[np.ndarray, np.ndarray, tuple[tuple[float, float, float], ...]]:
    """Unit outlines, float32 (s, n, 3): x over a, y over b, lift; their directions, int64 (s, a, b, n, 2); names."""
    kinds = tuple(product(_CORNERS, _TAPERS, _LIFTS))
    shapes = np.zeros((len(kinds), _POINTS, 3), np.float32)
    turns = np.zeros((len(kinds), len(_A), len(_B), _POINTS, 2), np.int64)
    for s, (corners, taper, lift) in enumerate(kinds):
        flat = Outline(0, 0, 1, 1, corners, taper, 0).points(_POINTS)
        rise = Outline(0, 0, 1, 0, corners, 0, lift).points(_POINTS)[:, 1]
        shapes[s, :, :2], shapes[s, :, 2] = flat, rise
        for ia, a in enumerate(_A):
            for ib, b in enumerate(_B):
                xy = np.stack([a * flat[:, 0], -(b * flat[:, 1] + rise)], axis=1)
                along = np.roll(xy, -1, axis=0) - np.roll(xy, 1, axis=0)
                for side, sign in enumerate((1, -1)):
                    normal = np.arctan2(sign * along[:, 0], -along[:, 1])
                    turns[s, ia, ib, :, side] = np.rint(np.mod(normal, np.pi) * _DIRECTIONS / np.pi) % _DIRECTIONS
    return shapes, turns, kinds


def outline_on(sheets: np.ndarray) -> tuple[Outline, float]:
    """The outline that follows lines best, and how much of it does, 0 to 1. ``sheets``: uint8 (n, h, w, 3)."""
    shapes, turns, kinds = _family()
    strength = np.zeros((2, _DIRECTIONS, *sheets.shape[1:3]), np.float32)
    for one in sheets:
        seen = lines(one.astype(np.float32))
        for at in np.ndindex(2, _DIRECTIONS):
            strength[at] += imaging.gaussian_blur(seen[at], (0, 0), 0.8) / np.float32(len(sheets))
    found = np.maximum(
        *(
            _scores(s, shapes, turns, _X, _Y, _A, _B, np.array(_SHIFTS), sheet.STEP, sheet.LEFT, sheet.TOP)
            for s in strength
        )
    )
    grids = np.ix_(_X - _USUAL.x, _Y - _USUAL.y, _A - _USUAL.a, _B - _USUAL.b)
    away = sum(g**2 for g in grids)
    score = found - np.float32(_WEIGHT) * np.asarray(away, np.float32)[None, ..., None]
    s, ix, iy, ia, ib, k = np.unravel_index(int(score.argmax()), score.shape)
    corners, taper, lift = kinds[s]
    best = Outline(float(_X[ix]), float(_Y[iy]), float(_A[ia]), float(_B[ib]), corners, taper, lift)
    return best, float(found[s, ix, iy, ia, ib, k])


def styled(sheets: np.ndarray) -> Eyewear:
    """The kind of glasses on ``sheets``, uint8 (n, h, w, 3); n at least 1."""
    picture = np.median(sheets.astype(np.float32), axis=0).astype(np.float32)
    own, _ = outline_on(sheets)
    profile, lower = _profile(picture, own)
    filmed = profile.mean(axis=1)
    grey = picture.mean(axis=2)
    blacks = picture[grey <= np.percentile(grey, 100 * _BLACKEST)].mean(axis=0)
    profile = np.maximum(profile - np.float32(_BLACKS) * blacks, 0)
    skin = (profile[:3].mean(axis=0) + profile[-3:].mean(axis=0)) / 2
    contrast = np.abs(profile - skin).sum(axis=1)
    middle = len(profile) // 2
    peak = middle - 2 + int(contrast[middle - 2 : middle + 3].argmax())
    above = contrast > contrast[peak] / 2
    last = peak + int(np.append(~above[peak:], True).argmax())
    first = peak - int(np.append(~above[peak::-1], True).argmax())
    wide = (last - first - 1) * sheet.STEP / 2
    bright = float(profile[peak].mean() / max(float(skin.mean()), 1.0))
    by_width = _THIN if wide < 0.3 else 0.14 if wide < 0.42 else 0.19
    # dark rims look thinner than they are where a picture is soft; light ones do not show so clearly that a thick one
    # would be certain
    shown = float(filmed[peak] / max(filmed[[0, 1, 2, -3, -2, -1]].mean(), 1.0))
    rim = max(by_width, 0.19 if shown < 0.4 else 0.14 if shown < 0.55 else 0.07)
    hazy = bright < _DARK and shown > _FAINT
    if hazy:
        rim = max(rim, 0.14)  # dark ones that soft or hazy footage leaves visible at all are not thin
    elif bright >= _DARK:
        rim = _THIN if wide < 0.42 else _LIGHT_RIM
    name, metal = _colour(profile[peak], skin, rim)
    if hazy:
        name = "brown"  # how dark, and of what colour, haze hides; of dark rims those that look least like each other
    lens = _lens(picture, own)
    below = 1.0 if lower > 0.3 else 0.3
    return Eyewear(_generic(own), own, rim, below, np.array(_COLOURS[name], np.float32), metal, lens)


def eyewear_of(sheets: np.ndarray, aside: bool = False) -> Eyewear | None:
    """What the subject of ``sheets``, uint8 (n, h, w, 3), wears before the eyes; ``None`` for nothing, or for what is
    not certain. ``aside``: the pictures show the face from the side."""
    if not len(sheets):
        return None
    least = _SURE - _TOGETHER * min((len(sheets) - 1) / (_MANY - 1), 1)
    if likely(sheets) < (_ASIDE if aside else least):
        return None
    return styled(sheets)


def _generic(own: Outline) -> Outline:
    """A pair of about this size and shape."""

    def near(value: float, usual: float) -> float:
        return round((0.8 * value + 0.2 * usual) / _SIZE_STEP) * _SIZE_STEP

    a, b = min(near(own.a, _USUAL.a), _WIDEST), near(own.b, _USUAL.b)
    x = max(own.x + 0.5 * (own.a - a), a + _BESIDE)
    return Outline(x, own.y, a, b, own.corners, 0.06, 0.5 * own.lift)


def _profile(picture: np.ndarray, own: Outline) -> tuple[np.ndarray, float]:
    """float32 (15, 3): mean colours across the rim, from inside outwards; and how strong its lower half is beside its
    upper one."""
    xy = own.points(72)
    along = np.roll(xy, -1, axis=0) - np.roll(xy, 1, axis=0)
    normal = np.stack([along[:, 1], -along[:, 0]], axis=1) / np.linalg.norm(along, axis=1, keepdims=True)
    rows = []
    for sign in (1, -1):
        offsets = np.arange(-11, 12)[None, :, None] * 0.05
        at = xy[:, None] + normal[:, None] * offsets
        u = (sign * at[..., 0] - sheet.LEFT) / sheet.STEP
        v = (sheet.TOP - at[..., 1]) / sheet.STEP
        rows.append(
            imaging.remap(
                picture, u.astype(np.float32), v.astype(np.float32), imaging.INTER_LINEAR,
                borderMode=imaging.BORDER_REPLICATE,
            )
        )  # fmt: skip
    seen = np.concatenate(rows)
    grey = seen.mean(axis=2)
    side = (grey[:, :4].mean(axis=1) + grey[:, -4:].mean(axis=1)) / 2
    apart = np.abs(grey[:, 4:-4] - side[:, None])
    peak = 4 + apart.argmax(axis=1)
    strength = apart.max(axis=1) / np.maximum(side, 20)
    middle = np.stack([seen[np.arange(len(seen)), np.clip(peak + d, 0, 22)] for d in range(-7, 8)], axis=1)
    low = np.tile(xy[:, 1] < own.y - 0.3 * own.b, 2)
    high = np.tile(xy[:, 1] > own.y + 0.3 * own.b, 2)
    ratio = float(np.median(strength[low]) / max(float(np.median(strength[high])), 1e-3))
    # the lower rim lies before bare skin, the upper one often before a brow
    clear = low if ratio > 0.5 else high
    return np.median(middle[clear], axis=0), ratio


def _colour(rim: np.ndarray, skin: np.ndarray, half: float) -> tuple[str, bool]:
    """Name of the rim's colour, and whether it is metal. ``rim``, ``skin``: (3,), code values."""
    bright = float(rim.mean() / max(float(skin.mean()), 1.0))
    warm = [float((c[0] - c[2]) / max(float(c.sum()), 1.0)) for c in (rim, skin)]
    if half < 0.1:
        # a thin rim shows through skin's colour, most of which pictures this small mix with it: gold is what is warmer
        # than skin all the same, and what is darker at all is dark
        if bright > _DARK and warm[0] > _GOLDEN * warm[1] and bright < 1.1:
            return "gold", True
        return ("gunmetal", True) if bright < _DARK_THIN else ("silver", True)
    if bright < _DARK:
        red = float(rim[0] / max(float(rim[1]), 1.0)) / max(float(skin[0] / max(float(skin[1]), 1.0)), 1e-3)
        if red > 1.5 and bright > 0.35:
            return "red", False
        if warm[0] < -0.08:
            return "blue", False
        return ("brown", False) if warm[0] > 1.1 * warm[1] and bright > 0.3 else ("black", False)
    return ("light", False) if bright > 0.95 else ("brown", False)


def _lens(picture: np.ndarray, own: Outline) -> np.ndarray:
    """float32 (3,): what the lenses let through, from the skin inside their lower half beside that below them."""
    inside: list[np.ndarray] = []
    outside: list[np.ndarray] = []
    for sign in (1, -1):
        for across in np.linspace(-0.55, 0.55, 9):
            u = round((sign * (own.x + across * own.a) - sheet.LEFT) / sheet.STEP)
            for y, kept in ((own.y - 0.68 * own.b, inside), (own.y - own.b - 0.55, outside)):
                v = min(round((sheet.TOP - y) / sheet.STEP), sheet.HEIGHT - 1)
                kept.append(picture[v, u])
    through = np.median(inside, axis=0) / np.maximum(np.median(outside, axis=0), 8)
    bright = float(through.mean())
    if bright > _TINTED[0]:
        return np.array([0.985, 0.985, 0.98], np.float32)
    return np.array([0.05, 0.05, 0.05] if bright < _TINTED[1] else [0.3, 0.27, 0.23], np.float32)
