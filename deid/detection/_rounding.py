"""CenterFace in 8-bit integers: how its layers are made ready for them, by ranges that were measured beforehand.

Less than half of the float network's time (1080p, one thread: 0.09 s to 0.21), and two fifths of its memory. What is
rounded is the arithmetic only; the last layer, whose outputs are scores and boxes, is computed in float.

Weights are rounded for each output channel by itself, activations for each tensor. Of tensors between an expansion and
the depthwise layer behind it, which treats channels one by one, every channel is first brought to the same range, which
changes nothing but halves the error (Nagel et al., *Data-Free Quantization Through Weight Equalization and Bias
Correction*, ICCV 2019, section 4.1, with measured ranges). Ranges come from ``benchmarks/calibrate_centerface.py``.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from deid.detection._onnx import Layer
from deid.errors import ModelError

RANGES = Path(__file__).parents[1] / "models" / "centerface_ranges.safetensors"
"""For every tensor by name: float32 (channels,), the channels' maxima, where channels are evened out; else (2,), least
and largest value. Its metadata hold ``weights``, the SHA-256 of the weights that were measured."""



@dataclass(frozen=True, slots=True)
class Steps:
    """How a tensor's values are stored in 8 bits: ``value = scale * (stored - zero)``, ``stored`` in -128..127."""

    scale: float
    zero: int


PICTURE = Steps(1.0, -128)
"""Of the network's input: 8-bit samples as they are."""
_QUIET = 1e-3  # a channel whose maximum is below this share of the loudest one's is not made louder than that


def even_channels(layers: Sequence[Layer]) -> frozenset[str]:
    """Outputs whose channels may be scaled one by one: rectified, and read by one depthwise layer alone."""
    readers = Counter(name for layer in layers for name in layer.inputs)
    depthwise = {layer.inputs[0] for layer in layers if layer.kind == "depthwise"}
    return frozenset(x.output for x in layers if x.relu and x.output in depthwise and readers[x.output] == 1)


def rounded(layers: Sequence[Layer], ranges: Mapping[str, np.ndarray]) -> tuple[list[Layer], dict[str, Steps]]:
    """``layers`` with channels evened out, and the steps of every tensor in ``ranges``."""
    even = even_channels(layers)
    gains = {name: _gains(ranges[name]) for name in even & ranges.keys()}
    # XNNPACK pads without copying where a stored 0 means 0; that leaves these tensors seven bits
    padded = {layer.inputs[0] for layer in layers if layer.kind == "depthwise" and layer.stride > 1}
    steps = {}
    for name, values in ranges.items():
        if name in padded:
            steps[name] = Steps(float(np.float32(values.max() / 127)), 0)
        else:
            steps[name] = _steps(0.0 if name in even else float(values.min()), float(values.max()))
    return [_evened(layer, gains) for layer in layers], steps


def _gains(peaks: np.ndarray) -> np.ndarray:
    """What each channel is divided by, float32 (channels,), at most 1."""
    return np.asarray(np.maximum(peaks / peaks.max(), _QUIET), np.float32)


def _steps(low: float, high: float) -> Steps:
    low, high = min(low, 0.0), max(high, 0.0)
    scale = float(np.float32((high - low) / 255))
    return Steps(scale, round(-128 - low / scale))


def _evened(layer: Layer, gains: Mapping[str, np.ndarray]) -> Layer:
    weights, bias = layer.weights, layer.bias
    if layer.output in gains:
        gain = gains[layer.output]
        weights, bias = weights / gain[:, None, None, None], bias / gain
    if layer.kind == "depthwise" and layer.inputs[0] in gains:
        weights = weights * gains[layer.inputs[0]][:, None, None, None]
    return layer if weights is layer.weights else replace(layer, weights=weights, bias=bias)


def round_weights(weights: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights in 8 bits, int8, and each channel's scale, float32 (channels,); ``axis``: of the channels."""
    others = tuple(i for i in range(weights.ndim) if i != axis)
    scales = np.maximum(np.abs(weights).max(axis=others), 1e-12).astype(np.float32) / np.float32(127)
    spread = scales.reshape([-1 if i == axis else 1 for i in range(weights.ndim)])
    return np.clip(np.rint(weights / spread), -127, 127).astype(np.int8), scales


def round_bias(bias: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """A bias in steps of ``scales``, int32."""
    return np.clip(np.rint(bias.astype(np.float64) / scales), -(2**30), 2**30).astype(np.int32)


@lru_cache(maxsize=1)
def read_ranges(path: Path = RANGES) -> tuple[str, dict[str, np.ndarray]]:
    """The digest of the weights that were measured, and the ranges. Raises :class:`ModelError` when unreadable."""
    try:
        with safe_open(str(path), framework="numpy") as file:
            return file.metadata()["weights"], {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, TypeError) as error:
        raise ModelError(f"{path} is missing or damaged: install deid again.") from error


def digest(data: bytes) -> str:
    """What tells one file of weights from another."""
    return hashlib.sha256(data).hexdigest()
