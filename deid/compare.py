"""The run's check that a replaced face is no longer the person: finished frames beside their originals, by recogniser.

Both pictures are cut out by the original's landmarks, so that nothing depends on how the new face would be aligned.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from deid.media.convert import bgr
from deid.models.engine import Engine
from deid.plan import FaceAt, Plan, State
from deid.recognition.chips import CHIP, chip_from_picture, cut_chip
from deid.types import Analysis, Frame

_EACH, _EVERY, _MOST = 5, 12, 120  # crops of every track that are looked at, at least; one in so many frames; at most
_CAUTION = 0.02  # what is this little beyond the limit is taken for a match: frames beside it were not looked at
_DOUBTFUL = 8
_PENDING = 4
_LEFT = 0.45  # share of a face's texture that may pass for the source's: a hand before it, which stays, is texture too


def choose_faces(analysis: Analysis, plan: Plan) -> dict[int, list[FaceAt]]:
    """Replaced faces of every track, spread over it, five at least and one in twelve, those beside a change-over, and
    doubtful ones: by frame."""
    at: dict[int, dict[int, FaceAt]] = {}
    for frame, faces in plan.faces.items():
        for face in faces:
            at.setdefault(face.track, {})[frame] = face
    out: dict[int, list[FaceAt]] = {}
    for track in analysis.tracks:
        states = plan.states.get(track.id)
        if states is None or track.id not in at:
            continue
        whole = np.flatnonzero(states == State.REPLACED)
        if len(whole) == 0:
            continue
        edges = whole[np.flatnonzero(np.diff(whole) > 1)]
        doubtful = whole[plan.doubtful[track.id][whole]] if track.id in plan.doubtful else whole[:0]
        spread = min(max(_EACH, len(whole) // _EVERY), _MOST)
        picked = {*_spread(whole, spread), *_spread(doubtful, _DOUBTFUL), *(int(i) for i in edges[:_EACH])}
        for row in sorted(picked):
            out.setdefault(track.first + row, []).append(at[track.id][track.first + row])
    return out


def _spread(rows: np.ndarray, count: int) -> set[int]:
    """Up to ``count`` of ``rows``, evenly."""
    return {int(i) for i in rows[np.linspace(0, len(rows) - 1, count).round().astype(int)]} if len(rows) else set()


class Comparer:
    """Compares in the background. A context manager: leaving it waits.

    ``matches``: (frame, face) that are still the same person to the recogniser, or show too much of the original.
    ``compared``: how many were looked at. ``nearest``: the least distance between an original and its replacement,
    ``None`` when none was looked at.
    """

    def __init__(self, faces: dict[int, list[FaceAt]], engine: Engine | None, limit: float) -> None:
        self._faces = faces
        self._engine = engine
        self._limit = limit + _CAUTION
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="compare")
        self._pending: list[Future[list[tuple[int, FaceAt, float]]]] = []
        self.matches: list[tuple[int, FaceAt]] = []
        self.compared = 0
        self.nearest: float | None = None

    def __enter__(self) -> Comparer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=kind is not None)
        if kind is not None:
            return
        for job in self._pending:
            for frame, face, distance in job.result():
                self.compared += 1
                self.nearest = distance if self.nearest is None else min(self.nearest, distance)
                if distance < self._limit:
                    self.matches.append((frame, face))

    def submit(self, source: Frame, done: Frame) -> None:
        """Queue one finished frame with its source, if any of its faces was chosen."""
        faces = self._faces.get(source.index)
        if not faces or self._engine is None:
            return
        if len(self._pending) >= _PENDING:
            self._pending[-_PENDING].result()
        self._pending.append(self._pool.submit(self._compare, source, done, tuple(faces)))

    def _compare(self, source: Frame, done: Frame, faces: Sequence[FaceAt]) -> list[tuple[int, FaceAt, float]]:
        from deid.audit.appearance import Look, left_alone  # not for runs that only obscure

        assert self._engine is not None
        out = []
        for face in faces:
            points = self._engine.source_points(face)
            chips = np.stack([chip(source, points), chip(done, points)])
            before, after = self._engine.recognise(chips)
            left = left_alone(Look.of(chips[0]), Look.of(chips[1]))
            apart = 0.0 if left > _LEFT else float(np.linalg.norm(before - after))
            out.append((source.index, face, apart))
        return out


def chip(frame: Frame, points: np.ndarray) -> np.ndarray:
    """The aligned face, uint8 (150, 150, 3) RGB, of landmarks (478, 3) in frame pixels; black beyond the picture."""
    transform = chip_from_picture(points)
    inverse = np.linalg.inv(np.vstack([transform, [0, 0, 1]]))[:2]
    corners = np.array([[0, 0], [CHIP, 0], [CHIP, CHIP], [0, CHIP]]) @ inverse[:, :2].T + inverse[:, 2]
    x0, y0 = np.maximum(np.floor(corners.min(0)).astype(int) - 2, 0)
    x1, y1 = np.minimum(np.ceil(corners.max(0)).astype(int) + 3, (frame.width, frame.height))
    if x1 - x0 < 2 or y1 - y0 < 2:
        return np.zeros((CHIP, CHIP, 3), np.uint8)
    picture = np.ascontiguousarray(bgr(frame, region=(int(x0), int(y0), int(x1), int(y1)))[..., ::-1])
    shifted = transform.copy()
    shifted[:, 2] += transform[:, :2] @ (x0, y0)
    return cut_chip(picture, shifted)
