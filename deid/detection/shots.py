"""Where one shot ends and the next begins, while the frames go by.

Two detectors propose cuts, those of B. Castellano's *PySceneDetect* (BSD licence): mean change of hue, saturation and
brightness beyond a fixed threshold, or beyond that of the frames around; the one misses cuts between two dark shots and
the other cuts inside fast motion. Camera flashes look like two cuts and are taken back here: a picture
that is there before and after, with something in between that is the same picture lit otherwise, was never cut. Nor
was one that only moved, as in a fast pan. Whatever is less clear than that stays a cut, since a missed one lets a face
drift from shot to shot and one too many only costs a search.
"""

from __future__ import annotations

from collections import deque
from itertools import pairwise

import numpy as np

from .. import imaging
from .boxes import check_picture, resample

_LONG_SIDE = 160
_CONTENT = 27.0  # change, in 8-bit levels, that is a cut whatever is around it
_ADAPTIVE, _LEAST_CHANGE = 3.0, 12.0  # times the change of the frames around, and levels, that are one together
_LOOK_AHEAD = 2  # frames either side of a change, for the adaptive detector and for telling a flash
_LONGEST_FLASH = 2  # frames
_FLASH_RETURNS = 0.35  # the picture after a flash differs from the one before by less than this part of the flash
_FLASH_LIKENESS = 0.5  # correlation of a flash's luma with the picture it lights
_BLANK = 10.0  # standard deviation of luma below which a picture shows nothing
_MOVED_LIKENESS = 0.9  # correlation of luma where a moved picture overlaps the one before
_PART_LIKENESS = 0.75  # correlation that three in four ninths of it must reach
_BLACK, _BLACK_RUN = 24, 3  # brightest percent of samples, and frames, that make black between two shots


class ShotDetector:
    """Feed it every frame in order; it tells, two frames later, where new shots start.

    Frames are small BGR pictures, uint8 (h, w, 3), all of one size; 100 to 200 pixels wide is right, larger ones are
    reduced here. Memory does not grow. One instance belongs to one thread at a time.
    """

    delay = _LOOK_AHEAD
    """How many frames after the start of a shot :meth:`feed` tells of it."""

    def __init__(self) -> None:
        self._hsv: np.ndarray | None = None
        # gives frame 1 the neighbours that the adaptive rule wants
        self._changes: deque[float] = deque([0.0] * _LOOK_AHEAD, maxlen=2 * _LOOK_AHEAD + 1)
        self._recent: deque[np.ndarray] = deque(maxlen=2 * _LOOK_AHEAD + 2)
        self._proposed: set[int] = set()
        self._certain: set[int] = set()
        self._frames = 0
        self._black_run = 0
        self._shape: tuple[int, ...] | None = None

    def feed(self, small_bgr: np.ndarray) -> list[int]:
        """Take the next frame; return the numbers of frames, from 0, now known to start a new shot.

        Frame 0 is never among them. Raises ``ValueError`` when the size changes or the picture is empty.
        """
        check_picture(small_bgr)
        if not small_bgr.size or self._shape not in (None, small_bgr.shape):
            raise ValueError(f"every frame must have the size of the first, {self._shape}, not {small_bgr.shape}")
        self._shape = small_bgr.shape
        picture = _reduced(small_bgr)
        self._recent.append(picture)
        self._propose(self._frames, picture)
        self._frames += 1
        return self._settle(self._frames - 1 - _LOOK_AHEAD)

    def finish(self) -> list[int]:
        """After the last frame: the starts not told yet."""
        if not self._frames:
            return []
        for ahead in range(_LOOK_AHEAD):
            self._changes.append(0.0)
            self._adapt(self._frames + ahead)
        return self._settle(self._frames - 1)

    def _propose(self, number: int, picture: np.ndarray) -> None:
        hsv = imaging.cvt_color(picture, imaging.COLOR_BGR2HSV).astype(np.int16)
        self._changes.append(0.0 if self._hsv is None else float(np.abs(hsv - self._hsv).mean()))
        self._hsv = hsv
        if self._changes[-1] >= _CONTENT:
            self._proposed.add(number)
        self._adapt(number)
        if np.percentile(picture, 99) < _BLACK:
            self._black_run += 1
        else:
            if self._black_run >= _BLACK_RUN:
                self._certain.add(number)
            self._black_run = 0

    def _adapt(self, number: int) -> None:
        """Propose the frame that lies the look-ahead back from ``number``, if it changed much more than those around
        it."""
        if len(self._changes) < 2 * _LOOK_AHEAD + 1:
            return
        here = self._changes[_LOOK_AHEAD]
        around = (sum(self._changes) - here) / (2 * _LOOK_AHEAD)
        if here >= max(_LEAST_CHANGE, _ADAPTIVE * around):
            self._proposed.add(number - _LOOK_AHEAD)

    def _settle(self, newest: int) -> list[int]:
        known = sorted(n for n in self._proposed | self._certain if n <= newest)
        cuts = [n for n in known if n > 0 and (n in self._certain or not (self._is_flash(n) or self._is_pan(n)))]
        self._proposed.difference_update(known)
        self._certain.difference_update(known)
        return cuts

    def _is_flash(self, number: int) -> bool:
        """Whether the change at frame ``number`` is the beginning or the end of a flash."""
        for length in range(1, _LONGEST_FLASH + 1):
            for first in (number, number - length):
                before, after = self._picture(first - 1), self._picture(first + length)
                lit = [p for n in range(first, first + length) if (p := self._picture(n)) is not None]
                if before is None or after is None or len(lit) < length:
                    continue
                if all(_lights_up(before, p, after) for p in lit):
                    return True
        return False

    def _is_pan(self, number: int) -> bool:
        """Whether frame ``number`` shows the scene of the frame before from further along."""
        before, after = self._picture(number - 1), self._picture(number)
        return before is not None and after is not None and _moves(before, after)

    def _picture(self, number: int) -> np.ndarray | None:
        position = number - (self._frames - len(self._recent))
        return self._recent[position] if 0 <= position < len(self._recent) else None


