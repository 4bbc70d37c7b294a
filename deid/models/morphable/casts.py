"""Tracks that are ready to be rendered, and what it takes to paint them: what a second pass needs of an engine."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deid.blending import Compositor
from deid.detection.hands import Hand
from deid.models.morphable.geometry import load_geometry
from deid.models.morphable.inversion import TrackCodes, code_at
from deid.models.morphable.painter import Sitter, paint_frame
from deid.models.morphable.retarget import Retargeter
from deid.models.morphable.tracks import AttributeTrack
from deid.people import Person
from deid.plan import FaceAt
from deid.recognition.lite import LiteRecogniser
from deid.types import Frame, Track

_DOUBT = 0.55  # share of a face's core that may be kept as a hand, or lie under what could not be kept


@dataclass(slots=True, eq=False)
class Cast:
    """One track ready to be rendered: its codes, and the attributes turned to the surrogate's face. ``hands``:
    those before the face, by row. ``retarget``: what turned them."""

    track: Track
    person: Person
    codes: TrackCodes
    attributes: AttributeTrack
    sitter: Sitter
    hands: dict[int, tuple[Hand, ...]]
    retarget: Retargeter | None = None


class CastPainter(ABC):
    """See :class:`deid.models.engine.Painter`."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._geometry = load_geometry()
        self._compositor = Compositor()
        self._casts: dict[int, Cast] = {}
        self._recogniser_lock = threading.Lock()
        self._recogniser: LiteRecogniser | None = None
        self._doubts_lock = threading.Lock()
        self._doubts: set[tuple[int, FaceAt]] = set()

    @abstractmethod
    def source_points(self, face: FaceAt) -> np.ndarray:
        """The mesh of the original face, float32 (478, 3), frame pixels."""

    def paint(self, frame: Frame, faces: Sequence[FaceAt]) -> Frame:
        # The nearer, larger face comes last, over the others.
        for face in sorted(faces, key=lambda f: self._casts[f.track].attributes.scale[f.row]):
            cast = self._casts[face.track]
            frame, doubt = paint_frame(
                frame,
                self.source_points(face),
                cast.sitter,
                self._geometry,
                code_at(cast.codes, cast.attributes, face.row),
                self._compositor,
                seed=self._seed,
                hands=cast.hands.get(face.row, ()),
                things=cast.codes.things.get(face.row),
            )
            self.doubted(frame.index, face, doubt)
        return frame

    def doubted(self, frame: int, face: FaceAt, doubt: float) -> None:
        """Note how much of a painted face is in doubt."""
        if doubt > _DOUBT:
            with self._doubts_lock:
                self._doubts.add((frame, face))

    def doubts(self) -> list[tuple[int, FaceAt]]:
        with self._doubts_lock:
            out = sorted(self._doubts, key=lambda d: (d[0], d[1].track))
            self._doubts.clear()
        return out

    def recognise(self, chips: np.ndarray) -> np.ndarray:
        recogniser = self._ready_recogniser()
        with self._recogniser_lock:
            return recogniser.embed(chips)

    def _ready_recogniser(self) -> LiteRecogniser:
        with self._recogniser_lock:
            if self._recogniser is None:
                self._recogniser = LiteRecogniser()
            return self._recogniser

    def close(self) -> None:
        self._casts.clear()
        if self._recogniser is not None:
            self._recogniser.close()
