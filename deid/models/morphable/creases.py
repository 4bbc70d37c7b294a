"""Lines that expressions fold into skin: where they run, what folds them, and how deep they are at what age.

The mesh is too coarse for them, so they are a relief in the texture's tile, drawn once from the head's own measures:
grooves with raised rims along the lines of facial anatomy, across the pull of the muscles (Ekman and Friesen, *Facial
Action Coding System*, 1978, names them by action unit). A frame says how strongly each region folds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from deid import imaging
from deid.models.morphable import raster
from deid.models.morphable.geometry import Geometry
from deid.models.morphable.shade_texture import Pyramid, build_pyramid

SIZE = 512  # texels a side of the relief's tile
_STEEPEST = 0.5  # slopes are stored up to this
_YEARS, _DEPTH = (16.0, 20.0, 26.0, 34.0, 50.0, 65.0), (0.0, 0.08, 0.4, 0.65, 0.95, 1.1)
_FAINT = 0.04  # weights below fold nothing

Field = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Height in centimetres of places ``x, y, z`` of the mean head at rest, mirrored to its left side, each (h, w)."""


@dataclass(frozen=True, slots=True, eq=False)
class Creases:
    """``relief``: slopes along u and v and depth of grooves at full weight, in the channels of a pyramid, each from
    0 to 1: half is flat, and slopes of 0.5 are at the ends. ``members``: int32 (m,), vertices that any region folds,
    and ``share``, float32 (m, 12), how much each does: the left sides of all regions, then the right ones.
    ``tangents``: float32 (m, 2, 3), unit vectors along u and v at rest. ``drive``: float32 (12, E), what a region gains
    from each expression."""

    relief: Pyramid
    members: np.ndarray
    share: np.ndarray
    tangents: np.ndarray
    drive: np.ndarray

    def weights(self, expression: np.ndarray) -> np.ndarray | None:
        """float32 (m,): how strongly each vertex is folded, 0 to 1; ``None`` when nothing is."""
        strength = (self.drive * np.clip(expression, 0.0, 1.0)).max(axis=1)
        strength = np.maximum(strength - _FAINT, 0.0) / (1.0 - _FAINT)
        if not strength.any():
            return None
        folded: np.ndarray = np.minimum(self.share @ strength, 1.0).astype(np.float32)
        return folded


def depth_at(age: float) -> float:
    """How deep creases are at ``age`` years, about 1 at 55; none in children."""
    return float(np.interp(age, _YEARS, _DEPTH))


