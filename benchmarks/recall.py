"""Recall of the face detectors by face height, false positives and cost, on annotated photographs.

    python benchmarks/recall.py [--photos ../shared/photos] [--set crowds] [--limit 20] [--json out.json]

``crowds`` has boxes.csv: file, x1, y1, x2, y2 in pixels of the stored picture. ``groups`` has dlib's XML annotations,
which cover only the larger faces, so its false positives count unannotated faces too. A face is found when a detection
overlaps it with IoU of at least 0.3; each detection counts for one face, each face once.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
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


def measure(search: Search, images: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
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
    height, hit = np.concatenate(heights), np.concatenate(hits)
    result = {}
    for low, high in BINS:
        inside = (height >= low) & (height < high)
        name = f"{low}-{high}" if high < 10_000 else f"{low}+"
        result[name] = float(hit[inside].mean()) if inside.any() else float("nan")
    more = {"false positives an image": false / len(images), "processor ms an image": 1000 * seconds / len(images)}
    return result | more


def table(results: dict[str, dict[str, float]]) -> str:
    columns = list(next(iter(results.values())))
    lines = ["| detector | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, row in results.items():
        cells = [f"{v:.0f}" if k.startswith("processor") else f"{v:.2f}" for k, v in row.items()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(__file__).resolve().parents[1].parent / "shared" / "photos"
    parser.add_argument("--photos", type=Path, default=default)
    parser.add_argument("--set", choices=sorted(SETS), action="append", help="default: all")
    parser.add_argument("--limit", type=int, help="only so many pictures of each set")
    parser.add_argument("--only", help="only detectors whose name contains this")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    report = {}
    for name in options.set or sorted(SETS):
        images = []
        for path, truth in list(SETS[name](options.photos / name))[: options.limit]:
            bgr = imaging.imread(str(path))
            if bgr is None:
                print(f"{path} is missing or not a picture", file=sys.stderr)
                return 1
            images.append((bgr, truth))
        wanted = {n: s for n, s in searches().items() if not options.only or options.only in n}
        report[name] = {n: measure(s, images) for n, s in wanted.items()}
        faces = sum(len(truth) for _, truth in images)
        print(f"## {name}: {len(images)} pictures, {faces} faces, IoU {IOU}\n\n{table(report[name])}\n", flush=True)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
