"""Hands near a face: MediaPipe's palm detector and hand landmarks as a function of a picture.

Both networks ship in MediaPipe's wheel (F. Zhang et al., *MediaPipe Hands: On-device Real-time Hand Tracking*, 2020).
As with the face mesh, only the networks run in a graph; anchors, suppression and cropping are done here, with the
numbers of ``palm_detection_cpu.pbtxt`` and ``palm_detection_detection_to_roi.pbtxt`` (MediaPipe, Apache-2.0). The palm
detector alone takes faces for hands now and then; a hand counts only when the landmark network agrees.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from deid import imaging
from deid.detection._mediapipe import EXECUTOR, Graph, floats, package_root
from deid.detection.boxes import check_picture
from deid.errors import ModelError

_PALM = "mediapipe/modules/palm_detection/palm_detection_full.tflite"
_HAND = "mediapipe/modules/hand_landmark/hand_landmark_full.tflite"
_PALM_SIDE, _HAND_SIDE = 192, 224  # the networks' inputs, square
_PALM_SCORE = 0.5
_SAME_PALM = 0.3  # overlap (IoU) from which two detections are one palm
_ROI_SCALE, _ROI_SHIFT = 2.6, 0.5  # from the palm's box to the whole hand's square, towards the fingers
_TURN = np.pi / 2  # the network wants wrist and middle finger upright
_MOST = 4  # palms looked at
_OWN_SHARE, _NEIGHBOUR_SHARES = 2.0, (1.0, 0.5)  # weights of a hand's own row and of those before and after
_NEAR = 0.25  # palm sizes that a hand moves from row to row at most
FINGERS = ((0, 1, 2, 3, 4), (5, 6, 7, 8), (9, 10, 11, 12), (13, 14, 15, 16), (17, 18, 19, 20))
"""Chains of hand landmarks: thumb from the wrist, the other fingers from their knuckles."""
PALM = (0, 1, 2, 5, 9, 13, 17)


@dataclass(frozen=True, slots=True, eq=False)
class Hand:
    """One hand. ``points``: float32 (21, 3), x and y in picture pixels, z in the same scale, smaller towards the
    viewer; MediaPipe's order. ``presence`` in [0, 1]: how sure the landmark network is that this is a hand."""

    points: np.ndarray
    presence: float

    @property
    def palm_size(self) -> float:
        """From the wrist to the middle finger's knuckle or across the knuckles, whichever is longer, in pixels."""
        p = self.points[:, :2]
        return float(max(np.hypot(*(p[9] - p[0])), 1.2 * np.hypot(*(p[17] - p[5]))))


def steadied(hands: Mapping[int, tuple[Hand, ...]]) -> dict[int, tuple[Hand, ...]]:
    """``hands`` by row of a track, without the shiver that frames seen one by one have: each hand's points averaged
    with those of the same hand as many rows before as after, so that a hand in even motion keeps its place."""
    out = {}
    for row, here in hands.items():
        steady = []
        for hand in here:
            points, total = _OWN_SHARE * hand.points, _OWN_SHARE
            for step, share in enumerate(_NEIGHBOUR_SHARES, start=1):
                pair = [_nearest(hand, hands.get(row + side * step, ()), step) for side in (-1, 1)]
                if pair[0] is None or pair[1] is None:
                    break
                points = points + share * (pair[0].points + pair[1].points)
                total += 2 * share
            steady.append(replace(hand, points=np.asarray(points / total, np.float32)))
        out[row] = tuple(steady)
    return out


def _nearest(hand: Hand, others: tuple[Hand, ...], step: int) -> Hand | None:
    """The one of ``others``, ``step`` rows away, that is this hand."""
    reach = _NEAR * min(step, 2) * hand.palm_size
    apart = [float(np.linalg.norm(o.points[:, :2] - hand.points[:, :2], axis=1).mean()) for o in others]
    return others[int(np.argmin(apart))] if apart and min(apart) < reach else None


