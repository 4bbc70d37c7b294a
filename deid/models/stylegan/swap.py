"""One track through the latent space: looks to attributes, with somebody else's identity to codes, steady over time.

Y. Nitzan et al. 2020, section 3, over an image sequence: ``w_t = M(E_id(surrogate), E_attr(x_t))``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from deid.models.morphable.finish import to_linear
from deid.models.stylegan import alignment, looks
from deid.models.stylegan.networks import Networks, normalised

_CODES_SIGMA = 0.6  # frames at 25 a second: what is left of landmark noise goes, a blink of three frames stays
_TONE_SIGMA = 6.0
_TONE_ROWS = 24  # pictures of a track that its tone is measured on
_MOST_GAIN = 1.6
_SKIN = 0.9  # opacity from which a pixel counts as the face's


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """A track as E_attr reads it. ``centres``, ``ways``: float64 (n, 2), the steady squares, frame pixels;
    ``attributes``: float32 (n, width)."""

    centres: np.ndarray
    ways: np.ndarray
    attributes: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Swapped:
    """A track with somebody else's identity: ``codes``, float32 (n, width), steady over time, and ``gains``, float32
    (n, 3), by which linear light of what is generated is to be multiplied to have the frame's tone."""

    seen: Seen
    codes: np.ndarray
    gains: np.ndarray


def read_track(networks: Networks, notes: np.ndarray, points: np.ndarray, frames: np.ndarray, rate: float) -> Seen:
    """``notes``: (n,) of :data:`looks.RECORD`; ``points``: (n, 478, 3), frame pixels; ``frames``: (n,), increasing."""
    centres, ways = alignment.squares(points)
    for run in runs(frames):
        centres[run], ways[run] = alignment.steady(centres[run], ways[run], rate)
    side = networks.attributes.shape.side
    crops = looks.recut(notes, centres, ways, side)
    back = np.stack(
        [alignment.inverse(alignment.frame_from_crop(c, w, side)) for c, w in zip(centres, ways, strict=True)]
    )
    return Seen(centres, ways, networks.attribute_codes(crops, normalised(points, back, side)))


def swap(
    networks: Networks, seen: Seen, identity: np.ndarray, frames: np.ndarray, rate: float, tones: np.ndarray
) -> Swapped:
    """``identity``: float32 (d,), E_id of who stands in. ``tones``: (n, 3), mean linear light of the frame's skin."""
    codes = networks.mapped(np.repeat(identity[None], len(frames), axis=0), seen.attributes)
    for run in runs(frames):
        if run.stop - run.start > 1:
            codes[run] = gaussian_filter1d(codes[run], _CODES_SIGMA * rate / 25, axis=0, mode="nearest")
    return Swapped(seen, codes, _gains(networks, codes, frames, rate, tones))


def _gains(networks: Networks, codes: np.ndarray, frames: np.ndarray, rate: float, tones: np.ndarray) -> np.ndarray:
    """What the generated tone misses of the frame's, measured on some rows and smooth in between."""
    rows = np.unique(np.linspace(0, len(codes) - 1, min(len(codes), _TONE_ROWS)).round().astype(int))
    made = networks.pictures(codes[rows])
    off = np.log(np.maximum(tones[rows], 1e-4)) - np.log(np.maximum([skin_tone(picture) for picture in made], 1e-4))
    whole = np.stack([np.interp(np.arange(len(codes)), rows, channel) for channel in off.T], axis=1)
    if len(codes) > 1:
        whole = gaussian_filter1d(whole, _TONE_SIGMA * rate / 25, axis=0, mode="nearest")
    return np.exp(np.clip(whole, -np.log(_MOST_GAIN), np.log(_MOST_GAIN))).astype(np.float32)


def skin_tone(picture: np.ndarray) -> np.ndarray:
    """float64 (3,): mean linear light of what a generated picture, float32 (S, S, 3 or 4), shows of the face."""
    if picture.shape[2] == 4:
        face = picture[..., 3] > _SKIN
    else:
        side = picture.shape[0]
        y, x = np.mgrid[:side, :side] / side - 0.5
        face = (x / 0.2) ** 2 + ((y - 0.08) / 0.25) ** 2 < 1  # the middle of an aligned face
    shown = to_linear(picture[face][:, :3]) if face.any() else to_linear(picture[..., :3].reshape(-1, 3))
    return np.asarray(shown.mean(axis=0), np.float64)


def runs(frames: np.ndarray) -> list[slice]:
    """Stretches of consecutive frames."""
    if len(frames) == 0:
        return []
    breaks = np.flatnonzero(np.diff(frames) != 1) + 1
    edges = [0, *breaks.tolist(), len(frames)]
    return [slice(a, b) for a, b in zip(edges, edges[1:], strict=False)]
