"""Visibility: which triangle is nearest at four places of every pixel.

Vertices are snapped to 1/256 pixel and edge functions are whole numbers, so neighbouring triangles leave no cracks and
the picture does not depend on the order of arithmetic (Pineda, *A Parallel Algorithm for Polygon Rasterization*, 1988).
The four places of a pixel lie on a rotated grid, as in multisample antialiasing: coverage has five levels along any
edge. Colour is worked out once for each surface that a pixel shows, not once a place (:func:`fragments`).
"""

from __future__ import annotations

import numpy as np
from numba import njit

SUBPIXELS = 256
# the rotated grid: offsets from the pixel's centre in 1/256 pixel
_SX = (-32, 96, -96, 32)
_SY = (-96, -32, 32, 96)
_FAR = np.float32(-1e9)
_LIMIT = 32000.0  # pixels from the picture's origin at which coordinates are clamped


@njit(cache=True, nogil=True)
def project(  # noqa: PLR0913
    vertices: np.ndarray,
    rotation: np.ndarray,
    scale: float,
    tx: float,
    ty: float,
    inverse_distance: float,
    camera_points: np.ndarray,
    fixed: np.ndarray,
) -> None:
    """``Camera.project`` into fixed point.

    ``vertices``: float32 (V, 3), head space. ``rotation``: float32 (3, 3). ``scale``: pixels a centimetre. ``tx, ty``:
    picture position of the head's origin. Fills ``camera_points``, float32 (V, 3), centimetres in camera space, and
    ``fixed``, int64 (V, 2), picture positions in 1/256 pixel.
    """
    for i in range(vertices.shape[0]):
        x, y, z = vertices[i, 0], vertices[i, 1], vertices[i, 2]
        cx = rotation[0, 0] * x + rotation[0, 1] * y + rotation[0, 2] * z
        cy = rotation[1, 0] * x + rotation[1, 1] * y + rotation[1, 2] * z
        cz = rotation[2, 0] * x + rotation[2, 1] * y + rotation[2, 2] * z
        camera_points[i, 0] = cx
        camera_points[i, 1] = cy
        camera_points[i, 2] = cz
        near = scale / max(1.0 - cz * inverse_distance, 0.05)
        px = min(max(tx + near * cx, -_LIMIT), _LIMIT)
        py = min(max(ty - near * cy, -_LIMIT), _LIMIT)
        fixed[i, 0] = np.int64(np.floor(px * 256.0 + 0.5))
        fixed[i, 1] = np.int64(np.floor(py * 256.0 + 0.5))


