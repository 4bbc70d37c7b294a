"""StyleGAN2's generator: a latent code z to an intermediate code w, w to a picture.

T. Karras et al. 2020 (see ``layers.py``), skip architecture. Any power-of-two size; widths are named, so that every
checkpoint fits; three colours, or four channels, the fourth of them how much of a pixel is the face.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from deid.errors import ModelError
from deid.models.shape import NetworkShape
from deid.models.stylegan.layers import Linear, ModulatedConv, leaky, upsample

SMALLEST = 4


@dataclass(frozen=True, slots=True)
class GeneratorShape(NetworkShape):
    """What a generator is built from. ``size``: of its pictures, a power of two from 8 on; ``channels``: how many at
    4 x 4, 8 x 8 … ``size``; ``latent``: numbers in z; ``width``: in w; ``depth``: layers from z to w; ``colours``: 3,
    or 4 with opacity."""

    WHAT: ClassVar[str] = "generator"

    size: int
    channels: tuple[int, ...]
    latent: int = 512
    width: int = 512
    depth: int = 8
    colours: int = 3

    def __post_init__(self) -> None:
        steps = len(self.channels)
        if steps < 2 or self.size != SMALLEST << (steps - 1):
            raise ModelError(
                f"a generator with {steps} widths makes pictures of {SMALLEST << max(steps - 1, 0)} pixels, "
                f"not of {self.size}; use a file that fits together."
            )
        if min(*self.channels, self.latent, self.width) < 1 or self.depth < 1 or self.colours not in (3, 4):
            raise ModelError(f"no generator can have this shape: {self}; use another file.")

    @property
    def layers(self) -> int:
        """How many times w enters: the length of W+."""
        return 2 * len(self.channels)


class MappingNetwork(nn.Module):
    """z to w. ``mean``: the average w, towards which codes are drawn in for fewer odd pictures."""

    mean: torch.Tensor

    def __init__(self, shape: GeneratorShape) -> None:
        super().__init__()
        inputs = [shape.latent] + [shape.width] * (shape.depth - 1)
        self.layers = nn.ModuleList(Linear(n, shape.width, rate=0.01, active=True) for n in inputs)
        self.register_buffer("mean", torch.zeros(shape.width))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """(N, latent) to (N, width)."""
        x = z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-8)
        for layer in self.layers:
            x = layer(x)
        return x


class StyledConv(nn.Module):
    """Modulated convolution, noise, bias, rectifier."""

    noise: torch.Tensor

    def __init__(self, inputs: int, outputs: int, size: int, width: int, *, double: bool = False) -> None:
        super().__init__()
        self.conv = ModulatedConv(inputs, outputs, 3, width, double=double)
        self.strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("noise", torch.randn(size, size))

    def forward(self, x: torch.Tensor, w: torch.Tensor, fresh: bool) -> torch.Tensor:
        y = self.conv(x, w)
        noise = torch.randn_like(y[:, :1]) if fresh else self.noise
        return leaky(y + noise * self.strength + self.bias.view(1, -1, 1, 1))


class ToPicture(nn.Module):
    """Features to colours, without normalisation."""

    def __init__(self, inputs: int, colours: int, width: int) -> None:
        super().__init__()
        self.conv = ModulatedConv(inputs, colours, 1, width, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(colours))

    def forward(self, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return self.conv(x, w) + self.bias.view(1, -1, 1, 1)


class SynthesisBlock(nn.Module):
    """One size: twice as large as what comes in, except for the first, which begins from a constant."""

    def __init__(self, inputs: int, outputs: int, size: int, shape: GeneratorShape) -> None:
        super().__init__()
        self.first = StyledConv(inputs, outputs, size, shape.width, double=True) if size > SMALLEST else None
        self.second = StyledConv(outputs, outputs, size, shape.width)
        self.picture = ToPicture(outputs, shape.colours, shape.width)

    def forward(
        self, x: torch.Tensor, picture: torch.Tensor | None, codes: Sequence[torch.Tensor], fresh: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if self.first is not None:
            x = self.first(x, codes[0], fresh)
        x = self.second(x, codes[1], fresh)
        made = self.picture(x, codes[2])
        return x, made if picture is None else made + upsample(picture)


class SynthesisNetwork(nn.Module):
    """w to a picture."""

    def __init__(self, shape: GeneratorShape) -> None:
        super().__init__()
        self._layers = shape.layers
        self.constant = nn.Parameter(torch.randn(shape.channels[0], SMALLEST, SMALLEST))
        inputs = (shape.channels[0], *shape.channels)
        self.blocks = nn.ModuleList(
            SynthesisBlock(inputs[i], shape.channels[i], SMALLEST << i, shape) for i in range(len(shape.channels))
        )

    def forward(self, w: torch.Tensor, fresh: bool = False, sizes: int | None = None) -> torch.Tensor:
        """``w``: (N, width), or (N, layers, width) for W+. ``fresh``: new noise in every call; otherwise the file's
        own, and the same code gives the same picture. ``sizes``: stop after so many, the smallest first; each further
        one adds detail to what there is. Returns (N, colours, size, size), about -1 to 1."""
        if w.ndim == 2:
            w = w[:, None].expand(-1, self._layers, -1)
        if w.shape[1] != self._layers:
            raise ValueError(f"{w.shape[1]} codes for {self._layers} layers")
        x = self.constant.expand(len(w), -1, -1, -1)
        picture: torch.Tensor | None = None
        codes = w.unbind(1)
        for index, block in enumerate(list(self.blocks)[:sizes]):
            # A block's colours and the next one's first convolution share a code; the first block has no first one.
            x, picture = block(
                x, picture, (codes[max(2 * index - 1, 0)], codes[2 * index], codes[2 * index + 1]), fresh
            )
        assert picture is not None
        return picture


class Generator(nn.Module):
    """Both networks. Frozen generators are put into evaluation mode and lose their gradients with :meth:`frozen`."""

    def __init__(self, shape: GeneratorShape) -> None:
        super().__init__()
        self.shape = shape
        self.mapping = MappingNetwork(shape)
        self.synthesis = SynthesisNetwork(shape)

    def codes(self, z: torch.Tensor, truncation: float = 1.0) -> torch.Tensor:
        """(N, latent) to w (N, width), drawn towards the mean: 1 leaves them, 0 makes them one."""
        w = self.mapping(z)
        return w if truncation == 1 else torch.lerp(self.mapping.mean, w, truncation)

    def forward(self, w: torch.Tensor, fresh: bool = False, sizes: int | None = None) -> torch.Tensor:
        """See :meth:`SynthesisNetwork.forward`."""
        made: torch.Tensor = self.synthesis(w, fresh, sizes)
        return made


@torch.no_grad()
def measure_mean(generator: Generator, count: int = 10_000, seed: int = 0) -> torch.Tensor:
    """The average of ``count`` mapped codes, for files that hold none: (width,), on the processor."""
    random = torch.Generator().manual_seed(seed)
    total = torch.zeros(generator.shape.width, dtype=torch.float64)
    place = generator.mapping.mean.device
    for start in range(0, count, 1000):
        z = torch.randn(min(1000, count - start), generator.shape.latent, generator=random)
        total += generator.mapping(z.to(place)).sum(0).double().cpu()
    return (total / count).float()
