"""The skin of the head, the mouth, and the teeth as meshes of the project's own, each vertex tied to the source."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from face_remesh import Remesher
from face_source import (
    BACK,
    EYE_SOCKET_END,
    FACE,
    FACE_END,
    GUMS,
    HEAD_END,
    NARROW_END,
    SOCKET_END,
    TEETH,
    Source,
)
from scipy.spatial import cKDTree

LIP_RINGS = (0, 2, 4, 5, 6, 7, 8, 9, 10, 12, 14)
SKIN, HEAD, MOUTH, TOOTH, TONGUE = 0, 1, 2, 3, 7
_NECK_END = -14.0


@dataclass(frozen=True)
class Surface:
    """``origin``: int (V,), source vertex of each vertex (several share one at texture seams). ``triangles`` (F, 3),
    ``parts`` (F,), ``uv`` (V, 2)."""

    origin: np.ndarray
    triangles: np.ndarray
    parts: np.ndarray
    uv: np.ndarray


def build_surface(source: Source) -> Surface:
    """All parts that move with the source's own vertices: everything but eyeballs, lashes and tears."""
    triangles, wedges, tags = _skin(source)
    pieces = [(triangles, wedges, tags)]
    pieces.extend(_inside(source))
    triangles, wedges, tags = (np.concatenate(x) for x in zip(*pieces, strict=True))
    keys = triangles.astype(np.int64) * len(source.uv) + wedges
    keys = np.where(tags[:, None] >= HEAD + 10, triangles.astype(np.int64) * len(source.uv), keys)
    keys, index = np.unique(keys, return_inverse=True)
    origin, wedge = keys // len(source.uv), keys % len(source.uv)
    triangles = index.reshape(-1, 3).astype(np.int32)
    parts = np.where(tags >= 10, tags - 10, tags)
    uv = _texture(source, origin, source.uv[wedge], triangles, tags)
    return Surface(origin, triangles, np.where(parts == 9, HEAD, parts).astype(np.uint8), uv)


def _skin(source: Source) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Face, head and mouth socket: half of it coarsened, and mirrored. Tags: 0 face, 1 ears and neck, 9 back, 12."""
    high = source.triangles.max(axis=1)
    mean = source.vertices[source.triangles].mean(axis=1)
    sockets = (high >= SOCKET_END) & (high < EYE_SOCKET_END)
    use = ((source.material == FACE) | ((source.material == BACK) & ~sockets)) & (mean[:, 1] > _NECK_END)
    half = use & (mean[:, 0] > 0)
    triangles, wedges = source.triangles[half], source.wedges[half]
    high, low = triangles.max(axis=1), triangles.min(axis=1)
    tags = np.where(low >= HEAD_END, 12, np.where(high >= FACE_END, 9, np.where(high >= NARROW_END, 1, 0)))
    tags[(source.material[half] == BACK) & (high >= HEAD_END)] = 12
    tags[(source.material[half] == BACK) & (high < HEAD_END)] = 9
    lines = _lines(source.vertices, triangles, tags)
    fixed = np.zeros(len(source.vertices), bool)
    fixed[source.lid_rings.ravel()] = True
    fixed[source.lip_rings[list(LIP_RINGS)].ravel()] = True
    remesher = Remesher(source.vertices, triangles, wedges, source.uv, _length(source), fixed, lines)
    remesher.run()
    # A triangle keeps its number, and lines between tags never move sideways: so tags stay.
    alive = np.array([k for k, t in enumerate(remesher.triangles) if t])
    return _mirrored(source, *remesher.result(), tags[alive])


def _lines(vertices: np.ndarray, triangles: np.ndarray, tags: np.ndarray) -> set[tuple[int, int]]:
    """Edges between tags, and on the plane of symmetry."""
    seen: dict[tuple[int, int], int] = {}
    lines = set()
    for t, tag in zip(triangles.tolist(), tags.tolist(), strict=True):
        for i in range(3):
            e = (min(t[i], t[i - 1]), max(t[i], t[i - 1]))
            if seen.setdefault(e, tag) != tag:
                lines.add(e)
            if abs(vertices[e[0], 0]) < 1e-3 and abs(vertices[e[1], 0]) < 1e-3:
                lines.add(e)
    return lines


def _length(source: Source) -> np.ndarray:
    """Wanted edge length, centimetres: fine at lids, lips, nostrils and brows, coarse behind."""
    p = np.abs(source.vertices * [1, 0, 0]) + source.vertices * [0, 1, 1]
    lids = cKDTree(p[source.lid_rings[0, 2]]).query(p)[0]
    lips = cKDTree(p[source.lip_rings[8]]).query(p)[0]
    nose = np.linalg.norm(p - [0.7, -0.3, 11.2], axis=1)
    brow = np.linalg.norm((p - [3.0, 5.2, 9.5]) * [0.5, 1, 0.5], axis=1)
    length = np.minimum.reduce(
        [
            0.11 + 0.14 * lids,
            0.16 + 0.12 * np.maximum(lips - 0.5, 0),
            0.15 + 0.16 * np.maximum(nose - 1.3, 0),
            0.26 + 0.15 * np.maximum(brow - 0.5, 0),
            np.full(len(p), 0.5),
        ]
    )
    ears = (p[:, 0] > 6.6) & (np.arange(len(p)) < FACE_END)
    length[ears] = 0.36
    behind = sum(np.clip(x, 0, 1) for x in ((2.0 - p[:, 2]) / 4, (-10.0 - p[:, 1]) / 3, (p[:, 1] - 9) / 2))
    length = np.where(ears, length, length + 0.9 * np.clip(behind, 0, 1))
    length[HEAD_END:SOCKET_END] = 0.35 + 0.25 * np.clip(10.0 - p[HEAD_END:SOCKET_END, 2], 0, 4)
    return length


def _mirrored(
    source: Source, triangles: np.ndarray, wedges: np.ndarray, tags: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    tile = np.floor(source.uv[:, :1])
    flipped = np.concatenate([2 * tile + 1 - source.uv[:, :1], source.uv[:, 1:]], axis=1)
    found = cKDTree(source.uv).query(flipped)[1]
    other, other_wedges = source.mirror[triangles][:, ::-1], found[wedges][:, ::-1]
    return (
        np.concatenate([triangles, other]),
        np.concatenate([wedges, other_wedges]),
        np.concatenate([tags, tags]),
    )


def _inside(source: Source) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Gums, tongue and teeth. Tags: 10 + part."""
    out = []
    p = source.vertices
    lower = _lower(source)
    for material, size in ((GUMS, 0.42), (TEETH, 0.16)):
        use = source.material == material
        # Roots lie inside the gums, and the gums' far ends behind the lips and cheeks, close to their skin.
        y = p[source.triangles][..., 1]
        low = lower[source.triangles[:, 0]]
        if material == TEETH:
            use &= np.where(low, y.max(axis=1) > -4.8, y.min(axis=1) < -1.7)
        else:
            front = p[source.triangles][..., 2].min(axis=1) > 7
            use &= ~front | np.where(low, y.max(axis=1) > -4.6, y.min(axis=1) < -1.45)
        triangles, wedges = source.triangles[use], source.wedges[use]
        tags = np.full(len(triangles), 10 + (MOUTH if material == GUMS else TOOTH))
        length = np.full(len(p), size)
        if material == TEETH:
            length += 0.1 * np.clip(9.0 - p[:, 2], 0, 3) + 0.25 * _inner_side(p, triangles)
        if material == GUMS:
            islands = _islands(wedges, len(source.uv))
            for island in np.unique(islands):
                q = p[triangles[islands == island]].reshape(-1, 3)
                if abs(q[:, 1].max() + 2.9) < 0.2 and q[:, 1].min() < -4.5 and np.abs(q[:, 0]).max() < 2.2:
                    tags[islands == island] = 10 + TONGUE
        chart = material == GUMS
        remesher = Remesher(
            p,
            triangles,
            wedges if chart else triangles,
            source.uv if chart else None,
            length,
            np.zeros(len(p), bool),
            _lines(p + [1e3, 0, 0], triangles, tags),
        )
        remesher.run(2)
        alive = np.array([k for k, t in enumerate(remesher.triangles) if t])
        triangles, _ = remesher.result()
        out.append((triangles, np.zeros_like(triangles), tags[alive]))
    return out


