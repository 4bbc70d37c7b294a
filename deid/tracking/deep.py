"""The thorough search of one frame: at its own size, enlarged for the smallest faces, and two detectors on doubts.

CenterFace finds faces from about 12 pixels of what it searches; on an enlarged picture it finds those of 6 to 12 too,
and misses some of the large ones. What either search is not sure of is shown to MTCNN, which was trained otherwise and
errs elsewhere. ``benchmarks/recall.py`` measures it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from deid.detection.boxes import iou, nms
from deid.detection.centerface import CenterFace
from deid.detection.mtcnn import Mtcnn
from deid.types import Detection

_ENLARGED = 2.0
_TILE = 960  # pixels a side at most that are enlarged at once: memory grows with the square
_LAP = 96  # shared by neighbouring tiles; larger faces are found at the frame's own size
_SAME = 0.4  # overlap from which two findings are one face
_SURE = 0.2  # score below which MTCNN is asked, and that it gives
_FEW, _LENIENT = 6, 0.4  # doubtful places that are looked at one by one; MTCNN's threshold otherwise


class SecondOpinion:
    """MTCNN, made when first asked, for several threads in turn."""

    def __init__(self) -> None:
        self._mtcnn: Mtcnn | None = None
        self._turn = threading.Lock()

    def agrees(self, bgr: np.ndarray, findings: list[Detection]) -> list[bool]:
        """For each of the findings, whether it sees the same face there."""
        if not findings:
            return []
        with self._turn:
            if self._mtcnn is None:
                self._mtcnn = Mtcnn(threads=1)
            if len(findings) > _FEW:  # in a crowd one search of everything costs less
                everything = self._mtcnn.detect(bgr, scale=_ENLARGED, threshold=_LENIENT)
                seen = [everything] * len(findings)
            else:
                seen = [self._mtcnn.detect_region(bgr, d.box, target_px=48) for d in findings]
        return [any(iou(d.box, o.box)[0, 0] >= _SAME for o in others) for d, others in zip(findings, seen, strict=True)]


def search_deep(detector: CenterFace, second: SecondOpinion, bgr: np.ndarray, threshold: float) -> list[Detection]:
    """Faces of ``bgr`` (uint8 H x W x 3) with scores of ``threshold`` and more, best first. The score of a doubtful
    finding is raised where MTCNN agrees, and stays where it does not."""
    found = detector.detect(bgr, threshold=threshold)
    for x0, y0, x1, y1 in tiles(bgr.shape[1], bgr.shape[0]):
        part = np.ascontiguousarray(bgr[y0:y1, x0:x1])
        offset = np.array([x0, y0], np.float32)
        for d in detector.detect(part, scale=_ENLARGED, threshold=threshold):
            if _is_cut(d.box, part.shape[1], part.shape[0], (x0, y0, x1, y1), bgr.shape):
                continue
            points = None if d.points is None else d.points + offset
            found.append(replace(d, box=d.box + np.tile(offset, 2), points=points))
    if not found:
        return []
    keep = nms(np.array([d.box for d in found]), np.array([d.score for d in found]), _SAME)
    best = [found[i] for i in keep]
    doubtful = [d for d in best if d.score < _SURE]
    agreed = zip(doubtful, second.agrees(bgr, doubtful), strict=True)
    confirmed = [replace(d, score=_SURE) if yes else d for d, yes in agreed]
    return sorted([d for d in best if d.score >= _SURE] + confirmed, key=lambda d: -d.score)


def tiles(width: int, height: int) -> Iterator[tuple[int, int, int, int]]:
    """``x0 y0 x1 y1`` of overlapping parts that cover the picture, all of one size."""
    across, down = (_along(n) for n in (width, height))
    for y0, y1 in down:
        for x0, x1 in across:
            yield x0, y0, x1, y1


def _along(length: int) -> list[tuple[int, int]]:
    """Begins and ends of equal spans, as few and as short as the limits allow."""
    count = max(1, -(-(length - _LAP) // (_TILE - _LAP)))
    if count == 1:
        return [(0, length)]
    span = min(length, -(-(length + (count - 1) * _LAP) // count // 16) * 16)
    return [(int(a), int(a) + span) for a in np.linspace(0, length - span, count).round()]


def _is_cut(box: np.ndarray, width: int, height: int, tile: tuple[int, int, int, int], whole: tuple[int, ...]) -> bool:
    """Whether a face touches an edge of the tile that is none of the picture: the neighbour, or the search at the
    picture's own size, sees all of it."""
    x0, y0, x1, y1 = tile
    inner = (x0 > 0 and box[0] < 1) or (y0 > 0 and box[1] < 1)
    return bool(inner or (x1 < whole[1] and box[2] > width - 2) or (y1 < whole[0] and box[3] > height - 2))
