"""Does following cover what searching every frame would find?

Runs CenterFace on every frame at full size, as the strictest baseline, and asks of each of its detections whether a
region of the run's plan lies over it; and of each face that CenterFace saw before and after, whether a run of two or
more frames in between was left bare. By face height. Pictures of the worst frames with ``--sheet``. What CenterFace
finds is kept under ``~/.cache/deid-bench``, so that only the first run of a clip takes long.

    python benchmarks/plan_coverage.py clip.mp4 [more clips] [--json out.json] [--sheet folder]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from deid import imaging
from deid.config import RunConfig
from deid.detection import CenterFace
from deid.detection.centerface import weights_path
from deid.media import Reader
from deid.media.convert import bgr
from deid.pipeline import analyse, make_plan
from deid.progress import QuietProgress
from deid.redaction import Region
from deid.types import Detection

BINS = ((8, 16), (16, 24), (24, 32), (32, 64), (64, 10_000))
CACHE = Path.home() / ".cache" / "deid-bench" / "found"
LINK_FRAMES = 12  # a face seen twice within so many frames is one face that was there in between


@dataclass
class Counts:
    """Detections by height bin, those covered, and bare runs; ``missed``: (frame, box, score)."""

    seen: dict[tuple[int, int], int] = field(default_factory=lambda: dict.fromkeys(BINS, 0))
    covered: dict[tuple[int, int], int] = field(default_factory=lambda: dict.fromkeys(BINS, 0))
    sure_seen: int = 0
    sure_covered: int = 0
    bare_runs: int = 0
    missed: list[tuple[int, list[float], float]] = field(default_factory=list)


def is_covered(box: np.ndarray, regions: list[Region]) -> bool:
    """Whether nine tenths of the middle of the face lie inside regions."""
    u, v = np.meshgrid(np.linspace(0.2, 0.8, 7), np.linspace(0.2, 0.85, 7))
    points = np.stack([box[0] + u.ravel() * (box[2] - box[0]), box[1] + v.ravel() * (box[3] - box[1])], 1)
    inside = np.zeros(len(points), bool)
    for region in regions:
        inside |= region.contains(points)
    return bool(inside.mean() >= 0.9)


def count_bare_runs(frames: list[list[tuple[Detection, bool]]]) -> int:
    """Runs of two or more consecutive bare sightings of one face (linked by overlap from frame to frame) that was
    also seen, covered, before and after."""
    runs = 0
    open_chains: list[tuple[int, np.ndarray, list[bool]]] = []
    chains: list[list[bool]] = []
    for index, found in enumerate(frames):
        live = []
        used: set[int] = set()
        for last, box, history in open_chains:
            best = _nearest(box, found, used)
            if best is not None:
                used.add(best)
                d, covered = found[best]
                history.append(covered)
                live.append((index, d.box, history))
            elif index - last <= LINK_FRAMES:
                live.append((last, box, history))
            else:
                chains.append(history)
        live += [(index, d.box, [c]) for k, (d, c) in enumerate(found) if k not in used]
        open_chains = live
    chains += [history for _, _, history in open_chains]
    for history in chains:
        text = "".join("c" if c else "b" for c in history).strip("b")
        runs += sum(len(run) >= 2 for run in text.split("c") if run)
    return runs


def _nearest(box: np.ndarray, found: list[tuple[Detection, bool]], used: set[int]) -> int | None:
    best, best_apart = None, 0.5
    for k, (d, _) in enumerate(found):
        apart = np.hypot(*((d.box[:2] + d.box[2:] - box[:2] - box[2:]) / 2)) / max(box[3] - box[1], 1)
        if k not in used and apart < best_apart:
            best, best_apart = k, float(apart)
    return best


def measure(path: Path, threshold: float, sheet: Path | None) -> Counts:
    config = RunConfig(threshold=threshold)
    analysis, _ = analyse(path, config, QuietProgress())
    regions = make_plan(analysis, config).regions
    counts, frames = Counts(), []
    bare: dict[int, list[Detection]] = {}
    for index, detections in enumerate(searched(path, threshold)):
        found = [(d, is_covered(d.box, regions.get(index, []))) for d in detections]
        frames.append([(d, c) for d, c in found if d.box[3] - d.box[1] >= 24])
        for d, covered in found:
            _count(counts, index, d, covered)
        if missed := [d for d, covered in frames[-1] if not covered]:
            bare[index] = missed
    tiles = []
    if bare and sheet is not None:
        with Reader(path) as reader:
            chosen = [f for f in reader if f.index in bare][:24]
            tiles = [_tile(bgr(f), bare[f.index], regions.get(f.index, []), f.index) for f in chosen]
    counts.bare_runs = count_bare_runs(frames)
    if tiles and sheet is not None:
        sheet.mkdir(parents=True, exist_ok=True)
        while len(tiles) % 4:
            tiles.append(np.zeros_like(tiles[0]))
        rows = [np.hstack(tiles[k : k + 4]) for k in range(0, len(tiles), 4)]
        imaging.imwrite(str(sheet / f"{path.stem}.bare.png"), np.vstack(rows))
    return counts


def searched(path: Path, threshold: float) -> Iterator[list[Detection]]:
    """What CenterFace finds in every frame, from an earlier call where there was one with the same file and weights."""
    key = hashlib.sha256(path.read_bytes() + weights_path().read_bytes() + str(threshold).encode()).hexdigest()[:12]
    kept = CACHE / f"{path.stem}.{key}.npz"
    if not kept.exists():
        detector, rows, count = CenterFace(threshold=threshold), [], 0
        with Reader(path) as reader:
            for frame in reader:
                rows += [[frame.index, d.score, *d.box] for d in detector.detect(bgr(frame))]
                count += 1
        CACHE.mkdir(parents=True, exist_ok=True)
        part = kept.with_suffix(".part.npz")
        np.savez(part, rows=np.array(rows, np.float64).reshape(-1, 6), count=count)
        part.replace(kept)
    with np.load(kept) as data:
        rows, count = data["rows"], int(data["count"])
    for index in range(count):
        here = rows[rows[:, 0] == index]
        yield [Detection(r[2:].astype(np.float32), float(r[1]), None, "centerface") for r in here]


def _count(counts: Counts, index: int, d: Detection, covered: bool) -> None:
    height = float(d.box[3] - d.box[1])
    for low, high in BINS:
        if low <= height < high:
            counts.seen[low, high] += 1
            counts.covered[low, high] += covered
    if height >= 24 and d.score >= 0.5:
        counts.sure_seen += 1
        counts.sure_covered += covered
    if height >= 24 and not covered:
        counts.missed.append((index, [round(float(v), 1) for v in d.box], round(d.score, 3)))


def _tile(picture: np.ndarray, bare: list[Detection], regions: list[Region], index: int) -> np.ndarray:
    out = picture.copy()
    for region in regions:
        imaging.polylines(out, [region.outline().round().astype(np.int32)], True, (0, 255, 0), 2)
    for d in bare:
        x0, y0, x1, y1 = (int(v) for v in d.box)
        imaging.polylines(out, [np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.int32)], True, (0, 0, 255), 2)
    scale = 480 / out.shape[1]
    out = imaging.resize(out, (480, round(out.shape[0] * scale)), interpolation=imaging.INTER_AREA)
    imaging.put_text(out, f"{index}", (6, 18), 0, 0.6, (255, 255, 255), 2)
    return out


def table(results: dict[str, Counts]) -> str:
    lines = ["| clip | " + " | ".join(f"{a}-{b} px" if b < 10_000 else f"{a}+ px" for a, b in BINS)]
    lines[0] += " | score 0.5+, 24+ px | bare runs |"
    lines.append("|---" * (len(BINS) + 3) + "|")
    for name, c in results.items():
        cells = [f"{c.covered[b]}/{c.seen[b]}" for b in BINS]
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {c.sure_covered}/{c.sure_seen} | {c.bare_runs} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--threshold", type=float, default=0.2)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--sheet", type=Path, help="folder for pictures of frames with uncovered detections")
    options = parser.parse_args()
    results = {}
    for clip in options.clips:
        results[clip.name] = measure(clip, options.threshold, options.sheet)
        print(table({clip.name: results[clip.name]}).splitlines()[-1], file=sys.stderr, flush=True)
    print(table(results))
    if options.json:
        plain = {
            n: {
                "seen": {f"{a}-{b}": v for (a, b), v in c.seen.items()},
                "covered": {f"{a}-{b}": v for (a, b), v in c.covered.items()},
                "sure_seen": c.sure_seen,
                "sure_covered": c.sure_covered,
                "bare_runs": c.bare_runs,
                "missed": c.missed,
            }
            for n, c in results.items()
        }
        options.json.write_text(json.dumps(plain, indent=1))


if __name__ == "__main__":
    main()
