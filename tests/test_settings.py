"""Settings from files and the environment: precedence, presets, and what is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from deid import settings
from deid.cli import cli
from deid.config import POLICIES, preset_options
from deid.errors import OutputExists, UsageError

RUN = cli.commands["run"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder; ``ward`` holds the input, ``home`` is the user's."""
    for name in list(os.environ):
        if name.startswith("DEID_"):
            monkeypatch.delenv(name)
    (tmp_path / "ward").mkdir()
    (tmp_path / "home" / "deid").mkdir(parents=True)
    (tmp_path / "ward" / "clip.mp4").touch()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(*words: str, command: str = "run") -> dict[str, Any]:
    level = settings.defaults(cli, (command,), cli.commands[command], ["ward/clip.mp4", *words])
    return {name: setting.value for name, setting in level.items()}


def test_nearer_places_go_first(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "home" / "deid" / "deid.toml").write_text('engine = "blur"\ncover = "head"\ncrf = 20\nseed = 1\n')
    (place / "deid.toml").write_text('engine = "pixelate"\ncrf = 21\nseed = 2\n')
    (place / "ward" / "deid.toml").write_text('engine = "solid"\ncrf = 22\n[run]\ncrf = 23\n')
    assert found() == {"engine": "solid", "cover": "head", "crf": "23", "seed": "2"}
    monkeypatch.setenv("DEID_ENGINE", "morphable")
    monkeypatch.setenv("DEID_CRF", "24")
    monkeypatch.setenv("DEID_RUN_CRF", "25")
    assert found() == {"engine": "morphable", "cover": "head", "crf": "25", "seed": "2"}
    assert found("--crf", "26", "--engine", "blur") == {"cover": "head", "seed": "2"}
    assert found(command="batch")["crf"] == "24"
    assert found("--no-config") == {"engine": "morphable", "crf": "25"}
    (place / "other.toml").write_text("seed = 9")
    assert found("--config", "other.toml") == {"engine": "morphable", "crf": "25", "seed": "9"}


