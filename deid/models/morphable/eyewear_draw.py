"""Glasses into a finished face: tubes and lenses over the composite, hidden by the head where that lies before them.

Rims are thinner than pixels as often as not, so they are not triangles: each piece of tube covers a pixel by its
distance from the tube's middle, and the same distance says which way the tube faces there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from deid import imaging
from deid.blending import Composite
from deid.blending.outline import OVAL
from deid.models.morphable import eyewear_sheet as sheet
from deid.models.morphable import finish, shade
from deid.models.morphable._eyewear_kernels import NOWHERE, as_bytes, lay, nearest, standing_out, taken_off, tubes
from deid.models.morphable.codes import AttributeCode, Camera, Light
from deid.models.morphable.eyewear import Eyewear, Outline, Wire, arms, wire
from deid.models.morphable.geometry import Geometry, Part

_REMAINS = 0.36  # centimetres beside the rim's middle, over its half thickness, that are looked at for remains
_WINGS = 0.5  # centimetres farther, where only what stands out clearly is taken for remains
_THICK = 0.4  # centimetres: half of what is thinner than the pieces of pairs that stand out beside faces
_HINGE, _STUB_REACH = 1.0, 1.5  # centimetres: half of what is thicker than hinges, and how far they reach beyond rims
_HIGHER = 0.3  # centimetres: rims rise towards their hinges more often than not
_FAR_LENS = 0.12  # share of a rim that stands out beside the face, from which on it is on the far side
_STANDS_OUT = (0.03, 0.06)  # contrast from which something is a rim, or an arm
_EYES = (33, 133, 362, 263)  # mesh points: the corners of both eyes
_DEPTH_SIDE = 140  # pixels across the head in the picture of what is near
_BEHIND = (1.1, 0.3)  # centimetres that rims, and arms, may lie behind the skin and still be seen: brows bulge
_METAL, _MATT_METAL, _PLASTIC = 0.75, 0.35, 0.05  # share of light mirrored, and scattered
_ROOM = 0.85  # what a room, and who looks on, reflect of the light on a face: metal mirrors that, not white
_SHADOW, _DROP = 0.22, 0.35  # depth of the shadow on the skin, and how far down it falls, centimetres
_GLASS = 0.035  # what a lens mirrors of a white room


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
    """``result`` with ``eyewear`` on the head, drawn into its own arrays. ``neutral``, ``vertices``: float32 (V, 3),
    the head at rest and as posed. ``occlusion``: float32 (h, w), what lies before the face, and before the glasses."""
    shape = fitted(eyewear, geometry, neutral, vertices, attributes.camera, attributes.blur, result.rgb.shape[:2])
    return result if shape is None else laid(result, eyewear, shape, attributes, seed, frame, occlusion)


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """Glasses in a picture, whatever the light: ``box``, rows and columns that they lie in; float32 (h, w), cover by
    the rims, by arms that stand out, by arms beside the head and by the lenses, and light that the rims take;
    ``sides``, ``depth`` and ``step`` as :func:`._eyewear_kernels.tubes` has them; ``lenses``: float32 (2, n, 3), in
    the box."""

    box: tuple[slice, slice]
    rims: np.ndarray
    stubs: np.ndarray
    backs: np.ndarray
    sides: np.ndarray
    glass: np.ndarray
    shadow: np.ndarray
    depth: np.ndarray
    step: np.float32
    lenses: np.ndarray


def fitted(
    eyewear: Eyewear,
    geometry: Geometry,
    neutral: np.ndarray,
    vertices: np.ndarray,
    camera: Camera,
    blur: float,
    size: tuple[int, ...],
) -> Fitted | None:
    """``eyewear`` as :func:`worn` puts it into a picture of ``size``, rows and columns, that is soft by ``blur``
    pixels; ``None`` where it lies outside."""
    things = eyewear.wire or wire(geometry, neutral, eyewear)
    ends = camera.project(things.ends).astype(np.float32)
    lenses = camera.project(things.lenses).astype(np.float32)
    near = float(camera.scale / (1 - things.ends[..., 2].mean() / camera.distance))
    box = _box(ends, 4 + 3 * blur + 0.6 * near, size)
    if box is None:
        return None
    corner = np.array([box[1].start, box[0].start, 0], np.float32)
    size = (box[0].stop - box[0].start, box[1].stop - box[1].start)
    depth, step = _depth(geometry, vertices, camera, corner, size)
    rims, stubs, backs, sides = _layers(things, ends - corner, near, depth, step, size)
    shadow = _shadow(rims, near) if eyewear.rim > 0 else np.zeros((1, 1), np.float32)
    glass = _glass(lenses - corner, size, depth, step)
    rims, stubs, backs = (finish.soften(cover, blur) if cover.any() else cover for cover in (rims, stubs, backs))
    return Fitted(box, rims, stubs, backs, sides, glass, shadow, depth, step, lenses - corner)


def laid(
    result: Composite,
    eyewear: Eyewear,
    shape: Fitted,
    attributes: AttributeCode,
    seed: int,
    frame: int,
    occlusion: np.ndarray | None = None,
) -> Composite:
    """``result`` with glasses of that ``shape`` in the light of ``attributes``, drawn into its own arrays."""
    free = np.ones((1, 1), np.float32) if occlusion is None else 1 - occlusion[shape.box]
    rig = shade.light_rig(attributes.light)
    lay(  # type: ignore[call-arg]
        result.rgb[shape.box], result.touched[shape.box], shape.rims, shape.stubs, shape.backs,
        shape.sides, shape.glass, shape.shadow, free, shape.depth, shape.step, _gleams(shape.lenses, rig.key),
        *_look(eyewear, rig, attributes.light),
        _code(attributes.light.tone), np.float32(attributes.grain / 255), (seed * 1009 + frame) & 0x7FFFFFFF,
    )  # fmt: skip
    return result


def without_remains(
    picture: np.ndarray,
    points: np.ndarray,
    eyewear: Eyewear,
    geometry: Geometry,
    neutral: np.ndarray,
    vertices: np.ndarray,
    camera: Camera,
    *,
    in_place: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """``picture``, float32 (h, w, 3), without the rims of the subject's own glasses where they stand out beside the
    face: a copy where anything changes, or itself, changed ``in_place``; and what was changed, bool (h, w). ``points``:
    (478, 2 or more), the subject's mesh in its pixels. ``neutral``, ``vertices``: float32 (V, 3), the surrogate's head,
    at rest and posed, with features about there."""
    own = eyewear.own
    if own is None:  # what looks like an arm is something else
        return picture, np.zeros(picture.shape[:2], np.bool_)
    middle = sheet.eyes_of(geometry, neutral)
    xy = np.concatenate([own.points(), _corner(own)])  # the last two lie where an arm begins
    lenses = np.stack([sheet.surface(side * xy[:, 0], xy[:, 1], middle) for side in (1, -1)])
    lines = camera.project(lenses)[..., :2]
    corners = geometry.triangles[geometry.landmark_triangles[list(_EYES)]]
    ours = (vertices[corners] * geometry.landmark_weights[list(_EYES)][..., None]).sum(axis=1)
    slip = points[list(_EYES), :2].mean(axis=0) - camera.project(ours)[:, :2].mean(axis=0)
    lines += slip
    behind = [camera.project(arm)[..., :2] + slip for arm in arms(geometry, neutral, own, eyewear.rim)]
    reach = float(camera.scale) * (eyewear.rim + _REMAINS)
    oval = points[OVAL, :2]
    everything = np.concatenate([*lines, *behind])
    box = _box(everything[None], 4 * reach + 4, picture.shape[:2])
    changed = np.zeros(picture.shape[:2], np.bool_)
    if box is None:
        return picture, changed
    corner = np.array([box[1].start, box[0].start])
    inside = np.zeros(changed[box].shape, np.uint8)
    imaging.fill_poly(inside, [np.round(oval - corner).astype(np.int32)], 1)
    mask = np.zeros_like(inside)
    for arm in behind:
        place = [np.round((arm - corner) * 16).astype(np.int32)]
        imaging.polylines(mask, place, False, 2, max(1, round(2 * reach)), imaging.LINE_8, 4)
    wide = reach + float(camera.scale) * _WINGS
    for line in lines - corner:  # rims end in other shapes than ellipses
        around = [np.round(line[:-2] * 16).astype(np.int32)]
        imaging.polylines(mask, around, True, 2, max(1, round(2 * wide)), imaging.LINE_8, 4)
    for line in lines - corner:
        whole = np.round(line * 16).astype(np.int32)
        imaging.fill_poly(mask, [whole[:-2]], 1, imaging.LINE_8, 4)
        imaging.polylines(mask, [whole[:-2]], True, 1, max(1, round(2 * reach)), imaging.LINE_8, 4)
        imaging.polylines(mask, [whole[-2:]], False, 1, max(1, round(3 * reach)), imaging.LINE_8, 4)
    mask[inside > 0] = 0
    if not mask.any():
        return picture, changed
    out = picture if in_place else picture.copy()
    hinge = _far_hinge(own, lenses, lines - corner, camera, slip - corner, inside)
    if hinge is not None:  # before the rest, which would leave it without what it stands out from
        _thinned(out[box], hinge, changed[box], _HINGE * float(camera.scale))
    middle_column = int(np.clip(oval[:, 0].mean() - corner[0], 0, mask.shape[1]))
    for half in (np.s_[:, :middle_column], np.s_[:, middle_column:]):
        _thinned(out[box][half], mask[half], changed[box][half], _THICK * float(camera.scale))
    return out, changed


def _outside(line: np.ndarray, inside: np.ndarray) -> float:
    """Share of the points of ``line``, (n, 2), at which ``inside``, (h, w), is 0, or beyond it."""
    x, y = np.rint(line.T).astype(np.intp)
    held = (x >= 0) & (y >= 0) & (x < inside.shape[1]) & (y < inside.shape[0])
    return 1 - float(inside[y[held], x[held]].sum()) / len(line)


def _far_hinge(
    own: Outline, lenses: np.ndarray, lines: np.ndarray, camera: Camera, shift: np.ndarray, inside: np.ndarray
) -> np.ndarray | None:
    """uint8 like ``inside``, (h, w), which is 1 where the face is: 1 where the hinge of the arm on the far side of a
    turned head stands out before the background; ``None`` where no side is the far one. ``lenses``: (2, n, 3), the
    rims' places on the head, and ``lines``, (2, n, 2), in the picture, where ``shift`` is added to what is projected.
    """
    beside = [_outside(line[:-2], inside) for line in lines]
    far = int(np.argmax(beside))
    if beside[far] < _FAR_LENS:
        return None
    out = np.zeros_like(inside)
    end = lenses[far, -2] + np.array([0, _HIGHER, 0])
    outwards = end + np.array([np.sign(end[0]) * _STUB_REACH, 0, 0])
    place = camera.project(np.stack([end, outwards]))[:, :2] + shift
    thickness = max(1, round(2 * _HINGE * float(camera.scale)))
    imaging.polylines(out, [np.round(place * 16).astype(np.int32)], False, 1, thickness, imaging.LINE_8, 4)
    out[inside > 0] = 0
    return out if out.any() else None


def _thinned(picture: np.ndarray, mask: np.ndarray, changed: np.ndarray, thick: float) -> None:
    """Take lines up to twice ``thick`` pixels wide off ``picture``, float32 (h, w, 3), in place, under ``mask``, uint8
    (h, w): 1 where rims lie, 2 where arms lie, on hair as often as on skin. A median leaves edges of hair, skin and
    background where they are, and nothing of what is thin. Notes in ``changed``, bool (h, w), what it changed."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return
    width = 2 * max(round(thick), 1) + 1
    around = (slice(max(rows[0] - width, 0), rows[-1] + width + 1),
              slice(max(columns[0] - width, 0), columns[-1] + width + 1))  # fmt: skip
    seen, where = picture[around], mask[around]
    code, share = np.empty(seen.shape, np.uint8), np.empty(where.shape, np.float32)
    as_bytes(seen, code)
    usual = imaging.median_blur(code, min(width, 255))
    standing_out(seen, usual, where, np.array(_STANDS_OUT, np.float32), share)
    # whatever stands out takes its soft edges along
    share = imaging.gaussian_blur(imaging.dilate(share, np.ones((3, 3), np.uint8)), (0, 0), 0.8)
    taken_off(seen, usual, where, share, changed[around])


