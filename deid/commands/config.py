"""``deid config``: which settings hold, a file to begin with, and completion for shells."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path
from typing import Any

import click

from deid.commands._shell import common_options, emit, emit_json
from deid.config import POLICIES
from deid.errors import OutputError, OutputExists, UsageError

_EXAMPLES = """\b
Examples:
  deid config show                     what 'deid run' would do here, and where each setting comes from
  deid config init                     writes deid.toml, to be edited
  deid config completion bash          what the shell needs to complete words
"""


@click.group(epilog=_EXAMPLES, short_help="Show settings, begin a file of them, complete words in shells.")
def config() -> None:
    """Settings come, nearest first, from flags; from DEID_<COMMAND>_<OPTION> and DEID_<OPTION> in the environment; from
    deid.toml beside the input, in the working folder, and in the user's configuration folder."""


_SHOW_EXAMPLES = """\b
Examples:
  deid config show
  deid config show batch
  deid config show run --for ward/day1.mkv      with the deid.toml beside that file, if there is one
"""


@config.command(epilog=_SHOW_EXAMPLES, short_help="Show which settings hold, and where each comes from.")
@click.argument("words", nargs=-1, metavar="[COMMAND]")
@click.option("--for", "source", metavar="SOURCE", help="The input beside which settings may lie.")
@common_options
@click.pass_context
def show(
    context: click.Context, words: tuple[str, ...], source: str | None, as_json: bool, quiet: bool, debug: bool
) -> None:
    """Show what holds for COMMAND (default: run), and whether it comes from the environment, a file or the program."""
    from deid.settings import FILE, commands_of, defaults, files, options_of, user_file

    group = context.find_root().command
    assert isinstance(group, click.Group)
    path = words or ("run",)
    command = dict(commands_of(group)).get(path)
    if command is None:
        raise UsageError(f"there is no command {' '.join(path)}; see 'deid --help'.")
    given = [] if source is None else [source]
    call = _choice(context)
    found = defaults(group, path, command, [*call, *given])
    chosen = {"config": call[1] if len(call) == 2 else None, "no_config": call == ["--no-config"]}
    beside = {"sources": given} if path == ("batch",) else {"source": source}
    used = files({**chosen, **beside})
    told: dict[str, Any] = {}
    for key, option in sorted(options_of(command).items()):
        setting = found.get(str(option.name))
        value = setting.value if setting is not None else option.get_default(click.Context(command))
        told[key] = {"value": value, "from": setting.where if setting is not None else "default"}
    if as_json:
        emit_json({"command": " ".join(path), "files": [str(file) for file in used], "settings": told})
        return
    lines = [f"# settings of 'deid {' '.join(path)}'"]
    lines += [f"# read: {file}" for file in used] or [f"# no {FILE} is beside the input, here, or at {user_file()}"]
    for key, entry in told.items():
        if entry["from"] != "default":
            lines.append(f"{key} = {_toml(entry['value'])}  # {entry['from']}")
    rest = [key for key, entry in told.items() if entry["from"] == "default"]
    lines += textwrap.wrap(f"by default: {', '.join(rest)}", 110, initial_indent="# ", subsequent_indent="#   ")
    emit("\n".join(lines))


def _choice(context: click.Context) -> list[str]:
    """``--config`` and ``--no-config`` as this call has them."""
    meta: dict[str, Any] = context.meta
    if meta.get("deid.no_config"):
        return ["--no-config"]
    return ["--config", meta["deid.config"]] if meta.get("deid.config") else []


_INIT_EXAMPLES = """\b
Examples:
  deid config init                              ./deid.toml, every option as a comment
  deid config init --preset source-protection
  deid config init --user                       for every run of yours
"""


@config.command(epilog=_INIT_EXAMPLES, short_help="Write a file of settings to begin with.")
@click.option(
    "-o",
    "--output",
    "target",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where it goes.  [default: deid.toml]",
)
@click.option("--user", is_flag=True, help="Write it to the user's configuration folder.")
@click.option("--preset", type=click.Choice(list(POLICIES)), help="With the options for this purpose.")
@common_options
@click.pass_context
def init(
    context: click.Context, target: Path | None, user: bool, preset: str | None, as_json: bool, quiet: bool, debug: bool
) -> None:
    """Write deid.toml with every option that may stand in it, as comments. Nothing is ever overwritten."""
    from deid.files import put
    from deid.settings import FILE, options_of, shared_options, user_file

    if user and target is not None:
        raise UsageError("--user and -o name two places; leave one of them out.")
    path = user_file() if user else target or Path(FILE)
    group = context.find_root().command
    assert isinstance(group, click.Group)
    shared = shared_options(group)
    lines = [
        "# Settings of deid. Keys here hold for run, batch, analyze and audit, those below [batch] for batch alone.",
        "# Flags and DEID_... in the environment go before them. Paths are told from this file's folder.",
        "",
    ]
    lines += [f'preset = "{preset}"'] if preset else []
    for key, option in options_of(group.commands["run"]).items():
        if key in shared:
            lines += ["", *_comment(option), f"# {key} = {_example(option)}"]
    lines += ["", "[batch]"]
    for key, option in options_of(group.commands["batch"]).items():
        if key not in shared and key not in ("json", "quiet", "debug", "dry-run", "output"):
            lines += ["", *_comment(option), f"# {key} = {_example(option)}"]
    if user:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{path.parent} cannot be made ({error.strerror}); choose a place with -o.") from error
    if os.path.lexists(path):
        raise OutputExists(f"{path} exists; choose another name with -o, or take it away first.")
    put(path, "\n".join(lines) + "\n", False)
    if as_json:
        emit_json({"file": str(path)})
    elif not quiet:
        emit(f"wrote {path}")


def _comment(option: click.Option) -> list[str]:
    return textwrap.wrap(option.help or "", 110, initial_indent="# ", subsequent_indent="# ")


def _example(option: click.Option) -> str:
    if option.is_flag:
        return "false"
    if isinstance(option.type, click.Choice):
        value = option.type.choices[0]
        return f'["{value}"]' if option.multiple else f'"{value}"'
    if isinstance(option.type, (click.types.IntParamType, click.types.FloatParamType)):
        return str(option.default if isinstance(option.default, (int, float)) else 1)
    return '["..."]' if option.multiple else '"..."'


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_toml(part) for part in value)}]"
    if isinstance(value, (int, float)):
        return str(value)
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


_COMPLETION_EXAMPLES = """\b
Examples:
  deid config completion bash >> ~/.bashrc
  deid config completion zsh >> ~/.zshrc
  deid config completion fish > ~/.config/fish/completions/deid.fish
"""


@config.command(epilog=_COMPLETION_EXAMPLES, short_help="Print what a shell needs to complete commands and options.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@common_options
@click.pass_context
def completion(context: click.Context, shell: str, as_json: bool, quiet: bool, debug: bool) -> None:
    """Print the words that make SHELL complete deid's commands, options and choices."""
    from click.shell_completion import BashComplete, get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    made = kind(context.find_root().command, {}, "deid", "_DEID_COMPLETE")
    # asks bash for its version, which says nothing about the one that will read this
    text = made.source_template % made.source_vars() if isinstance(made, BashComplete) else made.source()
    if as_json:
        emit_json({"shell": shell, "script": text})
    else:
        emit(text.rstrip("\n"))
