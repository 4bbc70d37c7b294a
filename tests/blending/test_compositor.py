"""The compositor on synthetic pictures: nothing of the source's face is left, nothing else is touched."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from deid.blending import Compositor, FaceOutline
from deid.blending.outline import CORE_RING, FOREHEAD, JAW, OVAL

SIDE = 200
CENTRE = np.array([100.0, 104.0])
GREEN = np.array([0.0, 1.0, 0.0], np.float32)
PALE = np.array([0.9, 0.85, 0.9], np.float32)  # lighter than skin: cannot be hair
SEAM = 0.03  # how green skin may become by being matched to a frame whose skin is
GREY = np.array([0.45, 0.45, 0.45], np.float32)
SKIN = np.array([0.55, 0.35, 0.28], np.float32)  # linear light
LIGHT = SimpleNamespace(tone=np.full(3, 0.3, np.float32), veil=np.zeros(3, np.float32))
ATTRIBUTES = SimpleNamespace(blur=0.6, grain=0.0, chroma_grain=0.0, grain_size=0.0, glow=0.0, light=LIGHT)


def oval(width: float, height: float, wobble: tuple[float, ...] = ()) -> np.ndarray:
    """float32 (36, 2): a face-like closed curve in MediaPipe's order, clockwise from the top."""
    t = np.linspace(0, 2 * np.pi, 36, endpoint=False)
    r = np.ones_like(t)
    for k, a in enumerate(wobble):
        r += a * np.cos((k + 1) * t + k)
    return (CENTRE + np.stack([width / 2 * np.sin(t), -height / 2 * np.cos(t)], 1) * r[:, None]).astype(np.float32)


def mesh(curve: np.ndarray) -> np.ndarray:
    """float32 (478, 3): a mesh whose oval is ``curve``, its other points spread inside."""
    rng = np.random.default_rng(0)
    middle = curve.mean(axis=0)
    points = np.zeros((478, 3), np.float32)
    points[:, :2] = middle + 0.5 * (curve[rng.integers(0, 36, 478)] - middle) * rng.random((478, 1))
    points[OVAL, :2] = curve
    points[CORE_RING, :2] = middle + 0.6 * (curve - middle)
    return points


def rendered(outline: np.ndarray, colour: np.ndarray = SKIN) -> SimpleNamespace:
    """A flat rendered face that fills a closed curve."""
    inside = filled(outline).astype(np.float32)
    return SimpleNamespace(
        rgb=np.broadcast_to(colour, (SIDE, SIDE, 3)).astype(np.float32) * inside[..., None],
        alpha=inside,
        head=np.zeros_like(inside),
        part=np.where(inside > 0, 0, 255).astype(np.uint8),
        softness=0.0,
    )


def filled(outline: np.ndarray) -> np.ndarray:
    from deid import imaging

    canvas = np.zeros((SIDE, SIDE), np.uint8)
    imaging.fill_convex_poly(canvas, np.round(outline).astype(np.int32), 1)
    return canvas > 0


def grown(outline: np.ndarray, factor: float) -> np.ndarray:
    return CENTRE + (outline - CENTRE) * factor


def compose(picture: np.ndarray, source: np.ndarray, target: np.ndarray, blur: float = 0.6, **keywords: object):
    return Compositor().compose(
        picture,
        rendered(target),
        mesh(source),
        FaceOutline.from_mesh(mesh(source)),
        FaceOutline.from_mesh(mesh(target)),
        SimpleNamespace(**{**vars(ATTRIBUTES), "blur": blur}),
        **keywords,
    )


def greenness(rgb: np.ndarray) -> float:
    return float((rgb[..., 1] - rgb[..., [0, 2]].max(axis=-1)).max())


def textured() -> np.ndarray:
    return np.random.default_rng(1).random((SIDE, SIDE, 3)).astype(np.float32)


sizes = st.tuples(st.floats(60, 110), st.floats(80, 130))
wobbles = st.tuples(*[st.floats(-0.04, 0.04)] * 4)


