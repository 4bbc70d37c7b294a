"""Recall of the face detectors by face height and pose, false positives and cost, on annotated photographs; and of
whole runs on clips.

    python benchmarks/recall.py [--photos ../shared/photos] [--set crowds] [--limit 20] [--json out.json]
    python benchmarks/recall.py --clips ../shared/clips --seconds 3 --every 6

``crowds`` has boxes.csv: file, x1, y1, x2, y2 in pixels of the stored picture. ``groups`` has dlib's XML annotations,
which cover only the larger faces, so its false positives count unannotated faces too. A face is found when a detection
overlaps it with IoU of at least 0.3; each detection counts for one face, each face once. How far a face is turned
(frontal to 20 degrees, half to 45, profile beyond, to either side) is read by the landmark model in the labelled box,
enlarged; under 16 pixels, or where the model is not sure, it is not read. In ``crowds`` many labelled boxes are heads
that are hidden, turned away or blurred: those whose pose can be read are the faces that somebody could recognise.

With ``--clips``, what is there is what CenterFace at its own or at double size or MTCNN finds, each frame by itself,
and the landmark model confirms; a run with each ``--detect`` has a face when nine tenths of its middle lie under a
region of its plan. CenterFace on that very frame is beside it.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from _recall_clips import BASELINE, EFFORTS, Face, Watched, watch
from _recall_poses import POSES, UNREAD, clips_in, poses_of
from scipy.optimize import linear_sum_assignment

from deid import imaging
from deid.config import RunConfig
from deid.detection import CenterFace, FaceDetector, Mtcnn
from deid.detection.boxes import iou, nms
from deid.tracking.deep import SecondOpinion, search_deep
from deid.tracking.scan import LOW_SCORE
from deid.tracking.schedule import Schedule
from deid.types import Detection

BINS = ((8, 16), (16, 32), (32, 64), (64, 100_000))
IOU = 0.3
Search = Callable[[np.ndarray], list[Detection]]


def crowds(folder: Path) -> Iterator[tuple[Path, np.ndarray]]:
    boxes = defaultdict(list)
    with (folder / "boxes.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            boxes[row["file"]].append([float(row[k]) for k in ("x1", "y1", "x2", "y2")])
    for name in sorted(boxes):
        yield folder / name, np.array(boxes[name]) - 0.5


def groups(folder: Path) -> Iterator[tuple[Path, np.ndarray]]:
    boxes: dict[str, list[list[float]]] = defaultdict(list)
    for name in ("training.xml", "testing.xml"):
        for image in ElementTree.parse(folder / name).iter("image"):
            for box in image.iter("box"):
                left, top, width, height = (float(box.get(k, "nan")) for k in ("left", "top", "width", "height"))
                boxes[image.get("file", "")].append([left, top, left + width, top + height])
    for name in sorted(boxes):
        yield folder / name, np.array(boxes[name]) - 0.5


SETS = {"crowds": crowds, "groups": groups}


def union(*searches: Search) -> Search:
    def search(bgr: np.ndarray) -> list[Detection]:
        found = [d for s in searches for d in s(bgr)]
        if not found:
            return []
        keep = nms(np.array([d.box for d in found]), np.array([d.score for d in found]), IOU)
        return [found[i] for i in keep]

    return search


def by_effort(effort: str) -> Search:
    """What a run with ``--detect effort`` takes for faces in a single picture, at the default threshold."""
    detector, second = CenterFace(threshold=LOW_SCORE, threads=1, coarse=True), SecondOpinion()

    def search(bgr: np.ndarray) -> list[Detection]:
        plan = Schedule.plan(bgr.shape[1], bgr.shape[0], None, effort)
        if plan.deep and plan.full_scale == 1:
            found = search_deep(detector, second, bgr, LOW_SCORE)
        else:
            found = detector.detect(bgr, scale=plan.full_scale)
        return [d for d in found if d.score >= RunConfig().threshold]

    return search


def searches() -> dict[str, Search]:
    centerface, mtcnn = CenterFace(threads=1), Mtcnn(threads=1)
    integers = CenterFace(threads=1, coarse=True)
    lenient = Mtcnn(thresholds=(0.4, 0.5, 0.4), threads=1)

    def at(detector: FaceDetector, scale: float, threshold: float | None = None) -> Search:
        return lambda bgr: detector.detect(bgr, scale=scale, threshold=threshold)

    return {
        "CenterFace, native, 0.2": at(centerface, 1),
        "CenterFace, native, 0.1": at(centerface, 1, 0.1),
        "CenterFace in 8 bits, native, 0.2": at(integers, 1),
        "CenterFace in 8 bits, native, 0.1": at(integers, 1, 0.1),
        "CenterFace, half": at(centerface, 0.5),
        "CenterFace, x1.5": at(centerface, 1.5),
        "CenterFace, doubled": at(centerface, 2),
        "CenterFace, doubled, 0.1": at(centerface, 2, 0.1),
        "MTCNN, native": at(mtcnn, 1),
        "MTCNN, doubled": at(mtcnn, 2),
        "MTCNN, doubled, .4 .5 .4": at(lenient, 2),
        "CenterFace doubled + MTCNN doubled": union(at(centerface, 2), at(mtcnn, 2)),
        **{f"--detect {effort}": by_effort(effort) for effort in ("fast", "balanced", "thorough")},
    }


def found_faces(truth: np.ndarray, detections: list[Detection]) -> tuple[np.ndarray, int]:
    """Which faces were found, bool (n,), and how many detections are nobody's."""
    if not detections:
        return np.zeros(len(truth), bool), 0
    overlap = iou(truth, np.array([d.box for d in detections]))
    rows, columns = linear_sum_assignment(-overlap)
    hit = np.zeros(len(truth), bool)
    hit[rows] = overlap[rows, columns] >= IOU
    return hit, int((overlap.max(axis=0) < IOU).sum())


