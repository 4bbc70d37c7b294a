"""What every editor of latent codes does, and how the attributes of a code are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch.nn import functional

from deid.models.editing.names import INDEX, NAMES, check_name
from deid.models.editing.regressor import Regressor
from deid.models.stylegan.generator import Generator

_BATCH = 32


class LatentEditor(Protocol):
    """``name``: for reports. ``attributes``: what it can change."""

    name: str
    attributes: tuple[str, ...]

    def edit(self, w: torch.Tensor, changes: Mapping[str, float]) -> torch.Tensor:
        """``w``: float32 (N, width). ``changes``: by how much each named attribute is to change, -1 to 1 and in H's
        numbers; what is not named is to stay. Returns codes as the generator takes them, (N, width) or, where layers
        get different ones, (N, layers, width). Depends on the arguments only; no changes give ``w`` itself. Raises
        :class:`~deid.errors.UsageError` for a name that it does not know."""
        ...


class Reader:
    """H of G of w: what a code shows."""

    def __init__(self, generator: Generator, regressor: Regressor) -> None:
        self.generator, self.regressor = generator, regressor

    @torch.no_grad()
    def __call__(self, w: torch.Tensor) -> torch.Tensor:
        """float32 (N, A) of codes (N, width) or (N, layers, width)."""
        out = [self.regressor(colours(self.generator(some))) for some in w.split(_BATCH)]
        return torch.cat(out) if out else torch.empty(0, len(NAMES))


def colours(made: torch.Tensor) -> torch.Tensor:
    """What a generator makes, (N, 3 or 4, S, S) in about -1 to 1, as RGB from 0 to 1."""
    return (made[:, :3] / 2 + 0.5).clamp(0, 1)


def vector(changes: Mapping[str, float], count: int, like: torch.Tensor) -> torch.Tensor:
    """float32 (count, A): ``changes`` as f takes them. Raises :class:`~deid.errors.UsageError` for a name that is
    none."""
    out = like.new_zeros(len(NAMES))
    for name, change in changes.items():
        check_name(name, "the change")
        out[INDEX[name]] = float(change)
    return out.expand(count, -1)


def faces_of(pictures: torch.Tensor, side: int) -> torch.Tensor:
    """float32 (N, 3, side, side): the face of aligned ``pictures``, (N, 3, S, S), as a recogniser wants it. All are cut
    at one place, where chips of aligned faces lie on average; gradients flow."""
    theta = torch.tensor([[_ZOOM, 0.0, 0.0], [0.0, _ZOOM, _DOWN]]).expand(len(pictures), -1, -1)
    grid = functional.affine_grid(theta, [len(pictures), 3, side, side], align_corners=False)
    return functional.grid_sample(pictures, grid, mode="bilinear", padding_mode="border", align_corners=False)


_ZOOM, _DOWN = 0.685, 0.196  # the mean over rendered faces, which differ by 0.03 and 0.011
"""Half the side of such a face, of half the picture's, and how far its middle lies below the picture's."""
