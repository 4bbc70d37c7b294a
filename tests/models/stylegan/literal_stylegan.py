"""StyleGAN2 once more, in the slow and literal way: weights modulated a picture at a time, zeros between samples."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch.nn import functional

_LINE = torch.tensor([1.0, 3.0, 3.0, 1.0])
_FILTER = torch.outer(_LINE, _LINE) / 64


def resample(x: torch.Tensor, gain: float, up: int, before: int, after: int) -> torch.Tensor:
    count, channels, rows, columns = x.shape
    wide = torch.zeros(count, channels, rows * up, columns * up)
    wide[:, :, ::up, ::up] = x
    wide = functional.pad(wide, (before, after, before, after))
    flat = wide.reshape(count * channels, 1, *wide.shape[2:])
    made = functional.conv2d(flat, gain * _FILTER.flip(0, 1)[None, None])
    return made.reshape(count, channels, *made.shape[2:])


def modulated(
    x: torch.Tensor,
    w: torch.Tensor,
    table: Mapping[str, torch.Tensor],
    begin: str,
    *,
    normal: bool = True,
    up: bool = False,
) -> torch.Tensor:
    weight = table[begin + "conv.weight"]
    _, outputs, inputs, size, _ = weight.shape
    affine = table[begin + "conv.modulation.weight"] / math.sqrt(w.shape[1])
    style = functional.linear(w, affine, table[begin + "conv.modulation.bias"])
    weight = weight / math.sqrt(inputs * size * size) * style[:, None, :, None, None]
    if normal:
        weight = weight / torch.sqrt(weight.square().sum((2, 3, 4), keepdim=True) + 1e-8)
    made = []
    for picture, own in zip(x, weight, strict=True):
        if up:
            wide = functional.conv_transpose2d(picture[None], own.transpose(0, 1), stride=2)
            made.append(resample(wide, 4.0, 1, 1, 1))
        else:
            made.append(functional.conv2d(picture[None], own, padding=size // 2))
    return torch.cat(made)


def picture(table: Mapping[str, torch.Tensor], w: torch.Tensor) -> torch.Tensor:
    """``table``: a generator in rosinality's layout; ``w``: (N, layers, width)."""

    def styled(x: torch.Tensor, code: torch.Tensor, begin: str, noise: int, up: bool = False) -> torch.Tensor:
        x = modulated(x, code, table, begin, up=up)
        x = x + table[begin + "noise.weight"] * table[f"noises.noise_{noise}"]
        x = x + table[begin + "activate.bias"].view(1, -1, 1, 1)
        return torch.where(x > 0, x, 0.2 * x) * math.sqrt(2)

    x = styled(table["input.input"].repeat(len(w), 1, 1, 1), w[:, 0], "conv1.", 0)
    made = modulated(x, w[:, 1], table, "to_rgb1.", normal=False) + table["to_rgb1.bias"]
    for block in range((w.shape[1] - 2) // 2):
        x = styled(x, w[:, 2 * block + 1], f"convs.{2 * block}.", 2 * block + 1, up=True)
        x = styled(x, w[:, 2 * block + 2], f"convs.{2 * block + 1}.", 2 * block + 2)
        colours = modulated(x, w[:, 2 * block + 3], table, f"to_rgbs.{block}.", normal=False)
        made = resample(made, 4.0, 2, 2, 1) + colours + table[f"to_rgbs.{block}.bias"]
    return made
