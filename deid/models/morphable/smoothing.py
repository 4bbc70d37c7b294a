"""Smoothing over time, looking both ways, per kind of code.

Pose, scale and place: a constant-velocity Kalman filter and the Rauch-Tung-Striebel smoother (Rauch, Tung, Striebel
1965), zero phase by construction. How much noise there is, is estimated from the sequence itself (the third differences
of its quieter parts), and how much motion is allowed follows the motion: a still head is held still, a moving one is
left alone. The mouth's gap: the same. Gaze: with room for saccades. Lids: nearly untouched; a value moves only where it
differs from its neighbours by no more than its noise, so a blink of two frames keeps its depth. Expression: so, after
short parabolas are laid through it. Light and tone: a plain Gaussian of half a second.

Short gaps are bridged, longer ones and cuts break a sequence into segments. Times are seconds and need not be even.
"""

from __future__ import annotations

import numba
import numpy as np

from deid.models.morphable.rotations import matrices_of, mean_rotation, vectors_of
from deid.models.morphable.tracks import AttributeTrack

BRIDGED = 0.25
"""Seconds without a row over which motion is still taken to be continuous."""

_MOTION_WINDOW = 0.12  # seconds around a row whose motion decides how freely it may move
_ROTATION_NOISE = np.array([0.42, 0.45, 0.25])  # centimetres times radians a centimetre of mesh noise: pitch, yaw, roll
_SCALE_NOISE, _PLACE_NOISE = 0.16, 1.25
_FACE = np.array([0.0, 0.0, 9.0])  # centimetres, the middle of the face in the head
_OFTEN, _LEAST_NOISE = 0.06, 0.15  # seconds between frames up to which motion is continuous; least share of the noise
_SPELL = 0.16  # seconds over which an expression is taken to change as a parabola does
_PRECISE = 0.04  # median expression noise above which weights are smoothed as far as noise goes


def segments(times: np.ndarray, *, longest: float = BRIDGED, cuts: np.ndarray | None = None) -> list[slice]:
    """Runs of rows without a gap longer than ``longest`` seconds and without a cut.

    ``times``: (n,) increasing seconds. ``cuts``: times at which a new shot begins.
    """
    if not len(times):
        return []
    breaks = np.diff(times) > longest
    if cuts is not None and len(cuts):
        shot = np.searchsorted(np.asarray(cuts), times, side="right")
        breaks |= np.diff(shot) > 0
    edges = np.r_[0, np.flatnonzero(breaks) + 1, len(times)]
    return [slice(int(a), int(b)) for a, b in zip(edges[:-1], edges[1:], strict=True)]


def noise_level(values: np.ndarray) -> np.ndarray:
    """(k,) standard deviation of the frame-to-frame noise of ``values`` (n, k): the quieter half's third differences,
    which motion hardly enters. 0 for fewer than 6 rows."""
    if len(values) < 6:
        return np.zeros(values.shape[1])
    third = np.abs(np.diff(values, n=3, axis=0)) / np.sqrt(20.0)  # variance of white noise grows by 1 + 9 + 9 + 1
    return np.quantile(third, 0.4, axis=0) / 0.524  # the 40th percentile of |N(0, 1)|


@numba.njit(cache=True, fastmath=False, nogil=True)
def _smooth(values, steps, noise, drive):  # type: ignore[no-untyped-def]
    """Kalman filter and RTS smoother of one signal (n,), constant velocity with acceleration noise.

    ``steps``: (n,) seconds to the row before. ``noise``: variance of a value. ``drive``: (n,) spectral density.
    """
    n = values.shape[0]
    mean, var = np.empty((n, 2)), np.empty((n, 3))  # variances: place, cross, speed
    early, early_var = np.empty((n, 2)), np.empty((n, 3))
    x, v = values[0], 0.0
    p, c, s = noise, 0.0, 1e4 * noise + 1e-12
    for t in range(n):
        d, q = steps[t], drive[t]
        if t > 0:
            x += d * v
            p, c = p + 2 * d * c + d * d * s + q * d * d * d / 3, c + d * s + q * d * d / 2
            s += q * d
        early[t, 0], early[t, 1] = x, v
        early_var[t, 0], early_var[t, 1], early_var[t, 2] = p, c, s
        gain_x, gain_v = p / (p + noise), c / (p + noise)
        miss = values[t] - x
        x, v = x + gain_x * miss, v + gain_v * miss
        s -= gain_v * c
        c *= 1 - gain_x
        p *= 1 - gain_x
        mean[t, 0], mean[t, 1] = x, v
        var[t, 0], var[t, 1], var[t, 2] = p, c, s
    out = np.empty(n)
    out[n - 1] = mean[n - 1, 0]
    sx, sv = mean[n - 1, 0], mean[n - 1, 1]
    for t in range(n - 2, -1, -1):
        d = steps[t + 1]
        p, c, s = var[t]
        # filtered covariance times the transposed transition, times the inverse of the predicted covariance
        a00, a01, a10, a11 = p + d * c, c, c + d * s, s
        e, f, g = early_var[t + 1]
        det = e * g - f * f
        g00, g01 = (a00 * g - a01 * f) / det, (a01 * e - a00 * f) / det
        g10, g11 = (a10 * g - a11 * f) / det, (a11 * e - a10 * f) / det
        dx, dv = sx - early[t + 1, 0], sv - early[t + 1, 1]
        sx, sv = mean[t, 0] + g00 * dx + g01 * dv, mean[t, 1] + g10 * dx + g11 * dv
        out[t] = sx
    return out


