"""MediaPipe's face mesh as a function of a picture and a region: 478 points and how sure the model is.

The packaged ``FaceMesh`` solution runs a detector of its own, which misses small faces, and keeps the model's presence
score to itself. This module runs only the network (``face_landmark_with_attention.tflite`` in MediaPipe's wheel; Y.
Kartynnik et al., *Real-time Facial Surface Geometry from Monocular Video on Mobile GPUs*, 2019, and I. Grishchenko et
al., *Attention Mesh*, 2020) in a graph of four calculators, and does the cropping and the refinement itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from deid import imaging
from deid.detection import _mesh, pose
from deid.detection._mediapipe import EXECUTOR, Graph, floats, package_root
from deid.detection.boxes import check_picture
from deid.errors import ModelError

_SIDE = 192  # the network's input, square
_ROI_SCALE = 1.5
_MODEL = "mediapipe/modules/face_landmark/face_landmark_with_attention.tflite"
_TENSORS = ("mesh", "lips", "eye_at_left", "eye_at_right", "iris_at_left", "iris_at_right", "presence")


class Roi(NamedTuple):
    """A square to look at: centre and side in picture pixels, turned clockwise by ``roll`` radians."""

    cx: float
    cy: float
    size: float
    roll: float = 0.0

    def shifted(self, dx: float, dy: float) -> Roi:
        return Roi(self.cx + dx, self.cy + dy, self.size, self.roll)


@dataclass(frozen=True, slots=True, eq=False)
class FaceLandmarks:
    """One face mesh.

    ``points``: float32 (478, 3), x and y in picture pixels, z in the same scale, smaller towards the viewer;
    MediaPipe's order, irises last. ``presence`` in [0, 1]: how sure the model is that this is a face. ``roll``:
    radians, clockwise as seen on screen. ``yaw``, ``pitch``: degrees, positive when the head turns to the viewer's
    right, and when it tilts back. ``box``: float32 (5,), ``cx cy w h roll``, the oriented face box that CenterFace
    would give an upright copy.
    """

    points: np.ndarray
    presence: float
    roll: float
    yaw: float
    pitch: float
    box: np.ndarray

    @classmethod
    def from_points(cls, points: np.ndarray, presence: float) -> FaceLandmarks:
        """Work out pose and box. ``points``: (478, 3) as above."""
        roll, yaw, pitch = pose.head_pose(points)
        return cls(points, presence, roll, yaw, pitch, pose.face_box(points, roll))

    def shifted(self, dx: float, dy: float) -> FaceLandmarks:
        """The same face in a picture whose origin lies ``(dx, dy)`` further up and left."""
        points, box = self.points.copy(), self.box.copy()
        points[:, :2] += (dx, dy)
        box[:2] += (dx, dy)
        return replace(self, points=points, box=box)

    def scaled(self, factor: int, dx: float = 0.0, dy: float = 0.0) -> FaceLandmarks:
        """The same face in a picture of which this one shows means over ``factor`` x ``factor`` pixels, from
        ``(dx, dy)`` on."""
        if factor == 1:
            return self.shifted(dx, dy)
        points, box = self.points * np.float32(factor), self.box.copy()
        box[:4] *= factor
        shift = np.array([dx, dy]) + (factor - 1) / 2
        points[:, :2] += shift
        box[:2] += shift
        return replace(self, points=points.astype(np.float32), box=box)


def roi_from_box(box: np.ndarray, roll: float = 0.0) -> Roi:
    """Where to look for the mesh of a detected face.

    ``box``: ``x0 y0 x1 y1`` (then ``roll`` tells how far the head leans, radians clockwise) or ``cx cy w h roll``.
    """
    if len(box) == 5:
        cx, cy, w, h, roll = (float(v) for v in box)
    else:
        x0, y0, x1, y1 = (float(v) for v in box)
        cx, cy, w, h = (x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0
    return Roi(*pose.mesh_square(cx, cy, w, h, roll, _ROI_SCALE))


def roi_from_landmarks(points: np.ndarray) -> Roi:
    """MediaPipe's own rule from one frame to the next: 1.5 times the box around the points, turned by the eye line.

    ``points``: (478, 2 or 3) picture pixels.
    """
    left, right = points[_mesh.EYE_CORNERS[0], :2], points[_mesh.EYE_CORNERS[1], :2]
    roll = float(np.arctan2(right[1] - left[1], right[0] - left[0]))
    low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
    cx, cy = (low + high) / 2
    return Roi(float(cx), float(cy), _ROI_SCALE * float((high - low).max()), roll)


def crop_for(roi: Roi, width: int, height: int) -> tuple[int, int, int, int]:
    """The part of a ``width`` x ``height`` picture that :meth:`FaceLandmarker.run` reads for ``roi``.

    Returns ``x0 y0 x1 y1``, ends exclusive; empty (``x0 == x1``) when the roi lies outside. Running on that part with
    ``roi.shifted(-x0, -y0)`` gives what running on the whole picture gives, shifted.
    """
    half = roi.size / 2 * (abs(np.cos(roi.roll)) + abs(np.sin(roi.roll)))
    margin = 2 + _reduction(roi.size)
    x0, y0 = (max(0, int(np.floor(c - half)) - margin) for c in (roi.cx, roi.cy))
    x1, y1 = (min(n, int(np.ceil(c + half)) + 1 + margin) for c, n in ((roi.cx, width), (roi.cy, height)))
    return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else (0, 0, 0, 0)


def _reduction(size: float) -> int:
    """How many pixels are averaged each way before sampling: sampling one in several would alias."""
    return max(1, int(size / _SIDE))


class FaceLandmarker:
    """Runs the face mesh on regions.

    ``threads``: of the network; one is the fastest per core. The work runs in the calling thread, and the interpreter
    lock is free meanwhile. One instance belongs to one thread at a time. Close it, or use it in a ``with`` block.
    Raises :class:`ModelError` when MediaPipe or its model is missing.
    """

    def __init__(self, threads: int = 1) -> None:
        if not (package_root() / _MODEL).is_file():
            raise ModelError("the face landmark model is missing: install it with `pip install mediapipe==0.10.21`")
        outputs = tuple(f"{name}_floats" for name in _TENSORS)
        self._graph = Graph(_graph_config(threads), outputs)

    def run(self, picture: np.ndarray, roi: Roi, *, rgb: bool = False) -> FaceLandmarks | None:
        """The face in ``roi``, however unlikely: judge it by its ``presence``.

        ``picture``: uint8 (H, W, 3), BGR unless ``rgb``; it may be a crop with ``roi`` in the crop's coordinates (see
        :func:`crop_for`). What lies outside repeats the border. ``None`` when ``roi`` has no size or does not touch the
        picture. Raises ``ValueError`` for another shape or dtype.
        """
        check_picture(picture)
        roi = Roi(*(float(v) for v in roi))
        if not all(np.isfinite(roi)) or roi.size <= 0:
            return None
        x0, y0, x1, y1 = crop_for(roi, picture.shape[1], picture.shape[0])
        if x0 == x1:
            return None
        picture_from_input = _picture_from_input(roi)
        tensors = self._infer(_sample(picture[y0:y1, x0:x1], (x0, y0), roi, picture_from_input, rgb))
        points = _refined(tensors)
        points[:, :2] = points[:, :2] @ picture_from_input[:, :2].T + picture_from_input[:, 2]
        points[:, 2] *= roi.size / _SIDE
        logit = float(np.clip(tensors["presence"][0], -60, 60))
        return FaceLandmarks.from_points(points.astype(np.float32), float(1 / (1 + np.exp(-logit))))

    def close(self) -> None:
        """Free the network. A second call does nothing."""
        self._graph.close()

    def __enter__(self) -> FaceLandmarker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _infer(self, rgb: np.ndarray) -> dict[str, np.ndarray]:
        packets = self._graph.run(rgb)
        return {name: floats(packets[f"{name}_floats"]) for name in _TENSORS}


def _graph_config(threads: int) -> str:
    """Picture in, one list of floats for each of the network's outputs; run in the caller's thread."""
    names = [*_TENSORS]
    outputs = "".join(f'output_stream: "{n}_floats"\n' for n in names)
    split = "".join(f'output_stream: "{n}"\n' for n in names)
    ranges = "".join(f"ranges {{ begin: {i} end: {i + 1} }}\n" for i in range(len(names)))
    floats = "".join(
        f'node {{ calculator: "TensorsToFloatsCalculator" '
        f'input_stream: "TENSORS:{n}" output_stream: "FLOATS:{n}_floats" }}\n'
        for n in names
    )
    return f"""
        input_stream: "picture"
        {outputs}
        {EXECUTOR}
        node {{ calculator: "TfLiteCustomOpResolverCalculator" output_side_packet: "OP_RESOLVER:resolver" }}
        node {{
          calculator: "ImageToTensorCalculator" input_stream: "IMAGE:picture" output_stream: "TENSORS:input"
          options {{ [mediapipe.ImageToTensorCalculatorOptions.ext] {{
            output_tensor_width: {_SIDE} output_tensor_height: {_SIDE} output_tensor_float_range {{ min: 0 max: 1 }}
          }} }}
        }}
        node {{
          calculator: "InferenceCalculatorCpu" input_side_packet: "OP_RESOLVER:resolver"
          input_stream: "TENSORS:input" output_stream: "TENSORS:output"
          options {{ [mediapipe.InferenceCalculatorOptions.ext] {{
            model_path: "{_MODEL}" delegate {{ xnnpack {{ num_threads: {threads} }} }}
          }} }}
        }}
        node {{
          calculator: "SplitTensorVectorCalculator" input_stream: "output"
          {split}
          options {{ [mediapipe.SplitVectorCalculatorOptions.ext] {{ {ranges} }} }}
        }}
        {floats}
    """


def _picture_from_input(roi: Roi) -> np.ndarray:
    """2 x 3 float64: the network's input coordinates to the picture's."""
    c, s = np.cos(roi.roll) * roi.size / _SIDE, np.sin(roi.roll) * roi.size / _SIDE
    linear = np.array([[c, -s], [s, c]])
    return np.column_stack([linear, np.array([roi.cx, roi.cy]) - linear @ np.full(2, _SIDE / 2)])


def _sample(
    part: np.ndarray, origin: tuple[int, int], roi: Roi, picture_from_input: np.ndarray, rgb: bool
) -> np.ndarray:
    """The network's input, uint8 RGB (192, 192, 3), from the part of the picture that starts at ``origin``."""
    part_from_input = picture_from_input.copy()
    part_from_input[:, 2] -= origin
    reduction = min(_reduction(roi.size), part.shape[0], part.shape[1])
    if reduction > 1:
        height, width = (n // reduction for n in part.shape[:2])
        part = part[: height * reduction, : width * reduction]
        part = imaging.resize(np.ascontiguousarray(part), (width, height), interpolation=imaging.INTER_AREA)
        part_from_input[:, 2] -= (reduction - 1) / 2
        part_from_input /= reduction
    sampled = imaging.warp_affine(
        np.ascontiguousarray(part),
        part_from_input,
        (_SIDE, _SIDE),
        flags=imaging.INTER_LINEAR | imaging.WARP_INVERSE_MAP,
        borderMode=imaging.BORDER_REPLICATE,
    )
    return sampled if rgb else np.ascontiguousarray(sampled[..., ::-1])


def _refined(tensors: dict[str, np.ndarray]) -> np.ndarray:
    """The mesh with the lips' and eyes' own networks laid over it, float64 (478, 3), in input pixels."""
    points = np.empty((478, 3))
    points[:468] = tensors["mesh"].reshape(468, 3)
    for name, table in (("lips", _mesh.LIPS), ("eye_at_left", _mesh.EYE_AT_LEFT), ("eye_at_right", _mesh.EYE_AT_RIGHT)):
        points[table, :2] = tensors[name].reshape(-1, 2)
    for name, table, eye in (
        ("iris_at_left", _mesh.IRIS_AT_LEFT, _mesh.EYE_AT_LEFT),
        ("iris_at_right", _mesh.IRIS_AT_RIGHT, _mesh.EYE_AT_RIGHT),
    ):
        points[table, :2] = tensors[name].reshape(-1, 2)
        points[table, 2] = points[eye[: _mesh.LID_POINTS], 2].mean()
    return points
