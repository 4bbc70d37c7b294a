"""Everything beside the picture: sound, subtitles and chapters, copied packet by packet where the output's container
holds them, converted where it does not, and named where neither works. All other streams stay behind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import av
from av.container import InputContainer, OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Disposition, Stream

from ..errors import DamagedInput
from ..types import StreamInfo
from .audio import AudioTranscoder, MaskedAudio, cut_pcm, is_held
from .source import codec_name, stream_kind

_TEXT_SUBTITLES = {"subrip", "ass", "ssa", "mov_text", "webvtt", "text"}
_SUBTITLES_HELD = {
    "mp4": {"mov_text", "dvd_subtitle"},
    "mov": {"mov_text"},
    "mkv": {"subrip", "ass", "ssa", "webvtt", "text", "dvd_subtitle", "hdmv_pgs_subtitle", "dvb_subtitle"},
    "webm": {"webvtt"},
    "avi": set(),
}
_SUBTITLE_SUBSTITUTES = {"mp4": "mov_text", "mov": "mov_text", "mkv": "subrip", "webm": "webvtt"}
_KEPT_DISPOSITIONS = (
    Disposition.default
    | Disposition.dub
    | Disposition.original
    | Disposition.comment
    | Disposition.lyrics
    | Disposition.karaoke
    | Disposition.forced
    | Disposition.hearing_impaired
    | Disposition.visual_impaired
    | Disposition.clean_effects
    | Disposition.captions
    | Disposition.descriptions
)


def passed_metadata(stream: Stream, keep: bool) -> dict[str, str]:
    """The language alone, unless all is to be kept; never a time code, which muxers turn into a data stream."""
    if keep:
        return {
            k: v for k, v in stream.metadata.items() if k.lower() not in ("timecode", "encoder", "duration", "rotate")
        }
    return {"language": stream.language} if stream.language else {}


def passed_disposition(stream: Stream) -> int:
    """The flags that tell players which track to choose."""
    return (Disposition(stream.disposition) & _KEPT_DISPOSITIONS).value


class _Track:
    """One passing stream: how its packets become packets of the output."""

    def __init__(self, source: Stream, out: Stream, transcoder: AudioTranscoder | _SubtitleConverter | None) -> None:
        self.source = source
        self.out = out
        self.transcoder = transcoder
        self.is_audio = stream_kind(source) == "audio"
        self.is_pcm = codec_name(source).startswith("pcm_")
        self.last_dts: int | None = None
        self.next: Fraction | None = None
        self.left_out = 0


class SideStreams:
    """Side streams of the open ``source`` on their way into ``out``, a container of ``kind``.

    Use: construct (adds the output's streams), :meth:`begin` once the time shift is known and before anything is
    written, :meth:`pump` along with the picture, :meth:`finish`. ``streams`` tells every stream's fate, ``notes`` what
    was converted. ``salvage``: damaged packets that cannot be copied are left out; without it they raise
    :class:`DamagedInput`."""

    def __init__(
        self,
        source: InputContainer,
        out: OutputContainer,
        kind: str,
        streams: tuple[StreamInfo, ...],
        keep_metadata: bool,
        audio: str = "copy",
        voice_seed: int = 0,
        salvage: bool = False,
    ) -> None:
        self._sound, self._voice_seed, self._salvage = audio, voice_seed, salvage
        self._source = source
        self._out = out
        self._kind = kind
        self._keep = keep_metadata
        self.notes: list[str] = []
        self._tracks: dict[int, _Track] = {}
        self.streams = tuple(self._adopt(info) for info in streams)
        wanted = [t.source for t in self._tracks.values()]
        self._packets = source.demux(wanted) if wanted else iter(())
        self._held: Packet | None = None
        self._shift = Fraction(0)
        self._low: Fraction | None = None
        self._high: Fraction | None = None

    def _adopt(self, info: StreamInfo) -> StreamInfo:
        if info.kind not in ("audio", "subtitle") or info.fate == "dropped":
            return info
        if info.kind == "audio" and self._sound == "drop":
            return replace(info, fate="dropped", why="as asked")
        stream = self._source.streams[info.index]
        try:
            track, fate, why = self._audio(stream) if info.kind == "audio" else self._subtitle(stream)
        except (FFmpegError, ValueError, LookupError) as e:
            track, fate, why = None, "dropped", f"it cannot be put into {self._kind} ({e})"
        name = f"{info.kind} {info.codec}"
        if track is None:
            self.notes.append(f"{name} cannot be held by {self._kind}: dropped")
            return replace(info, fate="dropped", why=why)
        track.out.metadata.update(passed_metadata(stream, self._keep))
        track.out.disposition = passed_disposition(stream)
        self._tracks[info.index] = track
        if fate == "transcoded":
            self.notes.append(f"{name} cannot be held by {self._kind}: {why}")
        return replace(info, fate=fate, why=why)

    def _audio(self, stream: Stream) -> tuple[_Track, str, str]:
        if self._sound == "mask":
            masked = MaskedAudio(self._out, stream, self._kind, self._voice_seed)
            return _Track(stream, masked.stream, masked), "masked", f"voices masked; {masked.description}"
        if is_held(self._kind, codec_name(stream)):
            out = self._out.add_stream_from_template(stream)
            out.time_base = stream.time_base
            return _Track(stream, out, None), "copied", ""
        transcoder = AudioTranscoder(self._out, stream, self._kind)
        return _Track(stream, transcoder.stream, transcoder), "transcoded", f"transcoded to {transcoder.description}"

    def _subtitle(self, stream: Stream) -> tuple[_Track | None, str, str]:
        name = codec_name(stream)
        if name in _SUBTITLES_HELD[self._kind]:
            out = self._out.add_stream_from_template(stream)
            out.time_base = stream.time_base
            return _Track(stream, out, None), "copied", ""
        target = _SUBTITLE_SUBSTITUTES.get(self._kind)
        if name not in _TEXT_SUBTITLES or target is None:
            return None, "dropped", f"{self._kind} holds no such subtitles"
        converter = _SubtitleConverter(self._out, stream, target)
        return _Track(stream, converter.stream, converter), "transcoded", f"converted to {target}"

    @property
    def rates(self) -> tuple[int, ...]:
        """Denominators of the sound tracks' time bases."""
        return tuple(t.out.time_base.denominator for t in self._tracks.values() if t.is_audio)

    def begin(self, shift: Fraction, low: Fraction | None, high: Fraction | None) -> None:
        """Set the time line: output time is source time minus ``shift``; with ``low`` and ``high`` only what lies
        between them (source seconds) passes. Hands the chapters over."""
        self._shift, self._low, self._high = shift, low, high
        chapters = []
        for number, chapter in enumerate(self._source.chapters(), 1):
            base = chapter["time_base"]
            begin, end = chapter["start"] * base, chapter["end"] * base
            if (low is not None and end <= low) or (high is not None and begin >= high):
                continue
            begin = max(begin, low) if low is not None else begin
            end = min(end, high) if high is not None else end
            # A title can name a person or a place.
            title = chapter["metadata"].get("title") if self._keep else None
            chapters.append(
                {
                    "id": number,
                    "start": max(0, round((begin - shift) / base)),
                    "end": max(0, round((end - shift) / base)),
                    "time_base": base,
                    "metadata": {"title": title or f"Chapter {number}"},
                }
            )
        if chapters:
            self._out.set_chapters(chapters)

    def pump(self, until: Fraction | None) -> None:
        """Write everything that begins before ``until`` (source seconds), or all there is."""
        while True:
            packet = self._held if self._held is not None else self._next()
            self._held = None
            if packet is None:
                return
            if until is not None and packet.dts * packet.time_base >= until:
                self._held = packet
                return
            self._write(packet)

    def finish(self, until: Fraction | None) -> list[str]:
        """Write the rest: all of it, or what begins before ``until``. Returns what had to be left out, sentences for
        the report."""
        self.pump(until)
        left_out = []
        for track in self._tracks.values():
            if isinstance(track.transcoder, AudioTranscoder):
                for packet in track.transcoder.packets(None, None, None):
                    self._mux(track, packet)
            if track.left_out:
                packets = "packet" if track.left_out == 1 else "packets"
                left_out.append(f"{_named(track.source)}: {track.left_out} damaged {packets} left out")
        return left_out

    def _next(self) -> Packet | None:
        while True:
            try:
                packet = next(self._packets, None)
            except FFmpegError:
                return None  # the end of a file that was cut off: the picture's reader has already judged that
            if packet is None:
                return None
            if not packet.size:
                continue
            self._fill_times(packet)
            return packet

    def _fill_times(self, packet: Packet) -> None:
        track = self._tracks[packet.stream.index]
        if packet.dts is None:
            packet.dts = packet.pts
        if packet.dts is None:
            packet.dts = round((track.next or Fraction(0)) / packet.time_base)
        if packet.pts is None:
            packet.pts = packet.dts
        track.next = (packet.pts + (packet.duration or 0)) * packet.time_base

    def _write(self, packet: Packet) -> None:
        track = self._tracks[packet.stream.index]
        if isinstance(track.transcoder, AudioTranscoder):
            for made in track.transcoder.packets(packet, self._low, self._high):
                self._mux(track, made)
            return
        cut = self._cut(track, packet)
        if cut is None:
            return
        if isinstance(track.transcoder, _SubtitleConverter):
            for made in track.transcoder.packets(cut):
                self._mux(track, made)
        else:
            self._mux(track, cut)

    def _cut(self, track: _Track, packet: Packet) -> Packet | None:
        """``packet`` as far as it lies in the chosen range: sound by whole packets (samples, where it is not
        compressed), subtitles shortened."""
        base = packet.time_base
        begin, length = packet.pts * base, (packet.duration or 0) * base
        end = begin + length
        if (self._low is None or begin >= self._low) and (self._high is None or end <= self._high):
            return packet
        low = begin if self._low is None else self._low
        high = end if self._high is None else self._high
        if track.is_pcm:
            return cut_pcm(packet, low, high)
        if track.is_audio or begin >= high or end <= low:
            return None
        packet.pts = packet.dts = -(-max(begin, low) // base)
        packet.duration = max(1, int(min(end, high) / base) - packet.pts)
        return packet

    def _mux(self, track: _Track, packet: Packet) -> None:
        packet.stream = track.out
        shift = round(self._shift / packet.time_base)
        if shift:
            packet.pts -= shift
            packet.dts -= shift
        ends = packet.pts + (packet.duration or 0)
        if self._kind in ("mkv", "webm", "avi") and track.transcoder is None and packet.pts < 0 and ends <= 0:
            return  # encoder priming, never heard; these containers count from zero and would move the picture for it
        # Muxers refuse to step back; sources with rounded times do.
        if track.last_dts is not None and packet.dts <= track.last_dts:
            packet.dts = track.last_dts + (1 if track.is_audio else 0)
            packet.pts = max(packet.pts, packet.dts)
        track.last_dts = packet.dts
        at = float((packet.pts + shift) * packet.time_base) - (self._source.start_time or 0) / av.time_base
        try:
            self._out.mux(packet)
        except FFmpegError as e:
            if track.transcoder is not None or isinstance(e, OSError):  # a full disk is no damage
                raise
            if not self._salvage:
                instead = ", or --audio drop to do without sound" if track.is_audio else ""
                raise DamagedInput(
                    f"the {_named(track.source)} is damaged at about {max(0.0, at):.2f} s and cannot be copied: use "
                    f"--salvage to leave out what is broken{instead}."
                ) from e
            track.left_out += 1


class _SubtitleConverter:
    """Text subtitles from one coding to another, through FFmpeg's common form (ASS)."""

    def __init__(self, out: OutputContainer, source: Stream, target: str) -> None:
        self._source = source
        decoder = source.codec_context
        decoder.open(strict=False)
        self.stream = out.add_stream(target)
        self.stream.time_base = Fraction(1, 1000)
        self._encoder = self.stream.codec_context
        self._encoder.time_base = Fraction(1, 1000)
        self._encoder.subtitle_header = decoder.subtitle_header or b""

    def packets(self, packet: Packet) -> Iterator[Packet]:
        try:
            subtitle = self._source.codec_context.decode2(packet)
            if subtitle is None or not len(subtitle):
                return
            made = self._encoder.encode_subtitle(subtitle)
        except FFmpegError:
            return
        base = packet.time_base
        made.time_base = Fraction(1, 1000)
        made.pts = made.dts = round(packet.pts * base * 1000)
        made.duration = max(1, round((packet.duration or 0) * base * 1000))
        made.is_keyframe = True
        yield made


def _named(stream: Stream) -> str:
    """As people call it."""
    kind = "sound" if stream_kind(stream) == "audio" else "subtitle track"
    return f"{kind} (stream {stream.index}, {codec_name(stream)})"


def other_kind_streams(streams: tuple[StreamInfo, ...], kind: str) -> tuple[StreamInfo, ...]:
    """Fates where the output holds pictures only (GIF, images)."""
    return tuple(
        replace(s, fate="dropped", why=f"{kind} holds pictures only") if s.kind in ("audio", "subtitle") else s
        for s in streams
    )
