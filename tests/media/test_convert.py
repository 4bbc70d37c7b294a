"""Planes to RGB and back; the watermark; the inner structures of files."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mediagen import clip, ffmpeg, samples

from deid.errors import UsageError
from deid.media import EncodeSettings, Reader, Writer
from deid.media.convert import bgr, luma8, ycbcr
from deid.media.nal import without_encoder_comment
from deid.media.watermark import Watermark
from deid.types import Frame, PixelFormat

SHIFTS = {(1, 1): "yuv420p", (1, 0): "yuv422p", (0, 0): "yuv444p"}
WEIGHTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}


def pixel_format(shift: tuple[int, int], depth: int, full: bool, matrix: str) -> PixelFormat:
    return PixelFormat(SHIFTS[shift] + ("10le" if depth == 10 else ""), depth, shift, full, matrix)


ALL = [
    pixel_format(shift, depth, full, matrix)
    for shift in SHIFTS
    for depth in (8, 10)
    for full in (False, True)
    for matrix in WEIGHTS
]


def smooth(width: int, height: int) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([40 + x * 150 / width, 200 - y * 150 / height, 90 + (x + y) * 80 / (width + height)], -1)


def frame_of(rgb: np.ndarray, fmt: PixelFormat) -> Frame:
    return Frame(0, 0, Fraction(1, 25), 1, ycbcr(rgb, fmt), fmt)


@pytest.mark.parametrize("fmt", ALL, ids=lambda f: f"{f.name}-{'pc' if f.full_range else 'tv'}-{f.matrix}")
def test_there_and_back(fmt: PixelFormat) -> None:
    rgb = smooth(64, 48)
    frame = frame_of(rgb, fmt)
    back = bgr(frame, region=(0, 0, 64, 48))[..., ::-1]
    assert back.dtype == np.uint8 and back.shape == (48, 64, 3)
    quick = bgr(frame)[..., ::-1]
    assert np.abs(quick - rgb).mean() < 2 and np.abs(quick - rgb).max() < 10
    assert np.abs(back - rgb).mean() < (1.2 if fmt.chroma_shift != (0, 0) else 0.8)
    assert np.abs(back - rgb).max() < 6


@pytest.mark.parametrize("fmt", ALL, ids=lambda f: f"{f.name}-{'pc' if f.full_range else 'tv'}-{f.matrix}")
def test_conversion_by_the_textbook(fmt: PixelFormat) -> None:
    """One flat colour against the equations of the recommendation."""
    kr, kb = WEIGHTS[fmt.matrix]
    red, green, blue = 200.0, 60.0, 30.0
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    unit = 1 << (fmt.depth - 8)
    top = (1 << fmt.depth) - 1
    y = luma / 255 * top if fmt.full_range else (16 + 219 * luma / 255) * unit
    scale = top / 255 if fmt.full_range else 224 / 255 * unit
    cb = (blue - luma) / (2 * (1 - kb)) * scale + 128 * unit
    cr = (red - luma) / (2 * (1 - kr)) * scale + 128 * unit
    flat = np.full((16, 16, 3), (red, green, blue))
    for plane, wanted in zip(ycbcr(flat, fmt), (y, cb, cr), strict=True):
        assert (plane == round(wanted)).all()
    assert np.abs(bgr(frame_of(flat, fmt))[..., ::-1] - flat).max() <= 2


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from([f for f in ALL if f.matrix == "bt709"]))
def test_a_region_is_that_part_of_the_whole(data: st.DataObject, fmt: PixelFormat) -> None:
    width, height = 61 if fmt.chroma_shift == (0, 0) else 62, 46
    frame = frame_of(smooth(width, height), fmt)
    x0 = data.draw(st.integers(0, width - 1))
    y0 = data.draw(st.integers(0, height - 1))
    x1 = data.draw(st.integers(x0 + 1, width))
    y1 = data.draw(st.integers(y0 + 1, height))
    part = bgr(frame, region=(x0, y0, x1, y1))
    assert part.shape == (y1 - y0, x1 - x0, 3)
    assert (
        np.abs(part.astype(int) - bgr(frame, region=(0, 0, width, height))[y0:y1, x0:x1]).max() <= 4
    )  # chroma is not smoothed over the border
    scaled = bgr(frame, size=(20, 10), region=(x0, y0, x1, y1))
    assert scaled.shape == (10, 20, 3)


def test_regions_outside_are_refused() -> None:
    frame = frame_of(smooth(32, 32), ALL[0])
    for region in ((-1, 0, 4, 4), (0, 0, 33, 4), (4, 4, 4, 8)):
        with pytest.raises(ValueError, match="does not lie within"):
            bgr(frame, region=region)


def test_small_versions_are_averages() -> None:
    for fmt in ALL:
        frame = frame_of(smooth(128, 96), fmt)
        small = bgr(frame, size=(32, 24))
        boxes = bgr(frame).reshape(24, 4, 32, 4, 3).mean((1, 3))
        assert np.abs(small - boxes).mean() < 1.5


def test_colours_agree_with_ffmpeg(tmp_path: Path) -> None:
    for space, span in (("bt709", "tv"), ("smpte170m", "pc")):
        source = clip(
            tmp_path / f"{space}.mkv",
            seconds=0.08,
            video=("-c:v", "ffv1"),
            extra=["-vf", f"setparams=colorspace={space}:range={span}"],
        )
        ffmpeg("-i", source, "-pix_fmt", "bgr24", "-f", "rawvideo", tmp_path / "bgr.raw")
        wanted = np.fromfile(tmp_path / "bgr.raw", np.uint8).reshape(-1, 64, 96, 3)[0]
        with Reader(source) as reader:
            got = bgr(next(iter(reader)))
        difference = np.abs(got.astype(int) - wanted)
        assert np.median(difference) <= 2  # at sharp edges the two interpolate chroma differently
        assert difference.mean() < 10


def test_luma8() -> None:
    for fmt in ALL:
        frame = frame_of(smooth(32, 32), fmt)
        luma = luma8(frame)
        assert luma.dtype == np.uint8 and luma.shape == (32, 32)
        if fmt.depth == 8:
            assert luma is frame.planes[0]
        else:
            assert np.array_equal(luma, frame.planes[0] // 4)


def test_grey_frames() -> None:
    fmt = PixelFormat("gray", 8, (0, 0), True, "bt601", grey=True)
    plane = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    frame = Frame(0, 0, Fraction(1), 1, (plane,), fmt)
    assert np.array_equal(bgr(frame)[..., 1], plane)
    assert len(ycbcr(np.zeros((4, 4, 3)), fmt)) == 1


# Watermark


@pytest.mark.parametrize("size", [(64, 48), (320, 240), (1920, 1080), (607, 1081)])
@pytest.mark.parametrize("fmt", [ALL[0], ALL[-1]], ids=lambda f: f.name)
def test_a_watermark_changes_a_small_bottom_corner_only(size: tuple[int, int], fmt: PixelFormat) -> None:
    width, height = size
    sx, sy = fmt.chroma_shift
    dtype = np.uint8 if fmt.depth == 8 else np.uint16
    middle = 1 << (fmt.depth - 1)
    shapes = [(height, width)] + [(-(-height >> sy), -(-width >> sx))] * 2
    planes = [np.full(s, middle, dtype) for s in shapes]
    Watermark("Faces obscured", width, height, fmt).draw(planes)
    rows, columns = np.nonzero(planes[0] != middle)
    assert rows.min() > height * 0.6 and rows.max() < height
    assert len(rows) < 0.2 * width * height
    area = planes[0][rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].astype(float)
    spread = (np.percentile(area, 99) - np.percentile(area, 1)) / ((1 << fmt.depth) - 1)
    assert spread > 0.3  # letters stand out from their box
    assert all((np.abs(p.astype(int) - middle) <= 1).all() for p in planes[1:])


def test_a_watermark_in_a_video(tmp_path: Path) -> None:
    source = clip(tmp_path / "a.mkv", size="320x240", seconds=0.12, video=("-c:v", "ffv1"))
    with (
        Reader(source) as reader,
        Writer(
            tmp_path / "b.mkv", reader.info, source=source, settings=EncodeSettings(crf=0, watermark="DEMO \u00e9")
        ) as writer,
    ):
        for frame in reader:
            before = [p.copy() for p in frame.planes]
            writer.write(frame)
            assert all(np.array_equal(a, b) for a, b in zip(before, frame.planes, strict=True))
        writer.commit()
    for marked, plain in zip(samples(tmp_path / "b.mkv"), samples(source), strict=True):
        assert np.array_equal(marked[0][:190], plain[0][:190])
        assert not np.array_equal(marked[0], plain[0])


def test_text_that_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot be drawn"):
        Watermark("\u4e2d\u6587", 320, 240, ALL[0])


# Encoder comments


@given(st.lists(st.tuples(st.integers(1, 12), st.binary(min_size=1, max_size=30)), min_size=1, max_size=6))
def test_only_user_data_goes_from_a_stream(units: list[tuple[int, bytes]]) -> None:
    def unit(kind: int, body: bytes) -> bytes:
        return b"\0\0\0\x01" + bytes([kind]) + body.replace(b"\0", b"\x09").replace(b"\x05", b"\x06")

    plain = b"".join(unit(kind, body) for kind, body in units)
    comment = b"\0\0\x01\x06\x05\x10" + b"x" * 16 + b"\x80"
    assert without_encoder_comment(plain) == plain
    assert without_encoder_comment(comment + plain) == plain
