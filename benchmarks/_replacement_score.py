"""From measures of faces to numbers of a clip, and to pass or fail: the part of ``replacement.py`` that judges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from _replacement_mean import means
from _replacement_measure import TrackMeasures
from _replacement_recogniser import Recogniser

from deid.audit import attributes
from deid.audit.appearance import SECTORS, Flicker, Touched
from deid.audit.identity import Matches, across, paired, people, within
from deid.audit.series import measures
from deid.audit.targets import INF, TARGETS

__all__ = ["LOOKS", "TARGETS", "score"]

MIN_FACE = 64.0
_CALM = 2  # frames either side of a changeover that steadiness leaves out
_SAME_PERSON = 0.5  # median distance under which two tracks of the source show one person
_SAMPLE = 160  # codes of one person compared with each other


LOOKS = (
    "source_same",
    "source_other",
    "smile",
    "smile_added",
    "width",
    "brow",
    "brow_added",
    "detected",
    "presence",
    "tone",
    "softness",
    "grain",
    "ghost",
    "left",
    "structure",
    "seam",
    "light",
    "coarse",
    "middle",
    "fine",
)
"""Numbers without a target of the issue's, for finding what the eye then judges. ``smile``, ``width`` and ``brow`` are
correlations; ``smile_added``: how much higher the corners of the mouth lie in the output, in outer eye distances.
``left``: share of the face that is still the source's, 99th percentile of the frames."""


def touched(m: TrackMeasures) -> np.ndarray:
    """:class:`Touched` of each row, as an object array."""
    return np.array([c.touched for c in m.comparisons], dtype=object)


def shown(m: TrackMeasures) -> np.ndarray:
    """Rows that show a face, bool (n,): replaced, or left as it was, which is judged like a replacement (and fails)."""
    states = touched(m)
    return (states == Touched.REPLACED) | (states == Touched.KEPT)


def calm(m: TrackMeasures) -> np.ndarray:
    """Rows that show a face, as do those two frames either side, bool (n,)."""
    visible = shown(m)
    if visible.all():
        return visible
    bad = m.frames[~visible]
    near = np.abs(m.frames[:, None] - bad[None]).min(1) <= _CALM
    return visible & ~near


def score(measures: Sequence[TrackMeasures], recognisers: Sequence[Recogniser]) -> dict[str, Any]:
    """Every number of one clip: ``values`` by key of :data:`TARGETS` and :data:`LOOKS`, and the detail behind them."""
    values: dict[str, float] = {}
    detail: dict[str, Any] = {"tracks": []}
    values |= _replaced(measures, detail)
    values |= _identity(measures, recognisers, detail)
    values |= _expression(measures, detail)
    values |= _pose(measures, detail)
    values |= _steadiness(measures, detail)
    values |= _appearance(measures, detail)
    return {"values": values, "weights": _weights(measures), "detail": detail, "frames": _rows(measures, recognisers)}


def _posed(m: TrackMeasures) -> tuple[np.ndarray, np.ndarray]:
    """Face heights and absolute yaws of the measured rows."""
    return m.track.boxes[m.rows, 3], np.abs(m.track.poses[m.rows, 0])


def _weights(measures: Sequence[TrackMeasures]) -> dict[str, int]:
    rows = sum(int((touched(m) == Touched.REPLACED).sum()) for m in measures)
    return {"faces": sum(len(m.rows) for m in measures), "replaced": rows}


def _replaced(measures: Sequence[TrackMeasures], detail: dict) -> dict[str, float]:
    out: dict[str, float] = {}
    counts: dict[str, dict[str, int]] = {}
    for limit in (45, 60):
        states = [touched(m)[(_posed(m)[0] >= MIN_FACE) & (_posed(m)[1] <= limit)] for m in measures]
        flat = np.concatenate(states) if states else np.zeros(0, object)
        counts[f"yaw to {limit}"] = {state.value: int((flat == state).sum()) for state in Touched}
        out[f"replaced_{limit}"] = float(np.mean(flat == Touched.REPLACED)) if len(flat) else np.nan
    every = [touched(m) for m in measures]
    flat = np.concatenate(every) if every else np.zeros(0, object)
    out["kept"] = float(np.mean(flat == Touched.KEPT)) if len(flat) else np.nan
    detail["counts"] = counts
    return out


