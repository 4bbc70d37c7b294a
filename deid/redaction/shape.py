"""From a track's face boxes to the region that is obscured in each frame.

Three steps. A head is laid over every box, with margins that hold hairline, chin and both ears. The heads' path is
smoothed over time, forwards and backwards alike, robustly against single bad boxes. Then safety has the last word:
wherever a frame's own box, or the way the head moves while the shutter is open, sticks out of the smoothed region, the
region grows, and it grows and shrinks so gradually that nothing pops.

Everything is relative to the size of the face, so that a track scaled, turned or moved gives regions scaled, turned and
moved. ``benchmarks/region_containment.py`` measures the margins on face meshes under detection noise.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..types import Evidence, Track
from .region import Region, radius, unit_outline

_WIDTH, _HEIGHT, _DROP = 1.6, 1.45, 0.04
"""A region's width and height over those of the box, and how far its centre lies below the box's, in box heights. Ears
reach 0.65 box widths from the middle, and good detectors err by up to a fifth of a face (IoU 0.6)."""
_ALONE_WIDER, _ALONE_HIGHER = 0.2, 0.05
"""What is added for a box by itself, and less for several, whose errors average out; nothing from this many on:"""
_MANY = 16
_UNKNOWN_TURN = 0.35  # how far a head is taken to be turned whose angle is never known, to either side
_HEAD_WIDTH, _HEAD_HEIGHT, _HEAD_RISE = 2.3, 2.02, 0.21
"""The same for a whole head with its hair, whose middle lies above the face's."""
_LEAST_WIDTH, _LEAST_HEIGHT = 1.3, 1.2  # what of a single frame's box is held whatever the smoothing says
_SLIMMEST = 0.7  # width over height of a frontal box; in profile boxes get narrower, heads do not
_TURN_SHIFT, _TURN_GROWTH = 0.14, 0.18  # of a full profile, towards the back of the head, in box heights

_PATH_SECONDS, _SIZE_SECONDS = 0.08, 0.2  # standard deviations in time: heads move faster than they change size
_ENVELOPE_SECONDS = 0.24  # how long before a need the region begins to grow
_MOST_FRAMES = 240  # whatever rate a file claims
_OUTLIER_FRAMES = 5  # the median over so many survives two bad boxes

_TRUST = np.zeros(len(Evidence))
_TRUST[[Evidence.SEARCHED, Evidence.LANDMARKS, Evidence.FLOW, Evidence.FILLED, Evidence.HELD]] = 1, 1, 0.5, 0.2, 0.1
_DOUBT_A_SECOND, _MOST_DOUBT = 0.75, 0.5  # growth of the region away from the nearest sure sighting

_POINTS = 48
_ROWS = 4096
_OUTLINE = unit_outline(_POINTS)


def _polygon_gap() -> float:
    """How much the outline's polygon must grow to hold the outline."""
    along = np.linspace(0, 1, 9)[:, None, None]
    chords = _OUTLINE * (1 - along) + np.roll(_OUTLINE, -1, axis=0) * along
    return float(1 / radius(chords[..., 0], chords[..., 1]).min())


_OUTLINE = _OUTLINE * _polygon_gap()


def regions_of(track: Track, rate: float = 25.0, cover: str = "face") -> tuple[Region, ...]:
    """One region a frame: item ``i`` belongs to frame ``track.first + i``.

    ``rate``: frames a second, about. ``cover``: the ``face`` with its ears, or the whole ``head`` with its hair. Each
    region holds a superellipse 1.3 times as wide and 1.2 times as high as that frame's own box (:func:`least_region`).
    Raises :class:`ValueError` for boxes that are not finite or have no size.
    """
    boxes = np.asarray(track.boxes, np.float64)
    if not np.isfinite(boxes).all() or (boxes[:, 2:4] <= 0).any():
        raise ValueError(f"track {track.id} has boxes that are not finite or have no size")
    if not rate > 0:
        raise ValueError(f"a frame rate must be positive, not {rate}")
    if not len(boxes):
        return ()
    margins = (_HEAD_WIDTH, _HEAD_HEIGHT, -_HEAD_RISE) if cover == "head" else _face_margins(len(boxes))
    least, heads = _least(boxes), _heads(boxes, _filled_yaw(np.asarray(track.yaw, np.float64)), *margins)
    evidence = np.asarray(track.evidence)
    smooth = _smoothed(heads, _TRUST[evidence], rate)
    smooth[:, 2:4] *= 1 + _doubt(evidence, np.asarray(track.scores, np.float64), rate)[:, None]
    grown = _grown(smooth, least, max(1, min(round(_ENVELOPE_SECONDS * rate), _MOST_FRAMES)))
    return tuple(Region(*row) for row in grown.tolist())


