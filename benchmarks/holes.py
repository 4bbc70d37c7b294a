"""Is a hole in a video file noticed? Rubbish over a piece of each kind of file, at random places, read to the end.

    python benchmarks/holes.py                          40 holes a kind, each an 18th of the file
    python benchmarks/holes.py --holes 20 --part 60

Prints, a kind a row, how many holes were read over without an error, and how many pictures those lost. An unnoticed
hole is a copy with pictures missing, or smeared, that nobody is told of.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

_ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(_ROOT), str(_ROOT / "tests")]

from mediagen import clip  # noqa: E402

from deid.errors import DeidError  # noqa: E402
from deid.media import Reader  # noqa: E402

_X264 = ("-c:v", "libx264", "-preset", "veryfast", "-g", "25", "-threads", "4")
_X265 = ("-c:v", "libx265", "-preset", "veryfast", "-g", "25", "-x265-params", "log-level=none:frame-threads=1")
KINDS: dict[str, tuple[str, ...]] = {
    "avc.mp4": _X264,
    "avc.mkv": _X264,
    "avc.ts": _X264,
    "avc.h264": _X264,
    "avc-without-b.h264": (*_X264, "-bf", "0"),
    "hevc.mp4": _X265,
    "hevc.hevc": _X265,
    "mpeg2.m2v": ("-c:v", "mpeg2video", "-g", "25"),
    "mpeg4.m4v": ("-c:v", "mpeg4", "-g", "25"),
    "jpeg.mjpeg": ("-c:v", "mjpeg"),
    "vp9.mkv": ("-c:v", "libvpx-vp9", "-cpu-used", "8", "-g", "25"),
}
"""Encoder's arguments by file name."""


def pictures(path: Path) -> int | None:
    """How many pictures are read, ``None`` when the file is refused."""
    try:
        with Reader(path, threads=2) as reader:
            return sum(1 for _ in reader)
    except DeidError:
        return None


def unnoticed(whole: Path, holes: int, part: int) -> list[int]:
    """Pictures lost by each hole, of ``holes`` that cover a ``part``-th of the file, that was not noticed."""
    data, there, hurt = whole.read_bytes(), pictures(whole), whole.with_name(f"hurt-{whole.name}")
    if there is None:
        raise SystemExit(f"{whole.name} is refused although it is whole")
    lost = []
    for seed in range(holes):
        rng = np.random.default_rng(seed)
        begin, size = int(len(data) * rng.uniform(0.2, 0.7)), len(data) // part
        hurt.write_bytes(data[:begin] + rng.bytes(size) + data[begin + size :])
        left = pictures(hurt)
        if left is not None:
            lost.append(there - left)
    return lost


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--holes", type=int, default=40, help="of each kind (default: %(default)s)")
    parser.add_argument("--part", type=int, default=18, help="of the file that one covers (default: an 18th)")
    options = parser.parse_args()
    print("| file | holes | unnoticed | pictures lost by these |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, video in KINDS.items():
            extra = ["-cluster_time_limit", "400"] if name.endswith("mkv") else []
            whole = clip(Path(folder) / name, seconds=4, size="320x240", video=video, extra=extra)
            lost = unnoticed(whole, options.holes, options.part)
            print(f"| {name} | {options.holes} | {len(lost)} | {', '.join(map(str, sorted(lost)))} |", flush=True)


if __name__ == "__main__":
    main()
