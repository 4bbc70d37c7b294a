"""Do obscuring regions hold the whole face when boxes err as detectors' boxes do?

For every portrait, the 36 points of the mesh's outline and six of the ears (set out from the mesh by an adult's mean
proportions: pinnae 0.12 face widths outside the tragion, from brow to nose base) must lie inside. Boxes: as the search
finds them, as the landmarks give them, and both with noise added (centre off by 5 % of the box, size by 6 %, roll by 3
degrees, one standard deviation each; draws with an IoU under 0.6 are no correct detections and are drawn again). Single
pictures have no time to smooth over; a track of 15 noisy frames does.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from _portraits import FOLDER, OVAL, Portrait, portraits

from deid.detection import pose
from deid.redaction import regions_of
from deid.types import Evidence, Track

_EAR = ((0.12, -0.12), (0.12, 0.0), (0.10, 0.18))  # outwards and down, in face widths


def head_points(mesh: np.ndarray) -> np.ndarray:
    """Outline and ears of a mesh (478, 3): (42, 2)."""
    seen = mesh[pose.RIGID_POINTS].astype(np.float64)
    u, _, vt = np.linalg.svd((seen - seen.mean(0)).T @ pose.MEAN_HEAD)
    u[:, 2] *= np.sign(np.linalg.det(u) * np.linalg.det(vt))
    across, down, back = (u @ vt).T
    width = np.linalg.norm(mesh[234] - mesh[454])
    ears = [
        mesh[tragion] + width * (side * out * across + low * down + 0.1 * back)
        for tragion, side in ((234, -1), (454, 1))
        for out, low in _EAR
    ]
    return np.concatenate([mesh[OVAL], ears])[:, :2]


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """IoU of boxes ``cx cy w h``, roll left aside."""
    low = np.maximum(a[:2] - a[2:4] / 2, b[:2] - b[2:4] / 2)
    high = np.minimum(a[:2] + a[2:4] / 2, b[:2] + b[2:4] / 2)
    both = float(np.prod(np.maximum(high - low, 0)))
    return both / (a[2] * a[3] + b[2] * b[3] - both)


def jittered(box: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    while True:
        noisy = box.copy()
        noisy[:2] += rng.normal(0, 0.05, 2) * box[2:4]
        noisy[2:4] *= np.exp(rng.normal(0, 0.06, 2))
        noisy[4] += rng.normal(0, 0.05)
        if overlap(noisy, box) >= 0.6:
            return noisy


def holds(boxes: np.ndarray, points: np.ndarray) -> list[bool]:
    """Whether each frame's region holds every point, for a track of ``boxes`` (n, 5) on a still head."""
    n = len(boxes)
    sure = np.full(n, Evidence.SEARCHED, np.uint8)
    track = Track(0, 0, 0, boxes.astype(np.float32), sure, np.ones(n, np.float32), np.full(n, np.nan, np.float32), True)
    return [bool(region.contains(points).all()) for region in regions_of(track)]


def searched_box(face: Portrait) -> np.ndarray:
    x0, y0, x1, y1 = (float(v) for v in face.detection.box)
    right, left = face.detection.points[:2]
    return np.array(
        [(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0, np.arctan2(left[1] - right[1], left[0] - right[0])]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--portraits", type=Path, default=FOLDER, help="folder of JPEG portraits")
    parser.add_argument("--count", type=int, help="use so many of them (default: all)")
    parser.add_argument("--draws", type=int, default=5, help="noisy boxes a portrait (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()

    rng = np.random.default_rng(1)
    kept: dict[str, list[bool]] = {}
    for face in portraits(options.portraits, options.count):
        points = head_points(face.mesh)
        for name, box in (("search", searched_box(face)), ("landmarks", face.box.astype(np.float64))):
            kept.setdefault(f"{name}, as found", []).extend(holds(box[None], points))
            for _ in range(options.draws):
                noisy = np.stack([jittered(box, rng) for _ in range(15)])
                kept.setdefault(f"{name}, noisy, one picture", []).extend(holds(noisy[:1], points))
                kept.setdefault(f"{name}, noisy, 15 frames", []).extend(holds(noisy, points))
    shares = {name: {"pictures": len(found), "whole": float(np.mean(found))} for name, found in kept.items()}
    if options.json:
        print(json.dumps(shares, indent=2))
        return
    print("| boxes | pictures | whole face and ears inside |\n|---|---|---|")
    for name, row in shares.items():
        print(f"| {name} | {row['pictures']} | {100 * row['whole']:.2f} % |")


if __name__ == "__main__":
    main()
