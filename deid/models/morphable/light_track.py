"""What light and camera do to a face, frame by frame of a track, as arrays."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .codes import Light
from .finish import GLOW_REACH, glowing, soften, thicker, to_code, veiled


@dataclass(frozen=True, slots=True, eq=False)
class LightTrack:
    """Light and finish of n frames of one track.

    ``sh``: float32 (n, 9, 3), ``tone`` and ``white``: float32 (n, 3), as in :class:`Light`. ``blur``: float32 (n,),
    standard deviation in picture pixels; ``grain``: float32 (n,), standard deviation of luma noise, 8-bit code values;
    ``chroma_grain``: float32 (n,), the same of colour differences at half resolution; ``grain_size``: float32 (n,),
    standard deviation in pixels of the Gaussian that white noise must be blurred with to be as coarse. ``confidence``:
    float32 (n,), share of the visible skin that agrees with the light. ``veil``: float32 (n, 3), linear RGB of stray
    light over the picture, see :func:`.finish.veiled`; it is part of ``tone`` and of ``white``. ``shine``:
    float32 (n,), as in :class:`Light`. ``coarse``: float32 (n,), how strong what is fine in the skin was in means over
    2 x 2 pixels, 8-bit code values. ``structure``: float32 (n, 3), contrast of detail between eyes and mouth as the
    footage shows it, see :mod:`.photo_structure`. ``darkest``: float32 (n,), luminance of the darkest things about the
    face beside the skin's: no veil is brighter. ``glow``: float32 (n,), see :class:`.codes.AttributeCode`.
    """

    sh: np.ndarray
    tone: np.ndarray
    white: np.ndarray
    blur: np.ndarray
    grain: np.ndarray
    chroma_grain: np.ndarray
    grain_size: np.ndarray
    confidence: np.ndarray
    veil: np.ndarray
    shine: np.ndarray
    local: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    coarse: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    structure: np.ndarray = field(default_factory=lambda: np.zeros((0, 3), np.float32))
    darkest: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    glow: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))

    def light(self, index: int) -> Light:
        """The light of frame ``index`` of the track (its place in the arrays)."""
        shine = float(self.shine[index])
        local = self.local[index] if len(self.local) else np.zeros(0, np.float32)
        return Light(self.sh[index], self.tone[index], self.white[index], self.veil[index], shine, local)

    def filmed(self, row: int, linear: np.ndarray, scale: float, zoom: float, haze: float = 0.0) -> np.ndarray:
        """``linear``, float32 (h, w, 3), a rendering at ``scale`` pixels a centimetre, as the footage's camera would
        show it in a row but for its grain: float32 code values 0 to 1. ``zoom``: the rendering's pixels to one of the
        footage's. ``haze``: how much of the skin's light a veil takes beside the one that was measured."""
        tone = self.tone[row]
        veil = thicker(self.veil[row], tone, haze) if haze > 0 else self.veil[row]
        coded = soften(to_code(veiled(linear, veil, tone)), float(self.blur[row]) * zoom)
        share = float(self.glow[row]) if len(self.glow) else 0.0
        return glowing(coded, share, GLOW_REACH * scale) if share > 0 else coded

    def __len__(self) -> int:
        return len(self.sh)
