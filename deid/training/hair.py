"""Hair on a rendered head: scalp hair with a hairline, cropped to long, thinning to bald; beards in the skin.

Simple shapes with strands, made for small pictures: enough to tell a generator and an attribute regressor what hair is.
Nothing of this is in a video, whose hair is its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numba import njit

from deid import imaging
from deid.models.morphable.appearance import bearded_part
from deid.models.morphable.codes import Camera
from deid.models.morphable.geometry import Geometry, Part

_SUB = 4  # bits of subpixel in polygons
_LINE_UP, _FRONT = 8.3, 5.5  # centimetres: height of the hairline over the head's origin, and z where temples begin
_SIDE = (-9.0, -4.0, -1.0, 1.0, 3.0, 5.0), (-6.0, -5.0, -1.0, 1.2, 4.0, 6.5)  # z, and height of the hairline there
_EAR_UP, _EAR_BACK = -1.2, -3.2  # where sideburns end
_SHOULDER = -13.0


@dataclass(frozen=True, slots=True, eq=False)
class Locks:
    """Cover by hair, float32 (h, w) in 0 to 1: ``behind`` the head and ``before`` it; ``shade``: float32 (h, w) factors
    on the hair's colour."""

    behind: np.ndarray
    before: np.ndarray
    shade: np.ndarray


def locks(
    geometry: Geometry,
    vertices: np.ndarray,
    camera: Camera,
    size: int,
    *,
    bald: float,
    length: float,
    volume: float,
    seed: int,
) -> Locks:
    """Hair on the head ``vertices``, float32 (V, 3) posed, as ``camera`` sees it in ``size`` x ``size`` pixels; the
    rest as in :class:`~deid.training.scene.How`."""
    rng = np.random.default_rng((seed, 5))
    scalp, outwards = _scalp(geometry)
    points = vertices[scalp]
    full = 1 - bald
    thick = (0.25 + 1.6 * volume) * min(1.0, 1.4 * full) * (0.35 + 0.65 * min(1.0, 2.5 * length))
    on_top = np.clip((points[:, 1] - _EAR_UP) / 6.0, 0, 1)
    shell = points + outwards * (thick * (0.4 + 0.7 * on_top))[:, None].astype(np.float32)
    behind = np.zeros((size, size), np.uint8)
    if full > 0.08:
        _fill(behind, _hull(camera.project(shell)[:, :2]))
        if length > 0.25:
            _fill(behind, _hull(camera.project(_curtain(points, length, volume))[:, :2]))
    strands = _strands(rng, size, float(camera.scale))
    before = _over(geometry, vertices, camera, size, bald, length, strands, rng)
    before = np.where(np.isnan(before), behind.astype(np.float32) / 255, before)  # no line of skin at the outline
    before *= np.float32(np.clip(full * 1.6, 0, 1))
    soft = max(0.5, 0.09 * float(camera.scale))
    cover = imaging.gaussian_blur(behind.astype(np.float32) / 255, (0, 0), soft)
    before = imaging.gaussian_blur(before, (0, 0), soft)
    shade = 0.72 + 0.75 * strands
    return Locks(cover, before, shade.astype(np.float32))


