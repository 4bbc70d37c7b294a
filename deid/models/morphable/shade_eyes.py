"""Eyeballs without a texture: sclera, limbus, iris, pupil, the cornea's reflections, and the shadow of the lids.

Proportions after Bérard et al., *High-Quality Capture of Eyes* (2014): the cornea is a steeper sphere than the sclera,
the limbus is a soft band, the sclera reddens towards its corners.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from deid.models.morphable.geometry import Geometry, Part
from deid.models.morphable.nearest import nearest_distance
from deid.models.morphable.shade import corner_weights, irradiance, radiance
from deid.models.morphable.shade_noise import smoothstep, value_noise

BINS = 32  # columns of a table of lid heights
_IRIS = 0.59  # centimetres, radius of the coloured part: all but the same in everybody (Bergmanson, Martinez 2017)
_OWN_IRIS = 0.3  # how much of what a head's eyeballs differ by from the mean's shows in its irises
_PURITY = 0.68  # how much of its colour an iris keeps behind lashes and tears that mirror their surroundings
_PUPIL = 0.34  # of the iris' radius
_LID = 0.28  # centimetres that a lid stands before the eyeball: how wide its shadow is
_SLIT, _OPENED = 0.2, 1.2
"""Centimetres between lids under whose lashes and folds half of the light is lost, and what makes up for it where eyes
are open."""
_MIRRORED = 1.1  # of the mean: the brightest surroundings that an eye mirrors, lamps apart
_TAU = 6.2831853


@dataclass(frozen=True, slots=True, eq=False)
class EyeTables:
    """What never changes. ``rest``: float32 (V, 3), direction of an eye's vertex from its centre when it looks ahead.
    ``orbit``: in [0, 1], the share of light that brow, nose and cheek leave to the eyes. ``frames``: for the left and
    the right eye float32 (4, n): weights that give centre and tips of the three axes as sums of the eye's posed
    vertices, exact for any similarity."""

    rest: np.ndarray
    orbit: float
    frames: tuple[np.ndarray, np.ndarray]


def eye_tables(geometry: Geometry) -> EyeTables:
    """Directions and frames from the eyeballs at rest."""
    rest = np.zeros_like(geometry.vertices)
    frames = []
    for eye, members in enumerate((geometry.eye_left, geometry.eye_right)):
        points = geometry.vertices[members].astype(np.float64)
        centre = geometry.eye_centres[eye].astype(np.float64)
        offset = points - centre
        rest[members] = offset / np.maximum(np.linalg.norm(offset, axis=1, keepdims=True), 1e-6)
        system = np.vstack([offset.T, np.ones(len(members))])  # (4, n): least-norm weights with the wanted sums
        wanted = np.vstack([np.zeros(3), np.eye(3)])
        wanted = np.hstack([wanted, np.ones((4, 1))])
        frames.append((np.linalg.pinv(system) @ wanted.T).T.astype(np.float32))
    lids = (geometry.lid_upper_left, geometry.lid_lower_left, geometry.lid_upper_right, geometry.lid_lower_right)
    skin = np.unique(geometry.triangles[geometry.parts == Part.SKIN])
    distance = nearest_distance(geometry.vertices[skin], geometry.vertices[np.concatenate(lids)])
    around = skin[(distance > 0.3) & (distance < 1.2)]  # not the lids' own rims, which shade themselves
    return EyeTables(rest, float(geometry.occlusion[around].mean()), (frames[0], frames[1]))


@dataclass(frozen=True, slots=True, eq=False)
class PosedEyes:
    """Both eyes in one frame, left first. ``centres``: float32 (2, 3), head space. ``axes``: float32 (2, 3, 3), rows
    are the eyeball's own x, y, z (z out of the pupil) in head space. ``lids``: float32 (2, 2, BINS), heights of upper
    and lower lid as angles in radians above the centre's plane, at angles about the vertical evenly spaced between the
    first two of ``span``, float32 (2, 3); its third is the sine of the angle from the axis at which the iris ends."""

    centres: np.ndarray
    axes: np.ndarray
    lids: np.ndarray
    span: np.ndarray


def posed_eyes(geometry: Geometry, tables: EyeTables, vertices: np.ndarray) -> PosedEyes:
    """Where the eyeballs of the posed head ``vertices``, float32 (V, 3), are, and where the lids lie over them."""
    centres = np.empty((2, 3), np.float32)
    axes = np.empty((2, 3, 3), np.float32)
    lids = np.empty((2, 2, BINS), np.float32)
    span = np.empty((2, 3), np.float32)
    sides = (
        (geometry.eye_left, geometry.lid_upper_left, geometry.lid_lower_left),
        (geometry.eye_right, geometry.lid_upper_right, geometry.lid_lower_right),
    )
    for eye, (members, upper, lower) in enumerate(sides):
        frame = tables.frames[eye] @ vertices[members]
        centres[eye] = frame[0]
        axis = frame[1:] - frame[0]
        size = float(np.linalg.norm(axis, axis=1).mean())  # of the mean head's
        span[eye, 2] = min(_IRIS * size**_OWN_IRIS / (size * geometry.eye_radius), 0.5)
        axes[eye] = axis / np.maximum(np.linalg.norm(axis, axis=1, keepdims=True), 1e-6)
        edges = [_lid_angles(vertices[edge] - frame[0]) for edge in (upper, lower)]
        span[eye, :2] = edges[0][0].min(), edges[0][0].max()
        at = np.linspace(span[eye, 0], span[eye, 1], BINS)
        for k, (azimuth, height) in enumerate(edges):
            lids[eye, k] = np.interp(at, azimuth, height)
    return PosedEyes(centres, axes, lids, span)


def _lid_angles(offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Angles about the vertical and above the horizontal of ``offsets``, (n, 3), ordered by the former."""
    azimuth = np.arctan2(offsets[:, 0], offsets[:, 2])
    height = np.arctan2(offsets[:, 1], np.hypot(offsets[:, 0], offsets[:, 2]))
    order = np.argsort(azimuth, kind="stable")
    return azimuth[order], height[order]