@lru_cache(maxsize=2)
def creases(geometry: Geometry) -> Creases:
    """The creases of a geometry, the same for everybody."""
    places, inside = _places(geometry)
    on = places[inside]
    height = np.zeros((SIZE, SIZE), np.float32)
    height[inside] = _heights(np.abs(on[:, 0]), on[:, 1], on[:, 2])
    along = [np.gradient(places, axis=axis) for axis in (1, 0)]
    lengths = [np.maximum(np.linalg.norm(step, axis=2), 1e-4) for step in along]
    edge = imaging.dilate((~inside).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    texture = np.full((SIZE, SIZE, 4), 0.5, np.float32)
    for axis, length in zip((1, 0), lengths, strict=True):
        slope = np.where(edge, 0.0, np.gradient(height, axis=axis) / length)
        texture[..., 1 - axis] = np.clip(0.5 + slope / (2 * _STEEPEST), 0.0, 1.0)
    texture[..., 2] = np.where(edge, 0.0, np.clip(-height / 0.04, 0.0, 1.0))
    texture[..., 3] = 1.0
    texture[0, 0, :3] = 1.0  # so that the largest value is 1
    relief = build_pyramid(texture, np.ones((SIZE, SIZE), bool))
    members, share = _shares(geometry)
    texel = np.clip((geometry.uv[members] * SIZE).astype(np.int64), 0, SIZE - 1)
    steps = [step / length[..., None] for step, length in zip(along, lengths, strict=True)]
    tangents = np.stack([step[texel[:, 1], texel[:, 0]] for step in steps], axis=1)
    return Creases(relief, members, share, tangents.astype(np.float32), _drive(geometry.expression_names))


def _places(geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """Where texels lie on the head at rest, float32 (SIZE, SIZE, 3), and which lie on it, bool."""
    from deid.models.morphable.render_model import face_tile

    triangles, textured = face_tile(geometry)
    inside = triangles[textured[triangles].all(axis=1)]
    fixed = np.floor(geometry.uv.astype(np.float64) * SIZE * 256.0 - 127.5).astype(np.int32)
    box, everywhere = np.zeros(len(inside), np.uint8), np.array([[0, SIZE - 1, 0, SIZE - 1]], np.int64)
    depth, owner = np.empty((SIZE, SIZE), np.float32), np.empty((SIZE, SIZE), np.int32)
    places, hit = np.zeros((SIZE, SIZE, 3), np.float32), np.zeros((SIZE, SIZE), bool)
    flat = np.zeros_like(geometry.vertices)
    for axis in range(3):
        flat[:, 2] = geometry.vertices[:, axis]  # interpolated as depth is
        for order in (inside, inside[:, ::-1]):
            raster.rasterise(fixed, flat, np.ascontiguousarray(order), 0, 0, box, everywhere, depth, owner)
            places[..., axis] = np.where(owner >= 0, depth, places[..., axis])
            hit |= owner >= 0
    return places, hit


def _heights(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """float32 (n,): all fields at full weight, each where its region is."""
    out = np.zeros(len(x), np.float32)
    for _, mask, field in _REGIONS:
        here = np.flatnonzero(mask(x, y, z) > 0.02)
        out[here] += field(x[here], y[here], z[here])
    return out


def _shares(geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    x, y, z = geometry.vertices.T.astype(np.float64)
    left = np.clip(0.5 + x / 0.5, 0.0, 1.0)
    shares = [mask(np.abs(x), y, z) * side for side in (left, 1.0 - left) for _, mask, _ in _REGIONS]
    share = np.stack(shares, axis=1)
    share[(geometry.uv < 0).any(axis=1) | (geometry.uv > 1).any(axis=1) | (z < 2.0)] = 0.0
    members = np.flatnonzero(share.max(axis=1) > 0.01).astype(np.int32)
    return members, share[members].astype(np.float32)


def _drive(names: tuple[str, ...]) -> np.ndarray:
    drive = np.zeros((2 * len(_REGIONS), len(names)), np.float32)
    for k, side in enumerate("LR"):
        for i, (pulls, _, _) in enumerate(_REGIONS):
            for name, gain in pulls:
                for full in (name, f"{name}_{side}"):
                    if full in names:
                        drive[k * len(_REGIONS) + i, names.index(full)] = gain
    return drive


def _step(low: float, high: float, x: np.ndarray) -> np.ndarray:
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def _window(x: np.ndarray, low: float, high: float, soft: float) -> np.ndarray:
    """1 between ``low`` and ``high``, 0 from ``soft`` outside of them on."""
    return _step(low - soft, low, x) * (1.0 - _step(high, high + soft, x))


def _groove(t: np.ndarray, width: float, depth: float) -> np.ndarray:
    """A groove with raised rims, ``t`` centimetres from its line."""
    return -depth * (np.exp(-0.5 * (t / width) ** 2) - 0.4 * np.exp(-0.5 * (t / (2.3 * width)) ** 2))


def _forehead(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    out = np.zeros_like(x)
    for k, (level, depth) in enumerate(((6.3, 0.6), (6.85, 1.0), (7.45, 1.0), (8.15, 0.7))):
        line = level - 0.014 * (x - 2.2) ** 2 + 0.05 * np.sin(2.1 * x + 1.7 * k) + 0.03 * np.sin(4.7 * x + k)
        ends = 1.0 - _step(2.8 + 0.4 * (k % 2), 4.4, x)
        out += _groove(y - line, 0.075, 0.036 * depth) * ends * (0.8 + 0.2 * np.sin(1.3 * x + 2.0 * k))
    return out


def _frown(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    line = 0.5 + 0.10 * (y - 4.7) + 0.04 * np.sin(3.0 * y)
    return _groove(x - line, 0.09, 0.065) * _window(y, 4.3, 5.3, 0.7)


def _crows_feet(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    across = (x - 4.45) + 0.7 * np.maximum(8.7 - z, 0.0)  # along the skin, which turns back here
    up = y - 3.45
    out = np.zeros_like(x)
    radius, angle = np.hypot(across, up), np.arctan2(up, np.maximum(across, 1e-3))
    for k, (at, depth, reach) in enumerate(((-0.62, 0.7, 1.5), (-0.22, 1.0, 1.7), (0.16, 0.8, 1.5), (0.5, 0.5, 1.2))):
        bend = at - 0.12 * (radius - 0.8) + 0.03 * np.sin(5.0 * radius + k)
        ends = _window(radius, 0.5, reach, 0.45)
        out += _groove((angle - bend) * radius, 0.06, 0.042 * depth) * ends * (across > 0)
    # and the fold under the lower lid
    for drop, depth in ((0.42, 1.0), (0.8, 0.6)):
        line = 3.0 - drop + 0.11 * (x - 3.1) ** 2
        out += _groove(y - line, 0.07, 0.03 * depth) * _window(x, 2.3, 4.2, 0.5)
    return out


def _nasolabial(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    line = np.interp(-y, (0.0, 0.6, 1.5, 2.5, 3.4, 4.2), (2.0, 2.35, 2.8, 3.2, 3.4, 3.35))
    return _groove((x - line) * 0.85, 0.13, 0.075) * _window(-y, 0.1, 3.0, 0.9)


def _nose(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    out = np.zeros_like(x)
    for k in range(3):
        line = 3.15 - 0.42 * k - 0.55 * x
        out += _groove((y - line) * 0.87, 0.06, 0.022) * _window(x, 0.25, 1.0, 0.35)
    return out


def _chin(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    rough = np.sin(9.0 * x + 2.0 * np.sin(4.0 * y)) * np.sin(8.0 * y + 1.5 * np.sin(5.0 * x + 1.0))
    return 0.022 * rough


_REGIONS: tuple[tuple[tuple[tuple[str, float], ...], Field, Field], ...] = (
    (
        (("browInnerUp", 1.0), ("browOuterUp", 0.9)),
        lambda x, y, z: _window(y, 6.2, 8.6, 0.35) * (1.0 - _step(4.0, 5.0, x)),
        _forehead,
    ),
    (
        (("browDown", 1.0), ("noseSneer", 0.4)),
        lambda x, y, z: _window(y, 4.0, 5.6, 0.5) * (1.0 - _step(0.9, 1.4, x)),
        _frown,
    ),
    (
        (("cheekSquint", 1.0), ("cheekRaiser", 1.0), ("eyeSquint", 0.7), ("mouthSmile", 0.8)),
        lambda x, y, z: _window(y, 1.9, 4.7, 0.4) * _step(1.9, 2.5, x),
        _crows_feet,
    ),
    (
        (("mouthSmile", 1.0), ("noseSneer", 0.7), ("mouthUpperUp", 0.6), ("cheekSquint", 0.4), ("mouthStretch", 0.4)),
        lambda x, y, z: _window(y, -4.0, -0.2, 0.5) * _window(x, 2.0, 3.9, 0.4),
        _nasolabial,
    ),
    (
        (("noseSneer", 1.0), ("cheekRaiser", 0.3)),
        lambda x, y, z: _window(y, 1.6, 3.2, 0.4) * (1.0 - _step(1.1, 1.5, x)) * _step(0.1, 0.3, x),
        _nose,
    ),
    (
        (("mouthShrugLower", 0.9), ("mouthPucker", 0.5), ("mouthFrown", 0.5)),
        lambda x, y, z: _window(y, -6.6, -5.4, 0.5) * (1.0 - _step(1.2, 1.9, x)),
        _chin,
    ),
)
