"""Whole batches with stand-ins for workers: what is done again and what is not, what fails, and kills at any moment."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from batch.fake_worker import DRIVER
from deid.batch.pool import Worker


class Bench:
    """A folder of sources and what becomes of it."""

    def __init__(self, place: Path) -> None:
        self.sources, self.out, self.log = place / "in", place / "out", place / "log"
        self.sources.mkdir()

    def put(self, name: str, text: str) -> None:
        place = self.sources / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    def command(self, *words: object) -> list[str]:
        return [sys.executable, "-c", DRIVER, "batch", str(self.sources), "-o", str(self.out), *map(str, words)]

    def environment(self, **more: str) -> dict[str, str]:
        return os.environ | {"FAKE_LOG": str(self.log)} | more

    def run(self, *words: object, code: int = 0, **more: str) -> dict[str, Any]:
        """``--json`` of a run that is to end with ``code``."""
        command = self.command("--json", "--quiet", *words)
        done = subprocess.run(command, capture_output=True, text=True, env=self.environment(**more), timeout=60)
        assert done.returncode == code, done.stderr
        self.said = done.stderr
        told: dict[str, Any] = json.loads(done.stdout)
        return told

    def fates(self, told: dict[str, Any]) -> dict[str, str]:
        return {entry["target"]: entry["outcome"] for entry in told["files"]}

    def starts(self) -> list[str]:
        """Names of the files that workers were started for since the last call."""
        names = self.log.read_text().split() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return sorted(names)

    def outputs(self) -> dict[str, bytes]:
        files = [p for p in self.out.rglob("*") if p.is_file() and ".deid-batch" not in p.parts]
        return {str(p.relative_to(self.out)): p.read_bytes() for p in files}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    made = Bench(tmp_path)
    for number in range(3):
        made.put(f"{'day/' if number else ''}{number}.mp4", f"clip {number}")
    return made


def test_everything_once_and_then_nothing(bench: Bench) -> None:
    told = bench.run("--seed", 4)
    assert set(bench.fates(told).values()) == {"done"} and bench.starts() == ["0.mp4", "1.mp4", "2.mp4"]
    assert bench.outputs() == {
        name: f"made of {text} with seed 4morphable".encode()
        for name, text in {"0.mp4": "clip 0", "day/1.mp4": "clip 1", "day/2.mp4": "clip 2"}.items()
    }
    assert set(bench.fates(bench.run("--seed", 4)).values()) == {"skip"} and bench.starts() == []
    assert oct((bench.out / ".deid-batch" / "ledger.sqlite").stat().st_mode & 0o777) == "0o600"


def test_only_what_changed_is_done_again(bench: Bench) -> None:
    bench.run()
    bench.starts()
    bench.put("day/1.mp4", "clip 1, other")
    os.utime(bench.sources / "0.mp4", ns=(1, 1))  # touched, not changed
    told = bench.run()
    assert bench.fates(told) == {"0.mp4": "same", "day/1.mp4": "done", "day/2.mp4": "skip"}
    assert b"other" in bench.outputs()["day/1.mp4"]
    bench.starts()
    (bench.out / "day/2.mp4").unlink()
    bench.put("new.mp4", "new")
    assert bench.fates(bench.run()) == {"0.mp4": "skip", "day/1.mp4": "skip", "day/2.mp4": "done", "new.mp4": "done"}
    assert bench.starts() == ["2.mp4", "new.mp4"]
    bench.run("--engine", "blur")
    assert len(bench.starts()) == 4 and all(v.endswith(b"blur") for v in bench.outputs().values())


def test_an_older_copy_of_what_fails_now_is_told_of(bench: Bench) -> None:
    bench.run()
    bench.put("0.mp4", "bad now")
    bench.run(code=9)
    assert "0.mp4: failed: it is not a video; the copy that an earlier run made is still there." in bench.said
    assert bench.outputs()["0.mp4"].startswith(b"made of clip 0")


def test_seeds_are_kept_and_each_files_own(bench: Bench) -> None:
    bench.put("day/twin.mp4", "clip 0")
    bench.run()
    before = bench.outputs()
    seeds = {name: made.split(b"seed ")[1] for name, made in before.items()}
    assert seeds["0.mp4"] == b"Nonemorphable"  # told to nobody: the worker makes it of the secret
    (bench.out / "0.mp4").unlink()
    bench.run()
    assert bench.outputs() == before


def test_failures_stop_nobody_are_tried_a_bounded_number_of_times_and_listed(bench: Bench) -> None:
    bench.put("bad.mp4", "bad")
    bench.put("crash.mp4", "crash")
    bench.put("odd.mp4", "odd")
    bench.put("once.mp4", "once")
    told = bench.run("--retries", 1, "--jobs", 3, code=9)
    fates = bench.fates(told)
    assert {n for n, f in fates.items() if f == "failed"} == {"bad.mp4", "crash.mp4", "odd.mp4"}
    assert fates["once.mp4"] == "done" and len(bench.outputs()) == 4
    starts = bench.starts()
    assert [starts.count(f"{n}.mp4") for n in ("bad", "crash", "odd", "once")] == [1, 2, 2, 2]
    assert "not a video" in bench.said and "killed" in bench.said and "3 of 7 files failed" in bench.said
    again = bench.run("--retries", 1, code=9)
    assert bench.starts() == [] and list(bench.fates(again).values()).count("given up") == 3
    bench.put("bad.mp4", "good")
    bench.run("--retries", 1, "--retry-failed", code=9)
    starts = bench.starts()
    assert (starts.count("bad.mp4"), starts.count("odd.mp4"), starts.count("0.mp4")) == (1, 2, 0)


def test_what_hangs_is_ended(bench: Bench) -> None:
    bench.put("hang.mp4", "hang")
    began = time.monotonic()
    told = bench.run("--retries", 0, "--stall", 1.5, code=9)
    assert bench.fates(told)["hang.mp4"] == "failed" and "taken for hung" in bench.said
    assert len(bench.outputs()) == 3 and time.monotonic() - began < 30


def test_files_of_others_are_never_overwritten(bench: Bench) -> None:
    bench.out.mkdir()
    (bench.out / "0.mp4").write_text("precious")
    told = bench.run(code=9)
    assert bench.fates(told)["0.mp4"] == "failed" and "not what this batch made" in bench.said
    assert bench.outputs()["0.mp4"] == b"precious" and len(bench.outputs()) == 3
    bench.run("--overwrite", "--retry-failed")
    (bench.out / "0.mp4").write_text("edited by hand")
    bench.run("--engine", "blur", code=9)
    assert bench.outputs()["0.mp4"] == b"edited by hand"


def test_a_dry_run_tells_and_changes_nothing(bench: Bench) -> None:
    told = bench.run("--dry-run")
    assert {entry["due"] for entry in told["files"]} == {"to be made"} and not bench.out.exists()
    bench.run()
    bench.put("0.mp4", "changed")
    due = {entry["target"]: entry["due"] for entry in bench.run("--dry-run")["files"]}
    assert due["day/1.mp4"] == "finished" and "looked at" in due["0.mp4"]


def test_two_runs_on_one_ledger_do_not_collide(bench: Bench) -> None:
    command, environment = bench.command("--jobs", 1), bench.environment(FAKE_SLEEP="0.5")
    first = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
    try:
        limit = time.monotonic() + 20
        while not bench.log.exists() and time.monotonic() < limit:
            time.sleep(0.05)
        second = subprocess.run(bench.command(), capture_output=True, text=True, env=bench.environment(), timeout=30)
        assert second.returncode == 5 and "another run works with" in second.stderr
    finally:
        first.communicate(timeout=60)
    assert first.returncode == 0 and len(bench.outputs()) == 3 and len(bench.starts()) == 3


def test_a_signal_ends_workers_and_says_how_to_go_on(bench: Bench) -> None:
    bench.put("hang.mp4", "hang")
    process = subprocess.Popen(
        bench.command("--jobs", 2),
        stderr=subprocess.PIPE,
        text=True,
        env=bench.environment(),
        stdout=subprocess.DEVNULL,
    )
    limit = time.monotonic() + 20
    while len(bench.outputs() if bench.out.exists() else ()) < 3 and time.monotonic() < limit:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=30)[1]
    assert process.returncode == 143 and re.search("[23] of 4 files finished; the same command goes on", said)
    bench.put("hang.mp4", "well")
    bench.run()
    assert len(bench.outputs()) == 4


def test_a_file_that_is_no_ledger_is_left_alone(bench: Bench, tmp_path: Path) -> None:
    other = tmp_path / "notes.sqlite"
    other.write_text("my notes, not a database, and rather longer than a hundred bytes, so that SQLite reads a header")
    before = other.read_bytes()
    done = subprocess.run(bench.command("--ledger", other), capture_output=True, text=True, env=bench.environment())
    assert done.returncode == 3 and "no ledger" in done.stderr and other.read_bytes() == before
    foreign = tmp_path / "foreign.sqlite"
    base = sqlite3.connect(foreign)
    base.execute("CREATE TABLE mine (x)")
    base.commit()
    base.close()
    done = subprocess.run(bench.command("--ledger", foreign), capture_output=True, text=True, env=bench.environment())
    assert done.returncode == 3 and "no ledger of this version" in done.stderr


def test_an_audit_that_is_asked_for_later_judges_what_is_there(bench: Bench, tmp_path: Path) -> None:
    bench.put("leaky.mp4", "leaky clip")
    bench.run("--seed", 4)
    before, stamps = bench.outputs(), [p.stat().st_mtime_ns for p in sorted(bench.out.rglob("*.mp4"))]
    due = {entry["due"] for entry in bench.run("--seed", 4, "--audit", "--dry-run")["files"]}
    assert due == {"finished, to be audited"}
    bench.starts()
    told = bench.run("--seed", 4, "--audit")
    assert set(bench.fates(told).values()) == {"judged"} and len(bench.starts()) == 4
    assert {e["target"]: e["audit"] for e in told["files"]}["leaky.mp4"] is False
    assert bench.outputs() == before and stamps == [p.stat().st_mtime_ns for p in sorted(bench.out.rglob("*.mp4"))]
    bench.run("--seed", 4, "--audit")
    bench.run("--seed", 4)
    assert bench.starts() == []
    pages = tmp_path / "pages"  # a page is made where there is none yet
    assert set(bench.fates(bench.run("--seed", 4, "--report", pages)).values()) == {"judged"}
    assert (pages / "day/1.mp4.html").read_text() == "<p>page</p>" and len(bench.starts()) == 4
    told = bench.run("--seed", 4, "--strict", code=9)
    assert bench.fates(told)["leaky.mp4"] == "failed" and "taken away again" in bench.said
    assert bench.starts() == ["leaky.mp4"] and bench.outputs() == {n: m for n, m in before.items() if n != "leaky.mp4"}


def test_a_ledger_of_the_version_before_is_taken_on(bench: Bench) -> None:
    bench.run("--seed", 4)
    bench.starts()
    base = sqlite3.connect(bench.out / ".deid-batch" / "ledger.sqlite")
    base.execute("ALTER TABLE files DROP COLUMN judged")
    base.execute("PRAGMA user_version = 1")
    base.commit()
    base.close()
    assert {e["due"] for e in bench.run("--seed", 4, "--dry-run")["files"]} == {"finished"}
    assert set(bench.fates(bench.run("--seed", 4)).values()) == {"skip"} and bench.starts() == []
    assert set(bench.fates(bench.run("--seed", 4, "--audit")).values()) == {"judged"}


def killed_again_and_again(
    command: list[str], environment: dict[str, str], kills: int, longest: float, seed: int
) -> int:
    """Start ``command`` and kill it with SIGKILL after a random time, up to ``kills`` times, then let it end. Returns
    how often it was killed at work."""
    chance = random.Random(seed)
    struck = 0
    for _ in range(kills):
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(chance.uniform(0.1, longest))
        except subprocess.TimeoutExpired:
            process.kill()
            struck += 1
        process.wait()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return struck


def test_kill_9_at_random_moments_leaves_every_output_once_and_whole(bench: Bench) -> None:
    for number in range(3, 9):
        bench.put(f"{number}.mp4", f"clip {number}")
    environment = bench.environment(FAKE_SLEEP="0.3")
    struck = killed_again_and_again(bench.command("--jobs", 2, "--seed", 4, "--quiet"), environment, 10, 0.9, seed=1)
    assert struck >= 3  # how often depends on how fast the machine is
    assert bench.outputs() == {
        str(path.relative_to(bench.sources)): b"made of " + path.read_bytes() + b" with seed 4morphable"
        for path in bench.sources.rglob("*.mp4")
    }
    left = sorted(p.name for p in (bench.out / ".deid-batch").rglob("*"))
    assert left == ["ledger.sqlite", "ledger.sqlite.lock"]
    bench.starts()
    bench.run("--seed", 4)
    assert bench.starts() == []


STEPS = ("give_name", "put_naming", "put_done")


@pytest.mark.parametrize("moment", STEPS)
@pytest.mark.parametrize("after", [False, True])
def test_a_kill_between_any_two_steps_of_naming_is_made_good(bench: Bench, moment: str, after: bool) -> None:
    """Strikes before or after each step, the first time it is taken."""
    strike = f"""
