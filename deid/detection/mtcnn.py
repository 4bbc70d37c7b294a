"""MTCNN: an independent second opinion, slower than CenterFace and trained otherwise.

Method: K. Zhang et al., *Joint Face Detection and Alignment using Multi-task Cascaded Convolutional Networks*, 2016.
Weights: those inside the ``facenet-pytorch`` package (MIT), read as files. Its code is not imported, because it needs
torchvision, whose compiled operators do not load beside every torch; the cascade here gives the same detections.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from deid.types import Detection

from .boxes import Patch, check_picture, nms, region, scaled

if TYPE_CHECKING:
    from ._mtcnn_networks import Picture

_PYRAMID = 0.709  # from one scale to the next, halving the area
_CELL, _STRIDE = 12, 2  # of the proposal network
_LENIENT = (0.4, 0.5, 0.4)


class Mtcnn:
    """Finds faces by three networks in turn: propose on a pyramid, refine, decide.

    ``thresholds`` in [0, 1]: the least score to pass each of the three. ``min_size``: height in pixels of the smallest
    face looked for, of the picture as searched, at least 12. ``threads``: torch's thread count, which is one number for
    the whole process; ``None`` leaves it alone.

    Torch is imported when the first instance is made. One instance belongs to one thread at a time. Raises
    :class:`deid.errors.ModelError` when the weights are missing or unreadable.
    """

    name = "mtcnn"

    def __init__(
        self,
        thresholds: tuple[float, float, float] = (0.6, 0.7, 0.7),
        min_size: int = 20,
        threads: int | None = None,
    ) -> None:
        from ._mtcnn_networks import Networks

        if min_size < _CELL:
            raise ValueError(f"min_size must be at least {_CELL}, not {min_size}")
        self.thresholds = thresholds
        self.min_size = min_size
        self._networks = Networks(threads)

    def detect(self, bgr: np.ndarray, *, scale: float = 1.0, threshold: float | None = None) -> list[Detection]:
        """Faces of the picture, best first: see :class:`deid.detection.FaceDetector`.

        ``threshold`` replaces the last network's; the earlier ones are never stricter than it.
        """
        check_picture(bgr)
        if not bgr.size:
            return []
        return self._search(scaled(bgr, scale), _thresholds(self.thresholds, threshold))

    def detect_region(
        self, bgr: np.ndarray, box: np.ndarray, *, target_px: int = 96, threshold: float | None = None
    ) -> list[Detection]:
        """Search again around ``box``: see :class:`deid.detection.FaceDetector`."""
        check_picture(bgr)
        part = region(bgr, box, target_px) if bgr.size else None
        return self._search(part, _thresholds(_LENIENT, threshold)) if part else []

    def close(self) -> None:
        """Nothing is held that needs freeing; here so that every detector can be closed."""

    def _search(self, part: Patch, thresholds: tuple[float, float, float]) -> list[Detection]:
        with self._networks.on(part.picture) as picture:
            boxes = _square(self._propose(picture, thresholds[0]))
            boxes = _square(_refine(picture, boxes, thresholds[1]))
            boxes, scores, points = _decide(picture, boxes, thresholds[2])
        keep = nms(boxes, scores, 0.7, of_smaller=True)
        corners = part.to_whole(boxes[keep].reshape(-1, 2, 2) - 0.5).reshape(-1, 4).astype(np.float32)
        points = part.to_whole(points[keep] - 0.5).astype(np.float32)
        return [
            Detection(box=b, score=float(s), points=p, detector=self.name)
            for b, s, p in zip(corners, scores[keep], points, strict=True)
        ]

    def _propose(self, picture: Picture, threshold: float) -> np.ndarray:
        """Candidate boxes (n, 4) from the proposal network on every level of the pyramid."""
        scale = _CELL / self.min_size
        found: list[np.ndarray] = []
        while min(picture.height, picture.width) * scale >= _CELL:
            shift, score = picture.propose(int(picture.height * scale + 1), int(picture.width * scale + 1))
            row, column = np.nonzero(score >= threshold)
            corner = _STRIDE * np.stack([column, row], axis=1)
            boxes = np.floor(np.hstack([corner + 1, corner + _CELL]).astype(np.float32) / np.float32(scale))
            rows = np.column_stack([boxes, score[row, column], shift[:, row, column].T])
            found.append(rows[nms(boxes, rows[:, 4], 0.5)])
            scale *= _PYRAMID
        rows = np.concatenate(found) if found else np.empty((0, 9))
        rows = rows[nms(rows[:, :4], rows[:, 4], 0.7)]
        # the grid counts from 1 with inclusive ends; only this network's shifts are fractions of the bare difference
        boxes = rows[:, :4] + rows[:, 5:] * np.tile(rows[:, 2:4] - rows[:, :2], 2)
        return boxes - [1, 1, 0, 0]


def _refine(picture: Picture, boxes: np.ndarray, threshold: float) -> np.ndarray:
    boxes, crops = _crops(picture, boxes, 24)
    shift, score = picture.refine(crops)
    passed = score > threshold
    boxes, shift, score = boxes[passed], shift[passed], score[passed]
    keep = nms(boxes, score, 0.7)
    return _shifted(boxes[keep], shift[keep])


def _decide(picture: Picture, boxes: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes (n, 4), scores (n,), points (n, 5, 2)."""
    boxes, crops = _crops(picture, boxes, 48)
    shift, fractions, score = picture.decide(crops)
    passed = score > threshold
    boxes, shift, fractions, score = boxes[passed], shift[passed], fractions[passed], score[passed]
    size = (boxes[:, 2:] - boxes[:, :2])[:, None]
    points = boxes[:, None, :2] + fractions.reshape(-1, 2, 5).transpose(0, 2, 1) * size
    return _shifted(boxes, shift), score, points


def _crops(picture: Picture, boxes: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Boxes that touch the picture, and their whole pixels inside it, resampled to ``side`` x ``side``."""
    corner = np.maximum(np.trunc(boxes[:, :2] + 1), 1).astype(int) - 1
    end = np.minimum(np.trunc(boxes[:, 2:]), [picture.width, picture.height]).astype(int)
    inside = (end > corner).all(axis=1)
    return boxes[inside], picture.crops(np.hstack([corner, end])[inside], side)


def _square(boxes: np.ndarray) -> np.ndarray:
    """The longer side both ways, about the same centre. (The cascade measures sides less one pixel.)"""
    size = boxes[:, 2:] - boxes[:, :2] - 1
    side = size.max(axis=1, keepdims=True)
    corner = boxes[:, :2] + (size - side) / 2
    return np.hstack([corner, corner + side + 1])


def _shifted(boxes: np.ndarray, shift: np.ndarray) -> np.ndarray:
    return boxes + shift * np.tile(boxes[:, 2:] - boxes[:, :2], 2)


def _thresholds(own: tuple[float, float, float], last: float | None) -> tuple[float, float, float]:
    return own if last is None else (min(own[0], max(last, _LENIENT[0])), min(own[1], max(last, _LENIENT[1])), last)
