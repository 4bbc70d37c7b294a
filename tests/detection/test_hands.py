"""Hands: the networks run, say no to faces, and follow a picture's coordinates. No picture of a hand ships with any
dependency, so a true find is tested on a clip where there is one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deid import imaging
from deid.detection.hands import Hand, HandFinder, _anchors, _grouped, _square, steadied
from deid.virtual_camera import COLLINS, HOPPER

CLIP = Path(__file__).parents[3] / "shared/clips/occlusion_hand_makeup_320x240.avi"


@pytest.fixture(scope="module")
def finder():
    with HandFinder() as found:
        yield found


@pytest.mark.parametrize("portrait", [HOPPER, COLLINS], ids=["hopper", "collins"])
def test_a_face_is_no_hand(finder, portrait):
    picture = imaging.resize(portrait.read(), (256, 256), interpolation=imaging.INTER_AREA)
    assert finder.run(picture) == []


def test_nothing_in_noise_and_tiny_pictures(finder):
    noise = np.random.default_rng(0).integers(0, 256, (120, 90, 3), np.uint8)
    assert finder.run(noise) == []
    assert finder.run(np.zeros((8, 8, 3), np.uint8)) == []


def test_the_larger_network_is_loaded_with_the_first_palm():
    with HandFinder() as fresh:
        noise = np.random.default_rng(0).integers(0, 256, (120, 90, 3), np.uint8)
        assert fresh.run(noise) == [] and fresh._hand is None
        assert fresh._landmarks(noise, np.array([45.0, 60.0]), 80.0, 0.0).points.shape == (21, 3)
        assert fresh._hand is not None


def test_other_dtypes_are_refused(finder):
    with pytest.raises(ValueError):
        finder.run(np.zeros((64, 64, 3), np.float32))


@pytest.mark.skipif(not CLIP.exists(), reason="shared clips are not here")
def test_a_hand_is_found_wherever_the_crop_starts(finder):
    av = pytest.importorskip("av")
    with av.open(str(CLIP)) as container:
        picture = next(container.decode(video=0)).to_ndarray(format="bgr24")
    (whole,) = finder.run(picture)
    assert whole.presence > 0.9
    part = np.ascontiguousarray(picture[10:, 40:])
    (moved,) = finder.run(part)
    apart = np.linalg.norm(moved.points[:, :2] + (40, 10) - whole.points[:, :2], axis=1)
    assert np.median(apart) < 0.12 * whole.palm_size
    (again,) = finder.run(np.ascontiguousarray(picture[..., ::-1]), rgb=True)
    assert np.array_equal(again.points, whole.points)


def test_anchors_cover_the_input():
    anchors = _anchors()
    assert anchors.shape == (2016, 2)
    assert anchors.min() > 0 and anchors.max() < 1
    assert np.allclose(anchors[0], 0.5 / 24) and np.allclose(anchors[-1], 1 - 0.5 / 12)


def test_overlapping_boxes_are_one_group():
    boxes = np.array([[0, 0, 1, 1], [2, 2, 3, 3], [0.1, 0, 1.1, 1], [2, 2.1, 3, 3]], float)
    assert [sorted(g.tolist()) for g in _grouped(boxes)] == [[0, 2], [1, 3]]


def test_the_square_lies_towards_the_fingers():
    points = np.zeros((7, 2))
    points[0], points[2] = (50, 80), (50, 40)  # an upright hand
    centre, size, turn = _square(np.array([30.0, 40, 70, 80]), points, np.zeros(2))
    assert abs(turn) < 1e-9 and size == pytest.approx(104)
    assert centre == pytest.approx([50, 40])


def test_palm_size_survives_foreshortening():
    points = np.zeros((21, 3), np.float32)
    points[5, 0], points[17, 0] = 0, 30
    assert Hand(points, 1.0).palm_size == pytest.approx(36)


def test_steadied_hands_shiver_less_and_keep_their_way():
    rng = np.random.default_rng(0)
    shape = rng.normal(0, 20, (21, 3)).astype(np.float32)
    way = np.array([2.0, 1.0, 0.0], np.float32)
    rows = {t: (Hand(shape + t * way + rng.normal(0, 1, (21, 3)).astype(np.float32), 0.95),) for t in range(30)}
    steady = steadied(rows)
    noise = [np.mean([np.abs(h[t][0].points - shape - t * way).mean() for t in range(3, 27)]) for h in (rows, steady)]
    assert noise[1] < 0.65 * noise[0]
    assert steady[5][0].presence == rows[5][0].presence
    assert np.array_equal(steady[0][0].points, rows[0][0].points)  # no row before it


def test_another_hand_is_not_averaged_in():
    one = Hand(np.random.default_rng(1).normal(0, 20, (21, 3)).astype(np.float32), 0.95)
    far = Hand(one.points + 200, 0.95)
    assert np.allclose(steadied({0: (far,), 1: (one,), 2: (far,)})[1][0].points, one.points)
