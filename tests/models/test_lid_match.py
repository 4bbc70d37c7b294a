"""Eyes are framed as the subject's are."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deid.models.morphable import lid_match
from deid.models.morphable.appearance import load_appearance
from deid.models.morphable.codes import Camera, IdentityCode, Light, head_rotation
from deid.models.morphable.finish import CODE_TO_LINEAR8, to_code
from deid.models.morphable.fit_basis import surface_points
from deid.models.morphable.geometry import Geometry, load_geometry
from deid.models.morphable.lashes import usual_lashes
from deid.models.morphable.lid_match import lids_like
from deid.models.morphable.painter import Sitter
from deid.models.morphable.photo_lids import of_lids
from deid.models.morphable.trial import coded8

SCALE, SIDE = 12.0, 264


@pytest.fixture(scope="module")
def geometry() -> Geometry:
    return load_geometry()


@pytest.fixture(scope="module")
def sitter(geometry: Geometry) -> Sitter:
    appearance = load_appearance()
    code = IdentityCode(
        np.zeros(len(geometry.identity), np.float32), appearance.centre.astype(np.float32), 3,
        np.array([0.2, 0.14, 0.1], np.float32),
    )  # fmt: skip
    return Sitter.make(geometry, appearance, code, 256)


def photographed(geometry: Geometry, sitter: Sitter) -> tuple[np.ndarray, np.ndarray]:
    """uint8 (h, w, 3) and the mesh in it."""
    camera = Camera(head_rotation(3.0, 0.0, 2.0), SCALE, np.array([0.5 * SIDE, 0.5 * SIDE]), 110.0)
    sh = np.zeros((9, 3), np.float32)
    sh[0], sh[2], sh[3] = 0.66, 0.16, 0.44
    light = Light(sh, np.array([0.5, 0.34, 0.26], np.float32), np.full(3, 0.7, np.float32))
    face = sitter.renderer.render(sitter.neutral, camera, light, SIDE, SIDE)
    points = np.asarray(camera.project(surface_points(geometry, sitter.neutral)), np.float32)
    return coded8(to_code(face.rgb)), points


def line(geometry: Geometry, sitter: Sitter) -> float:
    return float(CODE_TO_LINEAR8[of_lids(*photographed(geometry, sitter))][:, 0].mean())


def test_the_line_of_lashes_darkens_with_their_strength(geometry: Geometry, sitter: Sitter) -> None:
    lines = [line(geometry, sitter.with_lashes(s)) for s in (0.7, 1.5, 3.0, 5.0)]
    assert all(after < 0.97 * before for before, after in zip(lines, lines[1:], strict=False))
    lids = [of_lids(*photographed(geometry, sitter.with_lashes(s)))[:, 1].astype(int) for s in (0.7, 5.0)]
    assert abs(lids[0] - lids[1]).max() < 30  # what is above the line is another measure


def test_a_measure_does_not_mind_a_few_pixels(geometry: Geometry, sitter: Sitter) -> None:
    picture, mesh = photographed(geometry, sitter)
    moved = of_lids(picture, (mesh + (0.0, 1.5, 0.0)).astype(np.float32)).astype(float)
    assert np.abs(moved[:, 0] - of_lids(picture, mesh)[:, 0]).max() < 12


@pytest.mark.parametrize("way", [(-500.0, 0.0, 0.0), (0.0, 500.0, 0.0), (0.0, -155.0, 0.0)])
def test_eyes_outside_tell_nothing(geometry: Geometry, sitter: Sitter, way: tuple[float, float, float]) -> None:
    picture, mesh = photographed(geometry, sitter)
    assert not of_lids(picture, (mesh + way).astype(np.float32)).any()
    assert not of_lids(picture, (0.1 * mesh).astype(np.float32)).any()  # too small


@pytest.mark.parametrize("strength", [0.7, 1.6])
def test_a_surrogate_gets_the_subjects_lashes(
    geometry: Geometry, sitter: Sitter, strength: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = sitter.with_lashes(strength * sitter.lashes)
    seen = CODE_TO_LINEAR8[of_lids(*photographed(geometry, subject))]
    asked: list[float] = []

    def of(_geometry: Geometry, other: Sitter, *_: object) -> np.ndarray:
        asked.append(other.lashes)
        return CODE_TO_LINEAR8[of_lids(*photographed(geometry, other))]

    monkeypatch.setattr(lid_match, "_lids", of)
    attributes = SimpleNamespace(yaw_pitch_roll=lambda: np.zeros((4, 3)), scale=np.full(4, SCALE))
    codes = SimpleNamespace(
        lids=np.stack([seen] * 4), witnessed=range(4), attributes=attributes,
        trust=SimpleNamespace(trusted=np.ones(4, bool)), things={},
    )  # fmt: skip
    shown = lids_like(geometry, sitter, codes, None)  # type: ignore[arg-type]
    assert set(asked) == {1.0, 3.0}
    assert shown.lashes / sitter.lashes == pytest.approx(strength**0.85, rel=0.25)
    attributes.scale = np.full(4, 3.0)
    assert lids_like(geometry, sitter, codes, None) is sitter  # type: ignore[arg-type]
    attributes.scale, codes.lids = np.full(4, SCALE), np.zeros_like(codes.lids)
    assert lids_like(geometry, sitter, codes, None) is sitter  # type: ignore[arg-type]


def test_a_lids_tint_is_a_lids(geometry: Geometry) -> None:
    part = lid_match._lid_part(geometry, 128)
    assert part.shape == (128, 128) and part.min() >= 0.0 and 0.8 < part.max() <= 1.0
    assert 0.002 < part.mean() < 0.06


@given(st.floats(-1, 1), st.floats(5, 95), st.integers(0, 2**31))
def test_usual_lashes(gender: float, age: float, seed: int) -> None:
    strength = usual_lashes(gender, age, seed)
    assert 0.6 < strength < 3.3
    assert strength == usual_lashes(gender, age, seed)
    if age < 12:
        assert strength == usual_lashes(-gender, age, seed)  # nothing is painted on a child
    elif age > 20:
        assert usual_lashes(1.0, age, seed) > usual_lashes(-1.0, age, seed)
