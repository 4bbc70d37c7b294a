"""Puts a rendered face into the crop of a frame.

The frame's own face is unknown territory: what is shown inside its outline, and a margin beyond, is the rendered face,
or hair and things before the face that were recognised as such, or surroundings drawn in from outside. Everything is
told in polar coordinates about the face's centre (:mod:`deid.blending.outline`). The surroundings move along rays only,
by a shift that is largest at the face's edge and fades to nothing, so that the old outline meets the new one; the order
of points along a ray never changes, hence nothing folds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter1d

from .. import imaging
from ..models.morphable import finish
from ._kernels import BINS, CORE, RIM, STRETCH, blend, closed, directions, polar_values, seam_weight
from .hair import FIRST, PITCH, hair_model
from .outline import FaceOutline, limits

if TYPE_CHECKING:
    from ..models.morphable.codes import AttributeCode
    from ..models.morphable.render import GeneratedFace

MARGIN = 0.03
"""How far beyond the mesh's outline the source's face may still show, in face widths (measured on real clips)."""
_FADE = 0.5  # face widths over which the surroundings come back to their place
_STEEPEST = 0.7  # largest change of the shift per pixel: 1 would fold
_SOFT_EDGE = 0.008  # least softness of the jaw's edge, in face widths
_CHEEK_FEATHER = 0.035
_FOREHEAD_FEATHER = 0.09
_COARSE = 4  # pixels of the frame to one of the picture that the seam's colours are compared in
_NOTHING = np.zeros((1, 1), np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Composite:
    """A crop with another face in it.

    ``rgb``: float32 (h, w, 3), code values 0 to 1. ``touched``: bool (h, w); everywhere else ``rgb`` is the crop, bit
    for bit. ``doubt``: how much of the face lies under something that could be neither told from it nor kept, 0 to 1.
    """

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
    ) -> Composite:
        """Replace the face in a crop.

        ``crop_rgb``: float32 (h, w, 3), code values 0 to 1. ``face``: the rendered face in the crop's pixels, linear
        light. ``source_points``: (478, 2 or more) crop pixels, the mesh of the frame's own face. ``source``,
        ``target``: outlines of the frame's face and of the rendered one. ``attributes``: the frame's softness and
        grain. ``occlusion``: float32 (h, w), 1 where something lies before the face and is to stay. ``seed``,
        ``frame``: of the grain. Raises ``ValueError`` when shapes do not agree.
        """
        h, w = crop_rgb.shape[:2]
        if face.rgb.shape[:2] != (h, w) or (occlusion is not None and occlusion.shape != (h, w)):
            raise ValueError("crop, face and occlusion differ in size")
        picture = np.ascontiguousarray(crop_rgb, np.float32)
        centre = source.centre.astype(np.float32)
        rim = _rounded(source.reach(centre))
        coded, cover, fill = _filmed(face, attributes, seed, frame)
        tables, above, beside = _tables(rim, target, source, centre, cover, attributes.blur)
        limit = limits(source_points, source, centre, rim)
        tables[7] = np.minimum(tables[7], limit * rim)
        hair = hair_model(picture, coded, source_points, centre, rim, limit, above)
        shown = closed(np.concatenate([tables, hair.skin]))
        coded = _matched(coded, cover, picture, centre, shown, closed(np.maximum(above, beside)[None]), hair.gate)
        mask = _NOTHING if occlusion is None else np.ascontiguousarray(occlusion, np.float32)
        out, touched = np.empty_like(picture), np.empty((h, w), np.bool_)
        blend(picture, coded, cover, centre, shown, hair.gate, hair.colour, fill, mask, FIRST, PITCH, out, touched)
        return Composite(out, touched)


def _filmed(
    face: GeneratedFace, attributes: AttributeCode, seed: int, frame: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The face as the frame's camera would have taken it, float32 (h, w, 3) code values, in all places; where it is,
    float32 (h, w); and its mean colour, float32 (3,)."""
    coded = finish.to_code(face.rgb)
    cover = np.minimum(face.alpha + face.head, np.float32(1))
    there = face.alpha[::4, ::4] > 0.5
    fill = coded[::4, ::4][there].mean(axis=0) if there.any() else np.full(3, 0.5, np.float32)
    nothing = cover < 0.25
    coded[nothing] = fill  # what is blurred into the rim
    coded = finish.soften(coded, attributes.blur)
    cover = finish.soften(cover, attributes.blur)
    return finish.add_grain(coded, attributes.grain, seed, frame, 0.5 * attributes.blur), cover, fill


