"""Where a face ends in the picture: one closed outline, seen from the face's centre as a distance in every direction.

An outline is a star-shaped region about a centre: the farthest reach, in each direction, of the face oval and of the
mesh rings inside it. In a frontal view that is the oval. When the head turns, the far side of the oval slips behind
cheek, brow and nose, and the rings are what the silhouette is made of.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ._kernels import BINS, directions, reach

_OVAL = (
    "10 338 297 332 284 251 389 356 454 323 361 288 397 365 379 378 400 377"
    " 152 148 176 149 150 136 172 58 132 93 234 127 162 21 54 103 67 109"
)
_RINGS = (  # rings of MediaPipe's mesh at one, two and three edges from the oval
    "151 337 299 333 298 301 368 264 447 366 401 435 367 364 394 395 369 396"
    " 175 171 140 170 169 135 138 215 177 137 227 34 139 71 68 104 69 108",
    "9 336 296 334 293 300 383 372 345 352 376 433 416 434 430 431 262 428"
    " 199 208 32 211 210 214 192 213 147 123 116 143 156 70 63 105 66 107",
    "8 285 295 282 283 276 353 265 340 346 280 411 427 432 422 424 418 421"
    " 200 201 194 204 202 212 207 187 50 117 111 35 124 46 53 52 65 55",
)
_MIDLINE = "10 151 9 8 168 6 197 195 5 4 1 19 94 2 164 0 13 14 17 18 200 199 175 152"


def _table(text: str) -> np.ndarray:
    return np.array(text.split(), dtype=np.intp)


OVAL = _table(_OVAL)
"""MediaPipe's face oval, clockwise on screen from the middle of the forehead."""
JAW = OVAL[7:30]
"""From the top of the ear at the viewer's right along the chin to that at the left."""
CORE_RING = _table(_RINGS[1])
"""A closed ring of the mesh around brows, eyes, nose and mouth."""
FOREHEAD = np.concatenate([OVAL[30:], OVAL[:7]])
_EARS = (234, 454)
_RING_EDGES = np.concatenate([np.stack([ring, np.roll(ring, -1)], axis=1) for ring in (OVAL, *map(_table, _RINGS))])
_MIDDLE_EDGES = np.stack([_table(_MIDLINE)[:-1], _table(_MIDLINE)[1:]], axis=1)
_UP = (10, 152)  # mesh points at the top and at the bottom of the face


