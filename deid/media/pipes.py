"""Frames through pipes, as FFmpeg has them: YUV4MPEG2, which says what it holds, and raw samples, which do not.

The header of YUV4MPEG2 is that of the MJPEG tools' *yuv4mpeg(5)*: a line of parameters, then for every frame a line
that begins with ``FRAME`` and the planes without padding. FFmpeg's additions (``XCOLORRANGE``, more than eight bits)
are understood. Nothing is believed about a header before it has been checked: it comes from somebody else.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from av.video.frame import VideoFrame

from ..errors import DamagedInput, NotMedia, UnsupportedInput, UsageError
from ..types import Frame, PixelFormat
from .convert import rgb8
from .pixels import SMALLEST_SIDE
from .source import MOST_PIXELS

_MAGIC = b"YUV4MPEG2"
LONGEST_LINE = 1024
"""Bytes of a header, or of a line that begins a frame."""
_MOST_RATE = 1000

PLANES: dict[str, tuple[tuple[int, int, int], ...]] = {
    "yuv420p": ((0, 0, 1), (1, 1, 1), (1, 1, 1)),
    "yuv422p": ((0, 0, 1), (1, 0, 1), (1, 0, 1)),
    "yuv444p": ((0, 0, 1), (0, 0, 1), (0, 0, 1)),
    "yuv420p10le": ((0, 0, 2), (1, 1, 2), (1, 1, 2)),
    "yuv422p10le": ((0, 0, 2), (1, 0, 2), (1, 0, 2)),
    "yuv444p10le": ((0, 0, 2), (0, 0, 2), (0, 0, 2)),
    "gray": ((0, 0, 1),),
    "nv12": ((0, 0, 1), (1, 1, 2)),
    "rgb24": ((0, 0, 3),),
    "bgr24": ((0, 0, 3),),
}
"""Pixel formats that pass through pipes, by FFmpeg's names: of each plane the powers of two by which it is narrower and
lower than the picture, and bytes a sample or group of samples."""

_COLOURS = {
    "420": "yuv420p", "420jpeg": "yuv420p", "420mpeg2": "yuv420p", "420paldv": "yuv420p", "422": "yuv422p",
    "444": "yuv444p", "mono": "gray", "420p10": "yuv420p10le", "422p10": "yuv422p10le", "444p10": "yuv444p10le",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Layout:
    """What the pictures in a pipe look like. ``pixels``: a key of :data:`PLANES`. ``rate``: frames a second.
    ``aspect``: of a sample. ``full_range``: ``None`` where nothing is said. ``siting``: the header's own word for the
    chroma, for the output to say the same.

    Raises :class:`UsageError` for sizes, rates and formats that make no sense."""

    width: int
    height: int
    rate: Fraction
    pixels: str = "yuv420p"
    aspect: Fraction = Fraction(1)
    full_range: bool | None = None
    siting: str = ""

    def __post_init__(self) -> None:
        if self.pixels not in PLANES:
            raise UsageError(f"the pixel format {self.pixels} is not known here; use one of {', '.join(PLANES)}.")
        if min(self.width, self.height) < SMALLEST_SIDE or self.width * self.height > MOST_PIXELS:
            raise UsageError(
                f"pictures of {self.width} x {self.height} pixels are not processed: at least {SMALLEST_SIDE} either "
                f"way, and {MOST_PIXELS >> 20} megapixels at most."
            )
        if not 0 < self.rate <= _MOST_RATE:
            raise UsageError(f"a rate of {float(self.rate):g} frames a second makes no sense; give 25, or 30000/1001.")

    def shapes(self) -> list[tuple[int, int]]:
        """Lines, and bytes in each, of every plane."""
        return [
            (-(-self.height >> down), -(-self.width >> across) * size) for across, down, size in PLANES[self.pixels]
        ]

    @property
    def frame_bytes(self) -> int:
        return sum(lines * size for lines, size in self.shapes())


def parse_header(line: bytes) -> Layout:
    """What the first line of a YUV4MPEG2 stream says, without its line feed.

    Raises :class:`NotMedia` for what is no such line, and :class:`UnsupportedInput` for what it should not say."""
    words = line.split(b" ")
    if words[0] != _MAGIC:
        raise NotMedia(
            "standard input is no YUV4MPEG2 stream; write it with 'ffmpeg ... -f yuv4mpegpipe -', or say --format raw."
        )
    said: dict[str, str] = {}
    for word in words[1:]:
        text = word.decode("ascii", errors="replace")
        key = text[:1] if text[:1] != "X" else text.split("=")[0]
        said[key] = text[len(key) :].removeprefix("=")
    try:
        aspect = _ratio(said.get("A", "0:0"))
        ranges = {"FULL": True, "LIMITED": False}
        return Layout(
            _size(said["W"]), _size(said["H"]), _ratio(said.get("F", "25:1")) or Fraction(25), _pixels(said),
            aspect or Fraction(1), ranges.get(said.get("XCOLORRANGE", "")), said.get("C", ""),
        )  # fmt: skip
    except (KeyError, ValueError, UsageError) as error:
        why = str(error).rstrip(".") if isinstance(error, UsageError) else "its size or rate cannot be read"
        raise UnsupportedInput(f"the YUV4MPEG2 stream cannot be used: {why}.") from error


def _size(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,6}", text):
        raise ValueError(text)
    return int(text)


def _ratio(text: str) -> Fraction:
    """0 for ``0:0``, which says that nobody knows."""
    match = re.fullmatch(r"([0-9]{1,9}):([0-9]{1,9})", text)
    if match is None:
        raise ValueError(text)
    over, under = int(match[1]), int(match[2])
    if under == 0 and over:
        raise ValueError(text)
    return Fraction(over, under) if under else Fraction(0)


def _pixels(said: dict[str, str]) -> str:
    word = said.get("C", "420")
    if word not in _COLOURS:
        raise UsageError(f"its colour space {word[:20]!r} is not supported; add -pix_fmt yuv420p to what writes it")
    return _COLOURS[word]


def header_of(layout: Layout) -> bytes:
    """The first line of a YUV4MPEG2 stream, with its line feed."""
    word = layout.siting if _COLOURS.get(layout.siting) == layout.pixels else ""
    word = word or next(word for word, name in _COLOURS.items() if name == layout.pixels)
    said = f"W{layout.width} H{layout.height} F{layout.rate.numerator}:{layout.rate.denominator} Ip"
    said += f" A{layout.aspect.numerator}:{layout.aspect.denominator} C{word}"
    if layout.full_range is not None:
        said += f" XCOLORRANGE={'FULL' if layout.full_range else 'LIMITED'}"
    return _MAGIC + b" " + said.encode("ascii") + b"\n"


Read = Callable[[int], bytes]
"""So many bytes, or fewer at the end."""


def read_line(read: Read) -> bytes | None:
    """The next line without its line feed; ``None`` at the end. Raises :class:`DamagedInput` for one without end."""
    out = bytearray()
    while len(out) <= LONGEST_LINE:
        byte = read(1)
        if not byte:
            if out:
                raise DamagedInput("the stream ends in the middle of a line: whatever wrote it stopped early.")
            return None
        if byte == b"\n":
            return bytes(out)
        out += byte
    raise DamagedInput(f"the stream has a line of more than {LONGEST_LINE} bytes where a frame should begin.")


def read_picture(read: Read, layout: Layout, marked: bool) -> VideoFrame | None:
    """The next picture, ``None`` at the end. ``marked``: a ``FRAME`` line comes before it. Raises
    :class:`DamagedInput` where the stream ends in the middle of one."""
    if marked:
        line = read_line(read)
        if line is None:
            return None
        if not (line == b"FRAME" or line.startswith(b"FRAME ")):
            raise DamagedInput("the YUV4MPEG2 stream has something else where a frame should begin.")
    data = read(layout.frame_bytes)
    if not data and not marked:
        return None
    if len(data) < layout.frame_bytes:
        raise DamagedInput("the stream ends in the middle of a frame: whatever wrote it stopped early.")
    return picture_of(data, layout)


def picture_of(data: bytes, layout: Layout) -> VideoFrame:
    """One frame's bytes as a picture."""
    picture = VideoFrame(layout.width, layout.height, layout.pixels)
    if layout.full_range is not None:
        picture.color_range = 2 if layout.full_range else 1
    start = 0
    for plane, (lines, size) in zip(picture.planes, layout.shapes(), strict=True):
        rows = np.frombuffer(plane, np.uint8).reshape(lines, -1)
        rows[:, :size] = np.frombuffer(data, np.uint8, lines * size, start).reshape(lines, size)
        start += lines * size
    return picture


