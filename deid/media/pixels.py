"""From a decoder's pictures to planes: which pixel formats pass untouched, how the others are converted, and how a
picture is turned upright."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from functools import lru_cache

import av
import numpy as np
from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from ..errors import UnsupportedInput
from ..types import PixelFormat
from . import colour

_LANCZOS_ACCURATE = 0x200 | 0x40000 | 0x4000
"""Flags of libswscale: Lanczos, accurate rounding, full chroma input."""
_BILINEAR_ACCURATE = 0x2 | 0x40000 | 0x2000
_SWS_MATRIX = {"bt601": 5, "bt709": 1, "bt2020": 9}
SMALLEST_SIDE = 16


@dataclass(frozen=True, slots=True)
class Turn:
    """A display matrix as array operations: transpose first, then mirror left-right, then upside down."""

    transpose: bool = False
    flip_x: bool = False
    flip_y: bool = False

    @property
    def mirrored(self) -> bool:
        return self.transpose ^ self.flip_x ^ self.flip_y

    @property
    def degrees(self) -> int:
        """Clockwise; a mirrored picture is turned first and mirrored left-right afterwards."""
        flip_x = self.flip_x ^ self.mirrored
        if self.transpose:
            return 90 if flip_x else 270
        return 180 if flip_x else 0

    def apply(self, plane: np.ndarray) -> np.ndarray:
        if self.transpose:
            plane = plane.T
        return plane[:: -1 if self.flip_y else 1, :: -1 if self.flip_x else 1]


def turn_of(frame: VideoFrame, path: str) -> Turn:
    """The turn that ``frame``'s display matrix asks for. Raises :class:`UnsupportedInput` for angles between
    quarters."""
    data = next((bytes(s) for s in frame.side_data if s.type.name == "DISPLAYMATRIX"), None)
    if data is None or len(data) < 36:
        return Turn()
    m = [v / 65536 for v in struct.unpack("<9i", data[:36])]
    a, b, c, d = m[0], m[1], m[3], m[4]
    scale = math.hypot(a, b)
    if scale == 0:
        return Turn()
    a, b, c, d = (round(v / scale, 3) for v in (a, b, c, d))
    if (abs(a), abs(b), abs(c), abs(d)) == (1, 0, 0, 1):
        return Turn(False, a < 0, d < 0)
    if (abs(a), abs(b), abs(c), abs(d)) == (0, 1, 1, 0):
        return Turn(True, c < 0, b < 0)
    raise UnsupportedInput(
        f"{path} is tagged to be shown turned by {round(math.degrees(math.atan2(b, a)))} degrees: only quarter turns "
        "and mirroring can be applied without loss, re-encode it upright first."
    )


@dataclass(frozen=True, slots=True)
class PixelPlan:
    """How the pictures of one stream become planes. ``source``: the decoder's pixel format; ``work``: the format that
    libswscale brings them to first (equal to ``source`` where nothing is converted); ``format``: that of the planes;
    ``rgb``: packed RGB carried without loss in 10-bit full-range Y'CbCr; ``grey``: chroma is added; ``expand``: chroma
    is duplicated to 4:4:4; ``size``: coded width and height of the pictures; ``scaled``: what they are scaled to, still
    unturned."""

    source: str
    work: str
    format: PixelFormat
    rgb: bool
    grey: bool
    expand: bool
    turn: Turn
    size: tuple[int, int]
    scaled: tuple[int, int]
    notes: tuple[str, ...]

    @property
    def upright(self) -> tuple[int, int]:
        width, height = self.scaled
        return (height, width) if self.turn.transpose else (width, height)


@dataclass(frozen=True, slots=True)
class Look:
    """The colour tags that go with a plan, as FFmpeg's names."""

    range: str
    space: str


def _yuv_name(shift: tuple[int, int], depth: int) -> str:
    base = {(1, 1): "yuv420p", (1, 0): "yuv422p", (0, 0): "yuv444p"}[shift]
    return base if depth == 8 else base + "10le"