def _corner(own: Outline) -> np.ndarray:
    """float64 (2, 2): x, y on the sheet of the piece between a rim's outer end and its arm."""
    end = own.x + own.a * (1 + 0.5 * own.taper)
    height = own.y + own.lift + 0.45 * own.b
    return np.array([[end - 0.3, height], [end + 0.5, height]])


def _layers(
    things: Wire, ends: np.ndarray, near: float, depth: np.ndarray, step: np.float32, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """float32 (h, w): cover by the rims, by the arms where they stand out, by the arms beside the head; and (h, w, 2),
    which way the tubes face."""
    sides = np.zeros((*size, 2), np.float32)
    half = (things.half * near).astype(np.float32)
    out = []
    for some in (things.back, things.arm & ~things.back, ~things.arm):
        cover = np.zeros(size, np.float32)
        behind = np.float32(_BEHIND[1] if things.arm[some].all() else _BEHIND[0])
        share = things.share[some].astype(np.float32)
        tubes(np.ascontiguousarray(ends[some]), half[some], share, behind, depth, step, cover, sides)
        out.append(cover)
    return out[2], out[1], out[0], sides


def _box(ends: np.ndarray, reach: float, size: tuple[int, ...]) -> tuple[slice, slice] | None:
    low = np.floor(ends[..., :2].min(axis=(0, 1)) - reach).astype(int)
    high = np.ceil(ends[..., :2].max(axis=(0, 1)) + reach).astype(int) + 1
    low, high = np.maximum(low, 0), np.minimum(high, size[::-1])
    if (high - low).min() < 4:
        return None
    return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))


