"""Tables for the renderer that hold for every surrogate of a geometry."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from deid.models.morphable import raster, shade
from deid.models.morphable.geometry import Geometry, Part
from deid.models.morphable.nearest import nearest_distance
from deid.models.morphable.photo_local import bumps
from deid.models.morphable.raster_lashes import Strands, lash_strands
from deid.models.morphable.shade_eyes import EyeTables, eye_tables
from deid.models.morphable.shade_mouth import LipTables, lip_tables, lower_jaw
from deid.models.morphable.shade_shadows import Hollows, hollows_of, load_shadows
from deid.models.morphable.shade_soft import SoftNormals, soft_normals

_HIDDEN = (Part.LASHES,)  # drawn as strands instead of the mesh's cards
_BOX = np.array([0, 0, 1, 1, 2, 3, 0, 1, 0], np.uint8)  # by part: 1 is seen through the mouth, 2 and 3 between lids
_TOOTH_GROWTH = 0.032  # centimetres
_BODY = 0.4  # of the light from below, which a chest keeps from the underside of the jaw
_LID_TINT = np.array([0.96, 0.88, 0.85])


@dataclass(frozen=True, slots=True, eq=False)
class HeadModel:
    """What a geometry alone determines; see :func:`head_model`."""

    triangles: np.ndarray
    parts: np.ndarray
    box: np.ndarray
    rims: tuple[np.ndarray, ...]
    skin: np.ndarray
    face: np.ndarray
    skin_vertices: np.ndarray
    occlusion: np.ndarray
    open_rgb: np.ndarray
    lips: LipTables
    teeth: tuple[np.ndarray, np.ndarray]
    texel_density: np.ndarray
    covered: np.ndarray
    moisture: np.ndarray
    uv: np.ndarray
    wet: np.ndarray
    lower: np.ndarray
    eyes: EyeTables
    strands: Strands
    bumps: np.ndarray
    eye_bumps: np.ndarray
    transfer: np.ndarray
    hollows: Hollows
    soft: SoftNormals
    around_eyes: tuple[np.ndarray, np.ndarray]


@lru_cache(maxsize=2)
def head_model(geometry: Geometry) -> HeadModel:
    """Tables that hold for every surrogate of a geometry."""
    shown = ~np.isin(geometry.parts, _HIDDEN)
    triangles = np.ascontiguousarray(geometry.triangles[shown], np.int32)
    parts = np.ascontiguousarray(geometry.parts[shown], np.uint8)
    skin = parts <= Part.HEAD
    textured = _in_face_tile(len(geometry.vertices), triangles[skin], parts[skin])
    occlusion = geometry.occlusion * _body_shade(geometry, triangles[skin])
    wet = _wetness(geometry)
    covered, moisture = _covered(geometry, triangles[skin], textured, wet)
    members = np.unique(triangles[skin])
    transfer, hollows = load_shadows(geometry)
    return HeadModel(
        triangles=triangles,
        parts=parts,
        box=_BOX[parts],
        rims=_rims(geometry),
        skin=skin,
        face=parts == Part.SKIN,
        skin_vertices=members.astype(np.int32),
        occlusion=occlusion,
        open_rgb=shade.occlusion_rgb(occlusion) * _lid_tint(geometry),
        lips=lip_tables(geometry),
        teeth=_inflated_teeth(geometry),
        texel_density=_texel_density(geometry, triangles[skin], textured),
        covered=covered,
        moisture=moisture,
        uv=geometry.uv,
        wet=wet,
        lower=lower_jaw(geometry),
        eyes=eye_tables(geometry),
        strands=lash_strands(geometry),
        bumps=bumps(geometry, geometry.vertices[members]),
        eye_bumps=_eye_bumps(geometry),
        transfer=transfer[members],
        hollows=hollows_of(geometry, hollows, members),
        soft=soft_normals(geometry, members.astype(np.int32)),
        around_eyes=_around_eyes(geometry, members),
    )


def _eye_bumps(geometry: Geometry) -> np.ndarray:
    """float32 (3, K): :func:`~deid.models.morphable.photo_local.bumps` at the left eye, the right eye, the mouth."""
    mouth = geometry.vertices[geometry.lips_inner].mean(axis=0)
    return bumps(geometry, np.stack([*geometry.eye_centres, mouth]))


def _around_eyes(geometry: Geometry, skin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places in ``skin`` of the vertices around the left and the right eye, but for the lids' own rims."""
    lids = (geometry.lid_upper_left, geometry.lid_lower_left), (geometry.lid_upper_right, geometry.lid_lower_right)
    points = geometry.vertices
    left, right = (
        np.flatnonzero((away > 0.3) & (away < 1.2))
        for away in (nearest_distance(points[skin], points[np.concatenate(pair)]) for pair in lids)
    )
    return left, right


def _rims(geometry: Geometry) -> tuple[np.ndarray, ...]:
    """Vertices around mouth, left and right eye."""
    left = np.concatenate([geometry.lid_upper_left, geometry.lid_lower_left])
    right = np.concatenate([geometry.lid_upper_right, geometry.lid_lower_right])
    return (geometry.lips_inner, left, right)


