"""From codes to pixels: one face rendered and composited into a picture or into the planes of a frame."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from deid.blending import Composite, Compositor, FaceOutline, Patch
from deid.blending.occlusion import hands_before, kept_of_core
from deid.blending.scratch import lent
from deid.blending.things import doubled, smoothed, things_before
from deid.detection.hands import Hand
from deid.media.region import read_region, write_region
from deid.models.morphable.appearance import Appearance
from deid.models.morphable.codes import AttributeCode, IdentityCode
from deid.models.morphable.creases import Folds
from deid.models.morphable.fit_basis import surface_points
from deid.models.morphable.geometry import Geometry
from deid.models.morphable.lashes import usual_lashes
from deid.models.morphable.mouths import relaxed
from deid.models.morphable.photo_surface import skin_level
from deid.models.morphable.render import GeneratedFace, Renderer
from deid.models.morphable.shade_texture import film
from deid.turns import aside, turn
from deid.types import Frame, Track

if TYPE_CHECKING:
    from deid.models.morphable.eyewear import Eyewear

_AROUND = 0.32  # of the face's longer side: how far around it the picture is looked at; what changes lies within 0.2
_SHOWN = 1.4  # of the reach of the face's outline: what is rendered
_MOST = 4096  # pixels, side of a crop
_TEXTURES = ((110.0, 256), (260.0, 512), (np.inf, 1024))  # face height in pixels up to which so many texels will do


Draw = Callable[[np.ndarray, np.ndarray, AttributeCode, "np.ndarray | None"], Patch]


@dataclass(frozen=True, slots=True, eq=False)
class Sitter:
    """A surrogate made ready to be rendered: its head at rest, float32 (V, 3), and a renderer with its skin.
    ``eyewear``: the glasses that it wears. ``skin``: float32 (T, T, 3) and (T, T), albedo and gloss of the face's
    tile, as the renderer has them, and its folds. ``lashes``: how strong they are, see
    :class:`.render.Renderer`."""

    code: IdentityCode
    neutral: np.ndarray
    renderer: Renderer
    eyewear: Eyewear | None = None
    skin: tuple[np.ndarray, np.ndarray, Folds] | None = None
    lashes: float = 1.0

    @classmethod
    def make(cls, geometry: Geometry, appearance: Appearance, code: IdentityCode, size: int) -> Sitter:
        """``size``: texture samples along each side of the face tile."""
        albedo = appearance.albedo(code, size)
        # the frame's tone is that of skin at the samples of photometry: there this skin must be as light on average
        skin, (gender, age) = albedo / skin_level(geometry, albedo), appearance.traits(code.appearance)
        gloss, folds = appearance.gloss(size), Folds.of(age, code.detail)
        lashes = usual_lashes(gender, age, code.detail)
        renderer = Renderer(geometry, skin, gloss, code.iris, folds=folds, lashes=lashes)
        neutral = relaxed(geometry, geometry.neutral(code.shape))
        return cls(code, neutral, renderer, skin=(skin, gloss, folds), lashes=lashes)

    @property
    def size(self) -> int:
        """Texture samples along each side of the face's tile; 0 where they were not kept."""
        return len(self.skin[1]) if self.skin is not None else 0

    def recoloured(self, factors: np.ndarray, film: float = 1.0) -> Sitter:
        """The same head with its albedo times ``factors``, float32 (T, T, 3); ``film``: how uneven its oil is."""
        if self.skin is None:
            return self
        albedo, gloss, folds = self.skin
        albedo = albedo * factors
        renderer = Renderer(
            self.renderer.geometry, albedo, gloss, self.code.iris, folds=folds, film=film, lashes=self.lashes
        )
        return replace(self, renderer=renderer, skin=(albedo, gloss, folds))

    def with_lashes(self, strength: float) -> Sitter:
        """The same head with other lashes."""
        return replace(self, renderer=self.renderer.with_lashes(strength), lashes=strength)

    def in_place_of(self, geometry: Geometry, subject: np.ndarray) -> Sitter:
        """The same head in the place of the head ``subject``, see :func:`put_in_place`."""
        return replace(self, neutral=put_in_place(geometry, self.neutral, subject))


