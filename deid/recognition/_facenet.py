"""InceptionResnetV1, the network that facenet-pytorch's weights belong to, so that they can be used without that
package's code, which needs torchvision and can download.

Architecture: C. Szegedy et al., *Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning*,
2016, in the layout of D. Sandberg's facenet. Parameters have the names that facenet-pytorch (MIT) gives them. Imported
only when a user brings such weights.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn
from torch.nn import functional

_Kernel = int | tuple[int, int]


def _unit(inputs: int, outputs: int, kernel: _Kernel, stride: int = 1, padding: _Kernel = 0) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False),
            bn=nn.BatchNorm2d(outputs, eps=0.001),
            relu=nn.ReLU(),
        )
    )


class _Residual(nn.Module):
    """Branches side by side, mixed and added to what came in."""

    def __init__(self, branches: list[nn.Module], joined: int, width: int, scale: float, bent: bool = True) -> None:
        super().__init__()
        self._count, self._scale, self._bent = len(branches), scale, bent
        for number, branch in enumerate(branches):
            self.add_module(f"branch{number}", branch)
        self.conv2d = nn.Conv2d(joined, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = [self.get_submodule(f"branch{number}")(x) for number in range(self._count)]
        y = self.conv2d(torch.cat(parts, 1)) * self._scale + x
        return functional.relu(y) if self._bent else y


class _Mixed(nn.Module):
    """Branches side by side, the last a pooling: halves the picture."""

    def __init__(self, branches: list[nn.Module]) -> None:
        super().__init__()
        self._count = len(branches) + 1
        for number, branch in enumerate([*branches, nn.MaxPool2d(3, 2)]):
            self.add_module(f"branch{number}", branch)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.get_submodule(f"branch{number}")(x) for number in range(self._count)], 1)


def _block35() -> _Residual:
    two = nn.Sequential(_unit(256, 32, 1), _unit(32, 32, 3, padding=1))
    three = nn.Sequential(_unit(256, 32, 1), _unit(32, 32, 3, padding=1), _unit(32, 32, 3, padding=1))
    return _Residual([_unit(256, 32, 1), two, three], 96, 256, 0.17)


def _block17() -> _Residual:
    long = nn.Sequential(
        _unit(896, 128, 1), _unit(128, 128, (1, 7), padding=(0, 3)), _unit(128, 128, (7, 1), padding=(3, 0))
    )
    return _Residual([_unit(896, 128, 1), long], 256, 896, 0.10)


def _block8(scale: float, bent: bool) -> _Residual:
    long = nn.Sequential(
        _unit(1792, 192, 1), _unit(192, 192, (1, 3), padding=(0, 1)), _unit(192, 192, (3, 1), padding=(1, 0))
    )
    return _Residual([_unit(1792, 192, 1), long], 384, 1792, scale, bent)


class InceptionResnet(nn.Module):
    """Input: float (N, 3, 160, 160), RGB from -1 to 1. Output: float (N, 512), not made one long."""

    def __init__(self) -> None:
        super().__init__()
        self.conv2d_1a = _unit(3, 32, 3, 2)
        self.conv2d_2a = _unit(32, 32, 3)
        self.conv2d_2b = _unit(32, 64, 3, padding=1)
        self.maxpool_3a = nn.MaxPool2d(3, 2)
        self.conv2d_3b = _unit(64, 80, 1)
        self.conv2d_4a = _unit(80, 192, 3)
        self.conv2d_4b = _unit(192, 256, 3, 2)
        self.repeat_1 = nn.Sequential(*(_block35() for _ in range(5)))
        narrow = nn.Sequential(_unit(256, 192, 1), _unit(192, 192, 3, padding=1), _unit(192, 256, 3, 2))
        self.mixed_6a = _Mixed([_unit(256, 384, 3, 2), narrow])
        self.repeat_2 = nn.Sequential(*(_block17() for _ in range(10)))
        ends = [nn.Sequential(_unit(896, 256, 1), _unit(256, width, 3, 2)) for width in (384, 256)]
        deep = nn.Sequential(_unit(896, 256, 1), _unit(256, 256, 3, padding=1), _unit(256, 256, 3, 2))
        self.mixed_7a = _Mixed([*ends, deep])
        self.repeat_3 = nn.Sequential(*(_block8(0.20, True) for _ in range(5)))
        self.block8 = _block8(1.0, False)
        self.avgpool_1a = nn.AdaptiveAvgPool2d(1)
        self.last_linear = nn.Linear(1792, 512, bias=False)
        self.last_bn = nn.BatchNorm1d(512, eps=0.001)
        self.requires_grad_(False)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        x = pictures
        for layer in list(self.children())[:-2]:
            x = layer(x)
        return self.last_bn(self.last_linear(x.flatten(1)))


def inception_resnet() -> InceptionResnet:
    """The network, with random weights."""
    return InceptionResnet()
