"""The documents say what the program does: every command, every option, every exit code, every file."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import deid
from deid import errors
from deid.cli import cli
from deid.config import CODECS, ENGINES, RunConfig

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted((ROOT / "docs").glob("*.md"))
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *PAGES]
COMMANDS = sorted(cli.commands.items())


def _all_commands() -> list[tuple[str, click.Command]]:
    """Commands, and those within groups by their whole names."""
    found = []
    for name, command in COMMANDS:
        inner = sorted(command.commands.items()) if isinstance(command, click.Group) else []
        found += [(name, command), *((f"{name} {word}", own) for word, own in inner)]
    return found


def options() -> list[tuple[str, click.Option]]:
    found = [(name, option) for name, command in _all_commands() for option in command.params]
    return [(name, option) for name, option in found if isinstance(option, click.Option)]


@pytest.mark.parametrize(("name", "command"), _all_commands())
def test_every_command_has_help_with_examples(name: str, command: click.Command) -> None:
    result = CliRunner().invoke(cli, [*name.split(), "--help"])
    assert result.exit_code == 0
    assert "Examples:" in result.output and f"  deid {name}" in result.output
    assert command.help and command.short_help and command.short_help.endswith(".")


def test_the_group_has_examples_and_exit_codes() -> None:
    output = CliRunner().invoke(cli, ["--help"]).output
    assert "Examples:" in output
    for code in documented_exit_codes():
        assert re.search(rf"\b{code}\b", output.split("Exit codes:")[1]), code


@pytest.mark.parametrize(("name", "option"), options())
def test_every_option_has_help_and_stands_in_its_commands_part_of_the_readme(name: str, option: click.Option) -> None:
    assert option.help
    own = README.split(f"### `deid {name}", 1)[1].split("\n### ", 1)[0]
    shared = README.split("### Every command", 1)[1].split("\n### ", 1)[0]
    for spelling in option.opts:
        assert f"`{spelling}" in own + shared, f"{spelling} of deid {name} is not in README.md"


def test_every_option_in_the_readme_exists() -> None:
    known = {spelling for _, option in options() for spelling in option.opts} | {"-h", "--help"}
    tables = [line.split("|")[1] for line in README.splitlines() if line.startswith("| `-")]
    named = {word for cell in tables for word in re.findall(r"`(--?[a-z-]+)", cell)}
    assert named and named <= known


def test_every_run_option_reaches_the_configuration() -> None:
    names = {option.name for name, option in options() if name == "run"}
    translated = {"no_mark": "mark", "presets": "preset"}
    assert set(RunConfig.__dataclass_fields__) <= {translated.get(name, name) for name in names}


@pytest.mark.parametrize("name", [*ENGINES, *CODECS])
def test_every_engine_and_codec_is_in_the_readme(name: str) -> None:
    assert f"`{name}`" in README


def test_the_defaults_in_the_help_are_the_defaults() -> None:
    output = " ".join(CliRunner().invoke(cli, ["run", "--help"]).output.split())
    config = RunConfig()
    for value in (config.engine, config.codec, config.preset, config.threshold):
        assert f"[default: {value}]" in output


def documented_exit_codes() -> set[int]:
    return {int(code) for line in README.splitlines() if re.match(r"\| [\d, ]+ \|", line)
            for code in re.findall(r"\d+", line.split("|")[1])}


def test_exit_codes_of_the_readme_are_those_of_the_errors() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.DeidError)]
    assert documented_exit_codes() == {0, 129, 130, 143} | {kind.exit_code for kind in kinds}
    for kind in kinds:
        assert kind.__name__ in (errors.__doc__ or "")


def shell_lines(path: Path, marked_only: bool = False) -> list[str]:
    """Commands that ``path`` shows: behind ``$`` in console blocks, and those for ``deid`` in blocks of sh."""
    text = path.read_text(encoding="utf-8")
    found = _lines_of("console", text)
    shown = [line.removeprefix("$ ") for line in found if line.startswith("$ ")]
    assert len(shown) == len(found), f"{path.name} has lines in console blocks that are no commands"
    if not marked_only:
        shown += _lines_of("sh", text)
    return [line for line in shown if line.startswith("deid ")]


def _lines_of(kind: str, text: str) -> list[str]:
    blocks = re.findall(rf"```{kind}\n(.*?)```", text, flags=re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


@pytest.mark.parametrize(
    ("path", "line"), [(path, line) for path in (ROOT / "README.md", *PAGES) for line in shell_lines(path)],
    ids=lambda value: value.name if isinstance(value, Path) else None,
)  # fmt: skip
def test_the_documents_commands_parse(path: Path, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _, name, *words = shlex.split(line, comments=True)
    command = cli.commands[name]
    while isinstance(command, click.Group):
        name, *words = words
        command = command.commands[name]
    context = command.make_context(name, words)
    for option in ("engine", "codec"):
        assert context.params.get(option) in {None, *ENGINES, *CODECS}


@pytest.fixture(scope="module")
def demo_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``deid demo -o look`` makes, once for all pages."""
    folder = tmp_path_factory.mktemp("demo")
    subprocess.run([sys.executable, "-m", "deid", "demo", "-o", "look"], cwd=folder, capture_output=True, check=True)
    return folder / "look"


