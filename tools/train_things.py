"""Trains what tells things before a face from the face (``deid/detection/things.py``).

Portraits get drawn things before them (``thing_portraits.py``); every sixth portrait is held out. Prints, for those,
how well things are found (intersection over union) and how often something is found where nothing is, then writes a
safetensors file of 177,089 numbers in half precision. Needs torch. Twenty minutes of one core are enough.

    python tools/train_things.py ../shared/data/portraits deid/detection/things.safetensors --minutes 20
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import Tensor, nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

from _portraits import portraits
from thing_portraits import drawn

from deid import imaging
from deid.detection.things import GRID

_HELD_OUT, _PICTURES, _BATCH = 6, 14000, 32
_RATE = 4e-3
_DICE = 0.3  # weight of the overlap beside that of single places
_CELLS = 9  # that something must have to count as found


class Block(nn.Module):
    """A convolution, its normalisation, and ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.norm(self.convolution(x)))


class Net(nn.Module):
    """The network of :mod:`deid.detection.things`; names are those of the file's tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.c1, self.b1 = Block(3, 16, 2), Block(16, 16)
        self.c2, self.b2 = Block(16, 32, 2), Block(32, 32)
        self.place = nn.Parameter(torch.zeros(1, 32, GRID // 2, GRID // 2))
        self.c3, self.b3 = Block(32, 48, 2), Block(48, 48)
        self.c4, self.b4 = Block(48, 64, 2), Block(64, 64)
        self.u3, self.d3 = nn.ConvTranspose2d(64, 48, 2, 2), Block(48, 48)
        self.u2, self.d2 = nn.ConvTranspose2d(48, 32, 2, 2), Block(32, 32)
        self.u1, self.d1 = nn.ConvTranspose2d(32, 16, 2, 2), Block(16, 16)
        self.h = nn.Conv2d(16, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Log odds (n, GRID, GRID) of pictures (n, 3, SIDE, SIDE), 0 to 1."""
        x1 = self.b1(self.c1(x))
        x2 = self.b2(self.c2(x1) + self.place)
        x3 = self.b3(self.c3(x2))
        y = self.d3(functional.relu(self.u3(self.b4(self.c4(x3))) + x3))
        y = self.d2(functional.relu(self.u2(y) + x2))
        out: Tensor = self.h(self.d1(functional.relu(self.u1(y) + x1)))[:, 0]
        return out

    def numbers(self) -> dict[str, np.ndarray]:
        """As the file has them: normalisations folded into the convolutions, for pictures of 0 to 255."""
        out = {"place": self.place.detach().numpy()}
        for name, part in self.named_children():
            if isinstance(part, Block):
                gain = part.norm.weight / torch.sqrt(part.norm.running_var + part.norm.eps)
                weight, bias = part.convolution.weight * gain[:, None, None, None], part.norm.bias
                bias = bias - part.norm.running_mean * gain
            else:
                weight, bias = part.weight, part.bias
            out[f"{name}.weight"], out[f"{name}.bias"] = weight.detach().numpy(), bias.detach().numpy()
        out["c1.weight"] = out["c1.weight"] / 255
        return {name: np.ascontiguousarray(value.astype(np.float16)) for name, value in out.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("portraits", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--minutes", type=float, default=20.0, help="of training (default 20)")
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    people = [(imaging.resize(p.picture, (512, 512), interpolation=imaging.INTER_AREA), _halved(p.mesh, p.picture))
              for p in portraits(options.portraits)]  # fmt: skip
    others = np.stack([picture for picture, _ in people])
    held = [p for i, p in enumerate(people) if i % _HELD_OUT == 0]
    used = [p for i, p in enumerate(people) if i % _HELD_OUT]
    train, test = (_bank(some, others, count, rng) for some, count in ((used, _PICTURES), (held, 500)))
    net = trained(train, 60 * options.minutes, rng).eval()
    with torch.no_grad():
        found = torch.sigmoid(net(test[0].float() / 255)) > 0.5
    truth = test[1] > 127
    some = truth.sum((1, 2)) > _CELLS
    shared, either = (found & truth).sum((1, 2))[some], (found | truth).sum((1, 2))[some]
    none = truth.sum((1, 2)) == 0
    print(f"things: median overlap {float((shared / either).median()):.2f}; nothing there: something found in "
          f"{float((found.sum((1, 2))[none] > _CELLS).float().mean()):.1%}")  # fmt: skip
    save_file(net.numbers(), options.output)


def _halved(mesh: np.ndarray, picture: np.ndarray) -> np.ndarray:
    return (mesh[:, :2] + 0.5) * (512 / picture.shape[0]) - 0.5


def _bank(
    people: list[tuple[np.ndarray, np.ndarray]], others: np.ndarray, count: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    rows = [drawn(*people[rng.integers(len(people))], others, rng) for _ in range(count)]
    seen, truth, weight = (torch.from_numpy(np.stack(part)) for part in zip(*rows, strict=True))
    return seen.permute(0, 3, 1, 2).contiguous(), truth, weight


def trained(bank: tuple[Tensor, Tensor, Tensor], seconds: float, rng: np.random.Generator) -> Net:
    net = Net().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(net.parameters(), _RATE, weight_decay=1e-3)
    start, step = time.monotonic(), 0
    while (part := (time.monotonic() - start) / seconds) < 1:
        pick = torch.from_numpy(rng.integers(0, len(bank[0]), _BATCH))
        x, truth, weight = (some[pick].float() / 255 for some in bank)
        if rng.random() < 0.5:
            x, truth, weight = x.flip(-1), truth.flip(-1), weight.flip(-1)
        x = x * (1 + 0.15 * torch.randn(_BATCH, 1, 1, 1)) + 0.03 * torch.randn(_BATCH, 3, 1, 1)
        if rng.random() < 0.35:
            _cut_off(x, truth, weight, rng)
        for group in optimiser.param_groups:
            group["lr"] = _RATE * (0.5 + 0.5 * math.cos(math.pi * part)) * min(1, (step + 1) / 60) + 1e-6
        with torch.autocast("cpu", dtype=torch.bfloat16):
            odds = net(x.contiguous(memory_format=torch.channels_last))
        loss = _loss(odds.float(), truth, weight)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        step += 1
    return net


def _cut_off(x: Tensor, truth: Tensor, weight: Tensor, rng: np.random.Generator) -> None:
    """The faces of half a batch reach out of their frame: there its last pixels are repeated, and nothing is."""
    wide, some = int(rng.integers(1, 24)), torch.from_numpy(rng.random(_BATCH) < 0.5)
    turn = rng.integers(4)  # which side
    for grid, n, value in ((x, wide, None), (truth, wide // 2 + 1, 0.0), (weight, wide // 2 + 1, 0.3)):
        turned = torch.rot90(grid, int(turn), (-2, -1))
        part = turned[some]
        part[..., :n] = part[..., n : n + 1] if value is None else value
        turned[some] = part
        grid.copy_(torch.rot90(turned, -int(turn), (-2, -1)))


def _loss(odds: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    places = functional.binary_cross_entropy_with_logits(odds, truth, reduction="none")
    likely = torch.sigmoid(odds)
    both, sizes = (likely * truth * weight).sum((1, 2)), ((likely + truth) * weight).sum((1, 2))
    out: Tensor = (places * weight).sum() / weight.sum() + _DICE * (1 - (2 * both + 6) / (sizes + 6)).mean()
    return out


if __name__ == "__main__":
    main()