@settings(max_examples=40, deadline=None)
@given(sizes, sizes, wobbles, wobbles, st.sampled_from([(PALE, SEAM), (GREY, 0.14)]))
@example((110.0, 130.0), (60.0, 80.0), (0.0,), (0.0,), (PALE, SEAM))
@example((60.0, 80.0), (110.0, 130.0), (0.0,), (0.0,), (PALE, SEAM))
def test_nothing_of_the_sources_face_is_left(source_size, target_size, source_wobble, target_wobble, around):
    """Grey surroundings may pass for hair, and hair's edge may keep a breath of what it lies before."""
    source, target = oval(*source_size, source_wobble), oval(*target_size, target_wobble)
    colour, most = around
    picture = np.broadcast_to(colour, (SIDE, SIDE, 3)).copy()
    picture[filled(source)] = GREEN
    assert greenness(compose(picture, source, target).rgb) < most


@settings(max_examples=20, deadline=None)
@given(st.floats(-70, 70), st.floats(-70, 70), sizes)
def test_a_face_cut_by_the_picture_is_covered_too(dx, dy, target_size):
    shift = np.array([dx, dy], np.float32)
    source, target = oval(90, 120) + shift, oval(*target_size) + shift
    picture = np.broadcast_to(PALE, (SIDE, SIDE, 3)).copy()
    picture[filled(source)] = GREEN
    assert greenness(compose(picture, source, target).rgb) < SEAM


@settings(max_examples=15, deadline=None)
@given(sizes, sizes)
def test_untouched_samples_are_bit_identical(source_size, target_size):
    picture = textured()
    result = compose(picture, oval(*source_size), oval(*target_size))
    assert result.touched.any() and not result.touched.all()
    assert np.array_equal(result.rgb[~result.touched], picture[~result.touched])
    assert result.rgb.dtype == np.float32


@pytest.mark.parametrize("target", [(70, 90), (85, 120), (105, 130)])
def test_the_new_face_is_opaque_inside_and_what_lies_around_hardly_moves(target):
    """A wider face covers what lies around the old one; a narrower one is drawn out to meet it."""
    source = oval(90, 120)
    picture = np.broadcast_to(GREY, (SIDE, SIDE, 3)).copy()
    ring = filled(grown(source, 1.16)) & ~filled(grown(source, 1.09))
    picture[ring] = (0, 0, 1)  # what hugged the old face
    result = compose(picture, source, oval(*target)).rgb
    skin = result[104, 100]
    inside = filled(grown(oval(*target), 0.8))
    inside[:100] = False  # what skin looks like above depends on hair
    assert np.abs(result[inside] - skin).max() < 0.02
    before, after = (np.flatnonzero(p[110:, 100, 2] - p[110:, 100, 0] > 0.4) for p in (picture, result))
    assert abs(int(after.max()) - int(before.max())) <= 0.05 * 90
    assert np.abs(result[104:150, 100] - skin).max() < 0.02


@settings(max_examples=15, deadline=None)
@given(sizes, sizes, st.sampled_from([0.0, 0.7, 1.6, 2.8, 4.1, 5.5]))
def test_the_surroundings_keep_their_order_along_every_ray(source_size, target_size, angle):
    """A picture whose colour is the distance from the centre stays one in which that distance grows outwards."""
    source = oval(*source_size)
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    centre = FaceOutline.from_mesh(mesh(source)).centre
    distance = np.hypot(x - centre[0], y - centre[1])
    picture = np.repeat((distance / 300)[..., None], 3, axis=2).astype(np.float32)
    result = compose(picture, source, oval(*target_size)).rgb[..., 0] * 300
    reach = 1.25 * max(*source_size, *target_size) / 2
    r = np.arange(reach, 95.0, 1.0)
    along = result[
        np.round(centre[1] + r * np.sin(angle)).astype(int).clip(0, SIDE - 1),
        np.round(centre[0] + r * np.cos(angle)).astype(int).clip(0, SIDE - 1),
    ]
    assert (np.diff(along) > -0.8).all()  # rounding to samples costs up to 0.7