def layout_for(layout: Layout, format: PixelFormat, size: tuple[int, int], pixels: str | None = None) -> Layout:
    """How frames of ``format`` and ``size`` (width, height) leave when they came as ``layout``; ``pixels``: as asked.
    Raises :class:`UsageError` for what they cannot become."""
    name = pixels or layout.pixels
    out = Layout(*size, layout.rate, name, layout.aspect, format.full_range, layout.siting)
    known = {c for c in PLANES if c.startswith("yuv")}
    shifts = PLANES[name][1][:2] if name in known else None
    if name in known and (shifts[0] < format.chroma_shift[0] or shifts[1] < format.chroma_shift[1]):  # type: ignore[index]
        raise UsageError(f"frames of {format.name} do not become {name}; leave --pixel-format out.")
    return out


def bytes_of(frame: Frame, layout: Layout) -> bytes:
    """A frame's samples as the pipe has them. What was duplicated on the way in comes back as it was."""
    if layout.pixels in ("rgb24", "bgr24"):
        picture = rgb8(frame)
        return np.ascontiguousarray(picture if layout.pixels == "rgb24" else picture[..., ::-1]).tobytes()
    deep = layout.pixels.endswith("10le")
    luma, *chroma = [_deep(plane, frame.format.depth, deep) for plane in frame.planes]
    if layout.pixels == "gray":
        return luma.tobytes()
    if not chroma:
        neutral = np.full(luma.shape, 512 if deep else 128, luma.dtype)
        chroma, shift = [neutral, neutral], (0, 0)
    else:
        shift = frame.format.chroma_shift
    across, down = (1, 1) if layout.pixels == "nv12" else PLANES[layout.pixels][1][:2]
    chroma = [_shared(plane, across - shift[0], down - shift[1]) for plane in chroma]
    if layout.pixels == "nv12":
        chroma = [np.stack(chroma, axis=-1)]
    return b"".join(np.ascontiguousarray(plane).tobytes() for plane in (luma, *chroma))


def _deep(plane: np.ndarray, depth: int, deep: bool) -> np.ndarray:
    if (depth > 8) == deep:
        return plane
    return (plane >> (depth - 8)).astype(np.uint8) if depth > 8 else plane.astype(np.uint16) << 2


def _shared(plane: np.ndarray, across: int, down: int) -> np.ndarray:
    """The mean of so many neighbours (powers of two), edges repeated."""
    if across <= 0 and down <= 0:
        return plane
    wide, high = 1 << max(across, 0), 1 << max(down, 0)
    padded = np.pad(plane, ((0, -plane.shape[0] % high), (0, -plane.shape[1] % wide)), mode="edge")
    groups = padded.reshape(padded.shape[0] // high, high, padded.shape[1] // wide, wide).astype(np.uint32)
    return ((groups.sum(axis=(1, 3)) + (wide * high >> 1)) // (wide * high)).astype(plane.dtype)