def put_in_place(geometry: Geometry, neutral: np.ndarray, subject: np.ndarray) -> np.ndarray:
    """float32 (V, 3): a head at rest, sized and shifted so that its features lie where those of the head ``subject``,
    float32 (V, 3) at rest, lie: a least-squares similarity without rotation (Umeyama 1991) between their mesh points.
    Its proportions stay its own."""
    ours, theirs = (surface_points(geometry, head) for head in (neutral, subject))
    middle, aim = ours.mean(axis=0), theirs.mean(axis=0)
    size = float(((ours - middle) * (theirs - aim)).sum() / ((ours - middle) ** 2).sum())
    return np.asarray(((neutral - middle) * np.float32(size) + aim).astype(np.float32))


def texels_for(tracks: Sequence[Track]) -> int:
    """Texture samples a side that the largest face of ``tracks`` needs."""
    height = max(float(np.median(t.boxes[:, 3])) for t in tracks)
    return next(texels for limit, texels in _TEXTURES if height < limit)


def get_ready(appearance: Appearance, size: int) -> None:
    """Make what every :class:`Sitter` of this texture size shares."""
    appearance.gloss(size)
    film(size)


def paint_picture(
    picture: np.ndarray,
    points: np.ndarray,
    sitter: Sitter,
    geometry: Geometry,
    attributes: AttributeCode,
    compositor: Compositor,
    *,
    seed: int,
    frame: int,
    occlusion: np.ndarray | None = None,
    own: bool = False,
) -> Composite:
    """``picture``, float32 (h, w, 3) RGB code values 0 to 1, with ``sitter`` in the place of the face whose mesh is
    ``points``, (478, 3) in its pixels; ``attributes`` are in its pixels too. ``occlusion``: float32 (h, w), 1 where
    something lies before the face. ``own``: the picture may be drawn into."""
    vertices, scene = _scene(picture, points, sitter, geometry, attributes)
    if sitter.eyewear is None:
        return compositor.compose(
            picture, *scene, attributes, occlusion, seed, frame, float(sitter.eyewear is not None)
        )
    from deid.models.morphable.eyewear_draw import without_remains, worn

    head = (sitter.eyewear, geometry, sitter.neutral, vertices)
    cleared, touched = without_remains(picture, points, *head, attributes.camera, in_place=own)
    patch = compositor.patch(cleared, *scene, attributes, occlusion, seed, frame)
    out = cleared if own or cleared is not picture else picture.copy()
    area = tuple(slice(at, at + n) for at, n in zip(patch.corner, patch.touched.shape, strict=True))
    out[area] = patch.rgb
    touched[area] |= patch.touched
    result = Composite(out, touched)
    return worn(result, *head, attributes, seed=seed, frame=frame, occlusion=occlusion)


def _scene(
    picture: np.ndarray, points: np.ndarray, sitter: Sitter, geometry: Geometry, attributes: AttributeCode
) -> tuple[np.ndarray, tuple[GeneratedFace, np.ndarray, FaceOutline, FaceOutline]]:
    """The posed head's vertices, and what the compositor is told: the rendered face, the mesh, and the outlines of the
    old and of the new face."""
    height, width = picture.shape[:2]
    vertices = geometry.pose(sitter.neutral, attributes.expression, attributes.gaze)
    light, blur, source = attributes.light, attributes.blur, FaceOutline.from_mesh(points)
    face = sitter.renderer.render(
        vertices, attributes.camera, light, width, height, softness=blur, expression=attributes.expression,
        passing=True, window=_looked_at(source, blur, width, height),
    )  # fmt: skip
    corners = geometry.triangles[geometry.landmark_triangles]
    projected = attributes.camera.project(vertices[corners.ravel()])
    target = FaceOutline.from_surface(
        np.arange(corners.size).reshape(corners.shape), geometry.landmark_weights, projected
    )
    return vertices, (face, points, source, target)


def _looked_at(source: FaceOutline, blur: float, width: int, height: int) -> tuple[int, int, int, int]:
    """First and last x and y of what a compositor reads of a rendering: it looks for the new face's end at up to 1.3 of
    the old one's reach, and shows less."""
    centre, room = source.centre, 8 + 4 * blur
    low = np.floor(centre + _SHOWN * (source.points.min(axis=0) - centre) - room)
    high = np.ceil(centre + _SHOWN * (source.points.max(axis=0) - centre) + room)
    return max(int(low[0]), 0), min(int(high[0]), width - 1), max(int(low[1]), 0), min(int(high[1]), height - 1)


