"""Voices that nobody knows again: speech with other formants, another pitch and another timbre, in sync to the sample.

Each frame of sound is split into a spectral envelope (linear prediction of order 20 over 0 to 8 kHz, by the spectrum:
J. Makhoul 1975, *Spectral Linear Prediction*) and what excites it. The envelope's formants move by the McAdams
coefficient, poles from angle phi to phi ** alpha (J. Patino et al. 2021, *Speaker anonymisation using the McAdams
coefficient*); the excitation is moved in pitch by a phase vocoder with locked phases (J. Laroche and M. Dolson 1999).

A known coefficient could be undone. So it changes at random from segment to segment around the clip's own, and three
things are not moved but replaced: how high somebody speaks on average becomes a height that follows from the seed
alone; the mean of their spectra and how far these spread, which tell speaker, microphone and room, become those of
speech in general with a colour of the seed's; and above 8 kHz there is noise under a coarse envelope.

All sound of a track is treated so, music and noise too: nothing decides what is a voice.
"""

from __future__ import annotations

import hashlib
from collections import deque
from dataclasses import dataclass

import numpy as np
from scipy import fft

_FRAME = 0.048  # seconds of a frame: harmonics of 80 Hz are still apart
_OVERLAP = 8
_BAND = 8000.0  # Hz: formants lie below
_ORDER = 20
_STEADY = 2.0  # seconds in which what is known of mean pitch and spectrum is renewed
_AHEAD = 1.5  # seconds of sound that are known before a frame is masked
_LEAST, _MOST = 0.55, 1.85  # how far pitch moves
_LARGEST = 2.0  # of the logarithm of a gain: 17 dB
_FULLY = 1.4  # radians, 3.6 kHz, up to which formants move by the whole coefficient
_VOICED = 0.45  # of the autocorrelation
_LOWEST, _HIGHEST = 65.0, 380.0  # Hz of a voice
_TINY = 1e-9
_SPREAD = np.array([
    0.877, 0.362, 0.281, 0.191, 0.197, 0.237, 0.185, 0.163, 0.157, 0.108, 0.104, 0.118, 0.100, 0.091, 0.091, 0.085,
    0.087, 0.075, 0.061, 0.059, 0.055, 0.048, 0.047, 0.044,
])  # fmt: skip
"""How far envelopes of speech spread around a speaker's mean: of logarithms, by cosines over 0 to 8 kHz from the first
on. The mean over ten voices of a synthesiser; it need only be the same for everybody."""


@dataclass(frozen=True, slots=True)
class _Segment:
    """What holds at the middle of a stretch of sound. ``alpha``: McAdams coefficient; ``broad``: exponent of the radii
    of poles; ``tune``: factor of the pitch beside the clip's."""

    alpha: float
    broad: float
    tune: float


@dataclass(frozen=True, slots=True, eq=False)
class _Frame:
    """A frame before it is masked. ``spectra``: of the channels; ``mono``: of all together. ``envelope``: of its
    formants; ``moved``: the same after their move, of mean logarithm 0; ``pitch`` in Hz. ``None``: there is none."""

    spectra: np.ndarray
    mono: np.ndarray
    numbers: _Segment
    envelope: np.ndarray | None
    moved: np.ndarray | None
    pitch: float | None


class _Chance:
    """Everything that is drawn, from ``seed``: the clip's own numbers, then those of its segments in turn."""

    def __init__(self, seed: int) -> None:
        digest = hashlib.sha256(b"deid voice %d" % seed).digest()
        self._random = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))
        up = self._random.random() < 0.5
        self.alpha = self._random.uniform(0.76, 0.87) if up else self._random.uniform(1.13, 1.26)
        self.pitch = float(np.exp(self._random.uniform(np.log(112.0), np.log(205.0))))
        self.lively = self._random.uniform(0.7, 1.05)
        self.contrast = self._random.uniform(0.85, 1.1)
        self.colour = self._random.uniform(-0.4, 0.4, 5)
        self.phases = self._random

    def segment(self) -> tuple[float, _Segment]:
        """(seconds until the next one, numbers)"""
        draw = self._random.uniform
        tune = float(np.exp(draw(-0.04, 0.04)))
        return draw(0.5, 1.6), _Segment(self.alpha + draw(-0.05, 0.05), draw(0.97, 1.06), tune)


