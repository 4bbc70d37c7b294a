"""Eyelashes as strands thinner than a pixel, splatted by area, so that they stay soft at every size; and the fold of
the upper lid, drawn in the same way.

The fold stays nearly where it is while the lid below it comes down: that is what tells a lowered lid from a slit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numba import njit

from deid.models.morphable.geometry import Geometry

_UPPER, _LOWER = 120, 60  # strands a lid
_UPPER_LENGTH, _LOWER_LENGTH = 0.8, 0.42  # centimetres
_UPPER_WIDTH, _LOWER_WIDTH = 0.026, 0.0085  # centimetres at the root
_UPPER_ROOT, _LOWER_ROOT = 18.0, 13.0  # how much thicker lashes and what lies between them are at the lid
_ROWS = 0.1  # centimetres of the upper lid's edge that roots lie on: in rows, a line even where lashes point at one
_BROADER, _BROADEST = 0.45, 2.0  # power of their strength that these rows are broader by, and most
_TIPS, _BELOW = 0.35, 0.8  # powers of that strength that lashes have beyond the line, and the lower lid's line has
_DENSE, _DENSER = 0.2, 0.17  # share of their length on which they make a line, and more of it at e times the strength
_PARTED, _STUCK = 0.28, 0.75  # how often a tuft of lashes ends; how far tips lie towards the tuft's middle
_FOLLOW = 1.3  # how much a lash turns further than its lid when the lid closes
_FOLD_STEPS = 96  # pieces of a fold, from the inner to the outer corner
_FOLD_ABOVE, _FOLD_LEAST = 0.32, 0.08  # centimetres over the lid's edge: at rest in the middle, and where eyes widen
_FOLD_DROP = 0.34  # how far it comes down, of the lid's way
_FOLD_WIDTH, _FOLD_SHADE = 0.05, 0.46  # standard deviation in centimetres, and share of light lost in the middle
_FOLD_SHUT = 0.6  # of that depth, when the skin over the eye is stretched


@dataclass(frozen=True, slots=True, eq=False)
class Strands:
    """Lashes of both eyes. ``ends``: int32 (N, 2), the lid vertices a root lies between. ``shape``: float32 (N, 9):
    place between the two, eye (0 left, 1 right), +1 upper or -1 lower, length and width (cm), splay along the lid,
    curl, lift, and the height of the root at rest, as the sine of its angle seen from the eyeball's centre."""

    ends: np.ndarray
    shape: np.ndarray


def lash_strands(geometry: Geometry) -> Strands:
    """Lashes spread along the four lids, the same for everybody: fixed seed."""
    rng = np.random.default_rng(7)
    ends, shapes = [], []
    lids = (
        (geometry.lid_upper_left, 0, 1.0),
        (geometry.lid_lower_left, 0, -1.0),
        (geometry.lid_upper_right, 1, 1.0),
        (geometry.lid_lower_right, 1, -1.0),
    )
    for lid, eye, way in lids:
        chain = lid[np.argsort(geometry.vertices[lid, 0], kind="stable")]
        points = geometry.vertices[chain].astype(np.float64)
        along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
        count = _UPPER if way > 0 else _LOWER
        # the inner sixth of a lid, at the caruncle, bears none
        outward = np.linspace(0.17, 0.98, count) + rng.uniform(-0.4, 0.4, count) * 0.8 / count
        share = outward if eye == 0 else 1.0 - outward
        at = np.clip(share, 0.001, 0.999) * along[-1]
        index = np.clip(np.searchsorted(along, at) - 1, 0, len(chain) - 2)
        between = (at - along[index]) / np.maximum(along[index + 1] - along[index], 1e-6)
        full = np.sin(np.clip(outward, 0, 1) * np.pi) ** 0.5 * (0.75 + 0.35 * outward)
        length = (_UPPER_LENGTH if way > 0 else _LOWER_LENGTH) * full * rng.uniform(0.5, 1.05, count)
        width = (_UPPER_WIDTH if way > 0 else _LOWER_WIDTH) * rng.uniform(0.7, 1.2, count)
        splay = ((outward - 0.42) * 1.1 + rng.normal(0, 0.13, count)) * (1.0 if eye == 0 else -1.0)
        splay += _converging(rng, at) / (0.6 * length)
        curl = rng.normal(0.42 if way > 0 else 0.25, 0.08, count)
        lift = rng.normal(-0.08 if way > 0 else 0.25, 0.07, count)
        root = points[index] + (points[index + 1] - points[index]) * between[:, None] - geometry.eye_centres[eye]
        height = root[:, 1] / np.linalg.norm(root, axis=1)
        ends.append(np.stack([chain[index], chain[index + 1]], axis=1))
        columns = [between, np.full(count, eye), np.full(count, way), length, width, splay, curl, lift, height]
        shapes.append(np.stack(columns, axis=1))
    return Strands(np.concatenate(ends).astype(np.int32), np.concatenate(shapes).astype(np.float32))