def _inflated_teeth(geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """Vertices of the teeth, and how far out they move, float32 (n, 3): modelled gaps are wider than real ones."""
    triangles = np.ascontiguousarray(geometry.triangles[geometry.parts == Part.TEETH])
    normals = np.empty_like(geometry.vertices)
    raster.vertex_normals(geometry.vertices, triangles, geometry.weld, normals)
    members = np.unique(triangles)
    return members, normals[members] * np.float32(_TOOTH_GROWTH)


def face_tile(geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """Triangles of skin, int32 (n, 3), and which vertices' texture coordinates lie in the face's tile, bool (V,)."""
    skin = geometry.parts <= Part.HEAD
    triangles = np.ascontiguousarray(geometry.triangles[skin], np.int32)
    return triangles, _in_face_tile(len(geometry.vertices), triangles, geometry.parts[skin])


def _in_face_tile(count: int, triangles: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """bool (V,): vertices whose texture coordinates lie in the face's tile: those joined to the face's skin without a
    seam (the back of the head keeps coordinates of its own, which the albedo does not cover)."""
    pairs = np.concatenate([triangles[:, :2], triangles[:, 1:]])
    # each vertex is labelled by the least number that it is joined to; a library for graphs takes longer to load
    label, before = np.arange(count), np.zeros(0, int)
    while not np.array_equal(label, before):
        before = label.copy()
        ends = label[pairs]
        np.minimum.at(label, ends.max(axis=1), ends.min(axis=1))
        label = label[label]
    return np.isin(label, np.unique(label[triangles[parts == Part.SKIN]]))


def _texel_density(geometry: Geometry, triangles: np.ndarray, textured: np.ndarray) -> np.ndarray:
    """float32 (V,): log2 of how many texture widths a centimetre of skin spans; large where there is no texture."""
    points, uv = (geometry.vertices[triangles].astype(np.float64), geometry.uv[triangles].astype(np.float64))
    area = np.linalg.norm(np.cross(points[:, 1] - points[:, 0], points[:, 2] - points[:, 0]), axis=1)
    one, two = uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0]
    area_uv = np.abs(one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0])
    sums = np.zeros((2, len(geometry.vertices)))
    for corner in range(3):
        sums[0] += np.bincount(triangles[:, corner], area_uv, len(geometry.vertices))
        sums[1] += np.bincount(triangles[:, corner], area, len(geometry.vertices))
    density = 0.5 * np.log2(np.maximum(sums[0], 1e-9) / np.maximum(sums[1], 1e-9))
    return np.where(textured, density, 20.0).astype(np.float32)


def _covered(
    geometry: Geometry, triangles: np.ndarray, textured: np.ndarray, wet: np.ndarray, size: int = 512
) -> tuple[np.ndarray, np.ndarray]:
    """Texels of the face's tile that lie on skin, bool (size, size), and how moist it is there, float32."""
    inside = triangles[textured[triangles].all(axis=1)]
    fixed = np.floor(geometry.uv.astype(np.float64) * size * 256.0 - 127.5).astype(np.int32)
    flat = np.zeros((len(fixed), 3), np.float32)
    flat[:, 2] = wet  # interpolated as depth is
    moisture = np.zeros((size, size), np.float32)
    depth, owner = np.empty((size, size), np.float32), np.empty((size, size), np.int32)
    hit = np.zeros((size, size), bool)
    everywhere = np.array([[0, size - 1, 0, size - 1]], np.int64)
    for order in (inside, inside[:, ::-1]):
        box = np.zeros(len(order), np.uint8)
        raster.rasterise(fixed, flat, np.ascontiguousarray(order), 0, 0, box, everywhere, depth, owner)
        seen = owner >= 0
        hit |= seen
        moisture[seen] = depth[seen]
    return hit, moisture


def _body_shade(geometry: Geometry, triangles: np.ndarray) -> np.ndarray:
    """float32 (V,): share of light that a chest, which the head model lacks, leaves to the jaw's underside."""
    normals = np.empty_like(geometry.vertices)
    raster.vertex_normals(geometry.vertices, triangles, geometry.weld, normals)
    down = np.clip((-normals[:, 1] - 0.1) / 0.75, 0.0, 1.0)
    below = np.clip((geometry.vertices[geometry.lips_outer, 1].min() - 1.0 - geometry.vertices[:, 1]) / 1.5, 0.0, 1.0)
    return (1.0 - _BODY * below * down * down * (3.0 - 2.0 * down)).astype(np.float32)


def _lid_tint(geometry: Geometry) -> np.ndarray:
    """float32 (V, 3): lids are thin, and what lies beneath makes them redder and darker than other skin."""
    points = geometry.vertices.astype(np.float64)
    edges = np.concatenate([geometry.lid_upper_left, geometry.lid_upper_right])
    near = np.exp(-((nearest_distance(points, points[edges]) / 0.6) ** 2))[:, None]
    return (1.0 - near * (1.0 - _LID_TINT)).astype(np.float32)


def _wetness(geometry: Geometry) -> np.ndarray:
    """float32 (V,) in [0, 1]: how moist skin is: the red of the lips near where they meet, and lid edges."""
    points = geometry.vertices.astype(np.float64)
    lips = np.exp(-((nearest_distance(points, points[geometry.lips_inner]) / 0.45) ** 2))
    edges = [geometry.lid_lower_left, geometry.lid_lower_right, geometry.lid_upper_left, geometry.lid_upper_right]
    lids = np.exp(-((nearest_distance(points, points[np.concatenate(edges)]) / 0.08) ** 2))
    return np.maximum(lips, 0.5 * lids).astype(np.float32)
