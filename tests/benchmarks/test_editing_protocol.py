"""The published protocol of editing, on editors and judges whose answers are known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from _editing_protocol import Judge, RecallingReader, Seen, State, Taken, at_change, edited, ends, mean_of, unlimited

from deid.models.editing.ganspace import GanSpace
from deid.models.editing.interfacegan import InterFaceGan
from deid.models.editing.names import INDEX, NAMES


class _Line:
    """Moves codes along their first number."""

    name, attributes = "line", NAMES

    def edit(self, w: torch.Tensor, changes: Mapping[str, float]) -> torch.Tensor:
        return w + torch.tensor([[changes["age"], 0.0]])


class _Judge(Judge):
    """Finds a face where the first number lies within ``-low`` to ``high``; it is also the age and the person."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high, self.seen = low, high, 0

    def face_found(self, codes: torch.Tensor) -> np.ndarray:
        return ((codes[:, 0] >= -self.low) & (codes[:, 0] <= self.high)).numpy()

    def see(self, codes: torch.Tensor) -> Seen:
        self.seen += len(codes)
        shown = np.zeros((len(codes), len(NAMES)))
        shown[:, INDEX["age"]] = codes[:, 0]
        return Seen(shown, np.stack([np.ones(len(codes)), codes[:, 0].abs().numpy()], 1), shown, np.empty(0, bool))


@pytest.mark.parametrize("low, high", [(0.3, 1.2), (5.0, 5.0), (0.01, 0.13)])
def test_ends_lie_where_the_face_is_lost(low: float, high: float) -> None:
    found = ends(_Judge(low, high), _Line(), torch.zeros(1, 2), "age", 2.0)
    for end, true in zip((-found[0], found[1]), (min(low, 2.0), min(high, 2.0)), strict=True):
        assert end <= true
        assert end >= true / 1.5 or true < 1 / 16  # doubled, then half-way; below the first half-rung nothing is tried


def test_a_face_that_is_never_found_is_not_edited() -> None:
    judge = _Judge(-1.0, -1.0)
    assert ends(judge, _Line(), torch.zeros(1, 2), "age", 2.0) == (0.0, 0.0)


def test_distance_at_equal_change() -> None:
    steps = np.array([[-1.0, -0.5, 0.0, 0.5, 1.0]] * 3)
    moved = np.stack([2 * steps[0], np.array([0.3, 0.2, 0.0, 0.2, 0.3]), -steps[2]])
    distance = np.abs(steps) * np.array([[0.1], [0.2], [0.3]])
    found = at_change(steps, moved, distance, 0.5)
    assert found[0] == pytest.approx([0.025, 0.025])  # half of the way to the first strength
    assert np.isnan(found[1]).all()  # never moves so far
    assert np.isnan(found[2]).all()  # moves the wrong way
    only_up = at_change(steps[:1], np.maximum(moved[:1], 0), distance[:1], 1.5)
    assert np.isnan(only_up[0, 0]) and only_up[0, 1] == pytest.approx(0.075)
    assert mean_of(np.concatenate([found, only_up]))[0] == pytest.approx((0.025 + 0.025 + 0.075) / 3)
    assert np.isnan(mean_of(found[1:])).all()


def test_measuring_goes_on_where_it_stopped(tmp_path: Path) -> None:
    codes, asked = torch.linspace(-0.2, 0.2, 10).reshape(5, 2), np.array([3.0, 0.0])
    judge = _Judge(2.0, 2.0)
    plain = judge.see(codes)

    def measured(state: State, count: int) -> tuple[Taken, int]:
        before = judge.seen
        found = state.taken(judge, _Line(), codes[:count], plain, "age", 3, 1.0)
        return found, judge.seen - before

    whole, all_seen = measured(State(None, asked), 5)
    state = State(tmp_path, asked)
    assert [measured(state, count)[1] for count in (2, 5, 5, 4)] == [6, 9, 0, 0] and all_seen == 15
    resumed, _ = measured(state, 5)
    for part in ("steps", "cosine", "euclidean", "moved"):
        assert np.array_equal(getattr(resumed, part), getattr(whole, part))
        assert np.array_equal(getattr(measured(state, 3)[0], part), getattr(whole, part)[:3])
    assert whole.moved[..., INDEX["age"]] == pytest.approx(whole.steps)
    with pytest.raises(SystemExit, match="other options"):
        measured(State(tmp_path, np.array([3.0, 1.0])), 5)


def test_lines_go_on_in_the_protocol_and_stop_in_use() -> None:
    count, width = len(NAMES), 4
    ways = torch.eye(width)[torch.arange(count) % width]
    line = InterFaceGan(ways, ways, torch.full((count,), 20.0), torch.ones(count), torch.ones(count))
    space = GanSpace(
        torch.eye(width), torch.ones(width), torch.zeros(count, dtype=torch.int64),
        torch.tensor([[0, 3]]).expand(count, -1), torch.full((count,), 20.0), 3,
    )  # fmt: skip
    for editor in (line, space):
        w = torch.zeros(1, width)
        assert float(editor.edit(w, {"age": 1.0}).abs().max()) == pytest.approx(6.0)
        assert float(unlimited(editor).edit(w, {"age": 1.0}).abs().max()) == pytest.approx(20.0)
    assert unlimited(_Line()).edit(torch.zeros(1, 2), {"age": 9.0})[0, 0] == 9.0


def test_codes_of_layers_and_of_all_are_joined() -> None:
    class Odd(_Line):
        def edit(self, w: torch.Tensor, changes: Mapping[str, float]) -> torch.Tensor:
            return w if not changes["age"] else w[:, None].repeat(1, 3, 1) + changes["age"]

    assert edited(Odd(), torch.zeros(1, 2), "age", [0.0, 1.0]).shape == (2, 3, 2)


def test_one_code_is_read_once() -> None:
    read = []

    class Plain:
        generator = regressor = None

    reader = RecallingReader(Plain())  # type: ignore[arg-type]
    reader.generator = lambda w: read.append(len(w)) or torch.zeros(len(w), 3, 8, 8)  # type: ignore[func-returns-value, assignment]
    reader.regressor = lambda pictures: pictures.mean((1, 2, 3))[:, None]  # type: ignore[assignment]
    one, other = torch.zeros(1, 4), torch.ones(1, 4)
    for w in (one, one.clone(), other, one):
        reader(w)
    assert read == [1, 1, 1]
