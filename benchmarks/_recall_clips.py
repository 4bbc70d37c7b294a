"""What a run covers in clips, beside CenterFace on the same frames: recall by size and pose, and cost, by effort."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from _recall_poses import mesh_at, pose_name
from plan_coverage import is_covered

from deid.config import RunConfig
from deid.detection import CenterFace, FaceLandmarker, Mtcnn
from deid.detection.boxes import iou, nms
from deid.media import Reader
from deid.media.convert import bgr
from deid.pipeline import analyse, make_plan
from deid.progress import QuietProgress
from deid.redaction import Region

EFFORTS = ("fast", "balanced", "thorough")
OVERLAP = 0.3
BASELINE = "CenterFace on this very frame"


@dataclass(frozen=True, slots=True)
class Face:
    """A face that is there: its height in pixels, the class of its pose, and who has it covered."""

    height: float
    pose: str
    covered: dict[str, bool]


@dataclass(frozen=True, slots=True)
class Watched:
    """``cost``: processor seconds of a run's analysis, a second of the clip, by effort."""

    faces: list[Face]
    cost: dict[str, float]


def watch(path: Path, seconds: float, every: int) -> Watched:
    """``every``-th frame of the first ``seconds`` of a clip."""
    regions, cost = {}, {}
    for effort in EFFORTS:
        config = RunConfig(detect=effort, end=seconds, threads=1, engine="blur")
        started = time.process_time()
        analysis, times = analyse(path, config, QuietProgress())
        cost[effort] = (time.process_time() - started) / max(float(times[-1] - times[0]), 1e-3)
        regions[effort] = make_plan(analysis, config).regions
    faces, search = [], _Search()
    with Reader(path, end=seconds) as reader:
        for frame in reader:
            if frame.index % every == 0:
                here = {effort: regions[effort].get(frame.index, []) for effort in EFFORTS}
                faces += search(bgr(frame), here)
    search.close()
    return Watched(faces, cost)


class _Search:
    """Every face that CenterFace, at its own or at double size, or MTCNN finds, where the landmark model confirms it.
    None of these looks at what a run found."""

    def __init__(self) -> None:
        self._centerface, self._mtcnn, self._landmarker = CenterFace(threads=1), Mtcnn(threads=1), FaceLandmarker()

    def __call__(self, picture: np.ndarray, regions: dict[str, list[Region]]) -> list[Face]:
        native = self._centerface.detect(picture)
        found = [*native, *self._centerface.detect(picture, scale=2), *self._mtcnn.detect(picture)]
        if not found:
            return []
        keep = nms(np.array([d.box for d in found]), np.array([d.score for d in found]), OVERLAP)
        baseline = np.array([d.box for d in native]).reshape(-1, 4)
        out = []
        for box in (found[i].box for i in keep):
            mesh = mesh_at(self._landmarker, picture, box)
            if mesh is not None:
                covered = {name: is_covered(box, here) for name, here in regions.items()}
                covered[BASELINE] = bool((iou(box[None], baseline) >= OVERLAP).any())
                out.append(Face(float(box[3] - box[1]), pose_name(mesh.yaw), covered))
        return out

    def close(self) -> None:
        self._landmarker.close()
