"""From series of numbers to what an audit says: rates, criteria, and which moments to look at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deid.audit import attributes
from deid.audit.appearance import Touched
from deid.audit.identity import Matches, across, within
from deid.audit.notes import GALLERY, STATES, Seen, Stray, Watched
from deid.audit.people import Group, Rate, gallery, stacked
from deid.audit.series import MEASURES, MIN_FACE, Series
from deid.audit.targets import INF, TARGETS, Target

_JOINED = 2  # frames between two suspect moments that count as one
_MOST_SUSPECTS = 200
_MOST_CODES = 96
_FIELDS = {"dlib": "distance"}

CRITERIA = (
    Target("runs of two bare frames", "bare_runs", -INF, 0, ".0f",
           "places where a face is as it was for two frames or more, one after the other"),
    Target("bare faces", "bare", -INF, 0.0, ".4f", "share of all faces, frame by frame, that are as they were"),
    Target("replaced faces that match", "match", -INF, 0.003, ".4f",
           "share of replaced faces that a recogniser takes for the person who was filmed"),
    Target("matches of any one person", "match_worst", -INF, 0.05, ".4f", "the same, of the person with the most"),
    Target("people with two faces", "split", -INF, 0, ".0f",
           "people whose new face is not one and the same from one appearance to the next"),
    Target("people who share a face", "shared", -INF, 0, ".0f", "pairs of people whose new faces match"),
    Target("frames missing or added", "frames", -INF, 0, ".0f", "difference between the two clips' numbers of frames"),
    Target("seconds a frame is late", "times", -INF, 0.0021, ".4f", "the largest difference between two frames' times"),
)  # fmt: skip
"""What decides whether an audit passes; the other targets, of how well a face moves and looks, are told, not decisive:
a clip that moves badly betrays nobody."""


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """All that scoring needs. ``series`` and ``watched.faces`` go together."""

    watched: Watched
    series: list[Series]
    people: list[Group]
    thresholds: dict[str, float]

    def bare(self, k: int) -> np.ndarray:
        """Rows of face ``k`` that are as they were."""
        return self.series[k].is_state(Touched.KEPT)

    def matched(self, k: int, name: str | None = None) -> np.ndarray:
        """Rows of face ``k`` in which a recogniser (or the one of ``name``) takes source and output for one person."""
        of = self.series[k]
        out = np.zeros(len(of), bool)
        for judge, limit in self.thresholds.items():
            if name is None or judge == name:
                out |= of.notes[_FIELDS.get(judge, "other")] < limit  # NaN is no match
        return out & of.counted

    def asked(self, k: int) -> np.ndarray:
        """Rows of face ``k`` that a recogniser was asked about."""
        return np.isfinite(self.series[k].notes["distance"]) & self.series[k].counted

    def replaced(self, k: int) -> np.ndarray:
        """Rows of face ``k`` that show another face."""
        return self.series[k].is_state(Touched.REPLACED)


_Rows = Callable[[int], tuple[np.ndarray, np.ndarray]]


def _rows(m: Material) -> dict[str, _Rows]:
    """By the name of a rate: which rows hit, of which that count."""
    state = {name: Touched(name) for name in ("replaced", "obscured", "changing")}
    out: dict[str, _Rows] = {
        "leak": lambda k: (m.bare(k) | m.matched(k), m.series[k].counted),
        "bare": lambda k: (m.bare(k), m.series[k].counted),
    }
    for name, wanted in state.items():
        out[name] = lambda k, wanted=wanted: (m.series[k].is_state(wanted), m.series[k].counted)  # type: ignore[misc]
    out["match"] = lambda k: (m.matched(k), m.asked(k) & m.replaced(k))
    out["obscured_match"] = lambda k: (m.matched(k), m.asked(k) & m.series[k].is_state(Touched.OBSCURED))
    out["seen_again"] = lambda k: (m.series[k].notes["again"] > 0, m.replaced(k))
    return out


RATES = {
    "leak": "faces that are as they were, or that a recogniser still takes for the person",
    "bare": "faces that are as they were",
    "replaced": "faces that show another person's face",
    "obscured": "faces that are blurred, in squares, or one colour",
    "changing": "faces between the two: half covered",
    "match": "replaced faces that a recogniser takes for the person who was filmed",
    "obscured_match": "obscured faces that a recogniser takes for the person who was filmed",
    "seen_again": "replaced faces that the second detector takes for a face, as it should",
}
"""What is counted, frame by frame, of all faces but those kept on purpose."""


def rates(m: Material, people: Sequence[Group]) -> dict[str, dict[str, Any]]:
    """Every rate of :data:`RATES` over ``people``."""
    out = {}
    for name, rows in _rows(m).items():
        pairs = []
        for person in people:
            both = [rows(k) for k in person.faces]
            pairs.append((sum(int((hit & of).sum()) for hit, of in both), sum(int(of.sum()) for _, of in both)))
        out[name] = Rate.over(pairs).as_dict()
    return out


def groups(m: Material) -> dict[str, dict[str, Any]]:
    """:func:`rates` by apparent gender, age and skin tone."""
    out: dict[str, dict[str, Any]] = {}
    for kind in ("gender", "age", "skin"):
        bands = dict.fromkeys(getattr(p, kind) for p in m.people)
        out[kind] = {band: rates(m, [p for p in m.people if getattr(p, kind) == band]) for band in bands}
    return out


def identity(m: Material) -> tuple[dict[str, Any], dict[str, float]]:
    """Per recogniser how alike sources and outputs are, and the values that criteria and targets look at."""
    detail: dict[str, dict[str, Any]] = {}
    values = {"split": 0.0, "shared": 0.0, "same": np.nan, "other": np.nan}
    for judge, limit in m.thresholds.items():
        outputs = [[_codes(m.watched.faces[k], judge) for k in p.faces] for p in m.people]
        pooled = [stacked([c for face in faces for c in face], _MOST_CODES) for faces in outputs]
        pooled = [p for p in pooled if len(p)]
        same = Matches.of(_joined([within(p) for p in pooled]), limit)
        other = Matches.of(
            _joined([across(a, b).ravel() for k, a in enumerate(pooled) for b in pooled[k + 1 :]]), limit
        )
        known = [[c for k in p.faces for c in _own(m.watched.faces[k], judge)] for p in m.people]
        filmed = [stacked(codes, _MOST_CODES) for codes in known if codes]
        chance = Matches.of(
            _joined([across(a, b).ravel() for k, a in enumerate(filmed) for b in filmed[k + 1 :]]), limit
        )
        paired = _joined([m.series[k].notes[_FIELDS.get(judge, "other")][m.replaced(k) & m.asked(k)]
                          for p in m.people for k in p.faces])  # fmt: skip
        detail[judge] = {
            "threshold": limit,
            "source_to_output": _told(Matches.of(paired, limit)),
            "outputs_of_one_person": _told(same),
            "outputs_of_two_people": _told(other),
            "originals_of_two_people": _told(chance),
            "split_people": sum(_split(faces, limit) for faces in outputs),
            "shared_faces": sum(_one_face(a, b, limit) for k, a in enumerate(pooled) for b in pooled[k + 1 :]),
        }
        values["split"] = max(values["split"], float(detail[judge]["split_people"]))
        values["shared"] = max(values["shared"], float(detail[judge]["shared_faces"]))
        values["same"] = float(np.nanmin([values["same"], same.rate])) if same.pairs else values["same"]
        values["other"] = float(np.nanmax([values["other"], other.rate])) if other.pairs else values["other"]
    return detail, values


def _codes(seen: Seen, name: str) -> list[np.ndarray]:
    return list(stacked(seen.output[name].kept, GALLERY)) if name in seen.output else []


def _own(seen: Seen, name: str) -> list[np.ndarray]:
    return list(stacked(seen.source[name].kept, GALLERY)) if name in seen.source else []


def _split(faces: list[list[np.ndarray]], limit: float) -> bool:
    """Whether a person's new face is another from one appearance to the next."""
    there = [stacked(f) for f in faces if len(f) >= 3]
    return any(not _one_face(a, b, limit) for k, a in enumerate(there) for b in there[k + 1 :])


