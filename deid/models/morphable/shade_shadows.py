"""Shadows that a head throws on itself: under brow, nose, lip and chin, where the light of the frame comes from there.

Precomputed radiance transfer (Sloan, Kautz and Snyder, *Precomputed Radiance Transfer for Real-Time Rendering in
Dynamic, Low-Frequency Lighting Environments*, 2002) for the resting head, by ``tools/bake_shadows.py``. The geometry's
occlusion says how much light a place gets from everywhere; this says how much more or less from where the light is.
"""

from __future__ import annotations

from dataclasses import dataclass
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
_FOLD = np.array([[1.55, -1.0], [2.5, -2.0], [3.1, -3.1], [3.0, -4.1]])  # cm, nose to mouth's corner, mean head's left
_FOLD_WIDE = (0.45, 1.0)  # cm beside that line: all of what is dark belongs to the fold, and none
_CORNER, _CORNER_WIDE = 0.1, 0.3  # cm around a corner of the lips that are dark at rest, too
_BAG, _BAG_SOFT = ((1.9, 4.1), (1.4, 2.4)), 0.35  # cm of the mean head: across and up, where bags lie, how softly
_BAGS_AGED = (0.4, 0.95), (0.3, 1.0)  # how deep folds are, and what is there of bags, which portraits' people have
_AT_REST, _CORNER_AT_REST = 0.15, 0.75  # share of the fold's logarithm that is there without a smile
_WHOLE = 0.6  # weight of a smile that makes all of it
_FOLDING = (("mouthSmile", 1.0), ("mouthDimple", 0.6), ("mouthStretch", 0.4), ("noseSneer", 0.5), ("cheekSquint", 0.3))


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


@dataclass(frozen=True, slots=True, eq=False)
class Hollows:
    """Factors on light in hollows that the mesh lacks. ``rest``: float32 (n,), at rest. ``bags``: float32 (n,),
    logarithms of what of that the years have made below the eyes. ``smile``: float32 (n, 2), logarithms of what a whole
    smile of the left and of the right side adds. ``drive``: float32 (2, E), what each expression adds to a side's
    smile."""

    rest: np.ndarray
    bags: np.ndarray
    smile: np.ndarray
    drive: np.ndarray

    def at(self, expression: np.ndarray | None, calm: np.ndarray | None = None, depth: float = 1.0) -> np.ndarray:
        """float32 (n,): factors under ``expression`` (E,). ``calm``: (2,), how much of the folds stands at rest;
        ``depth``: how deep expressions fold skin of its age, see :class:`.creases.Folds`."""
        folded = np.zeros(2, np.float32) if calm is None else np.asarray(calm, np.float32)
        if expression is not None:
            folded = np.clip(np.maximum(self.drive @ expression.astype(np.float32), folded), 0.0, 1.0)
        lacking = 1 - float(np.interp(depth, *_BAGS_AGED))
        logs = self.smile @ folded - np.float32(lacking) * self.bags
        return self.rest if not (folded.any() or lacking) else self.rest * np.exp(logs)


def hollows_of(geometry: Geometry, factors: np.ndarray, members: np.ndarray) -> Hollows:
    """``factors``, float32 (V,), of :func:`load_shadows` for vertices ``members``, int (n,).

    They were measured on portraits, most of which smile: the dark fold from nose to mouth and the dimple beside its
    corner are a smile's. On a face at rest most of it is left out, or every calm mouth would seem to smile. And most of
    the people on them are past fifty: the young have little of the shade below their eyes.
    """
    points = geometry.vertices[members].astype(np.float64)
    log = np.log(np.maximum(factors[members], np.float32(1e-3))).astype(np.float64)
    corner = geometry.vertices[geometry.lips_inner]
    corner = corner[corner[:, 0].argmax()]
    place = np.column_stack([np.abs(points[:, 0]), points[:, 1]])
    fold = 1 - _ramp(_to_line(place, _FOLD), *_FOLD_WIDE)
    near = 1 - _ramp(np.linalg.norm(place - corner[:2], axis=1), _CORNER, _CORNER_WIDE)
    kept = _AT_REST + (_CORNER_AT_REST - _AT_REST) * near
    dark = np.minimum(log, 0.0) * fold * (1 - kept)
    left = np.clip(0.5 + points[:, 0] / 0.5, 0.0, 1.0)
    drive = np.zeros((2, len(geometry.expression_names)), np.float32)
    for name, gain in _FOLDING:
        for side, mark in enumerate("LR"):
            drive[side, geometry.expression_names.index(f"{name}_{mark}")] = gain / _WHOLE
    smile = np.column_stack([dark * left, dark * (1 - left)])
    bags = np.minimum(log - dark, 0.0)
    for along, (low, high) in zip(place.T, _BAG, strict=True):
        bags *= _ramp(along, low - _BAG_SOFT, low) * (1 - _ramp(along, high, high + _BAG_SOFT))
    return Hollows(np.exp(log - dark).astype(np.float32), bags.astype(np.float32), smile.astype(np.float32), drive)


def _ramp(x: np.ndarray, low: float, high: float) -> np.ndarray:
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return t * t * (3 - 2 * t)


def _to_line(points: np.ndarray, line: np.ndarray) -> np.ndarray:
    """(n,): distance of ``points`` (n, 2) from the polygon through ``line`` (k, 2)."""
    start, along = line[:-1], np.diff(line, axis=0)
    t = ((points[:, None] - start) * along).sum(axis=2) / (along**2).sum(axis=1)
    nearest = start + np.clip(t, 0.0, 1.0)[..., None] * along
    return np.asarray(np.linalg.norm(points[:, None] - nearest, axis=2).min(axis=1))


@lru_cache(maxsize=1)
def _directions() -> tuple[np.ndarray, np.ndarray]:
    """float64 (m, 3) directions all around, and (9, m), what makes coefficients of values there."""
    k = np.arange(40)
    z = 1 - 2 * (k + 0.5) / 40
    turn, r = k * np.pi * (3.0 - np.sqrt(5.0)), np.sqrt(1.0 - z * z)
    places = np.stack([r * np.cos(turn), r * np.sin(turn), z], axis=1)
    return places, np.linalg.pinv(basis(places))
