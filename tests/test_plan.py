"""Plans: every frame of every track is obscured, replaced or kept, and nothing falls between."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deid.config import RunConfig
from deid.errors import UsageError
from deid.media import Reader
from deid.plan import Replacement, State, behind, make_plan
from deid.types import Analysis, Shot, Track


@pytest.fixture(scope="module")
def media(face_clip):
    with Reader(face_clip) as reader:
        return replace(reader.info, average_rate=Fraction(25))


def track(number: int, first: int, length: int) -> Track:
    boxes = np.tile(np.array([100, 100, 80, 100, 0], np.float32), (length, 1))
    flat = np.zeros(length, np.float32)
    return Track(number, 0, first, boxes, np.zeros(length, np.uint8), flat, flat, True)


def analysis(media, *tracks: Track) -> Analysis:
    frames = max(t.last for t in tracks) + 1
    return Analysis(media, frames, (Shot(0, frames - 1),), tracks, (), 1)


@settings(max_examples=60, deadline=None)
@given(weights=st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=30), first=st.integers(0, 9))
def test_every_frame_is_dealt_with_once(media, weights: list[float], first: int) -> None:
    n = len(weights)
    given_ = Replacement(np.arange(n, dtype=np.int32), np.array(weights, np.float32), ("dark",) * n)
    plan = make_plan(analysis(media, track(4, first, n)), RunConfig(), {4: given_})
    for i, weight in enumerate(weights):
        frame = first + i
        faces, regions, veils = (len(d.get(frame, ())) for d in (plan.faces, plan.regions, plan.veils))
        if weight == 1:
            assert (faces, regions, veils) == (1, 0, 0) and plan.states[4][i] == State.REPLACED
        elif weight == 0:
            assert (faces, regions, veils) == (0, 1, 0) and plan.states[4][i] == State.OBSCURED
        else:
            assert (faces, regions, veils) == (1, 0, 1) and plan.states[4][i] == State.CHANGING
            assert plan.veils[frame][0].opacity == pytest.approx(1 - weight)
        if faces:
            assert plan.faces[frame][0].row == i
    assert plan.reasons[4] == ({"dark": weights.count(0.0)} if 0.0 in weights else {})
    assert plan.outcomes[4][0] == ("obscured" if weights.count(0.0) > n / 2 else "replaced")
    assert plan.replaces == any(weights)


def test_a_track_without_a_replacement_is_obscured_throughout(media) -> None:
    plan = make_plan(analysis(media, track(1, 0, 8)), RunConfig())
    assert sorted(plan.regions) == list(range(8)) and not plan.faces and plan.outcomes[1][0] == "obscured"


def test_kept_tracks_are_left_alone_even_when_they_could_be_replaced(media) -> None:
    both = analysis(media, track(1, 0, 8), track(2, 0, 8))
    ones = Replacement(np.arange(8, dtype=np.int32), np.ones(8, np.float32), ("",) * 8)
    plan = make_plan(both, RunConfig(keep=(2,)), {1: ones, 2: ones})
    assert [t.id for t in plan.kept] == [2] and (plan.states[2] == State.KEPT).all()
    assert all(len(faces) == 1 and faces[0].track == 1 for faces in plan.faces.values())


def test_keeping_somebody_who_is_not_there_is_refused(media) -> None:
    with pytest.raises(UsageError, match="track 9"):
        make_plan(analysis(media, track(1, 0, 8)), RunConfig(keep=(9,)))


def test_what_the_landmark_model_never_confirmed_is_obscured(media) -> None:
    unsure = replace(track(4, 0, 5), confirmed=False)
    given_ = Replacement(np.arange(5, dtype=np.int32), np.ones(5, np.float32), ("",) * 5)
    plan = make_plan(analysis(media, unsure, track(5, 0, 5)), RunConfig(), {4: given_, 5: given_})
    assert plan.outcomes[4] == ("obscured", "not confirmed as a face by the landmark model")
    assert (plan.states[4] == State.OBSCURED).all() and (plan.states[5] == State.REPLACED).all()
    assert all([face.track for face in faces] == [5] for faces in plan.faces.values())
    assert sorted(plan.regions) == [0, 1, 2, 3, 4]


def test_whole_heads_are_covered_when_asked(media) -> None:
    made = analysis(media, track(4, 0, 5))
    faces, heads = (make_plan(made, RunConfig(engine="solid", cover=cover)).regions[2][0] for cover in ("face", "head"))
    assert heads.contains(faces.outline(48)).all()
    top, hair = faces.cy - faces.ay, heads.cy - heads.ay
    assert hair < top - 20  # a fifth of the face's height above what covers the face: hair
    assert heads.ax > 1.2 * faces.ax


@pytest.mark.parametrize(
    ("at", "height", "hidden"),
    [((150, 190), 260, True), ((420, 190), 260, False), ((130, 130), 90, False)],
    ids=["nearer and before it", "nearer, elsewhere", "no nearer"],
)
def test_a_face_half_behind_an_obscured_one_is_told(
    media, at: tuple[int, int], height: int, hidden: bool
) -> None:
    here = track(1, 0, 5)
    other = replace(here, id=2, first=2, boxes=np.array([[*at, 0.8 * height, height, 0]] * 3, np.float32),
                    **{name: getattr(here, name)[:3] for name in ("evidence", "scores", "yaw")})  # fmt: skip
    shown = analysis(media, here, other)
    given_ = Replacement(np.arange(5, dtype=np.int32), np.ones(5, np.float32), ("",) * 5)
    found = behind(shown, make_plan(shown, RunConfig(), {1: given_}))
    wanted = [(f, 1, f) for f in (2, 3, 4)] if hidden else []
    assert [(frame, face.track, face.row) for frame, face in found] == wanted
