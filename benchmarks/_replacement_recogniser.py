"""Recognisers that judge: dlib's, which is here, and any other whose weights the user has.

A network that helped to choose a surrogate may not be its only judge, so ``--recogniser FILE`` adds one: an ONNX file
that takes 112 x 112 chips in ArcFace's alignment, or weights of facenet-pytorch's InceptionResnetV1. Each comes with
the distance under which one pair of strangers in a thousand falls, measured on portraits of different people unless it
is given.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
from _portraits import FOLDER, portraits

from deid import imaging
from deid.audit.identity import within
from deid.recognition.chips import cut_chip, similarity

FAR = 1e-3
# Eye centres, nose tip and mouth corners in 112 x 112: InsightFace's template, which SFace and its kin use too.
_ARCFACE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
_FACENET_SIDE, _FACENET_MARGIN = 160, 1.25


class Recogniser(Protocol):
    """``name``; ``threshold``: see above; ``cut``: the face of a mesh (478, 2+) in an RGB picture as a square uint8
    chip; ``codes``: chips (n, s, s, 3) to float32 (n, d), compared by Euclidean distance."""

    name: str
    threshold: float

    def cut(self, rgb: np.ndarray, points: np.ndarray) -> np.ndarray: ...

    def codes(self, chips: np.ndarray) -> np.ndarray: ...


class Dlib:
    """The packaged network, at the threshold that ``calibrate_recogniser.py`` found."""

    name = "dlib"

    def __init__(self) -> None:
        from deid.recognition.dlib_net import FAR_1E3, DlibRecogniser

        self.threshold = FAR_1E3
        self._net = DlibRecogniser(threads=1)

    def cut(self, rgb: np.ndarray, points: np.ndarray) -> np.ndarray:
        return self._net.chip(rgb, points)

    def codes(self, chips: np.ndarray) -> np.ndarray:
        return self._net.embed(chips)


class Onnx:
    """A network in an ONNX file. ``raw``: it takes BGR from 0 to 255, as SFace does, in place of RGB from -1 to 1."""

    def __init__(self, path: Path, raw: bool, threshold: float) -> None:
        self.name, self.threshold, self._raw = path.stem, threshold, raw
        self._net = imaging.read_onnx(str(path))

    def cut(self, rgb: np.ndarray, points: np.ndarray) -> np.ndarray:
        eyes = [points[[33, 133], :2].mean(0), points[[362, 263], :2].mean(0)]
        return cut_chip(rgb, similarity(_ARCFACE, np.stack([*eyes, *points[[4, 61, 291], :2]])), 112)

    def codes(self, chips: np.ndarray) -> np.ndarray:
        found = []
        for chip in chips:
            value = chip[..., ::-1] if self._raw else (chip.astype(np.float32) - 127.5) / 127.5
            self._net.setInput(np.ascontiguousarray(value.transpose(2, 0, 1)[None], np.float32))
            found.append(self._net.forward().ravel())
        return _unit(np.array(found, np.float32))


class Facenet:
    """InceptionResnetV1 of facenet-pytorch with a weights file (VGGFace2 or CASIA), whatever its classifier's size."""

    def __init__(self, path: Path, threshold: float) -> None:
        import torch
        from facenet_pytorch import InceptionResnetV1

        self.name, self.threshold = path.stem, threshold
        self._torch = torch
        self._net = InceptionResnetV1(pretrained=None, classify=False).eval()
        state = torch.load(path, map_location="cpu", weights_only=True)
        self._net.load_state_dict({k: v for k, v in state.items() if not k.startswith("logits")})

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


def load(path: Path, *, raw: bool = False, threshold: float | None = None, folder: Path = FOLDER) -> Recogniser:
    """The recogniser in ``path``, at ``threshold`` or, without one, at that of ``folder``'s portraits."""
    known = float("nan") if threshold is None else threshold
    loaded = Onnx(path, raw, known) if path.suffix.lower() == ".onnx" else Facenet(path, known)
    if threshold is None:
        loaded.threshold = calibrated(loaded, folder)
    return loaded


def calibrated(recogniser: Recogniser, folder: Path) -> float:
    """The distance under which one in a thousand pairs of different people in ``folder`` lies."""
    faces = list(portraits(folder))
    distances = within(recogniser.codes(np.stack([recogniser.cut(f.picture, f.mesh) for f in faces])))
    return float(np.quantile(distances, FAR))
