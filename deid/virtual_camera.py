"""Video from photographs: prints on a wall, and a virtual camera that moves over them.

What comes out is exactly known: every frame's camera, and so every face's place. The demo and the benchmarks film
with it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deid import imaging
from deid.errors import ModelError


@dataclass(frozen=True, slots=True)
class Photograph:
    """A public-domain portrait that ships inside a package. ``face``: ``x0 y0 x1 y1`` of the face in its pixels."""

    package: str
    path: str
    face: tuple[float, float, float, float]
    credit: str

    def read(self) -> np.ndarray:
        """H x W x 3 uint8, BGR. Raises :class:`~deid.errors.ModelError` when the package lacks the file."""
        found = importlib.util.find_spec(self.package)
        picture = None
        if found is not None and found.origin is not None:
            picture = imaging.imread(str(Path(found.origin).parent / self.path))
        if picture is None:
            raise ModelError(f"the {self.package} package lacks {self.path}; install it again with pip.")
        return picture


HOPPER = Photograph(
    "matplotlib", "mpl-data/sample_data/grace_hopper.jpg", (165, 110, 345, 335), "Grace Hopper, US Navy, public domain"
)
COLLINS = Photograph("skimage", "data/astronaut.png", (176, 45, 274, 190), "Eileen Collins, NASA, public domain")

_GAP = 120
_BORDER = 10


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """Prints on a wall. ``canvas``: H x W x 3 uint8, BGR, the picture of the wall. Places on the wall are measured in
    its pixels from the upper left corner of the first print, which is at ``(margin, margin)`` of the canvas.
    ``faces``: float64 (n, 4), ``x0 y0 x1 y1`` on the wall."""

    canvas: np.ndarray
    margin: int
    faces: np.ndarray


@dataclass(frozen=True, slots=True)
class Pose:
    """Where the camera looks: centre ``x, y`` and ``height`` of the view on the wall, ``roll`` in degrees, clockwise
    positive as seen in the picture, at ``time`` in seconds of the shot."""

    time: float
    x: float
    y: float
    height: float
    roll: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class ShotPlan:
    """``frames`` pictures of ``scene`` along ``poses`` (by increasing time)."""

    scene: Scene
    poses: tuple[Pose, ...]
    frames: int


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One rendered frame: ``pixels`` H x W x 3 uint8, BGR; ``faces`` float64 (n, 4), the upright boxes around the
    faces in its pixels, parts outside the picture included."""

    pixels: np.ndarray
    faces: np.ndarray


