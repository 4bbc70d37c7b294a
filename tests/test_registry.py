"""The registry: sealed, all or nothing, one writer at a time, and of no use without its key."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deid.errors import DamagedRegistry, OutputError, UsageError, WrongKey
from deid.keys import Key, new_key, read_key
from deid.registry import Entry, Registry, _packed, _unpacked, known

KEY, OTHER = Key(b"k" * 32), Key(b"o" * 32)


def somebody(seed: int, count: int = 3) -> Entry:
    codes = np.random.default_rng(seed).normal(0, 0.09, (count, 128)).astype(np.float32)
    return Entry.of(codes, bytes(range(200)) * 3)


def fill(path: Path, *entries: Entry, key: Key = KEY) -> None:
    with Registry(path, key) as registry:
        registry.hold()
        for entry in entries:
            registry.add(entry)
        registry.prepare()
        registry.commit()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.binary(max_size=4096), st.integers(0, 1000))
def test_what_is_packed_comes_back_and_all_records_are_as_long(count: int, persona: bytes, seed: int) -> None:
    codes = np.random.default_rng(seed).normal(size=(count, 128)).astype(np.float32)
    entry = Entry.of(codes, persona)
    packed = _packed(entry)
    assert len(packed) == len(_packed(somebody(1)))
    again = _unpacked(entry.name, packed)
    assert again is not None
    np.testing.assert_array_equal(again.codes, codes[:8])
    assert again.persona == persona
    assert _unpacked(entry.name, packed[:-1]) is None


def test_people_stay_with_codes_and_persona_to_the_bit(tmp_path: Path) -> None:
    path = tmp_path / "people.sqlite"
    a, b = somebody(1), somebody(2, 9)
    fill(path, a)
    fill(path, b)
    with Registry(path, KEY) as registry:
        by_name = {entry.name: entry for entry in registry.entries}
    assert set(by_name) == {a.name, b.name}
    np.testing.assert_array_equal(by_name[b.name].codes, b.codes)
    assert by_name[a.name].persona == a.persona
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(os.listdir(tmp_path)) == ["people.sqlite"]


def test_the_file_holds_nothing_that_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "people.sqlite"
    entries = [somebody(n) for n in range(5)]
    fill(path, *entries)
    raw = path.read_bytes()
    for entry in entries:
        for code in entry.codes:
            for number in range(0, 128, 4):
                assert code[number : number + 2].tobytes() not in raw
        assert entry.template.tobytes()[:16] not in raw
        assert entry.persona[:16] not in raw
    base = sqlite3.connect(path)
    columns = {row[0]: [c[1] for c in base.execute(f"PRAGMA table_info({row[0]})")]
               for row in base.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}  # fmt: skip
    assert columns == {"about": ["salt", "proof"], "people": ["name", "sealed"]}  # no times, no order, no names
    assert {length for (length,) in base.execute("SELECT length(sealed) FROM people")} == {
        12 + 16 + len(_packed(entries[0]))
    }
    nonces = [bytes(row[0][:12]) for row in base.execute("SELECT sealed FROM people")]
    base.close()
    assert len(set(nonces)) == 5
    # what is sealed looks like noise: every byte about as frequent
    counts = np.bincount(np.frombuffer(raw, np.uint8), minlength=256)[1:]
    assert counts.max() < 2.5 * counts.mean()


def test_another_key_is_told_and_reads_nothing(tmp_path: Path) -> None:
    path = tmp_path / "people.sqlite"
    fill(path, somebody(1))
    with pytest.raises(WrongKey, match="belongs to another key"):
        Registry(path, OTHER)
    assert WrongKey.exit_code == 2


def test_changed_swapped_and_foreign_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "people.sqlite"
    fill(path, somebody(1), somebody(2))
    whole = path.read_bytes()
    with sqlite3.connect(path) as base:  # two people's records change places
        (a, x), (b, y) = base.execute("SELECT name, sealed FROM people").fetchall()
        base.execute("UPDATE people SET sealed = ? WHERE name = ?", (y, a))
        base.execute("UPDATE people SET sealed = ? WHERE name = ?", (x, b))
    base.close()
    with pytest.raises(DamagedRegistry):
        Registry(path, KEY)
    for content in (b"", b"no database at all" * 100, whole[:5000]):
        path.write_bytes(content)
        with pytest.raises(DamagedRegistry):
            Registry(path, KEY)
        assert path.read_bytes() == content
    with pytest.raises(UsageError):
        Registry(tmp_path, KEY)
    with pytest.raises(OutputError):
        Registry(tmp_path / "no" / "people.sqlite", KEY)


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("how_far", ["held", "added", "prepared"])
def test_without_a_commit_nothing_changes(there: bool, how_far: str, tmp_path: Path) -> None:
    path = tmp_path / "people.sqlite"
    if there:
        fill(path, somebody(1))
    before = {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)}
    with Registry(path, KEY) as registry:
        registry.hold()
        if how_far != "held":
            registry.add(somebody(2))
        if how_far == "prepared":
            registry.prepare()
    assert {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)} == before


_HOLDER = """
import sys, time
from pathlib import Path
import numpy as np
from deid.keys import read_key
from deid.registry import Entry, Registry
path, key, number, rest = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
registry = Registry(path, read_key(key), key)
print("open", flush=True)
registry.hold()
registry.add(Entry.of(np.full((1, 128), number / 100, np.float32), b"p"))
registry.prepare()
print("held", flush=True)
time.sleep(rest)
registry.commit()
registry.close()
"""


def holder(path: Path, key: Path, number: int, rest: float) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", _HOLDER, str(path), str(key), str(number), str(rest)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("there", [False, True])
def test_a_killed_run_leaves_the_registry_as_it_was_and_free(there: bool, tmp_path: Path) -> None:
    path, key = tmp_path / "people.sqlite", tmp_path / "a.key"
    new_key(key)
    if there:
        fill(path, somebody(1), key=read_key(key))
    process = holder(path, key, 5, 60)
    assert process.stdout is not None
    assert [process.stdout.readline().strip() for _ in range(2)] == ["open", "held"]
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    with Registry(path, read_key(key), key) as registry:
        assert len(registry.entries) == there
        registry.hold()
        registry.add(somebody(3))
        registry.prepare()
        registry.commit()
    assert sorted(os.listdir(tmp_path)) == ["a.key", "people.sqlite"]
    with Registry(path, read_key(key), key) as registry:
        assert len(registry.entries) == 1 + there


def test_two_processes_that_add_people_take_turns_and_lose_nobody(tmp_path: Path) -> None:
    path, key = tmp_path / "people.sqlite", tmp_path / "a.key"
    new_key(key)
    running = [holder(path, key, number, 0.4) for number in range(3)]
    waited = []
    for process in running:
        assert process.stdout is not None
        process.stdout.readline()
    with Registry(path, read_key(key), key) as registry:

        def wait(first: bool) -> None:
            waited.append(first)

        time.sleep(0.05)
        registry.hold(wait)
        registry.add(somebody(9))
        registry.prepare()
        registry.commit()
    assert [process.wait(30) for process in running] == [0, 0, 0]
    for process in running:
        assert process.stdout is not None
        process.stdout.close()
    with Registry(path, read_key(key)) as registry:
        assert len(registry.entries) == 4
    assert waited.count(True) <= 1


def test_who_waits_can_be_stopped(tmp_path: Path) -> None:
    path = tmp_path / "people.sqlite"
    fill(path, somebody(1))

    class Stop(Exception):
        pass

    def stop(first: bool) -> None:
        raise Stop

    with Registry(path, KEY) as first, Registry(path, KEY) as second:
        first.hold()
        with pytest.raises(Stop):
            second.hold(stop)
        first.close()
        second.hold(stop)


def test_nearest_first_and_nobody_twice() -> None:
    base = np.zeros(128, np.float32)
    entries = [Entry.of(base[None] + x, b"") for x in (0.0, 0.05)]
    people = [base + 0.01, base + 0.012, None, base + 1]
    found = known(people, entries, 0.7)
    assert found[0].name == entries[0].name and found[1].name == entries[1].name and len(found) == 2
    assert known(people[::-1], entries, 0.7)[3].name == entries[0].name
    assert not known(people, entries, 0.01)