def _inner_side(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """(V,) 1 on the side of each tooth that faces the tongue, 0 on the other."""
    out = np.zeros(len(points))
    islands = _islands(triangles, len(points))
    for island in np.unique(islands):
        members = np.unique(triangles[islands == island])
        away = np.hypot(points[members, 0], np.maximum(points[members, 2] - 5.0, 0))
        out[members] = away < away.mean() - 0.05
    return out


def _islands(triangles: np.ndarray, count: int) -> np.ndarray:
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]]])
    graph = coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), (count, count))
    return connected_components(graph, directed=False)[1][triangles[:, 0]]


def _texture(source: Source, origin: np.ndarray, uv: np.ndarray, triangles: np.ndarray, tags: np.ndarray) -> np.ndarray:
    """One uv a vertex, image convention; see ``deid/models/morphable/geometry.py`` for the ranges."""
    p = source.vertices[origin]
    out = np.stack([uv[:, 0], 1 - uv[:, 1]], axis=1)
    tile = np.unique(triangles[tags <= HEAD])
    back = np.setdiff1d(np.unique(triangles[tags == 9]), tile)
    out[back] = out[tile[cKDTree(p[tile]).query(p[back])[1]]]
    inside = np.unique(triangles[tags >= 10])
    out[inside, 0] = np.clip((p[inside, 0] + 4) / 8, 0, 1)
    out[inside, 1] = np.clip((11.5 - p[inside, 2]) / 11, 0, 1)
    for jaw in (True, False):
        teeth = np.unique(triangles[tags == 10 + TOOTH])
        teeth = teeth[_lower(source)[origin[teeth]] == jaw]
        y = p[teeth, 1]
        edge, root = (y.max(), y.min() + 0.8) if jaw else (y.min(), y.max() - 0.8)
        out[teeth, 1] = np.clip((y - root) / (edge - root), 0, 1)
    return out


def _lower(source: Source) -> np.ndarray:
    """bool (V,): vertices that move when the jaw opens."""
    return np.linalg.norm(source.expression[source.names.index("jawOpen")], axis=1) > 0.5
