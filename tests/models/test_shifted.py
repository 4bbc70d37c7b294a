"""A surrogate moved on by what the finished clip showed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from deid.models.engine import Met
from deid.models.morphable import shifted as module
from deid.models.morphable.shifted import Frames, aim_of, shifted
from deid.recognition.thresholds import FAR_1E3

WANTED = 0.6


def met_at(*distances: float) -> Met:
    """Faces at these distances from their originals, each in a way of its own, with a common one besides."""
    before = np.zeros((len(distances), 128), np.float32)
    after = before.copy()
    for i, distance in enumerate(distances):
        after[i, i + 1], after[i, 0] = 0.8 * distance, 0.6 * distance
    return Met(before, after, np.full(len(distances), WANTED))


def test_every_frame_that_lacks_something_pulls_and_no_other() -> None:
    met = met_at(0.5, 0.55, 0.9)
    aim = aim_of(met, [], ())
    way = aim.way(met.after)
    assert way[1] > way[2] > 0 and way[3] == 0 and np.linalg.norm(way) == pytest.approx(1)
    assert aim.score(met.after) == pytest.approx(-np.sqrt((0.1**2 + 0.05**2) / 3), abs=1e-5)
    assert aim.score(met.after + 0.1 * way) > aim.score(met.after)
    assert aim_of(met_at(0.7, 0.8), [], ()).score(met_at(0.7, 0.8).after) == pytest.approx(0.1, abs=1e-5)


def test_from_people_who_are_not_alike_it_is_enough_to_stay_as_far() -> None:
    met = met_at(0.7, 0.7)
    near = met.after[:1].astype(np.float64) + 0.3 * np.eye(128)[5]
    assert aim_of(met, [(2, near)], ()).score(met.after) >= -1e-6
    alike = aim_of(met, [(2, near)], (2,))
    assert alike.score(met.after) < 0 and alike.between[0] > FAR_1E3
    assert alike.way(met.after)[5] < 0, "away from the other"
    assert aim_of(met, [(2, near[:0])], (2,)).score(met.after) > 0


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is looked at: codes are numbers, and a face's recognition code grows with them along the first axis."""
    seen: list[Any] = []

    def rejudged(_g: Any, _a: Any, code: float, at: Any, *_: Any) -> Any:
        seen.append((code, len(at)))
        codes = np.zeros((len(at), 128), np.float32)
        codes[:, 0] = code
        return SimpleNamespace(code=code, codes=codes, safe=code < 5)

    def moved(_g: Any, _a: Any, code: float, _f: Any, _t: Any, aim: Frames, look: Any, _s: Any, within: float) -> None:
        look(code + 0.05 * within)

    monkeypatch.setattr(module, "rejudged", rejudged)
    monkeypatch.setattr(module, "moved", moved)
    monkeypatch.setattr(module, "toned", lambda _, likenesses: likenesses)
    monkeypatch.setattr(module, "sketched", lambda *_: None)
    monkeypatch.setattr(module, "apparent", lambda _: 0.0)
    monkeypatch.setattr(module, "Setting", SimpleNamespace(of=lambda *_: None))
    return seen


def moved_on(met: Met, drawn: float, turns: int = 2, share: float = 1.0, loses: float = 0.02) -> Any:
    likenesses = [SimpleNamespace(neutral=None, loses=loses)] * 5
    aim = aim_of(met, [], ())
    args: Any = (None, None, None, SimpleNamespace(code=0.0, draws=1), likenesses, [], None, met.after, aim)
    return shifted(*args, lambda turn: cast(Any, SimpleNamespace(code=drawn)), turns, share)


def test_a_face_is_moved_until_no_frame_is_too_near_and_judged_by_all_pictures(looks: list[Any]) -> None:
    found, change = moved_on(met_at(0.52, 0.7), drawn=0.0)
    assert 0.05 < found.code <= 0.2 and change[0] == pytest.approx(found.code) and not change[1:].any()
    assert looks[-1] == (found.code, 5)
    assert {count for code, count in looks[:-1] if code} == {3}, "steps are tried on few pictures"


@pytest.mark.parametrize(
    ("share", "loses", "within"), [(0.1, 0.02, 0.8), (0.4, 0.02, 1.8), (0.9, 0.02, 3.2), (0.1, 0.09, 2.8)]
)
def test_what_is_well_seen_gets_no_odder_for_a_few_frames(
    looks: list[Any], share: float, loses: float, within: float
) -> None:
    moved_on(met_at(0.2, 0.2), drawn=0.0, turns=0, share=share, loses=loses)
    assert max(code for code, _ in looks) == pytest.approx(0.05 * within)


def test_another_draw_is_taken_where_it_is_better(looks: list[Any]) -> None:
    found, _ = moved_on(met_at(0.3, 0.7), drawn=2.0)
    assert found.code == 2.0


def test_what_helps_little_or_is_not_safe_is_left(looks: list[Any]) -> None:
    assert moved_on(met_at(0.1, 0.1), drawn=0.0) is None
    assert moved_on(met_at(0.3, 0.7), drawn=9.0) is None
    count = len(looks)
    assert moved_on(met_at(0.9, 0.7), drawn=1.0) is None and len(looks) == count, "nothing lacks"
