"""Writing images, folders of images, and animated GIFs."""

from __future__ import annotations

import os
from fractions import Fraction

import av
import numpy as np
from av.container.core import Flags
from av.filter import Graph
from av.video.frame import VideoFrame

from ..errors import OutputError
from ..types import Frame, MediaInfo
from . import mark
from .convert import rgb8
from .images import list_images, save_image
from .pixels import RGB_CARRIER, rgb_to_carrier
from .settings import EncodeSettings
from .structure import gif_structure
from .watermark import Watermark

_CENTISECOND = Fraction(1, 100)
_LONGEST_DELAY = 0xFFFF


class ImageSink:
    """One image, or a folder of them named like the source's files."""

    def __init__(self, path: str, folder: bool, extension: str, info: MediaInfo, settings: EncodeSettings) -> None:
        self._path, self._extension, self._settings = path, extension, settings
        self._xmp = mark.xmp(settings.mark) if settings.mark is not None else None
        self._files = list_images(info.path)[0] if info.kind == "folder" else (info.path,)
        self._is_folder = folder
        self._watermark = _watermark(settings, info)
        self.notes: list[str] = []
        self.streams = info.streams
        self._count = 0

    def write(self, frame: Frame) -> None:
        # A frame's time is its file's number, whatever range was chosen.
        like = self._files[frame.pts]
        path = os.path.join(self._path, os.path.basename(like)) if self._is_folder else self._path
        if self._extension in (".bmp",) and self._xmp is not None and not self._count:
            self.notes.append("bmp holds no mark")
        planes = frame.planes
        if self._watermark is not None:
            copies = [p.copy() for p in planes]
            self._watermark.draw(copies)
            planes = tuple(copies)
        save_image(path, planes, like, self._xmp, None if self._is_folder else self._extension)
        self._count += 1

    def finish(self) -> None:
        if not self._count:
            raise OutputError("nothing was written: the source gave no frame.")

    def close(self) -> None:
        """Nothing is held open."""


class GifSink:
    """An animated GIF with a palette for each frame and the delays of the frames, in hundredths of a second."""

    def __init__(self, path: str, info: MediaInfo, settings: EncodeSettings) -> None:
        self._path, self._info, self._settings = path, info, settings
        self.notes: list[str] = []
        self.streams = info.streams
        loops = gif_structure(info.path).loops if info.container == "gif" else 0
        # FFmpeg's option counts from -1, "play once".
        self._out = av.open(path, "w", format="gif", container_options={"loop": str(-1 if loops is None else loops)})
        self._out.flags |= Flags.bitexact.value
        self._stream = self._out.add_stream("gif")
        self._stream.width, self._stream.height, self._stream.pix_fmt = info.width, info.height, "pal8"
        self._stream.codec_context.time_base = self._stream.time_base = _CENTISECOND
        self._graph: Graph | None = None
        self._watermark = _watermark(settings, info)
        self._last: int | None = None
        self._delay = 10
        self._rounded = False

    def write(self, frame: Frame) -> None:
        exact = frame.pts * frame.time_base / _CENTISECOND
        pts = round(exact)
        self._rounded = self._rounded or pts != exact
        if self._last is not None and pts <= self._last:
            pts = self._last + 1
        self._last = pts
        length = (frame.duration or 1) * frame.time_base / _CENTISECOND
        self._delay = min(_LONGEST_DELAY, max(1, round(length)))
        picture = self._picture(frame)
        picture.pts, picture.time_base = pts, _CENTISECOND
        for packet in self._stream.encode(self._paletted(picture, pts)):
            self._out.mux(packet)

    def _picture(self, frame: Frame) -> VideoFrame:
        rgb = rgb8(frame)
        if self._watermark is not None:
            planes = [p.copy() for p in rgb_to_carrier(rgb)]
            self._watermark.draw(planes)
            from .pixels import carrier_to_rgb

            rgb = carrier_to_rgb(tuple(planes))
        return VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")

    def _paletted(self, picture: VideoFrame, pts: int) -> VideoFrame:
        if self._graph is None:
            graph = Graph()
            source = graph.add_buffer(
                width=picture.width, height=picture.height, format=picture.format, time_base=_CENTISECOND
            )
            split = graph.add("split")
            generate = graph.add("palettegen", "stats_mode=single:reserve_transparent=0")
            use = graph.add("paletteuse", "new=1:dither=none")
            sink = graph.add("buffersink")
            source.link_to(split)
            split.link_to(generate, 0, 0)
            split.link_to(use, 1, 0)
            generate.link_to(use, 0, 1)
            use.link_to(sink)
            graph.configure()
            self._graph = graph
        self._graph.push(picture)
        out = self._graph.pull()
        out.pts, out.time_base = pts, _CENTISECOND
        return out

    def finish(self) -> None:
        if self._last is None:
            raise OutputError(f"nothing was written: {self._info.path} gave no frame.")
        for packet in self._stream.encode(None):
            self._out.mux(packet)
        self._out.close()
        if self._rounded:
            self.notes.append("gif counts in hundredths of a second: times are rounded")
        self._set_last_delay()
        if self._settings.mark is not None:
            mark.insert_in_gif(self._path, self._settings.mark)

    def _set_last_delay(self) -> None:
        """FFmpeg repeats the delay before; the last frame has its own."""
        control = gif_structure(self._path).last_control
        if control is None:
            return
        with open(self._path, "r+b") as f:
            f.seek(control + 4)
            f.write(self._delay.to_bytes(2, "little"))

    def close(self) -> None:
        try:
            self._out.close()
        except (av.error.FFmpegError, ValueError, OSError):
            pass


def _watermark(settings: EncodeSettings, info: MediaInfo) -> Watermark | None:
    if settings.watermark is None:
        return None
    return Watermark(settings.watermark, info.width, info.height, RGB_CARRIER)
