"""``deid stream``: frames in, the same frames out a fixed time later, with nobody in them who was there."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from deid.commands._shell import Stopped, StopRequest, common_options, emit, emit_json, say
from deid.config import CODECS, COVERS, DETECTS, ENGINES, MATCHES, OBSCURING, RunConfig
from deid.errors import DeidError, OutputError, UsageError
from deid.media.settings import AUDIO, PRESETS
from deid.progress import progress_for

if TYPE_CHECKING:
    from deid.stream.run import StreamReport
    from deid.stream.sources import Stop

_EXAMPLES = """\b
Examples:
  ffmpeg -i in.mp4 -f yuv4mpegpipe - | deid stream - -o - | ffmpeg -i - out.mp4
  ffmpeg -i in.mp4 -f rawvideo -pix_fmt rgb24 - | deid stream - --from raw --width 1280 --height 720 \\
      --pixel-format rgb24 --rate 25 -o - > out.rgb
  deid stream rtsp://camera.local/1 -o ward.mkv --engine blur      until Ctrl-C, which finishes the file
  deid stream /dev/video0 -o udp://127.0.0.1:5000 --delay 1.5
  deid stream interview.mp4 -o interview.deid.mp4 --report stream.json
"""

_ENGINES = tuple(name for name in ENGINES if name in (*OBSCURING, "morphable"))
_FORMATS = ("y4m", "raw", "mkv", "mpegts", "flv", "nut")


class RateParam(click.ParamType):
    """Frames a second: ``25``, ``29.97`` or ``30000/1001``."""

    name = "rate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Fraction:
        try:
            found = value if isinstance(value, Fraction) else Fraction(str(value))
        except (ValueError, ZeroDivisionError):
            raise UsageError(f"--rate {value!r} is no rate; write 25, 29.97 or 30000/1001.") from None
        return found.limit_denominator(1_000_000)


@click.command(epilog=_EXAMPLES, short_help="De-identify a pipe or a live source, a fixed time behind it.")
@click.argument("source")
@click.option("-o", "--output", "target", required=True, metavar="TARGET",
              help="Where frames go: - for standard output, a file, or an address.")
@click.option("--delay", type=float, default=2.0, metavar="SECONDS", show_default=True,
              help="Frames leave so long after they came in, at most.")
@click.option("--from", "form", metavar="FORMAT", default="", help="What the source is: y4m, raw, or an input "
              "format of FFmpeg's, as v4l2, x11grab, mpegts.  [default: what it looks like]")
@click.option("--to", "to", type=click.Choice(_FORMATS), help="What the target is.  [default: by its ending or "
              "address; in a pipe y4m, or raw when the source is]")
@click.option("--width", type=int, metavar="N", help="Of raw frames.")
@click.option("--height", type=int, metavar="N", help="Of raw frames.")
@click.option("--rate", type=RateParam(), metavar="RATE", help="Of raw frames: 25, 29.97, 30000/1001.  [default: 25]")
@click.option("--pixel-format", metavar="NAME", help="Of raw frames, by FFmpeg's names: yuv420p, rgb24...  "
              "[default: yuv420p]")
@click.option("--live/--no-live", default=None, help="Whether frames that come too fast are dropped, or made to wait.  "
              "[default: dropped from cameras and addresses]")
@click.option("--retries", type=click.IntRange(0, 1000), default=5, metavar="N", show_default=True,
              help="How often a live source that fails is opened again.")
@click.option("--engine", type=click.Choice(_ENGINES), help="What goes over each face.  [default: morphable]")
@click.option("--fallback", type=click.Choice(OBSCURING), help="What goes over a face that cannot be replaced well, or "
              "not yet.  [default: blur]")
@click.option("--cover", type=click.Choice(COVERS), help="What is covered of somebody who is obscured.  "
              "[default: face]")
@click.option("--match", type=click.Choice(MATCHES), help="What the new face shares with the old one.  [default: "
              "age,gender]")
@click.option("--detect", type=click.Choice(DETECTS), help="How hard faces are looked for.  [default: balanced]")
@click.option("--threshold", type=float, metavar="SCORE", help="Lower finds more faces.  [default: 0.2]")
@click.option("--key", type=click.Path(path_type=Path), metavar="FILE", help="In all files and streams of this key the "
              "same person has the same face.")
@click.option("--registry", type=click.Path(path_type=Path), metavar="FILE", help="Where the key's people are kept.  "
              "[default: KEY's name with .people.sqlite, beside it]")
@click.option("--audio", type=click.Choice(AUDIO), help="What becomes of sound; pipes of frames have none.  "
              "[default: copy]")
@click.option("--codec", type=click.Choice(list(CODECS)), help="Video codec of the output.  [default: h264]")
@click.option("--crf", type=int, metavar="N", help="Constant rate factor: lower looks better and is bigger.")
@click.option("--preset", type=click.Choice(PRESETS), help="Encoder speed.  [default: veryfast]")
@click.option("--max-height", type=int, metavar="LINES", help="Scale the picture down to at most this many lines.")
@click.option("--seed", type=int, metavar="N", help="Make what is drawn by chance repeatable.")
@click.option("--threads", type=int, metavar="N", help="Processor threads to use at most.  [default: all cores]")
@click.option("--overwrite", is_flag=True, help="Take the place of a target that exists.")
@click.option("--report", "report_path", type=click.Path(path_type=Path), metavar="FILE",
              help="Write what the stream did as JSON.")
@common_options
@click.pass_obj
def stream(
    request: StopRequest, source: str, target: str, delay: float, form: str, to: str | None, width: int | None,
    height: int | None, rate: Fraction | None, pixel_format: str | None, live: bool | None, retries: int,
    max_height: int | None, report_path: Path | None, overwrite: bool, as_json: bool, quiet: bool, debug: bool,
    **options: Any,
) -> None:  # fmt: skip
    """Hand on the frames of SOURCE with every face replaced by that of a person who does not exist.

    SOURCE is - for standard input (YUV4MPEG2, raw frames, or any container that FFmpeg reads from a pipe), a file, a
    device, or an address. Nothing decoded is ever put on a disk. A face is obscured from its first frame, until
    somebody was chosen to stand in, and whenever there is a doubt; frames are checked before they leave.

    Ctrl-C ends the stream: what came in until then is finished. A second one breaks it off.
    """
    given = {name: value for name, value in options.items() if value is not None}
    config = RunConfig(**given, overwrite=overwrite)
    if as_json and target == "-":
        raise UsageError("--json prints to standard output, where the frames go; use --report FILE.")
    from deid.memory import keep_memory_together

    keep_memory_together()
    from deid.files import check_places, put
    from deid.stream.run import run
    from deid.stream.sinks import Target
    from deid.stream.sources import Stop, Wanted

    check_places((report_path,), (Path(target), Path(source)), overwrite)
    wanted = Wanted(
        source, form, _raw(form, width, height, rate, pixel_format), live, retries, max_height, config.threads,
        config.audio != "drop",
    )  # fmt: skip
    asked = Target(target, to or "", pixel_format if form == "raw" or to == "raw" else None, overwrite)
    stop = Stop()
    failure: DeidError | None = None
    report: StreamReport | None
    try:
        with _finishing(stop, request), progress_for(sys.stderr, quiet=quiet, check=None) as progress:
            request.check()  # a signal that came while modules were loaded may have been swallowed there
            report = run(wanted, asked, config, delay, progress, stop)
    except DeidError as error:
        report = getattr(error, "report", None)
        if report is None and stop.asked:  # before there was a frame
            raise Stopped(signal.SIGINT) from error
        if report is None:
            raise
        failure = error
    assert report is not None
    request.disarm()
    if report_path is not None:
        put(report_path, json.dumps(report.as_dict(), indent=2, ensure_ascii=False) + "\n", overwrite)
    for warning in report.warnings:
        say(f"warning: {warning}")
    _tell(report, as_json, quiet or failure is not None, to_errors=target == "-")
    if failure is not None:
        raise failure


def _tell(report: StreamReport, as_json: bool, quiet: bool, *, to_errors: bool) -> None:
    try:
        if as_json:
            emit_json(report.as_dict())
        elif not quiet and to_errors:
            for line in report.lines():
                say(line)
        elif not quiet:
            emit("\n".join(report.lines()))
    except OutputError as error:
        say(f"warning: {error}")


def _raw(
    form: str, width: int | None, height: int | None, rate: Fraction | None, pixels: str | None
) -> Any:
    """What raw frames are like; ``None`` for other sources."""
    if form != "raw":
        if width or height or rate:
            raise UsageError("--width, --height and --rate are for --from raw; leave them out.")
        return None
    if not width or not height:
        raise UsageError("raw frames do not say what they are; give --width and --height, too.")
    from deid.media.pipes import Layout

    return Layout(width, height, rate or Fraction(25), pixels or "yuv420p")


@contextmanager
def _finishing(stop: Stop, request: StopRequest) -> Iterator[None]:
    """The first signal asks the stream to end; the next ones stop it as they stop any command."""
    before = {}

    def handle(signum: int, frame: FrameType | None) -> None:
        if stop.asked:
            request.handle(signum, frame)
        else:
            stop()

    if threading.current_thread() is threading.main_thread():
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(signum) is not signal.SIG_IGN:
                before[signum] = signal.signal(signum, handle)
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)

