"""Fixtures for every test."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(autouse=True)
def no_logged_errors(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """An error that is logged and then ignored is a failed test."""
    yield
    logged = [record for when in ("setup", "call") for record in caplog.get_records(when)]
    errors = [record.getMessage() for record in logged if record.levelno >= logging.ERROR]
    assert not errors, f"logged errors: {errors}"


@pytest.fixture(scope="session")
def face_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 frames of 480 x 360, 25 a second, with a tone: one face of about 110 pixels that the camera closes in on."""
    from deid.virtual_camera import COLLINS, Pose, ShotPlan, film, hang

    shot = ShotPlan(hang([COLLINS]), (Pose(0, 250, 170, 480, -2), Pose(0.96, 230, 140, 420, 2)), 24)
    pictures = film([shot], width=480, height=360, fps=25)
    return _encoded(tmp_path_factory, "face", (picture.pixels for picture in pictures))


@pytest.fixture(scope="session")
def faceless_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 frames of 480 x 360, 25 a second, with a tone: smooth colours that move, and nobody."""
    y, x = np.mgrid[0:360, 0:480]
    still = np.stack([120 + 0 * x, 120 + 50 * np.cos(y / 70), 90 + x / 8], -1)
    moving = ((still + 60 * np.sin((x + 3 * n) / 90)[..., None]).astype(np.uint8) for n in range(12))
    return _encoded(tmp_path_factory, "faceless", moving)


def _encoded(factory: pytest.TempPathFactory, name: str, pictures: Iterator[np.ndarray]) -> Path:
    from deid.demo import encode_clip

    kept = list(pictures)
    path = factory.mktemp("clips") / f"{name}.mp4"
    encode_clip(path, kept, width=480, height=360, fps=25, seconds=len(kept) / 25)
    return path


@pytest.fixture(scope="session")
def talker(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list]:
    """60 frames of 480 x 360: a rendered person who talks, blinks and turns, with what is true in every frame."""
    from deid import puppet

    truths = []

    def pictures() -> Iterator[np.ndarray]:
        for picture, truth in puppet.film(60, 25, 480, 360):
            truths.append(truth)
            yield picture

    path = _encoded(tmp_path_factory, "talker", pictures())
    return path, truths
