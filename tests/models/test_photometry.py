"""What the first pass measures: colours, softness, noise."""

from __future__ import annotations

import time
from fractions import Fraction

import numpy as np
import pytest

from deid import imaging
from deid.media.convert import bgr
from deid.models.morphable.geometry import load_geometry
from deid.models.morphable.photo_finish import grain_of, softness_of
from deid.models.morphable.photo_quality import Detail, measure_noise
from deid.models.morphable.photo_samples import COUNT, TRIPLES
from deid.models.morphable.photometry import RECORD, mesh_scale, note, observe, stack_records, valid_samples
from deid.tracking.closeup import Closeup
from deid.types import Frame, PixelFormat
from deid.virtual_camera import COLLINS

_LIDS = (7, 163, 144, 145, 153, 154, 155, 173, 157, 158, 159, 160, 161, 246)


def frontal_mesh(scale: float = 15.0, side: int = 400) -> np.ndarray:
    """float32 (478, 3): the mean face, ``scale`` pixels a centimetre, amid a picture of ``side``, irises included."""
    geometry = load_geometry()
    corners = geometry.triangles[geometry.landmark_triangles]
    mesh = (geometry.vertices[corners] * geometry.landmark_weights[:, :, None]).sum(axis=1)
    irises = []
    for eye in (1, 0):  # the viewer's left first
        centre = geometry.eye_centres[eye]
        offsets = 0.6 * np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]])
        irises.append(centre + (0, 0, 1) + offsets)
    points = np.concatenate([mesh, *irises])
    points = (points - mesh.mean(axis=0)) * (scale, -scale, -scale) + (side / 2, side / 2, 0)
    return points.astype(np.float32)


@pytest.fixture(scope="module")
def portrait() -> tuple[np.ndarray, np.ndarray]:
    """A sharp photograph, RGB, and its mesh."""
    from deid.detection.landmarks import FaceLandmarker, roi_from_box, roi_from_landmarks

    picture = COLLINS.read()
    with FaceLandmarker() as landmarker:
        roi = roi_from_box(np.array(COLLINS.face))
        for _ in range(3):
            face = landmarker.run(picture, roi)
            assert face is not None and face.presence > 0.8
            roi = roi_from_landmarks(face.points)
    x0, y0 = 140, 10
    points = face.points - np.array([x0, y0, 0], np.float32)
    return np.ascontiguousarray(picture[y0:230, x0:320, ::-1]), points


def test_samples_mirror_each_other_and_avoid_what_is_no_skin() -> None:
    mesh = frontal_mesh()
    places = mesh[TRIPLES].mean(axis=1)[:, :2]
    mirrored = places * (-1, 1) + (400, 0)
    apart = np.linalg.norm(places[:, None] - mirrored[None], axis=2).min(axis=1)
    assert apart.max() < 5
    for point in (13, 14, 61, 159, 145, 386, 105, 334, 468, 473):
        assert np.linalg.norm(places - mesh[point, :2], axis=1).min() > 4, point


def test_colours_are_those_of_the_picture() -> None:
    mesh = frontal_mesh()
    y, x = np.mgrid[0:400, 0:400]
    picture = np.stack([40 + x / 4, 60 + y / 4, 200 - x / 4], axis=2).round().astype(np.uint8)
    record = observe(picture, mesh)
    places = mesh[TRIPLES].mean(axis=1)
    assert record["skin"].shape == (COUNT, 3)
    expected = np.stack([40 + places[:, 0] / 4, 60 + places[:, 1] / 4, 200 - places[:, 0] / 4], axis=1)
    assert np.abs(record["skin"] - expected).max() <= 1
    assert valid_samples(stack_records([record])).all()


def test_what_lies_outside_is_not_valid() -> None:
    mesh = frontal_mesh()
    mesh[:, 0] -= 200
    record = observe(np.full((400, 400, 3), 90, np.uint8), mesh)
    inside = mesh[TRIPLES].mean(axis=1)[:, 0] > 4
    assert (valid_samples(stack_records([record]))[0] == inside).mean() > 0.97


