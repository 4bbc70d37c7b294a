"""Options that are not given on the command line: from the environment and from ``deid.toml``.

Nearest first: flags; ``DEID_<COMMAND>_<OPTION>``; ``DEID_<OPTION>``; ``deid.toml`` beside the input, in the working
folder, in the user's configuration folder. Whatever is found is checked like a flag; a key that no command knows is an
error, since a setting that silently does nothing may be the one that protects somebody.

A policy (``preset = "max-privacy"``) stands for several options. Where it is given, what farther places say of these
options no longer counts, and what the same or a nearer place says outright does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click

from deid.config import OBSCURING, POLICIES
from deid.errors import DeidError, InputError, InputNotFound, UsageError

FILE = "deid.toml"
PREFIX = "DEID_"
_OWN_VARIABLES = ("DEID_CONFIG", "DEID_NO_CONFIG")
_LARGEST = 1 << 20  # bytes of a file
_NOT_SET = ("help", "config", "no_config")
_SHARING = ("run", "batch", "analyze", "audit")
"""Commands for which keys outside of a command's own table hold, as far as they have such an option."""
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")


@dataclass(frozen=True, slots=True)
class Setting:
    """``value``: as click takes it. ``where``: for people. ``file``: where it stands, if in one."""

    value: Any
    where: str
    file: Path | None = None


Level = dict[str, Setting]
"""By name of the parameter, what one place says."""


def options_of(command: click.Command) -> dict[str, click.Option]:
    """What may be set, by its long name without dashes."""
    found = {}
    for option in command.params:
        if isinstance(option, click.Option) and option.name not in _NOT_SET:
            for word in option.opts:
                if word.startswith("--"):
                    found[word[2:]] = option
    return found


