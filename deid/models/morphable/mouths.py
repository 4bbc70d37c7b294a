"""Mouths at rest: the line between closed lips, and how wide and how level they are held.

A scanned head at rest is one of a studio subject who keeps still for a scan: over most scans the line between the lips
is an arch whose ends hang, by one to two millimetres in the model's mean. On a face that is shown as calm, that reads
as a frown, and every expression is added to it. In people who look relaxed that line is nearly level, with a slight dip
in the middle under the tubercle of the upper lip (Farkas, *Anthropometry of the Head and Face*, 1994: the corners lie
at the height of the line's middle). Heads are drawn with their own line, and shown with one that is near that.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from deid.models.morphable.canthi import drawn_out
from deid.models.morphable.geometry import Geometry, Part
from deid.models.morphable.nearest import nearest_distance

_AT = np.array([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])  # of half the line's width, from the middle
_LINE = np.array([-0.022, -0.002, 0.012, 0.010, 0.002, 0.0])  # height of a relaxed line there, in half widths
_OWN = 0.3  # share of what a head's own line differs from that
_SOCKET = 0.6  # cm from the lips' line: gums that do not stay with the lips
_LIFTED = 0.3  # cm that a corner rises for one unit
_WIDENED = 0.5  # share by which a mouth is wider for one unit


def relaxed(geometry: Geometry, neutral: np.ndarray) -> np.ndarray:
    """``neutral``, float32 (V, 3), a head at rest as it is shown: with the line between its lips near a relaxed one
    (lips keep their height on average, their thickness and their width), and with corners of its eyes where people
    have them (:mod:`.canthi`)."""
    x, line = _line(geometry, neutral)
    t = np.clip(2 * (x - x[0]) / max(float(x[-1] - x[0]), 1e-3) - 1, -1.0, 1.0)
    wanted = np.interp(np.abs(t), _AT, _LINE) * (x[-1] - x[0]) / 2
    weight = np.gradient(t)
    off = line - wanted
    off = off - (off @ weight) / weight.sum()
    return drawn_out(geometry, _with_line(geometry, neutral, (_OWN - 1) * off))


def _line(geometry: Geometry, neutral: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x and height, float64 (M,), of the line between the lips, the viewer's left to right."""
    lower, upper = neutral[geometry.motion.lip_lower], neutral[geometry.motion.lip_upper]
    x = np.maximum.accumulate((lower[0, :, 0] + upper[0, :, 0]).astype(np.float64) / 2)
    return x, (lower[..., 1].max(axis=0) + upper[..., 1].min(axis=0)).astype(np.float64) / 2


def _with_line(geometry: Geometry, neutral: np.ndarray, rise: np.ndarray) -> np.ndarray:
    """``neutral`` with both lips raised by ``rise`` (M,) centimetres along the line, and what is around them."""
    motion = geometry.motion
    out = np.array(neutral, np.float32)
    out[motion.lip_region, 1] += motion.lip_weights @ np.concatenate([rise, rise]).astype(np.float32)
    return out


@lru_cache(maxsize=2)
def holds(geometry: Geometry) -> np.ndarray:
    """float32 (3, V, 3), read-only: how a unit of these moves a head at rest: the left corner of the mouth higher, the
    right one, a wider mouth."""
    motion = geometry.motion
    x, _ = _line(geometry, geometry.vertices)
    t = 2 * (x - x[0]) / (x[-1] - x[0]) - 1
    out = np.zeros((3, *geometry.vertices.shape), np.float32)
    for side, way in enumerate((1, -1)):
        out[side] = _with_line(geometry, out[side], _LIFTED * np.square(np.maximum(way * t, 0.0)))
    out[2, motion.lip_region, 0] = (
        _WIDENED * motion.lip_weights.sum(axis=1).clip(0, 1) * geometry.vertices[motion.lip_region, 0]
    )
    out.setflags(write=False)
    return out


def with_teeth(geometry: Geometry, neutral: np.ndarray, lower: float) -> np.ndarray:
    """``neutral``, float32 (V, 3), with teeth, gums and tongue ``lower`` centimetres further down behind the lips."""
    moved = np.array(neutral, np.float32)
    inside, share = _behind_lips(geometry)
    moved[inside, 1] -= np.float32(lower) * share
    return moved


@lru_cache(maxsize=2)
def _behind_lips(geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """Vertices of teeth, gums and tongue, and how far they go where teeth go: those at the lips stay."""
    inside = np.unique(geometry.triangles[np.isin(geometry.parts, (Part.MOUTH, Part.TEETH, Part.TONGUE))])
    points = geometry.vertices.astype(np.float64)
    t = np.clip(nearest_distance(points[inside], points[geometry.lips_inner]) / _SOCKET, 0.0, 1.0)
    teeth = np.isin(inside, np.unique(geometry.triangles[geometry.parts == Part.TEETH]))
    return inside, np.where(teeth, 1.0, t * t * (3 - 2 * t)).astype(np.float32)