def _reduced(bgr: np.ndarray) -> np.ndarray:
    height, width = bgr.shape[:2]
    shrink = min(1.0, _LONG_SIDE / max(width, height))
    return resample(bgr, max(1, round(width * shrink)), max(1, round(height * shrink))).copy()


def _lights_up(before: np.ndarray, lit: np.ndarray, after: np.ndarray) -> bool:
    """Whether ``lit`` shows the scene of ``before`` and ``after``, which look alike, in another light, or nothing."""
    change = min(_difference(before, lit), _difference(lit, after))
    if _difference(before, after) >= _FLASH_RETURNS * change:
        return False
    luma, reference = (p.mean(axis=2) for p in (lit, before))
    return bool(luma.std() < _BLANK) or _likeness(luma, reference) >= _FLASH_LIKENESS


def _moves(before: np.ndarray, after: np.ndarray) -> bool:
    """Whether a shift by less than half the picture lays ``before`` over ``after``.

    Shifts are proposed by correlation, whitened fully, which suits sharp pictures, and half, which suits soft ones.
    """
    a, b = _without_bars(*(p.mean(axis=2) for p in (before, after)))
    if min(a.shape) < 3:
        return False
    window = np.outer(
        *(np.hanning(size + 2)[1:-1] for size in a.shape)
    )  # or the picture's edges would match themselves
    spectrum = np.fft.rfft2((b - b.mean()) * window) * np.conj(np.fft.rfft2((a - a.mean()) * window))
    for whitening in (1.0, 0.5):
        surface = np.fft.irfft2(spectrum / np.maximum(np.abs(spectrum), 1e-9) ** whitening, s=a.shape)
        peak = np.unravel_index(surface.argmax(), a.shape)
        dy, dx = ((int(at) + size // 2) % size - size // 2 for at, size in zip(peak, a.shape, strict=True))
        if _alike_everywhere(_overlap(a, -dy, -dx), _overlap(b, dy, dx)):
            return True
    return False


def _without_bars(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both pictures less the black bars they share, which alone would make them alike."""
    shown = np.maximum(a, b) >= _BLACK
    rows, columns = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
    if not rows.size:
        return a[:0], b[:0]
    inside = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return a[inside], b[inside]


def _alike_everywhere(a: np.ndarray, b: np.ndarray) -> bool:
    """As a whole and in nearly every part: whatever lies still over two scenes makes them alike as a whole."""
    if _likeness(a, b) < _MOVED_LIKENESS:
        return False
    rows, columns = (np.linspace(0, n, 4).astype(int) for n in a.shape)
    parts = [np.s_[y0:y1, x0:x1] for y0, y1 in pairwise(rows) for x0, x1 in pairwise(columns)]
    textured = [p for p in parts if max(a[p].std(), b[p].std()) >= _BLANK]
    return bool(textured) and float(np.quantile([_likeness(a[p], b[p]) for p in textured], 0.25)) >= _PART_LIKENESS


def _overlap(picture: np.ndarray, dy: int, dx: int) -> np.ndarray:
    height, width = picture.shape
    return picture[max(0, dy) : height + min(0, dy), max(0, dx) : width + min(0, dx)]


def _likeness(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation of two luma pictures; 0 when either shows nothing."""
    if min(a.size, b.size) < 4 or min(a.std(), b.std()) < _BLANK:
        return 0.0
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def _difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(np.int16) - b).mean())
