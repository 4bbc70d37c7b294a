"""Meshes of turned heads, put right: nothing from the front, alike on both sides, and nearer to the truth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from meshes import observe, still

from deid.detection.landmarks import FaceLandmarker, roi_from_landmarks
from deid.errors import ModelError
from deid.models.morphable import fit, turned
from deid.models.morphable.codes import Camera
from deid.models.morphable.fit_basis import surface_points
from deid.models.morphable.geometry import Geometry, load_geometry
from deid.models.morphable.tracks import Observations
from deid.training.faces import Studio
from deid.training.scene import How, draw_how, draw_who

SIDE = 256
YAWS = (-48.0, -36.0, -8.0, 0.0, 8.0, 36.0, 48.0)


@pytest.fixture(scope="module")
def geometry() -> Geometry:
    return load_geometry()


def front(geometry: Geometry) -> np.ndarray:
    """(1, 478, 3): a mesh that reads as seen straight from the front."""
    truth = still(geometry, 1, np.zeros(len(geometry.identity), np.float32))
    return observe(geometry, truth, np.random.default_rng(1), noise=0.0).points


def test_from_the_front_hardly_anything_moves(geometry: Geometry) -> None:
    assert not turned.terms(np.zeros(1), np.zeros(1)).any()
    points = front(geometry)
    eyes = np.linalg.norm(points[0, 33, :2] - points[0, 263, :2])
    assert np.abs(turned.astray(points)[..., :2]).max() < 0.02 * eyes


def test_both_sides_are_put_right_alike(geometry: Geometry) -> None:
    mean = surface_points(geometry, geometry.vertices)
    other = np.argmin(np.linalg.norm(mean[:, None] * (-1, 1, 1) - mean[None], axis=2), axis=1)
    yaw, pitch = np.array([40.0, -40.0]), np.array([10.0, 10.0])
    left, right = np.tensordot(turned.terms(yaw, pitch), turned._moves(), 1)
    apart = np.linalg.norm(left[other] * (-1, 1, 1) - right, axis=1)
    assert np.median(apart) < 0.02 and np.linalg.norm(left, axis=1).mean() > 0.05


def test_beyond_what_was_measured_nothing_grows() -> None:
    far = turned.terms(np.array([60.0, 89.0]), np.array([26.0, 70.0]))
    assert np.array_equal(far[0], far[1])


def test_nobody_is_nothing() -> None:
    assert turned.straightened(np.zeros((0, 478, 3), np.float32)).shape == (0, 478, 3)


def test_a_missing_table_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    turned._moves.cache_clear()
    monkeypatch.setattr(turned, "PATH", tmp_path / "none.safetensors")
    with pytest.raises(ModelError, match=r"none.safetensors"):
        turned._moves()
    monkeypatch.undo()
    assert turned._moves().shape == (9, 468, 3)


class Recording(Studio):
    """A studio that tells its last picture's camera."""

    camera: Camera

    def _framed(self, vertices: np.ndarray, how: How) -> tuple[Camera, np.ndarray]:
        self.camera, points = super()._framed(vertices, how)
        return self.camera, points


def test_turned_heads_are_fitted_as_they_are_turned(geometry: Geometry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rendered heads with hair whose pose is known, none of those that the table was made of."""
    studio, rng = Recording(SIDE), np.random.default_rng(77)
    people, truths = [], []
    with FaceLandmarker() as landmarker:
        for _ in range(3):
            who = draw_who(geometry, studio.appearance, rng)
            model, rest = studio.cast(who), np.zeros(len(geometry.expression), np.float32)
            how = replace(draw_how(geometry, rng, who), expression=rest, glasses=0.0, beard=0.0, gaze=rest[:2])
            meshes, turns = [], []
            for yaw in YAWS:
                shot = studio.shoot(model, replace(how, yaw=yaw, pitch=12.0))
                start = ((shot.points + (1, 1, 0)) * (SIDE / 2)).astype(np.float32)
                picture = np.ascontiguousarray(shot.pixels[..., :3])
                seen = landmarker.run(picture, roi_from_landmarks(start), rgb=True)
                assert seen is not None
                meshes.append(seen.points)
                turns.append(studio.camera.rotation)
            frames = np.arange(len(YAWS), dtype=np.int32)
            people.append(Observations(frames, np.stack(meshes), np.ones(len(YAWS), np.float32), (SIDE, SIDE)))
            truths.append(np.stack(turns))

    def missed() -> float:
        """Degrees by which a turned head's pitch and roll, beside the same head's from ahead, are missed on average."""
        out = []
        for seen, truth in zip(people, truths, strict=True):
            who = fit.fit_identity(geometry, seen)
            track = fit.fit_attributes(
                geometry, who.shape, who.distance, seen, offsets=who.offsets, scale=who.scale
            )
            off = track.yaw_pitch_roll() - track.with_values(rotation=truth).yaw_pitch_roll()
            out.append(np.abs(off[[0, 1, 5, 6], 1:] - off[2:5, 1:].mean(axis=0)).mean())
        return float(np.mean(out))

    now = missed()
    monkeypatch.setattr(turned, "_moves", lambda: np.zeros((9, 468, 3)))
    before = missed()
    assert now < 0.75 * before and now < 2.5, (now, before)
