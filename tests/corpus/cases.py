"""The corpus of unusual, broken and hostile sources: made on the spot by real encoders and by surgery on their bytes.

A case names what it is, makes itself in an empty folder, and says what must come of it: an output with so many frames
of a size, at the source's own times, or a refusal with an exit code and words. ``benchmarks/fuzz.py`` takes its seeds
from here.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from mediagen import FFMPEG, clip, ffmpeg, vfr

__all__ = ["CASES", "FFMPEG", "Case", "Made", "Refused"]

X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "10")


@dataclass(frozen=True, slots=True)
class Made:
    """An output of ``frames`` frames of ``size`` (width, height), at the times of the source's main stream, or at
    ``times`` where these are not what PyAV alone would read. ``target``: the extension it is asked for."""

    frames: int
    size: tuple[int, int] = (96, 64)
    times: tuple[Fraction, ...] | None = None
    target: str = ".mp4"
    words: tuple[str, ...] = ()
    """What the notes and stream fates must say."""


@dataclass(frozen=True, slots=True)
class Refused:
    """One sentence that holds ``words``, this exit code, nothing written."""

    exit_code: int
    words: str


@dataclass(frozen=True, slots=True)
class Case:
    """``make``: gets an empty folder, returns the source's path."""

    name: str
    make: Callable[[Path], Path]
    outcome: Made | Refused
    options: tuple[str, ...] = ()


# Pictures and formats that are merely unusual


def _one_frame(folder: Path) -> Path:
    return clip(folder / "a.mp4", seconds=0.04)


def _fast(folder: Path) -> Path:
    return clip(folder / "a.mp4", rate=240, seconds=0.2, video=X264)


def _alpha_rgb(folder: Path) -> Path:
    return clip(folder / "a.mov", seconds=0.2, video=("-c:v", "qtrle"), pix_fmt="argb")


def _alpha_yuv(folder: Path) -> Path:
    return clip(folder / "a.mkv", seconds=0.2, video=("-c:v", "ffv1"), pix_fmt="yuva420p")


def _grey(folder: Path) -> Path:
    return clip(folder / "a.mp4", seconds=0.2, video=X264, pix_fmt="gray")


def _grey_deep(folder: Path) -> Path:
    return clip(folder / "a.mkv", seconds=0.2, video=("-c:v", "ffv1"), pix_fmt="gray10le")


def _black_and_white(folder: Path) -> Path:
    return clip(folder / "a.mov", seconds=0.2, video=("-c:v", "png"), pix_fmt="monob")


def _deep(folder: Path) -> Path:
    return clip(folder / "a.mp4", seconds=0.2, video=X264, pix_fmt="yuv420p10le")


def _odd(folder: Path) -> Path:
    return clip(folder / "a.mkv", seconds=0.2, video=("-c:v", "ffv1"), extra=("-vf", "scale=97:63"))


def _interlaced(folder: Path) -> Path:
    video = (*X264, "-flags", "+ildct+ilme", "-x264opts", "tff=1")
    return clip(folder / "a.mp4", seconds=0.4, video=video, extra=("-vf", "setfield=tff"))


def _rotated(folder: Path) -> Path:
    plain = clip(folder / "plain.mp4", seconds=0.2, video=X264)
    ffmpeg("-display_rotation", "90", "-i", plain, "-c", "copy", folder / "a.mp4")
    plain.unlink()
    return folder / "a.mp4"


def _tilted(folder: Path) -> Path:
    plain = clip(folder / "plain.mp4", seconds=0.2, video=X264)
    ffmpeg("-display_rotation", "30", "-i", plain, "-c", "copy", folder / "a.mp4")
    plain.unlink()
    return folder / "a.mp4"


def _cover_art(folder: Path) -> Path:
    plain = clip(folder / "plain.mp4", seconds=0.2, video=X264, audio=[("aac",)])
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x64:d=0.04", "-frames:v", "1", folder / "cover.png")
    ffmpeg(
        *("-i", plain, "-i", folder / "cover.png", "-map", "0", "-map", "1", "-c", "copy"),
        *("-disposition:v:1", "attached_pic", folder / "a.mp4"),
    )
    for name in ("plain.mp4", "cover.png"):
        (folder / name).unlink()
    return folder / "a.mp4"


def _two_pictures(folder: Path) -> Path:
    ffmpeg(
        *("-f", "lavfi", "-i", "testsrc2=s=64x48:d=0.2", "-f", "lavfi", "-i", "testsrc=s=96x64:d=0.2"),
        *("-map", "0", "-map", "1", *X264, "-pix_fmt", "yuv420p"),
        *("-disposition:v:0", "0", "-disposition:v:1", "default", folder / "a.mkv"),
    )
    return folder / "a.mkv"


