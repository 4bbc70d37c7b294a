#!/usr/bin/env python3
"""The mean head's nose, brought to where portraits' landmarks say that noses are.

    python tools/shape_nose.py

What ``calibrate_mesh.py`` finds left between the landmark model's points and the fitted head's is, about the eyes and
the jaw, a matter of where either was put by hand. About the nose it is form: the scans' mean nose is narrower at its
wings, and its nostrils are a tenth taller, than those of the portraits, and the identity modes cannot say so (nostrils
lower by what lacks take more than ten standard deviations). Seen from ahead such a nose looks turned up. So the head
takes up what was found there, as a smooth displacement that fades beside the nose, and the offsets keep the rest. To be
run once after ``calibrate_mesh.py``; again, it takes up what is left. Fits stay what they were, and so do the heads of
``measure_population.py``; what their proportions are on average is brought up to date.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from scipy.interpolate import RBFInterpolator

_ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(_ROOT))

from deid.models.morphable.anthropometry import proportions  # noqa: E402
from deid.models.morphable.geometry import read_geometry  # noqa: E402

_MODELS = _ROOT / "deid" / "models" / "morphable"
_NOSE = (
    5, 4, 1, 19, 94, 2, 79, 309, 238, 458, 20, 250, 60, 290, 97, 326, 98, 327, 99, 328, 64, 294, 129, 358, 48, 278, 102,
    331, 59, 289, 75, 305, 166, 392, 218, 438, 239, 459, 241, 461, 242, 462, 141, 370, 125, 354, 44, 274, 45, 275, 220,
    440, 237, 457, 115, 344, 131, 360, 49, 279, 240, 460, 235, 455, 219, 439,
)  # fmt: skip
_SHARE = np.array((0.5, 1.8, 0.0))  # of what was found across, up and in depth, which single pictures hardly show
_NEAR, _SMOOTH = 0.9, 0.15  # centimetres beside the nose's points to which the displacement fades; smoothing
_HEAD = 1  # parts up to this are skin, see geometry.Part


def displaced(points: np.ndarray, offsets: np.ndarray, places: np.ndarray) -> np.ndarray:
    """(n, 3): by how much ``places``, (n, 3) centimetres, move. ``points``, ``offsets``: (468, 3)."""
    nose = np.isin(np.arange(len(points)), _NOSE)
    apart = np.linalg.norm(points[:, None] - points[None, nose], axis=2).min(axis=1)
    anchors = nose | ((apart > _NEAR) & (apart < 4 * _NEAR))
    wanted = np.where(nose[:, None], offsets * _SHARE, 0)[anchors]
    field = RBFInterpolator(points[anchors], wanted, kernel="thin_plate_spline", smoothing=_SMOOTH)
    apart = np.linalg.norm(places[:, None] - points[None, nose], axis=2).min(axis=1)
    fade = np.clip(1 - apart / (1.6 * _NEAR), 0, 1)
    found: np.ndarray = field(places) * (fade * fade * (3 - 2 * fade))[:, None]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="?", default=_MODELS, help="where the .safetensors files are")
    folder = parser.parse_args().models
    path, left = folder / "geometry.safetensors", folder / "mesh_offsets.safetensors"
    arrays, offsets = load_file(path), load_file(left)["offsets"].astype(np.float64)
    with safe_open(str(path), framework="numpy") as file:
        meta = file.metadata()
    corners = arrays["triangles"][arrays["landmark_triangles"]]
    weights = arrays["landmark_weights"].astype(np.float64)[..., None]
    before = arrays["vertices"].astype(np.float64)
    points = (before[corners] * weights).sum(axis=1)
    skin = np.zeros(len(before), bool)
    skin[arrays["triangles"][arrays["parts"] <= _HEAD]] = True
    near = skin & (np.linalg.norm(before - points[1], axis=1) < 5)
    after = before.copy()
    after[near] += displaced(points, offsets, before[near])
    arrays["vertices"] = after.astype(np.float32)
    people = load_file(folder / "population.safetensors")
    head = people["centre"][None].astype(np.float64)
    measured = proportions(read_geometry(path), head)
    taken = (after[corners] * weights).sum(axis=1) - points
    save_file(arrays, path, metadata=meta)
    people["proportions"][0] += (proportions(read_geometry(path), head) - measured)[0].astype(np.float32)
    save_file(people, folder / "population.safetensors")
    save_file({"offsets": (offsets - taken).astype(np.float32)}, left)
    moved = np.linalg.norm(after - before, axis=1)
    print(f"{int((moved > 0).sum())} vertices moved, by {moved.max():.3f} cm at most")


if __name__ == "__main__":
    main()