def _identity(measures: Sequence[TrackMeasures], recognisers: Sequence[Recogniser], detail: dict) -> dict[str, float]:
    """The values are those of the recogniser that judges worst."""
    found = {r.name: _identity_by(measures, r) for r in recognisers}
    detail["identity"] = {name: {k: asdict(v) for k, v in ms.items()} for name, ms in found.items()}
    worst = {"match": max, "same": min, "other": max}
    out = {}
    for key, pick in worst.items():
        rates = [ms[key].rate for ms in found.values() if ms[key].pairs]
        out[key] = pick(rates) if rates else np.nan
    for name in ("source same", "source other"):
        out[name.replace(" ", "_")] = next(iter(found.values()))[name].rate if found else np.nan
    return out


def _identity_by(measures: Sequence[TrackMeasures], recogniser: Recogniser) -> dict[str, Matches]:
    """``match``: source to output, same frame, yaw to 60; the others to 45. ``same``: outputs of one person.
    ``other``: outputs of two people.
    ``source same``, ``source other``: the same of the sources, for comparison. ``obscured``: source to output where
    the face was obscured."""
    sources, outputs, same_frame, obscured = [], [], [], []
    for m in measures:
        rows, before, after = m.codes.get(recogniser.name, (np.zeros(0, int), np.zeros((0, 1)), np.zeros((0, 1))))
        at = np.searchsorted(m.rows, rows)
        tall = m.track.boxes[rows, 3] >= MIN_FACE
        state = touched(m)[at]
        near = np.abs(m.track.poses[rows, 0]) <= 60
        chosen = tall & near & shown(m)[at]
        left = tall & (state == Touched.OBSCURED)
        same_frame.append(paired(before[chosen], after[chosen]))
        obscured.append(paired(before[left], after[left]))
        chosen &= np.abs(m.track.poses[rows, 0]) <= 45
        sources.append(before[chosen])
        outputs.append(after[chosen])
    person = people(sources, _together(measures), _SAME_PERSON)
    threshold = recogniser.threshold
    groups = [[k for k, p in enumerate(person) if p == number] for number in sorted(set(person))]

    def pooled(codes: list[np.ndarray]) -> list[np.ndarray]:
        return [_thinned(np.concatenate([codes[k] for k in g])) for g in groups if sum(len(codes[k]) for k in g)]

    result = {}
    for prefix, codes in (("source ", pooled(sources)), ("", pooled(outputs))):
        inside = [within(c) for c in codes]
        between = [across(a, b).ravel() for k, a in enumerate(codes) for b in codes[k + 1 :]]
        result[f"{prefix}same"] = Matches.of(_joined(inside), threshold)
        result[f"{prefix}other"] = Matches.of(_joined(between), threshold)
    result["match"] = Matches.of(_joined(same_frame), threshold)
    result["obscured"] = Matches.of(_joined(obscured), threshold)
    return result


def _together(measures: Sequence[TrackMeasures]) -> list[list[int]]:
    frames: dict[int, list[int]] = {}
    for number, m in enumerate(measures):
        for frame in m.frames:
            frames.setdefault(int(frame), []).append(number)
    return [group for group in {tuple(v) for v in frames.values()} if len(group) > 1]


def _thinned(codes: np.ndarray) -> np.ndarray:
    if len(codes) <= _SAMPLE:
        return codes
    return codes[np.linspace(0, len(codes) - 1, _SAMPLE).astype(int)]


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0)


def _series(points: np.ndarray) -> dict[str, np.ndarray]:
    """Every measure of expression, one series each; gaze is NaN where the eyes are shut."""
    found = measures(points)
    return {
        **{name: found[name] for name in ("eye left", "eye right", "mouth", "gaze x", "gaze y")},
        "width": found["mouth width"],
        "smile": (found["smile left"] + found["smile right"]) / 2,
        "brow": (found["brow left"] + found["brow right"]) / 2,
    }


def _read_often(
    m: TrackMeasures, rows: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, float]]:
    """Each measure of source and output in ``rows``, bool (n,), means of all readings, and how well two readings of the
    source agree where eyes are open (a correlation): an output that is read once cannot be expected to do better."""
    if m.readings:
        readings = np.stack(m.readings)[rows]
    else:
        readings = np.stack([m.track.points[m.rows], np.stack(m.points)], axis=1)[rows][:, :, None]
    source, output = ([_series(readings[:, which, k]) for k in range(readings.shape[2])] for which in (0, 1))
    before, after = ({name: np.mean([s[name] for s in many], axis=0) for name in many[0]} for many in (source, output))
    wide = np.minimum(before["eye left"], before["eye right"]) >= attributes.SHUT
    agree = {}
    for name in before:
        x, y = source[0][name][wide], source[-1][name][wide]
        sound = len(source) > 1 and len(x) > 2 and min(x.std(), y.std()) > 0
        agree[name] = float(np.corrcoef(x, y)[0, 1]) if sound else float("nan")
    return before, after, agree


