"""Light on skin: diffuse irradiance from spherical harmonics, occlusion with a warm tint, a skin-like specular lobe.

Diffuse light follows Ramamoorthi and Hanrahan, *An Efficient Representation for Irradiance Environment Maps* (2001).
A crevice in skin is lit by its own red light (Jimenez et al., *Practical Real-Time Strategies for Accurate Indirect
Occlusion*, 2016, section 5: multi-bounce). The highlight is a GGX lobe of the dominant light direction (Walter et al.,
2007), two in one as skin has (Weyrich et al., *Analysis of Human Faces*, 2006), plus a broad lobe of the
whole environment.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numba import njit

from deid.models.morphable.codes import Light
from deid.models.morphable.shade_texture import LEVELS

# columns of the table of interpolated vertex attributes: place in the texture, mip level, what skin of albedo 1 sends
# by scattering, what skin of gloss 1 sends by mirroring, how strongly it is folded, and what that times a slope along u
# and v changes of its light
U, V, LEVEL, RED, GREEN, BLUE, SHINE_RED, SHINE_GREEN, SHINE_BLUE, FOLD, FOLD_U, FOLD_V = range(12)
ATTRIBUTES = 12

LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)
_SKIN_ALBEDO = np.array([0.62, 0.42, 0.33])  # what light that bounces inside a crevice meets
_SPECULAR_SHARE = 0.028  # of white: what the broad lobe adds on average, and `tone` already holds
# below this share of the mean, irradiance falls exponentially instead of through zero; red light enters skin deepest
_TERMINATOR = np.array([0.20, 0.14, 0.12], np.float32)
# how much redder and less blue skin is where it gets less light, as powers of that light: faces in footage, median
_SHADED_RED, _SHADED_BLUE = np.float32(0.11), np.float32(0.04)
_DEEPEST = 0.05  # no crease of skin is black: light comes through
_LAMP_TINT = (0.6, 1.6)  # of a lamp's channels to its luminance, beside the colour of white
_DOUBT = 0.3  # how far the colour of white is drawn to grey
_DARKEST = 7.0  # white over skin, luminance
_BESIDE = np.float32(0.15)  # least z of a direction whose light the face has shown
_GRAZING = np.float32(0.33)  # least z of a normal whose light the face has shown
_BRIGHTEST = np.float32(2.0)  # of the mean: surroundings that a broad lobe mirrors
_ROUGH, _SMOOTH, _TIGHT = np.float32(0.36), np.float32(0.17), np.float32(0.3)  # lobes of skin; share of the second
_LAMP = np.float32(1.5)  # a lamp is smaller, and brighter, than harmonics of the second order can say
_F0 = 0.028  # reflectance of skin and of tears at normal incidence


@dataclass(frozen=True, slots=True, eq=False)
class LightRig:
    """A :class:`Light` as the shaders use it.

    ``sh``: float32 (9, 3). ``tone``: float32 (3,), without the mean specular light. ``white``: float32 (3,).
    ``environment``: float32 (9,), spherical harmonics of the radiance that a broad lobe sees, of the mirrored
    direction. ``key``: float32 (3,), unit direction towards the dominant light. ``key_rgb``: float32 (3,), radiance of
    a white matt surface that faces it, from it alone. ``focus``: 0 (light from everywhere) to 1 (one lamp).
    """

    sh: np.ndarray
    tone: np.ndarray
    white: np.ndarray
    environment: np.ndarray
    key: np.ndarray
    key_rgb: np.ndarray
    focus: float


@lru_cache(maxsize=8)
def light_rig(light: Light) -> LightRig:
    """What the shaders need of ``light``; its numbers are taken as they are, only not-finite ones become 0. A face and
    the glasses on it are lit by one and the same."""
    sh = _finite(light.sh)
    tone, white = np.maximum(_finite(light.tone), 0.0), np.maximum(_finite(light.white), 0.0)
    # the light's colour is known less well than its strength, and eyes and teeth show what is wrong with it
    white = white ** np.float32(1.0 - _DOUBT) * max(float(white @ LUMA), 1e-6) ** np.float32(_DOUBT)
    # no skin is darker than a fifth of white: where both were measured so, eyes and teeth would glow
    limit = max(float(tone @ LUMA), 1e-4) * _DARKEST / max(float(white @ LUMA), 1e-4)
    white = white * np.float32(limit * np.tanh(1.0 / limit))
    grey = sh @ LUMA
    key, strength, ambient = _dominant(grey)
    # one lamp alone has |l1| = 2 l0 (irradiance max(0, n.l): 1/4 and 1/2)
    focus = min(strength / (2.0 * ambient), 1.0)
    # irradiance keeps 2/3 of band 1 and 1/4 of band 2 of the radiance; a broad lobe keeps .85 and .5
    environment = grey * np.array([1.0] + [1.27] * 3 + [2.0] * 5, np.float32)
    # all nine terms: the first four alone trade off against the rest, by channel, and would leave a lamp of one colour
    x, y, z = (float(v) for v in key)
    terms = np.array([1.0, x, y, z, x * y, x * z, y * z, x * x - y * y, 3.0 * z * z - 1.0], np.float32)
    tint = np.maximum(terms @ sh, 0.0) + 1e-3
    tint = np.clip(tint / float(tint @ LUMA), *_LAMP_TINT)
    key_rgb = white * tint * np.float32(min(strength, 2.0 * ambient) * 2.0)
    matt = np.maximum(tone - white * np.float32(_SPECULAR_SHARE), 0.7 * tone)
    return LightRig(sh, matt, white, environment, key.astype(np.float32), key_rgb.astype(np.float32), focus)


def _finite(values: np.ndarray) -> np.ndarray:
    """float32, with 0 for what is not finite."""
    out = np.asarray(values, np.float32)
    return out if np.isfinite(out).all() else np.nan_to_num(out, posinf=0.0, neginf=0.0)


def occlusion_rgb(occlusion: np.ndarray) -> np.ndarray:
    """float32 (V, 3): how much light reaches skin whose openness is ``occlusion``, (V,) in [0, 1], by channel."""
    x = np.clip(occlusion.astype(np.float64), _DEEPEST, 1.0)[:, None]
    a = 2.0404 * _SKIN_ALBEDO - 0.3324
    b = -4.7951 * _SKIN_ALBEDO + 0.6417
    c = 2.7552 * _SKIN_ALBEDO + 0.6903
    return np.maximum(x, ((x * a + b) * x + c) * x).clip(0.0, 1.0).astype(np.float32)


def _dominant(grey: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Unit direction towards the light, from what a viewer can see: irradiance at visible normals, of ``grey``, (9,);
    how much it grows along that direction, and how much comes from everywhere.

    The plane through irradiance at visible normals: the first-order coefficients alone trade off against the second
    order there, and may point away from the light.
    """
    terms, fit = _visible()
    seen = np.maximum(terms @ grey.astype(np.float64), 0.0)
    mean = max(float(seen.mean()), 1e-3)
    slope = (fit @ seen)[1:]
    strength = float(np.linalg.norm(slope))
    slope[2] = max(slope[2], 0.25 * float(np.hypot(slope[0], slope[1])))
    key = slope + mean * np.array([0.0, 0.02, 0.03])
    key /= np.linalg.norm(key)
    return (key, strength, max(mean - strength * float(terms[:, 1:4].mean(axis=0) @ key), 0.1 * mean))


