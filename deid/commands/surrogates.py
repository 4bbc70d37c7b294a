"""``deid surrogates``: what the people look like who stand in for others."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deid.commands._shell import StopRequest, common_options, emit, emit_json
from deid.errors import UsageError
from deid.files import check_places, put_bytes
from deid.progress import progress_for

if TYPE_CHECKING:
    import numpy as np

_EXAMPLES = """\b
Examples:
  deid surrogates --count 24 -o gallery.png
  deid surrogates --seed 7 --turntable person.mp4
  deid surrogates --count 8 --gender female --age 60 -o women.png
"""


@click.command(epilog=_EXAMPLES, short_help="Show people who do not exist, as a sheet of pictures or a clip.")
@click.option("-o", "--output", "picture", type=click.Path(path_type=Path), metavar="FILE",
              help="Where the sheet goes: a row a person, a column a state; PNG or JPEG.")
@click.option("--turntable", "clip", type=click.Path(path_type=Path), metavar="FILE",
              help="Write a clip (MP4) of one person who turns, speaks, smiles and blinks.")
@click.option("--count", type=click.IntRange(1, 200), default=12, show_default=True, help="How many people.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, metavar="N",
              help="Other people for another number.")
@click.option("--gender", type=click.Choice(("female", "male")), help="Women or men only.")
@click.option("--age", type=click.FloatRange(5, 95), metavar="YEARS", help="People of about this age only.")
@click.option("--overwrite", is_flag=True, help="Take the place of files that exist.")
@common_options
@click.pass_obj
def surrogates(
    stop: StopRequest,
    picture: Path | None,
    clip: Path | None,
    count: int,
    seed: int,
    gender: str | None,
    age: float | None,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
    debug: bool,
) -> None:
    """Show people as the engine draws them: with neutral face, smile, open mouth and closed eyes, turned to both sides,
    and in three lights.

    Nobody is in front of a camera here: skin tones are drawn by chance, hair is only hinted at. In a run both are the
    subject's.
    """
    if picture is None and clip is None:
        raise UsageError("name a picture with -o or a clip with --turntable; see 'deid surrogates --help'.")
    _check_ending(picture, (".png", ".jpg", ".jpeg"))
    _check_ending(clip, (".mp4",))
    check_places((picture, clip), (), overwrite)
    female = None if gender is None else (1.0 if gender == "female" else -1.0)
    from deid import gallery, imaging

    with progress_for(sys.stderr, quiet=quiet, check=stop.check) as progress:
        if picture is not None:
            pixels = gallery.sheet(seed, count, female=female, age=age, progress=progress)
            put_bytes(picture, imaging.encoded(pixels, picture.suffix.lower()), overwrite)
        if clip is not None:
            pictures = gallery.turntable(seed, female=female, age=age, progress=progress)
            _write_clip(clip, overwrite, pictures)
    stop.disarm()
    columns = [state.name for state in gallery.STATES]
    if as_json:
        emit_json({"picture": str(picture) if picture else None, "clip": str(clip) if clip else None, "seed": seed,
                   "people": count if picture else 1, "columns": columns})
    elif not quiet:
        emit("\n".join(f"wrote {path}" for path in (picture, clip) if path is not None))


def _check_ending(path: Path | None, endings: tuple[str, ...]) -> None:
    if path is not None and path.suffix.lower() not in endings:
        raise UsageError(f"{path} must end in {' or '.join(endings)}.")


def _write_clip(path: Path, overwrite: bool, pictures: Iterable[np.ndarray]) -> None:
    from deid.demo import encode_clip
    from deid.gallery import TURN_RATE, TURN_SIZE
    from deid.media.target import Staged

    staged = Staged(str(path), overwrite=overwrite, named=True)
    try:
        target = Path(staged.path)
        encode_clip(target, pictures, width=TURN_SIZE, height=TURN_SIZE, fps=TURN_RATE, seconds=0)
        staged.commit()
    finally:
        staged.discard()
