"""The values that flow between stages: frozen dataclasses, no dictionaries.

Conventions, everywhere in the package:

* Pixel coordinates are continuous, ``(x, y)``, y down, with the centre of the top-left sample at ``(0, 0)``.
* Geometry is in upright, square-sample pixels of the frame as shown, after rotation (the sample aspect ratio is kept
  as a tag and does not enter).
* Transforms are named ``dst_from_src`` and are 2 x 3 float64.
* Frame numbers count decoded frames of the chosen range from 0, in presentation order.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from fractions import Fraction

import numpy as np


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """How the planes of a :class:`Frame` are laid out, and what their numbers mean.

    ``chroma_shift`` is ``(log2 of horizontal, log2 of vertical)`` subsampling, ``(1, 1)`` for 4:2:0. ``depth`` is bits
    a sample: planes are uint8 at 8 bits and uint16, low bits used, above. ``full_range`` tells 0..2^depth-1 from studio
    swing. ``matrix`` is one of ``bt601``, ``bt709``, ``bt2020`` (what unspecified sources are taken for: BT.601 below
    720 lines, BT.709 from there on). Grey formats have one plane. Channel order of planes is Y, Cb, Cr.
    """

    name: str
    depth: int
    chroma_shift: tuple[int, int]
    full_range: bool
    matrix: str
    grey: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One decoded picture, upright, in the decoder's own samples.

    ``planes``: tuple of C-contiguous H x W arrays (chroma planes smaller by ``format.chroma_shift``), uint8 or uint16.
    They are treated as read-only: whoever changes samples works on copies and makes a new frame with
    :func:`dataclasses.replace`. ``pts`` counts ``time_base`` units exactly as in the source. ``duration`` in the same
    units, or ``None`` when the source does not say. ``damaged``: the decoder reported errors here or the frame stands
    beside a hole (only ever true with ``salvage``, and of what comes over a network or through a pipe).
    """

    index: int
    pts: int
    time_base: Fraction
    duration: int | None
    planes: tuple[np.ndarray, ...]
    format: PixelFormat
    damaged: bool = False

    @property
    def width(self) -> int:
        return int(self.planes[0].shape[1])

    @property
    def height(self) -> int:
        return int(self.planes[0].shape[0])

    @property
    def seconds(self) -> float:
        return float(self.pts * self.time_base)


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    """A face seen in one frame by a face detector.

    ``box``: float32 (4,), ``x0 y0 x1 y1`` in frame pixels, hairline to chin and cheek to cheek, axis-aligned.
    ``score`` in [0, 1]. ``points``: float32 (5, 2), right eye, left eye, nose tip, right and left mouth corner as the
    viewer sees them from left to right, or ``None``. ``detector`` names who found it.
    """

    box: np.ndarray
    score: float
    points: np.ndarray | None
    detector: str


class Evidence(IntEnum):
    """Why a track holds that a face is at a place in a frame, strongest first."""

    SEARCHED = 0
    """A face detector found it in this very frame."""
    LANDMARKS = 1
    """The landmark model found it in this very frame."""
    FLOW = 2
    """Its texture was followed here from a neighbouring frame."""
    FILLED = 3
    """Seen before and after but not here: interpolated."""
    HELD = 4
    """Beyond the first or last evidence: kept for safety."""


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """One face followed through one shot, without holes: row ``i`` belongs to frame ``first + i``.

    ``boxes``: float32 (n, 5), ``cx cy w h roll``: an oriented face box (hairline to chin, cheek to cheek) in frame
    pixels; ``roll`` in radians, clockwise positive as seen on screen, 0 for an upright head. ``evidence``: uint8 (n,),
    :class:`Evidence`. ``scores``: float32 (n,) in [0, 1], how sure. ``confirmed``: the landmark model agreed at least
    once that this is a face. ``yaw``: float32 (n,), degrees, positive when the head turns to the viewer's right, NaN
    where unknown.
    """

    id: int
    shot: int
    first: int
    boxes: np.ndarray
    evidence: np.ndarray
    scores: np.ndarray
    yaw: np.ndarray
    confirmed: bool

    @property
    def last(self) -> int:
        return self.first + len(self.boxes) - 1

    def __len__(self) -> int:
        return len(self.boxes)

    def covers(self, frame: int) -> bool:
        return self.first <= frame <= self.last

    def box_at(self, frame: int) -> np.ndarray:
        return self.boxes[frame - self.first]


@dataclass(frozen=True, slots=True)
class Shot:
    """A run of frames between two cuts, ``first`` to ``last`` inclusive."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """One stream of the source: its ``index`` there, ``kind`` (video, audio, subtitle, data, attachment), ``codec``,
    ``language`` or ``None``, and ``fate``: what the run does with it (copied, transcoded, masked, processed, dropped),
    with the reason in ``why`` unless it is simply copied."""

    index: int
    kind: str
    codec: str
    language: str | None
    fate: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """What a source holds, as read from its headers.

    ``width`` and ``height`` are those of the upright picture; ``rotation`` is what the display matrix asked for, in
    degrees clockwise, already applied to every frame read. ``frames`` and ``seconds`` are the container's claims, or
    ``None``; ``first_pts`` is when the first frame is shown, in ``time_base``. ``color_*`` are FFmpeg's names
    (``bt709``, ``smpte2084``...; ``unknown`` when untagged). ``kind`` is ``video``, ``image`` or ``folder``.
    """

    path: str
    kind: str
    container: str
    codec: str
    width: int
    height: int
    rotation: int
    mirrored: bool
    sample_aspect_ratio: Fraction
    format: PixelFormat
    color_range: str
    color_space: str
    color_primaries: str
    color_transfer: str
    time_base: Fraction
    average_rate: Fraction | None
    frames: int | None
    seconds: float | None
    interlaced: bool
    streams: tuple[StreamInfo, ...]
    chapters: int
    notes: tuple[str, ...] = field(default=())
    first_pts: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """Everything the first pass learned. Holds places of faces, no pictures and no templates."""

    media: MediaInfo
    frames: int
    shots: tuple[Shot, ...]
    tracks: tuple[Track, ...]
    damaged: tuple[int, ...]
    searches: int