def _matched(
    coded: np.ndarray,
    cover: np.ndarray,
    picture: np.ndarray,
    centre: np.ndarray,
    tables: np.ndarray,
    skin: np.ndarray,
    gate: np.ndarray,
) -> np.ndarray:
    """``coded`` in the colours that the frame's skin has along the seam."""
    h, w = cover.shape
    small = (max(8, w // _COARSE), max(8, h // _COARSE))
    made, seen, there = (imaging.resize(a, small, interpolation=imaging.INTER_AREA) for a in (coded, picture, cover))
    scale = np.float32(small[0] / w)
    cx, cy = (np.float32((c + 0.5) * scale - 0.5) for c in centre)
    reduced = tables.copy()
    reduced[:, :STRETCH] *= scale
    reduced[:, RIM : CORE + 1] *= scale
    weight = seam_weight(seen, there, cx, cy, reduced, skin, gate, FIRST, PITCH)
    correction = finish.seam_correction(made, seen, weight, there)
    return coded + imaging.resize(correction, (w, h), interpolation=imaging.INTER_LINEAR)


def _rounded(reach: np.ndarray) -> np.ndarray:
    """An outline of straight lines, rounded outwards."""
    return np.maximum(gaussian_filter1d(reach, 1.5, mode="wrap"), reach).astype(np.float32)


def _tables(
    rim: np.ndarray, target: FaceOutline, source: FaceOutline, centre: np.ndarray, cover: np.ndarray, blur: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The tables of :func:`deid.blending._kernels.blend`, float32 (8, BINS), and how much forehead a direction is."""
    h, w = cover.shape
    width = source.width
    unit = directions()
    up = unit @ source.up
    tall = float(rim[int(up.argmax())])
    height = rim * up / tall
    above = _ramp(height, 0.2, 0.6)
    beside = _ramp(height, -0.45, 0.0) * (1 - above)
    anchor = rim + np.float32(MARGIN * max(width, 0.8 * source.height))
    seen = _seen(cover, centre, anchor)
    new = np.minimum(_rounded(target.reach(centre)), seen)
    border = _border(centre, unit, h, w)
    fade = np.clip(np.minimum(_FADE * width, border - np.maximum(anchor, new)), 0.02 * width, None)
    most = _STEEPEST * fade / 1.5
    edge = np.clip((1 - above) * new + above * anchor, anchor - most, anchor + most)
    soft = max(_SOFT_EDGE * width, 1.3 * blur, 0.7)
    feather = soft * 2.5 + beside * max(_CHEEK_FEATHER * width - soft * 2.5, 0)
    inner = (1 - above) * (edge - feather) + above * anchor
    outer = edge + above * max(_FOREHEAD_FEATHER * width, 2 * soft)
    stretch = np.clip(np.minimum(seen, np.where(above > 0.5, seen, new)) / edge, 0.5, 1.0)
    core = np.minimum(inner, np.where(stretch < 0.999, 0.55 * edge, inner))
    rows = np.stack([anchor, edge, fade, inner, outer, stretch, rim, core])
    return rows.astype(np.float32), above.astype(np.float32), beside.astype(np.float32)


def _seen(cover: np.ndarray, centre: np.ndarray, anchor: np.ndarray) -> np.ndarray:
    """float32 (BINS,): how far the rendered head reaches in each direction, up to 1.3 of the anchor."""
    values = polar_values(cover, float(centre[0]), float(centre[1]), directions(), anchor, 0.5, 0.02, 41)
    values = np.minimum.accumulate(values, axis=1)
    reach = (0.5 + 0.02 * (values > 0.5).sum(axis=1)).astype(np.float32)
    whole = np.interp(np.arange(BINS) / 2, np.arange(BINS // 2), reach, period=BINS // 2)
    return np.asarray(gaussian_filter1d(whole, 1.5, mode="wrap") * anchor, np.float32)


def _border(centre: np.ndarray, unit: np.ndarray, h: int, w: int) -> np.ndarray:
    """float32 (BINS,): distance from the centre to the crop's border in each direction."""
    x = np.where(unit[:, 0] > 0, w - 1 - centre[0], centre[0]) / np.maximum(np.abs(unit[:, 0]), 1e-6)
    y = np.where(unit[:, 1] > 0, h - 1 - centre[1], centre[1]) / np.maximum(np.abs(unit[:, 1]), 1e-6)
    return np.minimum(x, y)


def _ramp(x: np.ndarray, low: float, high: float) -> np.ndarray:
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)