def hairy(source: np.ndarray, stripes: bool) -> np.ndarray:
    """Skin in a face with dark hair above it and, when asked for, three strands that hang over the forehead."""
    picture = np.broadcast_to(GREY, (SIDE, SIDE, 3)).copy()
    skin = np.array([0.77, 0.63, 0.57], np.float32)
    picture[filled(grown(source, 1.3))] = (0.08, 0.06, 0.05)
    picture[filled(source)] = skin
    top = int(source[:, 1].min())
    if stripes:
        for x in (84, 100, 116):
            picture[top - 10 : top + 26, x - 3 : x + 4] = (0.08, 0.06, 0.05)
    return picture


def test_a_dark_fringe_is_kept_and_dark_brows_are_not():
    source = oval(100, 140)
    points = mesh(source)
    picture = hairy(source, stripes=True)
    picture[78:84, 70:90] = (0.05, 0.04, 0.04)  # a brow, not joined to any hair
    top = int(source[:, 1].min())
    result = Compositor().compose(
        picture, rendered(grown(source, 1.05)), points, FaceOutline.from_mesh(points), FaceOutline.from_mesh(points),
        ATTRIBUTES,
    ).rgb  # fmt: skip
    assert (result[top + 4 : top + 12, [84, 100, 116]].mean(axis=-1) < 0.25).all()
    assert (result[top + 6 : top + 12, [92, 108]].mean(axis=-1) > 0.5).all()
    assert result[78:84, 72:88].mean(axis=-1).min() > 0.5


def test_hair_that_is_drawn_inwards_ends_softly():
    """Where the new face is narrower, hair moves in with it, and the line from which none may pass moves, too."""
    source, target = oval(110, 150), oval(92, 126)
    points = mesh(source)
    picture = hairy(source, stripes=False)
    top = int(source[:, 1].min())
    picture[top - 10 : top + 75] = (0.08, 0.06, 0.05)  # lower than hair may be followed
    outlines = FaceOutline.from_mesh(points), FaceOutline.from_mesh(mesh(target))
    result = Compositor().compose(picture, rendered(target), points, *outlines, ATTRIBUTES).rgb
    column = result[top : top + 75, 96:104].mean(axis=(1, 2))
    assert column[0] < 0.25 and column[-1] > 0.5
    assert np.abs(np.diff(column)).max() < 0.24


def test_beyond_the_border_skin_in_shade_is_no_hair_and_hair_like_the_rest_is():
    from deid.blending._hair import hair_colours

    n, levels = 32, 6
    skin = np.broadcast_to(np.float32([0.85, 0.7, 0.6]), (n, 3)).copy()
    counts, above = np.ones((n, levels), np.float32), np.ones(n, np.float32)
    counts[12:20] = 0  # beyond the border
    for beside, wanted in (((0.6, 0.45, 0.4), 0.0), ((0.12, 0.09, 0.08), 0.9)):
        seen = np.broadcast_to(np.float32([0.1, 0.08, 0.07]), (n, levels, 3)).copy()
        seen[8:24] = beside
        trust = hair_colours(seen, skin, counts, above, 0.13)[1]
        assert trust[[0, 4, 28]].min() > 0.9
        assert abs(float(trust[16]) - wanted) < 0.1


def test_a_thin_strip_of_hair_beside_a_cheek_stays():
    source = oval(100, 140)
    picture = np.broadcast_to(PALE, (SIDE, SIDE, 3)).copy()
    picture[filled(grown(source, 1.06))] = (0.08, 0.06, 0.05)
    picture[filled(source)] = (0.77, 0.63, 0.57)
    result = compose(picture, source, source).rgb
    row = result[100].mean(axis=1)
    assert row[40:60].min() < 0.4 and row[140:160].min() < 0.4


def test_without_hair_the_forehead_is_the_new_one():
    source = oval(100, 140)
    points = mesh(source)
    outline = FaceOutline.from_mesh(points)
    picture = np.broadcast_to(np.array([0.77, 0.63, 0.57], np.float32), (SIDE, SIDE, 3)).copy()
    picture[filled(source)] = GREEN
    result = Compositor().compose(picture, rendered(grown(source, 1.2)), points, outline, outline, ATTRIBUTES).rgb
    assert greenness(result) < 0.02


