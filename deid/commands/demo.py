"""``deid demo``: a clip made here, de-identified, and pictures to compare."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from deid.commands._shell import StopRequest, common_options, emit, emit_json, say
from deid.config import DEFAULT_ENGINE, ENGINES
from deid.progress import progress_for

_EXAMPLES = """\b
Examples:
  deid demo                                    writes into demo-out/
  deid demo -o /tmp/look --engine pixelate
"""


@click.command(epilog=_EXAMPLES, short_help="Make a clip, de-identify it, and show both side by side.")
@click.option("-o", "--output", "folder", type=click.Path(path_type=Path), default=Path("demo-out"), metavar="FOLDER",
              show_default=True, help="Where the files go; made if missing.")
@click.option("--engine", type=click.Choice(list(ENGINES)), default=DEFAULT_ENGINE, show_default=True,
              help="What goes over each face.")
@click.option("--overwrite", is_flag=True, help="Take the place of an earlier demo's files.")
@common_options
@click.pass_obj
def demo(
    stop: StopRequest, folder: Path, engine: str, overwrite: bool, as_json: bool, quiet: bool, debug: bool
) -> None:
    """Build a clip from two public-domain photographs, de-identify it, and put before and after side by side.

    A virtual camera moves over portraits of Grace Hopper (US Navy) and Eileen Collins (NASA), with a cut, two people
    in one picture, and a tone. A second clip shows a person who does not exist, rendered, who talks and blinks.
    """
    from deid.demo import make_demo

    with progress_for(sys.stderr, quiet=quiet, check=stop.check) as progress:
        made = make_demo(folder, engine=engine, overwrite=overwrite, progress=progress)
    stop.disarm()
    for warning in (*made.report.warnings, *made.talker.warnings):
        say(f"warning: {warning}")
    if as_json:
        emit_json({"files": made.files(), "report": made.report.as_dict(),
                   "talker": made.talker.as_dict()})
    elif not quiet:
        files = (f"{name}: {path}" for name, path in made.files().items())
        emit("\n".join([*made.report.lines(), *made.talker.lines(), *files]))