def _wide_pixels(folder: Path) -> Path:
    return clip(folder / "a.mkv", seconds=0.2, video=X264, extra=("-vf", "setsar=64/45"))


# Times


def _negative_times(folder: Path) -> Path:
    plain = clip(folder / "plain.mp4", seconds=0.4, video=("-c:v", "mpeg4", "-bf", "0"))
    earlier = ("-output_ts_offset", "-0.2", "-avoid_negative_ts", "disabled")
    ffmpeg("-i", plain, "-c:v", "mpeg4", *earlier, folder / "a.mkv")
    plain.unlink()
    return folder / "a.mkv"


def _no_times(folder: Path) -> Path:
    return clip(folder / "a.h264", seconds=0.4, video=X264)


def _gaps(folder: Path) -> Path:
    return vfr(folder / "a.mkv", [0, 40, 80, 120_000, 120_040, 900_000], Fraction(1, 1000))


def _hours(folder: Path) -> Path:
    return vfr(folder / "a.mp4", [0, 1000, 2000], Fraction(1, 25_000), last=25_000 * 36_000)


def _every_tick(folder: Path) -> Path:
    """Ninety thousand frames a second, by its own word."""
    return vfr(folder / "a.mp4", list(range(30)), Fraction(1, 90_000), options={"bf": "0"})


def _far_jump(folder: Path) -> Path:
    return vfr(folder / "a.mkv", [0, 40, 80, 20_000_000], Fraction(1, 1000))


def _late(folder: Path) -> Path:
    return clip(folder / "a.mkv", seconds=0.2, video=X264, extra=("-output_ts_offset", "3600"))


def _empty_packets(folder: Path) -> Path:
    """AVI marks a frame that stays as it was by a packet without a byte."""
    ffmpeg(
        *("-f", "lavfi", "-i", "testsrc2=s=96x64:r=25:d=0.4", "-vf", "select=not(mod(n\\,3))", "-fps_mode", "vfr"),
        *("-c:v", "mpeg4", "-bf", "0", folder / "a.avi"),
    )
    return folder / "a.avi"


# Streams that change


def _joined(folder: Path, first: str, second: str, pix_fmt: str = "yuv420p") -> Path:
    a = clip(folder / "a.h264", seconds=0.4, size=first, video=X264)
    b = clip(folder / "b.h264", seconds=0.4, size=second, video=X264, pix_fmt=pix_fmt)
    (folder / "joined.h264").write_bytes(a.read_bytes() + b.read_bytes())
    for path in (a, b):
        path.unlink()
    return folder / "joined.h264"


def _grows(folder: Path) -> Path:
    return _joined(folder, "96x64", "192x128")


def _turns(folder: Path) -> Path:
    return _joined(folder, "96x64", "64x96")


def _changes_format(folder: Path) -> Path:
    return _joined(folder, "96x64", "96x64", "yuv444p")


def _grows_in_transport_stream(folder: Path) -> Path:
    a = clip(folder / "a.ts", seconds=0.4, size="96x64", video=X264)
    b = clip(folder / "b.ts", seconds=0.4, size="192x128", video=X264, extra=("-output_ts_offset", "0.4"))
    (folder / "joined.ts").write_bytes(a.read_bytes() + b.read_bytes())
    for path in (a, b):
        path.unlink()
    return folder / "joined.ts"


# Names that mislead


def _renamed(kind: str, name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        return clip(folder / f"plain.{kind}", seconds=0.2, video=X264).rename(folder / name)

    return make


def _picture_as_video(folder: Path) -> Path:
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=96x64:d=0.04", "-frames:v", "1", folder / "a.png")
    return (folder / "a.png").rename(folder / "a.mp4")


def _link(folder: Path) -> Path:
    (folder / "real").mkdir()
    clip(folder / "real" / "a.mp4", seconds=0.2, video=X264)
    (folder / "a.mp4").symlink_to(Path("real") / "a.mp4")
    return folder / "a.mp4"


def _dangling(folder: Path) -> Path:
    (folder / "a.mp4").symlink_to("gone.mp4")
    return folder / "a.mp4"


def _circular(folder: Path) -> Path:
    (folder / "a.mp4").symlink_to("a.mp4")
    return folder / "a.mp4"


def _pipe(folder: Path) -> Path:
    os.mkfifo(folder / "a.mp4")
    return folder / "a.mp4"


def _socket(folder: Path) -> Path:
    os.mknod(folder / "a.mp4", 0o140644)
    return folder / "a.mp4"


def _empty_folder(folder: Path) -> Path:
    (folder / "a.mp4").mkdir()
    return folder / "a.mp4"


def _folder_of_other_things(folder: Path) -> Path:
    (folder / "a").mkdir()
    (folder / "a" / "notes.txt").write_text("none")
    (folder / "a" / "b.png").mkdir()
    return folder / "a"


def _device(folder: Path) -> Path:
    (folder / "a.mp4").symlink_to("/dev/zero")
    return folder / "a.mp4"


# Files that lie


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _picture_bomb(folder: Path) -> Path:
    """A PNG of a few kilobytes that says that it has 3.6 gigapixels."""
    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(b"\0" * 100_000))
    (folder / "a.png").write_bytes(data + _chunk(b"IEND", b""))
    return folder / "a.png"