def band(low: int, high: int) -> str:
    return f"{low}-{high}" if high < 10_000 else f"{low}+"


def by_kind(heights: np.ndarray, poses: np.ndarray, hit: np.ndarray) -> dict[str, float]:
    """The share of ``hit`` by face height and by pose: (n,) each. NaN where there is no such face."""

    def share(inside: np.ndarray) -> float:
        return float(hit[inside].mean()) if inside.any() else float("nan")

    sizes = {band(low, high): share((heights >= low) & (heights < high)) for low, high in BINS}
    return sizes | {pose: share(poses == pose) for pose in (*POSES, UNREAD)}


def numbers_of(heights: np.ndarray, poses: np.ndarray) -> dict[str, float]:
    """How many faces there are of each size and pose."""
    sizes = {band(low, high): float(((heights >= low) & (heights < high)).sum()) for low, high in BINS}
    return sizes | {pose: float((poses == pose).sum()) for pose in (*POSES, UNREAD)}


def measure(search: Search, images: list[tuple[np.ndarray, np.ndarray]], poses: list[list[str]]) -> dict[str, float]:
    heights, hits, false, seconds = [], [], 0, 0.0
    search(images[0][0])  # what is built at first use is no part of the cost
    for bgr, truth in images:
        started = time.process_time()
        detections = search(bgr)
        seconds += time.process_time() - started
        hit, wrong = found_faces(truth, detections)
        heights.append(truth[:, 3] - truth[:, 1])
        hits.append(hit)
        false += wrong
    result = by_kind(np.concatenate(heights), np.array([p for of in poses for p in of]), np.concatenate(hits))
    more = {"false positives an image": false / len(images), "processor ms an image": 1000 * seconds / len(images)}
    return result | more


def of_clips(watched: list[Watched]) -> dict[str, dict[str, float]]:
    """Recall and cost by effort, over all faces of all clips."""
    faces: list[Face] = [face for w in watched for face in w.faces]
    heights, poses = np.array([f.height for f in faces]), np.array([f.pose for f in faces])
    found: dict[str, dict[str, float]] = {"faces": numbers_of(heights, poses)}
    for name in (BASELINE, *(f"--detect {effort}" for effort in EFFORTS)):
        effort = name.removeprefix("--detect ")
        row = by_kind(heights, poses, np.array([f.covered[effort] for f in faces]))
        cost = float(np.mean([w.cost[effort] for w in watched])) if effort in EFFORTS else float("nan")
        found[name] = {k: v for k, v in row.items() if k != UNREAD} | {"processor s a second": cost}
    del found["faces"][UNREAD]
    return found


def table(results: dict[str, dict[str, float]]) -> str:
    columns = list(list(results.values())[-1])
    lines = ["| detector | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, row in results.items():
        cells = [cell(name, column, row.get(column, float("nan"))) for column in columns]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cell(row: str, column: str, value: float) -> str:
    if np.isnan(value):
        return ""
    return f"{value:.0f}" if row == "faces" or column.startswith("processor ms") else f"{value:.2f}"


def machine() -> str:
    return f"{platform.machine()}, {os.cpu_count()} cores, one thread, Python {platform.python_version()}"


def photographs(options: argparse.Namespace) -> dict[str, dict[str, dict[str, float]]] | None:
    """By set and detector; ``None`` when a picture is missing."""
    report = {}
    for name in options.set or sorted(SETS):
        images = []
        for path, truth in list(SETS[name](options.photos / name))[: options.limit]:
            bgr = imaging.imread(str(path))
            if bgr is None:
                print(f"{path} is missing or not a picture", file=sys.stderr)
                return None
            images.append((bgr, truth))
        poses = poses_of(images)
        heights = np.concatenate([truth[:, 3] - truth[:, 1] for _, truth in images])
        wanted = {n: s for n, s in searches().items() if not options.only or any(o in n for o in options.only)}
        report[name] = {"faces": numbers_of(heights, np.array([p for of in poses for p in of]))}
        report[name] |= {n: measure(s, images, poses) for n, s in wanted.items()}
        print(
            f"## {name}: {len(images)} pictures, {len(heights)} faces, IoU {IOU}\n\n{table(report[name])}\n", flush=True
        )
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(__file__).resolve().parents[1].parent / "shared" / "photos"
    parser.add_argument("--photos", type=Path, default=default)
    parser.add_argument("--set", choices=sorted(SETS), action="append", help="default: all")
    parser.add_argument("--limit", type=int, help="only so many pictures of each set")
    parser.add_argument("--only", action="append", help="only detectors whose name contains this; repeat for more")
    parser.add_argument("--clips", type=Path, help="a folder of clips, in place of photographs")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each clip (default: %(default)s)")
    parser.add_argument("--every", type=int, default=6, help="frames between those judged (default: %(default)s)")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.clips is not None:
        watched = []
        for path in clips_in(options.clips)[: options.limit]:
            watched.append(watch(path, options.seconds, options.every))
            print(f"{path.name}: {len(watched[-1].faces)} faces", file=sys.stderr, flush=True)
        report: object = of_clips(watched)
        print(f"## {len(watched)} clips, {options.seconds:g} s each\n\n{table(of_clips(watched))}\n")
    else:
        report = photographs(options)
        if report is None:
            return 1
    print(machine())
    if options.json:
        options.json.write_text(json.dumps(report, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
