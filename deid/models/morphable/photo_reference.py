"""What skin and light usually look like, measured on photographs by ``tools/measure_skin.py``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from deid.errors import ModelError

from .photo_samples import COUNT

_ASSET = Path(__file__).with_name("skin.safetensors")


@dataclass(frozen=True, slots=True, eq=False)
class SkinReference:
    """``albedo``: float32 (N, 3), relative linear reflectance of average skin at the samples, with the shade that
    hollows of the face always have. ``spread``: float32 (N,), relative robust standard deviation of a person's
    luminance from it: large where hair, beards and deep hollows are. ``mean``: float64 (9,) and ``precision``: (9, 9),
    Gaussian prior of luminance shading, in the order of :class:`~.codes.Light`, of unit mean. ``tint_precision``:
    (4, 4), prior of what a channel's shading has beyond the luminance's (1, x, y, z)."""

    albedo: np.ndarray
    spread: np.ndarray
    mean: np.ndarray
    precision: np.ndarray
    tint_precision: np.ndarray


@lru_cache(maxsize=1)
def load_reference() -> SkinReference:
    """The packaged reference, read once. Raises :class:`ModelError` when its file is missing or broken."""
    try:
        reference = SkinReference(**load_file(_ASSET))
        if reference.albedo.shape != (COUNT, 3):
            raise ValueError(f"for {len(reference.albedo)} samples, not {COUNT}")
    except (OSError, SafetensorError, TypeError, ValueError) as error:
        raise ModelError(f"the face model {_ASSET.name} cannot be read: reinstall the package ({error})") from error
    return reference
