"""The source of the geometry, and its regular rings of vertices round lids and lips."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree

FACE_END, HEAD_END, SOCKET_END, EYE_SOCKET_END = 9409, 11248, 13294, 14062
NARROW_END = 6706
LEFT_SCLERA, RIGHT_SCLERA = slice(21451, 22221), slice(23021, 23791)
FACE, BACK, GUMS, TEETH = 0, 1, 2, 3


@dataclass(frozen=True)
class Source:
    """ICT-FaceKit's light model; lengths in centimetres. Rings run from the hole outwards."""

    vertices: np.ndarray
    triangles: np.ndarray
    wedges: np.ndarray
    uv: np.ndarray
    material: np.ndarray
    identity: np.ndarray
    expression: np.ndarray
    names: list[str]
    mirror: np.ndarray
    landmarks: np.ndarray  # (468,) a first guess of MediaPipe's points
    lid_rings: np.ndarray  # (2, 3, 42), left eye first; columns run from the outer corner over the upper lid
    lip_rings: np.ndarray  # (16, 74); columns run from below the middle to the subject's left and over the upper lip


def load_source(folder: Path) -> Source:
    """Read ``ict_face_model_light.npz`` from ``folder``."""
    data = np.load(folder / "ict_face_model_light.npz")
    vertices = data["vertices"].astype(np.float64)
    triangles, material = data["triangles"], data["triangle_material"]
    uv, index = np.unique(np.round(data["uv"].astype(np.float64), 6), axis=0, return_inverse=True)
    wedges = index.reshape(-1)[data["triangles_uv"]].astype(np.int32)
    mirror = np.arange(len(vertices))
    for low, high in ((0, FACE_END), (FACE_END, HEAD_END), (HEAD_END, SOCKET_END)):
        mirror[low:high] = low + cKDTree(vertices[low:high]).query(vertices[low:high] * [-1, 1, 1])[1]
    rings = _Rings(vertices, triangles[material == FACE])
    left = rings.around(rings.border(lambda p: 4.3 < p[0] < 4.46 and 3.4 < p[1] < 3.5 and p[2] > 8), 3)
    left = _from_corner(vertices, left)
    lips = rings.around(rings.border(lambda p: abs(p[0]) < 1e-3 and -5 < p[1] < -3.5), 16)
    if vertices[lips[0, 1], 0] < 0:
        lips = np.roll(lips[:, ::-1], 1, axis=1)
    return Source(
        vertices=vertices,
        triangles=triangles,
        wedges=wedges,
        uv=uv,
        material=material,
        identity=data["identity_modes"].astype(np.float32),
        expression=data["expression_deltas"].astype(np.float32),
        names=[str(n) for n in data["expression_names"]],
        mirror=mirror,
        landmarks=np.load(folder / "mediapipe_to_vertex.npz")["vertex"],
        lid_rings=np.stack([left, mirror[left]]),
        lip_rings=lips,
    )


def _from_corner(vertices: np.ndarray, rings: np.ndarray) -> np.ndarray:
    """Columns turned so that the first is the outer corner and the second lies on the upper lid."""
    start = int(np.argmax(np.abs(vertices[rings[0], 0])))
    rings = np.roll(rings, -start, axis=1)
    if vertices[rings[0, 1], 1] < vertices[rings[0, -1], 1]:
        rings = np.roll(rings[:, ::-1], 1, axis=1)
    return rings


class _Rings:
    def __init__(self, vertices: np.ndarray, triangles: np.ndarray) -> None:
        self._vertices = vertices
        edges = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=1)
        edges, counts = np.unique(edges, axis=0, return_counts=True)
        self._next: dict[int, set[int]] = defaultdict(set)
        self._rim: dict[int, list[int]] = defaultdict(list)
        for (a, b), n in zip(edges.tolist(), counts.tolist(), strict=True):
            self._next[a].add(b)
            self._next[b].add(a)
            if n == 1:
                self._rim[a].append(b)
                self._rim[b].append(a)

    def border(self, where) -> list[int]:
        """The hole's rim that passes through the first rim vertex for which ``where(position)`` holds."""
        start = next(i for i in sorted(self._rim) if where(self._vertices[i]))
        loop, previous, current = [start], -1, start
        while True:
            step = next(i for i in self._rim[current] if i != previous)
            if step == start:
                return loop
            loop.append(step)
            previous, current = current, step

    def around(self, loop: list[int], count: int) -> np.ndarray:
        """(count, len(loop)): the loop and the rings outside it, columns matched along the mesh's edges."""
        rings, seen = [loop], set(loop)
        for _ in range(count - 1):
            candidates = sorted({q for p in rings[-1] for q in self._next[p]} - seen)
            cost = np.full((len(loop), len(candidates)), 1e3)
            for i, p in enumerate(rings[-1]):
                for j, q in enumerate(candidates):
                    if q in self._next[p]:
                        cost[i, j] = np.linalg.norm(self._vertices[p] - self._vertices[q])
            rows, columns = linear_sum_assignment(cost)
            if (cost[rows, columns] > 100).any() or len(rows) < len(loop):
                raise ValueError("the rings of the source mesh do not match")
            rings.append([candidates[j] for j in columns])
            seen |= set(candidates)
        return np.array(rings)
