"""Opening sources: the one place where FFmpeg's errors about inputs become this package's."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

import av
from av.container import InputContainer
from av.container.core import Flags
from av.error import FFmpegError
from av.stream import Disposition
from av.video.stream import VideoStream

from ..errors import DamagedInput, InputNotFound, NotMedia, NoVideoStream, UnsupportedInput
from .structure import extent, gif_pixels

# Everything else that FFmpeg would open is refused: playlists and "concat" scripts fetch other files or addresses, and
# text becomes "ANSI art" video.
DEMUXERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,gif,h264,hevc,av1,obu,ivf,mpegts,mpeg,mpegvideo,m4v,flv,asf,ogg,mxf,dv,"
    "nut,wav,mp3,aac,flac,aiff,amr,ac3,w64,caf,y4m,yuv4mpegpipe,mjpeg,apng,rm,wtv"
)
RAW_DEMUXERS = frozenset({"h264", "hevc", "m4v", "mpegvideo", "mjpeg", "av1", "obu"})
"""Bare codec streams: they carry no timestamps."""
MOST_PIXELS = 1 << 26
"""Of one frame: twice 8K. A file of a few bytes can claim pictures that fill any memory, several of them at once."""


@contextmanager
def opened(path: str, *, generate_pts: bool = True) -> Iterator[InputContainer]:
    """Open ``path`` for reading. ``generate_pts=False`` keeps FFmpeg from guessing presentation times for containers
    that store none; its guess for H.264 in AVI is one frame late.

    Raises :class:`InputNotFound`, :class:`NotMedia` and, for a file that its recorder never finished,
    :class:`DamagedInput`."""
    require_file(path)
    if (pixels := gif_pixels(path)) > MOST_PIXELS:  # FFmpeg would draw the first picture to learn about it
        raise too_large(path, f"{pixels >> 20} million")
    try:
        # The explicit protocol keeps a colon in a file name from being read as one.
        container = av.open(
            "file:" + os.path.abspath(path),
            format="mjpeg" if _is_jpeg(path) else None,
            metadata_errors="replace",
            container_options={
                "format_whitelist": DEMUXERS,
                "protocol_whitelist": "file",
                "min_delay": "1",  # a GIF delay of 1/100 s is one: browsers' floor is not part of the file
            },
        )
    except (FFmpegError, ValueError, EOFError) as e:
        raise _explain(path, e) from e
    if not generate_pts:
        container.flags &= ~Flags.gen_pts.value
    try:
        yield container
    finally:
        container.close()


def _is_jpeg(path: str) -> bool:
    """Whether a file begins as a JPEG picture. Still images never come here, so it is a row of them: FFmpeg would take
    it for pictures from a pipe."""
    with open(path, "rb") as f:
        return f.read(3) == b"\xff\xd8\xff"


def require_file(path: str) -> None:
    """Refuse what is no readable, non-empty file before any library sees it."""
    name = os.fspath(path)
    try:
        mode = os.stat(name)
        if stat.S_ISREG(mode.st_mode):  # opening a pipe would wait for somebody to write
            with open(name, "rb"):
                pass
    except FileNotFoundError as e:
        raise InputNotFound(f"{name} does not exist: check the path.") from e
    except PermissionError as e:
        raise InputNotFound(f"{name} cannot be read: you have no permission to open it.") from e
    except OSError as e:
        raise InputNotFound(f"{name} cannot be read: {e.strerror}.") from e
    if stat.S_ISDIR(mode.st_mode):
        raise NotMedia(f"{name} is a folder where a file is needed.")
    if not stat.S_ISREG(mode.st_mode):
        raise NotMedia(f"{name} is not a regular file: record it to a file first, it is read more than once.")
    if not mode.st_size:
        raise NotMedia(f"{name} is empty: it holds no media.")


def too_large(path: str, pixels: str) -> UnsupportedInput:
    return UnsupportedInput(
        f"{path} says that its pictures have {pixels} pixels: nothing above {MOST_PIXELS >> 20} megapixels is "
        "processed, scale it down first."
    )


def _explain(path: str, error: Exception) -> Exception:
    if isinstance(error, MemoryError):  # FFmpeg's answer to a file that announces tables of gigabytes
        return DamagedInput(f"{path} cannot be opened (it announces more than memory holds): get an intact copy.")
    found = extent(path)
    if isinstance(error, EOFError) and not found.missing:
        return NoVideoStream(f"{path} holds no frames: there is nothing to de-identify.")
    if isinstance(error, EOFError):
        return DamagedInput(f"{path} ends early, before its first frame: get an intact copy.")
    if found.index_missing:
        return DamagedInput(
            f"{path} ends before its index (the recording was not finished or the copy was cut short): nothing in it "
            "can be read, copy it again or repair it with a recovery tool."
        )
    return NotMedia(f"{path} is not a video or image that can be opened: check that it is the right file.")


def main_video(container: InputContainer, path: str) -> VideoStream:
    """The video stream to work on: the default one, else the first. Cover art, thumbnails and streams that no decoder
    knows do not count. Raises :class:`NoVideoStream`."""
    streams = [s for s in container.streams.video if is_moving(s)]
    if not streams:
        raise NoVideoStream(f"{path} holds no video stream: there is nothing to de-identify.")
    default = [s for s in streams if s.disposition & Disposition.default]
    return (default or streams)[0]


def is_moving(stream: VideoStream) -> bool:
    """True for a stream of frames, False for a picture that decorates the file or a codec nobody can decode."""
    pictures = Disposition.attached_pic | Disposition.timed_thumbnails
    return not stream.disposition & pictures and stream.codec_context is not None


def stream_kind(stream: av.stream.Stream) -> str:
    """``video``, ``audio``, ``subtitle``, ``attachment`` or ``data``. The last also where FFmpeg does not know what a
    stream is: PyAV's own ``type`` then follows a null pointer."""
    return "data" if type(stream) is av.stream.Stream else str(stream.type)


def codec_name(stream: av.stream.Stream) -> str:
    """FFmpeg's name of the stream's codec (not of the decoder: ``mp3``, not ``mp3float``)."""
    context = stream.codec_context
    if context is None:
        return getattr(stream, "name", None) or "unknown"
    return context.codec.canonical_name