@njit(cache=True, nogil=True)
def _lid_light(azimuth, height, lids, low, high, radius, from_above, nose):  # type: ignore[no-untyped-def]
    """Share of light that the lids let through to a place on the eyeball, and how near a corner it is, 0 to 1.
    ``nose``: 0 where angles grow away from the nose, 1 where they grow towards it."""
    t = (azimuth - low) / max(high - low, np.float32(1e-3))
    t = min(max(t, np.float32(0.0)), np.float32(1.0))
    x = t * np.float32(BINS - 1)
    i = min(int(x), BINS - 2)
    f = x - np.float32(i)
    upper = lids[0, i] + f * (lids[0, i + 1] - lids[0, i])
    lower = lids[1, i] + f * (lids[1, i + 1] - lids[1, i])
    above = max((upper - height) * radius, np.float32(0.0)) + np.float32(0.006)
    below = max((height - lower) * radius, np.float32(0.0)) + np.float32(0.02)
    lid = np.float32(_LID)
    seen = from_above * above / np.sqrt(above * above + lid * lid)
    seen += (np.float32(1.0) - from_above) * below / np.sqrt(below * below + np.float32(0.5) * lid * lid)
    slit = max((upper - lower) * radius, np.float32(0.0))
    seen *= np.float32(_OPENED) * slit * slit / (slit * slit + np.float32(_SLIT * _SLIT))
    side = min(t, np.float32(1.0) - t) * (high - low) * radius
    corner = np.float32(1.0) - smoothstep(np.float32(0.0), np.float32(0.8), side)
    # lashes and the lids' fold lie over the outer corner; the inner one is open, and its flesh sends light back
    dark = np.float32(0.3) if abs(t - nose) < np.float32(0.5) else np.float32(0.8)
    return seen * (np.float32(1.0) - dark * corner * corner), corner


