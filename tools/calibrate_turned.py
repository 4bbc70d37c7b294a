"""How the landmark model errs about heads that are turned: where its mesh lies beside the face, by pose.

    python tools/calibrate_turned.py

Points on the far side of a turned head slide along its outline, and a nose is read nearer to the cheek than it is: a
fit that believes them takes the head for turned, tilted and rolled otherwise, and its face for one-sided. This script
renders fictional people, with hair and backdrops, in known poses, reads the meshes off the pictures, and fits by least
squares how far mesh points lie from where they are, beyond what each person's lie off from the front: polynomials of
the pose that the mesh itself shows, alike on both sides. No photograph takes part. Run it again when the geometry
changes.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from deid.detection.landmarks import FaceLandmarker, roi_from_landmarks
from deid.models.morphable import fit_basis, turned
from deid.models.morphable.codes import Camera, head_rotation
from deid.models.morphable.fit_basis import surface_points
from deid.training.faces import Studio
from deid.training.scene import How, draw_how, draw_who

PEOPLE, POSES, HELD_OUT = 64, 36, 8
SIZE = 320
SEED = 5_200
YAW, PITCH, ROLL = 64.0, 26.0, 6.0  # degrees, at most
FRONT = (14.0, 12.0)  # yaw and pitch up to which a head is seen from the front
PRESENCE = 0.7
RIDGE = 3.0  # pictures' worth of evidence for no error at all


class Turning(Studio):
    """A studio with heads anywhere in the picture."""

    def __init__(self, size: int, rng: np.random.Generator) -> None:
        super().__init__(size)
        self.rng, self.camera = rng, Camera(np.eye(3), 1.0, np.zeros(2), np.inf)

    def _framed(self, vertices: np.ndarray, how: How) -> tuple[Camera, np.ndarray]:
        rng, size = self.rng, self.size
        place = np.array([size * 0.5, size * 0.47]) + rng.normal(0, 4, 2)
        turn = head_rotation(how.yaw, how.pitch, float(rng.uniform(-ROLL, ROLL)))
        self.camera = Camera(turn, size / rng.uniform(30, 40), place, rng.uniform(55, 140))
        return self.camera, np.zeros((478, 3), np.float32)


def watch(studio: Turning, landmarker: FaceLandmarker) -> tuple[np.ndarray, np.ndarray]:
    """One person: the poses that meshes show, yaw and pitch (n, 2), and how far they lie off, (n, 468, 3), as
    :func:`.turned.upright` has them, in centimetres; what is the person's own is taken out."""
    geometry, rng = studio.geometry, studio.rng
    who = draw_who(geometry, studio.appearance, rng)
    model = studio.cast(who)
    gaze = np.zeros((2, 2), np.float32)
    poses, errors, own = [], [], []
    for k in range(POSES):
        yaw, pitch = rng.uniform(-YAW, YAW), rng.uniform(-PITCH, PITCH)
        if k < POSES // 5:
            yaw, pitch = rng.uniform(-1, 1, 2) * FRONT
        rest = np.zeros(len(geometry.expression), np.float32)
        how = replace(
            draw_how(geometry, rng, who), expression=rest, yaw=float(yaw), pitch=float(pitch), glasses=0.0,
            gaze=gaze[0],
        )  # fmt: skip
        picture = np.ascontiguousarray(studio.shoot(model, how).pixels[..., :3])
        camera = studio.camera
        truth = camera.project(surface_points(geometry, geometry.pose(model.neutral, rest, gaze)).astype(np.float64))
        start = np.concatenate([truth, np.repeat(truth.mean(axis=0)[None], 10, axis=0)]).astype(np.float32)
        found = landmarker.run(picture, roi_from_landmarks(start), rgb=True)
        found = found and landmarker.run(picture, roi_from_landmarks(found.points), rgb=True)
        if found is None or found.presence < PRESENCE:
            continue
        near = camera.scale / (1 - truth[:, 2].mean() / camera.distance)
        apart = (found.points[:468].astype(np.float64) * (1, 1, -1) - truth * (1, 1, near)) / near
        apart[:, 2] -= apart[:, 2].mean()
        apart *= (1, -1, 1)
        if abs(yaw) < FRONT[0] and abs(pitch) < FRONT[1]:
            own.append(apart @ camera.rotation)
        poses.append((found.yaw, found.pitch))
        errors.append((apart, camera.rotation, np.degrees(found.roll)))
    offset = np.median(own, axis=0)
    offset[:, 2] = 0  # nothing is known of depth
    rest = [(e - offset @ r.T) @ head_rotation(0, 0, roll) for e, r, roll in errors]
    return np.array(poses), np.array(rest)


def fitted(poses: np.ndarray, errors: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """float32 (T, 468, 3): what a unit of each of :func:`.turned.terms` moves. ``mirror``: each point's on the other
    side."""
    other = errors[:, mirror] * (-1, 1, 1)
    x = np.concatenate([turned.terms(*poses.T), turned.terms(-poses[:, 0], poses[:, 1])])
    y = np.concatenate([errors, other]).reshape(len(x), -1)
    out = np.linalg.solve(x.T @ x + RIDGE * np.eye(x.shape[1]), x.T @ y)
    return out.reshape(-1, *errors.shape[1:]).astype(np.float32)


def main() -> None:
    rng = np.random.default_rng(SEED)
    studio = Turning(SIZE, rng)
    poses, errors = [], []
    with FaceLandmarker() as landmarker:
        for person in range(PEOPLE + HELD_OUT):
            own, rest = watch(studio, landmarker)
            poses.append(own)
            errors.append(rest)
            print(f"person {person + 1} of {PEOPLE + HELD_OUT}: {len(own)} pictures", flush=True)
    mean = surface_points(studio.geometry, studio.geometry.vertices)
    mirror = np.argmin(np.linalg.norm(mean[:, None] * (-1, 1, 1) - mean[None], axis=2), axis=1)
    moves = fitted(np.concatenate(poses[:PEOPLE]), np.concatenate(errors[:PEOPLE]), mirror)
    held, rest = np.concatenate(poses[PEOPLE:]), np.concatenate(errors[PEOPLE:])
    left = rest - np.tensordot(turned.terms(*held.T), moves, 1)
    for low, high in ((0, 20), (20, 40), (40, 70)):
        rows = (np.abs(held[:, 0]) >= low) & (np.abs(held[:, 0]) < high)
        was, now = (np.linalg.norm(e[rows][..., :2], axis=2).mean() for e in (rest, left))
        print(f"people held out, yaw {low} to {high}: {was:.3f} cm off, {now:.3f} left")
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(fit_basis.__file__).with_name(turned.PATH.name)
    save_file({"moves": moves}, path)


if __name__ == "__main__":
    main()
