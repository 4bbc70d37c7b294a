"""What is seen of one face over time, and what is made of it: arrays over the frames of a track."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from deid.models.morphable import face_points
from deid.models.morphable.codes import Camera


@dataclass(frozen=True, slots=True, eq=False)
class Observations:
    """MediaPipe's mesh in ``n`` frames of one track, in order of time.

    ``frames``: int32 (n,), strictly increasing. ``points``: float32 (n, 478, 3), picture pixels, z in the same scale,
    smaller towards the viewer. ``presence``: float32 (n,) in [0, 1]. ``size``: width and height of the picture.
    Raises ``ValueError`` for shapes that do not go together.
    """

    frames: np.ndarray
    points: np.ndarray
    presence: np.ndarray
    size: tuple[int, int]

    def __post_init__(self) -> None:
        n = len(self.frames)
        if self.points.shape != (n, 478, 3) or self.presence.shape != (n,):
            raise ValueError(f"{n} frames, but points {self.points.shape} and presence {self.presence.shape}")
        if n > 1 and np.min(np.diff(self.frames)) <= 0:
            raise ValueError("frames must increase")

    def __len__(self) -> int:
        return len(self.frames)

    def take(self, rows: np.ndarray) -> Observations:
        """Those of ``rows`` (indices or a mask), which must keep the order."""
        return Observations(self.frames[rows], self.points[rows], self.presence[rows], self.size)

    def eye_distance(self) -> np.ndarray:
        """float64 (n,): pixels between the outer corners of the eyes, in three dimensions."""
        left, right = (self.points[:, c].astype(np.float64) for c in face_points.EYE_CORNERS[:, 1])
        return np.linalg.norm(left - right, axis=1)


@dataclass(frozen=True, slots=True, eq=False)
class AttributeTrack:
    """Everything geometric about a face in ``n`` frames, except who it is, and what is needed to judge it.

    ``frames``: int32 (n,). ``rotation``: float64 (n, 3, 3), ``scale``: float64 (n,), ``translation``: float64 (n, 2),
    ``distance``: float64 (n,), as in :class:`~.codes.Camera`. ``expression``: float32 (n, E) in 0..1.2. ``mouth``:
    float32 (n,), gap between the inner lips in centimetres.

    Eyes, the subject's left first. ``aperture``: float32 (n, 2), gap between the lids over the width of the eye;
    ``sight``: float32 (n, 2, 2), angles of each eye by itself; ``facing``: float32 (n, 2) in [0, 1], how well the
    camera sees each. From these, over the whole track: ``openness``: float32 (n, 2), 0 closed, 1 as this person usually
    holds the eye; ``gaze``: float32 (n, 2, 2), angles to the subject's left and up in radians relative to the head.

    ``residual``: float32 (n,), mean distance between the model's mesh points and those seen, in outer eye distances.
    ``presence``: float32 (n,). ``height``: float32 (n,), pixels from hairline to chin as if seen from the front.
    ``outside``: float32 (n,), share of the face's outline beyond the frame's border. ``jump``: float32 (n,), eye
    distances between the head and where its neighbours in time say it is. ``noise``: float32 (n,), pixels, what moves
    at random from frame to frame in the mesh beside the head and the expression.
    """

    frames: np.ndarray
    rotation: np.ndarray
    scale: np.ndarray
    translation: np.ndarray
    distance: np.ndarray
    expression: np.ndarray
    mouth: np.ndarray
    aperture: np.ndarray
    sight: np.ndarray
    facing: np.ndarray
    openness: np.ndarray
    gaze: np.ndarray
    residual: np.ndarray
    presence: np.ndarray
    height: np.ndarray
    outside: np.ndarray
    jump: np.ndarray
    noise: np.ndarray

    def __len__(self) -> int:
        return len(self.frames)

    def camera(self, row: int) -> Camera:
        """The camera of one row."""
        return Camera(self.rotation[row], float(self.scale[row]), self.translation[row], float(self.distance[row]))

    def close_up(self, row: int, points: np.ndarray, scale: float, side: int) -> Camera:
        """The camera of one row at ``scale`` pixels a centimetre, moved so that the mean of ``points``, (n, 3) in head
        space, is in the middle of a picture of ``side`` pixels."""
        camera = Camera(self.rotation[row], scale, np.zeros(2), float(self.distance[row]))
        return replace(camera, translation=np.full(2, side / 2) - camera.project(points)[:, :2].mean(axis=0))

    def yaw_pitch_roll(self) -> np.ndarray:
        """float64 (n, 3), degrees: yaw to the viewer's right, pitch backwards, roll clockwise as seen on screen; roll
        after yaw after pitch, as in :mod:`deid.detection.pose`."""
        r = self.rotation
        yaw = np.arcsin(np.clip(-r[:, 2, 0], -1, 1))
        pitch = np.arctan2(-r[:, 2, 1], r[:, 2, 2])
        roll = np.arctan2(-r[:, 1, 0], r[:, 0, 0])
        return np.degrees(np.stack([yaw, pitch, roll], axis=1))

    def with_values(self, **changes: np.ndarray) -> AttributeTrack:
        """A copy with some arrays replaced."""
        return replace(self, **changes)

    def row_of(self, frame: int) -> int | None:
        """Row of a frame number, or ``None``."""
        row = int(np.searchsorted(self.frames, frame))
        return row if row < len(self.frames) and int(self.frames[row]) == frame else None

    def take(self, rows: np.ndarray | slice) -> AttributeTrack:
        """Those of ``rows`` (indices, a mask or a slice), which must keep the order."""
        return AttributeTrack(*(getattr(self, name)[rows] for name in AttributeTrack.__slots__))

    @staticmethod
    def joined(parts: Sequence[AttributeTrack]) -> AttributeTrack:
        """Parts of one track, one after the other; at least one."""
        return AttributeTrack(
            *(np.concatenate([getattr(part, name) for part in parts]) for name in AttributeTrack.__slots__)
        )


def evenly(rows: np.ndarray, count: int) -> np.ndarray:
    """Up to ``count`` of ``rows``, (n,) with n at least 1, evenly spread over them, the first and the last among
    them."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int))]
