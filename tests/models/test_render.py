"""The renderer: what must hold for any head, camera and light, and that parts show where they should."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deid.errors import ModelError
from deid.models.morphable.codes import Camera, Light
from deid.models.morphable.creases import depth_at
from deid.models.morphable.finish import soften
from deid.models.morphable.geometry import Geometry, Part, load_geometry
from deid.models.morphable.raster_lashes import resolve
from deid.models.morphable.render import NOTHING, GeneratedFace, Renderer, _Workspace, _workspace
from deid.models.morphable.shade import light_rig, occlusion_rgb
from deid.models.morphable.shade_texture import build_pyramid, fill_holes, look_up, oil

SIZE = 160
TONE = np.array([0.36, 0.22, 0.16], np.float32)
WHITE = np.array([0.62, 0.60, 0.57], np.float32)


@pytest.fixture(scope="module")
def geometry() -> Geometry:
    return load_geometry()


@pytest.fixture(scope="module")
def renderer(geometry: Geometry) -> Renderer:
    flat = np.ones((64, 64, 3), np.float32)
    return Renderer(geometry, flat, flat[..., 0], np.array([0.06, 0.10, 0.14], np.float32))


def turned(yaw: float, pitch: float = 0.0, roll: float = 0.0) -> np.ndarray:
    cy, sy, cp, sp, cr, sr = (f(a) for a in (yaw, pitch, roll) for f in (math.cos, math.sin))
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return about_z @ about_x @ about_y


def camera(face: float = 100.0, at: tuple[float, float] = (80.0, 80.0), rotation: np.ndarray | None = None) -> Camera:
    return Camera(np.eye(3) if rotation is None else rotation, face / 14.6, np.array(at), 60.0)


def light(direction: tuple[float, float, float] = (0.0, 0.0, 0.0), gain: float = 1.0) -> Light:
    sh = np.zeros((9, 3), np.float32)
    sh[0] = 0.8
    sh[3] = 0.3
    sh[1:4] += np.array(direction, np.float32)[:, None]
    return Light(sh, TONE * gain, WHITE * gain)


def posed(geometry: Geometry, gaze: tuple[float, float] = (0.0, 0.0), **weights: float) -> np.ndarray:
    expression = np.zeros(len(geometry.expression_names), np.float32)
    for name, value in weights.items():
        for full in (name, f"{name}_L", f"{name}_R"):
            if full in geometry.expression_names:
                expression[geometry.expression_names.index(full)] = value
    neutral = geometry.neutral(np.zeros(len(geometry.identity), np.float32))
    return geometry.pose(neutral, expression, np.array([gaze, gaze], np.float32))


Draw = Callable[..., GeneratedFace]


@pytest.fixture(scope="module")
def draw(geometry: Geometry, renderer: Renderer) -> Draw:
    def run(view: Camera | None = None, lit: Light | None = None, size: int = SIZE, **pose: float) -> GeneratedFace:
        return renderer.render(posed(geometry, **pose), view or camera(), lit or light(), size, size)  # type: ignore[arg-type]

    return run


def mouth(view: Camera, geometry: Geometry, name: str = "lips_inner") -> np.ndarray:
    return view.project(geometry.vertices[getattr(geometry, name)])[:, :2]


def test_shapes_and_bounds(draw: Draw) -> None:
    face = draw()
    assert face.rgb.shape == (SIZE, SIZE, 3) and face.rgb.dtype == np.float32
    assert face.part.dtype == np.uint8 and face.alpha.dtype == face.head.dtype == np.float32
    assert face.alpha.min() >= 0 and face.alpha.max() <= 1 and face.head.min() >= 0 and face.head.max() <= 1
    assert (face.alpha + face.head).max() <= 1 + 1e-5
    bare = (face.alpha == 0) & (face.head == 0)
    assert bare[0, 0] and (face.rgb[bare] == 0).all() and (face.part[bare] == NOTHING).all()
    assert set(np.unique(face.part)) <= {int(p) for p in Part} | {NOTHING}


def test_equal_input_gives_equal_bits(draw: Draw) -> None:
    one, other = draw(mouthSmile=0.7), draw(mouthSmile=0.7)
    for name in ("rgb", "alpha", "head", "part"):
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes()


def test_whole_pixels_move_the_picture_exactly(draw: Draw) -> None:
    near = draw(camera(at=(80.3125, 79.8125)), size=200)
    moved = draw(camera(at=(80.3125, 79.8125)).moved(17, 23), size=200)
    for name in ("rgb", "alpha", "head", "part"):
        a, b = getattr(near, name)[2:170, 2:170], getattr(moved, name)[25:193, 19:187]
        assert np.array_equal(a, b)


@settings(max_examples=20, deadline=None)
@given(
    angles=st.tuples(*[st.floats(-3.2, 3.2)] * 3),
    face=st.floats(2, 900),
    at=st.tuples(st.floats(-300, 300), st.floats(-300, 300)),
    distance=st.sampled_from([14.0, 40.0, math.inf]),
    sh=st.lists(st.floats(-3, 3), min_size=27, max_size=27),
    weight=st.floats(0, 1.5),
)
def test_extreme_poses_and_lights_stay_finite(
    geometry: Geometry,
    renderer: Renderer,
    angles: tuple[float, float, float],
    face: float,
    at: tuple[float, float],
    distance: float,
    sh: list[float],
    weight: float,
) -> None:
    view = Camera(turned(*angles), face / 14.6, np.array(at), distance)
    lit = Light(np.array(sh, np.float32).reshape(9, 3), TONE, WHITE)
    picture = renderer.render(posed(geometry, jawOpen=weight, eyeBlink=weight), view, lit, 64, 48)
    assert np.isfinite(picture.rgb).all() and (picture.rgb >= 0).all() and picture.rgb.max() < 50
    assert (picture.alpha >= 0).all() and (picture.alpha <= 1).all() and (picture.head <= 1).all()


def test_projection_is_the_cameras(geometry: Geometry, draw: Draw) -> None:
    view = camera(face=80, at=(83.4, 65.2), rotation=turned(0.3, -0.1, 0.05))
    face = draw(view)
    points = view.project(geometry.vertices[np.unique(geometry.triangles[geometry.parts <= Part.HEAD])])
    ys, xs = np.nonzero(face.alpha + face.head)
    assert (xs.min(), xs.max()) == pytest.approx((points[:, 0].min(), points[:, 0].max()), abs=1.5)
    assert ys.min() == pytest.approx(max(points[:, 1].min(), 0), abs=1.5)


def test_outline_is_antialiased(draw: Draw) -> None:
    cover = draw(camera(rotation=turned(0.5))).alpha
    partial = (cover > 0) & (cover < 1)
    assert len(np.unique(cover[partial].round(3))) >= 3
    # every step from bare to covered passes a share of a pixel somewhere along the outline
    assert partial.sum() > 40


def test_a_turn_of_a_fraction_of_a_pixel_changes_cover_by_as_much(draw: Draw) -> None:
    areas = [float(draw(camera(at=(80 + k / 8, 80.0))).alpha.sum()) for k in range(8)]
    assert np.ptp(areas) < 0.01 * np.mean(areas)


@pytest.mark.parametrize("face", [30, 60, 220])
def test_sizes_agree(draw: Draw, face: int) -> None:
    wide = draw(camera(face=110))
    other = draw(camera(face=face, at=(80 * face / 110, 80 * face / 110)), size=SIZE * face // 110)
    mean = [(f.rgb * f.alpha[..., None]).sum((0, 1)) / f.alpha.sum() for f in (wide, other)]
    assert mean[0] == pytest.approx(mean[1], rel=0.04)
    assert other.alpha.sum() / wide.alpha.sum() == pytest.approx((face / 110) ** 2, rel=0.03)


def test_brightness_follows_exposure(draw: Draw) -> None:
    one, two = draw(), draw(lit=light(gain=2.0))
    assert two.rgb == pytest.approx(2 * one.rgb, rel=1e-3, abs=1e-6)


def test_mean_of_evenly_lit_skin_is_the_tone(draw: Draw) -> None:
    even = Light(np.outer(np.eye(9)[0], np.ones(3)).astype(np.float32), TONE, WHITE)
    face = draw(lit=even)
    skin = (face.part == Part.SKIN) & (face.alpha == 1)
    assert np.median(face.rgb[skin], axis=0) == pytest.approx(TONE, rel=0.2)


@pytest.mark.parametrize("side", [-1, 1])
def test_light_from_a_side_brightens_that_side(draw: Draw, side: int) -> None:
    face = draw(lit=light((0.5 * side, 0.0, 0.0)))
    grey = np.where(face.alpha == 1, face.rgb.mean(axis=2), np.nan)
    left, right = np.nanmean(grey[:, :75]), np.nanmean(grey[:, 85:])
    assert (right - left) * side > 0.2 * max(left, right)


def test_light_from_above_brightens_the_forehead(draw: Draw) -> None:
    one, other = draw(lit=light((0, 0.5, 0))).rgb, draw(lit=light((0, -0.5, 0))).rgb
    assert one[8:20, 75:85].mean() > 1.2 * other[8:20, 75:85].mean()


def test_eyes_show_and_lids_hide_them(draw: Draw) -> None:
    count = {n: int((draw(camera(face=140), eyeBlink=n).part == Part.EYE_LEFT).sum()) for n in (0.0, 0.5, 1.0)}
    assert count[0.0] > 40 and count[0.0] > 1.3 * count[0.5] and count[1.0] <= 2


def test_one_eye_closes_alone(draw: Draw) -> None:
    part = draw(camera(face=140), eyeBlink_L=1.0).part
    assert (part == Part.EYE_LEFT).sum() <= 2 and (part == Part.EYE_RIGHT).sum() > 40


@pytest.mark.parametrize(("gaze", "axis", "sign"), [((0.4, 0), 1, 1), ((-0.4, 0), 1, -1), ((0, -0.3), 0, 1)])
def test_irises_follow_the_gaze(draw: Draw, gaze: tuple[float, float], axis: int, sign: int) -> None:
    def centre(face: GeneratedFace) -> float:
        eye = (face.part == Part.EYE_LEFT) | (face.part == Part.EYE_RIGHT)
        dark = np.where(eye, np.maximum(0.2 - face.rgb.mean(axis=2), 0), 0)
        return float((np.indices(dark.shape)[axis] * dark).sum() / dark.sum())

    view = camera(face=300, at=(160, 200))
    ahead, aside = draw(view, size=320), draw(view, size=320, gaze=gaze)  # type: ignore[arg-type]
    assert (centre(aside) - centre(ahead)) * sign > 1.5


def test_teeth_and_tongue_show_when_the_mouth_opens(draw: Draw) -> None:
    inner = [Part.MOUTH, Part.TEETH, Part.TONGUE]
    shut, wide = draw(camera(face=140, at=(80, 60))), draw(camera(face=140, at=(80, 60)), jawOpen=0.7)
    assert np.isin(wide.part, inner).sum() > 150 > 4 * np.isin(shut.part, inner).sum()
    inside = np.isin(wide.part, inner) & (wide.alpha == 1)
    assert wide.rgb[inside].mean() < 0.6 * wide.rgb[wide.part == Part.SKIN].mean()


def test_the_face_has_no_holes(draw: Draw) -> None:
    for pose in ({}, {"jawOpen": 0.6}, {"eyeBlink": 1.0}, {"mouthSmile": 0.9}):
        face = draw(camera(face=120), **pose)
        cover = (face.alpha + face.head)[45:120, 45:115]
        assert cover.min() > 0.999


def test_light_from_in_front_of_closed_lips_reaches_nothing_inside(draw: Draw) -> None:
    face = draw(camera(face=140, at=(80, 60)))
    inside = np.isin(face.part, [Part.MOUTH, Part.TEETH, Part.TONGUE])
    assert not inside.any() or face.rgb[inside].max() < TONE.mean()


def test_lashes_darken_the_lid_and_stay_soft(geometry: Geometry, draw: Draw) -> None:
    view = camera(face=300, at=(160, 200))
    face = draw(view, size=320)
    lid = view.project(posed(geometry)[geometry.lid_upper_left])[:, :2].round().astype(int)[2:-2]
    on_lid = np.median(face.rgb[lid[:, 1] - 1, lid[:, 0]].mean(axis=1))
    brow = np.median(face.rgb[lid[:, 1] - 18, lid[:, 0]].mean(axis=1))
    assert on_lid < 0.8 * brow


def test_without_the_head_the_face_is_the_same(geometry: Geometry, renderer: Renderer, draw: Draw) -> None:
    whole = draw()
    face = renderer.render(posed(geometry), camera(), light(), SIZE, SIZE, whole=False)
    assert np.array_equal(face.alpha, whole.alpha) and np.array_equal(face.head, whole.head)
    full = face.alpha == 1
    assert np.array_equal(face.rgb[full], whole.rgb[full])
    assert (face.rgb[face.alpha == 0] == 0).all() and (whole.rgb[(whole.alpha == 0) & (whole.head == 1)] > 0).all()


def test_pictures_of_any_size_and_threads_share_a_renderer(draw: Draw) -> None:
    first = draw()
    draw(size=64)
    assert np.array_equal(draw().rgb, first.rgb)


def test_texture_colours_the_skin(geometry: Geometry) -> None:
    red = np.ones((64, 64, 3), np.float32) * np.array([1.0, 0.2, 0.2], np.float32)
    made = Renderer(geometry, red, np.zeros((64, 64), np.float32), np.full(3, 0.1, np.float32))
    face = made.render(posed(geometry), camera(), light(), SIZE, SIZE)
    skin = (face.part == Part.SKIN) & (face.alpha == 1)
    ratio = face.rgb[skin].mean(axis=0)
    assert ratio[1] / ratio[0] == pytest.approx(0.2 * TONE[1] / TONE[0], rel=0.35)


def test_odd_textures_are_refused(geometry: Geometry) -> None:
    with pytest.raises(ModelError, match="power of two"):
        Renderer(geometry, np.ones((100, 100, 3), np.float32), np.ones((100, 100), np.float32), np.ones(3, np.float32))


def test_holes_fill_from_around() -> None:
    texture = np.full((32, 32, 4), 9.0, np.float32)
    covered = np.zeros((32, 32), bool)
    covered[:, 4:20] = True
    texture[covered] = 1.5
    assert np.allclose(fill_holes(texture, covered), 1.5, atol=1e-4)


def test_pyramid_keeps_the_mean_and_looks_up_in_place() -> None:
    rng = np.random.default_rng(0)
    texture = rng.random((64, 64, 4)).astype(np.float32)
    pyramid = build_pyramid(texture, np.ones((64, 64), bool))

    def got(u: float, v: float, level: float = 0.0) -> np.ndarray:
        place = np.float32(u), np.float32(v), np.float32(level)
        return np.array(look_up(pyramid.texels, pyramid.offsets, pyramid.sizes, *place)) * pyramid.units[[0, 0, 0, 1]]

    for size in pyramid.sizes:
        places = ((np.mgrid[:size, :size] + 0.5) / size).reshape(2, -1)
        found = [got(u, v, np.log2(64 / size) * 3) for v, u in places.T[:: max(len(places.T) // 500, 1)]]
        assert np.mean(found, axis=0) == pytest.approx(texture.mean(axis=(0, 1)), abs=0.04)
    steps = np.array([1 / 1023] * 3 + [1 / 63])
    assert (np.abs(got(10.5 / 64, 20.5 / 64) - texture[20, 10]) < steps).all()
    between = 0.75 * texture[20, 10] + 0.25 * texture[20, 11]
    assert (np.abs(got(10.75 / 64, 20.5 / 64) - between) < steps + 0.01).all()


def test_occlusion_is_warm_and_monotonous() -> None:
    table = occlusion_rgb(np.linspace(0, 1, 11))
    assert (np.diff(table, axis=0) >= 0).all() and np.allclose(table[-1], 1, atol=0.02)
    assert (table[1:-1, 0] >= table[1:-1, 2]).all()


def test_a_lamp_is_found_where_it_is() -> None:
    rig = light_rig(light((0.0, 0.0, 0.0)))
    assert rig.key[2] > 0.9
    aside = light_rig(light((0.8, 0.2, 0.0)))
    assert aside.key[0] > 0.8 and aside.focus > rig.focus
    assert light_rig(Light(np.full((9, 3), np.nan, np.float32), TONE, WHITE)).tone.shape == (3,)


def test_a_picture_that_will_be_soft_is_the_same_from_a_smaller_drawing(geometry: Geometry, renderer: Renderer) -> None:
    view, size = camera(face=280, at=(161, 180), rotation=turned(0.3)), (321, 367)
    sharp = renderer.render(posed(geometry), view, light(), *size)
    small = renderer.render(posed(geometry), view, light(), *size, softness=1.6)
    assert sharp.softness == 0 < small.softness < 1.6
    assert [getattr(small, name).shape for name in ("rgb", "alpha", "head", "part")] == [
        getattr(sharp, name).shape for name in ("rgb", "alpha", "head", "part")
    ]
    soft = []
    for face in (sharp, small):
        filled = np.where(((face.alpha + face.head) > 0.25)[..., None], face.rgb, TONE)
        rest = math.sqrt(1.6**2 - face.softness**2)
        soft.append((soften(np.ascontiguousarray(filled), rest), soften(face.alpha, rest)))
    assert np.abs(soft[0][0] - soft[1][0]).mean() < 0.001
    assert np.abs(soft[0][1] - soft[1][1]).mean() < 0.002
    assert renderer.render(posed(geometry), camera(), light(), SIZE, SIZE, softness=3.0).softness == 0


def test_a_passing_picture_is_the_same_and_the_next_one_takes_its_place(geometry: Geometry, renderer: Renderer) -> None:
    view = camera()
    for size in ((SIZE, SIZE), (SIZE - 31, SIZE + 17), (SIZE + 40, SIZE)):
        for softness in (0.0, 2.0):
            vertices = posed(geometry, jawOpen=0.3)
            own = renderer.render(vertices, view, light(), *size, softness=softness)
            lent = renderer.render(vertices, view, light(), *size, softness=softness, passing=True)
            for name in ("rgb", "alpha", "head", "part"):
                assert np.array_equal(getattr(own, name), getattr(lent, name))
    first = renderer.render(posed(geometry), view, light(), SIZE, SIZE, passing=True)
    again = renderer.render(posed(geometry), view, light(), SIZE, SIZE, passing=True)
    assert np.shares_memory(first.rgb, again.rgb)


def test_memory_is_kept_for_edges_and_not_for_pixels(geometry: Geometry, renderer: Renderer) -> None:
    def work() -> _Workspace:
        renderer.render(posed(geometry), camera(400, (320, 320)), light(), 640, 640)
        return _workspace(renderer._model, 640, 640)

    with ThreadPoolExecutor(1) as fresh:
        kept = fresh.submit(work).result()
    arrays = (kept.depths, kept.owners, kept.triangle, kept.pixel, kept.place, kept.weight, kept.colour)
    assert 0 < sum(array.nbytes for array in arrays) < 640 * 640 * 24


def test_a_window_shows_what_the_whole_picture_shows_there(geometry: Geometry, renderer: Renderer) -> None:
    view, window = camera(face=280, at=(161, 180)), (36, 285, 71, 320)
    for softness in (0.0, 2.0):
        whole, part = (
            renderer.render(posed(geometry), view, light(), 321, 367, softness=softness, window=w)
            for w in (None, window)
        )
        inner = np.s_[window[2] + 6 : window[3] - 5, window[0] + 6 : window[1] - 5]
        for name in ("rgb", "alpha", "head"):
            assert np.array_equal(getattr(whole, name)[inner], getattr(part, name)[inner])
        cover = part.alpha + part.head
        cover[window[2] - 6 : window[3] + 7, window[0] - 6 : window[1] + 7] = 0
        assert not cover.any() and (whole.head > 0).sum() > (part.head > 0).sum()


def test_expressions_fold_the_skin_of_those_old_enough(geometry: Geometry) -> None:
    flat = np.ones((256, 256, 3), np.float32)
    old = Renderer(geometry, flat, flat[..., 0], np.full(3, 0.1, np.float32), folds=depth_at(60))
    child = Renderer(geometry, flat, flat[..., 0], np.full(3, 0.1, np.float32), folds=depth_at(8))
    view, size = camera(face=300, at=(160, 190)), (320, 380)

    def rise(left: float, right: float) -> np.ndarray:
        weights = np.zeros(len(geometry.expression_names), np.float32)
        for name, value in (("browOuterUp_L", left), ("browOuterUp_R", right)):
            weights[geometry.expression_names.index(name)] = value
        return weights

    def change(renderer: Renderer, weights: np.ndarray) -> np.ndarray:
        plain, folded = (renderer.render(posed(geometry), view, light(), *size, expression=e) for e in (None, weights))
        return np.abs(folded.rgb - plain.rgb).sum(axis=2)

    assert not change(old, rise(0.0, 0.0)).any() and not change(child, rise(1.0, 1.0)).any()
    both, one = change(old, rise(1.0, 1.0)), change(old, rise(1.0, 0.0))
    forehead, below = both[:115], both[160:]
    assert 0.003 < forehead[forehead > 0].mean() < 0.1 and forehead.max() > 0.05 and not below.any()
    assert one[:, 175:].sum() > 0.9 * both[:, 175:].sum() and one[:, :145].sum() < 0.05 * both[:, :145].sum()
    assert change(old, rise(0.3, 0.3)).sum() < 0.5 * both.sum()


def test_pores_break_highlights_up_and_vanish_from_afar() -> None:
    film = oil(np.ones((512, 512, 3), np.float32))
    assert film.mean() == pytest.approx(1.0, abs=0.01) and film.std() > 0.05
    assert film.reshape(64, 8, 64, 8).mean((1, 3)).std() < 0.01
    pit = np.ones((512, 512, 3), np.float32)
    pit[200, 200] = 0.6
    assert oil(pit)[200, 200] < film[200, 200] - 0.3


def test_a_lash_too_thin_to_cover_anything_is_left_out_beside_the_head() -> None:
    rgb, alpha, head = np.zeros((2, 3), np.float32), np.zeros(2, np.float32), np.zeros(2, np.float32)
    none, cover = np.zeros(0, np.int32), np.array([1e-9, 1.0], np.float32)
    fragments = (none, none, np.zeros(0, np.float32), np.zeros((0, 3), np.float32))
    lash, nearest = np.full(3, 0.5, np.float32), np.full(2, 255, np.uint8)
    resolve(0, np.zeros(0, np.uint8), *fragments, cover, lash, True, rgb, alpha, head, nearest)
    assert alpha[0] == 0 and np.allclose(rgb[0], 0)
    assert np.isclose(alpha[1], 1 - np.exp(-1.0)) and np.allclose(rgb[1], 0.5)
