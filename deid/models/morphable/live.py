"""The everyday engine on a stream: everything that a run knows of a whole clip, from what is at hand.

A face is obscured until enough of it has been seen; then its shape is fitted, once, and somebody is chosen to stand in,
or, where a recogniser knows the person from earlier in the stream, found again. From then on each window is inverted
with that shape. What must be known over a long time (how wide somebody usually holds the eyes, how lips close, how the
light lies on the whole face) is told by rows of the past that go along with every window, a few dozen spread over all
that was seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from deid.config import RunConfig
from deid.detection.landmarks import FaceLandmarker
from deid.models.engine import Found
from deid.models.morphable.before_faces import hands_by_row, hands_of, things_of
from deid.models.morphable.casting import Casting, Role, Shown
from deid.models.morphable.casts import Cast
from deid.models.morphable.engine import MorphableEngine
from deid.models.morphable.inversion import TrackCodes, invert_track
from deid.models.morphable.light_track import LightTrack
from deid.models.morphable.likenesses import likeness_of, wearing
from deid.models.morphable.live_faces import Face, Known, Part
from deid.models.morphable.live_light import beginning_at, in_haze, mixed, seldom_lit, shown_in
from deid.models.morphable.recent import RecentRecords
from deid.models.morphable.replacing import leave_out_heads, replacement_of
from deid.models.morphable.surrogate import again
from deid.models.morphable.trust import coverage
from deid.people import Person, chips_of, clear_ones, find_people, telling
from deid.plan import Replacement, rate_of
from deid.progress import Progress
from deid.recognition.thresholds import FAR_1E3
from deid.types import Track

if TYPE_CHECKING:
    from deid.personas import Book
    from deid.stream.window import Batch

_LEAST_ROWS, _ENOUGH_SECONDS = 8, 0.6  # meshes from which on somebody may be chosen, and seconds of them that suffice
_LEAST_HEIGHT = 38.0  # pixels of a face, as :mod:`.trust` has it
_AGAIN_SECONDS, _LONGEST_WAIT = 0.6, 5.0  # before it is tried again, each time twice as long
_KEPT_SECONDS = 4.0  # of meshes, beside those rows
_SETTLING = 0.4  # seconds in which what a window says differently from the one before is taken over
_FADE = 0.16  # seconds from obscured to replaced, at least
_MANY, _SPELL, _REST = 3, 1.0, 2.0  # refusals within so many seconds after which a face is obscured for so long
_OTHERS = 12  # people whom a new surrogate is kept unlike, the latest
_TEMPLATES = 12  # codes of a person that are kept
_RECOGNISED, _CHANGES = 4, 2  # pictures of a face that are kept; times that somebody else stands in for it


class LiveEngine(MorphableEngine):
    """``ahead``: seconds that a window looks ahead. ``waits``: whether the stream waits while somebody is chosen, so
    that what comes out depends on the frames only; otherwise the face is obscured meanwhile."""

    def __init__(self, config: RunConfig, seed: int, ahead: float, *, waits: bool, book: Book | None = None) -> None:
        self._recent = RecentRecords(self.record)
        super().__init__(config, seed, book, self._recent)
        self._ahead, self._waits = ahead, waits
        self._faces: dict[int, Face] = {}
        self._shown: dict[int, Face] = {}  # by the tracks of the batch that was looked at last
        self._known: list[Known] = []
        self._count = 0
        self._numbers = 1 << 30  # of tracks, beside those of faces
        self._choosing = ThreadPoolExecutor(1, thread_name_prefix="choose")

    @property
    def people_met(self) -> int:
        """How many people were given somebody who stands in."""
        return len(self._known)

    def close(self) -> None:
        self._choosing.shutdown(wait=True, cancel_futures=True)
        super().close()

    # -- a window -----------------------------------------------------------------------------------------------------

    def look(self, batch: Batch) -> tuple[Batch, dict[int, Replacement]]:
        """The batch with tracks numbered afresh, and how far each of its faces can be replaced. Frames of the batch
        before must have been painted."""
        chips = self.observer.finish()
        self._rate = rate_of(batch.analysis.media)
        self._seconds = cast(Sequence[float], batch.seconds)
        matched = self._recent.match(batch.analysis.tracks)
        fresh = {t.id: self._fresh() for t in batch.analysis.tracks}
        tracks = {t.id: replace(t, id=fresh[t.id]) for t in batch.analysis.tracks}
        of = self._assigned(batch, matched)
        for number, face in sorted(of.items()):
            self._prepare(face, tracks[number], matched[number], chips, batch)
        for number in self._shown:
            self._casts.pop(number, None)
        codes: dict[int, TrackCodes] = {}
        for number, face in sorted(of.items()):
            if face.part is not None:
                codes[fresh[number]] = self._inverted(face, face.part, tracks[number], batch)
        leave_out_heads(tuple(tracks.values()), codes, self._rate)
        out = {}
        for number, face in sorted(of.items()):
            track = tracks[number]
            if face.part is not None:
                out[track.id] = self._planned(face, face.part, track, codes[track.id], batch)
            face.planned = (batch.end - 1, self._weight_at(out.get(track.id), track, batch.end - 1))
        self._shown = {fresh[number]: face for number, face in of.items()}
        self._forget(batch)
        return replace(batch, analysis=replace(batch.analysis, tracks=tuple(tracks.values()))), out

    def refuse_around(self, track: int, frame: int, seconds: float) -> None:
        """The face of ``track`` is still recognised in ``frame``, or in doubt: it is not replaced ``seconds``
        around."""
        face = self._shown.get(track)
        if face is None:
            return
        at = float(self._seconds[frame])
        face.refused.append((at, seconds))
        if sum(at - _SPELL <= when <= at for when, _ in face.refused) >= _MANY:
            face.refused.append((at, _REST))
            face.wanting = bool(face.recognised) and face.changed < _CHANGES

    def recognised(self, pictures: Mapping[int, Sequence[tuple[int, np.ndarray]]]) -> None:
        """By track, rows and originals in which somebody was still recognised after being replaced: whoever stands in
        next is to be a stranger there, too."""
        for track, found in pictures.items():
            face, made = self._shown.get(track), self._casts.get(track)
            if face is None or made is None or face.part is None:
                continue
            worn = wearing(self._worn.get(face.part.person))
            for row, picture in found:
                seen = likeness_of(self._geometry, made.codes, row, self._points(made.codes, row), picture, worn)
                face.recognised = [*face.recognised, seen][-_RECOGNISED:]

    def _fresh(self) -> int:
        self._numbers += 1
        return self._numbers

    def _assigned(self, batch: Batch, matched: Mapping[int, np.ndarray]) -> dict[int, Face]:
        """By track, the face that it goes on with: that to which most of its meshes belong already."""
        owner = {number: face for face in self._faces.values() for number in face.numbers.values()}
        claims = []
        for track in batch.analysis.tracks:
            numbers = matched[track.id].tolist()
            counts: dict[int, int] = {}
            for number in numbers:
                if number in owner:
                    counts[owner[number].id] = counts.get(owner[number].id, 0) + 1
            claims += [(-count, known, track.id) for known, count in counts.items()]
        out: dict[int, Face] = {}
        taken: set[int] = set()
        for _, known, track_id in sorted(claims):
            if known not in taken and track_id not in out:
                out[track_id] = self._faces[known]
                taken.add(known)
        for track in batch.analysis.tracks:
            if track.id not in out and len(matched[track.id]):
                self._count += 1
                out[track.id] = self._faces[self._count] = Face(self._count, track.first, track.last)
        for track in batch.analysis.tracks:
            if track.id in out:
                face = out[track.id]
                face.last = track.last
                for number, frame in zip(
                    matched[track.id].tolist(), self._records.frames(matched[track.id]).tolist(), strict=True
                ):
                    face.numbers[frame] = number
        return out

    def _forget(self, batch: Batch) -> None:
        horizon = batch.begin - round(_KEPT_SECONDS * self._rate)
        kept: set[int] = set()
        for face in list(self._faces.values()):
            if face.last < horizon and face.job is None:
                del self._faces[face.id]
                for of in (self._codes, self._tracks, self._replacements):
                    of.pop(face.id, None)
                continue
            for frame in [frame for frame in face.numbers if frame < horizon and frame not in face.past]:
                del face.numbers[frame]
            kept.update(face.numbers.values())
            kept.update(face.held)
            now = float(self._seconds[batch.begin])
            face.refused = [(at, around) for at, around in face.refused if at + around >= now - _KEPT_SECONDS]
        self._recent.forget(horizon, kept)
        self.observer.forget(horizon)

    # -- choosing -----------------------------------------------------------------------------------------------------

    def _prepare(
        self, face: Face, track: Track, matched: np.ndarray, chips: Sequence[Any], batch: Batch
    ) -> None:
        """Have somebody chosen for a face when it is time."""
        if face.job is not None and (self._waits or face.job.done()):
            face.part, face.job, face.held = face.job.result(), None, frozenset()
            face.ready = batch.begin
        if face.wanting and face.job is None and len(matched) >= _LEAST_ROWS:
            face.part, face.wanting, face.tries, face.next_try = None, False, 0, 0
            face.changed += 1
            face.ready = batch.end
        if face.part is not None or face.job is not None or not track.confirmed:
            return
        if self._waits and face.first >= batch.end:
            return  # until the face's first frame is about to leave, more is seen of it
        least = max(_LEAST_ROWS, 0 if self._waits else _ENOUGH_SECONDS * self._rate)
        large = float(np.median(track.boxes[:, 3])) >= _LEAST_HEIGHT
        if not large or len(matched) < least or batch.end < face.next_try:
            return
        wait = min(_AGAIN_SECONDS * 2**face.tries, _LONGEST_WAIT)
        face.tries, face.next_try = face.tries + 1, batch.end + round(wait * self._rate)
        shown = chips_of([track], list(chips))[track.id]
        own = replace(track, id=face.id)
        size = (batch.analysis.media.width, batch.analysis.media.height)
        hands, things = hands_of(track, self.observer.hands), things_of(track, self.observer.things)
        beside = {f.id for f in self._faces.values() if f is not face and f.part and f.last >= track.first}
        work = partial(self._part_of, face.id, own, matched, shown, self._seconds, size, hands, things, beside)
        if self._waits:
            face.part = work()
        else:
            face.held = frozenset(matched.tolist())
            face.job = self._choosing.submit(work)

    def _part_of(
        self, number: int, track: Track, matched: np.ndarray, shown: Sequence[Any], seconds: Sequence[float],
        size: tuple[int, int], hands: Any, things: Any, beside: set[int],
    ) -> Part | None:  # fmt: skip
        """Who stands in for a face, made ready to be rendered; ``None`` when too little is seen of it."""
        self._made_ready.join()
        face, frames = self._faces[number], self._records.frames(matched)
        of = invert_track(
            self._geometry, self._records, frames, matched, seconds, self._rate, size, hands, things
        )
        if of.trust.trusted.sum() < _LEAST_ROWS or not shown:
            return None
        self._codes[number], self._tracks[number] = of, track
        chips = {number: list(shown)}
        known = {number: self._codes_of(chips[number])}
        clear = clear_ones(chips)
        person = find_people([track], chips, known, clear)[0]
        there = {f.part.person for f in self._faces.values() if f.id in beside and f.part is not None}
        met = self._met(person, there)
        if face.changed:
            met = next((k for k in self._known if k.id == face.person), met)
        person = replace(person, id=met.id if met is not None else len(self._known) + 1, tracks=(number,))
        found = Found((person,), chips, telling(known, clear))
        worn = self.glasses(person, found)
        self._worn[person.id] = worn
        role = self._role(face, person, found, met)
        face.person = person.id
        if met is None:
            self._known.append(Known(person.id, person.codes[:_TEMPLATES], role))
        elif face.changed:
            met.role = role
        elif len(person.codes):
            met.codes = np.concatenate([met.codes, person.codes])[-_TEMPLATES:]
        with FaceLandmarker(threads=1) as landmarker:
            self._cast_all([role], landmarker)
        made = self._casts.pop(number)
        assert made.retarget is not None
        made.retarget.settle()
        turn = of.attributes.rotation[0].T @ made.attributes.rotation[0]
        return Part(
            person.id, of.identity, made.retarget, made.sitter, turn, *shown_in(of.lights, made.codes.lights),
            role.surrogate.safe,
        )  # fmt: skip

    def _met(self, person: Person, there: set[int]) -> Known | None:
        """Who of those who were in the stream, and are not ``there`` now, this is."""
        if person.template is None:
            return None
        apart = [
            (float(np.linalg.norm(known.codes.mean(axis=0) - person.template)), known.id, known)
            for known in self._known
            if len(known.codes) and known.id not in there
        ]
        nearest = min(apart, key=lambda a: a[:2], default=None)
        return nearest[2] if nearest is not None and nearest[0] < FAR_1E3 else None

    def _role(self, face: Face, person: Person, found: Found, met: Known | None) -> Role:
        worn = self._worn[person.id]
        shown = tuple(self.likenesses(person, found, lambda: worn))
        if met is not None and face.changed:
            seen = [*shown, *(Shown(likeness, face.id, 0) for likeness in face.recognised)]
            others = [known.role for known in self._known[-_OTHERS:] if known is not met]
            role = replace(met.role, person=person, shown=shown)
            other = self._casting_of(shown).another(role, seen, [*others, role])
            unsafe = replace(role, surrogate=replace(role.surrogate, safe=False))
            return unsafe if other is None else replace(other, shown=shown)
        if met is not None:
            likenesses = [s.likeness for s in shown]
            code = met.role.surrogate.code
            same, match = again(self._geometry, self._appearance, code, likenesses, self.recognise)
            return Role(person, same, shown, tuple(shown[i] for i in match), remembered=True)
        before = [known.role for known in self._known[-_OTHERS:]]
        roles = self._casting_of(shown).roles([person], Progress(), before)
        return next(role for role in roles if role.person.id == person.id)

    def _casting_of(self, shown: Sequence[Shown]) -> Casting:
        return Casting(
            self._geometry, self._appearance, self._match, lambda _: list(shown), self.recognise, self._personas,
            self._decisions, self._edits,
        )  # fmt: skip

    # -- every window -------------------------------------------------------------------------------------------------

    def _inverted(self, face: Face, part: Part, track: Track, batch: Batch) -> TrackCodes:
        """The window's codes of a face with somebody who stands in, ready to be painted under the track's number."""
        own = sorted(frame for frame in face.numbers if track.first <= frame <= track.last)
        past = face.past_of(own)
        frames = np.array([*past, *own], np.int32)
        numbers = np.array([face.numbers[frame] for frame in frames.tolist()], np.int64)
        size = (batch.analysis.media.width, batch.analysis.media.height)
        hands = hands_of(track, self.observer.hands)
        codes = invert_track(
            self._geometry, self._records, frames, numbers, self._seconds, self._rate, size, hands,
            things_of(track, self.observer.things), identity=part.identity, lit=seldom_lit,
        )  # fmt: skip
        codes = replace(codes, lights=in_haze(codes.lights, part.haze, part.glow))
        part.retarget.show_teeth(codes.bites)
        turned = part.retarget(codes.attributes)
        turned = turned.with_values(rotation=turned.rotation @ part.turn)
        first = int(np.searchsorted(codes.witnessed.frames, track.first))
        codes, turned = beginning_at(codes, first), turned.take(slice(first, None))
        codes = replace(codes, lights=self._steady(face, codes, batch.begin))
        by_row = hands_by_row(codes, hands)
        self._casts[track.id] = Cast(
            track, self._person(part.person), codes, turned, part.sitter, by_row, part.retarget
        )
        return codes

    def _person(self, number: int) -> Person:
        return next(known.role.person for known in self._known if known.id == number)

    def _steady(self, face: Face, codes: TrackCodes, begin: int) -> LightTrack:
        """The window's light, beginning where the one before ended: what differs is taken over by and by, since a
        face must not change from one batch of frames to the next."""
        frames, lights = codes.witnessed.frames, codes.lights
        before, face.lights = face.lights, None
        if before is not None and len(frames):
            at, there = np.searchsorted(frames, begin), np.searchsorted(before[0], begin)
            both = at < len(frames) and there < len(before[0]) and frames[at] == before[0][there]
            if both:
                times = np.asarray(self._seconds)[frames]
                fading = np.exp(-np.maximum(times - times[at], 0) / _SETTLING)
                lights = mixed(lights, before[1], int(at), int(there), fading)
        face.lights = (frames, lights)
        return lights

    def _planned(
        self, face: Face, part: Part, track: Track, codes: TrackCodes, batch: Batch
    ) -> Replacement:
        """How far the face is replaced in the frames of its track, heeding what was decided before."""
        hands = self._casts[track.id].hands
        found = replacement_of(track, codes, hands, self._rate, safe=part.safe)
        frames = np.arange(track.first, track.last + 1)
        times = np.asarray(self._seconds)[np.minimum(frames, len(self._seconds) - 1)]
        gone = frames < face.ready
        for at, around in face.refused:
            gone |= (times >= at - min(around, 0.5)) & (times <= at + around)
        weights = np.minimum(found.weights, coverage(~gone, self._rate)) if gone.any() else found.weights.copy()
        if face.planned is not None:
            last, weight = face.planned
            step = 1 / max(1.0, _FADE * self._rate)
            for place in np.flatnonzero(frames > last):
                weight = min(float(weights[place]), weight + step)
                weights[place] = weight
        reasons = tuple(r if w < 1 else "" for r, w in zip(found.reasons, weights, strict=True))
        return replace(found, weights=weights.astype(np.float32), reasons=reasons)

    @staticmethod
    def _weight_at(found: Replacement | None, track: Track, frame: int) -> float:
        place = min(frame, track.last) - track.first
        return float(found.weights[place]) if found is not None and place >= 0 else 0.0
