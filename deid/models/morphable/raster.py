"""Visibility: which triangle is nearest at every pixel, and at four places of those that show more than one surface.

Vertices are snapped to 1/256 pixel and edge functions are whole numbers, so neighbouring triangles leave no cracks and
the picture does not depend on the order of arithmetic (Pineda, *A Parallel Algorithm for Polygon Rasterization*, 1988).
A first pass looks at centres. Pixels at an edge (of a part, or in depth) are looked at again at four places on a
rotated grid, as in multisample antialiasing. Colour is worked out once for each surface that a pixel shows.
"""

from __future__ import annotations

import numpy as np
from numba import njit

SUBPIXELS = 256
# the rotated grid of places: offsets from the pixel's centre in 1/256 pixel
_SX = (-32, 96, -96, 32)
_SY = (-96, -32, 32, 96)
_FAR = np.float32(-1e9)
_LIMIT = 32000.0  # pixels from the picture's origin at which coordinates are clamped


@njit(cache=True, nogil=True)
def project(
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
def rasterise(
    fixed: np.ndarray,
    points: np.ndarray,
    triangles: np.ndarray,
    left: int,
    top: int,
    box: np.ndarray,
    boxes: np.ndarray,
    depth: np.ndarray,
    owner: np.ndarray,
) -> None:
    """Nearest front-facing triangle at the centre of each pixel.

    ``fixed``: int64 (V, 2), 1/256 pixel. ``points``: float32 (V, 3), camera space. ``left, top``: picture position of
    the buffers' first pixel. ``box``: uint8 (F,), which row of ``boxes``, int64 (n, 4): first and last x and y of the
    buffers, inclusive, a triangle may show in. Fills ``depth``, float32 (h, w), camera z in centimetres, and ``owner``,
    int32 (h, w), the triangle or -1.
    """
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
        k = box[f]
        x0 = max((min(ax, bx, cx) + 255) >> 8, boxes[k, 0])
        x1 = min(max(ax, bx, cx) >> 8, boxes[k, 1])
        y0 = max((min(ay, by, cy) + 255) >> 8, boxes[k, 2])
        y1 = min(max(ay, by, cy) >> 8, boxes[k, 3])
        if x0 > x1 or y0 > y1:
            continue
        # the weight of a corner grows by ux for each 1/256 pixel to the right and by uy downwards
        ux, uy = by - cy, cx - bx
        vx, vy = cy - ay, ax - cx
        wx, wy = ay - by, bx - ax
        per_area = np.float32(1.0) / np.float32(area)
        za = points[a, 2]
        dzb, dzc = (points[b, 2] - za) * per_area, (points[c, 2] - za) * per_area
        px, py = x0 * 256, y0 * 256
        u_row = (px - bx) * ux + (py - by) * uy
        v_row = (px - cx) * vx + (py - cy) * vy
        w_row = (px - ax) * wx + (py - ay) * wy
        for y in range(y0, y1 + 1):
            u, v, w = u_row, v_row, w_row
            for x in range(x0, x1 + 1):
                if (u | v | w) >= 0:
                    d = za + np.float32(v) * dzb + np.float32(w) * dzc
                    if d > depth[y, x]:
                        depth[y, x] = d
                        owner[y, x] = f
                u += ux * 256
                v += vx * 256
                w += wx * 256
            u_row += uy * 256
            v_row += vy * 256
            w_row += wy * 256


@njit(cache=True, nogil=True)
def find_edges(
    depth: np.ndarray, owner: np.ndarray, parts: np.ndarray, layer: float, slot: np.ndarray, before: np.ndarray
) -> int:
    """Number the pixels that show more than one surface; how many there are.

    ``parts``: uint8 (F,). Neighbours of different parts, or ``layer`` centimetres apart in depth, lie at an edge. Fills
    ``slot``, int32 (h, w), with numbers from 0 in reading order, -1 elsewhere, and ``before``, int32 (h + 1, w + 1),
    with how many such pixels lie above and to the left (a summed-area table).
    """
    height, width = owner.shape
    slot[:] = -1
    for y in range(height):
        for x in range(width):
            f = owner[y, x]
            part = parts[f] if f >= 0 else 255
            if x + 1 < width:
                g = owner[y, x + 1]
                other = parts[g] if g >= 0 else 255
                if part != other or abs(depth[y, x] - depth[y, x + 1]) > layer:
                    slot[y, x] = 0
                    slot[y, x + 1] = 0
            if y + 1 < height:
                g = owner[y + 1, x]
                other = parts[g] if g >= 0 else 255
                if part != other or abs(depth[y, x] - depth[y + 1, x]) > layer:
                    slot[y, x] = 0
                    slot[y + 1, x] = 0
    n = 0
    before[0] = 0
    for y in range(height):
        before[y + 1, 0] = 0
        row = 0
        for x in range(width):
            if slot[y, x] == 0:
                slot[y, x] = n
                n += 1
                row += 1
            before[y + 1, x + 1] = before[y, x + 1] + row
    return n


@njit(cache=True, nogil=True)
def refine(
    fixed: np.ndarray,
    points: np.ndarray,
    triangles: np.ndarray,
    left: int,
    top: int,
    box: np.ndarray,
    boxes: np.ndarray,
    slot: np.ndarray,
    before: np.ndarray,
    count: int,
    depths: np.ndarray,
    owners: np.ndarray,
) -> None:
    """:func:`rasterise` again, at four places of each of the ``count`` pixels that :func:`find_edges` numbered.

    Fills the first rows of ``depths``, float32 (n, 4), and ``owners``, int32 (n, 4).
    """
    depths[:count] = _FAR
    owners[:count] = -1
    ox, oy = left * 256, top * 256
    for f in range(triangles.shape[0]):
        a, c, b = triangles[f, 0], triangles[f, 1], triangles[f, 2]
        ax, ay = fixed[a, 0] - ox, fixed[a, 1] - oy
        bx, by = fixed[b, 0] - ox, fixed[b, 1] - oy
        cx, cy = fixed[c, 0] - ox, fixed[c, 1] - oy
        area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
        if area <= 0:
            continue
        k = box[f]
        x0 = max((min(ax, bx, cx) + 159) >> 8, boxes[k, 0])
        x1 = min((max(ax, bx, cx) + 96) >> 8, boxes[k, 1])
        y0 = max((min(ay, by, cy) + 159) >> 8, boxes[k, 2])
        y1 = min((max(ay, by, cy) + 96) >> 8, boxes[k, 3])
        if x0 > x1 or y0 > y1:
            continue
        if before[y1 + 1, x1 + 1] - before[y0, x1 + 1] - before[y1 + 1, x0] + before[y0, x0] == 0:
            continue
        ux, uy = by - cy, cx - bx
        vx, vy = cy - ay, ax - cx
        wx, wy = ay - by, bx - ax
        per_area = np.float32(1.0) / np.float32(area)
        za = points[a, 2]
        dzb, dzc = (points[b, 2] - za) * per_area, (points[c, 2] - za) * per_area
        for y in range(y0, y1 + 1):
            for x in range(x0, x1 + 1):
                n = slot[y, x]
                if n < 0:
                    continue
                px, py = x * 256, y * 256
                u0 = (px - bx) * ux + (py - by) * uy
                v0 = (px - cx) * vx + (py - cy) * vy
                w0 = (px - ax) * wx + (py - ay) * wy
                for s in range(4):
                    u = u0 + _SX[s] * ux + _SY[s] * uy
                    v = v0 + _SX[s] * vx + _SY[s] * vy
                    w = w0 + _SX[s] * wx + _SY[s] * wy
                    if (u | v | w) >= 0:
                        d = za + np.float32(v) * dzb + np.float32(w) * dzc
                        if d > depths[n, s]:
                            depths[n, s] = d
                            owners[n, s] = f


@njit(cache=True, nogil=True)
def fragments(
    owner: np.ndarray,
    slot: np.ndarray,
    depths: np.ndarray,
    owners: np.ndarray,
    parts: np.ndarray,
    layer: float,
    triangle: np.ndarray,
    place: np.ndarray,
    pixel: np.ndarray,
    weight: np.ndarray,
) -> int:
    """One fragment for each surface that a pixel shows; how many there are.

    Pixels away from edges get one, at their centre; others one a surface (places of one part less than ``layer``
    centimetres apart), at the middle of the places where it is seen. Fills, up to their length, ``triangle`` int32
    (n,), ``place`` float32 (n, 2), x and y in the buffers' pixels, ``pixel`` int32 (n,), y * width + x, and ``weight``
    float32 (n,), the share of the pixel.
    """
    height, width = owner.shape
    n = 0
    for y in range(height):
        for x in range(width):
            i = slot[y, x]
            if i < 0:
                if owner[y, x] >= 0:
                    triangle[n] = owner[y, x]
                    place[n, 0] = x
                    place[n, 1] = y
                    pixel[n] = y * width + x
                    weight[n] = 1.0
                    n += 1
                continue
            used = 0
            for s in range(4):
                f = owners[i, s]
                if f < 0 or (used >> s) & 1:
                    continue
                sx, sy, count = 0.0, 0.0, 0
                for t in range(s, 4):
                    g = owners[i, t]
                    same = g >= 0 and not (used >> t) & 1 and parts[g] == parts[f]
                    if same and abs(depths[i, t] - depths[i, s]) < layer:
                        used |= 1 << t
                        sx += _SX[t]
                        sy += _SY[t]
                        count += 1
                triangle[n] = f
                place[n, 0] = x + np.floor(sx / count + 0.5) / 256.0
                place[n, 1] = y + np.floor(sy / count + 0.5) / 256.0
                pixel[n] = y * width + x
                weight[n] = 0.25 * count
                n += 1
    return n
