"""Surrogates that come back: the same to the bit, and only in front of people they are strangers to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from deid.choice import Decisions
from deid.errors import DamagedRegistry
from deid.models.morphable import surrogate as module
from deid.models.morphable.appearance import load_appearance
from deid.models.morphable.casting import Casting, Role, Shown
from deid.models.morphable.codes import IdentityCode
from deid.models.morphable.eyewear import Eyewear, Outline
from deid.models.morphable.foretell import foretold
from deid.models.morphable.geometry import load_geometry
from deid.models.morphable.likenesses import is_plain, plainer
from deid.models.morphable.persona import from_bytes, model_mark, to_bytes
from deid.models.morphable.sampling import draw
from deid.models.morphable.surrogate import Surrogate, again, choose
from deid.people import Person
from deid.personas import Memory, Personas
from deid.registry import Entry


def somebody(number: int = 0) -> Person:
    return Person(number, (1,), np.empty((0, 128), np.float32), 0.8, 44.0)


def drawn(seed: int) -> IdentityCode:
    return draw(load_geometry(), load_appearance(), np.random.default_rng(seed), somebody())


@pytest.mark.parametrize("seed", range(4))
def test_a_surrogate_comes_back_to_the_bit_and_fits_a_record(seed: int) -> None:
    geometry, appearance = load_geometry(), load_appearance()
    mark = model_mark(geometry, appearance)
    code = drawn(seed)
    words = to_bytes(code, mark)
    again_, made_with = from_bytes(words, geometry, appearance)
    assert made_with == mark and again_.detail == code.detail
    for name in ("shape", "appearance", "iris"):
        np.testing.assert_array_equal(getattr(again_, name), getattr(code, name))
        assert getattr(again_, name).dtype == np.float32
    assert Entry.of(np.ones((1, 128), np.float32), words).persona == words
    for broken in (b"", words[:-4], words + b"1234", b"\7" + words[1:]):
        with pytest.raises(DamagedRegistry):
            from_bytes(broken, geometry, appearance)


def test_where_it_matches_somebody_it_is_told_and_with_most_pictures_it_is_unsafe(monkeypatch) -> None:
    """``before`` is the origin; the surrogate comes as far from it as the test says, picture by picture."""
    apart: list[float] = []

    def judged(geometry, appearance, code, likenesses, before, others, recognise, draws):
        codes = np.zeros((len(likenesses), 128), np.float32)
        codes[:, 0] = apart
        return Surrogate(code, float(np.mean(apart)), min(apart), codes, np.empty((0,)), draws, True)

    monkeypatch.setattr(module, "_judged", judged)

    class Chip:
        chip = np.zeros((150, 150, 3), np.uint8)
        toned = None

    def seen(*distances: float) -> tuple[bool, tuple[int, ...]]:
        apart[:] = distances
        found, match = again(None, None, drawn(1), [Chip()] * len(distances), lambda chips: np.zeros((len(chips), 128)))
        return found.safe, match

    assert seen(0.9, 0.8, 0.85) == (True, ())
    assert seen(0.9, 0.5, 0.85) == (True, (1,))
    assert seen(0.9, 0.5, 0.52) == (False, (1, 2))
    assert seen(0.59, 0.59, 0.59) == (False, ())
    found, match = again(None, None, drawn(1), [], lambda chips: chips)
    assert found.safe and match == ()


def test_a_draw_that_somebody_elsewhere_has_is_not_drawn_again() -> None:
    geometry, appearance = load_geometry(), load_appearance()

    def chosen(taken: list[IdentityCode]) -> IdentityCode:
        return choose(geometry, appearance, 3, somebody(), [], [], lambda chips: chips, taken).code

    first = chosen([])
    second = chosen([first])
    told = foretold([first, second])
    assert np.linalg.norm(told[0] - told[1]) > 1e-3
    # whoever is not near makes no difference
    np.testing.assert_array_equal(chosen([drawn(77)]).shape, first.shape)


@pytest.mark.parametrize(("safe", "asked", "remembered"), [(True, False, False), (False, False, False),
                                                           (True, True, False), (True, False, True)])  # fmt: skip
def test_somebody_else_is_given_where_that_is_free_and_helps(safe, asked, remembered, monkeypatch) -> None:
    nothing = np.empty((0, 128), np.float32), np.empty((0, 150, 150, 3), np.uint8)
    old, new, third = (Surrogate(drawn(i), 0.8, 0.7, *nothing, 1, safe or i != 1) for i in range(3))
    seen: list[tuple[int, list[object], list[object]]] = []

    def chosen(geometry, appearance, seed, person, likenesses, others, recognise, taken):
        seen.append((seed, list(likenesses), list(others)))
        return new

    monkeypatch.setattr("deid.models.morphable.casting.choose", chosen)
    people = [Person(i, (i,), np.full((1, 128), i, np.float32), 0.8, 44.0) for i in (1, 2)]
    book = Memory()
    personas = Personas.of_seed(1, book)
    casting = Casting(load_geometry(), load_appearance(), "none", list, np.asarray, personas, Decisions())
    personas.remember(people[0], to_bytes(old.code, b"8" * 8))
    role = Role(people[0], old, (), asked=asked, remembered=remembered, seed=77)
    shown = [Shown(f"picture {i}", 1, i) for i in range(3)]  # type: ignore[arg-type]
    found = casting.another(role, shown, [role, Role(people[1], third, ())])
    free = not asked and not remembered
    assert (found is not None) == (safe and free)
    pictures = ["picture 0", "picture 1", "picture 2"]
    tries = 0 if not free else 1 if safe else 3
    assert seen == [(77 + turn, pictures, [third]) for turn in range(tries)]
    book.commit()
    (entry,) = book.entries
    kept = new if found is not None else old
    assert from_bytes(entry.persona, load_geometry(), load_appearance())[0].detail == kept.code.detail
    if found is not None:
        assert found.surrogate is new and found.shown == tuple(shown) and found.person is people[0]


def test_plain_glasses_are_thin_and_light() -> None:
    own = Outline(3.2, -0.3, 2.4, 1.7)
    plain = plainer(Eyewear(own, own, 0.14, 1.0, np.float32([0.02] * 3), False, np.float32([0.4] * 3)))
    assert plain.pair is own and plain.rim < 0.1 and plain.below == 1 and plain.colour.min() > 0.3
    assert is_plain(plain) and is_plain(None) and not is_plain(replace(plain, rim=0.14))
    assert plain.lens.min() > 0.9


@pytest.mark.parametrize("apart", [0.4, 0.9])
def test_nobody_is_given_the_face_of_another_in_the_clip(apart: float, monkeypatch) -> None:
    def somewhere(x: float, pictures: int) -> np.ndarray:
        codes = np.zeros((pictures, 128), np.float32)
        codes[:, 0] = x
        return codes

    none = np.empty((0, 150, 150, 3), np.uint8)
    new = Surrogate(drawn(1), 0.8, 0.7, np.concatenate([somewhere(apart, 2), somewhere(0.1, 1)]), none, 1, True)
    third = Surrogate(drawn(2), 0.8, 0.7, somewhere(0.0, 4), none, 1, True)
    monkeypatch.setattr("deid.models.morphable.casting.choose", lambda *arguments: new)
    casting = Casting(load_geometry(), load_appearance(), "none", list, np.asarray, Personas.of_seed(1), Decisions())
    pictures = [Shown("picture", 1, i) for i in range(3)]  # type: ignore[arg-type]
    role, other = Role(somebody(1), third, tuple(pictures[:2])), Role(somebody(2), third, ())
    assert (casting.another(role, pictures, [role, other]) is None) == (apart < 0.5)


def test_who_is_given_another_face_must_come_out_farther_from_what_the_others_became(monkeypatch) -> None:
    def somewhere(x: float, pictures: int = 2) -> np.ndarray:
        codes = np.zeros((pictures, 128), np.float32)
        codes[:, 0] = x
        return codes

    none = np.empty((0, 150, 150, 3), np.uint8)
    places = iter(())
    beside: list[np.ndarray] = []

    def chosen(geometry, appearance, seed, person, likenesses, others, recognise, taken):
        beside.append(others[0].codes)
        return Surrogate(drawn(seed % 7), 0.9, 0.9, somewhere(next(places)), none, 1, True)

    monkeypatch.setattr("deid.models.morphable.casting.choose", chosen)
    personas = Personas.of_seed(1, Memory())
    casting = Casting(load_geometry(), load_appearance(), "none", list, np.asarray, personas, Decisions())
    people = [Person(i, (i,), np.empty((0, 128), np.float32), 0.8, 44.0) for i in (1, 2)]
    role = Role(people[0], Surrogate(drawn(1), 0.9, 0.9, somewhere(1.3), none, 1, True), (), seed=3)
    other = Role(people[1], Surrogate(drawn(2), 0.9, 0.9, somewhere(-2.0), none, 1, True), ())
    became = {1: somewhere(0.62), 2: somewhere(0.0, 3)}  # as first looks do not tell: 0.62 apart
    places = iter((0.6, 0.65, 0.68))
    found = casting.another(role, [], [role, other], became)
    assert found is not None and float(found.surrogate.codes[0, 0]) == pytest.approx(0.68)  # the best of three
    np.testing.assert_array_equal(beside[0], np.concatenate([somewhere(-2.0), somewhere(0.0, 3)]))
    places = iter((0.75, 0.0, 0.0))
    found = casting.another(role, [], [role, other], became)
    assert found is not None and len(beside) == 4  # far enough: nobody else is looked at
    places = iter((0.6, 0.5, 0.61))
    assert casting.another(role, [], [role, other], became) is None  # none is better than the first
