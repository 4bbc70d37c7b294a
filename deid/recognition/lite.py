"""dlib's recognition network as a TensorFlow Lite model, run by XNNPACK through MediaPipe.

The same numbers as :mod:`.dlib_net` to a few millionths, without torch, whose import takes a second and a quarter of a
gigabyte: this is what a run uses.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np

from deid.detection._mediapipe import EXECUTOR, Graph, floats, schema

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
    return f"""
        input_stream: "picture" output_stream: "code" input_side_packet: "model"
        {EXECUTOR}
        node {{
          calculator: "TfLiteModelCalculator"
          input_side_packet: "MODEL_BLOB:model" output_side_packet: "MODEL:loaded"
        }}
        node {{
          calculator: "TensorConverterCalculator" input_stream: "IMAGE:picture" output_stream: "TENSORS:input"
          options {{ [mediapipe.TensorConverterCalculatorOptions.ext] {{
            output_tensor_float_range {{ min: 0 max: 255 }}
          }} }}
        }}
        node {{
          calculator: "InferenceCalculatorCpu" input_side_packet: "MODEL:loaded"
          input_stream: "TENSORS:input" output_stream: "TENSORS:output"
          options {{ [mediapipe.InferenceCalculatorOptions.ext] {{
            delegate {{ xnnpack {{ num_threads: {threads} }} }}
          }} }}
        }}
        node {{
          calculator: "TensorsToFloatsCalculator" input_stream: "TENSORS:output" output_stream: "FLOATS:code"
        }}
    """


def _model(weights: DlibWeights) -> bytes:
    writer = _Writer()
    stem, *rest = weights.convolutions
    # the normalisation of the picture goes into the first layer, which has no padding
    scaled = stem.weights / 256
    stem = Convolution(scaled, stem.bias - np.einsum("oiyx,i->o", scaled, np.array(MEAN, np.float32)))
    picture = writer.tensor((CHIP, CHIP, 3))
    x = writer.pool(_Op.MAX_POOL_2D, writer.convolution(picture, stem, stride=2, padding=_VALID, relu=True), 3, 2)
    for (_, halve), first, second in zip(BLOCKS, rest[0::2], rest[1::2], strict=True):
        y = writer.convolution(x, first, stride=2 if halve else 1, padding=_VALID if halve else _SAME, relu=True)
        y = writer.convolution(y, second, stride=1, padding=_SAME, relu=False)
        skip = writer.pool(_Op.AVERAGE_POOL_2D, x, 2, 2) if halve else x
        shape = tuple(max(pair) for pair in zip(writer.shapes[y], writer.shapes[skip], strict=True))
        x = writer.add(writer.grown(y, shape), writer.grown(skip, shape))
    side = writer.shapes[x][0]
    return writer.finish(picture, writer.dense(writer.pool(_Op.AVERAGE_POOL_2D, x, side, side), weights.head))


class _Writer:
    """Collects tensors and operators of a float network for one picture; shapes are (rows, columns, channels)."""

    def __init__(self) -> None:
        self._model = schema.ModelT()
        self._model.version = 3
        self._model.buffers = [schema.BufferT()]  # the first one means: no data
        self._model.operatorCodes = []
        self._graph = schema.SubGraphT()
        self._graph.tensors, self._graph.operators = [], []
        self._codes: dict[int, int] = {}
        self.shapes: list[tuple[int, ...]] = []

    def tensor(self, shape: tuple[int, ...]) -> int:
        return self._tensor((1, *shape), schema.TensorType.FLOAT32, 0, shape)

    def _tensor(self, stored: tuple[int, ...], kind: int, buffer: int, shape: tuple[int, ...]) -> int:
        tensor = schema.TensorT()
        tensor.shape, tensor.type, tensor.buffer = [int(n) for n in stored], kind, buffer
        self._graph.tensors.append(tensor)
        self.shapes.append(shape)
        return len(self._graph.tensors) - 1

    def constant(self, values: np.ndarray) -> int:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
        self._model.buffers.append(buffer)
        kind = schema.TensorType.INT32 if values.dtype == np.int32 else schema.TensorType.FLOAT32
        return self._tensor(values.shape, kind, len(self._model.buffers) - 1, values.shape)

    def convolution(self, source: int, layer: Convolution, *, stride: int, padding: int, relu: bool) -> int:
        rows, columns, _ = self.shapes[source]
        outputs, _, kernel, _ = layer.weights.shape
        lost = 0 if padding == _SAME else kernel - 1
        options = schema.Conv2DOptionsT()
        options.padding, options.strideW, options.strideH = padding, stride, stride
        options.fusedActivationFunction = _Act.RELU if relu else _Act.NONE
        target = self.tensor((-(-(rows - lost) // stride), -(-(columns - lost) // stride), outputs))
        weights = self.constant(layer.weights.transpose(0, 2, 3, 1).astype(np.float32))
        bias = self.constant(layer.bias.astype(np.float32))
        self._operator(_Op.CONV_2D, [source, weights, bias], target, _Kind.Conv2DOptions, options)
        return target

    def pool(self, operator: int, source: int, size: int, stride: int) -> int:
        rows, columns, channels = self.shapes[source]
        options = schema.Pool2DOptionsT()
        options.padding, options.strideW, options.strideH = _VALID, stride, stride
        options.filterWidth = options.filterHeight = size
        options.fusedActivationFunction = _Act.NONE
        target = self.tensor(((rows - size) // stride + 1, (columns - size) // stride + 1, channels))
        self._operator(operator, [source], target, _Kind.Pool2DOptions, options)
        return target

    def grown(self, source: int, shape: tuple[int, ...]) -> int:
        """Padded with zeros at the end of every axis, as dlib does where shapes differ."""
        have = self.shapes[source]
        if have == shape:
            return source
        margin = np.array([[0, 0], *[[0, wanted - had] for wanted, had in zip(shape, have, strict=True)]], np.int32)
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
        target = self.tensor((len(weights),))
        bias = self.constant(np.zeros(len(weights), np.float32))
        inputs = [source, self.constant(weights.astype(np.float32)), bias]
        self._operator(_Op.FULLY_CONNECTED, inputs, target, _Kind.FullyConnectedOptions, options)
        return target

    def finish(self, source: int, target: int) -> bytes:
        self._graph.inputs, self._graph.outputs = [source], [target]
        self._model.subgraphs = [self._graph]
        builder = flatbuffers.Builder(32 << 20)
        builder.Finish(self._model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())

    def _operator(self, code: int, inputs: list[int], target: int, kind: int, options: Any) -> None:
        if code not in self._codes:
            entry = schema.OperatorCodeT()
            entry.builtinCode, entry.deprecatedBuiltinCode, entry.version = code, min(code, 127), 1
            self._codes[code] = len(self._model.operatorCodes)
            self._model.operatorCodes.append(entry)
        operator = schema.OperatorT()
        operator.opcodeIndex = self._codes[code]
        operator.inputs, operator.outputs = inputs, [target]
        operator.builtinOptionsType, operator.builtinOptions = kind, options
        self._graph.operators.append(operator)
