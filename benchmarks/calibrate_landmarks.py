"""Measures the constants of deid/detection/pose.py, and how well presence tells faces from other things.

    python benchmarks/calibrate_landmarks.py [--shared ../shared] [--limit 100]

Constants come from data/portraits: the mean head (generalised Procrustes over the rigid points, made symmetric, pitched
to the median portrait) and CenterFace's box over the extent of the mesh, both in an upright copy of the picture.
Presence is measured on photos/crowds, which is not used for the constants: on the annotated faces, by height, and on
random squares that keep clear of them.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from recall import crowds

from deid import imaging
from deid.detection import CenterFace, FaceLandmarker, pose
from deid.detection.landmarks import roi_from_box, roi_from_landmarks

PAIRS = ((33, 263), (133, 362), (127, 356), (234, 454), (93, 323), (98, 327), (54, 284), (103, 332), (67, 297))
MIDDLE = (10, 151, 9, 168, 6, 197, 195, 5, 4)
RIGID = [*sum(PAIRS, ()), *MIDDLE]
BINS = ((14, 20), (20, 32), (32, 64), (64, 100_000))
THRESHOLDS = (0.1, 0.5, 0.9, 0.99)


def upright_meshes(folder: Path, limit: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Meshes (n, 478, 3) and CenterFace's boxes (n, 4) of portraits turned upright by the eye line."""
    detector, meshes, boxes = CenterFace(), [], []
    with FaceLandmarker() as landmarker:
        for path in sorted(folder.glob("*.jpg"))[:limit]:
            bgr = imaging.imread(str(path))
            side = bgr.shape[1]
            found = detector.detect(bgr, scale=288 / side)
            if not found:
                continue
            roi = roi_from_box(max(found, key=lambda d: d.box[3] - d.box[1]).box)
            for _ in range(2):
                face = landmarker.run(bgr, roi)
                roi = roi_from_landmarks(face.points)
            c, s = np.cos(roi.roll), np.sin(roi.roll)
            turn = np.array([[c, s], [-s, c]])
            shift = np.array([roi.cx, roi.cy]) - turn @ [roi.cx, roi.cy]
            upright = imaging.warp_affine(
                bgr, np.column_stack([turn, shift]), bgr.shape[1::-1], borderMode=imaging.BORDER_REPLICATE
            )
            points = face.points.astype(np.float64)
            points[:, :2] = points[:, :2] @ turn.T + shift
            nose = points[1, :2]
            around = [
                d.box
                for d in detector.detect(upright, scale=288 / side)
                if (d.box[:2] < nose).all() and (d.box[2:] > nose).all()
            ]
            if around:
                meshes.append(points)
                boxes.append(around[0])
    return np.array(meshes), np.array(boxes)


def fit(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, float]:
    """Rotation and scale that lay ``source`` over ``target``, both centred (Kabsch, Umeyama)."""
    u, s, vt = np.linalg.svd(target.T @ source)
    sign = np.array([1, 1, np.sign(np.linalg.det(u @ vt))])
    return (u * sign) @ vt, float((s * sign).sum() / (source**2).sum())


def mean_head(meshes: np.ndarray) -> np.ndarray:
    """Rigid points of the mean head, (27, 3), in outer eye distances, unpitched."""
    heads = meshes[:, RIGID] - meshes[:, RIGID].mean(axis=1, keepdims=True)
    mirror = [*sum(((b, a) for a, b in zip(range(0, 18, 2), range(1, 18, 2), strict=True)), ()), *range(18, 27)]
    mean = heads[np.abs(heads[:, 6, 2] - heads[:, 7, 2]).argmin()]  # the most frontal one to begin with
    for _ in range(20):
        laid = [scale * head @ rotation.T for head in heads for rotation, scale in [fit(head, mean)]]
        mean = np.mean(laid, axis=0)
        mean = (mean + mean[mirror] * [-1, 1, 1]) / 2
        mean -= mean.mean(axis=0)
        mean /= np.linalg.norm(mean[0] - mean[1])
    rotations = np.array([fit(mean, head)[0] for head in heads])
    pitch = np.median(np.arctan2(rotations[:, 2, 1], rotations[:, 2, 2]))
    c, s = np.cos(pitch), np.sin(pitch)
    return mean @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]]).T