def _face_margins(count: int) -> tuple[float, float, float]:
    """Width, height and drop of the regions of a track of ``count`` boxes."""
    alone = max(count**-0.5 - _MANY**-0.5, 0) / (1 - _MANY**-0.5)
    return _WIDTH + _ALONE_WIDER * alone, _HEIGHT + _ALONE_HIGHER * alone, _DROP


def least_region(box: np.ndarray) -> Region:
    """What a region holds of its own frame's box (5,) ``cx cy w h roll``, however smooth it is."""
    return Region(*_least(np.asarray(box, np.float64)[None])[0].tolist())


def _least(boxes: np.ndarray) -> np.ndarray:
    """(n, 5) ``cx cy ax ay roll``."""
    return boxes * [1, 1, _LEAST_WIDTH / 2, _LEAST_HEIGHT / 2, 1]


def _heads(boxes: np.ndarray, yaw: np.ndarray, width: float, height: float, drop: float) -> np.ndarray:
    """Whole heads with all margins over boxes (n, 5), one frame at a time: (n, 5) ``cx cy ax ay roll``, roll unwrapped.

    A turned head reaches backwards out of its box: ear and jaw lie on the side it turns away from.
    """
    cx, cy, w, h, roll = boxes.T
    turn = np.sin(np.radians(np.nan_to_num(yaw)))
    across, down = -_TURN_SHIFT * turn * h, drop * h
    reach = np.where(np.isfinite(yaw), np.abs(turn), _UNKNOWN_TURN)
    ax = np.maximum(w, _SLIMMEST * h) * width / 2 + _TURN_GROWTH * reach * h
    cos, sin = np.cos(roll), np.sin(roll)
    x, y = cx + across * cos - down * sin, cy + across * sin + down * cos
    return np.stack([x, y, ax, h * height / 2, np.unwrap(roll)], axis=1)


def _filled_yaw(yaw: np.ndarray) -> np.ndarray:
    """Unknown angles lie between the known ones around them: landmarks fail just where a head turns furthest. NaN
    where none is known."""
    known = np.isfinite(yaw)
    if not known.any():
        return yaw
    at = np.arange(len(yaw))
    return np.interp(at, at[known], yaw[known])


def _doubt(evidence: np.ndarray, scores: np.ndarray, rate: float) -> np.ndarray:
    """How much larger a region must be because nobody saw the face for a while: (n,), from 0 to the most.

    Doubt adds up from the nearest frame in which the face was found, on either side; a good match of texture adds less.
    """
    sure = (evidence == Evidence.SEARCHED) | (evidence == Evidence.LANDMARKS)
    steps = np.where(evidence == Evidence.FLOW, 1 - np.clip(np.nan_to_num(scores), 0, 1), 1.0) * _DOUBT_A_SECOND / rate

    def since(sure: np.ndarray, steps: np.ndarray) -> np.ndarray:
        total = np.cumsum(np.where(sure, 0.0, steps))
        last = np.maximum.accumulate(np.where(sure, total, -np.inf))
        return total - last

    doubt = np.minimum(since(sure, steps), since(sure[::-1], steps[::-1])[::-1])
    return np.minimum(doubt, _MOST_DOUBT)


