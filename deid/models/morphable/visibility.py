"""How well a face can be seen in each frame, for :mod:`~.trust` to judge."""

from __future__ import annotations

import numpy as np

from deid.models.morphable import face_points
from deid.models.morphable.tracks import AttributeTrack, Observations


def with_visibility(track: AttributeTrack, observations: Observations) -> AttributeTrack:
    """``track`` with ``height``, ``outside`` and ``jump`` measured."""
    return track.with_values(
        height=face_height(observations.points, track).astype(np.float32),
        outside=outside(observations).astype(np.float32),
        jump=jumps(track, observations).astype(np.float32),
    )


def face_height(points: np.ndarray, track: AttributeTrack) -> np.ndarray:
    """(n,): pixels from the hairline to the chin, as if seen from the front."""
    top, chin = points[:, 10, :2].astype(np.float64), points[:, 152, :2].astype(np.float64)
    up = track.rotation[:, :2, 1]
    return np.linalg.norm(top - chin, axis=1) / np.clip(np.linalg.norm(up, axis=1), 0.6, 1.0)


def jumps(track: AttributeTrack, observations: Observations) -> np.ndarray:
    """(n,): how far the head lies from where both neighbours say, in eye distances; rigid points only, so that speech
    and blinks do not count. Two rows beside each other that agree with one more are believed: a head may start to move.
    """
    n = len(track)
    rigid = observations.points[:, [10, 151, 9, 168, 6, 197, 195, 5, 33, 133, 263, 362], :2].astype(np.float64)
    out = np.zeros(n)
    if n < 3:
        return out
    size = observations.eye_distance()
    frames = track.frames.astype(np.float64)
    before, after = frames[1:-1] - frames[:-2], frames[2:] - frames[1:-1]
    share = (before / (before + after))[:, None, None]
    expected = (1 - share) * rigid[:-2] + share * rigid[2:]
    apart = np.linalg.norm(rigid[1:-1] - expected, axis=2).mean(axis=1) / size[1:-1]
    travel = np.linalg.norm(rigid[2:] - rigid[:-2], axis=2).mean(axis=1) / size[1:-1]
    near = (before <= 2) & (after <= 2)
    # a jump leaves and returns: its neighbours are closer to each other than to it
    out[1:-1] = np.where(near, np.maximum(apart - 0.5 * travel, 0.0), 0.0)
    return out


def outside(observations: Observations) -> np.ndarray:
    """(n,): share of the mesh (its surface, by points) beyond the frame's border."""
    width, height = observations.size
    x, y = observations.points[:, face_points.FACE_OVAL, 0], observations.points[:, face_points.FACE_OVAL, 1]
    gone = (x < -0.5) | (y < -0.5) | (x > width - 0.5) | (y > height - 0.5)
    return gone.mean(axis=1)


def mesh_noise(rest: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """(n,): standard deviation in pixels of what is white in ``rest`` (n, P, 2), the mesh less the fitted model.

    Third differences, whose variance is 20 times that of white noise, over rows of consecutive frames; a median over
    seven rows, and the median of all where there is none.
    """
    n = len(rest)
    out = np.full(n, np.nan)
    if n >= 4:
        third = np.diff(rest, n=3, axis=0)
        level = np.sqrt((third**2).mean(axis=(1, 2)) / 20.0)
        level[frames[3:] - frames[:-3] != 3] = np.nan
        out[1:-2] = level
    if not np.isfinite(out).any():
        return np.zeros(n)
    usual = float(np.nanmedian(out))
    out = np.where(np.isfinite(out), out, usual)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(out, 3, mode="edge"), 7)
    return np.minimum(np.median(windows, axis=1), 3 * usual)