@lru_cache(maxsize=1)
def _visible() -> tuple[np.ndarray, np.ndarray]:
    """float64 (n, 9), the harmonics of normals spread evenly over what faces the viewer, and (4, n): what gives
    constant and slope of the plane through values there."""
    k = np.arange(64)
    z = 0.15 + 0.85 * (k + 0.5) / 64
    turn, radius = k * np.pi * (3.0 - np.sqrt(5.0)), np.sqrt(1.0 - z * z)
    x, y = radius * np.cos(turn), radius * np.sin(turn)
    terms = np.stack([np.ones(64), x, y, z, x * y, x * z, y * z, x * x - y * y, 3.0 * z * z - 1.0], axis=1)
    return terms, np.linalg.pinv(terms[:, :4])


@njit(cache=True, nogil=True)
def irradiance(sh, x, y, z, channel):  # type: ignore[no-untyped-def]
    """Irradiance of a surface with unit normal ``x, y, z``, in units of the mean of the face, softly above 0."""
    e = sh[0, channel] + sh[1, channel] * x + sh[2, channel] * y + sh[3, channel] * z
    e += sh[4, channel] * x * y + sh[5, channel] * x * z + sh[6, channel] * y * z
    e += sh[7, channel] * (x * x - y * y) + sh[8, channel] * (np.float32(3.0) * z * z - np.float32(1.0))
    knee = _TERMINATOR[channel]
    if e < knee:
        e = knee * np.exp((e - knee) / knee)
    return e


@njit(cache=True, nogil=True)
def radiance(sh, x, y, z):  # type: ignore[no-untyped-def]
    """What a broad mirror lobe sees in direction ``x, y, z``; ``sh`` (9,). Never negative."""
    e = sh[0] + sh[1] * x + sh[2] * y + sh[3] * z + sh[4] * x * y + sh[5] * x * z + sh[6] * y * z
    e += sh[7] * (x * x - y * y) + sh[8] * (np.float32(3.0) * z * z - np.float32(1.0))
    return max(e, np.float32(0.0))