def paint_frame(
    frame: Frame,
    points: np.ndarray,
    sitter: Sitter,
    geometry: Geometry,
    attributes: AttributeCode,
    compositor: Compositor,
    *,
    seed: int,
    hands: Sequence[Hand] = (),
    things: np.ndarray | None = None,
) -> tuple[Frame, float]:
    """``frame`` with one face replaced; ``points`` and ``attributes`` in frame pixels. Samples that the compositor
    does not touch stay as they are, bit for bit. ``hands``: those before the face, in frame pixels; they stay.
    ``things``: what else is believed to lie there, as :func:`deid.blending.things.things_before` takes it. And how much
    of the face's core is in doubt, 0 to 1: there the frame's own pixels stayed as a hand, or something was painted over
    because too much would have stayed."""

    def draw(picture: np.ndarray, local: np.ndarray, moved: AttributeCode, occlusion: np.ndarray | None) -> Patch:
        if sitter.eyewear is None:
            _, scene = _scene(picture, local, sitter, geometry, moved)
            return compositor.patch(picture, *scene, moved, occlusion, seed, frame.index)
        whole = paint_picture(
            picture, local, sitter, geometry, moved, compositor,
            seed=seed, frame=frame.index, occlusion=occlusion, own=True,
        )  # fmt: skip
        return Patch(whole.rgb, whole.touched, (0, 0))

    with turn():
        return into_frame(frame, points, attributes, draw, hands=hands, things=things)


def into_frame(
    frame: Frame,
    points: np.ndarray,
    attributes: AttributeCode,
    draw: Draw,
    *,
    hands: Sequence[Hand] = (),
    things: np.ndarray | None = None,
) -> tuple[Frame, float]:
    """:func:`paint_frame` for any way to make a face. ``draw``: what changes of the region around the face, given its
    picture, the mesh and the attributes in its pixels, and what lies before the face."""
    region = _region(frame, points)
    if region is None:
        return frame, 0.0
    x0, y0, x1, y1 = region
    picture = aside(read_region, frame, region, lent("picture", (y1 - y0, x1 - x0, 3)))
    local = points.copy()
    local[:, :2] -= (x0, y0)
    found = [replace(hand, points=hand.points - np.array([x0, y0, 0], np.float32)) for hand in hands]
    occlusion, doubt = hands_before(found, picture, local)
    doubt = max(doubt, kept_of_core(occlusion, local))
    if things is not None:
        if occlusion is not None:
            occlusion = doubled(occlusion, local, things, found)
        kept, more = things_before(picture, local, things, found)
        doubt = max(doubt, more)
        if kept is not None:
            occlusion = kept if occlusion is None else np.maximum(occlusion, kept)
    if occlusion is not None:
        occlusion = smoothed(occlusion, local)
    moved = replace(attributes, camera=attributes.camera.moved(-x0, -y0))
    return aside(_written, frame, draw(picture, local, moved, occlusion), (x0, y0)), doubt


def _region(frame: Frame, points: np.ndarray) -> tuple[int, int, int, int] | None:
    """The part of the frame that may change, on its chroma grid; ``None`` when the face lies outside."""
    low, high = points[:468, :2].min(0), points[:468, :2].max(0)
    reach = _AROUND * float(max(high - low))
    sx, sy = (1 << s for s in frame.format.chroma_shift)
    x0, y0 = max(0, math.floor(low[0] - reach) // sx * sx), max(0, math.floor(low[1] - reach) // sy * sy)
    x1, y1 = min(frame.width, math.ceil(high[0] + reach)), min(frame.height, math.ceil(high[1] + reach))
    x1, y1 = min(frame.width, -(-x1 // sx) * sx), min(frame.height, -(-y1 // sy) * sy)
    if x1 - x0 < 8 or y1 - y0 < 8 or max(x1 - x0, y1 - y0) > _MOST:
        return None
    return x0, y0, x1, y1


def _written(frame: Frame, patch: Patch, corner: tuple[int, int]) -> Frame:
    """What was changed of the region that starts at ``corner``, x and y, put into copies of the planes."""
    top, left = patch.corner  # even, and so is the region's where chroma is shared
    planes = tuple(plane.copy() for plane in frame.planes)
    write_region(planes, frame.format, (corner[0] + left, corner[1] + top), patch.rgb, patch.touched)
    return replace(frame, planes=planes)
