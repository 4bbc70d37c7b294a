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
_HAIR = 1e-9  # pixels
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
    ``fixed``, int32 (V, 2), picture positions in 1/256 pixel.
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
        fixed[i, 0] = np.int32(np.floor(px * 256.0 + 0.5))
        fixed[i, 1] = np.int32(np.floor(py * 256.0 + 0.5))


@njit(cache=True, nogil=True)
def vertex_normals(points: np.ndarray, triangles: np.ndarray, weld: np.ndarray, normals: np.ndarray) -> None:
    """Smooth unit normals, float32 (V, 3), of ``points`` (V, 3), weighted by area, shared across seams by ``weld``."""
    normals[:] = 0.0
    for f in range(triangles.shape[0]):
        a, b, c = triangles[f, 0], triangles[f, 1], triangles[f, 2]
        ux, uy, uz = (points[b, 0] - points[a, 0], points[b, 1] - points[a, 1], points[b, 2] - points[a, 2])
        vx, vy, vz = (points[c, 0] - points[a, 0], points[c, 1] - points[a, 1], points[c, 2] - points[a, 2])
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
    """:func:`nearest` for whom depth, float32 (h, w), and owner, int32 (h, w), are enough; ``fixed``: whole numbers."""
    part, front = np.empty(owner.shape, np.uint8), np.empty(len(triangles), np.int32)
    whole = np.ascontiguousarray(fixed, np.int32)
    nearest(whole, points, triangles, left, top, box, boxes, box, depth, owner, part, front)