@njit(cache=True, nogil=True)
def corner_weights(fixed, a, b, c, px, py):  # type: ignore[no-untyped-def]
    """Weights of corners ``b`` and ``c`` at picture position ``px, py`` (1/256 pixel), kept near the triangle."""
    ax, ay = np.float64(fixed[a, 0]), np.float64(fixed[a, 1])
    bx, by = fixed[b, 0] - ax, fixed[b, 1] - ay
    cx, cy = fixed[c, 0] - ax, fixed[c, 1] - ay
    qx, qy = px - ax, py - ay
    per_area = 1.0 / (bx * cy - cx * by)
    wb = min(max((qx * cy - cx * qy) * per_area, -0.2), 1.2)
    wc = min(max((bx * qy - qx * by) * per_area, -0.2), 1.2)
    return np.float32(wb), np.float32(wc)


@njit(cache=True, nogil=True)
def lobe(nh, lh, alpha):  # type: ignore[no-untyped-def]
    """GGX: reflected radiance of a lamp, without Fresnel, in units of the white matt radiance it would cause."""
    a2 = alpha * alpha
    d = nh * nh * (a2 - np.float32(1.0)) + np.float32(1.0)
    return np.float32(0.25) * a2 / (d * d * max(lh * lh, np.float32(0.1)))


@njit(cache=True, nogil=True)
def lamp_shine(normals, key):  # type: ignore[no-untyped-def]
    """What dry, open skin of unit ``normals``, float32 (n, 3), mirrors towards the viewer of a dominant light in
    direction ``key``, in units of the matt radiance that it would cause: float32 (n,)."""
    out = np.zeros(normals.shape[0], np.float32)
    one, zero = np.float32(1.0), np.float32(0.0)
    hz = key[2] + one
    q = one / np.sqrt(key[0] * key[0] + key[1] * key[1] + hz * hz + np.float32(1e-6))
    lh = max((key[0] * key[0] + key[1] * key[1] + key[2] * hz) * q, np.float32(0.1))
    for i in range(len(out)):
        x, y, z = normals[i, 0], normals[i, 1], normals[i, 2]
        nh = max((x * key[0] + y * key[1] + z * hz) * q, zero)
        nl = min(max(x * key[0] + y * key[1] + z * key[2] + np.float32(0.08), zero), one)
        edge = one - min(max(z, zero), one)
        edge = edge * edge
        narrow = (one - _TIGHT) * lobe(nh, lh, _ROUGH) + _TIGHT * lobe(nh, lh, _SMOOTH)
        out[i] = narrow * _LAMP * np.float32(_F0) * (one + np.float32(5.0) * edge * edge) * nl
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def light_vertices(
    members: np.ndarray,
    points: np.ndarray,
    normals: np.ndarray,
    inverse_distance: float,
    sh: np.ndarray,
    environment: np.ndarray,
    key: np.ndarray,
    colours: np.ndarray,
    occlusion: np.ndarray,
    open_rgb: np.ndarray,
    wet: np.ndarray,
    base_level: np.ndarray,
    level_shift: float,
    table: np.ndarray,
    inside: np.ndarray,
) -> None:
    """Fill the columns of ``table``, float32 (V, ATTRIBUTES), that change, for the vertices ``members``.

    Light on skin is smooth at the scale of the mesh, so it is worked out at vertices. ``points``, ``normals``: float32
    (V, 3), camera space. ``colours``: float32 (3, 3), rows: tone, white, and the dominant light of :class:`LightRig`,
    like the rest of the light. ``base_level``: float32 (V,), log2 of texels a centimetre; ``level_shift``: minus log2
    of pixels a centimetre. ``occlusion``, ``open_rgb``: see :func:`occlusion_rgb`. ``wet``: float32 (V,), moisture.
    ``inside``: float32 (V, 3), normals that light inside the flesh has, see :mod:`.shade_soft`.
    """
    one, two = np.float32(1.0), np.float32(2.0)
    shift, away = np.float32(level_shift), np.float32(inverse_distance)
    for k in range(members.shape[0]):
        i = members[k]
        x, y, z = normals[i, 0], normals[i, 1], normals[i, 2]
        if z < -0.5:  # no triangle that can be seen has more than a corner here
            table[i, LEVEL] = np.float32(LEVELS) * (base_level[i] + shift + np.float32(1.4))
            for c in range(RED, SHINE_BLUE + 1):
                table[i, c] = np.float32(0.0)
            continue
        # where the surface turns away, texels crowd: between the sharp and the blunt direction
        level = base_level[i] + shift - np.float32(0.6) * np.log2(max(z, np.float32(0.2)))
        table[i, LEVEL] = np.float32(LEVELS) * level
        # nor was light on what turns away ever seen: there it is that of what is beside
        front = max(inside[i, 2], _GRAZING)
        q = one / np.sqrt(inside[i, 0] * inside[i, 0] + inside[i, 1] * inside[i, 1] + front * front)
        for c in range(3):
            table[i, RED + c] = irradiance(sh, inside[i, 0] * q, inside[i, 1] * q, front * q, c) * open_rgb[i, c]
        # light that has wandered through skin is red, and most of what shaded skin has has done so
        shade = np.log2(min(max(table[i, GREEN], np.float32(0.15)), np.float32(2.0)))
        table[i, RED] *= np.exp2(-_SHADED_RED * shade)
        table[i, BLUE] *= np.exp2(_SHADED_BLUE * shade)
        vx, vy, vz = (-points[i, 0] * away, -points[i, 1] * away, one - points[i, 2] * away)
        q = one / np.sqrt(vx * vx + vy * vy + vz * vz + np.float32(1e-8))
        vx, vy, vz = vx * q, vy * q, vz * q
        nv = x * vx + y * vy + z * vz
        edge = one - min(max(nv, np.float32(0.0)), one)
        edge = edge * edge
        strength = np.float32(_F0) * (one + np.float32(5.0) * edge * edge) * occlusion[i] * occlusion[i]
        hx, hy, hz = key[0] + vx, key[1] + vy, key[2] + vz
        q = one / np.sqrt(hx * hx + hy * hy + hz * hz + np.float32(1e-6))
        nh = max((x * hx + y * hy + z * hz) * q, np.float32(0.0))
        lh = max((key[0] * hx + key[1] * hy + key[2] * hz) * q, np.float32(0.1))
        nl = min(max((x * key[0] + y * key[1] + z * key[2]) + np.float32(0.08), np.float32(0.0)), one)
        # what lies behind the head was never measured, and harmonics run wild there: grazing skin mirrors what's beside
        mx, my, mz = (two * nv * x - vx, two * nv * y - vy, max(two * nv * z - vz, _BESIDE))
        q = one / np.sqrt(mx * mx + my * my + mz * mz)
        broad = strength * min(radiance(environment, mx * q, my * q, mz * q), _BRIGHTEST)
        # skin is oily in thin patches on a rough ground: a wide lobe and a tight one
        tight = _TIGHT + (np.float32(1.0) - _TIGHT) * np.float32(0.5) * wet[i]
        narrow = (one - tight) * lobe(nh, lh, _ROUGH) + tight * lobe(nh, lh, _SMOOTH)
        narrow *= _LAMP * strength * nl
        for c in range(3):
            table[i, RED + c] *= colours[0, c]
            table[i, SHINE_RED + c] = broad * colours[1, c] + narrow * colours[2, c]


