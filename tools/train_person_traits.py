"""Trains what guesses a subject's apparent gender and age from a recognition code, and how both show in the shape of a
head, so that a surrogate can suit the hair, voice and hands that stay.

Ridge-regularised logistic and linear regression on dlib's 128 numbers, of the portraits' labels; held-out error by
cross-validation is printed. The shape's part: mean coefficients of the fitted heads by gender and how they change with
age. Writes a safetensors file of some hundred numbers, which hold no one's template. Run it again when the geometry
changes.

    python tools/train_person_traits.py ../shared/data/portraits deid/models/person_traits.safetensors
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

from _portraits import portraits

from deid.models.morphable.fit import fit_identity
from deid.models.morphable.geometry import Geometry, load_geometry
from deid.models.morphable.tracks import Observations
from deid.recognition.dlib_net import DlibRecogniser

_TAKEN = 2017  # when most of the portraits were taken, give or take five years


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("portraits", type=Path)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    with (options.portraits / "index.csv").open(newline="") as handle:
        labels = {row["file"]: row for row in csv.DictReader(handle)}
    recogniser = DlibRecogniser(threads=1)
    geometry = load_geometry()
    chips, gender, age, shapes = [], [], [], []
    for portrait in portraits(options.portraits, None):
        label = labels[portrait.name]
        chips.append(recogniser.chip(portrait.picture, portrait.mesh))
        shapes.append(_shape(geometry, portrait.mesh, portrait.picture.shape))
        gender.append(1.0 if label["gender"] == "female" else -1.0)
        age.append(_TAKEN - float(label["birth_year"] or "nan"))
    codes = recogniser.embed(np.stack(chips)).astype(np.float64)
    y, years = np.array(gender), np.array(age)
    known = np.isfinite(years)
    weight = np.where(y > 0, 0.5 / (y > 0).mean(), 0.5 / (y < 0).mean())
    print("gender: held-out accuracy by class", _cross_validate(codes, y, weight, kind="gender"))
    print("age: held-out mean error, years", _cross_validate(codes[known], years[known], None, kind="age"))
    coefficients = np.stack(shapes)
    print("shape: spread of the fitted heads", np.round(coefficients.std(0)[:12], 2))
    save_file(
        {
            **_shape_traits(coefficients, y, years),
            "gender": logistic(codes, y, weight).astype(np.float32),
            "age_shrinkage": shrinkage(codes[known], years[known]).astype(np.float32),
            "age": ridge(codes[known], years[known]).astype(np.float32),
        },
        options.output,
    )


def _shape(geometry: Geometry, mesh: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """(K,): coefficients of one portrait's head."""
    seen = Observations(
        np.zeros(1, np.int32), mesh[None].astype(np.float32), np.ones(1, np.float32), (size[1], size[0])
    )
    return fit_identity(geometry, seen).shape.astype(np.float64)


def _shape_traits(shapes: np.ndarray, gender: np.ndarray, years: np.ndarray) -> dict[str, np.ndarray]:
    """``shape_gender``: (K,), from the middle to the mean woman. ``shape_age``: (K,), a year. ``shape_mean``: (K,), of
    both genders in equal parts. Shrunk by their standard error, so that modes which say nothing stay at zero."""
    women, men = shapes[gender > 0], shapes[gender < 0]
    half = (women.mean(0) - men.mean(0)) / 2
    error = np.sqrt(women.var(0) / len(women) + men.var(0) / len(men)) / 2
    known = np.isfinite(years)
    centred = shapes[known] - np.where(gender[known, None] > 0, women.mean(0), men.mean(0))
    ages = years[known] - years[known].mean()
    slope = (centred * ages[:, None]).sum(0) / (ages**2).sum()
    slope_error = centred.std(0) / np.sqrt((ages**2).sum())

    def shrunk(value: np.ndarray, noise: np.ndarray) -> np.ndarray:
        return value * np.maximum(0, 1 - noise**2 / np.maximum(value**2, 1e-12))

    return {
        "shape_gender": shrunk(half, error).astype(np.float32),
        "shape_age": shrunk(slope, slope_error).astype(np.float32),
        "shape_mean": ((women.mean(0) + men.mean(0)) / 2).astype(np.float32),
    }


def _with_one(codes: np.ndarray) -> np.ndarray:
    return np.hstack([codes, np.ones((len(codes), 1))])


def logistic(codes: np.ndarray, labels: np.ndarray, weight: np.ndarray, penalty: float = 2.0) -> np.ndarray:
    """Newton's method on the weighted log-loss of ``labels`` (-1 or 1): float64 (129,), the bias last."""
    x = _with_one(codes)
    beta = np.zeros(x.shape[1])
    ridge_term = np.diag(np.r_[np.full(x.shape[1] - 1, penalty), 0.0])
    for _ in range(30):
        p = 1 / (1 + np.exp(labels * (x @ beta)))
        gradient = -(x * (labels * p * weight)[:, None]).sum(0) + ridge_term @ beta
        hessian = (x * (p * (1 - p) * weight)[:, None]).T @ x + ridge_term + 1e-9 * np.eye(len(beta))
        beta -= np.linalg.solve(hessian, gradient)
    return beta


def ridge(codes: np.ndarray, values: np.ndarray, penalty: float = 1.0) -> np.ndarray:
    """Least squares with a ridge: float64 (129,), the bias last."""
    x = _with_one(codes)
    term = np.diag(np.r_[np.full(x.shape[1] - 1, penalty), 0.0])
    return np.linalg.solve(x.T @ x + term, x.T @ values)


def shrinkage(codes: np.ndarray, years: np.ndarray) -> np.ndarray:
    """(2,): the mean age, and by how much less than ages held-out guesses differ from it. Guesses are drawn towards the
    middle of those who were trained on; faces in footage are of all ages, so the guess is spread out again (classical
    calibration: Krutchkoff 1967)."""
    fold = np.arange(len(codes)) % 10
    found = np.empty(len(codes))
    for k in range(10):
        found[fold == k] = _with_one(codes[fold == k]) @ ridge(codes[fold != k], years[fold != k])
    slope = float(np.cov(found, years)[0, 1] / years.var())
    print(f"age: a decade more shows as {10 * slope:.1f} years more")
    return np.array([years.mean(), slope])


def _cross_validate(codes: np.ndarray, values: np.ndarray, weight: np.ndarray | None, *, kind: str) -> object:
    fold = np.arange(len(codes)) % 10
    found = np.empty(len(codes))
    for k in range(10):
        train, test = fold != k, fold == k
        if weight is not None:
            beta = logistic(codes[train], values[train], weight[train])
        else:
            beta = ridge(codes[train], values[train])
        found[test] = _with_one(codes[test]) @ beta
    if kind == "gender":
        right = found * values > 0
        return {"male": round(float(right[values < 0].mean()), 3), "female": round(float(right[values > 0].mean()), 3)}
    spread = float(np.abs(values - np.median(values)).mean())
    return round(float(np.abs(found - values).mean()), 1), f"always the median: {spread:.1f}"


if __name__ == "__main__":
    main()
