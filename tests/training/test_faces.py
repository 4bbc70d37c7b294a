"""Rendered faces: labels that are true, pairs that share what they should, the same pictures for the same seed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deid.errors import ModelError, UsageError
from deid.models.morphable.geometry import load_geometry
from deid.models.stylegan import alignment
from deid.progress import QuietProgress
from deid.training import dataset, labels
from deid.training.faces import Studio, crossed, degraded, pictures
from deid.training.scene import draw_how, draw_who, identity_numbers, parameters


@pytest.fixture(scope="module")
def studio() -> Studio:
    return Studio(128)


@pytest.fixture(scope="module")
def sitter(studio: Studio):
    rng = np.random.default_rng(4)
    who = draw_who(studio.geometry, studio.appearance, rng)
    how = draw_how(studio.geometry, rng, who)
    plain = replace(how, expression=0 * how.expression, yaw=0.0, pitch=0.0, glasses=0.0, beard=0.0, bald=0.0)
    return studio.cast(who), plain


def _value(picture, name: str) -> float:
    return float(picture.labels[labels.NAMES.index(name)])


def test_points_lie_where_a_landmark_model_sees_them() -> None:
    from deid.detection.landmarks import FaceLandmarker, Roi

    studio, rng = Studio(256), np.random.default_rng(8)
    off = []
    with FaceLandmarker() as landmarker:
        for _ in range(6):
            who = draw_who(studio.geometry, studio.appearance, rng)
            how = replace(draw_how(studio.geometry, rng, who), glasses=0.0, beard=0.0, yaw=0.0, pitch=0.0)
            picture = studio.shoot(studio.cast(who), how)
            found = landmarker.run(np.ascontiguousarray(picture.pixels[..., 2::-1]), Roi(127.5, 150, 230))
            if found.presence > 0.9:
                here = ((picture.points[:, :2] + 1) * 256 - 1) / 2
                off.append(np.linalg.norm(found.points[:468, :2] - here[:468], axis=1).mean())
    assert len(off) >= 4
    assert np.median(off) < 6.0  # pixels of 256


def test_faces_are_aligned_as_the_generators_pictures_are(studio: Studio, sitter) -> None:
    model, how = sitter
    for yaw in (-30.0, 0.0, 30.0):
        points = studio.shoot(model, replace(how, yaw=yaw)).points
        centre, way = alignment.squares(((points + 1) * 128 - 1)[None] / 2)
        assert np.allclose(centre[0], 63.5, atol=0.5)
        assert np.allclose(way[0], (64, 0), atol=0.7)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("yaw", {"yaw": 25.0}),
        ("pitch", {"pitch": 12.0}),
        ("baldness", {"bald": 0.9}),
        ("hair_length", {"length": 1.0}),
        ("beard", {"beard": 0.9}),
        ("glasses", {"glasses": 0.9}),
        ("gaze_across", {"gaze": np.array([0.4, 0.0])}),
    ],
)
def test_what_is_changed_shows_in_its_label_and_in_the_picture(studio: Studio, sitter, name: str, change: dict) -> None:
    model, how = sitter
    how = replace(how, length=0.1, gaze=np.zeros(2))
    before, after = studio.shoot(model, how), studio.shoot(model, replace(how, **change))
    assert _value(after, name) - _value(before, name) > 0.15
    assert np.abs(after.pixels.astype(int) - before.pixels).mean() > 0.02
    others = [n for n in labels.NAMES if n != name]
    assert all(abs(_value(after, n) - _value(before, n)) < 1e-6 for n in others)


@pytest.mark.parametrize("name", ["smile", "mouth_open", "eyes_closed", "brows_raised", "pucker"])
def test_expressions_move_points(studio: Studio, sitter, name: str) -> None:
    model, how = sitter
    weights = how.expression.copy()
    for shape in labels.EXPRESSIONS[name]:
        weights[studio.geometry.expression_names.index(shape)] = 0.8
    before, after = studio.shoot(model, how), studio.shoot(model, replace(how, expression=weights))
    assert _value(after, name) > 0.5 > _value(before, name)
    assert np.abs(after.points - before.points).max() > 0.02


def test_labels_are_named_and_bounded() -> None:
    assert len(labels.NAMES) == len(set(labels.NAMES)) >= 35
    found = np.stack([picture.labels for picture, _ in zip(pictures(64, 5, 1), range(100), strict=False)])
    assert found.shape[1] == len(labels.NAMES)
    assert (found >= 0).all() and (found <= 1).all()
    assert (found.std(axis=0) > 0.02).all(), [
        n for n, s in zip(labels.NAMES, found.std(axis=0), strict=True) if s <= 0.02
    ]


def test_the_same_seed_gives_the_same_pictures() -> None:
    first, second, other = (next(pictures(64, seed)) for seed in (3, 3, 4))
    assert np.array_equal(first.pixels, second.pixels) and np.array_equal(first.parameters, second.parameters)
    assert not np.array_equal(first.pixels, other.pixels)


def test_rows_share_attributes_and_columns_people() -> None:
    studio = Studio(64)
    own = identity_numbers(studio.geometry, studio.appearance)
    table = crossed(64, 6, 3)
    for i in range(3):
        for j in range(3):
            assert np.array_equal(table[i][j].parameters[:own], table[0][j].parameters[:own])
            same = table[i][j].parameters[own + 3 :], table[i][0].parameters[own + 3 :]  # but for the skin's tone
            assert np.array_equal(*same)


def test_parameters_have_about_unit_spread() -> None:
    studio, rng = Studio(64), np.random.default_rng(2)
    rows = []
    for _ in range(300):
        who = draw_who(studio.geometry, studio.appearance, rng)
        rows.append(parameters(who, draw_how(studio.geometry, rng, who)))
    spread = np.std(rows, axis=0)
    assert np.isfinite(rows).all()
    assert 0.3 < np.median(spread) < 1.5 and spread.max() < 3


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_footage_looks_worse_and_stays_a_picture(seed: int) -> None:
    rng = np.random.default_rng(seed)
    picture = rng.integers(0, 255, (32, 32, 3), np.uint8)
    out = degraded(picture, rng)
    assert out.shape == picture.shape and out.dtype == np.uint8


def test_a_data_set_is_filled_up_where_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "SHARD", 16)
    dataset.fill(tmp_path, 16, 1, 20, QuietProgress())
    first = dataset.load(tmp_path)
    (tmp_path / "faces-00001.safetensors").unlink()
    dataset.fill(tmp_path, 16, 1, 32, QuietProgress())
    again = dataset.load(tmp_path)
    assert len(again.pixels) == 32 and np.array_equal(first.pixels, again.pixels)
    assert np.array_equal(np.bincount(again.people), np.full(4, 8))
    with pytest.raises(UsageError):
        dataset.fill(tmp_path, 32, 1, 20, QuietProgress())
    (tmp_path / "faces-00000.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelError):
        dataset.load(tmp_path)


def test_batches_show_everything_once_before_anything_twice() -> None:
    order = dataset.batches(10, 3, np.random.default_rng(0))
    seen = np.concatenate([next(order) for _ in range(3)])
    assert len(set(seen.tolist())) == 9


def test_hairlines_leave_eyes_free() -> None:
    geometry = load_geometry()
    studio, rng = Studio(128), np.random.default_rng(1)
    for _ in range(10):
        who = draw_who(geometry, studio.appearance, rng)
        how = replace(draw_how(geometry, rng, who), glasses=0.0, hair=np.array([5.0, 0, 5.0]), white=np.ones(3))
        picture = studio.shoot(studio.cast(who), how)
        x, y = (((picture.points[:, :2] + 1) * 128 - 1) / 2).round().astype(int).T
        for eye in (468, 473):
            red, green, blue = picture.pixels[y[eye], x[eye], :3].astype(int)
            assert green > min(red, blue) - 60
