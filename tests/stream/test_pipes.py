"""YUV4MPEG2 and raw frames: what goes in comes out, and what a header says is not believed before it was checked."""

from __future__ import annotations

import io
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from deid.errors import DamagedInput, DeidError, NotMedia, UnsupportedInput, UsageError
from deid.media import pipes
from deid.media.pipes import Layout
from deid.media.pixels import Look, PlaneReader, Turn, plan_pixels
from deid.types import Frame

EXACT = [name for name in pipes.PLANES if name not in ("rgb24", "bgr24", "gray")]


def through(data: bytes, layout: Layout) -> bytes:
    """One frame's bytes into planes, and back."""
    picture = pipes.picture_of(data, layout)
    look = Look({True: "pc", False: "tv", None: "unknown"}[layout.full_range], "unknown")
    plan, _ = plan_pixels("it", picture, look, Turn(), lossless_rgb=False, max_height=None)
    frame = Frame(0, 0, Fraction(1, 25), 1, PlaneReader(plan).planes(picture), plan.format)
    out = pipes.layout_for(layout, plan.format, (layout.width, layout.height))
    return pipes.bytes_of(frame, out)


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(16, 70), height=st.integers(16, 70), pixels=st.sampled_from(EXACT),
    full=st.sampled_from([None, True, False]), seed=st.integers(0, 1000),
)  # fmt: skip
@example(17, 33, "yuv420p", None, 1)
@example(17, 33, "nv12", None, 1)
def test_samples_pass_bit_for_bit_whatever_the_size(
    width: int, height: int, pixels: str, full: bool | None, seed: int
) -> None:
    layout = Layout(width, height, Fraction(25), pixels, full_range=full)
    noise = np.random.default_rng(seed).integers(0, 256, layout.frame_bytes).astype(np.uint8)
    if pixels.endswith("10le"):
        noise[1::2] &= 3
    assert through(noise.tobytes(), layout) == noise.tobytes()


@pytest.mark.parametrize("pixels", ["rgb24", "bgr24", "gray"])
def test_colours_pass_nearly_as_they_are(pixels: str) -> None:
    layout = Layout(64, 48, Fraction(25), pixels)
    y, x = np.mgrid[0:48, 0:64]
    shades = [80 + x, 90 + y, 200 - x][: 1 if pixels == "gray" else 3]
    data = np.stack(shades, -1).astype(np.uint8).tobytes()
    back = np.frombuffer(through(data, layout), np.uint8).astype(int)
    assert np.abs(back - np.frombuffer(data, np.uint8)).max() <= 4


@given(
    width=st.integers(16, 4000), height=st.integers(16, 4000),
    rate=st.fractions(Fraction(1, 10), 500, max_denominator=1001), word=st.sampled_from(sorted(pipes._COLOURS)),
    full=st.sampled_from([None, True, False]),
)  # fmt: skip
def test_a_header_says_the_same_again(width: int, height: int, rate: Fraction, word: str, full: bool | None) -> None:
    layout = Layout(width, height, rate, pipes._COLOURS[word], Fraction(4, 3), full, word)
    assert pipes.parse_header(pipes.header_of(layout).rstrip(b"\n")) == layout


@settings(max_examples=300)
@given(st.one_of(
    st.binary(max_size=200),
    st.lists(st.text(st.characters(max_codepoint=255), max_size=20), max_size=8).map(
        lambda words: ("YUV4MPEG2 " + " ".join(words)).encode("latin-1")),
    st.tuples(st.integers(-9, 10**12), st.integers(-9, 10**12), st.integers(-5, 10**10), st.integers(-5, 10**10)).map(
        lambda n: f"YUV4MPEG2 W{n[0]} H{n[1]} F{n[2]}:{n[3]}".encode()),
))  # fmt: skip
@example(b"YUV4MPEG2 W640 H480 F25:0")
@example(b"YUV4MPEG2 W640 H480 F0:0")
@example(b"YUV4MPEG2 W99999999999999999999 H1")
@example("YUV4MPEG2 W６４０ H480".encode())
def test_no_header_does_harm(line: bytes) -> None:
    try:
        layout = pipes.parse_header(line)
    except DeidError as error:
        assert isinstance(error, (NotMedia, UnsupportedInput)) and str(error).endswith(".")
        return
    assert layout.width >= 16 and 0 < layout.rate <= 1000 and 0 < layout.frame_bytes < 1 << 30


@settings(max_examples=200)
@given(st.binary(max_size=400), st.booleans())
def test_no_stream_does_harm(data: bytes, marked: bool) -> None:
    layout = Layout(16, 16, Fraction(25), "gray")
    read = io.BytesIO(data).read
    try:
        while pipes.read_picture(read, layout, marked) is not None:
            pass
    except DamagedInput:
        return
    assert marked and not data or len(data) % layout.frame_bytes in (0, 6)


def test_a_line_without_end_is_not_waited_for() -> None:
    class Endless:
        asked = 0

        def read(self, count: int) -> bytes:
            self.asked += count
            return b"x" * count

    endless = Endless()
    with pytest.raises(DamagedInput):
        pipes.read_line(endless.read)
    assert endless.asked < 2 * pipes.LONGEST_LINE


@pytest.mark.parametrize(("size", "rate", "pixels"), [
    ((15, 16), Fraction(25), "yuv420p"), ((20000, 20000), Fraction(25), "yuv420p"), ((64, 64), Fraction(0), "yuv420p"),
    ((64, 64), Fraction(25), "yuv999p"),
])  # fmt: skip
def test_what_makes_no_sense_is_refused(size: tuple[int, int], rate: Fraction, pixels: str) -> None:
    with pytest.raises(UsageError):
        Layout(*size, rate, pixels)


def test_frames_do_not_become_what_has_more_colour_than_they() -> None:
    layout = Layout(64, 64, Fraction(25), "yuv420p")
    picture = pipes.picture_of(bytes(layout.frame_bytes), layout)
    plan, _ = plan_pixels("it", picture, Look("unknown", "unknown"), Turn(), lossless_rgb=False, max_height=None)
    with pytest.raises(UsageError):
        pipes.layout_for(layout, plan.format, (64, 64), "yuv444p")