def smooth_motion(values: np.ndarray, times: np.ndarray, noise: np.ndarray | None = None) -> np.ndarray:
    """``values`` (n, k) of one segment without their measurement noise. ``times``: (n,) seconds.

    ``noise``: (k,) standard deviations; without it, :func:`noise_level`. What is moving is followed, what is still is
    held.
    """
    if len(values) < 6:
        return values.copy()
    noise = noise_level(values) if noise is None else np.minimum(noise, noise_level(values))
    steps = np.r_[np.median(np.diff(times)), np.diff(times)]
    out = np.empty(values.shape)
    for k in range(values.shape[1]):
        signal = values[:, k].astype(np.float64)
        if noise[k] <= 1e-9 * max(1.0, float(np.abs(signal).max())):
            out[:, k] = signal
            continue
        out[:, k] = _smooth(signal, steps, float(noise[k]) ** 2, _drive(signal, steps, float(noise[k])))
    return out


def _drive(values: np.ndarray, steps: np.ndarray, noise: float) -> np.ndarray:
    """(n,): density of the acceleration noise, from how far second differences exceed what noise makes of them."""
    step = float(np.median(steps))
    reach = max(1, round(_MOTION_WINDOW / step))
    second = np.pad(np.diff(values, n=2) ** 2, 1, mode="edge")
    kernel = np.ones(2 * reach + 1) / (2 * reach + 1)
    local = np.convolve(np.pad(second, reach, mode="edge"), kernel, mode="valid")
    sharp = np.maximum(local, 0.3 * second)  # one sudden jerk must not be averaged away
    excess = np.maximum(sharp - 6.0 * noise**2, 0.05 * noise**2)
    return excess / step**3


def smooth_poses(track: AttributeTrack, times: np.ndarray) -> dict[str, np.ndarray]:
    """``rotation``, ``scale`` and ``translation`` of one segment without the mesh's noise.

    What the noise of the mesh makes of each was measured on photographs that move smoothly and are compressed (0.33,
    0.31, 0.18 for yaw, pitch, roll; 0.12; 0.95), then raised by a third, because outputs still trembled. The
    place that is smoothed is the face's, not the head's origin behind it: that swings with the noise of the rotation.
    """
    if len(track) < 6:
        return {"rotation": track.rotation, "scale": track.scale, "translation": track.translation}
    # frames that are far apart do not tremble, and a head moves on between them as it likes
    seldom = float(np.clip((_OFTEN / np.median(np.diff(times))) ** 2, _LEAST_NOISE, 1.0))
    noise = seldom * float(np.median(track.noise))
    relative = noise / float(np.median(track.scale))
    mean = mean_rotation(track.rotation)
    turns = vectors_of(mean.T @ track.rotation)
    turns = smooth_motion(turns, times, relative * _ROTATION_NOISE)
    rotation = mean @ matrices_of(turns)
    scale = np.exp(smooth_motion(np.log(track.scale)[:, None], times, np.array([relative * _SCALE_NOISE]))[:, 0])
    face = track.translation + _face_offset(track.rotation, track.scale, track.distance)
    face = smooth_motion(face, times, np.full(2, noise * _PLACE_NOISE))
    return {"rotation": rotation, "scale": scale, "translation": face - _face_offset(rotation, scale, track.distance)}