def _seen(values: np.ndarray, like: np.ndarray) -> np.ndarray:
    """``values`` (n,), NaN where ``like`` is."""
    return np.where(np.isfinite(like), values, np.nan)


_KEYS = {"eye left": "eye", "eye right": "eye", "mouth": "mouth", "gaze x": "gaze_x", "gaze y": "gaze_y"}
_KEYS |= {"width": "width", "smile": "smile", "brow": "brow"}


def _judged(m: TrackMeasures) -> np.ndarray:
    """Rows whose expression and pose are judged: shown, tall enough, not past 45 degrees; bool (n,)."""
    heights, yaws = _posed(m)
    return shown(m) & (heights >= MIN_FACE) & (yaws <= 45)


def _expression(measures: Sequence[TrackMeasures], detail: dict) -> dict[str, float]:
    found: dict[str, list[tuple[float, int]]] = {key: [] for key in _KEYS.values()}
    offsets: dict[str, list[tuple[float, int]]] = {"smile": [], "brow": []}
    for m in measures:
        rows = _judged(m)
        entry: dict[str, Any] = {"track": m.track.id, "judged": int(rows.sum())}
        height = float(np.median(_posed(m)[0][rows])) if rows.any() else 0.0
        if rows.sum() >= 3:
            source, output = m.track.points[m.rows][rows], np.stack(m.points)[rows]
            before, after, entry["read twice"] = _read_often(m, rows)
            once = _series(source), _series(output)
            entry["means"] = means(source, output)
            shut = np.minimum(once[0]["eye left"], once[0]["eye right"]) < attributes.SHUT
            for name, key in _KEYS.items():
                x, y = before[name].copy(), after[name]
                if key.startswith("gaze"):
                    x[shut] = np.nan
                least = attributes.least_range(name if name in attributes.LEAST_RANGE else key, height)
                # whether a source varies is asked of single readings, as of every clip before
                varies = attributes.agreement(_seen(once[0][name], x), once[1][name], m.frames[rows], least).varies
                fit = replace(attributes.agreement(x, y, m.frames[rows], least), varies=varies)
                entry[name] = asdict(fit)
                if name in offsets and np.isfinite(fit.offset):
                    offsets[name].append((fit.offset, fit.count))
                if fit.varies and np.isfinite(fit.correlation):
                    found[key].append((fit.correlation, fit.count))
                elif fit.varies:
                    found[key].append((0.0, fit.count))  # an output that does not move at all follows nothing
        detail["tracks"].append(entry)
    added = {f"{key}_added": _mean(pairs) for key, pairs in offsets.items()}
    return {key: _mean(pairs) for key, pairs in found.items()} | added


def _mean(pairs: list[tuple[float, int]]) -> float:
    weight = sum(count for _, count in pairs)
    return float(sum(value * count for value, count in pairs) / weight) if weight else float("nan")


def _pose(measures: Sequence[TrackMeasures], detail: dict) -> dict[str, float]:
    parts = []
    for m in measures:
        rows = _judged(m)
        if rows.any():
            turn = attributes.head_poses(np.stack(m.points)[rows]) - m.track.poses[m.rows][rows]
            parts.append((turn + 180) % 360 - 180)
    turns = np.concatenate(parts) if parts else np.full((0, 3), np.nan)
    names = ("yaw", "pitch", "roll")
    if not len(turns):
        return dict.fromkeys(names, float("nan"))
    bias, spread = turns.mean(0), turns.std(0)
    detail["pose"] = {n: {"bias": float(bias[k]), "spread": float(spread[k])} for k, n in enumerate(names)}
    return {n: float(np.abs(turns[:, k]).mean()) for k, n in enumerate(names)}


def _steadiness(measures: Sequence[TrackMeasures], detail: dict) -> dict[str, float]:
    ratios: dict[str, list[tuple[float, int]]] = {}
    before, after = [], []
    for m in measures:
        rows = calm(m) & (_posed(m)[0] >= MIN_FACE)
        if rows.sum() >= 3:
            source, output = m.track.points[m.rows][rows], np.stack(m.points)[rows]
            for name, value in attributes.jitter_ratio(source, output, m.frames[rows]).items():
                if np.isfinite(value):
                    ratios.setdefault(name, []).append((value, int(rows.sum())))
        steady = {int(f) for f in m.frames[rows]}
        for row, (x, y) in m.steps.items():
            frame = int(m.track.frames[row])
            if frame in steady and frame - 1 in steady:
                before.append(x)
                after.append(y)
    detail["jitter"] = {name: _mean(pairs) for name, pairs in ratios.items()}
    return {"jitter": _mean(ratios.get("all", [])), **asdict(Flicker.of(before, after))}


