"""Axis-aligned boxes, and the picture handling every detector shares."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from deid import imaging


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of every box of ``a`` (n, 4) with every box of ``b`` (m, 4), float (n, m) in [0, 1]."""
    a, b = np.atleast_2d(a)[:, None, :], np.atleast_2d(b)[None, :, :]
    overlap = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    inter = np.prod(np.maximum(overlap, 0), axis=-1)
    return inter / np.maximum(_areas(a) + _areas(b) - inter, 1e-9)


def nms(boxes: np.ndarray, scores: np.ndarray, threshold: float, *, of_smaller: bool = False) -> np.ndarray:
    """Greedy non-maximum suppression: indices of the boxes kept, best first.

    ``boxes`` (n, 4), ``scores`` (n,). A box goes when its IoU with a better kept one exceeds ``threshold``; with
    ``of_smaller``, when the intersection over the smaller area of the two does. Equal scores keep their order, so the
    result does not depend on the sort.
    """
    order = np.argsort(-scores, kind="stable")
    boxes = boxes[order]
    areas = _areas(boxes)
    alive = np.arange(len(order))
    kept: list[int] = []
    while alive.size:
        best, alive = alive[0], alive[1:]
        kept.append(int(order[best]))
        x0, y0, x1, y1 = boxes[best]
        rest = boxes[alive]
        inter = np.maximum(np.minimum(rest[:, 2], x1) - np.maximum(rest[:, 0], x0), 0)
        inter *= np.maximum(np.minimum(rest[:, 3], y1) - np.maximum(rest[:, 1], y0), 0)
        whole = np.minimum(areas[alive], areas[best]) if of_smaller else areas[alive] + areas[best] - inter
        alive = alive[inter <= threshold * np.maximum(whole, 1e-9)]
    return np.asarray(kept, dtype=np.intp)


def _areas(boxes: np.ndarray) -> np.ndarray:
    return np.maximum(boxes[..., 2] - boxes[..., 0], 0) * np.maximum(boxes[..., 3] - boxes[..., 1], 0)


def check_picture(bgr: np.ndarray) -> None:
    """Raise ``ValueError`` unless ``bgr`` is uint8 (H, W, 3)."""
    if not isinstance(bgr, np.ndarray) or bgr.dtype != np.uint8 or bgr.ndim != 3 or bgr.shape[2] != 3:
        found = f"{bgr.dtype} {bgr.shape}" if isinstance(bgr, np.ndarray) else type(bgr).__name__
        raise ValueError(f"a picture must be uint8 (H, W, 3), not {found}")


def resample(bgr: np.ndarray, width: int, height: int) -> np.ndarray:
    """``bgr`` at another size: area averaging when it shrinks, so that nothing aliases, bilinear when it grows."""
    if (bgr.shape[1], bgr.shape[0]) == (width, height):
        return bgr
    shrinks = width * height < bgr.shape[0] * bgr.shape[1]
    how = imaging.INTER_AREA if shrinks else imaging.INTER_LINEAR
    return imaging.resize(np.ascontiguousarray(bgr), (width, height), interpolation=how)


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """A resampled part of a picture: ``picture`` uint8 (h, w, 3), and where its pixels lie in the whole one."""

    picture: np.ndarray
    scale: tuple[float, float]
    origin: tuple[int, int]

    def to_whole(self, xy: np.ndarray) -> np.ndarray:
        """Patch coordinates (..., 2) to whole-picture coordinates, both with pixel centres at integers."""
        return (xy + 0.5) / np.asarray(self.scale) - 0.5 + np.asarray(self.origin)


def scaled(bgr: np.ndarray, scale: float, *, multiple: int = 1) -> Patch:
    """The whole picture resampled by ``scale``, each side rounded up to a ``multiple`` of pixels."""
    height, width = bgr.shape[:2]
    new_w, new_h = (max(1, math.ceil(round(n * scale) / multiple)) * multiple for n in (width, height))
    return Patch(resample(bgr, new_w, new_h), (new_w / width, new_h / height), (0, 0))


def region(bgr: np.ndarray, box: np.ndarray, target_px: int, *, margin: float = 1.0) -> Patch | None:
    """The square around ``box`` with ``margin`` face heights on every side, the face resampled to ``target_px``.

    What lies outside the picture is cut off; ``None`` when nothing is left or ``box`` has no extent.
    """
    x0, y0, x1, y1 = (float(v) for v in box)
    side = max(x1 - x0, y1 - y0)
    if not np.isfinite(side) or side <= 0:
        return None
    half = side * (0.5 + margin)
    cx, cy = (x0 + x1) / 2 + 0.5, (y0 + y1) / 2 + 0.5
    left, top = max(0, round(cx - half)), max(0, round(cy - half))
    right, bottom = min(bgr.shape[1], round(cx + half)), min(bgr.shape[0], round(cy + half))
    if right <= left or bottom <= top:
        return None
    part = scaled(bgr[top:bottom, left:right], target_px / side)
    return Patch(part.picture, part.scale, (left, top))