def test_what_lies_before_the_face_stays():
    source = oval(90, 120)
    picture = textured()
    mask = np.zeros((SIDE, SIDE), np.float32)
    mask[100:180, 90:120] = 1
    result = compose(picture, source, oval(80, 110), occlusion=mask).rgb
    assert np.array_equal(result[mask == 1], picture[mask == 1])


def test_equal_inputs_give_equal_pictures():
    picture = textured()
    a, b = (compose(picture, oval(90, 120), oval(80, 112), seed=3, frame=7) for _ in range(2))
    assert np.array_equal(a.rgb, b.rgb) and np.array_equal(a.touched, b.touched)


def test_sizes_must_agree():
    with pytest.raises(ValueError, match="differ in size"):
        compose(np.zeros((50, 60, 3), np.float32), oval(90, 120), oval(80, 110))


def test_jaw_and_forehead_share_the_temples():
    assert set(JAW) | set(FOREHEAD) == set(OVAL)


def test_doubt_is_what_of_the_core_was_kept():
    source, picture = oval(90, 120), textured()
    mask = np.zeros((SIDE, SIDE), np.float32)
    assert compose(picture, source, source).doubt == 0
    mask[160:] = 1  # the chin, clear of the core
    assert compose(picture, source, source, occlusion=mask).doubt < 0.02
    mask[:] = 0.5
    assert compose(picture, source, source, occlusion=mask).doubt == pytest.approx(0.5, abs=0.01)
    mask[:] = 1
    assert compose(picture, source, source, occlusion=mask).doubt == pytest.approx(1)


@pytest.mark.parametrize("size", [0.06, 0.2, 1.0])
@pytest.mark.parametrize("shift", [(0, 0), (-95, 10), (60, 120)])
def test_small_and_far_off_faces_do_no_harm(size, shift):
    source = grown(oval(90, 120), size).astype(np.float32) + np.array(shift, np.float32)
    picture = textured()
    result = compose(picture, source, (source - source.mean(0)) * np.float32(1.1) + source.mean(0))
    assert np.isfinite(result.rgb).all() and result.rgb.min() > -0.2 and result.rgb.max() < 1.2
    assert np.array_equal(result.rgb[~result.touched], picture[~result.touched])


def test_what_lies_around_a_narrower_face_moves_by_little():
    """Straight lines beside the jaw stay straight: to within 5 % of the face's width."""
    source = oval(90, 120)
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    picture = np.stack([x / SIDE, y / SIDE, np.full_like(x, 0.9)], axis=2)
    result = compose(picture, source, oval(66, 96)).rgb
    clear = ~filled(grown(source, 1.12))
    clear[:110] = False  # hairlines follow the new outline more
    moved = np.hypot(*(result[..., :2] - picture[..., :2]).transpose(2, 0, 1))[clear] * SIDE
    assert 0 < moved.max() < 0.05 * 90


def test_no_sliver_of_wall_lies_between_a_narrower_jaw_and_the_old_one():
    """A jaw wider than its mesh, with a shaded rim: from the new face to the wall, it only becomes lighter."""
    from deid import imaging

    source = oval(90, 120)
    skin, rim = np.array([0.74, 0.6, 0.54], np.float32), np.array([0.55, 0.42, 0.36], np.float32)
    picture = np.full((SIDE, SIDE, 3), 0.95, np.float32)
    picture[filled(grown(source, 1.07))] = rim
    picture[filled(grown(source, 1.04))] = skin
    picture = imaging.gaussian_blur(picture, (0, 0), 1.3)
    result = compose(picture, source, oval(84, 114), blur=2.0).rgb.mean(axis=2)
    for angle in np.radians([15, 25, 35, 145, 155, 165]):
        along = np.array([np.cos(angle), np.sin(angle)]) * np.arange(36, 62)[:, None] + CENTRE
        values = result[np.rint(along[:, 1]).astype(int), np.rint(along[:, 0]).astype(int)]
        assert (np.maximum.accumulate(values) - values).max() < 0.02, np.degrees(angle)


