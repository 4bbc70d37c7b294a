"""Following from a single sighting, as after the check of an output."""

from __future__ import annotations

import numpy as np
import pytest

from deid.detection import CenterFace
from deid.media import Reader
from deid.media.convert import bgr
from deid.tracking.patch import follow_sightings
from deid.types import Shot


@pytest.fixture(scope="module")
def found(face_clip):
    """What CenterFace sees in every frame."""
    detector = CenterFace()
    with Reader(face_clip) as reader:
        return [detector.detect(bgr(frame))[:1] for frame in reader]


def follow(clip, sightings, shots):
    with Reader(clip) as reader:
        return follow_sightings(reader, sightings, shots, 25.0, threshold=0.2, first_id=5)


@pytest.mark.parametrize("at", [0, 11, 23])
def test_one_sighting_covers_the_time_around_it(face_clip, found, at):
    (track,) = follow(face_clip, {at: found[at]}, [Shot(0, 23)])
    assert track.id == 5
    assert track.first <= max(0, at - 15)
    assert track.last >= min(23, at + 15)
    for i in range(track.first, track.last + 1):
        box, truth = track.box_at(i), found[i][0].box
        assert np.hypot(*(box[:2] - (truth[:2] + truth[2:]) / 2)) < 0.15 * (truth[3] - truth[1])


def test_a_cut_ends_it(face_clip, found):
    (track,) = follow(face_clip, {11: found[11]}, [Shot(0, 7), Shot(8, 23)])
    assert track.shot == 1
    assert track.first == 8


def test_two_sightings_of_one_face_are_one_track(face_clip, found):
    tracks = follow(face_clip, {4: found[4], 18: found[18]}, [Shot(0, 23)])
    assert len(tracks) == 1
    assert (tracks[0].first, tracks[0].last) == (0, 23)


def test_no_sighting_no_track(face_clip):
    assert follow(face_clip, {}, [Shot(0, 23)]) == []
