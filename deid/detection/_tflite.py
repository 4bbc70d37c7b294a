"""Writes the layers of :mod:`deid.detection._onnx` as a TensorFlow Lite model, for one input size.

Why: on a CPU, TensorFlow Lite's XNNPACK runs CenterFace 1.4 to 1.9 times as fast as OpenCV's network module, with the
same results, and MediaPipe brings it along. The format is that of tensorflow/lite/schema/schema.fbs, through the
classes generated from it in MediaPipe's wheel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import flatbuffers
import numpy as np

from deid.detection._mediapipe import schema
from deid.detection._onnx import Layer
from deid.detection._rounding import PICTURE, Steps, round_bias, round_weights

_Op = schema.BuiltinOperator
_Kind = schema.BuiltinOptions
_FLOAT, _INT, _BYTE = schema.TensorType.FLOAT32, schema.TensorType.INT32, schema.TensorType.INT8
_VERSIONS = {
    _Op.TRANSPOSE_CONV: 3,  # the first with a bias
    _Op.CONV_2D: 3,  # and from here on the first with 8-bit integers
    _Op.DEPTHWISE_CONV_2D: 3,
    _Op.ADD: 2,
    _Op.PAD: 2,
    _Op.SLICE: 2,
    _Op.CONCATENATION: 2,
    _Op.DEQUANTIZE: 2,
}


_TABLES = 512 << 10  # bytes: more than the tables of a model take beside its values


def write_model(
    layers: list[Layer],
    height: int,
    width: int,
    *,
    heads: tuple[str, ...],
    strip_end: str,
    strip_rows: int,
    steps: Mapping[str, Steps] | None = None,
) -> bytes:
    """A model from a picture, float32 or what the first layer takes it as, to float32 (1, height / 4, width / 4 *
    channels, 1).

    The picture comes with one row more above and one column more to the left, both black, so that it is
    (1, height + 1, width + 1, 3): the margin that the first kernel reaches into.

    ``steps``: layers whose outputs are named there are computed with 8-bit integers, weights rounded for each output
    channel by itself (Jacob et al., *Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
    Inference*, CVPR 2018; Krishnamoorthi, *Quantizing deep convolutional networks for efficient inference*, 2018,
    section 2). Everything else is computed in float.

    ``heads``: outputs of 1 x 1 convolutions with one common input, whose channels are put side by side in that order.
    ``strip_end``: up to the tensor of this name, at a quarter of the resolution, the network runs on strips of
    ``strip_rows`` input rows, one after the other, which is what bounds the memory; the result is the same.
    """
    trunk, merged = _merged([x for x in layers if x.output not in heads], [_named(layers, name) for name in heads])
    position = next(i for i, layer in enumerate(trunk) if layer.output == strip_end) + 1
    writer = ModelWriter(steps or {})
    picture = writer.tensor((1, height + 1, width + 1, 3), PICTURE if trunk[0].output in writer.steps else None)
    tensors = {layer_input(trunk): picture}
    tensors[strip_end] = writer.strips(trunk[:position], picture, strip_end, strip_rows)
    for layer in trunk[position:]:
        writer.layer(layer, tensors)
    writer.layer(merged, tensors)
    maps = tensors[merged.output]
    rows, columns, channels = writer.shapes[maps][1:]
    flat = writer.tensor((1, rows, columns * channels, 1))
    writer.reshape(maps, flat)
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


class ModelWriter:
    """Collects tensors and operators; tensors are known by their number."""

    def __init__(self, steps: Mapping[str, Steps] | None = None) -> None:
        self.steps = steps or {}
        self._model = schema.ModelT()
        self._model.version = 3
        self._model.buffers = [schema.BufferT()]  # the first one means: no data
        self._model.operatorCodes = []
        self._graph = schema.SubGraphT()
        self._graph.tensors, self._graph.operators = [], []
        self._codes: dict[int, int] = {}
        self._stored: dict[tuple[int, float], tuple[int, int]] = {}  # weights and bias of layers: strips share them
        self._converted: dict[tuple[int, Steps | None], int] = {}
        self.shapes: list[tuple[int, ...]] = []
        self._held: list[Steps | None] = []  # how each tensor is stored

    def tensor(self, shape: tuple[int, ...], steps: Steps | None = None) -> int:
        """A tensor to compute: of floats, or 8-bit integers that stand for ``steps``."""
        number = self._add_tensor(shape, _FLOAT if steps is None else _BYTE, 0, steps)
        if steps is not None:
            self._mark(number, np.array([steps.scale]), steps.zero, 0)
        return number

    def constant(self, values: np.ndarray) -> int:
        """A tensor of fixed values."""
        buffer = schema.BufferT()
        buffer.data = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
        self._model.buffers.append(buffer)
        kind = {"int32": _INT, "int8": _BYTE}.get(values.dtype.name, _FLOAT)
        return self._add_tensor(values.shape, kind, len(self._model.buffers) - 1)

    def _mark(self, tensor: int, scales: np.ndarray, zero: int, axis: int) -> None:
        marks = schema.QuantizationParametersT()
        marks.scale, marks.zeroPoint = scales.astype(np.float32), np.full(len(scales), zero, np.int64)
        marks.quantizedDimension = axis
        self._graph.tensors[tensor].quantization = marks

    def stored_as(self, source: int, steps: Steps | None) -> int:
        """The tensor ``source`` stored as ``steps``."""
        held = self._held[source]
        if (held is None) == (steps is None):
            return source
        if (source, steps) not in self._converted:
            target = self.tensor(self.shapes[source], steps)
            if steps is None:
                self._operator(_Op.DEQUANTIZE, [source], target, _Kind.DequantizeOptions, schema.DequantizeOptionsT())
            else:
                self._operator(_Op.QUANTIZE, [source], target, _Kind.QuantizeOptions, schema.QuantizeOptionsT())
            self._converted[source, steps] = target
        return self._converted[source, steps]

    def strips(self, layers: list[Layer], picture: int, end: str, rows: int) -> int:
        """Run ``layers`` on ``rows`` rows at a time, plus what their kernels reach beyond, and join the parts."""
        first, *layers = layers
        source = self.stored_as(picture, PICTURE if first.output in self.steps else None)
        height, width, channels = self.shapes[picture][1] - 1, self.shapes[picture][2] - 1, self.shapes[picture][3]
        if height <= rows:
            return self._chain(layers, self._convolution(first, source, padded=True), end)
        reach = _reach([first, *layers])
        parts = []
        for top in range(0, height, rows):
            bottom = min(top + rows, height)
            begin, last = max(0, top - reach), min(height, bottom + reach)
            strip = self._slice(source, begin, (1, last - begin + 1, width + 1, channels))
            result = self._chain(layers, self._convolution(first, strip, padded=True), end)
            stride = (last - begin) // self.shapes[result][1]
            size = (1, (bottom - top) // stride, *self.shapes[result][2:])
            parts.append(self._slice(result, (top - begin) // stride, size))
        shape = (1, sum(self.shapes[p][1] for p in parts), *self.shapes[parts[0]][2:])
        joined = self.tensor(shape, self._held[parts[0]])
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
        steps = self.steps.get(layer.output)
        sources = []
        for name in layer.inputs:
            sources.append(self.stored_as(tensors[name], None if steps is None else self.steps.get(name, PICTURE)))
        if layer.kind == "add":
            tensors[layer.output] = self._add(layer, sources)
        elif layer.kind == "transposed":
            tensors[layer.output] = self._transposed(layer, *sources)
        else:
            tensors[layer.output] = self._convolution(layer, *sources)

    def _convolution(self, layer: Layer, source: int, *, padded: bool = False) -> int:
        """``padded``: ``source`` has the row above and the column to the left that the kernel reaches for."""
        _, height, width, channels = self.shapes[source]
        outputs, kernel, stride = layer.weights.shape[0], layer.weights.shape[2], layer.stride
        same = schema.Padding.SAME
        if padded:
            height, width, same = height - 1, width - 1, schema.Padding.VALID
        elif stride > 1:
            # TensorFlow's own padding would be all below and right of an even picture, the network wants one each side
            margin = np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32)
            around = self.tensor((1, height + 2, width + 2, channels), self._held[source])
            self._operator(_Op.PAD, [source, self.constant(margin)], around, _Kind.PadOptions, schema.PadOptionsT())
            source, same = around, schema.Padding.VALID
        depthwise = layer.kind == "depthwise"
        options = schema.DepthwiseConv2DOptionsT() if depthwise else schema.Conv2DOptionsT()
        options.padding, options.strideW, options.strideH = same, stride, stride
        options.fusedActivationFunction = _activation(layer)
        target = self.tensor((1, height // stride, width // stride, outputs), self.steps.get(layer.output))
        if depthwise:
            options.depthMultiplier = 1
            weights, bias = self._weights(layer, source, (1, kernel, kernel, outputs), (1, 2, 3, 0), 3)
            operator, kind = _Op.DEPTHWISE_CONV_2D, _Kind.DepthwiseConv2DOptions
        else:
            weights, bias = self._weights(layer, source, (outputs, kernel, kernel, channels), (0, 2, 3, 1), 0)
            operator, kind = _Op.CONV_2D, _Kind.Conv2DOptions
        self._operator(operator, [source, weights, bias], target, kind, options)
        return target

    def _transposed(self, layer: Layer, source: int) -> int:
        _, height, width, channels = self.shapes[source]
        outputs, kernel, stride = layer.weights.shape[1], layer.weights.shape[2], layer.stride
        shape = (1, height * stride, width * stride, outputs)
        options = schema.TransposeConvOptionsT()
        options.padding, options.strideW, options.strideH = schema.Padding.VALID, stride, stride
        options.fusedActivationFunction = _activation(layer)
        weights, bias = self._weights(layer, source, (outputs, kernel, kernel, channels), (1, 2, 3, 0), 0)
        target = self.tensor(shape, self.steps.get(layer.output))
        inputs = [self.constant(np.array(shape, np.int32)), weights, source, bias]
        self._operator(_Op.TRANSPOSE_CONV, inputs, target, _Kind.TransposeConvOptions, options)
        return target

    def _add(self, layer: Layer, sources: list[int]) -> int:
        options = schema.AddOptionsT()
        options.fusedActivationFunction = _activation(layer)
        target = self.tensor(self.shapes[sources[0]], self.steps.get(layer.output))
        self._operator(_Op.ADD, sources, target, _Kind.AddOptions, options)
        return target

    def _slice(self, source: int, row: int, size: tuple[int, ...]) -> int:
        target = self.tensor(size, self._held[source])
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
        values = sum(len(buffer.data) for buffer in self._model.buffers if buffer.data is not None)
        builder = flatbuffers.Builder(values + _TABLES)  # it doubles, and copies, what turns out too small
        builder.Finish(self._model.Pack(builder), file_identifier=b"TFL3")
        return bytes(memoryview(builder.Bytes)[builder.Head() :])  # without a copy between

    def _weights(
        self, layer: Layer, source: int, shape: tuple[int, ...], axes: tuple[int, ...], channel_axis: int
    ) -> tuple[int, int]:
        """Weights and bias of a layer, rounded when its output is. ``channel_axis``: of ``shape``, of the outputs."""
        held = self._held[source]
        key = (id(layer.weights), 0.0 if held is None else held.scale)
        if key not in self._stored:
            weights = layer.weights.transpose(axes).reshape(shape)
            if held is None:
                self._stored[key] = self.constant(weights), self.constant(layer.bias)
            else:
                rounded, scales = round_weights(weights, channel_axis)
                numbers = self.constant(rounded), self.constant(round_bias(layer.bias, scales * held.scale))
                self._mark(numbers[0], scales, 0, channel_axis)
                self._mark(numbers[1], scales * held.scale, 0, 0)
                self._stored[key] = numbers
        return self._stored[key]

    def _add_tensor(self, shape: tuple[int, ...], kind: int, buffer: int, steps: Steps | None = None) -> int:
        tensor = schema.TensorT()
        tensor.shape, tensor.type, tensor.buffer = [int(n) for n in shape], kind, buffer
        self._graph.tensors.append(tensor)
        self.shapes.append(tuple(shape))
        self._held.append(steps)
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