class HandFinder:
    """Finds hands in small pictures, such as the surroundings of a face.

    ``threads``: of the networks. The work runs in the calling thread. One instance belongs to one thread at a time.
    Close it, or use it in a ``with`` block. Raises :class:`ModelError` when MediaPipe or its models are missing.
    """

    def __init__(self, threads: int = 1) -> None:
        for model in (_PALM, _HAND):
            if not (package_root() / model).is_file():
                raise ModelError("the hand models are missing: install them with `pip install mediapipe==0.10.21`")
        self._palm = Graph(_graph_config(_PALM, _PALM_SIDE, 2, threads), ("floats0", "floats1"))
        self._threads = threads
        self._hand: Graph | None = None  # the larger one, which is loaded with the first palm: most clips show none

    def run(self, picture: np.ndarray, *, rgb: bool = False, least: float = 0.7) -> list[Hand]:
        """Hands, surest first, with a presence of ``least`` or more.

        ``picture``: uint8 (H, W, 3), BGR unless ``rgb``. Raises ``ValueError`` for another shape or dtype.
        """
        check_picture(picture)
        if min(picture.shape[:2]) < 16:
            return []
        if not rgb:
            picture = picture[..., ::-1]
        found: list[Hand] = []
        for centre, size, turn in self._palms(picture)[:_MOST]:
            hand = self._landmarks(picture, centre, size, turn)
            if hand.presence >= least and not any(_same(hand, other) for other in found):
                found.append(hand)
        return sorted(found, key=lambda h: -h.presence)

    def close(self) -> None:
        """Free both networks. A second call does nothing."""
        self._palm.close()
        if self._hand is not None:
            self._hand.close()

    def __enter__(self) -> HandFinder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _palms(self, picture: np.ndarray) -> list[tuple[np.ndarray, float, float]]:
        """Centre, side and turn of squares around hands, in picture pixels, surest first."""
        h, w = picture.shape[:2]
        side = max(h, w)
        pad = np.array([(side - w) / 2, (side - h) / 2])
        picture_from_input = np.array([[side / _PALM_SIDE, 0, -pad[0]], [0, side / _PALM_SIDE, -pad[1]]])
        packets = self._palm.run(sampled(picture, picture_from_input, _PALM_SIDE, imaging.BORDER_CONSTANT))
        raw = floats(packets["floats0"]).reshape(-1, 18)
        score = 1 / (1 + np.exp(-np.clip(floats(packets["floats1"]), -50, 50)))
        sure = np.flatnonzero(score >= _PALM_SCORE)
        sure = sure[np.argsort(-score[sure], kind="stable")]
        if not len(sure):
            return []
        values = raw[sure] / _PALM_SIDE
        anchors = _anchors()[sure]
        centres = values[:, :2] + anchors
        keypoints = values[:, 4:].reshape(-1, 7, 2) + anchors[:, None]
        boxes = np.concatenate([centres - values[:, 2:4] / 2, centres + values[:, 2:4] / 2], axis=1)
        out = []
        for group in _grouped(boxes):
            weight = score[sure[group]][:, None]
            box = (boxes[group] * weight).sum(axis=0) / weight.sum()
            points = (keypoints[group] * weight[..., None]).sum(axis=0) / weight.sum()
            out.append(_square(box * side, points * side, pad))
        return out

    def _landmarks(self, picture: np.ndarray, centre: np.ndarray, size: float, turn: float) -> Hand:
        c, s = np.cos(turn) * size / _HAND_SIDE, np.sin(turn) * size / _HAND_SIDE
        linear = np.array([[c, -s], [s, c]])
        picture_from_input = np.column_stack([linear, centre - linear @ np.full(2, _HAND_SIDE / 2)])
        if self._hand is None:
            self._hand = Graph(_graph_config(_HAND, _HAND_SIDE, 4, self._threads), ("floats0", "floats1"))
        packets = self._hand.run(sampled(picture, picture_from_input, _HAND_SIDE, imaging.BORDER_REPLICATE))
        points = floats(packets["floats0"]).reshape(21, 3)
        points[:, :2] = points[:, :2] @ linear.T + picture_from_input[:, 2]
        points[:, 2] *= size / _HAND_SIDE
        return Hand(points.astype(np.float32), float(floats(packets["floats1"])[0]))


def _square(box: np.ndarray, points: np.ndarray, pad: np.ndarray) -> tuple[np.ndarray, float, float]:
    """The whole hand's square from a palm's box ``x0 y0 x1 y1`` and its seven points, all in padded pixels."""
    wrist, middle = points[0], points[2]
    turn = _TURN - float(np.arctan2(wrist[1] - middle[1], middle[0] - wrist[0]))
    turn -= 2 * np.pi * np.floor((turn + np.pi) / (2 * np.pi))
    w, h = box[2] - box[0], box[3] - box[1]
    centre = (box[:2] + box[2:]) / 2
    centre = centre + h * _ROI_SHIFT * np.array([np.sin(turn), -np.cos(turn)])
    return centre - pad, float(max(w, h) * _ROI_SCALE), turn


