"""Textures from portraits: the ICT face model is fitted to each and the picture is read into the face's UV tile.

Part of ``tools/face_appearance.py``. Method: alternating Procrustes and bounded least squares on MediaPipe's mesh
(orthographic camera), then a biharmonic displacement of the picture plane that makes every landmark exact, then
visibility by a z-buffer. Colours are linear light. Spaces as in :mod:`deid.models.morphable.codes`.
"""

from __future__ import annotations

import csv
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numba
import numpy as np
from scipy.optimize import lsq_linear

from deid import imaging
from deid.detection import CenterFace, FaceLandmarker
from deid.detection.landmarks import roi_from_box, roi_from_landmarks

N_SHAPE = 40
FACE_VERTICES = 9409
HEAD_VERTICES = 11248
INNER_LIPS = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)
EYES = (
    (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7),
    (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249),
)


@dataclass(frozen=True, slots=True, eq=False)
class Portrait:
    """A face in a photograph. ``points``: float32 (478, 3), see ``FaceLandmarks``; angles in degrees."""

    path: Path
    gender: str
    birth_year: int
    points: np.ndarray
    yaw: float
    pitch: float


@dataclass(frozen=True, slots=True, eq=False)
class Sampled:
    """What one portrait shows of the face, for the tile's texels of :class:`Tile`.

    ``colour``: float32 (n, 3), linear RGB. ``weight``: float32 (n,), 0 hidden or no skin, up to 1 seen head-on.
    ``normal``: float32 (n, 3), camera space. ``expression``: float32 (57,). ``residual``: landmark error over the outer
    eye distance before the correction. ``texel``: picture pixels a texel, its median.
    """

    colour: np.ndarray
    weight: np.ndarray
    normal: np.ndarray
    expression: np.ndarray
    residual: float
    texel: float


def read_portraits(folder: Path) -> list[Portrait]:
    """Every portrait of the index in which a face is found, with its landmarks."""
    found = []
    with closing(CenterFace()) as detector, FaceLandmarker() as mesh:
        for row in csv.DictReader((folder / "index.csv").read_text().splitlines()):
            picture = imaging.imread(str(folder / row["file"]))
            boxes = detector.detect(picture, scale=0.5)
            if not boxes:
                continue
            face = mesh.run(picture, roi_from_box(np.asarray(max(boxes, key=lambda d: d.score).box)))
            for _ in range(3):
                face = face and mesh.run(picture, roi_from_landmarks(face.points))
            if face is not None and face.presence > 0.9:
                year = int(row["birth_year"] or 0)
                found.append(Portrait(folder / row["file"], row["gender"], year, face.points, face.yaw, face.pitch))
    return found


