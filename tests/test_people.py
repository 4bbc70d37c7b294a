"""Tracks become people by recognition, never against the evidence that they were there at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deid import people
from deid.errors import ModelError
from deid.tracking.observe import Chip
from deid.types import Track


def track(number: int, first: int, length: int, x: float = 100.0) -> Track:
    boxes = np.tile(np.array([x, 100, 80, 100, 0], np.float32), (length, 1))
    flat = np.zeros(length, np.float32)
    return Track(number, 0, first, boxes, np.zeros(length, np.uint8), flat, flat, True)


def code(direction: int, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    out = np.random.default_rng(seed).normal(0, noise / np.sqrt(128), (2, 128))
    out[:, direction] += 0.7
    return out.astype(np.float32)


def ids(groups: list[list[Track]]) -> list[list[int]]:
    return [sorted(t.id for t in group) for group in groups]


def test_one_person_in_two_shots_is_one_and_a_stranger_is_another() -> None:
    tracks = [track(1, 0, 10), track(2, 20, 10), track(3, 40, 10)]
    codes = {1: code(0, 0.1, 1), 2: code(5, 0.1, 2), 3: code(0, 0.1, 3)}
    assert ids(people.merge(tracks, codes)) == [[1, 3], [2]]


def test_two_faces_in_one_frame_are_two_people_however_alike() -> None:
    tracks = [track(1, 0, 10), track(2, 9, 10)]
    assert ids(people.merge(tracks, {1: code(0), 2: code(0)})) == [[1], [2]]


def test_a_third_track_cannot_join_what_may_not_be_joined() -> None:
    tracks = [track(1, 0, 10), track(2, 5, 10), track(3, 30, 5)]
    assert ids(people.merge(tracks, {n: code(0, 0.05 if n != 2 else 0.4, n) for n in (1, 2, 3)})) == [[1, 3], [2]]


def test_a_track_nobody_could_recognise_stays_alone() -> None:
    tracks = [track(1, 0, 5), track(2, 10, 5)]
    assert ids(people.merge(tracks, {1: code(0), 2: np.empty((0, 128), np.float32)})) == [[1], [2]]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20), st.integers(0, 3)), min_size=1, max_size=9))
def test_groups_partition_the_tracks_and_never_overlap_in_time(spans: list[tuple[int, int, int]]) -> None:
    tracks = [track(i + 1, first, length) for i, (first, length, _) in enumerate(spans)]
    codes = {i + 1: code(who, 0.2, i) for i, (_, _, who) in enumerate(spans)}
    groups = people.merge(tracks, codes)
    assert sorted(t.id for g in groups for t in g) == [t.id for t in tracks]
    for group in groups:
        ordered = sorted(group, key=lambda t: t.first)
        assert all(a.last < b.first for a, b in zip(ordered, ordered[1:], strict=False))
    # the order of the tracks does not matter
    assert sorted(ids(people.merge(tracks[::-1], codes))) == sorted(ids(groups))


def test_chips_go_to_the_track_they_show_the_best_first() -> None:
    blank = np.zeros((150, 150, 3), np.uint8)
    chips = [Chip(3, (101.0, 99.0), 0.5, blank, 0.0), Chip(4, (300.0, 100.0), 0.9, blank, 0.0)]
    chips += [Chip(5, (100.0, 102.0), 0.8, blank, 0.0), Chip(50, (100.0, 100.0), 1.0, blank, 0.0)]
    found = people.chips_of([track(1, 0, 10), track(2, 0, 10, 300.0)], chips)
    assert [c.quality for c in found[1]] == [0.8, 0.5] and [c.frame for c in found[2]] == [4]


def test_traits_are_bounded_and_unknown_without_pictures() -> None:
    female, age = people.describe(np.empty((0, 128), np.float32))
    assert female == 0 and np.isnan(age)
    female, age = people.describe(np.random.default_rng(0).normal(0, 5, (3, 128)))
    assert -1 <= female <= 1 and 5 <= age <= 95


def test_guesses_of_age_are_spread_out_again() -> None:
    young, middle, old = (people._spread_out(guess) for guess in (38.0, 55.7, 66.0))
    assert young < 31
    assert 48 < middle < 58
    assert old > 64


def test_only_traits_that_are_to_match_are_kept() -> None:
    person = people.Person(1, (1,), np.empty((0, 128), np.float32), 0.9, 33.0)
    both = people.kept_traits(person, "age,gender")
    assert (both.female, both.age) == (0.9, 33.0)
    assert np.isnan(people.kept_traits(person, "age").female)
    assert people.kept_traits(person, "age").age == 33.0
    nothing = people.kept_traits(person, "none")
    assert np.isnan(nothing.female)
    assert np.isnan(nothing.age)


def test_damaged_traits_are_named(tmp_path, monkeypatch) -> None:
    path = tmp_path / "person_traits.safetensors"
    path.write_bytes(b"nothing of the kind")
    monkeypatch.setattr(people, "_TRAITS", path)
    people.traits.cache_clear()
    with pytest.raises(ModelError, match="reinstall"):
        people.traits()
    people.traits.cache_clear()


def somebody(number: int, direction: int, seed: int) -> people.Person:
    return people.Person(number, (number,), code(direction, 0.2, seed), 0.0, 40.0)


def test_people_of_several_files_are_joined_but_never_two_of_one_file() -> None:
    files = [[somebody(1, 0, 1), somebody(2, 5, 2)], [somebody(1, 0, 3), somebody(2, 0, 4)], [somebody(1, 5, 5)]]
    groups = people.across(files)
    assert sorted(n for g in groups for n in g) == [(0, 1), (0, 2), (1, 1), (1, 2), (2, 1)]
    assert [(0, 2), (2, 1)] in groups
    assert not any({(1, 1), (1, 2)} <= set(g) for g in groups)
    turned = people.across(files[::-1])
    assert sorted(sorted((2 - place, n) for place, n in g) for g in turned) == sorted(groups)
    for group in groups:
        mirrored = [(2 - place, n) for place, n in group]
        np.testing.assert_array_equal(people.codes_of(files, group), people.codes_of(files[::-1], mirrored))


def test_content_tells_what_somebody_looks_like_and_never_when_they_came() -> None:
    first, later = somebody(1, 0, 1), people.Person(9, (4, 6), code(0, 0.2, 1), 0.0, 40.0, b"elsewhere")
    assert first.content == later.content != somebody(1, 0, 2).content


def test_two_tracks_join_only_when_nobody_seen_beside_them_is_as_near() -> None:
    """As in the dark, where codes of all people come to be alike."""
    tracks = [track(1, 0, 10), track(2, 0, 10, 300.0), track(3, 20, 10)]
    assert ids(people.merge(tracks, {1: code(0, 0.3, 1), 2: code(0, 0.3, 2), 3: code(0, 0.3, 1)})) == [[1, 3], [2]]
    alike = {1: code(0), 2: code(0), 3: code(0, 0.1, 3)}
    assert ids(people.merge(tracks, alike)) == [[1], [2], [3]]


def test_dark_and_blurred_pictures_do_not_say_who_somebody_is() -> None:
    from deid import imaging
    from deid.virtual_camera import COLLINS

    clear = np.ascontiguousarray(imaging.resize(COLLINS.read()[30:200, 150:320], (150, 150))[..., ::-1])
    noise = np.random.default_rng(0).normal(0, 0.7, clear.shape)
    dark = np.clip(np.rint(clear * 0.05 + noise), 0, 255).astype(np.uint8)
    assert people.readable(clear)
    assert people.readable(np.clip(np.rint(clear * 0.3 + noise), 0, 255).astype(np.uint8))
    assert not people.readable(dark)
    assert not people.readable(imaging.gaussian_blur(clear, (0, 0), 6))
    assert not people.readable(np.zeros_like(clear))
    tracks = [track(1, 0, 10), track(2, 20, 10)]
    chips = {n: [Chip(3, (0.0, 0.0), 1.0, dark, 0.0)] for n in (1, 2)}
    found = people.find_people(tracks, chips, {n: code(0)[:1] for n in (1, 2)})
    assert [p.tracks for p in found] == [(1,), (2,)] and all(len(p.codes) == 0 for p in found)
    assert found[0].content != found[1].content and not np.isnan(found[0].age)
