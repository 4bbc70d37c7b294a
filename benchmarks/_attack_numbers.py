"""What an attack achieves, in numbers that mean something: rates at a false-accept rate, rank-1, area under the curve,
each with an interval over people. Scores are distances: smaller means more alike."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import beta, rankdata

FARS = (1e-2, 1e-3)
_DRAWS = 400  # of people, for an interval
_SHRUNK = 0.2


@dataclass(frozen=True, slots=True)
class Rate:
    """A share with the ends of its 95 % interval; NaN where it cannot be told."""

    value: float
    low: float
    high: float

    def text(self) -> str:
        """In percent."""
        if np.isnan(self.value):
            return "-"
        return f"{100 * self.value:.0f} ({100 * self.low:.0f}-{100 * self.high:.0f})"


@dataclass(frozen=True, slots=True)
class Attack:
    """``people`` probes against a gallery of ``gallery`` people; ``pairs``: pairs of strangers among them. ``tar``: by
    false-accept rate; NaN where there are too few pairs of strangers for that rate. ``auc``: of the receiver operating
    characteristic; 0.5 tells nothing."""

    people: int
    gallery: int
    pairs: int
    rank_1: Rate
    tar: dict[float, Rate]
    auc: Rate

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "tar": {f"{far:g}": asdict(rate) for far, rate in self.tar.items()}}

    @property
    def chance(self) -> dict[str, float]:
        """What blind guessing gives."""
        return {"rank_1": 1 / self.gallery, **{f"tar at {far:g}": far for far in self.tar}, "auc": 0.5}


def threshold(strangers: np.ndarray, far: float) -> float:
    """The largest distance under which at most ``far`` of ``strangers``, (n,), lie; NaN when n is less than 1 / far."""
    if len(strangers) * far < 1:
        return float("nan")
    return float(np.partition(strangers, int(len(strangers) * far))[int(len(strangers) * far)])


def rank_1(distances: np.ndarray) -> np.ndarray:
    """(n,): how often each probe's own person comes first; ties count their share. ``distances``: (n, m), probe i's
    own person in column i."""
    own = np.diagonal(distances)
    nearest = distances.min(axis=1)
    shares: np.ndarray = (own <= nearest) / (distances <= nearest[:, None]).sum(axis=1)
    return shares


def auc(own: np.ndarray, strangers: np.ndarray) -> float:
    """How often somebody's own pair is nearer than a pair of strangers; ties count half."""
    if not len(own) or not len(strangers):
        return float("nan")
    ranks = rankdata(np.concatenate([own, strangers]))
    above = ranks[: len(own)].sum() - len(own) * (len(own) + 1) / 2
    return float(1 - above / (len(own) * len(strangers)))


def measured(distances: np.ndarray, seed: int = 0) -> Attack:
    """``distances``: (n, m), m at least n, probe i's own person in column i; further columns are people who are
    strangers to all probes. Intervals: bootstrap over people, 2.5th to 97.5th percentile; where every draw agrees
    (nobody or everybody), Clopper and Pearson's exact interval."""
    count, gallery = distances.shape
    first = rank_1(distances)
    others = ~np.eye(count, gallery, dtype=bool)
    own, strangers = np.diagonal(distances), distances[others]
    rng = np.random.default_rng([seed, 77])
    drawn: dict[Any, list[float]] = {far: [] for far in FARS} | {"first": [], "auc": []}
    for _ in range(_DRAWS):
        chosen = rng.integers(0, count, count)
        # who was drawn twice is no stranger to themselves
        columns = np.concatenate([chosen, np.arange(count, gallery)])
        apart = distances[np.ix_(chosen, columns)][chosen[:, None] != columns[None]]
        for far in FARS:
            drawn[far].append(_accepted(own[chosen], apart, far))
        drawn["first"].append(float(first[chosen].mean()))
        drawn["auc"].append(auc(own[chosen], apart))
    tar = {far: _rate(_accepted(own, strangers, far), drawn[far], count) for far in FARS}
    return Attack(
        count, gallery, int(others.sum()), _rate(float(first.mean()), drawn["first"], count), tar,
        _rate(auc(own, strangers), drawn["auc"], None),
    )  # fmt: skip


def _accepted(own: np.ndarray, strangers: np.ndarray, far: float) -> float:
    limit = threshold(strangers, far)
    return float("nan") if np.isnan(limit) else float((own < limit).mean())


def _rate(value: float, draws: list[float], count: int | None) -> Rate:
    if np.isnan(value):
        return Rate(value, value, value)
    known = np.array(draws)[~np.isnan(draws)]
    low, high = (float(v) for v in np.percentile(known if len(known) else [value], [2.5, 97.5]))
    if low == high and count is not None:
        low, high = exact(value, count)
    return Rate(value, low, high)


def exact(share: float, count: int) -> tuple[float, float]:
    """C. Clopper and E. Pearson's 95 % interval (1934) of a share among ``count``."""
    hits = share * count
    low = 0.0 if hits <= 0 else float(beta.ppf(0.025, hits, count - hits + 1))
    high = 1.0 if hits >= count else float(beta.ppf(0.975, hits + 1, count - hits))
    return low, high


def between(probes: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """(n, m): distances of templates (n, d) and (m, d)."""
    found: np.ndarray = np.linalg.norm(probes[:, None] - gallery[None], axis=-1)
    return found


def whitened(pair: tuple[np.ndarray, np.ndarray], known: np.ndarray, folds: int = 4) -> np.ndarray:
    """(n, n) distances once an attacker has learned, from other people, what the tool changes from one clip of a person
    to the next, and makes little of that (within-class covariance normalisation, Hatch et al. 2006, shrunk a fifth
    towards a multiple of the unit matrix). ``pair``: probes and gallery, (n, d) each. ``known``: (k, n, d), clips of
    the same people; for the probes of a fold, those of the other folds are learned from.
    """
    probes, gallery = pair
    count = len(probes)
    fold = np.arange(count) % folds
    out = np.empty((count, count))
    for part in range(folds):
        train = known[:, fold != part]
        apart = (train - train.mean(axis=0)).reshape(-1, known.shape[-1])
        within = apart.T @ apart / max(len(apart), 1)
        within = (1 - _SHRUNK) * within + _SHRUNK * np.trace(within) / len(within) * np.eye(len(within))
        change = np.linalg.inv(np.linalg.cholesky(within)).T
        out[fold == part] = between(probes[fold == part] @ change, gallery @ change)
    return out


def led_back(probes: np.ndarray, originals: np.ndarray, known: np.ndarray, folds: int = 4) -> np.ndarray:
    """(n, n) distances of originals from what an attacker takes the probes for who has learned, from other people's
    clips before and after, to foretell an original's template from a de-identified clip's (ridge regression; compared
    by direction from the mean, since what is foretold lies nearer to it). ``originals``: (n, d). ``known``: (k, n, d),
    de-identified clips of the same people."""
    count, width = probes.shape
    fold = np.arange(count) % folds
    out = np.empty((count, count))
    for part in range(folds):
        inside = fold != part
        x, y = known[:, inside].reshape(-1, width), np.tile(originals[inside], (len(known), 1))
        mx, my = x.mean(axis=0), y.mean(axis=0)
        x = x - mx
        weight = _SHRUNK * np.trace(x.T @ x) / width
        solved = np.linalg.solve(x.T @ x + weight * np.eye(width), x.T @ (y - my))
        out[~inside] = between(_unit((probes[~inside] - mx) @ solved), _unit(originals - my))
    return out


def _unit(rows: np.ndarray) -> np.ndarray:
    found: np.ndarray = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    return found
