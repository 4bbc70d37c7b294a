"""Faces behind faces, and faces that a search is not sure of: what is made of scripted findings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from fractions import Fraction

import numpy as np
import pytest

from deid import imaging
from deid.tracking import boxes
from deid.tracking.scan import Chunk, View
from deid.tracking.tracker import Tracker
from deid.tracking.tracklet import Tracklet
from deid.types import Detection, Frame, PixelFormat

WIDTH, HEIGHT, FACE = 320, 200, 60
FORMAT = PixelFormat("yuv420p", 8, (1, 1), False, "bt601")
Found = tuple[float, float, float]  # centre x, y, score


class Silent:
    """An examiner who sees nothing."""

    def doubt(self, view: View, box: np.ndarray, *, last_word: bool = False) -> None:
        return None

    mesh = doubt


def texture(seed: int, height: int, width: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(height, width)).astype(np.float32)
    noise = imaging.gaussian_blur(noise, (0, 0), 2.5)
    return np.clip(128 + 50 * noise / noise.std(), 16, 235).astype(np.uint8)


BEHIND, BEFORE, WALL = texture(1, FACE, FACE), texture(2, FACE, FACE), texture(3, HEIGHT, WIDTH)


def view(index: int, places: Sequence[tuple[np.ndarray, float, float]], found: Sequence[Found] | None) -> View:
    luma = (WALL // 4 + 90).astype(np.uint8)
    for patch, cx, cy in places:
        x, y = round(cx) - FACE // 2, round(cy) - FACE // 2
        luma[y : y + FACE, x : x + FACE] = patch
    grey = np.full((HEIGHT // 2, WIDTH // 2), 128, np.uint8)
    frame = Frame(index, index, Fraction(1, 25), 1, (luma, grey, grey), FORMAT)
    if found is None:
        return View(frame, luma)
    half = FACE / 2
    job: Future[list[Detection]] = Future()
    job.set_result(
        [
            Detection(np.array([x - half, y - half, x + half, y + half], np.float32), score, None, "script")
            for x, y, score in found
        ]
    )
    return View(frame, luma, 0.5, job)  # as the crowds of large frames are searched


def tracked(make: Callable[[int], View], count: int, step: int) -> list[Tracklet]:
    tracker = Tracker(Silent(), threshold=0.2)  # type: ignore[arg-type]
    tracker.feed(Chunk([make(0)], cut=True))
    for start in range(0, count, step):
        tracker.feed(Chunk([make(i) for i in range(start, start + step + 1)], cut=False))
    return tracker.finish()


def test_a_face_that_another_hides_is_not_followed_by_the_one_in_front() -> None:
    """Somebody stops before somebody else and goes back. Searches see the one in front; flow would go on for both."""

    def place(i: int) -> float:
        return 80 + 5.2 * min(i, 20) - 2 * max(0, i - 24)

    def make(i: int) -> View:
        behind = [(200.0, 100.0, 0.9)] if place(i) < 145 else []
        found = [(place(i), 114.0, 0.6), *behind] if i % 6 == 0 else None
        return view(i, [(BEHIND, 200, 100), (BEFORE, place(i), 114)], found)

    pieces = tracked(make, 48, 6)
    whole = [p for p in pieces if all(abs(row.box[0] - place(f)) < 5 for f, row in p.rows.items())]
    assert [(p.first, p.last) for p in whole] == [(0, 48)], "who is in front is one piece"
    others = [p for p in pieces if p not in whole]
    assert all(boxes.part_in(p.rows[24].box, whole[0].rows[24].box) < 0.33 for p in others if 24 in p.rows)
    assert {p.first for p in others} > {0} and max(p.last for p in others) == 48, "and who comes out again is found"


@pytest.mark.parametrize("score, both", [(0.33, True), (0.8, False)])
def test_of_two_places_for_one_face_both_are_held_unless_one_is_sure(score: float, both: bool) -> None:
    """A search finds a face that is turned away twice, half beside itself."""

    def make(i: int) -> View:
        return view(i, [(BEHIND, 160, 100)], [(150, 104, score), (174, 92, 0.18)] if i % 4 == 0 else None)

    (piece,) = tracked(make, 8, 4)
    for frame in (0, 4, 8):
        x0, y0, x1, y1 = boxes.corners(piece.rows[frame].box)
        assert (x0 <= 120.5 and y0 <= 62.5 and x1 >= 203.5 and y1 >= 133.5) == both
