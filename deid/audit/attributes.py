"""What a face does, read off MediaPipe's mesh, and how well one mesh track follows another.

Openings are those of the blink literature (T. Soukupova and J. Cech, *Real-Time Eye Blink Detection using Facial
Landmarks*, CVWW 2016): lid distance over eye width. Everything is a ratio of lengths of one mesh, so neither the size
of the face nor its place in the picture enters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deid.detection.pose import face_scale, head_pose

# The eye at the viewer's left, then the one at the right: picture-left and picture-right corner, upper and lower lid.
_CORNERS = np.array([[33, 133], [362, 263]])
_UPPER_LIDS = np.array([[160, 159, 158], [385, 386, 387]])
_LOWER_LIDS = np.array([[144, 145, 153], [380, 374, 373]])
_IRISES = np.array([468, 473])
_UPPER_LIP, _LOWER_LIP = np.array([82, 13, 312]), np.array([87, 14, 317])
_BROWS = np.array([[52, 65, 55, 105, 66, 107], [282, 295, 285, 334, 296, 336]])  # their inner two thirds
_LIP_CORNERS = np.array([61, 291])

REGIONS: dict[str, np.ndarray] = {
    "eyes": np.unique(np.concatenate([_CORNERS, _UPPER_LIDS, _LOWER_LIDS], axis=1)),
    "irises": _IRISES,
    "brows": np.array([46, 53, 52, 65, 55, 70, 63, 105, 66, 107, 276, 283, 282, 295, 285, 300, 293, 334, 296, 336]),
    "nose": np.array([1, 2, 4, 5, 6, 168, 195, 197, 98, 327, 48, 278, 64, 294]),
    "mouth": np.array([61, 291, 0, 17, 13, 14, 37, 267, 84, 314, 40, 270, 91, 321, 78, 308, 82, 312, 87, 317]),
    "outline": np.array([10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152,
                         148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109]),
}  # fmt: skip
"""Mesh points by part of the face, for :func:`jitter`."""

LEAST_RANGE = {"eye": 0.12, "mouth": 0.06, "gaze x": 0.07, "gaze y": 0.05, "smile": 0.05, "width": 0.08, "brow": 0.05}
"""How far a measure must range (1st to 99th percentile) for its source to count as varying: a blink takes an eye from
about 0.3 to 0.05 of its width; speech opens lips by a tenth of the outer eye distance; a glance to the side moves an
iris by a tenth of the eye's width and more, one up or down by less."""

_NOISE = {"eye": 14.0, "mouth": 2.0, "gaze x": 14.0, "gaze y": 10.0, "smile": 2.0, "width": 2.0, "brow": 2.0}
"""Eight times the error of a measure, times the face's height in pixels: its median change when a clip is encoded once
more (x264, CRF 23), from 13 clips. A smaller range in the source is one that nobody could follow."""

SHUT = 0.14
"""Eye opening below which an iris cannot be seen and gaze means nothing."""

_LEAST_FRAMES = 25
_LEAST_SIGNAL = 2.0  # standard deviation over that of the measurement's noise
_LAGS = 4
_TRIMMED = 0.02  # share of instants, the most violent, that jitter leaves out: blinks, jerks


def eye_opening(points: np.ndarray) -> np.ndarray:
    """Lid distance over eye width: (..., 2) float64, the eye at the viewer's left, then at the right.

    ``points``: (..., 478, 2 or 3). About 0.3 for an open eye, under 0.1 for a shut one.
    """
    xy = points[..., :2].astype(np.float64)
    height = np.linalg.norm(xy[..., _UPPER_LIDS, :] - xy[..., _LOWER_LIDS, :], axis=-1).mean(-1)
    width = np.linalg.norm(xy[..., _CORNERS[:, 1], :] - xy[..., _CORNERS[:, 0], :], axis=-1)
    return height / np.maximum(width, 1e-9)


def mouth_opening(points: np.ndarray) -> np.ndarray:
    """Distance of the inner lips over :func:`face_scale`: (...,) float64. ``points``: (..., 478, 3)."""
    xy = points[..., :2].astype(np.float64)
    gap = np.linalg.norm(xy[..., _UPPER_LIP, :] - xy[..., _LOWER_LIP, :], axis=-1).mean(-1)
    return gap / np.maximum(face_scale(points), 1e-9)


