"""The head model keeps its promises for any person, expression and gaze: lids, lips, eyeballs, topology."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deid.errors import ModelError
from deid.models.morphable import geometry as module
from deid.models.morphable._motion import radius_at
from deid.models.morphable.geometry import INDEX_SETS, Geometry, Part, load_geometry, read_geometry

SETTINGS = settings(max_examples=40, deadline=None)
seeds = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module")
def geometry() -> Geometry:
    return load_geometry()


def person(geometry: Geometry, seed: int, limit: float = 3.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return geometry.neutral(np.clip(rng.normal(0, 1.3, len(geometry.identity)), -limit, limit))


def weights(geometry: Geometry, **values: float) -> np.ndarray:
    """Expression weights; a name without side sets both sides."""
    out = np.zeros(len(geometry.expression_names), np.float32)
    for name, value in values.items():
        hits = [i for i, n in enumerate(geometry.expression_names) if n in (name, f"{name}_L", f"{name}_R")]
        assert hits, name
        out[hits] = value
    return out


def any_expression(geometry: Geometry, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A mixture of a few shapes that one face can make at once, and a gaze."""
    rng = np.random.default_rng(seed)
    names = geometry.expression_names
    mixed = rng.uniform(0, 1, len(names)) * (rng.uniform(size=len(names)) < 0.2)
    for one, other in (("mouthLeft", "mouthRight"), ("jawLeft", "jawRight"), ("mouthPucker", "mouthFunnel")):
        mixed[names.index(other)] *= mixed[names.index(one)] == 0
    if mixed[names.index("mouthPucker")] + mixed[names.index("mouthFunnel")] > 0.3:
        mixed[[i for i, n in enumerate(names) if n.startswith(("mouthRoll", "mouthPress", "mouthLeft"))]] = 0
    return mixed.astype(np.float32), np.repeat(rng.uniform(-0.45, 0.45, (1, 2)), 2, axis=0)


def eye(geometry: Geometry, neutral: np.ndarray, side: int) -> tuple[np.ndarray, float]:
    ring = neutral[geometry.motion.eye_equator[side]]
    return ring.mean(axis=0), float(np.linalg.norm(ring - ring.mean(axis=0), axis=1).mean())


def lid_gaps(geometry: Geometry, neutral: np.ndarray, posed: np.ndarray, side: int) -> np.ndarray:
    """Angles, as seen from the eye's centre, from lower to upper lid, all rings and columns; below 0: crossed."""
    centre, radius = eye(geometry, neutral, side)
    rings = geometry.motion.lid_rings[side]
    half = rings.shape[1] // 2
    upper, lower = rings[:, 1:half], rings[:, :half:-1]
    across = neutral[rings[1, half]] - neutral[rings[1, 0]]
    across = across[:2] * np.sign(across[0])
    up = np.array([-across[1], across[0], 0]) / np.linalg.norm(across)
    return ((posed[upper] - posed[lower]) @ up) / radius


def clearance(geometry: Geometry, neutral: np.ndarray, posed: np.ndarray, gaze: np.ndarray, side: int) -> np.ndarray:
    """Centimetres from the eyeball to the vertices of the lids, below 0: inside."""
    centre, radius = eye(geometry, neutral, side)
    offset = posed[geometry.motion.lid_region[side]] - centre
    far = np.linalg.norm(offset, axis=1)
    axis = module._gaze_rotation(*gaze[side])[:, 2]
    profile = geometry.motion.eye_profile
    return far - radius * np.array([radius_at(profile, c) for c in offset @ axis / far])


def test_topology_is_valid(geometry: Geometry) -> None:
    count = len(geometry.vertices)
    triangles = geometry.triangles
    assert triangles.min() >= 0 and triangles.max() < count
    assert (triangles[:, 0] != triangles[:, 1]).all() and (triangles[:, 1] != triangles[:, 2]).all()
    assert set(np.unique(geometry.parts)) == set(Part)
    assert len(np.unique(triangles)) == count
    assert (geometry.uv >= 0).all() and (geometry.uv <= 1).all()
    assert (geometry.weld[geometry.weld] == geometry.weld).all()
    np.testing.assert_array_equal(geometry.vertices[geometry.weld], geometry.vertices)
    assert (geometry.occlusion >= 0).all() and (geometry.occlusion <= 1).all()
    assert not geometry.vertices.flags.writeable


