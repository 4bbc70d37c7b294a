"""Which encoder, with which options, for which container and pixel format."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from ..errors import UsageError
from ..types import MediaInfo
from .pixels import RGB_CARRIER
from .settings import PRESETS, EncodeSettings

DEFAULT_CRF = {"h264": 20, "hevc": 21, "av1": 27}
"""One step above the highest at which real clips all keep a VMAF of 95 or more at the default preset: hard to tell from
the source, at a fifth less work."""
_SVT_PRESETS = (13, 12, 10, 9, 8, 7, 6, 4, 2, 1)
_AOM_CPU_USED = (9, 9, 8, 7, 6, 5, 4, 3, 2, 1)
_SVT_SMALLEST = 64
_AVX2 = "AVX2,FMA3,LZCNT,BMI2"
_QUICK = {"veryfast": ("subme=1", "partitions=i8x8,i4x4")}
"""What x264's preset of this name does without here: a third of its time goes into refining motion twice and into
splitting squares that were already predicted, and leaving that out is hardly to be seen in size or likeness
(``benchmarks/encoder_options.py``)."""


@dataclass(frozen=True, slots=True)
class EncoderChoice:
    """``encoder``: FFmpeg's name; ``options`` for it; ``pixel_format`` that it is fed; ``tag``: four-character code to
    store, or ``None`` for the container's own; ``converts``: the frames' samples are converted for it; ``notes``: what
    was decided against the user's choice."""

    encoder: str
    options: dict[str, str]
    pixel_format: str
    tag: str | None
    converts: bool
    notes: tuple[str, ...]


def choose_encoder(kind: str, settings: EncodeSettings, info: MediaInfo) -> EncoderChoice:
    """The encoder for a video container ``kind``. Raises :class:`UsageError` for a codec that the container cannot hold
    and that the user asked for by name (h264, the default, gives way with a note)."""
    pixel_format, converts = info.format.name, False
    notes: list[str] = []
    if info.format == RGB_CARRIER:
        odd = info.width & 1 or info.height & 1
        pixel_format, converts = ("yuv444p" if odd else "yuv420p"), True
        notes.append(f"RGB is converted to {pixel_format}")
    codec = settings.codec
    if kind == "webm" and codec != "av1":
        if codec != "h264":
            raise UsageError(f"a .webm file cannot hold {codec}: use --codec av1, or an .mp4 or .mkv target.")
        notes.append("webm cannot hold h264: encoded as av1")
        codec = "av1"
    if kind == "avi":
        return _for_avi(settings, info, pixel_format, converts, notes)
    crf = settings.crf if settings.crf is not None and codec == settings.codec else DEFAULT_CRF[codec]
    tag = None
    if codec == "h264":
        encoder, options = "libx264", _x264(settings, crf)
    elif codec == "hevc":
        encoder, options = "libx265", _x265(settings, crf)
        tag = "hvc1" if kind in ("mp4", "mov") else None  # Apple's players know no other
    else:
        encoder, options = _av1(settings, crf, info, pixel_format)
    return EncoderChoice(encoder, options, pixel_format, tag, converts, tuple(notes))


def _x264(settings: EncodeSettings, crf: int) -> dict[str, str]:
    options = {"preset": settings.preset, "crf": str(crf)}
    more = [*_QUICK.get(settings.preset, ()), *([f"asm={_AVX2}"] if _has_avx512() else [])]
    return options | {"x264-params": ":".join(more)} if more else options


@lru_cache(maxsize=1)
def _has_avx512() -> bool:
    """x264's AVX-512 code for macroblock-tree rate control reads memory that nobody wrote, so that files differ from
    run to run; the AVX2 code is right, and no slower."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as f:
            flags = next((set(line.split()) for line in f if line.startswith("flags")), set())
    except OSError:
        return False
    return {"avx512f", "avx2", "fma", "abm", "bmi2"} <= flags


def _x265(settings: EncodeSettings, crf: int) -> dict[str, str]:
    parameters = "log-level=none:info=0"
    if settings.threads:
        parameters += f":pools={settings.threads}"
    return {"preset": settings.preset, "crf": str(crf), "x265-params": parameters}


def _av1(settings: EncodeSettings, crf: int, info: MediaInfo, pixel_format: str) -> tuple[str, dict[str, str]]:
    level = PRESETS.index(settings.preset)
    if pixel_format.startswith("yuv420p") and min(info.width, info.height) >= _SVT_SMALLEST:
        options = {"preset": str(_SVT_PRESETS[level]), "crf": str(crf)}
        if settings.threads:
            options["svtav1-params"] = f"lp={settings.threads}"
        return "libsvtav1", options
    # SVT-AV1 takes 4:2:0 alone, and never returns from frames as small as 16 x 16.
    cpu_used = min(8, _AOM_CPU_USED[level])
    return "libaom-av1", {"cpu-used": str(cpu_used), "crf": str(crf), "row-mt": "1", "lag-in-frames": "16"}


def _for_avi(
    settings: EncodeSettings, info: MediaInfo, pixel_format: str, converts: bool, notes: list[str]
) -> EncoderChoice:
    """AVI stores no presentation times, so pictures must come in the order in which they are shown. MPEG-4 Part 2 is
    what players of AVI expect; H.264 (without reordering) stands in where samples or colour tags need it."""
    if settings.codec != "h264":
        raise UsageError(f"an .avi file cannot hold {settings.codec}: use an .mp4 or .mkv target.")
    tagged = {info.color_space, info.color_primaries, info.color_transfer} != {"unknown"} and not converts
    if pixel_format != "yuv420p" or (info.color_range == "pc" and not converts) or tagged:
        crf = settings.crf if settings.crf is not None else DEFAULT_CRF["h264"]
        options = _x264(settings, crf) | {"bf": "0"}
        return EncoderChoice("libx264", options, pixel_format, None, converts, tuple(notes))
    notes.append("avi is encoded as MPEG-4 Part 2 (Xvid), which its players expect")
    options = {"qmin": "2", "qmax": "3", "bf": "0", "g": "250", "mbd": "rd"}
    return EncoderChoice("mpeg4", options, pixel_format, "xvid", converts, tuple(notes))
