"""The layers of StyleGAN2: equalised learning rates, modulated convolutions, resampling with a binomial filter.

T. Karras et al., *Analyzing and Improving the Image Quality of StyleGAN*, 2020, section 2 and appendix B. Weights are
stored as drawn, with unit variance, and scaled when they are used, so that files of other implementations fit as they
are.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

SLOPE = 0.2
GAIN = math.sqrt(2)
"""Of a leaky rectifier, so that the variance of what goes through it stays."""

_BINOMIAL = torch.tensor([1.0, 3.0, 3.0, 1.0])
_FILTER = torch.outer(_BINOMIAL, _BINOMIAL) / _BINOMIAL.sum().square()


def leaky(x: torch.Tensor) -> torch.Tensor:
    """The one activation of the network."""
    return functional.leaky_relu(x, SLOPE) * GAIN


def _filter(x: torch.Tensor, gain: float) -> torch.Tensor:
    """The filter once a channel, (C, 1, 4, 4), in the type and place of ``x``."""
    kernel = (_FILTER * gain).to(x.device, x.dtype)
    return kernel.expand(x.shape[1], 1, 4, 4)


def blur(x: torch.Tensor, before: int, after: int, gain: float = 1.0) -> torch.Tensor:
    """``x`` (N, C, H, W) padded with zeros by ``before`` and ``after`` on both axes, low-passed, times ``gain``."""
    padded = functional.pad(x, (before, after, before, after))
    return functional.conv2d(padded, _filter(x, gain), groups=x.shape[1])


def upsample(x: torch.Tensor) -> torch.Tensor:
    """(N, C, H, W) to (N, C, 2H, 2W)."""
    return functional.conv_transpose2d(x, _filter(x, 4.0), stride=2, padding=1, groups=x.shape[1])


def downsample(x: torch.Tensor) -> torch.Tensor:
    """(N, C, H, W), even sides, to half of them."""
    return functional.conv2d(functional.pad(x, (1, 1, 1, 1)), _filter(x, 1.0), stride=2, groups=x.shape[1])


class Linear(nn.Module):
    """A fully connected layer whose learning rate does not depend on its width. ``rate``: its own, beside the others';
    ``bias``: where that begins; ``active``: with the rectifier."""

    def __init__(
        self, inputs: int, outputs: int, *, rate: float = 1.0, bias: float = 0.0, active: bool = False
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.full((outputs,), bias / rate))
        self._scale, self._rate, self._active = rate / math.sqrt(inputs), rate, active

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.linear(x, self.weight * self._scale, self.bias * self._rate)
        return leaky(y) if self._active else y


class Conv(nn.Module):
    """A convolution with equalised learning rate. ``halve``: low-passed and taken at every other place."""

    def __init__(self, inputs: int, outputs: int, size: int, *, halve: bool = False, plain: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, size, size))
        self.bias = None if plain else nn.Parameter(torch.zeros(outputs))
        self._scale, self._halve, self._size = 1 / math.sqrt(inputs * size * size), halve, size

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """With the rectifier, unless the layer is plain."""
        weight = self.weight * self._scale
        if self._halve and self._size == 1:
            y = functional.conv2d(downsample(x), weight)
        elif self._halve:
            pad = (self._size + 1) // 2
            y = functional.conv2d(blur(x, pad, pad), weight, stride=2)
        else:
            y = functional.conv2d(x, weight, padding=self._size // 2)
        return y if self.bias is None else leaky(y + self.bias.view(1, -1, 1, 1))


class ModulatedConv(nn.Module):
    """A convolution whose input channels are scaled by a style, and whose output is normalised as if by statistics.

    Scaling what goes in and what comes out equals scaling the weights a picture at a time (the paper's equations 1 to
    3), and lets a batch share one convolution, which is several times faster on a processor.
    """

    def __init__(
        self, inputs: int, outputs: int, size: int, width: int, *, double: bool = False, demodulate: bool = True
    ):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, size, size))
        self.affine = Linear(width, inputs, bias=1.0)
        self._scale = 1 / math.sqrt(inputs * size * size)
        self._double, self._demodulate, self._size = double, demodulate, size

    def forward(self, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        """``x``: (N, inputs, H, W); ``w``: (N, width)."""
        style = self.affine(w)
        weight = self.weight * self._scale
        x = x * style[:, :, None, None]
        if self._double:
            y = blur(functional.conv_transpose2d(x, weight.transpose(0, 1), stride=2), 1, 1, 4.0)
        else:
            y = functional.conv2d(x, weight, padding=self._size // 2)
        if not self._demodulate:
            return y
        power = style.square() @ weight.square().sum((2, 3)).t()
        return y * torch.rsqrt(power + 1e-8)[:, :, None, None]
