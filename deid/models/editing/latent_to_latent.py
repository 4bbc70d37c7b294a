"""f(w, da): one network that changes any of the named attributes, all at once.

S. Khodadadeh et al., *Latent to Latent*, 2022, section 3: fully connected, as wide as what goes in, tanh between. What
comes out is an offset from w in units of the generator's own spread: a choice of this project's, as the depth is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import nn

from deid.errors import ModelError
from deid.models.checkpoints import open_checkpoint
from deid.models.checkpoints.build import frozen
from deid.models.checkpoints.bundle import fill
from deid.models.editing.latent import vector
from deid.models.editing.names import NAMES
from deid.models.shape import NetworkShape

SHIPPED = Path(__file__).parent / "editor.safetensors"


@dataclass(frozen=True, slots=True)
class EditShape(NetworkShape):
    """``width``: of w; ``attributes``: how many can be changed; ``layers``: hidden ones, each as wide as both
    together."""

    WHAT: ClassVar[str] = "latent editor"

    width: int = 256
    attributes: int = len(NAMES)
    layers: int = 4

    def __post_init__(self) -> None:
        if min(self.width, self.attributes, self.layers) < 1:
            raise ModelError(f"no latent editor can have this shape: {self}; use another file.")


class EditNet(nn.Module):
    """f."""

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, shape: EditShape) -> None:
        super().__init__()
        self.shape = shape
        both = shape.width + shape.attributes
        layers: list[nn.Module] = []
        for _ in range(shape.layers):
            layers += [nn.Linear(both, both), nn.Tanh()]
        self.net = nn.Sequential(*layers, nn.Linear(both, shape.width))
        last = self.net[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)  # who has learned nothing changes nothing
        nn.init.zeros_(last.bias)
        self.register_buffer("mean", torch.zeros(shape.width))
        self.register_buffer("scale", torch.ones(shape.width))

    def forward(self, w: torch.Tensor, changes: torch.Tensor) -> torch.Tensor:
        """``w``: (N, width); ``changes``: (N, attributes), -1 to 1. Returns (N, width)."""
        if w.shape[1] != self.shape.width or changes.shape[1] != self.shape.attributes:
            raise ValueError(f"codes of {w.shape[1]} and changes of {changes.shape[1]} numbers for {self.shape}")
        inside = torch.cat([(w - self.mean) / self.scale, _GAIN * changes], 1)
        offset: torch.Tensor = self.net(inside)
        return w + offset * self.scale

    def know(self, codes: torch.Tensor) -> None:
        """Learn mean and spread of the generator's codes."""
        self.mean.copy_(codes.mean(0))
        self.scale.copy_(codes.std(0).clamp_min(1e-4))


_GAIN = 3.0  # changes are small beside codes of unit spread


class LatentToLatent:
    """The paper's editor. See :class:`~deid.models.editing.latent.LatentEditor`."""

    name = "Latent to Latent"
    attributes = NAMES

    def __init__(self, net: EditNet) -> None:
        self.net = frozen(net)

    @torch.no_grad()
    def edit(self, w: torch.Tensor, changes: Mapping[str, float]) -> torch.Tensor:
        """In one step, all of them. What f does where nothing is asked, which its identity loss keeps small and not
        at nothing, is taken off: a fifth of what made people less themselves."""
        wanted = vector(changes, len(w), w)
        if not wanted.any():
            return w
        out: torch.Tensor = w + self.net(w, wanted) - self.net(w, torch.zeros_like(wanted))
        return out


def load_editor(path: Path | None = None, width: int | None = None) -> LatentToLatent:
    """The shipped one, which goes with the shipped generator, or the one in ``path``. ``width``: of the generator's w.
    Raises :class:`ModelError` when it is missing or broken, or made for another generator."""
    place = path or SHIPPED
    network = open_checkpoint(place).network("editor")
    shape = EditShape.of(network.shape)
    if shape.attributes != len(NAMES) or (width is not None and width != shape.width):
        raise ModelError(
            f"the editor in {place.name} takes codes of {shape.width} numbers, {shape.attributes} attributes, not of "
            f"{width or shape.width} and {len(NAMES)}; train one with 'deid train editor --generator FILE'."
        )
    made = EditNet(shape)
    fill(made, network, shape.WHAT)
    return LatentToLatent(made)
