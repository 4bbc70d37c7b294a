"""``deid info``: what a file holds, and what a run would do with it."""

from __future__ import annotations

from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deid.commands._shell import common_options, emit, emit_json
from deid.progress import seconds_text

if TYPE_CHECKING:
    from deid.types import MediaInfo

_EXAMPLES = """\b
Examples:
  deid info interview.mp4
  deid info interview.mp4 --json | jq .streams
"""


@click.command(epilog=_EXAMPLES, short_help="Show what a file holds and what a run would do with it.")
@click.argument("file", type=click.Path(path_type=Path))
@common_options
def info(file: Path, as_json: bool, quiet: bool, debug: bool) -> None:
    """Show what FILE holds, and what a run would do with each of its streams.

    FILE is a video, an image, or a folder of frames. Only headers and a few pictures are read: damage further on goes
    unnoticed here.
    """
    from deid.media.examine import probe

    media = probe(file)
    if as_json:
        emit_json(info_dict(media))
    elif not quiet:
        emit("\n".join(info_lines(media)))


def info_dict(media: MediaInfo) -> dict[str, Any]:
    """``media`` as JSON can hold it; fractions become ``"n/d"``."""
    return {name: _plain(value) for name, value in asdict(media).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Fraction):
        return f"{value.numerator}/{value.denominator}"
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def info_lines(media: MediaInfo) -> list[str]:
    """A description for people, a fact a line."""
    size = f"{media.width} x {media.height}"
    if media.sample_aspect_ratio != 1:
        size += f", samples {media.sample_aspect_ratio.numerator}:{media.sample_aspect_ratio.denominator}"
    turned = [f"turned {media.rotation} degrees"] * bool(media.rotation) + ["mirrored"] * media.mirrored
    lines = [
        f"{media.path}: {media.kind}, {media.container}",
        f"  picture: {size}, {media.codec}, {media.format.name}, {media.format.depth} bits"
        + "".join(f", {word}" for word in turned)
        + (", interlaced" if media.interlaced else ""),
        f"  colour: {media.color_space}, {media.color_primaries}, {media.color_transfer}, range {media.color_range}",
    ]
    length = [f"{media.frames} frames"] * (media.frames is not None)
    if media.seconds is not None:
        length.append(f"{media.seconds:.3f} s" + (f" ({seconds_text(media.seconds)})" if media.seconds >= 60 else ""))
    if media.average_rate is not None:
        length.append(f"{float(media.average_rate):.6g} frames a second on average")
    if length:
        lines.append(f"  length: {', '.join(length)}")
    if media.chapters:
        lines.append(f"  chapters: {media.chapters}")
    for stream in media.streams:
        language = f", {stream.language}" if stream.language not in (None, "und") else ""
        why = f" ({stream.why})" if stream.why else ""
        lines.append(f"  stream {stream.index}: {stream.kind}, {stream.codec}{language}: would be {stream.fate}{why}")
    return lines + [f"  note: {note}" for note in media.notes]
