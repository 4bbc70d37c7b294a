"""Puts a rendered face into the crop of a frame.

The frame's own face is unknown territory: what is shown inside its outline, and a margin beyond, is the rendered face,
or hair and things before the face that were recognised as such, or surroundings drawn in from outside. Everything is
told in polar coordinates about the face's centre (:mod:`deid.blending.outline`). The surroundings move along rays only,
by a shift that is largest at the face's edge and fades to nothing, so that the old outline meets the new one; the order
of points along a ray never changes, hence nothing folds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .. import imaging
from ..models.morphable import finish
from ..turns import aside
from ._around import seam_cells, without_arms
from ._blend import HAIR_SHOWS, blend
from ._film import code_table, film, finished
from ._kernels import ANCHOR, BINS, CORE, EDGE, END, INNER, OUTER, STILL, STRETCH, closed, directions
from ._polar import polar_colours, seen_reach
from .glasses import glasses_seen
from .hair import FIRST, PITCH, Part, hair_model
from .occlusion import kept_of_core
from .outline import FaceOutline, limits
from .rings import border, doubled, ramp, rounded, smoothed
from .scratch import lent
from .silhouette import silhouette

if TYPE_CHECKING:
    from ..models.morphable.codes import AttributeCode
    from ..models.morphable.render import GeneratedFace

MARGIN = 0.03
"""How far beyond the mesh's outline the source's face may still show, in face widths (measured on real clips)."""
_CLEAR_MARGIN = 0.008  # the same where the picture shows clearly that the face has ended
_STRIP = (1.01, 1.05)  # of the outline: from where on what ends before a wall may be a strip of hair
_TOLD_STAYS = 0.75  # how much less a hairline moves that is a skull's edge before a background
_FADE = 0.42  # face widths over which, at most, the surroundings come back to their place
_GENTLY = 5.0  # lengths of the shift over which they do
_STEEPEST = 0.7  # largest change of the shift per pixel: 1 would fold
_SOFT_EDGE = 0.008  # least softness of the jaw's edge, in face widths
_FOREHEAD_FOLLOWS = 0.6  # how far the hairline moves with the new outline
_RIM_FOLLOWS = 0.6  # of the way from the new outline to the old that the rendered rim is drawn, cheeks and jaw
_STANDS_OUT = (0.01, 0.035)  # face widths that a nose reaches beyond its cheek, from which on it is drawn where it is
_MOST_SHIFT = 0.035  # face widths that what lies beside cheeks and jaw may move
_FAR_SHIFT = 0.08  # the same of what lies behind the far side of a turned face
_SIDEWAYS = (0.35, 0.75)  # sideways part of a direction from which on it is a side, neither chin nor forehead
_MOST_PRESSED = 0.3  # how much further than its place the rendered rim may be read, to be drawn in
_CHEEK_FEATHER = 0.035
_CHIN_FEATHER = 0.07  # where the frame's own face ends without an edge, as before its neck
_FOREHEAD_FEATHER = 0.09
_ARM_REACH = 0.12  # face widths along the circle: more than twice as thick as the arms of glasses
_COARSE = 4  # pixels to a side of the squares that the seam's colours are compared in
_FAR_SIDE = 0.85  # of the outline's reach on the other side: below, no ear is seen, and what stands out is glasses
_TURNED = (0.75, 0.92)  # of the reach on the other side: below, beyond the outline there is no cheek, but background
_ARM_NODES = 160  # nodes to a face's width of the grid that arms of glasses are looked for on
_CHIN_COUNTS = 0.7  # how much the colour of the chin and the jaw counts, where beards are
_SEEN = (np.float32(0.5), np.float32(0.02), 41)  # where the rendered head's end is looked for, in anchors
_HAIR_EDGE = (np.float32(0.72), np.float32(0.02), 26)  # in reaches: where hair beside a cheek is looked at
_JUST_BEYOND = (np.float32(1.015), np.float32(0.0125), 3)  # in reaches: where a face has ended that is as its mesh says
_JAW = (0.08, 0.25)  # downward part of a direction, over the face's height: from an ear's lobe to the jaw beside a chin
_CHIN = (0.45, 0.65)  # downward part of a direction: from beside a jaw to under it
_HAIR_SKIN = 6  # levels at either end that are skin, and hair
_HAIR_PLACE, _HAIR_WIDE = (0.86, 1.06), (0.02, 0.1)  # in reaches: where a cheek may end in hair, and over how much
_NOTHING = np.zeros((1, 1), np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """What compositing changes of a crop, in arrays that this thread's next compositing writes over.

    ``rgb``: float32 (a, b, 3), code values 0 to 1, from row and column ``corner`` of the crop on, even numbers.
    ``touched``: bool (a, b); everywhere else ``rgb`` is the crop, bit for bit.
    """

    rgb: np.ndarray
    touched: np.ndarray
    corner: tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Composite:
    """A crop with another face in it: a :class:`Patch` of the whole crop. ``doubt``: share of the face's core in which
    the crop's own pixels stay, 0 to 1."""

    rgb: np.ndarray
    touched: np.ndarray
    doubt: float = 0.0


