"""What attackers are shown: two takes of a photograph, and parts of a picture."""

from __future__ import annotations

import _attack_clips as clips
import numpy as np
from _portraits import OVAL

from deid.virtual_camera import HOPPER


def test_two_takes_of_a_photograph_differ_and_are_repeatable() -> None:
    picture = HOPPER.read()
    first, again, other = (list(clips.filmed(picture, take, 3)) for take in (0, 0, 1))
    assert len(first) == clips.FRAMES and first[0].shape == (clips.SIDE, clips.SIDE, 3)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert np.abs(first[0].astype(int) - other[0]).mean() > 4
    assert np.abs(first[0].astype(int) - first[-1]).mean() > 0.2  # the camera moves


def test_a_part_is_levelled_and_the_rest_stays() -> None:
    rgb = np.random.default_rng(1).integers(0, 255, (60, 60, 3), np.uint8)
    points = np.zeros((478, 3))
    angle = np.linspace(0, 2 * np.pi, len(OVAL), endpoint=False)
    points[OVAL, 0], points[OVAL, 1] = 30 + 15 * np.sin(angle), 30 - 20 * np.cos(angle)
    without, alone = clips.levelled(rgb, points, inside=True), clips.levelled(rgb, points, inside=False)
    assert len(np.unique(without[25:35, 25:35].reshape(-1, 3), axis=0)) == 1
    assert np.array_equal(without[:5], rgb[:5]) and np.array_equal(alone[25:35, 25:35], rgb[25:35, 25:35])
    assert len(np.unique(alone[:5].reshape(-1, 3), axis=0)) == 1
