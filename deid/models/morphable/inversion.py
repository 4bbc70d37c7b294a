"""From the records of the first pass to codes: one identity a track, attributes for every frame of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from deid.detection.hands import Hand
from deid.models.morphable import fit, light, smoothing, trust
from deid.models.morphable.bites import Bites, bites_of
from deid.models.morphable.codes import AttributeCode
from deid.models.morphable.face_points import MESH_POINTS
from deid.models.morphable.far_side import far_side
from deid.models.morphable.finish import CODE_TO_LINEAR8
from deid.models.morphable.geometry import Geometry
from deid.models.morphable.held import clear_rows, covered, held, hidden_points, turned_away
from deid.models.morphable.photo_hidden import hidden_samples
from deid.models.morphable.photo_things import behind_things, followed
from deid.models.morphable.tracks import AttributeTrack, Observations, evenly
from deid.models.morphable.trust import Trust
from deid.tracking.records import Records

_BRIDGED = 3  # frames without a mesh between two with one: interpolated
_WINDOW, _OVERLAP = 1500, 60  # frames fitted at once
_IDENTITY_ROWS = 400
_PRESENCE_BETWEEN = 0.5
_LEAST_CLEAR, _CLEAR_SHARE = 12, 0.1  # frames, and share of a track, from which what is covered is left out
_HIDDEN_OFTEN = 0.3  # share of frames


@dataclass(frozen=True, slots=True, eq=False)
class Witnessed:
    """Where the meshes of a track lie in the record file.

    ``frames``: int32 (n,), those that have a mesh or lie between near ones that have. ``before``, ``after``: int64
    (n,), records to interpolate between (the same one where there is a mesh). ``share``: float32 (n,), of ``after``.
    """

    frames: np.ndarray
    before: np.ndarray
    after: np.ndarray
    share: np.ndarray

    @classmethod
    def of(cls, frames: np.ndarray, numbers: np.ndarray) -> Witnessed:
        """``frames``: those of the records ``numbers``, increasing."""
        rows: list[tuple[int, int, int, float]] = []
        for i, (frame, number) in enumerate(zip(frames.tolist(), numbers.tolist(), strict=True)):
            gap = frame - int(frames[i - 1]) if i else 1
            if 1 < gap <= _BRIDGED + 1:
                last = int(numbers[i - 1])
                rows += [(frame - gap + k, last, number, k / gap) for k in range(1, gap)]
            rows.append((frame, number, number, 0.0))
        table = list(zip(*rows, strict=True)) if rows else [(), (), (), ()]
        return cls(
            np.array(table[0], np.int32),
            np.array(table[1], np.int64),
            np.array(table[2], np.int64),
            np.array(table[3], np.float32),
        )

    def __len__(self) -> int:
        return len(self.frames)

    def points(self, records: Records, row: int) -> np.ndarray:
        """float32 (478, 3): the mesh of one row, as :meth:`read` has it, in a fraction of the time."""
        first, second, share = int(self.before[row]), int(self.after[row]), self.share[row]
        seen = Records.points(records.read(np.array([first] if first == second else [first, second])))
        return np.asarray(seen[0] * (1 - share) + seen[-1] * share, np.float32)

    def read(self, records: Records, rows: np.ndarray, size: tuple[int, int]) -> tuple[Observations, np.ndarray]:
        """Observations of some rows, and their photometric notes."""
        numbers, place = np.unique(np.concatenate([self.before[rows], self.after[rows]]), return_inverse=True)
        data = records.read(numbers)
        points = Records.points(data)
        first, second = place[: len(rows)], place[len(rows) :]
        share = self.share[rows]
        mixed = points[first] * (1 - share)[:, None, None] + points[second] * share[:, None, None]
        presence = np.where(share > 0, np.minimum(data["presence"][first], _PRESENCE_BETWEEN), data["presence"][first])
        seen = Observations(self.frames[rows], mixed.astype(np.float32), presence.astype(np.float32), size)
        nearest = np.where(share > 0.5, second, first)
        return seen, data["photo"][nearest]


@dataclass(frozen=True, slots=True, eq=False)
class TrackCodes:
    """A track inverted. ``witnessed``: its frames and meshes. ``identity``: the person's shape. ``attributes``:
    smoothed, of the subject. ``lights``: one a row. ``trust``: which rows can be replaced, and why not. ``things``: by
    row, what lies before the face. ``bites``: what of the teeth is seen, ``None`` where nothing is known of it.
    ``lids``: float32 (n or 0, 2, 2, 3), by eye, linear RGB of the upper lid's edge and of the lid, 0 where not told."""

    witnessed: Witnessed
    identity: fit.IdentityFit
    attributes: AttributeTrack
    lights: light.LightTrack
    trust: Trust
    things: Mapping[int, np.ndarray] = field(default_factory=dict)
    bites: Bites | None = None
    lids: np.ndarray = field(default_factory=lambda: np.empty((0, 2, 2, 3), np.float32))


def code_at(codes: TrackCodes, attributes: AttributeTrack, row: int) -> AttributeCode:
    """Everything that a frame says about a face, for the renderer and the compositor."""
    light = codes.lights.light(row)
    if codes.bites is not None:
        light = replace(light, mouth=codes.bites.light(row))
    return AttributeCode(
        attributes.expression[row],
        attributes.gaze[row],
        attributes.camera(row),
        light,
        float(codes.lights.blur[row]),
        float(codes.lights.grain[row]),
        float(codes.lights.chroma_grain[row]),
        float(codes.lights.grain_size[row]),
        float(codes.lights.glow[row]) if len(codes.lights.glow) else 0.0,
    )