class VoiceMask:
    """Masks sound of ``rate`` samples a second in ``channels``, for a clip that ``seed`` belongs to.

    Use: :meth:`push` what there is, piece by piece, then :meth:`finish`; all that comes out together has as many
    samples as went in, and each is where it was. Memory does not grow with length. However sound is cut into pieces,
    the same comes out."""

    def __init__(self, rate: int, channels: int, seed: int) -> None:
        self._rate = rate
        self._hop = max(2, round(_FRAME * rate / _OVERLAP))
        self._size = self._hop * _OVERLAP
        self._window = np.hanning(self._size + 1)[:-1]
        self._gain = 1.0 / (np.sum(self._window**2) / self._hop)
        self._bins = self._size // 2 + 1
        self._band = min(self._bins, round(_BAND * self._size / rate) + 1)
        self._chance = _Chance(seed)
        self._waiting = np.zeros((channels, self._size))  # what comes before the beginning is silence
        self._tail = np.zeros((channels, self._size))
        self._skip = self._size  # samples that come out before the first that went in
        self._owed = 0
        self._frame = 0
        self._until = 0.0
        self._now = self._next = self._chance.segment()[1]
        self._since, self._length = 0.0, 1.0
        self._phase = np.zeros(self._band)
        self._old = np.zeros(self._band, complex)
        self._signs = np.zeros(channels)
        self._mean: np.ndarray | None = None
        self._spread = _SPREAD**2
        self._learned = self._voiced = 0
        self._pitch: float | None = None
        self._heard = -np.inf
        self._ratio = 0.0
        self._queue: deque[_Frame] = deque()
        self._ahead = round(_AHEAD * rate / self._hop)
        hertz = np.arange(self._band) * rate / self._size
        self._usual = -np.log1p((hertz / 500.0) ** 2.2) * 0.5  # speech in general: falls by 6 dB an octave and a little
        self._usual -= self._usual.mean()
        mel = np.log1p(hertz / 700.0) / np.log1p(hertz[-1] / 700.0)
        waves = np.cos(np.pi * np.outer(np.arange(1, len(self._chance.colour) + 1), mel))
        self._usual += self._chance.colour @ (waves - waves.mean(1, keepdims=True))

    def push(self, samples: np.ndarray) -> np.ndarray:
        """``samples``: float (channels, n), -1 to 1; returns float32 (channels, m) of what is finished."""
        self._owed += samples.shape[1]
        self._waiting = np.concatenate([self._waiting, samples.astype(np.float64)], 1)
        return self._work()

    def finish(self) -> np.ndarray:
        """The rest."""
        silence = np.zeros((len(self._waiting), self._size + (self._ahead + 2) * self._hop))
        self._waiting = np.concatenate([self._waiting, silence], 1)
        return self._work()

    def _work(self) -> np.ndarray:
        frames = max(0, (self._waiting.shape[1] - self._size) // self._hop + 1)
        for place in range(frames):
            at = place * self._hop
            self._queue.append(self._looked_at(self._waiting[:, at : at + self._size]))
        self._waiting = self._waiting[:, frames * self._hop :]
        ready = max(0, len(self._queue) - self._ahead)
        made = np.zeros((len(self._waiting), ready * self._hop + self._size))
        made[:, : self._size] += self._tail
        for place in range(ready):
            at = place * self._hop
            made[:, at : at + self._size] += self._masked(self._queue.popleft())
        done = ready * self._hop
        self._tail = made[:, done : done + self._size].copy()
        drop = min(self._skip, done)
        self._skip -= drop
        out = made[:, drop:done][:, : self._owed]
        self._owed -= out.shape[1]
        return np.clip(out, -1.0, 1.0).astype(np.float32)

    # -- one frame --------------------------------------------------------------------------------------------------

    def _looked_at(self, frame: np.ndarray) -> _Frame:
        """What a frame, (channels, size), is made of; it is learned from."""
        self._frame += 1
        spectra = fft.rfft(frame * self._window, axis=1)
        mono = self._together(spectra)
        power = np.abs(mono) ** 2
        numbers = self._numbers()
        if float(np.sqrt(power.mean())) < _TINY:
            return _Frame(spectra, mono, numbers, None, None, None)
        poles, envelope = _predicted(power[: self._band])
        moved = _formed(_mcadams(poles, numbers.alpha, numbers.broad), self._band)
        hertz = _pitch_of(power, self._rate, self._size)
        self._learn(moved, power, hertz)
        return _Frame(spectra, mono, numbers, envelope, moved, hertz)

    def _masked(self, frame: _Frame) -> np.ndarray:
        """Masked sound, float (channels, size), windowed, to be added up."""
        low = frame.mono[: self._band]
        if frame.envelope is None or frame.moved is None:
            self._old, self._phase = low.copy(), np.angle(low)
            return np.zeros((len(frame.spectra), self._size))
        excitation = self._shifted(low / np.maximum(frame.envelope, _TINY), low, self._pitch_ratio(frame))
        made = np.zeros(self._bins, complex)
        made[: self._band] = excitation * self._coloured(frame.moved)
        made[: self._band] *= _power(low) / max(_power(made[: self._band]), _TINY)
        if self._band < self._bins:
            made[self._band :] = self._noise(np.abs(frame.mono[self._band :]))
        sound = fft.irfft(self._shares(frame) * made, self._size, axis=1)
        return np.asarray(sound) * self._window * self._gain

    def _numbers(self) -> _Segment:
        """What holds now, between the middles of two segments."""
        now = self._frame * self._hop / self._rate
        while now >= self._until:
            self._since = self._until
            self._length, following = self._chance.segment()
            self._now, self._next = self._next, following
            self._until += self._length
        share = (now - self._since) / self._length
        a, b = self._now, self._next
        mix = [x + share * (y - x) for x, y in ((a.alpha, b.alpha), (a.broad, b.broad), (a.tune, b.tune))]
        return _Segment(*mix)

    def _together(self, spectra: np.ndarray) -> np.ndarray:
        """All channels in one; those that are turned over against the first are turned back."""
        if len(spectra) == 1:
            return np.asarray(spectra[0])
        with_first = np.real(np.sum(spectra * np.conj(spectra[0]), axis=1))
        size = np.sum(np.abs(spectra) ** 2, axis=1) + _TINY
        self._signs = 0.98 * self._signs + 0.02 * with_first / np.maximum(size, size[0])
        turned = np.where(self._signs < -0.2, -1.0, 1.0)
        return np.asarray((spectra * turned[:, None]).mean(0))

    def _shares(self, frame: _Frame) -> np.ndarray:
        """What of the one goes back to each channel, by broad bands: loudness and direction, and nothing finer."""
        if len(frame.spectra) == 1:
            return np.ones((1, self._bins))
        edges = np.unique(np.round(np.geomspace(2, self._bins, 12)).astype(int))
        starts = np.concatenate([[0], edges[:-1]])
        own = np.add.reduceat(np.abs(frame.spectra) ** 2, starts, axis=1)
        whole = np.add.reduceat(np.abs(frame.mono) ** 2, starts)
        gains = np.minimum(np.sqrt((own + _TINY) / (whole + _TINY)), 4.0)
        return np.repeat(gains, np.diff([*starts, self._bins]), axis=1)

    def _learn(self, moved: np.ndarray, power: np.ndarray, hertz: float | None) -> None:
        """Mean pitch and mean spectrum, of what is loud enough to be speech. The first moments count for more."""
        level = float(np.log(power.mean() + _TINY))
        self._heard = max(level, self._heard - 0.002)
        if level < self._heard - 4.0:
            return
        shape = np.log(np.maximum(moved, _TINY))
        shape -= shape.mean()
        self._learned += 1
        step = max(self._hop / self._rate / _STEADY, 1.0 / self._learned)
        self._mean = shape if self._mean is None else self._mean + step * (shape - self._mean)
        apart = fft.dct(shape - self._mean, norm="ortho")[1 : len(_SPREAD) + 1] ** 2 / self._band
        self._spread += max(step, 0.02) * (apart - self._spread)
        if hertz is not None:
            self._voiced += 1
            step = max(self._hop / self._rate / _STEADY, 1.0 / self._voiced)
            mean = np.log(hertz) if self._pitch is None else self._pitch
            self._pitch = float(mean + step * np.clip(np.log(hertz) - mean, -0.6, 0.6))

    def _coloured(self, moved: np.ndarray) -> np.ndarray:
        """An envelope, with the mean spectrum that the seed has instead of the speaker's."""
        if self._mean is None:
            return moved
        own = np.log(np.maximum(moved, _TINY)) - self._mean
        waves = np.zeros(self._band)
        count = min(len(_SPREAD), self._band - 1)
        known = np.sqrt(self._spread[:count]) / np.maximum(_SPREAD[:count], _TINY)
        gains = np.clip(self._chance.contrast / np.maximum(known, _TINY), 0.75, 1.35) - 1.0
        waves[1 : count + 1] = gains * fft.dct(own, norm="ortho")[1 : count + 1]
        wanted = self._usual + own + fft.idct(waves, norm="ortho")
        return np.asarray(moved * np.exp(np.clip(wanted - own - self._mean, -_LARGEST, _LARGEST)))

    def _pitch_ratio(self, frame: _Frame) -> float:
        """By how much a frame's pitch moves."""
        if self._pitch is None:
            wanted = 0.0
        else:
            wanted = float(np.log(self._chance.pitch)) - self._pitch
            if frame.pitch is not None:
                wanted += (self._chance.lively - 1) * float(np.clip(np.log(frame.pitch) - self._pitch, -0.4, 0.4))
        wanted = float(np.clip(wanted, np.log(_LEAST), np.log(_MOST)))
        self._ratio += 0.15 * (wanted - self._ratio)
        return float(np.exp(self._ratio)) * frame.numbers.tune

    def _shifted(self, excitation: np.ndarray, low: np.ndarray, ratio: float) -> np.ndarray:
        """The excitation at ``ratio`` times its pitch; phases run on from frame to frame."""
        size, hop = np.abs(excitation), self._hop
        bins = np.arange(self._band)
        middle = 2 * np.pi * bins / self._size
        turn = np.angle(low) - np.angle(self._old) - middle * hop
        speed = middle + (turn - 2 * np.pi * np.round(turn / (2 * np.pi))) / hop
        self._old = low.copy()
        places = bins / ratio
        source = np.minimum(np.round(places).astype(int), self._band - 1)
        loud = np.interp(places, bins, size, right=float(size[-8:].mean()))
        peaks = _peaks(np.abs(low))
        nearest = peaks[np.searchsorted((peaks[1:] + peaks[:-1]) / 2, source)]
        at = np.minimum(np.round(nearest * ratio).astype(int), self._band - 1)
        phase = self._phase[at] + hop * ratio * speed[nearest] + np.angle(low)[source] - np.angle(low)[nearest]
        beyond = places > self._band - 1
        if beyond.any():
            phase[beyond] = self._chance.phases.uniform(0, 2 * np.pi, int(beyond.sum()))
        self._phase = phase
        return np.asarray(loud * np.exp(1j * phase))

    def _noise(self, size: np.ndarray) -> np.ndarray:
        """Noise with the coarse envelope of the band above the formants."""
        width = max(1, round(1000.0 * self._size / self._rate))
        smooth = np.sqrt(np.convolve(size**2, np.ones(width) / width, mode="same"))
        return smooth * np.exp(1j * self._chance.phases.uniform(0, 2 * np.pi, len(size)))


def _power(spectrum: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.abs(spectrum) ** 2)))


