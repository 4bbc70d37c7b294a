"""The virtual camera is exact, and the demo makes what it says."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deid import demo, imaging
from deid.errors import ModelError, OutputError, OutputExists
from deid.virtual_camera import (
    COLLINS,
    HOPPER,
    Photograph,
    Pose,
    Scene,
    ShotPlan,
    camera_matrix,
    film,
    hang,
    pose_at,
    project,
)


def test_photographs_ship_with_their_packages() -> None:
    for photograph in (HOPPER, COLLINS):
        picture = photograph.read()
        x0, y0, x1, y1 = photograph.face
        assert picture.dtype == np.uint8 and picture.shape[2] == 3
        assert 0 <= x0 < x1 <= picture.shape[1] and 0 <= y0 < y1 <= picture.shape[0]
        # skin: red above green above blue (pictures are BGR)
        b, g, r = picture[int(y0) + 30 : int(y1) - 30, int(x0) + 30 : int(x1) - 30].mean((0, 1))
        assert r > g > b


def test_a_missing_photograph_names_the_package() -> None:
    with pytest.raises(ModelError, match="skimage package lacks"):
        Photograph("skimage", "data/nobody.png", (0, 0, 1, 1), "").read()


poses = st.builds(
    Pose, st.just(0.0), st.floats(-500, 900), st.floats(-500, 900), st.floats(50, 3000), st.floats(-180, 180)
)


@given(poses, st.sampled_from([(1280, 720), (512, 512), (320, 576)]))
def test_the_camera_centres_scales_and_rolls(pose: Pose, size: tuple[int, int]) -> None:
    width, height = size
    matrix = camera_matrix(pose, width, height)
    centre = matrix @ (pose.x, pose.y, 1)
    assert centre == pytest.approx(((width - 1) / 2, (height - 1) / 2), abs=1e-6)
    right = matrix[:, :2] @ (1, 0)
    assert np.hypot(*right) == pytest.approx(height / pose.height)
    expected = np.deg2rad(pose.roll)
    assert np.angle(np.exp(1j * (np.arctan2(right[1], right[0]) - expected))) == pytest.approx(0, abs=1e-9)


@given(poses)
def test_projected_boxes_hold_their_corners(pose: Pose) -> None:
    matrix = camera_matrix(pose, 640, 360)
    box = np.array([[10.0, 20.0, 110.0, 170.0]])
    x0, y0, x1, y1 = project(box, matrix)[0]
    for x in (10, 110):
        for y in (20, 170):
            u, v = matrix @ (x, y, 1)
            assert x0 - 1e-6 <= u <= x1 + 1e-6 and y0 - 1e-6 <= v <= y1 + 1e-6


@pytest.mark.parametrize("size", [250, 360, 700])
def test_what_is_filmed_lies_where_the_matrix_says(size: int) -> None:
    """A disc on the wall comes out centred to a twentieth of a pixel, enlarged or shrunk."""
    canvas = np.full((800, 1000, 3), 30, np.uint8)
    imaging.ellipse(canvas, (400 + 237, 100 + 181), (40, 40), 0, 0, 360, (230, 230, 230), -1, imaging.LINE_AA)
    scene = Scene(canvas, 0, np.array([[597.0, 241.0, 677.0, 321.0]]))
    pose = Pose(0, 620, 300, size, 7)
    (picture,) = film([ShotPlan(scene, (pose, Pose(1, 620, 300, size, 7)), 1)], width=480, height=360, fps=25)
    weight = picture.pixels[..., 0].astype(float) - 30
    y, x = np.mgrid[0:360, 0:480]
    centre = np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()
    expected = camera_matrix(pose_at((pose, Pose(1, 620, 300, size, 7)), 0), 480, 360) @ (637, 281, 1)
    assert centre == pytest.approx(expected, abs=0.05)
    middle = picture.faces[0].reshape(2, 2).mean(0)
    assert middle == pytest.approx(expected, abs=1e-6)


def test_the_camera_moves_softly_within_shots_and_jumps_at_cuts() -> None:
    for shot in demo.shots():
        path = np.array([(p.x, p.y) for p in (pose_at(shot.poses, n / demo.FPS) for n in range(shot.frames))])
        scale = demo.HEIGHT / np.array([pose_at(shot.poses, n / demo.FPS).height for n in range(shot.frames)])
        step = np.hypot(*np.diff(path, axis=0).T) * scale[1:]
        assert 0 < step.mean() < 10 and step.max() < 25
        assert np.abs(np.diff(step)).max() < 4


def test_the_demo_clip_is_exact(tmp_path: Path) -> None:
    plan = demo.shots()
    assert sum(shot.frames for shot in plan) == 200
    assert [len(shot.scene.faces) for shot in plan] == [1, 1, 2]
    for shot in plan:
        times = [n / demo.FPS for n in range(shot.frames)]
        matrices = [camera_matrix(pose_at(shot.poses, time), demo.WIDTH, demo.HEIGHT) for time in times]
        boxes = np.concatenate([project(shot.scene.faces, matrix) for matrix in matrices])
        middle = (boxes[:, :2] + boxes[:, 2:]) / 2
        assert (middle > 0).all() and (middle < (demo.WIDTH, demo.HEIGHT)).all()
    assert np.ptp(hang([COLLINS]).canvas[:300, :300].mean(2)) < 80  # the wall holds no second face


def test_enlarge_centres_the_box() -> None:
    picture = np.zeros((100, 100, 3), np.uint8)
    picture[40:60, 20:40] = 255
    crop = demo.enlarge(picture, np.array([19.5, 39.5, 39.5, 59.5]), 90)
    y, x = np.nonzero(crop[..., 0] > 127)
    assert (x.mean(), y.mean()) == pytest.approx((44.5, 44.5), abs=0.6)
    assert np.ptp(x) + 1 == pytest.approx(45, abs=2)


def test_an_earlier_demo_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "before.mp4").write_bytes(b"mine")
    with pytest.raises(OutputExists, match=r"before\.mp4 exists"):
        demo.make_demo(tmp_path)
    assert os.listdir(tmp_path) == ["before.mp4"] and (tmp_path / "before.mp4").read_bytes() == b"mine"


def test_an_impossible_folder_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="cannot write into"):
        demo.make_demo(tmp_path / "file" / "out")


def test_a_failed_demo_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "_film_clip", fail)
    with pytest.raises(KeyboardInterrupt):
        demo.make_demo(tmp_path / "new")
    assert os.listdir(tmp_path) == []


def test_an_encoded_clip_is_tagged_and_keeps_its_colours(tmp_path: Path) -> None:
    from deid.media import Reader
    from deid.media.convert import bgr

    picture = np.empty((64, 96, 3), np.uint8)
    picture[:] = (40, 90, 200)
    demo.encode_clip(tmp_path / "x.mp4", [picture] * 5, width=96, height=64, fps=25, seconds=0.2)
    with Reader(tmp_path / "x.mp4") as reader:
        info = reader.info
        frames = [bgr(frame) for frame in reader]
    assert (info.color_space, info.color_primaries, info.color_transfer, info.color_range) == ("bt709",) * 3 + ("tv",)
    assert len(frames) == 5 and np.abs(frames[2].astype(int) - picture).max() <= 4


def test_a_failing_encoder_is_one_sentence(tmp_path: Path) -> None:
    pictures = [np.zeros((48, 64, 3), np.uint8)] * 3
    with pytest.raises(OutputError) as caught:
        demo.encode_clip(tmp_path / "none" / "x.mp4", pictures, width=64, height=48, fps=25, seconds=0.12)
    assert "could not write x.mp4" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.slow
def test_the_whole_demo(tmp_path: Path) -> None:
    made = demo.make_demo(tmp_path / "out", engine="pixelate")
    assert sorted(os.listdir(tmp_path / "out")) == sorted(Path(path).name for path in made.files().values())
    assert made.report.frames == 200 and made.report.shots == 3 and made.report.engine == "pixelate"
    sheet = imaging.imread(made.files()["before-and-after picture"])
    assert sheet.shape == (7 * 270, 2 * 480 + 2 * 270, 3)
    for row in range(7):
        before, after = sheet[row * 270 : (row + 1) * 270, 960:1230], sheet[row * 270 : (row + 1) * 270, 1230:]
        change = np.abs(before.astype(float) - after).mean(-1)
        assert change[70:200, 70:200].mean() > 4 * max(change[:10].mean(), 1)
