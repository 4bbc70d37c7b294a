"""The colour of the illumination, from the whites of the eyes, the teeth, and what skin can be."""

from __future__ import annotations

import numpy as np

LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
REFLECTANCE_RANGE = (0.08, 0.65)
"""Least and largest luminance of skin's reflectance: the darkest and the fairest (Xiao et al. 2017, measured skin)."""
_USUAL, _USUAL_SPREAD = np.log(0.33), 0.45
_SCLERA, _SCLERA_SPREAD = 0.52, 0.35
"""Luminance of a sclera as seen between lids, of a white surface's: reflectance about 0.7, a quarter of it shaded."""
_TEETH, _TEETH_SPREAD = 0.42, 0.4
_WHITEST = 0.62
"""The same of teeth that nothing shades."""
_EXPOSED, _EXPOSED_SPREAD = np.log(0.65), 0.6
"""White under the light that falls on a face, as cameras expose."""
_TINTS = np.array([[0.30, -0.06, -0.30], [0.40, -0.06, -0.60]])
"""Logarithm of skin's red, green, blue to its luminance: fair, dark."""


def estimate_white(records: np.ndarray, tone: np.ndarray, times: np.ndarray) -> np.ndarray:
    """(n, 3) linear RGB of white under each frame's mean light.

    Skin reflects what it reflects in all of a track: white is ``tone`` (n, 3) over one reflectance.
    """
    reflectance = _luminance_reflectance(records, tone)
    level = float(reflectance)
    fair = np.clip((np.log(level) - np.log(0.08)) / (np.log(0.5) - np.log(0.08)), 0, 1)
    skin_tint = fair * _TINTS[0] + (1 - fair) * _TINTS[1]
    logs = np.log(tone)
    tint = logs - np.log(tone @ LUMINANCE)[:, None]
    # A camera balances white: of a colour that skin alone does not explain, most is the light's, in small part the
    # balance's own error and the person's.
    usual = np.median(tint, axis=0) - skin_tint
    own = np.clip(0.5 * usual, -0.25, 0.25)
    skin = level * np.exp(skin_tint + own)
    return np.maximum(tone / skin, tone / REFLECTANCE_RANGE[1])


def _luminance_reflectance(records: np.ndarray, tone: np.ndarray) -> float:
    from .finish import CODE_TO_LINEAR8

    skin = tone @ LUMINANCE
    votes, precision = [_USUAL, float(np.median(np.log(skin))) - _EXPOSED], [_USUAL_SPREAD**-2, _EXPOSED_SPREAD**-2]
    sclera = CODE_TO_LINEAR8[records["sclera"]] @ LUMINANCE
    seen = (records["sclera_pixels"] >= 12) & (records["scale"] > 5)[:, None]
    if seen.sum() >= 3:
        ratio = np.log(np.repeat(skin[:, None], 2, axis=1)[seen] / np.maximum(sclera[seen], 1e-3))
        votes.append(float(np.percentile(ratio, 35)) + np.log(_SCLERA))
        precision.append(_SCLERA_SPREAD**-2)
    teeth = CODE_TO_LINEAR8[records["teeth"]]
    grey = teeth @ LUMINANCE
    # Teeth are less red than skin; a tongue or a dark mouth is not.
    white = teeth[:, 0] / np.maximum(grey, 1e-4) < 0.95 * tone[:, 0] / skin
    shown = (records["teeth_pixels"] >= 30) & white & (grey > 0.7 * skin)
    if shown.sum() >= 3:
        ratio = np.log(skin[shown] / np.maximum(grey[shown], 1e-3))
        votes.append(float(np.percentile(ratio, 35)) + np.log(_TEETH))
        precision.append(_TEETH_SPREAD**-2)
    level = float(np.exp(np.average(votes, weights=precision)))
    if shown.sum() >= 3:  # nothing in a mouth is whiter than that
        level = min(level, _WHITEST * float(np.percentile(skin[shown] / np.maximum(grey[shown], 1e-3), 20)))
    return float(np.clip(level, *REFLECTANCE_RANGE))
