"""Light, exposure and white from colour records of heads whose light is known."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deid.models.morphable.codes import Light
from deid.models.morphable.finish import to_code, veiled
from deid.models.morphable.geometry import load_geometry
from deid.models.morphable.light import LUMINANCE, LightTrack, estimate_light
from deid.models.morphable.photo_reference import load_reference
from deid.models.morphable.photo_samples import COUNT
from deid.models.morphable.photo_shading import basis, faded, visible_directions
from deid.models.morphable.photo_smooth import bilateral, gaussian, median_of, segments
from deid.models.morphable.photo_surface import sample_normals, skin_level
from deid.models.morphable.photometry import RECORD
from deid.models.morphable.shade import lamp_shine, light_rig

_FRAMES = 24
_TONE = np.array([0.35, 0.21, 0.15])


@dataclass
class Take:
    """A head that turns, under known light: ``sh`` (n, 9, 3), ``tone`` (n, 3)."""

    sh: np.ndarray
    tone: np.ndarray
    rotation: np.ndarray
    times: np.ndarray
    linear: np.ndarray
    valid: np.ndarray
    normals: np.ndarray

    def records(self) -> np.ndarray:
        out = np.zeros(len(self.times), RECORD)
        noise = np.random.default_rng(9).normal(0, 0.5, self.linear.shape)
        out["skin"] = np.clip(255 * to_code(self.linear.astype(np.float32), shoulder=False) + noise, 0, 255).round()
        out["valid"] = np.packbits(self.valid, axis=1)
        out["scale"], out["blur"], out["noise"], out["coarse_noise"] = 12, 1.0, 1.0, 0.5
        return out

    def estimate(self) -> LightTrack:
        geometry = load_geometry()
        count = len(self.times)
        still = np.zeros((count, len(geometry.expression_names)), np.float32)
        return estimate_light(self.records(), geometry, geometry.vertices, still, self.rotation, self.times)

    def seen(self) -> np.ndarray:
        """What the camera saw of clean skin, (n, N, 3) linear, and where it faces the camera."""
        return np.einsum("nij,njc->nic", basis(self.normals), self.sh) * self.tone[:, None]

    def told(self, track: LightTrack) -> np.ndarray:
        return np.einsum("nij,njc->nic", basis(self.normals), track.sh) * track.tone[:, None]


def lit(direction: tuple[float, float, float], strength: float, tint: tuple[float, float, float]) -> np.ndarray:
    """(9, 3): white surroundings and a lamp of relative ``strength`` and colour ``tint`` (clamped cosine, Ramamoorthi
    and Hanrahan's coefficients), of unit mean over what shows."""
    d = np.array(direction, float)
    d /= np.linalg.norm(d)
    x, y, z = d
    cosine = np.array([0.25, x / 2, y / 2, z / 2, 15 / 16 * x * y, 15 / 16 * x * z, 15 / 16 * y * z,
                       15 / 64 * (x * x - y * y), 5 / 64 * (3 * z * z - 1)])  # fmt: skip
    sh = np.zeros((9, 3))
    sh[0] = 0.5
    sh = sh + strength * cosine[:, None] * np.array(tint)
    return sh / (visible_directions().mean(axis=0) @ sh @ LUMINANCE)


def take(
    sh: np.ndarray, tone: np.ndarray | None = None, fps: float = 25.0, yaw: float = 15.0, own: float = 0.0
) -> Take:
    """``sh`` (9, 3) or (n, 9, 3); the head turns by ``yaw`` degrees each way; ``own``: the person's own albedo."""
    geometry, reference = load_geometry(), load_reference()
    sh = np.broadcast_to(sh, (_FRAMES, 9, 3)) if sh.ndim == 2 else sh
    count = len(sh)
    tone = np.broadcast_to(_TONE, (count, 3)) if tone is None else tone
    angle = np.radians(yaw) * np.sin(np.arange(count) / 5)
    c, s, zero, one = np.cos(angle), np.sin(angle), np.zeros(count), np.ones(count)
    rotation = np.stack([c, zero, s, zero, one, zero, -s, zero, c], axis=1).reshape(-1, 3, 3)
    normals = sample_normals(geometry, geometry.vertices).rest @ rotation.transpose(0, 2, 1)
    person = np.exp(own * np.random.default_rng(4).standard_normal((COUNT, 1)))
    out = Take(sh, tone, rotation, np.arange(count) / fps, np.zeros(0), np.ones((count, COUNT), bool), normals)
    out.linear = np.maximum(out.seen(), 0.001) * reference.albedo * person
    return out


def error(take_: Take, track: LightTrack) -> np.ndarray:
    """(n,) root mean square relative error of luminance over skin that faces the camera."""
    clear = take_.normals[..., 2] > 0.3
    seen, told = take_.seen() @ LUMINANCE, take_.told(track) @ LUMINANCE
    relative = np.where(clear, (told - seen) / seen.mean(axis=1, keepdims=True), 0)
    return np.sqrt((relative**2).sum(axis=1) / clear.sum(axis=1))


LIGHTS = {
    "soft": lit((0.1, 0.5, 0.9), 1.0, (1, 1, 1)),
    "side": lit((0.9, 0.1, 0.4), 3.0, (1, 1, 1)),
    "above": lit((0.0, 0.9, 0.3), 2.0, (1, 1, 1)),
    "coloured": lit((-0.8, 0.2, 0.5), 1.5, (1.2, 1.0, 0.7)),
}


@pytest.mark.parametrize("name", LIGHTS)
def test_known_light_is_found(name: str) -> None:
    shot = take(LIGHTS[name], own=0.08)
    track = shot.estimate()
    assert error(shot, track).max() < 0.06
    lamp_chroma = (shot.seen() / (shot.seen() @ LUMINANCE)[..., None])[:, shot.normals[0, :, 2] > 0.3]
    told = (shot.told(track) / (shot.told(track) @ LUMINANCE)[..., None])[:, shot.normals[0, :, 2] > 0.3]
    assert np.abs(told - lamp_chroma).mean() < 0.04


def test_sh_has_unit_mean_over_the_visible_skin() -> None:
    shot = take(LIGHTS["side"])
    track = shot.estimate()
    weight = np.maximum(shot.normals[..., 2], 0)
    mean = np.einsum("ni,nij,njc->nc", weight, basis(shot.normals), track.sh) / weight.sum(axis=1)[:, None]
    np.testing.assert_allclose(mean, 1, atol=0.03)
    assert track.sh.dtype == track.tone.dtype == track.white.dtype == np.float32


@pytest.mark.parametrize(("name", "limit"), [("soft", 0.06), ("above", 0.09), ("coloured", 0.12)])
def test_a_quarter_of_outliers_hardly_counts(name: str, limit: float) -> None:
    shot = take(LIGHTS[name])
    rng = np.random.default_rng(2)
    clean = shot.estimate()
    geometry = load_geometry()
    height = sample_places(geometry)[:, 1]
    shot.linear[:, height > np.quantile(height, 0.88)] = (0.02, 0.015, 0.012)  # a fringe
    glints = rng.choice(COUNT, 15, replace=False)
    shot.linear[:, glints] = 0.95
    shot.linear[:, rng.choice(COUNT, 25, replace=False)] *= 0.4  # frames of glasses
    track = shot.estimate()
    assert error(shot, track).max() < limit
    assert (track.confidence < clean.confidence).all()


@pytest.mark.parametrize("known", [False, True])
def test_deep_shade_and_a_bright_hand_do_not_decide_the_tone(known: bool) -> None:
    """Both stay where they are all along, so that they look like the person's own."""
    shot = take(LIGHTS["soft"], yaw=3.0)
    places = sample_places(load_geometry())
    hair = places[:, 0] > 3.5
    hand = (places[:, 0] < -1.0) & (places[:, 1] < np.median(places[:, 1]))
    shot.linear[:, hair] *= 0.03
    shot.linear[:, hand] = (0.9, 0.75, 0.7)
    geometry = load_geometry()
    still = np.zeros((_FRAMES, len(geometry.expression_names)), np.float32)
    hidden = np.broadcast_to(hand, (_FRAMES, COUNT)) if known else None
    track = estimate_light(shot.records(), geometry, geometry.vertices, still, shot.rotation, shot.times, hidden=hidden)
    clean = ~hair & ~hand & (shot.normals[0, :, 2] > 0.4)
    ratio = np.median(shot.told(track)[:, clean] / shot.seen()[:, clean], axis=(0, 1))
    assert np.abs(ratio - 1).max() < (0.07 if known else 0.2), ratio
    assert ratio.max() / ratio.min() < (1.04 if known else 1.12), ratio


def sample_places(geometry) -> np.ndarray:  # type: ignore[no-untyped-def]
    from deid.models.morphable.photo_samples import TRIPLES

    corners = geometry.triangles[geometry.landmark_triangles]
    mesh = (geometry.vertices[corners] * geometry.landmark_weights[:, :, None]).sum(axis=1)
    return mesh[TRIPLES].mean(axis=1)


def test_red_shade_over_more_than_half_of_a_face_does_not_set_the_tone() -> None:
    """Beside one lamp shade is redder than what is lit, and may be the most frequent colour of a face."""
    seen = take(LIGHTS["soft"], yaw=2.0)
    left = seen.normals[0, :, 0] < 0.12
    seen.linear[:, left] *= np.array([0.34, 0.19, 0.17])
    tone = np.median(seen.estimate().tone, axis=0)
    assert tone @ LUMINANCE > 0.5 * (_TONE @ LUMINANCE)
    assert abs(np.log(tone[0] / tone[1]) - np.log(_TONE[0] / _TONE[1])) < 0.25


@pytest.mark.parametrize("gain", [0.0, 0.4, 1.0])
def test_shine_is_measured(gain: float) -> None:
    """Highlights as strong as the renderer's skin would have them, times ``gain``, and none."""
    seen = take(lit((0.25, 0.45, 0.85), 2.5, (1, 1, 1)), yaw=8.0)
    rig = light_rig(Light(seen.sh[0], seen.tone[0], np.array([0.75, 0.7, 0.65])))
    for row in range(_FRAMES):
        mirrored = lamp_shine(np.ascontiguousarray(seen.normals[row], np.float32), rig.key)
        seen.linear[row] += gain * mirrored[:, None] * rig.key_rgb
    assert seen.estimate().shine[0] == pytest.approx(gain, abs=0.3)


def test_brightness_follows_without_flicker() -> None:
    shot = take(LIGHTS["soft"], own=0.15, yaw=25)
    track = shot.estimate()
    clear = shot.normals[..., 2] > 0.3
    ratio = (shot.told(track) @ LUMINANCE * clear).sum(axis=1) / (shot.seen() @ LUMINANCE * clear).sum(axis=1)
    assert np.abs(ratio - 1).max() < 0.05
    assert np.abs(np.diff(np.log(ratio))).max() < 0.01


def test_exposure_steps_and_flashes_are_followed() -> None:
    gain = np.ones(_FRAMES)
    gain[8:] = 0.7
    gain[16] = 1.6
    shot = take(LIGHTS["soft"], tone=_TONE * gain[:, None], yaw=0)
    track = shot.estimate()
    told = (track.tone @ LUMINANCE) / (track.tone[0] @ LUMINANCE)
    np.testing.assert_allclose(told, gain, rtol=0.05)


def test_a_change_of_light_is_followed_at_once_and_noise_is_not() -> None:
    sh = np.repeat(LIGHTS["side"][None], 40, axis=0)
    sh[20:] = lit((-0.9, 0.1, 0.4), 3.0, (1, 1, 1))
    shot = take(sh, yaw=0)
    track = shot.estimate()
    assert (track.sh[:20, 1] > 0).all() and (track.sh[20:, 1] < 0).all()
    assert error(shot, track).max() < 0.1
    still = take(LIGHTS["side"], yaw=0).estimate()
    assert np.abs(np.diff(still.sh, axis=0)).max() < 0.01


def test_a_gap_is_not_smoothed_across() -> None:
    sh = np.repeat(LIGHTS["soft"][None], _FRAMES, axis=0)
    sh[12:] = lit((0.3, 0.5, 0.8), 1.3, (1, 1, 1))
    shot = take(sh, yaw=0)
    shot.times[12:] += 3
    track = shot.estimate()
    assert np.abs(np.diff(track.sh[:12], axis=0)).max() < 0.01
    assert error(shot, track).max() < 0.05


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_light_is_never_negative_whatever_was_seen(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shot = take(LIGHTS["soft"])
    shot.linear = rng.random(shot.linear.shape) ** 3
    shot.valid = rng.random(shot.valid.shape) < rng.random()
    track = shot.estimate()
    assert (np.einsum("mj,njc->nmc", visible_directions(), track.sh) > 0).all()
    for values in (track.sh, track.tone, track.white, track.blur, track.grain, track.confidence):
        assert np.isfinite(values).all()
    assert (track.tone > 0).all() and (track.white >= track.tone).all()


@given(st.lists(st.floats(-2, 2), min_size=8, max_size=8))
def test_faded_keeps_the_floor_and_the_mean(rest: list[float]) -> None:
    views = visible_directions()
    shading = np.array([[4.0, *rest]])
    mean = (shading @ views.T).mean()
    if mean <= 0.1:
        return
    out = faded(shading, 0.05)
    assert (out @ views.T).min() >= 0.05 * mean - 1e-9
    assert (out @ views.T).mean() == pytest.approx(mean)


def test_white_follows_from_sclera_and_stays_plausible() -> None:
    fair, dark = np.array([0.45, 0.30, 0.24]), np.array([0.07, 0.04, 0.027])
    reflectance = []
    for tone, sclera in ((fair, (190, 180, 178)), (dark, (140, 132, 128))):
        shot = take(LIGHTS["soft"], tone=np.broadcast_to(tone, (_FRAMES, 3)))
        geometry = load_geometry()
        records = shot.records()
        records["sclera"], records["sclera_pixels"] = sclera, 60
        still = np.zeros((_FRAMES, len(geometry.expression_names)), np.float32)
        track = estimate_light(records, geometry, geometry.vertices, still, shot.rotation, shot.times)
        white = track.white.mean(axis=0)
        reflectance.append(float(tone @ LUMINANCE / (white @ LUMINANCE)))
        assert white.max() / white.min() < 1.5
    assert 0.08 <= reflectance[1] < 0.25 < reflectance[0] <= 0.65


def test_nothing_seen_and_one_frame() -> None:
    shot = take(LIGHTS["soft"][None])
    shot.valid[:] = False
    blind = shot.estimate()
    assert len(blind) == 1 and np.isfinite(blind.sh).all() and blind.confidence[0] == 0
    empty = take(LIGHTS["soft"][None])
    geometry = load_geometry()
    none = estimate_light(
        empty.records()[:0], geometry, geometry.vertices, np.zeros((0, len(geometry.expression_names))),
        np.zeros((0, 3, 3)), np.zeros(0),
    )  # fmt: skip
    assert len(none) == 0


def test_lengths_must_agree() -> None:
    shot, geometry = take(LIGHTS["soft"]), load_geometry()
    with pytest.raises(ValueError):
        estimate_light(shot.records(), geometry, geometry.vertices, np.zeros((3, 9)), shot.rotation, shot.times)


def test_repeatable_and_quick() -> None:
    shot = take(np.repeat(LIGHTS["side"][None], 60, axis=0))
    first = shot.estimate()
    start = time.process_time()
    second = shot.estimate()
    assert (time.process_time() - start) / 60 < 0.02
    assert first.sh.tobytes() == second.sh.tobytes() and first.white.tobytes() == second.white.tobytes()


def test_smoothing_in_time() -> None:
    times = np.arange(60) / 30
    rng = np.random.default_rng(0)
    step = np.where(np.arange(60) < 30, 0.0, 1.0)[:, None]
    noisy = step + 0.02 * rng.standard_normal((60, 1))
    out = bilateral(noisy, times, 0.2, 0.15)
    assert np.abs(out - step).max() < 0.03 and np.std(out[:25]) < 0.5 * np.std(noisy[:25])
    spike = np.zeros((21, 1))
    spike[10:12] = 5
    assert not median_of(spike, times[:21]).any()
    holes = np.ones((9, 1))
    holes[4] = np.nan
    np.testing.assert_allclose(gaussian(holes, times[:9], 0.1), 1)
    assert segments(np.array([0, 0.1, 0.9, 1.0])).tolist() == [0, 0, 1, 1]


def test_a_veil_is_found_and_does_not_flatten_the_light() -> None:
    shot = take(LIGHTS["side"])
    records, geometry = shot.records(), load_geometry()
    still = np.zeros((_FRAMES, len(geometry.expression_names)), np.float32)
    records["dark"] = 12
    clear = estimate_light(records, geometry, geometry.vertices, still, shot.rotation, shot.times)
    assert not clear.veil.any()
    veil = np.array([0.05, 0.055, 0.06])
    shot.linear = shot.linear + veil
    records = shot.records()
    records["dark"] = np.round(255 * to_code((0.01 + veil)[None].astype(np.float32), shoulder=False)[0])
    track = estimate_light(records, geometry, geometry.vertices, still, shot.rotation, shot.times)
    np.testing.assert_allclose(track.veil, np.broadcast_to(veil, (_FRAMES, 3)), atol=0.025)
    drawn = np.stack([veiled(told, track.veil[i], track.tone[i]) for i, told in enumerate(shot.told(track))])
    seen = shot.seen() + veil
    facing = shot.normals[..., 2] > 0.3
    assert np.abs((drawn - seen) @ LUMINANCE)[facing].mean() < 0.03 * (seen @ LUMINANCE)[facing].mean()


def test_an_albedo_map_can_be_brought_to_the_reference() -> None:
    geometry = load_geometry()
    flat = np.full((256, 256, 3), (1.2, 1.1, 1.0), np.float32)
    level = skin_level(geometry, flat)
    assert level.shape == (3,) and level[0] / level[2] > 1.1
    np.testing.assert_allclose(skin_level(geometry, flat / level), 1, atol=1e-3)
