"""The analysis on filmed photographs, where every face's place in every frame is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction

import numpy as np
import pytest

from deid import imaging
from deid.tracking.examine import Examiner
from deid.tracking.scan import Scanner, ScanResult
from deid.tracking.schedule import Schedule
from deid.tracking.stitch import stitch
from deid.tracking.tracker import Tracker
from deid.types import Evidence, Frame, PixelFormat, Shot, Track
from deid.virtual_camera import COLLINS, HOPPER, Picture, Pose, ShotPlan, film, hang

WIDTH, HEIGHT, FPS = 480, 360, 25
FORMAT = PixelFormat("yuv420p", 8, (1, 1), False, "bt601")


def frame_of(pixels: np.ndarray, index: int) -> Frame:
    packed = imaging.cvt_color(pixels, imaging.COLOR_BGR2YUV_I420)
    luma = packed[:HEIGHT]
    chroma = packed[HEIGHT:].reshape(2, HEIGHT // 2, WIDTH // 2)
    return Frame(index, index, Fraction(1, FPS), 1, (luma, chroma[0], chroma[1]), FORMAT)


class Filmed:
    """Pictures in the place of a reader: the scanner asks for nothing but frames."""

    def __init__(self, pictures: Sequence[Picture], change: Callable[[int, np.ndarray], np.ndarray] | None) -> None:
        self._pictures, self._change = pictures, change

    def __iter__(self) -> Iterator[Frame]:
        for i, picture in enumerate(self._pictures):
            pixels = picture.pixels if self._change is None else self._change(i, picture.pixels.copy())
            yield frame_of(pixels, i)


def analyse(
    pictures: Sequence[Picture],
    change: Callable[[int, np.ndarray], np.ndarray] | None = None,
    schedule: Schedule | None = None,
) -> tuple[list[Track], ScanResult]:
    examiner = Examiner()
    tracker = Tracker(examiner, threshold=0.2)
    plan = schedule or Schedule(10, 5, 1.0)
    with Scanner(Filmed(pictures, change), plan, threads=2) as scanner:
        for chunk in scanner:
            tracker.feed(chunk)
    examiner.close()
    result = scanner.result
    starts = [*result.shots, result.frames]
    shots = [Shot(a, b - 1) for a, b in zip(starts, starts[1:], strict=False)]
    return stitch(tracker.finish(), shots, FPS), result


def shot(photographs, frames, *poses: Pose) -> ShotPlan:
    return ShotPlan(hang(photographs), poses, frames)


def filmed(*plans: ShotPlan) -> list[Picture]:
    return list(film(plans, width=WIDTH, height=HEIGHT, fps=FPS))


def covered(box: np.ndarray, frame: int, tracks: Sequence[Track]) -> bool:
    """Whether some track lies on the face ``x0 y0 x1 y1``."""
    centre, height = (box[:2] + box[2:]) / 2, box[3] - box[1]
    return any(
        t.covers(frame)
        and np.hypot(*(t.box_at(frame)[:2] - centre)) < 0.25 * height
        and 0.6 < t.box_at(frame)[3] / height < 1.6
        for t in tracks
    )


@pytest.fixture(scope="module")
def two_people() -> list[Picture]:
    plan = shot([HOPPER, COLLINS], 40, Pose(0, 430, 260, 700, 0), Pose(1.6, 520, 230, 640, 4))
    return filmed(plan)


def test_two_people_are_two_unbroken_tracks(two_people):
    tracks, result = analyse(two_people)
    assert result.frames == 40
    assert len(tracks) == 2
    for track in tracks:
        assert (track.first, track.last) == (0, 39)
        assert track.confirmed
        assert set(track.evidence) <= {Evidence.SEARCHED, Evidence.LANDMARKS, Evidence.FLOW}
    assert all(covered(box, i, tracks) for i, picture in enumerate(two_people) for box in picture.faces)


def test_who_passes_before_somebody_takes_nobody_along():
    """A face slides across another, from one side to the other: no track is at one's place first and at the other's
    later."""
    count, low, high = 60, 70.0, 410.0
    picture = COLLINS.read()
    x0, y0, x1, y1 = (int(v) for v in COLLINS.face)
    head = imaging.resize(picture[y0 - 30 : y1 + 30, x0 - 30 : x1 + 30], (126, 164), interpolation=imaging.INTER_AREA)
    y, x = np.mgrid[-1:1:164j, -1:1:126j]
    opaque = (x**2 + y**2 < 0.95)[..., None]

    def place(frame: int) -> float:
        return low + (high - low) * frame / (count - 1)

    def pass_by(frame: int, pixels: np.ndarray) -> np.ndarray:
        left, top = round(place(frame)) - 63, 100
        window = slice(top, top + 164), slice(max(left, 0), min(left + 126, WIDTH))
        part = slice(max(-left, 0), min(126, WIDTH - left))
        pixels[window] = np.where(opaque[:, part], head[:, part], pixels[window])
        return pixels

    still = filmed(shot([HOPPER], count, Pose(0, 225, 225, 620), Pose(2.4, 225, 225, 621)))
    behind = (still[0].faces[0][:2] + still[0].faces[0][2:]) / 2
    tracks, _ = analyse(still, pass_by)
    stays = 0
    for track in tracks:
        if len(track.boxes) < 10:
            continue
        owners = set()
        seen = track.first + np.flatnonzero(track.evidence <= Evidence.FLOW)  # beyond, places are guessed
        for frame in (int(seen[0]), int(seen[-1])):
            near = {
                "who passes": abs(track.box_at(frame)[0] - place(frame)),
                "who stays": abs(track.box_at(frame)[0] - behind[0]),
            }
            owners |= {name for name, apart in near.items() if apart < 25 and max(near.values()) > 60}
        assert len(owners) <= 1, (track.id, seen[0], seen[-1])
        stays += owners == {"who stays"}
    assert stays >= 1


def test_far_fewer_searches_than_frames(two_people):
    _, result = analyse(two_people)
    assert result.searches <= 12


def test_roll_follows_the_head():
    pictures = filmed(shot([COLLINS], 30, Pose(0, 230, 150, 380, -25), Pose(1.2, 230, 150, 380, 25)))
    (track,), _ = analyse(pictures)
    assert np.degrees(track.boxes[0, 4]) == pytest.approx(-25, abs=8)
    assert np.degrees(track.boxes[-1, 4]) == pytest.approx(25, abs=8)


def test_no_track_crosses_a_cut():
    pictures = filmed(
        shot([HOPPER], 17, Pose(0, 250, 230, 480), Pose(0.7, 260, 230, 470)),
        shot([COLLINS], 18, Pose(0, 230, 150, 380), Pose(0.7, 225, 150, 370)),
    )
    tracks, result = analyse(pictures)
    assert result.shots == [0, 17]
    assert [(t.first, t.last) for t in tracks] == [(0, 16), (17, 34)]
    assert all(covered(p.faces[0], i, tracks) for i, p in enumerate(pictures))


def test_a_face_behind_something_is_covered_throughout():
    pictures = filmed(shot([COLLINS], 50, Pose(0, 230, 150, 400), Pose(2, 240, 150, 390)))

    def passer_by(i: int, pixels: np.ndarray) -> np.ndarray:
        left = int(-220 + 16 * i)
        pixels[:, max(left, 0) : max(left + 220, 0)] = (40, 60, 50)
        return pixels

    tracks, _ = analyse(pictures, passer_by)
    bare = [i for i, p in enumerate(pictures) if not covered(p.faces[0], i, tracks)]
    assert not bare
    assert len({t.id for t in tracks if len(t) > 10}) == 1


def test_a_face_first_found_late_is_covered_from_its_first_frame():
    pictures = filmed(shot([COLLINS], 36, Pose(0, 230, 150, 400), Pose(1.4, 240, 150, 390)))

    def lights_on(i: int, pixels: np.ndarray) -> np.ndarray:
        # too dark for the detector until a search falls on a bright frame, but there for flow to go back to
        return pixels if i >= 13 else (pixels * 0.3 + 8).astype(np.uint8)

    tracks, _ = analyse(pictures, lights_on)
    bare = [i for i, p in enumerate(pictures) if not covered(p.faces[0], i, tracks)]
    assert not bare


def test_coming_in_and_going_out_at_the_border():
    pictures = filmed(shot([COLLINS], 60, Pose(0, 560, 150, 400), Pose(1.2, 230, 150, 400), Pose(2.4, -130, 150, 400)))
    tracks, _ = analyse(pictures)
    for i, picture in enumerate(pictures):
        x0, _, x1, _ = picture.faces[0]
        visible = (min(x1, WIDTH) - max(x0, 0)) / (x1 - x0)
        if visible > 0.7:
            assert covered(picture.faces[0], i, tracks), f"frame {i}, {visible:.0%} of the face visible"


def test_same_frames_same_tracks(two_people):
    one, _ = analyse(two_people)
    other, _ = analyse(two_people)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a.boxes, b.boxes)
        np.testing.assert_array_equal(a.evidence, b.evidence)


def test_a_single_frame_is_a_clip():
    tracks, result = analyse(filmed(shot([COLLINS], 1, Pose(0, 230, 150, 400), Pose(1, 230, 150, 400))))
    assert result.frames == 1
    assert len(tracks) == 1
    assert len(tracks[0]) == 1


def test_an_error_while_decoding_reaches_the_caller():
    class Broken(Filmed):
        def __iter__(self) -> Iterator[Frame]:
            for i, frame in enumerate(super().__iter__()):
                if i == 9:
                    raise OSError("gone")
                yield frame

    pictures = filmed(shot([COLLINS], 20, Pose(0, 230, 150, 400), Pose(1, 230, 150, 400)))
    scanner = Scanner(Broken(pictures, None), Schedule(4, 4, 1.0), threads=1)
    with pytest.raises(OSError, match="gone"), scanner:
        list(scanner)


def test_leaving_early_stops_the_threads():
    pictures = filmed(shot([COLLINS], 60, Pose(0, 230, 150, 400), Pose(1, 230, 150, 400)))
    with Scanner(Filmed(pictures, None), Schedule(4, 4, 1.0), threads=1) as scanner:
        next(iter(scanner))
    assert scanner.result.frames < 60
