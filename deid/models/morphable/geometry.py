"""The geometry of heads: a mean, identity and expression bases, and how lids, lips and eyeballs move.

The asset is made by ``tools/build_face_model.py geometry``. Source of the shapes: ICT-FaceKit (R. Li et al., *Learning
Formation of Physically-Based Face Attributes*, 2020; MIT licence), remeshed, and its bases estimated anew.

Texture coordinates, image convention (v down), all in [0, 1]:

- SKIN, and HEAD's ears and front of the neck: the face tile, u, v = ICT's u, 1 - ICT's v. HEAD behind that has the
  tile's nearest rim.
- EYE_LEFT, EYE_RIGHT: polar about the optical axis, uv = 0.5 + theta / (2 pi) * (cos phi, sin phi), theta the angle
  from the axis at the eyeball's centre in radians, phi clockwise as seen from the front with 0 to the viewer's right;
  the iris ends at theta = ``IRIS_ANGLE``.
- MOUTH, TONGUE: u from the viewer's left to right over 8 cm, v the depth, 0 at the lips, 1 at the throat.
- TEETH: u likewise, v 0 at the gum and 1 at the edge.
- LASHES: v 0 at the root and 1 at the tip, u along the lid, in four ranges: left and right upper, left and right lower.
- FLUID: u along the lid's rim, v 0 at the lid and 1 on the eyeball.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open

from deid.errors import ModelError
from deid.models.morphable import _motion
from deid.models.morphable._motion import Motion

_ASSET = Path(__file__).with_name("geometry.safetensors")
OPENERS = ("jawOpen", "mouthClose", "mouthLowerDown", "mouthUpperUp", "mouthFunnel")
LIPS_APART = 0.35  # centimetres of opening from which lips do not hold together
_WEB, _WEB_HOLDS = (0.58, 0.95), 0.92  # of half the line between the lips, from the middle; share of the gap
_CARUNCLE = np.array([0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.16, 0.07], np.float32)
"""Centimetres by which the wet flesh in the inner corner reaches from each lid, by columns from the corner on."""
IRIS_ANGLE = 0.37  # radians, as seen from the centre of the eyeball
INDEX_SETS = (
    "jawline",
    "outline",
    "lips_outer",
    "lips_inner",
    "lid_upper_left",
    "lid_upper_right",
    "lid_lower_left",
    "lid_lower_right",
    "brow_left",
    "brow_right",
)


class Part(IntEnum):
    """What a triangle belongs to; left and right are the subject's."""

    SKIN = 0
    HEAD = 1
    MOUTH = 2
    TEETH = 3
    EYE_LEFT = 4
    EYE_RIGHT = 5
    LASHES = 6
    TONGUE = 7
    FLUID = 8