def _one_face(a: np.ndarray, b: np.ndarray, limit: float) -> bool:
    return bool(np.median(across(a, b)) < limit)


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0)


def _told(found: Matches) -> dict[str, float | int | None]:
    names = ("rate", "low", "median", "high")
    return {"pairs": found.pairs, **{n: _number(getattr(found, n)) for n in names}}


def _number(value: float | None, digits: int = 4) -> float | None:
    return None if value is None or not np.isfinite(value) else round(float(value), digits)


def recognised(m: Material) -> dict[str, Any]:
    """Every replaced face beside everybody in the source: how many lie nearer to a person's pictures, at the median,
    than dlib's threshold; ``own``: to the person's whose place they take, ``another``: to someone else's."""
    galleries = [gallery(p) for p in m.people]
    own = another = count = 0
    for person in m.people:
        for k in person.faces:
            rows = np.flatnonzero(m.replaced(k) & m.asked(k))
            numbers = np.array(m.watched.faces[k].records, np.int64)[rows]
            for start in range(0, len(numbers), 500):
                codes = m.watched.records.read(numbers[start : start + 500])["photo"]["code"].astype(np.float32)
                near = np.stack([
                    np.median(across(codes, g), axis=1) < m.thresholds["dlib"] if len(g) else np.zeros(len(codes), bool)
                    for g in galleries
                ])  # fmt: skip
                place = m.people.index(person)
                own += int(near[place].sum())
                another += int(np.delete(near, place, axis=0).any(0).sum())
                count += len(codes)
    return {"faces": count, "own": own, "another": another}


