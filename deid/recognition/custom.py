"""Recognisers that judge: dlib's, which is here, and any other whose weights the user has.

A network that helped to choose a surrogate may not be the only judge of it. A file of the user's is taken in two forms,
and nothing in either is ever run as code:

* ``.onnx``: a network with one input, 1 x 3 x 112 x 112 float32, of a face in InsightFace's alignment (eyes, nose and
  corners of the mouth at fixed places), RGB from -1 to 1, or, with ``raw``, BGR from 0 to 255 as SFace takes it; one
  output, a vector of any length. Run by OpenCV.
* any other ending: a state dictionary, as ``torch.save`` writes it, of facenet-pytorch's InceptionResnetV1 (VGGFace2 or
  CASIA-WebFace), whatever its classifier's size. It sees 160 x 160 RGB, (x - 127.5) / 128, of the box around the face
  with an eighth of its size added on every side. Read with ``weights_only``.

Codes are made one long and compared by Euclidean distance.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from deid import imaging
from deid.errors import InputNotFound, ModelError
from deid.recognition.chips import chip_from_picture, cut_chip, similarity
from deid.recognition.thresholds import FAR_1E3

if TYPE_CHECKING:
    from deid.recognition.lite import LiteRecogniser

# Eye centres, nose tip and mouth corners in 112 x 112: InsightFace's template, which SFace and its kin use too.
_ARCFACE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
_FACENET_SIDE, _FACENET_MARGIN = 160, 1.25

FACENET_THRESHOLD = 0.95
"""Where strangers begin for facenet's networks, by rule of thumb: not measured here."""
ONNX_THRESHOLD = 1.13
"""The same for networks of ArcFace's kind: a cosine of 0.36, which SFace's authors give for their own."""


class Recogniser(Protocol):
    """``name``; ``threshold``: the distance under which two faces pass for one person; ``cut``: the face of a mesh
    (478, 2+) in an RGB picture as a square uint8 chip; ``codes``: chips (n, s, s, 3) to float32 (n, d), compared by
    Euclidean distance."""

    name: str
    threshold: float

    def cut(self, rgb: np.ndarray, points: np.ndarray) -> np.ndarray: ...

    def codes(self, chips: np.ndarray) -> np.ndarray: ...


class Dlib:
    """The packaged network, at the distance under which one pair of strangers in a thousand falls."""

    name = "dlib"
    threshold = FAR_1E3

    def __init__(self) -> None:
        from deid.recognition.lite import LiteRecogniser

        self._net: LiteRecogniser = LiteRecogniser()

    def cut(self, rgb: np.ndarray, points: np.ndarray) -> np.ndarray:
        return cut_chip(rgb, chip_from_picture(points))

    def codes(self, chips: np.ndarray) -> np.ndarray:
        return self._net.embed(chips)

    def close(self) -> None:
        """Free the network."""
        self._net.close()


class Onnx:
    """A network in an ONNX file. ``raw``: it takes BGR from 0 to 255 in place of RGB from -1 to 1. Raises
    :class:`ModelError` for a file that OpenCV cannot read."""

    def __init__(self, path: Path, raw: bool = False, threshold: float = ONNX_THRESHOLD) -> None:
        self.name, self.threshold, self._raw = path.stem, threshold, raw
        try:
            self._net: Any = imaging.read_onnx(str(path))
        except Exception as error:
            raise ModelError(f"{path.name} is no ONNX network that OpenCV can read: check the file.") from error

    def cut(self, rgb: np.ndarray, points: np.ndarray) -> np.ndarray:
        eyes = [points[[33, 133], :2].mean(0), points[[362, 263], :2].mean(0)]
        return cut_chip(rgb, similarity(_ARCFACE, np.stack([*eyes, *points[[4, 61, 291], :2]])), 112)

    def codes(self, chips: np.ndarray) -> np.ndarray:
        found = []
        for chip in chips:
            value = chip[..., ::-1] if self._raw else (chip.astype(np.float32) - 127.5) / 127.5
            try:
                self._net.setInput(np.ascontiguousarray(value.transpose(2, 0, 1)[None], np.float32))
                found.append(self._net.forward().ravel())
            except Exception as error:
                raise ModelError(f"{self.name} does not take faces of 112 x 112: check what it is.") from error
        return _unit(np.array(found, np.float32))


class Facenet:
    """InceptionResnetV1 of facenet-pytorch with a weights file. Raises :class:`ModelError` for any other file."""

    def __init__(self, path: Path, threshold: float = FACENET_THRESHOLD) -> None:
        import torch

        from deid.recognition._facenet import inception_resnet

        self.name, self.threshold = path.stem, threshold
        self._torch = torch
        self._net = inception_resnet().eval()
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            self._net.load_state_dict({k: v for k, v in state.items() if not k.startswith("logits")})
        except Exception as error:
            raise ModelError(
                f"{path.name} holds no weights of facenet-pytorch's InceptionResnetV1: give those, or an ONNX file."
            ) from error

    def cut(self, rgb: np.ndarray, points: np.ndarray) -> np.ndarray:
        low, high = points[:468, :2].min(0), points[:468, :2].max(0)
        scale = _FACENET_SIDE / (_FACENET_MARGIN * float((high - low).max()))
        shift = (_FACENET_SIDE - 1) / 2 - scale * (low + high) / 2
        return cut_chip(rgb, np.array([[scale, 0, shift[0]], [0, scale, shift[1]]]), _FACENET_SIDE)

    def codes(self, chips: np.ndarray) -> np.ndarray:
        with self._torch.inference_mode():
            value = self._torch.from_numpy((chips.astype(np.float32) - 127.5) / 128).permute(0, 3, 1, 2)
            return _unit(self._net(value).numpy())


def _unit(codes: np.ndarray) -> np.ndarray:
    return codes / np.maximum(np.linalg.norm(codes, axis=1, keepdims=True), 1e-9)


def load(path: Path, *, raw: bool = False, threshold: float | None = None) -> Recogniser:
    """The recogniser in ``path``, at ``threshold`` or, without one, at its kind's usual one.

    Raises :class:`InputNotFound` when there is no such file, :class:`ModelError` when it is none of the two kinds.
    """
    if not path.is_file():
        raise InputNotFound(f"{path} does not exist: check the path of the recogniser.")
    if path.suffix.lower() == ".onnx":
        return Onnx(path, raw, ONNX_THRESHOLD if threshold is None else threshold)
    return Facenet(path, FACENET_THRESHOLD if threshold is None else threshold)