def mouth_shape(points: np.ndarray) -> np.ndarray:
    """Lip width, and how far each corner (picture left, picture right) lies above the lips' middle, over
    :func:`face_scale`: (..., 3) float64. A one-sided smile raises one of the last two."""
    xy = points[..., :2].astype(np.float64)
    corners = xy[..., _LIP_CORNERS, :]
    across = corners[..., 1, :] - corners[..., 0, :]
    width = np.linalg.norm(across, axis=-1)
    eyes = xy[..., 263, :] - xy[..., 33, :]
    right = eyes / np.maximum(np.linalg.norm(eyes, axis=-1, keepdims=True), 1e-9)
    up = np.stack([right[..., 1], -right[..., 0]], axis=-1)
    middle = xy[..., [0, 17], :].mean(-2)
    rise = ((corners - middle[..., None, :]) * up[..., None, :]).sum(-1)
    return np.concatenate([width[..., None], rise], -1) / np.maximum(face_scale(points), 1e-9)[..., None]


def brow_height(points: np.ndarray) -> np.ndarray:
    """How far the brows lie above the line of the eyes' corners, over :func:`face_scale`: (..., 2) float64, the brow at
    the viewer's left, then at the right. ``points``: (..., 478, 3)."""
    xy = points[..., :2].astype(np.float64)
    brows = np.stack([xy[..., _BROWS[side], :].mean(-2) for side in (0, 1)], axis=-2)
    eyes = np.stack([xy[..., _CORNERS[side], :].mean(-2) for side in (0, 1)], axis=-2)
    line = xy[..., 263, :] - xy[..., 33, :]
    up = np.stack([line[..., 1], -line[..., 0]], axis=-1) / np.maximum(np.linalg.norm(line, axis=-1), 1e-9)[..., None]
    return ((brows - eyes) * up[..., None, :]).sum(-1) / np.maximum(face_scale(points), 1e-9)[..., None]


def gaze(points: np.ndarray) -> np.ndarray:
    """Where the irises sit between the corners: (..., 2) float64, rightwards in the picture and up, in eye widths.

    Both eyes together, the one seen wider counting for more. ``points``: (..., 478, 2 or 3), irises included.
    """
    xy = points[..., :2].astype(np.float64)
    left, right = xy[..., _CORNERS[:, 0], :], xy[..., _CORNERS[:, 1], :]
    along = right - left
    square = np.maximum((along**2).sum(-1), 1e-9)
    offset = xy[..., _IRISES, :] - (left + right) / 2
    x = (offset * along).sum(-1) / square
    y = (offset[..., 0] * along[..., 1] - offset[..., 1] * along[..., 0]) / square
    weight = square / square.sum(-1, keepdims=True)
    return np.stack([(weight * x).sum(-1), (weight * y).sum(-1)], axis=-1)


def head_poses(points: np.ndarray) -> np.ndarray:
    """Yaw, pitch and roll in degrees, float64 (n, 3), of meshes (n, 478, 3), as in :mod:`deid.detection.pose`."""
    out = np.empty((len(points), 3))
    for row, mesh in enumerate(points):
        roll, yaw, pitch = head_pose(mesh)
        out[row] = yaw, pitch, np.degrees(roll)
    return out


@dataclass(frozen=True, slots=True)
class Agreement:
    """How one series of a measure follows another.

    ``correlation``: Pearson's, NaN where it is not defined. ``gain``: slope of the output on the source. ``offset``:
    mean of output less source. ``lag``: frames by which the output comes late, where the two fit best. ``span``: 1st to
    99th percentile of the source. ``varies``: the source moves enough for the correlation to mean something.
    """

    correlation: float
    gain: float
    offset: float
    lag: int
    span: float
    count: int
    varies: bool


def least_range(measure: str, height: float) -> float:
    """How far ``measure``, a key of :data:`LEAST_RANGE`, must range in a face ``height`` pixels tall to count as
    varying."""
    return max(LEAST_RANGE[measure], _NOISE[measure] / height)


def agreement(source: np.ndarray, output: np.ndarray, frames: np.ndarray, least_range: float) -> Agreement:
    """Compare ``source`` and ``output``, (n,) each, seen in ``frames`` (n,), increasing; rows with NaN are left out.

    The source counts as varying when it ranges over ``least_range``, in 25 frames or more, with a standard deviation
    twice that of its noise, which the median second difference tells.
    """
    good = np.isfinite(source) & np.isfinite(output)
    x, y, at = (np.asarray(v, np.float64)[good] for v in (source, output, frames))
    if len(x) < 3:
        return Agreement(np.nan, np.nan, np.nan, 0, 0.0, len(x), False)
    span = float(np.subtract(*np.percentile(x, [99, 1])))
    bends = _bends(x, at)
    noise = 1.4826 * float(np.median(np.abs(bends))) / np.sqrt(6) if len(bends) else 0.0
    varies = bool(len(x) >= _LEAST_FRAMES and span >= least_range and x.std() >= _LEAST_SIGNAL * noise)
    variance = float(x.var())
    gain = float(np.mean((x - x.mean()) * (y - y.mean())) / variance) if variance > 0 else np.nan
    lags = range(-_LAGS, _LAGS + 1)
    fits = [_pearson(*_lagged(x, y, at, lag)) for lag in lags]
    # A tie is no delay: order by closeness to none.
    lag = max(lags, key=lambda k: (round(np.nan_to_num(fits[k + _LAGS], nan=-2.0), 6), -abs(k)))
    return Agreement(_pearson(x, y), gain, float((y - x).mean()), lag, span, len(x), varies)


