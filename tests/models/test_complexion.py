"""What a seed draws on skin: within bounds, by age and gender, and nothing on a child that children lack."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from deid.models.morphable.complexion import HEIGHT, WIDTH, Complexion, grain, lids, nostrils, rested, tint, unlined

JAW = (slice(118, 130), slice(30, 45))  # rows, columns of the coarse grid


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), gender=st.floats(-1, 1), age=st.floats(18, 80))
def test_it_is_bounded_and_repeatable(seed: int, gender: float, age: float) -> None:
    style = Complexion.drawn(seed, gender, age)
    assert style == Complexion.drawn(seed, gender, age)
    smooth, fine = tint(style, seed), grain(style, seed)
    assert smooth.shape == (HEIGHT // 4, WIDTH // 4, 3)
    assert fine.shape == (HEIGHT, WIDTH)
    assert np.isfinite(smooth).all()
    assert np.abs(smooth).max() < 1.2
    assert 0.001 < fine.std() < 0.12
    np.testing.assert_array_equal(smooth, tint(style, seed))


def test_only_men_have_a_shaved_beard_and_no_child_has_one() -> None:
    men = [Complexion.drawn(k, -1, 40) for k in range(30)]
    women = [Complexion.drawn(k, 1, 40) for k in range(30)]
    boys = [Complexion.drawn(k, -1, 10) for k in range(30)]
    assert np.mean([m.stubble for m in men]) > 0.1
    assert all(w.stubble == 0 for w in women)
    assert all(b.stubble == 0 for b in boys)
    assert max(b.eyes for b in boys) < 0.1
    shaved = max(men, key=lambda m: m.stubble)
    bare = Complexion.drawn(0, 1, 40)
    assert tint(shaved, 1)[JAW].mean() < tint(bare, 1)[JAW].mean() - 0.05


def test_people_differ_in_colour() -> None:
    maps = np.stack([tint(Complexion.drawn(k, 0, 45), k) for k in range(12)])
    cheeks = maps[:, 65:82, 105:120, 1].mean((1, 2))
    assert cheeks.std() > 0.01


def test_folds_leave_the_young_and_stay_with_the_old() -> None:
    folded = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    folded[310:318, 150:250] = -0.3
    young, old = folded.copy(), folded.copy()
    unlined(young, 20)
    unlined(old, 60)
    np.testing.assert_array_equal(old, folded)
    assert young[312:316, 180:220].mean() > 0.6 * folded[312:316, 180:220].mean()


def test_lips_are_those_of_bare_lips_whatever_the_modes_make_of_them() -> None:
    from dataclasses import replace

    from deid.models.morphable.complexion import _lip_shapes, _zones, lips

    style = replace(Complexion.drawn(3, 0.0, 40.0), lips=0.0)
    red, ratio = (_zones()["lips"] > 0.6) & (_lip_shapes()[2] < 0.4), {}
    for name, before in (("pale", (0.2, 0.2, 0.2)), ("painted", (-0.2, -1.2, -0.9))):
        log = np.zeros((HEIGHT // 4, WIDTH // 4, 3), np.float32)
        log[_zones()["lips"] > 0.5] = before
        lips(log, style)
        assert np.ptp(log[_zones()["plain"] > 0.9]) < 0.1  # only lips change
        for place in ("upper", "lower"):
            ratio[name, place] = log[red & (_zones()[place] > 0.6)].mean(axis=0)
    for place in ("upper", "lower"):
        np.testing.assert_allclose(ratio["pale", place], ratio["painted", place], atol=0.06)
        # as on photographs of men: redder than skin by a third or so, and pinker
        assert 0.2 < ratio["pale", place][0] - ratio["pale", place][1] < 0.8
        assert ratio["pale", place][2] > ratio["pale", place][1]
    assert ratio["pale", "upper"].mean() < ratio["pale", "lower"].mean() - 0.08
    middle = log[HEIGHT // 8 - 3 :, WIDTH // 8 - 2 : WIDTH // 8 + 2].mean(axis=(1, 2))[: HEIGHT // 20]
    assert middle.min() < ratio["painted", "lower"].mean() - 0.1  # darkest where they meet


def test_shadows_of_other_peoples_noses_leave_the_upper_lip_and_nothing_else_changes() -> None:
    shaded = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    shaded[300:314, 270:370] = -0.5
    freed = shaded.copy()
    nostrils(freed)
    assert freed[305:309, 300:340].mean() > -0.25
    np.testing.assert_array_equal(freed[:260], shaded[:260])
    np.testing.assert_array_equal(freed[345:], shaded[345:])
    assert (freed >= shaded - 1e-6).all()


def test_skin_around_eyes_is_bounded_and_nowhere_else() -> None:
    light, dark = (np.full((220, 214), value, np.float32) for value in (0.5, -0.5))
    lids(light)
    lids(dark)
    assert light.min() < 0.1 and light[150].min() == light.max() == 0.5  # cheeks keep theirs
    assert -0.2 < dark.max() < -0.1 and dark[150].max() == dark.min() == -0.5  # dark circles may be darker than light


def test_the_young_have_less_shade_below_their_eyes_and_the_old_keep_theirs() -> None:
    shaded = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    shaded[190:225, 200:290] = -0.3
    young, grown, old = (shaded.copy() for _ in range(3))
    for log, age in ((young, 20.0), (grown, 36.0), (old, 60.0)):
        rested(log, age)
    below = np.s_[200:215, 230:260]
    assert young[below].mean() > grown[below].mean() + 0.05 > shaded[below].mean() + 0.1
    np.testing.assert_array_equal(old, shaded)
    np.testing.assert_array_equal(young[:150], shaded[:150])
    np.testing.assert_array_equal(young[275:], shaded[275:])
