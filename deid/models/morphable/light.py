"""From the first pass's colour records to light, skin tone, and the finish of the footage, for all frames of a track.

In four steps. Each frame's shading by itself, robustly: hair, the shadow of a hat, glasses, highlights, a beard or a
hand are outliers. What keeps deviating at one place all along is the subject's own (a beard, make-up) and no light. The
shading of neighbouring frames together, except across gaps and real changes (stage light, a flash): light is slow.
Exposure and colour cast frame by frame: those are fast, and eyes see them flicker.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .finish import CODE_TO_LINEAR8, thicker
from .geometry import Geometry
from .light_track import LightTrack
from .photo_finish import coarse_of, grain_of, softness_of
from .photo_local import at_samples, fit_local, soft_floor
from .photo_match import match_finish
from .photo_reference import SkinReference, load_reference
from .photo_shading import DARK, basis, faded, keep_positive, normal_equations, robust_weights, solve
from .photo_shine import estimate_shine
from .photo_smooth import bilateral, median_of, neighbours
from .photo_surface import sample_normals
from .photo_tint import from_skin, lit_share, typical_tint, weighted_median
from .photo_veil import estimate_veil
from .photo_white import estimate_white
from .photometry import valid_samples

LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
"""Of linear sRGB primaries."""
_CHUNK = 256
_FACING = 0.12  # least z of a normal that still shows
_LIGHT_SIGMA = 0.25  # seconds: light is pooled over about 0.6 s
_LIGHT_CHANGE = 0.12  # root mean square change of shading that is a change of the light, not noise
_GAIN_SIGMA, _GAIN_CHANGE = 0.05, 0.02  # seconds, logarithm: exposure is followed, its noise is not
_CAST_SIGMA, _CAST_CHANGE = 0.3, 0.04
_FLOOR = 0.05  # least shading in any visible direction, of its mean
_TINT_SHARE = 0.4  # colours of neighbours err together more than their brightness does
_ASTRAY = 0.25  # logarithm, from the middle of all samples' exposures: one so far off hardly counts
_LOCAL_STEP = 0.1  # seconds
_LEFT = 0.12  # share of the visible skin that must be left beside a hand to tell the light by itself
_CLIPPED = 250  # code value from which a channel may have been brighter than it shows


def estimate_light(
    records: np.ndarray,
    geometry: Geometry,
    neutral: np.ndarray,
    expression: np.ndarray,
    rotation: np.ndarray,
    times: np.ndarray,
    albedo: np.ndarray | None = None,
    hidden: np.ndarray | None = None,
) -> LightTrack:
    """Light and finish of all frames of a track.

    ``records``: (n,) of :data:`.photometry.RECORD`. ``neutral``: float32 (V, 3), the subject's head at rest.
    ``expression``: (n, E) weights. ``rotation``: (n, 3, 3) camera_from_head. ``times``: (n,) seconds, increasing.
    ``albedo``: (N, 3) relative linear reflectance of average skin at the samples; by default as measured on
    photographs. ``hidden``: bool (n, N), samples that something is known to lie before. Raises ``ValueError`` when the
    lengths differ.
    """
    count = len(records)
    if not count == len(expression) == len(rotation) == len(times):
        raise ValueError(
            f"{count} records, {len(expression)} expressions, {len(rotation)} rotations, {len(times)} times"
        )
    if not count:
        shapes = [(0, 9, 3), (0, 3), (0, 3), (0,), (0,), (0,), (0,), (0,), (0, 3), (0,), (0,)]
        return LightTrack(*(np.zeros(shape, np.float32) for shape in shapes))
    scene = _Scene(records, geometry, neutral, expression, rotation, load_reference(), albedo, hidden)
    times = np.asarray(times, np.float64)
    veil = scene.lift_veil(times)
    fitted = _fit_frames(scene)
    shading = _pool(scene, fitted, times)
    tint, cast = _tints(scene, fitted, shading, times)
    sh, tone = _normalised(scene, shading, tint, cast)
    local = _local(scene, geometry, fitted, sh, tone, times)
    tone = tone + veil
    white = estimate_white(records, tone, times)
    blur = softness_of(records, times)
    shine = np.full(count, estimate_shine(scene.chunks(), count, (sh, tone, white, veil), scene.reference))
    matched = match_finish(
        records, geometry, neutral, expression, rotation, (sh, tone, white, veil, shine, local), blur, scene.normals
    )
    if matched is not None:
        blur = np.hypot(blur, matched.blur)
        tone = tone - matched.excess * np.maximum(tone - veil, 0)
        # of the room and the lens, not of a frame; and nothing is darker than a veil
        room = np.median(_darkest(records, tone) - (veil @ LUMINANCE) / np.maximum(tone @ LUMINANCE, 1e-4))
        haze = np.clip(np.median(matched.haze), 0, max(float(room), 0.0))
        veil = thicker(veil, tone, haze)
        local = local - matched.local
    grain, chroma, size = grain_of(records, times, 0.0 if matched is None else matched.texture)
    coarse = coarse_of(records, times)
    parts = (
        sh, tone, white, blur, grain, chroma, size, fitted.agreement, veil, shine, local, coarse,
        records["structure"], _darkest(records, tone),
    )  # fmt: skip
    return LightTrack(*(np.ascontiguousarray(p, np.float32) for p in parts))


def _darkest(records: np.ndarray, tone: np.ndarray) -> np.ndarray:
    """float64 (n,): luminance of the darkest things about the face beside the skin's."""
    dark: np.ndarray = CODE_TO_LINEAR8[records["dark"]] @ LUMINANCE
    return dark / np.maximum(tone @ LUMINANCE, 1e-4)