def _depth(
    geometry: Geometry, vertices: np.ndarray, camera: Camera, corner: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, np.float32]:
    """float32 (a, b): camera z of the head's skin, NOWHERE beside it; and how many pixels each stands for."""
    step = max(1.0, 18.0 * camera.scale / _DEPTH_SIDE)
    members, triangles = _skin(geometry)
    points = camera.project(vertices[members].astype(np.float32)).astype(np.float32)
    points[:, :2] = (points[:, :2] - corner[:2] + 0.5) / step - 0.5
    depth = np.full((math.ceil(size[0] / step), math.ceil(size[1] / step)), NOWHERE, np.float32)
    nearest(points, triangles, depth)
    return depth, np.float32(step)


@lru_cache(maxsize=2)
def _skin(geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """int (m,): vertices of skin, ears and scalp, and int32 (n, 3): triangles between them."""
    members, triangles = np.unique(geometry.triangles[geometry.parts <= Part.HEAD], return_inverse=True)
    return members, np.ascontiguousarray(triangles.reshape(-1, 3), np.int32)


def _glass(lenses: np.ndarray, size: tuple[int, int], depth: np.ndarray, step: np.float32) -> np.ndarray:
    """float32 (h, w): cover by the lenses, where no nose lies before them."""
    canvas = np.zeros(size, np.uint8)
    for lens in lenses:
        imaging.fill_poly(canvas, [np.round(lens[:, :2] * 16).astype(np.int32)], 255, imaging.LINE_AA, 4)
    level = np.float32(lenses[..., 2].mean() + 0.8)
    out = canvas.astype(np.float32) / 255
    if (depth > level).any():
        out *= 1 - imaging.resize((depth > level).astype(np.float32), size[::-1], interpolation=imaging.INTER_LINEAR)
    return out


def _shadow(cover: np.ndarray, near: float) -> np.ndarray:
    """float32 (h, w): how much light the rims take from what lies a little below them."""
    drop = min(round(_DROP * near), len(cover) - 1)
    fallen = np.zeros_like(cover)
    fallen[drop:] = cover[: len(cover) - drop]
    return finish.soften(fallen, max(0.12 * near, 0.6)) * np.float32(_SHADOW)


def _gleams(lenses: np.ndarray, key: np.ndarray) -> np.ndarray:
    """float32 (2, 4): where the room's brightest side shows in each lens: x, y, and the reciprocals of its widths."""
    aside = 0.26 * (np.sign(key[0]) if abs(key[0]) > 0.1 else -1)
    rows = []
    for lens in lenses:
        low, high = lens[:, :2].min(axis=0), lens[:, :2].max(axis=0)
        size = np.maximum(high - low, 1)
        at = (low + high) / 2 + np.array([aside, -0.2]) * size
        rows.append((*at, 1 / (0.13 * size[0]), 1 / (0.24 * size[1])))
    return np.array(rows, np.float32)


def _look(eyewear: Eyewear, rig: shade.LightRig, light: Light) -> tuple[np.ndarray, ...]:
    """What the kernel needs of light and material: scattered and mirrored light as harmonics, float32 (9, 3) each, the
    direction and colour of the key light's glint, what lenses let through and what they mirror, float32 (3,)."""
    keep, veil = finish.veil_of(light.veil, light.tone)
    around = rig.environment[:, None] * (rig.white * keep * np.float32(_ROOM))
    scattered = rig.sh * (rig.white * keep)
    if eyewear.metal:
        matt, shine = eyewear.colour * _MATT_METAL, eyewear.colour * _METAL
    else:
        matt, shine = eyewear.colour, np.full(3, _PLASTIC, np.float32)
    parts = (
        scattered * matt, around * shine, rig.key, 1.5 * rig.key_rgb * keep * shine, eyewear.lens,
        _GLASS * rig.white * keep, veil,
    )  # fmt: skip
    return tuple(np.ascontiguousarray(part, np.float32) for part in parts)


def _code(linear: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(finish.to_code(np.asarray(linear, np.float32)[None, None])[0, 0])
