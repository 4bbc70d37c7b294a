"""What a source holds: headers, and the first few pictures for what headers do not tell."""

from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from ..errors import DamagedInput, NoVideoStream
from ..types import MediaInfo, StreamInfo
from . import colour
from .decode import Decoder, Picture, raw_rate
from .pixels import Look, PixelPlan, plan_pixels, turn_of
from .source import (
    MOST_PIXELS,
    RAW_DEMUXERS,
    codec_name,
    is_moving,
    main_video,
    opened,
    require_file,
    stream_kind,
    too_large,
)
from .structure import extent

_LOOK_AT = 4
"""Pictures decoded to learn about rotation and interlacing."""


@dataclass(frozen=True, slots=True)
class VideoSource:
    """A probed video file: ``info`` as the reader will deliver it, the pixel plan, and the first picture's time."""

    info: MediaInfo
    plan: PixelPlan
    first_pts: int


def examine_video(path: str, max_height: int | None = None) -> VideoSource:
    """Probe a video file. Raises the input errors; damage beyond the first pictures goes unnoticed here."""
    require_file(path)
    status = os.stat(path)
    return _examined(path, max_height, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=8)
def _examined(path: str, max_height: int | None, size: int, changed: int) -> VideoSource:
    """Cached, because every pass of a run asks; ``size`` and ``changed`` only tell versions of a file apart."""
    with opened(path) as container:
        _require_possible(path, main_video(container, path))
    decoder = Decoder(path, salvage=True, threads=1)
    pictures = decoder.head(_LOOK_AT)
    with opened(path) as container:
        stream = main_video(container, path)
        if not pictures:
            said = extent(path)
            if stream.frames or said.missing or said.holes or _has_packets(container, stream):
                raise DamagedInput(
                    f"{path} holds video of which no frame can be decoded (it is broken, or has more than "
                    f"{MOST_PIXELS >> 20} megapixels): get an intact copy."
                )
            raise NoVideoStream(f"{path} has a video stream without a single frame: there is nothing to de-identify.")
        return _describe(path, container, stream, decoder, pictures, max_height)


def _require_possible(path: str, stream: VideoStream) -> None:
    context = stream.codec_context
    if context.width * context.height > MOST_PIXELS:
        raise too_large(path, f"{context.width} x {context.height}")


def _describe(
    path: str,
    container: InputContainer,
    stream: VideoStream,
    decoder: Decoder,
    pictures: list[Picture],
    max_height: int | None,
) -> VideoSource:
    first = pictures[0].frame
    context = stream.codec_context
    turn = turn_of(first, path)
    name = container.format.name
    look = Look(colour.RANGES.get(context.color_range, "unknown"), colour.SPACES.get(context.colorspace, "unknown"))
    plan, look = plan_pixels(path, first, look, turn, lossless_rgb=name == "gif", max_height=max_height)
    interlaced = any(p.frame.interlaced_frame for p in pictures)
    notes = [*plan.notes, *_notes(name, stream, pictures, interlaced)]
    if turn.degrees or turn.mirrored:
        notes.append(
            f"turned upright ({turn.degrees} degrees{', mirrored' if turn.mirrored else ''}); the tag is dropped"
        )
    ratio = Fraction(stream.sample_aspect_ratio or 1)
    info = MediaInfo(
        path=path,
        kind="video",
        container=_container_name(name, container, path),
        codec=codec_name(stream),
        width=plan.upright[0],
        height=plan.upright[1],
        rotation=turn.degrees,
        mirrored=turn.mirrored,
        sample_aspect_ratio=1 / ratio if turn.transpose else ratio,
        format=plan.format,
        color_range=look.range,
        color_space=look.space,
        color_primaries=colour.PRIMARIES.get(context.color_primaries, "unknown"),
        color_transfer=colour.TRANSFERS.get(context.color_trc, "unknown"),
        time_base=decoder.time_base,
        average_rate=raw_rate(stream) if name in RAW_DEMUXERS else stream.average_rate or stream.guessed_rate,
        frames=stream.frames or None,
        seconds=_seconds(container, stream),
        interlaced=interlaced,
        streams=tuple(_stream_info(s, stream) for s in container.streams),
        chapters=len(container.chapters()),
        notes=tuple(notes),
        first_pts=pictures[0].pts,
    )
    return VideoSource(info, plan, pictures[0].pts)


