"""Who is who in many files: what follows from the files alone, what waits for what, and what is kept where."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pytest

from deid.batch.ledger import Ledger
from deid.batch.people import APART, Cast, Planned, as_words, destroy_key, key_beside, of_words, open_seal
from deid.people import Person
from deid.registry import Entry

FACES = np.random.default_rng(5).normal(0, 0.06, (9, 128)).astype(np.float32)


def seen(who: int, shift: int = 0, number: int = 1) -> Person:
    """Somebody, a little different in every file."""
    codes = FACES[who] + np.random.default_rng(100 * who + shift).normal(0, 0.004, (3, 128)).astype(np.float32)
    return Person(number, (), codes, 0.0, 40.0, b"")


def files(shown: Mapping[str, Iterable[int]]) -> dict[str, list[Person]]:
    return {
        name: [seen(who, sum(name.encode()), n) for n, who in enumerate(people, 1)] for name, people in shown.items()
    }


def play(cast: Cast, names: Iterable[str], failing: frozenset[str] = frozenset()) -> None:
    """Run all files as soon as they may, the last of ``names`` first."""
    left, over = list(names), set()
    while left:
        name = next(n for n in reversed(left) if cast.is_ready(n, over))
        left.remove(name)
        over.add(name)
        if name not in failing:
            book = Planned.of_words(cast.words(name))
            for entry in [e for e in book.entries if not e.persona]:
                book.add(Entry(entry.name, entry.codes, f"drawn in {name} of {entry.template.sum():.3f}".encode()))
            book.commit()
            cast.learned(name, book.words())


def surrogates(cast: Cast, name: str, people: list[Person]) -> list[bytes]:
    """Of the people of a file that is finished."""
    found = Planned.of_words(cast.words(name)).find(people)
    chosen = {entry.name: entry.persona for entry in cast.chosen_by(name)}
    return [found[person.id].persona or chosen[found[person.id].name] for person in people]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterable[Ledger]:
    with Ledger(tmp_path / "ledger.sqlite") as opened:
        yield opened


SHOWN = {"a": [0, 1], "b": [1, 0, 2], "c": [3], "d": [2], "e": [4, 0], "f": [3, 4]}


def test_people_go_to_words_and_back() -> None:
    person = Person(1, (2, 3), seen(0).codes, 0.5, 30.0, b"place")
    nobody = Person(2, (4,), np.zeros((0, 128), np.float32), 0.0, 0.0, b"there")
    back = of_words(as_words([person, nobody]))
    assert [p.content for p in back] == [person.content, nobody.content] and len(back[1].codes) == 0


def test_the_first_file_by_content_chooses_and_others_wait_for_it(ledger: Ledger) -> None:
    cast = Cast(ledger, open_seal(ledger.path), files(SHOWN))
    assert [n for n in SHOWN if cast.is_ready(n, set())] == ["a", "c"]
    words = cast.words("a")
    assert len(words["mine"]) == 2 and not any(told["persona"] for told in words["mine"].values())
    assert [n for n in SHOWN if cast.is_ready(n, {"a"})] == [
        "a",
        "b",
        "c",
    ]  # d waits for b, e for all before c, f for c


def test_whatever_the_order_everybody_has_one_face_and_the_same(tmp_path: Path) -> None:
    results = []
    for turn, order in enumerate(itertools.islice(itertools.permutations(SHOWN), 0, 720, 90)):
        with Ledger(tmp_path / f"{turn}.sqlite") as ledger:
            seal = open_seal(tmp_path / "one")  # names of entries follow from the batch's secret
            shown = files({name: SHOWN[name] for name in order})
            cast = Cast(ledger, seal, shown)
            play(cast, order)
            results.append({name: surrogates(cast, name, shown[name]) for name in SHOWN})
    assert all(result == results[0] for result in results)
    faces: dict[int, set[bytes]] = {who: set() for who in range(5)}
    for name, people in SHOWN.items():
        for who, face in zip(people, results[0][name], strict=True):
            faces[who].add(face)
    assert all(len(own) == 1 for own in faces.values()) and len(set.union(*faces.values())) == 5


def test_who_fails_is_stood_in_for(ledger: Ledger) -> None:
    shown = files(SHOWN)
    cast = Cast(ledger, open_seal(ledger.path), shown)
    play(cast, SHOWN, failing=frozenset("a"))
    assert not cast.chosen_by("a") and surrogates(cast, "b", shown["b"])[1] == surrogates(cast, "e", shown["e"])[1]


def test_what_was_decided_stays_decided_and_tells_when_a_file_is_out_of_date(ledger: Ledger) -> None:
    seal = open_seal(ledger.path)
    cast = Cast(ledger, seal, files(SHOWN))
    play(cast, SHOWN)
    before = {name: cast.inputs(name) for name in SHOWN}
    again = Cast(ledger, seal, files(SHOWN))
    assert {name: again.inputs(name) for name in SHOWN} == before
    changed = files(SHOWN | {"c": [5]})  # the file in which 3's face was chosen shows somebody else now
    changed["c2"] = changed.pop("c")
    third = Cast(ledger, seal, changed)
    assert {n for n in SHOWN if n != "c" and third.inputs(n) != before[n]} == {"f"}


def test_who_is_registered_keeps_that_face_and_later_ones_change_nothing(ledger: Ledger) -> None:
    seal = open_seal(ledger.path)
    known = Entry.of(seen(3, 77).codes, b"from before")
    cast = Cast(ledger, seal, files(SHOWN), [known])
    assert [told["persona"] for told in cast.words("c")["mine"].values()] == ["ZnJvbSBiZWZvcmU="]
    late = Entry.of(seen(0, 78).codes, b"late")
    again = Cast(ledger, seal, files(SHOWN), [known, late])
    assert not any(told["persona"] for told in again.words("a")["mine"].values())


def test_surrogates_are_unlike_those_of_files_well_before(ledger: Ledger) -> None:
    shown = {name: [place] for place, name in enumerate("abcdefgh")}
    cast = Cast(ledger, open_seal(ledger.path), files(shown))
    play(cast, sorted(shown, reverse=True))
    assert [len(cast.words(name)["others"]) for name in "abcdefgh"] == [max(0, n - APART + 1) for n in range(8)]


def test_templates_are_sealed_and_gone_with_the_key(ledger: Ledger) -> None:
    seal = open_seal(ledger.path)
    assert oct(key_beside(ledger.path).stat().st_mode & 0o777) == "0o600"
    assert open_seal(ledger.path).secret == seal.secret
    content = as_words([seen(0)])
    ledger.keep_people("a", "s", seal.close(content, b"a"))
    stored = ledger.people("s")["a"]
    assert content[0]["codes"][:40].encode() not in ledger.path.read_bytes()
    assert seal.open(stored, b"a") == content and seal.open(stored, b"b") is None
    destroy_key(ledger.path)
    destroy_key(ledger.path)
    assert not key_beside(ledger.path).exists() and open_seal(ledger.path).open(stored, b"a") is None
    ledger.forget_people()
    assert not ledger.people("s") and not ledger.personas()