@njit(cache=True, nogil=True, error_model="numpy")
def nearest(
    fixed: np.ndarray,
    points: np.ndarray,
    triangles: np.ndarray,
    left: int,
    top: int,
    box: np.ndarray,
    boxes: np.ndarray,
    parts: np.ndarray,
    depth: np.ndarray,
    owner: np.ndarray,
    part: np.ndarray,
    front: np.ndarray,
) -> int:
    """Nearest front-facing triangle at the centre of each pixel; how many triangles face the viewer in the picture.

    ``fixed``: int32 (V, 2), 1/256 pixel. ``points``: float32 (V, 3), camera space. ``left, top``: picture position of
    the buffers' first pixel. ``box``: uint8 (F,), which row of ``boxes``, int64 (n, 4): first and last x and y of the
    buffers, inclusive, a triangle may show in. ``parts``: uint8 (F,). Fills ``depth``, float32 (h, w), camera z in
    centimetres, ``owner``, int32 (h, w), the triangle or -1, ``part``, uint8 (h, w), its part or 255, and ``front``,
    int32 (F,), with the numbers of those that face the viewer and come within a pixel of the picture.
    """
    depth[:] = _FAR
    owner[:] = -1
    part[:] = 255
    ox, oy = left * 256, top * 256
    count = 0
    for f in range(triangles.shape[0]):
        a, c, b = (np.uint32(triangles[f, 0]), np.uint32(triangles[f, 1]), np.uint32(triangles[f, 2]))
        ax, ay = np.int64(fixed[a, 0]) - ox, np.int64(fixed[a, 1]) - oy
        bx, by = np.int64(fixed[b, 0]) - ox, np.int64(fixed[b, 1]) - oy
        cx, cy = np.int64(fixed[c, 0]) - ox, np.int64(fixed[c, 1]) - oy
        area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)  # y points down: the sense of rotation turns
        if area <= 0:
            continue
        k = box[f]
        low_x, high_x = min(ax, bx, cx), max(ax, bx, cx)
        low_y, high_y = min(ay, by, cy), max(ay, by, cy)
        if (
            (high_x + 96) >> 8 < boxes[k, 0]
            or (low_x + 159) >> 8 > boxes[k, 1]
            or (high_y + 96) >> 8 < boxes[k, 2]
            or (low_y + 159) >> 8 > boxes[k, 3]
        ):
            continue
        front[count] = f
        count += 1
        x0, x1 = max((low_x + 255) >> 8, boxes[k, 0]), min(high_x >> 8, boxes[k, 1])
        y0, y1 = max((low_y + 255) >> 8, boxes[k, 2]), min(high_y >> 8, boxes[k, 3])
        if x0 > x1 or y0 > y1:
            continue
        # the weight of a corner grows by ux for each 1/256 pixel to the right and by uy downwards; where it is 0 or
        # above, in pixels from x0, is worked out for a whole row. Nothing but rounding lies between _HAIR and exact
        ux, uy = by - cy, cx - bx
        vx, vy = cy - ay, ax - cx
        wx, wy = ay - by, bx - ax
        per_area = np.float32(1.0) / np.float32(area)
        za = points[a, 2]
        dzb, dzc = (points[b, 2] - za) * per_area, (points[c, 2] - za) * per_area
        dx, dy = (np.float32(vx) * dzb + np.float32(wx) * dzc, np.float32(vy) * dzb + np.float32(wy) * dzc)
        px, py = x0 * 256, y0 * 256
        u = (px - bx) * ux + (py - by) * uy
        v = (px - cx) * vx + (py - cy) * vy
        w = (px - ax) * wx + (py - ay) * wy
        ux, vx, wx, uy, vy, wy = (ux * 256, vx * 256, wx * 256, uy * 256, vy * 256, wy * 256)
        per_u, per_v, per_w = (-1.0 / (ux if ux else 1), -1.0 / (vx if vx else 1), -1.0 / (wx if wx else 1))
        kind = parts[f]
        span = float(x1 - x0)
        for y in range(y0, y1 + 1):
            low, high = 0.0, span
            if ux > 0:
                low = max(low, u * per_u - _HAIR)
            elif ux < 0:
                high = min(high, u * per_u + _HAIR)
            elif u < 0:
                high = -1.0
            if vx > 0:
                low = max(low, v * per_v - _HAIR)
            elif vx < 0:
                high = min(high, v * per_v + _HAIR)
            elif v < 0:
                high = -1.0
            if wx > 0:
                low = max(low, w * per_w - _HAIR)
            elif wx < 0:
                high = min(high, w * per_w + _HAIR)
            elif w < 0:
                high = -1.0
            u += uy
            v += vy
            w += wy
            if high < low:
                continue
            d_row = za + np.float32(y * 256 - ay) * dy
            first = x0 + np.int64(np.ceil(low))
            row = np.uint64(y)
            for x in range(np.uint64(first), np.uint64(x0 + np.int64(high) + 1)):
                d = d_row + np.float32(np.int64(x) * 256 - ax) * dx
                if d > depth[row, x]:
                    depth[row, x] = d
                    owner[row, x] = f
                    part[row, x] = kind
    return count


@njit(cache=True, nogil=True)
def find_edges(
    depth: np.ndarray, part: np.ndarray, layer: float, slot: np.ndarray, tiles: np.ndarray, special: np.ndarray
) -> tuple[int, int]:
    """Number the pixels that show more than one surface; how many there are, and how many are not plain skin.

    ``depth``, ``part``: see :func:`nearest`. Neighbours of different parts, or ``layer`` centimetres apart in depth,
    lie at an edge. Fills ``slot``, int32 (h, w): numbers from 0 in reading order, -2 in eyes and mouth, -1 elsewhere;
    ``tiles``, uint8 (h / 4 + 1, w / 4 + 1), 1 where a square of 4 x 4 pixels holds a numbered pixel; and ``special``,
    int32 (h * w,), y * width + x of all pixels that are not -1.
    """
    height, width = part.shape
    apart = np.float32(layer)
    tiles[:] = 0
    across, down = (np.zeros(width + 1, np.uint8), np.zeros(width, np.uint8))  # edges to the left and above
    edges, count = 0, 0
    for y in range(height):
        below = min(y + 1, height - 1)
        for x in range(width - 1):
            across[x + 1] = (part[y, x] != part[y, x + 1]) | (abs(depth[y, x] - depth[y, x + 1]) > apart)
        for x in range(width):
            under = (part[y, x] != part[below, x]) | (abs(depth[y, x] - depth[below, x]) > apart)
            edge = across[x] | across[x + 1] | down[x] | under
            down[x] = under
            inner = np.int32((part[y, x] > 1) & (part[y, x] < 255))
            slot[y, x] = np.int32(0) if edge else -np.int32(1) - inner
        for x in range(width):
            if slot[y, x] != -1:
                special[count] = y * width + x
                count += 1
                if slot[y, x] == 0:
                    slot[y, x] = edges
                    edges += 1
                    tiles[y >> 2, x >> 2] = 1
    return edges, count


