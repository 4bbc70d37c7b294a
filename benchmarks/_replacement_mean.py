"""Is the face's expression kept on average, not only its changes? The part of ``replacement.py`` for what a correlation
within a clip cannot see: brows that lie too high throughout, a smile that is always half as wide.

Lengths on MediaPipe's mesh, in hundredths of the outer eye distance (lids and irises: of the eye's width), named after
the blendshapes that move them, sides as the subject's. Identities differ in them, too: what is wanted is a mean
difference over people near 0, and a slope over people near 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from deid.audit import attributes
from deid.detection.pose import face_scale

_BROWS = {
    "browInnerUp left": [285, 336],
    "browInnerUp right": [55, 107],
    "browDown left": [282, 334],
    "browDown right": [52, 105],
    "browOuterUp left": [276, 300],
    "browOuterUp right": [46, 70],
}
_LEAST_PEOPLE = 4


def readings(points: np.ndarray) -> dict[str, np.ndarray]:
    """Every reading, float64 (n,) each, of meshes (n, 478, 3)."""
    xy = points[..., :2].astype(np.float64)
    size = face_scale(points)
    line = xy[:, 263] - xy[:, 33]
    up = np.stack([line[:, 1], -line[:, 0]], axis=1) / np.linalg.norm(line, axis=1, keepdims=True)
    corners = xy[:, [33, 133, 362, 263]].mean(axis=1)

    def over(index: list[int], base: np.ndarray) -> np.ndarray:
        return np.asarray(((xy[:, index].mean(axis=1) - base) * up).sum(axis=1) / size)

    out = {name: over(index, corners) for name, index in _BROWS.items()}
    out["brows' slope"] = sum(out[f"browInnerUp {s}"] - out[f"browOuterUp {s}"] for s in ("left", "right")) / 2
    lips = xy[:, [0, 17]].mean(axis=1)
    lids, look = attributes.eye_opening(points), attributes.gaze(points)
    out |= {
        "eyeWide, eyeBlink left": lids[:, 1],
        "eyeWide, eyeBlink right": lids[:, 0],
        "mouthSmile, mouthFrown left": over([291], lips),
        "mouthSmile, mouthFrown right": over([61], lips),
        "mouthStretch, mouthPucker": attributes.mouth_shape(points)[:, 0],
        "jawOpen": attributes.mouth_opening(points),
        "mouthShrug (lips' height)": np.linalg.norm(xy[:, 0] - xy[:, 17], axis=1) / size,
        "mouthShrugUpper (nose to lip)": np.linalg.norm(xy[:, 0] - xy[:, 2], axis=1) / size,
        "eyeLook across": look[:, 0],
        "eyeLook up": look[:, 1],
    }
    return {name: 100 * values for name, values in out.items()}


def means(source: np.ndarray, output: np.ndarray) -> dict[str, tuple[float, float]]:
    """Each reading's mean over a track, source and output; meshes (n, 478, 3)."""
    before, after = readings(source), readings(output)
    return {name: (float(before[name].mean()), float(after[name].mean())) for name in before}


def mean_table(results: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Rows of a table, heads first: what the sources are, and how the outputs differ, over all people of all clips."""
    people = [entry["means"] for r in results for entry in r["detail"]["tracks"] if "means" in entry]
    rows = [["on average over people", "source", "spread", "output less source", "size of that", "slope over people"]]
    for name in people[0] if people else ():
        x, y = np.array([p[name] for p in people]).T
        slope = f"{np.polyfit(x, y, 1)[0]:.2f}" if len(x) >= _LEAST_PEOPLE and x.std() > 1e-9 else "-"
        apart = y - x
        rows.append(
            [name, f"{x.mean():.1f}", f"{x.std():.1f}", f"{apart.mean():+.1f}", f"{np.abs(apart).mean():.1f}", slope]
        )
    return rows
