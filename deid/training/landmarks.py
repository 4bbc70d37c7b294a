"""Training E_lnd, which tells where the 51 landmarks of a picture lie, with gradients: on rendered faces, where they
are known, as footage shows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deid.models.checkpoints.bundle import Network
from deid.models.mapping.attributes import MESH_OF_LANDMARKS, LandmarkNet, LandmarkShape
from deid.progress import Progress
from deid.training.faces import Batch, degraded
from deid.training.presets import Preset
from deid.training.session import Budget, Session, best_device, train

_HELD_OUT = 16  # one in so many pictures is for measuring


@dataclass(frozen=True, slots=True)
class LandmarkOptions:
    """What has to be the same from one call to the next."""

    preset: str
    seed: int


class LandmarkTraining:
    """One training on ``faces``."""

    def __init__(self, faces: Batch, preset: Preset, options: LandmarkOptions) -> None:
        torch.manual_seed(options.seed)
        self.faces, self.preset = faces, preset
        self.device = best_device()
        self.net = LandmarkNet(LandmarkShape(min(preset.size, 64), preset.attributes.channels)).to(self.device)
        self._truth = torch.from_numpy(faces.points[:, list(MESH_OF_LANDMARKS), :2]).to(self.device)
        self.net.centre.copy_(self._truth.mean(0))
        self.tutor = torch.optim.Adam(self.net.parameters(), lr=1e-3)
        self._random = np.random.default_rng((options.seed, 12))

    def state(self) -> dict[str, Any]:
        """Everything that has to be kept to go on."""
        return {"net": self.net.state_dict(), "tutor": self.tutor.state_dict()}

    def load(self, state: Mapping[str, Any]) -> None:
        """The way back from :meth:`state`."""
        self.net.load_state_dict(state["net"])
        self.tutor.load_state_dict(state["tutor"])

    def step(self, rows: np.ndarray, used: float, session: Session) -> None:
        """One step on the faces ``rows``."""
        rows = rows[rows % _HELD_OUT != 0]
        for group in self.tutor.param_groups:
            group["lr"] = 1e-3 * (1 - 0.95 * used)
        found = self.net(self._seen(rows, harm=True))
        loss = (found - self._truth[rows]).abs().mean()
        self.tutor.zero_grad(set_to_none=True)
        loss.backward()
        self.tutor.step()
        session.note(landmarks=loss)

    @torch.no_grad()
    def error(self) -> float:
        """Mean distance on pictures held out, in percent of the picture's side."""
        rows = np.arange(0, len(self.faces.pixels), _HELD_OUT)[:512]
        found = self.net(self._seen(rows, harm=False))
        return float(torch.linalg.norm(found - self._truth[rows], dim=-1).mean()) * 50

    def _seen(self, rows: np.ndarray, harm: bool) -> torch.Tensor:
        pixels = self.faces.pixels[rows][..., :3]
        if harm:
            pixels = np.stack([degraded(picture, self._random) for picture in pixels])
        return torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2).float() / 255

    def networks(self) -> dict[str, Network]:
        """What is kept."""
        return {"landmarks": Network(self.net.shape.numbers(), self.net.state_dict())}

    def show(self, session: Session, name: str) -> None:
        """How far off it is on pictures that it does not learn from."""
        session.note(held_out=self.error())


def train_landmarks(
    faces: Batch, folder: Path, preset: Preset, options: LandmarkOptions, budget: Budget, progress: Progress
) -> Path:
    """Train, or go on training, until the budget is spent; the weights' place."""
    training = LandmarkTraining(faces, preset, options)
    return train(training, folder, options, budget, progress, pictures=len(faces.pixels), batch=preset.batch * 2)