def test_skin_covers_its_texture_once(geometry: Geometry) -> None:
    corners = geometry.uv[geometry.triangles[geometry.parts == Part.SKIN]]
    u, v = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
    assert (area < 0).all()  # counter-clockwise from outside, v down


def test_skin_faces_outwards(geometry: Geometry) -> None:
    corners = geometry.vertices[geometry.triangles[geometry.parts == Part.SKIN]]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    outward = (normals * (corners.mean(axis=1) - (0, 0, 3))).sum(axis=1) > 0
    area = np.linalg.norm(normals, axis=1)
    assert area[outward].sum() / area.sum() > 0.95  # all but nostrils and the insides of lids and lips


def test_head_is_symmetric(geometry: Geometry) -> None:
    skin = geometry.vertices[np.unique(geometry.triangles[geometry.parts <= Part.HEAD])]
    mirrored = skin * (-1, 1, 1)
    gap = np.abs(skin[:, None, :500] - mirrored[None, ::7]).sum(axis=2).min(axis=0)
    assert gap.max() < 0.02


def test_index_sets(geometry: Geometry) -> None:
    skin = set(geometry.weld[geometry.triangles[geometry.parts <= Part.HEAD]].ravel().tolist())
    for name in INDEX_SETS:
        members = getattr(geometry, name)
        assert members.dtype == np.int32 and set(members.tolist()) <= skin, name
    points = geometry.vertices
    assert points[geometry.jawline[0], 0] > 6 and points[geometry.jawline[-1], 0] < -6
    assert points[geometry.jawline, 1].min() < -7.5
    assert (points[geometry.lid_upper_left, 0] > 0).all() and (points[geometry.brow_right, 0] < 0).all()
    upper, lower = points[geometry.lid_upper_left, 1], points[geometry.lid_lower_left, 1]
    assert geometry.lid_upper_left[0] == geometry.lid_lower_left[0] and (upper[1:-1] > lower[1:-1]).all()


def test_landmarks_lie_on_the_skin(geometry: Geometry) -> None:
    assert (geometry.landmark_weights >= 0).all()
    np.testing.assert_allclose(geometry.landmark_weights.sum(axis=1), 1, atol=1e-5)
    assert (geometry.parts[geometry.landmark_triangles] <= Part.HEAD).all()
    corners = geometry.vertices[geometry.triangles[geometry.landmark_triangles]]
    points = (corners * geometry.landmark_weights[:, :, None]).sum(axis=1)
    assert abs(points[1, 0]) < 0.05 and points[1, 2] == pytest.approx(points[:, 2].max(), abs=0.5)  # tip of the nose
    assert points[152, 1] == pytest.approx(points[:, 1].min(), abs=0.2)  # chin
    assert points[263, 0] > 4 and points[33, 0] < -4  # outer corners of the eyes
    np.testing.assert_allclose(points[263] * (-1, 1, 1), points[33], atol=0.15)


@SETTINGS
@given(seeds)
def test_blink_closes_every_eye(seed: int) -> None:
    geometry = load_geometry()
    neutral = person(geometry, seed)
    mixed, gaze = any_expression(geometry, seed + 1)
    mixed = np.maximum(mixed, weights(geometry, eyeBlink=1.0))
    posed = geometry.pose(neutral, mixed, gaze)
    for side in (0, 1):
        assert np.abs(lid_gaps(geometry, neutral, posed, side)).max() < 1e-3


@SETTINGS
@given(seeds, st.floats(0, 1))
def test_lids_never_cross(seed: int, blink: float) -> None:
    geometry = load_geometry()
    neutral = person(geometry, seed)
    mixed, gaze = any_expression(geometry, seed)
    mixed[[geometry.expression_names.index(f"eyeBlink_{s}") for s in "LR"]] = blink
    posed = geometry.pose(neutral, mixed, gaze)
    for side in (0, 1):
        assert lid_gaps(geometry, neutral, posed, side).min() > -2e-3


