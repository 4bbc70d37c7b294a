"""Glasses: drawn on an even face they are found, followed and drawn again; a bare face has none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deid import imaging
from deid.blending import Composite
from deid.models.morphable import _eyewear_kernels as kernels
from deid.models.morphable import eyewear_sheet as sheet
from deid.models.morphable.codes import AttributeCode, Camera, Light, head_rotation
from deid.models.morphable.eyewear import Eyewear, Outline, wire
from deid.models.morphable.eyewear_draw import _thinned, without_remains, worn
from deid.models.morphable.eyewear_find import likely
from deid.models.morphable.eyewear_style import _colour, eyewear_of, outline_on, styled
from deid.models.morphable.geometry import load_geometry

SIZE = 256
PAIR = Eyewear(
    Outline(3.4, -0.3, 2.7, 2.0), Outline(3.4, -0.3, 2.7, 2.0), 0.15, 1.0,
    np.float32([0.02, 0.02, 0.02]), False, np.float32([0.96, 0.96, 0.96]),
)  # fmt: skip


def face_sheet() -> np.ndarray:
    """uint8 (h, w, 3): skin with dark eyes and brows."""
    out = np.full((sheet.HEIGHT, sheet.WIDTH, 3), (200, 150, 130), np.float32)
    for side in (-1, 1):
        for y, half, colour in ((0.0, (1.3, 0.45), (70, 50, 45)), (2.0, (2.2, 0.3), (90, 60, 50))):
            at = (round((side * 3.1 - sheet.LEFT) / sheet.STEP), round((sheet.TOP - y) / sheet.STEP))
            imaging.ellipse(out, at, (round(half[0] * 10), round(half[1] * 10)), 0, 0, 360, colour, -1)
    out = imaging.gaussian_blur(out, (0, 0), 1.0)
    return np.clip(out + np.random.default_rng(0).normal(0, 2, out.shape), 0, 255).astype(np.uint8)


def with_rims(picture: np.ndarray, own: Outline, thick: int, colour: tuple[int, int, int]) -> np.ndarray:
    out = picture.copy()
    for side in (1, -1):
        xy = own.points() * (side, 1)
        at = np.stack([xy[:, 0] - sheet.LEFT, sheet.TOP - xy[:, 1]], axis=1) / sheet.STEP
        imaging.polylines(out, [np.round(at).astype(np.int32)], True, colour, thick)
    height = round((sheet.TOP - own.y - 0.5 * own.b) / sheet.STEP)
    ends = [round((x - sheet.LEFT) / sheet.STEP) for x in (-own.x + own.a, own.x - own.a)]
    imaging.polylines(out, [np.array([(ends[0], height), (ends[1], height)], np.int32)], False, colour, thick)
    for side in (1, -1):
        arm = [round((side * x - sheet.LEFT) / sheet.STEP) for x in (own.x + own.a, 8)]
        imaging.polylines(out, [np.array([(arm[0], height), (arm[1], height)], np.int32)], False, colour, thick)
    return out


def attributes(yaw: float = 0.0) -> AttributeCode:
    sh = np.zeros((9, 3), np.float32)
    sh[0] = 1
    tone = np.float32([0.4, 0.25, 0.2])
    light = Light(sh, tone, np.float32([0.9, 0.9, 0.9]))
    camera = Camera(head_rotation(yaw, 0, 0), 10.0, np.array([SIZE / 2, SIZE / 2 + 30.0]), 60.0)
    return AttributeCode(np.zeros(1, np.float32), np.zeros((2, 2), np.float32), camera, light, 0.5, 1.0)


def drawn(pair: Eyewear, yaw: float = 0.0, occlusion: np.ndarray | None = None) -> tuple[np.ndarray, Composite]:
    """Skin before and after."""
    geometry = load_geometry()
    before = np.broadcast_to(np.float32([0.66, 0.54, 0.48]), (SIZE, SIZE, 3)).copy()
    result = Composite(before.copy(), np.zeros((SIZE, SIZE), bool))
    rest = geometry.vertices
    after = worn(result, pair, geometry, rest, rest, attributes(yaw), seed=1, frame=0, occlusion=occlusion)
    return before, after


def test_a_bare_face_wears_nothing():
    assert likely(face_sheet()[None]) < 0
    assert eyewear_of(face_sheet()[None]) is None
    assert eyewear_of(np.empty((0, sheet.HEIGHT, sheet.WIDTH, 3), np.uint8)) is None


def test_strong_brows_painted_eyes_and_strands_of_hair_are_no_glasses():
    picture = face_sheet()
    t = np.linspace(0, 1, 16)
    for side in (1, -1):
        for line, thick in (
            (np.stack([1.0 + 4.2 * t, 1.6 + 0.5 * np.sin(2.4 * t)], axis=1), 6),
            (np.stack([3.1 + 1.7 * np.cos(6.3 * t), 0.1 + 0.8 * np.sin(6.3 * t)], axis=1), 4),
            (np.stack([6.0 + 0.8 * t, 3.2 - 6 * t], axis=1), 2),
        ):
            at = np.stack([side * line[:, 0] - sheet.LEFT, sheet.TOP - line[:, 1]], axis=1) / sheet.STEP
            imaging.polylines(picture, [np.round(at).astype(np.int32)], False, (60, 45, 40), thick)
    assert likely(picture[None]) < 0 and eyewear_of(picture[None]) is None


@pytest.mark.parametrize("own", [Outline(3.35, -0.35, 2.7, 1.8, 4.0), Outline(3.35, -0.5, 2.4, 2.25, 2.1)])
def test_dark_rims_are_found_and_followed(own: Outline):
    seen = with_rims(face_sheet(), own, 3, (35, 30, 30))[None]
    assert likely(seen) > likely(face_sheet()[None]) + 3
    best, score = outline_on(seen)
    assert abs(best.a - own.a) <= 0.31 and abs(best.b - own.b) <= 0.31 and abs(best.y - own.y) <= 0.31
    assert score > 0.3
    kind = styled(seen)
    assert kind.colour.max() < 0.15 and kind.lens.min() > 0.9 and kind.below == 1


def test_dark_lenses_are_seen():
    own = Outline(3.35, -0.35, 2.7, 1.95)
    picture = face_sheet()
    for side in (1, -1):
        xy = own.points() * (side, 1)
        at = np.stack([xy[:, 0] - sheet.LEFT, sheet.TOP - xy[:, 1]], axis=1) / sheet.STEP
        imaging.fill_poly(picture, [np.round(at).astype(np.int32)], (25, 25, 25))
    kind = styled(with_rims(picture, own, 3, (60, 60, 60))[None])
    assert kind.lens.max() < 0.2


def test_what_is_drawn_is_dark_and_leaves_the_rest():
    before, after = drawn(PAIR)
    assert after.touched.any() and not after.touched.all()
    assert np.array_equal(after.rgb[~after.touched], before[~after.touched])
    assert (after.rgb.max(axis=2) < 0.35).sum() > 300  # rims
    again = drawn(PAIR)[1]
    assert np.array_equal(after.rgb, again.rgb)


def test_what_lies_before_the_face_lies_before_the_glasses():
    mask = np.zeros((SIZE, SIZE), np.float32)
    mask[:, : SIZE // 2] = 1
    before, after = drawn(PAIR, occlusion=mask)
    assert np.array_equal(after.rgb[:, : SIZE // 2], before[:, : SIZE // 2]) and after.touched[:, SIZE // 2 :].any()


def test_of_a_turned_head_the_near_arm_is_seen_and_the_far_one_is_not():
    geometry = load_geometry()
    _, after = drawn(PAIR, yaw=40)
    columns = np.flatnonzero((after.rgb.max(axis=2) < 0.35).any(axis=0))
    lenses = attributes(40).camera.project(wire(geometry, geometry.vertices, PAIR).lenses)[..., 0]
    assert columns.max() < lenses.max() + 12 and columns.min() < lenses.min() - 30


def test_sunglasses_hide_the_eyes():
    _, after = drawn(replace(PAIR, lens=np.float32([0.05, 0.05, 0.05])))
    assert (after.rgb.max(axis=2) < 0.35).sum() > 3000


def test_remains_beside_the_face_go():
    geometry = load_geometry()
    shown = attributes()
    middle = sheet.eyes_of(geometry, geometry.vertices)
    xy = PAIR.own.points()
    lens = shown.camera.project(sheet.surface(xy[:, 0], xy[:, 1], middle))[:, :2]
    picture = np.full((SIZE, SIZE, 3), 0.8, np.float32)
    imaging.polylines(picture, [np.round(lens).astype(np.int32)], True, (0.1, 0.1, 0.1), 2)
    corners = geometry.triangles[geometry.landmark_triangles]
    mesh = (geometry.vertices[corners] * geometry.landmark_weights[..., None]).sum(axis=1)
    points = shown.camera.project(mesh)
    points[:, 0] = (points[:, 0] - SIZE / 2) * 0.55 + SIZE / 2  # a narrow face: the rims stand out
    for ends in ((33, 133), (362, 263)):
        points[list(ends), :2] = shown.camera.project(mesh[list(ends)])[:, :2]
    head = (PAIR, geometry, geometry.vertices, geometry.vertices)
    out, gone = without_remains(picture, points.astype(np.float32), *head, shown.camera)
    right = np.s_[:, int(SIZE / 2 + 45) :]
    assert picture[right].min() < 0.2 < 0.7 < out[right].min() and gone[right].any()
    assert np.array_equal(out[~gone], picture[~gone])
    # who was given a pair that is not worn in the footage has none to be taken away
    head = (replace(PAIR, own=None), *head[1:])
    out, gone = without_remains(picture, points.astype(np.float32), *head, shown.camera)
    assert out is picture and not gone.any()


def test_arms_go_and_edges_of_hair_stay():
    rng = np.random.default_rng(2)
    clean = np.full((80, 120, 3), 0.75, np.float32)
    clean[:, 60:] = 0.15  # hair
    clean += rng.normal(0, 0.005, clean.shape).astype(np.float32)
    worn_ = clean.copy()
    worn_[38:42, 20:100] = 0.45  # an arm over both
    out, changed = worn_.copy(), np.zeros((80, 120), np.bool_)
    mask = np.zeros((80, 120), np.uint8)
    mask[28:52] = 2
    _thinned(out, mask, changed, 5.0)
    assert np.abs(out - clean)[30:50, 15:105].mean() < 0.02
    assert np.abs(out - clean)[38:42, 20:100].mean() < 0.06 and np.abs(worn_ - clean)[38:42, 20:100].mean() > 0.25
    assert np.array_equal(out[~changed], worn_[~changed]) and not changed[:28].any() and changed[40, 30:50].all()


@settings(max_examples=20, deadline=None)
@given(st.floats(2.2, 3.4), st.floats(1.2, 2.8), st.floats(2, 4), st.floats(0, 0.5))
def test_a_wire_is_symmetric_and_hangs_together(a: float, b: float, corners: float, lift: float):
    geometry = load_geometry()
    pair = replace(PAIR, pair=Outline(a + 0.6, -0.3, a, b, corners, 0.05, lift))
    made = wire(geometry, geometry.vertices, pair)
    assert np.isfinite(made.ends).all() and (made.half > 0).all() and not made.back[~made.arm].any()
    assert np.allclose(np.abs(made.lenses[0] * (-1, 1, 1) - made.lenses[1]), 0, atol=0.02)
    arms = made.ends[made.arm]
    assert arms[..., 2].min() < 2 < arms[..., 2].max()  # from before the eyes to the ears


def test_what_stands_out_is_taken_off_as_arrays_would_say() -> None:
    rng = np.random.default_rng(0)
    picture = rng.uniform(-0.1, 1.1, (30, 40, 3)).astype(np.float32)
    usual = rng.integers(0, 256, picture.shape, np.uint8)
    mask = rng.integers(0, 3, picture.shape[:2]).astype(np.uint8)
    code, share = np.empty(picture.shape, np.uint8), np.empty(mask.shape, np.float32)
    kernels.as_bytes(picture, code)
    assert np.array_equal(code, np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8))
    kernels.standing_out(picture, usual, mask, np.array([0.3, 0.6], np.float32), share)
    apart = np.abs(picture - usual.astype(np.float32) / 255).max(axis=2)
    assert np.allclose(share, np.clip((apart - np.where(mask == 1, 0.3, 0.6)) / 0.04, 0, 1), atol=1e-5)
    out, changed = picture.copy(), np.zeros(mask.shape, bool)
    kernels.taken_off(out, usual, mask, share, changed)
    assert np.array_equal(changed, (mask > 0) & (share > 0.01))
    assert np.array_equal(out[~changed], picture[~changed])
    expected = picture + share[..., None] * (usual / np.float32(255) - picture)
    assert np.allclose(out[changed], expected[changed], atol=1e-6)


def test_the_hinge_that_stands_out_on_the_far_side_goes():
    geometry = load_geometry()
    shown = attributes()
    middle = sheet.eyes_of(geometry, geometry.vertices)
    mesh = shown.camera.project(
        (geometry.vertices[geometry.triangles[geometry.landmark_triangles]]
         * geometry.landmark_weights[..., None]).sum(axis=1)
    )  # fmt: skip
    points = mesh.copy()
    points[:, 0] = (mesh[:, 0] - SIZE / 2) * 0.55 + SIZE / 2
    for ends in ((33, 133), (362, 263)):
        points[list(ends), :2] = mesh[list(ends), :2]
    end = PAIR.own.points()[0]
    at = shown.camera.project(sheet.surface(end[0] + 0.7, end[1] + 0.6, middle))[:2].round().astype(int)
    picture = np.full((SIZE, SIZE, 3), 0.8, np.float32)
    half = max(2, round(0.3 * shown.camera.scale))  # thicker than arms are
    stub = np.s_[at[1] - half : at[1] + half + 1, at[0] - half : at[0] + half + 1]
    picture[stub] = 0.1
    head = (PAIR, geometry, geometry.vertices, geometry.vertices)
    out, gone = without_remains(picture, points.astype(np.float32), *head, shown.camera)
    assert out[stub].min() > 0.7 and gone[stub].all()
    frontal, _ = without_remains(picture, mesh.astype(np.float32), *head, shown.camera)
    assert frontal[stub].min() < 0.2  # which only a turned head tells from hair


def test_a_thin_rim_darker_than_skin_is_dark_and_only_a_warm_one_gold():
    skin = np.array([137.0, 105.0, 105.0])
    assert _colour(np.array([102.0, 75.0, 76.0]), skin, 0.07) == ("gunmetal", True)
    assert _colour(np.array([150.0, 112.0, 90.0]), skin, 0.07) == ("gold", True)
    assert _colour(np.array([130.0, 108.0, 108.0]), skin, 0.07) == ("silver", True)


def test_several_pictures_need_to_be_less_sure_and_those_from_the_side_more(monkeypatch):
    said: list[float] = [0.9]
    monkeypatch.setattr("deid.models.morphable.eyewear_style.likely", lambda sheets: said[0])
    sheets = np.stack([with_rims(face_sheet(), Outline(3.35, -0.35, 2.7, 1.8, 4.0), 2, (20, 20, 20))] * 5)
    assert eyewear_of(sheets[:1]) is None and eyewear_of(sheets) is not None
    said[0] = 2.0
    assert eyewear_of(sheets[:1]) is not None and eyewear_of(sheets, aside=True) is None
    said[0] = 6.0
    assert eyewear_of(sheets[:1], aside=True) is not None