def _nearest(name: str, video: av.VideoFormat) -> tuple[tuple[int, int], int]:
    """Chroma shift and depth of the nearest format that the encoders take."""
    shift = (64 // video.chroma_width(64)).bit_length() - 1, (64 // video.chroma_height(64)).bit_length() - 1
    depth = 8 if max(c.bits for c in video.components) <= 8 else 10
    known = {(1, 1): (1, 1), (1, 0): (1, 0), (0, 0): (0, 0), (2, 0): (1, 0), (2, 2): (1, 1), (0, 1): (0, 0)}
    return known.get(shift, (0, 0)), depth


def plan_pixels(
    path: str,
    first: VideoFrame,
    look: Look,
    turn: Turn,
    *,
    lossless_rgb: bool,
    max_height: int | None,
) -> tuple[PixelPlan, Look]:
    """Decide once, from the first picture, how all pictures of the stream are read.

    ``lossless_rgb`` keeps RGB sources (GIF) exact, at three times the samples; otherwise they become what every player
    shows, 4:2:0. Returns the plan and the colour tags that hold for its planes."""
    name = first.format.name
    video = av.VideoFormat(name, 64, 64)
    size = (first.width, first.height)
    if min(size) < SMALLEST_SIDE:
        raise UnsupportedInput(
            f"{path} is {size[0]} x {size[1]} pixels: nothing smaller than {SMALLEST_SIDE} pixels either "
            "way is processed."
        )
    scaled, notes = _scaled(size, turn, max_height)
    alpha = any(c.is_alpha for c in video.components)
    rgb = video.is_rgb or video.has_palette
    odd = bool(scaled[0] & 1 or scaled[1] & 1)
    if name.startswith(("bayer", "xyz")) or (rgb and max(c.bits for c in video.components) > 16):
        raise UnsupportedInput(
            f"{path} has the pixel format {name}, which is not supported: convert it to H.264 first."
        )
    if alpha:
        notes.append("transparency is not kept")
    if rgb:
        return _plan_rgb(name, video, look, turn, size, scaled, lossless_rgb, odd, notes)

    lines = scaled[0] if turn.transpose else scaled[1]
    matrix = colour.matrix(look.space, lines)
    if matrix is None:
        raise UnsupportedInput(
            f"{path} has the colour space {look.space}, which is not supported: convert it to BT.709 or BT.2020 first."
        )
    grey = sum(not c.is_alpha for c in video.components) == 1
    shift, depth = ((1, 1), 8 if video.components[0].bits <= 8 else 10) if grey else _nearest(name, video)
    full = look.range == "pc" or name.startswith("yuvj") or (grey and look.range == "unknown")
    work = ("gray" if depth == 8 else "gray10le") if grey else _yuv_name(shift, depth)
    planar = {work, work.replace("yuv", "yuvj", 1), work.replace("yuv", "yuva", 1)}
    if name in planar:
        work = name
    elif name.startswith("yuvj"):
        work = work.replace("yuv", "yuvj", 1)  # spares libswscale a change of range
    if work != name and name not in ("nv12", "nv21", "p010le"):
        notes.append(f"pixel format {name} is converted to {_yuv_name(shift, depth)}")
    expand = (bool(shift[0]) and odd) or (turn.transpose and shift == (1, 0))
    if shift == (1, 0) and not turn.transpose:
        expand = bool(scaled[0] & 1)
    if expand:
        shift = (0, 0)
        notes.append("chroma is duplicated to 4:4:4, which keeps the exact size" if odd else "4:2:2 turned: now 4:4:4")
    fmt = PixelFormat(_yuv_name(shift, depth), depth, shift, full, matrix)
    plan = PixelPlan(name, work, fmt, False, grey, expand, turn, size, scaled, tuple(notes))
    return plan, Look("pc" if full else look.range, look.space)


def _scaled(size: tuple[int, int], turn: Turn, max_height: int | None) -> tuple[tuple[int, int], list[str]]:
    width, height = size[::-1] if turn.transpose else size
    if max_height is None or height <= max_height:
        return size, []
    new_height = max_height - max_height % 2
    new_width = max(2, 2 * round(width * new_height / height / 2))
    note = f"scaled from {width} x {height} to {new_width} x {new_height}"
    return ((new_height, new_width) if turn.transpose else (new_width, new_height)), [note]


def _plan_rgb(
    name: str,
    video: av.VideoFormat,
    look: Look,
    turn: Turn,
    size: tuple[int, int],
    scaled: tuple[int, int],
    lossless: bool,
    odd: bool,
    notes: list[str],
) -> tuple[PixelPlan, Look]:
    if lossless:
        work = "rgba" if any(c.is_alpha for c in video.components) else "rgb24"
        plan = PixelPlan(name, work, RGB_CARRIER, True, False, False, turn, size, scaled, tuple(notes))
        return plan, Look("pc", "smpte170m")
    lines = scaled[0] if turn.transpose else scaled[1]
    matrix = "bt709" if lines >= 720 else "bt601"
    depth = 8 if max(c.bits for c in video.components) <= 8 else 10
    shift = (0, 0) if odd else (1, 1)
    work = _yuv_name(shift, depth)
    notes.append(f"RGB ({name}) is converted to {work}, {matrix.replace('bt', 'BT.')}")
    fmt = PixelFormat(work, depth, shift, False, matrix)
    plan = PixelPlan(name, work, fmt, False, False, False, turn, size, scaled, tuple(notes))
    return plan, Look("tv", "bt709" if matrix == "bt709" else "smpte170m")


class PlaneReader:
    """Turns decoded pictures into planes, by one plan. Not for use by several threads at once."""

    def __init__(self, plan: PixelPlan) -> None:
        self.plan = plan
        self._convert = VideoReformatter()
        self._scale = VideoReformatter()

    def planes(self, frame: VideoFrame) -> tuple[np.ndarray, ...]:
        """Upright, C-contiguous, read-only planes; views of the decoder's buffer where its lines have no padding."""
        plan = self.plan
        if frame.planes[0].line_size < 0:
            frame = _rightside_up(frame)
        if plan.scaled != plan.size:
            frame = self._scale.reformat(frame, *plan.scaled, interpolation=_LANCZOS_ACCURATE)
        if plan.work != plan.source:
            frame = self._to_work(frame)
        if plan.rgb:
            planes = rgb_to_carrier(_flattened(frame))
        else:
            planes = tuple(_view(frame, i) for i in range(1 if plan.grey else 3))
        if plan.grey:
            planes = (planes[0], *_neutral(plan.scaled, plan.format, plan.expand))
        elif plan.expand:
            planes = _expanded(planes, plan.scaled)
        done = tuple(np.ascontiguousarray(plan.turn.apply(p)) for p in planes)
        for plane in done:
            plane.flags.writeable = False
        return done

    def _to_work(self, frame: VideoFrame) -> VideoFrame:
        source = frame.format
        if (source.is_rgb or source.has_palette) and not self.plan.rgb:
            matrix = _SWS_MATRIX[self.plan.format.matrix]
            return self._convert.reformat(
                frame,
                format=self.plan.work,
                src_colorspace=1 if matrix == 5 else 5,  # unused for RGB, but equal numbers would be skipped
                dst_colorspace=matrix,
                interpolation=_BILINEAR_ACCURATE,
            )
        return self._convert.reformat(frame, format=self.plan.work, interpolation=_BILINEAR_ACCURATE)


RGB_CARRIER = PixelFormat("yuv444p10le", 10, (0, 0), True, "bt601")
"""Ten-bit full-range Y'CbCr holds every 8-bit RGB triple exactly: the round trip errs by less than 0.4 of a code
value."""


def rgb_to_carrier(rgb: np.ndarray) -> tuple[np.ndarray, ...]:
    """uint8 H x W x 3 RGB to the three uint16 planes of :data:`RGB_CARRIER` (ITU-T T.871 matrix at ten bits)."""
    v = rgb.astype(np.float32) * np.float32(1023 / 255)
    r, g, b = v[..., 0], v[..., 1], v[..., 2]
    y = 0.299 * r + 0.587 * g + 0.114 * b
    cb = (b - y) / 1.772 + 512
    cr = (r - y) / 1.402 + 512
    return tuple(np.clip(np.rint(p), 0, 1023).astype(np.uint16) for p in (y, cb, cr))


def carrier_to_rgb(planes: tuple[np.ndarray, ...]) -> np.ndarray:
    """The inverse of :func:`rgb_to_carrier`, exact for every triple that came from it."""
    y, cb, cr = (p.astype(np.float32) for p in planes)
    r = y + 1.402 * (cr - 512)
    b = y + 1.772 * (cb - 512)
    g = (y - 0.299 * r - 0.114 * b) / 0.587
    return np.clip(np.rint(np.stack((r, g, b), -1) * np.float32(255 / 1023)), 0, 255).astype(np.uint8)


def plane_view(frame: VideoFrame, index: int, dtype: type = np.uint8) -> np.ndarray:
    """Rows x samples of one plane of ``frame`` with the line padding cut off; shares the frame's memory."""
    plane = frame.planes[index]
    lines: np.ndarray = np.frombuffer(plane, dtype).reshape(plane.height, -1)
    return lines[:, : plane.width]


def _view(frame: VideoFrame, index: int) -> np.ndarray:
    return plane_view(frame, index, np.uint16 if frame.format.components[0].bits > 8 else np.uint8)


def _flattened(frame: VideoFrame) -> np.ndarray:
    channels = 4 if frame.format.name == "rgba" else 3
    plane = frame.planes[0]
    lines = np.frombuffer(plane, np.uint8).reshape(plane.height, -1)
    pixels = lines[:, : frame.width * channels].reshape(frame.height, frame.width, channels)
    if channels == 3:
        return pixels
    # Whatever lies under transparent pixels was never visible, so it must not become so.
    alpha = pixels[..., 3:].astype(np.uint16)
    over = (pixels[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255
    return over.astype(np.uint8)


def _expanded(planes: tuple[np.ndarray, ...], size: tuple[int, int]) -> tuple[np.ndarray, ...]:
    width, height = size
    chroma = []
    for p in planes[1:]:
        if p.shape[0] != height:
            p = np.repeat(p, 2, axis=0)[:height]
        if p.shape[1] != width:
            p = np.repeat(p, 2, axis=1)[:, :width]
        chroma.append(p)
    return (planes[0], *chroma)


@lru_cache(maxsize=4)
def _neutral(size: tuple[int, int], fmt: PixelFormat, expand: bool) -> tuple[np.ndarray, np.ndarray]:
    shift = (0, 0) if expand else (1, 1)
    shape = -(-size[1] >> shift[1]), -(-size[0] >> shift[0])
    plane = np.full(shape, 1 << (fmt.depth - 1), np.uint8 if fmt.depth == 8 else np.uint16)
    return plane, plane


def _rightside_up(frame: VideoFrame) -> VideoFrame:
    """Bottom-up pictures have negative line sizes, which PyAV's planes cannot express: copy them the right way
    round."""
    graph = Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base or av.time_base_q
    )
    graph.link_nodes(source, graph.add("copy"), graph.add("buffersink")).configure()
    graph.push(frame)
    return graph.pull()