@dataclass(frozen=True, slots=True, eq=False)
class FaceOutline:
    """The outline of a face in a crop.

    ``points``: float32 (n, 2), closed polygon in crop pixels. ``segments``: float32 (s, 2, 2), lines whose farthest
    reach in every direction from the centre is the outline; the polygon's sides and what may stand out beyond them.
    ``up``: float32 (2,), unit vector from chin to forehead. ``jaw``: float32 (m, 2), from ear to ear along the chin.
    ``forehead``: float32 (k, 2), from temple to temple. ``ears``: float32 (2, 2), where the outline passes the ears,
    viewer's left first. ``profile``: float32 (p, 2, 2), those of the ``segments`` that are nose, lips and chin.
    """

    points: np.ndarray
    segments: np.ndarray
    up: np.ndarray
    jaw: np.ndarray
    forehead: np.ndarray
    ears: np.ndarray
    profile: np.ndarray = field(default_factory=lambda: np.zeros((0, 2, 2), np.float32))

    @classmethod
    def from_mesh(cls, points: np.ndarray) -> FaceOutline:
        """Of a face mesh in MediaPipe's order. ``points``: (468 or more, 2 or more) crop pixels."""
        xy = np.ascontiguousarray(points[:468, :2], np.float32)
        rest, profile = xy[_RING_EDGES], xy[_MIDDLE_EDGES]
        up = _unit(xy[_UP[0]] - xy[_UP[1]])
        return cls(xy[OVAL], np.concatenate([rest, profile]), up, xy[JAW], xy[FOREHEAD], xy[list(_EARS)], profile)

    @classmethod
    def from_surface(cls, triangles: np.ndarray, weights: np.ndarray, projected: np.ndarray) -> FaceOutline:
        """Of a posed head whose surface carries the mesh points.

        ``triangles``: int (468, 3), vertices around each mesh point; ``weights``: float (468, 3), barycentric
        (:class:`deid.models.morphable.geometry.Geometry` has both); ``projected``: (V, 2 or more) crop pixels.
        """
        corners = projected[triangles][..., :2]
        return cls.from_mesh((corners * weights[..., None].astype(corners.dtype)).sum(axis=1))

    @classmethod
    def from_polygon(cls, points: np.ndarray, up: tuple[float, float] = (0.0, -1.0)) -> FaceOutline:
        """Of any closed polygon, (n, 2): the part with its back to ``up`` counts as the jaw."""
        xy = np.ascontiguousarray(points[:, :2], np.float32)
        direction = _unit(np.asarray(up, np.float32))
        height = (xy - xy.mean(axis=0)) @ direction
        segments = np.stack([xy, np.roll(xy, -1, axis=0)], axis=1)
        right = np.array([-direction[1], direction[0]], np.float32)
        across = (xy - xy.mean(axis=0)) @ right
        ears = xy[[int(across.argmin()), int(across.argmax())]]
        return cls(xy, segments, direction, xy[height <= 0], xy[height > 0], ears)

    @property
    def centre(self) -> np.ndarray:
        """float32 (2,): middle between the ears' line and the whole outline, well inside the face."""
        return self.points.mean(axis=0)

    @property
    def width(self) -> float:
        """Across the face at right angles to ``up``, in pixels."""
        across = self.points @ np.array([-self.up[1], self.up[0]], np.float32)
        return float(np.ptp(across))

    @property
    def height(self) -> float:
        """Along ``up``, in pixels."""
        return float(np.ptp(self.points @ self.up))

    def reach(self, centre: np.ndarray) -> np.ndarray:
        """float32 (BINS,): how far the outline reaches from ``centre`` in each of :func:`directions`."""
        relative: np.ndarray = self.segments - centre.astype(np.float32)
        found = reach(np.ascontiguousarray(relative), directions())
        missing = found <= 0
        if missing.all():
            return np.full(BINS, max(self.width, 1.0) / 2, np.float32)
        if missing.any():
            seen = np.flatnonzero(~missing)
            found = np.interp(np.arange(BINS), seen, found[seen], period=BINS).astype(np.float32)
        return found

    def stands_out(self, centre: np.ndarray) -> np.ndarray:
        """float32 (BINS,): how far nose, lips and chin of a turned face reach beyond its cheeks from ``centre``."""
        if not len(self.profile):
            return np.zeros(BINS, np.float32)
        both = (self.segments[: len(self.segments) - len(self.profile)], self.profile)
        cheeks, profile = (reach(np.ascontiguousarray(s - centre.astype(np.float32)), directions()) for s in both)
        return np.asarray(np.maximum(profile - cheeks, 0), np.float32)


def _unit(vector: np.ndarray) -> np.ndarray:
    length = float(np.hypot(*vector))
    return (vector / length if length > 0 else np.array([0.0, -1.0])).astype(np.float32)


def limits(points: np.ndarray, source: FaceOutline, centre: np.ndarray, rim: np.ndarray) -> np.ndarray:
    """float32 (BINS,): the fraction of ``rim`` inside which the frame's own pixels are never kept as hair.

    Above, the line over the brows; beside the eyes and cheeks, the mesh two rings inwards; along the jaw, everything.
    """
    xy = np.ascontiguousarray(points[:468, :2], np.float32)
    ring = _table(_RINGS[1])
    inner = reach(np.stack([xy[ring], xy[np.roll(ring, -1)]], axis=1) - centre.astype(np.float32), directions())
    up = directions() @ source.up
    height = rim * up / float(rim[int(up.argmax())])
    above = np.clip((height - 0.15) / 0.35, 0, 1)
    cheek, jaw = np.clip((-0.05 - height) / 0.3, 0, 1), np.clip((-0.45 - height) / 0.35, 0, 1)
    brow = np.clip(inner / np.maximum(rim, 1e-3) + 0.05, 0.5, 0.95)
    side = np.clip(brow - 0.02, 0.55, 0.75)
    return np.asarray(above * brow + (1 - above) * (side + 0.06 * cheek + 0.3 * jaw), np.float32)
