"""How heads differ from person to person: where surrogates are drawn, and which of them are ordinary.

The identity modes come from scans of studio subjects, and one standard deviation of them, in every mode at once, is a
caricature: of 400 heads drawn so none had every proportion within the 3rd to 97th percentile of portraits, which 43 %
of people have. Heads are drawn from the distribution of fitted portraits instead, mean by gender and age and the full
covariance, a Gaussian that is cut off (no component and no whole far out), and wider than these
because a fit with a prior shows less than heads differ by, widest in the directions by which a recogniser tells people
apart. What comes out is measured (:mod:`.anthropometry`) and drawn again when one of
its proportions, or all together, are unlike people's.

``tools/measure_population.py`` estimates the statistics; nobody's head is in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from deid.errors import ModelError
from deid.models.morphable.anthropometry import NAMES, proportions
from deid.models.morphable.foretell import telling
from deid.models.morphable.geometry import Geometry

_ASSET = Path(__file__).with_name("population.safetensors")
_WIDER = 1.6  # how much more heads differ than what is fitted to them
# the same along the directions that a recogniser goes by, most telling first: those it hears best are those of noses,
# and drawn widest there faces would be of two kinds, wherever they were sent to be far from somebody
_TELLING = np.array((1.5, 1.8, 2.1, *[2.4] * 17))
_MANNISH = 1.5  # the same for what the sexes and ages differ by
_COMPONENT, _WHOLE = 2.0, 1.1  # standard deviations, at most, of a component, and of the mean square's root over all
_MEASURED = 1.8  # how much more proportions may differ than those of fitted heads, but for these
_HELD = {
    "asymmetry": 1.2,
    "nose tip over base": 1.2,
    "mouth corners up": 1.3,
    "nostrils apart": 1.4,
    "face width": 1.3,
    "face width at the mouth": 1.4,
    "eye spacing": 1.6,
    "brow tilt": 1.6,
    "nose tip width": 1.2,
    "nose ridge width": 1.2,
    "nose over lip": 1.2,
    "nose asymmetry": 0.7,
}
_ONE_SIDED = {  # the same downwards and upwards: a short wide nose that points up is what viewers see first, then a
    # small mouth with thick lips, which smiles as if it did not mean it
    "mouth width": (0.7, 1.5),
    "upper lip": (1.6, 0.6),
    "lower lip": (1.7, 1.0),
    "nose length": (1.0, 1.4),
    "nose width": (1.5, 1.1),
    "nose tip turned up": (1.0, 0.6),
    "nostrils seen": (1.0, 0.6),
    "nostrils turned": (1.0, 0.7),
    "philtrum": (1.2, 1.6),
}
_SIGNED = np.array(["asymmetry" not in name for name in NAMES])  # the others are odd only where they are large
_BENT = [i for i, name in enumerate(NAMES) if name in {**_HELD, **_ONE_SIDED} and "asymmetry" not in name]
_BENDS, _KNEE = 2, 6  # steps in which heads are brought within these limits, and how late they come to them
_TOGETHER = 1.3  # how far out all may be together, the usual being 1
_AGES = (30.0, 80.0)
_BATCH, _TRIES = 12, 12
_FIRST = 4  # of a batch that are looked at before the others
_SCALES = np.array([_ONE_SIDED.get(name, (_HELD.get(name, _MEASURED),) * 2) for name in NAMES]).T


@dataclass(frozen=True, slots=True, eq=False)
class Population:
    """``centre``, ``gender``, ``age``: float64 (K,), the mean head between the genders, half their difference (to a
    woman), a year's change; ``mean_age``: years. ``root``: (K, K), components of the rest to one standard deviation,
    the largest first. ``proportions``: (2, R), their mean between the genders and half the difference. ``limits``: (2,
    R), what of them the usual differ by. ``whitening``: (R, R), makes their differences uncorrelated, of unit
    variance."""

    centre: np.ndarray
    gender: np.ndarray
    age: np.ndarray
    mean_age: np.ndarray
    root: np.ndarray
    proportions: np.ndarray
    limits: np.ndarray
    whitening: np.ndarray

    def mean(self, female: float, years: float) -> np.ndarray:
        """(K,): the mean head of an apparent gender (-1 to 1) and age (years, NaN unknown)."""
        older = 0.0 if np.isnan(years) else float(np.clip(years, *_AGES)) - float(self.mean_age[0])
        found: np.ndarray = self.centre + _MANNISH * (female * self.gender + older * self.age)
        return found

    def draw(
        self,
        geometry: Geometry,
        rngs: Sequence[np.random.Generator],
        female: float,
        years: Sequence[float],
        reads: np.ndarray,
        least: Sequence[float],
    ) -> np.ndarray:
        """(n, K): an ordinary head for each of ``rngs``, side by side: hundreds are drawn for a person, and one after
        the other they take five times as long; of those tried the most ordinary when none is. ``reads``: (K,), by
        which a recogniser reads the gender from shape; what is less than ``least`` is moved there, in the way in
        which people differ."""
        way = self.root @ (self.root.T @ reads)
        way /= max(float(reads @ way), 1e-9)
        means, floor = np.stack([self.mean(female, y) for y in years]), np.asarray(least, np.float64)
        best, lowest = np.zeros_like(means), np.full(len(means), np.inf)
        left = np.arange(len(means))
        for _ in range(_TRIES):
            tried = means[left, None] + np.stack([self.components(rngs[i]) for i in left]) @ self.root.T
            tried += np.maximum(floor[left, None] - tried @ reads, 0)[..., None] * way
            odd = np.full(tried.shape[:2], np.inf)
            for part in (slice(0, _FIRST), slice(_FIRST, None)):  # mostly one of the first few will do
                rows = np.flatnonzero(~(odd <= 1).any(axis=1))
                if len(rows):
                    heads = self.bent(geometry, tried[rows, part].reshape(-1, tried.shape[2]), female, reads)
                    tried[rows, part] = heads.reshape(len(rows), -1, tried.shape[2])
                    odd[rows, part] = self.oddness(geometry, heads, female).reshape(len(rows), -1)
            fine = odd <= 1
            number = np.where(fine.any(axis=1), fine.argmax(axis=1), odd.argmin(axis=1))
            here = odd[np.arange(len(left)), number]
            better = here < lowest[left]
            best[left[better]] = tried[better, number[better]]
            lowest[left[better]] = here[better]
            left = left[~fine.any(axis=1)]
            if not len(left):
                break
        return best

    def components(self, rng: np.random.Generator) -> np.ndarray:
        """(n, K) of the components: normal numbers, none far out, nor all together."""
        free = np.clip(rng.normal(size=(_BATCH, len(self.centre))), -_COMPONENT, _COMPONENT)
        free *= np.minimum(1, _WHOLE / np.sqrt((free**2).mean(axis=1, keepdims=True)))
        found: np.ndarray = free @ _widths(self)
        return found

    def bent(self, geometry: Geometry, shapes: np.ndarray, female: float, reads: np.ndarray) -> np.ndarray:
        """(n, K): heads, (n, K), with what casting looks at most closely, noses above all, within its limits: changed
        as little as that takes, in the way in which people differ, but not in what a recogniser ``reads``, (K,). What
        would be far out comes near the limit, so that few are drawn again."""
        low, high = (limit[_BENT] for limit in self.limits * _SCALES)
        back = _unbending(self, geometry, tuple(reads))
        for _ in range(_BENDS):
            off = (proportions(geometry, shapes) - self.proportions[0] - female * self.proportions[1])[:, _BENT]
            over = np.maximum(off / high, off / low)
            keep = (1 + np.maximum(over, 0) ** _KNEE) ** (-1 / _KNEE)
            shapes = shapes - (off * (1 - keep)) @ back
        return shapes

    @property
    def spread(self) -> np.ndarray:
        """(K, K): :attr:`root` as wide as heads are drawn."""
        found: np.ndarray = self.root @ _widths(self)
        return found

    @property
    def component(self) -> float:
        """How far out a component of a drawn head may be, in units of :attr:`spread`."""
        return _COMPONENT

    def standard(self, differences: np.ndarray) -> np.ndarray:
        """(n, K): differences between heads, (n, K), as components of about unit variance."""
        found: np.ndarray = np.linalg.solve(self.root, differences.T).T / _WIDER
        return found

    def oddness(self, geometry: Geometry, shapes: np.ndarray, female: float) -> np.ndarray:
        """(n,): how unlike people's the proportions of heads, (n, K), are, up to 1 for ordinary ones."""
        found: np.ndarray = self.shares(geometry, shapes, female).max(axis=1)
        return found

    def shares(self, geometry: Geometry, shapes: np.ndarray, female: float) -> np.ndarray:
        """(n, R + 1): each proportion of heads, (n, K), and all together, as shares of what people's may be off."""
        off = proportions(geometry, shapes) - self.proportions[0] - female * self.proportions[1]
        low, high = self.limits * _SCALES
        single = np.maximum(off / high, np.where(_SIGNED, off / low, 0))
        scale = np.where(off < 0, *_SCALES)
        whole = np.sqrt(np.square((off / scale) @ self.whitening).mean(axis=1)) / _TOGETHER
        return np.concatenate([single, whole[:, None]], axis=1)


