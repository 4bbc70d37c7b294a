"""MediaPipe meshes with known truth: the face model posed and projected, with noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deid.models.morphable import face_points, turned
from deid.models.morphable.codes import Camera
from deid.models.morphable.fit_basis import fit_basis, surface_points
from deid.models.morphable.gaze import eyeballs
from deid.models.morphable.geometry import Geometry, load_geometry
from deid.models.morphable.tracks import Observations
from deid.training.labels import irises


@dataclass
class Truth:
    """``expression`` (n, E), ``gaze`` (n, 2, 2), ``angles`` (n, 3) yaw, pitch, roll in degrees."""

    shape: np.ndarray
    expression: np.ndarray
    gaze: np.ndarray
    angles: np.ndarray
    cameras: list[Camera]


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Degrees, as ``AttributeTrack.yaw_pitch_roll`` reads them for small angles: roll after pitch after yaw."""
    y, p, r = np.radians([yaw, pitch, roll])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    about_z = np.array([[np.cos(r), np.sin(r), 0], [-np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def person(geometry: Geometry, rng: np.random.Generator, spread: float = 0.7) -> np.ndarray:
    shape = np.clip(rng.normal(0, spread, len(geometry.identity)), -1.5, 1.5)
    return shape.astype(np.float32)


def still(geometry: Geometry, n: int, shape: np.ndarray, distance: float = 90.0, scale: float = 14.0) -> Truth:
    """A head that does nothing in ``n`` frames, to be changed by the test before :func:`observe`."""
    cameras = [Camera(np.eye(3), scale, np.array([320.0, 240.0]), distance) for _ in range(n)]
    expression = np.zeros((n, len(geometry.expression_names)), np.float32)
    return Truth(shape, expression, np.zeros((n, 2, 2), np.float32), np.zeros((n, 3)), cameras)


def turn(truth: Truth, angles: np.ndarray) -> None:
    """Give the cameras these ``angles`` (n, 3), keeping the face's middle where it is."""
    truth.angles = angles
    for i, (yaw, pitch, roll) in enumerate(angles):
        old, turned = truth.cameras[i], rotation(yaw, pitch, roll)
        middle = turned @ [0.0, 0.0, 9.0]
        place = np.array([320.0, 240.0]) - old.scale * middle[:2] * (1, -1)
        truth.cameras[i] = Camera(turned, old.scale, place, old.distance)


def act(truth: Truth, geometry: Geometry, **weights: np.ndarray | float) -> None:
    for name, values in weights.items():
        truth.expression[:, geometry.expression_names.index(name)] = values


def observe(
    geometry: Geometry, truth: Truth, rng: np.random.Generator, noise: float = 0.25, frames: np.ndarray | None = None
) -> Observations:
    """What MediaPipe would see, with ``noise`` pixels of error in each point."""
    neutral, basis = geometry.neutral(truth.shape), fit_basis(geometry)
    offset = basis.mean - surface_points(geometry, geometry.vertices)
    otherwise = basis.seen - basis.expression
    centres, radii = eyeballs(geometry, truth.shape)
    n = len(truth.expression)
    points = np.empty((n, 478, 3), np.float32)
    for i, camera in enumerate(truth.cameras):
        posed = geometry.pose(neutral, truth.expression[i], truth.gaze[i])
        surface = surface_points(geometry, posed) + offset + np.tensordot(truth.expression[i], otherwise, 1)
        irises = np.empty((10, 3))
        for eye in range(2):
            left, up = truth.gaze[i, eye]
            sight = np.array([np.sin(left) * np.cos(up), np.sin(up), np.cos(left) * np.cos(up)])
            irises[face_points.IRISES[eye] - 468] = centres[eye] + radii[eye] * sight
        seen = camera.project(np.concatenate([surface, irises]).astype(np.float64))
        seen[:, 2] *= -camera.scale
        points[i] = seen + rng.normal(0, noise, seen.shape) * (1, 1, 4)
    points[:, :468] += turned.astray(points)
    at = np.arange(n, dtype=np.int32) if frames is None else frames.astype(np.int32)
    return Observations(at, points, np.ones(n, np.float32), (640, 480))


def mesh_at(x: float, y: float, height: float) -> np.ndarray:
    """float32 (478, 3): the mean face from the front, ``height`` pixels tall, its middle at ``x``, ``y``."""
    geometry = load_geometry()
    whole = geometry.neutral(np.zeros(len(geometry.identity), np.float32))
    vertices = geometry.pose(whole, np.zeros(len(geometry.expression)), np.zeros((2, 2), np.float32))
    mesh = np.concatenate([surface_points(geometry, vertices), irises(geometry, vertices)]) * (1, -1, -1)
    low, high = mesh[:468].min(axis=0), mesh[:468].max(axis=0)
    placed = (mesh - (low + high) / 2) * (height / (high[1] - low[1])) + (x, y, 0)
    return np.asarray(placed, np.float32)
