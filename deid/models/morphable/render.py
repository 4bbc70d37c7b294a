"""A posed head into a picture: geometry, raster, light, antialiased.

One renderer a surrogate; threads may share it. Nothing depends on the clock or on earlier pictures: equal input gives
equal bits, and a camera moved by whole pixels gives the same picture, moved.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from deid.errors import ModelError
from deid.models.morphable import raster, shade
from deid.models.morphable.codes import Camera, Light
from deid.models.morphable.geometry import Geometry, Part
from deid.models.morphable.raster_lashes import Strands, draw_lashes, lash_strands, resolve
from deid.models.morphable.shade_eyes import EyeTables, PosedEyes, eye_tables, posed_eyes, shade_eyes
from deid.models.morphable.shade_mouth import LipTables, lip_tables, opened_occlusion, posed_mouth, shade_mouth
from deid.models.morphable.shade_texture import build_pyramid

NOTHING = 255  # in `GeneratedFace.part`: no surface
_HIDDEN = (Part.LASHES,)  # drawn as strands instead of the mesh's cards
_BOX = np.array([0, 0, 1, 1, 2, 3, 0, 1, 0], np.uint8)  # by part: 1 is seen through the mouth, 2 and 3 between lids
_TOOTH_GROWTH = 0.02  # centimetres
_BODY = 0.4  # of the light from below, which a chest keeps from the underside of the jaw
_LID_TINT = np.array([0.96, 0.88, 0.85])
_STEEP = 5.0  # pixels of depth between neighbouring pixels that make an edge: a surface turned 79 degrees away
_SHARPNESS = -0.4  # mip levels: a little softer than a box filter, as compressed footage shows skin


@dataclass(frozen=True, slots=True, eq=False)
class GeneratedFace:
    """A face in a crop of h x w pixels.

    ``rgb``: float32 (h, w, 3), linear light, 1 = display white, not premultiplied, 0 where nothing is. ``alpha``:
    float32 (h, w) in [0, 1], antialiased cover by the face: skin, eyes, mouth, lashes. ``head``: float32 (h, w) in
    [0, 1], cover by what belongs to the head but is not replaced (ears, scalp, neck). ``part``: uint8 (h, w),
    :class:`~deid.models.morphable.geometry.Part` of a surface in the pixel, 255 none.
    """

    rgb: np.ndarray
    alpha: np.ndarray
    head: np.ndarray
    part: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class _Model:
    """What a geometry alone determines; see :func:`_model`."""

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
    uv: np.ndarray
    wet: np.ndarray
    eyes: EyeTables
    strands: Strands


class Renderer:
    """Draws one surrogate.

    ``albedo``: float32 (T, T, 3), relative reflectance of the face's UV tile, T a power of two; ``gloss``: float32
    (T, T), relative strength of the highlight; ``iris``: float32 (3,), linear RGB. ``bumps``: float32 (T, T) or None,
    factors on the albedo near 1. Raises :class:`ModelError` when shapes do not fit.
    """

    def __init__(
        self,
        geometry: Geometry,
        albedo: np.ndarray,
        gloss: np.ndarray,
        iris: np.ndarray,
        bumps: np.ndarray | None = None,
    ) -> None:
        size = albedo.shape[0]
        if albedo.shape != (size, size, 3) or gloss.shape != (size, size) or size & (size - 1):
            raise ModelError(f"a skin texture must be square, its side a power of two, not {albedo.shape}")
        self.geometry = geometry
        self._model = _model(geometry)
        self._iris = np.ascontiguousarray(iris, np.float32)
        skin = albedo if bumps is None else albedo * bumps[..., None]
        covered = self._model.covered
        step = covered.shape[0] / size
        at = np.minimum(((np.arange(size) + 0.5) * step).astype(np.int64), covered.shape[0] - 1)
        texture = np.concatenate([skin, gloss[..., None]], axis=2)
        self._pyramid = build_pyramid(texture, covered[np.ix_(at, at)])
        self._level = (self._model.texel_density + np.log2(size)).astype(np.float32)

    def render(
        self, vertices: np.ndarray, camera: Camera, light: Light, width: int, height: int, *, whole: bool = True
    ) -> GeneratedFace:
        """The head ``vertices``, float32 (V, 3) posed in head space, as ``camera`` sees it under ``light``.

        ``width``, ``height``: pixels of the picture. Without ``whole``, what only ``head`` covers gets no colour, in a
        tenth less time: a face to be put into a photograph needs none.
        """
        model, work = self._model, _workspace(self._model, width, height)
        vertices = np.array(vertices, np.float32)
        vertices[model.teeth[0]] += model.teeth[1]
        rotation = np.ascontiguousarray(camera.rotation, np.float32)
        # whole pixels are taken off the camera and put on the window, so that they cannot change any rounding
        corner = np.clip(np.floor(np.asarray(camera.translation, np.float64)), -1e6, 1e6)
        tx, ty = np.round((np.asarray(camera.translation, np.float64) - corner) * 65536.0) / 65536.0
        left, top = -int(corner[0]), -int(corner[1])
        inverse = 1.0 / float(camera.distance)
        scale = float(camera.scale)
        raster.project(vertices, rotation, scale, tx, ty, inverse, work.points, work.fixed)
        raster.vertex_normals(work.points, model.triangles, self.geometry.weld, work.normals)
        count = self._fragments(work, left, top, scale)
        window = np.array([left, top, tx, ty, inverse / scale])
        eyes = posed_eyes(self.geometry, model.eyes, vertices)
        self._shade(count, work, window, vertices, eyes, rotation, light, scale, whole)
        cover = np.zeros((height, width), np.float32)
        draw_lashes(
            model.strands.ends, model.strands.shape, vertices, eyes.centres, rotation, scale,
            tx, ty, left, top, inverse, work.depth, cover,
        )  # fmt: skip
        return self._picture(count, work, cover, light, width, height, whole)

    def _fragments(self, work: _Workspace, left: int, top: int, scale: float) -> int:
        """What every pixel shows, into ``work``; the number of fragments."""
        parts, layer = self._model.parts, _STEEP / scale
        height, width = work.owner.shape
        boxes = self._boxes(work.fixed, left, top, width, height)
        scene = (work.fixed, work.points, self._model.triangles, left, top, self._model.box, boxes)
        raster.rasterise(*scene, work.depth, work.owner)
        edges = raster.find_edges(work.depth, work.owner, parts, layer, work.slot, work.before)
        raster.refine(*scene, work.slot, work.before, edges, work.depths, work.owners)
        return raster.fragments(
            work.owner, work.slot, work.depths, work.owners, parts, layer,
            work.triangle, work.place, work.pixel, work.weight,
        )  # fmt: skip

    def _boxes(self, fixed: np.ndarray, left: int, top: int, width: int, height: int) -> np.ndarray:
        """int64 (4, 4), for :func:`raster.rasterise`: the picture, and where mouth, left and right eye can be seen."""
        boxes = np.empty((4, 4), np.int64)
        boxes[0] = 0, width - 1, 0, height - 1
        for k, rim in enumerate(self._model.rims):
            seen = fixed[rim] // raster.SUBPIXELS - (left, top)
            margin = 2 + np.ptp(seen, axis=0).max() // 8
            low, high = seen.min(axis=0) - margin, seen.max(axis=0) + margin
            boxes[k + 1] = max(low[0], 0), min(high[0], width - 1), max(low[1], 0), min(high[1], height - 1)
        return boxes

    def _shade(
        self,
        count: int,
        work: _Workspace,
        window: np.ndarray,
        vertices: np.ndarray,
        eyes: PosedEyes,
        rotation: np.ndarray,
        light: Light,
        scale: float,
        whole: bool,
    ) -> None:
        """Colours of all fragments into ``work.colour``."""
        model, rig, geometry = self._model, shade.light_rig(light), self.geometry
        mouth = posed_mouth(geometry, vertices)
        near = model.lips.members
        work.occlusion[near], work.open_rgb[near] = opened_occlusion(geometry, model.lips, mouth, vertices)
        shift = -float(np.log2(max(scale, 1e-3))) - _SHARPNESS
        shade.light_vertices(
            model.skin_vertices, work.points, work.normals, window[4] * scale, rig.sh, rig.environment, rig.key,
            work.occlusion, work.open_rgb, self._level, shift, work.table,
        )  # fmt: skip
        pyramid = self._pyramid
        at = (model.triangles, work.triangle, work.place, work.fixed, window)
        shade.shade_skin(
            count, model.skin if whole else model.face, *at, work.table, pyramid.texels, pyramid.offsets, pyramid.sizes,
            rig.tone, rig.white, rig.key_rgb, work.colour,
        )  # fmt: skip
        shade_eyes(
            count, model.parts, *at, vertices, model.eyes.rest, rotation, eyes.centres, eyes.axes, eyes.lids, eyes.span,
            geometry.eye_radius, self._iris, rig.sh, rig.white, rig.environment, rig.key, rig.key_rgb, rig.focus,
            model.eyes.orbit, scale, work.colour,
        )  # fmt: skip
        shade_mouth(
            count, model.parts, *at, vertices, work.normals, mouth.lips, mouth.left, mouth.right,
            rig.sh, rig.white, rig.tone, rig.key, rig.key_rgb, work.colour,
        )  # fmt: skip

    def _picture(
        self, count: int, work: _Workspace, cover: np.ndarray, light: Light, width: int, height: int, whole: bool
    ) -> GeneratedFace:
        """Fragments and lashes put together."""
        size = height * width
        rgb = np.zeros((size, 3), np.float32)
        alpha, head = np.zeros(size, np.float32), np.zeros(size, np.float32)
        part = np.full(size, NOTHING, np.uint8)
        lash = (0.06 * np.asarray(light.tone, np.float32)).astype(np.float32)
        resolve(
            count, self._model.parts, work.triangle, work.pixel, work.weight, work.colour, cover.reshape(-1), lash,
            whole, rgb, alpha, head, part,
        )  # fmt: skip
        shape = (height, width)
        return GeneratedFace(rgb.reshape(*shape, 3), alpha.reshape(shape), head.reshape(shape), part.reshape(shape))


_BUFFERS = threading.local()  # crops differ in size from frame to frame: each thread keeps one set of arrays for all


class _Workspace:
    """Scratch arrays for one picture; contents mean nothing between pictures, but for constant columns of ``table``."""

    def __init__(self, model: _Model) -> None:
        vertices = len(model.uv)
        self.model = model
        self.points = np.empty((vertices, 3), np.float32)
        self.fixed = np.empty((vertices, 2), np.int64)
        self.normals = np.empty((vertices, 3), np.float32)
        self.table = np.zeros((vertices, shade.ATTRIBUTES), np.float32)
        self.table[:, : shade.V + 1] = model.uv
        self.table[:, shade.WET] = model.wet
        self.occlusion, self.open_rgb = model.occlusion.copy(), model.open_rgb.copy()
        self._capacity = 0

    def resize(self, width: int, height: int) -> None:
        """Make room for ``width`` x ``height`` pixels. Memory that no picture touches is never committed."""
        pixels, shape = width * height, (height, width)
        if pixels > self._capacity:
            self._capacity = pixels
            self._flat = [np.empty(pixels, kind) for kind in (np.float32, np.int32, np.int32)]
            self.depths, self.owners = np.empty((pixels, 4), np.float32), np.empty((pixels, 4), np.int32)
            self.triangle, self.pixel = np.empty(pixels * 4, np.int32), np.empty(pixels * 4, np.int32)
            self.place, self.weight = np.empty((pixels * 4, 2), np.float32), np.empty(pixels * 4, np.float32)
            self.colour = np.empty((pixels * 4, 3), np.float32)
        self.depth, self.owner, self.slot = (flat[:pixels].reshape(shape) for flat in self._flat)
        self.before = np.empty((height + 1, width + 1), np.int32)


def _workspace(model: _Model, width: int, height: int) -> _Workspace:
    """The buffers of this thread."""
    work: _Workspace | None = getattr(_BUFFERS, "work", None)
    if work is None or work.model is not model:
        work = _BUFFERS.work = _Workspace(model)
    work.resize(width, height)
    return work


@lru_cache(maxsize=2)
def _model(geometry: Geometry) -> _Model:
    """Tables that hold for every surrogate of a geometry."""
    shown = ~np.isin(geometry.parts, _HIDDEN)
    triangles = np.ascontiguousarray(geometry.triangles[shown], np.int32)
    parts = np.ascontiguousarray(geometry.parts[shown], np.uint8)
    skin = parts <= Part.HEAD
    textured = _in_face_tile(len(geometry.vertices), triangles[skin], parts[skin])
    occlusion = geometry.occlusion * _body_shade(geometry, triangles[skin])
    return _Model(
        triangles=triangles,
        parts=parts,
        box=_BOX[parts],
        rims=_rims(geometry),
        skin=skin,
        face=parts == Part.SKIN,
        skin_vertices=np.unique(triangles[skin]).astype(np.int32),
        occlusion=occlusion,
        open_rgb=shade.occlusion_rgb(occlusion) * _lid_tint(geometry),
        lips=lip_tables(geometry),
        teeth=_inflated_teeth(geometry),
        texel_density=_texel_density(geometry, triangles[skin], textured),
        covered=_covered(geometry, triangles[skin], textured),
        uv=geometry.uv,
        wet=_wetness(geometry),
        eyes=eye_tables(geometry),
        strands=lash_strands(geometry),
    )


def _rims(geometry: Geometry) -> tuple[np.ndarray, ...]:
    """Vertices around mouth, left and right eye."""
    left = np.concatenate([geometry.lid_upper_left, geometry.lid_lower_left])
    right = np.concatenate([geometry.lid_upper_right, geometry.lid_lower_right])
    return (geometry.lips_outer, left, right)


def _inflated_teeth(geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """Vertices of the teeth, and how far out they move, float32 (n, 3): modelled gaps are wider than real ones."""
    triangles = np.ascontiguousarray(geometry.triangles[geometry.parts == Part.TEETH])
    normals = np.empty_like(geometry.vertices)
    raster.vertex_normals(geometry.vertices, triangles, geometry.weld, normals)
    members = np.unique(triangles)
    return members, normals[members] * np.float32(_TOOTH_GROWTH)


def _in_face_tile(count: int, triangles: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """bool (V,): vertices whose texture coordinates lie in the face's tile: those joined to the face's skin without a
    seam (the back of the head keeps coordinates of its own, which the albedo does not cover)."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    pairs = np.concatenate([triangles[:, :2], triangles[:, 1:]])
    graph = coo_matrix((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), (count, count))
    _, label = connected_components(graph, directed=False)
    return np.isin(label, np.unique(label[triangles[parts == Part.SKIN]]))


