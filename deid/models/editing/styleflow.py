"""StyleFlow: codes flow out under the attributes they show, and back under those that are wanted.

R. Abdal et al., *StyleFlow: Attribute-conditioned Exploration of StyleGAN-Generated Images using Conditional Continuous
Normalizing Flows*, 2021, section 4: an ordinary differential equation between w and a normal distribution, whose
right-hand side is a network of concatsquash layers that knows time and attributes. The paper learns it by likelihood,
solving the equation at every step; here the same flow is learned without solving it, by flow matching (Y. Lipman et
al., *Flow Matching for Generative Modeling*, 2023), and solved by Runge and Kutta's fourth-order steps of one length.
In the place of its moving batch normalisation stand mean and spread of the codes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import nn

from deid.models.checkpoints.build import frozen
from deid.models.editing.latent import Reader, vector
from deid.models.editing.names import NAMES
from deid.models.shape import NetworkShape

STEPS = 12


@dataclass(frozen=True, slots=True)
class FlowShape(NetworkShape):
    """``width``: of w; ``attributes``; ``hidden``: widths between."""

    WHAT: ClassVar[str] = "flow"

    width: int = 256
    attributes: int = len(NAMES)
    hidden: tuple[int, ...] = (512, 512)


class _ConcatSquash(nn.Module):
    """A linear layer that time and attributes gate and shift."""

    def __init__(self, inputs: int, outputs: int, told: int) -> None:
        super().__init__()
        self.line = nn.Linear(inputs, outputs)
        self.gate = nn.Linear(told, outputs)
        self.shift = nn.Linear(told, outputs, bias=False)

    def forward(self, x: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.line(x) * self.gate(told).sigmoid() + self.shift(told)
        return out


class Flow(nn.Module):
    """The right-hand side, in units of the codes' spread: time 0 is the normal distribution, 1 the codes."""

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, shape: FlowShape) -> None:
        super().__init__()
        self.shape = shape
        widths = (shape.width, *shape.hidden, shape.width)
        self.layers = nn.ModuleList(_ConcatSquash(a, b, shape.attributes + 1) for a, b in pairwise(widths))
        self.register_buffer("mean", torch.zeros(shape.width))
        self.register_buffer("scale", torch.ones(shape.width))

    def forward(self, x: torch.Tensor, time: torch.Tensor, attributes: torch.Tensor) -> torch.Tensor:
        """``x``: (N, width); ``time``: (N, 1), 0 to 1; ``attributes``: (N, A)."""
        told = torch.cat([time, attributes * 2 - 1], 1)
        for number, layer in enumerate(self.layers):
            x = layer(x if number == 0 else x.tanh(), told)
        return x

    @torch.no_grad()
    def solved(self, x: torch.Tensor, attributes: torch.Tensor, begin: float, end: float) -> torch.Tensor:
        """``x`` carried from time ``begin`` to ``end`` under ``attributes``."""
        step = (end - begin) / STEPS

        def slope(y: torch.Tensor, at: float) -> torch.Tensor:
            found: torch.Tensor = self(y, y.new_full((len(y), 1), at), attributes)
            return found

        for number in range(STEPS):
            at = begin + number * step
            a = slope(x, at)
            b = slope(x + step / 2 * a, at + step / 2)
            c = slope(x + step / 2 * b, at + step / 2)
            d = slope(x + step * c, at + step)
            x = x + step / 6 * (a + 2 * b + 2 * c + d)
        return x


class StyleFlow:
    """See :class:`~deid.models.editing.latent.LatentEditor`."""

    name = "StyleFlow"
    attributes = NAMES

    def __init__(self, flow: Flow, reader: Reader) -> None:
        self.flow, self._reader = frozen(flow), reader

    @torch.no_grad()
    def edit(self, w: torch.Tensor, changes: Mapping[str, float]) -> torch.Tensor:
        """What the codes show is read off their pictures first."""
        wanted = vector(changes, len(w), w)
        if not wanted.any():
            return w
        shown = self._reader(w)
        plain = self.flow.solved((w - self.flow.mean) / self.flow.scale, shown, 1.0, 0.0)
        out = self.flow.solved(plain, shown + wanted, 0.0, 1.0)
        return out * self.flow.scale + self.flow.mean


def fit_styleflow(
    codes: torch.Tensor, attributes: torch.Tensor, reader: Reader, steps: int = 3_000, batch: int = 256, seed: int = 0
) -> StyleFlow:
    """Flow matching on ``codes``, (n, width), and what they show, (n, A)."""
    torch.manual_seed(seed)
    flow = Flow(FlowShape(codes.shape[1], attributes.shape[1], (2 * codes.shape[1],) * 2))
    flow.mean.copy_(codes.mean(0))
    flow.scale.copy_(codes.std(0).clamp_min(1e-4))
    standard = (codes - flow.mean) / flow.scale
    tutor = torch.optim.Adam(flow.parameters(), lr=2e-3)
    plan = torch.optim.lr_scheduler.CosineAnnealingLR(tutor, max(steps, 1))
    random = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        rows = torch.randint(len(codes), (batch,), generator=random)
        end, begin = standard[rows], torch.randn(batch, codes.shape[1], generator=random)
        time = torch.rand(batch, 1, generator=random)
        loss = (flow(begin + time * (end - begin), time, attributes[rows]) - (end - begin)).square().mean()
        tutor.zero_grad(set_to_none=True)
        loss.backward()
        tutor.step()
        plan.step()
    return StyleFlow(flow, reader)