@njit(cache=True, nogil=True)
def _iris(r, angle, colour, pixels, seed, light_angle, out):  # type: ignore[no-untyped-def]
    """Reflectance of the iris at ``r`` (1 = its edge) into ``out``; ``pixels``: its radius in the picture."""
    one = np.float32(1.0)
    t = (r - np.float32(_PUPIL)) / np.float32(1.0 - _PUPIL)
    turn = angle / np.float32(_TAU) + np.float32(0.5)
    # fibres finer than the picture's samples would alias: they fade out as the eye gets small
    coarse = min(max((pixels - np.float32(4.0)) * np.float32(0.12), np.float32(0.0)), one)
    fine = min(max((pixels - np.float32(16.0)) * np.float32(0.05), np.float32(0.0)), one)
    warp = (value_noise(turn * 9.0, r * 3.0, seed + 7, 9) - np.float32(0.5)) * np.float32(0.03)
    fibres = (value_noise((turn + warp) * 26.0, r * 2.2, seed, 26) - np.float32(0.5)) * coarse
    fibres += (value_noise((turn + warp) * 71.0, r * 3.0, seed + 3, 71) - np.float32(0.5)) * fine
    ring = smoothstep(np.float32(-0.05), np.float32(0.16), t) * (one - smoothstep(np.float32(0.2), np.float32(0.55), t))
    rim = smoothstep(np.float32(0.45), np.float32(1.1), t)
    # light bends through the cornea and falls on the side away from its source
    caustic = one + np.float32(0.38) * r * np.cos(angle - light_angle - np.float32(3.14159))
    gain = (
        np.float32(0.47)
        * (one + np.float32(0.75) * fibres + np.float32(0.12) * ring)
        * (one - np.float32(0.55) * rim)
        * caustic
    )
    warm = np.float32(0.35) * ring * (one + fibres)
    mean = (colour[0] + colour[1] + colour[2]) * np.float32(0.3333)
    # light irises are darker in place than by themselves: their brightness was measured without lids and lashes
    gain *= np.float32(1.15) / (one + np.float32(2.8) * mean)
    red = mean + np.float32(_PURITY) * (colour[0] - mean)
    green = mean + np.float32(_PURITY) * (colour[1] - mean)
    blue = mean + np.float32(_PURITY) * (colour[2] - mean)
    out[0] = gain * (red + warm * mean * np.float32(0.9))
    out[1] = gain * (green + warm * mean * np.float32(0.35))
    out[2] = gain * (blue - warm * blue * np.float32(0.3))
    pupil = one - smoothstep(
        np.float32(_PUPIL) - max(np.float32(0.03), np.float32(0.7) / pixels),
        np.float32(_PUPIL) + max(np.float32(0.03), np.float32(0.7) / pixels),
        r,
    )
    for k in range(3):
        out[k] = max(out[k] * (one - pupil) + np.float32(0.006) * pupil, np.float32(0.003))


@njit(cache=True, nogil=True)
def _sclera(corner, azimuth, height, pixels, seed, out):  # type: ignore[no-untyped-def]
    """Reflectance of the white of the eye into ``out``."""
    fine = min(max((pixels - np.float32(9.0)) * np.float32(0.05), np.float32(0.0)), np.float32(1.0))
    bend = value_noise(azimuth * 6.0, height * 6.0, seed + 11, 0)
    vein = np.float32(1.0) - abs(value_noise(azimuth * 5.0 + bend, height * 16.0 + bend * 2.0, seed + 5, 0) * 2.0 - 1.0)
    vein = vein * vein * vein * vein * vein * vein
    red = np.float32(0.16) * corner + fine * vein * (np.float32(0.06) + np.float32(0.22) * corner)
    cloud = np.float32(0.06) * (bend - np.float32(0.5))
    out[0] = np.float32(0.64) + cloud - np.float32(0.25) * red
    out[1] = np.float32(0.615) + cloud - np.float32(0.95) * red
    out[2] = np.float32(0.60) + cloud - np.float32(1.0) * red


