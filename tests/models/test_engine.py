"""The morphable engine from the outside: a rendered talker and a filmed photograph go in, other people come out."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from deid import pipeline
from deid.audit import attributes as measure
from deid.config import RunConfig
from deid.detection.landmarks import FaceLandmarker, roi_from_landmarks
from deid.media import Reader, read_mark
from deid.media.convert import bgr
from deid.models.morphable.engine import MorphableEngine
from deid.plan import FaceAt
from deid.progress import QuietProgress
from deid.recognition.thresholds import FAR_1E3
from deid.report import RunReport


def go(source, target, **options) -> RunReport:
    return pipeline.run(source, target, RunConfig(engine="morphable", **options), QuietProgress())


@pytest.fixture(scope="module")
def replaced(talker, tmp_path_factory):
    target = tmp_path_factory.mktemp("replaced") / "out.mp4"
    return go(talker[0], target, seed=5), target


@pytest.fixture(scope="module")
def meshes(talker, replaced) -> tuple[np.ndarray, np.ndarray]:
    """Meshes of every frame before and after, float32 (n, 478, 3); the place to look is the source's."""
    before, after = [], []
    with FaceLandmarker() as landmarker, Reader(talker[0]) as a, Reader(replaced[1]) as b:
        roi = None
        for source, done in zip(a, b, strict=True):
            if roi is None:
                from deid.detection.centerface import CenterFace
                from deid.detection.landmarks import roi_from_box

                roi = roi_from_box(CenterFace().detect(bgr(source))[0].box)
            mesh = landmarker.run(bgr(source), roi)
            assert mesh is not None
            roi = roi_from_landmarks(mesh.points)
            before.append(mesh.points)
            after.append(landmarker.run(bgr(done), roi).points)
    return np.stack(before), np.stack(after)


def test_every_frame_is_replaced_and_the_report_says_by_whom(replaced) -> None:
    report, target = replaced
    (track,) = report.tracks
    assert track.outcome == "replaced" and track.states == (("replaced", 60),)
    (person,) = report.people
    assert person.chosen_by == ("dlib",) and person.distance is not None and person.distance > FAR_1E3
    assert report.verify is not None and report.verify.compared >= 5 and report.verify.nearest > FAR_1E3
    assert read_mark(target) == "synthetic"
    with Reader(target) as reader:
        assert sum(1 for _ in reader) == 60


def test_no_face_is_the_person_any_more(talker, replaced, meshes) -> None:
    from deid.compare import chip
    from deid.recognition.lite import LiteRecogniser

    before, _ = meshes
    recogniser = LiteRecogniser()
    with Reader(talker[0]) as a, Reader(replaced[1]) as b:
        chips = [[chip(s, before[s.index]), chip(d, before[s.index])] for s, d in zip(a, b, strict=True)]
    codes = recogniser.embed(np.stack(chips).reshape(-1, 150, 150, 3)).reshape(-1, 2, 128)
    recogniser.close()
    apart = np.linalg.norm(codes[:, 0] - codes[:, 1], axis=1)
    assert (apart < FAR_1E3).mean() <= 0.003
    outputs = np.linalg.norm(codes[:, None, 1] - codes[None, :, 1], axis=-1)[np.triu_indices(60, 1)]
    assert (outputs < 0.6).mean() >= 0.99  # one surrogate, all along


def test_eyes_mouth_and_head_move_as_before(meshes) -> None:
    before, after = meshes
    for name, least in (("eye_opening", 0.9), ("mouth_opening", 0.9)):
        a, b = (np.atleast_2d(getattr(measure, name)(m).T) for m in (before, after))
        for x, y in zip(a, b, strict=True):
            assert np.corrcoef(x, y)[0, 1] >= least, name
    poses = measure.head_poses(after) - measure.head_poses(before)
    assert (np.abs(poses).mean(axis=0) < 3).all()


def test_blinks_close_the_new_eyes(talker, meshes) -> None:
    _, truths = talker
    _, after = meshes
    from deid.models.morphable.geometry import load_geometry

    shut = load_geometry().expression_names.index("eyeBlink_L")
    closed = np.array([t.expression[shut] for t in truths])
    opening = measure.eye_opening(after).mean(axis=1)
    assert opening[closed > 0.9].max() < 0.5 * np.median(opening[closed < 0.05])


def test_the_same_seed_gives_the_same_bytes_and_another_another_person(face_clip, tmp_path) -> None:
    for name, seed, threads in (("a", 3, 2), ("b", 3, 2), ("c", 4, 2)):
        go(face_clip, tmp_path / f"{name}.mp4", seed=seed, threads=threads)
    a, b, c = ((tmp_path / f"{n}.mp4").read_bytes() for n in "abc")
    assert a == b and a != c


def test_only_the_face_and_its_surroundings_change(face_clip) -> None:
    engine = MorphableEngine(RunConfig(engine="morphable"), 3)
    try:
        analysis, seconds = pipeline.analyse(face_clip, RunConfig(), QuietProgress(), engine.observer)
        (replacement,) = engine.invert(analysis, seconds, QuietProgress()).values()
        (track,) = analysis.tracks
        with Reader(face_clip) as reader:
            frame = next(iter(reader))
        face = FaceAt(track.id, int(replacement.rows[frame.index - track.first]))
        done = engine.paint(frame, [face])
        cx, cy, w, h, _ = track.box_at(frame.index)
        y, x = np.mgrid[0 : frame.height, 0 : frame.width]
        far = (np.abs(x - cx) > 1.5 * w) | (np.abs(y - cy) > 1.3 * h)
        assert (done.planes[0][far] == frame.planes[0][far]).all()
        assert (done.planes[0] != frame.planes[0]).mean() > 0.01
        again = engine.paint(frame, [face])
        assert all((p == q).all() for p, q in zip(done.planes, again.planes, strict=True))
        refused = engine.refuse(track.id, face.row)
        assert (refused.weights[:5] == 0).all() and refused.reasons[0]
        assert (np.diff(refused.weights) >= 0).all() and 0 < refused.weights[6] < 1  # and a soft change-over
    finally:
        engine.close()


def test_ten_bit_frames_keep_their_depth(face_clip) -> None:
    engine = MorphableEngine(RunConfig(engine="morphable"), 3)
    try:
        analysis, seconds = pipeline.analyse(face_clip, RunConfig(), QuietProgress(), engine.observer)
        (replacement,) = engine.invert(analysis, seconds, QuietProgress()).values()
        with Reader(face_clip) as reader:
            frame = next(iter(reader))
        ten = dataclasses.replace(frame.format, depth=10, name="yuv420p10le")
        deep = dataclasses.replace(frame, format=ten, planes=tuple(p.astype(np.uint16) * 4 + 1 for p in frame.planes))
        done = engine.paint(deep, [FaceAt(analysis.tracks[0].id, int(replacement.rows[0]))])
        assert all(p.dtype == np.uint16 for p in done.planes)
        assert (done.planes[0][:8] == deep.planes[0][:8]).all()
        assert (done.planes[0] != deep.planes[0]).mean() > 0.01
    finally:
        engine.close()


def test_the_default_path_imports_no_torch(face_clip, tmp_path) -> None:
    program = (
        "import sys\nfrom deid import deidentify\n"
        f"deidentify({str(face_clip)!r}, {str(tmp_path / 'o.mp4')!r}, seed=1)\n"
        "sys.exit('torch' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=300).returncode == 0
