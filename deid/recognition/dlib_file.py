"""Reads a network that dlib has serialised, layer by layer, without dlib.

The format is that of dlib 19 (``dlib/serialize.h``, ``dlib/dnn/core.h``, ``dlib/dnn/layers.h``): no index and no
lengths, so that every field must be walked in order. Integers are packed as one byte of sign and length and the
little-endian bytes of the magnitude; floating-point settings as mantissa and exponent; tensors as raw float32.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ldexp, prod

import numpy as np

_MAX_TENSOR = 16_000_000


class FormatError(ValueError):
    """The bytes are not a network of the layers known here; the text says where they stop being one."""


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """One computational layer, nearest the input first.

    ``kind``: ``con``, ``affine``, ``relu``, ``max_pool``, ``avg_pool``, ``add_prev`` or ``fc``. ``settings``: for
    ``con`` (filters, rows, columns, stride y, stride x, padding y, padding x), for pools the same without filters,
    for ``fc`` (outputs, inputs), else empty. ``parameters``: float32 (n,), empty where the layer has none.
    """

    kind: str
    settings: tuple[int, ...] = ()
    parameters: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))


class _Reader:
    """A cursor over the bytes; each method reads one kind of field and moves on."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.position = 0

    def take(self, count: int) -> bytes:
        begin = self._pass(count)
        return self._data[begin : begin + count]

    def _pass(self, count: int) -> int:
        """Where the next ``count`` bytes begin; they are behind the cursor now."""
        begin = self.position
        if begin + count > len(self._data):
            raise FormatError(f"it ends inside a field at byte {begin}")
        self.position += count
        return begin

    def integer(self) -> int:
        start = self.position
        head = self.take(1)[0]
        size = head & 0x0F
        if head & 0x70 or not 1 <= size <= 8:
            raise FormatError(f"no integer at byte {start}")
        value = int.from_bytes(self.take(size), "little")
        return -value if head & 0x80 else value

    def integers(self, count: int) -> tuple[int, ...]:
        return tuple(self.integer() for _ in range(count))

    def expect(self, *allowed: int) -> int:
        start = self.position
        value = self.integer()
        if value not in allowed:
            raise FormatError(f"{value} where {' or '.join(map(str, allowed))} belongs, at byte {start}")
        return value

    def real(self) -> float:
        mantissa, exponent = self.integers(2)
        if abs(exponent) > 1100:
            raise FormatError(f"no number before byte {self.position}")
        return ldexp(mantissa, exponent)

    def text(self, length: int | None = None) -> str:
        start = self.position
        size = self.integer() if length is None else length
        if not 0 < size <= 64:
            raise FormatError(f"no name at byte {start}")
        try:
            return self.take(size).decode("ascii")
        except UnicodeDecodeError as error:
            raise FormatError(f"no name at byte {start}") from error

    def flags(self, count: int) -> None:
        start = self.position
        if not set(self.take(count)) <= set(b"01"):
            raise FormatError(f"no flags at byte {start}")

    def shape(self) -> tuple[int, ...]:
        start = self.position
        shape = self.integers(4)
        if min(shape) < 0 or prod(shape) > _MAX_TENSOR:
            raise FormatError(f"impossible tensor {shape} at byte {start}")
        return shape

    def tensor(self) -> np.ndarray:
        self.expect(2)
        start, size = self.position, prod(self.shape())
        # a view of the file's bytes, where numbers lie as this machine has them
        values = np.frombuffer(self._data, "<f4", size, self._pass(4 * size)).astype(np.float32, copy=False)
        if not np.isfinite(values).all():
            raise FormatError(f"weights that are not numbers after byte {start}")
        return values

    def alias(self) -> None:
        """The shape under which a part of a parameter tensor is seen; it follows from the settings."""
        self.expect(1)
        self.shape()

    def multipliers(self) -> None:
        """Learning-rate and weight-decay multipliers, of use in training only."""
        for _ in range(4):
            self.real()


def _layer(reader: _Reader) -> Layer:
    start = reader.position
    name = reader.text()
    if name == "con_4":
        parameters, settings = reader.tensor(), reader.integers(7)
        reader.alias()
        reader.alias()
        reader.multipliers()
        layer = Layer("con", settings, parameters)
    elif name == "affine_":
        layer = Layer("affine", (), reader.tensor())
        reader.alias()
        reader.alias()
        reader.integer()
    elif name == "fc_2":
        settings = reader.integers(2)
        layer = Layer("fc", settings, reader.tensor())
        reader.alias()
        reader.alias()
        reader.integer()
        reader.multipliers()
    elif name in ("max_pool_2", "avg_pool_2"):
        layer = Layer(name[:-2], reader.integers(6))
    elif name in ("relu_", "add_prev_"):
        layer = Layer(name[:-1])
    else:
        raise FormatError(f"unknown layer {name!r} at byte {start}")
    reader.flags(3)
    for _ in range(3):  # gradients and cached outputs, saved empty
        reader.tensor()
    return layer


def read_layers(data: bytes) -> list[Layer]:
    """The layers of a metric-learning network with a sized RGB input and one fully connected layer at its end.

    ``data``: the whole file. Raises :class:`FormatError` when a field is not what the format says, when a weight is not
    a finite number, or when bytes are missing or left over.
    """
    reader = _Reader(data)
    reader.expect(1)
    if reader.text() != "loss_metric_2":
        raise FormatError("it does not begin with a metric loss")
    reader.real()
    reader.real()
    # Each wrapper class around the input has written its version, and nothing else, on the way in.
    length = reader.integer()
    while length in (1, 2, 3):
        length = reader.integer()
    if reader.text(length) != "input_rgb_image_sized":
        raise FormatError(f"no RGB input before byte {reader.position}")
    for _ in range(3):
        reader.real()
    reader.integers(2)
    layers = [_layer(reader)]
    reader.expect(1)  # samples a picture: written by the layer next to the input only
    while layers[-1].kind != "fc":
        layers.append(_layer(reader))
    if reader.position != len(data):
        raise FormatError(f"{len(data) - reader.position} bytes are left over")
    return layers
