"""Reads a convolutional network out of an ONNX file, without the onnx package.

Only what CenterFace consists of: convolutions (plain and depthwise), 2 x 2 transposed convolutions, additions, batch
normalisation and ReLU, the last two folded into the layer before. The format is that of onnx.proto3 in
https://github.com/onnx/onnx, in protocol buffer wire encoding.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """One layer: ``kind`` is ``conv``, ``depthwise``, ``transposed`` or ``add``.

    ``inputs`` and ``output`` name tensors. ``weights``: float32, ONNX's order: out, in, y, x (in and out swapped for
    ``transposed``); ``bias``: float32 (out,). Both empty for ``add``. ``relu``: applied last.
    """

    kind: str
    inputs: tuple[str, ...]
    output: str
    weights: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))
    bias: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))
    stride: int = 1
    relu: bool = False


def read_layers(data: bytes) -> list[Layer]:
    """The layers of an ONNX file in order; activations at the end other than ReLU are dropped.

    Raises ``ValueError`` when the file is damaged or holds something else.
    """
    try:
        nodes, constants = _read_graph(memoryview(data))
        return _folded(nodes, constants)
    except (IndexError, KeyError, struct.error, UnicodeDecodeError) as error:
        raise ValueError(f"not a network of the expected kind ({error!r})") from error


@dataclass(frozen=True, slots=True)
class _Node:
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]  # a float or a list of int


def _folded(nodes: list[_Node], constants: dict[str, np.ndarray]) -> list[Layer]:
    layers: dict[str, Layer] = {}  # by output, in order
    for node in nodes:
        source, output = node.inputs[0], node.outputs[0]
        if node.operator == "Relu":
            layers[output] = replace(layers.pop(source), output=output, relu=True)
        elif node.operator == "BatchNormalization":
            layers[output] = _normalised(layers.pop(source), node, constants)
        elif node.operator == "Add":
            layers[output] = Layer("add", node.inputs, output)
        elif node.operator in ("Conv", "ConvTranspose"):
            layers[output] = _convolution(node, constants)
        elif node.operator == "Sigmoid":
            layers[output] = replace(layers.pop(source), output=output)
        else:
            raise ValueError(f"unknown operator {node.operator}")
    if not layers:
        raise ValueError("no layers")
    return list(layers.values())


def _convolution(node: _Node, constants: dict[str, np.ndarray]) -> Layer:
    weights = constants[node.inputs[1]]
    transposed = node.operator == "ConvTranspose"
    kind = "transposed" if transposed else "depthwise" if node.attributes.get("group", [1]) != [1] else "conv"
    outputs = weights.shape[1 if transposed else 0]
    bias = constants[node.inputs[2]] if len(node.inputs) > 2 else np.zeros(outputs, np.float32)
    return Layer(kind, node.inputs[:1], node.outputs[0], weights, bias, int(node.attributes["strides"][0]))


def _normalised(layer: Layer, node: _Node, constants: dict[str, np.ndarray]) -> Layer:
    gain, shift, mean, variance = (constants[name].astype(np.float64) for name in node.inputs[1:5])
    gain = gain / np.sqrt(variance + node.attributes["epsilon"])
    out_axis = (1, -1, 1, 1) if layer.kind == "transposed" else (-1, 1, 1, 1)
    return replace(
        layer,
        output=node.outputs[0],
        weights=(layer.weights * gain.reshape(out_axis)).astype(np.float32),
        bias=((layer.bias - mean) * gain + shift).astype(np.float32),
    )


def _read_graph(data: memoryview) -> tuple[list[_Node], dict[str, np.ndarray]]:
    nodes, constants = [], {}
    for part, graph in _fields(data):
        if part != 7:
            continue
        for number, value in _fields(graph):
            if number == 1:
                nodes.append(_read_node(value))
            elif number == 5:
                name, array = _read_tensor(value)
                constants[name] = array
    return nodes, constants


def _read_node(data: memoryview) -> _Node:
    inputs: list[str] = []
    outputs: list[str] = []
    operator, attributes = "", {}
    for number, value in _fields(data):
        if number == 1:
            inputs.append(_text(value))
        elif number == 2:
            outputs.append(_text(value))
        elif number == 4:
            operator = _text(value)
        elif number == 5:
            name, content = _read_attribute(value)
            attributes[name] = content
    return _Node(operator, tuple(inputs), tuple(outputs), attributes)


def _read_attribute(data: memoryview) -> tuple[str, float | list[int]]:
    name, real = "", None
    integers: list[int] = []
    for number, value in _fields(data):
        if number == 1:
            name = _text(value)
        elif number == 2:
            real = struct.unpack("<f", value)[0]
        elif number in (3, 8):
            integers += _integers(value)
    return name, integers if real is None else real


def _read_tensor(data: memoryview) -> tuple[str, np.ndarray]:
    name, raw = "", b""
    shape: list[int] = []
    for number, value in _fields(data):
        if number == 1:
            shape += _integers(value)
        elif number in (4, 9):
            raw = bytes(value)
        elif number == 8:
            name = _text(value)
    # tensors of another type than float32 belong to no layer that is read here
    array = np.frombuffer(raw, np.float32) if len(raw) % 4 == 0 else np.empty(0, np.float32)
    return name, array.reshape(shape) if array.size == np.prod(shape, dtype=int) else array


def _integers(value: int | memoryview) -> list[int]:
    """A repeated integer field, packed or not."""
    if isinstance(value, int):
        return [value]
    result, position = [], 0
    while position < len(value):
        item, position = _varint(value, position)
        result.append(item)
    return result


def _text(value: memoryview) -> str:
    return bytes(value).decode()


def _fields(data: memoryview) -> Iterator[tuple[int, Any]]:
    """Field numbers and values of one message: int for a varint, else memoryview."""
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        kind = key & 7
        if kind == _VARINT:
            value, position = _varint(data, position)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            length, position = _varint(data, position)
        elif kind in (_FIXED32, _FIXED64):
            length = 4 if kind == _FIXED32 else 8
        else:
            raise ValueError(f"wire type {kind}")
        if position + length > len(data):
            raise ValueError("ends early")
        yield key >> 3, data[position : position + length]
        position += length


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[position]
        number |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return number, position
