"""Inputs and targets that cannot work: one clear sentence, the right class, no output, no leftover, source
untouched."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import av
import pytest
from mediagen import clip, ffmpeg

from deid.errors import (
    DeidError,
    DiskFull,
    InputNotFound,
    NotMedia,
    NoVideoStream,
    OutputError,
    OutputExists,
    UnsupportedInput,
    UsageError,
)
from deid.media import EncodeSettings, Reader, Writer, check_target, probe
from deid.media.target import Staged

FAST = EncodeSettings(preset="ultrafast", threads=2)


def refused(path: Path, kind: type[DeidError], words: str) -> None:
    for use in (probe, Reader):
        with pytest.raises(kind, match=words) as caught:
            use(path)
        text = str(caught.value)
        assert text.endswith(".") and "\n" not in text and type(caught.value) is kind


def test_missing(tmp_path: Path) -> None:
    refused(tmp_path / "no.mp4", InputNotFound, "does not exist")


def test_empty(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    refused(tmp_path / "a.mp4", NotMedia, "is empty")


@pytest.mark.parametrize("name", ["a.mp4", "a.txt", "a.srt", "a.m3u8", "a.ffconcat", "a"])
def test_text_and_playlists(tmp_path: Path, name: str) -> None:
    """Text is no media, and a playlist must not reach for other files."""
    other = clip(tmp_path / "other.mp4", seconds=0.2)
    for content in (
        "Dear all,\nhere is the video.\n" * 50,
        "1\n00:00:00,000 --> 00:00:01,000\nhello\n",
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{other}\n#EXT-X-ENDLIST\n",
        f"ffconcat version 1.0\nfile {other}\n",
    ):
        (tmp_path / name).write_text(content)
        refused(tmp_path / name, NotMedia, "not a video or image")


def test_random_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(os.urandom(1 << 16))
    with pytest.raises(DeidError):
        probe(tmp_path / "a.mp4")


def test_sound_alone_and_cover_art_alone(tmp_path: Path) -> None:
    ffmpeg("-f", "lavfi", "-i", "sine=d=0.5", tmp_path / "a.m4a")
    refused(tmp_path / "a.m4a", NoVideoStream, "no video stream")
    ffmpeg("-f", "lavfi", "-i", "sine=d=0.5", tmp_path / "a.wav")
    refused(tmp_path / "a.wav", NoVideoStream, "no video stream")
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x64:d=0.04", "-frames:v", "1", tmp_path / "c.png")
    ffmpeg(
        *("-i", tmp_path / "a.wav", "-i", tmp_path / "c.png", "-map", "0", "-map", "1", "-c:v", "copy"),
        *("-disposition:v:0", "attached_pic", tmp_path / "b.mp3"),
    )
    refused(tmp_path / "b.mp3", NoVideoStream, "no video stream")


def test_one_pixel(tmp_path: Path) -> None:
    clip(tmp_path / "a.mkv", seconds=0.1, video=("-c:v", "ffv1"), extra=["-vf", "scale=1:1"])
    refused(tmp_path / "a.mkv", UnsupportedInput, "1 x 1 pixels")


@pytest.mark.parametrize("kind", ["mkv", "mp4", "avi"])
def test_no_frames(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.width, stream.height = 64, 48
        out.start_encoding()
    refused(path, NoVideoStream, "no frames|without a single frame|no video stream")


def test_a_size_that_changes(tmp_path: Path) -> None:
    a = clip(tmp_path / "a.h264", seconds=0.4, size="96x64")
    b = clip(tmp_path / "b.h264", seconds=0.4, size="64x96")
    joined = tmp_path / "joined.h264"
    joined.write_bytes(a.read_bytes() + b.read_bytes())
    with pytest.raises(UnsupportedInput, match=r"changes from 96 x 64 .* to 64 x 96"), Reader(joined) as reader:
        list(reader)


def test_pipes_and_devices(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    reader = os.open(tmp_path / "pipe.mp4", os.O_RDWR)
    try:
        with pytest.raises(NotMedia, match="not a regular file"):
            probe(tmp_path / "pipe.mp4")
    finally:
        os.close(reader)


def test_names_that_look_like_patterns_and_protocols(tmp_path: Path) -> None:
    for name in ("50%d of it.mp4", "http:host.mp4", "-i.mp4", "a b\u00e9\u4e2d.mp4", "concat:x|y.mp4"):
        clip(tmp_path / "plain.mp4", seconds=0.08).rename(tmp_path / name)
        with (
            Reader(tmp_path / name) as reader,
            Writer(tmp_path / ("out " + name), reader.info, source=tmp_path / name, settings=FAST) as writer,
        ):
            for frame in reader:
                writer.write(frame)
            writer.commit()
        assert (tmp_path / ("out " + name)).stat().st_size > 500


# Targets


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    return clip(folder / "a.mp4", seconds=0.4, audio=[("aac",)])


def run(source: Path, target: Path, **options: object) -> None:
    with Reader(source) as reader, Writer(target, reader.info, source=source, settings=FAST, **options) as writer:
        for frame in reader:
            writer.write(frame)
        writer.commit()


def untouched(source: Path, before: tuple[bytes, int]) -> None:
    assert (source.read_bytes(), source.stat().st_mtime_ns) == before
    assert [p.name for p in source.parent.iterdir()] == ["a.mp4"]


def state(source: Path) -> tuple[bytes, int]:
    return source.read_bytes(), source.stat().st_mtime_ns


def test_targets_that_are_the_source(source: Path) -> None:
    before = state(source)
    info = probe(source)
    link = source.parent.parent / "link.mp4"
    link.symlink_to(source)
    hard = source.parent.parent / "hard.mp4"
    os.link(source, hard)
    for target in (source, link, hard, source.parent / ".." / "in" / "a.mp4"):
        with pytest.raises(UsageError, match="is the source itself"):
            check_target(target, True, info)
    untouched(source, before)


def test_targets_without_a_known_extension(source: Path, tmp_path: Path) -> None:
    for name in ("out", "out.xyz", "out.mp3"):
        with pytest.raises(UsageError, match=r"\.mp4, .*\.mkv"):
            check_target(tmp_path / name, False, probe(source))
    with pytest.raises(UsageError, match="one image"):
        check_target(tmp_path / "out.png", False, probe(source))


def test_existing_targets(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    target.write_bytes(b"mine")
    with pytest.raises(OutputExists, match="--overwrite"):
        run(source, target)
    assert target.read_bytes() == b"mine"
    run(source, target, overwrite=True)
    assert len(target.read_bytes()) > 1000
    (tmp_path / "dir.mp4").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        check_target(tmp_path / "dir.mp4", True, probe(source))


def test_a_target_that_appears_meanwhile_is_not_replaced(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    with (
        pytest.raises(OutputExists),
        Reader(source) as reader,
        Writer(target, reader.info, source=source, settings=FAST) as writer,
    ):
        for frame in reader:
            writer.write(frame)
        target.write_bytes(b"theirs")
        writer.commit()
    assert target.read_bytes() == b"theirs"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "out.mp4"]


def test_folders_that_are_missing_or_read_only(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = state(source)
    with pytest.raises(OutputError, match="is not a folder"):
        check_target(tmp_path / "no" / "out.mp4", False, probe(source))
    opened = os.open
    nameless = getattr(os, "O_TMPFILE", os.O_CREAT)

    def refuse(path: str, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_CREAT or flags & nameless == nameless:
            raise PermissionError(13, "Permission denied", path)
        return opened(path, flags, mode)

    monkeypatch.setattr(os, "open", refuse)  # root may write anywhere, so the refusal is made here
    with pytest.raises(OutputError, match="read-only"):
        check_target(tmp_path / "out.mp4", False, probe(source))
    with pytest.raises(OutputError, match="read-only"):
        run(source, tmp_path / "out.mp4")
    monkeypatch.undo()
    untouched(source, before)


def test_a_full_disk(source: Path, tmp_path: Path) -> None:
    """A real refusal by the kernel: files of this process may not grow past a limit."""
    big = clip(tmp_path / "big.mp4", seconds=2, size="320x240", audio=[("aac",)])
    before = state(source)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    for kind in ("mp4", "mkv", "avi", "gif"):
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, old[1]))
            with pytest.raises(DiskFull, match="no space is left"):
                run(big, tmp_path / f"out.{kind}")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["big.mp4", "in"]
    untouched(source, before)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, SystemExit])
@pytest.mark.parametrize("nameless", [True, False])
def test_interruptions_leave_nothing(
    source: Path, tmp_path: Path, error: type[BaseException], nameless: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = state(source)
    if not nameless:
        monkeypatch.delattr(os, "O_TMPFILE")
    for kind in ("mp4", "mkv", "gif"):
        with pytest.raises(error), Reader(source) as reader:
            with Writer(tmp_path / f"out.{kind}", reader.info, source=source, settings=FAST) as writer:
                for frame in reader:
                    writer.write(frame)
                    assert len(list(tmp_path.glob(".out.deid-*"))) == (0 if nameless else 1)
                    if frame.index == 4:
                        raise error
    assert [p.name for p in tmp_path.iterdir()] == ["in"]
    untouched(source, before)


def test_outputs_without_and_with_a_hidden_name_are_the_same(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in ("mp4", "mkv", "gif"):
        run(source, tmp_path / f"nameless.{kind}")
        with monkeypatch.context() as patch:
            patch.delattr(os, "O_TMPFILE")
            run(source, tmp_path / f"hidden.{kind}")
        made = [(tmp_path / f"{name}.{kind}").read_bytes() for name in ("nameless", "hidden")]
        assert made[0] == made[1]


KILLED = """
import os, sys, time
if sys.argv[3] == "hidden":
    del os.O_TMPFILE
