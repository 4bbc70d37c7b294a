"""What the pipeline asks of an engine that replaces faces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from deid.plan import FaceAt, Replacement
from deid.progress import Progress
from deid.report import PersonReport
from deid.tracking.observe import Observer
from deid.types import Analysis, Frame

if TYPE_CHECKING:
    from deid.config import RunConfig


class Engine(Protocol):
    """Replaces faces. One instance serves one run, in this order: its ``observer`` watches the first pass, ``invert``
    works out codes, :meth:`paint` is called for the frames of the second, from several threads."""

    observer: Observer

    def invert(self, analysis: Analysis, seconds: Sequence[float], progress: Progress) -> dict[int, Replacement]:
        """Codes for every track of ``analysis`` whose face can be replaced in some frames, and surrogates for the
        people. ``seconds``: the frames' times. By track id; tracks that are left out are obscured."""
        ...

    def paint(self, frame: Frame, faces: Sequence[FaceAt]) -> Frame:
        """``frame`` with the faces replaced; samples away from them are the same. Thread-safe, deterministic."""
        ...

    def source_points(self, face: FaceAt) -> np.ndarray:
        """The mesh of the original face, float32 (478, 3), frame pixels."""
        ...

    def recognise(self, chips: np.ndarray) -> np.ndarray:
        """Recognition codes, float32 (n, 128), of aligned faces, uint8 (n, 150, 150, 3) RGB. Thread-safe."""
        ...

    def doubts(self) -> list[tuple[int, FaceAt]]:
        """(frame, face) painted since the last call where something before the face could neither be kept nor told from
        it; forgets them."""
        ...

    def refuse(self, track: int, row: int, why: str = ...) -> Replacement:
        """This face was still recognised after it was replaced, or is in doubt: the track's replacement without it and
        its like. ``why``: for the report."""
        ...

    def people(self) -> tuple[PersonReport, ...]:
        """Who is in the clip, and how far each one's surrogate is from them."""
        ...

    def close(self) -> None:
        """Free everything; what was learned about faces is gone."""
        ...


def open_engine(config: RunConfig, seed: int) -> Engine | None:
    """The engine that ``config`` asks for, ``None`` when faces are only to be obscured."""
    factory: dict[str, Callable[[RunConfig, int], Engine]] = {"morphable": _morphable}
    make = factory.get(config.engine)
    return make(config, seed) if make else None


def _morphable(config: RunConfig, seed: int) -> Engine:
    from deid.models.morphable.engine import MorphableEngine

    return MorphableEngine(config, seed)