@lru_cache(maxsize=1)
def _anchors() -> np.ndarray:
    """float64 (2016, 2): centres of the palm detector's anchors, in units of the input's side."""
    rows = []
    for cells, count in ((24, 2), (12, 6)):
        grid = (np.arange(cells) + 0.5) / cells
        y, x = np.meshgrid(grid, grid, indexing="ij")
        rows.append(np.repeat(np.stack([x, y], axis=-1).reshape(-1, 2), count, axis=0))
    return np.concatenate(rows)


def _grouped(boxes: np.ndarray) -> list[np.ndarray]:
    """Indices of boxes (n, 4), surest first, gathered around the surest that is left each time."""
    left = np.arange(len(boxes))
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    groups = []
    while len(left):
        first = left[0]
        low = np.maximum(boxes[first, :2], boxes[left, :2])
        high = np.minimum(boxes[first, 2:], boxes[left, 2:])
        shared = np.clip(high - low, 0, None).prod(axis=1)
        same = shared / np.maximum(area[first] + area[left] - shared, 1e-9) > _SAME_PALM
        same[0] = True
        groups.append(left[same])
        left = left[~same]
    return groups


def _same(one: Hand, other: Hand) -> bool:
    apart = np.linalg.norm(one.points[:, :2] - other.points[:, :2], axis=1).mean()
    return bool(apart < 0.5 * max(one.palm_size, other.palm_size))


def sampled(picture: np.ndarray, picture_from_input: np.ndarray, side: int, border: int) -> np.ndarray:
    """uint8 (side, side, 3), C-contiguous: a network's input."""
    scale = float(np.hypot(*picture_from_input[:, 0]))
    shrink = int(min(max(1, scale), *picture.shape[:2]))
    to_picture = picture_from_input.copy()
    picture = np.ascontiguousarray(picture)
    if shrink > 1:
        h, w = picture.shape[0] // shrink, picture.shape[1] // shrink
        picture = imaging.resize(picture[: h * shrink, : w * shrink], (w, h), interpolation=imaging.INTER_AREA)
        to_picture[:, 2] -= (shrink - 1) / 2
        to_picture /= shrink
    flags = imaging.INTER_LINEAR | imaging.WARP_INVERSE_MAP
    return np.ascontiguousarray(imaging.warp_affine(picture, to_picture, (side, side), flags=flags, borderMode=border))


def _graph_config(model: str, side: int, count: int, threads: int) -> str:
    """Picture in, the first two of the network's ``count`` outputs as lists of floats; in the caller's thread."""
    names = [f"tensor{i}" for i in range(count)]
    split = "".join(f'output_stream: "{n}"\n' for n in names)
    ranges = "".join(f"ranges {{ begin: {i} end: {i + 1} }}\n" for i in range(count))
    lists = "".join(
        f'node {{ calculator: "TensorsToFloatsCalculator" '
        f'input_stream: "TENSORS:tensor{i}" output_stream: "FLOATS:floats{i}" }}\n'
        for i in range(2)
    )
    return f"""
        input_stream: "picture"
        output_stream: "floats0"
        output_stream: "floats1"
        {EXECUTOR}
        node {{ calculator: "TfLiteCustomOpResolverCalculator" output_side_packet: "OP_RESOLVER:resolver" }}
        node {{
          calculator: "ImageToTensorCalculator" input_stream: "IMAGE:picture" output_stream: "TENSORS:input"
          options {{ [mediapipe.ImageToTensorCalculatorOptions.ext] {{
            output_tensor_width: {side} output_tensor_height: {side} output_tensor_float_range {{ min: 0 max: 1 }}
          }} }}
        }}
        node {{
          calculator: "InferenceCalculatorCpu" input_side_packet: "OP_RESOLVER:resolver"
          input_stream: "TENSORS:input" output_stream: "TENSORS:output"
          options {{ [mediapipe.InferenceCalculatorOptions.ext] {{
            model_path: "{model}" delegate {{ xnnpack {{ num_threads: {threads} }} }}
          }} }}
        }}
        node {{
          calculator: "SplitTensorVectorCalculator" input_stream: "output"
          {split}
          options {{ [mediapipe.SplitVectorCalculatorOptions.ext] {{ {ranges} }} }}
        }}
        {lists}
    """
