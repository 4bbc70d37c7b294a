"""``deid batch``: many sources, a de-identified copy of each, whatever happens in between."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deid.commands._options import source_options
from deid.commands._shell import Stopped, StopRequest, common_options, emit, emit_json, say
from deid.config import RunConfig, available_cores, preset_options
from deid.errors import BatchFailed, UsageError

if TYPE_CHECKING:
    from deid.batch.files import Found
    from deid.batch.job import Job
    from deid.batch.pool import Crew
    from deid.batch.runner import Batch
    from deid.remote import Url

_EXAMPLES = """\b
Examples:
  deid batch ward/ -o public/                        every video and picture below ward, in the same tree
  deid batch ward/ -o public/                        again, after whatever: goes on where it was
  deid batch 'ward/**/*.mkv' day1.mp4 -o public/ --jobs 4 --engine blur
  deid batch ward/ -o public/ --exclude 'raw/*' --exclude '*.tmp.mp4'
  deid batch ward/ -o public/ --name '{dir}/{hash}.mp4'       no names of files in the result
  deid batch ward/ -o public/ --scope batch          a person has one face in all of these files
  deid batch ward/ -o public/ --report audits/       every output audited, with an index
  deid batch ward/ -o public/ --retry-failed         once the cause is gone
  deid batch ward/ -o public/ --dry-run              what would be done, and what is done already
  deid batch s3://ward/2026/ -o s3://public/ --ledger ward.sqlite       from store to store
  deid batch /mnt/ward -o /mnt/public --executor ray --address auto     on all machines of a Ray cluster
