"""Is the sound of two files the same? Told by what is heard, not by what either file says of itself."""

from __future__ import annotations

import os
from collections.abc import Iterator

import av
import numpy as np
from av.error import FFmpegError

from ..errors import DeidError

NONE, LEFT_OUT, AS_IT_WAS, CHANGED = "none", "left out", "as it was", "changed"
_RATE = 8000
_WINDOW = 4000  # samples that are compared at a time: half a second
_SLIP = 480  # samples by which codecs may move sound
_ALIKE = 0.6
_SILENT = 1e-3
_ENOUGH = 0.03  # share of windows: a voice that is heard now and then is heard


def compare_sound(
    source: str | os.PathLike[str], output: str | os.PathLike[str], start: float | None = None, end: float | None = None
) -> str:
    """What became of ``source``'s sound, from ``start`` to ``end`` seconds, in ``output``: ``none`` (there was none),
    ``left out``, ``as it was`` (waveforms agree somewhere, whatever the coding) or ``changed``. What cannot be read is
    taken for what it was: who is warned in vain looks again."""
    try:
        had, has = _tracks(source), _tracks(output)
        if not had:
            return NONE
        if not has:
            return LEFT_OUT
        same = any(_agrees(source, output, track, start or 0.0, end) for track in range(min(had, has)))
    except (FFmpegError, DeidError, OSError, ValueError):
        return AS_IT_WAS
    return AS_IT_WAS if same else CHANGED


def _tracks(path: str | os.PathLike[str]) -> int:
    if os.path.isdir(path):
        return 0
    with av.open(os.fspath(path)) as container:
        return len(container.streams.audio)


def _agrees(
    source: str | os.PathLike[str], output: str | os.PathLike[str], track: int, start: float, end: float | None
) -> bool:
    heard = agree = 0
    pairs = zip(_windows(source, track, start), _windows(output, track, 0.0), strict=False)
    for number, (one, two) in enumerate(pairs):
        if end is not None and start + number * _WINDOW / _RATE >= end:
            break
        if one.std() < _SILENT:
            continue
        heard += 1
        agree += _alike(one, two)
    return agree > _ENOUGH * heard


def _alike(one: np.ndarray, two: np.ndarray) -> bool:
    """Whether two windows hold one waveform, a little earlier or later, either way up."""
    size = 2 * len(one)
    across = np.fft.irfft(np.fft.rfft(one, size) * np.conj(np.fft.rfft(two, size)), size)
    near = np.concatenate([across[: _SLIP + 1], across[-_SLIP:]])
    return bool(np.abs(near).max() > _ALIKE * np.linalg.norm(one) * np.linalg.norm(two) > 0)


def _windows(path: str | os.PathLike[str], track: int, start: float) -> Iterator[np.ndarray]:
    """All channels of a track in one, from ``start`` seconds on, gaps silent."""
    waiting = np.zeros(0, np.float32)
    next_one = 0
    with av.open(os.fspath(path)) as container:
        stream = container.streams.audio[track]
        resampler = av.AudioResampler(format="fltp", layout="mono", rate=_RATE)
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except FFmpegError:
                continue
            for frame in frames:
                for made in resampler.resample(frame):
                    sound = made.to_ndarray()[0]
                    at = next_one
                    if made.pts is not None and made.time_base is not None:
                        at = round((float(made.pts * made.time_base) - start) * _RATE)
                    if at + len(sound) <= 0:
                        continue
                    if abs(at - next_one) > _SLIP and at > next_one:
                        gap = min(at - next_one, 60 * _RATE)
                        waiting, next_one = np.concatenate([waiting, np.zeros(gap, np.float32)]), at
                    sound = sound[max(0, -at) :]
                    waiting, next_one = np.concatenate([waiting, sound]), max(at, 0) + len(sound)
                    while len(waiting) >= _WINDOW:
                        yield waiting[:_WINDOW]
                        waiting = waiting[_WINDOW:]
    if len(waiting):
        yield np.pad(waiting, (0, _WINDOW - len(waiting)))