def retention(m: Material) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """How expression, gaze and pose follow, by measure, and the targets' values."""
    out, values = [], {}
    by_key: dict[str, list[tuple[float, int]]] = {}
    for name, key in MEASURES.items():
        fits = [f for k in range(len(m.series)) if (f := _fit(m.series[k], name, key)) is not None]
        moving = [f for f in fits if f.varies]
        weight = sum(f.count for f in moving)
        r = sum(float(np.nan_to_num(f.correlation)) * f.count for f in moving) / weight if weight else np.nan
        gain = sum(f.gain * f.count for f in moving) / weight if weight else np.nan
        lag = sum(f.lag * f.count for f in moving) / weight if weight else np.nan
        by_key.setdefault(key, []).append((r, weight))
        out.append({"measure": name, "r": _number(r), "gain": _number(gain), "frames_late": _number(lag, 2),
                    "frames_varying": weight})  # fmt: skip
    for key, pairs in by_key.items():
        weight = sum(n for _, n in pairs)
        values[key] = sum(r * n for r, n in pairs if n) / weight if weight else np.nan
    turns = [_turns(s) for s in m.series]
    every = np.concatenate(turns) if turns else np.zeros((0, 3))
    for k, name in enumerate(("yaw", "pitch", "roll")):
        values[name] = float(np.abs(every[:, k]).mean()) if len(every) else np.nan
    return out, values


def _fit(s: Series, name: str, key: str) -> attributes.Agreement | None:
    rows = s.judged
    if rows.sum() < 3:
        return None
    x, y = s.before[name][rows].copy(), s.after[name][rows]
    if key.startswith("gaze"):
        x[np.minimum(s.before["eye left"], s.before["eye right"])[rows] < attributes.SHUT] = np.nan
    least = attributes.least_range(name if key.startswith("gaze") else key, float(np.median(s.heights[rows])))
    return attributes.agreement(x, y, s.frames[rows], least)


def _turns(s: Series) -> np.ndarray:
    rows = s.judged
    return (s.poses[rows, 1] - s.poses[rows, 0] + 180) % 360 - 180


def jitter(m: Material) -> dict[str, float | None]:
    """Fast movement of the output's mesh over the source's, the whole face and by part."""
    found: dict[str, list[tuple[float, int]]] = {}
    for s in m.series:
        if len(s.bends):
            for name, value in attributes.steadiness(s.bends[:, 0], s.bends[:, 1], s.sizes).items():
                if np.isfinite(value):
                    found.setdefault(name, []).append((value, len(s.bends)))
    return {name: _number(sum(v * n for v, n in p) / sum(n for _, n in p)) for name, p in found.items()}


def values_of_targets(m: Material) -> dict[str, float]:
    """Shares of replaced faces by how far they are turned."""
    out = {}
    for limit in (45, 60):
        rows = [(m.replaced(k), s.counted & (s.heights >= MIN_FACE) & (s.turned <= limit))
                for k, s in enumerate(m.series)]  # fmt: skip
        count = sum(int(of.sum()) for _, of in rows)
        out[f"replaced_{limit}"] = sum(int((hit & of).sum()) for hit, of in rows) / count if count else np.nan
    return out


