"""Measures how heads differ from person to person, so that surrogates are drawn where people are.

Heads are fitted to the portraits as a run fits them. Kept are sums over all of them: the mean by gender, how it changes
with age, the covariance of what is left, with less of what one side differs from the other by, and of
their proportions (``deid/models/morphable/anthropometry.py``) mean by gender, covariance and percentiles. A few
thousand numbers of more than five hundred people, in which nobody is found again. Run it again when the geometry
changes.

    python tools/measure_population.py ../shared/data/portraits
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from scipy.spatial import cKDTree

_ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(_ROOT), str(_ROOT / "benchmarks")]

from _portraits import portraits  # noqa: E402

from deid.models.morphable.anthropometry import NAMES, proportions  # noqa: E402
from deid.models.morphable.fit import fit_identity  # noqa: E402
from deid.models.morphable.geometry import Geometry, load_geometry  # noqa: E402
from deid.models.morphable.tracks import Observations  # noqa: E402

_TAKEN = 2017  # when most of the portraits were taken, give or take five years
_LOW, _HIGH = 3, 97  # percentiles
_RIDGE = 0.1
_LOPSIDED = 0.4  # of what heads differ from their mirrored ones, which is the landmark model's error for a good part


def heads(folder: Path, geometry: Geometry) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shapes (n, K), gender (n,) -1 or 1, ages (n,) in years."""
    with (folder / "index.csv").open(newline="") as handle:
        labels = {row["file"]: row for row in csv.DictReader(handle)}
    shapes, gender, years = [], [], []
    for portrait in portraits(folder, None):
        label = labels[portrait.name]
        height, width = portrait.picture.shape[:2]
        mesh = portrait.mesh[None].astype(np.float32)
        seen = Observations(np.zeros(1, np.int32), mesh, np.ones(1, np.float32), (width, height))
        shapes.append(fit_identity(geometry, seen).shape.astype(np.float64))
        gender.append(1.0 if label["gender"] == "female" else -1.0)
        years.append(_TAKEN - float(label["birth_year"] or "nan"))
    return np.array(shapes), np.array(gender), np.array(years)


def population(geometry: Geometry, shapes: np.ndarray, gender: np.ndarray, years: np.ndarray) -> dict[str, np.ndarray]:
    """See :mod:`deid.models.morphable.population`."""
    known = np.isfinite(years)
    shapes, gender, years = shapes[known], gender[known], years[known]
    design = np.column_stack([np.ones(len(gender)), gender, years - years.mean()])
    solved, left = _regressed(design, shapes)
    mirrored = left @ mirror(geometry)
    even, uneven = (left + mirrored) / 2, _LOPSIDED * (left - mirrored) / 2
    values, axes = np.linalg.eigh((even.T @ even + uneven.T @ uneven) / len(left))
    measured = proportions(geometry, shapes)
    means, rest = _regressed(design[:, :2], measured)
    return {
        "centre": solved[0],
        "gender": solved[1],
        "age": solved[2],
        "mean_age": np.array([years.mean()]),
        "root": (axes * np.sqrt(np.maximum(values, 0)))[:, ::-1],
        "proportions": means,
        "limits": np.percentile(rest, [_LOW, _HIGH], axis=0),
        "whitening": _whitening(rest),
    }


def mirror(geometry: Geometry) -> np.ndarray:
    """(K, K): what turns shapes, (n, K), into those of the same heads seen in a mirror, as far as modes span them."""
    corners = geometry.triangles[geometry.landmark_triangles]
    weights = geometry.landmark_weights[..., None].astype(np.float64)
    mean = (geometry.vertices[corners] * weights).sum(axis=1)
    modes = (geometry.identity[:, corners] * weights).sum(axis=2)
    other = cKDTree(mean).query(mean * (-1, 1, 1))[1]
    flipped = (modes[:, other] * (-1, 1, 1)).reshape(len(modes), -1)
    found: np.ndarray = np.linalg.lstsq(modes.reshape(len(modes), -1).T, flipped.T, rcond=None)[0].T
    return found


def _whitening(rest: np.ndarray) -> np.ndarray:
    """(R, R); what is no difference from a mean, asymmetry, stays out."""
    even = np.array(["asymmetry" not in name for name in NAMES])
    out = np.zeros((len(NAMES), len(NAMES)))
    covariance = np.cov(rest[:, even], rowvar=False)
    covariance += _RIDGE * np.diag(np.diag(covariance))  # shares of one height add up to it
    out[np.ix_(even, even)] = np.linalg.cholesky(np.linalg.inv(covariance))
    return out


def _regressed(design: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    solved = np.linalg.lstsq(design, values, rcond=None)[0]
    return solved, values - design @ solved


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("portraits", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=_ROOT / "deid/models/morphable/population.safetensors")
    options = parser.parse_args()
    geometry = load_geometry()
    found = population(geometry, *heads(options.portraits, geometry))
    save_file({name: np.ascontiguousarray(array, np.float32) for name, array in found.items()}, options.output)


if __name__ == "__main__":
    main()
