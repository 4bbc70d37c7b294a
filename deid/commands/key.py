"""``deid key``: secrets that tie people's surrogates together across files."""

from __future__ import annotations

from pathlib import Path

import click

from deid.commands._shell import common_options, emit, emit_json
from deid.keys import new_key

_EXAMPLES = """\b
Examples:
  deid key new study.key
  deid run day1.mp4 --key study.key        the same people get the same faces
  deid run day2.mp4 --key study.key        in every file of this key
"""


@click.group(epilog=_EXAMPLES, short_help="Make a key that gives people one face across files.")
def key() -> None:
    """Make a key, with which deid run gives the same person the same surrogate in every file.

    Whoever holds the key and its registry can tell who of the registry is in a video. Keep both as you would keep the
    videos themselves.
    """


_NEW_EXAMPLES = """\b
Examples:
  deid key new study.key
"""


@key.command(epilog=_NEW_EXAMPLES, short_help="Write a fresh key.")
@click.argument("file", type=click.Path(path_type=Path))
@common_options
def new(file: Path, as_json: bool, quiet: bool, debug: bool) -> None:
    """Write a fresh key, 32 random bytes as text, to FILE, readable by you alone. An existing FILE is never
    overwritten."""
    new_key(file)
    if as_json:
        emit_json({"key": str(file)})
    elif not quiet:
        emit(f"wrote {file}: keep it safe; without it, its registry cannot be read")
