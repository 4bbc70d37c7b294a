"""What comes back from the landmark model: readings of a mesh, and the corrections that follow from them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deid.detection.landmarks import FaceLandmarker
from deid.models.morphable import calibrate, echo, fit_basis
from deid.models.morphable.appearance import load_appearance
from deid.models.morphable.codes import IdentityCode, Light, head_rotation
from deid.models.morphable.geometry import load_geometry
from deid.models.morphable.painter import Sitter
from deid.models.morphable.tracks import AttributeTrack

WINDOW = Light(
    np.array([[0.7] * 3, [0.1] * 3, [0.1] * 3, [0.45] * 3, *[[0.0] * 3] * 5], np.float32),
    np.array([0.36, 0.23, 0.17], np.float32),
    np.full(3, 0.6, np.float32),
)


def mesh() -> np.ndarray:
    """(478, 3): the mean head as a picture would show it."""
    points = fit_basis.fit_basis(load_geometry()).mean * (10, -10, -10)
    return np.concatenate([points, np.repeat(points[[473 - 5 - 95]], 10, axis=0)])


def looking(rows: int = 2) -> AttributeTrack:
    geometry = load_geometry()
    fields = {name: np.zeros(rows, np.float32) for name in AttributeTrack.__slots__}
    fields["frames"] = np.arange(rows, dtype=np.int32)
    fields["rotation"] = np.broadcast_to(np.eye(3), (rows, 3, 3)).copy()
    fields["scale"] = np.full(rows, 8.0)
    fields["distance"] = np.full(rows, 90.0)
    fields["expression"] = np.zeros((rows, len(geometry.expression)), np.float32)
    fields["gaze"] = np.zeros((rows, 2, 2), np.float32)
    fields["openness"] = np.ones((rows, 2), np.float32)
    fields["presence"] = np.ones(rows, np.float32)
    return AttributeTrack(**fields)


@settings(max_examples=20, deadline=None)
@given(st.floats(0.2, 5), st.floats(-0.5, 0.5), st.floats(-300, 300))
def test_a_reading_knows_no_size_place_or_lean(size: float, lean: float, shift: float) -> None:
    c, s = np.cos(lean), np.sin(lean)
    moved = mesh() @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]]) * size + (shift, -shift, 0)
    assert np.allclose(echo.reading(moved), echo.reading(mesh()), atol=1e-6)


@pytest.mark.parametrize("lean", [0.0, 179.5])
def test_heads_upside_down_are_turned_from_one_another_by_no_more_than_others(lean: float) -> None:
    def leaning(degrees: float) -> np.ndarray:
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        return mesh() @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])

    assert np.allclose(echo._turned(leaning(lean + 1), leaning(lean)), (0, 0, 1), atol=1e-6)


def test_higher_brows_read_higher() -> None:
    raised = mesh()
    raised[[285, 336, 55, 107], 1] -= 3
    apart = echo.reading(raised) - echo.reading(mesh())
    assert (apart[[0, 2]] > 0.02).all() and np.allclose(apart[[1, 3, 4, 5, 6]], 0)


def test_an_echo_is_as_strong_as_its_share() -> None:
    whole = echo.Echo(np.full(7, 0.4), 0.8, 1.2, np.array([0.1, 0.02]), np.array([1.2, 1.0]))
    assert np.allclose(whole.weaker(0.0).rest, 0) and whole.weaker(0.0).lids == 1
    assert np.allclose(whole.weaker(1.0).gaze, whole.gaze) and 0.8 < whole.weaker(0.5).lids < 1


def test_gaze_is_widened_about_where_it_usually_is() -> None:
    gaze = np.full((5, 2, 2), 0.1, np.float32)
    gaze[4] = 0.3
    out = echo.Echo(gain=np.array([2.0, 1.0]), gaze=np.array([0.0, 0.05])).looking(gaze)
    assert (
        np.allclose(out[:4, :, 0], 0.1)
        and np.allclose(out[4, :, 0], 0.5)
        and np.allclose(out[..., 1], gaze[..., 1] + 0.05)
    )


def test_rows_to_compare_are_seen_well() -> None:
    track = looking(40)
    track.openness[10:20] = 0
    trusted = np.ones(40, bool)
    trusted[30:] = False
    track.presence[:5] = 0.6  # covered in part
    rows = echo.telling_rows(track, trusted)
    assert 0 < len(rows) <= 8 and not set(rows.tolist()) & {*range(5), *range(10, 20), *range(30, 40)}
    assert not len(echo.telling_rows(track, np.zeros(40, bool)))


def test_eyes_that_are_narrow_throughout_are_compared_and_shut_ones_are_not() -> None:
    track = looking(12)
    track.openness[:6], track.openness[6:] = 0.3, 0.0
    rows = echo.telling_rows(track, np.ones(12, bool))
    assert len(rows) and rows.max() < 6


def test_rows_to_compare_are_of_open_mouths_too() -> None:
    track = looking(60)
    track.mouth[:] = 0.0
    track.mouth[40:46] = 0.8  # said in a tenth of the time
    assert (track.mouth[echo.telling_rows(track, np.ones(60, bool))] > 0.5).any()


@pytest.fixture(scope="module")
def heard() -> tuple[np.ndarray, np.ndarray, echo.Echo]:
    """A surrogate whose subject has lower brows, a wider mouth and smaller eyes: what is off before and after."""
    geometry, appearance = load_geometry(), load_appearance()
    skin, iris, detail = appearance.sample(np.random.default_rng(3))
    code = IdentityCode(np.zeros(len(geometry.identity), np.float32), skin, detail, iris)
    sitter, track, rows = Sitter.make(geometry, appearance, code, 256), looking(), np.arange(2)

    def make(heeded: echo.Echo) -> tuple[AttributeTrack, Sitter]:
        from dataclasses import replace

        return track, replace(sitter, neutral=heeded.at_rest(geometry, sitter.neutral))

    with FaceLandmarker() as landmarker:
        subject = echo.Echo(np.array([-0.5, -0.3, -0.5, -0.3, 0.2, 0.2, 0.25]))

        def shown(of: echo.Echo) -> np.ndarray:
            meshes = echo._read(geometry, landmarker, *make(of), rows, [WINDOW] * 2)
            return np.stack([mesh[0] for mesh in meshes if mesh is not None])

        def read(of: echo.Echo) -> np.ndarray:
            return np.stack([echo.reading(mesh) for mesh in shown(of)])

        found = echo.listen(geometry, landmarker, make, shown(subject), rows, [WINDOW] * 2)
        wanted = read(subject)
        return np.median(wanted - read(echo.Echo()), axis=0), np.median(wanted - read(found), axis=0), found


def test_what_is_off_is_put_right(heard: tuple[np.ndarray, np.ndarray, echo.Echo]) -> None:
    before, after, _ = heard
    assert np.abs(before[:4]).max() > 0.01
    assert np.linalg.norm(after[:7]) < 0.4 * np.linalg.norm(before[:7])


def test_corrections_are_bounded(heard: tuple[np.ndarray, np.ndarray, echo.Echo]) -> None:
    _, _, found = heard
    assert (np.abs(found.rest) <= 1).all() and 0.7 <= found.lids <= 1.25 and np.abs(found.gaze).max() < np.radians(15)


def test_a_slant_counts_less_than_what_both_sides_share() -> None:
    gap = np.array([0.03, 0.01, 0.01, 0.01, 0.02, -0.02, 0.0, 0.1, 0.0, 0.1, 0.2])
    out = echo._evened(gap)
    assert np.allclose(out[[0, 2]].mean(), 0.02) and 0 < out[0] - out[2] < 0.01
    assert np.allclose(out[4:6].sum(), 0) and 0 < out[4] < 0.01
    assert np.allclose(out[[1, 3, 6, 7, 8, 9, 10]], gap[[1, 3, 6, 7, 8, 9, 10]])


def test_eyes_are_read_in_the_measure_of_another_mesh() -> None:
    """A mesh that lies elsewhere than a landmark model says has no other eyes for that."""
    larger = mesh() * 1.2
    assert np.allclose(echo.reading(larger, mesh())[7], 1.2 * echo.reading(mesh())[7])
    raised = mesh()
    raised[468:, 1] -= 5
    up = echo.reading(raised)[10] - echo.reading(mesh())[10]
    assert up > 0 and np.isclose(echo.reading(raised, mesh() * 2)[10] - echo.reading(mesh(), mesh() * 2)[10], up / 2)


def test_irises_come_to_lie_where_the_subjects_do() -> None:
    """Whatever the landmark model makes of it: 8 degrees too high are seen in the mesh and are made up for."""
    geometry, appearance = load_geometry(), load_appearance()
    skin, iris, detail = appearance.sample(np.random.default_rng(3))
    code = IdentityCode(np.zeros(len(geometry.identity), np.float32), skin, detail, iris)
    sitter, rows = Sitter.make(geometry, appearance, code, 256), np.arange(2)

    def make(heeded: echo.Echo) -> tuple[AttributeTrack, Sitter]:
        track = looking()
        return track.with_values(gaze=heeded.looking(track.gaze + np.float32([0.0, np.radians(8.0)]))), sitter

    def read(of: echo.Echo) -> np.ndarray:
        found = echo._read(geometry, landmarker, *make(of), rows, [WINDOW] * 2)
        return np.stack([np.stack(meshes) for meshes in found if meshes is not None])

    with FaceLandmarker() as landmarker:
        subject, before = read(echo.Echo(gaze=np.array([0.0, np.radians(-8.0)])))[:, 1], read(echo.Echo())
        up = [[echo.reading(mesh)[10] for mesh in meshes] for meshes in (before[:, 0], before[:, 1], subject)]
        assert np.min(np.subtract(up[1], up[2])) > 0.06 and np.max(np.abs(np.subtract(up[0], up[1]))) > 0.01
        found = echo.listen(geometry, landmarker, make, subject, rows, [WINDOW] * 2)
    assert np.degrees(found.gaze[1]) < -4


def test_a_head_that_is_turned_otherwise_is_heard() -> None:
    geometry, appearance = load_geometry(), load_appearance()
    skin, iris, detail = appearance.sample(np.random.default_rng(8))
    code = IdentityCode(np.zeros(len(geometry.identity), np.float32), skin, detail, iris)
    sitter, track, rows = Sitter.make(geometry, appearance, code, 256), looking(), np.arange(2)
    away = track.with_values(rotation=track.rotation @ head_rotation(8.0, -6.0, 0.0))
    with FaceLandmarker() as landmarker:
        seen = echo._read(geometry, landmarker, away, sitter, rows, [WINDOW] * 2)
        meshes = np.stack([mesh[0] for mesh in seen if mesh is not None])
        found = echo.listen(geometry, landmarker, lambda _: (track, sitter), meshes, rows, [WINDOW] * 2)
    assert np.allclose(found.turned, (-8, 6, 0), atol=2.5)
    assert np.array_equal(found.weaker(0.0).turned, found.turned)


def test_what_was_heard_puts_a_pose_right_that_no_clear_picture_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every picture has a hand before the face: presence is what :data:`.held.COVERED` allows."""
    track = looking(1)
    track.presence[:] = 0.7
    likeness = SimpleNamespace(chip=np.zeros((8, 8, 3), np.uint8), points=mesh())
    codes = iter(np.eye(2, 128))
    monkeypatch.setattr(calibrate, "seen_in_places", lambda *_: (likeness.chip[None], next(codes)[None]))
    monkeypatch.setattr(calibrate, "_dressed", lambda *_: likeness)
    out, _ = calibrate.settled(
        load_geometry(), None, lambda _: next(codes)[None], lambda _: (track, None),
        echo.Echo(turned=np.array([2.0, -5.0, 1.0])), track, [(likeness, 0)],
    )  # fmt: skip
    assert np.allclose(out.yaw_pitch_roll()[0], (0.0, 3.5, -0.7), atol=0.3)
