"""StyleGAN2 generators in the layout of the PyTorch implementation that most encoders build upon (rosinality's)."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch

from deid.errors import ModelError
from deid.models.checkpoints.bundle import Network, fill
from deid.models.stylegan.generator import Generator, GeneratorShape, measure_mean

_STYLED = {
    "conv.weight": "conv.weight",
    "conv.modulation.weight": "conv.affine.weight",
    "conv.modulation.bias": "conv.affine.bias",
    "noise.weight": "strength",
    "activate.bias": "bias",
}
_PICTURE = {
    "conv.weight": "conv.weight",
    "conv.modulation.weight": "conv.affine.weight",
    "conv.modulation.bias": "conv.affine.bias",
    "bias": "bias",
}


def looks_like(tensors: Mapping[str, torch.Tensor]) -> bool:
    """Whether the names are this layout's."""
    return "input.input" in tensors and "conv1.conv.weight" in tensors


def read_generator(tensors: Mapping[str, torch.Tensor], mean: torch.Tensor | None) -> tuple[Network, tuple[str, ...]]:
    """The generator of a table of tensors, and what is to be known about it. ``mean``: the average w, if the file has
    it; else it is measured. Raises :class:`ModelError` when something is missing."""
    shape = _shape(tensors)
    steps = len(shape.channels)
    found: dict[str, torch.Tensor] = {"synthesis.constant": _take(tensors, "input.input")[0]}
    for index in range(shape.depth):
        for part in ("weight", "bias"):
            found[f"mapping.layers.{index}.{part}"] = _take(tensors, f"style.{index + 1}.{part}")
    for block in range(steps):
        begin = f"synthesis.blocks.{block}."
        styled = (
            {"second.": "conv1."}
            if block == 0
            else {"first.": f"convs.{2 * block - 2}.", "second.": f"convs.{2 * block - 1}."}
        )
        for ours, theirs in styled.items():
            found |= {begin + ours + b: _take(tensors, theirs + a) for a, b in _STYLED.items()}
            found[begin + ours + "noise"] = _noise(tensors, block, ours)
        colours = "to_rgb1." if block == 0 else f"to_rgbs.{block - 1}."
        found |= {f"{begin}picture.{b}": _take(tensors, colours + a) for a, b in _PICTURE.items()}
    found = {name: _squeezed(name, tensor) for name, tensor in found.items()}
    notes: tuple[str, ...] = ()
    found["mapping.mean"] = (
        torch.zeros(shape.width) if mean is None else mean.detach().float().reshape(-1, shape.width)[0]
    )
    network = Network(shape.numbers(), found)
    if mean is None:
        made = Generator(shape)
        fill(made, network, "generator")
        found["mapping.mean"] = measure_mean(made)
        notes = ("the file holds no average w, so it was measured over 10,000 codes",)
    return network, notes


def write_generator(generator: Generator) -> dict[str, torch.Tensor]:
    """The generator's tensors in this layout, without the filters, which are the same in every file."""
    ours = {name: tensor.detach().clone() for name, tensor in generator.state_dict().items()}
    found = {"input.input": ours["synthesis.constant"][None]}
    for index in range(generator.shape.depth):
        for part in ("weight", "bias"):
            found[f"style.{index + 1}.{part}"] = ours[f"mapping.layers.{index}.{part}"]
    for block in range(len(generator.shape.channels)):
        begin = f"synthesis.blocks.{block}."
        styled = (
            {"conv1.": "second."}
            if block == 0
            else {f"convs.{2 * block - 2}.": "first.", f"convs.{2 * block - 1}.": "second."}
        )
        for theirs, side in styled.items():
            found |= {theirs + a: ours[begin + side + b] for a, b in _STYLED.items()}
            found[theirs + "conv.weight"] = found[theirs + "conv.weight"][None]
            found[theirs + "noise.weight"] = found[theirs + "noise.weight"].reshape(1)
            found[f"noises.noise_{_noise_number(block, side)}"] = ours[begin + side + "noise"][None, None]
        theirs = "to_rgb1." if block == 0 else f"to_rgbs.{block - 1}."
        found |= {theirs + a: ours[f"{begin}picture.{b}"] for a, b in _PICTURE.items()}
        found[theirs + "conv.weight"] = found[theirs + "conv.weight"][None]
        found[theirs + "bias"] = found[theirs + "bias"].reshape(1, -1, 1, 1)
    return found


def _shape(tensors: Mapping[str, torch.Tensor]) -> GeneratorShape:
    blocks = {int(found[1]) for name in tensors if (found := re.match(r"to_rgbs\.(\d+)\.", name))}
    channels = [_take(tensors, "conv1.conv.weight").shape[1]]
    channels += [_take(tensors, f"convs.{2 * block + 1}.conv.weight").shape[1] for block in sorted(blocks)]
    layers = {int(found[1]) for name in tensors if (found := re.match(r"style\.(\d+)\.weight", name))}
    if not layers:
        raise ModelError("the generator in the file has no mapping network; use a complete file.")
    return GeneratorShape(
        size=4 << (len(channels) - 1),
        channels=tuple(channels),
        latent=_take(tensors, "style.1.weight").shape[1],
        width=_take(tensors, "conv1.conv.modulation.weight").shape[1],
        depth=max(layers),
        colours=_take(tensors, "to_rgb1.conv.weight").shape[1],
    )


def _noise_number(block: int, side: str) -> int:
    return 0 if block == 0 else 2 * block - (1 if side == "first." else 0)


def _noise(tensors: Mapping[str, torch.Tensor], block: int, side: str) -> torch.Tensor:
    """Files of early versions hold no noise: then it is drawn from a fixed seed, so that pictures repeat."""
    number = _noise_number(block, side)
    held = tensors.get(f"noises.noise_{number}")
    if held is not None:
        return held[0, 0]
    return torch.randn(4 << block, 4 << block, generator=torch.Generator().manual_seed(number))


def _take(tensors: Mapping[str, torch.Tensor], name: str) -> torch.Tensor:
    found = tensors.get(name)
    if found is None:
        raise ModelError(f"the generator in the file lacks {name}; use a complete StyleGAN2 file.")
    return found


def _squeezed(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """A modulated convolution's weights have one dimension more there, strengths and colours' biases other ones."""
    if name.endswith("conv.weight") and tensor.ndim == 5:
        tensor = tensor[0]
    elif name.endswith("strength"):
        tensor = tensor.reshape(())
    elif name.endswith("bias"):
        tensor = tensor.reshape(-1)
    return tensor.detach().float()
