"""Hundreds of broken files, each in a process of its own: does any of them crash, hang, eat memory or leave something?

    python benchmarks/fuzz.py [--count 400] [--seed 1] [--engine solid] [--only mp4] [--keep FOLDER] [--stream]

Small clips in ten containers and pictures in five formats are mutated (bits flipped, spans cut out, doubled, swapped,
zeroed or filled with noise, lengths and counts set to extremes, the end cut off), each by a number of its own, which is
printed with every finding: ``--seed N --count 1`` makes the same file and the same run again. Every run is a forked
process with limits on time and memory. A finding is: an exit code that the README does not name for bad sources, or
code 1; a message that is not one sentence; a source that changed; anything left beside source and output; an output
that cannot be read back or has another number of frames than the report says; a time or memory limit that struck.
With ``--stream`` clips are read once, by ``deid stream``, which finishes what came before its source failed.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from mediagen import clip

X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "10")
SOUND = [("aac", "-b:a", "32k")]
SEEDS: dict[str, tuple[tuple[str, ...], list[tuple[str, ...]], tuple[str, ...]]] = {
    "a.mp4": (X264, SOUND, ("-movflags", "+faststart")),
    "b.mp4": (("-c:v", "mpeg4", "-bf", "2"), SOUND, ("-movflags", "+frag_keyframe+empty_moov")),
    "a.mov": (("-c:v", "prores_ks", "-profile:v", "0"), [("pcm_s16le",)], ()),
    "a.mkv": (X264, [("libopus", "-b:a", "32k"), ("flac",)], ("-cluster_time_limit", "200")),
    "b.mkv": (("-c:v", "ffv1"), [("pcm_s24le",)], ()),
    "c.mkv": (("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none"), [], ()),
    "a.webm": (("-c:v", "libvpx-vp9", "-cpu-used", "8"), [("libvorbis",)], ()),
    "a.avi": (("-c:v", "mpeg4"), [("libmp3lame",)], ()),
    "b.avi": (("-c:v", "mjpeg"), [("pcm_u8",)], ()),
    "a.gif": ((), [], ()),
    "a.ts": (X264, SOUND, ()),
    "a.flv": (("-c:v", "flv1"), [("libmp3lame", "-ar", "44100")], ()),
    "a.ogg": (("-c:v", "libtheora"), [("libvorbis",)], ()),
    "a.asf": (("-c:v", "wmv2"), [("wmav2",)], ()),
    "a.h264": (X264, [], ()),
    "a.hevc": (("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none"), [], ()),
}
PICTURES = ("a.png", "a.jpg", "a.webp", "a.tif", "a.bmp")
TARGETS = (".mp4", ".mp4", ".mkv", ".mov", ".webm", ".avi", ".gif")
EXPECTED = {0, 2, 3, 4, 5, 7}
CHANGES = ("bits", "bits", "noise", "zero", "cut out", "double", "swap", "extreme", "extreme", "end")
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 62, (1 << 64) - 1)


@dataclass(slots=True)
class Outcome:
    """What one run came to."""

    number: int
    what: str
    code: int | None = None
    seconds: float = 0.0
    peak: int = 0
    findings: list[str] = field(default_factory=list)


def make_seeds(folder: Path) -> list[Path]:
    """The healthy clips, 0.6 s of 64 x 48 each."""
    made = []
    for name, (video, audio, extra) in SEEDS.items():
        pix_fmt = None if name.endswith("gif") else "yuv422p10le" if name == "a.mov" else "yuv420p"
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        made.append(clip(path, size="64x48", seconds=0.6, video=video, pix_fmt=pix_fmt, audio=audio, extra=extra))
    from PIL import Image

    for name in PICTURES:
        ramp = bytes((x * 3 + y * 5 + c * 40) % 256 for y in range(48) for x in range(64) for c in range(3))
        Image.frombytes("RGB", (64, 48), ramp).save(folder / name)
        made.append(folder / name)
    return made


def mutate(data: bytes, chance: random.Random) -> tuple[bytes, str]:
    """``data`` with one to four changes, and their names."""
    out = bytearray(data)
    names = []
    for _ in range(chance.choice((1, 1, 2, 4))):
        if len(out) < 32:
            break
        name = chance.choice(CHANGES)
        names.append(name)
        # half of the changes go to the first kilobytes, where lengths, counts and codec parameters are
        reach = len(out) if chance.random() < 0.5 else min(len(out), 2048)
        at = chance.randrange(reach - 8)
        span = min(len(out) - at, int(2 ** chance.uniform(0, 11)))
        if name == "bits":
            for _ in range(chance.choice((1, 3, 20))):
                out[chance.randrange(reach)] ^= 1 << chance.randrange(8)
        elif name == "noise":
            out[at : at + span] = chance.randbytes(span)
        elif name == "zero":
            out[at : at + span] = bytes(span)
        elif name == "cut out":
            del out[at : at + span]
        elif name == "double":
            out[at:at] = out[at : at + span]
        elif name == "swap":
            other = chance.randrange(len(out) - 8)
            out[at : at + 8], out[other : other + 8] = out[other : other + 8], out[at : at + 8]
        elif name == "extreme":
            width = chance.choice((1, 2, 4, 8))
            value = chance.choice(EXTREMES) & ((1 << 8 * width) - 1)
            out[at : at + width] = value.to_bytes(width, chance.choice(("big", "little")))
        else:
            del out[max(16, chance.randrange(len(out))) :]
    return bytes(out), "+".join(names)


def run_child(words: list[str], folder: Path, seconds: int) -> None:
    """In the forked process: the command, with its messages in files."""
    os.setsid()
    for name, number in (("stdout", 1), ("stderr", 2)):
        handle = os.open(folder / name, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.dup2(handle, number)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
    resource.setrlimit(resource.RLIMIT_FSIZE, (256 << 20, 256 << 20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder / "tmp")
    from deid.cli import main

    code = 1
    try:
        main(words)
    except SystemExit as ended:
        code = int(ended.code or 0)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def watch(child: int, seconds: float, memory: int, outcome: Outcome) -> None:
    """Wait for the child; kill it when it takes too long or too much."""
    began = time.monotonic()
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        outcome.seconds = time.monotonic() - began
        if done:
            if os.WIFSIGNALED(status):
                outcome.findings.append(f"killed by {signal.Signals(os.WTERMSIG(status)).name}")
            else:
                outcome.code = os.WEXITSTATUS(status)
            return
        with contextlib.suppress(OSError, StopIteration):
            lines = Path(f"/proc/{child}/status").read_text().splitlines()
            outcome.peak = max(outcome.peak, next(int(x.split()[1]) << 10 for x in lines if x.startswith("VmHWM")))
        if outcome.seconds > seconds or outcome.peak > memory:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            outcome.findings.append("took too long" if outcome.seconds > seconds else "took too much memory")
            return
        time.sleep(0.01)


def judge(
    outcome: Outcome, folder: Path, source: Path, before: str, target: Path | None, finishes: bool = False
) -> None:
    """Everything that a run must hold to, good or bad. ``finishes``: what came before a failure is finished."""
    found = outcome.findings
    said, error = ((folder / n).read_text(errors="replace") for n in ("stdout", "stderr"))
    if hashlib.sha256(source.read_bytes()).hexdigest() != before:
        found.append("the source was changed")
    there = {p.name for p in (folder / "work").iterdir()} - {source.name}
    allowed = {target.name} if target is not None and (outcome.code == 0 or finishes) else set()
    if there - allowed:
        found.append(f"left over: {sorted(there - allowed)}")
    if any((folder / "tmp").iterdir()):
        found.append("temporary files are left over")
    if outcome.code is None:
        return
    if outcome.code not in EXPECTED:
        found.append(f"exit code {outcome.code}: {error.strip()[-300:]}")
        return
    lines = error.splitlines()
    if finishes:
        lines = [line for line in lines if not line.startswith("deid: warning: ")]
    if outcome.code and not (len(lines) == 1 and lines[0].startswith("deid: ") and lines[0].endswith(".")):
        found.append(f"not one sentence: {error[:300]!r}")
    if any(not line.startswith("deid: ") for line in lines):
        found.append(f"something else was said: {error[:300]!r}")
    if target is not None and (outcome.code == 0 or (finishes and target.exists())):
        check_output(found, json.loads(said)["frames"] if outcome.code == 0 else None, target)


def check_output(found: list[str], frames: int | None, target: Path) -> None:
    import av

    if not target.exists():
        found.append("there is no output")
        return
    if target.suffix == ".png":
        from PIL import Image

        with Image.open(target) as picture:
            picture.load()
        return
    try:
        with av.open(str(target)) as container:
            pts = [f.pts for f in container.decode(video=0)]
    except (av.error.FFmpegError, ValueError) as error:
        found.append(f"the output cannot be read ({error})")
        return
    if frames is not None and len(pts) != frames:
        found.append(f"the report has {frames} frames, the output {len(pts)}")
    if any(p is None for p in pts) or pts != sorted(set(pts)):
        found.append("the output's times do not increase")


def one(number: int, seeds: list[Path], options: argparse.Namespace, home: Path) -> Outcome:
    chance = random.Random(number)
    seed = chance.choice(seeds)
    folder = home / str(number)
    for name in ("work", "tmp"):
        (folder / name).mkdir(parents=True)
    source = folder / "work" / seed.name
    data, names = mutate(seed.read_bytes(), chance)
    source.write_bytes(data)
    before = hashlib.sha256(data).hexdigest()
    salvage = chance.random() < 0.5
    ending = chance.choice(TARGETS)
    target = folder / "work" / f"out{'.png' if seed.name in PICTURES else ending}"
    words = ["run", str(source), "-o", str(target), "--engine", options.engine, "--json", "--quiet", "--threads", "1"]
    words += ["--preset", "ultrafast", *(["--salvage"] if salvage else [])]
    is_info = chance.random() < 0.1
    if is_info:
        words = ["info", str(source), "--json"]
    elif options.stream:
        words = ["stream", *(word for word in words[1:] if word != "--salvage")]
    outcome = Outcome(number, f"{seed.name} {names}{' --salvage' if salvage else ''} -> {target.suffix}")
    child = os.fork()
    if not child:
        run_child(words, folder, int(options.seconds))
    watch(child, options.seconds, options.memory << 20, outcome)
    judge(outcome, folder, source, before, None if is_info else target, options.stream and not is_info)
    if outcome.findings and options.keep is not None:
        options.keep.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, options.keep / f"{number}{source.suffix}")
    shutil.rmtree(folder)
    return outcome


def load() -> None:
    """Import what a run needs before forking, so that a run costs a fraction of a second; no threads, no networks."""
    import deid.cli
    import deid.commands.run
    import deid.detection.centerface
    import deid.media.video_sink
    import deid.pipeline  # noqa: F401


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1, help="number of the first file")
    parser.add_argument("--engine", default="solid")
    parser.add_argument("--only", help="only seeds whose name contains this")
    parser.add_argument("--seconds", type=float, default=60, help="limit for each run")
    parser.add_argument("--memory", type=int, default=1536, help="limit for each run, MiB")
    parser.add_argument("--stream", action="store_true", help="hand clips to deid stream")
    parser.add_argument("--keep", type=Path, help="put files with findings here")
    options = parser.parse_args()
    print(f"files {options.seed} to {options.seed + options.count - 1}, each below {options.seconds:g} s and "
          f"{options.memory} MiB", flush=True)  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="deid-fuzz-") as home:
        folder = Path(home) / "seeds"
        folder.mkdir()
        seeds = [s for s in make_seeds(folder) if not options.only or options.only in s.name]
        seeds = [s for s in seeds if not (options.stream and s.name in PICTURES)]
        load()
        outcomes = []
        for number in range(options.seed, options.seed + options.count):
            outcome = one(number, seeds, options, Path(home))
            outcomes.append(outcome)
            for finding in outcome.findings:
                print(f"{number}: {outcome.what}: {finding}", flush=True)
    return report(outcomes)


def report(outcomes: list[Outcome]) -> int:
    codes = Counter("killed" if o.code is None else f"exit {o.code}" for o in outcomes)
    print(", ".join(f"{name}: {count}" for name, count in sorted(codes.items())))
    slowest, largest = max(outcomes, key=lambda o: o.seconds), max(outcomes, key=lambda o: o.peak)
    print(f"slowest {slowest.seconds:.1f} s ({slowest.number}), largest {largest.peak >> 20} MiB ({largest.number})")
    bad = [o for o in outcomes if o.findings]
    print(f"{len(outcomes)} files, {len(bad)} with findings" + "".join(f" {o.number}" for o in bad))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
