"""Arithmetic on oriented face boxes ``cx cy w h roll`` (see :class:`deid.types.Track`)."""

from __future__ import annotations

import numpy as np

from deid.detection.boxes import iou as corner_iou


def from_corners(corners: np.ndarray, roll: float = 0.0) -> np.ndarray:
    """``x0 y0 x1 y1`` to ``cx cy w h roll``, float32 (5,)."""
    x0, y0, x1, y1 = (float(v) for v in corners[:4])
    return np.array([(x0 + x1) / 2, (y0 + y1) / 2, max(x1 - x0, 1.0), max(y1 - y0, 1.0), roll], np.float32)


def corners(boxes: np.ndarray) -> np.ndarray:
    """``cx cy w h roll`` (..., 5) to the upright ``x0 y0 x1 y1`` of the same centre and size, roll ignored.

    Detectors report upright boxes whatever the head does, so two boxes are compared in that form.
    """
    half = boxes[..., 2:4] / 2
    return np.concatenate([boxes[..., :2] - half, boxes[..., :2] + half], axis=-1)


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of every box of ``a`` (n, 5) with every box of ``b`` (m, 5): float (n, m)."""
    return corner_iou(corners(a), corners(b))


def shared(a: np.ndarray, b: np.ndarray) -> float:
    """How much of the smaller of two boxes lies in the other, 0 to 1."""
    return _common(a, b) / max(float(min(a[2] * a[3], b[2] * b[3])), 1e-6)


def part_in(a: np.ndarray, b: np.ndarray) -> float:
    """How much of ``a`` lies in ``b``, 0 to 1."""
    return _common(a, b) / max(float(a[2] * a[3]), 1e-6)


def _common(a: np.ndarray, b: np.ndarray) -> float:
    """Area in both boxes."""
    first, second = corners(a), corners(b)
    sides = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
    return float(np.prod(np.maximum(sides, 0)))


def size(box: np.ndarray) -> float:
    """Geometric mean of width and height, in pixels."""
    return float(np.sqrt(max(box[2], 1e-3) * max(box[3], 1e-3)))


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Distance of the centres in units of the mean size."""
    return float(np.hypot(a[0] - b[0], a[1] - b[1]) / (0.5 * (size(a) + size(b))))


def size_ratio(a: np.ndarray, b: np.ndarray) -> float:
    """How many times larger the larger one is, at least 1."""
    ratio = size(a) / size(b)
    return max(ratio, 1 / ratio)


def wrap(angle: float) -> float:
    """Angle in radians brought into [-pi, pi)."""
    return float((angle + np.pi) % (2 * np.pi) - np.pi)


def blend(a: np.ndarray, b: np.ndarray, weight: float) -> np.ndarray:
    """From ``a`` (weight 0) to ``b`` (weight 1): centres linear, sizes geometric, roll along the shorter arc."""
    out = np.empty(5, np.float32)
    out[:2] = a[:2] + weight * (b[:2] - a[:2])
    out[2:4] = np.exp(np.log(a[2:4]) + weight * (np.log(b[2:4]) - np.log(a[2:4])))
    out[4] = wrap(a[4] + weight * wrap(b[4] - a[4]))
    return out


def correct(box: np.ndarray, drifted: np.ndarray, measured: np.ndarray, weight: float) -> np.ndarray:
    """``box`` moved by a share ``weight`` of the error found where ``drifted`` should have been ``measured``."""
    out = box.astype(np.float32).copy()
    out[:2] += weight * (measured[:2] - drifted[:2])
    out[2:4] *= np.exp(weight * (np.log(measured[2:4]) - np.log(drifted[2:4])))
    out[4] = wrap(out[4] + weight * wrap(measured[4] - drifted[4]))
    return out


def move(box: np.ndarray, transform: np.ndarray) -> np.ndarray:
    """``box`` carried by a similarity transform ``dst_from_src`` (2, 3)."""
    a, b = float(transform[0, 0]), float(transform[1, 0])
    scale, angle = float(np.hypot(a, b)), float(np.arctan2(b, a))
    centre = transform[:, :2] @ box[:2].astype(np.float64) + transform[:, 2]
    return np.array([*centre, box[2] * scale, box[3] * scale, wrap(box[4] + angle)], np.float32)


def visible_share(box: np.ndarray, width: int, height: int) -> float:
    """Share of the upright box's area that lies inside the picture."""
    x0, y0, x1, y1 = corners(box)
    inside = max(0.0, min(x1, width) - max(x0, 0.0)) * max(0.0, min(y1, height) - max(y0, 0.0))
    return float(inside / max((x1 - x0) * (y1 - y0), 1e-9))
