from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deid.redaction.shape import least_region, regions_of
from deid.types import Evidence, Track


def track(boxes, evidence=Evidence.SEARCHED, yaw=np.nan, scores=1.0):
    n = len(boxes)
    return Track(
        7,
        0,
        0,
        np.asarray(boxes, np.float32),
        np.broadcast_to(np.asarray(evidence, np.uint8), n).copy(),
        np.broadcast_to(np.float32(scores), n).copy(),
        np.broadcast_to(np.float32(yaw), n).copy(),
        True,
    )


def numbers(regions):
    return np.array([[r.cx, r.cy, r.ax, r.ay, r.roll] for r in regions])


STILL = np.tile([300.0, 200.0, 70.0, 100.0, 0.1], (60, 1))

row = st.tuples(
    st.floats(-500, 2500), st.floats(-500, 1500), st.floats(4, 900), st.floats(4, 900), st.floats(-3.2, 3.2)
)
tracks = st.builds(
    track,
    st.lists(row, min_size=1, max_size=40),
    st.sampled_from(list(Evidence)),
    st.one_of(st.just(np.nan), st.floats(-90, 90)),
    st.floats(0, 1),
)


@settings(deadline=None)
@given(tracks, st.sampled_from([5.0, 25.0, 60.0]))
def test_every_region_holds_its_own_frames_box_whatever_the_track_does(track, rate):
    regions = regions_of(track, rate)
    assert len(regions) == len(track)
    for region, box in zip(regions, track.boxes, strict=True):
        x, y = least_region(box).outline(200).T
        assert region.radius(x, y).max() <= 1 + 1e-6


@settings(deadline=None)
@given(tracks, st.floats(0.1, 8), st.floats(-3000, 3000), st.floats(-3000, 3000))
def test_moving_and_scaling_a_track_moves_and_scales_its_regions(track, scale, dx, dy):
    boxes = track.boxes.astype(np.float64) * [scale, scale, scale, scale, 1] + [dx, dy, 0, 0, 0]
    there = numbers(regions_of(replace(track, boxes=boxes)))
    here = numbers(regions_of(track)) * [scale, scale, scale, scale, 1] + [dx, dy, 0, 0, 0]
    assert np.allclose(here, there, rtol=1e-4, atol=1e-2)


@settings(deadline=None)
@given(row, st.integers(1, 50), st.sampled_from(list(Evidence)))
def test_a_still_face_gets_one_region(box, length, evidence):
    found = numbers(regions_of(track([box] * length, evidence)))
    assert np.allclose(found, found[0], rtol=1e-5, atol=1e-4)


def test_the_margins_hold_the_ears_and_the_chin():
    region = regions_of(track(STILL[:1] * [1, 1, 1, 1, 0]))[0]
    ears, chin, hairline = [[300 - 46, 205], [300 + 46, 205]], [[300, 251]], [[300, 149]]
    assert region.contains(np.array(ears + chin + hairline)).all()


def test_a_single_bad_box_neither_pops_nor_leaves_its_mark_for_long():
    boxes = STILL.copy()
    boxes[30] += [25, -15, 20, 30, 0.3]
    found = numbers(regions_of(track(boxes)))
    assert np.abs(np.diff(found[:, 2:4], axis=0)).max() < 0.05 * STILL[0, 3]
    assert np.allclose(found[:15], found[0], rtol=0.02, atol=0.02)
    assert np.allclose(found[45:], found[0], rtol=0.02, atol=0.02)


def test_noise_of_the_boxes_is_smoothed_away():
    rng = np.random.default_rng(3)
    noisy = STILL.copy()
    noisy[:, :2] += rng.normal(0, 3, (60, 2))
    noisy[:, 2:4] *= np.exp(rng.normal(0, 0.04, (60, 2)))
    found = numbers(regions_of(track(noisy)))
    assert np.abs(np.diff(found[:, :2], axis=0)).mean() < 0.25 * np.abs(np.diff(noisy[:, :2], axis=0)).mean()
    assert np.abs(np.diff(found[:, 3])).mean() < 0.1 * np.abs(np.diff(noisy[:, 3])).mean()


