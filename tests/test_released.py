"""The check of what is released: the finished file read again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deid.compare import Comparer
from deid.errors import PrivacyError
from deid.media import EncodeSettings, Reader, Writer
from deid.mending import LIKE_ANOTHER, other_faces
from deid.plan import FaceAt, Replacement
from deid.progress import QuietProgress
from deid.released import Alike, Check, _still, beyond, caution, cover, nearer, reach
from deid.render import Rendered
from tests.test_compare import OneNumber, points_at

AT = points_at(240, 180, 200)
LIMIT = 0.2


class Engine(OneNumber):
    """Sees the mean brightness of a chip only. ``owners``: tracks by person."""

    def __init__(self, owners: dict[int, tuple[int, ...]]) -> None:
        super().__init__(AT)
        self.owners = owners
        self.refused: list[tuple[int, int, str, bool]] = []
        self.new: dict[int, Replacement] = {}
        self.asked: tuple[Any, ...] = ()

    def people(self) -> tuple[Any, ...]:
        return tuple(SimpleNamespace(id=number, tracks=tracks) for number, tracks in self.owners.items())

    def refuse(self, track: int, row: int, why: str = "", *, everywhere: bool = False) -> Replacement:
        self.refused.append((track, row, why, everywhere))
        return Replacement(np.zeros(1, np.int32), np.zeros(1, np.float32), ("",))

    def recast(self, matches: Any, alike: Any, seen: Any, met: Any) -> dict[int, Replacement]:
        self.asked = matches, alike, seen, met
        return self.new


@pytest.fixture
def frames(face_clip):
    with Reader(face_clip) as reader:
        return reader.info, [frame for frame, _ in zip(reader, range(12), strict=False)]


def brighter(frame, by: int):
    luma = np.clip(frame.planes[0].astype(int) + by, 0, 235).astype(np.uint8)
    return replace(frame, planes=(luma, *frame.planes[1:]))


def checked(frames, tmp_path: Path, before: list[int], after: list[int], *, track=lambda i: 1, owners=None, attempt=1):
    """What the check says of a clip whose frames are so much brighter than their originals before encoding and in the
    file; and the paths it asked for."""
    info, pictures = frames
    engine = Engine(owners or {1: (1,)})
    faces = {i: [FaceAt(track(i), i)] for i in range(len(before))}
    asked = []
    with Writer(tmp_path / "out.mkv", info, source=None, settings=EncodeSettings(crf=4)) as writer:
        with Comparer(faces, cast(Any, engine), LIMIT) as comparer:
            for i, (ours, theirs) in enumerate(zip(before, after, strict=True)):
                comparer.submit(pictures[i], brighter(pictures[i], ours))
                writer.write(brighter(pictures[i], theirs))

        def path() -> Path:
            asked.append(writer.finish())
            assert writer.finish() == asked[-1]
            return asked[-1]

        found = Check(cast(Any, engine), faces, LIMIT, threads=1, attempt=attempt)(path, comparer.seen)
    return found, asked


def test_what_is_far_from_every_limit_is_not_read_again(frames, tmp_path) -> None:
    found, asked = checked(frames, tmp_path, [60] * 4, [60] * 4)
    assert found.looked == 0 and not found.matches and not asked and not (tmp_path / "out.mkv").exists()


def test_a_face_that_only_encoding_makes_like_its_original_is_found(frames, tmp_path) -> None:
    far, near = 60, 19  # levels: about 0.7 and 0.22 away, where the limit is 0.2
    found, asked = checked(frames, tmp_path, [far, near, far, near], [far, 12, far, near])
    assert len(asked) == 1 and found.looked == 2
    assert [frame for frame, _ in found.matches] == [1] and found.tracks == {1}
    assert found.nearest is not None and 0.1 < found.nearest < LIMIT


def test_a_file_that_shows_too_little_fails_the_run(frames, tmp_path) -> None:
    info, pictures = frames
    engine, faces = Engine({1: (1,)}), {i: [FaceAt(1, i)] for i in range(6)}
    with Comparer(faces, cast(Any, engine), LIMIT) as comparer:
        for i in range(6):
            comparer.submit(pictures[i], brighter(pictures[i], 3))
    with Writer(tmp_path / "out.mkv", info, source=None, settings=EncodeSettings()) as writer:
        writer.write(pictures[0])
        with pytest.raises(PrivacyError, match="fewer frames"):
            Check(cast(Any, engine), faces, LIMIT, threads=1, attempt=1)(writer.finish, comparer.seen)


def test_two_people_who_are_alike_are_told_and_one_face_among_many_is_what_is_in_the_way(frames, tmp_path) -> None:
    def who(i: int) -> int:
        return 1 + i % 2  # two people by turns

    people = {7: (1,), 8: (2,)}
    apart = [140 if i % 2 else 60 for i in range(12)]
    found, _ = checked(frames, tmp_path, apart, apart, track=who, owners=people)
    assert not found.alike
    alike = [*apart[:5], 62, *apart[6:]]  # one face of the second person like all of the first's
    found, _ = checked(frames, tmp_path, alike, alike, track=who, owners=people)
    assert len(found.alike) == 1 and set(found.alike[0].people) == {7, 8}
    assert found.alike[0].faces == ((5, FaceAt(2, 5)),) and set(found.met) == {7, 8}
    assert set(found.codes) == {7, 8} and found.codes[7].shape == (6, 128)
    one = {7: (1, 2)}  # the same faces, of one person
    assert not checked(frames, tmp_path, alike, alike, track=who, owners=one)[0].alike


@given(st.floats(0, 5000))
def test_small_faces_are_given_more_room(height: float) -> None:
    assert 0 < caution(height) < reach(height) <= 0.1 and beyond(height) <= beyond(height / 2)


@given(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=6))
def test_a_cover_leaves_nothing_and_takes_nothing_twice(rows: list[list[bool]]) -> None:
    alike = np.array(rows)
    found = cover(alike)
    assert len(set(found)) == len(found)
    for side, at in found:
        assert alike[(at, slice(None)) if side == 0 else (slice(None), at)].any()
    rows_left = [i for i in range(len(alike)) if (0, i) not in found]
    columns_left = [j for j in range(3) if (1, j) not in found]
    assert not alike[np.ix_(rows_left, columns_left)].any()


def test_of_two_who_are_alike_the_one_worth_less_gives_way() -> None:
    alike = np.zeros((3, 40), bool)
    alike[1] = True  # one face of the first is like all of the second's: by number it would be taken
    assert cover(alike) == [(0, 1)]
    assert cover(alike, np.full(3, 10.0), np.ones(40)) == [(0, 1)]
    found = cover(alike, np.full(3, 100.0), np.ones(40))
    assert {side for side, _ in found} == {1} and len(found) == 40


def test_what_comes_nearly_as_near_counts_in_the_same_track_and_in_the_end_everywhere() -> None:
    place = SimpleNamespace(height=64.0)  # encoding may do 0.1
    apart = {(0, FaceAt(1, 0)): 0.10, (1, FaceAt(1, 1)): 0.24, (2, FaceAt(2, 2)): 0.24, (3, FaceAt(2, 3)): 0.26}
    places = cast(Any, dict.fromkeys(apart, place))
    keys = list(apart)
    assert _still(apart, places, LIMIT, 0.25, everywhere=False) == set(keys[:2])
    assert _still(apart, places, LIMIT, 0.25, everywhere=True) == set(keys[:3])
    assert _still(dict.fromkeys(keys, 0.24), places, LIMIT, 0.25, everywhere=True) == set()


@given(st.floats(0, 40), st.floats(0, 40))
def test_only_where_both_pictures_are_poor_strangers_lie_nearer(one: float, other: float) -> None:
    found = float(nearer(np.array([one]), np.array([other]))[0, 0])
    assert 0 <= found <= 0.07 and found == float(nearer(np.array([other]), np.array([one]))[0, 0])
    assert float(nearer(np.array([one]), np.array([30.0]))[0, 0]) == 0
    assert found >= float(nearer(np.array([one + 5]), np.array([other + 5]))[0, 0])


def test_what_no_other_face_would_help_is_obscured_though_there_is_another() -> None:
    engine = Engine({7: (1,)})
    engine.new = {1: Replacement(np.zeros(1, np.int32), np.ones(1, np.float32), ("",))}
    near, hopeless = (4, FaceAt(1, 4)), (5, FaceAt(1, 5))
    told = Rendered({}, (), matches=(near, hopeless), hopeless=frozenset({hopeless}), recognised={1: []})
    other_faces([0.1 * i for i in range(9)], told, QuietProgress(), cast(Any, engine), first=True, last=False)
    assert engine.refused == [(1, 5, "", False)]


def test_somebody_else_is_asked_for_first_then_faces_are_obscured_and_at_last_tracks() -> None:
    engine = Engine({7: (1,), 8: (2, 3)})
    other = Replacement(np.zeros(1, np.int32), np.ones(1, np.float32), ("",))
    told = Rendered(
        {}, (), matches=((4, FaceAt(1, 4)),), recognised={1: []}, alike=(Alike((7, 8), ((6, FaceAt(2, 6)),)),)
    )
    assert not told.passed
    seconds = [0.1 * i for i in range(9)]
    args = seconds, told, QuietProgress(), cast(Any, engine)
    engine.new = {1: other}
    assert other_faces(*args, first=True, last=False) == {1: other} and not engine.refused
    assert engine.asked[1] == [(7, 8)]
    engine.new = {}
    assert set(other_faces(*args, first=True, last=False)) == {1, 2}
    assert engine.refused == [(1, 4, "", False), (2, 6, LIKE_ANOTHER, False)]
    engine.refused.clear()
    assert set(other_faces(*args, first=False, last=True)) == {1, 2}
    assert engine.refused == [(1, 4, "", True), (2, 6, LIKE_ANOTHER, False)]
