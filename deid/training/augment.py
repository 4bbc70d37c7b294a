"""Adaptive augmentation for a discriminator that sees few pictures: T. Karras et al., *Training Generative Adversarial
Networks with Limited Data*, 2020, section 2 and 3: pixel blits, geometry and colour, each with the probability p, which
follows how often the discriminator is right about real pictures."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

TARGET = 0.6
_SPEED = 500_000  # pictures in which p can go from 0 to 1


class Augment:
    """Applies the same kind of change to real and generated pictures; gradients flow. ``random``: where chance comes
    from."""

    def __init__(self, seed: int) -> None:
        self.p = 0.0
        self._random = torch.Generator().manual_seed(seed)
        self._signs = 0.0
        self._seen = 0

    def __call__(self, pictures: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W), about -1 to 1."""
        if self.p <= 0:
            return pictures
        count = len(pictures)
        flip = self._chosen(count).view(-1, 1, 1, 1) * (self._uniform(count) < 0.5).view(-1, 1, 1, 1)
        pictures = torch.where(flip.to(pictures.device), pictures.flip(3), pictures)
        pictures = self._moved(pictures)
        return self._coloured(pictures)

    def heard(self, verdict: torch.Tensor) -> None:
        """What the discriminator said of real pictures; every few hundred change p."""
        self._signs += float(verdict.detach().sign().sum())
        self._seen += len(verdict)
        if self._seen >= 256:
            step = self._seen / _SPEED
            self.p = min(max(self.p + math.copysign(step, self._signs / self._seen - TARGET), 0.0), 0.85)
            self._signs, self._seen = 0.0, 0

    def _uniform(self, *shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=self._random)

    def _normal(self, *shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=self._random)

    def _chosen(self, count: int) -> torch.Tensor:
        return self._uniform(count) < self.p

    def _moved(self, pictures: torch.Tensor) -> torch.Tensor:
        count = len(pictures)
        zoom = torch.where(self._chosen(count), torch.exp2(0.2 * self._normal(count)), torch.ones(count))
        turn = torch.where(self._chosen(count), math.pi * 0.25 * (2 * self._uniform(count) - 1), torch.zeros(count))
        shift = torch.where(self._chosen(count)[:, None], 0.125 * self._normal(count, 2), torch.zeros(count, 2))
        matrix = torch.zeros(count, 2, 3)
        matrix[:, 0, 0], matrix[:, 0, 1] = turn.cos() / zoom, -turn.sin() / zoom
        matrix[:, 1, 0], matrix[:, 1, 1] = turn.sin() / zoom, turn.cos() / zoom
        matrix[:, :, 2] = 2 * shift
        grid = functional.affine_grid(matrix.to(pictures), list(pictures.shape), align_corners=False)
        return functional.grid_sample(pictures, grid, padding_mode="reflection", align_corners=False)

    def _coloured(self, pictures: torch.Tensor) -> torch.Tensor:
        """Brightness, contrast and saturation of the three colours; opacity stays."""
        count = len(pictures)
        light = torch.where(self._chosen(count), 0.2 * self._normal(count), torch.zeros(count))
        contrast = torch.where(self._chosen(count), torch.exp2(0.5 * self._normal(count)), torch.ones(count))
        strength = torch.where(self._chosen(count), torch.exp2(self._normal(count)), torch.ones(count))
        light, contrast, strength = (value.to(pictures).view(-1, 1, 1, 1) for value in (light, contrast, strength))
        colours = pictures[:, :3]
        grey = colours.mean(1, keepdim=True)
        colours = (grey + (colours - grey) * strength) * contrast + light
        return torch.cat([colours, pictures[:, 3:]], 1)
