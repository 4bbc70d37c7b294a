"""Glasses into a finished face: tubes and lenses over the composite, hidden by the head where that lies before them.

Rims are thinner than pixels as often as not, so they are not triangles: each piece of tube covers a pixel by its
distance from the tube's middle, and the same distance says which way the tube faces there.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numba import njit

from deid import imaging
from deid.blending import Composite
from deid.models.morphable import finish, shade
from deid.models.morphable.codes import AttributeCode, Camera
from deid.models.morphable.eyewear import Eyewear, wire
from deid.models.morphable.geometry import Geometry, Part

_NOWHERE = np.float32(-1e9)
_DEPTH_SIDE = 200  # pixels across the head in the picture of what is near
_BEHIND = (0.45, 0.3)  # centimetres that rims, and arms, may lie behind the skin and still be seen: heads differ
_METAL, _PLASTIC = 0.75, 0.10  # share of light mirrored
_SHADOW, _DROP = 0.22, 0.35  # depth of the shadow on the skin, and how far down it falls, centimetres
_GLASS = 0.045  # what a lens mirrors of a white room
_SKIN_REACH = 0.25  # code values from the skin's tone within which the head is taken for bare


@njit(cache=True, nogil=True, error_model="numpy")
def _tubes(ends, half, share, behind, depth, step, cover, sides):  # type: ignore[no-untyped-def]
    """Cover of a picture by tubes. ``ends``: float32 (n, 2, 3), pixels and camera z. ``half``: float32 (n,), pixels.
    ``share``, ``behind``: float32 (n,). ``depth``: float32 (a, b), camera z of the head, one a ``step`` pixels. Fills
    ``cover``, float32 (h, w), and ``sides``, float32 (h, w, 2): the tube's normal on screen, x right, y down."""
    h, w = cover.shape
    for i in range(ends.shape[0]):
        ax, ay, bx, by = ends[i, 0, 0], ends[i, 0, 1], ends[i, 1, 0], ends[i, 1, 1]
        wide = max(half[i], np.float32(0.5))
        strength = share[i] * min(half[i] / wide, np.float32(1))
        reach = wide + np.float32(1)
        dx, dy = bx - ax, by - ay
        square = max(dx * dx + dy * dy, np.float32(1e-6))
        for y in range(max(0, int(min(ay, by) - reach)), min(h, int(max(ay, by) + reach) + 2)):
            for x in range(max(0, int(min(ax, bx) - reach)), min(w, int(max(ax, bx) + reach) + 2)):
                px, py = np.float32(x) - ax, np.float32(y) - ay
                t = min(max((px * dx + py * dy) / square, np.float32(0)), np.float32(1))
                ox, oy = px - t * dx, py - t * dy
                d = np.sqrt(ox * ox + oy * oy)
                c = min(max(wide + np.float32(0.5) - d, np.float32(0)), np.float32(1)) * strength
                if c <= cover[y, x]:
                    continue
                z = ends[i, 0, 2] + t * (ends[i, 1, 2] - ends[i, 0, 2])
                row, column = min(int(y / step), depth.shape[0] - 1), min(int(x / step), depth.shape[1] - 1)
                if z + behind[i] < depth[row, column]:
                    continue
                cover[y, x] = c
                scale = np.float32(1) / max(wide, d)
                sides[y, x, 0] = ox * scale
                sides[y, x, 1] = oy * scale


