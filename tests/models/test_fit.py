"""Inversion of meshes with known truth: pose, expression, openings, and what must not leak between them."""

from __future__ import annotations

import numpy as np
import pytest
from meshes import Truth, act, observe, person, still, turn

from deid.models.morphable import fit
from deid.models.morphable.geometry import Geometry, load_geometry
from deid.models.morphable.retarget import Retargeter
from deid.models.morphable.tracks import AttributeTrack, Observations

N = 60


@pytest.fixture(scope="module")
def geometry() -> Geometry:
    return load_geometry()


def talker(geometry: Geometry, seed: int = 3) -> Truth:
    """Two seconds of speech, blinks, brows, a one-sided smile, glances and a turning head."""
    rng = np.random.default_rng(seed)
    truth = still(geometry, N, person(geometry, rng))
    t = np.arange(N)
    jaw = 0.3 * np.clip(np.sin(t / 3.1), 0, 1)
    blink = np.interp(t, [0, 20, 22, 23, 26, 60], [0, 0, 1, 1, 0, 0])
    act(truth, geometry, jawOpen=jaw, mouthSmile_L=0.6 * (t > 35) * (t < 52), eyeBlink_L=blink, eyeBlink_R=blink)
    act(truth, geometry, browInnerUp_L=0.4 * (t > 40), browInnerUp_R=0.4 * (t > 40))
    truth.gaze[:, :, 0] = (0.35 * np.sin(t / 9.0))[:, None]
    truth.gaze[:, :, 1] = (0.12 * np.cos(t / 7.0))[:, None]
    turn(truth, np.stack([22 * np.sin(t / 10), 8 * np.cos(t / 8), 6 * np.sin(t / 13)], axis=1))
    return truth


@pytest.fixture(scope="module")
def talked(geometry: Geometry) -> tuple[Truth, Observations, fit.IdentityFit, AttributeTrack]:
    truth = talker(geometry)
    seen = observe(geometry, truth, np.random.default_rng(5))
    who = fit.fit_identity(geometry, seen)
    return truth, seen, who, attributes(geometry, who, seen)


def attributes(geometry: Geometry, who: fit.IdentityFit, seen: Observations) -> AttributeTrack:
    return fit.fit_attributes(geometry, who.shape, who.distance, seen, offsets=who.offsets, scale=who.scale)


def weight(geometry: Geometry, track: AttributeTrack, name: str) -> np.ndarray:
    return track.expression[:, geometry.expression_names.index(name)]


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a, b)[0, 1])


def test_the_pose_is_found(talked: tuple) -> None:
    truth, _, _, track = talked
    error = track.yaw_pitch_roll() - truth.angles
    assert np.abs(error - error.mean(axis=0)).max() < 2.0
    assert np.abs(error).mean(axis=0).max() < 3.0  # a constant pitch is also a shape
    assert track.residual.mean() < 0.02


def test_speech_and_smile_are_found_and_stay_one_sided(geometry: Geometry, talked: tuple) -> None:
    truth, _, _, track = talked
    for name in ("jawOpen", "mouthSmile_L", "browInnerUp_L"):
        known = truth.expression[:, geometry.expression_names.index(name)]
        assert correlation(weight(geometry, track, name), known) > 0.9, name
    smiling = truth.expression[:, geometry.expression_names.index("mouthSmile_L")] > 0
    left, right = (weight(geometry, track, f"mouthSmile_{side}")[smiling].mean() for side in "LR")
    assert left > 0.4 and right < 0.15


def test_eyes_close_when_they_close_and_nothing_else_moves_the_lids(talked: tuple) -> None:
    truth, _, _, track = talked
    shut, blinking = slice(22, 24), slice(18, 28)
    assert track.openness[shut].max() < 0.12
    rest = np.delete(track.openness, np.r_[blinking], axis=0)
    assert rest.min() > 0.7 and rest.max() < 1.3


def test_a_wink_is_one_eyes(geometry: Geometry) -> None:
    truth = still(geometry, 30, person(geometry, np.random.default_rng(1)))
    act(truth, geometry, eyeBlink_R=np.interp(np.arange(30), [0, 12, 14, 16, 18, 30], [0, 0, 1, 1, 0, 0]))
    seen = observe(geometry, truth, np.random.default_rng(2))
    track = attributes(geometry, fit.fit_identity(geometry, seen), seen)
    assert track.openness[14:17, 1].max() < 0.15
    assert track.openness[:, 0].min() > 0.85