def _over(
    geometry: Geometry,
    vertices: np.ndarray,
    camera: Camera,
    size: int,
    bald: float,
    length: float,
    strands: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """float32 (size, size), 0 to 1: where hair grows on what is seen of the head, or falls over it; NaN off the
    head."""
    triangles = np.ascontiguousarray(geometry.triangles, np.int32)  # eyes and mouth, too, are no gaps to fill
    places = camera.project(vertices).astype(np.float32)
    rest = np.full((size, size, 3), np.nan, np.float32)
    depth = np.full((size, size), -1e9, np.float32)
    interpolate(places, triangles, geometry.vertices, depth, rest)
    x, y, z = np.moveaxis(np.nan_to_num(rest, nan=-99.0), -1, 0)
    fringe = (rng.random() < 0.45) * float(rng.uniform(0.6, 3.2)) * min(1.0, 1.5 * length)
    peak = float(rng.uniform(-0.4, 0.5))
    recede = 4.5 * np.clip(1.3 * bald - 0.1, 0, 1)
    line = _LINE_UP + recede + peak * np.cos(0.8 * x) - 0.035 * x * x + 0.5 * recede * np.exp(-((np.abs(x) - 3.5) ** 2))
    line = line - fringe * np.exp(-((x / 5.5) ** 4))
    back = np.clip((_FRONT - z) / 2.5, 0, 1)  # beside the face hair comes down to the ears
    line = line * (1 - back) + (np.interp(z, *_SIDE) + 0.6 * recede) * back
    ears = (np.abs(x) > 7.3) & (y < 2.6) & (z > -3.5) & (length < 0.3)
    rise = np.clip((y - line) / 0.7 + 0.5 + (strands - 0.5) * 1.2, 0, 1) * ~ears
    crown = np.clip(1.6 * bald - 0.5, 0, 1) * np.exp(-(((y - 10) / 3.5) ** 2 + (x / 5) ** 2))
    out: np.ndarray = np.where(depth > -1e8, rise * (1 - crown), np.nan).astype(np.float32)
    return out


@njit(cache=True, nogil=True)
def interpolate(places, triangles, values, depth, out):  # type: ignore[no-untyped-def]
    """Into ``out``, float32 (h, w, n): ``values``, float32 (V, n), of the nearest triangle over each sample.
    ``places``: float32 (V, 3), pixels and camera z; ``depth``: float32 (h, w), the greatest z so far."""
    h, w = depth.shape
    for f in range(triangles.shape[0]):
        a, b, c = triangles[f, 0], triangles[f, 1], triangles[f, 2]
        ax, ay, bx, by, cx, cy = places[a, 0], places[a, 1], places[b, 0], places[b, 1], places[c, 0], places[c, 1]
        area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
        if area >= -1e-6:  # y points down: what faces the camera turns the other way
            continue
        for y in range(max(0, int(np.ceil(min(ay, by, cy)))), min(h - 1, int(np.floor(max(ay, by, cy)))) + 1):
            for x in range(max(0, int(np.ceil(min(ax, bx, cx)))), min(w - 1, int(np.floor(max(ax, bx, cx)))) + 1):
                u = ((bx - x) * (cy - y) - (cx - x) * (by - y)) / area
                v = ((cx - x) * (ay - y) - (ax - x) * (cy - y)) / area
                t = 1 - u - v
                if u < 0 or v < 0 or t < 0:
                    continue
                z = u * places[a, 2] + v * places[b, 2] + t * places[c, 2]
                if z > depth[y, x]:
                    depth[y, x] = z
                    for k in range(values.shape[1]):
                        out[y, x, k] = u * values[a, k] + v * values[b, k] + t * values[c, k]


def bearded(albedo: np.ndarray, beard: float, colour: np.ndarray, tone: np.ndarray, seed: int) -> np.ndarray:
    """``albedo``, float32 (T, T, 3) relative to the skin's ``tone``, linear RGB (3,), with a beard of ``colour`` on it:
    0 none, 0.3 stubble, 1 full."""
    if beard <= 0:
        return albedo
    size = albedo.shape[0]
    rng = np.random.default_rng((seed, 6))
    zone = bearded_part(size)
    hairs = rng.standard_normal((size, size), np.float32)
    hairs = imaging.gaussian_blur(hairs, (0, 0), sigmaX=0.8, sigmaY=2.2)
    hairs /= hairs.std()
    dense = np.clip(zone * (1.5 * beard) - 0.12 + 0.16 * hairs * zone, 0, 1) * min(1.0, 0.35 + beard)
    hair = colour / np.maximum(tone, 1e-3) * np.exp(0.3 * hairs)[..., None]
    mixed: np.ndarray = albedo * (1 - dense[..., None]) + hair * dense[..., None]
    return mixed.astype(np.float32)


@lru_cache(maxsize=1)
def _scalp(geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """Vertices of the head behind the hairline, and which way they face, float32 (n, 3)."""
    head = np.unique(geometry.triangles[geometry.parts == Part.HEAD])
    places = geometry.vertices[head]
    line = np.where(
        places[:, 2] > 0, _LINE_UP - 0.4, np.interp(places[:, 2], (_EAR_BACK, 0), (_EAR_UP, _LINE_UP - 0.4))
    )
    head = head[places[:, 1] > line]
    centre = np.array([0.0, 1.0, -4.0], np.float32)
    out = geometry.vertices[head] - centre
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    return head, out.astype(np.float32)


def _curtain(points: np.ndarray, length: float, volume: float) -> np.ndarray:
    """Long hair: the sides of the scalp and what hangs from them, float32 (n, 3)."""
    low = points[points[:, 1] < np.quantile(points[:, 1], 0.5)]
    wide = low * np.array([1.08 + 0.22 * volume, 1, 1], np.float32)
    hanging = wide.copy()
    hanging[:, 1] = np.minimum(hanging[:, 1], _EAR_UP + (_SHOULDER - _EAR_UP) * np.clip((length - 0.2) / 0.8, 0, 1))
    hanging[:, 2] = np.minimum(hanging[:, 2], -2.0)
    return np.concatenate([wide, hanging])


def _hull(places: np.ndarray) -> np.ndarray:
    from scipy.spatial import ConvexHull

    return places[ConvexHull(places).vertices]


def _fill(mask: np.ndarray, polygon: np.ndarray) -> None:
    imaging.fill_convex_poly(mask, np.rint(polygon * (1 << _SUB)).astype(np.int32), 255, imaging.LINE_AA, _SUB)


def _strands(rng: np.random.Generator, size: int, scale: float) -> np.ndarray:
    """float32 (size, size), 0 to 1: streaks that mostly fall."""
    noise = rng.standard_normal((size, size), np.float32)
    streaks = imaging.gaussian_blur(noise, (0, 0), sigmaX=max(0.5, 0.09 * scale), sigmaY=max(1.5, 0.9 * scale))
    streaks /= max(float(streaks.std()), 1e-6)
    return np.clip(0.5 + 0.22 * streaks, 0, 1)
