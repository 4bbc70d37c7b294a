"""Writes the layers of :mod:`deid.detection._onnx` as a TensorFlow Lite model, for one input size.

Why: on a CPU, TensorFlow Lite's XNNPACK runs CenterFace 1.4 to 1.9 times as fast as OpenCV's network module, with the
same results, and MediaPipe brings it along. The format is that of tensorflow/lite/schema/schema.fbs, through the
classes generated from it in MediaPipe's wheel.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import flatbuffers
import numpy as np

from deid.detection._mediapipe import schema
from deid.detection._onnx import Layer

_Op = schema.BuiltinOperator
_Kind = schema.BuiltinOptions
_FLOAT, _INT = schema.TensorType.FLOAT32, schema.TensorType.INT32
_VERSIONS = {_Op.TRANSPOSE_CONV: 3}  # the first with a bias; every other operator is used in its first version


def write_model(
    layers: list[Layer], height: int, width: int, *, heads: tuple[str, ...], strip_end: str, strip_rows: int
) -> bytes:
    """A model from float32 (1, height, width, 3) to float32 (1, height / 4, width / 4 * channels, 1).

    ``heads``: outputs of 1 x 1 convolutions with one common input, whose channels are put side by side in that order.
    ``strip_end``: up to the tensor of this name, at a quarter of the resolution, the network runs on strips of
    ``strip_rows`` input rows, one after the other, which is what bounds the memory; the result is the same.
    """
    trunk, merged = _merged([x for x in layers if x.output not in heads], [_named(layers, name) for name in heads])
    position = next(i for i, layer in enumerate(trunk) if layer.output == strip_end) + 1
    writer = _Writer()
    picture = writer.tensor((1, height, width, 3))
    tensors = {layer_input(trunk): picture}
    tensors[strip_end] = writer.strips(trunk[:position], picture, strip_end, strip_rows)
    for layer in trunk[position:]:
        writer.layer(layer, tensors)
    writer.layer(merged, tensors)
    rows, columns, channels = writer.shapes[tensors[merged.output]][1:]
    flat = writer.tensor((1, rows, columns * channels, 1))
    writer.reshape(tensors[merged.output], flat)
    return writer.finish(picture, flat)


def layer_input(layers: list[Layer]) -> str:
    """The name of the network's own input."""
    return layers[0].inputs[0]


def _named(layers: list[Layer], output: str) -> Layer:
    return next(layer for layer in layers if layer.output == output)


def _merged(trunk: list[Layer], heads: list[Layer]) -> tuple[list[Layer], Layer]:
    if len({head.inputs for head in heads}) != 1:
        raise ValueError("the heads have no common input")
    weights = np.concatenate([head.weights for head in heads])
    return trunk, replace(heads[0], weights=weights, bias=np.concatenate([head.bias for head in heads]))