def test_narrow_eyes_are_not_read_as_half_closed(geometry: Geometry) -> None:
    truth = still(geometry, 50, np.zeros(len(geometry.identity), np.float32))
    act(truth, geometry, eyeBlink_L=0.3, eyeBlink_R=0.3)
    seen = observe(geometry, truth, np.random.default_rng(2))
    track = attributes(geometry, fit.fit_identity(geometry, seen), seen)
    assert abs(float(np.median(track.openness)) - 1.0) < 0.12


def test_looking_down_with_the_head_does_not_close_the_eyes(geometry: Geometry) -> None:
    truth = still(geometry, 50, person(geometry, np.random.default_rng(8)))
    turn(truth, np.stack([np.zeros(50), np.linspace(-25, 25, 50), np.zeros(50)], axis=1))
    seen = observe(geometry, truth, np.random.default_rng(2))
    track = attributes(geometry, fit.fit_identity(geometry, seen), seen)
    assert track.openness.min() > 0.75


def test_gaze_follows_the_irises_and_waits_through_a_blink(talked: tuple) -> None:
    truth, _, _, track = talked
    awake = np.r_[0:19, 28:N]
    for axis, limit in ((0, 0.97), (1, 0.85)):
        assert correlation(track.gaze[awake, 0, axis], truth.gaze[awake, 0, axis]) > limit
    assert np.degrees(np.abs(track.gaze[awake] - truth.gaze[awake])).mean() < 4.0
    through = np.diff(track.gaze[20:27, :, 0], axis=0)
    assert np.degrees(np.abs(through)).max() < 6.0


def test_a_wrong_distance_hardly_turns_the_head(geometry: Geometry, talked: tuple) -> None:
    truth, seen, who, track = talked
    other = fit.fit_attributes(geometry, who.shape, np.inf, seen, offsets=who.offsets)
    assert np.isinf(other.distance).all()
    assert np.abs(other.yaw_pitch_roll() - track.yaw_pitch_roll()).mean(axis=0).max() < 4.0


def test_one_frame_is_enough_and_none_is_not(geometry: Geometry) -> None:
    truth = still(geometry, 1, person(geometry, np.random.default_rng(4)))
    seen = observe(geometry, truth, np.random.default_rng(5))
    who = fit.fit_identity(geometry, seen)
    assert np.isfinite(who.shape).all() and who.residual < 0.02
    assert len(attributes(geometry, who, seen)) == 1
    nobody = seen.take(np.zeros(0, int))
    with pytest.raises(ValueError, match="at least one"):
        fit.fit_identity(geometry, nobody)
    assert len(attributes(geometry, who, nobody)) == 0


def test_observations_must_go_together() -> None:
    points = np.zeros((2, 478, 3), np.float32)
    with pytest.raises(ValueError, match="increase"):
        Observations(np.array([3, 3], np.int32), points, np.ones(2, np.float32), (10, 10))
    with pytest.raises(ValueError, match="frames"):
        Observations(np.array([3], np.int32), points, np.ones(2, np.float32), (10, 10))


def test_the_same_meshes_give_the_same_codes(geometry: Geometry, talked: tuple) -> None:
    _, seen, who, track = talked
    again = fit.fit_identity(geometry, seen)
    assert np.array_equal(again.shape, who.shape) and again.distance == who.distance
    repeated = attributes(geometry, again, seen)
    assert all(np.array_equal(getattr(repeated, f), getattr(track, f)) for f in AttributeTrack.__slots__)


def test_windows_of_a_track_know_the_whole_track(geometry: Geometry, talked: tuple) -> None:
    _, seen, who, track = talked
    parts = [
        fit.fit_attributes(
            geometry, who.shape, who.distance, seen.take(rows), offsets=who.offsets, scale=who.scale, whole=False
        )
        for rows in (np.arange(0, 30), np.arange(30, N))
    ]
    joined = fit.finish_attributes(geometry, who.shape, AttributeTrack.joined(parts))
    assert np.array_equal(joined.frames, track.frames)
    assert np.abs(joined.openness - track.openness).max() < 0.05
    assert np.abs(joined.rotation - track.rotation).max() < 0.03


def test_another_face_opens_its_eyes_and_mouth_as_far(geometry: Geometry, talked: tuple) -> None:
    """Retargeted to somebody else, seen again as a mesh: the same openings."""
    truth, _, who, track = talked
    rng = np.random.default_rng(11)
    other = person(geometry, rng, 1.0)
    turned = Retargeter(geometry, who.shape, other)(track)
    copy = still(geometry, N, other)
    copy.expression, copy.gaze = turned.expression, turned.gaze
    turn(copy, truth.angles)
    seen = observe(geometry, copy, rng, noise=0.1)
    again = attributes(geometry, fit.fit_identity(geometry, seen), seen)
    for eye in range(2):
        assert correlation(again.openness[:, eye], track.openness[:, eye]) > 0.95
    assert again.openness[22:24].max() < 0.15
    assert correlation(again.mouth, track.mouth) > 0.97
    assert 0.8 < np.polyfit(track.mouth, again.mouth, 1)[0] < 1.25
    assert correlation(again.gaze[:, 0, 0], track.gaze[:, 0, 0]) > 0.97


