"""Voices are masked: other pitch and formants, in sync to the sample, in pieces, and not by one number alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deid.media import voice
from deid.media.voice import VoiceMask

VOWELS = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480))


def speech(rate: int, seconds: float, pitch: float, tract: float = 1.0, seed: int = 0) -> np.ndarray:
    """float64 (n,): vowels with pauses, by pulses of a wavering pitch through resonances (after D. Klatt 1980)."""
    count = int(seconds * rate)
    time = np.arange(count) / rate
    chance = np.random.default_rng(seed)
    waver = pitch * (1 + 0.06 * np.sin(2 * np.pi * 2.1 * time) + 0.01 * np.sin(2 * np.pi * 5.3 * time))
    phase = np.cumsum(waver / rate)
    pulses = np.diff(np.floor(phase), prepend=0.0) + 0.01 * chance.normal(size=count)
    out = np.zeros(count)
    for number, start in enumerate(range(0, count, rate // 4)):
        part = pulses[start : start + rate // 4].copy()
        for formant, width in zip(VOWELS[number % 4], (80, 110, 160), strict=True):
            out_of = np.exp(-np.pi * width / rate)
            angle = 2 * np.pi * formant * tract / rate
            a, b = 2 * out_of * np.cos(angle), -(out_of**2)
            past = before = 0.0
            for i, x in enumerate(part):
                past, before = x * (1 - a - b) + a * past + b * before, past
                part[i] = past
        out[start : start + len(part)] = part * np.hanning(len(part)) ** 0.3 * (number % 7 != 6)
    return 0.5 * out / np.abs(out).max()


@pytest.fixture(scope="module")
def spoken() -> np.ndarray:
    return speech(16000, 4.0, 110.0)


def masked(sound: np.ndarray, rate: int, seed: int, piece: int = 4096) -> np.ndarray:
    sound = np.atleast_2d(sound)
    mask = VoiceMask(rate, len(sound), seed)
    parts = [mask.push(sound[:, at : at + piece]) for at in range(0, sound.shape[1], piece)]
    return np.concatenate([*parts, mask.finish()], 1)


def loudness(sound: np.ndarray, rate: int) -> np.ndarray:
    width = rate // 50
    return np.sqrt(np.convolve(sound**2, np.ones(width) / width, "same"))[:: rate // 400]


def pitch_of(sound: np.ndarray, rate: int) -> float:
    size = rate // 20
    found = []
    for at in range(0, len(sound) - size, size):
        part = sound[at : at + size] * np.hanning(size)
        if np.abs(part).max() < 0.05:
            continue
        lags = np.fft.irfft(np.abs(np.fft.rfft(part, 4 * size)) ** 2)[: rate // 60]
        low = rate // 400
        found.append(rate / (low + int(lags[low:].argmax())))
    return float(np.median(found))


def envelope(sound: np.ndarray, rate: int) -> np.ndarray:
    """dB of the mean spectrum in 24 bands up to 5 kHz, of mean 0."""
    size = 1024
    frames = [sound[at : at + size] * np.hanning(size) for at in range(0, len(sound) - size, size // 2)]
    power = np.mean([np.abs(np.fft.rfft(f)) ** 2 for f in frames if np.abs(f).max() > 0.05], 0)
    edges = np.geomspace(120, 5000, 25) * size / rate
    bands = [
        10 * np.log10(power[int(a) : max(int(a) + 1, int(b))].mean() + 1e-9)
        for a, b in zip(edges, edges[1:], strict=False)
    ]
    return np.array(bands) - np.mean(bands)


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_as_many_samples_where_they_were(rate: int) -> None:
    sound = speech(rate, 2.0, 140.0)[: 2 * rate - 37]
    out = masked(sound, rate, 3)
    assert out.shape == (1, len(sound)) and out.dtype == np.float32 and np.isfinite(out).all()
    a, b = loudness(sound, rate), loudness(out[0], rate)
    shifts = range(-20, 21)
    alike = [np.corrcoef(a[20:-20], np.roll(b, shift)[20:-20])[0, 1] for shift in shifts]
    assert abs(shifts[int(np.argmax(alike))]) <= 2 and max(alike) > 0.85  # 5 ms
    assert 0.4 < b.mean() / a.mean() < 2.0


@settings(max_examples=6, deadline=None)
@given(st.lists(st.integers(1, 9000), min_size=1, max_size=6))
def test_pieces_make_no_difference(pieces: list[int]) -> None:
    sound = speech(8000, 1.2, 120.0)[None]
    mask, parts, at = VoiceMask(8000, 1, 5), [], 0
    for piece in [*pieces, sound.shape[1]]:
        parts.append(mask.push(sound[:, at : at + piece]))
        at += piece
    assert np.array_equal(np.concatenate([*parts, mask.finish()], 1), masked(sound, 8000, 5))


@pytest.mark.parametrize("count", [0, 1, 37, 700])
def test_sound_of_a_moment(count: int) -> None:
    assert masked(np.full(count, 0.3), 16000, 1).shape == (1, count)


def test_pitch_and_formants_are_others_and_follow_the_seed(spoken: np.ndarray) -> None:
    outs = [masked(spoken, 16000, seed)[0] for seed in range(3)]
    assert np.array_equal(outs[0], masked(spoken, 16000, 0)[0])
    pitches = [pitch_of(out, 16000) for out in outs]
    assert all(abs(12 * np.log2(p / 110)) > 0.5 for p in pitches)
    assert np.std(12 * np.log2(np.array(pitches))) > 1.0
    before = envelope(spoken, 16000)
    assert all(np.sqrt(np.mean((envelope(out, 16000) - before) ** 2)) > 4 for out in outs)


def test_voices_of_unlike_heights_come_out_at_one() -> None:
    low, high = (pitch_of(masked(speech(16000, 4.0, p), 16000, 2)[0], 16000) for p in (100.0, 170.0))
    assert abs(12 * np.log2(high / low)) < 1.5  # they were 9 semitones apart


def test_who_was_nearer_is_no_longer_told_by_the_mean_spectrum() -> None:
    """Two speakers, of whom one has a shorter vocal tract: masked, they are nearer each other than they were."""
    one, two = speech(16000, 4.0, 110.0), speech(16000, 4.0, 130.0, tract=1.2, seed=1)
    before = np.linalg.norm(envelope(one, 16000) - envelope(two, 16000))
    after = np.linalg.norm(envelope(masked(one, 16000, 7)[0], 16000) - envelope(masked(two, 16000, 7)[0], 16000))
    assert after < 0.7 * before


def test_no_one_coefficient_undoes_it(spoken: np.ndarray) -> None:
    """The coefficient wanders within a clip, and phases are gone: what comes out correlates with nothing."""
    mask = VoiceMask(16000, 1, 9)
    numbers = []
    for _ in range(600):
        mask._frame += 1
        numbers.append(mask._numbers().alpha)
    assert np.ptp(numbers) > 0.03 and len(set(np.round(numbers, 4))) > 50
    out = masked(spoken, 16000, 9)[0]
    a, b = np.fft.rfft(spoken, 2**17), np.fft.rfft(out, 2**17)
    across = np.fft.irfft(a * np.conj(b))
    assert np.abs(across).max() < 0.35 * np.linalg.norm(spoken) * np.linalg.norm(out)


def test_a_known_pole_moves_by_the_coefficient() -> None:
    """Patino et al.: angle phi becomes phi ** alpha; real poles stay; conjugates stay conjugate."""
    poles = np.array([0.95 * np.exp(0.5j), 0.95 * np.exp(-0.5j), 0.8])
    moved = voice._mcadams(poles, 0.8, 1.0)
    assert np.allclose(np.angle(moved), [0.5**0.8, -(0.5**0.8), 0.0]) and np.allclose(np.abs(moved), [0.95, 0.95, 0.8])


def test_linear_prediction_finds_the_poles_that_made_a_spectrum() -> None:
    poles = np.array([0.95 * np.exp(0.4j), 0.95 * np.exp(-0.4j), 0.9 * np.exp(1.3j), 0.9 * np.exp(-1.3j)])
    power = np.abs(1 / np.fft.rfft(np.real(np.poly(poles)), 1024)) ** 2
    found, shape = voice._predicted(power)
    assert all(np.abs(found - pole).min() < 0.03 for pole in poles)
    assert np.corrcoef(np.log(shape), np.log(np.sqrt(power)))[0, 1] > 0.995


def test_stereo_keeps_its_sides_and_a_turned_channel_is_not_lost(spoken: np.ndarray) -> None:
    out = masked(np.stack([spoken, 0.25 * spoken]), 16000, 3)
    assert 0.15 < np.linalg.norm(out[1]) / np.linalg.norm(out[0]) < 0.4
    turned = masked(np.stack([spoken, -spoken]), 16000, 3)
    assert np.linalg.norm(turned[0][16000:]) > 0.5 * np.linalg.norm(spoken[16000:])


def test_silence_stays_silent_and_noise_stays_bounded() -> None:
    assert not masked(np.zeros(20000), 16000, 1).any()
    noise = np.random.default_rng(1).normal(0, 0.4, (2, 30000)).clip(-1, 1)
    assert np.abs(masked(noise, 16000, 1)).max() <= 1.0


@pytest.mark.parametrize("alpha", [0.7, 0.85, 1.15, 1.3])
def test_formants_stay_in_order_and_in_the_band(alpha: float) -> None:
    angles = np.linspace(0.05, np.pi - 0.01, 200)
    moved = np.angle(voice._mcadams(0.9 * np.exp(1j * angles), alpha, 1.0))
    assert (np.diff(moved) > 0).all() and moved[0] > 0 and moved[-1] < np.pi
    assert abs(moved[-1] - angles[-1]) < 0.01 and abs(moved[10] / angles[10] - 1) > 0.1