def _gif_bomb(folder: Path) -> Path:
    """A GIF of a few kilobytes whose screen has 256 megapixels."""
    path = clip(folder / "a.gif", seconds=0.2, video=(), pix_fmt=None)
    data = bytearray(path.read_bytes())
    data[6:10] = struct.pack("<HH", 16_000, 16_000)
    path.write_bytes(data)
    return path


def _jpeg_bomb(folder: Path) -> Path:
    path = clip(folder / "a.avi", seconds=0.2, video=("-c:v", "mjpeg"), pix_fmt="yuvj420p")
    data = bytearray(path.read_bytes())
    at = 0
    while (at := data.find(b"\xff\xc0\x00\x11\x08", at)) >= 0:
        data[at + 5 : at + 9] = struct.pack(">HH", 16_000, 16_000)
        at += 9
    path.write_bytes(data)
    return path


def _quicktime(folder: Path) -> tuple[Path, bytearray]:
    path = clip(folder / "a.mp4", seconds=0.4, video=X264, extra=("-movflags", "+faststart"))
    return path, bytearray(path.read_bytes())


def _many_samples(folder: Path) -> Path:
    """The table of samples says that there are two thousand million."""
    path, data = _quicktime(folder)
    at = data.index(b"stsz")
    data[at + 12 : at + 16] = struct.pack(">I", 0x7FFFFFFF)
    path.write_bytes(data)
    return path


def _large_samples(folder: Path) -> Path:
    """Every sample says that it has a gigabyte."""
    path, data = _quicktime(folder)
    at = data.index(b"stsz")
    data[at + 8 : at + 12] = struct.pack(">I", 0x40000000)
    path.write_bytes(data)
    return path


def _endless_box(folder: Path) -> Path:
    path, data = _quicktime(folder)
    at = data.index(b"mdat")
    data[at - 4 : at] = struct.pack(">I", 0xFFFFFFF0)
    path.write_bytes(data)
    return path


def _far_offsets(folder: Path) -> Path:
    path, data = _quicktime(folder)
    at = data.index(b"stco")
    data[at + 12 : at + 16] = struct.pack(">I", 0xFFFFFF00)
    path.write_bytes(data)
    return path


def _nested_boxes(folder: Path) -> Path:
    """Boxes in boxes, ten thousand deep."""
    data = b""
    for _ in range(10_000):
        data = struct.pack(">I", len(data) + 8) + b"moov" + data if len(data) < 60_000 else data
    (folder / "a.mp4").write_bytes(struct.pack(">I", 16) + b"ftypisom\0\0\0\0" + data)
    return folder / "a.mp4"


def _long_timestamp(folder: Path) -> Path:
    """A Matroska time of two hundred bytes."""
    path = clip(folder / "a.mkv", seconds=0.4, video=X264)
    data = path.read_bytes()
    at = data.index(b"\x1f\x43\xb6\x75")
    at = data.index(b"\xe7\x81", at)
    path.write_bytes(data[:at] + b"\xe7\x40\xc8" + b"\xff" * 200 + data[at + 3 :])
    return path


def _no_head(folder: Path) -> Path:
    path, data = _quicktime(folder)
    path.write_bytes(bytes(64) + data[64:])
    return path


def _head_alone(folder: Path) -> Path:
    path, data = _quicktime(folder)
    path.write_bytes(data[: data.index(b"mdat") + 4])
    return path


def _nameless_stream(folder: Path) -> Path:
    """A transport stream with packets of a stream that its table does not name, so that nobody knows what they are."""
    path = clip(folder / "a.ts", seconds=0.4, size="96x64", video=X264)
    data = path.read_bytes()
    stray = (b"\x47\x41\x20\x10" + b"\x00\x00\x01\xbd\x00\x00\x80\x00\x00").ljust(188, b"\xff")
    path.write_bytes(data[: 188 * 8] + stray + data[188 * 8 :])
    return path


def _rubbish_pictures(folder: Path) -> Path:
    """A whole container, and noise where the pictures were."""
    path, data = _quicktime(folder)
    at = data.index(b"mdat") + 4
    data[at:] = np.random.default_rng(3).bytes(len(data) - at)
    path.write_bytes(data)
    return path


def _ten_pixels(folder: Path) -> Path:
    return clip(folder / "a.mkv", seconds=0.2, size="96x8", video=("-c:v", "ffv1"))


