"""What masking does to voices: who is it, how high, how unlike, and can it still be understood?

    pip install espeakng-loader
    python benchmarks/voices.py [--speakers 16] [--listen FOLDER]

Speech is made by eSpeak NG, whose voices differ in pitch, formants, breath and speed; speaker recognition is by mean
and spread of mel cepstra, whitened over other speakers, which is what x-vectors rest on, at its simplest. Words are
recognised by dynamic time warping against templates of other voices. All of it is measured on the sound alone.
"""

from __future__ import annotations

import argparse
import ctypes
import sys
import wave
from pathlib import Path

import numpy as np
from scipy.fft import dct

from deid.media.voice import VoiceMask

VOICES = [
    "Alex", "Alicia", "Andrea", "Andy", "Annie", "Denis", "Diogo", "Gene", "Henrique", "Hugo", "Jacky", "Lee", "Marco",
    "Mario", "Michael", "Mike", "Reed", "adam", "anika", "antonio", "belinda", "benjamin", "boris", "david", "ed",
    "edward", "f1", "f2", "f3", "f4", "f5", "gustave", "iven", "john", "linda", "m1", "m2", "m3", "m4", "m5", "m6",
]  # fmt: skip
TEXTS = [
    "When the sunlight strikes raindrops in the air, they act as a prism and form a rainbow.",
    "The patient said that she slept badly, and that the pain had moved from her back to her left knee.",
    "We took the early train, changed twice, and were at home before anybody had missed us.",
    "He never found out who had written the letter, nor why it had come without a stamp.",
]
WORDS = [
    "apple", "window", "seven", "doctor", "river", "yellow", "paper", "money", "garden", "table", "summer", "police",
    "letter", "kitchen", "hospital", "number", "monday", "coffee", "brother", "station",
]  # fmt: skip


class Speaker:
    """eSpeak NG, by its C interface."""

    def __init__(self) -> None:
        import espeakng_loader

        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        data = str(Path(espeakng_loader.get_data_path()).parent).encode()
        self.rate = self._library.espeak_Initialize(1, 0, data, 0)
        self._heard: list[np.ndarray] = []
        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)

        def hear(samples: object, count: int, events: object) -> int:
            if samples and count > 0:
                self._heard.append(np.ctypeslib.as_array(samples, (count,)).copy())  # type: ignore[call-overload]
            return 0

        self._hear = kind(hear)
        self._library.espeak_SetSynthCallback(self._hear)

    def say(self, voice: str, text: str) -> np.ndarray:
        """float64 (n,), -1 to 1."""
        self._heard.clear()
        if self._library.espeak_SetVoiceByName(f"en+{voice}".encode()) != 0:
            sys.exit(f"eSpeak has no voice {voice}")
        words = text.encode()
        self._library.espeak_Synth(words, len(words) + 1, 0, 1, 0, 1, None, None)
        self._library.espeak_Synchronize()
        return np.concatenate(self._heard).astype(float) / 32768.0


def masked(sound: np.ndarray, rate: int, seed: int) -> np.ndarray:
    mask = VoiceMask(rate, 1, seed)
    return np.concatenate([mask.push(sound[None]), mask.finish()], 1)[0].astype(float)


def mfcc(sound: np.ndarray, rate: int, count: int = 20) -> np.ndarray:
    """(frames, count), of what is loud enough to be speech; 25 ms every 10."""
    size, hop = round(0.025 * rate), round(0.01 * rate)
    places = np.arange(0, max(1, len(sound) - size), hop)
    frames = np.stack([sound[p : p + size] for p in places if p + size <= len(sound)])
    power = np.abs(np.fft.rfft(frames * np.hamming(size), 1024)) ** 2
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + min(8000, rate / 2) / 700), 42) / 2595) - 1)
    hertz = np.arange(power.shape[1]) * rate / 1024
    bank = np.stack([np.interp(hertz, edges[i : i + 3], [0, 1, 0]) for i in range(40)])
    logs = np.log(power @ bank.T + 1e-8)
    loud = logs.mean(1) > np.quantile(logs.mean(1), 0.95) - 6
    return np.asarray(dct(logs[loud], norm="ortho")[:, :count])


def statistic(sound: np.ndarray, rate: int) -> np.ndarray:
    c = mfcc(sound, rate)[:, 1:]
    return np.concatenate([c.mean(0), c.std(0)])


