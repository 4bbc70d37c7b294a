"""Lines that expressions and years fold into skin: what folds them, and how deep they are at what age.

The mesh is too coarse for them, so they are a relief in the texture's tile, drawn from the head's own measures (see
:mod:`.fold_lines`). A frame says how strongly each region folds, and the years which folds stand in a calm face.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from deid import imaging
from deid.models.morphable import raster
from deid.models.morphable.fold_lines import NASOLABIAL, REGIONS
from deid.models.morphable.geometry import Geometry
from deid.models.morphable.shade_texture import Pyramid, build_pyramid

SIZE = 512  # texels a side of the relief's tile
_STEEPEST = 0.5  # slopes are stored up to this
_YEARS, _DEPTH = (12.0, 20.0, 26.0, 34.0, 50.0, 65.0), (0.0, 0.4, 0.55, 0.7, 0.95, 1.1)
_GROWN = 20.0
_KINDS = 3  # reliefs that people's lines are taken from
_APART, _LOPSIDED = 0.35, 0.12  # logarithms, standard deviation: of a fold's depth between people, and between sides
_TURN = 2.1  # radians from one relief's wiggles to the next one's
_FAINT = 0.04  # weights below fold nothing
_DEEPER, _DEEPEST = 0.4, 1.35  # what the lesser of a standing and a moving fold adds; the deepest there are


@dataclass(frozen=True, slots=True, eq=False)
class Folds:
    """Of one person's skin: ``depth``, how deep expressions fold it, about 1 at 55 years; ``standing``: float32 (2 R,),
    how deep each region's folds stand in a calm face, of its left side and then of its right one; ``kind``: which
    relief, 0 to 2."""

    depth: float
    standing: np.ndarray
    kind: int = 0

    @classmethod
    def of(cls, age: float, seed: int) -> Folds:
        """At ``age`` years; ``seed`` says whose, by how much one person's lines differ from the next one's."""
        rng = np.random.default_rng((seed, 11))
        calm = np.array([np.interp(age, *region.standing) for region in REGIONS])
        each = np.exp(np.clip(rng.normal(0.0, _APART, len(calm)), -2 * _APART, 2 * _APART))
        sides = np.exp(rng.normal(0.0, _LOPSIDED, (2, len(calm))))
        standing = np.minimum(calm * each * sides, 1.0).ravel().astype(np.float32)
        return cls(depth_at(age), standing, int(rng.integers(_KINDS)))

    @property
    def depths(self) -> np.ndarray:
        """float32 (2 R,): how deep a whole expression folds each region."""
        grown = min(self.depth / depth_at(_GROWN), 1.0)
        early = np.array([region.early for region in REGIONS] * 2, np.float32)
        return np.maximum(np.float32(self.depth), np.float32(grown) * early)

    @property
    def cheeks(self) -> np.ndarray:
        """float32 (2,): how deep the folds from nose to mouth stand, left and right."""
        return self.standing[[NASOLABIAL, NASOLABIAL + len(REGIONS)]]

    @classmethod
    def moving(cls, depth: float) -> Folds:
        """Skin that only expressions fold."""
        return cls(depth, np.zeros(2 * len(REGIONS), np.float32))


@dataclass(frozen=True, slots=True, eq=False)
class Creases:
    """``relief``: slopes along u and v and how dark folds are at full weight, in the channels of a pyramid, each from
    0 to 1: half is flat, and slopes of 0.5 are at the ends. ``members``: int32 (m,), vertices that any of R regions
    folds, and ``share``, float32 (m, 2 R), how much each does: the left sides of all regions, then the right ones.
    ``tangents``: float32 (m, 2, 3), unit vectors along u and v at rest. ``drive``: float32 (2 R, E), what a region
    gains from each expression."""

    relief: Pyramid
    members: np.ndarray
    share: np.ndarray
    tangents: np.ndarray
    drive: np.ndarray

    def weights(self, expression: np.ndarray | None, folds: Folds) -> np.ndarray | None:
        """float32 (m,): how deep each vertex is folded, 0 to about 1; ``None`` when nothing is."""
        strength = folds.standing
        if expression is not None and folds.depth > 0:
            active = (self.drive * np.clip(expression, 0.0, 1.0)).max(axis=1)
            active = folds.depths * np.maximum(active - _FAINT, 0.0) / (1.0 - _FAINT)
            # a line that stands already has less to gain
            strength = np.maximum(active, strength) + _DEEPER * np.minimum(active, strength)
        if not strength.any():
            return None
        folded: np.ndarray = np.minimum(self.share @ strength, _DEEPEST).astype(np.float32)
        return folded


def depth_at(age: float) -> float:
    """How deep creases are at ``age`` years, about 1 at 55; none in children."""
    return float(np.interp(age, _YEARS, _DEPTH))


@lru_cache(maxsize=_KINDS + 1)
def creases(geometry: Geometry, kind: int = 0) -> Creases:
    """The creases of a geometry; ``kind``: which of three reliefs."""
    bare = _bare(geometry)
    on = bare.places[bare.inside]
    relief = _relief(np.abs(on[:, 0]), on[:, 1], on[:, 2], _TURN * kind)
    height, dark = np.zeros((2, SIZE, SIZE), np.float32)
    height[bare.inside], dark[bare.inside] = relief
    texture = np.full((SIZE, SIZE, 4), 0.5, np.float32)
    for axis, length in zip((1, 0), bare.lengths, strict=True):
        slope = np.where(bare.edge, 0.0, np.gradient(height, axis=axis) / length)
        texture[..., 1 - axis] = np.clip(0.5 + slope / (2 * _STEEPEST), 0.0, 1.0)
    texture[..., 2] = np.where(bare.edge, 0.0, dark)
    texture[..., 3] = 1.0
    texture[0, 0, :3] = 1.0  # so that the largest value is 1
    pyramid = build_pyramid(texture, np.ones((SIZE, SIZE), bool))
    return Creases(pyramid, bare.members, bare.share, bare.tangents, _drive(geometry.expression_names))


@dataclass(frozen=True, slots=True, eq=False)
class _Bare:
    """What all reliefs share: where texels lie, how long their steps are, and which vertices fold."""

    places: np.ndarray
    inside: np.ndarray
    edge: np.ndarray
    lengths: list[np.ndarray]
    members: np.ndarray
    share: np.ndarray
    tangents: np.ndarray


@lru_cache(maxsize=2)
def _bare(geometry: Geometry) -> _Bare:
    places, inside = _places(geometry)
    along = [np.gradient(places, axis=axis) for axis in (1, 0)]
    lengths = [np.maximum(np.linalg.norm(step, axis=2), 1e-4) for step in along]
    edge = imaging.dilate((~inside).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    members, share = _shares(geometry)
    texel = np.clip((geometry.uv[members] * SIZE).astype(np.int64), 0, SIZE - 1)
    steps = [step / length[..., None] for step, length in zip(along, lengths, strict=True)]
    tangents = np.stack([step[texel[:, 1], texel[:, 0]] for step in steps], axis=1)
    return _Bare(places, inside, edge, lengths, members, share, tangents.astype(np.float32))


def _places(geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """Where texels lie on the head at rest, float32 (SIZE, SIZE, 3), and which lie on it, bool."""
    from deid.models.morphable.render_model import face_tile

    triangles, textured = face_tile(geometry)
    inside = triangles[textured[triangles].all(axis=1)]
    fixed = np.floor(geometry.uv.astype(np.float64) * SIZE * 256.0 - 127.5).astype(np.int32)
    box, everywhere = np.zeros(len(inside), np.uint8), np.array([[0, SIZE - 1, 0, SIZE - 1]], np.int64)
    depth, owner = np.empty((SIZE, SIZE), np.float32), np.empty((SIZE, SIZE), np.int32)
    places, hit = np.zeros((SIZE, SIZE, 3), np.float32), np.zeros((SIZE, SIZE), bool)
    flat = np.zeros_like(geometry.vertices)
    for axis in range(3):
        flat[:, 2] = geometry.vertices[:, axis]  # interpolated as depth is
        for order in (inside, inside[:, ::-1]):
            raster.rasterise(fixed, flat, np.ascontiguousarray(order), 0, 0, box, everywhere, depth, owner)
            places[..., axis] = np.where(owner >= 0, depth, places[..., axis])
            hit |= owner >= 0
    return places, hit


def _relief(x: np.ndarray, y: np.ndarray, z: np.ndarray, phase: float) -> tuple[np.ndarray, np.ndarray]:
    """float32 (n,) twice: all regions' heights and darkness at full weight, each where its region is."""
    height, dark = np.zeros((2, len(x)), np.float32)
    for region in REGIONS:
        here = np.flatnonzero(region.mask(x, y, z) > 0.02)
        more, darker = region.field(x[here], y[here], z[here], phase)
        height[here] += more
        dark[here] = np.maximum(dark[here], darker)
    return height, dark


def _shares(geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    x, y, z = geometry.vertices.T.astype(np.float64)
    left = np.clip(0.5 + x / 0.5, 0.0, 1.0)
    shares = [region.mask(np.abs(x), y, z) * side for side in (left, 1.0 - left) for region in REGIONS]
    share = np.stack(shares, axis=1)
    share[(geometry.uv < 0).any(axis=1) | (geometry.uv > 1).any(axis=1) | (z < 2.0)] = 0.0
    members = np.flatnonzero(share.max(axis=1) > 0.01).astype(np.int32)
    return members, share[members].astype(np.float32)


def _drive(names: tuple[str, ...]) -> np.ndarray:
    drive = np.zeros((2 * len(REGIONS), len(names)), np.float32)
    for k, side in enumerate("LR"):
        for i, region in enumerate(REGIONS):
            for name, gain in region.pulls:
                for full in (name, f"{name}_{side}"):
                    if full in names:
                        drive[k * len(REGIONS) + i, names.index(full)] = gain
    return drive