def commands_of(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command that does something, with its name in words."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands_of(command, (*path, name))
        else:
            yield (*path, name), command


def shared_options(group: click.Group) -> set[str]:
    """Long names of the options that may stand outside of a command's own table."""
    from deid.commands._options import source_options

    def nothing() -> None: ...

    source_options(nothing)
    own = {word[2:] for option in nothing.__click_params__ for word in option.opts}  # type: ignore[attr-defined]
    return own & set(options_of(group.commands["run"]))


def defaults(group: click.Group, path: tuple[str, ...], command: click.Command, words: Sequence[str]) -> Level:
    """What environment and files say for a call of ``command`` with ``words``: for parameters that are not given.

    Raises :class:`UsageError` for keys and variables that nobody knows and values that an option does not take.
    """
    given = _given(command, words)
    if given is None:
        return {}  # click itself says what is wrong with the words
    levels = [*_environment(group, path, command)]
    for file in files(given):
        levels.append(read(file, group, path, command))
    return settle(given, levels, command)


def _given(command: click.Command, words: Sequence[str]) -> dict[str, Any] | None:
    try:
        context = click.Context(command)
        given, _, _ = command.make_parser(context).parse_args(list(words))
    except click.ClickException:
        return None
    return dict(given)


def settle(given: Mapping[str, Any], levels: Sequence[Level], command: click.Command) -> Level:
    """Of all ``levels``, nearest first, what holds where the command line, ``given``, says nothing."""
    names = {option.name for option in options_of(command).values()}
    taken: Level = {}
    closed = {key for policy in given.get("presets") or () for key in POLICIES.get(policy, ())}
    closed |= {name for name, value in given.items() if value is not None}
    for level in levels:
        for name, setting in level.items():
            if name != "presets" and name not in closed:
                taken.setdefault(name, setting)
        presets = level.get("presets")
        if presets is None:
            continue
        policies = [word for word in presets.value if word in POLICIES]
        for policy in policies:
            for key, value in POLICIES[policy].items():
                if key != "preset" and key in names and key not in closed:
                    taken.setdefault(key, Setting(value, f"preset {policy}, {presets.where}", presets.file))
        closed |= {key for policy in policies for key in POLICIES[policy]}
        speeds = [word for word in presets.value if word not in POLICIES]
        speeds = speeds or [POLICIES[policy]["preset"] for policy in policies if "preset" in POLICIES[policy]]
        if speeds and "presets" not in closed:
            taken.setdefault("presets", Setting(speeds, presets.where, presets.file))
    for name in _pointless(given):
        taken.pop(name, None)
    return taken


def _pointless(given: Mapping[str, Any]) -> set[str]:
    """What makes no sense beside what the command line says, and so is not meant for this call."""
    out: set[str] = set()
    if given.get("dry_run"):
        out |= {"audit", "strict", "recogniser", "recogniser_threshold", "recogniser_bgr", "html", "signals"}
    engine = given.get("engine")
    if engine is not None and engine != "stylegan":
        out |= {"generator", "encoder", "mapper", "identity_encoder", "device"}
    if engine in OBSCURING:
        out |= {"key", "registry", "plan", "keep_like", "scope"}
    if given.get("scope") in ("video", "batch"):
        out |= {"key", "registry"}
    if given.get("key") is not None:
        out |= {"scope", "registry"}
    return out


def files(given: Mapping[str, Any]) -> list[Path]:
    """The files that count for a call, nearest first. Raises :class:`UsageError` where it cannot be told which."""
    chosen = given.get("config") or os.environ.get("DEID_CONFIG")
    if given.get("no_config") or (not chosen and _truth(os.environ.get("DEID_NO_CONFIG", ""), "DEID_NO_CONFIG")):
        return []
    if chosen:
        if not Path(chosen).is_file():
            raise InputNotFound(f"there is no file {chosen} with settings; check --config.")
        return [Path(chosen)]
    found: list[Path] = []
    for place in (_beside(given), Path(FILE), user_file()):
        if place is not None and place.is_file() and not any(place.samefile(other) for other in found):
            found.append(place)
    return found


def user_file() -> Path:
    """Where the user's own settings are."""
    import platformdirs

    return Path(platformdirs.user_config_dir("deid", appauthor=False)) / FILE


def _beside(given: Mapping[str, Any]) -> Path | None:
    sources = given.get("sources") or [s for s in (given.get("source"),) if s]
    places: list[Path] = []
    for source in sources:
        path = Path(source)
        place = (path if given.get("sources") and path.is_dir() else path.absolute().parent) / FILE
        if place.is_file() and not any(place.samefile(other) for other in places):
            places.append(place)
    if len(places) > 1:
        raise UsageError(f"{places[0]} and {places[1]} both lie beside sources; choose one with --config.")
    return places[0] if places else None


def read(file: Path, group: click.Group, path: tuple[str, ...], command: click.Command) -> Level:
    """What ``file`` says for ``command``. All of it is checked, also what is for other commands."""
    table = _table(file)
    shared = shared_options(group)
    known = dict(commands_of(group))
    own = options_of(command)
    level: Level = {}
    for key, value in table.items():
        if isinstance(value, dict):
            level |= _from_tables(file, (key,), value, known, path)
        elif _dashed(key) not in shared:
            raise UsageError(f"{file}: {_unknown(key, shared, known)}")
        elif path[0] in _SHARING and _dashed(key) in own:
            option = own[_dashed(key)]
            level.setdefault(str(option.name), _checked(option, value, f"{file}: {key}", file))
    return level


def _from_tables(
    file: Path, name: tuple[str, ...], table: Mapping[str, Any], known: Mapping[tuple[str, ...], click.Command],
    path: tuple[str, ...],
) -> Level:  # fmt: skip
    if name not in known:
        inner = {key: value for key, value in table.items() if isinstance(value, dict)}
        if not any(other[: len(name)] == name for other in known) or len(inner) < len(table):
            near = get_close_matches(" ".join(name), [" ".join(k) for k in known], 1)
            raise UsageError(f"{file}: there is no command {' '.join(name)}{_did_you_mean(near)}")
        level: Level = {}
        for key, value in inner.items():
            level |= _from_tables(file, (*name, key), value, known, path)
        return level
    options = options_of(known[name])
    level = {}
    for key, value in table.items():
        option = options.get(_dashed(key))
        if option is None:
            near = get_close_matches(_dashed(key), list(options), 1)
            raise UsageError(f"{file}: 'deid {' '.join(name)}' has no option {key}{_did_you_mean(near)}")
        setting = _checked(option, value, f"{file}: [{'.'.join(name)}] {key}", file)
        if name == path:
            level[str(option.name)] = setting
    return level


def _table(file: Path) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    try:
        with open(file, "rb") as stream:
            text = stream.read(_LARGEST + 1)
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror}); --no-config does without it.") from error
    if len(text) > _LARGEST:
        raise UsageError(f"{file} is too long for settings; --no-config does without it.")
    try:
        table: dict[str, Any] = tomllib.loads(text.decode("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{file} is not TOML ({error}).") from None
    return table


def _environment(group: click.Group, path: tuple[str, ...], command: click.Command) -> list[Level]:
    """What variables say: those for the command, and those for all."""
    own: Level = {}
    everywhere: Level = {}
    known = {_variable(*name, key): (name, option) for name, other in commands_of(group)
             for key, option in options_of(other).items()}  # fmt: skip
    shared = {_variable(key): key for key in shared_options(group)}
    mine = options_of(command)
    for variable, text in sorted(os.environ.items()):
        if not variable.startswith(PREFIX) or variable in _OWN_VARIABLES:
            continue
        if variable in shared:
            option = mine.get(shared[variable])
            if option is not None and path[0] in _SHARING:
                everywhere[str(option.name)] = _checked(option, _parts(option, text), variable)
        elif variable in known:
            name, option = known[variable]
            if name == path:
                own[str(option.name)] = _checked(option, _parts(option, text), variable)
        else:
            near = get_close_matches(variable, [*shared, *known, *_OWN_VARIABLES], 1)
            raise UsageError(f"the environment has {variable}, which is no setting{_did_you_mean(near)}")
    return [own, everywhere]


def _variable(*words: str) -> str:
    return PREFIX + "_".join(words).replace("-", "_").upper()


def _parts(option: click.Option, text: str) -> Any:
    if not option.multiple:
        return text
    return [part for part in text.split(os.pathsep if isinstance(option.type, click.Path) else ",") if part]


def _checked(option: click.Option, value: Any, where: str, file: Path | None = None) -> Setting:
    """``value`` as the option takes it. Paths in a file are told from its folder."""
    if option.is_flag:
        return Setting(_truth(value, where), where, file)
    if isinstance(value, (dict, bool)) or (isinstance(value, list) and not option.multiple):
        raise UsageError(f"{where} is {value!r}, which is no value for --{option.opts[-1].lstrip('-')}.")
    parts = value if isinstance(value, list) else [value]
    if any(isinstance(part, (dict, list, bool)) for part in parts):
        raise UsageError(f"{where} is {value!r}; it must be a value, or a list of values.")
    words = [str(part) for part in parts]
    if isinstance(option.type, click.Path):
        base = file.absolute().parent if file is not None else Path.cwd()
        words = [str(base / Path(word).expanduser()) for word in words]
    try:
        for word in words:
            option.type.convert(word, option, None)
    except click.ClickException as error:
        raise UsageError(f"{where}: {error.format_message().rstrip('.')}.") from None
    except DeidError as error:
        raise UsageError(f"{where}: {error}") from None
    return Setting(words if option.multiple else words[0], where, file)


def _truth(value: Any, where: str) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word not in (*_TRUE, *_FALSE):
        raise UsageError(f"{where} is {value!r}; it must be true or false.")
    return word in _TRUE


def _dashed(key: str) -> str:
    return key.replace("_", "-")


def _unknown(key: str, shared: set[str], known: Mapping[tuple[str, ...], click.Command]) -> str:
    homes = [" ".join(name) for name, command in known.items() if _dashed(key) in options_of(command)]
    if homes:
        return f"{key} is an option of {', '.join(homes[:3])}; put it below [{homes[0].replace(' ', '.')}]."
    return f"there is no option {key}{_did_you_mean(get_close_matches(_dashed(key), sorted(shared), 1))}"


def _did_you_mean(near: Sequence[str]) -> str:
    return f"; did you mean {near[0]}?" if near else "; 'deid config init' writes a file with all of them."
