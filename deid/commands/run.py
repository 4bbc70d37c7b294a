"""``deid run``: one source in, one de-identified copy out."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deid.commands._options import source_options
from deid.commands._shell import Stopped, StopRequest, common_options, emit, emit_json, say
from deid.commands.audit import page_options
from deid.config import RunConfig, default_target, preset_options
from deid.errors import OutputError, OutputExists, UsageError
from deid.progress import progress_for
from deid.remote import Url, delivered, fetched, place_of

if TYPE_CHECKING:
    from deid.report import RunReport

_EXAMPLES = """\b
Examples:
  deid run interview.mp4                         writes interview.deid.mp4 beside it
  deid run interview.mp4 -o public.mp4 --seed 7 --report public.json
  deid run street.mp4 -o public.mp4 --engine pixelate     obscures instead of replacing
  deid run ward.mkv -o clip.mkv --start 1:02.5 --end 1:30 --max-height 720
  deid run ward.mkv --dry-run                    who is found where; writes nothing
  deid run ward.mkv --keep 2 --keep 5            tracks 2 and 5 of the dry run stay as they are
  deid run ward.mkv --keep-like nurse.jpg        who is like the photo stays as they are
  deid run ward.mkv --plan ward.toml             what 'deid analyze --plan-out ward.toml' began
  deid run day2.mkv --key study.key              the same people, the same faces as in day1.mkv
  deid run ward.mkv --strict --html ward.html    no output unless the audit of every frame passes
  deid run frames/ -o frames-out/                a folder of pictures, in order of name
  deid run photo.jpg -o photo-out.jpg --json --quiet
  deid run s3://ward/day1.mkv -o s3://public/day1.mkv     from store to store; see README, Beyond one machine
"""


class TracksParam(click.ParamType):
    """Track numbers with commas between them."""

    name = "track"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        try:
            return value if isinstance(value, tuple) else tuple(int(word) for word in value.split(","))
        except ValueError:
            raise UsageError(f"--keep {value!r} is no track number; write one, or several with commas (2,5).") from None


@click.command(epilog=_EXAMPLES, short_help="De-identify a video, an image or a folder of frames.")
@click.argument("source")
@click.option(
    "-o", "--output", "target", metavar="TARGET",
    help="Where the result goes, a file or a URL; the ending chooses the format.  [default: SOURCE's name with .deid "
    "before the ending]",
)
@source_options
@click.option("--keep", type=TracksParam(), multiple=True, help="Leave the face of this track as it is; repeat, or "
              "use commas.")
@click.option("--plan", type=click.Path(path_type=Path), metavar="FILE", help="What happens to each person; "
              "'deid analyze --plan-out' writes one to start from.")
@click.option("--overwrite", is_flag=True, help="Take the place of a target that exists.")
@click.option("--dry-run", is_flag=True, help="Analyse and plan only; write no video.")
@click.option("--report", "report_path", type=click.Path(path_type=Path), metavar="FILE", help="Write the JSON report "
              "here too.")
@page_options
@common_options
@click.pass_obj
def run(
    stop: StopRequest,
    source: str,
    target: str | None,
    report_path: Path | None,
    no_mark: bool,
    keep: tuple[tuple[int, ...], ...],
    presets: tuple[str, ...],
    as_json: bool,
    quiet: bool,
    debug: bool,
    **options: Any,
) -> None:
    """Write a copy of SOURCE in which every face is replaced by that of a person who does not exist.

    A face that cannot be replaced well is obscured; --engine blur, pixelate or solid obscures all of them.

    SOURCE is a video, an image, or a folder of frames. The copy appears under its name only when the whole run has
    gone well; whatever fails leaves nothing behind. SOURCE itself is never changed.
    """
    given = {name: value for name, value in options.items() if value is not None and value is not False}
    # what is said outright goes before what a preset stands for
    given = preset_options(presets, dry_run=bool(given.get("dry_run"))) | given
    config = RunConfig(**given, mark=not no_mark, keep=tuple(number for numbers in keep for number in numbers))
    origin = place_of(source)
    chosen: Path | Url | None = place_of(target) if target else None
    if config.dry_run:
        chosen = None
    elif chosen is None:
        if isinstance(origin, Url):
            raise UsageError(f"{origin} is on no disk of this machine; say where the result goes with -o.")
        chosen = default_target(origin)
    with _report_file(report_path, origin, chosen, config.overwrite) as save:
        with _near(origin, chosen, config.overwrite) as (local, own):
            report = _run(local, own, config, stop, quiet)
        stop.disarm()
        if save is not None:
            _save(save, report, chosen)
    for warning in report.warnings:
        say(f"warning: {warning}")
    try:
        if as_json:
            emit_json(report.as_dict())
        elif not quiet:
            emit("\n".join([*report.lines(), *([f"wrote {chosen}"] if chosen else [])]))
    except OutputError as error:
        # The video is there and whole: a result that cannot be shown does not undo it.
        say(f"warning: {error}")


@contextmanager
def _near(source: Path | Url, target: Path | Url | None, overwrite: bool) -> Iterator[tuple[Path, Path | None]]:
    """Source and target on this machine: what is fetched is gone afterwards, what is to be sent is sent at the end."""
    with ExitStack() as stack:
        own = stack.enter_context(delivered(target, overwrite=overwrite)) if isinstance(target, Url) else target
        local = stack.enter_context(fetched(source))[0] if isinstance(source, Url) else source
        yield local, own


def _run(source: Path, target: Path | None, config: RunConfig, stop: StopRequest, quiet: bool) -> RunReport:
    """The pipeline, with progress; a signal that strikes after the output got its name takes it away again."""
    from deid.memory import keep_blas_to_one_thread, keep_memory_together

    keep_memory_together(at_ease=True)
    keep_blas_to_one_thread()
    from deid.pipeline import run as run_pipeline

    was_there = target is not None and os.path.lexists(target)
    try:
        with progress_for(sys.stderr, quiet=quiet, check=stop.check) as progress:
            return run_pipeline(source, target, config, progress)
    except Stopped:
        if target is not None and not was_there:
            _remove(target)
        raise


@contextmanager
def _report_file(
    path: Path | None, source: Path | Url, target: Path | Url | None, overwrite: bool
) -> Iterator[Path | None]:
    """A temporary file beside ``path``, made before the run so that an impossible place fails early; gets its name
    at the end if all went well."""
    if path is None:
        yield None
        return
    if os.path.abspath(path) in {os.path.abspath(p) for p in (source, target) if isinstance(p, Path)}:
        raise UsageError(f"--report names {path}, which is the source or the target; choose another file.")
    if os.path.lexists(path) and not overwrite:
        raise OutputExists(f"{path} exists; choose another name for the report, or add --overwrite.")
    if path.is_dir():
        raise OutputError(f"{path} is a folder; give --report the name of a file.")
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise OutputError(f"the report cannot go to {path} ({error.strerror}); choose another place.") from error
    try:
        yield Path(name)
        os.replace(name, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(name)


def _save(path: Path, report: RunReport, target: Path | Url | None) -> None:
    """Write the report; without it the run has not done what it was asked, so the output goes."""
    try:
        path.write_text(json.dumps(report.as_dict(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        os.chmod(path, 0o666 & ~_umask())
    except OSError as error:
        if target is not None:
            _remove(target)
        raise OutputError(f"the report cannot be written ({error.strerror}), so no output was kept.") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _remove(target: Path | Url) -> None:
    if isinstance(target, Url):
        target.remove()
    elif target.is_dir():
        shutil.rmtree(target, ignore_errors=True)
    else:
        target.unlink(missing_ok=True)
