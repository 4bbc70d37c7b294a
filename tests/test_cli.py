"""The command line as a shell sees it: codes, sentences, streams, signals."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import deid.pipeline
from deid import __version__, errors
from deid.cli import cli, main
from deid.commands._shell import Stopped, StopRequest
from deid.config import RunConfig
from deid.progress import PlainProgress, Progress, QuietProgress, TerminalProgress, progress_for, seconds_text
from deid.report import RunReport

HEAVY = {"numpy", "cv2", "av", "torch", "mediapipe", "numba", "scipy", "rich"}


def shell(*words: object, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "deid", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)


def called(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """Code, standard output and standard error of ``main`` in this process."""
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    captured = capsys.readouterr()
    assert isinstance(left.value.code, int)
    return left.value.code, captured.out, captured.err


def some_report(**changes: Any) -> RunReport:
    numbers = {"seed": 1, "frames": 10, "width": 64, "height": 48, "shots": 1, "searches": 2, "damaged_frames": 0}
    texts = {"version": __version__, "source": "in.mp4", "target": "out.mp4", "engine": "blur", "mark": None}
    rest = {"tracks": (), "people": (), "streams": (), "verify": None, "timing": {"analyse": 1.0}}
    rest["warnings"] = ("look at it",)
    sizes = {"seconds": 0.4, "faces_per_frame": 0.0, "peak_memory": 1}
    return RunReport(**{**numbers, **texts, **rest, **sizes, **changes})  # type: ignore[arg-type]


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Replaces the pipeline: what it was called with, and what it raises if ``raises`` is set."""
    seen: dict[str, Any] = {}

    def run(source: Path, target: Path | None, config: RunConfig, progress: Progress) -> RunReport:
        seen.update(source=source, target=target, config=config, progress=progress)
        if target is not None and seen.get("writes", True):
            target.write_bytes(b"video")
        if "raises" in seen:
            raise seen["raises"]
        return some_report()

    monkeypatch.setattr(deid.pipeline, "run", run)
    return seen


# ---- start-up


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    code = "import sys; from deid.cli import main\ntry: main(['--help'])\nfinally: print(*sys.modules, file=sys.stderr)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not HEAVY & set(result.stderr.split())
    times = []
    for _ in range(3):
        start = time.perf_counter()
        assert shell("--help").returncode == 0
        times.append(time.perf_counter() - start)
    assert min(times) < 0.5


def test_import_is_light_and_names_are_lazy() -> None:
    code = "import sys, deid; deid.RunConfig, deid.UsageError; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not HEAVY & set(result.stdout.split())


def test_unknown_names_of_the_package_fail() -> None:
    with pytest.raises(AttributeError, match="no attribute 'swap'"):
        deid.swap  # noqa: B018


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert called(capsys, "--version") == (0, f"deid, version {__version__}\n", "")