@pytest.mark.slow
@pytest.mark.parametrize("path", [p for p in PAGES if shell_lines(p, True)], ids=lambda path: path.name)
def test_a_page_runs_as_it_stands(path: Path, tmp_path: Path, demo_files: Path) -> None:
    """From its top to its end, in an empty folder."""
    for line in shell_lines(path, marked_only=True):
        words = shlex.split(line, comments=True)
        if words == ["deid", "demo", "-o", "look"]:
            shutil.copytree(demo_files, tmp_path / "look")
            continue
        done = subprocess.run(
            [sys.executable, "-m", *words], cwd=tmp_path, capture_output=True, text=True, timeout=900, check=False
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("path", [ROOT / "README.md", *PAGES], ids=lambda path: path.name)
def test_the_documents_python_compiles(path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert blocks or path != ROOT / "README.md"
    for block in blocks if path.name != "api.md" else ():
        compile(block, path.name, "exec")


def test_the_python_reference_is_what_the_docstrings_say() -> None:
    sys.path.insert(0, str(ROOT / "tools"))
    from write_api import page

    assert (ROOT / "docs" / "api.md").read_text(encoding="utf-8") == page(), "docstrings have changed; run: make api"


def test_the_python_reference_names_all_that_is_public() -> None:
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert [name for name in deid.__all__ if name != "__version__" and not re.search(rf"\b{name}\b", text)] == []


def anchors(path: Path) -> set[str]:
    """What links to headings of ``path`` are called."""
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_and_named_files_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for link, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)", text):
        if link.startswith("https://"):
            continue
        aim = path.parent / link if link else path
        assert aim.exists(), f"{path.name} links to {link}"
        assert not anchor or anchor in anchors(aim), f"{path.name} links to {link}#{anchor}"
    for name in re.findall(r"`((?:deid|docs|benchmarks|examples|tests|tools)/[\w/.-]*)`", text):
        assert (ROOT / name).exists(), f"{path.name} names {name}"


TARGETS = ("demo", "test", "test-slow", "lint", "types", "bench", "api", "dist", "smoke", "clean")


@pytest.mark.parametrize("target", TARGETS)
def test_the_makefile_has_what_the_documents_name(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.name)
def test_examples_compile_and_say_how_to_run_them(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    compile(text, str(path), "exec")
    assert f"python examples/{path.name}" in text


def test_the_changelog_names_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## {deid.__version__}\n" in text
    assert "### CLI" in text and "### API" in text


def test_public_names_exist_and_are_documented() -> None:
    for name in deid.__all__:
        value = getattr(deid, name)
        assert name == "__version__" or value.__doc__ or issubclass(value, errors.DeidError)