@njit(cache=True, nogil=True, error_model="numpy")
def fold_vertices(
    members: np.ndarray,
    folded: np.ndarray,
    tangents: np.ndarray,
    rotation: np.ndarray,
    normals: np.ndarray,
    sh: np.ndarray,
    table: np.ndarray,
) -> None:
    """Fill the last three columns of ``table`` for ``members``, int32 (m,).

    ``folded``: float32 (m,), how deep creases are. ``tangents``: float32 (m, 2, 3), head space. ``rotation``: float32
    (3, 3), camera from head. What a slope changes is the derivative of irradiance, green's, for the surface's turning.
    """
    one, tilt = np.float32(1.0), np.float32(0.35)
    for k in range(members.shape[0]):
        i = members[k]
        table[i, FOLD] = folded[k]
        table[i, FOLD_U] = np.float32(0.0)
        table[i, FOLD_V] = np.float32(0.0)
        if folded[k] <= 0.0 or normals[i, 2] < -0.5:
            continue
        for j in range(2):
            tx, ty, tz = tangents[k, j, 0], tangents[k, j, 1], tangents[k, j, 2]
            dx = rotation[0, 0] * tx + rotation[0, 1] * ty + rotation[0, 2] * tz
            dy = rotation[1, 0] * tx + rotation[1, 1] * ty + rotation[1, 2] * tz
            dz = rotation[2, 0] * tx + rotation[2, 1] * ty + rotation[2, 2] * tz
            e = np.float32(0.0)
            both = np.float32(0.1)
            for way in (-1.0, 1.0):
                # a slope along the tangent turns the normal away from it
                x = normals[i, 0] - np.float32(way) * tilt * dx
                y = normals[i, 1] - np.float32(way) * tilt * dy
                z = normals[i, 2] - np.float32(way) * tilt * dz
                q = one / np.sqrt(x * x + y * y + z * z + np.float32(1e-6))
                light = irradiance(sh, x * q, y * q, z * q, 1)
                e += np.float32(way) * light
                both += light
            # light that small forms see is more directed than harmonics of the second order can say
            table[i, FOLD_U + j] = np.float32(1.3) * folded[k] * e / (tilt * both)
