"""What the user may choose about the output's encoding."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UsageError

CODECS = ("h264", "hevc", "av1")
PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo")
AUDIO = ("copy", "drop", "mask")
"""What becomes of sound: kept as it is, left out, or with voices that are hard to know."""
MARK_KINDS = ("obscured", "synthetic")
_LONGEST_WATERMARK = 200


@dataclass(frozen=True, slots=True)
class EncodeSettings:
    """``codec``: ``h264``, ``hevc`` or ``av1``. ``crf``: constant rate factor, ``None`` for the codec's default of
    about equal, transparent quality; 0..51 (AV1: 0..63). ``preset``: x264's names, translated for the other encoders.
    ``keep_metadata``: pass on titles, location, device and author. ``mark``: what the machine-readable mark says,
    ``obscured``, ``synthetic`` or ``None`` for no mark. ``watermark``: visible text, or ``None``. ``threads``: encoder
    threads, 0 for as many as there are cores; the output depends on this number, and is the same for the same one.
    ``audio``: ``copy``, ``drop`` or ``mask`` (:mod:`deid.media.voice`), with ``voice_seed`` for what is drawn.
    ``salvage``: damaged sound and subtitles that cannot be copied are left out, packet by packet.

    Raises :class:`UsageError` for values that no encoder takes."""

    codec: str = "h264"
    crf: int | None = None
    preset: str = "veryfast"
    keep_metadata: bool = False
    mark: str | None = "obscured"
    watermark: str | None = None
    threads: int = 0
    audio: str = "copy"
    voice_seed: int = 0
    salvage: bool = False

    def __post_init__(self) -> None:
        if self.codec not in CODECS:
            raise UsageError(f"the codec {self.codec} is not known: choose {', '.join(CODECS)}.")
        if self.preset not in PRESETS:
            raise UsageError(f"the preset {self.preset} is not known: choose {', '.join(PRESETS)}.")
        highest = 63 if self.codec == "av1" else 51
        if self.crf is not None and not 0 <= self.crf <= highest:
            raise UsageError(f"a CRF of {self.crf} is out of range: {self.codec} takes 0 to {highest}.")
        if self.mark is not None and self.mark not in MARK_KINDS:
            raise UsageError(f"the mark {self.mark} is not known: choose {' or '.join(MARK_KINDS)}.")
        if self.watermark is not None and not 0 < len(self.watermark.strip()) <= _LONGEST_WATERMARK:
            raise UsageError(f"the watermark must have 1 to {_LONGEST_WATERMARK} characters.")
        if self.audio not in AUDIO:
            raise UsageError(f"audio is {self.audio!r}: choose {', '.join(AUDIO)}.")
        if self.threads < 0:
            raise UsageError("the number of threads cannot be negative: 0 means all cores.")
