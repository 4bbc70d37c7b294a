"""What every engine that replaces faces keeps to, run over all of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from deid import pipeline
from deid.config import RunConfig
from deid.media import Reader
from deid.models.engine import Engine, open_engine
from deid.models.morphable.replacing import IN_DOUBT
from deid.plan import FaceAt, Replacement
from deid.progress import QuietProgress
from deid.types import Frame, Track

ENGINES = ("morphable", "stylegan")


@pytest.fixture(scope="module", params=ENGINES)
def options(request: pytest.FixtureRequest, small_files) -> dict[str, object]:
    """What ``RunConfig`` needs for each engine."""
    if request.param == "stylegan":
        return {"engine": "stylegan", "generator": small_files.generator, "mapper": small_files.mapper}
    return {"engine": request.param}


@dataclass(frozen=True, slots=True, eq=False)
class Inverted:
    engine: Engine
    track: Track
    replacement: Replacement
    frame: Frame

    def face(self) -> FaceAt:
        return FaceAt(self.track.id, int(self.replacement.rows[self.frame.index - self.track.first]))


@pytest.fixture(scope="module")
def inverted(options, face_clip) -> Iterator[Inverted]:
    """A clip with one face, as it is between the passes."""
    engine = open_engine(RunConfig(**options), 3)
    assert engine is not None
    analysis, seconds = pipeline.analyse(face_clip, RunConfig(), QuietProgress(), engine.observer)
    (replacement,) = engine.invert(analysis, seconds, QuietProgress()).values()
    with Reader(face_clip) as reader:
        frame = next(iter(reader))
    yield Inverted(engine, analysis.tracks[0], replacement, frame)
    engine.close()


def test_only_the_face_and_its_surroundings_change(inverted) -> None:
    frame, track = inverted.frame, inverted.track
    done = inverted.engine.paint(frame, [inverted.face()])
    cx, cy, w, h, _ = track.box_at(frame.index)
    y, x = np.mgrid[0 : frame.height, 0 : frame.width]
    far = (np.abs(x - cx) > 1.5 * w) | (np.abs(y - cy) > 1.3 * h)
    assert (done.planes[0][far] == frame.planes[0][far]).all()
    assert (done.planes[0] != frame.planes[0]).mean() > 0.01


def test_the_same_face_is_painted_the_same_again(inverted) -> None:
    first, again = (inverted.engine.paint(inverted.frame, [inverted.face()]) for _ in range(2))
    assert all((p == q).all() for p, q in zip(first.planes, again.planes, strict=True))


def test_nothing_of_the_face_is_left_in_its_middle(inverted) -> None:
    """The skin between the eyes and the chin is new: hardly a sample is what it was."""
    frame = inverted.frame
    done = inverted.engine.paint(frame, [inverted.face()])
    points = inverted.engine.source_points(inverted.face())
    left, right = points[33], points[263]
    x0, x1 = int(left[0]), int(right[0])
    y0, y1 = int(max(left[1], right[1])), int(points[17, 1])
    before, after = (p.planes[0][y0:y1, x0:x1].astype(int) for p in (frame, done))
    assert np.mean(np.abs(before - after) <= 1) < 0.35


def test_ten_bit_frames_keep_their_depth(inverted) -> None:
    frame = inverted.frame
    ten = dataclasses.replace(frame.format, depth=10, name="yuv420p10le")
    deep = dataclasses.replace(frame, format=ten, planes=tuple(p.astype(np.uint16) * 4 + 1 for p in frame.planes))
    done = inverted.engine.paint(deep, [inverted.face()])
    assert all(p.dtype == np.uint16 for p in done.planes)
    assert (done.planes[0][:8] == deep.planes[0][:8]).all()
    assert (done.planes[0] != deep.planes[0]).mean() > 0.01


def test_source_meshes_lie_in_the_frame(inverted) -> None:
    points = inverted.engine.source_points(inverted.face())
    assert points.shape == (478, 3) and np.isfinite(points).all()
    cx, cy, w, h, _ = inverted.track.box_at(inverted.frame.index)
    middle = points[:468, :2].mean(axis=0)
    assert abs(middle[0] - cx) < 0.4 * w and abs(middle[1] - cy) < 0.4 * h


def test_the_report_says_who_there_is(inverted) -> None:
    (person,) = inverted.engine.people()
    assert person.distance is None or person.distance >= 0
    assert not inverted.engine.decisions().fates  # nobody asked for anything else


def test_what_is_refused_is_not_replaced_any_more_with_a_soft_change_over(inverted) -> None:
    refused = inverted.engine.refuse(inverted.track.id, inverted.face().row, IN_DOUBT)
    assert (refused.weights[:5] == 0).all() and refused.reasons[0]
    assert (np.diff(refused.weights) >= 0).all() and ((refused.weights > 0) & (refused.weights < 1)).any()
    assert refused.weights[-1] == 1
    everything = inverted.engine.refuse(inverted.track.id, inverted.face().row, everywhere=True)
    assert (everything.weights == 0).all()


def test_the_same_seed_gives_the_same_bytes_and_another_another_person(options, face_clip, tmp_path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        config = RunConfig(**options, seed=seed, threads=2)
        pipeline.run(face_clip, tmp_path / f"{name}.mp4", config, QuietProgress())
    a, b, c = ((tmp_path / f"{n}.mp4").read_bytes() for n in "abc")
    assert a == b and a != c