class _Scene:
    """Colours, bases and first weights of all samples in all frames, made in chunks so that memory stays flat."""

    def __init__(
        self,
        records: np.ndarray,
        geometry: Geometry,
        neutral: np.ndarray,
        expression: np.ndarray,
        rotation: np.ndarray,
        reference: SkinReference,
        albedo: np.ndarray | None,
        hidden: np.ndarray | None = None,
    ) -> None:
        self._hidden = hidden
        self._records, self._expression = records, np.asarray(expression, np.float32)
        self._rotation = np.asarray(rotation, np.float32)
        self.normals = sample_normals(geometry, neutral)
        self.reference = reference
        self.albedo = np.asarray(reference.albedo if albedo is None else albedo, np.float32)
        self.grey = self.albedo @ LUMINANCE.astype(np.float32)
        self.count = len(records)
        self._veil = np.zeros((self.count, 3), np.float32)

    def lift_veil(self, times: np.ndarray) -> np.ndarray:
        """Measure the veil, (n, 3), and take it off all colours from now on."""
        skin = np.zeros(self.count)
        for part, _, linear, seen in self.chunks():
            skin[part] = weighted_median(linear @ LUMINANCE.astype(np.float32), seen)
        records = self._records
        blur, scale = np.nan_to_num(records["blur"].astype(float)), records["scale"].astype(float)
        veil = estimate_veil(CODE_TO_LINEAR8[records["dark"]], skin, blur, scale, times, LUMINANCE)
        self._veil = veil.astype(np.float32)
        return veil

    def chunks(self) -> Iterator[tuple[slice, np.ndarray, np.ndarray, np.ndarray]]:
        """Slices of frames with float32 basis (m, N, 9), linear RGB (m, N, 3) and weights (m, N): how squarely a place
        faces the camera, 0 where it is hidden, dark beyond telling or outside the picture."""
        for start in range(0, self.count, _CHUNK):
            part = slice(start, min(start + _CHUNK, self.count))
            normals = self.normals.at(self._expression[part]) @ self._rotation[part].transpose(0, 2, 1)
            skin = self._records["skin"][part]
            facing = normals[..., 2]
            weights = np.where(facing > _FACING, np.minimum(1.5 * facing, 1), 0) * valid_samples(self._records[part])
            weights = weights * np.where(skin.max(axis=2) >= _CLIPPED, 0.5, 1.0)
            if self._hidden is not None:
                weights = _uncovered(weights, self._hidden[part])
            linear = np.maximum(CODE_TO_LINEAR8[skin] - self._veil[part, None], 1e-5)
            yield part, basis(normals), linear, weights.astype(np.float32)


