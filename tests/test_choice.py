"""Plans and photos: what makes no sense is refused in one sentence, and in doubt nobody is kept."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deid import choice
from deid.choice import Choice, decide, fingerprint, read_plan
from deid.config import RunConfig
from deid.errors import InputNotFound, UsageError
from deid.media import Reader
from deid.people import Person
from deid.plan import State, make_plan
from deid.types import Analysis, Shot, Track


@pytest.fixture(scope="module")
def media(face_clip):
    with Reader(face_clip) as reader:
        return replace(reader.info, average_rate=Fraction(25))


def track(number: int, first: int, length: int, x: float = 100) -> Track:
    boxes = np.tile(np.array([x, 100, 80, 100, 0], np.float32), (length, 1))
    flat = np.zeros(length, np.float32)
    return Track(number, 0, first, boxes, np.zeros(length, np.uint8), flat, flat, True)


def analysis(media, *tracks: Track) -> Analysis:
    frames = max(t.last for t in tracks) + 1
    return Analysis(media, frames, (Shot(0, frames - 1),), tracks, (), 1)


def codes(direction: int, count: int = 3, away: float = 0.3, seed: int = 0) -> np.ndarray:
    """Pictures of one face: ``away`` from the face itself, which is a point 0.6 out in ``direction``."""
    noise = np.random.default_rng(seed).normal(size=(count, 128))
    out = noise / np.linalg.norm(noise, axis=1, keepdims=True) * away
    out[:, direction] += 0.6
    return out.astype(np.float32)


def face(direction: int) -> np.ndarray:
    return np.eye(128, dtype=np.float32)[direction] * 0.6


def person(number: int, *tracks: int, who: int = 0, **more: float) -> Person:
    return Person(number, tracks, codes(who, seed=number, **more), 0.5, 40.0)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "plan.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_plan_reads_as_it_is_written(tmp_path: Path) -> None:
    text = """
    analysis = "abc"
    people.1.do = "keep"
    [people.2]
    do = "obscure"
    with = "solid"
    [people.3]
    surrogate = 12
    [all]
    do = "obscure"
    [unknown]
    do = "keep"
    """
    plan = read_plan(written(tmp_path, text))
    assert plan.people == {1: Choice("keep"), 2: Choice("obscure", "solid"), 3: Choice("replace", "", 12)}
    assert (plan.everybody, plan.unknown) == (Choice("obscure"), Choice("keep"))
    bare = read_plan(written(tmp_path, 'analysis = "abc"'))
    assert (bare.everybody, bare.unknown, bare.people) == (Choice("replace"), Choice("obscure"), {})


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "analysis"),
        ("analysis = 3", "analysis"),
        ("analysis = ", "no plan"),
        ("analysis = 'a'\npeople.one.do = 'keep'", "numbers"),
        ("analysis = 'a'\npeople = 3", "tables"),
        ("analysis = 'a'\npeople.1 = 3", "table"),
        ("analysis = 'a'\npersons.1.do = 'keep'", "'persons'"),
        ("analysis = 'a'\npeople.1.action = 'keep'", "'action'"),
        ("analysis = 'a'\npeople.1.do = 'kep'", "'kep'"),
        ("analysis = 'a'\npeople.1.do = ['keep']", "must be one of"),
        ("analysis = 'a'\npeople.1 = {do = 'obscure', with = 'fog'}", "'fog'"),
        ("analysis = 'a'\npeople.1 = {do = 'keep', with = 'blur'}", "obscure"),
        ("analysis = 'a'\npeople.1 = {do = 'keep', surrogate = 1}", "replace"),
        ("analysis = 'a'\npeople.1.surrogate = -1", "whole number"),
        ("analysis = 'a'\npeople.1.surrogate = true", "whole number"),
        ("analysis = 'a'\npeople.1.surrogate = 4\npeople.2.surrogate = 4", "same surrogate"),
        ("analysis = 'a'\nall.surrogate = 4", "one face"),
        ("analysis = 'a'\nunknown.do = 'replace'", "unknown"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_sentence(text: str, word: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=word) as refused:
        read_plan(written(tmp_path, text))
    assert "plan.toml" in str(refused.value)


def test_a_missing_or_unreadable_plan_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputNotFound, match="--plan-out"):
        read_plan(tmp_path / "none.toml")
    path = tmp_path / "plan.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError):
        read_plan(path)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_a_plan_or_a_usage_error(text: str) -> None:
    try:
        table = choice.tomllib.loads(text)
    except choice.tomllib.TOMLDecodeError:
        return
    try:
        choice._plan_of(table)
    except UsageError:
        return


def test_a_plan_for_another_clip_is_refused(media) -> None:
    found = analysis(media, track(1, 0, 10), track(2, 20, 10))
    people = [person(1, 1), person(2, 2, who=9)]
    seconds = [n / 25 for n in range(30)]
    mark = fingerprint(found, seconds, people)
    assert mark == fingerprint(found, [s + 1e-4 for s in seconds], people)
    others = [
        fingerprint(analysis(media, track(1, 0, 10), track(2, 20, 11)), [*seconds, 1.2], people),
        fingerprint(analysis(media, track(1, 0, 10, 300), track(2, 20, 10)), seconds, people),
        fingerprint(found, [s * 1.01 for s in seconds], people),
        fingerprint(found, seconds, people[:1]),
        fingerprint(replace(found, media=replace(media, width=720)), seconds, people),
    ]
    assert len({mark, *others}) == 6
    choice.PlanFile(mark, {2: Choice("keep")}).check(mark, people)
    with pytest.raises(UsageError, match="another clip"):
        choice.PlanFile(mark, {}).check(others[0], people)
    with pytest.raises(UsageError, match="person 3"):
        choice.PlanFile(mark, {3: Choice("keep")}).check(mark, people)


def test_everybody_gets_what_the_plan_says(media) -> None:
    found = analysis(media, track(1, 0, 10), track(2, 20, 10), track(3, 0, 30, 300), track(4, 0, 5, 600))
    people = [person(1, 1, 2), person(2, 3, who=9)]
    plan = choice.PlanFile("m", {1: Choice("keep")}, Choice("obscure", "solid"), Choice("obscure", "pixelate"))
    decided = decide(found, people, {}, plan, ())
    assert [decided.fates[n].kept for n in (1, 2, 3, 4)] == [True, True, False, False]
    assert decided.spared(people[0]) and decided.spared(people[1])
    laid = make_plan(found, RunConfig(), {}, decided.fates)
    assert [t.id for t in laid.kept] == [1, 2]
    assert laid.outcomes[1] == ("kept", "as asked by the plan")
    assert (laid.states[1] == State.KEPT).all()
    assert {r.by for r in laid.regions[0]} == {"solid", "pixelate"}
    assert laid.outcomes[3] == ("obscured", "as asked by the plan")
    assert decide(found, people, {}, None, ()).fates == {}
    chosen = decide(found, people, {}, choice.PlanFile("m", {2: Choice(seed=7)}), ())
    assert chosen.surrogates == {2: 7} and not chosen.spared(people[1])


def test_a_photo_keeps_whom_it_shows_and_says_so(media) -> None:
    found = analysis(media, track(1, 0, 30), track(2, 0, 30, 300))
    people = [person(1, 1, who=0), person(2, 2, who=9)]
    known = {1: codes(0), 2: codes(9)}
    decided = decide(found, people, known, None, [face(0)])
    assert set(decided.fates) == {1} and decided.fates[1].kept
    assert decided.distances[1] == pytest.approx(0.3, abs=0.02) and len(decided.warnings) == 1
    assert "photo 2" in decide(found, people, known, None, [face(0), face(5)]).warnings[0]
    assert "like photo 1" in decided.words[1] and "recogniser" in decided.warnings[0]
    # the plan's own word for a person goes first, its word for all does not
    plan = choice.PlanFile("m", {1: Choice("replace")}, Choice("obscure"))
    assert not decide(found, people, known, plan, [face(0)]).fates.get(1)
    plan = choice.PlanFile("m", {}, Choice("obscure"))
    assert decide(found, people, known, plan, [face(0)]).fates[1].kept


def test_who_is_only_nearly_like_the_photo_is_not_kept(media) -> None:
    found = analysis(media, track(1, 0, 30))
    doubtful = person(1, 1, away=0.5)
    decided = decide(found, [doubtful], {1: doubtful.codes}, None, [face(0)])
    assert not decided.fates and "nobody in the clip" in decided.warnings[0]
    nobody = Person(1, (1,), np.empty((0, 128), np.float32), 0.0, float("nan"))
    assert not decide(found, [nobody], {}, None, [face(0)]).fates


def test_of_two_at_once_who_are_like_the_photo_neither_is_kept(media) -> None:
    found = analysis(media, track(1, 0, 30), track(2, 10, 30, 300))
    twins = [person(1, 1), person(2, 2)]
    decided = decide(found, twins, {1: codes(0), 2: codes(0, seed=5)}, None, [face(0)])
    assert not decided.fates and "more than one" in decided.warnings[0]


def test_a_track_that_is_not_like_the_photo_is_not_kept_with_its_person(media) -> None:
    found = analysis(media, track(1, 0, 10), track(2, 20, 10))
    somebody = person(1, 1, 2)
    decided = decide(found, [somebody], {1: codes(0), 2: codes(0, away=0.55)}, None, [face(0)])
    assert set(decided.fates) == {1} and not decided.spared(somebody)


def test_a_named_surrogate_that_cannot_be_shown_is_told() -> None:
    from types import SimpleNamespace

    from deid.tell import _not_shown

    who = {1: (1, 2), 2: (3,), 3: (4,)}
    people = [SimpleNamespace(id=number, tracks=tracks) for number, tracks in who.items()]
    engine = SimpleNamespace(decisions=lambda: SimpleNamespace(surrogates={1: 7, 2: 8}), people=lambda: people)
    fates = {1: ("replaced", ""), 2: ("obscured", "too small"), 3: ("obscured", "recognised"), 4: ("obscured", "")}
    (told,) = _not_shown(engine, SimpleNamespace(outcomes=fates))  # type: ignore[arg-type]
    assert told.startswith("person 2 is obscured instead of replaced by surrogate 8 (recognised)")