def nosed(curve: np.ndarray, reach: float) -> FaceOutline:
    """The outline of a turned face whose nose lies ``reach`` pixels beyond its cheek, at the viewer's left."""
    points = mesh(curve)
    left = curve[:, 0].min()
    # the midline runs through the face, but for the nose
    points[[10, 151, 9, 8, 168, 6, 197, 2, 164, 0, 13, 14, 17, 18, 200, 199, 175, 152], :2] = curve.mean(axis=0)
    points[[195, 5, 4, 1, 19, 94], :2] = np.stack([np.full(6, left - reach), CENTRE[1] + np.linspace(-7, 7, 6)], 1)
    return FaceOutline.from_mesh(points)


@pytest.mark.parametrize("reach", [6.0, 12.0])
def test_a_nose_in_profile_is_drawn_where_it_is(reach: float) -> None:
    """And not pressed flat, as the rim of a cheek that is wider than the subject's would be."""
    source = oval(90, 120)
    outline = nosed(source, reach)
    face = rendered(np.concatenate([source, outline.profile[:, 0]]))
    tip = np.array([source[:, 0].min() - reach, CENTRE[1]])
    inside = np.zeros((SIDE, SIDE), bool)
    inside[int(CENTRE[1]) - 5 : int(CENTRE[1]) + 6, int(tip[0]) : int(CENTRE[0])] = True
    face.alpha, face.rgb = np.maximum(filled(source), inside).astype(np.float32), face.rgb
    face.rgb = np.broadcast_to(SKIN, (SIDE, SIDE, 3)).astype(np.float32) * face.alpha[..., None]
    dark = int(tip[0]) + 2  # a mark near the tip
    face.rgb[int(CENTRE[1]) - 2 : int(CENTRE[1]) + 3, dark : dark + 2] = 0.02
    picture = np.full((SIDE, SIDE, 3), PALE, np.float32)
    result = Compositor().compose(picture, face, mesh(source), FaceOutline.from_mesh(mesh(source)), outline, ATTRIBUTES)
    row = result.rgb[int(CENTRE[1]), : int(CENTRE[0]), 1]
    assert abs(int(row.argmin()) - dark) <= 2


def glassed(thick: int) -> tuple[np.ndarray, np.ndarray]:
    """A bald face, and dark lines of that thickness that run from its eyes outwards."""
    source = oval(90, 120)
    picture = np.broadcast_to(PALE, (SIDE, SIDE, 3)).copy()
    picture[filled(source)] = (0.77, 0.63, 0.57)
    if thick:
        picture[92 : 92 + thick, 48:75] = picture[92 : 92 + thick, 125:152] = 0.1
    return picture, source


def test_arms_of_glasses_are_taken_from_beside_the_face():
    plain, source = glassed(0)
    picture, _ = glassed(3)
    beside = np.s_[88:100, 46:54]
    assert np.abs(picture - plain)[beside].max() > 0.7
    left = np.abs(compose(picture, source, source).rgb - compose(plain, source, source).rgb)[beside]
    assert left.mean() < 0.02


def test_the_chin_takes_the_tone_of_the_frames_chin():
    source = oval(100, 140)
    skin = np.array([0.77, 0.63, 0.57], np.float32)
    shaded = skin - (0.06, 0.06, 0.08)
    picture = np.broadcast_to(PALE, (SIDE, SIDE, 3)).copy()
    picture[filled(source)] = skin
    plain = compose(picture, source, source).rgb
    lower = filled(source)
    lower[:140] = False
    picture[lower] = shaded
    result = compose(picture, source, source).rgb
    chin, brow = np.s_[158:164, 90:110], np.s_[70:90, 90:110]
    assert (plain[chin] - result[chin]).mean() > 0.015
    assert np.abs(plain[brow] - result[brow]).mean() < 0.02


def test_the_chin_takes_no_tone_from_what_is_greyer_than_skin():
    source = oval(100, 140)
    skin = np.array([0.77, 0.63, 0.57], np.float32)
    picture = np.broadcast_to(PALE, (SIDE, SIDE, 3)).copy()
    picture[filled(source)] = skin
    plain = compose(picture, source, source).rgb
    lower = filled(source)
    lower[:140] = False
    picture[lower] = (0.68, 0.64, 0.63)  # the shadow of a beard
    result = compose(picture, source, source).rgb
    assert np.abs(plain[158:164, 90:110] - result[158:164, 90:110]).max() < 0.015


