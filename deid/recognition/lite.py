"""dlib's recognition network as a TensorFlow Lite model, run by XNNPACK through MediaPipe.

The same numbers as :mod:`.dlib_net` to a few millionths, without torch, whose import takes a second and a quarter of a
gigabyte: this is what a run uses.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deid.detection._mediapipe import Graph, floats, network_graph, schema
from deid.detection._tflite import ModelWriter

from .chips import CHIP
from .dlib_weights import BLOCKS, MEAN, WIDTH, Convolution, DlibWeights, load_weights

_Op, _Kind, _Act = schema.BuiltinOperator, schema.BuiltinOptions, schema.ActivationFunctionType
_SAME, _VALID = schema.Padding.SAME, schema.Padding.VALID


class LiteRecogniser:
    """Turns face chips into 128 numbers whose distances tell people apart. One instance belongs to one thread at a
    time.

    Raises :class:`ModelError` when the weights are missing or damaged.
    """

    name = "dlib"

    def __init__(self, threads: int = 1, *, weights: Path | None = None) -> None:
        self._graph = Graph(_config(threads), ("code",), {"model": _model(load_weights(weights))})

    def embed(self, chips: np.ndarray) -> np.ndarray:
        """``chips``: uint8 (N, 150, 150, 3) RGB, N may be 0. Returns float32 (N, 128), no larger than about 1.6 long.

        Raises :class:`ValueError` for another shape or type.
        """
        chips = np.asarray(chips)
        if chips.ndim != 4 or chips.shape[1:] != (CHIP, CHIP, 3) or chips.dtype != np.uint8:
            raise ValueError(f"chips must be uint8 (N, {CHIP}, {CHIP}, 3), not {chips.dtype} {chips.shape}")
        out = np.empty((len(chips), WIDTH), np.float32)
        for i, chip in enumerate(chips):
            out[i] = floats(self._graph.run(np.ascontiguousarray(chip))["code"])
        return out

    def close(self) -> None:
        """Free the network."""
        self._graph.close()


def _config(threads: int) -> str:
    end = 'calculator: "TensorsToFloatsCalculator" input_stream: "TENSORS:output" output_stream: "FLOATS:code"'
    return network_graph("code", end, threads)


def _model(weights: DlibWeights) -> bytes:
    writer = _Writer()
    stem, *rest = weights.convolutions
    # the normalisation of the picture goes into the first layer, which has no padding
    scaled = stem.weights / 256
    stem = Convolution(scaled, stem.bias - np.einsum("oiyx,i->o", scaled, np.array(MEAN, np.float32)))
    picture = writer.tensor((1, CHIP, CHIP, 3))
    x = writer.pool(_Op.MAX_POOL_2D, writer.convolution(picture, stem, stride=2, padding=_VALID, relu=True), 3, 2)
    for (_, halve), first, second in zip(BLOCKS, rest[0::2], rest[1::2], strict=True):
        y = writer.convolution(x, first, stride=2 if halve else 1, padding=_VALID if halve else _SAME, relu=True)
        y = writer.convolution(y, second, stride=1, padding=_SAME, relu=False)
        skip = writer.pool(_Op.AVERAGE_POOL_2D, x, 2, 2) if halve else x
        shape = tuple(max(pair) for pair in zip(writer.shapes[y], writer.shapes[skip], strict=True))
        x = writer.add(writer.grown(y, shape), writer.grown(skip, shape))
    side = writer.shapes[x][1]
    return writer.finish(picture, writer.dense(writer.pool(_Op.AVERAGE_POOL_2D, x, side, side), weights.head))


class _Writer(ModelWriter):
    """Adds what this network consists of. Activations have the shape (1, rows, columns, channels).

    Weights are copied once into place and once into the file: every further copy of 22 MB takes the system as long as
    looking at ten faces.
    """

    def convolution(self, source: int, layer: Convolution, *, stride: int, padding: int, relu: bool) -> int:
        _, rows, columns, _ = self.shapes[source]
        outputs, _, kernel, _ = layer.weights.shape
        lost = 0 if padding == _SAME else kernel - 1
        options = schema.Conv2DOptionsT()
        options.padding, options.strideW, options.strideH = padding, stride, stride
        options.fusedActivationFunction = _Act.RELU if relu else _Act.NONE
        target = self.tensor((1, -(-(rows - lost) // stride), -(-(columns - lost) // stride), outputs))
        weights = self.constant(np.ascontiguousarray(layer.weights.transpose(0, 2, 3, 1), np.float32))
        bias = self.constant(layer.bias.astype(np.float32))
        self._operator(_Op.CONV_2D, [source, weights, bias], target, _Kind.Conv2DOptions, options)
        return target

    def pool(self, operator: int, source: int, size: int, stride: int) -> int:
        _, rows, columns, channels = self.shapes[source]
        options = schema.Pool2DOptionsT()
        options.padding, options.strideW, options.strideH = _VALID, stride, stride
        options.filterWidth = options.filterHeight = size
        options.fusedActivationFunction = _Act.NONE
        target = self.tensor((1, (rows - size) // stride + 1, (columns - size) // stride + 1, channels))
        self._operator(operator, [source], target, _Kind.Pool2DOptions, options)
        return target

    def grown(self, source: int, shape: tuple[int, ...]) -> int:
        """Padded with zeros at the end of every axis, as dlib does where shapes differ."""
        have = self.shapes[source]
        if have == shape:
            return source
        margin = np.array([[0, wanted - had] for wanted, had in zip(shape, have, strict=True)], np.int32)
        target = self.tensor(shape)
        self._operator(_Op.PAD, [source, self.constant(margin)], target, _Kind.PadOptions, schema.PadOptionsT())
        return target

    def add(self, a: int, b: int) -> int:
        options = schema.AddOptionsT()
        options.fusedActivationFunction = _Act.RELU
        target = self.tensor(self.shapes[a])
        self._operator(_Op.ADD, [a, b], target, _Kind.AddOptions, options)
        return target

    def dense(self, source: int, weights: np.ndarray) -> int:
        options = schema.FullyConnectedOptionsT()
        options.fusedActivationFunction = _Act.NONE
        target = self.tensor((1, len(weights)))
        bias = self.constant(np.zeros(len(weights), np.float32))
        inputs = [source, self.constant(weights.astype(np.float32)), bias]
        self._operator(_Op.FULLY_CONNECTED, inputs, target, _Kind.FullyConnectedOptions, options)
        return target
