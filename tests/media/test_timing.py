"""Exact times: constant and variable rates, offsets, last durations, cuts."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from mediagen import MILLISECOND, clip, ffmpeg, packets, shown_times, times, track_end, vfr

from deid.errors import UnsupportedInput, UsageError
from deid.media import EncodeSettings, Reader, Writer, probe

SETTINGS = EncodeSettings(preset="ultrafast", threads=2)
TICK = Fraction(1, 90_000)


def process(source: Path, target: Path, settings: EncodeSettings = SETTINGS, **span: float) -> Writer:
    with (
        Reader(source, threads=2, **span) as reader,
        Writer(target, reader.info, source=source, settings=settings, overwrite=True, **span) as writer,
    ):
        for frame in reader:
            writer.write(frame)
        writer.commit()
    return writer


UNEVEN = [0, 3000, 7200, 9000, 20_000, 23_000, 30_000, 33_003, 90_000, 91_001]


@pytest.mark.parametrize("kind", ["mp4", "mov", "mkv"])
def test_variable_rate_is_exact(tmp_path: Path, kind: str) -> None:
    source = vfr(tmp_path / f"a.{kind}", UNEVEN, TICK if kind != "mkv" else TICK, last=7200)
    process(source, tmp_path / "b.mp4")
    assert times(tmp_path / "b.mp4") == times(source)
    process(source, tmp_path / "b.mkv")
    rounded = [Fraction(round(t * 1000), 1000) for t in times(source)]
    assert times(tmp_path / "b.mkv") == rounded
    if kind != "mkv":
        assert times(source) == [p * TICK for p in UNEVEN]
        assert track_end(tmp_path / "b.mp4") == (UNEVEN[-1] + 7200) * TICK


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    gaps=st.lists(st.integers(1, 80_000), min_size=1, max_size=12),
    first=st.integers(0, 100_000),
    last=st.integers(1, 300_000),
    base=st.sampled_from(
        [Fraction(1, 90_000), Fraction(1, 1000), Fraction(1, 25), Fraction(1, 30_000), Fraction(1, 11_988)]
    ),
)
@example(gaps=[300, 300], first=0, last=100, base=Fraction(1, 90_000))  # the encoder changes their order
def test_any_times_and_last_duration_survive(
    tmp_path: Path, gaps: list[int], first: int, last: int, base: Fraction
) -> None:
    pts = [first]
    for gap in gaps:
        pts.append(pts[-1] + gap)
    source = vfr(tmp_path / "a.mp4", pts, base, last=last, options={"bf": "0", "preset": "ultrafast"})
    process(source, tmp_path / "b.mp4", EncodeSettings(threads=2))
    assert times(tmp_path / "b.mp4") == times(source) == [p * base for p in pts]
    assert track_end(tmp_path / "b.mp4") == (pts[-1] - pts[0] + last) * base


def test_frame_durations_are_the_gaps_and_the_last_is_kept(tmp_path: Path) -> None:
    source = vfr(tmp_path / "a.mp4", UNEVEN, TICK, last=7200)
    with Reader(source) as reader:
        got = [f.duration for f in reader]
        again = [(f.index, f.pts, f.duration) for f in reader]
    assert got == [b - a for a, b in zip(UNEVEN, [*UNEVEN[1:], UNEVEN[-1] + 7200], strict=True)]
    assert again == list(zip(range(len(UNEVEN)), UNEVEN, got, strict=True))


@pytest.mark.parametrize("kind", ["mp4", "mov", "mkv"])
def test_sound_and_picture_keep_their_offset(tmp_path: Path, kind: str) -> None:
    """Sound that starts late, and picture that starts late."""
    plain = clip(tmp_path / "plain.mp4", seconds=1, audio=[("aac",)])
    for name, args in {
        "late_sound": ["-i", plain, "-itsoffset", "0.317", "-i", plain, "-map", "0:v", "-map", "1:a"],
        "late_picture": ["-i", plain, "-itsoffset", "0.852", "-i", plain, "-map", "1:v", "-map", "0:a"],
    }.items():
        source = tmp_path / f"{name}.{kind}"
        ffmpeg(*args, "-c", "copy", source)
        target = tmp_path / f"{name}_out.{kind}"
        process(source, target)
        assert times(target) == times(source)
        kept = [p for p in packets(source, "audio")[0] if kind != "mkv" or p[0] >= 0]
        assert packets(target, "audio")[0] == kept


def test_times_before_zero_move_to_zero_together(tmp_path: Path) -> None:
    plain = clip(tmp_path / "plain.mkv", seconds=1, audio=[("flac",)])
    source = tmp_path / "early.mkv"
    ffmpeg("-itsoffset", "-0.2", "-i", plain, "-c", "copy", "-copyts", "-avoid_negative_ts", "disabled", source)
    with Reader(source) as reader:  # FFmpeg itself gives no times to such frames
        assert [f.pts for f in reader] == list(range(-200, 800, 40))
    writer = process(source, tmp_path / "b.mp4")
    shift = Fraction(-1, 5)
    assert times(tmp_path / "b.mp4") == [Fraction(i, 25) for i in range(25)]
    sound = [t for t, _ in packets(tmp_path / "b.mp4", "audio")[0]]
    assert all(
        abs(a - (b - shift)) <= MILLISECOND for a, (b, _) in zip(sound, packets(source, "audio")[0], strict=True)
    )
    assert any("before zero" in n for n in writer.notes)


@pytest.mark.parametrize("kind", ["mp4", "mkv"])
@pytest.mark.parametrize(("start", "end"), [(1.0, 2.0), (None, 1.02), (6.5, None), (5.99, 7.5)])
def test_a_range_cuts_sound_with_the_picture(tmp_path: Path, kind: str, start: float | None, end: float | None) -> None:
    source = clip(tmp_path / f"a.{kind}", seconds=8, audio=[("aac",)], extra=["-g", "25", "-bf", "2"])
    span = {k: v for k, v in (("start", start), ("end", end)) if v is not None}
    process(source, tmp_path / f"b.{kind}", **span)
    before, after = times(source), times(tmp_path / f"b.{kind}")
    kept = [t for t in before if (start is None or t >= start) and (end is None or t < end)]
    shift = kept[0] if start else Fraction(0)
    assert after == [t - shift for t in kept]
    ends = kept[-1] + Fraction(1, 25)
    step = Fraction(1024, 48_000)
    unit = Fraction(0) if kind == "mp4" else MILLISECOND
    everything, sound = packets(source, "audio")[0], packets(tmp_path / f"b.{kind}", "audio")[0]
    low = kept[0] if start else everything[0][0]
    high = min(ends, Fraction(end).limit_denominator(1000)) if end is not None else everything[-1][0] + step
    wanted = [(t - shift, data) for t, data in everything if t >= low and t + step <= high + unit]
    if kind == "mkv":
        wanted = [p for p in wanted if p[0] >= 0]
    assert [d for _, d in sound] == [d for _, d in wanted]
    assert all(abs(a - b) <= unit for (a, _), (b, _) in zip(sound, wanted, strict=True))
    with Reader(source, **span) as reader:
        assert [f.index for f in reader] == list(range(len(kept)))


def test_a_range_after_a_seek_gives_the_same_samples(tmp_path: Path) -> None:
    source = clip(tmp_path / "a.mp4", seconds=10, extra=["-g", "40", "-bf", "3", "-x264opts", "open-gop=1"])
    with Reader(source, start=7.03, end=7.5) as part, Reader(source) as whole:
        first = [f for f in whole if Fraction("7.03") <= f.pts * f.time_base < Fraction("7.5")]
        for a, b in zip(part, first, strict=True):
            assert a.pts == b.pts
            assert all((x == y).all() for x, y in zip(a.planes, b.planes, strict=True))


def test_ranges_that_make_no_sense(tmp_path: Path) -> None:
    source = clip(tmp_path / "a.mp4", seconds=1)
    with pytest.raises(UsageError, match="before the clip"):
        Reader(source, start=-1)
    with pytest.raises(UsageError, match="not lie after"):
        Reader(source, start=2, end=1)
    with pytest.raises(UsageError, match="holds no frame"), Reader(source, start=5) as reader:
        list(reader)


def test_pcm_is_cut_by_the_sample(tmp_path: Path) -> None:
    source = clip(tmp_path / "a.mkv", seconds=3, audio=[("pcm_s16le",)])
    whole = b"".join(data for _, data in packets(source, "audio")[0])
    process(source, tmp_path / "b.mkv", start=1.0, end=2.0)
    part = b"".join(data for _, data in packets(tmp_path / "b.mkv", "audio")[0])
    assert len(part) == pytest.approx(48_000 * 2, abs=200)
    assert part in whole


def test_a_file_may_claim_any_rate(tmp_path: Path) -> None:
    """Millions of frames a second, as a damaged header had it: the frames come through, one after the other."""
    source = clip(tmp_path / "a.avi", size="64x48", seconds=0.4, video=("-c:v", "mpeg4"))
    data = bytearray(source.read_bytes())
    at = data.index(b"strh") + 8 + 20  # dwScale, then dwRate
    struct.pack_into("<II", data, at, 1, 16_777_241)
    source.write_bytes(data)
    count = len(times(source))
    for ending in ("avi", "mp4"):
        process(source, tmp_path / f"b.{ending}")
        assert len(times(tmp_path / f"b.{ending}")) == count


def test_avi_takes_a_grid_and_nothing_else(tmp_path: Path) -> None:
    uneven = vfr(tmp_path / "a.mp4", UNEVEN, TICK)
    with pytest.raises(UsageError, match="constant rate"):
        process(uneven, tmp_path / "b.avi")
    assert not (tmp_path / "b.avi").exists()
    gaps = vfr(tmp_path / "c.mp4", [0, 3600, 7200, 14_400, 18_000], TICK, last=3600)
    with Reader(gaps) as reader:
        average = reader.info.average_rate
    assert average is not None
    even = clip(tmp_path / "d.mkv", rate=30, seconds=1)
    process(even, tmp_path / "d.avi")
    assert len(times(tmp_path / "d.avi")) == 30
    assert shown_times(tmp_path / "d.avi")[:3] == ["0", "0.0333333", "0.0666667"]


@pytest.mark.parametrize("codec", ["libx264", "libx265", "mpeg4"])
def test_raw_streams_get_times_from_their_rate(tmp_path: Path, codec: str) -> None:
    suffix = {"libx264": "h264", "libx265": "hevc", "mpeg4": "m4v"}[codec]
    extra = ["-f", suffix] + (["-x265-params", "log-level=none"] if codec == "libx265" else [])
    source = clip(tmp_path / f"a.{suffix}", rate=30, seconds=0.5, video=("-c:v", codec), extra=extra)
    info = probe(source)
    assert any("frames a second" in n for n in info.notes)
    with Reader(source) as reader:
        got = [f.pts * f.time_base for f in reader]
    rate = info.average_rate
    assert rate == 30
    assert got == [i / rate for i in range(15)]
    process(source, tmp_path / "b.mp4")
    assert times(tmp_path / "b.mp4") == got


def test_gif_delays_are_exact(tmp_path: Path) -> None:
    pts = [0, 7, 9, 30, 31, 62]
    with av.open(str(tmp_path / "a.gif"), "w", container_options={"final_delay": "55"}) as out:
        stream = out.add_stream("gif")
        stream.width, stream.height, stream.pix_fmt = 40, 30, "rgb8"
        stream.codec_context.time_base = stream.time_base = Fraction(1, 100)
        for i, at in enumerate(pts):
            frame = av.VideoFrame(40, 30, "rgb8")
            frame.planes[0].update(bytes([i * 30]) * frame.planes[0].buffer_size)
            frame.pts, frame.time_base = at, Fraction(1, 100)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    process(tmp_path / "a.gif", tmp_path / "b.gif")
    process(tmp_path / "a.gif", tmp_path / "b.mp4")
    for name in ("a.gif", "b.gif"):
        with av.open(str(tmp_path / name), container_options={"min_delay": "1"}) as container:
            assert [f.pts for f in container.decode(video=0)] == pts
    with Reader(tmp_path / "b.gif") as reader:
        assert [f.duration for f in reader] == [7, 2, 21, 1, 31, 55]
    assert times(tmp_path / "b.mp4") == [Fraction(p, 100) for p in pts]
    assert track_end(tmp_path / "b.mp4") == Fraction(117, 100)


def test_times_that_jump_are_refused(tmp_path: Path) -> None:
    a = clip(
        tmp_path / "a.ts", seconds=3, extra=["-mpegts_flags", "+initial_discontinuity", "-output_ts_offset", "100"]
    )
    b = clip(tmp_path / "b.ts", seconds=3, extra=["-mpegts_flags", "+initial_discontinuity", "-output_ts_offset", "10"])
    joined = tmp_path / "joined.ts"
    joined.write_bytes(a.read_bytes() + b.read_bytes())
    with pytest.raises(UnsupportedInput, match="timestamps that jump"), Reader(joined) as reader:
        list(reader)
