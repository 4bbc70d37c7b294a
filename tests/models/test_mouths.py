"""Mouths at rest look relaxed, whoever's they are; what lasts in a subject's mouth is no expression of another's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deid.models.morphable import apertures, mouths
from deid.models.morphable.fit_basis import fit_basis, surface_points
from deid.models.morphable.foretell import shape_reads
from deid.models.morphable.geometry import load_geometry
from deid.models.morphable.population import load_population
from deid.models.morphable.retarget import Retargeter

NOTHING = np.zeros((2, 2), np.float32)


def head(seed: int, female: float = 1.0) -> np.ndarray:
    geometry, people = load_geometry(), load_population()
    reads = np.sign(female) * shape_reads(len(people.centre))
    return geometry.neutral(people.draw(geometry, [np.random.default_rng(seed)], female, [40.0], reads, [0.2])[0])


def hanging(neutral: np.ndarray) -> float:
    """Centimetres by which the ends of the line between closed lips lie under its middle."""
    geometry = load_geometry()
    points = surface_points(geometry, geometry.pose(neutral, np.zeros(len(geometry.expression)), NOTHING))
    return float(points[[13, 14], 1].mean() - points[[78, 308], 1].mean())


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([-1.0, 1.0]))
def test_no_mouth_at_rest_frowns(seed: int, female: float) -> None:
    drawn = head(seed, female)
    relaxed = mouths.relaxed(load_geometry(), drawn)
    assert -0.1 < hanging(relaxed) < 0.12
    assert hanging(relaxed) < max(hanging(drawn), 0.0) + 0.02


def test_only_mouth_and_eyes_are_changed_and_the_mouth_stays_where_it_was() -> None:
    geometry, drawn = load_geometry(), head(3)
    relaxed = mouths.relaxed(geometry, drawn)
    moved = np.abs(relaxed - drawn).max(axis=1) > 0
    meant = np.union1d(geometry.motion.lip_region, geometry.motion.lid_region)  # corners of eyes: test_canthi.py
    assert not moved[np.setdiff1d(np.arange(len(drawn)), meant)].any()
    lips = geometry.motion.lip_region
    assert np.allclose(relaxed[lips][:, [0, 2]], drawn[lips][:, [0, 2]])
    before, after = (mouths._line(geometry, v) for v in (drawn, relaxed))
    assert abs(float((after[1] - before[1]) @ np.gradient(before[0]))) < 0.02
    thickness = [np.ptp(v[geometry.lips_outer, 1]) for v in (drawn, relaxed)]
    assert abs(thickness[1] - thickness[0]) < 0.08


def test_a_relaxed_mouth_is_relaxed() -> None:
    geometry = load_geometry()
    once = mouths.relaxed(geometry, head(5))
    twice = mouths.relaxed(geometry, once)
    first = np.abs(once - head(5)).max()
    assert np.abs(twice - once).max() < 0.45 * first


def test_each_hold_does_what_it_says() -> None:
    geometry = load_geometry()
    points = surface_points(geometry, np.array(mouths.holds(geometry)))
    left, right, wide = points
    assert left[291, 1] > 0.2 and abs(left[61, 1]) < 0.02 and right[61, 1] > 0.2 and abs(right[291, 1]) < 0.02
    assert wide[291, 0] > 0.5 and wide[61, 0] < -0.5 and np.abs(wide[[61, 291], 1]).max() == 0


@pytest.mark.parametrize("name", ["mouthFrown_L", "mouthShrugLower", "mouthSmile_L"])
def test_what_lasts_in_a_mouth_is_how_it_lies(name: str) -> None:
    geometry = load_geometry()
    turn = Retargeter(geometry, np.zeros(len(geometry.identity)), np.zeros(len(geometry.identity)))
    expression = np.zeros((20, len(geometry.expression)))
    column = geometry.expression_names.index(name)
    expression[:, column] = 0.28
    expression[15:, column] = 0.8
    left = turn._without_lasting(expression)[:, column]
    if name.startswith("mouthSmile"):  # whoever smiles all the time does smile
        assert np.allclose(left, expression[:, column])
    else:
        assert (left[:15] < 0.05).all() and (left[15:] > 0.45).all()


def test_somebody_who_mostly_looks_down_still_holds_the_eyes_as_others_do() -> None:
    aperture = np.r_[np.full(60, 0.05), np.full(50, 0.15), np.full(10, 0.31)]
    usual, _ = apertures.open_and_closed(aperture, np.ones(120))
    assert 0.22 < usual < 0.3


def test_eyes_that_hardly_differ_are_alike_and_a_wink_is_a_wink() -> None:
    aperture = np.full((80, 2), 0.26)
    aperture[10:20, 1] = 0.235
    aperture[40:50, 1] = 0.05
    openness = apertures.relative_openness(aperture, np.ones((80, 2)))
    assert np.abs(openness[10:20, 0] - openness[10:20, 1]).max() < 0.02
    assert openness[40:50, 1].max() < 0.1 and openness[40:50, 0].min() > 0.9


def test_eyes_that_differ_in_one_frame_close_together() -> None:
    aperture = np.full((40, 2), 0.26)
    aperture[20:24] = 0.05
    aperture[20, 0] = 0.22
    openness = apertures.relative_openness(aperture, np.ones((40, 2)))
    assert np.abs(openness[:, 0] - openness[:, 1]).max() < 0.02
    assert openness[21:24].max() < 0.1 and openness[20].max() < 0.6


def test_brows_that_rise_are_not_lowered_at_once() -> None:
    geometry = load_geometry()
    at = geometry.expression_names.index
    prior = fit_basis(geometry).prior
    assert prior[at("browDown_L"), at("browOuterUp_L")] > 1 and prior[at("browDown_L"), at("browInnerUp_L")] == 0
