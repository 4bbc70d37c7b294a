"""A video encoded in parts, by encoders that know nothing of one another, and joined without a seam.

Every part begins with a picture that refers to nothing before it, and ends with one that nothing after it refers to, as
an encoder's first and last do; so parts may follow one another in one stream as they are, if the encoders were set up
alike (which is looked at) and decoding times run on. These are told anew: in a stream with ``d`` pictures out of order
the ``n``-th packet is decoded when the picture is shown that is the ``n - d``-th to be shown, which is what an encoder
of the whole would have said, too. Times of presentation are those of frames, the same whoever encodes them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from av.packet import Packet

from ..errors import DeidError
from ..files import write_all
from ..types import Frame, MediaInfo
from . import scheduling
from .nal import without_encoder_comment
from .settings import EncodeSettings
from .video_sink import VideoSink

_JOINABLE = ("mp4", "mov", "mkv", "webm")


class Unlike(DeidError):
    """Parts that do not make one stream."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """What an encoder of a part has to know. ``first``: the time of the whole clip's first frame, in seconds."""

    kind: str
    info: MediaInfo
    settings: EncodeSettings
    start: float | None
    end: float | None
    first: Fraction


@dataclass(frozen=True, slots=True)
class Parcel:
    """One packet. ``offset`` and ``size``: where its bytes are in the part's file."""

    pts: int
    dts: int
    key: bool
    offset: int
    size: int


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Some frames, encoded. ``shown``: their times, in the encoder's unit; ``last``: how long the last one stays;
    ``end``: when that is over, in seconds. ``header``: what the stream's header holds. ``packets``: in order of
    decoding. ``notes``: the encoder's."""

    shown: tuple[int, ...]
    last: int
    end: Fraction
    header: bytes
    packets: tuple[Parcel, ...]


class PartSink(VideoSink):
    """Encodes some frames of a clip; packets go one behind the other to the open file ``handle``."""

    def __init__(self, encoding: Encoding, handle: int) -> None:
        self._handle = handle
        self._parcels: list[Parcel] = []
        self._shown: list[int] = []
        super().__init__(
            os.devnull, encoding.kind, encoding.info, None, encoding.settings, encoding.start, encoding.end
        )  # nothing is ever muxed
        self._begin(encoding.first)

    def write(self, frame: Frame) -> None:
        super().write(frame)
        assert self._last_pts is not None
        self._shown.append(self._last_pts)

    def _mux(self, packets: Sequence[Packet]) -> None:  # type: ignore[override]
        for packet in packets:
            data = bytes(packet)
            if not self._stripped and self._choice.encoder == "libx264":
                data = without_encoder_comment(data)
            self._stripped = True
            offset = os.lseek(self._handle, 0, os.SEEK_END)
            write_all(self._handle, data)
            dts = packet.dts if packet.dts is not None else packet.pts
            self._parcels.append(Parcel(packet.pts, dts, packet.is_keyframe, offset, len(data)))

    def part(self) -> Part:
        """Everything, once the last frame was written."""
        self._mux(self._stream.encode(None))
        header = bytes(self._stream.codec_context.extradata or b"")
        shown = tuple(self._shown)
        return Part(shown, self._last_duration, self._last_end, header, tuple(self._parcels))


def encoding_of(sink: VideoSink, first: Fraction) -> Encoding | None:
    """What encoders of parts for ``sink`` have to know; ``None`` where it takes none."""
    if sink._kind not in _JOINABLE:
        return None
    return Encoding(sink._kind, sink._info, sink._settings, sink._start, sink._end, first)


def join(sink: VideoSink, first: Fraction, parts: Sequence[tuple[int, Part]]) -> None:
    """Write ``parts``, (open file, part) in order of time, to ``sink``, to which nothing was written. ``first``: as
    :class:`Encoding` has it. Raises :class:`Unlike` where they make no stream."""
    shown = [pts for _, part in parts for pts in part.shown]
    decoded = _decoding_times(shown, [part for _, part in parts])
    context = sink._stream.codec_context
    with scheduling.unchanged():
        context.open()
    header = bytes(context.extradata or b"")
    if any(part.header != header for _, part in parts) or sum(len(p.packets) for _, p in parts) != len(shown):
        raise Unlike("encoders of parts were not set up alike; run again with --segments 1.")
    sink._begin(first)
    last = parts[-1][1]
    sink._last_pts, sink._last_duration, sink._last_end = shown[-1], last.last, last.end
    sink._durations.update({a: b - a for a, b in pairwise(shown)})
    sink._durations[shown[-1]] = last.last
    sink._stripped = True
    number = 0
    for handle, part in parts:
        for parcel in part.packets:
            packet = Packet(os.pread(handle, parcel.size, parcel.offset))
            packet.time_base, packet.pts, packet.dts = sink._base, parcel.pts, decoded[number]
            packet.is_keyframe, packet.stream = parcel.key, sink._stream
            sink._mux([packet])
            number += 1
            if sink._side is not None:
                sink._side.pump(shown[number - 1] * sink._base + sink._shift)


def _decoding_times(shown: Sequence[int], parts: Sequence[Part]) -> list[int]:
    delay = max(sum(p.dts < part.shown[0] for p in part.packets) for part in parts)
    head = [parcel.dts for parcel in parts[0].packets[:delay]]
    times = [*head, *shown[: len(shown) - delay]]
    packets = [parcel for part in parts for parcel in part.packets]
    rising = all(a < b for a, b in pairwise(shown)) and all(a < b for a, b in pairwise(times))
    if len(head) < delay or not rising or any(t > p.pts for t, p in zip(times, packets, strict=False)):
        raise Unlike("times of parts do not run on; run again with --segments 1.")
    return times