class Compositor:
    """Composites faces; holds nothing between frames, so that equal inputs give equal pictures."""

    def compose(
        self,
        crop_rgb: np.ndarray,
        face: GeneratedFace,
        source_points: np.ndarray,
        source: FaceOutline,
        target: FaceOutline,
        attributes: AttributeCode,
        occlusion: np.ndarray | None = None,
        seed: int = 0,
        frame: int = 0,
        glasses: float = 0.0,
    ) -> Composite:
        """:meth:`patch`, laid into a copy of the crop."""
        patch = self.patch(crop_rgb, face, source_points, source, target, attributes, occlusion, seed, frame, glasses)
        out, touched = np.array(crop_rgb, np.float32), np.zeros(crop_rgb.shape[:2], np.bool_)
        area = tuple(slice(at, at + n) for at, n in zip(patch.corner, patch.touched.shape, strict=True))
        out[area], touched[area] = patch.rgb, patch.touched
        return Composite(out, touched, kept_of_core(occlusion, source_points))

    def patch(
        self,
        crop_rgb: np.ndarray,
        face: GeneratedFace,
        source_points: np.ndarray,
        source: FaceOutline,
        target: FaceOutline,
        attributes: AttributeCode,
        occlusion: np.ndarray | None = None,
        seed: int = 0,
        frame: int = 0,
        glasses: float = 0.0,
    ) -> Patch:
        """Replace the face in a crop.

        ``crop_rgb``: float32 (h, w, 3), code values 0 to 1. ``face``: the rendered face in the crop's pixels, linear
        light. ``source_points``: (478, 2 or more) crop pixels, the mesh of the frame's own face. ``source``,
        ``target``: outlines of the frame's face and of the rendered one. ``attributes``: the frame's softness and
        grain. ``occlusion``: float32 (h, w), 1 where something lies before the face and is to stay. ``seed``,
        ``frame``: of the grain. ``glasses``: how sure it is otherwise, 0 to 1, that glasses are worn.
        Raises ``ValueError`` when shapes do not agree.
        """
        h, w = crop_rgb.shape[:2]
        if face.rgb.shape[:2] != (h, w) or (occlusion is not None and occlusion.shape != (h, w)):
            raise ValueError("crop, face and occlusion differ in size")
        picture = np.ascontiguousarray(crop_rgb, np.float32)
        centre = source.centre.astype(np.float32)
        rim = rounded(source.reach(centre))
        tables, (above, beside, arms) = _tables(picture, rim, target, source, centre, face, attributes.blur)
        part, fill = _filmed(face, _box(tables[OUTER] * np.maximum(tables[STRETCH], 1), centre, (h, w)), attributes)
        limit = limits(source_points, source, centre, rim)
        clean = _without_glasses(picture, centre, rim, tables, arms, source.width, glasses)
        hair = hair_model(clean, part, source_points, centre, rim, limit, above)
        _not_beyond_profile(hair.gate, above, rim)
        # what lies around is drawn inwards, and hair with it: a pixel shows what is farther out
        least = limit * rim - np.maximum(tables[ANCHOR] - tables[EDGE], 0)
        tables[CORE] = np.where(_hairy(hair.gate), np.minimum(tables[CORE], least), tables[CORE])
        _into_hair(tables, picture, centre, rim, hair.gate, above, blur=attributes.blur)
        shown = closed(np.concatenate([tables, hair.colours]))
        along = np.maximum(above, beside * _faces_us(rim))
        skin = closed(np.stack([along, _CHIN_COUNTS * (1 - np.maximum(above, beside))]))
        mask = _NOTHING if occlusion is None else np.ascontiguousarray(occlusion, np.float32)
        _matched(part, picture, centre, shown, skin, hair.gate, mask, attributes, seed, frame)
        rows, columns = _box(np.maximum(tables[OUTER], tables[END]), centre, (h, w))
        size = (rows.stop - rows.start, columns.stop - columns.start)
        out, touched = lent("out", (*size, 3)), lent("touched", size, np.bool_)
        aside(
            blend,
            picture, clean, part.coded, part.cover, part.corner, centre, shown, hair.gate, fill, mask,
            FIRST, PITCH, (rows.start, columns.start), out, touched,
        )  # fmt: skip
        return Patch(out, touched, (rows.start, columns.start))


