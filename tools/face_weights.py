"""How far neighbours follow when a lid's or a lip's edge is moved: smooth weights from a bi-Laplacian."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix, diags
from scipy.sparse.csgraph import dijkstra
from scipy.sparse.linalg import splu


def _graph(triangles: np.ndarray, points: np.ndarray):
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    edges = np.unique(np.sort(edges, axis=1), axis=0)
    length = np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1)
    half = coo_matrix((length, (edges[:, 0], edges[:, 1])), (len(points), len(points))).tocsr()
    return half + half.T


def region_weights(
    triangles: np.ndarray, points: np.ndarray, controls: np.ndarray, reach: float, inside: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices within ``reach`` centimetres of ``controls`` (c,) along the surface, weights (n, c), distances (n,).

    ``inside``: vertices that move by themselves: they belong to the region, with no weights.
    """
    graph = _graph(triangles, points)
    distance = dijkstra(graph, indices=controls, min_only=True, directed=False)
    region = np.flatnonzero(distance <= reach)
    region = np.union1d(region, inside)
    weights = np.zeros((len(region), len(controls)))
    free = np.setdiff1d(region, np.union1d(controls, inside))
    outer = np.flatnonzero((distance > reach) & (distance < 2 * reach))
    solved = _smooth(graph, np.concatenate([free, controls, outer]), len(free), controls, len(controls))
    fade = np.clip((reach - distance[free]) / (0.4 * reach), 0, 1)
    weights[np.searchsorted(region, free)] = solved * (fade * fade * (3 - 2 * fade))[:, None]
    weights[np.searchsorted(region, controls)] = np.eye(len(controls))
    return region, weights, np.minimum(distance[region], reach)


def _smooth(graph, members: np.ndarray, free: int, controls: np.ndarray, count: int) -> np.ndarray:
    """(free, count): least curved weights that are one at their control and zero at the others and outside."""
    local = graph[members][:, members].tocoo()
    weight = coo_matrix((1 / np.maximum(local.data, 0.02), (local.row, local.col)), local.shape).tocsr()
    degree = np.asarray(weight.sum(axis=1)).ravel()
    laplacian = diags(np.ones(len(members))) - diags(1 / degree) @ weight
    energy = (laplacian.T @ laplacian + 0.02 * (diags(degree) - weight) / degree.mean()).tocsc()
    known = np.zeros((len(members) - free, count))
    known[:count] = np.eye(count)
    right = -energy[:free][:, free:] @ known
    solved = splu(energy[:free][:, :free]).solve(np.ascontiguousarray(right))
    del controls
    return np.clip(solved, -0.2, 1.0)


def lip_weights(triangles: np.ndarray, points: np.ndarray, lips: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Region (n,) and weights (n, 74): each column of ``lips`` (rings, 74), moves as one up to the red's border, and
    the skin round it follows within 1.8 cm."""
    graph = _graph(triangles, points)
    controls = lips[-2]
    rigid = np.unique(lips[:-1])
    distance = dijkstra(graph, indices=controls, min_only=True, directed=False)
    reach = 1.8
    region = np.union1d(np.flatnonzero(distance <= reach), rigid)
    weights = np.zeros((len(region), lips.shape[1]))
    free = np.setdiff1d(region, rigid)
    outer = np.flatnonzero((distance > reach) & (distance < 2 * reach))
    solved = _smooth(graph, np.concatenate([free, controls, outer]), len(free), controls, len(controls))
    fade = np.clip((reach - distance[free]) / (0.4 * reach), 0, 1)
    weights[np.searchsorted(region, free)] = solved * (fade * fade * (3 - 2 * fade))[:, None]
    # the socket behind hangs on the same columns: what lies within it follows the nearest column
    for ring in lips[:-1]:
        weights[np.searchsorted(region, ring)] = np.eye(lips.shape[1])
    return region, weights