def test_closed_lips_stay_closed_on_another_face(geometry: Geometry) -> None:
    truth = still(geometry, 20, person(geometry, np.random.default_rng(1)))
    seen = observe(geometry, truth, np.random.default_rng(2))
    who = fit.fit_identity(geometry, seen)
    turned = Retargeter(geometry, who.shape, person(geometry, np.random.default_rng(3)))(
        attributes(geometry, who, seen)
    )
    assert weight(geometry, turned, "jawOpen").max() < 0.05
    assert weight(geometry, turned, "eyeBlink_L").max() < 0.25


def test_eyes_held_narrower_than_others_stay_narrower_on_another_face(geometry: Geometry, talked: tuple) -> None:
    _, _, who, track = talked
    turner = Retargeter(geometry, who.shape, person(geometry, np.random.default_rng(5)))
    usual = turner(track).openness
    narrower = turner(track.with_values(aperture=track.aperture * np.float32(0.7))).openness
    open_eyes = usual > 0.5
    assert np.all(narrower[open_eyes] <= usual[open_eyes])
    assert np.median(narrower[open_eyes] / usual[open_eyes]) < 0.95
    assert usual.max() <= 1.5 and np.array_equal(narrower == 0, usual == 0)


def test_half_a_face_stays_half_a_face(geometry: Geometry) -> None:
    """A one-sided smile, and a palsy: the left side of the face does all of it, the right side nothing."""
    t = np.arange(N)
    pulse = np.clip(np.sin((t - 10) / 8.0), 0, 1) * (t > 10)
    truth = still(geometry, N, person(geometry, np.random.default_rng(8)))
    act(truth, geometry, mouthSmile_L=0.8 * pulse, browOuterUp_L=0.7 * pulse, browInnerUp_L=0.5 * pulse)
    turn(truth, np.stack([10 * np.sin(t / 12), 4 * np.cos(t / 9), 3 * np.sin(t / 7)], axis=1))
    seen = observe(geometry, truth, np.random.default_rng(9))
    who = fit.fit_identity(geometry, seen)
    track = attributes(geometry, who, seen)
    turned = Retargeter(geometry, who.shape, person(geometry, np.random.default_rng(10)))(track)
    for name in ("mouthSmile", "browOuterUp"):
        left, right = weight(geometry, turned, name + "_L"), weight(geometry, turned, name + "_R")
        assert correlation(left, pulse) > 0.9
        assert np.ptp(right) < 0.35 * np.ptp(left)


def test_the_noise_of_a_small_face_is_no_crooked_mouth_and_half_a_smile_of_a_large_one_stays(
    geometry: Geometry,
) -> None:
    names, apart = geometry.expression_names, {}
    pairs = [(i, names.index(f"{n[:-1]}R")) for i, n in enumerate(names) if n.startswith("mouth") and n.endswith("_L")]
    for scale in (3.5, 20.0):
        truth = still(geometry, 40, person(geometry, np.random.default_rng(4)), scale=scale)
        half = still(geometry, 1, truth.shape, scale=scale)
        act(half, geometry, mouthSmile_L=0.6)
        seen = observe(geometry, truth, np.random.default_rng(2), noise=0.5)
        who = fit.fit_identity(geometry, seen)
        track = attributes(geometry, who, seen)
        apart[scale] = max(float(np.abs(track.expression[:, i] - track.expression[:, k]).mean()) for i, k in pairs)
        smile = attributes(geometry, who, observe(geometry, half, np.random.default_rng(3), noise=0.5))
        left, right = (float(weight(geometry, smile, f"mouthSmile_{side}")[0]) for side in "LR")
        assert left - right > (0.12 if scale < 10 else 0.35)
    assert apart[3.5] < 0.15 and apart[20.0] < 0.06  # 0.3 without doubt