def worn(
    result: Composite,
    eyewear: Eyewear,
    geometry: Geometry,
    neutral: np.ndarray,
    vertices: np.ndarray,
    attributes: AttributeCode,
    *,
    seed: int,
    frame: int,
    occlusion: np.ndarray | None = None,
) -> Composite:
    """``result`` with ``eyewear`` on the head. ``neutral``, ``vertices``: float32 (V, 3), the head at rest and as
    posed. ``occlusion``: float32 (h, w), what lies before the face, and so before the glasses."""
    camera = attributes.camera
    things = wire(geometry, neutral, eyewear)
    h, w = result.rgb.shape[:2]
    ends = camera.project(things.ends).astype(np.float32)
    lenses = camera.project(things.lenses).astype(np.float32)
    near = camera.scale / (1 - things.ends[..., 2].mean() / camera.distance)
    box = _box(ends, 4 + 3 * attributes.blur + 0.6 * near, (h, w))
    if box is None:
        return result
    ys, xs = box
    corner = np.array([xs.start, ys.start, 0], np.float32)
    ends, lenses = ends - corner, lenses - corner
    size = (ys.stop - ys.start, xs.stop - xs.start)
    depth, step = _depth(geometry, vertices, camera, corner, size)
    cover, sides = np.zeros(size, np.float32), np.zeros((*size, 2), np.float32)
    behind = np.where(things.arm, _BEHIND[1], _BEHIND[0]).astype(np.float32)
    half = (things.half * near).astype(np.float32)
    under = result.rgb[box]
    bare = _bare(under, attributes)
    arms = np.zeros(size, np.float32)
    head = imaging.resize(depth, size[::-1], interpolation=imaging.INTER_NEAREST) > _NOWHERE / 2
    for some, where in ((things.back, bare * head), (things.arm & ~things.back, np.where(head, bare, 1))):
        piece = np.zeros(size, np.float32)
        share = things.share[some].astype(np.float32)
        _tubes(ends[some], half[some], share, behind[some], depth, step, piece, sides)
        np.maximum(arms, piece * where, out=arms)
    front = ~things.arm
    _tubes(ends[front], half[front], things.share[front].astype(np.float32), behind[front], depth, step, cover, sides)
    shadow = cover.copy()
    np.maximum(cover, arms, out=cover)
    glass = _glass(lenses, size, depth, step)
    free = np.float32(1) if occlusion is None else 1 - occlusion[box]
    linear = finish.to_linear(under)
    linear = _shaded(linear, shadow, near) if eyewear.rim > 0 else linear
    linear = _through(linear, glass, lenses, eyewear, attributes, sides)
    coded = finish.to_code(linear)
    colour = finish.veiled(
        _tube_colour(eyewear, sides, cover, attributes), attributes.light.veil, attributes.light.tone
    )
    blur = attributes.blur
    cover = finish.soften(cover, blur)
    tube = finish.soften(finish.to_code(colour), blur)
    tube = finish.add_grain(tube, attributes.grain, seed + 1, frame, attributes.grain_size, attributes.chroma_grain)
    layered = coded + cover[..., None] * (tube - coded)
    changed = (np.abs(layered - under).max(axis=2) > np.float32(5e-4)) & (np.asarray(free) > 0)
    mixed = under + np.asarray(free, np.float32)[..., None] * (layered - under) if occlusion is not None else layered
    rgb, touched = result.rgb.copy(), result.touched.copy()
    rgb[box] = np.where(changed[..., None], mixed, under)
    touched[box] |= changed
    return Composite(rgb, touched, result.doubt)


def _box(ends: np.ndarray, reach: float, size: tuple[int, int]) -> tuple[slice, slice] | None:
    low = np.floor(ends[..., :2].min(axis=(0, 1)) - reach).astype(int)
    high = np.ceil(ends[..., :2].max(axis=(0, 1)) + reach).astype(int) + 1
    low, high = np.maximum(low, 0), np.minimum(high, size[::-1])
    if (high - low).min() < 4:
        return None
    return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))


def _depth(
    geometry: Geometry, vertices: np.ndarray, camera: Camera, corner: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, np.float32]:
    """float32 (a, b): camera z of the head's skin, -1e9 beside it; and how many pixels of the box each stands for."""
    step = max(1.0, 18.0 * camera.scale / _DEPTH_SIDE)
    points = camera.project(np.asarray(vertices, np.float64)).astype(np.float32)
    points[:, :2] = (points[:, :2] - corner[:2] + 0.5) / step - 0.5
    depth = np.full((math.ceil(size[0] / step), math.ceil(size[1] / step)), _NOWHERE, np.float32)
    _nearest(points, _skin(geometry), depth)
    return depth, np.float32(step)


@lru_cache(maxsize=2)
def _skin(geometry: Geometry) -> np.ndarray:
    """int32 (n, 3): triangles of skin, ears and scalp."""
    return np.ascontiguousarray(geometry.triangles[geometry.parts <= Part.HEAD], np.int32)


@njit(cache=True, nogil=True, error_model="numpy")
def _nearest(points, triangles, depth):  # type: ignore[no-untyped-def]
    """Into ``depth``, float32 (h, w): the greatest z of the triangles over each sample. ``points``: float32 (V, 3)."""
    h, w = depth.shape
    for f in range(triangles.shape[0]):
        a, b, c = triangles[f, 0], triangles[f, 1], triangles[f, 2]
        ax, ay, bx, by, cx, cy = points[a, 0], points[a, 1], points[b, 0], points[b, 1], points[c, 0], points[c, 1]
        area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
        x0, x1 = max(0, int(np.ceil(min(ax, bx, cx)))), min(w - 1, int(np.floor(max(ax, bx, cx))))
        y0, y1 = max(0, int(np.ceil(min(ay, by, cy)))), min(h - 1, int(np.floor(max(ay, by, cy))))
        if x0 > x1 or y0 > y1 or abs(area) < np.float32(1e-6):
            continue
        for y in range(y0, y1 + 1):
            for x in range(x0, x1 + 1):
                u = ((bx - x) * (cy - y) - (cx - x) * (by - y)) / area
                v = ((cx - x) * (ay - y) - (ax - x) * (cy - y)) / area
                t = np.float32(1) - u - v
                if u >= 0 and v >= 0 and t >= 0:
                    z = u * points[a, 2] + v * points[b, 2] + t * points[c, 2]
                    if z > depth[y, x]:
                        depth[y, x] = z


