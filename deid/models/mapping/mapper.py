"""The mapper M and its adversary: identity and attributes to one latent code.

Y. Nitzan et al., *Face Identity Disentanglement via Latent Space Mapping*, 2020, section 3 and its published code:
``w = M(concat(E_id(x_id), E_attr(x_attr)))``, four fully connected layers, one w for all layers of the generator; D_W
tells codes that the generator's own mapping network makes from mapped ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import nn

from deid.errors import ModelError
from deid.models.shape import NetworkShape

SLOPE = 0.2


@dataclass(frozen=True, slots=True)
class MapperShape(NetworkShape):
    """``identity``, ``attributes``: how many numbers come from the two encoders; ``hidden``: widths between; ``width``:
    of w. The paper's: 512, 2048, (2048, 1024, 512), 512."""

    WHAT: ClassVar[str] = "mapper"

    identity: int = 512
    attributes: int = 2048
    hidden: tuple[int, ...] = (2048, 1024, 512)
    width: int = 512

    def __post_init__(self) -> None:
        if min(self.identity, self.attributes, self.width, *self.hidden) < 1:
            raise ModelError(f"no mapper can have this shape: {self}; use another file.")


def perceptron(widths: Sequence[int]) -> nn.Sequential:
    """Fully connected layers with leaky rectifiers between them, and none at the end."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.LeakyReLU(SLOPE)]
    return nn.Sequential(*layers[:-1])


class Mapper(nn.Module):
    """M. What comes in is brought to zero mean and unit spread by the statistics of the training set, and w is an
    offset from the generator's mean in units of its own spread: buffers, so that a file is complete."""

    def __init__(self, shape: MapperShape) -> None:
        super().__init__()
        self.shape = shape
        inputs = shape.identity + shape.attributes
        self.net = perceptron((inputs, *shape.hidden, shape.width))
        self.register_buffer("centre", torch.zeros(inputs))
        self.register_buffer("spread", torch.ones(inputs))
        self.register_buffer("mean", torch.zeros(shape.width))
        self.register_buffer("scale", torch.ones(shape.width))

    centre: torch.Tensor
    spread: torch.Tensor
    mean: torch.Tensor
    scale: torch.Tensor

    def forward(self, identity: torch.Tensor, attributes: torch.Tensor) -> torch.Tensor:
        """(N, identity), (N, attributes) to w, (N, width)."""
        if identity.shape[1] != self.shape.identity or attributes.shape[1] != self.shape.attributes:
            raise ValueError(f"codes of {identity.shape[1]} and {attributes.shape[1]} numbers for {self.shape}")
        joined = (torch.cat([identity, attributes], 1) - self.centre) / self.spread
        mapped: torch.Tensor = self.net(joined) * self.scale + self.mean
        return mapped

    def know(self, identity: torch.Tensor, attributes: torch.Tensor, codes: torch.Tensor) -> None:
        """Learn the statistics from codes of the training set, many of each."""
        joined = torch.cat([identity, attributes], 1)
        self.centre.copy_(joined.mean(0))
        self.spread.copy_(joined.std(0).clamp_min(1e-4))
        self.mean.copy_(codes.mean(0))
        self.scale.copy_(codes.std(0).clamp_min(1e-4))


class LatentDiscriminator(nn.Module):
    """D_W: (N, width) to (N, 1), high for codes of the generator's own. The paper's widths: 256, 128, 64 after 512."""

    def __init__(self, width: int = 512) -> None:
        super().__init__()
        self.net = perceptron((width, max(width // 2, 8), max(width // 4, 8), max(width // 8, 8), 1))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))

    mean: torch.Tensor
    scale: torch.Tensor

    def know(self, codes: torch.Tensor) -> None:
        """Learn mean and spread of the generator's codes."""
        self.mean.copy_(codes.mean(0))
        self.scale.copy_(codes.std(0).clamp_min(1e-4))

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        verdict: torch.Tensor = self.net((codes - self.mean) / self.scale)
        return verdict