class FaceModel:
    """The ICT face model, as much of it as the fit needs."""

    def __init__(self, folder: Path) -> None:
        data = np.load(folder / "ict_face_model_light.npz")
        self.mean = data["vertices"].astype(np.float32)
        self.shapes = data["identity_modes"][:N_SHAPE].astype(np.float32)
        names = [str(n) for n in data["expression_names"]]
        self.expressions = data["expression_deltas"].astype(np.float32)
        self.expression_names = names
        self.free = [i for i, n in enumerate(names) if not n.startswith(("eyeLook", "Pupil"))]
        self.triangles = data["triangles"]
        self.triangles_uv = data["triangles_uv"]
        self.uv = data["uv"].astype(np.float32)
        self.material = data["triangle_material"]
        self.vertex_of_point = np.load(folder / "mediapipe_to_vertex.npz")["vertex"]
        self._correction = _biharmonic(self.mean[self.vertex_of_point], self.mean[:HEAD_VERTICES])

    def fit(self, points: np.ndarray, rounds: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
        """Vertices in head space, their picture positions (x, y, depth away), expression weights, landmark residual."""
        at = self.vertex_of_point
        target = points[:468] * np.array([1, -1, -1], np.float32)
        mean, shapes, moves = self.mean[at], self.shapes[:, at], self.expressions[self.free][:, at]
        n_shape, n_move = len(shapes), len(moves)
        a, b = np.zeros(n_shape, np.float32), np.zeros(n_move, np.float32)
        low, high = np.r_[np.full(n_shape, -3.0), np.zeros(n_move)], np.r_[np.full(n_shape, 3.0), np.full(n_move, 1.2)]
        ridge = np.diag(np.r_[np.full(n_shape, 2.0), np.full(n_move, 1.0)])
        for _ in range(rounds):
            posed = mean + np.tensordot(a, shapes, 1) + np.tensordot(b, moves, 1)
            scale, turn, shift = _procrustes(posed, target)
            axes = turn.T @ np.diag([1, 1, 0.35]) @ turn
            left = (((target - shift) @ turn) / scale - mean) @ axes
            columns = np.hstack([(m @ axes).reshape(len(m), -1).T for m in (shapes, moves)])
            solved = lsq_linear(
                np.vstack([columns, ridge]),
                np.r_[left.ravel(), np.zeros(len(ridge))],
                (low, high),
                max_iter=30,
                tol=1e-4,
            ).x.astype(np.float32)
            a, b = solved[:n_shape], solved[n_shape:]
        expression = np.zeros(len(self.expressions), np.float32)
        expression[self.free] = b
        vertices = (self.mean + np.tensordot(a, self.shapes, 1) + np.tensordot(expression, self.expressions, 1))[
            :HEAD_VERTICES
        ]
        posed = scale * vertices @ turn.T + shift
        placed = (posed * np.array([1, -1, -1])).astype(np.float32)
        error = points[:468, :2] - placed[at, :2]
        placed[:, :2] += self._correction @ error
        residual = float(np.hypot(*error.T).mean() / np.hypot(*(points[33, :2] - points[263, :2])))
        return vertices @ turn.T, placed, expression, residual


def _procrustes(a: np.ndarray, b: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Scale, rotation, shift with ``b = scale * a @ rotation.T + shift`` in the least-squares sense."""
    ca, cb = a.mean(0), b.mean(0)
    a, b = a - ca, b - cb
    u, s, v = np.linalg.svd(b.T @ a)
    sign = np.diag([1, 1, np.sign(np.linalg.det(u @ v))])
    turn = u @ sign @ v
    scale = float((s * np.diag(sign)).sum() / (a**2).sum())
    return scale, turn, cb - scale * turn @ ca


def _biharmonic(centres: np.ndarray, places: np.ndarray, smoothing: float = 0.02) -> np.ndarray:
    """Matrix (places, centres) that spreads displacements given at ``centres`` (polyharmonic spline r in 3-D)."""
    unique, first, member = np.unique(centres, axis=0, return_index=True, return_inverse=True)
    n = len(unique)
    gap = np.linalg.norm(unique[:, None] - unique[None], axis=2)
    ones = np.column_stack([np.ones(n), unique])
    system = np.block([[gap - smoothing * np.eye(n), ones], [ones.T, np.zeros((4, 4))]])
    inverse = np.linalg.inv(system)[:, :n]
    kernel = np.linalg.norm(places[:, None] - unique[None], axis=2)
    spread = np.column_stack([kernel, np.ones(len(places)), places]) @ inverse
    average = np.zeros((n, len(centres)))
    average[np.ravel(member), np.arange(len(centres))] = 1
    average /= average.sum(1, keepdims=True)
    return (spread @ average).astype(np.float32)


@numba.njit(cache=True)
def rasterise(points: np.ndarray, triangles: np.ndarray, height: int, width: int) -> tuple:
    """Depth (nearest is smallest), triangle (-1 none) and barycentric weights of every pixel."""
    depth = np.full((height, width), 1e9, np.float32)
    index = np.full((height, width), -1, np.int32)
    bary = np.zeros((height, width, 3), np.float32)
    for k in range(triangles.shape[0]):
        a, b, c = triangles[k]
        x0, y0, x1, y1, x2, y2 = points[a, 0], points[a, 1], points[b, 0], points[b, 1], points[c, 0], points[c, 1]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if abs(area) <= 1e-9:
            continue
        for y in range(max(0, int(np.ceil(min(y0, y1, y2)))), min(height - 1, int(np.floor(max(y0, y1, y2)))) + 1):
            for x in range(max(0, int(np.ceil(min(x0, x1, x2)))), min(width - 1, int(np.floor(max(x0, x1, x2)))) + 1):
                w1 = ((x - x0) * (y2 - y0) - (x2 - x0) * (y - y0)) / area
                w2 = ((x1 - x0) * (y - y0) - (x - x0) * (y1 - y0)) / area
                w0 = 1 - w1 - w2
                if w0 < -1e-6 or w1 < -1e-6 or w2 < -1e-6:
                    continue
                z = w0 * points[a, 2] + w1 * points[b, 2] + w2 * points[c, 2]
                if z < depth[y, x]:
                    depth[y, x], index[y, x] = z, k
                    bary[y, x, 0], bary[y, x, 1], bary[y, x, 2] = w0, w1, w2
    return depth, index, bary


def vertex_normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Area-weighted unit normals, (V, 3)."""
    face = np.cross(
        vertices[triangles[:, 1]] - vertices[triangles[:, 0]], vertices[triangles[:, 2]] - vertices[triangles[:, 0]]
    )
    out = np.zeros(vertices.shape)
    for corner in range(3):
        for axis in range(3):
            out[:, axis] += np.bincount(triangles[:, corner], face[:, axis], len(vertices))
    return (out / (np.linalg.norm(out, axis=1, keepdims=True) + 1e-9)).astype(np.float32)


class Tile:
    """The face's UV tile at ``size``: which texels the face covers and where they lie on it.

    ``inside``: bool (size, size). ``corners``: int32 (n, 3) vertices; ``bary``: float32 (n, 3, 1). ``narrow``: bool
    (n,), texels of the narrow face (no ears, scalp, neck).
    """

    def __init__(self, model: FaceModel, size: int) -> None:
        self.size = size
        face = model.material == 0
        at = np.column_stack([model.uv[:, 0] * size - 0.5, (1 - model.uv[:, 1]) * size - 0.5, np.zeros(len(model.uv))])
        _, index, bary = rasterise(at.astype(np.float32), model.triangles_uv[face], size, size)
        self.inside = index >= 0
        self.corners = model.triangles[face][index[self.inside]]
        self.bary = bary[self.inside][:, :, None]
        self.narrow = (self.corners < 6706).all(1)
        skin = model.material <= 1
        self._skin = model.triangles[skin]
        self._skin = self._skin[(self._skin < HEAD_VERTICES).all(1)]

    def image(self, values: np.ndarray, fill: float = 0.0) -> np.ndarray:
        """Values of the covered texels laid out as (size, size, ...)."""
        out = np.full((self.size, self.size, *values.shape[1:]), fill, np.float32)
        out[self.inside] = values
        return out

    def sample(self, model: FaceModel, portrait: Portrait) -> Sampled:
        """Read a portrait into the tile."""
        code = imaging.imread(str(portrait.path))[..., ::-1].astype(np.float32) / 255
        linear = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4).astype(np.float32)
        turned, placed, expression, residual = model.fit(portrait.points)
        normals = vertex_normals(turned, self._skin)
        place = (placed[self.corners] * self.bary).sum(1)
        normal = (normals[self.corners] * self.bary).sum(1)
        normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9
        height, width = linear.shape[:2]
        depth, _, _ = rasterise(placed, self._skin, height, width)
        x = np.clip(np.rint(place[:, 0]), 0, width - 1).astype(int)
        y = np.clip(np.rint(place[:, 1]), 0, height - 1).astype(int)
        seen = place[:, 2] < depth[y, x] + 0.015 * np.ptp(placed[:, 2])
        weight = np.clip((normal[:, 2] - 0.1) / 0.5, 0, 1) * seen * ~_holes(portrait.points, height, width)[y, x]
        at = [self.image(place[:, i]) for i in (0, 1)]
        colour = imaging.remap(linear, *at, imaging.INTER_CUBIC)[self.inside]
        step = float(
            np.median(
                np.hypot(
                    np.diff(at[0][:, self.size // 3 : -self.size // 3], axis=1),
                    np.diff(at[1][:, self.size // 3 : -self.size // 3], axis=1),
                )
            )
        )
        return Sampled(np.maximum(colour, 0), weight.astype(np.float32), normal, expression, residual, step)


def _holes(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bool (height, width): eyes and the inside of the mouth with their margins; no skin there."""
    holes = np.zeros((height, width), np.uint8)
    for ring in (INNER_LIPS, *EYES):
        imaging.fill_convex_poly(holes, np.rint(points[list(ring), :2]).astype(np.int32), 1)
    margin = max(1, round(0.012 * float(np.hypot(*(points[33, :2] - points[263, :2])))))
    return imaging.dilate(holes, np.ones((2 * margin + 1,) * 2, np.uint8)) > 0
