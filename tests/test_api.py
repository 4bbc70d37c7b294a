"""``from deid import deidentify``: options, targets, progress."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import deid.pipeline
from deid import DeidError, InputNotFound, Progress, RunConfig, UsageError, deidentify


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Replaces the pipeline by a list of what it was called with."""
    seen: list[tuple[Any, ...]] = []
    monkeypatch.setattr(deid.pipeline, "run", lambda *arguments: seen.append(arguments))
    return seen


def test_options_become_a_configuration(calls: list[tuple[Any, ...]], tmp_path: Path) -> None:
    deidentify(str(tmp_path / "a.mp4"), engine="solid", end=3.0)
    source, target, config, _ = calls[0]
    assert (source, target) == (tmp_path / "a.mp4", tmp_path / "a.deid.mp4")
    assert config == RunConfig(engine="solid", end=3.0)


def test_a_dry_run_has_no_target(calls: list[tuple[Any, ...]], tmp_path: Path) -> None:
    deidentify(tmp_path / "a.mp4", tmp_path / "b.mp4", config=RunConfig(dry_run=True))
    assert calls[0][1] is None


def test_senseless_calls_are_usage_errors(calls: list[tuple[Any, ...]]) -> None:
    with pytest.raises(UsageError, match="not both"):
        deidentify("a.mp4", config=RunConfig(), engine="solid")
    with pytest.raises(UsageError, match="'colour'"):
        deidentify("a.mp4", colour="red")
    with pytest.raises(UsageError, match="engine"):
        deidentify("a.mp4", engine="swap")
    assert not calls


def test_progress_hears_of_every_frame_and_of_the_end(face_clip: Path, tmp_path: Path) -> None:
    class Listener(Progress):
        def __init__(self) -> None:
            super().__init__()
            self.counts: dict[str, int] = {}
            self.closed = False

        def stage(self, name: str, total: int | None = None) -> None:
            super().stage(name, total)
            self.counts[self._name] = 0

        def advance(self, n: int = 1) -> None:
            super().advance(n)
            self.counts[self._name] += n

        def close(self) -> None:
            super().close()
            self.closed = True

    listener = Listener()
    report = deidentify(face_clip, tmp_path / "out.mp4", progress=listener, end=0.4)
    assert report.frames == 10 and report.tracks
    assert [listener.counts[stage] for stage in ("finding faces", "rendering")] == [10, 10]
    assert listener.closed and (tmp_path / "out.mp4").stat().st_size > 0


def test_failures_are_deid_errors_and_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputNotFound) as caught:
        deidentify(tmp_path / "none.mp4", tmp_path / "out.mp4")
    assert isinstance(caught.value, DeidError) and not list(tmp_path.iterdir())
