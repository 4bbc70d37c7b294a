#!/usr/bin/env python3
"""What a stream keeps up with: frames a second, delay and drops, by size and engine.

    python benchmarks/streaming.py                             640 x 360 and 1280 x 720, one face, as Markdown
    python benchmarks/streaming.py --only 360p --engine blur --seconds 8 --json result.json
    python benchmarks/streaming.py --clip ward.mp4 --max-height 720

Each clip goes through ``deid stream`` twice, as a process of its own with YUV4MPEG2 on both sides: as fast as it is
taken (*waits*), and at the clip's own rate with ``--live``, where frames that are not taken in time are dropped. Clips
are filmed by the demo's virtual camera, with sensor noise, unless ``--clip`` names one. Processor time is of the whole
process, start included; on a machine that does other things, too, it is what to go by.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from deid.media import Reader, pipes
from deid.media.pipes import Layout
from deid.virtual_camera import COLLINS, Pose, ShotPlan, film, hang

FPS = 25
SIZES = {"360p": (640, 360), "720p": (1280, 720)}
ENGINES = ("blur", "morphable")


def filmed(size: str, seconds: float) -> tuple[Layout, list[bytes]]:
    """A camera that moves over a portrait, as frames of YUV 4:2:0; half of the picture's height is the face's."""
    import av

    width, height = SIZES[size]
    count, rng = round(seconds * FPS), np.random.default_rng(7)
    poses = (Pose(0, 250, 150, 330, -2), Pose(seconds / 2, 215, 130, 280, 2), Pose(seconds, 250, 150, 330, -2))
    shot = ShotPlan(hang([COLLINS]), poses, count)
    layout, out = Layout(width, height, Fraction(FPS)), []
    for picture in film([shot], width=width, height=height, fps=FPS):
        noisy = np.clip(picture.pixels + rng.normal(0, 2, picture.pixels.shape), 0, 255).astype(np.uint8)
        frame = av.VideoFrame.from_ndarray(noisy, "bgr24").reformat(format="yuv420p")
        planes = [np.frombuffer(p, np.uint8).reshape(p.height, -1)[:, : p.width] for p in frame.planes]
        out.append(b"".join(np.ascontiguousarray(plane).tobytes() for plane in planes))
    return layout, out


def read(clip: Path, seconds: float, max_height: int | None) -> tuple[Layout, list[bytes]]:
    """The first seconds of a clip."""
    reader = Reader(clip, end=seconds, max_height=max_height)
    rate = Fraction(reader.info.average_rate or FPS).limit_denominator(1001)
    layout = Layout(reader.info.width, reader.info.height, rate)
    return layout, [pipes.bytes_of(frame, layout) for frame in reader]


def streamed(
    layout: Layout, frames: Sequence[bytes], engine: str, *, live: bool, delay: float, threads: int | None
) -> dict[str, Any]:
    """One run: the report of ``deid stream``, and seconds of processor time."""
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder, "report.json")
        words = [sys.executable, "-m", "deid", "stream", "-", "-o", "-", "--engine", engine, "--seed", "5", "--quiet"]
        words += ["--delay", str(delay), "--report", str(told), "--live" if live else "--no-live"]
        words += [] if threads is None else ["--threads", str(threads)]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin is not None and process.stdout is not None
            reader = threading.Thread(target=lambda: drained(process.stdout), daemon=True)
            reader.start()
            process.stdin.write(pipes.header_of(layout))
            began = None
            for number, frame in enumerate(frames):
                if live and began is not None:
                    time.sleep(max(0.0, began + number / float(layout.rate) - time.monotonic()))
                process.stdin.write(b"FRAME\n" + frame)
                process.stdin.flush()
                began = began or time.monotonic()
            process.stdin.close()
            reader.join()
        if process.returncode:
            raise SystemExit(f"deid stream ended with {process.returncode}")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        report: dict[str, Any] = json.loads(told.read_text(encoding="utf-8"))
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return report | {"cpu": cpu, "live": live, "frames_in": len(frames)}


def drained(pipe: Any) -> None:
    """Take what comes, and forget it."""
    while pipe.read(1 << 20):
        pass


def row(name: str, found: dict[str, Any]) -> str:
    """A line of the table."""
    share = "-" if found["engine"] != "morphable" else f"{found['replaced'] / max(found['faces'], 1):.0%}"
    how = "live" if found["live"] else "waits"
    cells = [
        name, found["engine"], how, f"{found['rate']:.1f}", f"{found['cpu'] / max(found['frames'], 1) * 1000:.0f} ms",
        f"{found['longest']:.2f} s", f"{found['waited'][0]:.1f} s, {found['waited'][1]:.1f} s",
        f"{found['dropped'] / found['frames_in']:.0%}", share,
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=list(SIZES))
    parser.add_argument("--engine", choices=ENGINES)
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--delay", type=float, default=2.0)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--source", choices=("waits", "live"), help="by default both")
    parser.add_argument("--clip", type=Path)
    parser.add_argument("--max-height", type=int)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    print(f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}\n")
    print("| clip | engine | source | frames a second | processor time a frame | longest in the stream's time | by the "
          "clock, middle and most | dropped | faces replaced |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|")
    results = []
    for size in [args.clip.name] if args.clip else [args.only] if args.only else list(SIZES):
        layout, frames = read(args.clip, args.seconds, args.max_height) if args.clip else filmed(size, args.seconds)
        for engine in [args.engine] if args.engine else ENGINES:
            for live in [args.source == "live"] if args.source else (False, True):
                found = streamed(layout, frames, engine, live=live, delay=args.delay, threads=args.threads)
                results.append({"clip": size, **found})
                print(row(size, found), flush=True)
    if args.json:
        args.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
