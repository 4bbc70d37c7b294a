"""Light of a window: measured on some of its rows, in the haze that a surrogate was given, and going on where the
window before ended."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np

from deid.models.morphable import light
from deid.models.morphable.finish import thicker
from deid.models.morphable.inversion import TrackCodes
from deid.models.morphable.light_track import LightTrack

_LIT_EVERY = 3  # rows: light is measured that often, and lies between


def seldom_lit(
    records: np.ndarray, geometry: Any, neutral: np.ndarray, expression: np.ndarray, rotation: np.ndarray,
    times: np.ndarray, *, hidden: np.ndarray,
) -> LightTrack:  # fmt: skip
    """:func:`.light.estimate_light` on some of the rows, and what lies between: light changes slowly."""
    count = len(records)
    if count < 4 * _LIT_EVERY:
        return light.estimate_light(records, geometry, neutral, expression, rotation, times, hidden=hidden)
    # counted back from the end, which all windows of a face share with nothing, and with both ends
    rows = np.unique(np.append(np.arange(count - 1, -1, -_LIT_EVERY), 0))
    found = light.estimate_light(
        records[rows], geometry, neutral, expression[rows], rotation[rows], times[rows], hidden=hidden[rows]
    )
    after = np.clip(np.searchsorted(rows, np.arange(count)), 1, len(rows) - 1)
    share = (np.arange(count) - rows[after - 1]) / (rows[after] - rows[after - 1])

    def between(values: np.ndarray) -> np.ndarray:
        if len(values) != len(rows):
            return values
        weight = share.reshape(-1, *[1] * (values.ndim - 1)).astype(np.float32)
        return values[after - 1] * (1 - weight) + values[after] * weight

    return LightTrack(*(between(getattr(found, f.name)) for f in fields(found)))


def shown_in(plain: LightTrack, shown: LightTrack) -> tuple[float, float]:
    """The haze and the glow that :func:`.tone_match.toned_like` made ``shown`` of ``plain`` with."""
    room = float(np.maximum(plain.tone - plain.veil, 0).sum())
    haze = float((shown.veil - plain.veil).sum()) / room if room > 0 else 0.0
    return max(haze, 0.0), float(shown.glow[0]) if len(shown.glow) else 0.0


def in_haze(lights: LightTrack, haze: float, glow: float) -> LightTrack:
    """``lights`` with these, as :func:`shown_in` told them."""
    veil = thicker(lights.veil, lights.tone, haze).astype(np.float32) if haze > 0 else lights.veil
    return replace(lights, veil=veil, glow=np.full(len(lights), glow, np.float32))


def mixed(now: LightTrack, before: LightTrack, at: int, there: int, fading: np.ndarray) -> LightTrack:
    """``now`` moved by what ``before`` said otherwise of row ``at`` (its own ``there``), less and less: ``fading``."""
    changed = {}
    for f in fields(now):
        ours, theirs = getattr(now, f.name), getattr(before, f.name)
        if f.name in ("confidence", "structure", "coarse", "darkest") or not len(ours) or not len(theirs):
            continue
        if ours.shape[1:] != theirs.shape[1:]:
            continue
        share = fading.reshape(-1, *[1] * (ours.ndim - 1)).astype(np.float32)
        moved = ours + share * (theirs[there] - ours[at])
        changed[f.name] = moved if f.name in ("sh", "local") else np.maximum(moved, 0)
    return replace(now, **changed)


def beginning_at(codes: TrackCodes, first: int) -> TrackCodes:
    """``codes`` without the rows before ``first``."""
    if not first:
        return codes
    count = len(codes.witnessed)

    def cut(of: Any) -> Any:
        return replace(of, **{
            f.name: value[first:] for f in fields(of) if len(value := getattr(of, f.name)) == count
        })  # fmt: skip

    things = {row - first: belief for row, belief in codes.things.items() if row >= first}
    return TrackCodes(
        cut(codes.witnessed), codes.identity, cut(codes.attributes), cut(codes.lights), cut(codes.trust), things,
        None if codes.bites is None else cut(codes.bites),
    )  # fmt: skip
