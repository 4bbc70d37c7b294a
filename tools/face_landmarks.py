"""Where MediaPipe's mesh points lie on the head: a first guess, then the residual of many fits taken out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from face_source import Source
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

_COUNT, _YAW, _DISTANCE = 160, 18.0, 150.0
_CLOSED = 0.03  # gap between the lips over the distance of the outer eye corners
_ROUNDS, _STEPS = 4, 7
_NOISE = 0.12  # centimetres that a landmark may be off
_DEPTH_WEIGHT = 0.35  # of depth, when the nearest point of the surface is sought


@dataclass(frozen=True)
class Correspondence:
    """``triangles`` int32 (468,), ``weights`` float64 (468, 3): barycentric."""

    triangles: np.ndarray
    weights: np.ndarray

    def take(self, mesh_triangles: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Values (..., V, 3) at the points, (..., 468, 3)."""
        corners = mesh_triangles[self.triangles]
        return np.einsum("...lcx,lc->...lx", values[..., corners, :], self.weights)


class Surface:
    """Nearest points on triangles, with depth counting less."""

    def __init__(self, points: np.ndarray, triangles: np.ndarray, members: np.ndarray) -> None:
        self._metric = np.array([1.0, 1.0, _DEPTH_WEIGHT])
        self._corners = points[triangles[members]] * self._metric
        self._members = members
        self._tree = cKDTree(self._corners.mean(axis=1))

    def nearest(self, targets: np.ndarray) -> Correspondence:
        _, near = self._tree.query(targets * self._metric, k=40)
        triangles, weights = [], []
        for target, candidates in zip(targets * self._metric, near, strict=True):
            bary, gap = _nearest_on(self._corners[candidates], target)
            best = int(gap.argmin())
            triangles.append(self._members[candidates[best]])
            weights.append(bary[best])
        return Correspondence(np.array(triangles, np.int32), np.array(weights))


