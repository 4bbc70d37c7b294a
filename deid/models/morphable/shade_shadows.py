"""Shadows that a head throws on itself: under brow, nose, lip and chin, where the light of the frame comes from there.

Precomputed radiance transfer (Sloan, Kautz and Snyder, *Precomputed Radiance Transfer for Real-Time Rendering in
Dynamic, Low-Frequency Lighting Environments*, 2002) for the resting head, by ``tools/bake_shadows.py``. The geometry's
occlusion says how much light a place gets from everywhere; this says how much more or less from where the light is.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from deid.errors import ModelError
from deid.models.morphable.geometry import Geometry
from deid.models.morphable.photo_local import within
from deid.models.morphable.photo_shading import basis

_ASSET = Path(__file__).with_name("shadows.safetensors")
# irradiance to radiance, by band; the second in full would make noise loud
_RADIANCE = np.array([1.0] + [1.5] * 3 + [2.6] * 5)
_LEAST_OPEN = 0.25  # places that see less are shaded as before
_MOST = (-0.75, 0.3)  # logarithm of what direction can change
_LEAST = 0.08  # of the mean: light that is left


@lru_cache(maxsize=2)
def load_shadows(geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """Transfer, float32 (V, 2, 9), and factors for hollows that the mesh lacks, float32 (V,): see
    ``tools/bake_shadows.py``. Raises :class:`ModelError` when the file is missing, broken, or another geometry's."""
    try:
        tables = load_file(_ASSET)
        transfer, hollows = (tables[name].astype(np.float32) for name in ("transfer", "hollows"))
        if transfer.shape != (len(geometry.vertices), 2, 9):
            raise ValueError(f"for {len(transfer)} vertices, not {len(geometry.vertices)}")
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise ModelError(f"the face model {_ASSET.name} cannot be read: reinstall the package ({error})") from error
    return transfer, hollows


def shadows(transfer: np.ndarray, sh: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """float32 (n,): factors on the light at vertices of ``transfer``, (n, 2, 9), beside their occlusion.

    ``sh``: (9,), irradiance of camera-space normals, luminance. ``rotation``: (3, 3), camera from head.
    """
    places, inverse = _directions()
    radiance = inverse @ (basis(places @ rotation.T) @ (sh.astype(np.float64) * _RADIANCE))
    seen, whole = (transfer.reshape(-1, 9) @ radiance.astype(np.float32)).reshape(-1, 2).T
    open_ = transfer[:, 0, 0]
    least = np.float32(_LEAST * max(float(abs(radiance[0])), 1e-3))
    share = np.maximum(seen, least * open_) / (np.maximum(whole, least) * np.maximum(open_, np.float32(_LEAST_OPEN)))
    share[open_ < _LEAST_OPEN] = 1.0
    return np.asarray(np.exp(within(np.log(share), *_MOST)))


@lru_cache(maxsize=1)
def _directions() -> tuple[np.ndarray, np.ndarray]:
    """float64 (m, 3) directions all around, and (9, m), what makes coefficients of values there."""
    k = np.arange(40)
    z = 1 - 2 * (k + 0.5) / 40
    turn, r = k * np.pi * (3.0 - np.sqrt(5.0)), np.sqrt(1.0 - z * z)
    places = np.stack([r * np.cos(turn), r * np.sin(turn), z], axis=1)
    return places, np.linalg.pinv(basis(places))