@SETTINGS
@given(seeds, st.floats(0, 1))
def test_eyeballs_are_never_pierced(seed: int, blink: float) -> None:
    geometry = load_geometry()
    neutral = person(geometry, seed)
    mixed, gaze = any_expression(geometry, seed)
    mixed = np.maximum(mixed, weights(geometry, eyeBlink=blink))
    posed = geometry.pose(neutral, mixed, gaze)
    for side in (0, 1):
        assert clearance(geometry, neutral, posed, gaze, side).min() > 0.004


@pytest.mark.parametrize("side", [0, 1])
def test_one_eye_blinks_alone(geometry: Geometry, side: int) -> None:
    names = ("eyeBlink_L", "eyeBlink_R")
    posed = geometry.pose(geometry.vertices, weights(geometry, **{names[side]: 1.0}), np.zeros((2, 2)))
    assert lid_gaps(geometry, geometry.vertices, posed, side).max() < 1e-3
    assert lid_gaps(geometry, geometry.vertices, posed, 1 - side).max() > 0.3


@SETTINGS
@given(seeds)
def test_lips_never_cross(seed: int) -> None:
    geometry = load_geometry()
    posed = geometry.pose(person(geometry, seed), *any_expression(geometry, seed))
    lower, upper = geometry.motion.lip_lower, geometry.motion.lip_upper
    x = np.linspace(0.2, 0.8, 9) * np.ptp(posed[lower[0], 0]) + posed[lower[0], 0].min()
    edges = []
    for rings, pick in ((lower, np.argmax), (upper, np.argmin)):
        heights = posed[rings, 1]
        best = rings[pick(heights, axis=0), np.arange(rings.shape[1])]
        order = np.argsort(posed[best, 0])
        edges.append(np.interp(x, posed[best, 0][order], posed[best, 1][order]))
    assert (edges[1] - edges[0]).min() > -0.03  # centimetres: one extreme face in two thousand


@SETTINGS
@given(seeds)
def test_lips_touch_at_rest(seed: int) -> None:
    geometry = load_geometry()
    neutral = person(geometry, seed, 2.0)
    ring = geometry.lips_inner
    middle = geometry.motion.lip_lower.shape[1] // 2
    upper, lower = (rings[3, middle] for rings in (geometry.motion.lip_upper, geometry.motion.lip_lower))
    assert {upper, lower} <= set(ring.tolist())
    assert abs(neutral[upper, 1] - neutral[lower, 1]) < 0.06


def test_mouth_close_needs_an_open_jaw(geometry: Geometry) -> None:
    shut = geometry.pose(geometry.vertices, weights(geometry, mouthClose=1.0), np.zeros((2, 2)))
    rest = geometry.pose(geometry.vertices, weights(geometry), np.zeros((2, 2)))
    np.testing.assert_array_equal(shut, rest)


def test_lower_teeth_follow_the_jaw_and_upper_teeth_do_not(geometry: Geometry) -> None:
    move = geometry.expression[geometry.expression_names.index("jawOpen")]
    teeth = np.unique(geometry.triangles[geometry.parts == Part.TEETH])
    size = np.linalg.norm(move[teeth], axis=1)
    upper = geometry.vertices[teeth, 1] > -2.9
    assert (size[upper] == 0).all() and (size[~upper & (geometry.vertices[teeth, 1] < -3.6)] > 1.5).all()


