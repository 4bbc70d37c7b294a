"""Where MediaPipe's mesh points lie relative to the face model's, on average over people.

    python tools/calibrate_mesh.py ../shared/data/portraits

MediaPipe's points and the model's differ in the same way for everybody: both were put on a mean face by hand. Fitting
that difference with expressions would give every face a frown. This script fits the appearance model's portraits (those
with closed mouths and the narrowest mouths, so that a mean smile does not become part of the difference), and keeps the
median of what remains, made symmetric. Run it again whenever the geometry changes.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

from _portraits import portraits

from deid.detection.pose import head_pose
from deid.models.morphable import face_points, fit, fit_basis
from deid.models.morphable.geometry import load_geometry
from deid.models.morphable.tracks import Observations

PORTRAITS, ROUNDS, DISTANCE = 160, 4, 150.0  # studio portraits are taken from a metre and a half


def chosen(points: np.ndarray, yaw: np.ndarray) -> np.ndarray:
    """Indices of portraits that look ahead with closed lips and a mouth at rest. ``points``: (n, 478, 3); ``yaw``: (n,)
    degrees."""
    left, right = face_points.EYE_CORNERS[:, 1]
    eyes = np.linalg.norm(points[:, left] - points[:, right], axis=1) + 1e-6
    gap = np.linalg.norm(points[:, 13] - points[:, 14], axis=1) / eyes
    width = np.linalg.norm(points[:, 61] - points[:, 291], axis=1) / eyes
    usable = np.flatnonzero((np.abs(yaw) < 22) & (gap < 0.03))
    return usable[np.argsort(width[usable])[:PORTRAITS]]


def remaining(basis: fit_basis.FitBasis, points: np.ndarray) -> np.ndarray:
    """(468, 3): how far one portrait's points (478, 3) lie from the fitted model's, in head space."""
    seen = Observations(np.zeros(1, np.int32), points[None], np.ones(1, np.float32), (1024, 1024))
    state, shape, _ = fit.solve(basis, seen, DISTANCE, 3)
    neutral = basis.mean + np.tensordot(shape, basis.identity, 1)
    rest = state.seen[..., :2] - state.projected(state.model(basis, neutral), np.full(1, DISTANCE))
    return (np.pad(rest / state.states[:, None, :1], ((0, 0), (0, 0), (0, 1))) @ state.rotations)[0]


def main() -> None:
    meshes = [p.mesh for p in portraits(Path(sys.argv[1]))]
    points = np.stack(meshes).astype(np.float32)
    rows = chosen(points, np.array([head_pose(mesh)[1] for mesh in meshes]))
    basis = fit_basis.fit_basis(load_geometry(), calibrated=False)
    mean, offset = basis.mean, np.zeros((468, 3))
    flipped = mean * (-1, 1, 1)
    mirror = np.argmin(np.linalg.norm(flipped[:, None] - mean[None], axis=2), axis=1)
    for turn in range(ROUNDS):
        moved = replace(basis, mean=mean + offset)
        step = np.median([remaining(moved, points[row]) for row in rows], axis=0)
        step = (step + step[mirror] * (-1, 1, 1)) / 2
        offset += step
        print(f"round {turn}: {len(rows)} portraits, moved by {np.linalg.norm(step, axis=1).mean():.4f} cm")
    path = Path(fit.__file__).with_name("mesh_offsets.safetensors")
    save_file({"offsets": offset.astype(np.float32)}, path)


if __name__ == "__main__":
    main()
