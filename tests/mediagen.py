"""Small real clips for tests, made with real encoders, and readers of what came out."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
MILLISECOND = Fraction(1, 1000)


def ffmpeg(*arguments: str | Path) -> None:
    """Run the ffmpeg binary; fails the test when it does, and when it leaves no file."""
    done = subprocess.run(
        [FFMPEG, "-v", "error", "-nostdin", "-y", *map(str, arguments)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0 and Path(arguments[-1]).exists(), done.stderr


def clip(
    path: Path,
    *,
    size: str = "96x64",
    rate: int = 25,
    seconds: float = 1.0,
    video: Sequence[str] = ("-c:v", "libx264", "-preset", "ultrafast"),
    pix_fmt: str | None = "yuv420p",
    audio: Sequence[Sequence[str]] = (),
    extra: Sequence[str] = (),
    subtitles: Path | None = None,
) -> Path:
    """A moving test picture with one sine tone for each entry of ``audio`` (its encoder's arguments without a stream
    number)."""
    inputs = ["-f", "lavfi", "-i", f"testsrc2=s={size}:r={rate}:d={seconds}"]
    maps, codecs = ["-map", "0:v"], []
    for i, _ in enumerate(audio):
        inputs += ["-f", "lavfi", "-i", f"sine=f={300 + 200 * i}:d={seconds}:r=48000"]
        maps += ["-map", f"{i + 1}:a"]
        codecs += [f"-c:a:{i}", *audio[i]]
    if subtitles is not None:
        inputs += ["-i", str(subtitles)]
        maps += ["-map", f"{len(audio) + 1}:s"]
    pixels = ["-pix_fmt", pix_fmt] if pix_fmt else []
    ffmpeg(*inputs, *maps, *video, *pixels, *codecs, *extra, path)
    return path


def vfr(
    path: Path,
    pts: Sequence[int],
    time_base: Fraction,
    *,
    last: int = 1,
    codec: str = "libx264",
    size: tuple[int, int] = (96, 64),
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """A clip whose frames stand exactly at ``pts``; frame ``i`` is a grey ramp shifted by ``i``."""
    scale = {"video_track_timescale": str(time_base.denominator), "movie_timescale": str(time_base.denominator)}
    quicktime = path.suffix in (".mp4", ".mov")
    with av.open(str(path), "w", container_options=container_options or (scale if quicktime else {})) as out:
        stream = out.add_stream(codec, options=options or {})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        context = stream.codec_context
        context.time_base = stream.time_base = time_base
        context.framerate = Fraction(25)
        durations = {p: n - p for p, n in zip(pts, [*pts[1:], pts[-1] + last], strict=True)}
        for number, at in enumerate(pts):
            frame = av.VideoFrame(*size, "yuv420p")
            for i, plane in enumerate(frame.planes):
                ramp = (np.arange(plane.buffer_size) + 5 * number) % 200 + 20 if i == 0 else 128
                np.frombuffer(plane, np.uint8)[:] = ramp
            frame.pts, frame.time_base = at, time_base
            for packet in stream.encode(frame):
                packet.duration = durations[packet.pts]
                out.mux(packet)
        for packet in stream.encode(None):
            packet.duration = durations[packet.pts]
            out.mux(packet)
    return path


def spoken(frames: int) -> bytes:
    """An MPEG-TS of ``frames`` grey pictures of 320 x 240, 25 a second, with silent sound as long."""
    out = io.BytesIO()
    with av.open(out, "w", format="mpegts") as container:
        video = container.add_stream("libx264", rate=25, options={"tune": "zerolatency"})
        video.width, video.height, video.pix_fmt = 320, 240, "yuv420p"
        sound = container.add_stream("aac", rate=48000)
        for n in range(frames):
            picture = av.VideoFrame.from_ndarray(np.full((240, 320, 3), 4 * n, np.uint8), "rgb24")
            picture.pts, picture.time_base = n, Fraction(1, 25)
            container.mux(video.encode(picture))
            tone = av.AudioFrame.from_ndarray(np.zeros((1, 1920), np.float32), "fltp", "mono")
            tone.sample_rate, tone.pts = 48000, 1920 * n
            container.mux(sound.encode(tone))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))
    return out.getvalue()


def times(path: Path) -> list[Fraction]:
    """Presentation times of the decoded frames, in seconds, by PyAV alone."""
    with av.open(str(path)) as container:
        if container.format.name == "avi":
            container.flags &= ~av.container.core.Flags.gen_pts.value
            return [f.dts * f.time_base for f in container.decode(video=0)]
        return [f.pts * f.time_base for f in container.decode(video=0)]


def shown_times(path: Path) -> list[str]:
    """The same by the ffmpeg binary, an independent build: its ``showinfo`` lines, in seconds."""
    done = subprocess.run(
        [FFMPEG, "-hide_banner", "-nostdin", "-i", str(path), "-map", "0:v:0", "-vf", "showinfo", "-f", "null", "-"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    return [line.split("pts_time:")[1].split()[0] for line in done.stderr.splitlines() if "pts_time:" in line]


def track_end(path: Path) -> Fraction:
    """Length in seconds of what the first track of an MP4 or QuickTime file shows: its edit list where it has one (the
    media box also counts what reordering shifts), else its media box."""
    data = path.read_bytes()

    def long(box: bytes, offset: int) -> int:
        at = data.index(box) + 4
        assert data[at] == 0
        return int.from_bytes(data[at + offset : at + offset + 4], "big")

    if b"elst" in data and long(b"elst", 4) == 1:
        return Fraction(long(b"elst", 8), long(b"mvhd", 12))
    return Fraction(long(b"mdhd", 16), long(b"mdhd", 12))


def packets(path: Path, kind: str) -> list[list[tuple[Fraction, bytes]]]:
    """For every stream of ``kind``: (time in seconds, payload) of its packets."""
    with av.open(str(path)) as container:
        streams = [s for s in container.streams if s.type == kind]
        found: dict[int, list[tuple[Fraction, bytes]]] = {s.index: [] for s in streams}
        if streams:
            for packet in container.demux(streams):
                if packet.size:
                    found[packet.stream.index].append((packet.pts * packet.time_base, bytes(packet)))
    return list(found.values())


def samples(path: Path) -> list[tuple[np.ndarray, ...]]:
    """Planes of every frame, by PyAV's own conversion-free access."""
    out = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            planes = []
            deep = frame.format.components[0].bits > 8
            for plane in frame.planes[:3]:
                lines = np.frombuffer(plane, np.uint16 if deep else np.uint8).reshape(plane.height, -1)
                planes.append(lines[:, : plane.width].copy())
            out.append(tuple(planes))
    return out
