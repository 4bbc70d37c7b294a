"""One way to write whatever the target is: everything or nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType

from av.error import FFmpegError

from ..errors import DeidError, OutputError, UnsupportedInput
from ..types import Frame, MediaInfo, StreamInfo
from .image_sink import GifSink, ImageSink
from .parts import Encoding, Part, encoding_of, join
from .settings import EncodeSettings
from .sidestreams import other_kind_streams
from .target import Staged, as_output_error, check_target, target_kind
from .video_sink import VideoSink


class Writer:
    """Write frames to ``target`` in a container that its extension names: mp4, m4v, mov, mkv, webm, avi, gif, an image,
    or a folder of images.

    ``info``: the reader's. ``source``: where sound, subtitles and chapters come from (usually ``info.path``), or
    ``None`` for none. ``start`` and ``end``: the range that the reader was given, in seconds; the side streams are cut
    to it and the time line then begins at zero. Without them every time stays as it is in the source.

    ``inspect``: is shown the finished file (or folder) before it gets its name, and may raise to leave no output.

    Use as a context manager: :meth:`write` each frame in order, then :meth:`commit`. Leaving without a commit removes
    everything that was written. ``streams`` tells every source stream's fate, ``notes`` what was decided or converted.

    Raises :class:`UsageError`, :class:`OutputExists`, :class:`OutputError`, :class:`DiskFull`, and
    :class:`UnsupportedInput` where no encoder takes the frames."""

    def __init__(
        self,
        target: str | os.PathLike[str],
        info: MediaInfo,
        *,
        source: str | os.PathLike[str] | None,
        settings: EncodeSettings,
        start: float | None = None,
        end: float | None = None,
        overwrite: bool = False,
        inspect: Callable[[Path], None] | None = None,
    ) -> None:
        self._inspect, self._finished = inspect, False
        self.target = os.fspath(target)
        check_target(self.target, overwrite, info)
        self._info = info
        kind = target_kind(self.target, info)
        self._staged = Staged(self.target, overwrite=overwrite, folder=kind == "folder")
        self._sink: VideoSink | GifSink | ImageSink | None = None
        try:
            self._sink = self._open(kind, None if source is None else os.fspath(source), settings, start, end)
        except BaseException as e:
            self.abort()
            if isinstance(e, DeidError) or not isinstance(e, Exception):
                raise
            raise self._explain(e) from e

    def _open(
        self, kind: str, source: str | None, settings: EncodeSettings, start: float | None, end: float | None
    ) -> VideoSink | GifSink | ImageSink:
        if kind in ("image", "folder"):
            extension = os.path.splitext(self.target)[1].lower()
            return ImageSink(self._staged.path, kind == "folder", extension, self._info, settings)
        if kind == "gif":
            return GifSink(self._staged.path, self._info, settings)
        sound = source if self._info.kind == "video" else None
        return VideoSink(self._staged.path, kind, self._info, sound, settings, start, end)

    @property
    def streams(self) -> tuple[StreamInfo, ...]:
        """The source's streams with their fates."""
        assert self._sink is not None
        if isinstance(self._sink, GifSink):
            return other_kind_streams(self._sink.streams, "gif")
        return self._sink.streams

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for the report."""
        assert self._sink is not None
        return tuple(self._sink.notes)

    def write(self, frame: Frame) -> None:
        """Encode ``frame``; frames come in the order of their times."""
        assert self._sink is not None
        try:
            self._sink.write(frame)
        except DeidError:
            raise
        except (FFmpegError, OSError, ValueError, OverflowError) as e:
            raise self._explain(e) from e

    def encoding(self, first: Fraction) -> Encoding | None:
        """What encoders of parts have to know for :meth:`join`, ``None`` where the target takes no parts. ``first``:
        the time of the first frame, in seconds."""
        return encoding_of(self._sink, first) if isinstance(self._sink, VideoSink) else None

    def join(self, first: Fraction, parts: Sequence[tuple[int, Part]]) -> None:
        """Take what was encoded in parts, (open file, part) in order of time, in place of :meth:`write`."""
        assert isinstance(self._sink, VideoSink)
        try:
            join(self._sink, first, parts)
        except (FFmpegError, OSError, ValueError, OverflowError) as e:
            raise self._explain(e) from e

    def finish(self) -> Path:
        """Finish the file, which has no name yet; where it can be read until then. Nothing can be written any more."""
        assert self._sink is not None
        if self._finished:
            return Path(self._staged.path)
        try:
            self._sink.finish()
        except DeidError:
            raise
        except (FFmpegError, OSError, ValueError, OverflowError) as e:
            raise self._explain(e) from e
        self._finished = True
        return Path(self._staged.path)

    def commit(self) -> None:
        """Finish the file, bring it to the disk, and give it its name."""
        self.finish()
        if self._inspect is not None:
            self._inspect(Path(self._staged.path))
        self._staged.commit()

    def abort(self) -> None:
        """Remove everything that was written, unless it was committed."""
        if self._sink is not None:
            self._sink.close()
        self._staged.discard()

    def _explain(self, error: Exception) -> DeidError:
        if isinstance(error, OSError):
            return as_output_error(self.target, error)
        message = getattr(error, "strerror", None) or str(error)
        if self._info.kind == "video" and isinstance(error, FFmpegError):
            return UnsupportedInput(
                f"{self._info.path} ({self._info.width} x {self._info.height}, {self._info.format.name}) cannot be "
                f"encoded for {self.target} ({message}): try {self._instead()}."
            )
        return OutputError(f"{self.target} cannot be written ({message}): choose another target or format.")

    def _instead(self) -> str:
        """What may help where a container takes something not, as far as it is not what was asked for."""
        ways = ["another --codec"]
        if target_kind(self.target, self._info) != "mkv":
            ways.append("an .mkv target")
        if any(s.kind == "audio" and s.fate != "dropped" for s in self.streams):
            ways.append("--audio drop, in case it is the sound")
        return ways[0] if len(ways) == 1 else f"{', '.join(ways[:-1])} or {ways[-1]}"

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()
