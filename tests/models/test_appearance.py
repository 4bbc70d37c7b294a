"""The appearance model: what it draws is plausible, bounded, repeatable, and nobody's."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deid import imaging
from deid.errors import ModelError
from deid.models.morphable import appearance as module
from deid.models.morphable.appearance import TILE, Appearance, load_appearance
from deid.models.morphable.brows import COUNT, BrowStyle, brows
from deid.models.morphable.codes import IdentityCode
from deid.models.morphable.complexion import Complexion

ROOT = Path(__file__).parents[2]
CHEEK = (slice(310, 400), slice(210, 300))  # rows, columns of the tile


@pytest.fixture(scope="module")
def model() -> Appearance:
    return load_appearance()


def drawn(model: Appearance, seed: int, gender: float | None = None, age: float | None = None) -> IdentityCode:
    skin, iris, detail = model.sample(np.random.default_rng(seed), gender, age)
    return IdentityCode(np.zeros(1, np.float32), skin, detail, iris)


def roughness(albedo: np.ndarray) -> float:
    grey = np.log(albedo.mean(2))
    return float((grey - imaging.gaussian_blur(grey, (0, 0), 3))[CHEEK].std())


@pytest.mark.parametrize("gender", [-1.0, 1.0])
@pytest.mark.parametrize("brows", [-2.5, 1.2])
def test_whose_brows_they_are_tells_nothing_of_age_or_gender(model: Appearance, gender: float, brows: float) -> None:
    """Dark brows, which a surrogate has from its subject, used to read as somebody 28 years younger."""
    for seed, years in enumerate((30.0, 50.0, 78.0)):
        skin, _, _ = model.sample(np.random.default_rng(seed), gender, years, brows=brows)
        side, age = model.traits(skin)
        assert abs(age - years) < 1 and abs(side - gender) < 0.05


def test_the_asset_is_small_and_holds_statistics_only(model: Appearance) -> None:
    assert (Path(module.__file__).with_name("appearance.safetensors")).stat().st_size < 15e6
    assert len(model.luma_modes) >= 40
    assert len(model.detail) >= 8
    # Mixtures of many are Gaussian; one person's remainder has heavy tails (kurtosis far above 3).
    patch = model.detail[:, 250:420, 120:520].astype(np.float64)
    kurtosis = (patch**4).mean((1, 2)) / (patch**2).mean((1, 2)) ** 2
    assert kurtosis.max() < 4


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), gender=st.floats(-1, 1), age=st.floats(20, 80))
def test_draws_are_bounded_and_keep_what_was_asked_for(seed: int, gender: float, age: float) -> None:
    model = load_appearance()
    skin, iris, detail = model.sample(np.random.default_rng(seed), gender, age)
    assert skin.dtype == iris.dtype == np.float32
    assert skin.shape == (model.modes,) == model.gender.shape == model.age.shape
    assert iris.shape == (3,)
    assert ((iris > 0.005) & (iris < 0.6)).all()
    assert 0 <= detail < 2**31
    assert np.abs(skin).max() < 6
    got_gender, got_age = model.traits(skin)
    assert got_gender == pytest.approx(gender, abs=1e-3)
    assert got_age == pytest.approx(age, abs=0.05)


def test_children_have_the_skin_of_the_youngest_donors_and_are_known_for_children(model: Appearance) -> None:
    child = model.sample(np.random.default_rng(3), 0.0, 8.0)[0]
    youngest = model.sample(np.random.default_rng(3), 0.0, 20.0)[0]
    year = 0.1 * np.linalg.norm(model.age)
    assert 0 < np.linalg.norm(child - youngest) < year
    assert model.traits(child)[1] == pytest.approx(8, abs=0.05)
    assert model.traits(youngest)[1] == pytest.approx(20, abs=0.05)


@pytest.mark.parametrize("gender", [-1.0, 1.0])
def test_no_beard_bags_or_lipstick_on_children(model: Appearance, gender: float) -> None:
    for seed in range(40):
        skin, _, detail = model.sample(np.random.default_rng(seed), gender, 9.0)
        style = Complexion.drawn(detail, *model.traits(skin))
        grown = Complexion.drawn(detail, gender, 45.0)
        assert style.stubble == 0
        assert style.eyes < 0.08
        assert style.lips <= 0.24  # bare
        assert style.eyes <= grown.eyes


@pytest.mark.parametrize("size", [256, 512, 1024])
def test_albedo_is_relative_finite_and_positive(model: Appearance, size: int) -> None:
    albedo = model.albedo(drawn(model, 1), size)
    assert albedo.shape == (size, size, 3)
    assert albedo.dtype == np.float32
    assert np.isfinite(albedo).all()
    assert albedo.min() > 0.01
    assert albedo.max() < 3.2
    cheeks = albedo[int(0.40 * size) : int(0.52 * size), int(0.27 * size) : int(0.73 * size)]
    np.testing.assert_allclose(cheeks.mean((0, 1)), 1, atol=0.16)


def test_the_same_code_gives_the_same_texture_and_others_differ(model: Appearance) -> None:
    code = drawn(model, 2)
    first = model.albedo(code)
    np.testing.assert_array_equal(first, model.albedo(code))
    other = model.albedo(replace(code, detail=code.detail + 1))
    assert 0.004 < np.abs(first - other).mean() < 0.2
    assert np.abs(first - model.albedo(drawn(model, 3))).mean() > 0.02


def test_no_colour_casts_no_side_light_no_seams(model: Appearance) -> None:
    for seed in range(4):
        log = np.log(model.albedo(drawn(model, seed), TILE))
        low = imaging.gaussian_blur(log, (0, 0), 20)
        skin = low[110:520, 150:618]
        away = np.ones(skin.shape[:2], bool)
        away[30:130], away[260:400, 110:360] = False, False  # brows and eyes, mouth
        assert np.abs(skin[..., 0] - skin[..., 2])[away].std() < 0.12
        grey = low.mean(2)
        assert np.abs(grey - grey[:, ::-1])[330:480, 150:618].max() < 0.1
        assert np.abs(np.diff(imaging.gaussian_blur(log.mean(2), (0, 0), 3)[:130], axis=0)).max() < 0.06


def test_older_skin_is_rougher(model: Appearance) -> None:
    young = np.mean([roughness(model.albedo(drawn(model, s, 0.0, 28.0), TILE)) for s in range(3)])
    old = np.mean([roughness(model.albedo(drawn(model, s, 0.0, 75.0), TILE)) for s in range(3)])
    assert 0.006 < young < 0.8 * old
    assert old < 0.12


def test_brows_are_dark_sharp_and_thinner_on_women(model: Appearance) -> None:
    women, men = (np.mean([drawn(model, s, g, 40.0).appearance[-COUNT:] for s in range(20)], axis=0) for g in (1, -1))
    covers = [np.zeros((512, 512)) for _ in (women, men)]
    for cover, numbers in zip(covers, (women, men), strict=True):
        rows, part, hair = brows(BrowStyle.of(numbers), 4, 512)
        cover[rows] = part
        assert part[0].max() == part[-1].max() == 0  # the rows hold them whole
        assert (hair > 0).all()
    assert covers[0].sum() < 0.85 * covers[1].sum()
    for cover in covers:
        assert cover.min() >= 0
        assert 0.7 < cover.max() <= 1
        assert cover[:85].max() < 0.02  # none on the forehead
        assert cover[150:].max() < 0.02  # nor below the eyes
        assert cover[:, 250:262].max() < 0.5  # nor grown together
    albedo = model.albedo(drawn(model, 5, -1, 40.0), TILE).mean(2)
    assert albedo[150:170, 220:330].mean() < 0.75 * albedo[90:120, 220:330].mean()


def test_gloss_and_bumps_fit_the_tile(model: Appearance) -> None:
    gloss = model.gloss(256)
    assert gloss.shape == (256, 256)
    assert gloss.dtype == np.float32
    assert gloss.min() > 0.3
    assert gloss[100, 128] > gloss[100, 70]  # the nose shines more than a cheek
    bumps = model.bumps(drawn(model, 1), 256)
    assert bumps.shape == (256, 256)
    assert np.abs(bumps).max() <= 1.0 + 1e-6


def test_a_code_of_another_model_is_refused(model: Appearance) -> None:
    code = drawn(model, 1)
    with pytest.raises(ValueError, match="coefficients"):
        model.albedo(replace(code, appearance=code.appearance[:-1]))


def test_a_missing_or_damaged_asset_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path / "short"):
        if path.name == "short":
            path.write_bytes(b"1234")
        monkeypatch.setattr(module, "_ASSET", path)
        load_appearance.cache_clear()
        with pytest.raises(ModelError, match="install deid again"):
            load_appearance()
    load_appearance.cache_clear()


def test_light_is_found_under_highlights(monkeypatch: pytest.MonkeyPatch) -> None:
    """The builder's robust fit: a tenth of the skin shines, and the harmonics stay."""
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    face_delight = pytest.importorskip("face_delight")
    rng = np.random.default_rng(0)
    normal = rng.normal(size=(3000, 3)) + (0, 0, 2)
    normal[:, 2] = np.abs(normal[:, 2]) + 0.3
    basis = face_delight.harmonics(normal / np.linalg.norm(normal, axis=1, keepdims=True))
    truth = np.array([0.5, 0.1, 0.08, 0.2, 0, 0.02, 0, 0, 0.02])[:, None] * [1.0, 0.8, 0.6]
    colour = basis @ truth * np.exp(rng.normal(0, 0.03, (3000, 1)))
    colour[:300] *= 2.5
    solved, spread = face_delight._light(basis, colour, np.ones(3000))
    assert np.percentile(np.abs(np.log(basis @ solved / (basis @ truth))), 98) < 0.05
    assert spread < 0.1
    for name in ("face_delight", "face_textures"):
        sys.modules.pop(name, None)