def invert_track(
    geometry: Geometry,
    records: Records,
    frames: np.ndarray,
    numbers: np.ndarray,
    seconds: Sequence[float],
    rate: float,
    size: tuple[int, int],
    hands: Mapping[int, Sequence[Hand]] | None = None,
    things: Mapping[int, bytes] | None = None,
    identity: fit.IdentityFit | None = None,
    lit: Callable[..., light.LightTrack] = light.estimate_light,
) -> TrackCodes:
    """``frames``, ``numbers``: the track's records; at least one. ``seconds``: times of all frames of the clip.
    ``rate``: frames a second. ``size``: of the picture. ``hands``: those before the face, by frame, in frame
    pixels: no light is read off them. ``things``: looks for other things, as :func:`.photo_things.followed` takes
    them. ``identity``: the person's shape, where it is known already. ``lit``: measures the light."""
    witnessed = Witnessed.of(frames, numbers)
    count = len(witnessed)
    times = np.asarray(seconds, np.float64)[witnessed.frames]
    before = followed(things or {}, witnessed.frames, times)
    gone = _hidden(witnessed, records, size, hands, before)
    shares = covered(gone, count)
    identity = identity or _identity(geometry, witnessed, records, size, gone, clear_rows(shares))
    fitted, photos, hidden = [], [], []
    for start in range(0, count, _WINDOW):
        keep = slice(start, min(start + _WINDOW, count))
        wide = slice(max(0, keep.start - _OVERLAP), min(count, keep.stop + _OVERLAP))
        seen, notes = witnessed.read(records, np.arange(wide.start, wide.stop), size)
        raw_points = seen.points
        if gone is not None:
            seen = fit.completed(geometry, identity, seen, gone[wide])
        part = fit.fit_attributes(
            geometry, identity.shape, identity.distance, seen, offsets=identity.offsets, scale=identity.scale,
            whole=False,
        )  # fmt: skip
        inner = np.arange(keep.start - wide.start, keep.stop - wide.start)
        fitted.append(_rows(part, inner))
        photos.append(notes[inner])
        behind = hidden_samples(seen.frames[inner], raw_points[inner], hands or {})
        under = behind_things(raw_points[inner], before, keep.start)
        hidden.append(under if behind is None else under | behind)
    whole = held(AttributeTrack.joined(fitted), geometry.expression_names, shares, times)
    whole = turned_away(whole, geometry.expression_names)
    raw = fit.finish_attributes(geometry, identity.shape, whole)
    attributes = smoothing.smooth_attributes(raw, times)
    lights = lit(
        np.concatenate(photos), geometry, geometry.neutral(identity.shape), attributes.expression,
        attributes.rotation, times, hidden=np.concatenate(hidden),
    )  # fmt: skip
    bites = bites_of(np.concatenate(photos), attributes, lights.tone, lights.white)
    lids = CODE_TO_LINEAR8[np.concatenate(photos)["lids"]]
    far = far_side(
        np.concatenate(photos), geometry, geometry.neutral(identity.shape), attributes, lights, np.concatenate(hidden)
    )
    judged = trust.judge(raw, rate, confidence=lights.confidence, far=far)
    return TrackCodes(witnessed, identity, attributes, lights, judged, before, bites, lids)


def _hidden(
    witnessed: Witnessed, records: Records, size: tuple[int, int], hands: Mapping[int, Sequence[Hand]] | None,
    things: Mapping[int, np.ndarray],
) -> np.ndarray | None:  # fmt: skip
    """bool (n, 468): which mesh points are hidden in each row, ``None`` where nothing is."""
    if not hands and not things:
        return None
    parts: list[np.ndarray] = []
    for start in range(0, len(witnessed), _WINDOW):
        rows = np.arange(max(0, start - _OVERLAP), min(start + _WINDOW + _OVERLAP, len(witnessed)))
        seen, _ = witnessed.read(records, rows, size)
        near = {row - int(rows[0]): belief for row, belief in things.items() if rows[0] <= row <= rows[-1]}
        found = hidden_points(seen.frames, seen.points, hands, near)
        keep = slice(start - int(rows[0]), min(start + _WINDOW, len(witnessed)) - int(rows[0]))
        parts.append(np.zeros((keep.stop - keep.start, MESH_POINTS), bool) if found is None else found[keep])
    whole: np.ndarray = np.concatenate(parts)
    return whole if whole.any() else None


def _identity(
    geometry: Geometry, witnessed: Witnessed, records: Records, size: tuple[int, int], gone: np.ndarray | None,
    clear: np.ndarray,
) -> fit.IdentityFit:  # fmt: skip
    """The person's shape, from frames in which nothing lies before the face as far as there are such."""
    rows = np.arange(len(witnessed))
    if gone is not None and clear.sum() >= max(_LEAST_CLEAR, _CLEAR_SHARE * len(rows)):
        rows = rows[clear]
    chosen = evenly(rows, _IDENTITY_ROWS)
    seen, _ = witnessed.read(records, chosen, size)
    identity = fit.fit_identity(geometry, seen)
    if gone is not None and (~clear[chosen]).mean() > _HIDDEN_OFTEN:
        for _ in range(2):
            identity = fit.fit_identity(geometry, fit.completed(geometry, identity, seen, gone[chosen]))
    return identity


def _rows(of: Any, rows: np.ndarray) -> Any:
    """Some rows of a dataclass of arrays."""
    return replace(of, **{f.name: getattr(of, f.name)[rows] for f in fields(of)})
