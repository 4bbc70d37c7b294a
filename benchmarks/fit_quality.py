"""How well meshes are inverted, and how fast: the fit beside what MediaPipe saw, clip by clip.

    python benchmarks/fit_quality.py meshes.npz [more.npz ...]

Each file holds one track: ``points`` float32 (n, 478, 3), ``presence`` (n,), ``frames`` (n,), ``times`` (n,) seconds,
``size`` (2,). Printed: residual in outer eye distances (mean and 95th percentile), correlation of what the fitted mesh
does with what was seen (width of the mouth, rise of its corners, gap of the lips), second differences of the smoothed
mesh over those seen, share of rows trusted, processor time of the identity and of a frame.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from deid.audit import attributes
from deid.models.morphable import fit, smoothing, trust
from deid.models.morphable.fit_basis import fit_basis
from deid.models.morphable.geometry import Geometry, load_geometry
from deid.models.morphable.tracks import AttributeTrack, Observations

WIDTH = 26


def mesh_of(geometry: Geometry, who: fit.IdentityFit, track: AttributeTrack, seen: np.ndarray) -> np.ndarray:
    """The fitted mesh points in the picture, (n, 478, 3); irises as seen."""
    basis = fit_basis(geometry)
    neutral = basis.mean + np.tensordot(who.shape.astype(np.float64), basis.identity, 1) + who.offsets
    out = seen.astype(np.float64)
    for i in range(len(track)):
        model = neutral + np.tensordot(track.expression[i].astype(np.float64), basis.seen, 1)
        out[i, :468] = track.camera(i).project(model) * (1, 1, -track.scale[i])
    return out


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 1e-9 and b.std() > 1e-9 else float("nan")


def judge(geometry: Geometry, path: Path) -> str:
    data = np.load(path)
    seen = Observations(data["frames"], data["points"], data["presence"], tuple(data["size"].tolist()))
    start = time.process_time()
    who = fit.fit_identity(geometry, seen)
    identity = time.process_time() - start
    start = time.process_time()
    raw = fit.fit_attributes(geometry, who.shape, who.distance, seen, offsets=who.offsets, scale=who.scale)
    each = (time.process_time() - start) / len(seen)
    smooth = smoothing.smooth_attributes(raw, data["times"])
    mesh = mesh_of(geometry, who, smooth, seen.points)
    before, after = attributes.mouth_shape(seen.points), attributes.mouth_shape(mesh)
    gap = correlation(attributes.mouth_opening(seen.points), attributes.mouth_opening(mesh))
    steady = attributes.jitter_ratio(seen.points, mesh, seen.frames)["all"]
    judged = trust.judge(raw, 25.0)
    return (
        f"{path.stem[:WIDTH]:{WIDTH}} {len(seen):5d} {raw.residual.mean():8.4f} {np.quantile(raw.residual, 0.95):7.4f}"
        f" {correlation(before[:, 0], after[:, 0]):6.3f}"
        f" {correlation(before[:, 1:].mean(1), after[:, 1:].mean(1)):6.3f}"
        f" {gap:6.3f} {steady:6.2f} {judged.trusted.mean():8.3f} {who.distance:6.0f} {identity:6.2f} {1e3 * each:6.2f}"
    )


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    geometry = load_geometry()
    paths = [Path(name) for name in sys.argv[1:]]
    judge(geometry, paths[0])  # compiles
    print(f"{'track':{WIDTH}}  rows residual     p95  width  smile   lips motion  trusted     cm    id s   ms/f")
    for path in paths:
        print(judge(geometry, path), flush=True)


if __name__ == "__main__":
    main()
