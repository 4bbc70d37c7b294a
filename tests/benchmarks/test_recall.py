"""The arithmetic of benchmarks/recall.py."""

from __future__ import annotations

import _recall_poses as poses
import numpy as np
import pytest
import recall

from deid.detection.landmarks import FaceLandmarker
from deid.types import Detection
from deid.virtual_camera import HOPPER


def detection(*box: float) -> Detection:
    return Detection(np.array(box, np.float32), 0.9, None, "test")


def test_each_detection_counts_for_one_face_and_each_face_once() -> None:
    truth = np.array([[0, 0, 10, 10], [20, 0, 30, 10], [50, 50, 60, 60]], float)
    hit, wrong = recall.found_faces(truth, [detection(0, 0, 10, 9), detection(1, 0, 10, 10), detection(90, 0, 99, 9)])
    assert hit.tolist() == [True, False, False] and wrong == 1
    assert recall.found_faces(truth, [])[0].tolist() == [False] * 3


def test_shares_are_by_height_and_by_pose() -> None:
    heights, of = np.array([10.0, 12, 40, 80]), np.array([poses.UNREAD, poses.UNREAD, "frontal", "profile"])
    found = recall.by_kind(heights, of, np.array([True, False, True, False]))
    assert (found["8-16"], found["32-64"], found["64+"]) == (0.5, 1.0, 0.0)
    assert (found[poses.UNREAD], found["frontal"], found["profile"]) == (0.5, 1.0, 0.0)
    assert np.isnan(found["16-32"]) and np.isnan(found["half"])
    assert sum(recall.numbers_of(heights, of)[k] for k in ("8-16", "16-32", "32-64", "64+")) == 4


@pytest.mark.parametrize(
    ("yaw", "name"), [(0, "frontal"), (-19, "frontal"), (21, "half"), (-44, "half"), (90, "profile")]
)
def test_angles_to_either_side_have_a_class(yaw: float, name: str) -> None:
    assert poses.pose_name(yaw) == name


def test_a_labelled_face_is_read_even_when_small_and_a_wall_is_not() -> None:
    picture = HOPPER.read()
    box = np.array(HOPPER.face)
    small = picture[::8, ::8]
    with FaceLandmarker() as landmarker:
        assert abs(poses.mesh_at(landmarker, picture, box).yaw) < 45
        assert poses.mesh_at(landmarker, np.ascontiguousarray(small), box / 8) is not None
        assert poses.mesh_at(landmarker, np.full_like(picture, 128), box) is None
        assert poses.mesh_at(landmarker, picture, box / 40) is None  # under 16 pixels


def test_a_table_has_a_row_a_detector_and_leaves_out_what_nobody_showed() -> None:
    rows = {"faces": {"a": 3.0}, "one": {"a": 0.5, "b": float("nan")}}
    lines = recall.table(rows).splitlines()
    assert lines[2] == "| faces | 3 |  |" and lines[3] == "| one | 0.50 |  |"