def _notes(container: str, stream: VideoStream, pictures: list[Picture], interlaced: bool) -> list[str]:
    notes = []
    if interlaced:
        notes.append("interlaced: fields are merged into whole frames (bwdif) at the same frame rate")
    if container in RAW_DEMUXERS:
        notes.append(f"no timestamps in this format: {float(raw_rate(stream)):g} frames a second are assumed")
    kinds = {s.type.name for p in pictures for s in p.frame.side_data}
    if "A53_CC" in kinds:
        notes.append("closed captions inside the video stream are not kept")
    if kinds & {"MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL"}:
        notes.append("HDR mastering values are not kept; the colour tags are")
    if any(k.startswith(("DOVI", "DYNAMIC_HDR")) for k in kinds):
        notes.append("dynamic HDR metadata (Dolby Vision, HDR10+) is not kept")
    return notes


def _has_packets(container: InputContainer, stream: VideoStream) -> bool:
    try:
        return any(p.size for p in container.demux(stream))
    except av.error.FFmpegError:
        return True


def _seconds(container: InputContainer, stream: VideoStream) -> float | None:
    if stream.duration is not None and container.format.name not in RAW_DEMUXERS:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration else None


def _container_name(name: str, container: InputContainer, path: str) -> str:
    if name.startswith("mov"):
        return "mov" if container.metadata.get("major_brand", "").startswith("qt") else "mp4"
    if name.startswith("matroska"):
        return "webm" if path.lower().endswith(".webm") else "mkv"
    return name


def _stream_info(stream: av.stream.Stream, chosen: VideoStream) -> StreamInfo:
    kind = stream_kind(stream)
    fate, why = "copied", ""
    if stream.index == chosen.index:
        fate = "processed"
    elif kind == "video":
        fate = "dropped"
        why = "a further video stream would show the face" if is_moving(stream) else "a picture could show the face"
    elif kind not in ("audio", "subtitle"):
        fate, why = "dropped", "it could tell the place, the device or the time"
    elif stream.codec_context is None:
        fate, why = "dropped", "its codec is not known"
    if kind == "video" and stream.disposition & Disposition.attached_pic:
        kind = "attachment"
    return StreamInfo(stream.index, kind, codec_name(stream), stream.language, fate, why)


def require_whole(source: VideoSource) -> None:
    """Raise :class:`DamagedInput` when the container announces more than the file holds."""
    path = source.info.path
    found = extent(path)
    if found.holes and not found.missing:
        seconds = found.holes[0][0] - float(source.first_pts * source.info.time_base)
        raise DamagedInput(
            f"{path} is damaged at about {max(0.0, seconds):.2f} s (its container is broken there): get an intact "
            "copy, or use --salvage, which obscures whole frames around the damage."
        )
    if not found.missing:
        return
    count, last, cut = 0, None, False
    with opened(path) as container:
        stream = main_video(container, path)
        claimed = stream.frames
        try:
            for packet in container.demux(stream):
                if packet.size:
                    count, cut = count + 1, cut or packet.is_corrupt
                    last = max(last or 0, packet.pts if packet.pts is not None else (packet.dts or 0))
        except av.error.FFmpegError:
            cut = True
        if container.format.name.startswith("mov") and claimed and count >= claimed and not cut:
            return  # only padding is missing
        seconds = 0.0 if last is None else float((last - source.first_pts) * stream.time_base)
    raise DamagedInput(
        f"{path} ends early (the file was cut off at about {max(0.0, seconds):.2f} s): get an intact copy, or use "
        "--salvage to keep what is left."
    )


def probe(path: str | os.PathLike[str]) -> MediaInfo:
    """What ``path`` holds: a video file, an animated GIF, a single image, or a folder of images of one size in natural
    sort order. Reads headers and the first few pictures.

    Raises :class:`InputNotFound`, :class:`NotMedia`, :class:`NoVideoStream`, :class:`UnsupportedInput` or, where not
    even the headers are whole, :class:`DamagedInput`."""
    from .images import examine_images, is_image_source

    name = os.fspath(path)
    if is_image_source(name):
        return examine_images(name).info
    return examine_video(name).info
