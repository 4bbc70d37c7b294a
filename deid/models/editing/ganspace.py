"""GANSpace: the ways in which codes differ most, applied to some of the generator's layers.

E. Härkönen et al., *GANSpace: Discovering Interpretable GAN Controls*, 2020, sections 3.1 and 3.2: principal components
of sampled w; an edit moves w along one of them for a range of layers, in units of its standard deviation. The paper
finds by eye which component does what; here H's answer on codes that were held out decides, which is said wherever it
is compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from deid.models.editing.latent import Reader, vector
from deid.models.editing.names import NAMES

COMPONENTS = 80
_TRIED = 40  # components that are looked at, the largest first
_STEP = 2.0  # standard deviations
_FARTHEST = 6.0
_FEW = 6  # codes on which components are judged


@dataclass(frozen=True, slots=True, eq=False)
class GanSpace:
    """``components``: float32 (K, width), of unit length; ``spread``: float32 (K,). For each attribute: ``chosen``:
    int64 (A,), its component; ``layers``: int64 (A, 2), from which layer to which; ``gains``: float32 (A,), standard
    deviations by which it changes by 1; ``farthest``: how many of them a step has at most."""

    components: torch.Tensor
    spread: torch.Tensor
    chosen: torch.Tensor
    layers: torch.Tensor
    gains: torch.Tensor
    count: int
    farthest: float = _FARTHEST
    name: str = "GANSpace"
    attributes: tuple[str, ...] = NAMES

    def edit(self, w: torch.Tensor, changes: Mapping[str, float]) -> torch.Tensor:
        """See :class:`~deid.models.editing.latent.LatentEditor`."""
        wanted = vector(changes, 1, w)[0]
        if not wanted.any():
            return w
        out = w[:, None].repeat(1, self.count, 1)
        for number in torch.nonzero(wanted).flatten().tolist():
            first, last = self.layers[number].tolist()
            sigmas = float((wanted[number] * self.gains[number]).clamp(-self.farthest, self.farthest))
            component = int(self.chosen[number])
            out[:, first:last] += sigmas * self.spread[component] * self.components[component]
        return out


def fit_ganspace(codes: torch.Tensor, attributes: torch.Tensor, reader: Reader) -> GanSpace:
    """``codes``: (n, width); the last few of them are only for choosing components."""
    held, learned = codes[-_FEW:], codes[:-_FEW]
    count = min(COMPONENTS, codes.shape[1], len(learned) - 1)
    _, values, ways = torch.linalg.svd(learned - learned.mean(0), full_matrices=False)
    components, spread = ways[:count].contiguous(), (values[:count] / (len(learned) - 1) ** 0.5)
    layers = reader.generator.shape.layers
    ranges = ((0, layers), (0, layers // 3), (layers // 3, 2 * layers // 3), (2 * layers // 3, layers))
    usual = attributes.std(0).clamp_min(0.05)
    before = reader(held)
    answers, places = [], []
    for component in range(min(_TRIED, count)):
        for first, last in ranges:
            moved = held[:, None].repeat(1, layers, 1)
            moved[:, first:last] += _STEP * spread[component] * components[component]
            answers.append((reader(moved) - before).mean(0))
            places.append((component, first, last))
    answer = torch.stack(answers)  # (tried, A)
    size = (answer / usual).square().mean(1, keepdim=True).sqrt()
    alone = (answer / usual).abs() / (size + 0.05)  # much of it, and little of anything else
    best = alone.argmax(0)
    where = torch.tensor(places)[best]
    slope = answer.gather(0, best[None])[0] / _STEP
    gains = slope.sign() / slope.abs().clamp_min(0.01)
    return GanSpace(components, spread, where[:, 0], where[:, 1:], gains, layers)
