"""Encoders of pictures into W+: pSp and e4e, in the layout of their published checkpoints.

E. Richardson et al., *Encoding in Style*, 2021, section 3 (a feature pyramid over a face recogniser's backbone, a small
network a layer); O. Tov et al., *Designing an Encoder for StyleGAN Image Manipulation*, 2021, section 4 (one code and
offsets from it). The backbone is ArcFace's improved residual network with squeeze and excitation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional

from deid.models.shape import NetworkShape
from deid.models.stylegan.layers import Linear

INPUT = 256
"""Pixels of a side of what goes in."""

_COARSE, _MIDDLE = 3, 7
"""From which layer on codes come from the second and the third level of the pyramid."""


@dataclass(frozen=True, slots=True)
class StyleEncoderShape(NetworkShape):
    """``styles``: layers of the generator; ``units``: residual units of the four stages; ``channels``: of the first;
    ``pools``: halvings from each level of the pyramid to one place; ``offsets``: e4e's way of putting codes together;
    ``from_mean``: whether the generator's average w is added; ``squeeze``: squeeze and excitation;
    ``colours``: channels of the picture."""

    WHAT: ClassVar[str] = "encoder"

    styles: int
    units: tuple[int, int, int, int] = (3, 4, 14, 3)
    channels: int = 64
    pools: tuple[int, int, int] = (4, 5, 6)
    offsets: bool = False
    from_mean: bool = True
    squeeze: bool = True
    colours: int = 3


class _Squeeze(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // 16, 1, bias=False)
        self.fc2 = nn.Conv2d(channels // 16, channels, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.sigmoid(self.fc2(functional.relu(self.fc1(x.mean((2, 3), keepdim=True)))))


class _Unit(nn.Module):
    """The names of its parts are those of published files."""

    def __init__(self, inputs: int, outputs: int, stride: int, squeeze: bool) -> None:
        super().__init__()
        if inputs == outputs:
            self.shortcut_layer: nn.Module = nn.MaxPool2d(1, stride)
        else:
            self.shortcut_layer = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
        layers: list[nn.Module] = [
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.PReLU(outputs),
            nn.Conv2d(outputs, outputs, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        ]
        self.res_layer = nn.Sequential(*layers, *([_Squeeze(outputs)] if squeeze else []))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.res_layer(x) + self.shortcut_layer(x)


class _Style(nn.Module):
    """A level of the pyramid to one code."""

    def __init__(self, channels: int, pools: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(pools):
            layers += [nn.Conv2d(channels, channels, 3, stride=2, padding=1), nn.LeakyReLU()]
        self.convs = nn.Sequential(*layers)
        self.linear = Linear(channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        code: torch.Tensor = self.linear(self.convs(x).flatten(1))
        return code


class StyleEncoder(nn.Module):
    """(N, 3, 256, 256), RGB from -1 to 1, aligned as the generator's training set, to W+ (N, styles, width) beside the
    average w, which is added by whoever holds the generator when ``shape.from_mean`` says so."""

    def __init__(self, shape: StyleEncoderShape) -> None:
        super().__init__()
        self.shape = shape
        base = shape.channels
        self.input_layer = nn.Sequential(
            nn.Conv2d(shape.colours, base, 3, padding=1, bias=False), nn.BatchNorm2d(base), nn.PReLU(base)
        )
        units: list[nn.Module] = []
        inputs = base
        for stage, count in enumerate(shape.units):
            outputs = base << stage
            units += [_Unit(inputs, outputs, 2, shape.squeeze)]
            units += [_Unit(outputs, outputs, 1, shape.squeeze) for _ in range(count - 1)]
            inputs = outputs
        self.body = nn.Sequential(*units)
        width = base << 3
        self.styles = nn.ModuleList(_Style(width, shape.pools[_level(index)]) for index in range(shape.styles))
        self.latlayer1 = nn.Conv2d(width // 2, width, 1)
        self.latlayer2 = nn.Conv2d(width // 4, width, 1)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        levels = self._pyramid(pictures)
        codes = torch.stack([style(levels[_level(index)]) for index, style in enumerate(self.styles)], 1)
        if self.shape.offsets:
            codes = torch.cat([codes[:, :1], codes[:, :1] + codes[:, 1:]], 1)
        return codes

    def _pyramid(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        x = self.input_layer(pictures)
        ends = [sum(self.shape.units[: stage + 1]) - 1 for stage in (1, 2, 3)]
        kept = []
        for index, unit in enumerate(self.body):
            x = unit(x)
            if index in ends:
                kept.append(x)
        fine, middle, coarse = kept
        second = _grown(coarse, middle) + self.latlayer1(middle)
        return coarse, second, _grown(second, fine) + self.latlayer2(fine)


def _level(index: int) -> int:
    return 0 if index < _COARSE else 1 if index < _MIDDLE else 2


def _grown(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return functional.interpolate(x, like.shape[2:], mode="bilinear", align_corners=True)
