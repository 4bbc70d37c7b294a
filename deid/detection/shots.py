"""Where one shot ends and the next begins, while the frames go by.

PySceneDetect's content and adaptive detectors propose cuts; both are asked, because the one misses cuts between two
dark shots and the other cuts inside fast motion. Camera flashes look like two cuts and are taken back here: a picture
that is there before and after, with something in between that is the same picture lit otherwise, was never cut.
Whatever is less clear than that stays a cut, since a missed one lets a face drift from shot to shot and one too many
only costs a search.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from scenedetect.detectors import AdaptiveDetector, ContentDetector

from .boxes import check_picture, resample

_LONG_SIDE = 160
_LOOK_AHEAD = 2  # frames either side of a change, for the adaptive detector and for telling a flash
_LONGEST_FLASH = 2  # frames
_FLASH_RETURNS = 0.35  # the picture after a flash differs from the one before by less than this part of the flash
_FLASH_LIKENESS = 0.5  # correlation of a flash's luma with the picture it lights
_BLANK = 10.0  # standard deviation of luma below which a picture shows nothing
_BLACK, _BLACK_RUN = 24, 3  # brightest percent of samples, and frames, that make black between two shots


class ShotDetector:
    """Feed it every frame in order; it tells, two frames later, where new shots start.

    Frames are small BGR pictures, uint8 (h, w, 3), all of one size; 100 to 200 pixels wide is right, larger ones are
    reduced here. Memory does not grow. One instance belongs to one thread at a time.
    """

    delay = _LOOK_AHEAD
    """How many frames after the start of a shot :meth:`feed` tells of it."""

    def __init__(self) -> None:
        self._adaptive = AdaptiveDetector(
            adaptive_threshold=3.0, min_content_val=12.0, min_scene_len=1, window_width=_LOOK_AHEAD
        )
        self._content = ContentDetector(threshold=27.0, min_scene_len=0)
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
        if not self._frames:
            for number in range(-_LOOK_AHEAD, 0):  # gives frame 1 the neighbours that the adaptive detector wants
                self._adaptive.process_frame(number, picture)
        self._recent.append(picture)
        self._propose(self._frames, picture)
        self._frames += 1
        return self._settle(self._frames - 1 - _LOOK_AHEAD)

    def finish(self) -> list[int]:
        """After the last frame: the starts not told yet."""
        if not self._frames:
            return []
        for ahead in range(_LOOK_AHEAD):
            self._proposed.update(self._adaptive.process_frame(self._frames + ahead, self._recent[-1]))
        return self._settle(self._frames - 1)

    def _propose(self, number: int, picture: np.ndarray) -> None:
        self._proposed.update(self._adaptive.process_frame(number, picture))
        self._proposed.update(self._content.process_frame(number, picture))
        if np.percentile(picture, 99) < _BLACK:
            self._black_run += 1
        else:
            if self._black_run >= _BLACK_RUN:
                self._certain.add(number)
            self._black_run = 0

    def _settle(self, newest: int) -> list[int]:
        known = sorted(n for n in self._proposed | self._certain if n <= newest)
        cuts = [n for n in known if n > 0 and (n in self._certain or not self._is_flash(n))]
        self._proposed.difference_update(known)
        self._certain.difference_update(known)
        return cuts

    def _is_flash(self, number: int) -> bool:
        """Whether the change at frame ``number`` is the beginning or the end of a flash."""
        for length in range(1, _LONGEST_FLASH + 1):
            for first in (number, number - length):
                before, after = self._picture(first - 1), self._picture(first + length)
                lit = [self._picture(n) for n in range(first, first + length)]
                if before is None or after is None or any(p is None for p in lit):
                    continue
                if all(_lights_up(before, p, after) for p in lit):
                    return True
        return False

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
    if luma.std() < _BLANK:
        return True
    if reference.std() < _BLANK:
        return False
    return float(np.corrcoef(luma.ravel(), reference.ravel())[0, 1]) >= _FLASH_LIKENESS


def _difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(np.int16) - b).mean())