def test_a_temple_before_a_bright_wall_has_an_edge():
    """No haze of skin over the wall."""
    source = oval(100, 140)
    picture = np.broadcast_to(np.ones(3, np.float32), (SIDE, SIDE, 3)).copy()
    picture[filled(source)] = (0.6, 0.48, 0.42)
    result = compose(picture, source, source).rgb
    assert result[75, 155:].min() > 0.97 and result[75, :45].min() > 0.97


def test_beside_the_border_the_ground_is_drawn_from_where_no_face_is():
    from deid.blending._blend import _FILL, _beside
    from deid.blending._kernels import ANCHOR, BINS

    tables = np.zeros((BINS + 1, 15), np.float32)
    tables[:, ANCHOR] = 30.0
    size = (np.float32(99), np.float32(99))
    centre = (np.float32(80), np.float32(50))
    x, y = _beside(tables, *centre, np.float32(99), np.float32(60), True, size)
    assert x == 99 and np.hypot(x - 80, y - 50) >= 30 and abs(y - 60) <= 16
    tables[:, ANCHOR] = 200.0
    assert _beside(tables, *centre, np.float32(99), np.float32(60), True, size)[0] == _FILL


def test_beside_hair_a_face_ends_as_softly_as_the_frames_own():
    from deid.blending._kernels import BINS, CORE, INNER, OUTER, STRETCH, directions
    from deid.blending.compositor import _into_hair

    down = directions()[: BINS // 2, 1]
    beside, below = down < 0.45, down > 0.66  # what is dark below a chin is a shadow or a collar
    y, x = np.mgrid[:200, :200].astype(np.float32)
    reach = np.hypot(x - 100, y - 100) / 60
    rim, above = np.full(BINS, 60, np.float32), np.zeros(BINS, np.float32)
    above[BINS // 2 :] = 1  # the upper half
    gate = np.ones((BINS // 2 + 1, 43), np.float32)

    def ends(softness: float, gate: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        skin = np.clip((0.96 - reach) / softness + 0.5, 0, 1)[..., None]
        picture = (skin * np.float32([0.8, 0.6, 0.5]) + (1 - skin) * 0.15).astype(np.float32)
        tables = np.zeros((9, BINS), np.float32)
        tables[INNER], tables[OUTER], tables[CORE], tables[STRETCH] = 60, 62, 40, 1
        _into_hair(tables, picture, np.float32([100, 100]), rim, gate, above, 0.5)
        assert (tables[CORE] <= tables[INNER] + 1e-3).all() and np.isfinite(tables).all()
        assert np.array_equal(tables[OUTER][above > 0], np.full(BINS // 2, 62, np.float32))
        assert (tables[INNER][: BINS // 2][below] == 60).all() and (tables[OUTER][: BINS // 2][below] == 62).all()
        return tables[INNER][: BINS // 2][beside], tables[OUTER][: BINS // 2][beside]

    hard, soft = ends(0.01, gate), ends(0.09, gate)
    assert (soft[1] - soft[0]).mean() > 1.5 * (hard[1] - hard[0]).mean()
    for inner, outer in (hard, soft):
        assert abs(float((inner + outer).mean()) / 2 - 0.96 * 60) < 2
    inner, outer = ends(0.09, 0 * gate)  # no hair
    assert (inner == 60).all() and (outer == 62).all()


def test_hair_is_not_looked_for_beyond_a_profile() -> None:
    from deid.blending._kernels import BINS
    from deid.blending.compositor import _not_beyond_profile

    above = np.zeros(BINS, np.float32)
    above[: BINS // 8] = 1.0
    for reach, kept in ((1.0, 1.0), (0.5, 0.0)):  # of a face from the front, and of a turned one's far side
        rim = np.full(BINS, 100.0, np.float32)
        rim[: BINS // 2] *= reach
        gate = np.ones((BINS // 2 + 1, 5), np.float32)
        _not_beyond_profile(gate, above, rim)
        assert (gate[: BINS // 16] == 1).all() and (gate[BINS // 4 + 1 : BINS // 2] == 1).all()
        assert np.allclose(gate[BINS // 16 + 1 : BINS // 4 - 1], kept)