MILLISECONDS = tuple(Fraction(n, 1000) for n in range(30))
"""The nearest that Matroska can tell apart."""
CASES = (
    Case("one frame", _one_frame, Made(1)),
    Case("240 frames a second", _fast, Made(48)),
    Case("alpha in RGB", _alpha_rgb, Made(5, words=("transparency is not kept",))),
    Case("alpha in Y'CbCr", _alpha_yuv, Made(5, words=("transparency is not kept",))),
    Case("grey", _grey, Made(5)),
    Case("grey of ten bits", _grey_deep, Made(5)),
    Case("black and white", _black_and_white, Made(5)),
    Case("ten bits", _deep, Made(5)),
    Case("odd size", _odd, Made(5, (97, 63))),
    Case("interlaced", _interlaced, Made(10, words=("interlaced",))),
    Case("rotated", _rotated, Made(5, (64, 96), words=("turned upright",))),
    Case("tilted", _tilted, Refused(3, "only quarter turns")),
    Case("cover art", _cover_art, Made(5, words=("a picture could show the face",))),
    Case("two video streams", _two_pictures, Made(5, words=("a further video stream would show the face",))),
    Case("wide pixels", _wide_pixels, Made(5)),
    Case("negative times", _negative_times, Made(10, words=("began before zero",))),
    Case("no times", _no_times, Made(10, times=tuple(Fraction(n, 25) for n in range(10)))),
    Case("gaps of minutes", _gaps, Made(6)),
    Case("a last frame of ten hours", _hours, Made(3)),
    Case("a frame every tick", _every_tick, Made(30)),
    Case("a frame every tick, into Matroska", _every_tick, Made(30, times=MILLISECONDS, target=".mkv")),
    Case("a jump of hours", _far_jump, Refused(3, "timestamps that jump")),
    Case("begins after an hour", _late, Made(5)),
    Case("packets without a byte", _empty_packets, Made(4)),
    Case("a size that grows", _grows, Refused(3, "changes from 96 x 64")),
    Case("a size that turns", _turns, Refused(3, "changes from 96 x 64")),
    Case("a format that changes", _changes_format, Refused(3, "changes from 96 x 64")),
    Case("a size that grows in a transport stream", _grows_in_transport_stream, Refused(4, "damaged")),
    Case("Matroska named .mp4", _renamed("mkv", "a.mp4"), Made(5)),
    Case("MP4 named .avi", _renamed("mp4", "a.avi"), Made(5)),
    Case("MP4 named .txt", _renamed("mp4", "a.txt"), Made(5)),
    Case("MP4 named .png", _renamed("mp4", "a.png"), Made(5)),
    Case("MP4 without an ending", _renamed("mp4", "film"), Made(5)),
    Case("a picture named .mp4", _picture_as_video, Made(1, target=".png")),
    Case("a link", _link, Made(5)),
    Case("a link to nowhere", _dangling, Refused(3, "does not exist")),
    Case("a link to itself", _circular, Refused(3, "cannot be read")),
    Case("a pipe", _pipe, Refused(3, "not a regular file")),
    Case("a socket", _socket, Refused(3, "cannot be read|not a regular file")),
    Case("a device", _device, Refused(3, "not a regular file")),
    Case("an empty folder", _empty_folder, Refused(3, "folder without images")),
    Case("a folder of other things", _folder_of_other_things, Refused(3, "folder without images")),
    Case("a picture that claims gigapixels", _picture_bomb, Refused(3, "megapixels")),
    Case("a GIF that claims 256 megapixels", _gif_bomb, Refused(3, "megapixels")),
    Case("JPEGs that claim 256 megapixels", _jpeg_bomb, Refused(4, "megapixels")),
    Case("milliards of samples", _many_samples, Refused(3, "not a video")),
    Case("samples of a gigabyte", _large_samples, Refused(4, "damaged|ends early|no frame can be decoded")),
    Case("a box that ends beyond the file", _endless_box, Made(10)),
    Case("samples beyond the end", _far_offsets, Refused(4, "damaged|ends early|no frame can be decoded")),
    Case("boxes in boxes", _nested_boxes, Refused(3, "not a video|no video stream|holds no")),
    Case("a time of two hundred bytes", _long_timestamp, Refused(3, "without a single frame")),
    Case("no head", _no_head, Refused(3, "not a video")),
    Case("a head alone", _head_alone, Refused(4, "ends early|no frame can be decoded|holds no frames")),
    Case("noise for pictures", _rubbish_pictures, Refused(4, "damaged|no frame can be decoded")),
    Case("a stream that no table names", _nameless_stream, Made(10, words=("it could tell the place",))),
    Case("a strip", _ten_pixels, Refused(3, "nothing smaller than 16 pixels")),
)


def huge(folder: Path) -> Path:
    """Two frames of 8K."""
    return clip(folder / "a.mp4", size="7680x4320", seconds=0.08, video=X264)
