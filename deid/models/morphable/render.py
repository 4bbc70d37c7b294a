"""A posed head into a picture: geometry, raster, light, antialiased.

One renderer a surrogate; threads may share it. Nothing depends on the clock or on earlier pictures: equal input gives
equal bits, and a camera moved by whole pixels gives the same picture, moved.
"""

from __future__ import annotations

import copy
import threading
from dataclasses import dataclass

import numpy as np

from deid.errors import ModelError
from deid.models.morphable import raster, shade, shade_skin
from deid.models.morphable.codes import Camera, Light
from deid.models.morphable.creases import Folds, creases
from deid.models.morphable.geometry import Geometry, Part
from deid.models.morphable.photo_local import factor
from deid.models.morphable.raster_lashes import draw_folds, draw_lashes, lid_folds, resolve
from deid.models.morphable.render_model import HeadModel, head_model
from deid.models.morphable.render_soft import ADDED, STEP, enlarged, small_size, worth
from deid.models.morphable.shade_eyes import PosedEyes, posed_eyes, shade_eyes
from deid.models.morphable.shade_mouth import opened_occlusion, posed_mouth, shade_mouth
from deid.models.morphable.shade_shadows import shadows
from deid.models.morphable.shade_soft import soften
from deid.models.morphable.shade_texture import build_pyramid, oil
from deid.turns import aside

NOTHING = 255  # in `GeneratedFace.part`: no surface
_LASH_REACH = 1.6  # centimetres from a lid's edge, at any distance of the camera
_NO_COVER = np.empty(0, np.float32)
_STEEP = 5.0  # pixels of depth between neighbouring pixels that make an edge: a surface turned 79 degrees away
_WET_GLOSS = np.float32(0.3)  # how much glossier moist skin is
_SHARPNESS = -0.4  # mip levels: a little softer than a box filter, as compressed footage shows skin


Window = tuple[int, int, int, int]  # first and last x, first and last y, inclusive


@dataclass(frozen=True, slots=True, eq=False)
class GeneratedFace:
    """A face in a crop of h x w pixels.

    ``rgb``: float32 (h, w, 3), linear light, 1 = display white, not premultiplied, 0 where nothing is. ``alpha``:
    float32 (h, w) in [0, 1], antialiased cover by the face: skin, eyes, mouth, lashes. ``head``: float32 (h, w) in
    [0, 1], cover by what belongs to the head but is not replaced (ears, scalp, neck). ``part``: uint8 (h, w),
    :class:`~deid.models.morphable.geometry.Part` of a surface in the pixel, 255 none.
    ``softness``: standard deviation in pixels of the blur that it has already.
    """

    rgb: np.ndarray
    alpha: np.ndarray
    head: np.ndarray
    part: np.ndarray
    softness: float = 0.0