def _nearest_on(corners: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Barycentric weights (n, 3) of the points of triangles (n, 3, 3) nearest to ``target``, squared distances (n,)."""
    a, e1, e2 = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    d = target - a
    g11, g12, g22 = (np.einsum("ij,ij->i", x, y) for x, y in ((e1, e1), (e1, e2), (e2, e2)))
    r1, r2 = np.einsum("ij,ij->i", e1, d), np.einsum("ij,ij->i", e2, d)
    det = np.maximum(g11 * g22 - g12 * g12, 1e-15)
    v, w = (g22 * r1 - g12 * r2) / det, (g11 * r2 - g12 * r1) / det
    options = [np.stack([1 - v - w, v, w], axis=1)]
    inside = (options[0] >= 0).all(axis=1)
    for i, j in ((0, 1), (1, 2), (2, 0)):
        edge = corners[:, j] - corners[:, i]
        t = np.einsum("ij,ij->i", target - corners[:, i], edge) / np.maximum(np.einsum("ij,ij->i", edge, edge), 1e-15)
        bary = np.zeros((len(corners), 3))
        bary[:, j] = np.clip(t, 0, 1)
        bary[:, i] = 1 - bary[:, j]
        options.append(bary)
    stack = np.stack(options)
    gap = ((np.einsum("onc,ncx->onx", stack, corners) - target) ** 2).sum(axis=2)
    gap[0] = np.where(inside, gap[0], np.inf)
    best = gap.argmin(axis=0)
    rows = np.arange(len(corners))
    return stack[best, rows], gap[best, rows]


def correspond(source: Source, mesh, mean, basis, deltas, portraits: Path | None) -> Correspondence:
    """The first guess, refined on the portraits in ``portraits`` when there are any."""
    guess = source.vertices[source.landmarks]
    surface = Surface(mean, mesh.triangles, np.flatnonzero(mesh.parts <= 1))
    found = surface.nearest(guess)
    if portraits is None:
        return found
    observed = landmarks_of(portraits)
    print(f"{len(observed)} frontal portraits with closed lips")
    pairs = cKDTree(guess).query(guess * [-1, 1, 1])[1]
    for _ in range(_ROUNDS):
        model = [found.take(mesh.triangles, x) for x in (mean, basis, deltas)]
        residuals = np.stack([fit(*model, points)[0] for points in observed])
        scatter = np.median(np.abs(residuals[..., :2]), axis=0).mean()
        bias = _robust_mean(residuals)
        bias = (bias + bias[pairs] * [-1, 1, 1]) / 2
        size = np.linalg.norm(bias[:, :2], axis=1)
        print(f"bias {size.mean():.4f} cm, worst {size.max():.4f}; median deviation {scatter:.4f} cm")
        found = surface.nearest(found.take(mesh.triangles, mean) + bias)
    return found


def _robust_mean(residuals: np.ndarray) -> np.ndarray:
    middle = np.median(residuals, axis=0)
    spread = 1.5 * np.median(np.abs(residuals - middle), axis=0) + 1e-6
    weights = 1 / (1 + ((residuals - middle) / (2 * spread)) ** 2)
    return (residuals * weights).sum(axis=0) / weights.sum(axis=0)


def landmarks_of(folder: Path) -> list[np.ndarray]:
    """(468, 2) pixels of faces that look ahead with closed lips, the narrowest mouths first: a smile that photographs
    share must not pass for the place of a point. One face a picture of ``folder``."""
    from deid.detection.landmarks import FaceLandmarker, Roi, roi_from_landmarks

    out = []
    with FaceLandmarker() as landmarker:
        for path in sorted(folder.glob("*.jpg")):
            picture = _read(path)
            height, width = picture.shape[:2]
            face = landmarker.run(picture, Roi(width / 2, height * 0.42, 0.8 * height))
            for _ in range(2):
                if face is not None:
                    face = landmarker.run(picture, roi_from_landmarks(face.points))
            if face is not None and face.presence > 0.95 and abs(face.yaw) < _YAW:
                out.append(face.points[:468, :2].astype(np.float64))
    measures = []
    for points in out:
        eyes = np.linalg.norm(points[33] - points[263])
        gap, width = (np.linalg.norm(points[a] - points[b]) / eyes for a, b in ((13, 14), (61, 291)))
        measures.append(width if gap < _CLOSED else np.inf)
    return [out[i] for i in np.argsort(measures, kind="stable")[:_COUNT] if np.isfinite(measures[i])]


def _read(path: Path) -> np.ndarray:
    from PIL import Image

    return np.ascontiguousarray(np.asarray(Image.open(path).convert("RGB"))[..., ::-1])


def fit(mean: np.ndarray, identity: np.ndarray, expression: np.ndarray, points: np.ndarray) -> tuple:
    """Pose, identity and expression from (468, 2) pixels: residuals (468, 3), head space, and the codes."""
    k, e = len(identity), len(expression)
    code = np.zeros(k + e)
    basis = np.concatenate([identity, expression])
    target = points * [1, -1]
    rotation, scale, shift = np.eye(3), 0.0, np.zeros(2)
    weight = np.ones(len(points))
    for step in range(_STEPS):
        shape = mean + np.tensordot(code, basis, 1)
        rotation, scale, shift = _pose(shape, target, rotation, weight, 12 if step == 0 else 4)
        turned = shape @ rotation.T
        near = scale / (1 - turned[:, 2] / _DISTANCE)
        flat = (basis @ rotation.T)[:, :, :2] + turned[None, :, :2] * ((basis @ rotation.T)[:, :, 2:] / _DISTANCE)
        residual = (target - shift) / near[:, None] - turned[:, :2]
        system = (flat * weight[:, None]).reshape(k + e, -1).T / _NOISE
        right = ((residual + np.tensordot(code, flat, 1)) * weight[:, None]).ravel() / _NOISE
        code = _solve(system, right, k)
        error = np.linalg.norm(residual, axis=1)
        weight = 1 / np.sqrt(1 + (error / 0.25) ** 2)
    shape = mean + np.tensordot(code, basis, 1)
    rotation, scale, shift = _pose(shape, target, rotation, weight, 4)
    turned = shape @ rotation.T
    flat = (target - shift) * ((1 - turned[:, 2] / _DISTANCE) / scale)[:, None] - turned[:, :2]
    return np.concatenate([flat, np.zeros((len(flat), 1))], axis=1) @ rotation, code, rotation


def _solve(system: np.ndarray, right: np.ndarray, identities: int) -> np.ndarray:
    """Ridge regression with expression weights held between 0 and 1 by an active set."""
    count = system.shape[1]
    prior = np.r_[np.full(identities, 1.0), np.full(count - identities, 2.0)] * 6.0
    gram, moment = system.T @ system + np.diag(prior), system.T @ right
    value, active = np.zeros(count), np.ones(count, bool)
    fixed = np.zeros(count)
    for _ in range(8):
        a = np.flatnonzero(active)
        value = fixed.copy()
        value[a] = np.linalg.solve(gram[np.ix_(a, a)], moment[a] - gram[a] @ fixed)
        low = (value < 0) & active
        high = (value > 1) & active
        low[:identities] = high[:identities] = False
        if not (low | high).any():
            break
        fixed[high] = 1.0
        active &= ~(low | high)
    return value


def _pose(shape, target, rotation, weight, steps) -> tuple[np.ndarray, float, np.ndarray]:
    """Gauss-Newton for rotation, scale and shift of the perspective camera at ``_DISTANCE``."""
    turned = shape @ rotation.T
    scale = np.linalg.norm(target - target.mean(axis=0)) / np.linalg.norm((turned - turned.mean(axis=0))[:, :2])
    shift = target.mean(axis=0) - scale * turned[:, :2].mean(axis=0)
    for _ in range(steps):
        turned = shape @ rotation.T
        near = 1 / (1 - turned[:, 2] / _DISTANCE)
        flat = turned[:, :2] * near[:, None]
        x, y, z = turned.T
        zero = np.zeros_like(x)
        moves = np.stack([np.stack([zero, -z], 1), np.stack([z, zero], 1), np.stack([-y, x], 1)], axis=2)
        columns = np.concatenate([moves * (scale * near)[:, None, None], flat[:, :, None]], axis=2)
        unit = np.broadcast_to(np.eye(2), (len(shape), 2, 2))
        system = (np.concatenate([columns, unit], axis=2) * weight[:, None, None]).reshape(-1, 6)
        right = ((target - shift - scale * flat) * weight[:, None]).ravel()
        step = np.linalg.lstsq(system, right, rcond=None)[0]
        rotation = Rotation.from_rotvec(step[:3]).as_matrix() @ rotation
        scale, shift = scale + step[3], shift + step[4:]
    return rotation, float(scale), shift
