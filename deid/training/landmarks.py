"""Training E_lnd, which tells where the 51 landmarks of a picture lie, with gradients: on rendered faces, where they
are known, as footage shows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deid.models.checkpoints.bundle import Network
from deid.models.mapping.attributes import MESH_OF_LANDMARKS, LandmarkNet
from deid.progress import Progress
from deid.training.dataset import batches
from deid.training.faces import Batch, degraded
from deid.training.presets import Preset
from deid.training.session import Budget, Session

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
        self.net = LandmarkNet(min(preset.size, 64), preset.attributes.channels)
        self._truth = torch.from_numpy(faces.points[:, list(MESH_OF_LANDMARKS), :2])
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
        return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255

    def network(self) -> Network:
        """What is kept."""
        return Network({"side": self.net.side, "channels": self.preset.attributes.channels}, self.net.state_dict())


def train_landmarks(
    faces: Batch, folder: Path, preset: Preset, options: LandmarkOptions, budget: Budget, progress: Progress
) -> Path:
    """Train, or go on training, until the budget is spent; the weights' place."""
    session = Session(folder, options, budget, progress)
    training = LandmarkTraining(faces, preset, options)
    session.resume(training.load)
    batch = preset.batch * 2
    order = batches(len(faces.pixels), batch, np.random.default_rng((options.seed, session.pictures)))
    try:
        for used in session.steps(batch):
            training.step(next(order), used, session)
            if session.due():
                session.note(held_out=training.error())
                session.save(training.state())
        session.note(held_out=training.error())
        session.save(training.state())
    finally:
        session.close()
    history = {"options": asdict(options), "pictures": session.pictures, "held out": training.error()}
    return session.write({"landmarks": training.network()}, history)