import os
from deid.batch import ledger, runner
def struck(original, applies, after={after}):
    def call(*a, **k):
        if applies(k) and not after: os.kill(os.getpid(), 9)
        result = original(*a, **k)
        if applies(k): os.kill(os.getpid(), 9)
        return result
    return call
if {moment!r} == "give_name":
    runner.give_name = struck(runner.give_name, lambda k: True)
else:
    state = {moment!r}.split("_")[1]
    ledger.Ledger.put = struck(ledger.Ledger.put, lambda k: k.get("state") == state)
"""
    command = bench.command("--seed", 4)
    command[2] = strike + DRIVER
    done = subprocess.run(command, env=bench.environment(), capture_output=True, timeout=60)
    assert done.returncode == -signal.SIGKILL
    bench.starts()
    bench.run("--seed", 4)
    assert len(bench.starts()) == (3 if moment == "put_naming" else 2)  # what the ledger calls finished is kept
    made = bench.outputs()
    assert len(made) == 3 and all(m.endswith(b"with seed 4morphable") for m in made.values())
    assert len({hashlib.sha256(m).digest() for m in made.values()}) == 3


def test_who_is_busy_without_a_word_is_left_alone_for_longer() -> None:
    codes = ("import time; time.sleep(60)", "while True: pass")
    stuck = []
    for code in codes:
        process = subprocess.Popen([sys.executable, "-c", code])
        worker = Worker("x", process, time.monotonic(), time.monotonic())
        limit = time.monotonic() + 3.5
        try:
            while time.monotonic() < limit and not worker.is_stuck(2.5):
                time.sleep(0.1)
            stuck.append(worker.is_stuck(2.5))
            assert worker.is_stuck(0.2)  # eight times as long is too long for anybody
        finally:
            process.kill()
            process.wait()
    assert stuck == [True, False]