@dataclass(frozen=True, slots=True, eq=False)
class Geometry:
    """A linear head model with its topology. Lengths in centimetres, head space of ``codes.py``, arrays read-only.

    ``vertices``: float32 (V, 3), the mean head. ``identity``: float32 (K, V, 3), modes to one standard deviation.
    ``expression``: float32 (E, V, 3), shapes at weight 1, named ``expression_names`` as ARKit does, with _L and _R for
    the subject's sides. ``triangles``: int32 (F, 3), counter-clockwise from outside; ``parts``: uint8 (F,), see
    :class:`Part`. ``uv``: float32 (V, 2). ``weld``: int32 (V,), the vertex that stands for all at its place: add up
    normals there. ``landmark_triangles`` int32 (468,), ``landmark_weights`` float32 (468, 3): where MediaPipe's mesh
    points lie. ``occlusion``: float32 (V,), how much of the surroundings a vertex sees at rest, 0 to 1: skin with all
    in place, mouth, teeth and tongue with the jaw open and the lips away, 1 at the eyes, whose shade depends on the
    lids. ``eye_centres``: float32 (2, 3) of the mean head, the subject's left first. ``eye_radius``: at the eyeball's
    equator. ``eye_left``, ``eye_right``: int32, the eyeballs' vertices.

    Index sets, int32 (n,), in order: ``jawline`` from the subject's left ear along the chin; ``outline`` and
    ``lips_outer`` closed, the vertices nearest to MediaPipe's; ``lips_inner`` closed, where the lips touch;
    ``lid_upper_*`` and ``lid_lower_*`` from the outer to the inner corner; ``brow_*`` MediaPipe's ten points.
    """

    vertices: np.ndarray
    identity: np.ndarray
    expression: np.ndarray
    expression_names: tuple[str, ...]
    triangles: np.ndarray
    parts: np.ndarray
    uv: np.ndarray
    weld: np.ndarray
    landmark_triangles: np.ndarray
    landmark_weights: np.ndarray
    occlusion: np.ndarray
    eye_centres: np.ndarray
    eye_radius: float
    eye_left: np.ndarray
    eye_right: np.ndarray
    jawline: np.ndarray
    outline: np.ndarray
    lips_outer: np.ndarray
    lips_inner: np.ndarray
    lid_upper_left: np.ndarray
    lid_upper_right: np.ndarray
    lid_lower_left: np.ndarray
    lid_lower_right: np.ndarray
    brow_left: np.ndarray
    brow_right: np.ndarray
    motion: Motion

    def neutral(self, shape: np.ndarray) -> np.ndarray:
        """float32 (V, 3): the head of identity ``shape``, (K,) standard deviations, at rest. Linear in ``shape``:
        give it to :meth:`pose`, which lays the lids on the eyeballs."""
        count = len(self.identity)
        flat = np.asarray(shape, np.float32) @ self.identity.reshape(count, -1)
        return self.vertices + flat.reshape(-1, 3)

    def eyeball_centres(self, shape: np.ndarray) -> np.ndarray:
        """float32 (2, 3): centres of the left and right eyeball of identity ``shape``, (K,)."""
        rings = self.motion.eye_equator
        codes = np.asarray(shape, np.float32)
        modes = self.identity[:, rings].mean(axis=2)
        return (self.vertices[rings].mean(axis=1) + np.tensordot(codes, modes, 1)).astype(np.float32)

    def pose(self, neutral: np.ndarray, expression: np.ndarray, gaze: np.ndarray) -> np.ndarray:
        """float32 (V, 3): ``neutral`` (V, 3) with an expression and a gaze.

        ``expression``: (E,) weights, held to 0 and above, blinks to 1, and ``mouthClose`` to ``jawOpen``, which it
        undoes. ``gaze``: (2, 2) radians, (to the subject's left, up), left eye first; lids follow it.
        """
        weights = np.maximum(np.asarray(expression, np.float32), 0)
        names = _columns(self.expression_names)
        weights[names.close] = min(weights[names.close], weights[names.jaw])
        blinks = np.minimum(weights[list(names.blinks)], 1)
        weights[list(names.blinks)] = 0
        motion = self.motion
        out = np.array(neutral, np.float32)
        _motion.add_shapes(out, motion.start, motion.index, motion.delta, weights)
        for eye in (0, 1):
            self._pose_eye(out, neutral, eye, blinks[eye], gaze[eye])
        seal = 1 - float(weights @ _opening(self)) / LIPS_APART
        shares = np.maximum(_corners_hold(motion.lip_lower.shape[1]), min(max(seal, 0.0), 1.0))
        _motion.seal_lips(out, motion.lip_lower, motion.lip_upper, motion.lip_region, motion.lip_weights, shares)
        _motion.part_lips(out, motion.lip_lower, motion.lip_upper, motion.lip_region, motion.lip_weights)
        return out

    def _pose_eye(self, out: np.ndarray, neutral: np.ndarray, eye: int, blink: np.float32, gaze: np.ndarray) -> None:
        """Lids, eyeball, tears and lashes of one eye, in place; skin already has its other expressions."""
        motion, members = self.motion, (self.eye_left, self.eye_right)[eye]
        left, up = float(gaze[0]), float(gaze[1])
        equator = neutral[motion.eye_equator[eye]]
        centre = equator.mean(axis=0)
        radius = np.float32(np.sqrt(((equator - centre) ** 2).sum(axis=1)).mean())
        turn = _gaze_rotation(left, up)
        axis = np.ascontiguousarray(turn[:, 2])
        out[members] = (neutral[members] - centre) @ turn.T + centre
        _motion.move_lids(
            out, neutral, motion.lid_rings[eye], motion.lid_region[eye], motion.lid_weights[eye],
            motion.lid_clearance[eye], motion.lid_looks[eye], motion.blinks[eye], blink, left if eye == 0 else -left,
            up, centre, axis, motion.eye_profile, radius, motion.tears[eye], motion.tear_width, motion.lashes[eye],
            motion.lash_columns, motion.lash_side, motion.lash_length,
        )  # fmt: skip


