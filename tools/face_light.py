"""How much of the surroundings each vertex of the resting head sees."""

from __future__ import annotations

import numpy as np
from numba import njit

_SIDE, _DIRECTIONS, _BIAS = 320, 160, 0.12


@njit(cache=True)
def _depth(x, y, z, triangles, side):  # type: ignore[no-untyped-def]
    out = np.full((side, side), -1e9)
    for k in range(len(triangles)):
        a, b, c = triangles[k]
        area = (x[b] - x[a]) * (y[c] - y[a]) - (x[c] - x[a]) * (y[b] - y[a])
        if abs(area) < 1e-12:
            continue
        for j in range(max(0, int(np.ceil(min(y[a], y[b], y[c])))), min(side - 1, int(max(y[a], y[b], y[c]))) + 1):
            for i in range(max(0, int(np.ceil(min(x[a], x[b], x[c])))), min(side - 1, int(max(x[a], x[b], x[c]))) + 1):
                v = ((i - x[a]) * (y[c] - y[a]) - (x[c] - x[a]) * (j - y[a])) / area
                w = ((x[b] - x[a]) * (j - y[a]) - (i - x[a]) * (y[b] - y[a])) / area
                if v >= 0 and w >= 0 and v + w <= 1:
                    depth = (1 - v - w) * z[a] + v * z[b] + w * z[c]
                    if depth > out[j, i]:
                        out[j, i] = depth
    return out


def occlusion(points: np.ndarray, triangles: np.ndarray, weld: np.ndarray) -> np.ndarray:
    """float32 (V,): the cosine-weighted share of directions from which a vertex is seen, 1 = open, from depth maps in
    ``_DIRECTIONS`` directions (Fibonacci sphere). Vertices of no triangle get 1."""
    corners = points[triangles]
    face = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros_like(points)
    for k in range(3):
        np.add.at(normals, weld[triangles[:, k]], face)
    normals = normals[weld]
    length = np.linalg.norm(normals, axis=1)
    normals /= np.maximum(length, 1e-12)[:, None]
    seen, total = np.zeros(len(points)), np.zeros(len(points))
    golden = np.pi * (3 - np.sqrt(5))
    centre = points[triangles].reshape(-1, 3).mean(axis=0)
    scale = (_SIDE / 2 - 2) / np.linalg.norm(points[triangles].reshape(-1, 3) - centre, axis=1).max()
    for k in range(_DIRECTIONS):
        z = 1 - 2 * (k + 0.5) / _DIRECTIONS
        to = np.array([np.sqrt(1 - z * z) * np.cos(golden * k), np.sqrt(1 - z * z) * np.sin(golden * k), z])
        side = np.cross([0.0, 1.0, 0.0] if abs(to[1]) < 0.9 else [1.0, 0.0, 0.0], to)
        side /= np.linalg.norm(side)
        local = (points - centre) @ np.stack([side, np.cross(to, side), to]).T
        x, y = local[:, 0] * scale + _SIDE / 2, local[:, 1] * scale + _SIDE / 2
        depth = _depth(x, y, local[:, 2], triangles, _SIDE)
        cosine = np.maximum(normals @ to, 0)
        i, j = (np.clip(np.rint(v).astype(int), 0, _SIDE - 1) for v in (x, y))
        open_ = np.clip((local[:, 2] - depth[j, i] + 2 * _BIAS) / _BIAS, 0, 1)
        seen += cosine * open_
        total += cosine
    out = np.where(length > 0, seen / np.maximum(total, 1e-9), 1.0)
    return np.clip(out, 0, 1).astype(np.float32)
