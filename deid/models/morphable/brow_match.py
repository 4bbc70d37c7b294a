"""Brows as light or dark beside the skin as the subject's: what hair and skin of a frame make plausible.

One coarse number is taken from the subject, as skin tone is: how light the place of the brows is beside bare skin, on
average. The surrogate's brows keep their own shape; their hairs become lighter or darker, and thinner ones are drawn
where lighter hair alone would be too pale for the hair on the head. What light does in the sockets under the brows is
the same for both: it is told by one picture with a surrogate in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from deid import imaging
from deid.models.morphable.appearance import Appearance
from deid.models.morphable.brows import COUNT, BrowStyle, brows
from deid.models.morphable.codes import IdentityCode
from deid.models.morphable.face_points import BARE_SKIN, BROWS
from deid.models.morphable.geometry import Geometry

_SIZE = 256  # texels a side of the tile in which brows are weighed
_PIXELS = 12  # of a brow, at least
_GAP, _STRIP, _UNDER = 0.35, 1.3, 0.6  # thicknesses of a brow from it: from and up to where skin over and under is seen
_FRINGE = (0.6, 1.4)  # how light skin over brows may be beside bare skin elsewhere
_SHARED = 0.6  # power of a socket's shade that its brow has
_BAND = (0.97, 1.10)  # how much lighter than the subject's the place of the brows may be
_THICK, _LIGHT = 3 - COUNT, 6 - COUNT
_THINNER, _THINNEST, _THICKER, _THICKEST = 0.8, -1.6, 1.5, 0.8
_STEPS, _CLOSE = 3, 0.006
_RANGE = (-2.5, 1.6)
_AGREE = (0.92, 1.14)  # the same where a surrogate was tried: brows of other shapes differ by as much
_QUARTER = (0.035, 0.84)  # the darker quarter of a brow in pictures: skin that shows, and what of its hairs
_BLACK, _FAIR, _USUAL_HAIR = 0.08, 0.6, 0.20  # reflectance of hair relative to skin's
_MOST_SHADED = 1.35  # how much lighter brows without light may be than the subject's in pictures
_SHADE = (0.6, 1.5)  # what light may do to the place of brows


class Browed(NamedTuple):
    """How light the place of the lighter brow is in a picture, in linear light, beside the skin over it: ``mean``, and
    ``darker``, its darker quarter's limit. ``socket``: how light the skin under it is beside that. NaN where brows are
    too small to tell."""

    mean: float
    darker: float
    socket: float = 1.0

    def lit_as(self, other: Browed) -> Browed:
        """As it would be if the skin under it were as light as the other's. Light from above falls on a new face's
        brow and socket otherwise than on the old one's, and a brow in shade is no darker hair. Where the other's is
        darker, that may be painted."""
        shade = min(self.socket / other.socket, 1.0) if other.socket > 0 and self.socket > 0 else 1.0
        return Browed(self.mean / shade**_SHARED, self.darker / shade**_SHARED, self.socket)


def browed(picture: np.ndarray, points: np.ndarray, glasses: bool = False) -> Browed:
    """:class:`Browed` of a face. Frames of glasses darken one brow, light from one side one brow and the skin about it.
    ``picture``: uint8 (h, w, 3) RGB; ``points``: the mesh in its pixels. ``glasses``: of the brows only what lies above
    the rims of most."""
    light = np.square(picture.astype(np.float32) / 255).mean(axis=2)
    bare = [light[_covered(points, ids, light.shape)] for ids in BARE_SKIN]
    # a fringe may hide the forehead, and hard light one cheek
    seen = [float(np.median(ring)) for ring in bare if len(ring)]
    level = float(np.median(seen)) if seen else 0.0
    sides = []
    for ids in BROWS:
        upper, lower = points[ids[:5], :2], points[ids[:4:-1], :2]
        below = (upper + lower) / 2 if glasses else lower
        side = _between(light, upper, below)
        if not level > 1e-3 or len(side) <= _PIXELS:
            return Browed(float("nan"), float("nan"), float("nan"))
        up = upper - lower
        over = _middle(_between(light, upper + _GAP * up, upper + _STRIP * up), level)
        over = float(np.clip(over, _FRINGE[0] * level, _FRINGE[1] * level))  # hair, or a highlight
        under = _middle(_between(light, lower - _GAP * up, lower - _UNDER * up), level)
        sides.append((float(side.mean()) / over, float(np.percentile(side, 25)) / over, under / over))
    means, darker, sockets = zip(*sides, strict=True)
    return Browed(max(means), max(darker), 1.0 if glasses else float(np.mean(sockets)))


def _between(light: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(n,): the pixels of ``light`` between two lines of points, (m, 2) each."""
    ring = np.concatenate([one, other[::-1]])
    return light[_covered(ring, np.arange(len(ring)), light.shape)]


def _middle(pixels: np.ndarray, otherwise: float) -> float:
    return float(np.median(pixels)) if len(pixels) else otherwise


def weighed(geometry: Geometry, appearance: Appearance, code: IdentityCode) -> float:
    """How light the place of brows is in the skin of ``code``, relative to skin without: the mean of luminance."""
    style = BrowStyle.of(code.appearance[-COUNT:], appearance.traits(code.appearance)[0])
    rows, cover, hair = brows(style, code.detail, _SIZE)
    place = _place(geometry)[rows]
    return float(((1 - cover * (1 - hair.mean(axis=2))) * place).sum() / place.sum())


