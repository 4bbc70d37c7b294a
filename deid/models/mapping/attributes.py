"""E_attr and E_lnd: what is not identity in a picture, and where a face's landmarks lie.

The paper's attribute encoder is an InceptionV3 on pixels alone, trained on generated pictures. One that is trained on
pictures of rendered people would see nothing on real ones that it knows; so the small encoder also takes the points of
a landmark model that knows real faces, and leaves to pixels what points do not tell: light, colour, gaze, glasses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn import functional

from deid.models.shape import NetworkShape

POINTS = 478
LANDMARKS = 51
"""Of the 68 landmarks those without the jaw, which belongs to the identity."""

MESH_OF_LANDMARKS = (
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300,
    168, 197, 5, 4, 75, 97, 2, 326, 305,
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181,
    78, 82, 13, 312, 308, 317, 14, 87,
)  # fmt: skip
"""Where those 51 lie in MediaPipe's mesh, in the order of the 68: brows, nose, eyes, lips."""


@dataclass(frozen=True, slots=True)
class AttributeShape(NetworkShape):
    """``side``: pixels of the picture that goes in; ``channels``: of the first convolution; ``width``: numbers that
    come out; ``points``: whether mesh points go in; ``components``: in how many of their principal directions, each
    in units of its own spread, 0 for as they are."""

    WHAT: ClassVar[str] = "attribute encoder"

    side: int = 64
    channels: int = 24
    width: int = 256
    points: bool = True
    components: int = 0

    @classmethod
    def of(cls, numbers: Mapping[str, Any]) -> AttributeShape:
        """See :meth:`NetworkShape.of`; files of before say nothing of components."""
        return super(AttributeShape, cls).of({"components": 0, **numbers})


class _Step(nn.Sequential):
    """Half the size, more channels."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, stride=2, padding=1),
            nn.GroupNorm(min(8, outputs // 4), outputs),
            nn.LeakyReLU(0.2),
            nn.Conv2d(outputs, outputs, 3, padding=1),
            nn.LeakyReLU(0.2),
        )


def _trunk(colours: int, channels: int, side: int) -> tuple[nn.Sequential, int]:
    """Convolutions down to 4 x 4, and how many numbers that is."""
    steps, inputs = [], colours
    while side > 4:
        steps.append(_Step(inputs, channels))
        inputs, channels, side = channels, min(channels * 2, 192), side // 2
    return nn.Sequential(*steps), inputs * side * side


class AttributeEncoder(nn.Module):
    """E_attr."""

    def __init__(self, shape: AttributeShape) -> None:
        super().__init__()
        self.shape = shape
        self.look, numbers = _trunk(3, shape.channels, shape.side)
        told = shape.components or POINTS * 3
        self.read = nn.Sequential(nn.Linear(told, 256), nn.LeakyReLU(0.2)) if shape.points else None
        self.join = nn.Linear(numbers + (256 if shape.points else 0), shape.width)
        self.register_buffer("centre", torch.zeros(POINTS, 3))
        self.register_buffer("spread", torch.ones(()))
        if shape.components:
            self.register_buffer("directions", torch.zeros(POINTS * 3, shape.components))
            self.register_buffer("sizes", torch.ones(shape.components))

    centre: torch.Tensor
    spread: torch.Tensor
    directions: torch.Tensor
    sizes: torch.Tensor

    def forward(self, pictures: torch.Tensor, points: torch.Tensor | None = None) -> torch.Tensor:
        """``pictures``: (N, 3, S, S) in [0, 1], any S; ``points``: (N, 478, 3), -1 to 1 over the picture, z in the same
        unit. Returns (N, width)."""
        side = self.shape.side
        if pictures.shape[-1] != side:
            pictures = functional.interpolate(pictures, (side, side), mode="area")
        found = [self.look(pictures * 2 - 1).flatten(1)]
        if self.read is not None:
            if points is None:
                raise ValueError("this encoder needs the points of the mesh")
            found.append(self.read(self._told(points)))
        code: torch.Tensor = self.join(torch.cat(found, 1))
        return code

    def _told(self, points: torch.Tensor) -> torch.Tensor:
        away = ((points - self.centre) / self.spread).flatten(1)
        return away @ self.directions / self.sizes if self.shape.components else away

    @torch.no_grad()
    def follow(self, other: AttributeEncoder) -> None:
        """Begin as ``other``, which may have been told points as they are: the same weights, seen along directions.
        Raises ``ValueError`` when pictures go through other layers."""
        if replace(other.shape, components=0) != replace(self.shape, components=0) or other.shape.components:
            raise ValueError("encoders of different sizes")
        self.look.load_state_dict(other.look.state_dict())
        self.join.load_state_dict(other.join.state_dict())
        if self.read is None or other.read is None:
            return
        moved = ((self.centre - other.centre) / other.spread).flatten()
        weight, bias = other.read[0].weight, other.read[0].bias
        scaled = weight * (self.spread / other.spread)
        self.read[0].weight.copy_(scaled @ self.directions * self.sizes if self.shape.components else scaled)
        self.read[0].bias.copy_(bias + weight @ moved)

    def know(self, points: torch.Tensor) -> None:
        """Learn mean and spread of the training set's points. Lids and lips move by a hundredth of what heads do, so
        that directions are brought to one size, down to what is left of noise."""
        self.centre.copy_(points.mean(0))
        self.spread.copy_((points - points.mean(0)).std().clamp_min(1e-4))
        if self.shape.components:
            away = ((points - self.centre) / self.spread).flatten(1).double()
            sizes, directions = torch.linalg.eigh(away.T @ away / len(away))
            kept = slice(-self.shape.components, None)
            self.directions.copy_(directions[:, kept].flip(1))
            self.sizes.copy_(sizes[kept].flip(0).clamp_min(1e-10).sqrt())


@dataclass(frozen=True, slots=True)
class LandmarkShape(NetworkShape):
    """``side``: pixels of the picture that goes in; ``channels``: of the first convolution."""

    WHAT: ClassVar[str] = "landmark network"

    side: int = 64
    channels: int = 24


class LandmarkNet(nn.Module):
    """E_lnd: (N, 3, S, S) in [0, 1] to 51 landmarks (N, 51, 2), -1 to 1 over the picture; gradients flow through."""

    def __init__(self, shape: LandmarkShape) -> None:
        super().__init__()
        self.shape = shape
        self.look, numbers = _trunk(3, shape.channels, shape.side)
        self.head = nn.Sequential(nn.Linear(numbers, 256), nn.LeakyReLU(0.2), nn.Linear(256, LANDMARKS * 2))
        self.register_buffer("centre", torch.zeros(LANDMARKS, 2))

    centre: torch.Tensor

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        side = self.shape.side
        if pictures.shape[-1] != side:
            pictures = functional.interpolate(pictures, (side, side), mode="area")
        return self.centre + self.head(self.look(pictures * 2 - 1).flatten(1)).view(-1, LANDMARKS, 2)
