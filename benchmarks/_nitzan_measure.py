"""What the tables of Nitzan et al. 2020 are made of: who a picture shows, where its landmarks lie, how it looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from deid.detection.landmarks import FaceLandmarker, roi_from_landmarks
from deid.models.mapping.attributes import MESH_OF_LANDMARKS
from deid.models.mapping.losses import ms_ssim
from deid.recognition.chips import chip_from_picture, cut_chip
from deid.recognition.lite import LiteRecogniser

SIGNALS = ("eye left", "eye right", "mouth open", "mouth wide", "brow left", "brow right")
_PAIRS = ((159, 145), (386, 374), (13, 14), (61, 291), (105, 159), (334, 386))
_CORNERS = (33, 263)


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """A picture, read. ``code``: float32 (128,); ``mesh``: float32 (478, 3) or ``None`` where no face is seen;
    ``pose``: yaw, pitch, roll in degrees; ``signals``: :data:`SIGNALS` over the distance of the eyes."""

    code: np.ndarray
    mesh: np.ndarray | None
    pose: np.ndarray
    signals: np.ndarray


class Reader:
    """Reads pictures, uint8 (S, S, 3) RGB, in which a face is known to lie at ``points``, (478, 3) pixels."""

    def __init__(self) -> None:
        self._recogniser, self._landmarker = LiteRecogniser(), FaceLandmarker()

    def __call__(self, picture: np.ndarray, points: np.ndarray) -> Read:
        chip = cut_chip(picture, chip_from_picture(points))
        code = self._recogniser.embed(chip[None])[0]
        seen = self._landmarker.run(picture, roi_from_landmarks(points), rgb=True)
        if seen is None or seen.presence < 0.5:
            nothing = np.full(3, np.nan), np.full(len(SIGNALS), np.nan)
            return Read(code, None, *nothing)
        return Read(code, seen.points, np.array([seen.yaw, seen.pitch, np.degrees(seen.roll)]), signals(seen.points))


def signals(mesh: np.ndarray) -> np.ndarray:
    """float64 (6,): :data:`SIGNALS`."""
    eyes = float(np.linalg.norm(mesh[_CORNERS[0]] - mesh[_CORNERS[1]]))
    return np.array([float(np.linalg.norm(mesh[a] - mesh[b])) / eyes for a, b in _PAIRS])


def landmark_error(mesh: np.ndarray, truth: np.ndarray) -> float:
    """Mean distance of the 51 landmarks in percent of the distance of the outer corners of the eyes."""
    ids = list(MESH_OF_LANDMARKS)
    eyes = float(np.linalg.norm(truth[_CORNERS[0], :2] - truth[_CORNERS[1], :2]))
    return float(np.linalg.norm(mesh[ids, :2] - truth[ids, :2], axis=1).mean()) / eyes * 100


def likeness(picture: np.ndarray, truth: np.ndarray) -> float:
    """Multi-scale structural similarity of two pictures."""
    pair = [torch.from_numpy(np.ascontiguousarray(p)).permute(2, 0, 1)[None].float() / 255 for p in (picture, truth)]
    return float(ms_ssim(*pair))


def interval(values: Sequence[float], groups: Sequence[int], seed: int = 0) -> tuple[float, float]:
    """95 % of the mean, by drawing ``groups`` (people) with replacement."""
    rng, found = np.random.default_rng(seed), np.asarray(values, np.float64)
    names = np.unique(groups)
    by = [found[np.asarray(groups) == name] for name in names]
    means = [np.nanmean(np.concatenate([by[k] for k in rng.integers(len(by), size=len(by))])) for _ in range(1000)]
    return float(np.percentile(means, 2.5)), float(np.percentile(means, 97.5))
