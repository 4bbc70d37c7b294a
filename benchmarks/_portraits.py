"""Portraits with their face meshes and boxes, for the scripts beside this one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from deid import imaging
from deid.detection.centerface import CenterFace
from deid.detection.landmarks import FaceLandmarker, roi_from_box
from deid.types import Detection, Frame, PixelFormat

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data" / "portraits"
FULL_COLOUR = PixelFormat("yuv444p", 8, (0, 0), True, "bt601")
# MediaPipe's FACE_OVAL, in order around the face.
OVAL = [10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377]
OVAL += [152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109]
_YCC = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32)
_RGB = np.linalg.inv(_YCC)


@dataclass(frozen=True, slots=True, eq=False)
class Portrait:
    """``picture``: uint8 (H, W, 3) RGB. ``mesh``: float32 (478, 3). ``box``: ``cx cy w h roll``. ``detection``: what
    the search found at a quarter of the size, in pixels of the whole picture."""

    name: str
    picture: np.ndarray
    mesh: np.ndarray
    box: np.ndarray
    detection: Detection


def portraits(folder: Path, count: int | None = None) -> Iterator[Portrait]:
    """``count`` portraits spread evenly over the folder, or all; those without exactly one clear face are left out."""
    paths = sorted(folder.glob("*.jpg"))
    if not paths:
        raise SystemExit(f"no portraits in {folder}: name their folder with --portraits")
    if count is not None and count < len(paths):
        paths = [paths[i] for i in np.linspace(0, len(paths) - 1, count).astype(int)]
    search = CenterFace()
    with FaceLandmarker() as landmarker:
        for path in paths:
            bgr = imaging.imread(str(path))
            found = [d for d in search.detect(bgr, scale=0.25) if d.score > 0.5]
            mesh = landmarker.run(bgr, roi_from_box(found[0].box)) if len(found) == 1 else None
            if mesh is not None and mesh.presence > 0.5:
                rgb = np.ascontiguousarray(bgr[..., ::-1])
                yield Portrait(path.name, rgb, mesh.points, mesh.box, found[0])


def frame_from_rgb(picture: np.ndarray) -> Frame:
    """uint8 (H, W, 3) as a frame in 4:4:4, so that no chroma is lost before the attack begins."""
    ycc = picture.astype(np.float32) @ _YCC.T + np.float32([0, 128, 128])
    planes = np.clip(np.rint(ycc), 0, 255).astype(np.uint8)
    y, cb, cr = (np.ascontiguousarray(planes[..., i]) for i in range(3))
    return Frame(0, 0, Fraction(1, 25), None, (y, cb, cr), FULL_COLOUR)


def rgb_from_frame(frame: Frame) -> np.ndarray:
    """The inverse of :func:`frame_from_rgb`."""
    ycc = np.dstack(frame.planes).astype(np.float32) - np.float32([0, 128, 128])
    return np.clip(np.rint(ycc @ _RGB.T), 0, 255).astype(np.uint8)