def fitting(
    geometry: Geometry,
    appearance: Appearance,
    code: IdentityCode,
    wanted: float,
    shade: float,
    seen: float | None = None,
) -> IdentityCode:
    """``code`` with brows whose place is about as light as ``wanted``, which is how light the subject's is; ``shade``:
    what light does to that place, pictures over :func:`weighed`. ``seen``: how light the subject's place is in
    pictures, where ``wanted`` is something else: dark brows stay brows. As it is when one is NaN."""
    if np.isnan(wanted) or np.isnan(shade):
        return code
    shade = float(np.clip(shade, *_SHADE))
    # what light takes from a place is told by one picture, and seldom is it more than this
    most = float(np.clip(_MOST_SHADED * (wanted if seen is None else seen), 0.0, 0.97))
    low, high = (min(float(np.clip(wanted / shade * factor, 0.0, 0.97)), most) for factor in _BAND)
    thick = float(code.appearance[_THICK])
    if weighed(geometry, appearance, code) < low:
        code = _changed(code, _THICK, min(thick, max(thick - _THINNER, _THINNEST)))
        return _toned(geometry, appearance, code, low, high)
    code = _toned(geometry, appearance, code, low, high)
    while weighed(geometry, appearance, code) > high and thick < _THICKEST:  # black already
        thick = min(thick + _THICKER, _THICKEST)
        code = _changed(code, _THICK, thick)
    return code


def refitting(
    geometry: Geometry,
    appearance: Appearance,
    code: IdentityCode,
    theirs: Sequence[Browed],
    ours: Sequence[Browed],
    glasses: bool = False,
) -> IdentityCode:
    """``code`` with brows put right by pictures in which they were tried: :func:`browed` of each, of the subject and of
    the surrogate there. As it is where these agree, or where they tell nothing. With ``glasses``, beside rims that may
    glitter, only what is dark counts."""
    shares = np.array((0.0, 1.0) if glasses else (0.5, 0.5))
    alike = [own.lit_as(other) for own, other in zip(ours, theirs, strict=True)]
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = np.array([np.log(own[:2]) - np.log(other[:2]) for own, other in zip(alike, theirs, strict=True)])
    apart = apart.reshape(-1, 2) @ shares
    apart = apart[np.isfinite(apart)]
    if not len(apart):
        return code
    ratio = float(np.exp(np.median(apart)))
    seen, darker = np.nanmedian(np.array([other[:2] for other in theirs]), axis=0).tolist()
    if not _AGREE[0] <= ratio <= _AGREE[1]:
        code = fitting(geometry, appearance, code, weighed(geometry, appearance, code) / ratio, 1.0, seen)
    return _as_dark(code, darker)


def _as_dark(code: IdentityCode, darker: float) -> IdentityCode:
    """``code`` with hairs no lighter than those of brows whose darker quarter ends at ``darker``: fewer dark hairs are
    as light as many pale ones, but black hair on a head wants them."""
    number = float(code.appearance[_LIGHT])
    most = _number(float(np.clip((darker - _QUARTER[0]) / _QUARTER[1], _BLACK, _FAIR)))
    if number <= most:
        return code
    thick = float(code.appearance[_THICK])
    code = _changed(code, _THICK, max(min(thick, thick - (number - most)), _THINNEST))
    return _changed(code, _LIGHT, most)


def _number(dark: float) -> float:
    """The number of a brow whose hairs reflect ``dark`` of what skin does: see :meth:`.brows.BrowStyle.of`."""
    return 2.0 * float(np.log(dark / _USUAL_HAIR))


def _toned(geometry: Geometry, appearance: Appearance, code: IdentityCode, low: float, high: float) -> IdentityCode:
    """``code`` with hairs so light that :func:`weighed` lies between ``low`` and ``high``, or next to that."""
    now = weighed(geometry, appearance, code)
    aim = float(np.clip(now, low, high))
    for _ in range(_STEPS):
        number = float(code.appearance[_LIGHT])
        other = _changed(code, _LIGHT, float(np.clip(number + (0.5 if aim > now else -0.5), *_RANGE)))
        moved = weighed(geometry, appearance, other)
        if abs(now - aim) < _CLOSE or abs(moved - now) < 1e-4:
            break
        # what a hair reflects is an exponential of its number: a few secant steps
        step = float(other.appearance[_LIGHT]) - number
        number += step * float(np.clip((aim - now) / (moved - now), 0.0, 5.0))
        code = _changed(code, _LIGHT, float(np.clip(number, *_RANGE)))
        now = weighed(geometry, appearance, code)
    return code


def _changed(code: IdentityCode, place: int, number: float) -> IdentityCode:
    numbers = code.appearance.copy()
    numbers[place] = number
    return replace(code, appearance=numbers)


@lru_cache(maxsize=1)
def _place(geometry: Geometry) -> np.ndarray:
    """float32 (256, 256), 1 inside the rings round both brows in the face's tile."""
    corners = geometry.triangles[geometry.landmark_triangles]
    uv = (geometry.uv[corners] * geometry.landmark_weights[..., None]).sum(axis=1)
    out = np.zeros((_SIZE, _SIZE), np.uint8)
    for ids in BROWS:
        imaging.fill_convex_poly(out, np.rint(uv[ids] * _SIZE - 0.5).astype(np.int32), 1)
    return out.astype(np.float32)


def _covered(points: np.ndarray, ids: Sequence[int] | np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """bool ``shape``: inside the ring of mesh points."""
    mask = np.zeros(shape[:2], np.uint8)
    imaging.fill_convex_poly(mask, np.rint(points[ids, :2]).astype(np.int32), 1)
    return mask > 0
