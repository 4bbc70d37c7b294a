"""The morphable engine from the outside: a rendered talker and a filmed photograph go in, other people come out."""

from __future__ import annotations

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


def test_the_default_path_imports_no_torch(face_clip, tmp_path) -> None:
    program = (
        "import sys\nfrom deid import deidentify\n"
        f"deidentify({str(face_clip)!r}, {str(tmp_path / 'o.mp4')!r}, seed=1)\n"
        "sys.exit('torch' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=300).returncode == 0