def test_settings_reach_the_run(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from deid.commands import run as command

    seen: list[Any] = []

    def refuse(source: object, target: object, config: object, *rest: object) -> None:
        seen.append(config)
        raise UsageError("enough.")

    monkeypatch.setattr(command, "_run", refuse)
    (place / "ward" / "deid.toml").write_text(
        'engine = "blur"\nstart = 1\nend = "0:02.5"\nno-mark = true\nthreads = 1\npreset = ["slow"]\n'
    )
    result = CliRunner().invoke(cli, ["run", "ward/clip.mp4", "--threads", "2"])
    assert isinstance(result.exception, UsageError) and "settings from" in result.stderr
    config = seen[0]
    assert (config.engine, config.start, config.end, config.mark, config.threads, config.preset) == (
        "blur", 1.0, 2.5, False, 2, "slow"
    )  # fmt: skip


def test_paths_are_told_from_the_file_that_names_them(place: Path) -> None:
    (place / "ward" / "deid.toml").write_text('key = "study.key"\nkeep-like = ["a.jpg", "/b.jpg"]\n')
    assert found()["key"] == str(place / "ward" / "study.key")
    assert found()["keep_like"] == [str(place / "ward" / "a.jpg"), "/b.jpg"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('engin = "blur"', "no option engin; did you mean engine"),
        ("jobs = 3", "an option of batch; put it below [batch]"),
        ("[batch]\njob = 3", "no option job; did you mean jobs"),
        ("[bath]\njobs = 3", "no command bath; did you mean batch"),
        ("[train.generatr]\nminutes = 3", "no command train generatr; did you mean train generator"),
        ('engine = "blurr"', "'blurr' is not one of"),
        ("crf = true", "which is no value for --crf"),
        ("crf = [1]", "which is no value for --crf"),
        ('crf = "x"', "not a valid integer"),
        ('start = "1:99"', "not a time"),
        ('salvage = "maybe"', "must be true or false"),
        ("engine = ", "is not TOML"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_file_is_an_error(place: Path, text: str, says: str) -> None:
    (place / "deid.toml").write_text(text)
    with pytest.raises(UsageError) as refused:
        found()
    assert says in str(refused.value) and "deid.toml" in str(refused.value)


@pytest.mark.parametrize("command", ["run", "batch", "analyze", "audit", "demo"])
def test_all_of_a_file_is_checked_whatever_is_called(place: Path, command: str) -> None:
    (place / "deid.toml").write_text("[surrogates]\ncont = 3")
    with pytest.raises(UsageError, match="did you mean count"):
        settings.defaults(cli, (command,), cli.commands[command], [])


def test_unknown_variables_are_errors(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEID_ENGIN", "blur")
    with pytest.raises(UsageError, match="DEID_ENGIN, which is no setting; did you mean DEID_ENGINE"):
        found()


def test_variables_hold_lists_and_truths(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEID_PRESET", "slow,max-privacy")
    monkeypatch.setenv("DEID_SALVAGE", "yes")
    monkeypatch.setenv("DEID_RUN_OVERWRITE", "0")
    monkeypatch.setenv("DEID_KEEP_LIKE", "a.jpg:b.jpg")
    told = found()
    assert told["presets"] == ["slow"] and told["engine"] == "solid" and told["salvage"] is True
    assert told["overwrite"] is False and told["keep_like"] == [str(place / "a.jpg"), str(place / "b.jpg")]


def test_a_policy_holds_against_what_farther_places_say(place: Path) -> None:
    (place / "home" / "deid" / "deid.toml").write_text('engine = "blur"\ncrf = 30\n')
    (place / "deid.toml").write_text('preset = "max-privacy"\ncover = "face"\n')
    assert found() == {
        "engine": "solid",
        "fallback": "solid",
        "detect": "thorough",
        "cover": "face",
        "crf": "30",
        "audio": "drop",
    }
    assert found("--preset", "slow")["engine"] == "solid"  # the speed alone does not lift the policy
    assert found("--engine", "blur")["fallback"] == "solid"
    (place / "deid.toml").write_text('engine = "blur"\ndetect = "fast"\n')
    assert "engine" not in found("--preset", "max-privacy") and "detect" not in found("--preset", "max-privacy")


@given(st.permutations(["slow", "max-privacy"]), st.sampled_from(sorted(POLICIES)))
def test_speeds_hold_beside_policies(names: list[str], policy: str) -> None:
    told = preset_options([policy if name == "max-privacy" else name for name in names])
    assert told == POLICIES[policy] | {"preset": "slow"}


def test_settings_that_make_no_sense_beside_flags_are_left_out(place: Path) -> None:
    (place / "deid.toml").write_text('key = "k"\naudit = true\nengine = "stylegan"\ngenerator = "g.pt"\n')
    assert set(found()) == {"key", "audit", "engine", "generator"}
    assert set(found("--engine", "blur")) == {"audit"}
    assert set(found("--scope", "video", "--dry-run")) == {"engine", "generator"}


def test_two_files_beside_sources_are_refused(place: Path) -> None:
    for name in ("one", "two"):
        (place / name).mkdir()
        (place / name / "deid.toml").write_text("crf = 20")
    with pytest.raises(UsageError, match="both lie beside sources"):
        settings.defaults(cli, ("batch",), cli.commands["batch"], ["one", "two", "-o", "out"])
    level = settings.defaults(cli, ("batch",), cli.commands["batch"], ["one", "-o", "out"])
    assert level["crf"].value == "20"


def config(*words: str) -> Result:
    return CliRunner().invoke(cli, ["config", *words])


def test_show_says_where_each_value_comes_from(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "ward" / "deid.toml").write_text('preset = "street"\n')
    monkeypatch.setenv("DEID_CRF", "30")
    told = json.loads(config("show", "--for", "ward/clip.mp4", "--json").stdout)
    assert told["settings"]["crf"] == {"value": "30", "from": "DEID_CRF"}
    assert told["settings"]["engine"]["value"] == "blur" and "preset street" in told["settings"]["engine"]["from"]
    assert told["settings"]["codec"]["from"] == "default" and told["files"] == [str(place / "ward" / "deid.toml")]
    text = config("show", "batch", "--config", "ward/deid.toml").stdout
    assert 'engine = "blur"  # preset street' in text and "crf = " in text
    assert 'engine = "blur"' not in config("show", "--no-config").stdout


def test_init_writes_a_file_that_is_valid_with_every_line_taken(place: Path) -> None:
    assert config("init", "--preset", "source-protection").exit_code == 0
    written = (place / "deid.toml").read_text()
    assert found()["match"] == "none" and found()["strict"] is True
    again = config("init")
    assert isinstance(again.exception, OutputExists) and "--overwrite" not in str(again.exception)  # there is none
    assert (place / "deid.toml").read_text() == written
    lines = written.splitlines()
    keys = {line[2:].split(" = ")[0] for line in lines if line.startswith("# ") and " = " in line}
    assert {"engine", "threads", "jobs", "include", "key"} <= keys
    config("init", "--user")
    assert (place / "home" / "deid" / "deid.toml").is_file()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed(shell: str) -> None:
    text = config("completion", shell).stdout
    assert "_DEID_COMPLETE" in text and "deid" in text


def test_the_shell_gets_completions() -> None:
    environment = os.environ | {"_DEID_COMPLETE": "bash_complete", "COMP_WORDS": "deid run --eng", "COMP_CWORD": "2"}
    done = subprocess.run([sys.executable, "-m", "deid"], env=environment, capture_output=True, text=True)
    assert "--engine" in done.stdout


def test_help_comes_whatever_a_file_says(place: Path, no_logged_errors: Callable[..., None]) -> None:
    (place / "deid.toml").write_text("nonsense")
    assert CliRunner().invoke(cli, ["run", "--help"]).exit_code == 0
    result = CliRunner().invoke(cli, ["run", "ward/clip.mp4"])
    assert isinstance(result.exception, UsageError) and not isinstance(result.exception, click.ClickException)
