import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deid.recognition.chips import CHIP, chip_from_picture, cut_chip, similarity

FIVE = np.array([[45.0, 46.3], [103.0, 46.3], [73.5, 77.8], [49.5, 102.5], [100.0, 102.5]])
transforms = st.tuples(st.floats(0.05, 20), st.floats(-3.1, 3.1), st.floats(-3000, 3000), st.floats(-3000, 3000))


def moved(points, scale, angle, x, y):
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    return points @ np.array([[c, -s], [s, c]]).T + [x, y]


@given(transforms)
def test_similarity_is_found_exactly(by):
    found = similarity(FIVE, moved(FIVE, *by))
    back = moved(FIVE, *by) @ found[:, :2].T + found[:, 2]
    assert np.allclose(back, FIVE, atol=1e-5)


@given(transforms)
def test_five_points_are_laid_where_the_chip_wants_them(by):
    source = moved(FIVE, *by)
    transform = chip_from_picture(source)
    assert np.allclose(source @ transform[:, :2].T + transform[:, 2], FIVE, atol=1e-5)


def test_a_similarity_never_mirrors():
    found = similarity(FIVE, FIVE * [-1, 1])
    assert np.linalg.det(found[:, :2]) > 0


@pytest.mark.parametrize(
    "bad", [np.zeros((5, 2)), np.full((5, 2), np.nan), np.zeros((7, 2)), np.zeros(10), np.ones((478, 1))]
)
def test_landmarks_that_fit_nothing_are_refused(bad):
    with pytest.raises(ValueError):
        chip_from_picture(bad)


def test_chips_show_what_the_transform_says_at_any_scale():
    x = np.linspace(0, 1, 900)
    picture = np.dstack([np.tile(255 * x, (900, 1))] * 3).astype(np.uint8)
    for side in (900, 450, 90):  # shrinks by 6, by 3, grows
        scale = CHIP / side
        transform = np.array([[scale, 0, 0], [0, scale, 0]])
        chip = cut_chip(picture, transform)
        assert chip.shape == (CHIP, CHIP, 3) and chip.dtype == np.uint8
        across = np.arange(CHIP) / scale * 255 / 899
        middle = slice(5, -5)
        assert np.abs(chip[75, middle, 0] - across[middle]).max() < 2


def test_shrinking_averages_instead_of_picking_samples():
    picture = np.zeros((1200, 1200, 3), np.uint8)
    picture[:, ::2] = 255
    chip = cut_chip(picture, np.array([[0.125, 0, 0], [0, 0.125, 0]]))
    assert np.abs(chip[5:-5, 5:-5].astype(int) - 127).max() < 8
