"""What happens to every face in every frame, decided once between the two passes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum

import numpy as np

from deid.choice import Fate
from deid.config import RunConfig
from deid.errors import UsageError
from deid.redaction import Region, regions_of
from deid.types import Analysis, MediaInfo, Track


class State(IntEnum):
    """What is done to a face in one frame."""

    OBSCURED = 0
    REPLACED = 1
    CHANGING = 2
    """Between the two: the new face shows through what obscures it."""
    KEPT = 3


@dataclass(frozen=True, slots=True)
class Veil:
    """A region that is obscured in part, ``opacity`` above 0 and below 1, over a face that is replaced beneath it."""

    region: Region
    opacity: float


@dataclass(frozen=True, slots=True)
class FaceAt:
    """A face to replace in one frame: ``row`` is its place in its track's codes."""

    track: int
    row: int


@dataclass(frozen=True, slots=True, eq=False)
class Replacement:
    """How far an engine can replace the face of one track.

    ``rows``: int32 (n,), for each frame of the track its row in the engine's codes, -1 where there is none.
    ``weights``: float32 (n,), 1 replaced, 0 obscured. ``reasons``: (n,) of str, why it is not replaced, empty where it
    is. ``doubtful``: bool (n,), frames that the check should look at first.
    """

    rows: np.ndarray
    weights: np.ndarray
    reasons: tuple[str, ...]
    doubtful: np.ndarray | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """``outcomes``: what happens to each track for the most part, and why, by track id. ``regions``, ``veils``,
    ``faces``: by frame. ``states``: uint8 (n,) :class:`State` by track id. ``reasons``: frames by reason for which a
    track is obscured although it might have been replaced. ``doubtful``: bool (n,) by track id, see
    :class:`Replacement`."""

    outcomes: dict[int, tuple[str, str]]
    regions: dict[int, list[Region]]
    kept: tuple[Track, ...]
    veils: dict[int, list[Veil]] = field(default_factory=dict)
    faces: dict[int, list[FaceAt]] = field(default_factory=dict)
    states: dict[int, np.ndarray] = field(default_factory=dict)
    reasons: dict[int, dict[str, int]] = field(default_factory=dict)
    doubtful: dict[int, np.ndarray] = field(default_factory=dict)

    @property
    def replaces(self) -> bool:
        """Whether any face is replaced in any frame."""
        return bool(self.faces)

    def among(self, frames: range) -> Plan:
        """What happens in ``frames`` only; what is told of tracks is as it was."""
        return replace(
            self,
            regions={f: self.regions[f] for f in frames if f in self.regions},
            veils={f: self.veils[f] for f in frames if f in self.veils},
            faces={f: self.faces[f] for f in frames if f in self.faces},
        )


def make_plan(
    analysis: Analysis,
    config: RunConfig,
    replacements: dict[int, Replacement] | None = None,
    fates: Mapping[int, Fate] | None = None,
) -> Plan:
    """Decide for every track, and lay out every frame. ``fates``: by track, what was asked for beside ``config.keep``.
    Raises :class:`UsageError` when ``keep`` names no track."""
    fates = {**(fates or {}), **{number: Fate(True, "as asked with --keep") for number in config.keep}}
    known = {t.id for t in analysis.tracks}
    unknown = sorted(set(config.keep) - known)
    if unknown:
        there = f"tracks 1 to {len(known)}" if known else "no tracks"
        raise UsageError(f"--keep names track {unknown[0]}, but the clip has {there}; list them with --dry-run.")
    plan = Plan({}, {}, tuple(t for t in analysis.tracks if t.id in fates and fates[t.id].kept))
    for track in analysis.tracks:
        fate = fates.get(track.id)
        if fate is not None and fate.kept:
            plan.outcomes[track.id] = ("kept", fate.why)
            plan.states[track.id] = np.full(len(track), State.KEPT, np.uint8)
        elif fate is not None:
            _lay_out(plan, track, None, rate_of(analysis.media), fate.by, config.cover)
            plan.outcomes[track.id] = ("obscured", fate.why)
        else:
            # what only the detector takes for a face (a pattern, a poster's corner) is never given one
            found = (replacements or {}).get(track.id) if track.confirmed else None
            _lay_out(plan, track, found, rate_of(analysis.media), cover=config.cover)
    return replace(plan, regions={frame: _outermost(here) for frame, here in plan.regions.items()})


