"""Frames of a source, in order, upright, each time the same."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from types import TracebackType

from ..errors import UnsupportedInput, UsageError
from ..types import Frame, MediaInfo
from .decode import Decoder, Deinterlacer, Picture
from .examine import examine_video, require_whole
from .pixels import PlaneReader

_SEEK_MARGIN = Fraction(2)
"""Seconds before ``start`` to seek to: seeking goes by decoding times, which run behind the times of presentation."""


class Reader:
    """Iterate over the :class:`Frame`s of ``path`` (what :func:`probe` takes), as often as needed: every pass gives the
    same frames with the same indices.

    ``start`` and ``end``: seconds after the clip's first frame; frames with ``start <= t < end`` are read and counted
    from 0. ``max_height``: scale down, once, when the upright picture is higher. ``salvage``: mark damage instead of
    raising. ``threads``: decoder threads, 0 for as many as there are cores.

    ``info`` describes the frames that are read (scaled size, converted format). ``notes`` grows sentences about what a
    pass met. Raises what :func:`probe` raises, and :class:`DamagedInput` for damage without ``salvage``."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        start: float | None = None,
        end: float | None = None,
        max_height: int | None = None,
        salvage: bool = False,
        threads: int = 0,
    ) -> None:
        from .images import ImageFrames, examine_images, is_image_source

        name = os.fspath(path)
        self._range = _checked_range(start, end)
        self._salvage, self._threads = salvage, threads
        self.notes: tuple[str, ...] = ()
        self._images: ImageFrames | None = None
        if max_height is not None and max_height < 16:
            raise UsageError(f"a maximum height of {max_height} is too small: give at least 16.")
        if is_image_source(name):
            self._images = ImageFrames(examine_images(name, max_height))
            self.info: MediaInfo = self._images.info
        else:
            self._source = examine_video(name, max_height)
            self.info = self._source.info
            if not salvage:
                require_whole(self._source)

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to close: every pass opens the source for itself."""

    def __iter__(self) -> Iterator[Frame]:
        frames = self._images.frames(*self._range) if self._images is not None else self._video_frames()
        count = 0
        for count, frame in enumerate(frames, 1):  # noqa: B007
            yield frame
        if not count and self._range != (None, None):
            length = "" if self.info.seconds is None else f", which is {self.info.seconds:.2f} s long"
            raise UsageError(f"the chosen range holds no frame of {self.info.path}{length}: check --start and --end.")

    def _video_frames(self) -> Iterator[Frame]:
        start = self._range[0]
        if start is not None and start > 2 * _SEEK_MARGIN and self.info.container in ("mp4", "mov", "mkv", "webm"):
            decoder = self._decoder(start - _SEEK_MARGIN)
            pictures = decoder.pictures()
            head = next(pictures, None)
            if head is not None and self._seconds(head.pts) <= start:
                yield from self._frames(decoder, _chain(head, pictures))
                return
        decoder = self._decoder(None)
        yield from self._frames(decoder, decoder.pictures())

    def _decoder(self, seek: Fraction | None) -> Decoder:
        target = None
        if seek is not None:
            target = self._source.first_pts + int(seek / self.info.time_base)
        return Decoder(self.info.path, salvage=self._salvage, threads=self._threads, seek=target)

    def _seconds(self, pts: int) -> Fraction:
        return (pts - self._source.first_pts) * self.info.time_base

    def _frames(self, decoder: Decoder, pictures: Iterator[Picture]) -> Iterator[Frame]:
        start, end = self._range
        planes = PlaneReader(self._source.plan)
        base = self.info.time_base
        held: Picture | None = None
        index, gap = 0, 0
        for picture in Deinterlacer().run(pictures, base):
            self._require_same(picture)
            if held is not None:
                gap = picture.pts - held.pts
                yield self._frame(index, held, gap, planes)
                index += 1
                held = None
            seconds = self._seconds(picture.pts)
            if end is not None and seconds >= end:
                break
            if start is None or seconds >= start:
                held = picture
        if held is not None:
            yield self._frame(index, held, _last_duration(decoder, held, gap), planes)
        if decoder.rewritten:
            self.notes = (f"{decoder.rewritten} timestamps that did not increase were moved by the least amount",)

    def _frame(self, index: int, picture: Picture, duration: int | None, planes: PlaneReader) -> Frame:
        return Frame(
            index=index,
            pts=picture.pts,
            time_base=self.info.time_base,
            duration=duration,
            planes=planes.planes(picture.frame),
            format=self.info.format,
            damaged=picture.damaged,
        )

    def _require_same(self, picture: Picture) -> None:
        plan, frame = self._source.plan, picture.frame
        if (frame.width, frame.height) != plan.size or frame.format.name != plan.source:
            seconds = float(self._seconds(picture.pts))
            raise UnsupportedInput(
                f"{self.info.path} changes from {plan.size[0]} x {plan.size[1]} ({plan.source}) to "
                f"{frame.width} x {frame.height} ({frame.format.name}) at {seconds:.2f} s: split it there, and process "
                "the parts one by one."
            )


def _chain(head: Picture, rest: Iterator[Picture]) -> Iterator[Picture]:
    yield head
    yield from rest


def _last_duration(decoder: Decoder, picture: Picture, gap: int) -> int | None:
    """How long the last frame stays: QuickTime and MP4 tell it by the track's end (a sample's own duration counts in
    decoding order); others by the frame itself; failing both, as long as the frame before."""
    own = picture.duration or gap
    if decoder.end is not None:
        rest = decoder.end - picture.pts
        # Headers can claim hours that do not exist; unevenness moves an end by less than this.
        if 0 < rest <= 2 * max(own, gap, int(1 / decoder.time_base)):
            return rest
    return own or None


def _checked_range(start: float | None, end: float | None) -> tuple[Fraction | None, Fraction | None]:
    if start is not None and start < 0:
        raise UsageError(f"--start {start:g} lies before the clip: give seconds from its first frame.")
    if end is not None and end <= (start or 0):
        raise UsageError(f"--end {end:g} does not lie after --start {start or 0:g}: give a later end.")
    exact = [None if v is None else Fraction(v).limit_denominator(1_000_000) for v in (start, end)]
    return exact[0], exact[1]