def test_whites_of_eyes_and_teeth() -> None:
    mesh = frontal_mesh()
    picture = np.full((400, 400, 3), (150, 110, 90), np.uint8)
    for eye in ((33, 133), (362, 263)):
        middle = mesh[list(eye), :2].mean(axis=0)
        imaging.ellipse(picture, tuple(int(v) for v in middle), (34, 20), 0, 0, 360, (180, 175, 170), -1)
    for iris in (468, 473):
        imaging.ellipse(picture, tuple(int(v) for v in mesh[iris, :2].round()), (9, 9), 0, 0, 360, (30, 20, 10), -1)
    record = observe(picture, mesh)
    assert (record["sclera_pixels"] > 20).all()
    assert np.abs(record["sclera"].astype(int) - (180, 175, 170)).max() <= 2
    mesh[list(_LIDS)] = mesh[33]
    assert observe(picture, mesh)["sclera_pixels"][0] == 0


@pytest.mark.parametrize("sigma", [0.8, 1.0, 1.5, 2.0, 3.0])
def test_blur_is_measured(portrait: tuple[np.ndarray, np.ndarray], sigma: float) -> None:
    picture, mesh = portrait
    side = 2 * int(3 * sigma) + 1
    blurred = imaging.gaussian_blur(picture, (side, side), sigma)
    sharp, soft = (softness_of(stack_records([observe(p, mesh)]), np.zeros(1))[0] for p in (picture, blurred))
    assert sharp < 0.4
    assert soft == pytest.approx(sigma, rel=0.2)


def test_noise_hardly_changes_the_blur(portrait: tuple[np.ndarray, np.ndarray]) -> None:
    picture, mesh = portrait
    soft = imaging.gaussian_blur(picture, (9, 9), 1.5)
    noise = np.random.default_rng(5).normal(0, 4, (*picture.shape[:2], 1))
    noisy = np.clip(soft + noise, 0, 255).astype(np.uint8)
    assert observe(noisy, mesh)["blur"] == pytest.approx(observe(soft, mesh)["blur"], rel=0.12)


@pytest.mark.parametrize("deviation", [0.7, 2.0, 5.0, 9.0])
def test_noise_is_measured(deviation: float) -> None:
    rng = np.random.default_rng(1)
    y, x = np.mgrid[0:400, 0:400]
    shading = 120 + 40 * np.sin(x / 60) + y / 10
    picture = np.clip(shading + rng.normal(0, deviation, shading.shape), 0, 255).round().astype(np.uint8)
    record = observe(np.repeat(picture[:, :, None], 3, axis=2), frontal_mesh())
    assert record["noise"] == pytest.approx(deviation, rel=0.15)
    assert record["coarse_noise"] == pytest.approx(deviation / 2, rel=0.25)


def test_a_flat_picture_has_no_noise_and_no_edges() -> None:
    y, x = np.mgrid[0:400, 0:400]
    picture = np.repeat((100 + x / 9 + y / 7).round().astype(np.uint8)[:, :, None], 3, axis=2)
    record = observe(picture, frontal_mesh())
    assert record["noise"] < 0.25
    assert np.isnan(record["blur"]) and record["edges"] == 0


def test_the_darkest_part_is_found() -> None:
    picture = np.full((400, 400, 3), (150, 120, 100), np.uint8)
    mesh = frontal_mesh()
    x, y = mesh[468, :2].astype(int)
    picture[y - 20 : y + 20, x - 20 : x + 20] = (40, 41, 42)
    assert observe(picture, mesh)["dark"].tolist() == [40, 41, 42]


def test_scale_does_not_change_when_the_head_turns() -> None:
    mesh = frontal_mesh(12.0)
    angle = np.radians(50)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    assert mesh_scale(mesh) == pytest.approx(12, rel=0.1)
    assert mesh_scale((mesh @ turn.T).astype(np.float32)) == pytest.approx(mesh_scale(mesh), rel=1e-3)


def test_records_are_small_and_repeatable(portrait: tuple[np.ndarray, np.ndarray]) -> None:
    assert RECORD.itemsize < 1300
    assert observe(*portrait).tobytes() == observe(*portrait).tobytes()


