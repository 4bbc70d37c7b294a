#!/usr/bin/env python3
"""Time deid beside deface, whole process against whole process, on the same clips in turn.

deface is installed by pip into an environment of its own, with onnxruntime, its faster backend, and runs with its
defaults. Both programs take every clip once a round, one after the other, so that what else the machine does falls on
both. Clips are filmed by the demo's virtual camera from public-domain portraits, with sensor noise (film that is too
clean encodes too fast), unless ``--clip`` names others.

    python benchmarks/vs_deface.py                          everything but the long clip, as Markdown
    python benchmarks/vs_deface.py --only 1080p --rounds 5 --json result.json
    python benchmarks/vs_deface.py --clip ward.mp4 street.mp4
    python benchmarks/vs_deface.py --only one-face --seconds 6 20       what starting costs, and what a frame costs
    python benchmarks/vs_deface.py --long                   growth of time and memory up to a 10-minute clip
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from deid import __version__
from deid.config import ENGINES, available_cores
from deid.demo import encode_clip
from deid.virtual_camera import COLLINS, HOPPER, Pose, Scene, ShotPlan, film, hang

FPS = 25
SIZES = {"1080p": (1920, 1080), "720p": (1280, 720), "512": (512, 512)}
LONG_SECONDS = (60, 600)
DEFACE_REQUIREMENTS = ("deface>=1.5,<2", "onnx", "onnxruntime")


@dataclass(frozen=True, slots=True)
class Sample:
    """One process: seconds of wall and processor time; peak resident memory in bytes, of its largest process."""

    wall: float
    cpu: float
    peak: int


@dataclass(slots=True)
class Row:
    """All runs over one clip. ``stages``: deid's wall time by stage, in seconds, of its last run."""

    clip: str
    size: str
    frames: int
    deid: list[Sample] = field(default_factory=list)
    deface: list[Sample] = field(default_factory=list)
    bare: list[Sample] = field(default_factory=list)
    stages: dict[str, float] = field(default_factory=dict)

    def ratios(self) -> list[float]:
        """deface's wall time over deid's, round by round."""
        return [theirs.wall / ours.wall for theirs, ours in zip(self.deface, self.deid, strict=False)]


def main() -> int:
    options = parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    clips = [(path, *clip_facts(path)) for path in options.clip]
    if not clips:
        wanted = [name for name in clip_names() if not options.only or any(word in name for word in options.only)]
        paths = [made_clip(options.work, name, seconds) for name in wanted for seconds in options.seconds]
        clips = [(path, *clip_facts(path)) for path in paths]
    deface = None if options.no_deface else installed_deface(options.work)
    with tempfile.TemporaryDirectory(dir=options.work, prefix="out-") as scratch:
        bench = Bench(Path(scratch), options.engine, deface)
        bench.warm_up(clips[0][0])
        rows = [bench.row(path, size, frames, options.rounds) for path, size, frames in clips]
        lengths = LONG_SECONDS if options.long else ()
        growth = [bench.row(*long_clip(options.work, seconds), 1, ours_only=True) for seconds in lengths]
    facts = machine_facts(deface)
    text = "\n".join([*header(facts), *table(rows), "", *stage_table(rows), *start_table(rows), *growth_table(growth)])
    print(text)
    if options.json:
        result = {"machine": facts, "rows": [asdict(r) for r in rows], "growth": [asdict(r) for r in growth]}
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="runs of each program over each clip (default 3)")
    parser.add_argument(
        "--seconds", type=float, nargs="+", default=[6.0], metavar="S", help="lengths of clips made here (default 6)"
    )
    parser.add_argument(
        "--only", nargs="+", metavar="WORD", help=f"clips with these words in their names: {', '.join(clip_names())}"
    )
    parser.add_argument("--clip", nargs="+", type=Path, default=[], metavar="FILE", help="time these clips instead")
    parser.add_argument("--engine", choices=list(ENGINES), default="blur", help="what deid puts over faces")
    parser.add_argument("--long", action="store_true", help="also deid alone on clips of 1 and 10 minutes")
    parser.add_argument("--no-deface", action="store_true", help="time deid (and the bare transcode) only")
    parser.add_argument(
        "--work",
        type=Path,
        default=Path.home() / ".cache" / "deid-bench",
        metavar="FOLDER",
        help="where clips and deface's environment are kept (default ~/.cache/deid-bench)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample here")
    options = parser.parse_args()
    if options.rounds < 1 or min(options.seconds) <= 0:
        parser.error("--rounds and --seconds must be above 0")
    return options


