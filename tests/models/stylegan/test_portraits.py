"""Single pictures: who is in one, under another's attributes."""

from __future__ import annotations

import numpy as np
import pytest

from deid.errors import InputError
from deid.models.stylegan.networks import Networks
from deid.models.stylegan.portraits import Portrait, between, composed, read_portrait
from deid.training.faces import crossed


@pytest.fixture(scope="module")
def loaded(small_files) -> Networks:
    return Networks.load(small_files.generator, None, small_files.mapper)


@pytest.fixture(scope="module")
def portraits(loaded) -> list[list[Portrait]]:
    """Two people under two sets of attributes, by row the attributes."""
    made = crossed(256, 5, 2)
    return [[read_portrait(loaded, np.ascontiguousarray(p.pixels[..., 2::-1])) for p in row] for row in made]


def test_the_same_person_is_nearer_than_another_under_the_same_attributes(portraits) -> None:
    same = np.linalg.norm(portraits[0][0].identity - portraits[1][0].identity)
    other = np.linalg.norm(portraits[0][0].identity - portraits[0][1].identity)
    assert same < other


def test_where_a_picture_is_cut_from_does_not_matter(loaded, portraits) -> None:
    """The face is found, and cut along its own square: a margin changes next to nothing."""
    (picture,) = crossed(256, 5, 1)[0]
    bgr = np.ascontiguousarray(picture.pixels[..., 2::-1])
    wide = np.pad(bgr, ((40, 60), (80, 20), (0, 0)), mode="edge")
    one, other = read_portrait(loaded, bgr), read_portrait(loaded, wide)
    assert np.linalg.norm(one.identity - other.identity) < 0.2
    assert np.abs(one.aligned.astype(int) - other.aligned.astype(int))[4:-4, 4:-4].mean() < 8


def test_no_face_is_said_in_one_sentence(loaded) -> None:
    with pytest.raises(InputError, match=r"no clear face in wall\.png"):
        read_portrait(loaded, np.full((200, 200, 3), 90, np.uint8), "wall.png")


def test_tables_have_a_row_an_attribute_and_a_column_an_identity(loaded, portraits) -> None:
    made = composed(loaded, portraits[0], [portraits[0][0]])
    assert made.shape == (1, 2, 32, 32, 3) and made.dtype == np.uint8
    alone = composed(loaded, portraits[0][1:], [portraits[0][0]])
    np.testing.assert_array_equal(made[0, 1], alone[0, 0])


@pytest.mark.parametrize("what", ["identity", "attributes"])
def test_an_interpolation_begins_and_ends_at_its_compositions(loaded, portraits, what: str) -> None:
    one, other = portraits[0]
    line = between(loaded, one, other, 5, what)
    ends = composed(loaded, [one, other], [one]) if what == "identity" else composed(loaded, [one], [one, other])
    # rounded: batches of another size add up otherwise
    assert np.abs(line[0].astype(int) - ends[0, 0].astype(int)).max() <= 1
    last = ends[0, 1] if what == "identity" else ends[1, 0]
    assert np.abs(line[-1].astype(int) - last.astype(int)).max() <= 1
