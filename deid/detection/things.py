"""What lies before a face and is no part of it: microphones, cups, masks, scarves, phones, hands.

A small network of our own (an encoder and a decoder with skips: O. Ronneberger, P. Fischer and T. Brox, *U-Net*, MICCAI
2015) tells it from a face that was brought to one place and size by its mesh. It was trained on portraits with drawn
things before them, as Y. Nirkin et al., *On Face Segmentation, Face Swapping, and Face Perception* (2018), section 3.1,
do; glasses, beards, shadows, painted lips and locks of hair count as the face. ``tools/train_things.py`` makes the
weights.
"""

from __future__ import annotations

import zlib
from functools import lru_cache
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from deid import imaging
from deid.detection._mediapipe import Graph, floats, network_graph
from deid.detection._onnx import Layer
from deid.detection._tflite import ModelWriter
from deid.detection.hands import sampled
from deid.errors import ModelError
from deid.recognition.chips import similarity

SIDE, GRID = 64, 32
"""Pixels a side of the picture that the network sees, and of what it tells."""
PINS = np.array((33, 133, 362, 263, 168, 1, 61, 291, 152, 10, 234, 454))
"""Mesh points that put a face in its place."""
PLACES = np.array(
    [
        [0.3171, 0.4200], [0.4287, 0.4271], [0.5713, 0.4271], [0.6829, 0.4200], [0.5000, 0.4039], [0.5000, 0.5886],
        [0.3694, 0.6820], [0.6306, 0.6820], [0.5000, 0.9108], [0.5000, 0.1914], [0.2042, 0.5046], [0.7958, 0.5046],
    ]
)  # fmt: skip
"""Where they come to lie, in sides of the picture."""
_ASSET = Path(__file__).with_name("things.safetensors")
_FACE = (slice(16, 56), slice(15, 49))  # what of the picture is the face: its brightness is made usual
_LEVEL, _GAIN = 115.0, (0.6, 3.0)
_STEPS, _NOTHING = 16, 96  # levels of belief that are kept; belief below which nothing is
_STAGES = (
    ("c1", 2), ("b1", 1), ("c2", 2), ("place", 0), ("b2", 1), ("c3", 2), ("b3", 1), ("c4", 2), ("b4", 1),
)  # fmt: skip
_SKIPS = (("u3", "b3", "d3"), ("u2", "b2", "d2"), ("u1", "b1", "d1"))


def grid_from_picture(points: np.ndarray, side: float = GRID) -> np.ndarray:
    """float64 (2, 3): picture pixels to those of a square of ``side`` in which the face with the mesh ``points``, (468
    or more, 2 or more), lies as the network knows it (least squares: S. Umeyama, PAMI 1991)."""
    return similarity(PLACES * side - 0.5, points[PINS, :2])


class ThingFinder:
    """Finds what lies before a face. One instance belongs to one thread at a time. Close it after use.

    Raises :class:`ModelError` when the weights are missing or damaged.
    """

    def __init__(self, threads: int = 1) -> None:
        end = 'calculator: "TensorsToFloatsCalculator" input_stream: "TENSORS:output" output_stream: "FLOATS:odds"'
        self._graph = Graph(network_graph("odds", end, threads), ("odds",), {"model": _model()})

    def run(self, picture: np.ndarray, points: np.ndarray) -> np.ndarray:
        """uint8 (GRID, GRID): how likely each place is something before the face, 0 to 255, where
        :func:`grid_from_picture` puts it. ``picture``: uint8 (h, w, 3) RGB. ``points``: the face's mesh in it."""
        seen = self._graph.run(shown(picture, points))
        odds = np.clip(floats(seen["odds"]).reshape(GRID, GRID), -30, 30)
        return np.asarray(np.rint(255 / (1 + np.exp(-odds))), np.uint8)

    def close(self) -> None:
        """Free the network. A second call does nothing."""
        self._graph.close()


def shown(picture: np.ndarray, points: np.ndarray) -> np.ndarray:
    """uint8 (SIDE, SIDE, 3): the face in its place, of usual brightness. ``picture``: uint8 (h, w, 3) RGB."""
    there = np.vstack([grid_from_picture(points, SIDE), [0, 0, 1]])
    return levelled(sampled(picture, np.linalg.inv(there)[:2], SIDE, imaging.BORDER_REPLICATE))


def levelled(face: np.ndarray) -> np.ndarray:
    """uint8 (SIDE, SIDE, 3): ``face`` of that shape, 0 to 255, made as bright as faces are usually."""
    gain = np.clip(_LEVEL / max(float(face[_FACE].mean()), 1.0), *_GAIN)
    return np.asarray(np.clip(face * np.float32(gain) + np.float32(0.5), 0, 255), np.uint8)


def packed(belief: np.ndarray) -> bytes:
    """``belief``, uint8 (GRID, GRID), for keeping: empty when there is nothing."""
    return b"" if belief.max() < _NOTHING else zlib.compress((belief // _STEPS).tobytes(), 1)


def unpacked(data: bytes) -> np.ndarray:
    """The inverse of :func:`packed`, to the nearest step."""
    if not data:
        return np.zeros((GRID, GRID), np.uint8)
    steps = np.frombuffer(zlib.decompress(data), np.uint8).reshape(GRID, GRID)
    return np.asarray(np.where(steps > 0, steps * _STEPS + _STEPS // 2, 0), np.uint8)


@lru_cache(maxsize=1)
def _model() -> bytes:
    """The network as a TensorFlow Lite model."""
    try:
        data = load_file(str(_ASSET))
        return _written({name: np.asarray(value, np.float32) for name, value in data.items()})
    except (OSError, SafetensorError, KeyError) as error:
        raise ModelError(f"{_ASSET.name} cannot be read: reinstall the package ({error})") from error


def _written(data: dict[str, np.ndarray]) -> bytes:
    writer = ModelWriter()
    picture = writer.tensor((1, SIDE, SIDE, 3))
    tensors = {"picture": picture}
    last = "picture"

    def put(kind: str, inputs: tuple[str, ...], name: str, stride: int = 1, relu: bool = True) -> str:
        weights, bias = data.get(f"{name}.weight", np.empty(0, np.float32)), data.get(f"{name}.bias", np.empty(0))
        writer.layer(Layer(kind, inputs, name, weights, bias.astype(np.float32), stride, relu), tensors)
        return name

    for name, stride in _STAGES:
        if name == "place":
            tensors["places"] = writer.constant(np.ascontiguousarray(data["place"].transpose(0, 2, 3, 1)))
            last = put("add", (last, "places"), name, relu=False)
        else:
            last = put("conv", (last,), name, stride)
    for up, skip, name in _SKIPS:
        grown = put("transposed", (last,), up, 2, relu=False)
        last = put("conv", (put("add", (grown, skip), up + skip),), name)
    last = put("conv", (last,), "h", relu=False)
    flat = writer.tensor((1, GRID * GRID))
    writer.reshape(tensors[last], flat)
    return writer.finish(picture, flat)
