"""Training H, which tells how much of each attribute a picture shows: on rendered faces and on what a generator makes
of the same numbers, both with exact labels.

Khodadadeh et al. 2022, section 3, leave open how H is trained; here the loss is the cross entropy of labels from 0 to
1, each attribute by its own spread, so that what varies little (a squint) is learned as well as what varies much.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from deid.models.checkpoints.bundle import Network
from deid.models.editing.names import NAMES
from deid.models.editing.regressor import Regressor, RegressorShape, mirrored
from deid.models.stylegan.generator import Generator
from deid.progress import Progress
from deid.training.faces import Batch, degraded
from deid.training.session import Budget, Session, short, train

_HELD_OUT = 16  # one in so many people is for measuring
_GENERATED = 3_000  # pictures of the generator's, at most: each costs as much as ten that are learned from
_MEASURED = 1024
_WORN = 0.5  # share of pictures that are shown as footage shows them
_CHUNK = 64
_JITTER = (0.05, 0.05, 0.04)  # turn in radians, zoom, shift: how far real pictures are cut off the mark

SHAPES = {
    "cpu": RegressorShape(),
    "gpu": RegressorShape(128, (32, 64, 96, 128, 128), 128),
    "tiny": RegressorShape(16, (8, 16), 16),
}
RATE, BATCH = 2e-3, 64


@dataclass(frozen=True, slots=True)
class RegressorOptions:
    """What has to be the same from one call to the next. ``generated``: whether there are pictures of a generator."""

    preset: str
    seed: int
    generated: bool


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """``pictures``: uint8 (n, 3, S, S) RGB; ``labels``: float32 (n, A); ``held``: bool (n,), for measuring only;
    ``made``: bool (n,), by the generator."""

    pictures: torch.Tensor
    labels: torch.Tensor
    held: np.ndarray
    made: np.ndarray


@torch.no_grad()
def examples(faces: Batch, side: int, generator: Generator | None, progress: Progress) -> Examples:
    """``faces`` in ``side`` pixels, and what ``generator`` makes of the numbers of some, where it was taught those.
    People are held out, not pictures."""
    pictures = [
        _small(torch.from_numpy(faces.pixels[rows][..., :3]).permute(0, 3, 1, 2), side) for rows in _chunks(faces)
    ]
    labels, people = [torch.from_numpy(faces.labels)], [faces.people]
    count = 0
    if generator is not None and generator.shape.latent == faces.parameters.shape[1]:
        count = min(_GENERATED, len(faces.labels))
        progress.stage("generating pictures", count)
        steps = len([channels for level, channels in enumerate(generator.shape.channels) if 4 << level <= max(side, 8)])
        rows = np.linspace(0, len(faces.labels) - 1, count).astype(np.int64)
        for start in range(0, count, _CHUNK):
            some = rows[start : start + _CHUNK]
            sizes = (
                None if start // _CHUNK % 2 else steps
            )  # editors learn from small pictures, and are used on whole ones
            with short():
                made = generator(generator.codes(torch.from_numpy(faces.parameters[some])), False, sizes)
            pictures.append(_small((made[:, :3].float() / 2 + 0.5).clamp(0, 1).mul(255).round().byte(), side))
            progress.advance(len(some))
        labels.append(torch.from_numpy(faces.labels[rows]))
        people.append(faces.people[rows])
    held = np.concatenate(people) % _HELD_OUT == 0
    made_by = np.arange(len(held)) >= len(faces.labels)
    return Examples(torch.cat(pictures), torch.cat(labels), held, made_by)


def _chunks(faces: Batch) -> list[slice]:
    return [slice(start, start + 512) for start in range(0, len(faces.pixels), 512)]


def _small(pictures: torch.Tensor, side: int) -> torch.Tensor:
    if pictures.shape[-1] == side:
        return pictures.contiguous()
    out = functional.interpolate(pictures.float(), (side, side), mode="area")
    return out.round().byte()


class RegressorTraining:
    """One training."""

    def __init__(self, some: Examples, shape: RegressorShape, options: RegressorOptions) -> None:
        torch.manual_seed(options.seed)
        self.examples, self.net = some, Regressor(shape)
        self.learned = np.flatnonzero(~some.held)
        self._weights = 1 / some.labels.std(0).clamp_min(0.05)
        self._weights /= self._weights.mean()
        self.average = torch.optim.swa_utils.AveragedModel(
            self.net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.998)
        )
        self.tutor = torch.optim.AdamW(self.net.parameters(), lr=RATE, weight_decay=0.02)
        self._random = np.random.default_rng((options.seed, 17))
        self._chance = torch.Generator().manual_seed(options.seed)

    def state(self) -> dict[str, Any]:
        """Everything that has to be kept to go on."""
        return {name: getattr(self, name).state_dict() for name in ("net", "average", "tutor")}

    def load(self, state: Mapping[str, Any]) -> None:
        """The way back from :meth:`state`."""
        for name in ("net", "average", "tutor"):
            getattr(self, name).load_state_dict(state[name])

    def step(self, rows: np.ndarray, used: float, session: Session) -> None:
        """One step on ``rows`` of those that are learned from."""
        rows = self.learned[rows]
        for group in self.tutor.param_groups:
            group["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * used)) + 1e-5
        pictures, wanted = self._seen(rows)
        with short():
            found = self.net.logits(pictures)
        loss = (
            functional.binary_cross_entropy_with_logits(found.float(), wanted, reduction="none") * self._weights
        ).mean()
        self.tutor.zero_grad(set_to_none=True)
        loss.backward()
        self.tutor.step()
        self.average.update_parameters(self.net)
        session.note(loss=loss)

    def _seen(self, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Pictures, half of them as footage shows them, cut not quite right, half of them mirrored."""
        chosen = self.examples.pictures[torch.from_numpy(rows)]
        worn = [
            degraded(picture, self._random) if self._random.random() < _WORN else picture
            for picture in chosen.permute(0, 2, 3, 1).numpy()
        ]
        pictures = torch.from_numpy(np.stack(worn)).permute(0, 3, 1, 2).float() / 255
        labels = self.examples.labels[torch.from_numpy(rows)]
        flip = torch.rand(len(rows), generator=self._chance) < 0.5
        pictures = torch.where(flip[:, None, None, None], pictures.flip(3), pictures)
        return self._moved(pictures), torch.where(flip[:, None], mirrored(labels), labels)

    def _moved(self, pictures: torch.Tensor) -> torch.Tensor:
        count = len(pictures)
        off = torch.randn(count, 4, generator=self._chance)
        turn, zoom = _JITTER[0] * off[:, 0], 1 + _JITTER[1] * off[:, 1]
        matrix = torch.zeros(count, 2, 3)
        matrix[:, 0, 0], matrix[:, 0, 1] = turn.cos() * zoom, -turn.sin() * zoom
        matrix[:, 1, 0], matrix[:, 1, 1] = turn.sin() * zoom, turn.cos() * zoom
        matrix[:, :, 2] = _JITTER[2] * off[:, 2:]
        grid = functional.affine_grid(matrix, list(pictures.shape), align_corners=False)
        return functional.grid_sample(pictures, grid, padding_mode="border", align_corners=False)

    @torch.no_grad()
    def errors(self, made: bool) -> tuple[np.ndarray, np.ndarray]:
        """Of people held out, rendered or generated: the mean absolute error of each attribute, and what guessing the
        mean would have; both float64 (A,)."""
        rows = np.flatnonzero(self.examples.held & (self.examples.made == made))
        rows = rows[np.linspace(0, len(rows) - 1, min(_MEASURED, len(rows))).astype(np.int64)] if len(rows) else rows
        if not len(rows):
            return np.full(len(NAMES), np.nan), np.full(len(NAMES), np.nan)
        found = self.average.module.read(self.examples.pictures[torch.from_numpy(rows)].permute(0, 2, 3, 1).numpy())
        truth = self.examples.labels[torch.from_numpy(rows)].numpy().astype(np.float64)
        return np.abs(found - truth).mean(axis=0), np.abs(truth - truth.mean(axis=0)).mean(axis=0)

    def show(self, session: Session, name: str) -> None:
        """How far off it is, by attribute."""
        for made, what in ((False, "rendered"), (True, "generated")):
            found, guessed = self.errors(made)
            if np.isfinite(found).all():
                session.note(**{f"error_{what}": float(found.mean()), f"guessing_{what}": float(guessed.mean())})
                session.note(**{f"{what}.{one}": float(off) for one, off in zip(NAMES, found, strict=True)})

    def networks(self) -> dict[str, Network]:
        """What is kept."""
        kept = self.average.module
        return {"regressor": Network(kept.shape.numbers(), kept.state_dict())}


def train_regressor(
    some: Examples, folder: Path, preset: str, options: RegressorOptions, budget: Budget, progress: Progress
) -> Path:
    """Train, or go on training, until the budget is spent; the weights' place."""
    training = RegressorTraining(some, SHAPES[preset], options)
    count = len(training.learned)
    return train(training, folder, options, budget, progress, pictures=count, batch=min(BATCH, count))