def _smoothed(heads: np.ndarray, trust: np.ndarray, rate: float) -> np.ndarray:
    path = heads.copy()
    path[:, 2:4] = np.log(path[:, 2:4])
    path = np.median(_around(path, _OUTLIER_FRAMES // 2), axis=2)
    path[:, :2] = _local_line(path[:, :2], trust, _PATH_SECONDS * rate)
    path[:, 2:] = _local_line(path[:, 2:], trust, _SIZE_SECONDS * rate)
    path[:, 2:4] = np.exp(path[:, 2:4])
    return path


def _local_line(values: np.ndarray, trust: np.ndarray, sigma: float) -> np.ndarray:
    """Smoothed (n, c): at every row, the value there of a line fitted with Gaussian weights (W. Cleveland, *Robust
    locally weighted regression*, 1979). Unlike a moving average it does not lag behind steady motion, nor bend at the
    ends."""
    count = len(values)
    reach = max(1, min(int(np.ceil(3 * sigma)), count))  # a file may claim any rate
    centre = values.mean(axis=0)
    padded = np.pad(values - centre, ((reach, reach), (0, 0)))
    weights = np.pad(trust, reach)
    s0, s1, s2 = np.zeros((3, count, 1))
    t0, t1 = np.zeros((2, *values.shape))
    for shift in range(-reach, reach + 1):
        at = slice(reach + shift, reach + shift + count)
        weight = (weights[at] * np.exp(-0.5 * (shift / max(sigma, 0.3)) ** 2))[:, None]
        s0 += weight
        s1 += weight * shift
        s2 += weight * shift**2
        t0 += weight * padded[at]
        t1 += weight * shift * padded[at]
    s2 += 0.02 * (1 + sigma**2) * s0  # a hold on the slope where all weight lies on one row
    return centre + (s2 * t0 - s1 * t1) / (s2 * s0 - s1**2)


def _grown(smooth: np.ndarray, least: np.ndarray, reach: int) -> np.ndarray:
    """``smooth`` (n, 5) grown until every row holds its own ``least`` and itself, both smeared by half a frame's motion
    to either side: exposure lasts at most from one frame to the next."""
    half = np.gradient(smooth[:, :2], axis=0) / 2 if len(smooth) > 1 else np.zeros((1, 2))
    ends = np.zeros((len(smooth), 4))
    for rows, points in _needs(smooth, least, half):
        u, v = _in_units(points, smooth[rows])
        ends[rows] = np.maximum(ends[rows], np.stack([-u.min(1), u.max(1), -v.min(1), v.max(1)], axis=1))
    left, right, top, bottom = _envelope(ends, reach).T
    grown = smooth.copy()
    cos, sin = np.cos(smooth[:, 4]), np.sin(smooth[:, 4])
    across, down = (right - left) / 2 * smooth[:, 2], (bottom - top) / 2 * smooth[:, 3]
    grown[:, 0] += across * cos - down * sin
    grown[:, 1] += across * sin + down * cos
    grown[:, 2] *= (left + right) / 2
    grown[:, 3] *= (top + bottom) / 2
    # The four sides hold the points one by one, not yet a round outline through all of them.
    needed = np.ones((len(smooth), 1))
    for rows, points in _needs(smooth, least, half):
        u, v = _in_units(points, grown[rows])
        needed[rows] = np.maximum(needed[rows], radius(u, v).max(1, keepdims=True))
    grown[:, 2:4] *= _envelope(needed, reach)
    return grown


def _needs(smooth: np.ndarray, least: np.ndarray, half: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Outlines (rows, points, 2) that the grown regions must hold, some rows at a time so that memory stays flat."""
    for start in range(0, len(smooth), _ROWS):
        rows = slice(start, start + _ROWS)
        for cx, cy, ax, ay, roll in (smooth[rows].T[..., None], least[rows].T[..., None]):
            x, y = _OUTLINE[:, 0] * ax, _OUTLINE[:, 1] * ay
            cos, sin = np.cos(roll), np.sin(roll)
            outline = np.stack([cx + x * cos - y * sin, cy + x * sin + y * cos], axis=2)
            yield rows, outline - half[rows, None]
            yield rows, outline + half[rows, None]


def _in_units(points: np.ndarray, regions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points (n, m, 2) in units of the half axes of regions (n, 5): u and v, each (n, m)."""
    cx, cy, ax, ay, roll = regions.T[..., None]
    dx, dy = points[..., 0] - cx, points[..., 1] - cy
    cos, sin = np.cos(roll), np.sin(roll)
    return (dx * cos + dy * sin) / ax, (dy * cos - dx * sin) / ay


def _envelope(values: np.ndarray, reach: int) -> np.ndarray:
    """A smooth curve that nowhere falls below ``values`` (n, c): the running maximum over ``reach`` frames to either
    side, averaged over as many."""
    highest = _around(values, reach).max(axis=2)
    kernel = np.hanning(2 * reach + 3)[1:-1]
    return _around(highest, reach) @ (kernel / kernel.sum())


def _around(values: np.ndarray, reach: int) -> np.ndarray:
    """Every row of ``values`` (n, c) with those up to ``reach`` before and after it, the ends repeated: a view
    (n, c, 2 reach + 1)."""
    padded = np.pad(values, ((reach, reach), (0, 0)), mode="edge")
    return np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, axis=0)
