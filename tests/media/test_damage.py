"""Files that end early or have holes, and healthy files that only look so."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mediagen import clip, ffmpeg, samples, times, vfr

from deid.errors import DamagedInput, DeidError
from deid.media import EncodeSettings, Reader, Writer
from deid.media.structure import extent

X264 = ("-c:v", "libx264", "-preset", "veryfast", "-g", "25")


def cut(path: Path, part: float) -> Path:
    data = path.read_bytes()
    out = path.with_name(f"cut{path.suffix}")
    out.write_bytes(data[: int(len(data) * part)])
    return out


def count(path: Path, **options: object) -> int:
    with Reader(path, threads=2, **options) as reader:
        return sum(1 for _ in reader)


KINDS = {
    "fast.mp4": (X264, ["-movflags", "+faststart"]),
    "fragmented.mp4": (X264, ["-movflags", "+frag_keyframe+empty_moov"]),
    "a.mov": (X264, ["-movflags", "+faststart"]),
    "a.mkv": (X264, []),
    "a.webm": (("-c:v", "libvpx-vp9", "-cpu-used", "8"), []),
    "a.avi": (("-c:v", "mpeg4"), []),
    "a.gif": ((), []),
}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("part", [0.5, 0.83, 0.97])
def test_a_file_that_ends_early_is_refused_and_says_where(tmp_path: Path, name: str, part: float) -> None:
    video, extra = KINDS[name]
    pix_fmt = None if name.endswith("gif") else "yuv420p"
    whole = clip(tmp_path / name, seconds=3, size="160x120", video=video, pix_fmt=pix_fmt, extra=extra)
    assert extent(str(whole)).missing == 0
    assert count(whole) == 75
    short = cut(whole, part)
    with pytest.raises(DamagedInput, match=r"ends early .* at about [0-3]\.\d+ s.*--salvage") as caught:
        count(short)
    assert caught.value.exit_code == 4
    where = float(str(caught.value).split("about ")[1].split(" s")[0])
    left = count(short, salvage=True)
    assert 0 < left <= 75
    assert where == pytest.approx(left / 25, abs=0.5)


def test_an_unfinished_mp4_is_refused_with_advice(tmp_path: Path) -> None:
    short = cut(clip(tmp_path / "a.mp4", seconds=2), 0.6)
    for salvage in (False, True):
        with pytest.raises(DamagedInput, match="before its index"):
            Reader(short, salvage=salvage)


def test_what_is_left_of_a_cut_file_is_written(tmp_path: Path) -> None:
    whole = clip(tmp_path / "a.mkv", seconds=2, video=X264, audio=[("aac",)])
    short = cut(whole, 0.6)
    with (
        Reader(short, salvage=True) as reader,
        Writer(tmp_path / "b.mp4", reader.info, source=short, settings=EncodeSettings(threads=2)) as writer,
    ):
        frames = list(reader)
        for frame in frames:
            writer.write(frame)
        writer.commit()
    assert 10 < len(frames) < 50
    got, everything = times(tmp_path / "b.mp4"), times(whole)
    assert len(got) == len(frames) and set(got) <= set(everything)
    assert got[:10] == everything[:10]


HOLED = {
    "a.mp4": ("-c:v", "libx264", "-preset", "veryfast", "-g", "25", "-threads", "4"),
    "a.mkv": ("-c:v", "libx264", "-preset", "veryfast", "-g", "25", "-threads", "4"),
    "a.ts": ("-c:v", "libx264", "-preset", "veryfast", "-g", "25", "-threads", "4"),
    "a.h264": ("-c:v", "libx264", "-preset", "veryfast", "-g", "25", "-threads", "4"),
    "straight.h264": ("-c:v", "libx264", "-preset", "veryfast", "-g", "25", "-threads", "4", "-bf", "0"),
    "a.hevc": ("-c:v", "libx265", "-preset", "veryfast", "-x265-params", "log-level=none:keyint=25:frame-threads=1"),
    "hevc.ts": ("-c:v", "libx265", "-preset", "veryfast", "-x265-params", "log-level=none:keyint=25:frame-threads=1"),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", HOLED)
def test_a_hole_is_refused_or_marked_all_around(tmp_path: Path, name: str, seed: int) -> None:
    """Rubbish over a quarter of the second group of pictures: marked from before the hole to the next clean key frame
    behind it. What the encoder makes does not depend on the number of cores."""
    extra = ["-cluster_time_limit", "400"] if name.endswith("mkv") else []
    whole = clip(tmp_path / name, seconds=4, size="320x240", video=HOLED[name], extra=extra)
    clean = samples(whole)
    data = bytearray(whole.read_bytes())
    with av.open(str(whole)) as container:
        keys = [p.pos for p in container.demux(video=0) if p.size and p.is_keyframe]
    rng = np.random.default_rng(seed)
    begin = keys[1] + int((keys[2] - keys[1]) * rng.uniform(0.35, 0.5))
    length = (keys[2] - keys[1]) // 4
    data[begin : begin + length] = rng.bytes(length)
    hurt = tmp_path / f"hurt.{name}"
    hurt.write_bytes(data)
    with pytest.raises(DamagedInput, match=r"about \d+\.\d+ s.*--salvage"):
        count(hurt)
    with Reader(hurt, salvage=True) as reader:
        frames = list(reader)
        again = [(f.index, f.pts, f.damaged) for f in reader]
    assert again == [(f.index, f.pts, f.damaged) for f in frames]
    marked = [f.index for f in frames if f.damaged]
    assert marked and len(marked) < 0.8 * len(frames)
    assert marked == list(range(marked[0], marked[-1] + 1))
    assert not frames[0].damaged and not frames[-1].damaged
    rate = frames[1].pts - frames[0].pts
    # A bare stream has no times, so what is lost moves the rest forward.
    late = 0 if not name.endswith(("h264", "hevc")) else len(clean) - len(frames)
    for frame in frames:
        original = clean[round((frame.pts - frames[0].pts) / rate) + (late if frame.index > marked[-1] else 0)]
        if not frame.damaged:
            assert np.array_equal(frame.planes[0], original[0]), frame.index


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_bytes_changed_anywhere_end_in_frames_or_in_one_of_our_errors(tmp_path: Path, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["mp4", "mkv", "avi", "gif", "ts"]))
    source = tmp_path / f"a.{kind}"
    if not source.exists():
        clip(
            source,
            seconds=0.4,
            video=() if kind in ("avi", "gif") else X264,
            pix_fmt=None if kind == "gif" else "yuv420p",
        )
    raw = bytearray(source.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    hurt = tmp_path / f"hurt.{kind}"
    hurt.write_bytes(raw)
    for salvage in (False, True):
        try:
            with Reader(hurt, salvage=salvage, threads=2) as reader:
                pts = [f.pts for f in reader]
            assert pts == sorted(set(pts))
        except DeidError as e:
            assert str(e).endswith(".") and "\n" not in str(e)


HEALTHY = {
    "open_gop.mp4": ("-c:v", "libx264", "-x264opts", "open-gop=1:keyint=12:bframes=3"),
    "intra_refresh.mkv": ("-c:v", "libx264", "-x264opts", "intra-refresh=1:keyint=12"),
    "altref.webm": ("-c:v", "libvpx", "-auto-alt-ref", "1", "-lag-in-frames", "16", "-b:v", "200k", "-g", "30"),
    "vp9.webm": ("-c:v", "libvpx-vp9", "-auto-alt-ref", "1", "-lag-in-frames", "25", "-cpu-used", "6"),
    "hevc_cra.mkv": ("-c:v", "libx265", "-x265-params", "log-level=none:open-gop=1:keyint=12:bframes=4"),
    "bframes.avi": ("-c:v", "mpeg4", "-bf", "2", "-g", "20"),
    "av1.mkv": ("-c:v", "libsvtav1", "-preset", "12", "-svtav1-params", "lp=2"),
    "mpeg2.mpg": ("-c:v", "mpeg2video", "-bf", "2"),
    "prores.mov": ("-c:v", "prores_ks",),
    "h263.3gp": ("-c:v", "h263", "-s", "176x144"),
    "flv1.flv": ("-c:v", "flv1",),
    "wmv.asf": ("-c:v", "wmv2",),
    "theora.ogg": ("-c:v", "libtheora",),
}  # fmt: skip


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_files_are_not_refused(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SVT_LOG", "0")
    pix_fmt = "yuv422p10le" if name.startswith("prores") else "yuv420p"
    source = clip(tmp_path / name, seconds=2, size="176x144", video=HEALTHY[name], pix_fmt=pix_fmt)
    with Reader(source, threads=2) as reader:
        assert sum(1 for _ in reader) == 50
    with Reader(source, threads=2, salvage=True) as reader:
        assert not any(f.damaged for f in reader)


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_streams_cut_out_of_longer_ones_are_healthy(tmp_path: Path, codec: str) -> None:
    """They begin between key frames, or at one whose leading pictures look back at what is gone."""
    video = ("-c:v", codec, "-x264opts", "open-gop=1:keyint=15:bframes=3")
    if codec == "libx265":
        video = ("-c:v", codec, "-x265-params", "log-level=none:open-gop=1:keyint=15:bframes=4")
    whole = clip(tmp_path / "a.ts", seconds=4, size="160x120", video=video)
    data = whole.read_bytes()
    at = len(data) * 2 // 5 // 188 * 188
    late = tmp_path / "late.ts"
    late.write_bytes(data[at:])
    assert 30 < count(late) < 75
    for name in ("late.mkv", "late.mp4"):
        ffmpeg("-ss", "1.3", "-i", whole, "-c", "copy", tmp_path / name)
        assert 50 < count(tmp_path / name) <= 85
        with Reader(tmp_path / name, salvage=True) as reader:
            assert sum(f.damaged for f in reader) == 0


def test_trimming_by_edit_list_is_healthy(tmp_path: Path) -> None:
    whole = clip(tmp_path / "a.mp4", seconds=3, video=X264, audio=[("aac",)])
    ffmpeg("-ss", "0.5", "-i", whole, "-t", "1.2", "-c", "copy", tmp_path / "trimmed.mp4")
    with av.open(str(tmp_path / "trimmed.mp4")) as container:
        expected = [f.pts for f in container.decode(video=0)]
    with Reader(tmp_path / "trimmed.mp4") as reader:
        assert [f.pts for f in reader] == expected


def test_rubbish_behind_the_last_box_is_ignored(tmp_path: Path) -> None:
    source = clip(tmp_path / "a.mp4", seconds=0.4)
    source.write_bytes(source.read_bytes() + b"\0" * 5000)
    assert count(source) == 10


def test_a_live_recording_without_lengths_is_healthy(tmp_path: Path) -> None:
    source = clip(tmp_path / "a.mkv", seconds=1, video=X264, extra=["-live", "1"])
    assert count(source) == 25


def test_long_gaps_are_no_holes(tmp_path: Path) -> None:
    source = vfr(tmp_path / "a.mkv", [0, 40, 80, 5000, 5040, 90_000], Fraction(1, 1000))
    assert count(source) == 6
