"""Following one face from a frame to its neighbour by its texture.

A grid of points on the face is followed by pyramidal Lucas-Kanade in a crop resampled to one working size, whatever
the face's size; points that do not come back to where they started are dropped (forward-backward error, Kalal et al.
2010), and a similarity transform is fitted to the rest by iteratively re-weighted least squares.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deid import imaging
from deid.tracking import boxes

FACE_PX = 48.0
"""Height of the face in the working crop; finer detail adds cost and no accuracy that obscuring or cropping can use."""

PATCH = 24
"""Side of the square template that is compared between frames."""

_REACH = 1.6  # half side of the working crop in face sizes: room for motion of about one face size a frame
_GRID = 7
_MIN_POINTS = 8
_LK = {
    "winSize": (13, 13),
    "maxLevel": 2,
    "criteria": (3, 10, 0.03),
    "minEigThreshold": 5e-4,
}


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """Where the face went: its ``box`` and a ``quality`` in [0, 1], the share of points that agree."""

    box: np.ndarray
    quality: float


def _unit_grid() -> np.ndarray:
    axis = np.linspace(-0.46, 0.46, _GRID)
    x, y = np.meshgrid(axis, axis)
    inside = (x / 0.5) ** 2 + (y / 0.5) ** 2 <= 1
    return np.stack([x[inside], y[inside]], 1).astype(np.float32)


_UNIT = _unit_grid()


def _crop(luma: np.ndarray, centre: np.ndarray, scale: float, side: int) -> np.ndarray:
    """Square ``side`` px crop around ``centre``; ``scale`` is crop pixels per frame pixel."""
    crop_from_frame = np.array(
        [[scale, 0, side / 2 - scale * centre[0]], [0, scale, side / 2 - scale * centre[1]]], np.float64
    )
    x0, y0 = (centre - side / 2 / scale - 1).astype(int)
    x1, y1 = (centre + side / 2 / scale + 2).astype(int)
    if scale < 0.7:  # plain warping would alias: average down first, from the part that matters only
        h, w = luma.shape
        x0, y0 = max(x0, 0), max(y0, 0)
        skip = max(1, int(0.5 / scale))  # of a large face every second sample and the like is enough to average from
        part = luma[y0 : min(y1, h) : skip, x0 : min(x1, w) : skip]
        if part.size == 0:
            return np.zeros((side, side), np.uint8)
        step = scale * skip
        small_size = (max(1, round(part.shape[1] * step)), max(1, round(part.shape[0] * step)))
        small = imaging.resize(part, small_size, interpolation=imaging.INTER_AREA)
        fx, fy = small_size[0] / part.shape[1] / skip, small_size[1] / part.shape[0] / skip
        # pixel centres: part = (small + 0.5) / (f * skip) - 0.5, frame = part * skip + corner
        ox, oy = 0.5 / fx - 0.5 * skip + x0, 0.5 / fy - 0.5 * skip + y0
        crop_from_small = np.array(
            [
                [scale / fx, 0, crop_from_frame[0, 2] + scale * ox],
                [0, scale / fy, crop_from_frame[1, 2] + scale * oy],
            ]
        )
        return _warp(small, crop_from_small, side)
    return _warp(luma, crop_from_frame, side)


def _warp(picture: np.ndarray, crop_from_picture: np.ndarray, side: int) -> np.ndarray:
    return imaging.warp_affine(
        picture, crop_from_picture, (side, side), flags=imaging.INTER_LINEAR, borderMode=imaging.BORDER_REPLICATE
    )


def fit_similarity(src: np.ndarray, dst: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Robust similarity ``dst_from_src`` (2, 3) of point sets (n, 2), and each point's residual in pixels (n,).

    Iteratively re-weighted least squares with Geman-McClure weights whose scale follows the median residual.
    """
    # complex numbers make a similarity a multiplication: dst = factor * src + offset
    p, q = src[:, 0] + 1j * src[:, 1], dst[:, 0] + 1j * dst[:, 1]
    weight = np.full(len(p), 1.0 / len(p))
    factor, offset, residual = 1 + 0j, 0j, np.zeros(len(p))
    for _ in range(5):
        mean_p, mean_q = weight @ p, weight @ q
        centred = p - mean_p
        spread = float(weight @ (centred.real**2 + centred.imag**2))
        factor = (weight * centred.conj()) @ (q - mean_q) / max(spread, 1e-9)
        offset = mean_q - factor * mean_p
        residual = np.abs(factor * p + offset - q)
        scale = max(1.5 * float(np.partition(residual, len(p) // 2)[len(p) // 2]), 0.15)
        weight = 1.0 / (1.0 + (residual / scale) ** 2) ** 2
        weight /= weight.sum()
    a, b = factor.real, factor.imag
    transform = np.array([[a, -b, offset.real], [b, a, offset.imag]])
    return transform, residual


def follow(before: np.ndarray, after: np.ndarray, box: np.ndarray, shift: np.ndarray | None = None) -> Step | None:
    """Carry a face ``box`` from luma picture ``before`` to ``after`` (uint8 H x W, same size).

    ``shift`` (2,): where motion so far says the face goes, in pixels. ``None`` when too few points agree, or when the
    motion is one that no face makes in a frame.
    """
    shift = np.zeros(2) if shift is None else shift
    scale = FACE_PX / boxes.size(box)
    scale = min(scale, 2.0)
    side = int(2 * _REACH * boxes.size(box) * scale)
    centre = box[:2].astype(np.float64)
    a = _crop(before, centre, scale, side)
    b = _crop(after, centre + shift, scale, side)
    cos, sin = np.cos(box[4]), np.sin(box[4])
    points = (_UNIT * box[2:4]) @ np.array([[cos, sin], [-sin, cos]], np.float32) * scale + side / 2
    h, w = before.shape
    at = (points - side / 2) / scale + centre
    points = points[(at[:, 0] > 1) & (at[:, 1] > 1) & (at[:, 0] < w - 2) & (at[:, 1] < h - 2)]
    if len(points) < _MIN_POINTS:
        return None
    p0 = np.ascontiguousarray(points[:, None].astype(np.float32))
    p1, ok1, _ = imaging.optical_flow_pyr_lk(a, b, p0, None, **_LK)
    p2, ok2, _ = imaging.optical_flow_pyr_lk(b, a, p1, None, **_LK)
    back = np.hypot(*(p2 - p0)[:, 0].T)
    good = (ok1[:, 0] == 1) & (ok2[:, 0] == 1) & (back < 1.5)
    if good.sum() < _MIN_POINTS:
        return None
    src = (p0[good, 0].astype(np.float64) - side / 2) / scale + centre
    dst = (p1[good, 0].astype(np.float64) - side / 2) / scale + centre + shift
    transform, residual = fit_similarity(src, dst)
    agree = residual * scale < 2.0
    zoom = float(np.hypot(transform[0, 0], transform[1, 0]))
    turn = abs(float(np.arctan2(transform[1, 0], transform[0, 0])))
    if not 0.8 < zoom < 1.25 or turn > 0.35:
        return None
    return Step(boxes.move(box, transform), float(agree.sum()) / len(points))


def template(luma: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The face turned upright and brought to ``PATCH`` x ``PATCH``, zero mean, unit norm: float32 (PATCH * PATCH,)."""
    scale = PATCH / (1.1 * float(max(box[2], box[3])))
    cos, sin = np.cos(box[4]) * scale, np.sin(box[4]) * scale
    # averaging down in two steps keeps small templates of large faces free of aliasing
    side = PATCH * 2
    patch_from_frame = 2 * np.array([[cos, sin, 0], [-sin, cos, 0]])
    patch_from_frame[:, 2] = side / 2 - 0.5 - patch_from_frame[:, :2] @ box[:2].astype(np.float64)
    if 2 * scale < 0.5:
        reduced = _crop(luma, box[:2].astype(np.float64), 2 * scale, int(side * 1.5))
        patch_from_reduced = np.array([[cos / scale, sin / scale, 0], [-sin / scale, cos / scale, 0]])
        patch_from_reduced[:, 2] = side / 2 - 0.5 - patch_from_reduced[:, :2] @ np.full(2, int(side * 1.5) / 2)
        patch = _warp(reduced, patch_from_reduced, side)
    else:
        patch = _warp(luma, patch_from_frame, side)
    small = imaging.resize(patch, (PATCH, PATCH), interpolation=imaging.INTER_AREA).astype(np.float32).ravel()
    small -= small.mean()
    return small / max(float(np.linalg.norm(small)), 1e-6)


def similarity(a: np.ndarray, b: np.ndarray) -> float:
    """Normalised cross-correlation of two templates, in [-1, 1]."""
    return float(a @ b)