def report_constants(meshes: np.ndarray, boxes: np.ndarray) -> None:
    head = mean_head(meshes)
    head -= head[[0, 1]].mean(axis=0) - pose._RIGID[:2, 1:].mean(axis=0)
    print(f"{len(meshes)} portraits\n\nrigid points, x y z in outer eye distances:")
    for index, (x, y, z) in zip(RIGID, head, strict=True):
        print(f"    ({index}, {x:.3f}, {y:.3f}, {z:.3f}),")
    now = pose.MEAN_HEAD - pose.MEAN_HEAD.mean(axis=0)
    print(f"furthest from those in pose.py: {np.abs(head - head.mean(axis=0) - now).max():.3f}\n")
    low, high = meshes[..., :2].min(axis=1), meshes[..., :2].max(axis=1)
    extent, size = high - low, boxes[:, 2:] - boxes[:, :2]
    rise = ((low + high) / 2 - (boxes[:, :2] + boxes[:, 2:]) / 2)[:, 1] / extent[:, 1]
    print("| box over mesh | 5 % | median | 95 % | in pose.py |\n|---|---|---|---|---|")
    for name, values, used in (
        ("width", size[:, 0] / extent[:, 0], pose.BOX_WIDTH),
        ("height", size[:, 1] / extent[:, 1], pose.BOX_HEIGHT),
        ("rise", rise, pose.BOX_RISE),
    ):
        print(f"| {name} | " + " | ".join(f"{v:.3f}" for v in np.percentile(values, [5, 50, 95])) + f" | {used} |")


def presences(folder: Path, limit: int | None) -> tuple[np.ndarray, np.ndarray, float]:
    """Height and presence (n, 2) of annotated faces, of other places, and milliseconds a look."""
    random, faces, others, seconds, looks = np.random.default_rng(0), [], [], 0.0, 0
    with FaceLandmarker() as landmarker:
        for path, truth in list(crowds(folder))[:limit]:
            bgr = imaging.imread(str(path))
            height, width = bgr.shape[:2]
            squares = []
            for _ in range(12):
                side = random.uniform(16, 150)
                corner = random.uniform(0, [width - side, height - side])
                grown = np.concatenate([corner - side / 2, corner + 1.5 * side])
                clear = (np.minimum(grown[2:], truth[:, 2:]) <= np.maximum(grown[:2], truth[:, :2])).any(axis=1).all()
                if clear:
                    squares.append(np.concatenate([corner, corner + side]))
            for boxes, scores in ((truth, faces), (squares, others)):
                for box in boxes:
                    started = time.perf_counter()
                    face = landmarker.run(bgr, roi_from_box(box))
                    seconds, looks = seconds + time.perf_counter() - started, looks + 1
                    if face is not None:
                        scores.append((box[3] - box[1], face.presence))
    return np.array(faces), np.array(others), 1000 * seconds / looks


def report_presence(faces: np.ndarray, others: np.ndarray, ms: float) -> None:
    print(f"\npresence of at least, share of {len(faces)} faces and {len(others)} other places; {ms:.1f} ms a look\n")
    print("| | " + " | ".join(f"{t}" for t in THRESHOLDS) + " |\n|---" + "|---" * len(THRESHOLDS) + "|")
    for low, high in BINS:
        for name, scores in (("faces", faces), ("others", others)):
            inside = scores[(scores[:, 0] >= low) & (scores[:, 0] < high), 1]
            shares = " | ".join(f"{(inside >= t).mean():.3f}" for t in THRESHOLDS)
            print(f"| {name} {low}{f'-{high}' if high < 10_000 else '+'} px ({len(inside)}) | {shares} |")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path(__file__).resolve().parents[1].parent / "shared")
    parser.add_argument("--limit", type=int, help="only so many pictures of each kind")
    options = parser.parse_args()
    report_constants(*upright_meshes(options.shared / "data" / "portraits", options.limit))
    report_presence(*presences(options.shared / "photos" / "crowds", options.limit))
    return 0


if __name__ == "__main__":
    sys.exit(main())
