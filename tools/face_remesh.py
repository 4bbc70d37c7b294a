"""Adaptive remeshing of a textured surface: edge collapse, Delaunay flips, tangential relaxation.

After M. Botsch and L. Kobbelt, *A Remeshing Approach to Multiresolution Modeling*, 2004, with texture wedges: a vertex
may have several texture coordinates (one a chart), and the mesh stays an embedding in every chart, so that each new
vertex can be found again on the source surface by its texture coordinates.
"""

from __future__ import annotations

import heapq

import numpy as np


class Remesher:
    """Coarsens a triangle mesh in place.

    ``points``: float64 (V, 3). ``triangles``: int (F, 3). ``wedges``: int (F, 3) into ``uv``, float64 (U, 2), or
    ``None`` where there is no chart to keep.
    ``length``: float64 (V,), wanted edge length at each vertex. ``fixed``: bool (V,), vertices that stay. ``lines``:
    set of sorted vertex pairs, edges whose ends may only slide along them (borders are found here).
    """

    def __init__(
        self,
        points: np.ndarray,
        triangles: np.ndarray,
        wedges: np.ndarray,
        uv: np.ndarray | None,
        length: np.ndarray,
        fixed: np.ndarray,
        lines: set[tuple[int, int]],
    ) -> None:
        self.points, self.uv, self.length, self.fixed = points, uv, length, fixed
        self.triangles = [tuple(int(i) for i in t) for t in triangles]
        self.wedges = [tuple(int(i) for i in t) for t in wedges]
        self.around: list[set[int]] = [set() for _ in points]
        for k, t in enumerate(self.triangles):
            for i in t:
                self.around[i].add(k)
        self.lines = set(lines)
        counts: dict[tuple[int, int], int] = {}
        for t in self.triangles:
            for e in _edges(t):
                counts[e] = counts.get(e, 0) + 1
        self.lines |= {e for e, n in counts.items() if n == 1}
        self.on_line: dict[int, set[int]] = {}
        for a, b in self.lines:
            self.on_line.setdefault(a, set()).add(b)
            self.on_line.setdefault(b, set()).add(a)

    def run(self, passes: int = 3) -> None:
        """Collapse what is too short, then flip towards Delaunay, a few times."""
        for _ in range(passes):
            self._collapse_all()
            for _ in range(3):
                if not self._flip_all():
                    break

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """Triangles and wedges that are left, int32 (F, 3) each, in the input's numbering."""
        alive = [k for k, t in enumerate(self.triangles) if t]
        return (
            np.array([self.triangles[k] for k in alive], np.int32),
            np.array([self.wedges[k] for k in alive], np.int32),
        )

    def _neighbours(self, a: int) -> set[int]:
        return {i for k in self.around[a] for i in self.triangles[k]} - {a}

    def _ratio(self, a: int, b: int) -> float:
        want = 0.5 * (self.length[a] + self.length[b])
        return float(np.linalg.norm(self.points[a] - self.points[b])) / want

    def _collapse_all(self) -> None:
        heap = []
        for a in range(len(self.points)):
            for b in self._neighbours(a) if self.around[a] else ():
                if a < b:
                    ratio = self._ratio(a, b)
                    if ratio < 0.8:
                        heap.append((ratio, a, b))
        heapq.heapify(heap)
        while heap:
            _, a, b = heapq.heappop(heap)
            if not self.around[a] or not self.around[b] or b not in self._neighbours(a):
                continue
            for gone, stays in ((a, b), (b, a)):
                if self._try_collapse(gone, stays):
                    for n in self._neighbours(stays):
                        ratio = self._ratio(stays, n)
                        if ratio < 0.8:
                            heapq.heappush(heap, (ratio, stays, n))
                    break

    def _may_move(self, a: int, b: int) -> bool:
        if self.fixed[a]:
            return False
        on = self.on_line.get(a)
        if not on:
            return True
        if len(on) != 2 or b not in on:
            return False
        p, q = (self.points[i] - self.points[a] for i in on)
        return float(p @ q) < -0.7 * float(np.linalg.norm(p) * np.linalg.norm(q))

    def _try_collapse(self, a: int, b: int) -> bool:
        if not self._may_move(a, b):
            return False
        shared = self.around[a] & self.around[b]
        common = self._neighbours(a) & self._neighbours(b)
        if len(common) != len(shared):
            return False
        wedge_to: dict[int, int] = {}
        for k in shared:
            t, w = self.triangles[k], self.wedges[k]
            wa, wb = w[t.index(a)], w[t.index(b)]
            if wedge_to.setdefault(wa, wb) != wb:
                return False
        changed = []
        for k in self.around[a] - shared:
            t, w = self.triangles[k], self.wedges[k]
            at = t.index(a)
            if w[at] not in wedge_to:
                return False
            new_t = t[:at] + (b,) + t[at + 1 :]
            new_w = w[:at] + (wedge_to[w[at]],) + w[at + 1 :]
            if not self._sound(t, new_t, new_w):
                return False
            changed.append((k, new_t, new_w))
        self._apply(a, b, shared, changed)
        return True

    def _sound(self, old: tuple[int, ...], new: tuple[int, ...], wedges: tuple[int, ...]) -> bool:
        """The changed triangle keeps its side in the chart, its direction in space and a decent shape."""
        if self.uv is not None and _area2(self.uv[list(wedges)]) <= 1e-9:
            return False
        p, q = self.points[list(old)], self.points[list(new)]
        n0, n1 = np.cross(p[1] - p[0], p[2] - p[0]), np.cross(q[1] - q[0], q[2] - q[0])
        a0, a1 = np.linalg.norm(n0), np.linalg.norm(n1)
        if n0 @ n1 < 0.75 * a0 * a1:
            return False
        e = q - np.roll(q, 1, axis=0)
        longest = float((e**2).sum(axis=1).max())
        if longest > (1.6 * float(self.length[list(new)].mean())) ** 2:
            return False
        return bool(a1 > 0.12 * longest)

    def _apply(self, a: int, b: int, shared: set[int], changed: list) -> None:
        for k in shared:
            for i in self.triangles[k]:
                self.around[i].discard(k)
            self.triangles[k] = ()
        for k, t, w in changed:
            self.triangles[k], self.wedges[k] = t, w
            self.around[b].add(k)
        self.around[a] = set()
        for n in self.on_line.pop(a, set()):
            self.on_line[n].discard(a)
            self.lines.discard((min(a, n), max(a, n)))
            if n != b:
                self.on_line[n].add(b)
                self.on_line[b].add(n)
                self.lines.add((min(b, n), max(b, n)))

    def _flip_all(self) -> int:
        count = 0
        for e in sorted({e for t in self.triangles if t for e in _edges(t)}):
            if e not in self.lines:
                count += self._try_flip(*e)
        return count

    def _try_flip(self, a: int, b: int) -> bool:
        shared = sorted(self.around[a] & self.around[b])
        if len(shared) != 2:
            return False
        (c, cw, k0), (d, dw, k1) = (self._opposite(k, a, b) for k in shared)
        if c == d or d in self._neighbours(c):
            return False
        wa, wb = self._wedge(k0, a), self._wedge(k0, b)
        if self._wedge(k1, a) != wa or self._wedge(k1, b) != wb:
            return False
        if _angle(self.points, c, a, b) + _angle(self.points, d, a, b) <= np.pi + 1e-6:
            return False
        t0 = self.triangles[k0]
        at = t0.index(a)
        first = t0[(at + 1) % 3] == b  # k0 runs a, b, c; k1 runs b, a, d
        x, y, wx, wy = (a, b, wa, wb) if first else (b, a, wb, wa)
        new = (((x, d, c), (wx, dw, cw)), ((d, y, c), (dw, wy, cw)))
        for t, w in new:
            if not self._flip_sound(t0, t, w):
                return False
        for k in (k0, k1):
            for i in self.triangles[k]:
                self.around[i].discard(k)
        for k, (t, w) in zip((k0, k1), new, strict=True):
            self.triangles[k], self.wedges[k] = t, w
            for i in t:
                self.around[i].add(k)
        return True

    def _flip_sound(self, old: tuple[int, ...], new: tuple[int, ...], wedges: tuple[int, ...]) -> bool:
        if self.uv is not None and _area2(self.uv[list(wedges)]) <= 1e-9:
            return False
        p, q = self.points[list(old)], self.points[list(new)]
        n0, n1 = np.cross(p[1] - p[0], p[2] - p[0]), np.cross(q[1] - q[0], q[2] - q[0])
        return bool(n0 @ n1 > 0.75 * np.linalg.norm(n0) * np.linalg.norm(n1))

    def _opposite(self, k: int, a: int, b: int) -> tuple[int, int, int]:
        t = self.triangles[k]
        at = next(i for i in range(3) if t[i] not in (a, b))
        return t[at], self.wedges[k][at], k

    def _wedge(self, k: int, a: int) -> int:
        return self.wedges[k][self.triangles[k].index(a)]


def _edges(t: tuple[int, ...]) -> list[tuple[int, int]]:
    return [(min(t[i], t[i - 1]), max(t[i], t[i - 1])) for i in range(3)] if t else []


def _area2(u: np.ndarray) -> float:
    return float((u[1, 0] - u[0, 0]) * (u[2, 1] - u[0, 1]) - (u[2, 0] - u[0, 0]) * (u[1, 1] - u[0, 1]))


def _angle(points: np.ndarray, c: int, a: int, b: int) -> float:
    p, q = points[a] - points[c], points[b] - points[c]
    return float(np.arctan2(np.linalg.norm(np.cross(p, q)), p @ q))