def test_small_faces_are_measured_too(portrait: tuple[np.ndarray, np.ndarray]) -> None:
    picture, mesh = portrait
    small = imaging.resize(picture, (72, 88), interpolation=imaging.INTER_AREA)
    record = observe(small, ((mesh + (0.5, 0.5, 0)) * 0.4 - (0.5, 0.5, 0)).astype(np.float32))
    assert 0 <= record["blur"] < 1
    assert valid_samples(stack_records([record])).mean() > 0.95


def test_quick() -> None:
    mesh = frontal_mesh(17.0)
    picture = np.random.default_rng(0).integers(0, 255, (400, 400, 3)).astype(np.uint8)
    took = []
    for _ in range(20):
        start = time.thread_time()
        observe(picture, mesh)
        took.append(time.thread_time() - start)
    assert min(took) < 0.004


@pytest.mark.parametrize(
    ("picture", "points"),
    [
        (np.zeros((9, 9, 3), np.float32), np.zeros((478, 3), np.float32)),
        (np.zeros((9, 9), np.uint8), np.zeros((478, 3), np.float32)),
        (np.zeros((9, 9, 3), np.uint8), np.zeros((468, 3), np.float32)),
    ],
)
def test_wrong_arrays_are_refused(picture: np.ndarray, points: np.ndarray) -> None:
    with pytest.raises(ValueError):
        observe(picture, points)


def test_a_large_face_is_measured_as_at_full_size() -> None:
    mesh, rng = frontal_mesh(30.0, 900), np.random.default_rng(3)
    low, high = mesh[:468, :2].min(0), mesh[:468, :2].max(0)
    coarse = rng.uniform(60, 200, (3, 24, 24)).astype(np.float32)
    smooth = [imaging.resize(c, (900, 900), interpolation=imaging.INTER_CUBIC) for c in coarse]
    luma = np.clip(np.rint(smooth[0] + rng.normal(0, 2.0, (900, 900))), 16, 235).astype(np.uint8)
    chroma = [np.rint(96 + 0.25 * imaging.resize(s, (450, 450))).astype(np.uint8) for s in smooth[1:]]
    frame = Frame(0, 0, Fraction(1, 25), 1, (luma, *chroma), PixelFormat("yuv420p", 8, (1, 1), False, "bt709"))
    view = Closeup.of(frame, (0, 0, 900, 900), 1.5 * float((high - low).max()))
    assert view.factor > 1
    small, whole = note(view, mesh), observe(np.ascontiguousarray(bgr(frame)[..., ::-1]), mesh)
    assert small["scale"] == pytest.approx(float(whole["scale"]), rel=1e-3)
    assert np.abs(small["skin"].astype(float) - whole["skin"]).mean() < 2.5
    assert small["noise"] == pytest.approx(2.0 * 255 / 219, rel=0.15)
    assert small["noise"] == pytest.approx(float(whole["noise"]), rel=0.2)
    assert small["structure"] == pytest.approx(whole["structure"], rel=0.1)


def test_noise_that_rounding_makes_is_none() -> None:
    slope = np.add.outer(np.linspace(90, 140, 400), np.linspace(0, 31, 400))
    flat = np.full((200, 200), 128, np.uint8)
    detail = Detail(np.rint(slope).astype(np.uint8), flat, flat, 16.0, 255 / 219, 255 / 224)
    noise, _, chroma = measure_noise(detail, frontal_mesh(16.0), 16.0)
    assert noise < 0.25 and chroma == 0


@pytest.mark.parametrize("scale", [3.0, 6.0])
def test_small_faces_without_noise_get_next_to_no_grain(portrait: tuple[np.ndarray, np.ndarray], scale: float) -> None:
    picture, mesh = portrait
    factor = scale / float(observe(picture, mesh)["scale"])
    clean = imaging.resize(picture, None, fx=factor, fy=factor, interpolation=imaging.INTER_AREA)
    noise = np.random.default_rng(3).normal(0, 5, (*clean.shape[:2], 1))
    noisy = np.clip(np.rint(clean + noise), 0, 255).astype(np.uint8)
    small = (mesh * factor).astype(np.float32)
    grains = [float(grain_of(stack_records([observe(p, small)]), np.zeros(1))[0][0]) for p in (clean, noisy)]
    assert grains[0] < 2.5
    assert grains[1] == pytest.approx(5.0, abs=1.5)