def _peaks(size: np.ndarray) -> np.ndarray:
    """Places of local maxima; one at least."""
    inner = np.flatnonzero((size[1:-1] > size[:-2]) & (size[1:-1] >= size[2:])) + 1
    return inner if len(inner) else np.array([int(size.argmax())])


def _predicted(power: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Poles of linear prediction for a spectrum, and the envelope that they make."""
    lags = fft.irfft(power)[: _ORDER + 1]
    lags = lags * np.exp(-0.5 * (0.02 * np.arange(_ORDER + 1)) ** 2)  # poles no sharper than 50 Hz
    lags[0] *= 1 + 1e-6
    coefficients, error = _levinson(lags)
    poles = np.roots(coefficients)
    bins = len(power)
    shape = np.abs(fft.rfft(coefficients, 2 * (bins - 1)))
    return poles, np.sqrt(max(error, _TINY**2)) / np.maximum(shape, _TINY)


def _levinson(lags: np.ndarray) -> tuple[np.ndarray, float]:
    """Coefficients (1, a1, ...) and the error of the Levinson-Durbin recursion."""
    a = np.zeros(len(lags))
    a[0] = 1.0
    error = float(lags[0]) + _TINY**2
    for order in range(1, len(lags)):
        k = -float(a[:order] @ lags[order:0:-1]) / error
        a[1 : order + 1] += k * a[order - 1 :: -1][:order]
        error *= max(1.0 - k * k, 1e-9)
    return a, error


def _mcadams(poles: np.ndarray, alpha: float, broad: float) -> np.ndarray:
    """Poles at angles to the power of ``alpha``, in radians, radii to the power of ``broad``. Real ones stay, and
    towards the upper end of the band angles move less and less, so that poles neither pile up there nor leave it."""
    angles, radii = np.abs(np.angle(poles)), np.minimum(np.abs(poles), 0.997)
    share = 0.5 + 0.5 * np.cos(np.pi * np.clip((angles - _FULLY) / (np.pi - _FULLY), 0.0, 1.0))
    turned = np.where(np.abs(poles.imag) > 1e-9, angles + share * (angles**alpha - angles), angles)
    return np.asarray(radii**broad * np.exp(1j * np.sign(np.angle(poles)) * turned))


def _formed(poles: np.ndarray, bins: int) -> np.ndarray:
    """The envelope that poles make, of mean logarithm 0."""
    shape = np.abs(fft.rfft(np.real(np.poly(poles)), 2 * (bins - 1)))
    log = -np.log(np.maximum(shape, _TINY))
    return np.asarray(np.exp(log - log.mean()))


def _pitch_of(power: np.ndarray, rate: int, size: int) -> float | None:
    """Hz, where a frame is voiced: the first high peak of the autocorrelation of its compressed spectrum."""
    top = min(len(power), round(2000.0 * size / rate))
    shaped = np.zeros_like(power)
    shaped[:top] = np.sqrt(power[:top])
    lags = fft.irfft(shaped)
    if lags[0] <= 0:
        return None
    low, high = int(rate / _HIGHEST), min(int(rate / _LOWEST), len(lags) // 2 - 1)
    part = lags[low:high] / lags[0]
    if len(part) < 3 or part.max() < _VOICED:
        return None
    inner = np.flatnonzero((part[1:-1] > part[:-2]) & (part[1:-1] >= part[2:]) & (part[1:-1] > 0.85 * part.max())) + 1
    return rate / (low + int(inner[0])) if len(inner) else None