class _Columns(NamedTuple):
    jaw: int
    close: int
    blinks: tuple[int, int]


@lru_cache(maxsize=4)
def _opening(geometry: Geometry) -> np.ndarray:
    """float32 (E,): centimetres between the lips that each shape that opens them adds, 0 for the others.

    What only moves or curls lips (a shrug, a sneer) leaves lips that touch together: the other one follows, which a sum
    of shapes does not know.
    """
    motion = geometry.motion
    middle = slice(motion.lip_upper.shape[1] // 3, -(motion.lip_upper.shape[1] // 3))
    rises = [
        geometry.expression[:, ring[:, middle], 1].mean(axis=(1, 2)) for ring in (motion.lip_upper, motion.lip_lower)
    ]
    opens = np.array([name.startswith(OPENERS) for name in geometry.expression_names])
    return np.where(opens, rises[0] - rises[1], 0).astype(np.float32)


@lru_cache(maxsize=2)
def _corners_hold(columns: int) -> np.ndarray:
    """float32 (columns,): by how much lips stay together whatever opens them, along the line between them: an opening
    ends before the corners, where a web of skin holds both lips."""
    t = np.clip((np.abs(np.linspace(-1, 1, columns)) - _WEB[0]) / (_WEB[1] - _WEB[0]), 0.0, 1.0)
    return (_WEB_HOLDS * t * t * (3 - 2 * t)).astype(np.float32)


@lru_cache(maxsize=4)
def _columns(names: tuple[str, ...]) -> _Columns:
    at = names.index
    return _Columns(at("jawOpen"), at("mouthClose"), (at("eyeBlink_L"), at("eyeBlink_R")))


def _gaze_rotation(left: float, up: float) -> np.ndarray:
    """float32 (3, 3): turns (0, 0, 1) ``left`` radians towards +x and ``up`` radians towards +y."""
    cl, sl, cu, su = np.cos(left), np.sin(left), np.cos(up), np.sin(up)
    yaw = np.array([[cl, 0, sl], [0, 1, 0], [-sl, 0, cl]])
    pitch = np.array([[1, 0, 0], [0, cu, su], [0, -su, cu]])
    return (yaw @ pitch).astype(np.float32)


@lru_cache(maxsize=1)
def load_geometry() -> Geometry:
    """The packaged geometry, read once. Raises :class:`ModelError` when its file is missing or broken."""
    return read_geometry(_ASSET)


def read_geometry(path: Path) -> Geometry:
    """The geometry in the safetensors file ``path``. Raises :class:`ModelError` when it is missing or broken."""
    try:
        with safe_open(str(path), framework="numpy") as file:
            meta = file.metadata() or {}
            names = tuple(json.loads(meta["expression_names"]))
            radius = float(meta["eye_radius"])
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping
        for key, array in arrays.items():
            arrays[key] = array.astype(np.float32) if array.dtype == np.float16 else array
        start, index, delta = _motion.sparse_shapes(arrays["expression"])
        arrays.update(start=start, index=index, delta=delta, blinks=_blinks(arrays, names))
        arrays["tear_width"] = _filled(arrays["tear_width"])
        for array in arrays.values():
            array.setflags(write=False)
        own = {key: arrays.pop(key) for key in list(arrays) if key in Motion.__slots__}
        return Geometry(expression_names=names, eye_radius=radius, motion=Motion(**own), **arrays)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"the face model {path.name} cannot be read: reinstall the package ({error})") from error


def _filled(width: np.ndarray) -> np.ndarray:
    """``width``, float32 (L,), of tears along the lids, with the inner corner, which is drawn out where heads are shown
    (:mod:`.canthi`), filled all the way across: what lies there is the caruncle."""
    out = width.copy()
    corner, reach = len(out) // 2, len(_CARUNCLE) - 1
    span = slice(corner - reach, corner + reach + 1)
    out[span] = np.maximum(out[span], np.concatenate([_CARUNCLE[:0:-1], _CARUNCLE]))
    return out


def _blinks(arrays: dict[str, np.ndarray], names: tuple[str, ...]) -> np.ndarray:
    """float32 (2, n, 3): each eye's blink over its lids' region."""
    shapes = [arrays["expression"][names.index(f"eyeBlink_{side}")] for side in "LR"]
    return np.stack([shape[region] for shape, region in zip(shapes, arrays["lid_region"], strict=True)])