@lru_cache(maxsize=2)
def _telling(population: Population) -> np.ndarray:
    """float64 (K, n): the components that a recogniser goes by, see :func:`~.foretell.telling`."""
    return telling(len(population.centre), len(_TELLING), population.root)


@lru_cache(maxsize=2)
def _widths(population: Population) -> np.ndarray:
    """float64 (K, K), symmetric: how much more components of drawn heads differ than those of fitted ones."""
    seen = _telling(population)
    found: np.ndarray = _WIDER * np.eye(len(population.centre)) + (seen * (_TELLING[: seen.shape[1]] - _WIDER)) @ seen.T
    return found


@lru_cache(maxsize=4)
def _unbending(population: Population, geometry: Geometry, reads: tuple[float, ...]) -> np.ndarray:
    """float64 (n, K): the change of shape by one of each of :data:`_BENT` and by nothing of the others nor of what is
    read; the likeliest such change."""
    step = 0.5 * np.eye(len(population.centre))
    sides = [proportions(geometry, population.centre + sign * step)[:, _BENT] for sign in (1, -1)]
    slopes = np.column_stack([sides[0] - sides[1], np.array(reads)])  # (K, n + 1)
    if not np.any(reads):
        slopes = slopes[:, :-1]
    likely = population.root @ (population.root.T @ slopes)
    found: np.ndarray = np.linalg.solve(slopes.T @ likely, likely.T)[: len(_BENT)]
    return found


@lru_cache(maxsize=1)
def load_population() -> Population:
    """Read once. Raises :class:`~deid.errors.ModelError` when the file is missing or damaged."""
    try:
        arrays = load_file(_ASSET)
        return Population(**{name: array.astype(np.float64) for name, array in arrays.items()})
    except (OSError, TypeError, SafetensorError) as error:
        raise ModelError(f"{_ASSET.name} is missing or damaged: reinstall deid-video") from error