class _Writer:
    """Collects tensors and operators; tensors are known by their number."""

    def __init__(self) -> None:
        self._model = schema.ModelT()
        self._model.version = 3
        self._model.buffers = [schema.BufferT()]  # the first one means: no data
        self._model.operatorCodes = []
        self._graph = schema.SubGraphT()
        self._graph.tensors, self._graph.operators = [], []
        self._codes: dict[int, int] = {}
        self._stored: dict[int, int] = {}  # weights of layers by identity: strips share them
        self.shapes: list[tuple[int, ...]] = []

    def tensor(self, shape: tuple[int, ...]) -> int:
        return self._add_tensor(shape, _FLOAT, 0)

    def constant(self, values: np.ndarray) -> int:
        """A tensor of fixed values."""
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
        self._model.buffers.append(buffer)
        kind = _INT if values.dtype == np.int32 else _FLOAT
        return self._add_tensor(values.shape, kind, len(self._model.buffers) - 1)

    def strips(self, layers: list[Layer], picture: int, end: str, rows: int) -> int:
        """Run ``layers`` on ``rows`` rows at a time, plus what their kernels reach beyond, and join the parts."""
        _, height, width, channels = self.shapes[picture]
        if height <= rows:
            return self._chain(layers, picture, end)
        reach = _reach(layers)
        parts = []
        for top in range(0, height, rows):
            bottom = min(top + rows, height)
            first, last = max(0, top - reach), min(height, bottom + reach)
            strip = self._slice(picture, first, (1, last - first, width, channels))
            result = self._chain(layers, strip, end)
            stride = (last - first) // self.shapes[result][1]
            size = (1, (bottom - top) // stride, *self.shapes[result][2:])
            parts.append(self._slice(result, (top - first) // stride, size))
        joined = self.tensor((1, sum(self.shapes[p][1] for p in parts), *self.shapes[parts[0]][2:]))
        options = schema.ConcatenationOptionsT()
        options.axis = 1
        self._operator(_Op.CONCATENATION, parts, joined, _Kind.ConcatenationOptions, options)
        return joined

    def _chain(self, layers: list[Layer], source: int, end: str) -> int:
        tensors = {layer_input(layers): source}
        for layer in layers:
            self.layer(layer, tensors)
        return tensors[end]

    def layer(self, layer: Layer, tensors: dict[str, int]) -> None:
        """Write one layer; its inputs are looked up in ``tensors``, its output is put there."""
        sources = [tensors[name] for name in layer.inputs]
        if layer.kind == "add":
            tensors[layer.output] = self._add(layer, sources)
        elif layer.kind == "transposed":
            tensors[layer.output] = self._transposed(layer, *sources)
        else:
            tensors[layer.output] = self._convolution(layer, *sources)

    def _convolution(self, layer: Layer, source: int) -> int:
        _, height, width, channels = self.shapes[source]
        outputs, kernel, stride = layer.weights.shape[0], layer.weights.shape[2], layer.stride
        same = schema.Padding.SAME
        if stride > 1:
            # TensorFlow's own padding would be all below and right of an even picture, the network wants one each side
            margin = np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32)
            padded = self.tensor((1, height + 2, width + 2, channels))
            self._operator(_Op.PAD, [source, self.constant(margin)], padded, _Kind.PadOptions, schema.PadOptionsT())
            source, same = padded, schema.Padding.VALID
        depthwise = layer.kind == "depthwise"
        options = schema.DepthwiseConv2DOptionsT() if depthwise else schema.Conv2DOptionsT()
        options.padding, options.strideW, options.strideH = same, stride, stride
        options.fusedActivationFunction = _activation(layer)
        target = self.tensor((1, height // stride, width // stride, outputs))
        if depthwise:
            options.depthMultiplier = 1
            weights = self._weights(layer, (1, kernel, kernel, outputs), (1, 2, 3, 0))
            operator, kind = _Op.DEPTHWISE_CONV_2D, _Kind.DepthwiseConv2DOptions
        else:
            weights = self._weights(layer, (outputs, kernel, kernel, channels), (0, 2, 3, 1))
            operator, kind = _Op.CONV_2D, _Kind.Conv2DOptions
        self._operator(operator, [source, weights, self.constant(layer.bias)], target, kind, options)
        return target

    def _transposed(self, layer: Layer, source: int) -> int:
        _, height, width, channels = self.shapes[source]
        outputs, kernel, stride = layer.weights.shape[1], layer.weights.shape[2], layer.stride
        shape = (1, height * stride, width * stride, outputs)
        options = schema.TransposeConvOptionsT()
        options.padding, options.strideW, options.strideH = schema.Padding.VALID, stride, stride
        options.fusedActivationFunction = _activation(layer)
        weights = self._weights(layer, (outputs, kernel, kernel, channels), (1, 2, 3, 0))
        target = self.tensor(shape)
        inputs = [self.constant(np.array(shape, np.int32)), weights, source, self.constant(layer.bias)]
        self._operator(_Op.TRANSPOSE_CONV, inputs, target, _Kind.TransposeConvOptions, options)
        return target

    def _add(self, layer: Layer, sources: list[int]) -> int:
        options = schema.AddOptionsT()
        options.fusedActivationFunction = _activation(layer)
        target = self.tensor(self.shapes[sources[0]])
        self._operator(_Op.ADD, sources, target, _Kind.AddOptions, options)
        return target

    def _slice(self, source: int, row: int, size: tuple[int, ...]) -> int:
        target = self.tensor(size)
        inputs = [source, self.constant(np.array([0, row, 0, 0], np.int32)), self.constant(np.array(size, np.int32))]
        self._operator(_Op.SLICE, inputs, target, _Kind.SliceOptions, schema.SliceOptionsT())
        return target

    def reshape(self, source: int, target: int) -> None:
        options = schema.ReshapeOptionsT()
        options.newShape = list(self.shapes[target])
        shape = self.constant(np.array(self.shapes[target], np.int32))
        self._operator(_Op.RESHAPE, [source, shape], target, _Kind.ReshapeOptions, options)

    def finish(self, source: int, target: int) -> bytes:
        self._graph.inputs, self._graph.outputs = [source], [target]
        self._model.subgraphs = [self._graph]
        builder = flatbuffers.Builder(16 << 20)
        builder.Finish(self._model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())

    def _weights(self, layer: Layer, shape: tuple[int, ...], axes: tuple[int, ...]) -> int:
        if id(layer.weights) not in self._stored:
            self._stored[id(layer.weights)] = self.constant(layer.weights.transpose(axes).reshape(shape))
        return self._stored[id(layer.weights)]

    def _add_tensor(self, shape: tuple[int, ...], kind: int, buffer: int) -> int:
        tensor = schema.TensorT()
        tensor.shape, tensor.type, tensor.buffer = [int(n) for n in shape], kind, buffer
        self._graph.tensors.append(tensor)
        self.shapes.append(tuple(shape))
        return len(self._graph.tensors) - 1

    def _operator(self, code: int, inputs: list[int], target: int, kind: int, options: Any) -> None:
        if code not in self._codes:
            entry = schema.OperatorCodeT()
            entry.builtinCode = code
            entry.deprecatedBuiltinCode = min(code, 127)
            entry.version = _VERSIONS.get(code, 1)
            self._codes[code] = len(self._model.operatorCodes)
            self._model.operatorCodes.append(entry)
        operator = schema.OperatorT()
        operator.opcodeIndex = self._codes[code]
        operator.inputs, operator.outputs = inputs, [target]
        operator.builtinOptionsType, operator.builtinOptions = kind, options
        self._graph.operators.append(operator)


def _activation(layer: Layer) -> int:
    return schema.ActivationFunctionType.RELU if layer.relu else schema.ActivationFunctionType.NONE


def _reach(layers: list[Layer]) -> int:
    """How many input rows beyond its own a strip needs on either side: the kernels' reach, in whole output rows."""
    reach, stride = 0, 1
    for layer in layers:
        if layer.weights.size:
            reach += layer.weights.shape[2] // 2 * stride
            stride *= layer.stride
    return -(-reach // stride) * stride
