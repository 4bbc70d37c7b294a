"""The everyday engine: every face inverted into a statistical face model and rendered with another identity.

Follows the scheme of Nitzan et al. 2020, section 3 (identity and attributes apart, identity held, attributes followed)
with a model in which both are explicit.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import ClassVar

import numpy as np

from deid.choice import Decisions, decide, fingerprint, read_plan
from deid.config import RunConfig
from deid.detection.landmarks import FaceLandmarker
from deid.errors import DeidError
from deid.models.editing.video import SurrogateEdits
from deid.models.engine import Found, Met
from deid.models.morphable import photometry, side_by_side
from deid.models.morphable.appearance import load_appearance
from deid.models.morphable.before_faces import hands_by_row, hands_of, things_of
from deid.models.morphable.calibrate import LIP_GAPS, PoseBias, echoed, lip_readings, pose_bias
from deid.models.morphable.casting import Casting, Role, Shown, reports, urgency
from deid.models.morphable.casts import Cast, CastPainter
from deid.models.morphable.eyewear import Eyewear
from deid.models.morphable.held import COVERED
from deid.models.morphable.inversion import TrackCodes, invert_track
from deid.models.morphable.lid_match import lids_like
from deid.models.morphable.likenesses import JUDGED, Worn, best_of, glasses_of, is_plain, likeness_of, plainer, wearing
from deid.models.morphable.lip_colour import lips_like
from deid.models.morphable.painter import Sitter, get_ready, texels_for
from deid.models.morphable.pore_match import pores_like
from deid.models.morphable.rehearsal import rehearse
from deid.models.morphable.replacing import MATCHED, leave_out_heads, refused, replacement_of
from deid.models.morphable.retarget import Retargeter
from deid.models.morphable.tone_match import toned_like
from deid.people import Person, chips_of, clear_ones, find_people, telling
from deid.personas import Book, open_personas
from deid.photo import codes_of_photos
from deid.plan import FaceAt, Replacement, rate_of
from deid.progress import Progress
from deid.report import PersonReport
from deid.tracking.closeup import Closeup
from deid.tracking.observe import Chip, Observer
from deid.tracking.records import RecordFile, Records
from deid.types import Analysis, Track

_MENDED = 8  # people who get another face after a rendering, at most: in crowds all of them would take minutes
_SIDE_BY_SIDE = 2  # tracks that are inverted at a time: each holds its meshes


class MorphableEngine(CastPainter):
    """See :class:`deid.models.engine.Engine`. ``record``: what the first pass keeps of a face
    beside its mesh. ``edits_codes``: whether what surrogates are to be is changed in their identity codes."""

    record: ClassVar[np.dtype] = photometry.RECORD
    edits_codes: ClassVar[bool] = True

    @staticmethod
    def note(view: Closeup, points: np.ndarray) -> np.void:
        """A scalar of :attr:`record`."""
        return photometry.note(view, points)

    def __init__(
        self, config: RunConfig, seed: int, book: Book | None = None, records: Records | None = None
    ) -> None:
        super().__init__(seed)
        self._threads = config.threads
        side_by_side.allow(config.threads)
        self._match = config.match
        self._edits = SurrogateEdits.of(config.surrogate_edit)
        # What was asked for is read first: what is wrong with it is known before any work, and nothing is left open.
        self._plan_file = read_plan(config.plan) if config.plan is not None else None
        self._photos = codes_of_photos(config.keep_like, self.recognise)
        self._personas = open_personas(config, seed, book)
        self._decisions = Decisions()
        self._appearance = load_appearance()
        self._records = records if records is not None else RecordFile(self.record)
        self._made_ready = threading.Thread(target=self._make_ready, name="ready", daemon=True)
        self.observer = Observer(self._records, self.note)
        self._codes: dict[int, TrackCodes] = {}
        self._replacements: dict[int, Replacement] = {}
        self._hopeless: dict[int, Replacement] = {}  # of tracks that are obscured throughout, for the reasons
        self._refused: dict[int, np.ndarray] = {}
        self._refusals: dict[int, list[tuple[int, str, bool]]] = {}
        self._reports: list[PersonReport] = []
        self._people: Sequence[Person] = ()
        self._tracks: dict[int, Track] = {}
        self._roles: list[Role] = []
        self._worn: dict[int, Eyewear | None] = {}
        self._seconds: Sequence[float] = ()
        self._rate = 25.0
        self._records_lock = threading.Lock()
        self._made_ready.start()

    def _make_ready(self) -> None:
        """What a run with faces needs later, while the first frames are searched and one core has little to do. Errors
        come again where it is needed."""
        with suppress(DeidError, OSError):
            self._ready_recogniser()
            rehearse(self._geometry, self._appearance)

    def close(self) -> None:
        self.observer.close()
        self._made_ready.join()
        self._records.close()
        self._personas.close()
        super().close()

    # -- between the passes -----------------------------------------------------------------------------------------

    def identify(self, analysis: Analysis, seconds: Sequence[float], progress: Progress) -> Found:
        chips = self.observer.finish()
        self._made_ready.join()
        self._seconds = seconds
        self._rate = rate_of(analysis.media)
        size = (analysis.media.width, analysis.media.height)
        matched = self._records.match(analysis.tracks)
        tracks = [t for t in analysis.tracks if len(matched[t.id])]
        progress.stage("inverting faces", len(tracks))

        def inverted(track: Track) -> TrackCodes:
            numbers = matched[track.id]
            return invert_track(
                self._geometry, self._records, self._records.frames(numbers), numbers, seconds, self._rate, size,
                hands_of(track, self.observer.hands), things_of(track, self.observer.things),
            )  # fmt: skip

        codes: dict[int, TrackCodes] = {}
        with ThreadPoolExecutor(max(1, min(_SIDE_BY_SIDE, self._threads)), thread_name_prefix="invert") as pool:
            try:
                for track, found in zip(tracks, pool.map(inverted, tracks), strict=True):
                    codes[track.id] = found
                    progress.advance()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        leave_out_heads(analysis.tracks, codes, self._rate)
        self._codes = {t.id: codes[t.id] for t in tracks if codes[t.id].trust.trusted.any()}
        never = [t for t in tracks if t.id not in self._codes]
        self._hopeless = {t.id: replacement_of(t, codes[t.id], (), self._rate, safe=True) for t in never}
        seen = [t for t in tracks if t.id in self._codes]
        shown = chips_of(seen, chips)
        known = {t.id: self._codes_of(shown[t.id]) for t in seen}
        clear = clear_ones(shown)
        return Found(tuple(find_people(seen, shown, known, clear)), shown, telling(known, clear))

    def invert(self, analysis: Analysis, seconds: Sequence[float], progress: Progress) -> dict[int, Replacement]:
        found = self.identify(analysis, seconds, progress)
        if self._plan_file is not None:
            self._plan_file.check(fingerprint(analysis, seconds, found.people), found.people)
        self._decisions = decide(analysis, found.people, found.codes, self._plan_file, self._photos)

        with ThreadPoolExecutor(1, thread_name_prefix="eyewear") as pool:
            worn = {
                person.id: pool.submit(self.glasses, person, found)
                for person in found.people
                if not self._decisions.spared(person)
            }

            by_id = {t.id: t for t in analysis.tracks}
            for size in {texels_for([by_id[i] for i in person.tracks]) for person in found.people if person.id in worn}:
                pool.submit(get_ready, self._appearance, size)

            def show(person: Person) -> list[Shown]:
                return self.likenesses(person, found, worn[person.id].result)

            self._casting = Casting(
                self._geometry, self._appearance, self._match, show, self.recognise, self._personas, self._decisions,
                self._edits if self.edits_codes else None,
            )  # fmt: skip
            self._roles = self._casting.roles(found.people, progress)
        self._people, self._tracks = found.people, by_id
        self._worn = {number: found.result() for number, found in worn.items()}
        self._cast_all(self._roles, self.observer.landmarker)
        side_by_side.rest()
        self._reports = reports(found.people, self._roles, self._decisions)
        return {**self._hopeless, **self._replacements}

    def likenesses(self, person: Person, found: Found, worn: Worn | None = None) -> list[Shown]:
        """Pictures of somebody that a surrogate is tried on. ``worn``: tells the glasses to be drawn."""
        return best_of(self._geometry, person, self._codes, found.chips, self._points, worn)

    def glasses(self, person: Person, found: Found) -> Eyewear | None:
        """What somebody wears before the eyes."""
        return self._edits.worn(glasses_of(self._geometry, person, self._codes, found.chips, self._points))

    def recast(
        self,
        matches: Mapping[int, Sequence[tuple[int, np.ndarray]]],
        alike: Sequence[tuple[int, int]] = (),
        seen: Mapping[int, np.ndarray] | None = None,
        met: Mapping[int, Met] | None = None,
    ) -> dict[int, Replacement]:
        again: list[Role] = []
        told, tried = dict(seen or {}), set[int]()
        known = met or {}
        for place, role in sorted(enumerate(self._roles), key=lambda at: urgency(at[1].person, matches, alike, known)):
            number = role.person.id
            found = [(t, row, picture) for t in role.person.tracks for row, picture in matches.get(t, ())]
            # the first of two gives way; the other where that one could not
            done = {other.person.id for other in again}
            like = {b for a, b in alike if a == number} | {a for a, b in alike if b == number and a in tried - done}
            if not (found or like) or len(tried) == _MENDED:
                continue
            tried.add(number)
            other = self._another(role, found, told, known.get(number), like)
            if other is not None:
                self._roles[place] = other
                again.append(other)
                old = told.pop(number, None)
                if old is not None and other.change is not None:
                    told[number] = (old + other.change).astype(np.float32)
        if again:
            with FaceLandmarker(threads=1) as landmarker:
                self._cast_all(again, landmarker)
            side_by_side.rest()
            self._reports = reports(self._people, self._roles, self._decisions)
        tracks = [track for role in again for track in role.person.tracks]
        return {track: self._replacements[track] for track in tracks if track in self._replacements}

    def _another(
        self,
        role: Role,
        found: Sequence[tuple[int, int, np.ndarray]],
        told: Mapping[int, np.ndarray],
        met: Met | None = None,
        alike: Collection[int] = (),
    ) -> Role | None:
        """Somebody else in ``role`` for whom the faces ``found`` (track, row, picture) are those of a stranger; if
        need be, in plainer glasses. ``told``: codes of the other people's new faces in the finished clip; ``met``: what
        it tells of this one; ``alike``: people who are too like this one."""
        old = self._worn[role.person.id]
        for worn in (old,) if is_plain(old) or old is None else (old, plainer(old)):
            shown = [Shown(replace(s.likeness, wears=wearing(worn)), s.track, s.row) for s in role.shown]
            for track, row, picture in found:
                of = self._codes[track]
                seen = likeness_of(self._geometry, of, row, self._points(of, row), picture, wearing(worn))
                shown.append(Shown(seen, track, row))
            other = self._casting.another(role, shown, self._roles, told, met, alike)
            if other is not None:
                self._worn[role.person.id] = worn
                return other
        return None

    def _cast_all(self, roles: Sequence[Role], landmarker: FaceLandmarker) -> None:
        """Casts one role after the other; their heads are made one ahead."""
        tracks = [[self._tracks[i] for i in role.person.tracks if i not in self._decisions.fates] for role in roles]
        with ThreadPoolExecutor(1, thread_name_prefix="sitter") as pool:
            sitters = [pool.submit(self._sitter, role, own) for role, own in zip(roles, tracks, strict=True)]
            for role, own, sitter in zip(roles, tracks, sitters, strict=True):
                best = role.shown[:JUDGED]  # others, in which somebody was recognised, are turned or poor
                shown = [(s.likeness.chip, s.likeness.points) for s in best]
                whole = [bool(self._codes[s.track].attributes.presence[s.row] > COVERED) for s in best]
                pairs = [
                    (a, b, points)
                    for (a, points), b, seen in zip(shown, role.surrogate.pictures, whole, strict=False)
                    if seen
                ]
                bias = pose_bias(landmarker, pairs)
                self._cast(role, own, bias, sitter.result(), landmarker)

    def _sitter(self, role: Role, tracks: list[Track]) -> Sitter:
        """The role's surrogate, as fine as its largest face needs."""
        sitter = Sitter.make(self._geometry, self._appearance, role.surrogate.code, texels_for(tracks))
        return self._edits.dressed(self._appearance, sitter)

    def _codes_of(self, chips: list[Chip]) -> np.ndarray:
        if not chips:
            return np.empty((0, 128), np.float32)
        return self.recognise(np.stack([c.picture for c in chips]))

    def _cast(
        self, role: Role, tracks: list[Track], bias: PoseBias, sitter: Sitter, landmarker: FaceLandmarker
    ) -> None:
        surrogate, worn = role.surrogate, self._worn[role.person.id]
        readings: np.ndarray | None = None
        for track in tracks:
            of = self._codes[track.id]
            retarget = Retargeter(self._geometry, of.identity.shape, surrogate.code.shape, self._rate)
            retarget.show_teeth(of.bites)
            own = retarget(of.attributes)
            of = toned_like(self._geometry, replace(sitter, eyewear=worn), of, own)
            if readings is None:
                if worn is None:  # rims and reflections darken lids, too
                    sitter = lids_like(self._geometry, sitter, of, own)
                sitter = lips_like(self._geometry, sitter, of, own)
                sitter = pores_like(self._geometry, sitter, of, own)
                light = of.lights.light(int(np.argmax(of.attributes.scale)))
                mouths = retarget.mouths(LIP_GAPS)
                readings = lip_readings(self._geometry, sitter, landmarker, light, mouths)
            if readings is not None:
                retarget.know_lips(LIP_GAPS, readings)
            likenesses = [(s.likeness, s.row) for s in role.shown if s.track == track.id]
            turned, placed = echoed(
                self._geometry, landmarker, self.recognise, of, partial(self._points, of),
                retarget, replace(sitter, eyewear=worn), bias, likenesses,
            )  # fmt: skip
            placed = replace(placed, eyewear=worn and worn.on(self._geometry, placed.neutral), skin=None)
            hands = hands_by_row(of, hands_of(track, self.observer.hands))
            self._casts[track.id] = Cast(track, role.person, of, turned, placed, hands, retarget)
            self._replacements[track.id] = replacement_of(track, of, hands, self._rate, safe=surrogate.safe)
            self._refused.pop(track.id, None)
            for row, why, everywhere in self._refusals.pop(track.id, []):  # with whatever face
                self.refuse(track.id, row, why, everywhere=everywhere)
        for shown in role.matching:
            if shown.track in self._casts:
                self.refuse(shown.track, shown.row)

    # -- the second pass --------------------------------------------------------------------------------------------

    def source_points(self, face: FaceAt) -> np.ndarray:
        return self._points(self._casts[face.track].codes, face.row)

    def _points(self, codes: TrackCodes, row: int) -> np.ndarray:
        with self._records_lock:
            return codes.witnessed.points(self._records, row)

    def refuse(self, track: int, row: int, why: str = MATCHED, *, everywhere: bool = False) -> Replacement:
        cast, times = self._casts[track], np.asarray(self._seconds, np.float64)
        self._refusals.setdefault(track, []).append((row, why, everywhere))
        found, self._refused[track] = refused(
            self._replacements[track], cast.track, times[cast.track.first :][: len(cast.track)],
            int(cast.codes.witnessed.frames[row]) - cast.track.first, why, self._rate,
            before=self._refused.get(track), everywhere=everywhere,
        )  # fmt: skip
        self._replacements[track] = found
        return found

    def people(self) -> tuple[PersonReport, ...]:
        return tuple(self._reports)

    def decisions(self) -> Decisions:
        return self._decisions

    def prepare(self) -> None:
        self._personas.prepare()

    def commit(self) -> None:
        self._personas.commit()
