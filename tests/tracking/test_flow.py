import numpy as np
import pytest

from deid import imaging
from deid.tracking import boxes, flow


@pytest.fixture(scope="module")
def scene() -> np.ndarray:
    """Smooth texture with detail at every scale, uint8 (600, 800)."""
    rng = np.random.default_rng(4)
    total = np.zeros((600, 800), np.float32)
    for sigma in (2, 5, 12, 30):
        layer = imaging.gaussian_blur(rng.normal(size=total.shape).astype(np.float32), (0, 0), sigma)
        total += layer / layer.std()
    total = (total - total.min()) / np.ptp(total)
    return (total * 255).astype(np.uint8)


def moved(scene: np.ndarray, scale: float, turn: float, dx: float, dy: float, at: tuple[float, float]):
    cos, sin = scale * np.cos(turn), scale * np.sin(turn)
    after_from_before = np.array([[cos, -sin, 0], [sin, cos, 0]])
    after_from_before[:, 2] = np.array(at) + (dx, dy) - after_from_before[:, :2] @ np.array(at)
    h, w = scene.shape
    return imaging.warp_affine(scene, after_from_before, (w, h)), after_from_before


@pytest.mark.parametrize("height", [24, 40, 80, 160, 320])
@pytest.mark.parametrize("motion", [(1.0, 0.0, 0.1, 0.05), (1.06, 0.1, -0.15, 0.1), (0.95, -0.12, 0.0, -0.3)])
def test_a_known_motion_is_recovered(scene, height, motion):
    scale, turn, dx, dy = motion
    box = np.array([400, 300, 0.78 * height, height, 0.2], np.float32)
    after, transform = moved(scene, scale, turn, dx * height, dy * height, (400, 300))
    step = flow.follow(scene, after, box)
    assert step is not None
    truth = boxes.move(box, transform)
    assert np.hypot(*(step.box[:2] - truth[:2])) < 0.02 * height + 0.3
    assert step.box[3] == pytest.approx(truth[3], rel=0.02)
    assert step.box[4] == pytest.approx(truth[4], abs=0.03)


def test_another_scene_is_not_followed(scene):
    box = np.array([400, 300, 80, 100, 0], np.float32)
    other = np.ascontiguousarray(scene[::-1, ::-1])
    step = flow.follow(scene, other, box)
    assert step is None or step.quality < 0.45


def test_nothing_to_hold_on_to_gives_none():
    flat = np.full((200, 200), 90, np.uint8)
    assert flow.follow(flat, flat, np.array([100, 100, 40, 50, 0], np.float32)) is None


def test_a_box_beyond_the_border_gives_none(scene):
    assert flow.follow(scene, scene, np.array([-300, 300, 80, 100, 0], np.float32)) is None


def test_similarity_fit_shrugs_off_outliers():
    rng = np.random.default_rng(0)
    src = rng.uniform(0, 100, (60, 2))
    truth = np.array([[1.02, -0.1, 5], [0.1, 1.02, -3]])
    dst = src @ truth[:, :2].T + truth[:, 2] + rng.normal(0, 0.05, src.shape)
    dst[:20] += rng.uniform(5, 30, (20, 2))
    fitted, residual = flow.fit_similarity(src, dst)
    np.testing.assert_allclose(fitted, truth, atol=0.05)
    assert np.median(residual[20:]) < 0.2 < residual[:20].min()


def test_templates_turn_and_scale_with_the_face(scene):
    box = np.array([400, 300, 90, 120, 0], np.float32)
    after, transform = moved(scene, 1.4, 0.6, 12, -7, (400, 300))
    same = flow.similarity(flow.template(scene, box), flow.template(after, boxes.move(box, transform)))
    other = flow.similarity(flow.template(scene, box), flow.template(scene, box + np.float32([150, 90, 0, 0, 0])))
    assert same > 0.97
    assert other < 0.6


@pytest.mark.parametrize("height", [12, 60, 500])
def test_template_is_normalised(scene, height):
    value = flow.template(scene, np.array([400, 300, 0.8 * height, height, 0.3], np.float32))
    assert value.shape == (flow.PATCH**2,)
    assert np.linalg.norm(value) == pytest.approx(1, abs=1e-4)
    assert abs(value.mean()) < 1e-4
