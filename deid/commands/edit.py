"""``deid edit``: attributes of the face in a picture, changed by name."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deid.commands._shell import StopRequest, common_options, emit, emit_json
from deid.errors import UsageError
from deid.files import check_places, put_bytes
from deid.models.editing.names import ATTRIBUTES, INDEX, Change, check_name, parse
from deid.progress import progress_for

if TYPE_CHECKING:
    import numpy as np

    from deid.models.editing.portraits import EditedPortrait
    from deid.progress import Progress

_EXAMPLES = """\b
Examples:
  deid edit --list                                      every attribute, and what 0 and 1 mean
  deid edit face.png --set smile=0.8 --set age=+0.2 -o out.png
  deid edit face.png --set glasses=0.6,beard=0.4 -o out.png --overwrite
  deid edit face.png --sheet age,smile,glasses -o sliders.png
  deid edit face.png --set baldness=1 --engine stylegan -o out.png
"""
_STOPS = (0.0, 0.25, 0.5, 0.75, 1.0)
_CELL = 256  # pixels


@click.command(epilog=_EXAMPLES, short_help="Change attributes of a face in a picture by name.")
@click.argument("picture", type=click.Path(path_type=Path), required=False)
@click.option(
    "--set",
    "words",
    multiple=True,
    metavar="NAME=VALUE",
    help="What an attribute is to be, 0 to 1, or with a sign by how much it is to change; repeat, or use commas.",
)
@click.option(
    "-o",
    "--output",
    "target",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where the result goes; PNG or JPEG.",
)
@click.option(
    "--sheet",
    "sliders",
    multiple=True,
    metavar="NAMES",
    help="Write a sheet instead: a row for each of these "
    "attributes, from 0 to 1; 'all' for every one that the engine can change.",
)
@click.option(
    "--engine",
    type=click.Choice(("morphable", "stylegan")),
    default="morphable",
    show_default=True,
    help="Render the face anew, or generate it.",
)
@click.option(
    "--generator", type=click.Path(path_type=Path), metavar="FILE", help="Engine stylegan: another generator."
)
@click.option(
    "--mapper",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Engine stylegan: the mapper that was trained for it.",
)
@click.option(
    "--editor", type=click.Path(path_type=Path), metavar="FILE", help="Engine stylegan: of deid train editor."
)
@click.option(
    "--regressor", type=click.Path(path_type=Path), metavar="FILE", help="Engine stylegan: of deid train regressor."
)
@click.option("--list", "listing", is_flag=True, help="Name all attributes.")
@click.option("--overwrite", is_flag=True, help="Take the place of a file that exists.")
@common_options
@click.pass_obj
def edit(
    stop: StopRequest, picture: Path | None, words: tuple[str, ...], target: Path | None, sliders: tuple[str, ...],
    engine: str, listing: bool, overwrite: bool, as_json: bool, quiet: bool, debug: bool, **files: Path | None,
) -> None:  # fmt: skip
    """Change what the largest face in PICTURE shows: expression, gaze, pose, light, age, gender, shapes, glasses,
    beard. The rest of the person, and of the picture, stays.

    Engine morphable inverts the face into the face model's codes, changes these and renders it where it was. Engine
    stylegan inverts it into the generator's latent space and edits the code there; the result is the generator's own
    picture.
    """
    if listing:
        _tell_names(as_json)
        return
    changes, names = parse(words), _names(sliders, engine)
    if picture is None or target is None:
        raise UsageError("name a picture, and with -o where the result goes; see 'deid edit --help'.")
    if bool(changes) == bool(names):
        raise UsageError("say what to change with --set, or which sliders to show with --sheet, one of the two.")
    if target.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise UsageError(f"{target} must end in .png or .jpg.")
    if engine == "morphable" and any(files.values()):
        given = ", ".join(f"--{name}" for name, path in files.items() if path is not None)
        raise UsageError(f"{given} goes with --engine stylegan; add it, or leave the files out.")
    _check(changes, engine)
    check_places((target,), (picture,), overwrite)
    from deid import imaging

    with progress_for(sys.stderr, quiet=quiet, check=stop.check) as progress:
        portrait = _portrait(picture, engine, files, progress)
        made = _sheet(portrait, names, progress) if names else portrait.edited(changes)
        put_bytes(target, imaging.encoded(made, target.suffix.lower()), overwrite)
    stop.disarm()
    before = {name: round(portrait.now[name], 3) for name in names or [change.name for change in changes]}
    if as_json:
        emit_json({"picture": str(target), "engine": engine, "before": before})
    elif not quiet:
        emit(f"was {', '.join(f'{name} {value:.2f}' for name, value in before.items())}\nwrote {target}")


def _tell_names(as_json: bool) -> None:
    if as_json:
        emit_json({"attributes": [
            {"name": a.name, "group": a.group, "low": a.low, "high": a.high, "video": a.lasting} for a in ATTRIBUTES
        ]})  # fmt: skip
        return
    wide = max(len(attribute.name) for attribute in ATTRIBUTES)
    lines = [
        f"{a.name:<{wide}}  {a.group:<10}  0: {a.low}; 1: {a.high}{'  *' if a.lasting else ''}" for a in ATTRIBUTES
    ]
    emit("\n".join([*lines, "* can be set for the surrogates of a video, too: deid run --surrogate-edit"]))


def _names(sliders: Sequence[str], engine: str) -> list[str]:
    """The rows of a sheet."""
    found = [name.strip() for word in sliders for name in word.split(",")]
    if found == ["all"]:
        from deid.models.editing.morphable import ELSEWHERE

        return [name for name in INDEX if engine == "stylegan" or name not in ELSEWHERE]
    for name in found:
        check_name(name, "--sheet")
    _check([Change(name, 0.0) for name in found], engine)
    return list(dict.fromkeys(found))


def _check(changes: Sequence[Change], engine: str) -> None:
    if engine == "morphable" and changes:
        from deid.models.editing.morphable import allowed

        allowed([change.name for change in changes])


def _portrait(picture: Path, engine: str, files: Mapping[str, Any], progress: Progress) -> EditedPortrait:
    from deid.models.editing.portraits import LatentPortrait, MorphablePortrait

    return LatentPortrait(picture, progress, **files) if engine == "stylegan" else MorphablePortrait(picture, progress)


def _sheet(portrait: EditedPortrait, names: Sequence[str], progress: Progress) -> np.ndarray:
    """uint8 BGR: a row an attribute, named, a column a value."""
    import numpy as np

    from deid import imaging

    progress.stage("editing", len(names) * len(_STOPS))
    rows = []
    for name in names:
        cells = []
        for value in _STOPS:
            cells.append(portrait.closeup(portrait.edited([Change(name, value)]), _CELL))
            progress.advance()
        row = np.hstack(cells)
        place = (6, _CELL - 10)
        for colour, thick in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            imaging.put_text(row, name, place, 0, 0.6, colour, thick, imaging.LINE_AA)
        rows.append(row)
    return np.vstack(rows)