@njit(cache=True, nogil=True)
def shade_eyes(
    count: int,
    parts: np.ndarray,
    triangles: np.ndarray,
    triangle: np.ndarray,
    place: np.ndarray,
    fixed: np.ndarray,
    window: np.ndarray,
    vertices: np.ndarray,
    rest: np.ndarray,
    rotation: np.ndarray,
    centres: np.ndarray,
    axes: np.ndarray,
    lids: np.ndarray,
    span: np.ndarray,
    radius: float,
    iris: np.ndarray,
    sh: np.ndarray,
    white: np.ndarray,
    environment: np.ndarray,
    key: np.ndarray,
    key_rgb: np.ndarray,
    focus: float,
    orbit: float,
    pixels: float,
    local: np.ndarray,
    colour: np.ndarray,
) -> None:
    """Colour of eyeballs among the first ``count`` fragments, float32 (n, 3), linear light.

    ``parts``: uint8 (F,), 4 left and 5 right eye. ``rotation``: float32 (3, 3), camera from head. ``radius``:
    centimetres. ``pixels``: pixels a centimetre. ``local``: float32 (parts,), factors on the light. The
    other arrays as in :class:`PosedEyes`, :class:`EyeTables`,
    :class:`~deid.models.morphable.shade.LightRig` and :func:`~deid.models.morphable.shade.shade_skin`.
    """
    one, two = np.float32(1.0), np.float32(2.0)
    iris_pixels = np.float32(pixels * _IRIS)
    soft = max(np.float32(0.12), np.float32(0.8) / iris_pixels)
    # light from above meets the brow first
    orbit = orbit * (1.0 - 0.35 * focus * max(key[1], 0.0))
    from_above = np.float32(0.5) + np.float32(0.25) * key[1]
    tint = np.empty(3, np.float32)
    white_of_eye = np.empty(3, np.float32)
    gx, gy = key[0] * np.float32(0.8), key[1] * np.float32(0.55) + np.float32(0.3)
    gz = key[2] * np.float32(0.8) + np.float32(0.4)
    gx += np.float32(0.22) if key[0] >= 0.0 else np.float32(-0.22)  # not in the middle of the pupil
    gn = one / np.sqrt(gx * gx + gy * gy + gz * gz)
    gx, gy, gz = gx * gn, gy * gn, gz * gn
    for n in range(count):
        f = triangle[n]
        part = parts[f]
        if part != 4 and part != 5:
            continue
        eye = part - 4
        a, b, c = triangles[f, 0], triangles[f, 1], triangles[f, 2]
        px, py = place[n, 0] + window[0], place[n, 1] + window[1]
        wb, wc = corner_weights(fixed, a, b, c, px * 256.0, py * 256.0)
        wa = one - wb - wc
        lx = wa * rest[a, 0] + wb * rest[b, 0] + wc * rest[c, 0]
        ly = wa * rest[a, 1] + wb * rest[b, 1] + wc * rest[c, 1]
        lz = wa * rest[a, 2] + wb * rest[b, 2] + wc * rest[c, 2]
        hx = wa * vertices[a, 0] + wb * vertices[b, 0] + wc * vertices[c, 0] - centres[eye, 0]
        hy = wa * vertices[a, 1] + wb * vertices[b, 1] + wc * vertices[c, 1] - centres[eye, 1]
        hz = wa * vertices[a, 2] + wb * vertices[b, 2] + wc * vertices[c, 2] - centres[eye, 2]
        azimuth = np.arctan2(hx, hz)
        height = np.arctan2(hy, np.sqrt(hx * hx + hz * hz))
        seen, corner = _lid_light(
            azimuth, height, lids[eye], span[eye, 0], span[eye, 1], np.float32(radius), from_above, np.float32(eye)
        )
        r = np.sqrt((lx * lx + ly * ly) / max(lx * lx + ly * ly + lz * lz, np.float32(1e-6))) / span[eye, 2]
        if lz < 0.0:
            r = np.float32(9.0)
        length = one / np.sqrt(hx * hx + hy * hy + hz * hz + np.float32(1e-8))
        dx, dy, dz = hx * length, hy * length, hz * length
        # inside the limbus the surface is the steeper cornea: normals lean further from the axis
        bulge = np.float32(0.75) * (one - smoothstep(np.float32(0.95), np.float32(1.3), r))
        ux = dx + bulge * (dx - axes[eye, 2, 0])
        uy = dy + bulge * (dy - axes[eye, 2, 1])
        uz = dz + bulge * (dz - axes[eye, 2, 2])
        nx = rotation[0, 0] * ux + rotation[0, 1] * uy + rotation[0, 2] * uz
        ny = rotation[1, 0] * ux + rotation[1, 1] * uy + rotation[1, 2] * uz
        nz = rotation[2, 0] * ux + rotation[2, 1] * uy + rotation[2, 2] * uz
        length = one / np.sqrt(nx * nx + ny * ny + nz * nz + np.float32(1e-8))
        nx, ny, nz = nx * length, ny * length, nz * length
        vx, vy = np.float32((window[2] - px) * window[4]), np.float32((py - window[3]) * window[4])
        vn = one / np.sqrt(vx * vx + vy * vy + one)
        vx, vy, vz = vx * vn, vy * vn, vn
        # light wanders inside the sclera: it is shaded as if flatter, towards the viewer
        sx, sy, sz = nx, ny, nz + np.float32(0.6)
        length = one / np.sqrt(sx * sx + sy * sy + sz * sz + np.float32(1e-8))
        sx, sy, sz = sx * length, sy * length, sz * length
        _sclera(corner, azimuth, height, iris_pixels, 17 + eye, white_of_eye)
        inside = one - smoothstep(one - soft, one + soft, r)
        if inside > 0.0:
            kx = axes[eye, 0, 0] * rotation[0, 0] + axes[eye, 0, 1] * rotation[0, 1] + axes[eye, 0, 2] * rotation[0, 2]
            light_angle = np.arctan2(key[1], key[0] * kx)
            _iris(r, np.arctan2(ly, lx), iris, iris_pixels, 29 + eye, light_angle, tint)
            for k in range(3):
                tint[k] = white_of_eye[k] + inside * (tint[k] - white_of_eye[k])
        else:
            for k in range(3):
                tint[k] = white_of_eye[k]
        # the sclera darkens a little around the limbus
        ring = one - np.float32(0.25) * (one - smoothstep(one, np.float32(1.35), r)) * (one - inside)
        nv = nx * vx + ny * vy + nz * vz
        rx, ry, rz = two * nv * nx - vx, two * nv * ny - vy, two * nv * nz - vz
        away = one - min(max(nv, np.float32(0.0)), one)
        fresnel = np.float32(0.026) * (one + np.float32(9.0) * away * away * away * away)
        # the reflected lamp: a disc, its edge no sharper than the picture; the sclera is too rough to show one
        blur = np.float32(0.006) + np.float32(0.09) / iris_pixels
        disc = np.float32(0.986) - np.float32(0.006) * (one - np.float32(focus))
        glint = smoothstep(disc - blur, disc + blur, rx * gx + ry * gy + rz * gz)
        lamp = np.float32(0.9 + 0.6 * focus) * glint * smoothstep(np.float32(0.03), np.float32(0.3), seen)
        lamp *= np.float32(0.08) + np.float32(0.92) * (one - smoothstep(np.float32(0.9), np.float32(1.1), r))
        horizon = np.float32(0.2) + np.float32(0.8) * smoothstep(np.float32(-0.1), np.float32(0.6), ry)
        # what lies around was never measured, and harmonics run wild there: no iris is grey with it
        mirror = min(radiance(environment, rx, ry, rz), np.float32(_MIRRORED)) * fresnel * horizon * seen
        for k in range(3):
            e = irradiance(sh, sx, sy, sz, k)
            warm = np.float32(orbit) * seen ** (np.float32(0.85) + np.float32(0.12) * np.float32(k))
            reflected = mirror * white[k] + lamp * (np.float32(0.35) * white[k] + np.float32(0.4) * key_rgb[k])
            colour[n, k] = local[part] * (tint[k] * ring * warm * e * white[k] + reflected)
