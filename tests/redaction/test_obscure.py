from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from deid.errors import UsageError
from deid.redaction.obscure import CELLS, LEAST_CELL, Obscurer, _layers, _opacity, feather, modes, obscure_frame
from deid.redaction.region import Region
from deid.types import Frame, PixelFormat

FORMATS = {
    "yuv420p": PixelFormat("yuv420p", 8, (1, 1), False, "bt709"),
    "yuv422p": PixelFormat("yuv422p", 8, (1, 0), False, "bt601"),
    "yuv444p": PixelFormat("yuv444p", 8, (0, 0), True, "bt709"),
    "gray": PixelFormat("gray", 8, (0, 0), True, "bt601", grey=True),
    "yuv420p10le": PixelFormat("yuv420p10le", 10, (1, 1), False, "bt2020"),
    "yuv422p10le": PixelFormat("yuv422p10le", 10, (1, 0), False, "bt709"),
    "yuv444p10le": PixelFormat("yuv444p10le", 10, (0, 0), False, "bt709"),
    "gray10le": PixelFormat("gray10le", 10, (0, 0), True, "bt709", grey=True),
}
FACE = Region(90, 70, 40, 52, 0.3)


def frame_of(luma, pixels=FORMATS["yuv444p"]):
    """Every plane shows ``luma``, so that each is as hard to hide as the other."""
    sx, sy = pixels.chroma_shift
    chroma = luma[:: 1 << sy, :: 1 << sx]
    planes = (luma,) if pixels.grey else (luma, chroma, chroma)
    planes = tuple(np.array(plane, np.uint8 if pixels.depth == 8 else np.uint16, order="C") for plane in planes)
    for plane in planes:
        plane.setflags(write=False)
    return Frame(3, 77, Fraction(1, 25), 1, planes, pixels)


def noise(width, height, pixels=FORMATS["yuv444p"], seed=0):
    return frame_of(np.random.default_rng(seed).integers(0, 1 << pixels.depth, (height, width)), pixels)


def radius_of_samples(region, frame, number):
    """Of the centres of a plane's samples, in units of the region's outline."""
    sx, sy = (1 << s for s in frame.format.chroma_shift) if number else (1, 1)
    rows, columns = frame.planes[number].shape
    x, y = np.arange(columns) * sx + (sx - 1) / 2, np.arange(rows) * sy + (sy - 1) / 2
    return region.radius(x[None], y[:, None])


def assert_untouched_outside(before, after, regions):
    for number, (old, new) in enumerate(zip(before.planes, after.planes, strict=True)):
        outside = np.ones(old.shape, bool)
        for region in regions:
            outside &= radius_of_samples(region, before, number) > feather(region)
        assert np.array_equal(old[outside], new[outside])
        assert old.dtype == new.dtype and old.shape == new.shape and new.flags.c_contiguous