from deid.media import EncodeSettings, Reader, Writer
with Reader(sys.argv[1]) as reader, Writer(
    sys.argv[2], reader.info, source=sys.argv[1], settings=EncodeSettings(threads=1)
) as writer:
    for frame in reader:
        writer.write(frame)
        print("written", flush=True)
        time.sleep(30)
"""


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="no files without names")
def test_a_killed_run_leaves_nothing(source: Path, tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(source), str(tmp_path / "out.mp4"), "nameless"],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert child.stdout is not None and child.stdout.readline() == b"written\n"
    child.kill()
    child.wait()
    assert [p.name for p in tmp_path.iterdir()] == ["in"]


def test_what_a_killed_run_left_is_removed_by_the_next(source: Path, tmp_path: Path) -> None:
    """Where files have names from the beginning."""
    target = tmp_path / "out.mp4"
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(source), str(target), "hidden"],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert child.stdout is not None and child.stdout.readline() == b"written\n"
    left = list(tmp_path.glob(".out.deid-*.mp4"))
    assert len(left) == 1 and left[0].stat().st_mode & 0o777 == 0o600
    # While its owner lives, the file is not touched.
    other = Staged(str(target), overwrite=False)
    other.discard()
    assert left[0].exists()
    child.kill()
    child.wait()
    assert left[0].exists()
    stranger = tmp_path / ".out.deid-notes.mp4"
    stranger.write_bytes(b"keep")
    run(source, target)
    assert not left[0].exists()
    assert stranger.exists() and target.exists()


def test_the_output_gets_ordinary_rights(source: Path, tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        run(source, tmp_path / "out.mp4")
    finally:
        os.umask(old)
    assert (tmp_path / "out.mp4").stat().st_mode & 0o777 == 0o640


def test_very_long_names(source: Path, tmp_path: Path) -> None:
    run(source, tmp_path / ("x" * 250 + ".mp4"))
    assert len(list(tmp_path.glob("x*.mp4"))) == 1


def test_codecs_that_do_not_fit(source: Path, tmp_path: Path) -> None:
    for codec, name in (("hevc", "out.webm"), ("hevc", "out.avi"), ("av1", "out.avi")):
        settings = EncodeSettings(codec=codec, threads=2)
        with pytest.raises(UsageError, match="cannot hold"), Reader(source) as reader:
            Writer(tmp_path / name, reader.info, source=source, settings=settings)
    assert [p.name for p in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize(
    "options",
    [
        {"codec": "vp8"},
        {"preset": "turbo"},
        {"crf": 60},
        {"crf": -1},
        {"mark": "x"},
        {"watermark": " "},
        {"threads": -1},
    ],
)
def test_settings_that_make_no_sense(options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        EncodeSettings(**options)


def test_nothing_is_committed_without_a_frame(source: Path, tmp_path: Path) -> None:
    for name in ("out.mp4", "out.gif"):
        with pytest.raises(OutputError, match="nothing was written"), Reader(source) as reader:
            with Writer(tmp_path / name, reader.info, source=source, settings=FAST) as writer:
                writer.commit()
    assert [p.name for p in tmp_path.iterdir()] == ["in"]