def _faces_us(rim: np.ndarray) -> np.ndarray:
    """float32 (BINS,): 0 on the side that a head is turned to, where no skin lies beyond the face, 1 elsewhere."""
    return np.asarray(ramp(rim / np.maximum(np.roll(rim, BINS // 2), 1e-3), *_TURNED), np.float32)


def _not_beyond_profile(gate: np.ndarray, above: np.ndarray, rim: np.ndarray) -> None:
    """Takes out of ``gate``, float32 (BINS / 2 + 1, n), in place, the side that a head is turned to, forehead apart:
    hair that hangs there is behind the face, and what is as dark before its edge is the old nose's own shadow."""
    facing = np.maximum(above, _faces_us(rim))[::2]
    gate *= np.append(facing, facing[0])[:, None]


def _hairy(gate: np.ndarray) -> np.ndarray:
    """bool (BINS,): which directions, or their neighbours, have hair that passes ``gate``."""
    some = (gate > HAIR_SHOWS).any(axis=1)[:-1].repeat(2)
    return np.asarray(some | np.roll(some, 1) | np.roll(some, -1) | np.roll(some, 2) | np.roll(some, -2))


def _into_hair(
    tables: np.ndarray, picture: np.ndarray, centre: np.ndarray, rim: np.ndarray, gate: np.ndarray, above: np.ndarray,
    blur: float,
) -> None:  # fmt: skip
    """Let the face end beside hair where, and as softly as, the frame's own does, in ``tables``: strands thin out over
    a cheek and shade it, and a clear line there looks cut out."""
    colours = polar_colours(picture, centre[0], centre[1], directions(), rim, *_HAIR_EDGE)
    grey = colours.mean(axis=2)
    skin, hair = np.median(grey[:, :_HAIR_SKIN], axis=1), np.median(grey[:, -_HAIR_SKIN:], axis=1)
    sure = np.minimum(gate[:-1, -1], np.clip((skin - hair - 0.1) / 0.1, 0, 1))
    if not sure.any():
        return
    dark = np.clip((skin[:, None] - grey) / np.maximum(skin - hair, 0.05)[:, None], 0, 1)
    dark = np.minimum.accumulate(dark[:, ::-1], axis=1)[:, ::-1]  # as far in as hair hangs together
    first, pitch, levels = _HAIR_EDGE
    middle = first + pitch * (levels - (dark >= 0.5).sum(axis=1) - 0.5)
    width = pitch / np.maximum(np.diff(dark, axis=1).max(axis=1), 0.1)  # the steepest step from one to the other
    # a hard line, or one beyond what is believed, is the hair model's
    sure = sure * (middle > _HAIR_PLACE[0]) * (middle < _HAIR_PLACE[1])
    found = np.stack([sure * middle, sure * width, sure], axis=1)
    found = smoothed(found, 2.0)
    place, wide = (found[:, :2] / np.maximum(found[:, 2:], 1e-3)).T
    place, wide = np.clip(place, *_HAIR_PLACE), np.clip(wide, *_HAIR_WIDE)
    place, wide, sure = doubled(np.stack([place, wide, np.minimum(found[:, 2], sure)], axis=1)).T
    # what is dark below a chin is its shadow or a collar
    sure = sure * (1 - above) * (1 - np.clip((directions()[:, 1] - _CHIN[0]) / (_CHIN[1] - _CHIN[0]), 0, 1))
    wide = np.maximum(wide * rim, 2 * blur)
    inner, outer = np.minimum(tables[INNER], place * rim - wide / 2), np.minimum(tables[OUTER], place * rim + wide / 2)
    tables[INNER] += sure * (inner - tables[INNER])
    tables[OUTER] += sure * (outer - tables[OUTER])
    tables[CORE] = np.minimum(
        tables[CORE], np.minimum(tables[INNER], np.minimum(0.8, 0.85 * tables[STRETCH]) * tables[OUTER])
    )


def _box(outer: np.ndarray, centre: np.ndarray, size: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of a crop of ``size`` that hold all that is nearer to ``centre`` than ``outer``; they start at
    even numbers, where pixels that share a chroma sample do."""
    ends = centre + directions() * outer[:, None]
    low = np.clip(np.floor(ends.min(axis=0)).astype(int) - 3, 0, np.array(size[::-1]) - 8)
    high = np.clip(np.ceil(ends.max(axis=0)).astype(int) + 4, low + 8, np.array(size[::-1]))
    return slice(int(low[1]) & ~1, int(high[1])), slice(int(low[0]) & ~1, int(high[0]))


def _filmed(face: GeneratedFace, box: tuple[slice, slice], attributes: AttributeCode) -> tuple[Part, np.ndarray]:
    """The face in ``box`` as the frame's camera would have taken it, but for its grain, and its mean colour, float32
    (3,) code values."""
    light = attributes.light
    rows, columns = box
    corner, size = (rows.start, columns.start), (rows.stop - rows.start, columns.stop - columns.start)
    coded, cover = lent("coded", (*size, 3)), lent("cover", size)
    keep, add = finish.veil_of(light.veil, light.tone)
    rgb, alpha, head = (np.ascontiguousarray(piece).reshape(-1) for piece in (face.rgb, face.alpha, face.head))
    fill = aside(film, rgb, alpha, head, face.alpha.shape[1], corner, keep, add, code_table(), coded, cover)
    blur = math.sqrt(max(attributes.blur**2 - face.softness**2, 0.0))
    soft = _softened(coded, blur, "soft")
    if attributes.glow > 0:
        soft = finish.glowing(soft, attributes.glow, finish.GLOW_REACH * attributes.camera.scale, soft)
    return Part(soft, _softened(cover, blur, "soft cover"), corner), fill


def _softened(picture: np.ndarray, blur: float, name: str) -> np.ndarray:
    """:func:`finish.soften`, into this thread's array ``name``."""
    side = finish.soft_side(blur)
    if not side:
        return picture
    return imaging.gaussian_blur(
        picture, (side, side), blur, lent(name, picture.shape), borderType=imaging.BORDER_REPLICATE
    )


def _without_glasses(
    picture: np.ndarray,
    centre: np.ndarray,
    rim: np.ndarray,
    tables: np.ndarray,
    arms: np.ndarray,
    width: float,
    sure: float,
) -> np.ndarray:
    """The frame as it is to be drawn around the face: without the arms of glasses where there seem to be any."""
    glasses = sure if sure >= 1 else max(sure, glasses_seen(picture, centre, rim, arms, width))
    if glasses <= 0:
        return picture
    clean = lent("clean", picture.shape)
    clean[:] = picture
    turned_away = rim < _FAR_SIDE * np.roll(rim, BINS // 2)
    where, reach = closed(np.stack([np.float32(glasses) * arms, turned_away])), np.float32(_ARM_REACH * width)
    side = max(1, round(width / _ARM_NODES))
    aside(without_arms, picture, clean, centre[0], centre[1], closed(tables), where, reach, side)
    return clean


def _matched(
    face: Part,
    picture: np.ndarray,
    centre: np.ndarray,
    tables: np.ndarray,
    skin: np.ndarray,
    gate: np.ndarray,
    occlusion: np.ndarray,
    attributes: AttributeCode,
    seed: int,
    frame: int,
) -> None:
    """Give ``face`` the colours that the frame's skin has along the seam, and the frame's grain, in place."""
    h, w = face.cover.shape
    rows, columns = finish.seam_grid(max(h // _COARSE, 4), max(w // _COARSE, 4))
    cover, (top, left) = face.cover, face.corner
    if occlusion is not _NOTHING:  # a hand's colour is not the face's
        cover = cover * (occlusion[top : top + h, left : left + w] <= 0)
    cells, weight = aside(
        seam_cells, picture, face.coded, cover, face.corner, centre[0], centre[1], tables, skin, gate, FIRST, PITCH,
        _COARSE, rows, columns,
    )  # fmt: skip
    grain, chroma = (max(float(x), 0.0) / 255 for x in (attributes.grain, attributes.chroma_grain))
    tiles = finish.grain_tiles(seed, attributes.grain_size)
    place = finish.grain_place(seed, frame)[0]
    aside(finished, face.coded, finish.seam_field(cells, weight), tiles, place, np.float32(grain), np.float32(chroma))


def _tables(
    picture: np.ndarray,
    rim: np.ndarray,
    target: FaceOutline,
    source: FaceOutline,
    centre: np.ndarray,
    face: GeneratedFace,
    blur: float,
) -> tuple[np.ndarray, np.ndarray]:
    """The tables of :func:`deid.blending._kernels.blend`, float32 (9, BINS), and how much forehead a direction is."""
    h, w = face.alpha.shape
    width = source.width
    unit = directions()
    up = unit @ source.up
    tall = float(rim[int(up.argmax())])
    height = rim * up / tall
    above = ramp(height, 0.3, 0.75)
    beside = ramp(height, -0.45, 0.0) * (1 - above)
    arms = ramp(height, -0.05, 0.12) * (1 - ramp(height, 0.4, 0.6))
    faint, alike, bright, dark, ended = _beyond(picture, centre, rim)
    # hair that hugs temple and cheek is no face: a thin strip of it before a wall would vanish in the margin
    margin = MARGIN * max(width, 0.8 * source.height) * (1 - np.maximum(above * dark, beside * ended))
    below = ramp(-height, *_JAW)
    place, told = silhouette(picture, centre, rim, above, below)
    told = told * (1 - above * (1 - bright)) * (1 - ramp(-height, *_CHIN)) * (1 - (1 - below) * ramp(place, *_STRIP))
    margin += told * (np.maximum(_CLEAR_MARGIN * width, 1.5 * blur) + rim * (place - 1) - margin)
    anchor = (rim + margin + 0.5).astype(np.float32)  # pixels are read bilinearly
    whole, skin = (_seen(face, head, centre, anchor) for head in (1.0, 0.0))
    new = np.minimum(rounded(target.reach(centre)) * (1 + told * (place - 1)), whole)
    nose = smoothed(ramp(target.stands_out(centre) / width, *_STANDS_OUT), 2.0)  # in profile, it is small and has edges
    new = anchor * (smoothed(new / anchor, 3.0) * (1 - nose) + smoothed(new / anchor, 1.0) * nose)
    room = border(centre, unit, h, w)
    fade = np.clip(np.minimum(_FADE * width, room - np.maximum(anchor, new)), 0.02 * width, None)
    most = _STEEPEST * fade / 1.5
    follows = 1 - (1 - _FOREHEAD_FOLLOWS * (1 - _TOLD_STAYS * told)) * above
    # beside and below, what lies around moves less than the outline differs: a wider face covers it, and the rim of a
    # narrower one is drawn out to meet it; but a nose in profile would be pressed flat, and the far side of a turned
    # face, which is narrow, drawn out until it seems to look ahead
    across = ramp(np.abs(unit @ np.array([-source.up[1], source.up[0]], np.float32)), *_SIDEWAYS)
    beyond, far = new - anchor, smoothed((1 - _faces_us(rim)) * across, 6.0)
    slack = (_MOST_SHIFT + far * (_FAR_SHIFT - _MOST_SHIFT)) * np.maximum(width, far * 0.8 * source.height)
    drawn = _RIM_FOLLOWS * (1 - np.where(beyond > 0, nose, far))
    meets = np.maximum(beyond * (1 - drawn), -np.minimum(most, slack))
    face_edge = anchor + (1 - above) * meets + above * np.clip(follows * beyond, -most, most)
    edge = np.minimum(face_edge, anchor) * (1 - above) + face_edge * above
    edge = np.clip(edge, anchor - most, anchor + most)
    soft = max(_SOFT_EDGE * width, 1.3 * blur, 0.7)
    feather = np.maximum(
        soft * 2.5, np.maximum(beside * np.maximum(alike, 1 - bright) * _CHEEK_FEATHER, faint * _CHIN_FEATHER) * width
    )
    inner = face_edge - (1 - above) * feather
    # where a bright background and no hair meets the temple, that has an edge
    blurred = 1 - np.maximum(bright * (1 - ramp(height, 0.6, 0.9)), told)
    outer = face_edge + above * np.maximum(blurred * _FOREHEAD_FEATHER * width, 2 * soft)
    reached = (1 - above) * np.minimum(whole, new) + above * skin
    stretch = np.clip(reached / outer, 0.6, 1 + _MOST_PRESSED * (1 - above))
    core = np.minimum(inner, np.where(np.abs(stretch - 1) > 0.001, np.minimum(0.8, 0.85 * stretch) * outer, inner))
    shift = np.abs(edge - anchor)
    fade = np.minimum(fade, np.maximum(_GENTLY * shift, 0.12 * width))  # no farther than a gentle return takes
    end = edge + np.where(shift > STILL, fade, 0)
    rows = np.stack([anchor, edge, end, inner, outer, rim, core, stretch, 1 / fade])
    return rows.astype(np.float32), np.stack([above, beside, arms]).astype(np.float32)


def _beyond(picture: np.ndarray, centre: np.ndarray, rim: np.ndarray) -> list[np.ndarray]:
    """What lies beyond the frame's own face, float32 (BINS,) each, 0 to 1: how little it differs from the face over the
    width of the rim, before a neck of the same light or where motion has blurred the edge; how far it may be skin at
    all; how much brighter it is further out, as hair seldom is; how much darker close by, as hair is; and how surely
    the face has ended at the outline, before something darker."""
    near, pitch, levels = np.float32(0.92), np.float32(0.06), 7  # to 1.28
    colours = polar_colours(picture, centre[0], centre[1], directions(), rim, near, pitch, levels)
    grey = colours.mean(axis=2)
    apart = np.linalg.norm(colours[:, 0] - colours[:, 3], axis=1)
    lighter, darker = grey[:, 5:].mean(axis=1) - grey[:, 0], grey[:, 0] - grey[:, 2]
    close = polar_colours(picture, centre[0], centre[1], directions(), rim, *_JUST_BEYOND)
    ended = grey[:, 0] - close.mean(axis=2).max(axis=1)
    ended = np.min([np.roll(ended, k) for k in range(-3, 4)], axis=0)
    apart, lighter, darker, ended = smoothed(np.stack([apart, lighter, darker, ended], axis=1), 2.0).T
    shares = (
        (0.4 - apart) / 0.25, (0.5 - apart) / 0.25, (lighter - 0.04) / 0.08, (darker - 0.12) / 0.12,
        (ended - 0.1) / 0.1,
    )  # fmt: skip
    return list(doubled(np.clip(np.stack(shares, axis=1), 0, 1)).T)


def _seen(face: GeneratedFace, head: float, centre: np.ndarray, anchor: np.ndarray) -> np.ndarray:
    """float32 (BINS,): how far the rendered face reaches in each direction, up to 1.3 of the anchor; ``head``: 1 with
    the rest of the head, 0 without."""
    reach = seen_reach(face.alpha, face.head, np.float32(head), centre[0], centre[1], directions(), anchor, *_SEEN)
    return np.asarray(smoothed(doubled(reach), 1.5) * anchor, np.float32)
