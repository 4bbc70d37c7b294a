"""How much of the surroundings each vertex of the resting head sees."""

from __future__ import annotations

from collections.abc import Iterator

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


def seen_from_everywhere(
    points: np.ndarray, triangles: np.ndarray, weld: np.ndarray, directions: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """For each of ``directions`` (a Fibonacci sphere): the direction (3,), its cosine to each normal, (V,) from
    0 to 1 and 0 for vertices of no triangle, and how far nothing is in the vertex's way, (V,) from 0 to 1."""
    corners = points[triangles]
    face = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros_like(points)
    for k in range(3):
        np.add.at(normals, weld[triangles[:, k]], face)
    normals = normals[weld]
    normals /= np.maximum(np.linalg.norm(normals, axis=1), 1e-12)[:, None]
    centre = corners.reshape(-1, 3).mean(axis=0)
    scale = (_SIDE / 2 - 2) / np.linalg.norm(corners.reshape(-1, 3) - centre, axis=1).max()
    golden = np.pi * (3 - np.sqrt(5))
    for k in range(directions):
        z = 1 - 2 * (k + 0.5) / directions
        to = np.array([np.sqrt(1 - z * z) * np.cos(golden * k), np.sqrt(1 - z * z) * np.sin(golden * k), z])
        side = np.cross([0.0, 1.0, 0.0] if abs(to[1]) < 0.9 else [1.0, 0.0, 0.0], to)
        side /= np.linalg.norm(side)
        local = (points - centre) @ np.stack([side, np.cross(to, side), to]).T
        x, y = local[:, 0] * scale + _SIDE / 2, local[:, 1] * scale + _SIDE / 2
        depth = _depth(x, y, local[:, 2], triangles, _SIDE)
        i, j = (np.clip(np.rint(v).astype(int), 0, _SIDE - 1) for v in (x, y))
        bare = np.clip((local[:, 2] - depth[j, i] + 2 * _BIAS) / _BIAS, 0, 1)
        yield to, np.maximum(normals @ to, 0), bare


def occlusion(points: np.ndarray, triangles: np.ndarray, weld: np.ndarray) -> np.ndarray:
    """float32 (V,): the cosine-weighted share of directions from which a vertex is seen, 1 = open. Vertices of no
    triangle get 1."""
    seen, total = np.zeros(len(points)), np.zeros(len(points))
    for _, cosine, bare in seen_from_everywhere(points, triangles, weld, _DIRECTIONS):
        seen += cosine * bare
        total += cosine
    out = np.where(total > 0, seen / np.maximum(total, 1e-9), 1.0)
    return np.clip(out, 0, 1).astype(np.float32)