def _face_offset(rotation: np.ndarray, scale: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """(n, 2): pixels from the head's origin to the middle of the face."""
    middle = rotation @ _FACE
    near = scale / (1 - middle[:, 2] / distance)
    return near[:, None] * middle[:, :2] * (1, -1)


def smooth_weights(values: np.ndarray, *, strength: float = 1.0) -> np.ndarray:
    """``values`` (n, k) with only their noise taken off: a two-sided bilateral filter over five rows (Tomasi and
    Manduchi 1998) whose tolerance is the noise of each column."""
    if len(values) < 6:
        return values.copy()
    noise = np.minimum(strength * noise_level(values), _PRECISE)
    tolerance = 2 * (2.8 * noise) ** 2 + 1e-12
    padded = np.pad(values, ((2, 2), (0, 0)), mode="edge").astype(np.float64)
    total = np.zeros(values.shape)
    weight = np.zeros(values.shape)
    for shift, near in zip(range(-2, 3), (0.4, 0.8, 1.0, 0.8, 0.4), strict=True):
        other = padded[2 + shift : 2 + shift + len(values)]
        part = near * np.exp(-((other - values) ** 2) / tolerance)
        total += part * other
        weight += part
    return (total / weight).astype(values.dtype)


def parabolas(values: np.ndarray, times: np.ndarray) -> np.ndarray:
    """``values`` (n, k) of one segment, each row that of the parabola that fits a sixth of a second around it best
    (Savitzky and Golay 1964): steady, and neither late nor shallower where speech moves fast. Untouched when a sixth of
    a second holds fewer than four rows."""
    if len(values) < 6:
        return values.copy()
    half = min(round(_SPELL / 2 / float(np.median(np.diff(times)))), (len(values) - 1) // 2)
    if half < 2:
        return values.copy()
    powers = np.vander(np.arange(-half, half + 1) / half, 3)
    fit = powers @ np.linalg.pinv(powers)  # (2 half + 1, 2 half + 1): values of the parabola from values
    signal = values.astype(np.float64)
    out = np.zeros(values.shape)
    inner = len(values) - 2 * half
    for shift in range(2 * half + 1):
        out[half : half + inner] += fit[half, shift] * signal[shift : shift + inner]
    out[:half] = fit[:half] @ signal[: 2 * half + 1]
    out[-half:] = fit[half + 1 :] @ signal[-(2 * half + 1) :]
    return out.astype(values.dtype)


def smooth_gaze(gaze: np.ndarray, times: np.ndarray) -> np.ndarray:
    """``gaze`` (n, 2, 2): fixations steady, saccades sharp: a bilateral filter over a fifth of a second each way."""
    n = len(gaze)
    if n < 6:
        return gaze.copy()
    flat = gaze.reshape(n, 4).astype(np.float64)
    noise = np.clip(noise_level(flat), np.radians(0.4), np.radians(2.5))
    step = float(np.median(np.diff(times)))
    reach = int(np.clip(round(0.2 / step), 1, 12))
    padded = np.pad(flat, ((reach, reach), (0, 0)), mode="edge")
    # both angles decide together: a saccade is one event
    tolerance = 2 * (3.0 * noise) ** 2
    total, weight = np.zeros_like(flat), np.zeros((n, 1))
    for shift in range(-reach, reach + 1):
        other = padded[reach + shift : reach + shift + n]
        part = np.exp(-((other - flat) ** 2 / tolerance).sum(axis=1, keepdims=True) / 2 - 2 * (shift / reach) ** 2 / 2)
        total += part * other
        weight += part
    return (total / weight).reshape(gaze.shape).astype(gaze.dtype)


def smooth_slowly(values: np.ndarray, times: np.ndarray, *, seconds: float = 0.5) -> np.ndarray:
    """``values`` (n, ...) under a Gaussian of standard deviation ``seconds``, within one segment: light, tone, blur.

    A median over a third of that first, so that one bad frame leaves no trace.
    """
    n = len(values)
    if n < 2:
        return values.copy()
    flat = values.reshape(n, -1).astype(np.float64)
    half = seconds / 6
    steady = np.stack([np.median(flat[np.abs(times - t) <= half], axis=0) for t in times])
    out = np.empty_like(steady)
    for i, t in enumerate(times):
        weight = np.exp(-(((times - t) / seconds) ** 2) / 2)
        out[i] = weight @ steady / weight.sum()
    return out.reshape(values.shape).astype(values.dtype)


def smooth_attributes(track: AttributeTrack, times: np.ndarray, cuts: np.ndarray | None = None) -> AttributeTrack:
    """``track`` with every kind of attribute smoothed in its own way. ``times``: (n,) seconds of its rows.

    ``cuts``: times at which new shots begin; nothing is smoothed across them. Bounds hold after it as before.
    """
    out = {
        name: getattr(track, name).copy()
        for name in ("rotation", "scale", "translation", "distance", "expression", "gaze", "openness", "mouth")
    }
    for part in segments(times, cuts=cuts):
        when = times[part]
        for name, values in smooth_poses(track.take(part), when).items():
            out[name][part] = values
        if np.isfinite(track.distance[part]).all():
            out["distance"][part] = smooth_slowly(track.distance[part], when, seconds=0.3)
        out["expression"][part] = np.maximum(smooth_weights(parabolas(track.expression[part], when)), 0)
        out["openness"][part] = np.maximum(smooth_weights(track.openness[part], strength=0.7), 0)
        out["mouth"][part] = np.maximum(smooth_motion(track.mouth[part][:, None], when)[:, 0], 0)
        out["gaze"][part] = smooth_gaze(track.gaze[part], when)
    return track.with_values(**out)
