"""Sound: which codecs a container holds, and transcoding for those that it does not."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.error import FFmpegError
from av.filter import Graph
from av.packet import Packet

if TYPE_CHECKING:
    from .voice import VoiceMask

_HELD = {
    "mp4": {"aac", "mp3", "mp2", "ac3", "eac3", "alac", "flac", "opus", "dts"},
    "mov": {"aac", "mp3", "ac3", "eac3", "alac"},
    "webm": {"opus", "vorbis"},
    "avi": {"mp3", "mp2", "ac3", "pcm_s16le", "pcm_u8", "pcm_s24le", "pcm_alaw", "pcm_mulaw"},
}
_PCM_MOV = "pcm_"
_SUBSTITUTES = {"mp4": "aac", "mov": "aac", "mkv": "flac", "webm": "libopus", "avi": "libmp3lame"}
_SHOWN = {"aac": "AAC", "flac": "FLAC", "libopus": "Opus", "libmp3lame": "MP3"}
_RATES = {
    "libopus": (48000,),
    "libmp3lame": (48000, 44100, 32000, 24000, 22050, 16000),
    "aac": (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000),
}
_PER_CHANNEL = 96_000
_PIECE = 1 << 16  # samples that are masked at a time: a gap may be long
_LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
"""Usual arrangements; uncompressed sound often names none, and encoders want one of these."""


def is_held(kind: str, codec: str) -> bool:
    """Whether players expect ``codec`` in a container of ``kind`` (FFmpeg would also write combinations that they do
    not)."""
    if kind == "mkv":
        return True
    return codec in _HELD[kind] or (kind == "mov" and codec.startswith(_PCM_MOV))


class AudioTranscoder:
    """Decodes packets of ``source`` and encodes them for a container of ``kind``. Gaps are filled with silence, so that
    sound stays at its place."""

    def __init__(self, out: OutputContainer, source: AudioStream, kind: str) -> None:
        name = _SUBSTITUTES[kind]
        self._source = source
        context = source.codec_context
        rates = _RATES.get(name)
        rate = context.sample_rate or 48000
        if rates and rate not in rates:
            rate = 48000
        channels = max(1, context.layout.nb_channels)
        if (name == "libmp3lame" and channels > 2) or channels > 8:
            layout, channels = "stereo", 2
        else:
            layout = "quad" if name == "libopus" and channels == 4 else _LAYOUTS[channels]
        self.stream = out.add_stream(name, rate=rate, layout=layout, time_base=Fraction(1, rate))
        self.stream.time_base = Fraction(1, rate)
        encoder = self.stream.codec_context
        encoder.flags |= av.codec.context.Flags.bitexact.value
        quality = ""
        if name != "flac":
            encoder.bit_rate = _PER_CHANNEL * channels
            quality = f" {encoder.bit_rate // 1000} kb/s"
        self.description = f"{_SHOWN[name]}{quality}"
        self._layout, self._rate = layout, rate
        self._graph: Graph | None = None

    def packets(self, packet: Packet | None, low: Fraction | None, high: Fraction | None) -> Iterator[Packet]:
        """Encoded packets for one of the source, on the source's time line; ``None`` flushes. Sound before ``low`` or
        after ``high`` (seconds) is left out."""
        if packet is None:
            if self._graph is not None:
                self._graph.push(None)
                yield from self._drain()
                yield from self._last()
                yield from self.stream.encode(None)
            return
        try:
            frames = self._source.decode(packet)
        except FFmpegError:
            return  # a broken packet of sound: the resampler bridges it with silence
        for frame in frames:
            if frame.pts is None or not frame.samples:
                continue
            begin = frame.pts * frame.time_base
            if (low is not None and begin < low) or (
                high is not None and begin + Fraction(frame.samples, frame.sample_rate) > high
            ):
                continue
            if self._graph is None:
                self._graph = self._build(frame)
            self._graph.push(frame)
            yield from self._drain()

    def _drain(self) -> Iterator[Packet]:
        graph = self._graph
        while graph is not None:
            try:
                frame = graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            yield from self._encoded(frame)

    def _encoded(self, frame: av.AudioFrame) -> Iterator[Packet]:
        yield from self.stream.encode(frame)

    def _last(self) -> Iterator[Packet]:
        """What is held back until the end."""
        return iter(())

    @property
    def _samples(self) -> str:
        """The format in which :meth:`_encoded` gets them."""
        return str(self.stream.codec_context.format.name)

    def _build(self, frame: av.AudioFrame) -> Graph:
        graph = Graph()
        source = graph.add_abuffer(
            sample_rate=frame.sample_rate,
            format=frame.format.name,
            layout=_named(frame.layout),
            time_base=frame.time_base,
        )
        fill = graph.add("aresample", f"async=1:osr={self._rate}")
        shape = graph.add(
            "aformat",
            f"sample_fmts={self._samples}:sample_rates={self._rate}:channel_layouts={self._layout}",
        )
        graph.link_nodes(source, fill, shape, graph.add("abuffersink")).configure()
        return graph


class MaskedAudio(AudioTranscoder):
    """The same with voices that nobody knows again (:class:`deid.media.voice.VoiceMask`), each sample where it was."""

    def __init__(self, out: OutputContainer, source: AudioStream, kind: str, seed: int) -> None:
        super().__init__(out, source, kind)
        self._seed = seed
        self._mask: VoiceMask | None = None
        self._began = self._taken = self._given = 0

    @property
    def _samples(self) -> str:
        return "fltp"

    def _encoded(self, frame: av.AudioFrame) -> Iterator[Packet]:
        sound = frame.to_ndarray()
        if self._mask is None:
            from .voice import VoiceMask  # its library takes a tenth of a second to load, and most sound is copied

            self._mask = VoiceMask(self._rate, len(sound), self._seed)
            self._began = frame.pts
        late = frame.pts - self._began - self._taken
        if late > 0:
            sound = np.concatenate([np.zeros((len(sound), late), np.float32), sound], 1)
        elif late < 0:
            sound = sound[:, -late:]
        self._taken += sound.shape[1]
        for start in range(0, sound.shape[1], _PIECE):
            yield from self._give(self._mask.push(sound[:, start : start + _PIECE]))

    def _last(self) -> Iterator[Packet]:
        if self._mask is not None:
            yield from self._give(self._mask.finish())

    def _give(self, sound: np.ndarray) -> Iterator[Packet]:
        if not sound.shape[1]:
            return
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound), format="fltp", layout=self._layout)
        frame.sample_rate, frame.time_base = self._rate, Fraction(1, self._rate)
        frame.pts = self._began + self._given
        self._given += sound.shape[1]
        yield from self.stream.encode(frame)


def _named(layout: av.AudioLayout) -> str:
    """The layout's name; for one without an order ("2 channels"), the usual one of as many channels."""
    return _LAYOUTS.get(layout.nb_channels, layout.name) if layout.name.endswith("channels") else layout.name


def cut_pcm(packet: Packet, low: Fraction, high: Fraction) -> Packet | None:
    """The part of an uncompressed packet between ``low`` and ``high`` seconds, or ``None``. Such packets can be a
    second long, and what was said outside the range must not pass."""
    context = packet.stream.codec_context
    width = next((int(d) for d in re.findall(r"\d+", context.name)), 8) // 8
    block = width * context.layout.nb_channels
    begin = packet.pts * packet.time_base
    first = max(0, math.ceil((low - begin) * context.sample_rate))
    last = min(packet.size // block, math.floor((high - begin) * context.sample_rate))
    if first >= last:
        return None
    part = Packet(bytes(packet)[first * block : last * block])
    part.time_base = packet.time_base
    part.pts = part.dts = packet.pts + round(Fraction(first, context.sample_rate) / packet.time_base)
    part.duration = round(Fraction(last - first, context.sample_rate) / packet.time_base)
    part.is_keyframe = True
    return part