@njit(cache=True, nogil=True)
def vertex_normals(points: np.ndarray, triangles: np.ndarray, weld: np.ndarray, normals: np.ndarray) -> None:
    """Smooth unit normals, float32 (V, 3), of ``points`` (V, 3), weighted by area, shared across seams by ``weld``."""
    normals[:] = 0.0
    for f in range(triangles.shape[0]):
        a, b, c = triangles[f, 0], triangles[f, 1], triangles[f, 2]
        ux, uy, uz = points[b, 0] - points[a, 0], points[b, 1] - points[a, 1], points[b, 2] - points[a, 2]
        vx, vy, vz = points[c, 0] - points[a, 0], points[c, 1] - points[a, 1], points[c, 2] - points[a, 2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for corner in range(3):
            i = weld[triangles[f, corner]]
            normals[i, 0] += nx
            normals[i, 1] += ny
            normals[i, 2] += nz
    for i in range(points.shape[0]):
        if weld[i] == i:
            nx, ny, nz = normals[i, 0], normals[i, 1], normals[i, 2]
            length = np.sqrt(nx * nx + ny * ny + nz * nz) + np.float32(1e-12)
            normals[i, 0] = nx / length
            normals[i, 1] = ny / length
            normals[i, 2] = nz / length
    for i in range(points.shape[0]):
        if weld[i] != i:
            for k in range(3):
                normals[i, k] = normals[weld[i], k]




@njit(cache=True, nogil=True)
def rasterise(  # noqa: PLR0915
    fixed: np.ndarray,
    z: np.ndarray,
    triangles: np.ndarray,
    left: int,
    top: int,
    depth: np.ndarray,
    owner: np.ndarray,
) -> None:
    """Nearest front-facing triangle at four places of each pixel.

    ``fixed``: int64 (V, 2), 1/256 pixel. ``z``: float32 (V, 3) camera points, of which the last column is depth.
    ``left, top``: picture position of the buffers' first pixel. Fills ``depth``, float32 (h, w, 4), camera z in
    centimetres, and ``owner``, int32 (h, w, 4), the triangle or -1.
    """
    height, width = owner.shape[0], owner.shape[1]
    depth[:] = _FAR
    owner[:] = -1
    ox, oy = left * 256, top * 256
    for f in range(triangles.shape[0]):
        a, c, b = triangles[f, 0], triangles[f, 1], triangles[f, 2]  # y points down: the sense of rotation turns
        ax, ay = fixed[a, 0] - ox, fixed[a, 1] - oy
        bx, by = fixed[b, 0] - ox, fixed[b, 1] - oy
        cx, cy = fixed[c, 0] - ox, fixed[c, 1] - oy
        area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
        if area <= 0:
            continue
        x0 = max((min(ax, bx, cx) + 159) >> 8, 0)
        x1 = min((max(ax, bx, cx) + 96) >> 8, width - 1)
        y0 = max((min(ay, by, cy) + 159) >> 8, 0)
        y1 = min((max(ay, by, cy) + 96) >> 8, height - 1)
        if x0 > x1 or y0 > y1:
            continue
        # the weight of a corner grows by ux for each 1/256 pixel to the right and by uy downwards
        ux, uy = by - cy, cx - bx
        vx, vy = cy - ay, ax - cx
        wx, wy = ay - by, bx - ax
        per_area = np.float32(1.0) / np.float32(area)
        za, zb, zc = z[a, 2], z[b, 2], z[c, 2]
        dzb, dzc = (zb - za) * per_area, (zc - za) * per_area
        u0, u1, u2, u3 = -32 * ux - 96 * uy, 96 * ux - 32 * uy, -96 * ux + 32 * uy, 32 * ux + 96 * uy
        v0, v1, v2, v3 = -32 * vx - 96 * vy, 96 * vx - 32 * vy, -96 * vx + 32 * vy, 32 * vx + 96 * vy
        w0, w1, w2, w3 = -32 * wx - 96 * wy, 96 * wx - 32 * wy, -96 * wx + 32 * wy, 32 * wx + 96 * wy
        for y in range(y0, y1 + 1):
            py = y * 256
            px = x0 * 256
            u = (px - bx) * ux + (py - by) * uy
            v = (px - cx) * vx + (py - cy) * vy
            w = (px - ax) * wx + (py - ay) * wy
            for x in range(x0, x1 + 1):
                if (u + u0 | v + v0 | w + w0) >= 0:
                    d = za + np.float32(v + v0) * dzb + np.float32(w + w0) * dzc
                    if d > depth[y, x, 0]:
                        depth[y, x, 0] = d
                        owner[y, x, 0] = f
                if (u + u1 | v + v1 | w + w1) >= 0:
                    d = za + np.float32(v + v1) * dzb + np.float32(w + w1) * dzc
                    if d > depth[y, x, 1]:
                        depth[y, x, 1] = d
                        owner[y, x, 1] = f
                if (u + u2 | v + v2 | w + w2) >= 0:
                    d = za + np.float32(v + v2) * dzb + np.float32(w + w2) * dzc
                    if d > depth[y, x, 2]:
                        depth[y, x, 2] = d
                        owner[y, x, 2] = f
                if (u + u3 | v + v3 | w + w3) >= 0:
                    d = za + np.float32(v + v3) * dzb + np.float32(w + w3) * dzc
                    if d > depth[y, x, 3]:
                        depth[y, x, 3] = d
                        owner[y, x, 3] = f
                u += ux * 256
                v += vx * 256
                w += wx * 256


@njit(cache=True, nogil=True)
def fragments(
    depth: np.ndarray,
    owner: np.ndarray,
    kind: np.ndarray,
    layer: float,
    triangle: np.ndarray,
    place: np.ndarray,
    pixel: np.ndarray,
    weight: np.ndarray,
) -> int:
    """One fragment for each surface that a pixel shows; how many there are.

    ``kind``: uint8 (F,), surfaces of one kind and less than ``layer`` centimetres apart in depth are one. A pixel that
    shows one surface gets one fragment, at its centre; others get one a surface, at the middle of the places where it
    is seen. Fills, up to their length, ``triangle`` int32 (n,), ``place`` float32 (n, 2) x and y in the buffers' pixels,
    ``pixel`` int32 (n,) (y * width + x) and ``weight`` float32 (n,), the share of the pixel.
    """
    height, width = owner.shape[0], owner.shape[1]
    n = 0
    for y in range(height):
        for x in range(width):
            f0, f1, f2, f3 = owner[y, x, 0], owner[y, x, 1], owner[y, x, 2], owner[y, x, 3]
            if (f0 & f1 & f2 & f3) == -1:
                continue
            if f0 >= 0 and f1 >= 0 and f2 >= 0 and f3 >= 0:
                k = kind[f0]
                if kind[f1] == k and kind[f2] == k and kind[f3] == k:
                    d0, d1, d2, d3 = depth[y, x, 0], depth[y, x, 1], depth[y, x, 2], depth[y, x, 3]
                    if max(d0, d1, d2, d3) - min(d0, d1, d2, d3) < layer:
                        triangle[n] = f0
                        place[n, 0] = x
                        place[n, 1] = y
                        pixel[n] = y * width + x
                        weight[n] = 1.0
                        n += 1
                        continue
            used = 0
            for s in range(4):
                f = owner[y, x, s]
                if f < 0 or (used >> s) & 1:
                    continue
                sx, sy, count = 0.0, 0.0, 0
                for t in range(s, 4):
                    g = owner[y, x, t]
                    same = g >= 0 and not (used >> t) & 1 and kind[g] == kind[f]
                    if same and abs(depth[y, x, t] - depth[y, x, s]) < layer:
                        used |= 1 << t
                        sx += _SX[t]
                        sy += _SY[t]
                        count += 1
                triangle[n] = f
                place[n, 0] = x + sx / (256.0 * count)
                place[n, 1] = y + sy / (256.0 * count)
                pixel[n] = y * width + x
                weight[n] = 0.25 * count
                n += 1
    return n
