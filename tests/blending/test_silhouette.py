"""Where a face ends before a background, read off synthetic pictures; and hair before one."""

from __future__ import annotations

import numpy as np
import pytest

from deid.blending._hair import hair_colours
from deid.blending._kernels import BINS, directions
from deid.blending.silhouette import silhouette

SIDE, RIM = 320, 110.0
CENTRE = np.array([160.0, 160.0])
SKIN = np.array([0.75, 0.55, 0.47], np.float32)
WALL = np.array([0.95, 0.95, 0.97], np.float32)
BESIDE, ABOVE = np.zeros(BINS, np.float32), np.ones(BINS, np.float32)


def disc(*rings: tuple[float, np.ndarray], ground: np.ndarray = WALL) -> np.ndarray:
    """float32 (SIDE, SIDE, 3): discs about the centre, given by radius, share of RIM, and colour, the largest first."""
    y, x = np.mgrid[:SIDE, :SIDE]
    r = np.hypot(x - CENTRE[0], y - CENTRE[1])[..., None] / RIM
    out = np.broadcast_to(ground, (SIDE, SIDE, 3)).astype(np.float32)
    for radius, colour in rings:
        share = np.clip((radius - r) * RIM + 0.5, 0, 1)
        out = out + share * (colour - out)
    return out.astype(np.float32)


def found(
    picture: np.ndarray, above: np.ndarray = BESIDE, below: np.ndarray = BESIDE
) -> tuple[np.ndarray, np.ndarray]:
    return silhouette(picture, CENTRE, np.full(BINS, RIM, np.float32), above, below)


@pytest.mark.parametrize("place", [0.91, 0.95, 1.0, 1.03])
def test_a_clear_edge_is_found_where_it_is(place):
    where, sure = found(disc((place, SKIN)))
    assert np.abs(where - place).max() < 0.012
    assert sure.min() > 0.9


def test_beside_a_face_what_ends_far_out_is_an_ear():
    _, sure = found(disc((1.09, SKIN)))
    assert sure.max() < 0.1


def test_below_the_ears_a_jaw_may_end_far_out():
    where, sure = found(disc((1.07, SKIN)), below=np.ones(BINS, np.float32))
    assert np.abs(where - 1.07).max() < 0.015
    assert sure.min() > 0.9


@pytest.mark.parametrize("hair", [(0.25, 0.17, 0.12), (0.62, 0.42, 0.28)])
def test_below_the_ears_a_strip_of_hair_is_no_jaw(hair):
    where, sure = found(disc((1.07, np.array(hair, np.float32)), (1.0, SKIN)), below=np.ones(BINS, np.float32))
    assert not ((sure > 0.3) & (where > 1.03)).any()


def test_above_a_face_an_edge_may_lie_farther_out():
    where, sure = found(disc((1.1, SKIN)), ABOVE)
    assert np.abs(where - 1.1).max() < 0.015
    assert sure.min() > 0.9


def test_where_skin_ends_in_its_own_shade_a_face_has_not_ended():
    _, sure = found(disc((1.2, 0.4 * SKIN), (0.93, SKIN)))
    assert sure.max() < 0.1


def test_of_two_edges_the_inner_one_is_not_where_a_face_ends():
    red = np.array([0.75, 0.2, 0.25], np.float32)
    where, sure = found(disc((1.0, red), (0.9, SKIN)))
    assert not ((sure > 0.3) & (where < 0.95)).any()


def test_bright_hair_above_a_forehead_is_no_wall():
    rng = np.random.default_rng(0)
    hair = disc((0.98, SKIN))
    y, x = np.mgrid[:SIDE, :SIDE]
    outside = np.hypot(x - CENTRE[0], y - CENTRE[1]) > 0.98 * RIM
    strands = np.repeat(np.repeat(rng.uniform(-0.2, 0.05, (SIDE // 2, SIDE // 2, 1)), 2, axis=0), 2, axis=1)
    hair = np.clip(hair + outside[..., None] * strands, 0, 1).astype(np.float32)
    _, of_wall = found(disc((0.98, SKIN)), ABOVE)
    _, of_hair = found(hair, ABOVE)
    assert of_wall.min() > 0.9
    assert of_hair.max() < 0.3


def test_nothing_is_found_in_noise_or_on_a_blank_picture():
    rng = np.random.default_rng(1)
    for picture in (disc(), np.clip(disc() - rng.uniform(0, 0.1, (SIDE, SIDE, 3)), 0, 1).astype(np.float32)):
        where, sure = found(picture)
        assert sure.max() < 0.1
        assert np.isfinite(where).all()


def test_a_background_beyond_a_strip_of_hair_does_not_colour_it():
    black, blue = np.array([0.07, 0.07, 0.07], np.float32), np.array([0.18, 0.17, 0.36], np.float32)
    n, levels = len(directions()) // 2, 9
    ring = np.empty((n, levels, 3), np.float32)
    ring[:, :3], ring[:, 3:] = black, blue
    counts, half = np.ones((n, levels), np.float32), np.ones(n, np.float32)
    colour, trust = hair_colours(ring, np.broadcast_to(SKIN, (n, 3)).astype(np.float32), counts, half, 0.13)
    assert np.abs(colour - black).max() < 0.03
    assert trust.min() > 0.9
