"""Hair that passes for a face."""

from __future__ import annotations

import numpy as np
import pytest

from deid.models.morphable.overhead import on_other_heads
from deid.types import Evidence, Track


def track(
    number: int, x: float, y: float, height: float, n: int = 40, first: int = 0, *, searched: float = 1.0,
    roll: float = 0.0, confirmed: bool = True,
) -> Track:  # fmt: skip
    box = np.array([x, y, 0.75 * height, height, roll], np.float32)
    evidence = np.full(n, Evidence.FLOW, np.uint8)
    evidence[: round(searched * n)] = Evidence.SEARCHED
    return Track(
        id=number, shot=0, first=first, boxes=np.repeat(box[None], n, axis=0), evidence=evidence,
        scores=np.ones(n, np.float32), yaw=np.zeros(n, np.float32), confirmed=confirmed,
    )  # fmt: skip


def test_a_face_in_somebodys_hair_is_none() -> None:
    face, hair = track(1, 300, 300, 100), track(2, 310, 225, 90, 10, 15, searched=0.2)
    over = on_other_heads([face, hair])
    assert set(over) == {2} and over[2].all()


@pytest.mark.parametrize("roll", [-1.2, 1.2])
def test_heads_that_lean_have_their_tops_elsewhere(roll: float) -> None:
    face = track(1, 300, 300, 100, roll=roll)
    top = 300 + 75 * np.sin(roll), 300 - 75 * np.cos(roll)
    assert 2 in on_other_heads([face, track(2, *top, 90, searched=0.2)])
    assert not on_other_heads([face, track(2, 300, 225, 90, searched=0.2)])


@pytest.mark.parametrize(
    ("x", "y", "height"),
    [
        (300, 180, 95),  # taller, behind
        (380, 240, 95),  # beside
        (300, 225, 140),  # nearer
        (330, 215, 30),  # far behind
        (300, 300, 90),  # on the face itself: another question
    ],
)
def test_other_faces_near_heads_stay(x: float, y: float, height: float) -> None:
    assert not on_other_heads([track(1, 300, 300, 100), track(2, x, y, height, searched=0.2)])


def test_who_walks_by_is_left_out_for_a_moment_only() -> None:
    face, other = track(1, 300, 300, 100), track(2, 300, 220, 90, searched=0.5)
    boxes = other.boxes.copy()
    boxes[:, 0] = np.linspace(100, 500, len(boxes))
    over = on_other_heads([face, Track(2, 0, 0, boxes, other.evidence, other.scores, other.yaw, True)])
    assert 0 < over[2].sum() < 0.7 * len(boxes) and not over[2][:5].any() and not over[2][-5:].any()


def test_the_face_that_is_found_more_often_is_believed() -> None:
    low, high = track(1, 300, 300, 100, searched=0.1), track(2, 300, 225, 90, searched=0.9)
    assert not on_other_heads([low, high])
    assert not on_other_heads([track(1, 300, 300, 100, confirmed=False), track(2, 300, 225, 90, searched=0.2)])