"""
_THREADS = 2
_MEMORY = 2 << 30  # bytes that one file may need


@click.command(epilog=_EXAMPLES, short_help="De-identify many files; goes on after whatever stops it.")
@click.argument("sources", nargs=-1, required=True, metavar="SRC...")
@click.option("-o", "--output", "destination", metavar="DST", required=True,
              help="The folder for the copies, or its URL; made if need be.")
@click.option("--include", multiple=True, metavar="PATTERN", help="Take only files like this from folders (*.mkv, or "
              "with a slash: day1/*.mkv); repeat for more.  [default: videos and pictures]")
@click.option("--exclude", multiple=True, metavar="PATTERN", help="Leave out files like this; repeat for more.")
@click.option("--frames", is_flag=True, help="A folder that holds pictures only is one clip.")
@click.option("--name", "template", metavar="TEMPLATE", help="What copies are called, out of {dir}, {stem}, {ext}, "
              "{root} (SRC's own name) and {hash} (of the content).  [default: {dir}/{stem}{ext}]")
@click.option("--jobs", type=click.IntRange(1, 256), metavar="N", help="Files at a time.  [default: as cores and "
              "memory allow]")
@click.option("--retries", type=click.IntRange(0, 100), default=2, metavar="N", help="Further attempts where one may "
              "help, as after a crash.  [default: 2]")
@click.option("--retry-failed", is_flag=True, help="Try again, too, what earlier runs gave up.")
@click.option("--stall", type=click.FloatRange(1), default=900.0, metavar="SECONDS", help="Take a file's process for "
              "hung when it tells nothing and does nothing for so long.  [default: 900]")
@click.option("--ledger", "ledger_path", type=click.Path(path_type=Path), metavar="FILE", help="Where is noted what is "
              "done, on this machine; needed where DST is a URL.  [default: DST/.deid-batch/ledger.sqlite]")
@click.option("--executor", type=click.Choice(("local", "ray")), default="local", help="Where files are worked on: "
              "this machine, or a Ray cluster.  [default: local]")
@click.option("--address", metavar="HOST:PORT", help="The Ray cluster, or auto for the one this machine belongs to.  "
              "[default: $RAY_ADDRESS, or a new one here]")
@click.option("--gpus", type=click.FloatRange(0), metavar="N", help="GPUs of the cluster that each file's task takes; "
              "parts of one count.  [default: 1 with --device cuda, else 0]")
@click.option("--forget", is_flag=True, help="Delete what is kept of people's faces at the end, though not every file "
              "is finished.")
@source_options
@click.option("--overwrite", is_flag=True, help="Take the place of files in DST that this batch did not make.")
@click.option("--dry-run", is_flag=True, help="Say what would be done; change nothing.")
@click.option("--report", "report_path", type=click.Path(path_type=Path), metavar="FOLDER", help="Audit every output; "
              "reports, pages and an index go here.")
@common_options
@click.pass_obj
def batch(
    stop: StopRequest,
    sources: tuple[str, ...],
    destination: str,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    frames: bool,
    template: str | None,
    jobs: int | None,
    retries: int,
    retry_failed: bool,
    stall: float,
    ledger_path: Path | None,
    executor: str,
    address: str | None,
    gpus: float | None,
    forget: bool,
    dry_run: bool,
    report_path: Path | None,
    overwrite: bool,
    no_mark: bool,
    presets: tuple[str, ...],
    as_json: bool,
    quiet: bool,
    debug: bool,
    **options: Any,
) -> int:
    """De-identify every SRC (files, folders, patterns, URLs) into DST, as 'deid run' would, each in a process of its
    own.

    What is finished is noted in a ledger: the same command again, after a crash, a power cut or kill -9, goes on where
    it was, and does again only what another source or other options call for. One file's failure never stops the
    others; the exit code is then 9.
    """
    from deid.batch.files import TEMPLATE, check_template, find, refuse_among_sources, refuse_clashes
    from deid.remote import Url, place_of

    said = {name: value for name, value in options.items() if value is not None and value is not False}
    given = preset_options(presets) | said
    given["audit"] = bool(given.get("audit") or report_path is not None)
    config = RunConfig(**{"threads": min(_THREADS, available_cores())} | given, mark=not no_mark)
    template = template or TEMPLATE
    check_template(template)
    if executor != "ray" and (address is not None or gpus):
        raise UsageError("--address and --gpus are about a Ray cluster; add --executor ray, or leave them out.")
    found = find(sources, include, exclude, frames)
    place = place_of(destination)
    if isinstance(place, Url) and ledger_path is None:
        raise UsageError(f"{place} is on no disk of this machine, and the ledger has to be; name a file with --ledger.")
    ledger_path = ledger_path or Path(destination) / ".deid-batch" / "ledger.sqlite"
    names = _names(found, template, ledger_path)
    refuse_clashes(found.items, names, place)
    refuse_among_sources(sources, found.items, names, place)
    if not found.items:
        say(f"nothing to do: no video and no picture is there, and {found.left} other files; see --include")
        return 0
    if dry_run:
        _tell_plan(found, names, place, ledger_path, config, as_json, quiet)
        return 0
    gpus = float(config.device == "cuda") if gpus is None else gpus
    with _crews(executor, address, gpus, jobs, config.threads * config.segments, stall, debug) as crew:
        return _run(
            stop, found, names, place, ledger_path, config, crew, as_json, quiet, retries=retries, again=retry_failed,
            overwrite=overwrite, report=report_path, forget=forget, debug=debug, far=executor == "ray",
        )  # fmt: skip


@contextmanager
def _crews(
    executor: str, address: str | None, gpus: float, jobs: int | None, cores: int, stall: float, debug: bool
) -> Iterator[Callable[[], Crew]]:
    """What gathers those who work on files."""
    if executor == "local":
        from deid.batch.pool import Pool

        yield partial(Pool, jobs or _suitable(cores), stall, debug)
        return
    from deid.batch.cluster import Cluster

    with Cluster(address, jobs, stall, cores=cores, gpus=gpus, debug=debug) as cluster:
        yield cluster.crew


def _names(found: Found, template: str, ledger: Path) -> list[str]:
    """Of the copies. What the ledger knows of contents need not be read again."""
    from deid.batch.files import content_of, name_of, stamp_of
    from deid.batch.ledger import peek

    known = {}
    if "{hash}" in template:
        known = {(r.source, r.stamp): r.content for r in peek(ledger).values() if r.content}

    def content(source: Path | Url) -> str:
        return known.get((str(source), stamp_of(source))) or content_of(source)

    return [name_of(item, template, partial(content, item.source)) for item in found.items]


def _suitable(each: int) -> int:
    """How many files at a time, where ``each`` takes so many cores."""
    cores = max(1, available_cores() // each)
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        return cores
    return max(1, min(cores, free // _MEMORY))


def _run(
    stop: StopRequest, found: Found, names: Sequence[str], destination: Path | Url, ledger_path: Path,
    config: RunConfig, crew: Callable[[], Crew], as_json: bool, quiet: bool, **options: Any,
) -> int:  # fmt: skip
    from deid.batch.board import board_for
    from deid.batch.job import Options
    from deid.batch.ledger import Ledger
    from deid.batch.runner import Batch

    board = board_for(sys.stderr, quiet=quiet)
    with Ledger(ledger_path) as ledger:
        batch = Batch(found.items, names, destination, ledger, config, Options(**options), crew, board, stop.check)
        try:
            batch.run()
        except Stopped as stopped:
            over = sum(job.is_finished for job in batch.jobs)
            stopped.left = f"with {over} of {len(batch.jobs)} files finished; the same command goes on from there"
            raise
        finally:
            board.close()
        stop.disarm()
        return _tell(batch, found, as_json, quiet)


def _tell(batch: Batch, found: Found, as_json: bool, quiet: bool) -> int:
    """The summary; returns the exit code."""
    from deid.batch.pages import entry_of

    failed = [job for job in batch.jobs if job.fate in ("failed", "given up")]
    for job in failed:
        say(f"{job.name}: failed{' before' if job.fate == 'given up' else ''}: {job.row.message}")
    if failed:
        hint = "; --retry-failed tries again what was given up before" if _given_up(failed) else ""
        say(f"{len(failed)} of {len(batch.jobs)} files failed{hint}")
    if as_json:
        emit_json({"files": [entry_of(job) for job in batch.jobs], "other_files": found.left})
    elif not quiet:
        emit(_summary(batch.jobs, found.left))
    return BatchFailed.exit_code if failed else 0


def _given_up(jobs: Sequence[Job]) -> bool:
    return any(job.fate == "given up" for job in jobs)


def _summary(jobs: Sequence[Job], left: int) -> str:
    from deid.batch.job import FINISHED

    count = {fate: sum(job.fate == fate for job in jobs) for fate in (*FINISHED, "failed", "given up")}
    parts = [f"{count['done']} made", f"{count['same'] + count['skip'] + count['judged']} finished before"]
    if count["judged"]:
        parts.append(f"{count['judged']} of them audited now")
    if count["failed"] or count["given up"]:
        parts.append(f"{count['failed'] + count['given up']} failed")
    lines = [f"{len(jobs)} files: {', '.join(parts)}" + (f"; {left} other files left alone" if left else "")]
    for job in jobs:
        if job.fate in ("done", "judged"):
            for warning in job.row.numbers["warnings"]:
                lines.append(f"  {job.name}: warning: {warning}")
            if job.row.numbers["audit"] is False:
                lines.append(f"  {job.name}: the audit FAILED")
    return "\n".join(lines)


def _tell_plan(
    found: Found, names: Sequence[str], destination: Path | Url, ledger_path: Path, config: RunConfig, as_json: bool,
    quiet: bool,
) -> None:  # fmt: skip
    from deid.batch.job import settings_of, what_is_due
    from deid.batch.ledger import peek
    from deid.remote import Url

    settings = settings_of(replace(config, dry_run=False))
    rows = peek(ledger_path)
    told = []
    for item, name in zip(found.items, names, strict=True):
        whole = destination if isinstance(destination, Url) else Path(os.path.abspath(destination))
        due = what_is_due(rows.get(name), item, settings, whole / name)
        told.append({"source": str(item.source), "target": name, "due": due})
    if as_json:
        emit_json({"files": told, "other_files": found.left})
    elif not quiet:
        emit("\n".join(f"{entry['target']}: {entry['due']}" for entry in told))