def pitch(sound: np.ndarray, rate: int) -> float:
    """Median Hz of voiced frames, by autocorrelation."""
    size = round(0.04 * rate)
    found = []
    for at in range(0, len(sound) - size, size // 2):
        part = sound[at : at + size] * np.hanning(size)
        if np.sqrt(np.mean(part**2)) < 0.02:
            continue
        lags = np.fft.irfft(np.abs(np.fft.rfft(part, 4 * size)) ** 2)
        lags /= lags[0] * (1 - np.arange(len(lags)) / size).clip(0.2) + 1e-12
        low, high = int(rate / 400), int(rate / 60)
        inner = lags[low:high]
        if inner.max() > 0.5:
            first = next(i for i in range(len(inner)) if inner[i] > 0.9 * inner.max())
            found.append(rate / (low + first + int(inner[first : first + 12].argmax())))
    return float(np.median(found)) if found else float("nan")


def warped(a: np.ndarray, b: np.ndarray) -> float:
    """Mean distance along the best path (dynamic time warping)."""
    apart = np.linalg.norm(a[:, None] - b[None], axis=-1)
    cost = np.full((len(a) + 1, len(b) + 1), np.inf)
    cost[0, 0] = 0
    for i in range(len(a)):
        for j in range(len(b)):
            cost[i + 1, j + 1] = apart[i, j] + min(cost[i, j], cost[i, j + 1], cost[i + 1, j])
    return float(cost[-1, -1] / (len(a) + len(b)))


def equal_error(same: np.ndarray, other: np.ndarray) -> float:
    limits = np.sort(np.concatenate([same, other]))
    return float(min(max((same > t).mean(), (other <= t).mean()) for t in limits))


def identified(
    enrolled: dict[str, list[np.ndarray]], probes: dict[str, list[np.ndarray]], spread: np.ndarray
) -> tuple[float, float]:
    """(share of right first guesses, equal error rate), by distance to the mean of what was enrolled."""
    names = list(enrolled)
    means = np.stack([np.mean(enrolled[n], 0) for n in names])
    right, same, other = [], [], []
    for number, name in enumerate(names):
        for probe in probes[name]:
            apart = np.linalg.norm((means - probe) / spread, axis=1)
            right.append(apart.argmin() == number)
            same.append(apart[number])
            other.extend(np.delete(apart, number))
    return float(np.mean(right)), equal_error(np.array(same), np.array(other))


def normalised(c: np.ndarray) -> np.ndarray:
    return (c[:, :13] - c[:, :13].mean(0)) / (c[:, :13].std(0) + 1e-6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speakers", type=int, default=16)
    parser.add_argument("--listen", type=Path, help="put a few clips here, before and after")
    args = parser.parse_args()
    speaker = Speaker()
    rate = speaker.rate
    names = VOICES[: args.speakers]
    plain = {n: [speaker.say(n, t) for t in TEXTS] for n in names}
    seeds = iter(range(1, 100000))
    hidden = {n: [masked(s, rate, next(seeds)) for s in plain[n]] for n in names}
    told = {n: [statistic(s, rate) for s in v] for n, v in plain.items()}
    lost = {n: [statistic(s, rate) for s in v] for n, v in hidden.items()}
    spread = np.std([s for v in told.values() for s in v], axis=0)
    spread_masked = np.std([s for v in lost.values() for s in v], axis=0)
    half = len(TEXTS) // 2
    first, second = ({n: v[:half] for n, v in told.items()}, {n: v[half:] for n, v in told.items()})
    print(f"{len(names)} speakers, {len(TEXTS)} sentences each; chance {100 / len(names):.0f} % and 50 %")
    for what, enrolled, probes, by in (
        ("sound as it was", first, second, spread),
        ("masked, the attacker holds the voices as they were", told, lost, spread),
        ("the same, each set by its own mean and spread", centred(told), centred(lost), np.ones_like(spread)),
        (
            "masked twice, other seeds",
            {n: v[:half] for n, v in lost.items()},
            {n: v[half:] for n, v in lost.items()},
            spread_masked,
        ),
    ):
        right, error = identified(enrolled, probes, by)
        print(f"  {what}: {100 * right:.0f} % named, equal error {100 * error:.0f} %")
    before = np.array([[pitch(s, rate) for s in plain[n]] for n in names])
    after = np.array([[pitch(s, rate) for s in hidden[n]] for n in names])
    fine = np.isfinite(before) & np.isfinite(after)
    shift = 12 * np.log2(after[fine] / before[fine])
    print(
        f"pitch: moved by {np.median(np.abs(shift)):.1f} semitones (median; {shift.min():.1f} to {shift.max():.1f}), "
        f"r of before and after {np.corrcoef(np.log(before[fine]), np.log(after[fine]))[0, 1]:.2f}"
    )
    moved = np.mean([distance(a, b, rate) for n in names for a, b in zip(plain[n], hidden[n], strict=True)])
    apart = np.mean([distance(plain[a][0], plain[b][0], rate) for a in names for b in names if a < b])
    print(f"log spectral distance of mean envelopes: {moved:.1f} dB (two speakers as they were: {apart:.1f} dB)")
    known = ", ".join(f"{k} {100 * v:.0f} %" for k, v in words(speaker, rate).items())
    print(f"words recognised, of {3 * len(WORDS)}: {known}")
    if args.listen:
        args.listen.mkdir(parents=True, exist_ok=True)
        for n in names[:4]:
            for kind, sound in (("before", plain[n][0]), ("after", hidden[n][0])):
                with wave.open(str(args.listen / f"{n}-{kind}.wav"), "wb") as file:
                    file.setparams((1, 2, rate, 0, "NONE", ""))
                    file.writeframes((np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes())


def centred(stats: dict[str, list[np.ndarray]]) -> dict[str, list[np.ndarray]]:
    every = np.array([s for v in stats.values() for s in v])
    return {n: [(s - every.mean(0)) / every.std(0) for s in v] for n, v in stats.items()}


def distance(a: np.ndarray, b: np.ndarray, rate: int) -> float:
    """dB between mean envelopes of 40 mel bands, of equal loudness."""
    one, two = (10 / np.log(10) * (dct(np.pad(mfcc(s, rate).mean(0), (0, 20)), type=3, norm="ortho")) for s in (a, b))
    return float(np.sqrt(np.mean((one - one.mean() - two + two.mean()) ** 2)))


def words(speaker: Speaker, rate: int) -> dict[str, float]:
    """Share of words that are recognised by templates of other voices, plain or masked."""
    templates = {w: normalised(mfcc(speaker.say("f1", w), rate)) for w in WORDS}
    out: dict[str, list[bool]] = {"as they were": [], "masked": []}
    for number, voice in enumerate(("m1", "f3", "Michael")):
        for word in WORDS:
            sound = speaker.say(voice, word)
            for kind, heard in (("as they were", sound), ("masked", masked(sound, rate, 500 + number))):
                own = normalised(mfcc(heard, rate))
                out[kind].append(min(WORDS, key=lambda w: warped(own, templates[w])) == word)
    return {kind: float(np.mean(v)) for kind, v in out.items()}


if __name__ == "__main__":
    main()
