"""Training the generator: taught by the renderer first, then in the adversarial game.

T. Karras et al. 2020 (see ``deid/models/stylegan/layers.py``): non-saturating loss, R1 every sixteen steps, path length
every eight, an exponential moving average of the weights, adaptive augmentation. Before that the mapping network is
told what the renderer was told, and the picture is compared with the rendered one: on few processors that reaches in an
hour what the game alone would not reach in days. W stays a space that can be sampled: draw what a renderer is told, and
map.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from deid.models.checkpoints.build import frozen
from deid.models.checkpoints.bundle import Network
from deid.models.mapping.losses import fool_loss, judge_loss, slope_penalty
from deid.models.stylegan.discriminator import Discriminator
from deid.models.stylegan.generator import Generator, GeneratorShape
from deid.progress import Progress
from deid.training.augment import Augment
from deid.training.faces import Batch
from deid.training.presets import Preset
from deid.training.session import Budget, Session, best_device, short, train

_PENALTY_EVERY, _PATH_EVERY = 16, 8
_PENALTY_PER_PIXEL = 0.0002  # R1's weight is this times pixels over the batch, as StyleGAN2-ADA sets it
_PATH_WEIGHT, _PATH_DECAY = 2.0, 0.01
_HALF_LIFE = 20_000  # pictures after which an old weight counts half in the average
_ALPHA_WEIGHT, _FACE_WEIGHT = 0.5, 3.0
_STILL_TAUGHT = 0.5  # weight of the pixels beside the game
_GRID = 24
_FROM_COARSE = ((0.1, 2), (0.55, 1))
"""Until which share of imitation how many sizes are left out: what a picture shows as a whole is learned on small ones,
at a quarter of the cost."""
_FIRST_COLOURS = 0.1
"""Of the usual weights to colours, for a beginning: random codes then show grey, not saturated clouds that have to be
unlearned."""
_MAPPING_RATE = 0.01  # StyleGAN2's learning rate of the mapping network beside the others'


@dataclass(frozen=True, slots=True)
class GeneratorOptions:
    """What has to be the same from one call to the next. ``game``: false ends with imitation."""

    preset: str
    parameters: int
    seed: int
    game: bool = True


class GeneratorTraining:
    """One training of a generator on ``faces``. Pictures are taken to -1 to 1; the fourth channel is opacity."""

    def __init__(self, faces: Batch, preset: Preset, options: GeneratorOptions) -> None:
        torch.manual_seed(options.seed)
        self.faces, self.preset, self.options = faces, preset, options
        shape: GeneratorShape = preset.generator(faces.parameters.shape[1])
        self.device = best_device()
        self.made = Generator(shape).to(self.device)
        self.judge = Discriminator(shape.channels, shape.colours).to(self.device)
        self.average = frozen(copy.deepcopy(self.made))
        self.augment = Augment(options.seed)
        slow = [p for n, p in self.made.named_parameters() if n.startswith("mapping.")]
        fast = [p for n, p in self.made.named_parameters() if not n.startswith("mapping.")]
        groups = [{"params": fast}, {"params": slow}]
        with torch.no_grad():
            for block in self.made.synthesis.blocks:
                block.picture.conv.weight.mul_(_FIRST_COLOURS)
        self.teacher = torch.optim.Adam(groups, lr=preset.teach, betas=(0.9, 0.99))
        rest = _PENALTY_EVERY / (_PENALTY_EVERY + 1)
        self.player = torch.optim.Adam(groups, lr=preset.play * 0.5, betas=(0.0, 0.99))
        self.referee = torch.optim.Adam(self.judge.parameters(), lr=preset.play * rest, betas=(0.0, 0.99**rest))
        self._path = torch.zeros((), device=self.device)
        self._step = 0

    def state(self) -> dict[str, Any]:
        """Everything that has to be kept to go on."""
        parts = {
            "made": self.made,
            "judge": self.judge,
            "average": self.average,
            "teacher": self.teacher,
            "player": self.player,
            "referee": self.referee,
        }
        return {name: part.state_dict() for name, part in parts.items()} | {
            "p": self.augment.p,
            "path": self._path,
            "step": self._step,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """The way back from :meth:`state`."""
        for name in ("made", "judge", "average", "teacher", "player", "referee"):
            getattr(self, name).load_state_dict(state[name])
        self.augment.p, self._path, self._step = float(state["p"]), state["path"].to(self.device), int(state["step"])

    def step(self, rows: np.ndarray, used: float, session: Session) -> None:
        """One step on the faces ``rows``; ``used``: share of the budget."""
        self._step += 1
        real, told = self._batch(rows)
        if used < self.preset.taught or not self.options.game:
            share = min(used / (self.preset.taught if self.options.game else 1.0), 1.0)
            self._rate(share)
            left_out = next((n for until, n in _FROM_COARSE if share < until), 0)
            self._teach(real, told, max(len(self.preset.channels) - left_out, 2), session)
        else:
            self._play(real, told, session)
        self._remember(len(rows))

    def networks(self) -> dict[str, Network]:
        """The averaged generator, with the mean of w over the data set's codes."""
        self._measure_mean()
        return {"generator": Network(self.average.shape.numbers(), self.average.state_dict())}

    def show(self, session: Session, name: str) -> None:
        """A grid."""
        session.grid(name, self.grid(), _GRID // 3)

    @torch.no_grad()
    def grid(self) -> torch.Tensor:
        """Rendered faces above what the averaged generator makes of the same numbers, in turns."""
        rows = np.linspace(0, len(self.faces.pixels) - 1, _GRID).astype(np.int64)
        real, told = self._batch(rows)
        made = self.average(self.average.mapping(told))
        half = _GRID // 3
        return torch.cat([torch.cat([real[k : k + half], made[k : k + half]]) for k in range(0, _GRID, half)])

    def _batch(self, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        pixels = torch.from_numpy(self.faces.pixels[rows]).permute(0, 3, 1, 2).float() / 127.5 - 1
        return pixels.contiguous().to(self.device), torch.from_numpy(self.faces.parameters[rows]).to(self.device)

    def _rate(self, share: float) -> None:
        """Down to a fiftieth, along a cosine, while the renderer is imitated. The mapping network learns as fast as the
        rest: its slowness keeps the game steady, and here is no game."""
        rate = self.preset.teach * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * share)))
        for group, factor in zip(self.teacher.param_groups, (1.0, 1 / _MAPPING_RATE), strict=True):
            group["lr"] = rate * factor

    def _teach(self, real: torch.Tensor, told: torch.Tensor, sizes: int, session: Session) -> None:
        """One step of imitation, on pictures of the first ``sizes`` sizes."""
        with short():
            made = self.made(self.made.mapping(told), sizes=sizes)
        real = functional.avg_pool2d(real, real.shape[-1] // made.shape[-1])
        loss = likeness(made.float(), real)
        self.teacher.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.made.parameters(), 5.0)
        self.teacher.step()
        session.note(likeness=loss)

    def _play(self, real: torch.Tensor, told: torch.Tensor, session: Session) -> None:
        with short():
            made = self.made(self.made.mapping(told))
        made = made.float()
        with short():
            heard = self.judge(self.augment(made))
        fooled, like = fool_loss(heard.float()), likeness(made, real)
        self.player.zero_grad(set_to_none=True)
        (fooled + _STILL_TAUGHT * like).backward()
        self.player.step()
        session.note(fool=fooled, likeness=like, augment=self.augment.p)
        if self._step % _PATH_EVERY == 0:
            self._straighten(told, session)
        verdict = self.judge(self.augment(real))
        self.augment.heard(verdict)
        loss = judge_loss(verdict, self.judge(self.augment(made.detach())))
        if self._step % _PENALTY_EVERY == 0:
            seen = self.augment(real).requires_grad_()
            weight = _PENALTY_PER_PIXEL * self.preset.size**2 / len(real)
            penalty = slope_penalty(self.judge(seen), seen)
            loss = loss + 0.5 * weight * _PENALTY_EVERY * penalty
            session.note(penalty=penalty)
        self.referee.zero_grad(set_to_none=True)
        loss.backward()
        self.referee.step()
        session.note(judge=loss)

    def _straighten(self, told: torch.Tensor, session: Session) -> None:
        """Path length regularisation (Karras et al. 2020, section 3.2) on half a batch."""
        w = self.made.mapping(told[: max(len(told) // 2, 1)]).detach().requires_grad_()
        made = self.made(w)
        noise = torch.randn_like(made) / math.sqrt(made.shape[2] * made.shape[3])
        (slope,) = torch.autograd.grad((made * noise).sum(), w, create_graph=True)
        length = slope.square().sum(1).sqrt()
        self._path = torch.lerp(self._path, length.mean().detach(), _PATH_DECAY)
        penalty = (length - self._path).square().mean()
        self.player.zero_grad(set_to_none=True)
        (_PATH_WEIGHT * _PATH_EVERY * penalty).backward()
        self.player.step()
        session.note(path=length.mean())

    @torch.no_grad()
    def _remember(self, count: int) -> None:
        kept = 0.5 ** (count / min(_HALF_LIFE, max(self._step * count * 0.1, 1)))
        for old, new in zip(self.average.parameters(), self.made.parameters(), strict=True):
            old.lerp_(new, 1 - kept)

    @torch.no_grad()
    def _measure_mean(self) -> None:
        told = torch.from_numpy(self.faces.parameters[: 1 << 14]).to(self.device)
        self.average.mapping.mean.copy_(self.average.mapping(told).mean(0))


def likeness(made: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """How far pictures (N, 4, H, W) are from those they should be: absolute differences at three sizes and of slopes,
    the face counting more than what is around it."""
    weight = 1 + _FACE_WEIGHT * (real[:, 3:] + 1) / 2
    channels = torch.tensor([1.0, 1.0, 1.0, _ALPHA_WEIGHT], device=made.device).view(1, 4, 1, 1)
    found = made.new_zeros(())
    for _ in range(3):
        off = (made - real).abs() * channels * weight
        found = found + off.mean() / weight.mean()
        across = (made[..., 1:] - made[..., :-1]) - (real[..., 1:] - real[..., :-1])
        down = (made[..., 1:, :] - made[..., :-1, :]) - (real[..., 1:, :] - real[..., :-1, :])
        found = (
            found + ((across.abs() * weight[..., 1:]).mean() + (down.abs() * weight[..., 1:, :]).mean()) / weight.mean()
        )
        if min(made.shape[2:]) < 16:
            break
        made, real, weight = (functional.avg_pool2d(x, 2) for x in (made, real, weight))
    return found


def train_generator(
    faces: Batch, folder: Path, preset: Preset, options: GeneratorOptions, budget: Budget, progress: Progress
) -> Path:
    """Train, or go on training, until the budget is spent; the weights' place."""
    training = GeneratorTraining(faces, preset, options)
    return train(training, folder, options, budget, progress, pictures=len(faces.pixels), batch=preset.batch)