@njit(cache=True, nogil=True, error_model="numpy")
def refine(
    fixed: np.ndarray,
    points: np.ndarray,
    triangles: np.ndarray,
    left: int,
    top: int,
    box: np.ndarray,
    boxes: np.ndarray,
    front: np.ndarray,
    facing: int,
    slot: np.ndarray,
    tiles: np.ndarray,
    count: int,
    depths: np.ndarray,
    owners: np.ndarray,
) -> None:
    """The first ``facing`` triangles of ``front`` at four places of each of the ``count`` pixels that
    :func:`find_edges` numbered; the rest as in :func:`nearest`.

    Fills the first rows of ``depths``, float32 (n, 4), and ``owners``, int32 (n, 4).
    """
    depths[:count] = _FAR
    owners[:count] = -1
    ox, oy = left * 256, top * 256
    for number in range(facing):
        f = front[number]
        a, c, b = (np.uint32(triangles[f, 0]), np.uint32(triangles[f, 1]), np.uint32(triangles[f, 2]))
        ax, ay = np.int64(fixed[a, 0]) - ox, np.int64(fixed[a, 1]) - oy
        bx, by = np.int64(fixed[b, 0]) - ox, np.int64(fixed[b, 1]) - oy
        cx, cy = np.int64(fixed[c, 0]) - ox, np.int64(fixed[c, 1]) - oy
        k = box[f]
        x0 = max((min(ax, bx, cx) + 159) >> 8, boxes[k, 0])
        x1 = min((max(ax, bx, cx) + 96) >> 8, boxes[k, 1])
        y0 = max((min(ay, by, cy) + 159) >> 8, boxes[k, 2])
        y1 = min((max(ay, by, cy) + 96) >> 8, boxes[k, 3])
        if x0 > x1 or y0 > y1:
            continue
        marked = 0
        for ty in range(y0 >> 2, (y1 >> 2) + 1):
            for tx in range(x0 >> 2, (x1 >> 2) + 1):
                marked |= tiles[ty, tx]
        if marked == 0:
            continue
        ux, uy = by - cy, cx - bx
        vx, vy = cy - ay, ax - cx
        wx, wy = ay - by, bx - ax
        area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
        per_area = np.float32(1.0) / np.float32(area)
        za = points[a, 2]
        dzb, dzc = (points[b, 2] - za) * per_area, (points[c, 2] - za) * per_area
        for y in range(y0, y1 + 1):
            row = np.uint64(y)
            for x in range(x0, x1 + 1):
                if slot[row, np.uint64(x)] < 0:
                    continue
                n = np.uint64(slot[row, np.uint64(x)])
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
    special: np.ndarray,
    marked: int,
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
    """One fragment for each surface that the first ``marked`` of ``special`` pixels show; how many there are.

    Pixels away from edges get one, at their centre; others one a surface (places of one part less than ``layer``
    centimetres apart), at the middle of the places where it is seen. Fills, up to their length, ``triangle`` int32
    (n,), ``place`` float32 (n, 2), x and y in the buffers' pixels, ``pixel`` int32 (n,), y * width + x, and ``weight``
    float32 (n,), the share of the pixel.
    """
    width = owner.shape[1]
    n = 0
    for number in range(marked):
        y, x = special[number] // width, special[number] % width
        i = slot[y, x]
        if i < 0:
            triangle[n] = owner[y, x]
            place[n, 0] = x
            place[n, 1] = y
            pixel[n] = special[number]
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
            pixel[n] = special[number]
            weight[n] = 0.25 * count
            n += 1
    return n