def _texel_density(geometry: Geometry, triangles: np.ndarray, textured: np.ndarray) -> np.ndarray:
    """float32 (V,): log2 of how many texture widths a centimetre of skin spans; large where there is no texture."""
    points, uv = geometry.vertices[triangles].astype(np.float64), geometry.uv[triangles].astype(np.float64)
    area = np.linalg.norm(np.cross(points[:, 1] - points[:, 0], points[:, 2] - points[:, 0]), axis=1)
    one, two = uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0]
    area_uv = np.abs(one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0])
    sums = np.zeros((2, len(geometry.vertices)))
    for corner in range(3):
        sums[0] += np.bincount(triangles[:, corner], area_uv, len(geometry.vertices))
        sums[1] += np.bincount(triangles[:, corner], area, len(geometry.vertices))
    density = 0.5 * np.log2(np.maximum(sums[0], 1e-9) / np.maximum(sums[1], 1e-9))
    return np.where(textured, density, 20.0).astype(np.float32)


def _covered(geometry: Geometry, triangles: np.ndarray, textured: np.ndarray, size: int = 512) -> np.ndarray:
    """bool (size, size): texels of the face's tile that lie on skin."""
    inside = triangles[textured[triangles].all(axis=1)]
    fixed = np.floor(geometry.uv.astype(np.float64) * size * 256.0 - 127.5).astype(np.int64)
    flat = np.zeros((len(fixed), 3), np.float32)
    depth, owner = np.empty((size, size), np.float32), np.empty((size, size), np.int32)
    hit = np.zeros((size, size), bool)
    everywhere = np.array([[0, size - 1, 0, size - 1]], np.int64)
    for order in (inside, inside[:, ::-1]):
        box = np.zeros(len(order), np.uint8)
        raster.rasterise(fixed, flat, np.ascontiguousarray(order), 0, 0, box, everywhere, depth, owner)
        hit |= owner >= 0
    return hit