def _bare(picture: np.ndarray, attributes: AttributeCode) -> np.ndarray:
    """float32 (h, w): 1 where ``picture`` has about the colour of skin, so that no hair hides what runs over it."""
    tone = finish.to_code(np.asarray(attributes.light.tone, np.float32)[None, None])[0, 0]
    away = np.abs(finish.soften(picture, 1.0) - tone).max(axis=2)
    return np.asarray(np.clip((_SKIN_REACH - away) / 0.08 + 1, 0, 1), np.float32)


def _glass(lenses: np.ndarray, size: tuple[int, int], depth: np.ndarray, step: np.float32) -> np.ndarray:
    """float32 (h, w): cover by the lenses, where no nose lies before them."""
    canvas = np.zeros(size, np.uint8)
    for lens in lenses:
        imaging.fill_poly(canvas, [np.round(lens[:, :2] * 16).astype(np.int32)], 255, imaging.LINE_AA, 4)
    level = np.float32(lenses[..., 2].mean() + 0.8)
    hidden = imaging.resize((depth > level).astype(np.float32), size[::-1], interpolation=imaging.INTER_LINEAR)
    return canvas.astype(np.float32) / 255 * (1 - hidden)


def _shaded(linear: np.ndarray, cover: np.ndarray, near: float) -> np.ndarray:
    """The shadow of the rims, a little below them."""
    drop = round(_DROP * near)
    if drop < 1 or drop >= len(cover):
        return linear
    fallen = np.zeros_like(cover)
    fallen[drop:] = cover[:-drop]
    fallen = finish.soften(fallen, max(0.12 * near, 0.6))
    return np.asarray(linear * (1 - np.float32(_SHADOW) * fallen)[..., None], np.float32)


def _through(
    linear: np.ndarray,
    glass: np.ndarray,
    lenses: np.ndarray,
    eyewear: Eyewear,
    attributes: AttributeCode,
    sides: np.ndarray,
) -> np.ndarray:
    """What is seen through the lenses, and the room's soft light in them."""
    light = attributes.light
    passed = 1 - glass[..., None] * (1 - eyewear.lens)
    out = linear * passed
    key = shade.light_rig(light).key
    y, x = np.mgrid[: glass.shape[0], : glass.shape[1]].astype(np.float32)
    gleam = np.zeros_like(glass)
    for lens in lenses:
        low, high = lens[:, :2].min(axis=0), lens[:, :2].max(axis=0)
        size = np.maximum(high - low, 1)
        at = (low + high) / 2 + np.array([0.26 * np.sign(key[0]) if abs(key[0]) > 0.1 else -0.26, -0.2]) * size
        u = ((x - at[0]) + 0.35 * (y - at[1])) / (0.13 * size[0])
        v = (y - at[1]) / (0.24 * size[1])
        np.maximum(gleam, np.exp(-(u * u) - v * v), out=gleam)
    shine = glass * np.float32(_GLASS) * (np.float32(0.25) + gleam)
    return np.asarray(out + shine[..., None] * light.white, np.float32)


def _tube_colour(eyewear: Eyewear, sides: np.ndarray, cover: np.ndarray, attributes: AttributeCode) -> np.ndarray:
    """float32 (h, w, 3), linear: the tubes under the frame's light, and their mean colour where there is none."""
    rig = shade.light_rig(attributes.light)
    at = cover > 0
    side = sides[at]
    n = np.empty((len(side), 3), np.float32)
    n[:, 0], n[:, 1] = side[:, 0], -side[:, 1]
    n[:, 2] = np.sqrt(np.maximum(1 - (side**2).sum(axis=1), 0))
    mirrored = 2 * n[:, 2:] * n - np.array([0, 0, 1], np.float32)
    diffuse = np.maximum(_harmonics(n) @ rig.sh, 0) * rig.white
    around = np.maximum(_harmonics(mirrored) @ rig.environment, 0)[:, None] * rig.white
    glint = np.maximum(mirrored @ rig.key, 0) ** 24
    shine = around + 1.5 * glint[:, None] * rig.key_rgb
    if eyewear.metal:
        colour = eyewear.colour * (0.35 * diffuse + _METAL * shine)
    else:
        colour = eyewear.colour * diffuse + _PLASTIC * 0.5 * shine
    out = np.empty((*cover.shape, 3), np.float32)
    out[:] = colour.mean(axis=0) if len(colour) else eyewear.colour * rig.white
    out[at] = colour
    return out


def _harmonics(n: np.ndarray) -> np.ndarray:
    """float32 (n, 9), in the order of :class:`.codes.Light`."""
    x, y, z = n.T
    rows = [np.ones_like(x), x, y, z, x * y, x * z, y * z, x * x - y * y, 3 * z * z - 1]
    return np.stack(rows, axis=1).astype(np.float32)
