"""The arithmetic of benchmarks/self_reconstruction.py."""

from __future__ import annotations

from pathlib import Path

import _likenesses
import numpy as np
import pytest
import self_reconstruction as reconstruction

from deid import imaging


class Judge:
    name, threshold = "judge", 0.5


def test_shares_are_of_matches_under_the_judges_own_threshold() -> None:
    found = reconstruction.Distances()
    for distance in (0.3, 0.4, 0.45, 0.6):
        found.add("judge", "own code", distance)
    found.add("judge", "surrogate", 0.9)
    of = reconstruction.summary(found, [Judge()])["judge"]
    assert of["own code"]["match"] == 0.75 and of["own code"]["faces"] == 4
    assert of["own code"]["low"] < 0.75 < of["own code"]["high"]
    assert of["surrogate"]["match"] == 0 and of["surrogate"]["high"] == pytest.approx(0.975)
    assert list(of) == ["own code", "surrogate"]  # what was not measured is not told
    assert "75 (" in reconstruction.table("set", {"judge": of})


def test_stretched_pictures_get_their_aspect_back(tmp_path: Path) -> None:
    imaging.imwrite(str(tmp_path / "a.png"), np.zeros((100, 100, 3), np.uint8))
    ((name, picture),) = _likenesses.unstretched(tmp_path, {"a.png": (1024, 512), "gone.png": (1, 1)})
    assert name == "a.png" and picture.shape == (100, 200, 3)