def _uncovered(weights: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """``weights`` (m, N) without ``hidden`` places, except where hardly any would be left."""
    left = weights * ~hidden
    enough = left.sum(axis=1) >= _LEFT * weights.sum(axis=1)
    return np.where(enough[:, None], left, weights)


@dataclass(frozen=True, slots=True, eq=False)
class _Fitted:
    """Each frame by itself: ``shading`` (n, 9), ``weights`` float32 (n, N) of squared errors, ``belief`` float32 (n, N)
    in [0, 1] how surely a sample is lit skin, ``level`` (n,) the luminance that counted as 1, ``agreement`` (n,) the
    share of skin that goes with the shading, ``own`` float32 (N, 3) the subject's relative albedo beyond the
    average, ``support`` float32 (n, N) in [0, 1] how well its colour goes with the face's skin."""

    shading: np.ndarray
    weights: np.ndarray
    belief: np.ndarray
    level: np.ndarray
    agreement: np.ndarray
    own: np.ndarray
    support: np.ndarray


def _fit_frames(scene: _Scene) -> _Fitted:
    samples = len(scene.grey)
    shading = np.zeros((scene.count, 9))
    level = np.ones(scene.count)
    weights = np.zeros((scene.count, samples), np.float32)
    belief = np.zeros((scene.count, samples), np.float32)
    supported = np.zeros((scene.count, samples), np.float32)
    agreement = np.zeros(scene.count)
    ratio = np.full((scene.count, samples, 3), np.nan, np.float16)
    typical = typical_tint(scene.chunks(), scene.albedo, scene.count)
    for part, terms, linear, seen in scene.chunks():
        luminance = linear @ LUMINANCE.astype(np.float32)
        ours = terms * scene.grey[:, None]
        flat = np.log(np.maximum(linear / scene.albedo, 1e-4))
        tint, support = from_skin(flat, seen, seen * lit_share(linear), typical)
        supported[part] = support
        level[part] = np.maximum(weighted_median(luminance / scene.grey, seen * support), 1e-4)
        relative = luminance / level[part, None].astype(np.float32)
        weights[part], shading[part], agreement[part] = robust_weights(ours, relative, tint, seen, scene.reference)
        predicted = np.maximum(np.einsum("nij,nj->ni", terms, shading[part].astype(np.float32)), 0.1)
        # an error counts by its size beside what is usual, which makes shadows loud: belief is without that
        usual = scene.reference.spread * np.maximum(predicted * scene.grey, DARK)
        belief[part] = np.minimum(weights[part] * usual * usual, 1)
        residual = flat - np.log(predicted * level[part, None])[..., None]
        ratio[part] = np.where(seen[..., None] > 0.2, residual, np.nan)
    return _Fitted(shading, weights, belief, level, agreement, _own_albedo(ratio, belief), supported)


def _own_albedo(ratio: np.ndarray, belief: np.ndarray) -> np.ndarray:
    """Lasting deviation at each sample, as a factor, 1 in the middle of what is surely skin. Its logarithm is shrunk
    where few frames show it."""
    every = max(1, len(ratio) // 200)
    seen = np.isfinite(ratio[::every, :, 0]).sum(axis=0)
    lasting = np.zeros(ratio.shape[1:])
    often = seen > 0
    lasting[often] = np.nanmedian(ratio[::every][:, often].astype(np.float32), axis=0)
    trust = belief.mean(axis=0)[None]
    lasting -= np.array([weighted_median(lasting[None, :, c], trust)[0] for c in range(3)])
    lasting *= (seen / (seen + 3.0))[:, None]
    return np.exp(np.clip(lasting, -1.0, 1.0)).astype(np.float32)


def _pool(scene: _Scene, fitted: _Fitted, times: np.ndarray) -> np.ndarray:
    """Shading (n, 9) from each frame and its neighbours under the same light, whose exposures are brought together."""
    matrix, vector = np.zeros((scene.count, 9, 9)), np.zeros((scene.count, 9))
    for part, terms, linear, _ in scene.chunks():
        relative = (linear @ LUMINANCE.astype(np.float32)) / fitted.level[part, None].astype(np.float32)
        matrix[part], vector[part] = normal_equations(terms * scene.grey[:, None], relative, fitted.weights[part])
    near = _same_light(fitted.shading, times)
    gain = np.ones(scene.count)
    shading = fitted.shading
    for _ in range(3):
        both = np.concatenate([matrix.reshape(-1, 81), vector / gain[:, None]], axis=1)
        pooled = _blend(both, near)
        pooled_matrix, pooled_vector = pooled[:, :81].reshape(-1, 9, 9), pooled[:, 81:]
        shading = solve(pooled_matrix, pooled_vector, scene.reference)
        shading = keep_positive(pooled_matrix, pooled_vector, shading, scene.reference, _FLOOR)
        gain = np.ones(scene.count)
        energy = np.einsum("ni,nij,nj->n", shading, matrix, shading)
        known = energy > 1e-6
        gain[known] = np.einsum("ni,ni->n", shading, vector)[known] / energy[known]
        gain = np.clip(gain, 0.2, 5)
    return shading


def _same_light(shading: np.ndarray, times: np.ndarray) -> list[tuple[slice, slice, np.ndarray]]:
    """Pairs of frames with the weight that one has in the other's light: near in time, and lit alike."""
    views = basis(_frontal_normals())
    root = np.linalg.cholesky(views.T @ views / len(views) + 1e-9 * np.eye(9))
    relative = shading / np.maximum(shading @ views.mean(axis=0), 0.1)[:, None]
    place = median_of(relative @ root, times)
    pairs = []
    for early, late, weight in neighbours(times, _LIGHT_SIGMA):
        apart = np.linalg.norm(place[early] - place[late], axis=1)
        pairs.append((early, late, weight * np.exp(-0.5 * (apart / _LIGHT_CHANGE) ** 2)))
    return pairs


def _frontal_normals() -> np.ndarray:
    golden = np.pi * (3 - np.sqrt(5))
    k = np.arange(64)
    z = 0.25 + 0.75 * (k + 0.5) / 64
    r = np.sqrt(1 - z * z)
    return np.stack([r * np.cos(golden * k), r * np.sin(golden * k), z], axis=1)


def _blend(values: np.ndarray, pairs: list[tuple[slice, slice, np.ndarray]]) -> np.ndarray:
    """Weighted mean over each frame's neighbours of ``values`` (n, k)."""
    total, weight = np.zeros_like(values), np.zeros(len(values))
    for early, late, near in pairs:
        total[early] += near[:, None] * values[late]
        weight[early] += near
        if early != late:
            total[late] += near[:, None] * values[early]
            weight[late] += near
    return total / weight[:, None]


def _tints(scene: _Scene, fitted: _Fitted, shading: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What each channel's shading has beyond the luminance's, (n, 4, 3) for 1, x, y, z, pooled over time; and what
    each frame's linear RGB is of its shading, (n, 3), smoothed."""
    cast = np.zeros((scene.count, 3))
    matrix, vector = np.zeros((scene.count, 3, 4, 4)), np.zeros((scene.count, 3, 4))
    for part, terms, linear, _ in scene.chunks():
        light = np.einsum("nij,nj->ni", terms, shading[part].astype(np.float32))
        for c in range(3):
            # The subject's own albedo belongs in here: turning the head must not change the exposure.
            expected = light * scene.albedo[:, c] * fitted.own[:, c]
            weights = fitted.weights[part]
            # of what is lit: in deep shade a ratio says little
            say = fitted.belief[part] * np.minimum(expected, 1)
            level = np.exp(_middle(np.log(linear[..., c] / np.maximum(expected, 0.02)), say))
            cast[part, c] = np.maximum(level, 1e-4)
            residual = linear[..., c] / cast[part, c, None].astype(np.float32) - light * scene.albedo[:, c]
            own_terms = np.ascontiguousarray(terms[..., :4]) * scene.albedo[:, c, None]
            matrix[part, c], vector[part, c] = normal_equations(own_terms, residual, _TINT_SHARE * weights)
    flat = np.concatenate([matrix.reshape(-1, 48), vector.reshape(-1, 12)], axis=1)
    flat = _blend(flat, _same_light(shading, times))
    matrix, vector = flat[:, :48].reshape(-1, 3, 4, 4), flat[:, 48:].reshape(-1, 3, 4)
    tint = np.linalg.solve(matrix + scene.reference.tint_precision, vector[..., None])[..., 0].transpose(0, 2, 1)
    # The luminance has been fitted already: what is common to all channels is noise here.
    tint = tint - (tint @ LUMINANCE)[..., None]
    return tint, _smooth_gain(cast, times)


def _middle(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(n,) of (n, N): the weighted mean of what lies near the weighted median."""
    centre = weighted_median(values, weights)
    for _ in range(3):
        near = weights / (1 + ((values - centre[:, None]) / _ASTRAY) ** 2) ** 2
        centre = (near * values).sum(axis=1) / np.maximum(near.sum(axis=1), 1e-9)
    return centre


def _smooth_gain(cast: np.ndarray, times: np.ndarray) -> np.ndarray:
    """``cast`` (n, 3) with brightness nearly as it is and colour slower, both following steps."""
    logs = np.log(cast)
    grey = (logs @ LUMINANCE)[:, None]
    colour = bilateral(logs - grey, times, _CAST_SIGMA, _CAST_CHANGE)
    return np.exp(colour + bilateral(grey, times, _GAIN_SIGMA, _GAIN_CHANGE))


def _local(
    scene: _Scene, geometry: Geometry, fitted: _Fitted, sh: np.ndarray, tone: np.ndarray, times: np.ndarray
) -> np.ndarray:
    """(n, K): see :func:`.photo_local.fit_local`, of frames a little apart, pooled over time like the light."""
    places = np.floor((times - times[0]) / _LOCAL_STEP)
    chosen = np.flatnonzero(np.diff(places, prepend=-1.0) > 0)
    found = np.zeros((len(chosen), at_samples(geometry).shape[1]))
    grey = (sh @ LUMINANCE).astype(np.float32)
    level = (tone @ LUMINANCE).astype(np.float32)
    for part, terms, linear, seen in scene.chunks():
        mine = np.flatnonzero((chosen >= part.start) & (chosen < part.stop))
        rows, here = chosen[mine], chosen[mine] - part.start
        told = soft_floor(np.einsum("nij,nj->ni", terms[here], grey[rows])) * scene.grey * level[rows, None]
        luminance = linear[here] @ LUMINANCE.astype(np.float32)
        residual = np.log(np.maximum(luminance, 1e-5) / np.maximum(told, 1e-5))
        found[mine] = fit_local(geometry, residual, seen[here] * fitted.support[rows], scene.reference.spread)
    return _blend(
        found[np.searchsorted(chosen, np.arange(scene.count), "right") - 1], _same_light(fitted.shading, times)
    )


def _normalised(
    scene: _Scene, shading: np.ndarray, tint: np.ndarray, cast: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """sh (n, 9, 3) with mean 1 over the visible skin, and tone (n, 3)."""
    sh = np.repeat(shading[:, :, None], 3, axis=2)
    sh[:, :4] += tint
    sh = faded(sh.transpose(0, 2, 1), _FLOOR).transpose(0, 2, 1)
    mean = np.ones((scene.count, 3))
    for part, terms, _, _ in scene.chunks():
        facing = np.maximum(terms[..., 3], 0) * (terms[..., 3] > _FACING)
        share = np.einsum("ni,nij->nj", facing, terms) / np.maximum(facing.sum(axis=1), 1e-6)[:, None]
        mean[part] = np.einsum("nj,njc->nc", share, sh[part])
    mean = np.maximum(mean, 0.05)
    return sh / mean[:, None, :], cast * mean
