"""The face model as the fit sees it: only MediaPipe's mesh points, with weights and priors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from deid.errors import ModelError
from deid.models.morphable import face_points, fit_kernel
from deid.models.morphable.geometry import Geometry

UPPER = 1.2
_OFFSETS = Path(__file__).with_name("mesh_offsets.safetensors")
_SEEN = Path(__file__).with_name("mesh_expressions.safetensors")
_SEEN_SHARE = 0.7
_EXCLUSIVE = (("mouthLeft", "mouthRight"), ("jawLeft", "jawRight"))  # together they would pass for a pucker
_EXCLUSION = 400.0
_OPPOSED = (("browDown_L", "browOuterUp_L"), ("browDown_R", "browOuterUp_R"))
"""Together they nearly cancel in the mesh, and look worried: brows that only rise are neither."""
_OPPOSITION = 5.0
_TOGETHER = (("browDown_L", "browDown_R"), ("browInnerUp_L", "browInnerUp_R"))  # few people can do one alone
_TOGETHERNESS = 4.0
_ASKEW = 36.0
"""Cost of what differs between the sides of the face, for each unit of doubt: noise has no side."""
SIGMA = 0.11  # cm, how far mesh points lie from the model's for reasons other than noise
_EFFECTIVE = 90.0  # independent points: neighbours in MediaPipe's mesh err together
_GAP_SIGMA = 0.035  # cm, gaps between lips and between brow and eye are seen better than places
_EXPRESSION_SIGMA = 0.5
_EXPRESSION_SHRINK = 0.4  # linear cost of a weight: keeps what is not needed at zero


@dataclass(frozen=True, slots=True, eq=False)
class FitBasis:
    """A geometry reduced to the mesh points.

    ``mean`` (468, 3), ``identity`` (K, 468, 3), ``expression`` (E, 468, 3), float64 centimetres; ``seen`` (E, 468, 3),
    the expressions as MediaPipe's mesh shows them. ``weights`` (468,), ``sides`` (468,) 0 middle, 1 left, 2 right.
    ``pairs`` (Q, 2) and ``pair_weights``. ``shapes`` (E, 1404), ``rows`` (1404, E), ``all_rows`` (1404, E + K): of what
    is seen, for the kernel; ``tables``, ``all_tables``: their products, see :func:`fit_kernel.gram_tables`. ``prior``
    (E, E), ``askew`` (E, E), ``shrink`` (E,), ``upper`` (E,): quadratic and linear cost of the weights, and their
    bounds."""

    mean: np.ndarray
    identity: np.ndarray
    expression: np.ndarray
    seen: np.ndarray
    weights: np.ndarray
    sides: np.ndarray
    pairs: np.ndarray
    pair_weights: np.ndarray
    shapes: np.ndarray
    rows: np.ndarray
    all_rows: np.ndarray
    tables: np.ndarray
    all_tables: np.ndarray
    prior: np.ndarray
    askew: np.ndarray
    shrink: np.ndarray
    upper: np.ndarray
    reach: float


def surface_points(geometry: Geometry, vertices: np.ndarray) -> np.ndarray:
    """MediaPipe's 468 points on posed ``vertices`` (..., V, 3): (..., 468, 3)."""
    corners, weights = _corners(geometry)
    taken = np.take(vertices, corners.ravel(), axis=-2).reshape(*vertices.shape[:-2], *corners.shape, 3)
    return (taken * weights[:, :, None]).sum(axis=-2)


