"""Normals of the measured places (:mod:`.photo_samples`) on a posed head, without posing the head.

Light varies slowly over normals, so their change with expression is taken as linear: a table of one track, from which
a frame's normals are one small matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .geometry import Geometry, Part
from .photo_reference import load_reference
from .photo_samples import TRIPLES


@dataclass(frozen=True, slots=True, eq=False)
class SampleNormals:
    """``rest``: float32 (N, 3), unit normals of a head at rest, head space. ``change``: float32 (E, N, 3), what full
    weight of each expression adds to them."""

    rest: np.ndarray
    change: np.ndarray

    def at(self, expression: np.ndarray) -> np.ndarray:
        """float32 (n, N, 3) unit normals in head space for ``expression``, (n, E) weights."""
        count = len(self.change)
        flat = np.asarray(expression, np.float32) @ self.change.reshape(count, -1)
        out = flat.reshape(-1, *self.rest.shape) + self.rest
        out /= np.maximum(np.linalg.norm(out, axis=2, keepdims=True), 1e-6)
        return out


def sample_normals(geometry: Geometry, neutral: np.ndarray) -> SampleNormals:
    """Normals at the samples for a head whose shape at rest is ``neutral``, float32 (V, 3)."""
    corners = geometry.weld[geometry.triangles[geometry.parts <= Part.HEAD]]
    mesh_corners = geometry.weld[geometry.triangles[geometry.landmark_triangles]]
    wanted = np.unique(mesh_corners)
    near = corners[np.isin(corners, wanted).any(axis=1)]
    used, local = np.unique(near, return_inverse=True)
    local = local.reshape(near.shape)
    place = np.zeros(len(neutral), np.int64)
    place[used] = np.arange(len(used))
    mesh = place[mesh_corners]
    weights = geometry.landmark_weights

    def normals(vertices: np.ndarray) -> np.ndarray:
        at_mesh = (_vertex_normals(vertices, local)[mesh] * weights[:, :, None]).sum(axis=1)
        out = _unit(at_mesh)[TRIPLES].mean(axis=1)
        return _unit(out).astype(np.float32)

    base = neutral[used]
    rest = normals(base)
    change = np.stack([normals(base + delta) - rest for delta in geometry.expression[:, used]])
    return SampleNormals(rest, change)


def _vertex_normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """(V, 3) unit normals, the mean of the faces around weighted by their area."""
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    face = np.cross(b - a, c - a)
    out = np.zeros((len(vertices), 3))
    for k in range(3):
        for axis in range(3):
            out[:, axis] += np.bincount(triangles[:, k], face[:, axis], len(vertices))
    return _unit(out)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def skin_level(geometry: Geometry, albedo: np.ndarray) -> np.ndarray:
    """float32 (3,): how much lighter than the reference skin an ``albedo`` map, float32 (T, T, 3), is on average at the
    samples, weighed as light estimation weighs them. Divide the map by it: then skin rendered with a frame's tone is as
    bright, and of the colour, that the frame shows."""
    reference = load_reference()
    ratio = np.log(np.maximum(sampled(geometry, albedo), 1e-3) / reference.albedo)
    out: np.ndarray = np.exp(np.average(ratio, axis=0, weights=1 / reference.spread**2)).astype(np.float32)
    return out


def sampled(geometry: Geometry, albedo: np.ndarray) -> np.ndarray:
    """float32 (N, 3): a map over the face's tile, (T, T, 3), at the samples."""
    corners = geometry.triangles[geometry.landmark_triangles]
    uv = (geometry.uv[corners] * geometry.landmark_weights[:, :, None]).sum(axis=1)[TRIPLES].mean(axis=1)
    size = len(albedo)
    reach = max(1, size // 100)
    offsets = np.arange(-reach, reach + 1)
    x = np.clip((uv[:, 0] * size).astype(int)[:, None, None] + offsets[None, None, :], 0, size - 1)
    y = np.clip((uv[:, 1] * size).astype(int)[:, None, None] + offsets[None, :, None], 0, size - 1)
    here: np.ndarray = albedo[y, x].mean(axis=(1, 2))
    return here
