"""Which of a face's measured places have the colour of its skin."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)
_SKIN_TINT = 0.15  # within which a sample has the colour of a face's skin, logarithm
_BRIGHTER = 0.4  # logarithm of light over which places come to count as brightly lit


def typical_tint(
    chunks: Iterable[tuple[slice, np.ndarray, np.ndarray, np.ndarray]], albedo: np.ndarray, count: int
) -> np.ndarray:
    """(2,): logarithms of red and blue to green of the subject's skin, the median over the track's ``count`` frames,
    where those in which most of the visible face has one colour count most. ``chunks``: slices of frames with (any),
    linear RGB (m, N, 3) and weights (m, N). ``albedo``: (N, 3) of average skin."""
    middle, agreed = np.zeros((count, 2)), np.zeros(count)
    for part, _, linear, seen in chunks:
        flat = np.log(np.maximum(linear / albedo, 1e-4))
        tint, lit = flat[..., ::2] - flat[..., 1:2], seen * lit_share(linear)
        middle[part] = np.stack([weighted_median(tint[..., k], lit) for k in (0, 1)], axis=-1)
        agreed[part] = _support(tint - middle[part, None], seen).mean(axis=1)
    votes = np.maximum(agreed, 1e-6)[None] ** 2
    return np.array([weighted_median(middle[None, :, k], votes)[0] for k in (0, 1)])


def lit_share(linear: np.ndarray) -> np.ndarray:
    """(m, N): how much of the light of a face's brightest quarter each sample has, 1 at most, for linear RGB (m, N, 3).
    What is in the shade, hair and beards have less, and beside one lamp they differ from lit skin in colour too."""
    luminance = linear @ _LUMINANCE
    bright = np.quantile(luminance, 0.75, axis=1, keepdims=True)
    out: np.ndarray = np.minimum(luminance / np.maximum(bright, 1e-5), 1)
    return out


def from_skin(
    flat: np.ndarray, seen: np.ndarray, lit: np.ndarray, typical: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Tints (m, N, 2) less that of the frame's skin, and (m, N), 0..1, how well each goes with it.

    The frame's skin has the ``typical`` tint of the track where enough of the face does, since under a hand or hair the
    most frequent colour is not the skin's; else, under another light, the frame's most frequent one.
    """
    tint = flat[..., ::2] - flat[..., 1:2]
    middle = np.stack([weighted_median(tint[..., k], lit) for k in (0, 1)], axis=-1)[:, None]
    level = flat[..., 1]
    bright = np.clip((level - weighted_median(level, lit)[:, None]) / _BRIGHTER + 0.5, 0, 1)[..., None]
    own, usual = (_support(_unbleached(tint - c, c, bright), seen) for c in (middle, typical))
    choice = (usual.sum(axis=1) > 0.35 * own.sum(axis=1))[:, None]
    centre = np.where(choice[..., None], typical, middle)
    tint = centre + _unbleached(tint - centre, centre, bright)
    support = np.where(choice, usual, own)
    # Within its neighbourhood the centre follows the frame's own cast.
    nearby = support * seen
    shift = (nearby[..., None] * (tint - centre)).sum(axis=1) / np.maximum(nearby.sum(axis=1), 1e-6)[:, None]
    return (tint - centre - shift[:, None]).astype(np.float32), support.astype(np.float32)


def _unbleached(off: np.ndarray, skin: np.ndarray, bright: np.ndarray) -> np.ndarray:
    """``off`` (m, N, 2), tints less that of ``skin`` (..., 2), without what takes ``bright`` (m, N, 1) places, 0..1,
    towards white: highlights and overexposure do, and hair and beards are not bright."""
    length = np.maximum((skin * skin).sum(axis=-1, keepdims=True), 1e-4)
    towards = np.clip(-(off * skin).sum(axis=-1, keepdims=True) / length, 0, 1)
    return np.asarray(off + bright * towards * skin)


def _support(tint: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """(m, N): 1 for visible samples of no ``tint`` (m, N, 2), falling to 0."""
    out: np.ndarray = np.exp(-0.5 * ((tint / _SKIN_TINT) ** 2).sum(axis=-1)) * (seen > 0)
    return out


def weighted_median(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(n,) of (n, N)."""
    order = np.argsort(values, axis=1)
    total = np.cumsum(np.take_along_axis(weights, order, axis=1), axis=1)
    middle = (total < 0.5 * total[:, -1:]).sum(axis=1, keepdims=True)
    return np.take_along_axis(values, np.take_along_axis(order, middle, axis=1), axis=1)[:, 0].astype(np.float64)