@lru_cache(maxsize=2)
def _corners(geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """Vertices int (468, 3) and weights float32 (468, 3) of the mesh points.

    Closed lips touch, and nearest points on a closed mouth may lie on the wrong lip. Which lip a point of the model
    belongs to shows when the jaw opens, so those of a pair that move alike are put on the nearest vertex of their own.
    """
    corners = geometry.triangles[geometry.landmark_triangles].copy()
    weights = geometry.landmark_weights.copy()
    drop = geometry.expression[geometry.expression_names.index("jawOpen")][:, 1]
    lips = np.unique(geometry.triangles[geometry.parts <= 1])
    mesh_drop = (drop[corners] * weights).sum(axis=1)
    upper, lower = mesh_drop[face_points.LIP_MIDDLES]
    middle = (upper + lower) / 2
    for pair in face_points.TOUCHING_PAIRS:
        for point, below in zip(pair, (False, True), strict=True):
            if (mesh_drop[point] < middle) == below:
                continue
            own = lips[(drop[lips] < middle) == below]
            place = weights[point] @ geometry.vertices[corners[point]]
            nearest = own[np.argmin(((geometry.vertices[own] - place) ** 2).sum(axis=1))]
            corners[point], weights[point] = nearest, (1, 0, 0)
    return corners, weights


@lru_cache(maxsize=2)
def fit_basis(geometry: Geometry, calibrated: bool = True) -> FitBasis:
    """What the fit needs of ``geometry``; made once (about 50 ms). ``calibrated``: with MediaPipe's mean offsets, see
    ``tools/calibrate_mesh.py``. Raises :class:`ModelError` when their file is missing or broken."""
    mean = surface_points(geometry, geometry.vertices).astype(np.float64)
    if calibrated:
        mean = mean + _mesh_offsets()
    identity = surface_points(geometry, geometry.identity).astype(np.float64)
    expression = surface_points(geometry, geometry.expression).astype(np.float64)
    weights = _point_weights(mean)
    sides = np.where(mean[:, 0] > 0.6, 1, np.where(mean[:, 0] < -0.6, 2, 0)).astype(np.int64)
    spans = ((face_points.INNER_LIP_PAIRS, _GAP_SIGMA * np.sqrt(3.0)), (face_points.MOUTH_CORNERS[None], 0.08),
             (face_points.CORNER_PAIRS, 0.07), (face_points.BROW_TO_EYE_PAIRS, 0.06),
             (face_points.BETWEEN_BROWS_PAIRS, 0.06), (face_points.LIPS_TO_NOSE_PAIRS, 0.08))  # fmt: skip
    pairs = np.concatenate([pair for pair, _ in spans]).astype(np.int64)
    pair_weights = np.concatenate([np.full(len(pair), 1 / sigma**2) for pair, sigma in spans])
    names = geometry.expression_names
    seen = _seen_expressions(expression, geometry.expression_names) if calibrated else expression
    rows, all_rows = _rows(seen), _rows(np.concatenate([seen, identity]))
    own = (weights, sides, pairs, pair_weights)
    return FitBasis(
        mean, identity, expression, seen, weights, sides, pairs, pair_weights,
        seen.reshape(len(seen), -1), rows, all_rows,
        fit_kernel.gram_tables(rows, *own), fit_kernel.gram_tables(all_rows, *own),
        _priors(names),
        _askew(names),
        np.array([_shrink(name) for name in names]),
        np.full(len(names), UPPER),
        float(np.average(mean[:, 2], weights=weights)),
    )  # fmt: skip


def _mesh_offsets() -> np.ndarray:
    try:
        return load_file(_OFFSETS)["offsets"].astype(np.float64)
    except (OSError, SafetensorError, KeyError) as error:
        raise ModelError(f"the face model {_OFFSETS.name} cannot be read: reinstall the package ({error})") from error


def _seen_expressions(expression: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """(E, 468, 3): see ``tools/calibrate_expressions.py``. Renderings lack some of what the landmark model goes by in
    people, so that the skin's own movement keeps a share."""
    try:
        measured = load_file(_SEEN)
        moved = measured["seen"].astype(np.float64)
    except (OSError, SafetensorError, KeyError) as error:
        raise ModelError(f"the face model {_SEEN.name} cannot be read: reinstall the package ({error})") from error
    own = np.array([name.startswith("eye") for name in names])  # lids are measured by themselves
    share = np.where(own, 0.0, _SEEN_SHARE)[:, None, None]
    return expression + share * (moved - expression)


def _priors(names: tuple[str, ...]) -> np.ndarray:
    """(E, E): quadratic costs of weights, and of what excludes each other together."""
    out = np.diag([_prior(name) for name in names])
    for pairs, cost in ((_EXCLUSIVE, _EXCLUSION), (_OPPOSED, _OPPOSITION)):
        for a, b in pairs:
            i, k = names.index(a), names.index(b)
            out[i, k] = out[k, i] = cost
    for a, b in _TOGETHER:
        i, k = names.index(a), names.index(b)
        out[np.ix_([i, k], [i, k])] += _TOGETHERNESS * np.array([[1.0, -1.0], [-1.0, 1.0]])
    return out


def _askew(names: tuple[str, ...]) -> np.ndarray:
    """(E, E): quadratic cost of what one side of the face does and the other does not."""
    out = np.zeros((len(names), len(names)))
    for left, i in ((name, names.index(name)) for name in names):
        for end, other in (("_L", "_R"), ("Left", "Right")):
            if left.endswith(end) and not left.startswith("eye"):
                k = names.index(left[: -len(end)] + other)
                out[np.ix_([i, k], [i, k])] += _ASKEW * np.array([[1.0, -1.0], [-1.0, 1.0]])
    return out


def _prior(name: str) -> float:
    """Quadratic cost of a weight. What the mesh shows badly, or what imitates a pose, costs more."""
    wide = (
        "jawOpen",
        "eyeBlink",
        "mouthSmile",
        "mouthPucker",
        "mouthFunnel",
        "browInner",
        "browOuter",
        "browDown",
        "mouthLowerDown",
        "mouthUpperUp",
    )
    narrow = ("jawForward", "cheekPuff", "mouthShrug", "mouthPress", "mouthRoll", "cheekRaiser", "eyeSquint")
    sigma = _EXPRESSION_SIGMA * (2.0 if name.startswith(wide) else 0.6 if name.startswith(narrow) else 1.0)
    return 1 / sigma**2


def _shrink(name: str) -> float:
    if name.startswith(("jawOpen", "eyeBlink")):
        return 0.1
    if name.startswith(("mouthSmile", "mouthFrown", "mouthLowerDown", "mouthUpperUp", "browDown")):
        return 0.5 * _EXPRESSION_SHRINK
    opposed = name in (
        "mouthLeft",
        "mouthRight",
        "jawLeft",
        "jawRight",
    )  # together they would make a shape of their own
    return 3 * _EXPRESSION_SHRINK if opposed else _EXPRESSION_SHRINK


def _point_weights(mean: np.ndarray) -> np.ndarray:
    """Inverse variances (1/cm^2): points in sparse parts of the mesh stand for more, the rim slides on the face."""
    apart = np.linalg.norm(mean[:, None] - mean[None], axis=2)
    density = np.sort(apart, axis=1)[:, 5]
    weights = np.clip(density / np.median(density), 0.35, 2.0)
    weights[face_points.FACE_OVAL] *= 0.4
    weights[face_points.LIPS] *= 1.6
    return weights * (_EFFECTIVE / SIGMA**2 / weights.sum())


def _rows(basis: np.ndarray) -> np.ndarray:
    """(3P, N) of a basis (N, P, 3)."""
    return np.ascontiguousarray(basis.reshape(len(basis), -1).T)
