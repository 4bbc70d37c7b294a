"""H: how much of each named attribute a picture shows.

S. Khodadadeh et al., *Latent to Latent: A Learned Mapper for Identity Preserving Editing of Multiple Face Attributes in
StyleGAN-generated Images*, 2022, section 3: ``H(I)`` in [0, 1]^N. The paper's was trained on labels of a service; this
one on rendered faces, of which everything is known. Gradients flow to the picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from deid.errors import ModelError
from deid.models.checkpoints import open_checkpoint
from deid.models.checkpoints.build import frozen
from deid.models.checkpoints.bundle import fill
from deid.models.editing.names import ATTRIBUTES, NAMES
from deid.models.shape import NetworkShape

SHIPPED = Path(__file__).parent / "regressor.safetensors"
_BATCH = 64


@dataclass(frozen=True, slots=True)
class RegressorShape(NetworkShape):
    """``side``: pixels of the picture that goes in, a power of two; ``channels``: at half, a quarter … of it, down to
    4; ``hidden``: width before the last layer; ``attributes``: how many come out."""

    WHAT: ClassVar[str] = "attribute regressor"

    side: int = 64
    channels: tuple[int, ...] = (24, 48, 96, 128)
    hidden: int = 128
    attributes: int = len(NAMES)

    def __post_init__(self) -> None:
        if self.side != 4 << len(self.channels) or min(*self.channels, self.hidden, self.attributes) < 1:
            raise ModelError(f"no attribute regressor can have this shape: {self}; use another file.")


class _Block(nn.Module):
    """Half the size, then one residual convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1)
        self.norm = nn.GroupNorm(max(outputs // 8, 1), outputs)
        self.more = nn.Conv2d(outputs, outputs, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.leaky_relu(self.norm(self.down(x)), 0.2)
        return x + functional.leaky_relu(self.more(x), 0.2)


class Regressor(nn.Module):
    """H. See :meth:`forward`."""

    def __init__(self, shape: RegressorShape) -> None:
        super().__init__()
        self.shape = shape
        inputs = (3, *shape.channels[:-1])
        self.look = nn.Sequential(*(_Block(a, b) for a, b in zip(inputs, shape.channels, strict=True)))
        self.head = nn.Sequential(
            nn.Linear(shape.channels[-1] * 16, shape.hidden),
            nn.LeakyReLU(0.2),
            nn.Linear(shape.hidden, shape.attributes),
        )

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """``pictures``: (N, 3, S, S) RGB in [0, 1], any S, aligned as FFHQ's are. Returns (N, attributes), 0 to 1."""
        return self.logits(pictures).sigmoid()

    def logits(self, pictures: torch.Tensor) -> torch.Tensor:
        """The same before the logistic curve."""
        side = self.shape.side
        if pictures.shape[-1] != side:
            way = "area" if pictures.shape[-1] > side else "bilinear"
            pictures = functional.interpolate(pictures, (side, side), mode=way)
        out: torch.Tensor = self.head(self.look(pictures * 4 - 2).flatten(1))
        return out

    @torch.no_grad()
    def read(self, pictures: np.ndarray) -> np.ndarray:
        """float32 (n, attributes) of aligned ``pictures``, uint8 (n, S, S, 3) RGB."""
        out = []
        for start in range(0, len(pictures), _BATCH):
            some = torch.from_numpy(np.ascontiguousarray(pictures[start : start + _BATCH]))
            out.append(self(some.permute(0, 3, 1, 2).float() / 255))
        return np.asarray(torch.cat(out).numpy(), np.float32)


def mirrored(labels: torch.Tensor) -> torch.Tensor:
    """What a mirrored picture shows, of (N, attributes)."""
    sided = torch.tensor([attribute.sided for attribute in ATTRIBUTES])
    return torch.where(sided, 1 - labels, labels)


def load_regressor(path: Path | None = None) -> Regressor:
    """The shipped one, or the one in ``path``, frozen. Raises :class:`ModelError` when it is missing or broken, or
    tells other attributes."""
    network = open_checkpoint(path or SHIPPED).network("regressor")
    shape = RegressorShape.of(network.shape)
    if shape.attributes != len(NAMES):
        raise ModelError(
            f"the attribute regressor tells {shape.attributes} attributes where there are {len(NAMES)}; train it again "
            "with 'deid train regressor'."
        )
    made = Regressor(shape)
    fill(made, network, shape.WHAT)
    return frozen(made)
