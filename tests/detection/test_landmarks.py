"""The face mesh: against MediaPipe's own solution, and what this project adds to it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deid.detection import CenterFace, FaceLandmarker, FaceLandmarks, pose
from deid.detection.landmarks import Roi, crop_for, roi_from_box, roi_from_landmarks

from .conftest import resized, turned

COLLINS = Roi(220, 120, 190)
LIKELY, UNLIKELY = 0.9, 0.5


def fitted(landmarker: FaceLandmarker, bgr: np.ndarray, roi: Roi) -> FaceLandmarks:
    """Look twice, the second time where the first look says."""
    first = landmarker.run(bgr, roi)
    assert first is not None
    second = landmarker.run(bgr, roi_from_landmarks(first.points))
    assert second is not None
    return second


def mesh_scale(face: FaceLandmarks) -> float:
    return float(np.linalg.norm(face.points[33, :2] - face.points[263, :2]))


def test_equals_mediapipes_own_graph(landmarker: FaceLandmarker, collins: np.ndarray) -> None:
    """The same points as ``face_landmark_front_cpu`` for the region that its own detector proposed."""
    from deid.detection._native_noise import native_noise_dropped

    with native_noise_dropped():
        import mediapipe.python.solutions.face_mesh  # noqa: F401  registers the options of the graph's calculators
        from mediapipe.python.solution_base import SolutionBase

        graph = SolutionBase(
            binary_graph_path="mediapipe/modules/face_landmark/face_landmark_front_cpu.binarypb",
            side_inputs={"num_faces": 1, "use_prev_landmarks": False, "with_attention": True},
            outputs=["multi_face_landmarks", "face_rects_from_detections", "face_rects_from_landmarks"],
        )
        result = graph.process(np.ascontiguousarray(collins[..., ::-1]))
        graph.close()
    height, width = collins.shape[:2]
    rect, after = result.face_rects_from_detections[0], result.face_rects_from_landmarks[0]
    expected = np.array([(p.x * width, p.y * height, p.z * width) for p in result.multi_face_landmarks[0].landmark])
    roi = Roi(rect.x_center * width, rect.y_center * height, rect.width * width, rect.rotation)
    assert roi.size < 2 * 192, "beyond that this project averages pixels before sampling and MediaPipe does not"
    face = landmarker.run(collins, roi)
    assert face is not None and face.points.shape == (478, 3)
    np.testing.assert_allclose(face.points, expected, atol=0.05)
    following = roi_from_landmarks(face.points)
    np.testing.assert_allclose(following[:2], [after.x_center * width, after.y_center * height], atol=0.1)
    np.testing.assert_allclose(following[2:], [after.width * width, after.rotation], atol=0.1)


def test_the_contract(landmarker: FaceLandmarker, collins: np.ndarray) -> None:
    face = fitted(landmarker, collins, COLLINS)
    assert face.points.dtype == np.float32 and face.points.shape == (478, 3)
    assert face.box.dtype == np.float32 and face.box.shape == (5,)
    assert LIKELY < face.presence <= 1
    # irises lie between the corners of their eyes, the nose tip is nearest to the viewer, the chin lowest
    assert face.points[33, 0] < face.points[468, 0] < face.points[133, 0]
    assert face.points[362, 0] < face.points[473, 0] < face.points[263, 0]
    assert face.points[:, 2].argmin() in (1, 4)
    assert face.points[:468, 1].argmax() == 152


def test_channels_and_strides(landmarker: FaceLandmarker, collins: np.ndarray) -> None:
    face = landmarker.run(collins, COLLINS)
    rgb = landmarker.run(np.ascontiguousarray(collins[..., ::-1]), COLLINS, rgb=True)
    fortran = landmarker.run(np.asfortranarray(collins), COLLINS)
    assert face is not None and rgb is not None and fortran is not None
    np.testing.assert_array_equal(face.points, rgb.points)
    np.testing.assert_array_equal(face.points, fortran.points)


def test_same_again_whatever_came_between(landmarker: FaceLandmarker, collins: np.ndarray, cat: np.ndarray) -> None:
    before = landmarker.run(collins, COLLINS)
    landmarker.run(cat, Roi(200, 120, 200))
    after = landmarker.run(collins, COLLINS)
    with FaceLandmarker() as other:
        elsewhere = other.run(collins, COLLINS)
    assert before is not None and after is not None and elsewhere is not None
    np.testing.assert_array_equal(before.points, after.points)
    np.testing.assert_array_equal(before.points, elsewhere.points)
    assert before.presence == after.presence == elsewhere.presence


@pytest.mark.parametrize("size", [60.0, 190.0, 420.0, 700.0])
@pytest.mark.parametrize("roll", [0.0, 0.6])
def test_a_crop_is_as_good_as_the_picture(
    landmarker: FaceLandmarker, collins: np.ndarray, size: float, roll: float
) -> None:
    roi = Roi(221.3, 117.8, size, roll)
    x0, y0, x1, y1 = crop_for(roi, 512, 512)
    whole = landmarker.run(collins, roi)
    part = landmarker.run(np.ascontiguousarray(collins[y0:y1, x0:x1]), roi.shifted(-x0, -y0))
    assert whole is not None and part is not None
    np.testing.assert_allclose(part.shifted(x0, y0).points, whole.points, atol=1e-3 * size)
    np.testing.assert_allclose(part.shifted(x0, y0).box, whole.box, atol=1e-3 * size)


@given(st.floats(-50, 250), st.floats(-50, 250), st.floats(0.1, 500), st.floats(-4, 4), st.integers(1, 200))
def test_crops_stay_inside(cx: float, cy: float, size: float, roll: float, side: int) -> None:
    x0, y0, x1, y1 = crop_for(Roi(cx, cy, size, roll), side, side + 7)
    assert 0 <= x0 <= x1 <= side and 0 <= y0 <= y1 <= side + 7
    if 0 <= cx < side and 0 <= cy < side + 7:
        assert x0 <= cx < x1 and y0 <= cy < y1


@pytest.mark.parametrize(
    "roi", [Roi(900, 100, 50), Roi(100, 100, 0), Roi(100, 100, -5), Roi(float("nan"), 0, 9), Roi(-300, 10, 100)]
)
def test_nowhere_gives_nothing(landmarker: FaceLandmarker, collins: np.ndarray, roi: Roi) -> None:
    assert landmarker.run(collins, roi) is None


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 200, 3), (200, 2, 3)])
@pytest.mark.parametrize("size", [1.0, 50.0, 5000.0])
def test_any_picture_will_do(landmarker: FaceLandmarker, shape: tuple[int, ...], size: float) -> None:
    face = landmarker.run(np.full(shape, 90, np.uint8), Roi(shape[1] / 2, shape[0] / 2, size))
    assert face is not None and np.isfinite(face.points).all() and face.presence < UNLIKELY


def test_other_arrays_are_refused(landmarker: FaceLandmarker) -> None:
    with pytest.raises(ValueError, match="uint8"):
        landmarker.run(np.zeros((9, 9), np.uint8), Roi(4, 4, 8))


def test_closed_is_closed() -> None:
    landmarker = FaceLandmarker()
    landmarker.close()
    landmarker.close()
    with pytest.raises(ValueError, match="closed"):
        landmarker.run(np.zeros((9, 9, 3), np.uint8), Roi(4, 4, 8))


@pytest.mark.parametrize("height", [24, 40, 80, 400])
@pytest.mark.parametrize("name", ["collins", "hopper"])
def test_presence_is_high_on_faces_of_any_size(
    landmarker: FaceLandmarker, centerface: CenterFace, request: pytest.FixtureRequest, name: str, height: int
) -> None:
    picture = request.getfixturevalue(name)
    box = centerface.detect(picture)[0].box
    factor = height / (box[3] - box[1])
    face = landmarker.run(resized(picture, factor), roi_from_box((box + 0.5) * factor - 0.5))
    assert face is not None and face.presence > LIKELY


@pytest.mark.parametrize("degrees", [-90, -45, -20, 20, 45, 90, 180])
def test_a_leaning_head_is_seen_through_a_leaning_roi(
    landmarker: FaceLandmarker, collins: np.ndarray, degrees: float
) -> None:
    upright = landmarker.run(collins, COLLINS)
    picture = turned(collins, degrees, COLLINS[:2])
    roi = COLLINS._replace(roll=np.radians(degrees))
    face = landmarker.run(picture, roi)
    assert upright is not None and face is not None and face.presence > LIKELY
    lean = np.degrees(face.roll - upright.roll) - degrees
    assert abs((lean + 180) % 360 - 180) < 3
    assert abs(face.yaw - upright.yaw) < 4 and abs(face.pitch - upright.pitch) < 4
    np.testing.assert_allclose(face.box[2:4], upright.box[2:4], rtol=0.05)


def test_presence_is_low_where_no_face_is(
    landmarker: FaceLandmarker, collins: np.ndarray, hopper: np.ndarray, cat: np.ndarray
) -> None:
    """Backgrounds, clothes, hair without the face, a cat."""
    places = [(collins, Roi(420, 130, 120)), (collins, Roi(70, 420, 140)), (collins, Roi(300, 420, 180))]
    places += [(hopper, Roi(70, 90, 120)), (hopper, Roi(250, 520, 150)), (cat, Roi(220, 110, 260))]
    places += [(cat, Roi(340, 230, 120)), (np.ascontiguousarray(collins[::-1]), Roi(220, 300, 100))]
    scores = [face.presence for picture, roi in places if (face := landmarker.run(picture, roi)) is not None]
    assert len(scores) == len(places)
    assert max(scores) < UNLIKELY


def test_the_box_is_centerfaces_box(
    landmarker: FaceLandmarker, centerface: CenterFace, collins: np.ndarray, hopper: np.ndarray
) -> None:
    for picture in (collins, hopper):
        box = centerface.detect(picture)[0].box
        ours = fitted(landmarker, picture, roi_from_box(box)).box
        width, height = box[2:] - box[:2]
        centre = (box[:2] + box[2:]) / 2
        np.testing.assert_allclose(ours[2:4], [width, height], rtol=0.15)
        assert (np.abs(ours[:2] - centre) < 0.1 * np.array([width, height])).all()


def test_a_mirrored_head_turns_and_leans_the_other_way(landmarker: FaceLandmarker, collins: np.ndarray) -> None:
    face = fitted(landmarker, collins, COLLINS)
    mirrored = fitted(landmarker, np.ascontiguousarray(collins[:, ::-1]), COLLINS._replace(cx=511 - COLLINS.cx))
    assert abs(face.yaw + mirrored.yaw) < 3 and abs(face.roll + mirrored.roll) < 0.03
    assert abs(face.pitch - mirrored.pitch) < 3


def test_a_head_that_turns_turns_one_way(landmarker: FaceLandmarker, centerface: CenterFace) -> None:
    """A woman looks from one side to the other: yaw runs through, and its sign is that of the nose."""
    from .conftest import shared_file

    path = shared_file("clips", "headpose_yaw_sweep_female.gif")
    import cv2

    capture = cv2.VideoCapture(str(path))
    yaws, noses = [], []
    while True:
        ok, picture = capture.read()
        if not ok:
            break
        if found := centerface.detect(picture):
            face = fitted(landmarker, picture, roi_from_box(found[0].box))
            if face.presence > LIKELY:
                sides = face.points[[234, 454], 0]
                yaws.append(face.yaw)
                noses.append((face.points[4, 0] - sides.mean()) / (sides[1] - sides[0]))
    assert len(yaws) >= 10
    assert max(yaws) - min(yaws) > 40
    assert np.corrcoef(yaws, noses)[0, 1] > 0.95


def rotation(roll: float, yaw: float, pitch: float) -> np.ndarray:
    """Roll after yaw after pitch, in degrees, of x right, y down, z away, by the convention of FaceLandmarks."""
    r, y, p = np.radians([roll, -yaw, -pitch])
    about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    return about_z @ about_y @ about_x


@given(st.floats(-170, 170), st.floats(-85, 85), st.floats(-80, 80), st.floats(0.1, 500))
def test_pose_reads_back_the_angles_it_was_given(roll: float, yaw: float, pitch: float, size: float) -> None:
    points = np.zeros((478, 3))
    points[pose.RIGID_POINTS] = size * pose.MEAN_HEAD @ rotation(roll, yaw, pitch).T + [300, -40, 7]
    found_roll, found_yaw, found_pitch = pose.head_pose(points)
    np.testing.assert_allclose([np.degrees(found_roll), found_yaw, found_pitch], [roll, yaw, pitch], atol=1e-4)


def test_a_nose_to_the_right_is_a_positive_yaw_and_a_raised_one_a_positive_pitch() -> None:
    nose = pose.MEAN_HEAD[pose.RIGID_POINTS.tolist().index(4)]
    assert nose[2] < 0
    assert (rotation(0, 30, 0) @ nose)[0] > 0
    assert (rotation(0, 0, 30) @ nose)[1] < nose[1]


@given(st.floats(-3, 3), st.floats(20, 300), st.floats(20, 300))
def test_roi_from_box_undoes_the_face_box(roll: float, width: float, height: float) -> None:
    """The square around the mesh whose face box is given, scaled by one and a half."""
    turn = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * [width / 2, height / 2]
    points = np.zeros((478, 2))
    points[:] = [120, 90]
    points[:4] = corners @ turn.T + [120, 90]
    roi = roi_from_box(pose.face_box(points, roll))
    np.testing.assert_allclose(roi, [120, 90, 1.5 * max(width, height), roll], atol=1e-3)


def test_roi_from_corners_and_from_an_upright_oriented_box_agree() -> None:
    np.testing.assert_allclose(
        roi_from_box(np.array([10, 20, 50, 80])), roi_from_box(np.array([30, 50, 40, 60, 0])), atol=1e-9
    )


def test_large_faces_are_averaged_before_sampling(landmarker: FaceLandmarker, collins: np.ndarray) -> None:
    """Noise on every pixel of an enlarged face moves the mesh no more than the same noise would at the input's size."""
    picture = resized(collins, 6)
    roi = Roi(*(6 * v for v in COLLINS[:3]))
    noise = np.random.default_rng(5).normal(0, 60, picture.shape)
    noisy = np.clip(picture + noise, 0, 255).astype(np.uint8)
    x0, y0, x1, y1 = crop_for(roi, picture.shape[1], picture.shape[0])
    here = roi.shifted(-x0, -y0)
    clean, shaken = (landmarker.run(p[y0:y1, x0:x1], here) for p in (picture, noisy))
    assert clean is not None and shaken is not None
    move = np.linalg.norm(clean.points[:, :2] - shaken.points[:, :2], axis=1).mean()
    assert move < 0.012 * mesh_scale(clean)


def test_starting_up_is_silent_and_python_is_heard() -> None:
    code = (
        "import sys, numpy as np\n"
        "from deid.detection import FaceLandmarker, CenterFace\n"
        "picture = np.zeros((64, 64, 3), np.uint8)\n"
        "FaceLandmarker().run(picture, (32, 32, 40, 0)); CenterFace().detect(picture)\n"
        "print('still heard', file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == "still heard\n"
    assert done.stdout == ""


def test_only_known_noise_is_dropped(capfd: pytest.CaptureFixture[str]) -> None:
    import os

    from deid.detection._native_noise import native_noise_dropped

    with pytest.raises(RuntimeError), native_noise_dropped():
        os.write(2, b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\nsomething is wrong\n")
        os.write(2, b"W0000 00:00:1.2 3 inference_feedback_manager.cc:114] Feedback manager\n")
        raise RuntimeError
    assert capfd.readouterr().err == "something is wrong\n"