def test_smoothing_looks_both_ways_alike():
    rng = np.random.default_rng(4)
    boxes = STILL.copy()
    boxes[:, 0] += np.cumsum(rng.normal(0, 6, 60))
    forwards = numbers(regions_of(track(boxes)))
    backwards = numbers(regions_of(track(boxes[::-1])))[::-1]
    assert np.allclose(forwards, backwards, rtol=1e-6, atol=1e-4)


def test_a_head_that_rushes_by_is_covered_along_its_way():
    boxes = STILL * [1, 1, 1, 1, 0]
    boxes[:, 0] += 60 * np.arange(60)
    still, moving = numbers(regions_of(track(STILL * [1, 1, 1, 1, 0])))[30], numbers(regions_of(track(boxes)))[30]
    assert moving[2] >= still[2] + 29
    assert moving[3] < 1.2 * still[3]
    assert moving[0] == pytest.approx(boxes[30, 0], abs=1)


def test_doubt_grows_away_from_the_last_sighting_and_stops_growing():
    evidence = np.full(60, Evidence.HELD)
    evidence[:10] = Evidence.SEARCHED
    found = numbers(regions_of(track(STILL, evidence)))[:, 3]
    assert found[0] == pytest.approx(found[9], rel=0.02)
    assert (np.diff(found) >= -1e-6).all()
    assert 1.4 * found[0] < found[-1] < 1.55 * found[0]
    assert np.diff(found).max() < 0.05 * found[0]


def test_a_gap_between_sightings_is_doubted_most_in_its_middle():
    evidence = np.full(60, Evidence.SEARCHED)
    evidence[20:41] = Evidence.FILLED
    found = numbers(regions_of(track(STILL, evidence)))[:, 3]
    assert np.argmax(found) == 30
    assert found[30] > 1.2 * found[0]


def test_texture_that_matches_well_is_doubted_less():
    evidence = np.full(60, Evidence.FLOW)
    evidence[[0, -1]] = Evidence.SEARCHED
    sure, unsure = (numbers(regions_of(track(STILL, evidence, scores=s)))[30, 3] for s in (0.9, 0.2))
    assert sure < 1.1 * numbers(regions_of(track(STILL)))[0, 3] < unsure


def test_a_head_in_profile_is_covered_to_its_back():
    slim = STILL * [1, 1, 0.7, 1, 0]
    right, left, unknown = (numbers(regions_of(track(slim, yaw=yaw)))[0] for yaw in (75, -75, np.nan))
    assert right[0] < 300 - 8 and left[0] > 300 + 8 and unknown[0] == pytest.approx(300)
    assert right[0] - right[2] == pytest.approx(600 - left[0] - left[2])
    assert min(right[2], unknown[2]) >= 0.6 * 100


def test_a_turn_too_far_for_landmarks_keeps_the_last_known_angle():
    yaw = np.full(60, 60.0)
    yaw[20:40] = np.nan
    assert np.allclose(numbers(regions_of(track(STILL, yaw=yaw))), numbers(regions_of(track(STILL, yaw=60))))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_boxes_that_are_not_numbers_stop_the_run(bad):
    boxes = STILL.copy()
    boxes[5, 1] = bad
    with pytest.raises(ValueError, match="track 7"):
        regions_of(track(boxes))


def test_long_tracks_are_worked_on_in_blocks_without_seams():
    wave = np.tile(STILL[0], (9000, 1))
    wave[:, 0] += 20 * np.sin(np.arange(9000) / 7)
    whole, part = numbers(regions_of(track(wave))), numbers(regions_of(track(wave[4000:4200])))
    assert np.allclose(whole[4050:4150], part[50:150], atol=1e-3)
