"""How much a face shines: by how much its skin is lighter than matt skin would be where a lamp would be mirrored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from .codes import Light
from .photo_reference import SkinReference
from .photo_shading import normal_equations
from .shade import LUMA, lamp_shine, light_rig

_FRAMES = 12  # of a track
_USUAL, _SPREAD = 0.35, 0.35
"""Of what the renderer's skin mirrors of a lamp, faces on portraits do as much; and the spread of that."""
_UNSURE = 0.25  # standard deviation that the model of a shiny face adds to what is measured
_MOST = 1.3
_LOOSE = 3.0  # deviations at which a sample loses most of its say
_ROUNDS = 5


def estimate_shine(
    chunks: Iterable[tuple[slice, np.ndarray, np.ndarray, np.ndarray]],
    count: int,
    lights: Sequence[np.ndarray],
    reference: SkinReference,
) -> float:
    """Share, 0 to 1.3, of the renderer's lamp that the skin of a track's subject mirrors.

    ``chunks``: slices of the ``count`` frames with bases (m, N, 9), linear RGB (m, N, 3) without veil, and weights
    (m, N). ``lights``: ``sh``, ``tone``, ``white`` and ``veil`` of all frames. Light and shine are fitted together to
    luminance (in each of some frames, by robust least squares), so that what is broad counts as light; where a lamp's
    mirror image could be explained by light too, the answer stays near what is usual.
    """
    wanted = set(np.unique(np.linspace(0, count - 1, _FRAMES).round().astype(int)).tolist())
    found = []
    for part, terms, linear, seen in chunks:
        for row in sorted(wanted & set(range(part.start, part.start + len(linear)))):
            sh, tone, white, veil = (np.asarray(values[row], np.float32) for values in lights)
            light = Light(sh, tone, white, veil)
            k = row - part.start
            found.append(_one(terms[k], linear[k] @ LUMA, seen[k], light, reference))
    share, sureness = np.array(found).T
    sure, prior = float(sureness.mean()), 1 / _SPREAD**2
    mean = float((share * sureness).sum() / max(float(sureness.sum()), 1e-9))
    return float(np.clip((mean * sure + _USUAL * prior) / (sure + prior), 0.0, _MOST))


def _one(
    terms: np.ndarray, luminance: np.ndarray, seen: np.ndarray, light: Light, reference: SkinReference
) -> tuple[float, float]:
    """Shine of one frame, and its reciprocal variance."""
    matt = light.tone - np.minimum(light.veil, 0.9 * light.tone)
    level = max(float(matt @ LUMA), 1e-4)
    rig = light_rig(replace(light, tone=matt))
    mirrored = lamp_shine(np.ascontiguousarray(terms[:, 1:4]), rig.key) * float(rig.key_rgb @ LUMA) / level
    grey = reference.albedo @ LUMA
    shown = np.where(seen > 0.2, seen, 0) / reference.spread**2
    every = np.concatenate([terms * grey[:, None], mirrored[:, None]], axis=1).astype(np.float64)
    prior, pull = np.zeros((10, 10)), np.zeros(10)
    prior[:9, :9], prior[9, 9] = reference.precision, 1e-6
    pull[:9] = reference.precision @ reference.mean
    weights, value = shown, luminance / level
    for _ in range(_ROUNDS):
        matrix, vector = normal_equations(every[None], value[None], weights[None])
        inverse = np.linalg.inv(matrix[0] + prior)
        fitted = inverse @ (vector[0] + pull)
        error = (value - every @ fitted) / reference.spread
        weights = shown / (1 + (error / _LOOSE) ** 2) ** 2
    return float(np.clip(fitted[9], -1.0, 4.0)), 1 / (float(inverse[9, 9]) + _UNSURE**2)