class Renderer:
    """Draws one surrogate.

    ``albedo``: float32 (T, T, 3), relative reflectance of the face's UV tile, T a power of two; ``gloss``: float32
    (T, T), relative strength of the highlight; ``iris``: float32 (3,), linear RGB. ``bumps``: float32 (T, T) or None,
    factors on the albedo near 1. ``folds``: how deep the skin folds, see
    :class:`~deid.models.morphable.creases.Folds`; a number: how deep expressions alone fold it. ``film``: how uneven
    the skin's oil is, 0 to 1. ``lashes``: how strong they are, see
    :func:`~deid.models.morphable.raster_lashes.draw_lashes`. Raises :class:`ModelError` when shapes do not fit.
    """

    def __init__(
        self,
        geometry: Geometry,
        albedo: np.ndarray,
        gloss: np.ndarray,
        iris: np.ndarray,
        bumps: np.ndarray | None = None,
        folds: float | Folds = 0.0,
        film: float = 1.0,
        lashes: float = 1.0,
    ) -> None:
        size = albedo.shape[0]
        if albedo.shape != (size, size, 3) or gloss.shape != (size, size) or size & (size - 1):
            raise ModelError(f"a skin texture must be square, its side a power of two, not {albedo.shape}")
        self.geometry = geometry
        self._model = head_model(geometry)
        self._folds = folds if isinstance(folds, Folds) else Folds.moving(folds)
        self._lashes = float(lashes)
        self._iris = np.ascontiguousarray(iris, np.float32)
        skin = albedo if bumps is None else albedo * bumps[..., None]
        covered = self._model.covered
        step = covered.shape[0] / size
        at = np.minimum(((np.arange(size) + 0.5) * step).astype(np.int64), covered.shape[0] - 1)
        texture = np.empty((size, size, 4), np.float32)
        texture[..., :3] = skin
        texture[..., 3] = (gloss + _WET_GLOSS * self._model.moisture[np.ix_(at, at)]) * oil(skin, film)
        self._pyramid = build_pyramid(texture, covered[np.ix_(at, at)])
        self._level = (self._model.texel_density + np.log2(size)).astype(np.float32)

    def with_lashes(self, strength: float) -> Renderer:
        """The same surrogate with lashes of another strength."""
        out = copy.copy(self)
        out._lashes = float(strength)
        return out

    def render(
        self,
        vertices: np.ndarray,
        camera: Camera,
        light: Light,
        width: int,
        height: int,
        *,
        whole: bool = True,
        softness: float = 0.0,
        expression: np.ndarray | None = None,
        passing: bool = False,
        window: Window | None = None,
    ) -> GeneratedFace:
        """The head ``vertices``, float32 (V, 3) posed in head space, as ``camera`` sees it under ``light``.

        ``width``, ``height``: pixels of the picture. Without ``whole``, what only ``head`` covers gets no colour, in a
        tenth less time: a face to be put into a photograph needs none. ``softness``: standard deviation in pixels of
        the blur that the picture will be given; where it is enough, a smaller picture is drawn and enlarged, and the
        result says by how much that has softened it already. ``expression``: (E,), what folds the skin; the vertices
        have it already. ``passing``: the picture lies in arrays that this thread's next rendering writes over, which
        saves the system from finding memory for every one. ``window``: first and last x and y of what is drawn; nothing
        is beyond.
        """
        if not worth(softness, float(camera.scale)):
            picture = _blank(_workspace(self._model, width, height), passing)
            return self._drawn(vertices, camera, light, picture, whole, 1.0, expression, window)
        view = camera.moved(0.5, 0.5, 1.0 / STEP).moved(-0.5, -0.5)
        small = _blank(_workspace(self._model, *small_size(width, height)), True)
        if window is not None:
            tall, wide = small.part.shape
            x0, x1, y0, y1 = (int(at // STEP) for at in window)
            window = (x0, min(x1 + 1, wide - 1), y0, min(y1 + 1, tall - 1))
        self._drawn(vertices, view, light, small, whole, STEP, expression, window)
        return GeneratedFace(*enlarged(small.rgb, small.alpha, small.head, small.part, width, height), ADDED)

    def _drawn(
        self,
        vertices: np.ndarray,
        camera: Camera,
        light: Light,
        picture: GeneratedFace,
        whole: bool,
        step: float,
        expression: np.ndarray | None,
        window: Window | None,
    ) -> GeneratedFace:
        """``picture``, filled: as sharp as its pixels; its texture as pixels ``step`` times smaller show it."""
        height, width = picture.part.shape
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
        aside(raster.vertex_normals, work.points, model.triangles, self.geometry.weld, work.normals)
        count, facing = self._fragments(work, picture.part, left, top, scale, window)
        frame = np.array([left, top, tx, ty, inverse / scale])
        eyes = posed_eyes(self.geometry, model.eyes, vertices)
        shown = (scale, step, whole, expression, picture)
        self._shade(count, facing, work, frame, vertices, eyes, rotation, light, *shown)
        lash = (0.06 * np.asarray(light.tone, np.float32)).astype(np.float32)
        fragments = (work.triangle, work.pixel, work.weight, work.colour)
        resolve(count, model.parts, *fragments, _NO_COVER, lash, whole, *_flat(picture, slice(None)))
        rows = self._lash_rows(work.fixed, top, height, scale)
        cover = np.zeros((rows.stop - rows.start, width), np.float32)
        lids, seen = model.strands, work.depth[rows]
        draw_lashes(
            lids.ends, lids.shape, vertices, eyes.centres, rotation, scale, tx, ty, left, top + rows.start, inverse,
            self._lashes, seen, cover,
        )  # fmt: skip
        uppers, rest = lid_folds(self.geometry)
        draw_folds(
            uppers, rest, vertices, eyes.centres, rotation, scale, tx, ty, left, top + rows.start, inverse, seen, cover
        )
        resolve(0, model.parts, *fragments, cover.reshape(-1), lash, whole, *_flat(picture, rows))
        return picture

    def _fragments(
        self, work: _Workspace, part: np.ndarray, left: int, top: int, scale: float, window: Window | None
    ) -> tuple[int, int]:
        """What every pixel shows, into ``work``; how many fragments, and how many triangles face the viewer."""
        model, layer = self._model, _STEEP / scale
        height, width = work.owner.shape
        boxes = self._boxes(work.fixed, left, top, window or (0, width - 1, 0, height - 1))
        scene = (work.fixed, work.points, model.triangles, left, top, model.box, boxes)
        facing = aside(raster.nearest, *scene, model.parts, work.depth, work.owner, part, work.front)
        edges, marked = raster.find_edges(work.depth, part, layer, work.slot, work.tiles, work.special)
        work.make_room(edges, marked)
        aside(raster.refine, *scene, work.front, facing, work.slot, work.tiles, edges, work.depths, work.owners)
        count = raster.fragments(
            work.special, marked, work.owner, work.slot, work.depths, work.owners, model.parts, layer, work.triangle,
            work.place, work.pixel, work.weight,
        )  # fmt: skip
        return count, facing

    def _boxes(self, fixed: np.ndarray, left: int, top: int, window: Window) -> np.ndarray:
        """int64 (4, 4), for :func:`raster.rasterise`: the window, and where mouth, left and right eye can be seen."""
        boxes = np.empty((4, 4), np.int64)
        boxes[0] = window
        for k, rim in enumerate(self._model.rims):
            seen = fixed[rim] // raster.SUBPIXELS - (left, top)
            margin = 2 + np.ptp(seen, axis=0) // 8
            low, high = seen.min(axis=0) - margin, seen.max(axis=0) + margin
            boxes[k + 1] = (
                max(low[0], window[0]), min(high[0], window[1]), max(low[1], window[2]), min(high[1], window[3])
            )  # fmt: skip
        return boxes

    def _lash_rows(self, fixed: np.ndarray, top: int, height: int, scale: float) -> slice:
        """Rows of the picture that lashes can reach."""
        lids = fixed[np.concatenate(self._model.rims[1:]), 1] // raster.SUBPIXELS - top
        reach = int(_LASH_REACH * scale) + 2
        first = min(max(int(lids.min()) - reach, 0), height)
        return slice(first, max(min(int(lids.max()) + reach + 1, height), first))

    def _shade(
        self,
        count: int,
        facing: int,
        work: _Workspace,
        window: np.ndarray,
        vertices: np.ndarray,
        eyes: PosedEyes,
        rotation: np.ndarray,
        light: Light,
        scale: float,
        step: float,
        whole: bool,
        expression: np.ndarray | None,
        picture: GeneratedFace,
    ) -> None:
        """Plain skin into ``picture``, colours of all fragments into ``work.colour``."""
        model, rig, geometry = self._model, shade.light_rig(light), self.geometry
        mouth = posed_mouth(geometry, vertices)
        near = model.lips.members
        work.occlusion[near], work.open_rgb[near] = opened_occlusion(geometry, model.lips, mouth, vertices)
        shift = -float(np.log2(max(scale * step, 1e-3))) - _SHARPNESS
        pyramid = self._pyramid
        soften(*model.soft, work.normals, work.inside)
        lamp = rig.key_rgb * np.float32(light.shine)
        colours = np.stack([rig.tone, rig.white, lamp]) * pyramid.units[[0, 1, 1], None]
        aside(
            shade.light_vertices,
            model.skin_vertices, work.points, work.normals, window[4] * scale, rig.sh, rig.environment, rig.key,
            colours, work.occlusion, work.open_rgb, model.wet, self._level, shift, work.table, work.inside,
        )  # fmt: skip
        inner = self._locally(light, rig.sh @ shade.LUMA, rotation, expression, work.table)
        folds = creases(geometry, self._folds.kind)
        folded = folds.weights(expression, self._folds)
        if folded is None:
            work.table[folds.members, shade.FOLD] = 0.0
        else:
            aside(
                shade.fold_vertices,
                folds.members, folded, folds.tangents, rotation, work.normals, rig.sh, work.table
            )
        relief = (folds.relief.texels, folds.relief.offsets, folds.relief.sizes)
        skin = model.skin if whole else model.face
        texture = (pyramid.texels, pyramid.offsets, pyramid.sizes)
        aside(
            shade_skin.plan_skin,
            work.front, facing, skin, model.triangles, work.fixed, work.table, pyramid.sizes, work.plan
        )
        aside(
            shade_skin.shade_plain,
            work.owner, work.slot, picture.part, int(window[0]), int(window[1]), work.plan, *texture, *relief, whole,
            picture.rgb, picture.alpha, picture.head,
        )  # fmt: skip
        at = (model.triangles, work.triangle, work.place, work.fixed, window)
        aside(shade_skin.shade_skin, count, skin, *at, work.table, *texture, work.colour)
        shade_eyes(
            count, model.parts, *at, vertices, model.eyes.rest, rotation, eyes.centres, eyes.axes, eyes.lids, eyes.span,
            geometry.eye_radius, self._iris, rig.sh, rig.white, rig.environment, rig.key, rig.key_rgb, rig.focus,
            model.eyes.orbit, scale, inner, work.colour,
        )  # fmt: skip
        shade_mouth(
            count, model.parts, *at, vertices, work.normals, mouth.lips, mouth.left, mouth.right,
            rig.sh, rig.white, rig.tone, rig.key, rig.key_rgb, model.uv, model.lower,
            light.mouth[2] / light.mouth[0], rotation, scale, inner, work.colour,
        )  # fmt: skip

    def _locally(
        self, light: Light, grey: np.ndarray, rotation: np.ndarray, expression: np.ndarray | None, table: np.ndarray
    ) -> np.ndarray:
        """The light's local strength, and shadows, into the columns of ``table`` that hold light on skin, and, float32
        (parts,), for eyes and mouth. ``grey``: float32 (9,), luminance of the light's harmonics."""
        model = self._model
        inner = np.ones(len(Part), np.float32)
        more = shadows(model.transfer, grey, rotation)
        for part, around in zip((Part.EYE_LEFT, Part.EYE_RIGHT), model.around_eyes, strict=True):
            inner[part] = more[around].mean()
        more *= model.hollows.at(expression, self._folds.cheeks, self._folds.depth)
        if len(light.local):
            more *= factor(model.bumps, light.local)
            here = factor(model.eye_bumps, light.local)
            inner[[Part.EYE_LEFT, Part.EYE_RIGHT]] *= here[:2]
            inner[[Part.MOUTH, Part.TEETH, Part.TONGUE]] = here[2]
        inner[[Part.TEETH, Part.TONGUE]] *= light.mouth[:2]
        inner[Part.MOUTH] *= min(max(light.mouth[1], 0.4), 1.0)
        table[model.skin_vertices, shade.RED : shade.SHINE_BLUE + 1] *= more[:, None]
        return inner


def _flat(picture: GeneratedFace, rows: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Colour (n, 3), alpha, head and part (n,) of some rows."""
    alpha, head, part = (plane[rows].reshape(-1) for plane in (picture.alpha, picture.head, picture.part))
    return picture.rgb[rows].reshape(-1, 3), alpha, head, part


_BUFFERS = threading.local()  # crops differ in size from frame to frame: each thread keeps one set of arrays for all


class _Workspace:
    """Scratch arrays for one picture; contents mean nothing between pictures, but for constant columns of ``table``."""

    def __init__(self, model: HeadModel) -> None:
        vertices = len(model.uv)
        self.model = model
        self.points = np.empty((vertices, 3), np.float32)
        self.fixed = np.empty((vertices, 2), np.int32)
        self.front = np.empty(len(model.triangles), np.int32)
        self.plan = np.empty((len(model.triangles), shade_skin.PLAN), np.float32)
        self.normals = np.empty((vertices, 3), np.float32)
        self.inside = np.empty((vertices, 3), np.float32)
        self.table = np.zeros((vertices, shade.ATTRIBUTES), np.float32)
        self.table[:, : shade.V + 1] = model.uv
        self.occlusion, self.open_rgb = model.occlusion.copy(), model.open_rgb.copy()
        self.capacity = 0
        self.planes, self.nearest = np.empty(0, np.float32), np.empty(0, np.uint8)
        self.depths, self.owners = np.empty((0, 4), np.float32), np.empty((0, 4), np.int32)
        self.triangle, self.pixel = np.empty(0, np.int32), np.empty(0, np.int32)

    def resize(self, width: int, height: int) -> None:
        """Make room for ``width`` x ``height`` pixels."""
        pixels, shape = width * height, (height, width)
        if pixels > self.capacity:
            # faces come nearer by and by: growing by a few pixels each time would ask for new memory every time
            self.capacity = pixels = pixels * 5 // 4
            self._flat = [np.empty(pixels, kind) for kind in (np.float32, np.int32, np.int32)]
            self.special = np.empty(pixels, np.int32)
        self.depth, self.owner, self.slot = (flat[: width * height].reshape(shape) for flat in self._flat)
        self.tiles = np.empty((height // 4 + 1, width // 4 + 1), np.uint8)

    def make_room(self, edges: int, marked: int) -> None:
        """For ``edges`` among ``marked`` pixels that are not plain skin, a tenth of a picture. Room for as many as a
        picture has would never be touched, and yet be filled: the allocator gives what was used before."""
        if edges > len(self.depths):
            count = edges * 3 // 2
            self.depths, self.owners = np.empty((count, 4), np.float32), np.empty((count, 4), np.int32)
        if marked + 3 * edges > len(self.triangle):
            count = (marked + 3 * edges) * 3 // 2
            self.triangle, self.pixel = np.empty(count, np.int32), np.empty(count, np.int32)
            self.place, self.weight = np.empty((count, 2), np.float32), np.empty(count, np.float32)
            self.colour = np.empty((count, 3), np.float32)


def _blank(work: _Workspace, passing: bool) -> GeneratedFace:
    """An empty picture of the size of ``work``: its own arrays, or, when ``passing``, those of ``work``."""
    height, width = shape = work.owner.shape
    if not passing:
        alpha, head = (np.zeros(shape, np.float32), np.zeros(shape, np.float32))
        return GeneratedFace(np.zeros((*shape, 3), np.float32), alpha, head, np.empty(shape, np.uint8))
    if len(work.planes) < 5 * height * width:
        work.planes, work.nearest = (np.empty(5 * work.capacity, np.float32), np.empty(work.capacity, np.uint8))
    planes, count = work.planes[: 5 * height * width], height * width
    planes.fill(0.0)
    rgb, alpha, head = planes[: 3 * count], planes[3 * count : 4 * count], planes[4 * count :]
    flat = (rgb.reshape(*shape, 3), alpha.reshape(shape), head.reshape(shape), work.nearest[:count].reshape(shape))
    return GeneratedFace(*flat)


def _workspace(model: HeadModel, width: int, height: int) -> _Workspace:
    """The buffers of this thread."""
    work: _Workspace | None = getattr(_BUFFERS, "work", None)
    if work is None or work.model is not model:
        work = _BUFFERS.work = _Workspace(model)
    work.resize(width, height)
    return work