# ---- clips


def clip_names() -> list[str]:
    return [f"{size}-{faces}" for size in SIZES for faces in ("one-face", "several-faces")]


def made_clip(work: Path, name: str, seconds: float) -> Path:
    """The clip of this name, filmed unless an earlier call left it in ``work``."""
    path = work / f"{name}-{seconds:g}s.mp4"
    if not path.exists():
        (width, height), faces = SIZES[name.split("-")[0]], name.split("-", 1)[1]
        frames = max(1, round(seconds * FPS))
        scene, poses = one_face(seconds) if faces == "one-face" else several(seconds, width / height)
        shot = ShotPlan(scene, poses, frames)
        part = path.with_suffix(".part.mp4")
        pictures = noisy(picture.pixels for picture in film([shot], width=width, height=height, fps=FPS))
        encode_clip(part, pictures, width=width, height=height, fps=FPS, seconds=frames / FPS, crf=20)
        part.replace(path)
    return path


def one_face(seconds: float) -> tuple[Scene, tuple[Pose, ...]]:
    path = (Pose(0, 300, 300, 680, -2), Pose(seconds / 2, 240, 240, 430, 2), Pose(seconds, 270, 250, 560, 0))
    return hang([HOPPER]), path


def several(seconds: float, aspect: float) -> tuple[Scene, tuple[Pose, ...]]:
    """Six prints in two rows, all of them in view at every aspect ratio."""
    size = max(1420.0, 1900 / aspect)
    path = (
        Pose(0, 870, 640, 1.1 * size, -1),
        Pose(seconds / 2, 890, 670, size, 1),
        Pose(seconds, 880, 650, 1.15 * size, 0),
    )
    return hang([HOPPER, COLLINS] * 3, rows=2, margin=700), path


def noisy(pictures: Iterator[np.ndarray], sigma: float = 2.5) -> Iterator[np.ndarray]:
    """Add grey sensor noise, another piece of one large field for every picture; uint8 in and out."""
    rng = np.random.default_rng(3)
    field_ = None
    for picture in pictures:
        height, width = picture.shape[:2]
        if field_ is None:
            field_ = np.rint(rng.normal(0, sigma, (height + 64, width + 64))).astype(np.int16)
        y, x = rng.integers(0, 65, 2)
        yield np.clip(picture + field_[y : y + height, x : x + width, None], 0, 255).astype(np.uint8)


def long_clip(work: Path, seconds: int) -> tuple[Path, str, int]:
    """720p of this length: the short clip over and over, its packets copied. Path, size and frames."""
    import imageio_ffmpeg

    path = work / f"720p-one-face-long-{seconds}s.mp4"
    if not path.exists():
        part = path.with_suffix(".part.mp4")
        source = made_clip(work, "720p-one-face", 6)
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-y", "-stream_loop", "-1", "-i", str(source)]
        subprocess.run([*command, "-t", str(seconds), "-c", "copy", str(part)], check=True)
        part.replace(path)
    return path, *clip_facts(path)


def clip_facts(path: Path) -> tuple[str, int]:
    """Size as text, and the number of frames by decoding-free counting."""
    from deid import probe

    media = probe(path)
    frames = media.frames or round((media.seconds or 0) * float(media.average_rate or 0))
    return f"{media.width} x {media.height}", frames


# ---- programs