def bare_runs(m: Material) -> int:
    """Places where a face is as it was in two frames or more that follow one another."""
    runs = 0
    for k, s in enumerate(m.series):
        frames = s.frames[m.bare(k)]
        steps = np.diff(frames) == 1
        runs += int((steps & ~np.r_[False, steps[:-1]]).sum()) if len(steps) else 0
    for chain in chains([s for s in m.watched.strays if s.sure]):
        runs += len(chain) >= 2
    return runs


def chains(strays: Sequence[Stray]) -> list[list[Stray]]:
    """Sightings of one place in frames that follow one another."""
    from deid.audit.faces import overlap

    out: list[list[Stray]] = []
    for stray in strays:
        last = next((c for c in out if 0 < stray.frame - c[-1].frame <= _JOINED and
                     overlap(stray.box, c[-1].box) > 0.3), None)  # fmt: skip
        if last is None:
            out.append([stray])
        else:
            last.append(stray)
    return out


def suspects(m: Material) -> list[dict[str, Any]]:
    """Moments to look at, the leaks first: times, whose face, and why."""
    seconds = m.watched.seconds
    out = []
    owner = {k: p.id for p in m.people for k in p.faces}
    for k, s in enumerate(m.series):
        reasons = {
            "the face is as it was": m.bare(k),
            "a recogniser still knows the person": m.matched(k) & ~m.bare(k),
            "the landmark model sees no face where one was put": m.replaced(k) & (s.notes["presence"] < 0.5),
        }
        for order, (why, rows) in enumerate(reasons.items()):
            for first, last in _runs(s.frames[rows]):
                out.append((order, {"person": owner[k], "why": why} | _span(first, last, seconds)))
    for chain in chains(m.watched.strays):
        sure = any(s.sure for s in chain)
        if not sure and len(chain) < 2:
            continue  # a detector's mistakes seldom last
        why = "a second detector found a face that is as it was" if sure else "a second detector takes an unchanged " \
            "place for a face; the landmark model does not"  # fmt: skip
        span = _span(chain[0].frame, chain[-1].frame, seconds)
        place = [round(float(v)) for v in chain[0].box]
        out.append((0 if sure else 3, {"person": None, "why": why, "place": place} | span))
    out.sort(key=lambda item: (item[0], item[1]["first_frame"]))
    return [entry for _, entry in out[:_MOST_SUSPECTS]]


def _span(first: int, last: int, seconds: list[float]) -> dict[str, Any]:
    return {
        "first_frame": int(first), "last_frame": int(last),
        "start": round(seconds[first], 3), "end": round(seconds[last], 3),
    }  # fmt: skip


def _runs(frames: np.ndarray) -> list[tuple[int, int]]:
    if not len(frames):
        return []
    cut = np.flatnonzero(np.diff(frames) > _JOINED)
    return list(zip(frames[np.r_[0, cut + 1]].tolist(), frames[np.r_[cut, len(frames) - 1]].tolist(), strict=True))


def judged(targets: Sequence[Target], values: dict[str, float]) -> list[dict[str, Any]]:
    """Each target with its value and whether that meets it; JSON-able."""
    return [
        {
            "name": t.name, "key": t.key, "value": _number(values.get(t.key), 5), "met": t.met(values.get(t.key)),
            "at_least": t.low if np.isfinite(t.low) else None, "at_most": t.high if np.isfinite(t.high) else None,
            "means": t.means,
        }
        for t in targets
    ]  # fmt: skip


def fidelity(values: dict[str, float]) -> list[dict[str, Any]]:
    """The targets that do not decide."""
    return judged([t for t in TARGETS if t.key not in ("kept", "match")], values)


def states_of(s: Series) -> dict[str, int]:
    """Frames by what was done to the face."""
    out = {name: int(((s.notes["state"] == n) & s.counted).sum()) for n, name in enumerate(STATES)}
    out["kept as asked"] = int((~s.counted).sum())
    return {("bare" if name == "kept" else name): n for name, n in out.items() if n}