_NEARER, _BEHIND = 1.3, 0.33
"""How much larger than a face's own region an obscured one is that lies before it; the share of the face that it
hides."""


def behind(analysis: Analysis, plan: Plan) -> list[tuple[int, FaceAt]]:
    """(frame, face) where a face is to be replaced of which the obscured region of somebody nearer hides a good part:
    half of a face would lie on a disc, and of the mesh of such a face half is guessed."""
    rate = rate_of(analysis.media)
    tracks = {track.id: track for track in analysis.tracks}
    own: dict[int, tuple[Region, ...]] = {}
    u, v = (g.ravel() for g in np.meshgrid(np.linspace(-0.45, 0.45, 7), np.linspace(-0.45, 0.45, 7)))
    found = []
    for frame in sorted(plan.faces.keys() & plan.regions.keys()):
        for face in plan.faces[frame]:
            track = tracks[face.track]
            if track.id not in own:
                own[track.id] = regions_of(track, rate)
            mine = own[track.id][frame - track.first]
            nearer = [r for r in plan.regions[frame] if r.ax * r.ay > _NEARER**2 * mine.ax * mine.ay]
            cx, cy, w, h = (float(n) for n in track.box_at(frame)[:4])
            points = np.stack([cx + u * w, cy + v * h], axis=1)
            if nearer and np.any([r.contains(points) for r in nearer], axis=0).mean() > _BEHIND:
                found.append((frame, face))
    return found


def _lay_out(
    plan: Plan, track: Track, replacement: Replacement | None, rate: float, by: str = "", cover: str = "face"
) -> None:
    weights = np.zeros(len(track), np.float32) if replacement is None else replacement.weights
    states = np.where(weights >= 1, State.REPLACED, np.where(weights <= 0, State.OBSCURED, State.CHANGING))
    plan.states[track.id] = states.astype(np.uint8)
    if replacement is not None and replacement.doubtful is not None:
        plan.doubtful[track.id] = replacement.doubtful
    for offset, region in enumerate(regions_of(track, rate, cover)):
        frame, weight = track.first + offset, float(weights[offset])
        if replacement is not None and weight > 0:
            plan.faces.setdefault(frame, []).append(FaceAt(track.id, int(replacement.rows[offset])))
        if weight <= 0:
            plan.regions.setdefault(frame, []).append(replace(region, by=by) if by else region)
        elif weight < 1:
            plan.veils.setdefault(frame, []).append(Veil(region, 1 - weight))
    plan.outcomes[track.id] = _outcome(plan, track, replacement, states)


def _outcome(plan: Plan, track: Track, replacement: Replacement | None, states: np.ndarray) -> tuple[str, str]:
    if replacement is None:
        return "obscured", "" if track.confirmed else "not confirmed as a face by the landmark model"
    counted: dict[str, int] = {}
    for state, why in zip(states, replacement.reasons, strict=True):
        if state == State.OBSCURED and why:
            counted[why] = counted.get(why, 0) + 1
    plan.reasons[track.id] = dict(sorted(counted.items(), key=lambda item: -item[1]))
    if (states == State.OBSCURED).mean() > 0.5:
        return "obscured", next(iter(plan.reasons[track.id]), "")
    return "replaced", ""


def _outermost(regions: list[Region]) -> list[Region]:
    """Without those that lie wholly inside another: drawn over it they would show as a disc upon a disc. Smaller ones
    come first, so that of two that overlap the larger, which is the nearer face, lies on top."""
    by_size = sorted(regions, key=lambda r: r.ax * r.ay)
    return [
        r
        for i, r in enumerate(by_size)
        if not any(other.by == r.by and bool(other.contains(r.outline(24)).all()) for other in by_size[i + 1 :])
    ]


_MOST_FRAMES_A_SECOND = 480.0
"""Headers can claim any number, and what is done for a second of frames would take for ever."""


def rate_of(info: MediaInfo) -> float:
    """Frames a second, as far as the source says."""
    rate = 25.0
    if info.average_rate:
        rate = float(info.average_rate)
    elif info.frames and info.seconds:
        rate = info.frames / info.seconds
    return min(max(rate, 0.1), _MOST_FRAMES_A_SECOND)
