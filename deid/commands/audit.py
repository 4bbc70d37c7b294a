"""``deid audit``: did a run do what it promised? Every frame of the output beside its source."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from deid.commands._shell import StopRequest, TimeParam, common_options, emit, emit_json
from deid.errors import UsageError

if TYPE_CHECKING:
    from deid.audit.run import Audit
    from deid.progress import Progress

_EXAMPLES = """\b
Examples:
  deid audit interview.mp4 interview.deid.mp4
  deid audit ward.mkv public.mkv --html audit.html --report audit.json
  deid audit ward.mkv public.mkv --strict        exits with 8 when the audit fails
  deid audit ward.mkv public.mkv --recogniser vggface2.pt     another judge, whose weights you have
  deid audit ward.mkv clip.mkv --start 1:02.5 --end 1:30      the part that the clip shows
  deid audit ward.mkv public.mkv --signals signals.csv        expression, gaze and pose, before and after
"""

_Command = TypeVar("_Command", bound=Callable[..., Any])


def judge_options(command: _Command) -> _Command:
    """Who judges, and how strictly."""
    for option in (
        click.option("--recogniser-bgr", is_flag=True, help="The ONNX recogniser takes blue, green and red from 0 to "
                     "255."),
        click.option("--recogniser-threshold", type=float, metavar="D", help="Distance up to which two faces are one "
                     "person's to the recogniser.  [default: its kind's]"),
        click.option("--recogniser", type=click.Path(path_type=Path), metavar="FILE", help="A further face recogniser "
                     "as judge: facenet weights, or an ONNX file."),
        click.option("--strict", is_flag=True, help="Exit with code 8 when the audit fails; a run leaves no output "
                     "then."),
    ):  # fmt: skip
        command = option(command)
    return command


def page_options(command: _Command) -> _Command:
    """What is written of it about one clip."""
    for option in (
        click.option("--signals", type=click.Path(path_type=Path), metavar="FILE", help="Write expression, gaze and "
                     "pose of source and output here, as CSV."),
        click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="Write the audit as one page that "
                     "needs nothing else."),
    ):  # fmt: skip
        command = option(command)
    return command


def audit_options(command: _Command) -> _Command:
    """Both: what ``deid audit`` and ``deid run`` share."""
    return judge_options(page_options(command))


@click.command(epilog=_EXAMPLES, short_help="Judge a finished output beside its source, frame by frame.")
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
@audit_options
@click.option("--report", type=click.Path(path_type=Path), metavar="FILE", help="Write the audit as JSON.")
@click.option("--start", type=TimeParam(), help="The output begins here in SOURCE: seconds, M:SS.s or H:MM:SS.s.")
@click.option("--end", type=TimeParam(), help="The output ends before this time of SOURCE.")
@click.option("--salvage", is_flag=True, help="Take a damaged SOURCE, as the run did.")
@click.option("--threads", type=int, metavar="N", help="Threads to decode with.  [default: as many as there are cores]")
@click.option("--overwrite", is_flag=True, help="Take the place of files that exist; never of SOURCE or OUTPUT.")
@common_options
@click.pass_obj
def audit(
    stop: StopRequest,
    source: Path,
    output: Path,
    report: Path | None,
    html: Path | None,
    signals: Path | None,
    strict: bool,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
    debug: bool,
    **options: Any,
) -> None:
    """Judge OUTPUT, which a run made of SOURCE, by looking at every frame of both.

    Faces that are as they were, or that a recogniser still knows, are told with their times. Rates come for everybody
    together, for each person, and by apparent gender, age and skin tone. Neither file is changed.
    """
    from deid.files import check_places, put
    from deid.progress import progress_for

    check_places((report, html, signals), (source, output, options["recogniser"]), overwrite)
    limit = options["recogniser_threshold"]
    if options["recogniser"] is None and (limit is not None or options["recogniser_bgr"]):
        raise UsageError("something is said about a recogniser, but none is given; name its file with --recogniser.")
    if limit is not None and not limit > 0:
        raise UsageError("--recogniser-threshold must be above 0.")
    with progress_for(sys.stderr, quiet=quiet, check=stop.check) as progress:
        found = _audit(source, output, signals, overwrite, options, progress)
    if report is not None:
        put(report, json.dumps(found.report, indent=2, ensure_ascii=False) + "\n", overwrite)
    if html is not None:
        put(html, found.html, overwrite)
    if strict:
        if not as_json and not quiet and not found.passed:
            emit("\n".join(found.lines()))
        found.require()
    if as_json:
        emit_json(found.report)
    elif not quiet:
        emit("\n".join(found.lines()))


def _audit(
    source: Path, output: Path, signals: Path | None, overwrite: bool, options: dict[str, Any], progress: Progress
) -> Audit:
    from threadpoolctl import threadpool_limits

    from deid.audit.run import audit as run_audit
    from deid.files import written
    from deid.memory import keep_memory_together

    keep_memory_together()
    with threadpool_limits(1, user_api="blas"), written(signals, overwrite) as stream:
        return run_audit(
            source,
            output,
            recogniser=options["recogniser"],
            threshold=options["recogniser_threshold"],
            raw=options["recogniser_bgr"],
            start=options["start"],
            end=options["end"],
            salvage=options["salvage"],
            progress=progress,
            signals_to=stream,
            threads=options["threads"] or 0,
        )
