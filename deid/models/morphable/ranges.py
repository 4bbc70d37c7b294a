"""What another process needs to paint some frames of a clip that this one has analysed: no more than these frames'.

It goes from process to process through a pipe and is on no disk: codes and meshes of faces are biometric data.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deid.models.engine import Engine
from deid.models.morphable.casts import Cast, CastPainter
from deid.models.morphable.engine import MorphableEngine
from deid.models.morphable.geometry import load_geometry
from deid.plan import FaceAt

_GEOMETRY = "geometry"  # stands for what every process has anyway


@dataclass(frozen=True, slots=True, eq=False)
class RangeState:
    """``casts``: by track, what is rendered; ``meshes``: by track, the first row and float32 (n, 478, 3) from there
    on."""

    seed: int
    casts: Mapping[int, Cast]
    meshes: Mapping[int, tuple[int, np.ndarray]]


def state_of(engine: Engine, faces: Iterable[Sequence[FaceAt]]) -> RangeState | None:
    """What painting ``faces``, frame by frame, takes; ``None`` where the engine cannot be taken apart."""
    if type(engine) is not MorphableEngine:
        return None
    rows: dict[int, list[int]] = {}
    for here in faces:
        for face in here:
            rows.setdefault(face.track, []).append(face.row)
    meshes = {}
    for track, own in sorted(rows.items()):
        first, last = min(own), max(own)
        points = np.zeros((last - first + 1, 478, 3), np.float32)
        for row in sorted(set(own)):
            points[row - first] = engine.source_points(FaceAt(track, row))
        meshes[track] = first, points
    return RangeState(engine._seed, {track: engine._casts[track] for track in sorted(rows)}, meshes)


def take_doubts(engine: Engine, doubts: Iterable[tuple[int, FaceAt]]) -> None:
    """What :meth:`Engine.doubts` told elsewhere."""
    assert isinstance(engine, MorphableEngine)
    for frame, face in doubts:
        engine.doubted(frame, face, np.inf)


class RangePainter(CastPainter):
    """Paints what :func:`state_of` told of."""

    def __init__(self, state: RangeState) -> None:
        super().__init__(state.seed)
        self._casts.update(state.casts)
        self._meshes = state.meshes

    def source_points(self, face: FaceAt) -> np.ndarray:
        first, points = self._meshes[face.track]
        mesh: np.ndarray = points[face.row - first]
        return mesh


class _Pickler(pickle.Pickler):
    def persistent_id(self, thing: Any) -> str | None:
        return _GEOMETRY if thing is load_geometry() else None


class _Unpickler(pickle.Unpickler):
    def persistent_load(self, name: str) -> Any:
        assert name == _GEOMETRY
        return load_geometry()


def packed(state: RangeState | None) -> bytes:
    """As bytes for another process of this machine."""
    stream = io.BytesIO()
    _Pickler(stream, pickle.HIGHEST_PROTOCOL).dump(state)
    return stream.getvalue()


def unpacked(data: bytes) -> RangeState | None:
    """What :func:`packed` made; only ever of this program's own bytes."""
    state: RangeState | None = _Unpickler(io.BytesIO(data)).load()
    return state