@pytest.mark.parametrize("mode", modes())
@pytest.mark.parametrize("pixels", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("size", [(192, 160), (181, 139)])
def test_samples_outside_keep_their_bits_and_those_inside_do_not(mode, pixels, size):
    before = noise(*size, pixels)
    after = Obscurer(mode, 5).apply(before, [FACE])
    assert_untouched_outside(before, after, [FACE])
    for number, (old, new) in enumerate(zip(before.planes, after.planes, strict=True)):
        inside = radius_of_samples(FACE, before, number) <= 1
        assert (old[inside] == new[inside]).mean() < 0.05
    assert (after.index, after.pts, after.duration, after.format) == (3, 77, 1, pixels)


some_region = st.builds(
    Region,
    st.floats(-300, 400),
    st.floats(-300, 400),
    st.one_of(st.floats(0.05, 80), st.floats(80, 1e5)),
    st.one_of(st.floats(0.05, 80), st.floats(80, 1e5)),
    st.floats(-4, 4),
)


@settings(deadline=None, max_examples=150)
@given(
    st.lists(some_region, max_size=5),
    st.sampled_from(modes()),
    st.sampled_from(list(FORMATS.values())),
    st.integers(1, 150),
    st.integers(1, 150),
)
@example([Region(0.0, 0.0, 21.0, 1.5, 0.0)], "blur", FORMATS["yuv420p"], 2, 2)  # a soft edge of many cells
def test_any_regions_leave_the_rest_alone(regions, mode, pixels, width, height):
    before = noise(width, height, pixels)
    after = Obscurer(mode).apply(before, regions)
    assert_untouched_outside(before, after, regions)
    assert max(int(plane.max()) for plane in after.planes) < 1 << pixels.depth


@settings(deadline=None, max_examples=200)
@given(some_region, st.sampled_from(["yuv420p", "yuv422p", "gray"]))
def test_opacity_is_exactly_full_inside_and_exactly_nothing_beyond_the_feather(region, name):
    frame = noise(140, 110, FORMATS[name])
    for layer in _layers(frame):
        window = layer.window(region, feather(region), frame)
        at = radius_of_samples(region, frame, layer.planes[0])
        if window is None:
            assert at.min() > 1
            continue
        x0, y0, x1, y1 = window
        opacity = np.zeros(at.shape, np.float32)
        opacity[y0:y1, x0:x1] = _opacity(region, layer, window)
        assert (opacity[at <= 1] == 1).all()
        assert (opacity[at > feather(region)] == 0).all()


@pytest.mark.parametrize("name", ["yuv420p", "yuv444p10le"])
def test_solid_is_one_tone_whatever_it_hides(name):
    for seed in (1, 2):
        frame = Obscurer("solid", seed).apply(noise(180, 140, FORMATS[name], seed), [FACE])
        for number, tone in enumerate((115, 128, 128)):
            inside = radius_of_samples(FACE, frame, number) <= 1
            exact = tone if frame.format.depth == 8 else {115: 458, 128: 512}[tone]
            assert (frame.planes[number][inside] == exact).all()


@pytest.mark.parametrize("mode", ["blur", "pixelate"])
@pytest.mark.parametrize("half", [6, 12, 17, 24, 40, 90, 150])
def test_detail_a_sixth_of_the_region_across_is_gone_at_every_size(mode, half):
    side = 3 * half
    region = Region(side / 2 - 0.3, side / 2 + 0.2, 0.8 * half, half, 0.2)
    period = max(2 * half / 6, LEAST_CELL)
    y, x = np.mgrid[:side, :side]
    waves = 128 + 100 * np.sin(2 * np.pi * x / period) * np.sin(2 * np.pi * y / period)
    after = Obscurer(mode).apply(frame_of(np.rint(waves)), [region])
    inside = radius_of_samples(region, after, 0) <= 0.8  # near the edge, where a wave is cut, its mean is not grey
    assert np.rint(waves)[inside].std() > 40
    assert after.planes[0][inside].astype(float).std() < 6


@pytest.mark.parametrize("height", [10, 16, 24, 40, 64, 200])
def test_cells_are_few_and_never_small(height):
    ay = height / 2
    side = 3 * height
    region = Region(side / 2, side / 2, 0.75 * ay, ay, 0.0)
    after = Obscurer("pixelate", 9).apply(noise(side, side), [region])
    column = after.planes[0][int(side / 2 - ay) : int(side / 2 + ay), side // 2 - 2]
    flat = np.abs(np.diff(column.astype(int))) == 0
    assert (~flat).sum() <= 3 * (min(CELLS, height / LEAST_CELL) + 2)


@pytest.mark.parametrize("mode", modes())
def test_the_cover_moves_with_the_face_and_does_not_swim(mode):
    luma = np.random.default_rng(1).integers(0, 256, (200, 260))
    here = Obscurer(mode, 2).apply(frame_of(luma, FORMATS["yuv420p"]), [FACE])
    moved = frame_of(np.roll(luma, (14, 38), (0, 1)), FORMATS["yuv420p"])
    there = Obscurer(mode, 2).apply(moved, [replace(FACE, cx=FACE.cx + 38, cy=FACE.cy + 14)])
    for number, by in enumerate(((14, 38), (7, 19), (7, 19))):
        inside = radius_of_samples(FACE, here, number) <= 1
        back = np.roll(there.planes[number], (-by[0], -by[1]), (0, 1))
        assert np.abs(back[inside].astype(int) - here.planes[number][inside]).max() <= 1


@pytest.mark.parametrize("mode", ["blur", "pixelate"])
def test_the_cover_turns_with_the_head(mode):
    luma = np.add.outer(np.arange(161), np.zeros(161)) + np.random.default_rng(2).integers(0, 60, (161, 161))
    upright = Obscurer(mode).apply(frame_of(luma), [Region(80, 80, 40, 55, 0.0)]).planes[0]
    lying = Obscurer(mode).apply(frame_of(np.rot90(luma, -1)), [Region(80, 80, 40, 55, np.pi / 2)]).planes[0]
    inside = Region(80, 80, 38, 52).radius(np.arange(161)[None], np.arange(161)[:, None]) <= 1
    difference = np.abs(np.rot90(lying).astype(int) - upright)[inside]
    assert np.percentile(difference, 90) <= 2


def test_bright_surroundings_do_not_bleed_into_a_dark_face():
    luma = np.full((160, 200), 235)
    luma[FACE.radius(np.arange(200)[None], np.arange(160)[:, None]) <= 1] = 60
    for mode in ("blur", "pixelate"):
        after = Obscurer(mode).apply(frame_of(luma), [FACE]).planes[0]
        inside = FACE.radius(np.arange(200)[None], np.arange(160)[:, None]) <= 1
        assert after[inside].max() < 60 + 30
        assert np.median(after[inside]) < 60 + 8


def test_a_face_cut_by_the_border_is_covered_to_the_border():
    frame = frame_of(np.tile(np.array([[0, 255], [255, 0]]), (60, 80)))
    for cx, cy in ((0, 60), (159, 60), (80, 0), (80, 119), (-20, -20)):
        region = Region(cx, cy, 40, 50, 0.4)
        after = Obscurer("blur").apply(frame, [region]).planes[0].astype(int)
        inside = radius_of_samples(region, frame, 0) <= 1
        assert inside.any() and np.abs(after[inside] - 127.5).max() < 20


def test_regions_elsewhere_return_the_very_frame():
    frame = noise(100, 80)
    assert Obscurer("blur").apply(frame, [Region(500, 40, 30, 30), Region(-99, -99, 20, 30)]) is frame
    assert Obscurer("solid").apply(frame, []) is frame


def test_overlapping_faces_are_covered_whatever_their_order():
    frame = noise(200, 160)
    pair = [FACE, replace(FACE, cx=FACE.cx + 30, roll=-0.4)]
    for regions in (pair, pair[::-1]):
        after = Obscurer("blur").apply(frame, regions)
        for region in regions:
            inside = radius_of_samples(region, frame, 0) <= 1
            assert after.planes[0][inside].astype(float).std() < 8


@pytest.mark.parametrize("mode", ["blur", "pixelate"])
def test_the_seed_decides_and_nothing_else(mode):
    frame = noise(180, 140)
    same = [Obscurer(mode, 4).apply(frame, [FACE]).planes[0] for _ in range(2)]
    other = Obscurer(mode, 5).apply(frame, [FACE]).planes[0]
    assert np.array_equal(*same)
    assert not np.array_equal(same[0], other)
    assert np.abs(same[0].astype(int) - other).max() <= 5


def test_an_unknown_mode_names_the_known_ones():
    with pytest.raises(UsageError, match="blur, pixelate, solid"):
        Obscurer("mosaic")


@pytest.mark.parametrize("pixels", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("size", [(320, 180), (97, 203), (5, 3)])
def test_a_whole_picture_keeps_its_colour_and_no_detail(pixels, size):
    before = noise(*size, pixels)
    after = obscure_frame(before)
    for old, new in zip(before.planes, after.planes, strict=True):
        assert old.dtype == new.dtype and old.shape == new.shape
        assert new.mean() == pytest.approx(old.mean(), rel=0.05, abs=2)
        if min(old.shape) > 40:
            assert np.abs(np.diff(new.astype(int), axis=1)).max() < 0.06 * (1 << pixels.depth)
            assert new.std() < 0.25 * old.std()


def test_a_whole_picture_shows_at_most_forty_cells():
    luma = np.full((180, 320), 20)
    luma[:, ::8] = 250  # bars far finer than a cell
    luma[60:120, 150:170] += 5
    after = obscure_frame(frame_of(luma))
    assert after.planes[0].std() < 4
