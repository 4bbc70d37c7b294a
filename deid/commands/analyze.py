"""``deid analyze``: who is in a clip, before anything is done to it."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deid.commands._shell import StopRequest, TimeParam, common_options, emit, emit_json, say
from deid.config import DETECTS, RunConfig
from deid.errors import OutputError, OutputExists, UsageError
from deid.progress import progress_for

if TYPE_CHECKING:
    from deid.listing import Listing

_EXAMPLES = """\b
Examples:
  deid analyze ward.mkv                               who is where, on the screen
  deid analyze ward.mkv -o ward.deid.json --thumbnails faces
  deid analyze ward.mkv --plan-out ward.toml          then edit it, and
  deid run ward.mkv --plan ward.toml
"""


@click.command(epilog=_EXAMPLES, short_help="List who is in a clip, and write a plan to start from.")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("-o", "--output", "target", type=click.Path(path_type=Path), metavar="FILE",
              help="Write the list here, as JSON; it holds no pictures and no templates.")
@click.option("--thumbnails", type=click.Path(path_type=Path), metavar="FOLDER",
              help="Put pictures of everybody into this new folder. They show the real faces.")
@click.option("--plan-out", type=click.Path(path_type=Path), metavar="FILE",
              help="Write a plan for 'deid run --plan' here, to be edited.")
@click.option("--start", type=TimeParam(), help="Begin here, as the run will.")
@click.option("--end", type=TimeParam(), help="Stop before this time, as the run will.")
@click.option("--max-height", type=int, metavar="LINES", help="Scale the picture down, as the run will.")
@click.option("--detect", type=click.Choice(DETECTS), help="How hard faces are looked for, as in the run."
              "  [default: balanced]")
@click.option("--threshold", type=float, metavar="SCORE", help="Face detector's score that counts, as in the run."
              "  [default: 0.2]")
@click.option("--salvage", is_flag=True, help="Take a damaged source, as the run will.")
@click.option("--threads", type=int, metavar="N", help="Processor threads to use at most.  [default: all cores]")
@click.option("--overwrite", is_flag=True, help="Take the place of files that exist.")
@common_options
@click.pass_obj
def analyze(
    stop: StopRequest,
    source: Path,
    target: Path | None,
    thumbnails: Path | None,
    plan_out: Path | None,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
    debug: bool,
    **options: Any,
) -> None:
    """List the people in SOURCE with their tracks, times, sizes and what they seem to be. SOURCE is not changed, and
    nothing is written but what is asked for.

    'deid run' with the same options for part, size, effort and threshold finds the same people under the same numbers.
    """
    config = RunConfig(**{name: value for name, value in options.items() if value is not None})
    wanted = [path for path in (target, thumbnails, plan_out) if path is not None]
    _refuse_clashes(wanted, source, overwrite)
    if thumbnails is not None:
        say(f"warning: {thumbnails} will show real faces; keep it as safe as the clip, and delete it afterwards")
    from deid.listing import list_people

    with progress_for(sys.stderr, quiet=quiet, check=stop.check) as progress:
        found = list_people(source, config, progress)
    with ExitStack() as stack:
        # Everything is written aside before anything gets its name.
        staged = []
        if target is not None:
            text = json.dumps(found.as_dict(), indent=2, ensure_ascii=False) + "\n"
            staged.append(stack.enter_context(_file(target, text)))
        if plan_out is not None:
            staged.append(stack.enter_context(_file(plan_out, found.plan())))
        if thumbnails is not None:
            staged.append(stack.enter_context(_folder(thumbnails, found)))
        for part, path in zip(staged, [p for p in (target, plan_out, thumbnails) if p is not None], strict=True):
            _name(part, path)
        stop.disarm()
    if as_json:
        emit_json(found.as_dict())
    elif not quiet:
        emit("\n".join([*found.lines(), *(f"wrote {path}" for path in wanted)]))


def _refuse_clashes(wanted: list[Path], source: Path, overwrite: bool) -> None:
    """What can be known to fail before any work."""
    names = [os.path.abspath(path) for path in (*wanted, source)]
    if len(set(names)) < len(names):
        raise UsageError("two of the files have one name, or one is the source; give each a name of its own.")
    for path in wanted:
        if os.path.lexists(path) and not (overwrite and path.is_file() and not path.is_symlink()):
            if path.is_dir():
                raise OutputExists(f"{path} exists; choose a folder that does not.")
            raise OutputExists(f"{path} exists; choose another name, or add --overwrite.")
        if not path.absolute().parent.is_dir():
            raise OutputError(f"the folder of {path} does not exist; make it, or choose another place.")


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")


@contextmanager
def _file(path: Path, text: str) -> Iterator[Path]:
    """``text`` in a hidden file beside ``path``, for its owner only; gone at the end unless it got its name."""
    part = _aside(path)
    try:
        with _told(path):
            with os.fdopen(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        yield part
    finally:
        with suppress(FileNotFoundError):
            os.unlink(part)


@contextmanager
def _folder(path: Path, found: Listing) -> Iterator[Path]:
    """The thumbnails in a hidden folder beside ``path``, for their owner only."""
    from deid import imaging

    part = _aside(path)
    try:
        with _told(path):
            os.mkdir(part, 0o700)
        for person, pictures in found.thumbnails.items():
            for number, picture in enumerate(pictures, start=1):
                place = part / f"person-{person}-{number}.png"
                with _told(path):
                    os.close(os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
                if not imaging.imwrite(str(place), picture[..., ::-1]):
                    raise OutputError(f"the thumbnails cannot be written to {path}; choose another place.")
        yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _name(part: Path, path: Path) -> None:
    with _told(path):
        os.replace(part, path)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror}); choose another place.") from error
