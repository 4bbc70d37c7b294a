"""Eyeballs, tears and lashes: meshes of the project's own, laid on the rings of vertices at the lids."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from face_source import LEFT_SCLERA, RIGHT_SCLERA, Source

IRIS_ANGLE = 0.37  # radians from the optical axis to the limbus, seen from the eyeball's centre
_THETA = np.concatenate(
    [
        np.array([0.12, 0.25, 0.33, IRIS_ANGLE, 0.41, 0.5, 0.62, 0.8, 1.0, 1.25]),
        np.array([np.pi / 2, 1.9, 2.2]),
    ]
)
_AROUND = 32
EQUATOR = 11  # ring of the template at a right angle to the axis, counting from 1
PROFILE_BINS = 96
UPPER_LASHES = tuple(range(1, 20))
LOWER_LASHES = tuple(range(23, 40))


@dataclass(frozen=True)
class Eyeballs:
    """``template``: (n, 3) unit eye that looks along z, radius 1 at the equator. ``profile``: (PROFILE_BINS,) radius
    at cosines from -1 to 1. ``centres`` (2, 3), ``radius``: of the mean head. ``modes``: (K, 2, 4) change of centre and
    radius for each source mode."""

    template: np.ndarray
    triangles: np.ndarray
    uv: np.ndarray
    profile: np.ndarray
    centres: np.ndarray
    radius: float
    modes: np.ndarray


def build_eyeballs(source: Source) -> Eyeballs:
    """A smooth body of revolution through the source's eyeball."""
    ball = source.vertices[LEFT_SCLERA]
    back = ball[ball[:, 2] < 7.9]
    system = np.concatenate([2 * back, np.ones((len(back), 1))], axis=1)
    solution = np.linalg.lstsq(system, (back**2).sum(axis=1), rcond=None)[0]
    centre = solution[:3]
    radius = float(np.sqrt(solution[3] + centre @ centre))
    offset = ball - centre
    distance = np.linalg.norm(offset, axis=1)
    theta = np.arccos(np.clip(offset[:, 2] / distance, -1, 1))
    bins = np.linspace(0, np.pi, 61)
    smooth = np.array([np.average(distance, weights=np.exp(-(((theta - b) / 0.09) ** 2)) + 1e-12) for b in bins])
    smooth = np.maximum.accumulate(smooth[::-1])[::-1] / radius
    at = np.arccos(np.linspace(-1, 1, PROFILE_BINS))
    profile = np.interp(at, bins, smooth)
    profile /= np.interp(0.0, np.linspace(-1, 1, PROFILE_BINS), profile)
    equator = radius * float(np.interp(np.pi / 2, bins, smooth))
    template, triangles, uv = _template(profile)
    centres = np.stack([centre, centre * [-1, 1, 1]])
    return Eyeballs(template, triangles, uv, profile, centres, equator, _modes(source, centres, equator))


def _template(profile: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    points, uv = [np.array([0.0, 0.0, 1.0])], [np.array([0.5, 0.5])]
    for k, theta in enumerate(_THETA):
        phi = 2 * np.pi * (np.arange(_AROUND) + 0.5 * (k % 2)) / _AROUND
        x, y = np.cos(phi), np.sin(phi)
        points.append(np.stack([np.sin(theta) * x, np.sin(theta) * y, np.full(_AROUND, np.cos(theta))], axis=1))
        uv.append(0.5 + theta / (2 * np.pi) * np.stack([x, -y], axis=1))
    unit = np.concatenate([points[0][None], *points[1:]])
    radius = np.interp(unit[:, 2], np.linspace(-1, 1, len(profile)), profile)
    triangles = [(0, 1 + i, 1 + (i + 1) % _AROUND) for i in range(_AROUND)]
    for k in range(len(_THETA) - 1):
        a, b = 1 + k * _AROUND, 1 + (k + 1) * _AROUND
        for i in range(_AROUND):
            j = (i + 1) % _AROUND
            if k % 2 == 0:
                triangles += [(a + i, b + i, a + j), (b + i, b + j, a + j)]
            else:
                triangles += [(a + i, b + j, a + j), (a + i, b + i, b + j)]
    return unit * radius[:, None], np.array(triangles, np.int32), np.concatenate([uv[0][None], *uv[1:]])


def _modes(source: Source, centres: np.ndarray, radius: float) -> np.ndarray:
    """Least-squares translation and change of radius of the source's eyeballs, for each identity mode."""
    out = np.zeros((len(source.identity), 2, 4))
    for eye, part in enumerate((LEFT_SCLERA, RIGHT_SCLERA)):
        offset = source.vertices[part] - centres[eye]
        system = np.zeros((len(offset), 3, 4))
        system[:, [0, 1, 2], [0, 1, 2]] = 1
        system[:, :, 3] = offset / radius
        inverse = np.linalg.pinv(system.reshape(-1, 4))
        out[:, eye] = source.identity[:, part].reshape(len(out), -1).astype(np.float64) @ inverse.T
    return out


@dataclass(frozen=True)
class Strips:
    """Tears and lashes of one eye, over columns of the lid rings. ``triangles`` index vertices in the order tears
    (row at the lid, row on the eyeball), then lashes (root, middle and tip of each column)."""

    columns: np.ndarray
    reach: np.ndarray
    length: np.ndarray
    tear_width: np.ndarray
    tear_triangles: np.ndarray
    tear_uv: np.ndarray
    lash_triangles: np.ndarray
    lash_uv: np.ndarray


def build_strips(count: int, eye: int) -> Strips:
    """The strips of ``eye``, 0 left, whose lid rings have ``count`` columns, outer corner first, upper lid next."""
    half = count // 2
    width = np.full(count, 0.03)
    for step, value in ((0, 0.2), (1, 0.2), (2, 0.2), (3, 0.12), (4, 0.06)):
        width[[half - step, half + step]] = value
    tears = []
    for i in range(count):
        j = (i + 1) % count
        tears += [(i, j, count + i), (count + i, j, count + j)]
    uv = np.stack([np.tile(np.arange(count) / count, 2), np.repeat([0.0, 1.0], count)], axis=1)
    columns = np.array(UPPER_LASHES + LOWER_LASHES)
    length, reach, lash_uv, lashes = [], [], [], []
    for k, (chain, size) in enumerate(((UPPER_LASHES, 0.78), (LOWER_LASHES, 0.40))):
        s = np.linspace(0, 1, len(chain))
        s = s if k == 0 else s[::-1]  # 0 at the outer corner
        length += list(size * (0.45 + 0.55 * np.sin(np.pi * np.clip(0.22 + 0.68 * (1 - s), 0, 1)) ** 0.8))
        reach += [1.0 if k == 0 else -1.0] * len(chain)
        base = 0 if k == 0 else 3 * len(UPPER_LASHES)
        u = (s + eye + 2 * k) / 4
        for i in range(len(chain)):
            lash_uv += [(u[i], 0.0), (u[i], 0.5), (u[i], 1.0)]
            if i:
                a, b = base + 3 * (i - 1), base + 3 * i
                lashes += [(a, b, a + 1), (b, b + 1, a + 1), (a + 1, b + 1, a + 2), (b + 1, b + 2, a + 2)]
    return Strips(
        columns,
        np.array(reach),
        np.array(length),
        width,
        np.array(tears, np.int32),
        uv,
        np.array(lashes, np.int32),
        np.array(lash_uv),
    )
