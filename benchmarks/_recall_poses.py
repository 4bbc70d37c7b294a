"""How far faces are turned, as a landmark model reads it off the labelled place."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deid import imaging
from deid.detection.landmarks import FaceLandmarker, FaceLandmarks, roi_from_box

POSES = {"frontal": (0.0, 20.0), "half": (20.0, 45.0), "profile": (45.0, 181.0)}
UNREAD = "pose not read"
_LEAST_HEIGHT = 16.0  # pixels
_ENLARGED = 96.0  # pixels of a face's height in the picture that the model is shown
_SURE = 0.5


def pose_name(yaw: float) -> str:
    """The class of an angle in degrees, to either side."""
    return next(name for name, (low, high) in POSES.items() if low <= abs(yaw) < high)


def mesh_at(landmarker: FaceLandmarker, bgr: np.ndarray, box: np.ndarray) -> FaceLandmarks | None:
    """The mesh of a face in ``box``, ``x0 y0 x1 y1``, small ones enlarged first, in pixels of what was shown; ``None``
    where the model is not sure that there is one, or the face is too small."""
    height = float(box[3] - box[1])
    if height < _LEAST_HEIGHT:
        return None
    factor = max(1.0, _ENLARGED / height)
    middle, reach = (box[:2] + box[2:]) / 2, 1.6 * max(height, float(box[2] - box[0]))
    x0, y0 = (max(0, int(v - reach)) for v in middle)
    x1, y1 = (int(min(v + reach, n)) for v, n in zip(middle, bgr.shape[1::-1], strict=True))
    if x1 - x0 < 4 or y1 - y0 < 4:
        return None
    part = np.ascontiguousarray(bgr[y0:y1, x0:x1])
    size = round((x1 - x0) * factor), round((y1 - y0) * factor)
    shown = part if factor == 1 else imaging.resize(part, size, interpolation=imaging.INTER_CUBIC)
    seen = landmarker.run(shown, roi_from_box((box - (x0, y0, x0, y0)) * factor))
    return seen if seen is not None and seen.presence > _SURE else None


def poses_of(pictures: list[tuple[np.ndarray, np.ndarray]]) -> list[list[str]]:
    """For each (picture, boxes (n, 4)) the class of every face."""
    found = []
    with FaceLandmarker() as landmarker:
        for bgr, boxes in pictures:
            meshes = [mesh_at(landmarker, bgr, box) for box in boxes]
            found.append([UNREAD if mesh is None else pose_name(mesh.yaw) for mesh in meshes])
    return found


def clips_in(folder: Path) -> list[Path]:
    """Videos of a folder, by name."""
    known = {".mp4", ".mkv", ".avi", ".mov", ".webm", ".gif", ".m4v"}
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in known)
