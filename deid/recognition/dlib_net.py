"""dlib's face recognition network, run in torch.

Network and weights: D. King, *dlib_face_recognition_resnet_model_v1* (CC0), a 29-layer residual network trained with a
metric loss, 99.38 % on LFW. The weights are the file inside the ``face_recognition_models`` package, read as a file:
the package is never imported, because that needs ``pkg_resources``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from .chips import CHIP, chip_from_picture, cut_chip
from .dlib_weights import BLOCKS, FEATURES, MEAN, WIDTH, load_weights, weights_path
from .thresholds import FAR_1E3, SAME_PERSON

__all__ = ["FAR_1E3", "SAME_PERSON", "DlibNet", "DlibRecogniser", "distance", "load_net", "weights_path"]


class _Block(nn.Module):
    """A residual block whose skip is padded with zeros, or average-pooled, where the shapes differ, as dlib does."""

    def __init__(self, inputs: int, filters: int, halve: bool) -> None:
        super().__init__()
        self.halve = halve
        self.first = (
            nn.Conv2d(inputs, filters, 3, stride=2, padding=0) if halve else nn.Conv2d(inputs, filters, 3, padding=1)
        )
        self.second = nn.Conv2d(filters, filters, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.second(functional.relu(self.first(x)))
        skip = functional.avg_pool2d(x, 2, 2) if self.halve else x
        shape = [max(pair) for pair in zip(y.shape[1:], skip.shape[1:], strict=True)]
        return functional.relu(_grown(y, shape) + _grown(skip, shape))


def _grown(x: torch.Tensor, shape: list[int]) -> torch.Tensor:
    channels, rows, columns = (wanted - have for wanted, have in zip(shape, x.shape[1:], strict=True))
    return functional.pad(x, (0, columns, 0, rows, 0, channels)) if channels or rows or columns else x


class DlibNet(nn.Module):
    """The network as a differentiable module, with each affine layer folded into the convolution before it.

    Input: float (N, 3, 150, 150), RGB in [0, 255]. Output: float (N, 128); Euclidean distances between outputs compare
    faces. Parameters are frozen: gradients flow to the picture only.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 7, stride=2)
        inputs = 32
        blocks: list[nn.Module] = []
        for filters, halve in BLOCKS:
            blocks.append(_Block(inputs, filters, halve))
            inputs = filters
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(FEATURES, WIDTH, bias=False)
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.requires_grad_(False)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        x = (pictures - self.mean) / 256
        x = functional.max_pool2d(functional.relu(self.stem(x)), 3, 2)
        return self.head(self.blocks(x).mean((2, 3)))

    def convolutions(self) -> list[nn.Conv2d]:
        """Every convolution, in the order of the file."""
        return [module for module in self.modules() if isinstance(module, nn.Conv2d)]


def load_net(path: Path | None = None) -> DlibNet:
    """The network with its weights, in evaluation mode; ``path`` defaults to the installed package's file.

    Raises :class:`ModelError` when the file is missing or unreadable, or is not this very network.
    """
    weights = load_weights(path)
    net = DlibNet()
    for module, folded in zip(net.convolutions(), weights.convolutions, strict=True):
        module.weight.copy_(torch.from_numpy(folded.weights))
        assert module.bias is not None
        module.bias.copy_(torch.from_numpy(folded.bias))
    net.head.weight.copy_(torch.from_numpy(weights.head))
    return net.eval()


class DlibRecogniser:
    """Turns face chips into 128 numbers whose distances tell people apart.

    ``threads``: torch's thread count, which is one number for the whole process; ``None`` leaves it alone. Raises
    :class:`ModelError` when the weights are missing or damaged.
    """

    name = "dlib"

    def __init__(self, threads: int | None = None, *, weights: Path | None = None, batch: int = 16) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        self.net = load_net(weights)
        self._batch = batch

    def chip(self, picture: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """The aligned face as (150, 150, 3) uint8 RGB. ``picture``: (H, W, 3) uint8 RGB; ``landmarks``: see
        :func:`deid.recognition.chips.chip_from_picture`."""
        return cut_chip(picture, chip_from_picture(landmarks))

    def embed(self, chips: np.ndarray) -> np.ndarray:
        """``chips``: uint8 (N, 150, 150, 3) RGB, N may be 0. Returns float32 (N, 128), no larger than about 1.6 long.

        Raises :class:`ValueError` for another shape or type.
        """
        chips = np.asarray(chips)
        if chips.ndim != 4 or chips.shape[1:] != (CHIP, CHIP, 3) or chips.dtype != np.uint8:
            raise ValueError(f"chips must be uint8 (N, {CHIP}, {CHIP}, 3), not {chips.dtype} {chips.shape}")
        found = np.empty((len(chips), WIDTH), np.float32)
        with torch.inference_mode():
            for start in range(0, len(chips), self._batch):
                part = torch.from_numpy(np.ascontiguousarray(chips[start : start + self._batch])).permute(0, 3, 1, 2)
                found[start : start + len(part)] = self.net(part.float()).numpy()
        return found


def distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Euclidean distance over the last axis, broadcast over the others; compare with :data:`SAME_PERSON`."""
    return np.linalg.norm(np.asarray(a) - np.asarray(b), axis=-1)