def _body_shade(geometry: Geometry, triangles: np.ndarray) -> np.ndarray:
    """float32 (V,): share of light that a chest, which the head model lacks, leaves to the jaw's underside."""
    normals = np.empty_like(geometry.vertices)
    raster.vertex_normals(geometry.vertices, triangles, geometry.weld, normals)
    down = np.clip((-normals[:, 1] - 0.1) / 0.75, 0.0, 1.0)
    below = np.clip((geometry.vertices[geometry.lips_outer, 1].min() - 1.0 - geometry.vertices[:, 1]) / 1.5, 0.0, 1.0)
    return (1.0 - _BODY * below * down * down * (3.0 - 2.0 * down)).astype(np.float32)


def _lid_tint(geometry: Geometry) -> np.ndarray:
    """float32 (V, 3): lids are thin, and what lies beneath makes them redder and darker than other skin."""
    from scipy.spatial import cKDTree

    points = geometry.vertices.astype(np.float64)
    edges = np.concatenate([geometry.lid_upper_left, geometry.lid_upper_right])
    near = np.exp(-((cKDTree(points[edges]).query(points)[0] / 0.6) ** 2))[:, None]
    return (1.0 - near * (1.0 - _LID_TINT)).astype(np.float32)


def _wetness(geometry: Geometry) -> np.ndarray:
    """float32 (V,) in [0, 1]: how moist skin is: the red of the lips near where they meet, and lid edges."""
    from scipy.spatial import cKDTree

    points = geometry.vertices.astype(np.float64)
    lips = np.exp(-((cKDTree(points[geometry.lips_inner]).query(points)[0] / 0.45) ** 2))
    edges = [geometry.lid_lower_left, geometry.lid_lower_right, geometry.lid_upper_left, geometry.lid_upper_right]
    lids = np.exp(-((cKDTree(points[np.concatenate(edges)]).query(points)[0] / 0.08) ** 2))
    return np.maximum(lips, 0.5 * lids).astype(np.float32)
