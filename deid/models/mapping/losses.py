"""What the mapper is trained by. Pictures are float (N, 3, H, W) in [0, 1].

Y. Nitzan et al. 2020, section 3.2 and the published code, whose weights are :data:`WEIGHTS`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch.nn import functional

_PAPER_WIDTH = 512
_MIX = 0.84  # of structure against difference in reconstruction (Zhao et al. 2017)
_SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang et al. 2003, table 1
_C1, _C2 = 0.01**2, 0.03**2


@dataclass(frozen=True, slots=True)
class Weights:
    """Of the losses beside each other."""

    identity: float = 1.0
    landmarks: float = 0.001
    reconstruction: float = 0.02
    adversarial: float = 1.0
    penalty: float = 10.0


WEIGHTS = Weights()


def identity_loss(found: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference of two recognition codes (N, d). It falls with the root of d for codes of one length, so
    that it is brought to the paper's 512 numbers."""
    return (found - wanted).abs().mean() * math.sqrt(found.shape[1] / _PAPER_WIDTH)


def landmark_loss(found: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Mean squared distance of landmarks (N, n, 2), in pixels of a picture of 160."""
    return (found - wanted).square().mean()


def reconstruction_loss(found: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """0.84 (1 - MS-SSIM) + 0.16 mean absolute difference."""
    structure = 1 - ms_ssim(found, wanted).mean()
    return _MIX * structure + (1 - _MIX) * (found - wanted).abs().mean()


def ms_ssim(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Multi-scale structural similarity, (N,), of pictures in [0, 1]: Z. Wang et al., *Multi-scale structural
    similarity for image quality assessment*, 2003. As many of its five scales as the pictures have pixels for."""
    levels = 1
    while levels < len(_SCALES) and min(a.shape[2:]) >> levels >= 8:
        levels += 1
    weights = torch.tensor(_SCALES[:levels], device=a.device, dtype=a.dtype)
    weights = weights / weights.sum()
    found = a.new_ones(len(a))
    for level in range(levels):
        brightness, structure = _ssim_parts(a, b)
        last = level == levels - 1
        part = (brightness * structure).mean((1, 2, 3)) if last else structure.mean((1, 2, 3))
        found = found * part.clamp_min(1e-4) ** weights[level]
        if not last:
            a, b = functional.avg_pool2d(a, 2), functional.avg_pool2d(b, 2)
    return found


def _ssim_parts(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    size = min(11, *a.shape[2:])
    size -= 1 - size % 2
    line = torch.exp(-0.5 * ((torch.arange(size, device=a.device, dtype=a.dtype) - size // 2) / 1.5) ** 2)
    line = line / line.sum()
    channels = a.shape[1]

    def mean(x: torch.Tensor) -> torch.Tensor:
        rows = functional.conv2d(x, line.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
        return functional.conv2d(rows, line.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)

    ma, mb = mean(a), mean(b)
    va, vb, both = mean(a * a) - ma * ma, mean(b * b) - mb * mb, mean(a * b) - ma * mb
    brightness = (2 * ma * mb + _C1) / (ma * ma + mb * mb + _C1)
    return brightness, (2 * both + _C2) / (va + vb + _C2)


def fool_loss(verdict: torch.Tensor) -> torch.Tensor:
    """Non-saturating: what the one who is judged wants, of what the judge says of its work (Goodfellow et al. 2014)."""
    return functional.softplus(-verdict).mean()


def judge_loss(real: torch.Tensor, made: torch.Tensor) -> torch.Tensor:
    """What the judge wants of what it says of real and of made ones."""
    return functional.softplus(made).mean() + functional.softplus(-real).mean()


def slope_penalty(verdict: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """R1 (Mescheder et al. 2018): mean squared gradient of the verdict at ``real``, which must require gradients."""
    (slope,) = torch.autograd.grad(verdict.sum(), real, create_graph=True)
    return slope.square().flatten(1).sum(1).mean()
