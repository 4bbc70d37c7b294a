"""The fictional talker is rendered as it is told, and what is said of it is true."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deid import puppet
from deid.detection.pose import head_pose
from deid.models.morphable.codes import head_rotation
from deid.models.morphable.fit_basis import surface_points
from deid.models.morphable.geometry import load_geometry


def test_acting_is_repeatable_bounded_and_alive() -> None:
    geometry = load_geometry()
    one, two = (puppet.act(geometry, 250, 25, 640, 480, seed=3) for _ in range(2))
    weights = np.stack([t.expression for t in one])
    assert all((a.expression == b.expression).all() and a.angles == b.angles for a, b in zip(one, two, strict=True))
    assert weights.min() >= 0 and weights.max() <= 1
    names = geometry.expression_names
    assert (weights[:, names.index("eyeBlink_L")] > 0.9).sum() >= 4  # it blinks
    assert weights[:, names.index("jawOpen")].std() > 0.05  # it talks
    left, right = (weights[:, names.index(f"mouthSmile_{side}")].max() for side in "LR")
    assert left > right + 0.3  # it smiles on one side
    assert np.ptp([t.angles[0] for t in one]) > 20


@settings(max_examples=40, deadline=None)
@given(yaw=st.floats(-40, 40), pitch=st.floats(-25, 25), roll=st.floats(-30, 30))
def test_rotations_mean_what_poses_mean(yaw: float, pitch: float, roll: float) -> None:
    rotation = head_rotation(yaw, pitch, roll)
    assert np.allclose(rotation @ rotation.T, np.eye(3)) and np.linalg.det(rotation) == pytest.approx(1)
    geometry = load_geometry()
    still = surface_points(geometry, geometry.vertices)
    turned = still @ rotation.T
    seen = np.zeros((478, 3))
    seen[:468] = turned * (10, -10, -10)
    seen[468:] = seen[0]
    rest = np.zeros((478, 3))
    rest[:468] = still * (10, -10, -10)
    rest[468:] = rest[0]
    found, zero = head_pose(seen), head_pose(rest)
    assert found[1] - zero[1] == pytest.approx(yaw, abs=4)
    assert found[2] - zero[2] == pytest.approx(pitch, abs=4)
    assert np.degrees(found[0] - zero[0]) == pytest.approx(roll, abs=4)


def test_pictures_and_truth_go_together(tmp_path) -> None:
    made = list(puppet.film(2, 25, 160, 120))
    assert all(p.shape == (120, 160, 3) and p.dtype == np.uint8 for p, _ in made)
    path = tmp_path / "truth.json"
    puppet.write_truth(path, load_geometry(), [t for _, t in made])
    said = json.loads(path.read_text())
    assert len(said["frames"]) == 2 and len(said["frames"][0]["expression"]) == len(said["expression_names"])
    x0, y0, x1, y1 = puppet.face_box(made[0][1])[0]
    assert 0 < x0 < x1 < 160 and y0 < y1
