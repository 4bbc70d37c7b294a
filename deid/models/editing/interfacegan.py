"""InterFaceGAN: a straight line for each attribute.

Y. Shen et al., *InterFaceGAN: Interpreting the Disentangled Face Representation Learned by GANs*, 2020, section 3: the
samples that show most and least of an attribute are two classes, a linear support vector machine parts them, and its
normal is the way. Conditional manipulation: of the normal only what is at right angles to those of the others is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize

from deid.models.editing.latent import Reader, vector
from deid.models.editing.names import NAMES

_SHARE = 0.02
_LEAST = 24  # samples of a class, where a fiftieth is fewer
_COST = 1.0
_FARTHEST = 6.0  # standard deviations of the codes along the way


@dataclass(frozen=True, slots=True, eq=False)
class InterFaceGan:
    """``ways``: float32 (A, width), unit normals; ``conditional``: the same at right angles to all others; ``gains``:
    float32 (A,), how far along the conditional one an attribute changes by 1 where it changes fastest; ``share``:
    float32 (A,), length that projection left of each normal; ``reach``: (A,), the codes' spread along them;
    ``farthest``: in units of which no step is longer than so many."""

    ways: torch.Tensor
    conditional: torch.Tensor
    gains: torch.Tensor
    share: torch.Tensor
    reach: torch.Tensor
    farthest: float = _FARTHEST
    name: str = "InterFaceGAN"
    attributes: tuple[str, ...] = NAMES

    def edit(self, w: torch.Tensor, changes: Mapping[str, float]) -> torch.Tensor:
        """See :class:`~deid.models.editing.latent.LatentEditor`: the steps of all attributes are added up."""
        wanted = vector(changes, len(w), w)
        if not wanted.any():
            return w
        most = self.farthest * self.reach
        steps = torch.minimum(torch.maximum(wanted * self.gains, -most), most)
        return w + steps @ self.conditional


def fit_interfacegan(codes: torch.Tensor, attributes: torch.Tensor, reader: Reader) -> InterFaceGan:
    """``codes``: (n, width); ``attributes``: (n, A), what they show. ``reader`` says how far a step goes."""
    scale = codes.std(0).clamp_min(1e-4)
    standard = ((codes - codes.mean(0)) / scale).double().numpy()
    normals = np.stack([_normal(standard, column) for column in attributes.double().numpy().T])
    normals /= scale.double().numpy()  # of planes in w itself
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    alone = np.stack([_alone(normals, number) for number in range(len(normals))])
    share = np.linalg.norm(alone, axis=1)
    alone /= np.maximum(share[:, None], 1e-9)
    ways = torch.from_numpy(alone.astype(np.float32))
    reach = (codes @ ways.T).std(0)
    return InterFaceGan(
        torch.from_numpy(normals.astype(np.float32)), ways, _gains(codes, ways, reach, reader),
        torch.from_numpy(share.astype(np.float32)), reach,
    )  # fmt: skip


def _normal(codes: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The normal of the plane between the top and the bottom of ``codes`` by ``scores``: squared hinge, ridge. Zero for
    scores that are all the same."""
    if float(np.ptp(scores)) < 1e-6:
        return np.zeros(codes.shape[1])
    count = min(max(int(_SHARE * len(codes)), _LEAST), len(codes) // 2)
    order = np.argsort(scores, kind="stable")
    some = codes[np.concatenate([order[:count], order[-count:]])]
    side = np.repeat([-1.0, 1.0], count)

    def cost(plane: np.ndarray) -> tuple[float, np.ndarray]:
        lack = np.maximum(1 - side * (some @ plane[:-1] + plane[-1]), 0)
        pull = -2 * _COST / count * (lack * side)
        slope = np.append(plane[:-1] + pull @ some, pull.sum())
        return 0.5 * float(plane[:-1] @ plane[:-1]) + _COST / count * float(lack @ lack), slope

    found = minimize(cost, np.zeros(codes.shape[1] + 1), jac=True, method="L-BFGS-B", options={"maxiter": 200}).x[:-1]
    return np.asarray(found / max(float(np.linalg.norm(found)), 1e-9))


def _alone(normals: np.ndarray, number: int) -> np.ndarray:
    """What of one normal is at right angles to all others."""
    others = np.delete(normals, number, axis=0)
    others = others[np.linalg.norm(others, axis=1) > 0]
    basis, _ = np.linalg.qr(others.T)
    return np.asarray(normals[number] - basis @ (basis.T @ normals[number]))


def _gains(
    codes: torch.Tensor, ways: torch.Tensor, reach: torch.Tensor, reader: Reader, count: int = 12
) -> torch.Tensor:
    """Of some codes, what a step of two standard deviations to either side changes."""
    some = codes[:: max(len(codes) // count, 1)][:count]
    out = []
    for number, (way, spread) in enumerate(zip(ways, reach, strict=True)):
        step = 2 * spread * way
        more, less = reader(torch.cat([some + step, some - step]))[:, number].split(len(some))
        slope = float((more - less).mean()) / max(float(4 * spread), 1e-9)
        out.append(1 / (np.sign(slope) * max(abs(slope), 0.01 / float(spread))) if slope and spread > 0 else 0.0)
    return torch.tensor(out, dtype=torch.float32)
