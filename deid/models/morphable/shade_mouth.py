"""The inside of the mouth: teeth, gums, tongue and socket, as dark as the lips make it.

The lips leave a slit. What reaches a place behind it is the share of a horizontal and a vertical fan of directions that
passes the slit, the product of two one-dimensional form factors: exact for a long slit, close for an open mouth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from deid.models.morphable.geometry import Geometry, Part
from deid.models.morphable.nearest import nearest_distance
from deid.models.morphable.shade import corner_weights, irradiance, lobe, occlusion_rgb
from deid.models.morphable.shade_noise import smoothstep, value_noise

BINS = 24
_LIP_REACH = 1.0  # centimetres from where lips touch: what they darken
_HALF_OPEN = 0.25  # centimetres between the lips at which half of that is gone
_OPEN = 0.5  # openness of the lips' inner sides in an open mouth
_TOOTH = np.array([0.64, 0.59, 0.545], np.float32)
_GUM = np.array([0.54, 0.24, 0.24], np.float32)
_TONGUE = np.array([0.64, 0.31, 0.315], np.float32)
_BRIGHT, _BRIGHTER = np.float32(0.52), np.float32(0.28)
"""Luminance of teeth, of code white's, from which they brighten less, and by how much at most: the brightest fifth of
teeth on 72 portraits has .55 at the median and .79 at most."""
_FLESH = np.float32(0.2)  # the same of tongues and cheeks
_STEEP = np.float32(0.9)  # how far the mean direction of what passes the lips turns the light
_LEAST = np.float32(0.03)  # of the light outside, that flesh and lenses scatter into the deepest corner
_PAPILLAE, _PATCHES = 420.0, 60.0  # across the texture's tile
_TEAR = np.array([0.50, 0.30, 0.27], np.float32)
_CARUNCLE = np.array([0.50, 0.255, 0.215], np.float32)
_COLUMNS = 42  # of the lids' rims, as the tears' texture coordinates count them


@dataclass(frozen=True, slots=True, eq=False)
class PosedMouth:
    """The slit between the lips in head space: ``lips``, float32 (3, BINS): height of upper and lower lip and the mean
    depth of both, centimetres, evenly spaced in x between ``left`` and ``right``."""

    lips: np.ndarray
    left: float
    right: float


def posed_mouth(geometry: Geometry, vertices: np.ndarray) -> PosedMouth:
    """The opening that the inner lips of the posed head ``vertices``, float32 (V, 3), leave."""
    loop = geometry.lips_inner
    rest = geometry.vertices[loop, 0]
    first, last = int(np.argmin(rest)), int(np.argmax(rest))
    low, high = min(first, last), max(first, last)
    chains = [loop[low : high + 1], np.concatenate([loop[high:], loop[: low + 1]])]
    chains.sort(key=lambda chain: -float(geometry.vertices[chain, 1].mean()))
    left, right = float(vertices[loop[first], 0]), float(vertices[loop[last], 0])
    at = np.linspace(left, right, BINS)
    rows = []
    for chain in chains:
        points = vertices[chain]
        points = points[np.argsort(points[:, 0], kind="stable")]
        rows.append([np.interp(at, points[:, 0], points[:, k]) for k in (1, 2)])
    lips = np.stack([rows[0][0], rows[1][0], (rows[0][1] + rows[1][1]) / 2]).astype(np.float32)
    return PosedMouth(lips, left, right)


@dataclass(frozen=True, slots=True, eq=False)
class LipTables:
    """Skin that closed lips darken and open lips uncover. ``members``: int32 (m,), vertices. ``share``: float32 (m,) in
    [0, 1], how much of their darkness at rest is the lips' own."""

    members: np.ndarray
    share: np.ndarray


def lip_tables(geometry: Geometry) -> LipTables:
    """The lips' inner sides and what is near, from distances at rest."""
    points = geometry.vertices.astype(np.float64)
    skin = np.unique(geometry.triangles[geometry.parts == Part.SKIN])
    distance = nearest_distance(points[skin], points[geometry.lips_inner])
    near = distance < _LIP_REACH
    share = np.cos(distance[near] / _LIP_REACH * np.pi / 2)
    return LipTables(skin[near].astype(np.int32), share.astype(np.float32))