def hang(photographs: Sequence[Photograph], *, rows: int = 1, margin: int = 400, seed: int = 1) -> Scene:
    """Hang prints on a wall, in ``rows`` rows with ``margin`` pixels of wall around them; ``seed`` makes its grain."""
    pictures = [photograph.read() for photograph in photographs]
    columns = -(-len(pictures) // rows)
    cell_w = max(picture.shape[1] for picture in pictures) + _GAP
    cell_h = max(picture.shape[0] for picture in pictures) + _GAP
    canvas = _wall(rows * cell_h - _GAP + 2 * margin, columns * cell_w - _GAP + 2 * margin, seed)
    faces = []
    for number, (photograph, picture) in enumerate(zip(photographs, pictures, strict=True)):
        x, y = (number % columns) * cell_w, (number // columns) * cell_h
        _hang_one(canvas, picture, margin + x, margin + y)
        faces.append(np.array(photograph.face) + (x, y, x, y))
    return Scene(canvas, margin, np.array(faces, np.float64))


def _wall(height: int, width: int, seed: int) -> np.ndarray:
    """Painted plaster: a warm grey, lit from the upper left, with soft grain at two scales."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    light = 1.05 - 0.3 * (x / width + y / height) / 2
    fine = imaging.gaussian_blur(rng.standard_normal((height, width)).astype(np.float32), (0, 0), 1.5)
    coarse = imaging.gaussian_blur(rng.standard_normal((height, width)).astype(np.float32), (0, 0), 25)
    grain = 4 * fine / fine.std() + 3 * coarse / coarse.std()
    paint = np.array((176, 186, 192), np.float32)
    return np.clip(light[..., None] * paint + grain[..., None], 0, 255).astype(np.uint8)


def _hang_one(canvas: np.ndarray, picture: np.ndarray, x: int, y: int) -> None:
    height, width = picture.shape[:2]
    shadow = np.zeros(canvas.shape[:2], np.float32)
    shadow[y - _BORDER + 8 : y + height + _BORDER + 14, x - _BORDER + 6 : x + width + _BORDER + 12] = 1
    shadow = imaging.gaussian_blur(shadow, (0, 0), 9)
    canvas[:] = np.rint(canvas * (1 - 0.45 * shadow[..., None])).astype(np.uint8)
    canvas[y - _BORDER : y + height + _BORDER, x - _BORDER : x + width + _BORDER] = (236, 240, 242)
    canvas[y : y + height, x : x + width] = picture


def film(shots: Sequence[ShotPlan], *, width: int, height: int, fps: float) -> Iterator[Picture]:
    """Render the shots one after another, sub-pixel exact; a cut stands between each two."""
    for shot in shots:
        canvas, scale = _prescaled(shot, height)
        for number in range(shot.frames):
            pose = pose_at(shot.poses, number / fps)
            frame_from_wall = camera_matrix(pose, width, height)
            matrix = frame_from_wall.copy()
            matrix[:, :2] /= scale
            # wall = canvas - margin, and canvas = (small + 0.5) / scale - 0.5
            matrix[:, 2] += frame_from_wall[:, :2] @ (0.5 / scale - 0.5 - shot.scene.margin)
            pixels = imaging.warp_affine(
                canvas, matrix, (width, height), flags=imaging.INTER_LANCZOS4, borderMode=imaging.BORDER_REPLICATE
            )
            yield Picture(pixels, project(shot.scene.faces, frame_from_wall))


def _prescaled(shot: ShotPlan, height: int) -> tuple[np.ndarray, np.ndarray]:
    """The canvas, area-averaged where the camera would shrink it (Lanczos alone would alias), and its scale in x, y."""
    canvas = shot.scene.canvas
    scale = min(1.0, max(height / pose.height for pose in shot.poses))
    size = np.array(canvas.shape[1::-1])
    small = np.rint(size * scale).astype(int)
    if scale < 1:
        canvas = imaging.resize(canvas, small.tolist(), interpolation=imaging.INTER_AREA)
    return canvas, small / size


def pose_at(poses: Sequence[Pose], time: float) -> Pose:
    """The camera at ``time``: eased between key poses (it starts and stops softly), with a hand's slight sway."""
    times = [pose.time for pose in poses]
    right = min(max(int(np.searchsorted(times, time, side="right")), 1), len(poses) - 1)
    a, b = poses[right - 1], poses[right]
    t = min(max((time - a.time) / (b.time - a.time), 0.0), 1.0)
    eased = t * t * t * (t * (6 * t - 15) + 10)
    x, y, roll = (p + eased * (q - p) for p, q in ((a.x, b.x), (a.y, b.y), (a.roll, b.roll)))
    # zooming is even when the logarithm of the view's size moves evenly
    size = a.height * (b.height / a.height) ** eased
    sway = 0.004 * size
    x += sway * (np.sin(2 * np.pi * 0.63 * time) + 0.5 * np.sin(2 * np.pi * 1.37 * time + 1))
    y += sway * (np.sin(2 * np.pi * 0.51 * time + 2) + 0.5 * np.sin(2 * np.pi * 1.19 * time))
    return Pose(time, float(x), float(y), float(size), float(roll + 0.25 * np.sin(2 * np.pi * 0.4 * time)))


def camera_matrix(pose: Pose, width: int, height: int) -> np.ndarray:
    """``frame_from_wall``, 2 x 3 float64, for a picture of ``width`` x ``height``."""
    scale = height / pose.height
    angle = np.deg2rad(pose.roll)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    return np.column_stack([turn, middle - turn @ np.array([pose.x, pose.y])])


def project(boxes: np.ndarray, frame_from_wall: np.ndarray) -> np.ndarray:
    """Upright boxes, float64 (n, 4), around ``boxes`` (n, 4) after the transform."""
    corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)
    moved = corners @ frame_from_wall[:, :2].T + frame_from_wall[:, 2]
    return np.concatenate([moved.min(1), moved.max(1)], axis=1)
