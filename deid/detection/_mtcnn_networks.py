"""The three networks of MTCNN in torch, numpy in and out. Imported only when an :class:`Mtcnn` is made."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from deid.errors import ModelError

_BATCH = 512
_INSTALL = "`pip install --force-reinstall --no-deps facenet-pytorch==2.5.3`"


class Networks:
    """The weights, by name: ``pnet`` proposes, ``rnet`` refines, ``onet`` decides."""

    def __init__(self, threads: int | None) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        self.pnet, self.rnet, self.onet = (_load(name) for name in ("pnet", "rnet", "onet"))

    @contextmanager
    def on(self, bgr: np.ndarray) -> Iterator[Picture]:
        with torch.inference_mode():
            yield Picture(self, bgr)


class Picture:
    """One picture as the networks see it: RGB samples around 0."""

    def __init__(self, networks: Networks, bgr: np.ndarray) -> None:
        self._networks = networks
        rgb = np.ascontiguousarray(bgr[..., ::-1].transpose(2, 0, 1))
        self._samples = torch.from_numpy(rgb)[None].float()
        self.height, self.width = bgr.shape[:2]

    def propose(self, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Box shifts (4, h, w) and scores (h, w) on the picture resampled to ``height`` x ``width``."""
        w = self._networks.pnet
        x = _conv(w, 1, _centred(F.adaptive_avg_pool2d(self._samples, (height, width))))
        x = F.max_pool2d(x, 2, 2, ceil_mode=True)
        x = _conv(w, 3, _conv(w, 2, x))
        scores = F.conv2d(x, w["conv4_1.weight"], w["conv4_1.bias"]).softmax(dim=1)
        return F.conv2d(x, w["conv4_2.weight"], w["conv4_2.bias"])[0].numpy(), scores[0, 1].numpy()

    def crops(self, boxes: np.ndarray, side: int) -> Tensor:
        """``boxes``: int (n, 4), ``x0 y0 x1 y1`` with exclusive ends, inside the picture. Tensor (n, 3, side, side)."""
        parts = [
            F.adaptive_avg_pool2d(self._samples[:, :, y0:y1, x0:x1], (side, side)) for x0, y0, x1, y1 in boxes.tolist()
        ]
        return _centred(torch.cat(parts)) if parts else torch.empty(0, 3, side, side)

    def refine(self, crops: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Box shifts (n, 4) and scores (n,)."""
        shift, score = _batched(self._rnet, crops, (4, 2))
        return shift, score[:, 1]

    def decide(self, crops: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Box shifts (n, 4), points (n, 10) as fractions, five x before five y, and scores (n,)."""
        shift, points, score = _batched(self._onet, crops, (4, 10, 2))
        return shift, points, score[:, 1]

    def _rnet(self, x: Tensor) -> tuple[Tensor, ...]:
        w = self._networks.rnet
        x = F.max_pool2d(_conv(w, 1, x), 3, 2, ceil_mode=True)
        x = F.max_pool2d(_conv(w, 2, x), 3, 2, ceil_mode=True)
        x = _dense(w, 4, _conv(w, 3, x))
        return _linear(w, "dense5_2", x), _linear(w, "dense5_1", x).softmax(dim=1)

    def _onet(self, x: Tensor) -> tuple[Tensor, ...]:
        w = self._networks.onet
        x = F.max_pool2d(_conv(w, 1, x), 3, 2, ceil_mode=True)
        x = F.max_pool2d(_conv(w, 2, x), 3, 2, ceil_mode=True)
        x = F.max_pool2d(_conv(w, 3, x), 2, 2, ceil_mode=True)
        x = _dense(w, 5, _conv(w, 4, x))
        return _linear(w, "dense6_2", x), _linear(w, "dense6_3", x), _linear(w, "dense6_1", x).softmax(dim=1)


def _load(name: str) -> dict[str, Tensor]:
    spec = importlib.util.find_spec("facenet_pytorch")
    path = Path(spec.origin).parent / "data" / f"{name}.pt" if spec and spec.origin else None
    if path is None or not path.is_file():
        raise ModelError(f"the MTCNN weights are missing: install them with {_INSTALL}")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch names no common base for what a damaged file can raise
        raise ModelError(f"the MTCNN weights {path} are damaged: reinstall them with {_INSTALL}") from error


def _centred(samples: Tensor) -> Tensor:
    return (samples - 127.5) * 0.0078125


def _conv(w: dict[str, Tensor], number: int, x: Tensor) -> Tensor:
    x = F.conv2d(x, w[f"conv{number}.weight"], w[f"conv{number}.bias"])
    return F.prelu(x, w[f"prelu{number}.weight"])


def _dense(w: dict[str, Tensor], number: int, x: Tensor) -> Tensor:
    x = x.permute(0, 3, 2, 1).flatten(1)  # the order in which the weights were trained
    return F.prelu(_linear(w, f"dense{number}", x), w[f"prelu{number}.weight"])


def _linear(w: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return F.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])


def _batched(
    network: Callable[[Tensor], tuple[Tensor, ...]], crops: Tensor, widths: tuple[int, ...]
) -> tuple[np.ndarray, ...]:
    if not len(crops):
        return tuple(np.empty((0, n), np.float32) for n in widths)
    parts = zip(*(network(part) for part in crops.split(_BATCH)), strict=True)
    return tuple(torch.cat(part).numpy() for part in parts)
