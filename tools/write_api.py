"""Writes docs/api.md: what can be imported from ``deid``, out of signatures and docstrings.

    python tools/write_api.py            # writes; a test compares the file with what this would write
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import griffe

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "docs" / "api.md"

_HEAD = """\
# Python reference

What can be imported from `deid`. Everything else is internal and may change with any version. This page is written by
`make api` out of the docstrings; [first-run.md](first-run.md) has a first example, `examples/` two programs.
"""
_MORE = (
    "deid.report.TrackReport", "deid.report.PersonReport", "deid.report.VerifyReport",
    "deid.types.MediaInfo", "deid.types.StreamInfo",
)  # fmt: skip
"""Types that the public ones are made of."""
_VALUES = (
    "deid.config.ENGINES", "deid.config.DEFAULT_ENGINE", "deid.config.OBSCURING", "deid.config.MATCHES",
    "deid.config.DETECTS", "deid.config.COVERS", "deid.config.SCOPES", "deid.config.POLICIES",
)  # fmt: skip
"""What options may be."""


def page() -> str:
    """The text of docs/api.md."""
    loader = griffe.GriffeLoader(search_paths=[ROOT], docstring_parser="numpy")
    package = loader.load("deid")
    public = [package[name] for name in package.exports or () if name != "__version__"]
    public = [loader.modules_collection[it.target_path] if it.is_alias else it for it in public]
    errors = [it for it in public if it.module.path == "deid.errors"]
    functions = [it for it in public if it.is_function]
    classes = [it for it in public if it.is_class and it not in errors]
    more = [loader.modules_collection[path] for path in _MORE]
    parts = [_HEAD, "## Functions\n", *map(_function, functions), "## Types\n", *map(_class, classes)]
    values = [loader.modules_collection[path] for path in _VALUES]
    parts += ["## Values of options\n", "In `deid.config`:\n", *map(_constant, values)]
    parts += ["## What reports and probes hold\n", *map(_class, more), "## Errors\n", _errors(errors)]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(parts)).rstrip() + "\n"


def _function(item: griffe.Function, title: str = "") -> str:
    """``title``: a heading of its own, for methods."""
    return f"{title or f'### `{item.name}`'}\n\n```python\n{_signature(item)}\n```\n\n{_text(item)}"


def _signature(item: griffe.Function) -> str:
    """As it is called, an argument a line where it is long."""
    words, starred = [], False
    for parameter in item.parameters:
        kind = parameter.kind
        if parameter.name == "self":
            continue
        if kind is griffe.ParameterKind.keyword_only and not starred:
            words.append("*")
            starred = True
        mark = {griffe.ParameterKind.var_positional: "*", griffe.ParameterKind.var_keyword: "**"}.get(kind, "")
        default = f" = {parameter.default}" if parameter.default is not None and not mark else ""
        words.append(f"{mark}{parameter.name}: {parameter.annotation}{default}")
    result = f" -> {item.returns}" if item.returns is not None else ""
    line = f"{item.name}({', '.join(words)}){result}"
    return line if len(line) <= 100 else f"{item.name}(\n    " + ",\n    ".join(words) + f",\n){result}"


def _class(item: griffe.Class) -> str:
    """Docstring, fields with their types and defaults, and public methods."""
    parts = [f"### `{item.name}`\n", _text(item)]
    fields = [m for m in item.attributes.values() if not m.name.startswith("_") and "property" not in m.labels]
    if fields:
        rows = [f"| `{m.name}` | `{_cell(m.annotation)}` | {_default(m.value)} |" for m in fields]
        parts.append("| field | type | default |\n|---|---|---|\n" + "\n".join(rows) + "\n")
    for method in item.functions.values():
        if not method.name.startswith("_"):
            parts.append(_function(method, f"#### `{item.name}.{method.name}`"))
    return "\n".join(parts)


def _constant(item: griffe.Attribute) -> str:
    text = f" {_line(item.docstring.value)}" if item.docstring else ""
    return f"**`{item.name}`**{text}\n\n```python\n{_wrapped(str(item.value))}\n```\n"


def _wrapped(value: str) -> str:
    """A table as one entry a line."""
    tree = ast.literal_eval(value)
    if not isinstance(tree, dict):
        return value
    return "\n".join(["{", *(f"    {key!r}: {one!r}," for key, one in tree.items()), "}"])


def _cell(value: object) -> str:
    return str(value).replace("|", r"\|")


def _default(value: object) -> str:
    """In a table's cell; factories by what they call."""
    if value is None:
        return ""
    made = re.search(r"default_factory=([\w.]+)", str(value)) or re.fullmatch(r"field\(default=(.*)\)", str(value))
    return f"`{_cell(value)}`" if made is None else f"`{made[1]}`" if "factory" not in str(value) else f"`{made[1]}()`"


def _errors(items: Iterable[griffe.Class]) -> str:
    """The tree, which is the module's own docstring."""
    names = {it.name for it in items}
    module = next(iter(items)).module
    text = module.docstring.value if module.docstring else ""
    assert all(name in text for name in names), "deid.errors does not name every error"
    head, tree, rest = re.fullmatch(r"(.*?)\n\n(.*?)\n\n(.*)", text, flags=re.DOTALL).groups()  # type: ignore[union-attr]
    return f"{_prose(head)}\n\n```text\n{_dedented(tree)}\n```\n\n{_prose(rest)}\n"


def _dedented(block: str) -> str:
    return "\n".join(line.removeprefix("    ") for line in block.splitlines())


def _text(item: griffe.Object) -> str:
    return "\n".join(_sections(item)) if item.docstring else ""


def _sections(item: griffe.Object) -> Iterator[str]:
    assert item.docstring is not None
    for section in item.docstring.parsed:
        value = section.value
        if section.kind is griffe.DocstringSectionKind.text:
            yield f"{_prose(value)}\n"
        elif section.kind is griffe.DocstringSectionKind.parameters:
            yield "**Arguments**\n"
            yield "\n".join(f"- `{it.name}`: {_line(it.description)}" for it in _grouped(value)) + "\n"
        elif section.kind is griffe.DocstringSectionKind.returns:
            yield "**Returns** " + " ".join(f"`{it.annotation}`. {_line(it.description)}" for it in value) + "\n"
        elif section.kind is griffe.DocstringSectionKind.raises:
            yield "**Raises** " + " ".join(f"`{it.annotation}`. {_line(it.description)}" for it in value) + "\n"
        elif section.kind is griffe.DocstringSectionKind.examples:
            code = "\n".join(re.sub(r" +# doctest:.*", "", text) for _, text in value)
            yield f"```pycon\n{code}\n```\n"
        else:
            raise ValueError(f"{item.path} has a section of kind {section.kind}: teach this script to write it")


class _Group:
    """Parameters that are described together."""

    def __init__(self, name: str, description: str) -> None:
        self.name, self.description = name, description


def _grouped(values: Iterable[griffe.DocstringParameter]) -> list[_Group]:
    groups: list[_Group] = []
    for value in values:
        if groups and groups[-1].description == value.description:
            groups[-1].name += f"`, `{value.name}"
        else:
            groups.append(_Group(value.name, value.description))
    return groups


def _line(text: str) -> str:
    return " ".join(_prose(text).split())


def _prose(text: str) -> str:
    """Roles of reStructuredText and double backquotes as Markdown's."""
    text = re.sub(r":\w+:`[~.]*([^`<]*?)`", r"`\1`", text)
    return re.sub(r"``([^`]*)``", r"`\1`", text).strip()


if __name__ == "__main__":
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"{TARGET.relative_to(ROOT)} is written\n")
