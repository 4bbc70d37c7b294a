"""Shoulders under a rendered head, so that necks end in something."""

from __future__ import annotations

import numpy as np

from deid.models.morphable.codes import Camera
from deid.training.scene import How


def dressed(picture: np.ndarray, camera: Camera, how: How) -> np.ndarray:
    """``picture``, float32 (h, w, 3) linear light, with a plain garment over shoulders and the end of the neck."""
    rng = np.random.default_rng((how.seed, 9))
    height, width = picture.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    scale = float(camera.scale)
    u, v = (x - camera.translation[0]) / scale, (y - camera.translation[1]) / scale
    neck = float(rng.uniform(5.0, 7.0))
    edge = 12.0 + 0.012 * u * u + 0.00035 * np.abs(u) ** 3
    edge = edge + np.where(np.abs(u) < neck, np.clip(float(rng.uniform(0.3, 2.2)) - 0.03 * u * u, 0, None), 0.0)
    cover = np.clip((v - edge) * scale / 2.0 + 0.5, 0, 1)[..., None]
    cloth = np.exp(rng.normal(-2.3, 0.9) + rng.normal(0, 0.3, 3)).clip(0.005, 0.9)
    lit = how.white * (0.5 + 0.5 * how.harmonics[0]) * (1 - 0.2 * np.clip(u / 18, -1, 1)[..., None])
    dressed_up: np.ndarray = picture * (1 - cover) + cloth * lit * cover
    return dressed_up