def installed_deface(work: Path) -> Path:
    """deface's command in an environment of its own."""
    home = work / "deface-env"
    command = home / "bin" / "deface"
    if not (home / ".installed").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
        pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *DEFACE_REQUIREMENTS], check=True)
        (home / ".installed").touch()
    return command


LAUNCHER = """
import json, os, subprocess, sys, time
start = time.perf_counter()
process = subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
wall = time.perf_counter() - start
process.returncode = os.waitstatus_to_exitcode(status)
with open(sys.argv[1], "w") as result:
    json.dump([process.returncode, wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024], result)
"""


def as_installed(byte_code: Path | None = None) -> dict[str, str]:
    """The environment of programs as a user has them: pip compiles what it installs, so byte code is used even where
    that was turned off for development. ``byte_code``: keeps it there, for sources that nobody compiled."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept if byte_code is None else kept | {"PYTHONPYCACHEPREFIX": str(byte_code)}


def measured(command: Sequence[str], made: Path, environment: dict[str, str]) -> Sample:
    """Run a program to its end and measure it; its output ``made`` must exist and is removed.

    A small launcher stands between: the kernel counts the memory of the process that forked as the new program's.
    """
    with tempfile.TemporaryFile() as log, tempfile.NamedTemporaryFile() as result:
        launch = [sys.executable, "-S", "-c", LAUNCHER, result.name, *command]
        subprocess.run(launch, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True, env=environment)
        code, wall, cpu, peak = json.load(result)
        if code != 0 or not made.exists():
            log.seek(0)
            tail = log.read()[-2000:].decode("utf-8", "replace")
            raise SystemExit(f"{' '.join(command)} failed with {code}:\n{tail}")
    made.unlink()
    return Sample(wall, cpu, peak)


class Bench:
    """Runs the programs, in turn, with outputs in ``scratch``."""

    def __init__(self, scratch: Path, engine: str, deface: Path | None) -> None:
        self._scratch, self._engine, self._deface = scratch, engine, deface
        self._ours_as_installed = as_installed(scratch.parent / "byte-code")
        self._bare = Path(__file__).with_name("bare_transcode.py")

    def warm_up(self, clip: Path) -> None:
        """Compiled loops, byte code and the disk's cache: nobody's time is taken with them cold."""
        self._ours(clip, Row("", "", 0))
        if self._deface is not None:
            measured([str(self._deface), "--help"], self._touched(), as_installed())

    def row(self, clip: Path, size: str, frames: int, rounds: int, *, ours_only: bool = False) -> Row:
        row = Row(clip.stem, size, frames)
        for number in range(rounds):
            say(f"{clip.stem}: round {number + 1} of {rounds}")
            row.deid.append(self._ours(clip, row))
            if self._deface is not None and not ours_only:
                row.deface.append(self._theirs(clip))
            if self._bare.exists():
                row.bare.append(self._transcode(clip))
        return row

    def _touched(self) -> Path:
        path = self._scratch / "none"
        path.touch()
        return path

    def _ours(self, clip: Path, row: Row) -> Sample:
        out, report = self._scratch / f"deid{clip.suffix}", self._scratch / "report.json"
        command = [sys.executable, "-m", "deid", "run", str(clip), "-o", str(out), "--engine", self._engine]
        sample = measured([*command, "--report", str(report), "--overwrite", "--quiet"], out, self._ours_as_installed)
        row.stages = json.loads(report.read_text())["timing"]
        return sample

    def _theirs(self, clip: Path) -> Sample:
        out = self._scratch / f"deface{clip.suffix}"
        return measured([str(self._deface), str(clip), "-o", str(out), "--backend", "onnxrt"], out, as_installed())

    def _transcode(self, clip: Path) -> Sample:
        out = self._scratch / f"bare{clip.suffix}"
        command = [sys.executable, str(self._bare), str(clip), "--once", "--target", str(out)]
        return measured(command, out, self._ours_as_installed)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# ---- tables


def machine_facts(deface: Path | None) -> dict[str, Any]:
    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
        model = lines[0].split(":", 1)[1].strip() if lines else model
    facts = {"cpu": model, "cores": available_cores(), "python": platform.python_version(), "deid": __version__}
    if deface is not None:
        code = "import importlib.metadata as m; print(m.version('deface'), m.version('onnxruntime'))"
        found = subprocess.run([str(deface.parent / "python"), "-c", code], capture_output=True, text=True, check=True)
        facts["deface"], facts["onnxruntime"] = found.stdout.split()
    return facts


def header(facts: dict[str, Any]) -> list[str]:
    return ["; ".join(f"{name} {value}" for name, value in facts.items()), ""]


def table(rows: Sequence[Row]) -> list[str]:
    lines = [
        "| clip | size | frames | program | wall s (low-high) | processor s | peak MiB | frames/s | times faster |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        for name, samples in (("deid", row.deid), ("deface", row.deface), ("bare transcode", row.bare)):
            if samples:
                ratio = spread(row.ratios()) if name == "deid" and row.deface else ""
                what = f"{row.clip} | {row.size} | {row.frames} | {name}"
                lines.append(f"| {what} | {cells(samples, row.frames)} | {ratio} |")
    return lines


def cells(samples: Sequence[Sample], frames: int) -> str:
    wall = statistics.median(s.wall for s in samples)
    cpu = statistics.median(s.cpu for s in samples)
    peak = max(s.peak for s in samples) / 2**20
    return f"{spread([s.wall for s in samples])} | {cpu:.1f} | {peak:.0f} | {frames / wall:.1f}"


def spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.1f} ({min(values):.1f}-{max(values):.1f})"


def stage_table(rows: Sequence[Row]) -> list[str]:
    names = list(dict.fromkeys(name for row in rows for name in row.stages))
    lines = [f"| deid, ms a frame | {' | '.join(names)} | rest of the process |", "|---" * (len(names) + 2) + "|"]
    for row in rows:
        inside = [1000 * row.stages.get(name, 0.0) / max(row.frames, 1) for name in names]
        rest = 1000 * row.deid[-1].wall / max(row.frames, 1) - sum(inside)
        lines.append(f"| {row.clip} | {' | '.join(f'{value:.1f}' for value in inside)} | {rest:.1f} |")
    return lines


def start_table(rows: Sequence[Row]) -> list[str]:
    """What each program takes to start and end, and for every frame beside: a line through the shortest and the longest
    of the clips that differ in length only."""
    alike: dict[str, list[Row]] = {}
    for row in rows:
        alike.setdefault(row.clip.rsplit("-", 1)[0], []).append(row)
    lines = []
    for name, clips in alike.items():
        short, long = min(clips, key=lambda r: r.frames), max(clips, key=lambda r: r.frames)
        for program in ("deid", "deface"):
            a, b = ([s.wall for s in getattr(row, program)] for row in (short, long))
            if a and b and long.frames > short.frames:
                each = (statistics.median(b) - statistics.median(a)) / (long.frames - short.frames)
                start = statistics.median(a) - each * short.frames
                lines.append(f"| {name} | {program} | {start:.1f} | {1000 * each:.1f} | {1 / max(each, 1e-9):.1f} |")
    head = ["", "| clip | program | s to start and end | ms a frame | frames/s beside |", "|---|---|---|---|---|"]
    return [*head, *lines] if lines else []


def growth_table(rows: Sequence[Row]) -> list[str]:
    if not rows:
        return []
    lines = ["", "| length | frames | wall s | ms a frame | peak MiB |", "|---|---|---|---|---|"]
    for row in rows:
        sample = row.deid[0]
        lines.append(
            f"| {row.frames / FPS:.0f} s | {row.frames} | {sample.wall:.1f} | "
            f"{1000 * sample.wall / row.frames:.1f} | {sample.peak / 2**20:.0f} |"
        )
    return lines


if __name__ == "__main__":
    sys.exit(main())
