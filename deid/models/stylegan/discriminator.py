"""StyleGAN2's discriminator: is a picture a photograph, or was it generated?

T. Karras et al. 2020 (see ``layers.py``), residual architecture, with the standard deviation over small groups of a
batch as one more feature (T. Karras et al., *Progressive Growing of GANs*, 2018, section 3).
"""

from __future__ import annotations

import math

import torch
from torch import nn

from deid.models.stylegan.generator import SMALLEST
from deid.models.stylegan.layers import Conv, Linear


class _Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = Conv(inputs, inputs, 3)
        self.second = Conv(inputs, outputs, 3, halve=True)
        self.skip = Conv(inputs, outputs, 1, halve=True, plain=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.second(self.first(x)) + self.skip(x)) / math.sqrt(2)


class Discriminator(nn.Module):
    """``channels``: as in :class:`~deid.models.stylegan.generator.GeneratorShape`; ``colours``: of the pictures;
    ``group``: pictures whose spread is one feature."""

    def __init__(self, channels: tuple[int, ...], colours: int = 3, group: int = 4) -> None:
        super().__init__()
        self._group = group
        self.entry = Conv(colours, channels[-1], 1)
        steps = list(zip(reversed(channels[1:]), reversed(channels[:-1]), strict=True))
        self.blocks = nn.Sequential(*(_Residual(*step) for step in steps))
        self.last = Conv(channels[0] + 1, channels[0], 3)
        self.dense = Linear(channels[0] * SMALLEST * SMALLEST, channels[0], active=True)
        self.verdict = Linear(channels[0], 1)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """(N, colours, size, size), about -1 to 1, to (N, 1): high for photographs."""
        x = self.blocks(self.entry(pictures))
        x = self.last(torch.cat([x, self._spread(x)], 1))
        verdict: torch.Tensor = self.verdict(self.dense(x.flatten(1)))
        return verdict

    def _spread(self, x: torch.Tensor) -> torch.Tensor:
        count, channels, rows, columns = x.shape
        group = math.gcd(count, self._group)
        grouped = x.reshape(group, count // group, channels, rows, columns)
        spread = torch.sqrt(grouped.var(0, unbiased=False) + 1e-8).mean((1, 2, 3))
        return spread.repeat(group).view(count, 1, 1, 1).expand(-1, 1, rows, columns)