def _lagged(x: np.ndarray, y: np.ndarray, frames: np.ndarray, lag: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of the source at a frame and the output ``lag`` frames later."""
    _, first, second = np.intersect1d(frames + lag, frames, return_indices=True)
    return x[first], y[second]


def _pearson(x: np.ndarray, y: np.ndarray) -> float:
    if len(x) < 3 or x.std() < 1e-12 or y.std() < 1e-12:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])


def _bends(series: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Second differences of ``series`` (n, ...) where three frames follow one another."""
    if len(series) < 3:
        return series[:0]
    inner = (frames[2:] - frames[:-2] == 2) & (frames[1:-1] - frames[:-2] == 1)
    return (series[:-2] - 2 * series[1:-1] + series[2:])[inner]


def jitter(points: np.ndarray, frames: np.ndarray, keep: np.ndarray | None = None) -> dict[str, float]:
    """High-frequency movement of a mesh track, over the face's size: root mean square of the points' second
    differences, whole face (``all``) and by part. NaN where no three frames follow one another.

    ``points``: (n, 478, 3) px, ``frames``: (n,). ``keep``: float (m,), weights of the instants, as :func:`instants`
    makes them from the source, so that source and output are compared over the same ones.
    """
    scaled = points[..., :2].astype(np.float64) / np.maximum(np.median(face_scale(points)), 1e-9)
    bends = _bends(scaled, frames)
    if keep is not None:
        bends = bends[keep]
    if not len(bends):
        return {name: float("nan") for name in ("all", *REGIONS)}
    energy = (bends**2).sum(-1).mean(0)
    return {
        "all": float(np.sqrt(energy[:468].mean())),
        **{name: float(np.sqrt(energy[index].mean())) for name, index in REGIONS.items()},
    }


def bend_energy(points: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Mean square of the second differences of a mesh track's points, px2, float64 (m, 1 + parts): the whole face, then
    each part of :data:`REGIONS`, for each instant with a frame either side. ``points``: (n, 478, 2 or 3)."""
    squares = (_bends(points[..., :2].astype(np.float64), frames) ** 2).sum(-1)
    parts = [squares[:, :468].mean(1), *(squares[:, index].mean(1) for index in REGIONS.values())]
    return np.stack(parts, axis=1) if len(squares) else np.zeros((0, 1 + len(REGIONS)))


def steadiness(source: np.ndarray, output: np.ndarray, sizes: tuple[float, float]) -> dict[str, float]:
    """:func:`jitter_ratio` from :func:`bend_energy` of source and output, (m, 1 + parts) each, at the same instants,
    all but the most violent; ``sizes``: the median :func:`face_scale` of each. NaN without instants."""
    names = ("all", *REGIONS)
    if not len(source):
        return dict.fromkeys(names, float("nan"))
    keep = source[:, 0] <= np.quantile(source[:, 0], 1 - _TRIMMED)
    before, after = (np.sqrt(e[keep].mean(0)) / size for e, size in zip((source, output), sizes, strict=True))
    return {n: float(a / b) if b > 0 else float("nan") for n, a, b in zip(names, after, before, strict=True)}


def instants(points: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Which second differences of a source track to compare, bool (m,): all but the most violent fiftieth."""
    energy = (_bends(points[..., :2].astype(np.float64), frames) ** 2).sum((-1, -2))
    return energy <= np.quantile(energy, 1 - _TRIMMED) if len(energy) else np.zeros(0, bool)


def jitter_ratio(source: np.ndarray, output: np.ndarray, frames: np.ndarray) -> dict[str, float]:
    """:func:`jitter` of the output over that of the source, both (n, 478, 3), at the same instants."""
    keep = instants(source, frames)
    before, after = jitter(source, frames, keep), jitter(output, frames, keep)
    return {name: after[name] / before[name] if before[name] > 0 else float("nan") for name in before}
