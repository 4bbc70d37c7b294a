"""Looks, swaps over time, and where a generated picture comes to lie."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from meshes import mesh_at

from deid.blending import FaceOutline
from deid.models.stylegan import alignment, looks, paste, swap
from deid.models.stylegan.networks import Networks


@given(st.lists(st.integers(0, 40), unique=True, max_size=25).map(sorted))
def test_runs_are_the_stretches_without_a_gap(frames: list[int]) -> None:
    found = swap.runs(np.array(frames, np.int64))
    assert [f for run in found for f in frames[run]] == frames
    for run in found:
        assert np.all(np.diff(frames[run]) == 1) and run.stop > run.start
    for one, other in zip(found, found[1:], strict=False):
        assert frames[other][0] - frames[one][-1] > 1


@pytest.fixture(scope="module")
def loaded(small_files) -> Networks:
    return Networks.load(small_files.generator, None, small_files.mapper)


def test_codes_are_steadied_within_a_stretch_and_not_across_a_gap(loaded) -> None:
    rng = np.random.default_rng(0)
    frames = np.array([*range(10), *range(30, 40)])
    seen = swap.Seen(np.zeros((20, 2)), np.ones((20, 2)), rng.normal(0, 1, (20, 12)).astype(np.float32))
    identity = rng.normal(0, 0.1, 128).astype(np.float32)
    done = swap.swap(loaded, seen, identity, frames, 25.0, np.full((20, 3), 0.2))
    raw = loaded.mapped(np.repeat(identity[None], 20, 0), seen.attributes)
    assert np.abs(np.diff(done.codes[:10], axis=0)).mean() < 0.8 * np.abs(np.diff(raw[:10], axis=0)).mean()
    changed = swap.Seen(seen.centres, seen.ways, seen.attributes.copy())
    changed.attributes[10:] += 1.0
    again = swap.swap(loaded, changed, identity, frames, 25.0, np.full((20, 3), 0.2))
    np.testing.assert_array_equal(done.codes[:10], again.codes[:10])
    assert np.abs(done.codes[10:] - again.codes[10:]).max() > 0


@given(st.floats(0.001, 1.0))
@settings(max_examples=10, deadline=None)
def test_gains_lead_to_the_frames_tone_within_bounds(small_files, tone: float) -> None:
    networks = Networks.load(small_files.generator, None, small_files.mapper)
    codes = networks.mapped(np.zeros((3, 128), np.float32), np.zeros((3, 12), np.float32))
    gains = swap._gains(networks, codes, np.arange(3), 25.0, np.full((3, 3), tone))
    assert gains.min() >= 1 / swap._MOST_GAIN - 1e-4 and gains.max() <= swap._MOST_GAIN + 1e-4
    own = swap.skin_tone(networks.pictures(codes[:1])[0])
    expected = np.clip(tone / np.maximum(own, 1e-4), 1 / swap._MOST_GAIN, swap._MOST_GAIN)
    np.testing.assert_allclose(gains[0], expected, rtol=1e-3)


def test_a_look_cut_again_is_the_picture_along_that_square() -> None:
    """A smooth picture, so that cutting twice costs next to nothing."""
    y, x = np.mgrid[0:240, 0:240]
    picture = np.stack([128 + 60 * np.sin(x / 17), 128 + 60 * np.cos(y / 23), 128 + 0.3 * (x - y)], -1).astype(np.uint8)
    points = mesh_at(120.0, 120.0, 90.0)
    centres, ways = alignment.squares(points[None])
    from deid.recognition.chips import cut_chip

    notes = np.zeros(1, looks.RECORD)
    place = alignment.frame_from_crop(centres[0], looks.AROUND * ways[0], looks.SIDE)
    notes["look"][0] = cut_chip(picture, alignment.inverse(place), looks.SIDE)
    notes["frame_from_look"][0] = place
    moved = centres + 2.0
    cut = looks.recut(notes, moved, ways, 64)[0]
    straight = cut_chip(picture, alignment.inverse(alignment.frame_from_crop(moved[0], ways[0], 64)), 64)
    assert np.abs(cut.astype(int) - straight.astype(int))[4:-4, 4:-4].mean() < 2.5


def test_a_generated_face_lies_where_it_is_told_and_nowhere_else() -> None:
    generated = np.zeros((32, 32, 4), np.float32)
    generated[..., :3] = 0.5
    generated[8:24, 10:22, 3] = 1.0
    place = np.array([[3.0, 0, 20.0], [0, 3.0, 10.0]])
    points = mesh_at(68.0, 58.0, 60.0)
    face, outline = paste.laid_in(generated, place, points, np.array([1, 1, 1], np.float32), (140, 160))
    y, x = np.mgrid[0:140, 0:160]
    inside = (x > 54) & (x < 82) & (y > 38) & (y < 76)
    outside = (x < 44) | (x > 92) | (y < 28) | (y > 86)
    assert face.alpha[inside].min() > 0.95 and face.alpha[outside].max() == 0
    low, high = outline.points.min(axis=0), outline.points.max(axis=0)
    assert 45 < low[0] < 54 and 82 < high[0] < 90
    doubled, _ = paste.laid_in(generated, place, points, np.full(3, 2, np.float32), (140, 160))
    np.testing.assert_allclose(doubled.rgb[inside], 2 * face.rgb[inside], rtol=1e-5)


def test_without_opacity_the_subjects_own_outline_bounds_the_face() -> None:
    generated = np.full((32, 32, 3), 0.5, np.float32)
    points = mesh_at(80.0, 70.0, 60.0)
    place = np.array([[4.0, 0, 10.0], [0, 4.0, 0.0]])
    face, outline = paste.laid_in(generated, place, points, np.ones(3, np.float32), (140, 160))
    own = FaceOutline.from_mesh(points)
    np.testing.assert_array_equal(outline.points, own.points)
    assert face.alpha[70, 80] > 0.99 and face.alpha[5, 5] == 0
