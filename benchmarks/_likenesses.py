"""Faces of photographs and clips as the engine sees them: pictures with their codes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deid import imaging
from deid.config import RunConfig
from deid.errors import DeidError
from deid.models.morphable.engine import MorphableEngine
from deid.models.morphable.surrogate import Likeness
from deid.people import Person
from deid.pipeline import analyse
from deid.progress import QuietProgress


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """Somebody's best pictures, at least one, and the shape that the landmarks' fit found. ``height``: pixels of the
    face in the source."""

    name: str
    person: Person
    shape: np.ndarray
    likenesses: tuple[Likeness, ...]
    height: float


def faces_of(path: Path, least: float, seconds: float | None = None) -> list[Face]:
    """Everybody whose face is ``least`` pixels tall and whom the engine would replace; none in a file that cannot be
    read."""
    config = RunConfig(threads=1, max_height=720, end=seconds)
    engine = MorphableEngine(config, 0)
    try:
        analysis, times = analyse(path, config, QuietProgress(), engine.observer)
        found = engine.identify(analysis, times, QuietProgress())
        heights = {track.id: float(np.median(track.boxes[:, 3])) for track in analysis.tracks}
        out = []
        for person in found.people:
            height = max(heights[track] for track in person.tracks)
            shown = engine.likenesses(person, found)
            if height >= least and shown:
                shape = engine._codes[shown[0].track].identity.shape
                name = f"{path.stem} {person.id}"
                out.append(Face(name, person, shape, tuple(s.likeness for s in shown), height))
        return out
    except DeidError:
        return []
    finally:
        engine.close()


def unstretched(folder: Path, sizes: dict[str, tuple[float, float]]) -> Iterator[tuple[str, np.ndarray]]:
    """Pictures that are stored at another aspect than they had: ``sizes`` has width and height, by name."""
    for name, (width, height) in sizes.items():
        picture = imaging.imread(str(folder / name))
        if picture is not None:
            size = max(1, round(picture.shape[0] * width / height)), picture.shape[0]
            yield name, imaging.resize(picture, size, interpolation=imaging.INTER_CUBIC)


def faces_of_picture(name: str, picture: np.ndarray, least: float) -> list[Face]:
    """``picture``: uint8 BGR."""
    with tempfile.TemporaryDirectory() as work:
        path = Path(work) / f"{Path(name).stem}.png"
        imaging.imwrite(str(path), picture)
        return faces_of(path, least)
