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

from ._kernels import BINS, blend, directions, polar_values
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
        code = encode(face.rgb)
        cover = np.minimum(face.alpha + face.head, 1.0).astype(np.float32)
        tables, above = _tables(rim, target, source, centre, cover, attributes.blur)
        hair = hair_model(picture, code, source_points, centre, rim, limits(source_points, source, centre, rim), above)
        out = np.empty_like(picture)
        touched = np.empty((h, w), np.bool_)
        blend(
            picture, code, cover, centre, tables, hair.gate, hair.skin, hair.colour, hair.skin.mean(axis=0),
            _NOTHING if occlusion is None else occlusion.astype(np.float32), FIRST, PITCH, out, touched,
        )  # fmt: skip
        return Composite(out, touched)


def encode(linear: np.ndarray) -> np.ndarray:
    """Display code values, 0 to 1, of linear light (IEC 61966-2-1). float32 of the same shape."""
    index = np.sqrt(np.clip(linear, 0, 1)) * (_CURVE_SIZE - 1)
    return _CURVE[np.rint(index).astype(np.int32)]


_CURVE_SIZE = 8192
_x = (np.arange(_CURVE_SIZE) / (_CURVE_SIZE - 1)) ** 2
_CURVE = np.where(_x <= 0.0031308, 12.92 * _x, 1.055 * np.power(_x, 1 / 2.4) - 0.055).astype(np.float32)


def _rounded(reach: np.ndarray) -> np.ndarray:
    """An outline of straight lines, rounded without coming nearer to the centre than its corners by much."""
    return np.asarray(gaussian_filter1d(reach, 1.5, mode="wrap"), np.float32)


def _tables(
    rim: np.ndarray, target: FaceOutline, source: FaceOutline, centre: np.ndarray, cover: np.ndarray, blur: float
) -> tuple[np.ndarray, np.ndarray]:
    """The tables of :func:`deid.blending._kernels.blend`, float32 (8, BINS), and how much forehead a direction is."""
    h, w = cover.shape
    width = source.width
    unit = directions()
    up = unit @ source.up
    tall = float(rim[int(up.argmax())])
    height = rim * up / tall
    above = _ramp(height, 0.2, 0.6)
    beside = _ramp(height, -0.45, 0.0) * (1 - above)
    anchor = rim + np.float32(MARGIN * width)
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
    return np.stack([anchor, edge, fade, inner, outer, stretch, rim, rim]).astype(np.float32), above.astype(np.float32)


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
