"""Beliefs about what lies before a face, followed over time."""

from __future__ import annotations

import numpy as np

from deid.detection.things import GRID, PINS, PLACES, packed
from deid.models.morphable.photo_samples import COUNT, TRIPLES
from deid.models.morphable.photo_things import behind_things, followed

NOTHING = packed(np.zeros((GRID, GRID), np.uint8))


def thing(row: int = 20) -> np.ndarray:
    out = np.zeros((GRID, GRID), np.uint8)
    out[row : row + 8, 12:20] = 250
    return out


def times(count: int) -> np.ndarray:
    return np.arange(count) / 25


def test_nothing_seen_is_nothing_believed() -> None:
    assert followed({}, np.arange(5), times(5)) == {}
    assert followed({0: NOTHING, 3: NOTHING}, np.arange(5), times(5)) == {}


def test_a_single_look_is_doubted() -> None:
    looks = dict.fromkeys(range(30), NOTHING) | {15: packed(thing())}
    found = followed(looks, np.arange(30), times(30))
    assert all(belief.max() < 128 for belief in found.values())


def test_a_look_that_misses_is_made_up_for() -> None:
    looks = {frame: packed(thing()) for frame in range(30)} | {15: NOTHING}
    found = followed(looks, np.arange(30), times(30))
    assert sorted(found) == list(range(30))
    assert found[15][24, 16] > 140


def test_between_looks_the_thing_stays() -> None:
    found = followed({frame: packed(thing()) for frame in range(0, 31, 3)}, np.arange(31), times(31))
    assert min(found[row][24, 16] for row in range(31)) > 220


def test_long_tracks_are_the_same_in_blocks() -> None:
    looks = {frame: packed(thing(18 + frame // 100)) for frame in range(500)}
    found = followed(looks, np.arange(500), times(500))
    alone = followed({f: looks[f] for f in range(150, 250)}, np.arange(150, 250), times(500)[150:250])
    assert np.array_equal(found[200], alone[50])


def test_frames_that_have_no_row_count_for_nothing() -> None:
    frames = np.array([0, 1, 2, 60, 61, 62])
    found = followed({0: packed(thing()), 1: packed(thing()), 2: packed(thing()), 61: NOTHING}, frames, frames / 25)
    assert 0 in found and 61 not in found


def test_samples_under_things_are_known() -> None:
    points = np.zeros((1, 478, 3), np.float32)
    points[0, :, :2] = (300, 300)
    points[0, PINS, :2] = PLACES * 200
    points[0, np.setdiff1d(np.unique(TRIPLES), PINS), :2] = (100, 150)
    belief = np.zeros((GRID, GRID), np.uint8)
    belief[22:26, 14:18] = 255
    hidden = behind_things(points, {7: belief}, 7)
    assert hidden.shape == (1, COUNT) and hidden.any()
    assert not behind_things(points, {7: belief}, 8).any()