def _appearance(measures: Sequence[TrackMeasures], detail: dict) -> dict[str, float]:
    chosen = [(c, p) for m in measures for c, p, ok in zip(m.comparisons, m.presence, _judged(m), strict=True) if ok]
    sectors: dict[str, float] = {}
    if not chosen:
        return dict.fromkeys(
            ("presence", "tone", "softness", "grain", "ghost", "left", "structure", "seam", "detected"), float("nan")
        )
    seams = np.array([c.seams for c, _ in chosen])
    sectors = dict(zip(SECTORS, (float(v) for v in np.median(seams, axis=0)), strict=True))
    detail["seams"] = sectors
    sure = [after for m in measures for _, before, after in m.scores if before >= 0.5]
    return {
        "presence": float(np.mean([p >= 0.5 for _, p in chosen])),
        "tone": float(np.median([c.tone for c, _ in chosen])),
        "softness": float(np.median([c.softness for c, _ in chosen])),
        "grain": float(np.median([c.grain for c, _ in chosen])),
        "left": float(np.quantile([c.left for c, _ in chosen], 0.99)),
        "structure": float(np.median([c.structure for c, _ in chosen])),
        "ghost": float(np.median([c.ghost for c, _ in chosen])),
        "seam": max(sectors.values()),
        "detected": float(np.mean(np.array(sure) >= 0.5)) if sure else float("nan"),
    }


def _rows(measures: Sequence[TrackMeasures], recognisers: Sequence[Recogniser]) -> list[dict[str, Any]]:
    """Each sighting's numbers, all so that larger is worse: for finding what to look at."""
    out = []
    for m in measures:
        source, output = m.track.points[m.rows], np.stack(m.points)
        before, after = _series(source), _series(output)
        turns = np.abs((attributes.head_poses(output) - m.track.poses[m.rows] + 180) % 360 - 180)
        near = _nearness(m, recognisers)
        for k, (row, c) in enumerate(zip(m.rows, m.comparisons, strict=True)):
            step = m.steps.get(row)
            out.append(
                {
                    "frame": int(m.track.frames[row]),
                    "track": m.track.id,
                    "height": round(float(m.track.boxes[row][3]), 1),
                    "yaw_source": round(float(m.track.poses[row][0]), 1),
                    "touched": c.touched.value,
                    "identity": near.get(row),
                    "absent": round(1 - m.presence[k], 3),
                    "pose": round(float(turns[k].max()), 2),
                    "eye": round(max(abs(float(after[n][k] - before[n][k])) for n in ("eye left", "eye right")), 3),
                    "mouth": round(abs(float(after["mouth"][k] - before["mouth"][k])), 3),
                    "gaze": round(float(np.hypot(*(after[n][k] - before[n][k] for n in ("gaze x", "gaze y")))), 3),
                    "smile": round(abs(float(after["smile"][k] - before["smile"][k])), 3),
                    "brow": round(abs(float(after["brow"][k] - before["brow"][k])), 3),
                    "tone": round(c.tone, 2),
                    "ghost": round(c.ghost, 3),
                    "left": round(c.left, 3),
                    "seam": round(max(c.seams), 2),
                    "soft": round(abs(float(np.log(max(c.softness, 1e-3)))), 3),
                    "light": None if step is None else round(abs(step[1].mean - step[0].mean), 2),
                    "structure": round(c.structure, 3),
                    "likeness": round(c.likeness, 3),
                    "change": round(c.change, 2),
                    "softness": round(c.softness, 3),
                    "grain": round(c.grain, 3),
                }
            )
    return out


def _nearness(m: TrackMeasures, recognisers: Sequence[Recogniser]) -> dict[int, float]:
    """By row, how far inside a threshold source and output lie, in thresholds; negative outside."""
    out: dict[int, float] = {}
    for r in recognisers:
        if r.name in m.codes:
            rows, before, after = m.codes[r.name]
            for row, distance in zip(rows, paired(before, after), strict=True):
                value = round(1 - float(distance) / r.threshold, 3)
                out[int(row)] = max(out.get(int(row), -INF), value)
    return out
