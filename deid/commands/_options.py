"""Options that say what is done with one source: the same for ``deid run`` and ``deid batch``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from deid.commands._shell import TimeParam
from deid.commands.audit import judge_options
from deid.config import AUDIO, CODECS, COVERS, DETECTS, DEVICES, ENGINES, MATCHES, OBSCURING, POLICIES, PRESETS, SCOPES

_Command = TypeVar("_Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--engine", type=click.Choice(list(ENGINES)), help="What goes over each face.  [default: morphable]"),
    click.option(
        "--generator",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Engine stylegan: another StyleGAN2 generator; 'deid models info --help' lists the formats.",
    ),
    click.option(
        "--encoder",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Engine stylegan: another attribute encoder.  [default: the one in the mapper's file]",
    ),
    click.option(
        "--mapper",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Engine stylegan: the mapper that was trained for the generator.",
    ),
    click.option(
        "--identity-encoder",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Engine stylegan: weights of the recogniser that the mapper was trained with.  [default: dlib's]",
    ),
    click.option(
        "--device",
        type=click.Choice(DEVICES),
        help="Engine stylegan: where its networks compute; cuda is a GPU.  [default: cpu]",
    ),
    click.option(
        "--fallback",
        type=click.Choice(OBSCURING),
        help="What goes over a face that cannot be replaced well.  [default: blur]",
    ),
    click.option(
        "--cover", type=click.Choice(COVERS), help="What is covered of somebody who is obscured.  [default: face]"
    ),
    click.option(
        "--match",
        type=click.Choice(MATCHES),
        help="What the new face shares with the old one: apparent age, gender.  [default: age,gender]",
    ),
    click.option(
        "--surrogate-edit",
        multiple=True,
        metavar="NAME=VALUE",
        help="What the new faces are to be: age=+0.2, beard=0.5; 'deid edit --list' marks what can be set.",
    ),
    click.option("--start", type=TimeParam(), help="Begin here: seconds, M:SS.s or H:MM:SS.s."),
    click.option("--end", type=TimeParam(), help="Stop before this time."),
    click.option("--max-height", type=int, metavar="LINES", help="Scale the picture down to at most this many lines."),
    click.option("--codec", type=click.Choice(list(CODECS)), help="Video codec of the output.  [default: h264]"),
    click.option("--crf", type=int, metavar="N", help="Constant rate factor: lower looks better and is bigger."),
    click.option(
        "--preset",
        "presets",
        type=click.Choice((*PRESETS, *POLICIES)),
        multiple=True,
        metavar="NAME",
        help="Encoder speed, ultrafast to placebo, or options for a purpose: research, street, broadcast, "
        "source-protection, max-privacy; repeat for both.  [default: veryfast]",
    ),
    click.option("--detect", type=click.Choice(DETECTS), help="How hard faces are looked for.  [default: balanced]"),
    click.option(
        "--threshold",
        type=float,
        metavar="SCORE",
        help="Lower finds more faces, and more that are none.  [default: 0.2]",
    ),
    click.option(
        "--keep-like",
        type=click.Path(path_type=Path),
        multiple=True,
        metavar="PHOTO",
        help="Leave the face of the person in this photo as it is, if a recogniser is sure; repeat for more people.",
    ),
    click.option(
        "--scope",
        type=click.Choice(SCOPES),
        help="How far one person keeps one face: this video, a batch, or "
        "all files of a key.  [default: key with --key, else video]",
    ),
    click.option(
        "--key",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="In all files of this key the same person has the same face; 'deid key new' makes one.",
    ),
    click.option(
        "--registry",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Where the key's people are kept, encrypted.  [default: KEY's name with .people.sqlite, beside it]",
    ),
    click.option(
        "--audio",
        type=click.Choice(AUDIO),
        help="What becomes of sound: copy it, drop it, or mask voices, which makes them hard to know.  [default: copy]",
    ),
    click.option("--watermark", metavar="TEXT", help="Burn this text into a corner of every frame."),
    click.option("--no-mark", is_flag=True, help="Do not note in the metadata that the clip was de-identified."),
    click.option("--keep-metadata", is_flag=True, help="Keep titles, dates, places and device names."),
    click.option("--salvage", is_flag=True, help="Take a damaged source; damaged frames are obscured whole."),
    click.option("--seed", type=int, metavar="N", help="Make what is drawn by chance repeatable."),
    click.option(
        "--segments",
        type=int,
        metavar="N",
        help="Finish a clip of long shots in parts, in N processes at a time.  [default: 1]",
    ),
    click.option(
        "--threads",
        type=int,
        metavar="N",
        help="Processor threads to use at most.  [default: all cores, and 2 for each file of a batch]",
    ),
    click.option(
        "--audit",
        is_flag=True,
        help="Look at every frame of the finished output beside the source before it gets its name; the report tells.",
    ),
)


def source_options(command: _Command) -> _Command:
    """Everything that makes sense for each of many sources."""
    command = judge_options(command)
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