@lru_cache(maxsize=2)
def lid_folds(geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """Where folds of the upper lids run: what :func:`draw_folds` takes as ``uppers`` and ``rest``."""
    chains, heights = [], []
    for eye, (lid, way) in enumerate(((geometry.lid_upper_left, 1), (geometry.lid_upper_right, -1))):
        chain = lid[np.argsort(way * geometry.vertices[lid, 0], kind="stable")]
        offset = geometry.vertices[chain] - geometry.eye_centres[eye]
        chains.append(chain)
        heights.append(offset[:, 1] / np.linalg.norm(offset, axis=1))
    return np.array(chains, np.int32), np.array(heights, np.float32)


def _converging(rng: np.random.Generator, at: np.ndarray) -> np.ndarray:
    """(n,) centimetres that the tips of lashes with roots ``at`` (n,), centimetres along a lid, lie beside their roots:
    lashes stick together in twos to sixes, and a fan of even spokes looks drawn."""
    ends = np.flatnonzero(rng.random(len(at)) < _PARTED)
    tuft = np.searchsorted(ends, np.argsort(np.argsort(at)), side="left")
    middle = np.array([at[tuft == t].mean() for t in range(tuft.max() + 1) if (tuft == t).any()])
    present = np.unique(tuft)
    return _STUCK * (middle[np.searchsorted(present, tuft)] - at)


@njit(cache=True, nogil=True)
def _projected(x, y, z, rotation, scale, tx, ty, inverse_distance):  # type: ignore[no-untyped-def]
    """Picture x and y of a point of the head, its camera z in centimetres, and pixels a centimetre there."""
    cx = rotation[0, 0] * x + rotation[0, 1] * y + rotation[0, 2] * z
    cy = rotation[1, 0] * x + rotation[1, 1] * y + rotation[1, 2] * z
    cz = rotation[2, 0] * x + rotation[2, 1] * y + rotation[2, 2] * z
    near = scale / max(1.0 - cz * inverse_distance, 0.05)
    return np.float32(tx + near * cx), np.float32(ty - near * cy), cz, near


@njit(cache=True, nogil=True)
def draw_lashes(
    ends: np.ndarray,
    shape: np.ndarray,
    vertices: np.ndarray,
    centres: np.ndarray,
    rotation: np.ndarray,
    scale: float,
    tx: float,
    ty: float,
    left: int,
    top: int,
    inverse_distance: float,
    strength: float,
    depth: np.ndarray,
    cover: np.ndarray,
) -> None:
    """Add the area that lashes cover to ``cover``, float32 (h, w), in shares of a pixel, where nothing hides them.

    ``vertices``: float32 (V, 3), head space. ``centres``: float32 (2, 3), of the eyeballs. ``rotation``, ``scale``,
    ``tx``, ``ty``, ``inverse_distance``: the camera. ``left``, ``top``: picture position of the buffers' first pixel.
    ``strength``: how dense and dark lashes and what is painted between them are; 1 for bare ones that are few.
    ``depth``: float32 (h, w), camera z in centimetres.
    """
    height, width = cover.shape
    broad = np.float32(_ROWS * min(strength**_BROADER, _BROADEST))
    lines = (np.float32(strength**_BELOW), np.float32(strength))
    tips = np.float32(strength**_TIPS)
    reach = np.float32(_DENSE + _DENSER * max(np.log(strength), 0.0))
    for n in range(ends.shape[0]):
        i, j = ends[n, 0], ends[n, 1]
        t, eye, way = shape[n, 0], int(shape[n, 1]), shape[n, 2]
        rx = vertices[i, 0] + t * (vertices[j, 0] - vertices[i, 0])
        ry = vertices[i, 1] + t * (vertices[j, 1] - vertices[i, 1])
        rz = vertices[i, 2] + t * (vertices[j, 2] - vertices[i, 2])
        ox, oy, oz = rx - centres[eye, 0], ry - centres[eye, 1], rz - centres[eye, 2]
        q = np.float32(1.0) / np.sqrt(ox * ox + oy * oy + oz * oz + np.float32(1e-8))
        ox, oy, oz = ox * q, oy * q, oz * q
        # up the lid: vertical, less its part that points out of the eye
        ux, uy, uz = -oy * ox * way, (np.float32(1.0) - oy * oy) * way, -oy * oz * way
        q = np.float32(1.0) / np.sqrt(ux * ux + uy * uy + uz * uz + np.float32(1e-8))
        ux, uy, uz = ux * q, uy * q, uz * q
        length, breadth, splay, curl, lift = shape[n, 3], shape[n, 4], shape[n, 5], shape[n, 6], shape[n, 7]
        rise = (oy - shape[n, 8]) * way
        lift += np.float32(_FOLLOW) * min(rise, np.float32(0.3) * rise)
        root = np.float32(_UPPER_ROOT) * lines[1] if way > 0 else np.float32(_LOWER_ROOT) * lines[0]
        rows = broad * np.float32((n * 0.618034) % 1.0) if way > 0 else np.float32(0.0)
        steps = min(max(int(length * scale * 2.0) + 2, 4), 120)
        last_x, last_y = np.float32(0.0), np.float32(0.0)
        for s in range(steps + 1):
            q = np.float32(s) / np.float32(steps)
            out = length * (np.float32(0.85) * q - np.float32(0.25) * q * q)
            up = length * (lift * q + curl * q * q) + rows
            side = length * splay * q * np.float32(0.6)
            x = rx + out * ox + up * ux + side
            y = ry + out * oy + up * uy
            z = rz + out * oz + up * uz - abs(side) * np.float32(0.4)
            px, py, cz, near = _projected(x, y, z, rotation, scale, tx, ty, inverse_distance)
            moved = np.sqrt((px - last_x) * (px - last_x) + (py - last_y) * (py - last_y))
            last_x, last_y = px, py
            x0, y0 = int(np.floor(px)) - left, int(np.floor(py)) - top
            if s == 0 or x0 < 0 or y0 < 0 or x0 > width - 2 or y0 > height - 2:
                continue
            if cz < depth[y0, x0] - np.float32(0.25):
                continue
            # thick and dense at the root, where pigment and shadow join the strands to a line
            thick = tips * (np.float32(1.0) - np.float32(0.75) * q) + root * np.float32(_DENSE) * max(
                np.float32(1.0) - q / reach, np.float32(0.0)
            )
            area = moved * breadth * np.float32(near) * thick
            fx, fy = px - np.floor(px), py - np.floor(py)
            cover[y0, x0] += area * (1 - fx) * (1 - fy)
            cover[y0, x0 + 1] += area * fx * (1 - fy)
            cover[y0 + 1, x0] += area * (1 - fx) * fy
            cover[y0 + 1, x0 + 1] += area * fx * fy


@njit(cache=True, nogil=True)
def draw_folds(
    uppers: np.ndarray,
    rest: np.ndarray,
    vertices: np.ndarray,
    centres: np.ndarray,
    rotation: np.ndarray,
    scale: float,
    tx: float,
    ty: float,
    left: int,
    top: int,
    inverse_distance: float,
    depth: np.ndarray,
    cover: np.ndarray,
) -> None:
    """Add the shade of the upper lids' folds to ``cover``. ``uppers``: int32 (2, m), the vertices of each upper lid's
    edge from the inner to the outer corner, left eye first; ``rest``: float32 (2, m), how high they lie on this head at
    rest, as the sine of the angle seen from the eyeball's centre. The others as in :func:`draw_lashes`."""
    height, width = cover.shape
    last = uppers.shape[1] - 1
    for eye in range(2):
        px = py = np.float32(0.0)
        for s in range(_FOLD_STEPS + 1):
            share = np.float32(s) / np.float32(_FOLD_STEPS)
            at = share * np.float32(last)
            k = min(int(at), last - 1)
            t = at - np.float32(k)
            i, j = uppers[eye, k], uppers[eye, k + 1]
            ox = vertices[i, 0] + t * (vertices[j, 0] - vertices[i, 0]) - centres[eye, 0]
            oy = vertices[i, 1] + t * (vertices[j, 1] - vertices[i, 1]) - centres[eye, 1]
            oz = vertices[i, 2] + t * (vertices[j, 2] - vertices[i, 2]) - centres[eye, 2]
            radius = np.sqrt(ox * ox + oy * oy + oz * oz)
            calm = rest[eye, k] + t * (rest[eye, k + 1] - rest[eye, k])
            way = (calm - oy / radius) * radius  # centimetres that the lid has come down
            # it leaves the lid at the inner corner and runs out a little above the outer one
            bow = np.sqrt(np.sin(np.float32(3.14159) * min(share * np.float32(0.93), np.float32(1.0))))
            above = np.float32(_FOLD_ABOVE) * bow + (np.float32(1.0) - np.float32(_FOLD_DROP)) * way
            above = max(above, np.float32(_FOLD_LEAST) * bow)
            back = min(above / radius, np.float32(1.0))
            x, z = ox + centres[eye, 0], oz * (np.float32(1.0) - np.float32(0.3) * back) + centres[eye, 2]
            y = oy + above + centres[eye, 1]
            qx, qy, cz, near = _projected(x, y, z, rotation, scale, tx, ty, inverse_distance)
            qx, qy = qx - left, qy - top
            moved = np.sqrt((qx - px) * (qx - px) + (qy - py) * (qy - py))
            px, py = qx, qy
            x0, y0 = int(np.floor(qx + np.float32(0.5))), int(np.floor(qy + np.float32(0.5)))
            if s == 0 or x0 < 0 or y0 < 0 or x0 >= width or y0 >= height or cz < depth[y0, x0] - np.float32(0.6):
                continue
            sigma = max(np.float32(_FOLD_WIDTH * near), np.float32(0.5))
            shut = min(max(way / np.float32(0.6), np.float32(0.0)), np.float32(1.0))
            ends = min(min(share * np.float32(6.0), (np.float32(1.0) - share) * np.float32(4.0)), np.float32(1.0))
            deep = -np.log(np.float32(1.0 - _FOLD_SHADE)) * (1.0 - np.float32(1.0 - _FOLD_SHUT) * shut) * ends
            # a line as dark as that in its middle; where it is thinner than a pixel, as much less dark
            deep *= moved * np.float32(_FOLD_WIDTH * near) / (sigma * sigma * np.float32(2.5066))
            reach = min(int(np.float32(3.0) * sigma) + 1, 24)
            for v in range(max(y0 - reach, 0), min(y0 + reach + 1, height)):
                for u in range(max(x0 - reach, 0), min(x0 + reach + 1, width)):
                    dx, dy = np.float32(u) - qx, np.float32(v) - qy
                    cover[v, u] += deep * np.exp(np.float32(-0.5) * (dx * dx + dy * dy) / (sigma * sigma))


@njit(cache=True, nogil=True)
def resolve(
    count: int,
    parts: np.ndarray,
    triangle: np.ndarray,
    pixel: np.ndarray,
    weight: np.ndarray,
    colour: np.ndarray,
    cover: np.ndarray,
    lash: np.ndarray,
    whole: bool,
    rgb: np.ndarray,
    alpha: np.ndarray,
    head: np.ndarray,
    nearest: np.ndarray,
) -> None:
    """Fragments and lashes into the picture.

    ``parts``: uint8 (F,). ``lash``: float32 (3,), what a lash sends. ``whole``: the head's fragments
    have a colour, too. Fills ``rgb`` float32 (h * w, 3), ``alpha`` and
    ``head`` float32 (h * w,) and ``nearest`` uint8 (h * w,), which must come in as 0 and 255.
    """
    for n in range(count):
        i = pixel[n]
        part = parts[triangle[n]]
        if nearest[i] == 255:
            nearest[i] = part
        if part == 1:
            head[i] += weight[n]
        else:
            alpha[i] += weight[n]
            if nearest[i] == 1 and alpha[i] >= head[i]:
                nearest[i] = part
        if part == 1 and not whole:
            continue
        share = weight[n] / (alpha[i] + (head[i] if whole else np.float32(0.0)))
        for k in range(3):
            rgb[i, k] += (colour[n, k] - rgb[i, k]) * share
    for i in range(cover.shape[0]):
        if cover[i] > 0.0:
            a = np.float32(1.0) - np.exp(-cover[i])
            if a == 0.0:  # so thin that it rounds to none: a share of nothing, where there is no head either
                continue
            total = a + (alpha[i] + (head[i] if whole else np.float32(0.0))) * (np.float32(1.0) - a)
            for k in range(3):
                rgb[i, k] += (lash[k] - rgb[i, k]) * (a / total)
            alpha[i] = a + alpha[i] * (np.float32(1.0) - a)
            head[i] *= np.float32(1.0) - a
