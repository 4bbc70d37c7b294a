"""A portrait's own identity code: the point of the model's identity space whose rendering is taken for the person.

Analysis by synthesis (V. Blanz and T. Vetter, *A Morphable Model for the Synthesis of 3D Faces*, 1999, section 4) with
the perceptual term of Nitzan et al. 2020 (section 3.3: a recogniser's distance) in place of a decoder's gradient. The
shape comes from the landmarks' fit. The skin's larger modes and the irises follow from the pixels, linearised once by
rendering each (ridge regression towards the mean). Then shape and skin are moved until the recogniser takes the
rendering for the photograph: Levenberg's steps, with the packaged linear map of :mod:`.foretell` as the first Jacobian,
and C. Broyden's update (1965) of it after every rendering. Everything stays within the spread that the model's faces
have, so what is found is a face.

Nothing in a run uses this: surrogates are drawn, never found. It shows what the space can hold, and is where a learned
inversion can begin.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from deid import imaging
from deid.models.morphable.appearance import Appearance
from deid.models.morphable.brows import COUNT
from deid.models.morphable.codes import IdentityCode
from deid.models.morphable.foretell import sensitivity
from deid.models.morphable.geometry import Geometry
from deid.models.morphable.surrogate import Likeness, in_place, sketched
from deid.recognition.chips import CHIP

LOOKS = 60
"""Renderings that the recogniser is shown, at most."""
_LIMIT = 3.0  # standard deviations from the mean
_MODES = 18  # of the skin, largest first, that are read off the pixels: a chip shows no finer
_STEP = 1.0  # standard deviations, to linearise
_IRIS = np.array([0.14, 0.075, 0.035])  # linear RGB reflectance, brown
_IRIS_SPREAD = 0.5  # of its logarithm
_PIXELS = 40.0  # what a standard deviation of a coefficient costs, in squared differences of log colour
_EXCLUDED = 14  # pixels at the chip's border
_NEAR, _STALLED = 0.35, 20  # a distance that two photographs of one person hardly beat, and looks without progress
_PULL = 1e-3  # to the start, in squared recognition distance a squared standard deviation
_FIRST, _LEAST, _MOST = 0.02, 2e-4, 10.0  # Levenberg's damping

Recognise = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, slots=True, eq=False)
class OwnCode:
    """``code``: as long for everybody; its seed of the detail is 0. ``distance``: of its rendering, in the portrait's
    own surroundings, from the portrait, by the recogniser. ``at_first``: the same of the landmarks' shape with the mean
    skin. ``picture``: uint8 (150, 150, 3) RGB, the rendering. ``looks``: how many it took."""

    code: IdentityCode
    distance: float
    at_first: float
    picture: np.ndarray
    looks: int


def length(geometry: Geometry, appearance: Appearance) -> int:
    """How many numbers an identity code has: shape, skin and brows, iris."""
    return len(geometry.identity) + appearance.modes + 3


def own_code(
    geometry: Geometry,
    appearance: Appearance,
    shape: np.ndarray,
    likeness: Likeness,
    recognise: Recognise,
    looks: int = LOOKS,
) -> OwnCode:
    """The identity code of the person in ``likeness``. ``shape``: float (K,), as the landmarks' fit has it.
    ``recognise``: chips, uint8 (n, 150, 150, 3) RGB, to codes (n, 128). Depends on the arguments only."""
    space = _Space(geometry, appearance, likeness, recognise)
    aim = recognise(likeness.chip[None])[0].astype(np.float64)
    start = np.concatenate([np.asarray(shape, np.float64), np.zeros(appearance.modes), np.zeros(3)])
    at_first = float(np.linalg.norm(space.seen(start)[0] - aim))
    start = _coloured(space, start)
    return _recognised(space, start, aim, at_first, looks)


class _Space:
    """Identity codes as vectors of standard deviations from the mean: shape, skin, then the iris's logarithm."""

    def __init__(self, geometry: Geometry, appearance: Appearance, likeness: Likeness, recognise: Recognise) -> None:
        self._geometry, self._appearance, self._likeness = geometry, appearance, likeness
        self._recognise = recognise
        self.shape = len(geometry.identity)
        self.skin = slice(self.shape, self.shape + appearance.modes)
        self.spread = np.concatenate(
            [np.ones(self.shape), np.maximum(appearance.spread, 1e-3), np.full(3, _IRIS_SPREAD)]
        )
        self.chip = likeness.chip
        self.jacobian = _jacobian(self)

    def code(self, x: np.ndarray) -> IdentityCode:
        skin = self._appearance.centre + x[self.skin] * self.spread[self.skin]
        iris = _IRIS * np.exp(_IRIS_SPREAD * x[-3:])
        return IdentityCode(x[: self.shape].astype(np.float32), skin.astype(np.float32), 0, iris.astype(np.float32))

    def picture(self, x: np.ndarray) -> np.ndarray:
        return in_place(self._geometry, sketched(self._geometry, self._appearance, self.code(x)), self._likeness)

    def seen(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The recognition code, float64 (128,), and the picture."""
        picture = self.picture(x)
        return self._recognise(picture[None])[0].astype(np.float64), picture


def _jacobian(space: _Space) -> np.ndarray:
    """float64 (128, n): how recognition codes change with a standard deviation of each number, as foretold; none for
    the iris, which a recogniser would paint in any colour."""
    out = sensitivity(len(space.spread)).T * space.spread
    out[:, -3:] = 0
    return out


def _logged(picture: np.ndarray) -> np.ndarray:
    """Log of linear light without what is finer than a chip shows well, without the border: float32 (h, w, 3)."""
    soft = imaging.gaussian_blur(picture.astype(np.float32) / 255, (0, 0), 1.5)
    inner: np.ndarray = soft[_EXCLUDED:-_EXCLUDED, _EXCLUDED:-_EXCLUDED]
    return np.log(np.maximum(inner, 0.03) ** 2.2)


def _coloured(space: _Space, start: np.ndarray) -> np.ndarray:
    """``start`` with skin and irises read off the pixels. Where the photograph and a mean face differ much (glasses,
    hair, a hand) the difference counts for little (Huber)."""
    numbers = [*range(space.skin.start, space.skin.start + min(_MODES, space.skin.stop - space.skin.start - COUNT))]
    numbers += range(len(start) - 3, len(start))
    before = _logged(space.picture(start))
    columns = []
    for number in numbers:
        moved = start.copy()
        moved[number] += _STEP
        columns.append((_logged(space.picture(moved)) - before).ravel() / _STEP)
    basis = np.stack(columns, axis=1).astype(np.float64)
    shown = np.abs(basis).max(axis=1) > 1e-4
    rest = (_logged(space.chip) - before).ravel()[shown].astype(np.float64)
    basis = basis[shown]
    found = np.zeros(len(numbers))
    for _ in range(3):
        off = np.abs(rest - basis @ found)
        weight = np.minimum(1.0, 0.15 / np.maximum(off, 1e-6))
        left = basis.T @ (weight[:, None] * basis) + _PIXELS * np.eye(len(numbers))
        found = np.linalg.solve(left, basis.T @ (weight * rest))
    out = start.copy()
    out[numbers] = np.clip(found, -2.0, 2.0)
    return out


def _recognised(space: _Space, start: np.ndarray, aim: np.ndarray, at_first: float, looks: int) -> OwnCode:
    x = np.clip(start, -_LIMIT, _LIMIT)
    seen, picture = space.seen(x)
    slope, damping = space.jacobian.copy(), _FIRST
    best, stalled, count = float(np.linalg.norm(seen - aim)), 0, 1
    while count < looks and best > _NEAR and stalled < _STALLED:
        left = slope.T @ slope + (damping + _PULL) * np.eye(len(x))
        tried = np.clip(x + np.linalg.solve(left, slope.T @ (aim - seen) - _PULL * (x - start)), -_LIMIT, _LIMIT)
        step = tried - x
        after, shown = space.seen(tried)
        count += 1
        slope += np.outer(after - seen - slope @ step, step) / (step @ step + 1e-3)
        distance = float(np.linalg.norm(after - aim))
        stalled = 0 if distance < best - 1e-3 else stalled + 1
        if distance < best:
            best, x, seen, picture = distance, tried, after, shown
            damping = max(0.6 * damping, _LEAST)
        else:
            damping = min(2.5 * damping, _MOST)
    assert picture.shape == (CHIP, CHIP, 3)
    return OwnCode(space.code(x), best, at_first, picture, count)