@pytest.mark.parametrize(("gaze", "axis", "sign"), [((0.3, 0), 0, 1), ((0, 0.3), 1, 1), ((0, -0.3), 1, -1)])
def test_gaze_turns_the_eyeballs(geometry: Geometry, gaze: tuple[float, float], axis: int, sign: int) -> None:
    shape = np.full(len(geometry.identity), 0.3, np.float32)
    neutral, centres = geometry.neutral(shape), geometry.eyeball_centres(shape)
    posed = geometry.pose(neutral, weights(geometry), np.array([gaze, gaze]))
    for members, centre in zip((geometry.eye_left, geometry.eye_right), centres, strict=True):
        pupil = members[np.linalg.norm(geometry.uv[members] - 0.5, axis=1).argmin()]
        direction = posed[pupil] - centre
        direction /= np.linalg.norm(direction)
        assert np.arcsin(abs(direction[axis])) == pytest.approx(0.3, abs=0.01)
        assert np.sign(direction[axis]) == sign
        before = np.linalg.norm(neutral[members] - centre, axis=1)
        np.testing.assert_allclose(np.linalg.norm(posed[members] - centre, axis=1), before, atol=1e-4)


def test_upper_lid_follows_gaze_down(geometry: Geometry) -> None:
    ahead, down = (
        geometry.pose(geometry.vertices, weights(geometry), np.array([[0, up], [0, up]])) for up in (0.0, -0.4)
    )
    middle = geometry.lid_upper_left[10]
    assert 0.2 < ahead[middle, 1] - down[middle, 1] < 1.0


@SETTINGS
@given(seeds)
def test_pose_is_finite_and_deterministic(seed: int) -> None:
    geometry = load_geometry()
    neutral = person(geometry, seed)
    codes = any_expression(geometry, seed)
    posed = geometry.pose(neutral, *codes)
    assert posed.dtype == np.float32 and posed.shape == geometry.vertices.shape and np.isfinite(posed).all()
    np.testing.assert_array_equal(posed, geometry.pose(neutral, *codes))
    assert np.abs(posed - neutral).max() < 8


def test_pose_leaves_its_arguments_alone(geometry: Geometry) -> None:
    neutral, expression = geometry.neutral(np.zeros(len(geometry.identity))), weights(geometry, jawOpen=0.5, eyeBlink=1)
    kept = neutral.copy(), expression.copy()
    geometry.pose(neutral, expression, np.zeros((2, 2)))
    np.testing.assert_array_equal(neutral, kept[0])
    np.testing.assert_array_equal(expression, kept[1])


def test_identity_modes_are_ordered_and_sized(geometry: Geometry) -> None:
    skin = np.unique(geometry.triangles[geometry.parts == Part.SKIN])
    size = np.sqrt((geometry.identity[:, skin].astype(np.float64) ** 2).sum(axis=2).mean(axis=1))
    assert 0.1 < size[0] < 0.6 and size[-1] < 0.05 and (size[:8] > size[-8:].max()).all()


def test_pose_is_fast(geometry: Geometry) -> None:
    neutral = geometry.neutral(np.zeros(len(geometry.identity)))
    expression, gaze = any_expression(geometry, 3)
    geometry.pose(neutral, expression, gaze)
    spent = []
    for _ in range(30):
        start = time.thread_time()
        geometry.pose(neutral, expression, gaze)
        spent.append(time.thread_time() - start)
    assert min(spent) < 1.5e-3


def test_broken_file_is_a_model_error(tmp_path: Path) -> None:
    path = tmp_path / "geometry.safetensors"
    with pytest.raises(ModelError, match="reinstall"):
        read_geometry(path)
    path.write_bytes(b"\x00" * 100)
    with pytest.raises(ModelError, match="geometry"):
        read_geometry(path)


def test_lips_that_only_move_stay_together(geometry: Geometry) -> None:
    neutral = geometry.neutral(np.zeros(len(geometry.identity)))
    upper, lower = geometry.motion.lip_upper[:, 14:24], geometry.motion.lip_lower[:, 14:24]

    def gap(**values: float) -> float:
        posed = geometry.pose(neutral, weights(geometry, **values), np.zeros((2, 2)))
        return float((posed[upper, 1].min(axis=0) - posed[lower, 1].max(axis=0)).max())

    assert gap(mouthShrugUpper=0.8, noseSneer_L=0.5, noseSneer_R=0.5) < 0.1
    assert gap(mouthShrugUpper=0.8, jawOpen=0.4) > 1.0
