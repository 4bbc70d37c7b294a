"""The command line: ``deid run``, ``deid batch``, ``deid info``, ``deid analyze``, ``deid audit``, ``deid surrogates``,
``deid key``, ``deid demo``.

Exit codes are those of :mod:`deid.errors`. Whatever fails says so in one sentence on standard error.
"""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from deid import __version__
from deid.commands._shell import Stopped, StopRequest, emit_json, open_standard_streams, quiet_libraries, say
from deid.commands.analyze import analyze
from deid.commands.audit import audit
from deid.commands.batch import batch
from deid.commands.config import config
from deid.commands.demo import demo
from deid.commands.edit import edit
from deid.commands.info import info
from deid.commands.key import key
from deid.commands.models import models
from deid.commands.run import run
from deid.commands.stream import stream
from deid.commands.surrogates import surrogates
from deid.commands.train import train
from deid.errors import DeidError, DiskFull, OutputError, UsageError

_EXIT_CODES = """\b
Exit codes:
  0  done
  1  unexpected failure
  2  options that contradict each other or make no sense
  3  the source cannot be used
  4  the source is damaged (--salvage takes it)
  5  the target cannot be written, or is there already
  6  a model is missing or unreadable
  7  the run could not promise that no face leaks
  8  the audit failed, and --strict was asked for
  9  some files of a batch failed; the others are finished
  129, 130, 143  stopped by SIGHUP, Ctrl-C, SIGTERM

Whatever fails leaves no output.
"""

_EXAMPLES = """\b
Examples:
  deid run interview.mp4                      writes interview.deid.mp4
  deid run ward.mkv -o public.mkv --engine solid
  deid batch ward/ -o public/                 every file below ward; again, after a crash: goes on where it was
  deid stream - -o -                          in a pipe: YUV4MPEG2 in, the same out two seconds later
  deid info interview.mp4                     what it holds, what a run would do
  deid analyze interview.mp4 --plan-out plan.toml       who is in it; deid run --plan says what happens to them
  deid key new study.key                      one face a person in all files of a study
  deid audit interview.mp4 interview.deid.mp4 --html audit.html    did it work? every frame, with evidence
  deid surrogates --count 24 -o gallery.png   people who do not exist, to look at
  deid edit face.png --set age=+0.2 -o out.png       the same person, older; deid edit --list names what can be set
  deid models info ffhq.pkl                   what networks a checkpoint holds; nothing in it is run
  deid train generator --faces data -o out    train the StyleGAN engine's networks
  deid config show                            which settings hold, and where each comes from
  deid demo                                   a clip to look at, before and after
"""


class _Settings(click.Group):
    """Fills in what files and the environment say (:mod:`deid.settings`) before a command reads its words."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, words = super().resolve_command(ctx, args)
        path, leaf, rest = [str(name)], command, words
        while isinstance(leaf, click.Group) and rest and rest[0] in leaf.commands:
            path, leaf, rest = [*path, rest[0]], leaf.commands[rest[0]], rest[1:]
        if leaf is None or isinstance(leaf, click.Group) or name == "config" or {"-h", "--help"} & set(rest):
            return name, command, words
        from deid.settings import defaults

        found = defaults(self, tuple(path), leaf, rest)
        if "--quiet" not in rest:
            for file in dict.fromkeys(str(s.file) for s in found.values() if s.file is not None):
                say(f"settings from {file}")
        values: dict[str, Any] = {key: setting.value for key, setting in found.items()}
        for word in reversed(path):
            values = {word: values}
        ctx.default_map = values
        return name, command, words


@click.group(cls=_Settings, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="deid")
def cli() -> None:
    """De-identify video: every face replaced, everything else untouched. Works offline."""


cli.epilog = f"{_EXAMPLES}\n{_EXIT_CODES}"
for _command in (run, batch, stream, info, analyze, audit, surrogates, edit, models, train, key, config, demo):
    cli.add_command(_command)


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code. ``args`` are for callers that go on afterwards; ``None`` takes those
    of the process, which then ends."""
    words = list(sys.argv[1:] if args is None else args)
    debug = "--debug" in words
    open_standard_streams()
    stop = StopRequest()
    with stop.installed(until_exit=args is None), quiet_libraries(debug):
        code = _code_of(words, stop, debug)
    sys.exit(code)


def _code_of(words: list[str], stop: StopRequest, debug: bool) -> int:
    try:
        result = cli.main(words, prog_name="deid", standalone_mode=False, obj=stop)
        stop.disarm()
        return result if isinstance(result, int) else 0
    except (Exception, Stopped) as failure:
        stop.disarm()
        if debug:
            traceback.print_exc()
        message, code = explain(failure)
        if "--json" in words:
            try:
                emit_json({"error": {"type": type(failure).__name__, "message": message, "exit_code": code}})
            except OutputError as error:
                say(str(error))
        say(message)
        return code


def explain(failure: BaseException) -> tuple[str, int]:
    """One sentence for people, and the exit code."""
    if isinstance(failure, DeidError):
        return str(failure), failure.exit_code
    if isinstance(failure, Stopped):
        return f"stopped by {_signal_name(failure.signum)}, {failure.left}.", failure.exit_code
    if isinstance(failure, click.exceptions.NoArgsIsHelpError):
        return f"name a command ({', '.join(cli.commands)}); see 'deid --help'.", UsageError.exit_code
    if isinstance(failure, click.ClickException):
        context = getattr(failure, "ctx", None)
        command = context.command_path if context is not None else "deid"
        return f"{failure.format_message().rstrip('.')}; see '{command} --help'.", UsageError.exit_code
    if isinstance(failure, MemoryError):
        return "out of memory; close other programs, or make the picture smaller with --max-height.", 1
    if isinstance(failure, OSError) and failure.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "no space left for the output; free some, or choose another place with -o.", DiskFull.exit_code
    detail = " ".join(str(failure).split()) or "no details"
    return f"unexpected {type(failure).__name__} ({detail}); run again with --debug to see where.", 1


def _signal_name(signum: int) -> str:
    return {1: "SIGHUP", 2: "Ctrl-C", 15: "SIGTERM"}.get(signum, f"signal {signum}")
