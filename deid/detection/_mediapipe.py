"""The one place that imports MediaPipe: runs a calculator graph on one picture at a time, in the caller's thread."""

from __future__ import annotations

import os

os.environ.setdefault("GLOG_minloglevel", "2")  # read once, when MediaPipe's library loads

import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from typing import Any

import numpy as np

from deid.detection._native_noise import native_noise_dropped
from deid.errors import ModelError

EXECUTOR = 'executor { type: "ApplicationThreadExecutor" }'
"""Part of every graph's configuration: without it MediaPipe makes a thread pool per graph."""


def network_graph(stream: str, end: str, threads: int, byte_size: tuple[int, int] | None = None) -> str:
    """Configuration of a graph that runs a TensorFlow Lite model, given as the side packet ``model``, on pictures:
    samples 0..255 as floats go in. ``end``: the calculator, with its options, that makes ``stream`` of the stream
    ``TENSORS:output``. ``byte_size``: width and height of the only pictures that there will be; then 8-bit integers
    go in, -128 for a sample of 0, which takes a quarter of the memory."""
    begin = """calculator: "TensorConverterCalculator"
          options { [mediapipe.TensorConverterCalculatorOptions.ext] {
            output_tensor_float_range { min: 0 max: 255 }
          } }"""
    if byte_size is not None:
        begin = f"""calculator: "ImageToTensorCalculator"
          options {{ [mediapipe.ImageToTensorCalculatorOptions.ext] {{
            output_tensor_width: {byte_size[0]} output_tensor_height: {byte_size[1]}
            output_tensor_int_range {{ min: -128 max: 127 }} border_mode: BORDER_ZERO
          }} }}"""
    return f"""
        input_stream: "picture" output_stream: "{stream}" input_side_packet: "model"
        {EXECUTOR}
        node {{
          calculator: "TfLiteModelCalculator"
          input_side_packet: "MODEL_BLOB:model" output_side_packet: "MODEL:loaded"
        }}
        node {{ {begin} input_stream: "IMAGE:picture" output_stream: "TENSORS:input" }}
        node {{
          calculator: "InferenceCalculatorCpu" input_side_packet: "MODEL:loaded"
          input_stream: "TENSORS:input" output_stream: "TENSORS:output"
          options {{ [mediapipe.InferenceCalculatorOptions.ext] {{
            delegate {{ xnnpack {{ num_threads: {threads} }} }}
          }} }}
        }}
        node {{ {end} }}
    """


def package_root() -> Path:
    """The folder that holds the ``mediapipe`` package. Raises :class:`ModelError` when there is none."""
    spec = find_spec("mediapipe")
    if spec is None or spec.origin is None:
        raise ModelError("MediaPipe is missing: install it with `pip install mediapipe==0.10.21`")
    return Path(spec.origin).parent.parent


def _load_lazily() -> None:
    """Make ``import mediapipe`` cheap: its own ``__init__`` loads every solution, and with them matplotlib, sound and
    tasks, a second and 80 MB that a run does not need. What that would define is still there, loaded when asked for."""
    spec = None if "mediapipe" in sys.modules else find_spec("mediapipe")
    if spec is None:
        return
    lazy = module_from_spec(spec)
    homes = {"solutions": "mediapipe.python.solutions", "tasks": "mediapipe.tasks.python"}

    def attribute(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module 'mediapipe' has no attribute {name!r}")
        found = import_module(homes[name]) if name in homes else getattr(import_module("mediapipe.python"), name)
        setattr(lazy, name, found)
        return found

    lazy.__dict__["__getattr__"] = attribute
    sys.modules["mediapipe"] = lazy


_load_lazily()
schema: Any = import_module("mediapipe.tasks.metadata.schema_py_generated")
"""TensorFlow Lite's file format."""


class Graph:
    """A started graph with one input stream, ``picture``.

    ``config``: a ``CalculatorGraphConfig`` as text. ``outputs``: names of streams to collect. ``blobs``: side packets
    of bytes. One instance belongs to one thread at a time; the interpreter lock is free while it works.
    """

    def __init__(self, config: str, outputs: tuple[str, ...], blobs: Mapping[str, bytes] | None = None) -> None:
        root = package_root()
        with native_noise_dropped():
            from mediapipe.python import packet_creator
            from mediapipe.python._framework_bindings import calculator_graph, image_frame, resource_util

            self._to_packet = packet_creator.create_image_frame
            self._format = image_frame.ImageFormat.SRGB
            self._packets: dict[str, Any] = {}
            self._timestamp = 0
            resource_util.set_resource_dir(str(root))
            self._graph = calculator_graph.CalculatorGraph(graph_config=config)
            for name in outputs:
                self._graph.observe_output_stream(name, self._packets.__setitem__, True)
            self._graph.start_run({k: packet_creator.create_string(v) for k, v in (blobs or {}).items()})
            self._graph.wait_until_idle()  # this opens the calculators, which is when they chatter

    def run(self, picture: np.ndarray) -> dict[str, Any]:
        """Output packets by stream name. ``picture``: uint8 (H, W, 3), C-contiguous; one that is read-only is not
        copied. ``ValueError`` once closed."""
        if self._graph is None:
            raise ValueError("this graph is closed")
        self._timestamp += 1
        self._packets.clear()
        packet = self._to_packet(image_format=self._format, data=picture).at(self._timestamp)
        self._graph.add_packet_to_input_stream(stream="picture", packet=packet)
        self._graph.wait_until_idle()
        return self._packets

    def close(self) -> None:
        """Free the graph. A second call does nothing."""
        if self._graph is not None:
            self._packets.clear()
            self._graph.close()
            self._graph = None


def floats(packet: Any) -> np.ndarray:
    """A packet that holds a list of floats, float64 (n,)."""
    from mediapipe.python import packet_getter

    return np.array(packet_getter.get_float_list(packet))


def float_picture(packet: Any) -> np.ndarray:
    """A packet that holds an image of floats, float32 (h, w), a view into MediaPipe's memory that stays valid."""
    from mediapipe.python import packet_getter

    return packet_getter.get_image(packet).numpy_view()