def test_a_pucker_is_a_pucker_and_not_both_sides_pulled(geometry: Geometry) -> None:
    """Also when it lasts for a third of the clip, which must not make it the person's mouth at rest."""
    t = np.arange(N)
    pucker = 0.9 * np.clip((t - 36) / 6.0, 0, 1)
    truth = still(geometry, N, person(geometry, np.random.default_rng(12)))
    act(truth, geometry, mouthPucker=pucker)
    seen = observe(geometry, truth, np.random.default_rng(13))
    track = attributes(geometry, fit.fit_identity(geometry, seen), seen)
    found = weight(geometry, track, "mouthPucker")
    assert correlation(found, pucker) > 0.95
    assert found[44:].mean() > 0.6 and found[:30].mean() < 0.15
    assert np.minimum(weight(geometry, track, "mouthLeft"), weight(geometry, track, "mouthRight")).max() < 0.05


@pytest.mark.parametrize("frames", [1, 12])
@pytest.mark.parametrize(
    ("weights", "least"),
    [
        ({"mouthSmile_L": 0.8, "mouthSmile_R": 0.8, "jawOpen": 0.1}, 0.75),
        ({"mouthSmile_L": 0.8}, 0.75),
        ({"jawOpen": 0.4}, 0.75),
        ({"browDown_L": 0.8, "browDown_R": 0.8}, 0.35),
        ({"mouthPucker": 0.7}, 0.5),
    ],
    ids=["smile", "half a smile", "open mouth", "frown", "pucker"],
)
def test_what_lasts_through_a_short_clip_is_done_and_not_who_it_is(
    geometry: Geometry, frames: int, weights: dict[str, float], least: float
) -> None:
    found = []
    for seed in (0, 1):
        rng = np.random.default_rng(seed)
        truth = still(geometry, frames, person(geometry, rng, 0.9))
        act(truth, geometry, **weights)
        seen = observe(geometry, truth, rng)
        track = attributes(geometry, fit.fit_identity(geometry, seen), seen)
        found.append(
            [weight(geometry, track, name).mean() for name in weights if name != "jawOpen" or len(weights) < 2]
        )
    wanted = [w for name, w in weights.items() if name != "jawOpen" or len(weights) < 2]
    assert (np.mean(found, axis=0) > least * np.array(wanted)).all(), found


def test_a_lasting_open_smile_is_no_closed_mouth(geometry: Geometry) -> None:
    rng = np.random.default_rng(5)
    subject, other = person(geometry, rng), person(geometry, rng)
    truth = still(geometry, 6, subject)
    act(truth, geometry, mouthSmile_L=0.8, mouthSmile_R=0.8, jawOpen=0.2)
    seen = observe(geometry, truth, rng)
    track = attributes(geometry, fit.fit_identity(geometry, seen), seen)
    turned = Retargeter(geometry, subject, other)
    assert turned._wanted_gap(track).min() > 0.62 * track.mouth.max() * turned._mouth_ratio


def test_frowns_reach_the_eyes_and_raised_brows_stay_as_they_are(geometry: Geometry, talked: tuple) -> None:
    _, _, who, track = talked
    names, expression = geometry.expression_names, track.expression.copy()
    brows = [names.index(f"brow{n}_L") for n in ("Down", "OuterUp")]
    turned = Retargeter(geometry, who.shape, who.shape)
    for weights, grows in (((0.7, 0.1), True), ((0.5, 0.5), False)):
        expression[:, brows] = weights
        expression[:, names.index("browInnerUp_L")] = 0.0
        after = turned(track.with_values(expression=expression)).expression[:, brows]
        after = after + turned.brows_held[brows]  # what lasts is how the face is at rest
        assert ((after[:, 0] > 1.05 * weights[0]) == grows).all()
        assert ((after[:, 1] < 0.9 * weights[1]) == grows).all()


def test_what_a_hand_hides_is_fitted_from_what_is_seen(geometry: Geometry, talked: tuple) -> None:
    truth, seen, who, _ = talked
    hidden = np.zeros((N, 468), bool)
    hidden[10:30] = fit.fit_basis(geometry).mean[:, 0] < -1.0  # two fifths of the face
    guessed = seen.points.copy()
    guessed[10:30, :468][:, hidden[10]] += (12.0, -9.0, 0.0)  # as a landmark model guesses behind a hand
    wrong = Observations(seen.frames, guessed, seen.presence, seen.size)
    whole = fit.completed(geometry, who, wrong, hidden)
    assert np.array_equal(whole.points[30:], guessed[30:]) and whole.points.dtype == np.float32
    told = np.flatnonzero(~hidden[10])
    assert np.array_equal(whole.points[:, told], guessed[:, told])
    before, after = (
        np.abs(attributes(geometry, who, o).yaw_pitch_roll() - truth.angles)[10:30].mean() for o in (wrong, whole)
    )
    assert after < 1.5 and after < 0.75 * before
    assert fit.completed(geometry, who, seen, np.zeros((N, 468), bool)) is seen
