"""Normals of a nose as the light inside its flesh has them: smoother than its surface.

Light that enters skin leaves it millimetres away, so small forms turn from light to shade over more than their own
edges. Lighting smoothed normals shows that (Ma et al., *Rapid Acquisition of Specular and Diffuse Normal Maps*, 2007,
section 5); a ridge or a wing lit by its surface's own normals looks cut. This is for noses only: lips and lids are
moist or thin, and keep theirs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from deid.models.morphable.geometry import Geometry
from deid.models.morphable.raster import vertex_normals

_MIDDLE, _REACH, _EDGE = (0.0, 1.4), (2.1, 2.9), 0.7  # centimetres, x and y of the mean head: a nose, and its fade
_BEFORE = 9.6  # centimetres, z: what lies behind is no nose
_NEAR, _EVERY = 24, 3  # vertices around each that are averaged: of the nearest, one in so many
_TIED = 8  # vertices beyond, of which some may be as near as the last: seams have two in one place
_MARGIN = 2.0  # centimetres around a nose within which all of these lie
_SPREAD = 0.38  # centimetres, standard deviation of the weights
_OPEN = (0.45, 0.75)  # occlusion: nostrils keep their own normals


class SoftNormals(NamedTuple):
    """``members``: int32 (n,), vertices. ``around``: int32 (n, 24), vertices whose normals are averaged. ``weights``:
    float32 (n, 24), how much of each; a vertex's own is among them, and they sum to 1."""

    members: np.ndarray
    around: np.ndarray
    weights: np.ndarray


def soft_normals(geometry: Geometry, members: np.ndarray) -> SoftNormals:
    """``members``: int32 (m,), vertices of skin."""
    points = geometry.vertices[members].astype(np.float64)
    off = np.abs(points[:, :2] - _MIDDLE) - _REACH
    inside = np.clip(1 - off / _EDGE, 0, 1).prod(axis=1) * (points[:, 2] > _BEFORE)
    inside *= np.clip((geometry.occlusion[members] - _OPEN[0]) / (_OPEN[1] - _OPEN[0]), 0, 1)
    rows = np.flatnonzero(inside > 0.02)
    # those that can be among the nearest: all others would only take time and memory
    beside = np.flatnonzero((off < _EDGE + _MARGIN).all(axis=1) & (points[:, 2] > _BEFORE - _MARGIN))
    apart = _apart(points[rows], points[beside])
    nearest, distances = _nearest(apart, _NEAR * _EVERY)
    order = beside[nearest[:, ::_EVERY]]
    weights = np.exp(-0.5 * np.square(distances[:, ::_EVERY] / _SPREAD))
    # nor does light go through a nostril's wall at once
    normals = np.empty_like(geometry.vertices)
    vertex_normals(geometry.vertices, geometry.triangles, geometry.weld, normals)
    own = normals[members].astype(np.float64)
    weights *= np.clip(0.5 + 1.5 * np.einsum("ij,ikj->ik", own[rows], own[order]), 0, 1)
    # crowded vertices count less: each stands for the surface around it
    spacing = distances[:, 1:7].mean(axis=1)
    area = np.ones(len(members))
    area[rows] = np.square(spacing / spacing.mean())
    weights *= area[order]
    weights *= (inside[rows] / weights.sum(axis=1))[:, None]
    weights[order == rows[:, None]] += 1 - inside[rows]
    return SoftNormals(members[rows], members[order].astype(np.int32), weights.astype(np.float32))


@njit(cache=True, nogil=True)
def _apart(some: np.ndarray, others: np.ndarray) -> np.ndarray:  # pragma: no cover - compiled
    """float64 (n, m): distances between points (n, 3) and (m, 3)."""
    out = np.empty((some.shape[0], others.shape[0]))
    for i in range(some.shape[0]):
        for j in range(others.shape[0]):
            x, y, z = some[i, 0] - others[j, 0], some[i, 1] - others[j, 1], some[i, 2] - others[j, 2]
            out[i, j] = np.sqrt(x * x + y * y + z * z)
    return out


def _nearest(apart: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Places of the ``count`` least of each row of ``apart``, (n, m), in order, the first of equal ones first, and
    these values: what sorting all of them stably gives where no more than ``_TIED`` others equal the last, in a
    fraction of the time."""
    some = min(count + _TIED, apart.shape[1])
    found = np.sort(np.argpartition(apart, some - 1, axis=1)[:, :some], axis=1)
    values = np.take_along_axis(apart, found, axis=1)
    order = np.argsort(values, axis=1, kind="stable")[:, :count]
    return np.take_along_axis(found, order, axis=1), np.take_along_axis(values, order, axis=1)


@njit(cache=True, nogil=True)
def soften(
    members: np.ndarray, around: np.ndarray, weights: np.ndarray, normals: np.ndarray, out: np.ndarray
) -> None:  # pragma: no cover - compiled
    """``out``, float32 (V, 3): ``normals``, but smoothed at ``members``, see :class:`SoftNormals`."""
    out[:] = normals
    for k in range(members.shape[0]):
        x = y = z = np.float32(0.0)
        for j in range(around.shape[1]):
            w, i = weights[k, j], around[k, j]
            x += w * normals[i, 0]
            y += w * normals[i, 1]
            z += w * normals[i, 2]
        q = np.float32(1.0) / np.sqrt(x * x + y * y + z * z + np.float32(1e-8))
        i = members[k]
        out[i, 0], out[i, 1], out[i, 2] = x * q, y * q, z * q