def opened_occlusion(
    geometry: Geometry, tables: LipTables, mouth: PosedMouth, vertices: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Openness of skin near the lips, (m,), and by channel, (m, 3): see :func:`shade.occlusion_rgb`.

    The geometry's occlusion was found with closed lips. As the gap between them grows, the lips no longer hide their
    inner sides.
    """
    at = np.linspace(mouth.left, mouth.right, BINS)
    gap = np.interp(vertices[tables.members, 0], at, np.maximum(mouth.lips[0] - mouth.lips[1], 0.0))
    share = tables.share * gap / (gap + _HALF_OPEN)
    rest = geometry.occlusion[tables.members]
    opened = (rest + share * np.maximum(_OPEN - rest, 0.0)).astype(np.float32)
    return opened, occlusion_rgb(opened)


def lower_jaw(geometry: Geometry) -> np.ndarray:
    """float32 (V,): 1 where vertices go with the lower jaw, else 0."""
    drop = geometry.expression[geometry.expression_names.index("jawOpen")][:, 1]
    teeth = np.unique(geometry.triangles[geometry.parts == Part.TEETH])
    return np.asarray(drop < 0.5 * drop[teeth].min(), np.float32)


@njit(cache=True, nogil=True)
def _slit(x, y, z, lips, left, right):  # type: ignore[no-untyped-def]
    """Share of the light outside that reaches head-space ``x, y, z`` through the lips, how far behind they are, and how
    far up, as a sine, what passes comes from on average."""
    t = min(max((x - left) / max(right - left, np.float32(0.1)), np.float32(0.0)), np.float32(1.0))
    s = t * np.float32(BINS - 1)
    i = min(int(s), BINS - 2)
    f = s - np.float32(i)
    upper = lips[0, i] + f * (lips[0, i + 1] - lips[0, i])
    lower = lips[1, i] + f * (lips[1, i + 1] - lips[1, i])
    # lips are round: light turns in a little before the line where they are nearest
    depth = lips[2, i] + f * (lips[2, i + 1] - lips[2, i]) - z
    depth = max(depth, np.float32(0.0)) * np.float32(0.8) + np.float32(0.12)
    above, below = upper - y, y - lower
    top = above / np.sqrt(above * above + depth * depth)
    bottom = below / np.sqrt(below * below + depth * depth)
    seen = top + bottom
    one, other = x - left, right - x
    across = one / np.sqrt(one * one + depth * depth) + other / np.sqrt(other * other + depth * depth)
    share = np.float32(0.25) * max(seen, np.float32(0.0)) * max(across, np.float32(0.0))
    return min(share * np.float32(1.15), np.float32(1.0)), depth, np.float32(0.5) * (top - bottom)


@njit(cache=True, nogil=True)
def _lamp(x, y, depth, key, lips, left, right):  # type: ignore[no-untyped-def]
    """Share of the dominant light that reaches a place ``depth`` behind the lips, softly shaded by their edges."""
    ahead = max(key[2], np.float32(0.2))
    x += depth * key[0] / ahead
    y += depth * key[1] / ahead
    t = min(max((x - left) / max(right - left, np.float32(0.1)), np.float32(0.0)), np.float32(1.0))
    s = t * np.float32(BINS - 1)
    i = min(int(s), BINS - 2)
    f = s - np.float32(i)
    upper = lips[0, i] + f * (lips[0, i + 1] - lips[0, i])
    lower = lips[1, i] + f * (lips[1, i + 1] - lips[1, i])
    soft = np.float32(0.08) + np.float32(0.22) * depth
    share = smoothstep(-soft, soft, upper - y) * smoothstep(-soft, soft, y - lower)
    return share * smoothstep(-soft, soft, x - left) * smoothstep(-soft, soft, right - x)


@njit(cache=True, nogil=True)
def shade_mouth(
    count: int,
    parts: np.ndarray,
    triangles: np.ndarray,
    triangle: np.ndarray,
    place: np.ndarray,
    fixed: np.ndarray,
    window: np.ndarray,
    vertices: np.ndarray,
    normals: np.ndarray,
    lips: np.ndarray,
    left: float,
    right: float,
    sh: np.ndarray,
    white: np.ndarray,
    tone: np.ndarray,
    key: np.ndarray,
    key_rgb: np.ndarray,
    uv: np.ndarray,
    jaw: np.ndarray,
    lower: float,
    rotation: np.ndarray,
    pixels: float,
    local: np.ndarray,
    colour: np.ndarray,
) -> None:
    """Colour of mouth (2), teeth (3), tongue (7) and tear line (8) among the first ``count`` fragments.

    ``normals``: float32 (V, 3), camera space. ``uv``: float32 (V, 2), fixed on surfaces. ``jaw``: float32
    (V,), of :func:`lower_jaw`, and ``lower``, a factor on the light of its teeth. ``rotation``: (3, 3), camera from
    head. ``pixels``: a centimetre.
    ``local``: float32 (parts,), factors on the light. The rest as in :class:`PosedMouth` and
    :func:`~deid.models.morphable.shade_skin.shade_skin`. ``colour``: float32 (n, 3), linear light.
    """
    one = np.float32(1.0)
    # how much of the light comes from one side, and so is let through or kept out as a whole
    beam = np.float32(0.5) * (key_rgb[0] + key_rgb[1] + key_rgb[2]) / max(white[0] + white[1] + white[2], 1e-4)
    beam = min(np.float32(beam), np.float32(0.6))
    fine = np.float32(min(max((pixels - 8.0) / 16.0, 0.0), 1.0))  # bumps of the tongue, where pixels can hold them
    for n in range(count):
        f = triangle[n]
        part = parts[f]
        if part != 2 and part != 3 and part != 7 and part != 8:
            continue
        a, b, c = triangles[f, 0], triangles[f, 1], triangles[f, 2]
        px, py = place[n, 0] + window[0], place[n, 1] + window[1]
        wb, wc = corner_weights(fixed, a, b, c, px * 256.0, py * 256.0)
        wa = one - wb - wc
        nx = wa * normals[a, 0] + wb * normals[b, 0] + wc * normals[c, 0]
        ny = wa * normals[a, 1] + wb * normals[b, 1] + wc * normals[c, 1]
        nz = wa * normals[a, 2] + wb * normals[b, 2] + wc * normals[c, 2]
        length = one / np.sqrt(nx * nx + ny * ny + nz * nz + np.float32(1e-8))
        nx, ny, nz = nx * length, ny * length, nz * length
        gain = local[part]
        rise = np.float32(0.0)
        if part == 8:
            seen, base, wet, rough = np.float32(0.75), _TEAR, np.float32(0.5), np.float32(0.35)
            # the corner's flesh: redder, and in the lids' shade where it goes down between them
            u = abs(wa * uv[a, 0] + wb * uv[b, 0] + wc * uv[c, 0] - np.float32(0.5)) * np.float32(_COLUMNS)
            inner = one - smoothstep(np.float32(3.0), np.float32(6.5), u)
            v = wa * uv[a, 1] + wb * uv[b, 1] + wc * uv[c, 1]
            base = base + (_CARUNCLE - base) * inner
            seen += inner * (np.float32(0.42) + np.float32(0.22) * v - seen)
        else:
            x = wa * vertices[a, 0] + wb * vertices[b, 0] + wc * vertices[c, 0]
            y = wa * vertices[a, 1] + wb * vertices[b, 1] + wc * vertices[c, 1]
            z = wa * vertices[a, 2] + wb * vertices[b, 2] + wc * vertices[c, 2]
            seen, depth, rise = _slit(x, y, z, lips, np.float32(left), np.float32(right))
            base, wet, rough = _GUM, np.float32(0.6), np.float32(0.45)
            if part == 2:
                # the lips' own inner side, which takes light from the lips
                near = np.exp(-depth * np.float32(3.0))
                seen, rough = seen + near * (np.float32(0.4) - np.float32(0.3) * seen), rough + np.float32(0.3) * near
                gain += (max(gain, one) - gain) * near
                seen = np.float32(0.03) + np.float32(0.97) * seen  # flesh passes light on
                # the box of a mouth has flat walls; a real one is narrow and takes light from itself with every bend
                seen *= np.exp(np.float32(-0.35) * max(depth - np.float32(0.6), np.float32(0.0)))
            elif part == 3:
                base, wet, rough = _TOOTH, np.float32(0.5), np.float32(0.6)
                gain *= one + (np.float32(lower) - one) * (wa * jaw[a] + wb * jaw[b] + wc * jaw[c])
                seen = np.sqrt(seen) * np.float32(0.25) + seen * np.float32(0.75)  # enamel passes light on
                seen = seen / (one + depth * depth * depth * np.float32(0.3)) + np.float32(0.01)  # cheeks hide molars
                shut = np.exp(np.float32(-2.5) * seen)  # what light there is comes off flesh
                base = base + (_GUM - base) * (np.float32(0.8) * shut)
            elif part == 7:
                base, wet, rough = _TONGUE, np.float32(0.8), np.float32(0.3)
                # flesh around sends light back, most in front; a lamp before the face reaches it as it is
                seen = np.float32(0.02) + np.float32(2.8) * seen ** np.float32(0.85)
                lit = _lamp(x, y, depth, key, lips, np.float32(left), np.float32(right))
                seen *= np.exp(np.float32(-0.3) * max(depth - np.float32(1.2), np.float32(0.0)))
                seen += beam * (np.float32(0.95) * lit * np.exp(np.float32(-0.16) * depth) - np.float32(0.4) * seen)
                u = wa * uv[a, 0] + wb * uv[b, 0] + wc * uv[c, 0]
                v = wa * uv[a, 1] + wb * uv[b, 1] + wc * uv[c, 1]
                bump = value_noise(u * _PAPILLAE, v * _PAPILLAE, 41, 0) - np.float32(0.5)
                patch = value_noise(u * _PATCHES, v * _PATCHES, 43, 0) - np.float32(0.5)
                groove = np.exp(-x * x * np.float32(40.0))
                seen *= one + fine * np.float32(0.35) * bump + np.float32(0.2) * patch - np.float32(0.2) * groove
                wet *= one + fine * np.float32(1.6) * bump + patch
        # what enters by the slit comes from the front, whatever the sides of the face get
        sx, sy, sz = nx * np.float32(0.6), ny * np.float32(0.6), nz * np.float32(0.6) + np.float32(0.5)
        # behind an upper lip it comes from below, and before a lower lip, where lower teeth are, from above
        rise *= _STEEP
        sx, sy, sz = sx + rise * rotation[0, 1], sy + rise * rotation[1, 1], sz + rise * rotation[2, 1]
        length = one / np.sqrt(sx * sx + sy * sy + sz * sz + np.float32(1e-8))
        facing = rough + (one - rough) * max(nz, np.float32(0.0))
        hx, hy, hz = key[0], key[1], key[2] + one
        hn = one / np.sqrt(hx * hx + hy * hy + hz * hz + np.float32(1e-6))
        nh = max((nx * hx + ny * hy + nz * hz) * hn, np.float32(0.0))
        shine = wet * np.float32(0.028) * lobe(nh, np.float32(0.8), np.float32(0.14)) * seen * seen
        for k in range(3):
            e = irradiance(sh, sx * length, sy * length, sz * length, k)
            # red light comes back from the flesh around, so what is deep is red before it is black; blood leaves blue
            deep = seen ** (one + np.float32(0.18) * np.float32(min(k, 1)))
            deep += _LEAST * (one - np.float32(0.45) * np.float32(min(k, 1)))
            colour[n, k] = gain * (base[k] * white[k] * e * facing * deep + shine * key_rgb[k])
        if part != 8:  # cameras expose for faces: what is in mouths keeps its shape and its tint in highlights
            level = np.float32(0.2126) * colour[n, 0] + np.float32(0.7152) * colour[n, 1]
            level += np.float32(0.0722) * colour[n, 2]
            bright, more = (_BRIGHT, _BRIGHTER) if part == 3 else (_FLESH, _BRIGHTER * _FLESH / _BRIGHT)
            if level > bright:
                over = bright + more * np.tanh((level - bright) / more)
                for k in range(3):
                    colour[n, k] *= over / level