# ---- codes and sentences


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ((), "name a command"),
        (("walk",), "No such command"),
        (("run",), "Missing argument"),
        (("run", "a.mp4", "--engine", "swap"), "--engine"),
        (("run", "a.mp4", "--start", "soon"), "is not a time"),
        (("run", "a.mp4", "--start", "5", "--end", "4"), "not after start"),
        (("run", "a.mp4", "--crf", "99"), "crf"),
        (("run", "a.mp4", "--keep", "two"), "--keep"),
        (("run", "a.mp4", "--nonsense"), "--nonsense"),
        (("info",), "Missing argument"),
        (("demo", "--engine", "swap"), "--engine"),
    ],
)
def test_bad_usage_is_code_2_and_one_sentence(
    words: tuple[str, ...], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = called(capsys, *words)
    assert code == 2 and out == ""
    assert part in err and err.startswith("deid: ") and err.count("\n") == 1


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (errors.UsageError("x."), 2),
        (errors.NotMedia("x."), 3),
        (errors.DamagedInput("x."), 4),
        (errors.OutputExists("x."), 5),
        (errors.ModelError("x."), 6),
        (errors.PrivacyError("x."), 7),
        (errors.DeidError("x."), 1),
        (OSError(28, "No space left on device"), 5),
        (MemoryError(), 1),
        (ZeroDivisionError("two\nlines"), 1),
        (Stopped(signal.SIGTERM), 143),
    ],
)
def test_every_failure_has_its_code_a_sentence_and_json(
    failure: BaseException, code: int, pipeline: dict[str, Any], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pipeline.update(raises=failure, writes=False)
    target = tmp_path / "o.mp4"
    got, out, err = called(capsys, "run", "a.mp4", "-o", target, "--json", "--quiet")
    assert got == code
    assert err.startswith("deid: ") and err.count("\n") == 1 and "Traceback" not in err
    error = json.loads(out)["error"]
    assert error["exit_code"] == code and error["type"] == type(failure).__name__
    assert err == f"deid: {error['message']}\n"


def test_debug_shows_the_traceback(
    pipeline: dict[str, Any], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pipeline.update(raises=ZeroDivisionError("here"), writes=False)
    code, _, err = called(capsys, "run", "a.mp4", "-o", tmp_path / "o.mp4", "--debug")
    assert code == 1 and "Traceback" in err and "ZeroDivisionError: here" in err


# ---- options and results


def test_options_reach_the_pipeline(
    pipeline: dict[str, Any], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    target = tmp_path / "o.mkv"
    words = "--engine solid --start 1:02.5 --end 90 --max-height 480 --codec hevc --crf 30 --preset fast --overwrite " \
        "--salvage --keep-metadata --no-mark --watermark Demo --seed 7 --keep 3,1 --keep 2 --threads 1 " \
        "--threshold 0.1 --match age"
    assert called(capsys, "run", "a.mp4", "-o", target, *words.split())[0] == 0
    assert pipeline["source"] == Path("a.mp4") and pipeline["target"] == target
    assert pipeline["config"] == RunConfig(
        engine="solid", start=62.5, end=90.0, max_height=480, codec="hevc", crf=30, preset="fast", overwrite=True,
        salvage=True, keep_metadata=True, mark=False, watermark="Demo", seed=7, keep=(1, 2, 3), threads=1,
        threshold=0.1, match="age",
    )


def test_presets_stand_for_options_and_give_way_to_them(
    pipeline: dict[str, Any], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ("run", "a.mp4", "-o", tmp_path / "o.mp4", "--preset", "max-privacy")
    assert called(capsys, *words)[0] == 0
    most = RunConfig(engine="solid", fallback="solid", cover="head", detect="thorough", audio="drop")
    assert pipeline["config"] == most
    assert called(capsys, *words, "--preset", "fast", "--detect", "fast", "--engine", "blur")[0] == 0
    assert pipeline["config"] == replace(most, preset="fast", detect="fast", engine="blur")
    assert called(capsys, *words[:-1], "most-privacy")[0] == 2


def test_defaults_of_the_command_are_those_of_the_configuration(
    pipeline: dict[str, Any], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert called(capsys, "run", tmp_path / "a.mp4")[0] == 0
    assert pipeline["config"] == RunConfig()
    assert pipeline["target"] == tmp_path / "a.deid.mp4"


def test_a_dry_run_has_no_target(pipeline: dict[str, Any], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert called(capsys, "run", "a.mp4", "-o", tmp_path / "o.mp4", "--dry-run")[0] == 0
    assert pipeline["target"] is None and pipeline["config"].dry_run


def test_results_go_to_stdout_and_warnings_to_stderr(
    pipeline: dict[str, Any], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    target = tmp_path / "o.mp4"
    code, out, err = called(capsys, "run", "a.mp4", "-o", target)
    assert code == 0 and f"wrote {target}" in out and err == "deid: warning: look at it\n"
    code, out, err = called(capsys, "run", "a.mp4", "-o", target, "--json")
    assert json.loads(out) == json.loads(json.dumps(some_report().as_dict())) and err == "deid: warning: look at it\n"
    code, out, err = called(capsys, "run", "a.mp4", "-o", target, "--quiet")
    assert (code, out, err) == (0, "", "deid: warning: look at it\n")


def test_the_report_is_written(pipeline: dict[str, Any], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    report = tmp_path / "r.json"
    assert called(capsys, "run", "a.mp4", "-o", tmp_path / "o.mp4", "--report", report)[0] == 0
    assert json.loads(report.read_text())["frames"] == 10
    assert sorted(os.listdir(tmp_path)) == ["o.mp4", "r.json"]
    assert called(capsys, "run", "a.mp4", "-o", tmp_path / "p.mp4", "--report", report)[0] == 5
    assert not (tmp_path / "p.mp4").exists()


@pytest.mark.parametrize(("place", "code"), [("o.mp4", 2), ("none/r.json", 5), ("folder", 5)])
def test_an_impossible_report_fails_before_the_run(
    place: str, code: int, pipeline: dict[str, Any], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    words = ("run", "a.mp4", "-o", tmp_path / "o.mp4", "--report", tmp_path / place, "--overwrite")
    got, _, err = called(capsys, *words)
    assert got == code and err.count("\n") == 1
    assert "source" not in pipeline and sorted(os.listdir(tmp_path)) == ["folder"]


def test_a_failed_run_leaves_no_report(
    pipeline: dict[str, Any], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pipeline.update(raises=errors.PrivacyError("x."), writes=False)
    assert called(capsys, "run", "a.mp4", "-o", tmp_path / "o.mp4", "--report", tmp_path / "r.json")[0] == 7
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("was_there", [False, True])
def test_a_signal_after_the_commit_takes_a_new_output_away_but_never_an_older_file(
    was_there: bool, pipeline: dict[str, Any], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    target = tmp_path / "o.mp4"
    if was_there:
        target.write_bytes(b"older")
    pipeline.update(raises=Stopped(signal.SIGINT))
    assert called(capsys, "run", "a.mp4", "-o", target)[0] == 130
    assert target.exists() is was_there


# ---- streams that fail


def test_a_reader_that_goes_away_is_no_failure() -> None:
    command = [sys.executable, "-m", "deid", "--help"]
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as stdout:
        result = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=60)
    assert "Traceback" not in result.stderr and "Exception ignored" not in result.stderr


def test_closed_standard_streams_do_not_crash(tmp_path: Path) -> None:
    for words, expected in (("--help", 0), ("walk", 2), (f"info '{tmp_path}/none.mp4'", 3)):
        line = f'exec "{sys.executable}" -m deid {words} <&- >&- 2>&-'
        assert subprocess.run(["/bin/sh", "-c", line], timeout=60, check=False).returncode == expected


# ---- signals


def test_the_first_signal_stops_and_later_ones_do_not_disturb() -> None:
    stop = StopRequest()
    with stop.installed(until_exit=False):
        with pytest.raises(Stopped) as caught:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.05)
    assert caught.value.exit_code == 143
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_lost_stop_is_raised_again_by_progress() -> None:
    stop = StopRequest()
    with pytest.raises(Stopped):
        stop.handle(signal.SIGINT, None)
    progress = QuietProgress(stop.check)
    with pytest.raises(Stopped):
        progress.advance()
    stop.disarm()
    progress.advance()


def test_ignored_signals_stay_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest().installed(until_exit=False):
            os.kill(os.getpid(), signal.SIGHUP)
            time.sleep(0.05)
    finally:
        signal.signal(signal.SIGHUP, before)


# ---- progress


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_suits_its_stream() -> None:
    assert isinstance(progress_for(_Terminal(), quiet=False), TerminalProgress)
    assert isinstance(progress_for(io.StringIO(), quiet=False), PlainProgress)
    assert isinstance(progress_for(_Terminal(), quiet=True), QuietProgress)


def test_plain_progress_writes_rate_and_time_left_but_seldom() -> None:
    often, seldom = io.StringIO(), io.StringIO()
    for stream, interval in ((often, 0.0), (seldom, 60.0)):
        with PlainProgress(stream, interval) as progress:
            progress.stage("finding faces", 4)
            for _ in range(4):
                time.sleep(0.002)
                progress.advance()
    lines = often.getvalue().splitlines()
    assert len(lines) == 4 and seldom.getvalue() == ""
    assert lines[1].startswith("finding faces: 2 of 4 (50 %), ") and "/s, " in lines[1] and lines[1].endswith(" left")
    assert lines[3].startswith("finding faces: 4 of 4 (100 %), ") and lines[3].endswith("0 s left")


def test_plain_progress_survives_a_wrong_total_and_a_closed_stream() -> None:
    stream = io.StringIO()
    progress = PlainProgress(stream, 0.0)
    progress.stage("rendering", 2)
    progress.advance(5)
    assert "5 of 5 (100 %)" in stream.getvalue()
    progress.stage("rendering", None)
    progress.advance(5)
    assert "rendering: 5 done, " in stream.getvalue()
    stream.close()
    progress.advance()
    progress.note("nobody hears")


def test_terminal_progress_shows_name_count_rate_and_time_left() -> None:
    stream = _Terminal()
    with TerminalProgress(stream) as progress:
        progress.stage("finding faces", 20)
        for _ in range(20):
            progress.advance()
        progress.note("a note with [brackets]")
        progress.stage("rendering", None)
        progress.advance(3)
    text = stream.getvalue()
    for part in ("finding faces", "20/20", "/s", "left", "a note with [brackets]", "rendering"):
        assert part in text, part


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59.4, "59 s"), (65, "1:05"), (3661, "1:01:01"), (-3, "0 s")]
)
def test_time_left_reads_well(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text


def test_cli_is_usable_from_click() -> None:
    result = CliRunner().invoke(cli, ["run", "--help"])
    assert result.exit_code == 0 and "--salvage" in result.output
