"""What the pipeline asks of an engine that replaces faces."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from deid.choice import Decisions
from deid.people import Person
from deid.plan import FaceAt, Replacement
from deid.progress import Progress
from deid.report import PersonReport
from deid.tracking.observe import Chip, Observer
from deid.types import Analysis, Frame

if TYPE_CHECKING:
    from deid.config import RunConfig
    from deid.personas import Book


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Who is in a clip: ``people``, numbered from 1 in order of appearance. ``chips``: by track, its best pictures, the
    best first; ``codes``: float32 (n, 128), what the recogniser makes of those that are clear enough to tell."""

    people: tuple[Person, ...]
    chips: Mapping[int, list[Chip]]
    codes: Mapping[int, np.ndarray]


@dataclass(frozen=True, slots=True, eq=False)
class Met:
    """What the finished clip shows of somebody whose new face is to change. ``before``, ``after``: float32 (n, 128),
    codes of faces that came near their originals, and of what is in their place. ``least``: float64 (n,), how far apart
    these are to be. ``share``: how much is at stake: faces that are recognised, or like another person's, by height,
    of all faces of this one's that are replaced."""

    before: np.ndarray
    after: np.ndarray
    least: np.ndarray
    share: float = 1.0


class Painter(Protocol):
    """Paints new faces, and knows the old ones: what the second pass and its check ask for. :meth:`paint` is called
    from several threads."""

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

    def close(self) -> None:
        """Free everything; what was learned about faces is gone."""
        ...


class Engine(Painter, Protocol):
    """Replaces faces. One instance serves one run, in this order: its ``observer`` watches the first pass, ``invert``
    works out codes, :meth:`paint` is called for the frames of the second, from several threads."""

    observer: Observer

    def identify(self, analysis: Analysis, seconds: Sequence[float], progress: Progress) -> Found:
        """Who is in the clip, as :meth:`invert` sees it, and no more."""
        ...

    def invert(self, analysis: Analysis, seconds: Sequence[float], progress: Progress) -> dict[int, Replacement]:
        """Codes for every track of ``analysis`` whose face can be replaced in some frames, and surrogates for the
        people. ``seconds``: the frames' times. By track id; tracks that are left out are obscured. Raises
        :class:`~deid.errors.UsageError` when the plan that was asked for is not this clip's."""
        ...

    def decisions(self) -> Decisions:
        """Who is kept or obscured because it was asked for; after :meth:`invert`."""
        ...

    def refuse(self, track: int, row: int, why: str = ..., *, everywhere: bool = ...) -> Replacement:
        """This face was still recognised after it was replaced, or is in doubt: the track's replacement without it and
        its like, or without any of its faces (``everywhere``). ``why``: for the report."""
        ...

    def recast(
        self,
        matches: Mapping[int, Sequence[tuple[int, np.ndarray]]],
        alike: Sequence[tuple[int, int]] = (),
        seen: Mapping[int, np.ndarray] | None = None,
        met: Mapping[int, Met] | None = None,
    ) -> dict[int, Replacement]:
        """Another face for the people of whom faces were still recognised, and for one of every two who are alike,
        where there is any: by track, the replacements that are new. ``matches``: by track, rows of codes, and the
        originals there as :meth:`recognise` takes them. ``alike``: pairs of people, by number, of whom the first is to
        change. ``seen``: by person, float32 (n, 128), what :meth:`recognise` made of new faces in the finished clip;
        ``met``: by person, what more is known of those who are to change."""
        ...

    def people(self) -> tuple[PersonReport, ...]:
        """Who is in the clip, and how far each one's surrogate is from them."""
        ...

    def prepare(self) -> None:
        """The output is about to get its name: everything that may still fail of what has to last with it."""
        ...

    def commit(self) -> None:
        """The output has its name: what has to last with it does."""
        ...


def open_engine(config: RunConfig, seed: int, book: Book | None = None) -> Engine | None:
    """The engine that ``config`` asks for, ``None`` when faces are only to be obscured. ``book``: where people of
    several files keep their surrogates; by default what ``config`` names."""
    factory: dict[str, Callable[[RunConfig, int, Book | None], Engine]] = {
        "morphable": _morphable,
        "stylegan": _stylegan,
    }
    make = factory.get(config.engine)
    return make(config, seed, book) if make else None


COMPILES = "inner loops are compiled for this machine first, once, which takes a minute or two"
"""What a run says where :func:`compiles_first`."""


def compiles_first() -> bool:
    """Whether nothing of the inner loops of engines has been compiled and kept on this machine yet."""
    from deid.models.morphable.fit_kernel import fit_sequence

    kept = fit_sequence.stats.cache_path
    return kept is None or not any(Path(kept).glob("fit_kernel.fit_sequence-*.nbi"))


def _morphable(config: RunConfig, seed: int, book: Book | None) -> Engine:
    from deid.models.morphable.engine import MorphableEngine

    return MorphableEngine(config, seed, book)


def _stylegan(config: RunConfig, seed: int, book: Book | None) -> Engine:
    from deid.models.stylegan.engine import StyleganEngine

    return StyleganEngine(config, seed, book)
