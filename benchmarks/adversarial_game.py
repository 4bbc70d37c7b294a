"""What the adversarial game adds to imitation: one beginning, two ways on, equal numbers of pictures.

    python benchmarks/adversarial_game.py FACES [--size 32] [--taught 24000] [--pictures 24000] [--sheet FILE]

FACES is a folder of ``deid train faces``; pictures are reduced to ``--size``. A small generator first imitates the
renderer, then goes on in a copy that imitates only and in one that plays (``GeneratorTraining``'s own steps). Both are
measured on people whom neither saw:

* sliced Wasserstein distance of 7 x 7 patches of each level of a Laplacian pyramid (T. Karras et al., *Progressive
  Growing of GANs*, 2018, section 5), times 1000: how far the distribution of fine structure is from the renderer's;
* energy of the finest level over the renderer's: 1 is as sharp;
* mean absolute difference from the rendered picture of the same numbers, of 255.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from deid.models.stylegan.generator import Generator
from deid.progress import QuietProgress
from deid.training import dataset
from deid.training.faces import Batch
from deid.training.generator import GeneratorOptions, GeneratorTraining
from deid.training.presets import PRESETS, Preset
from deid.training.session import Budget, Session

_CHANNELS = {16: (64, 64, 48), 32: (96, 96, 64, 48), 64: (128, 128, 96, 64, 32)}
_HELD_OUT = 1024
_PATCHES, _SIDE, _SLICES = 48, 7, 256


def reduced(faces: Batch, size: int) -> Batch:
    """The same pictures, ``size`` pixels a side."""
    out = []
    for start in range(0, len(faces.pixels), 512):
        some = torch.from_numpy(faces.pixels[start : start + 512]).permute(0, 3, 1, 2).float()
        out.append(functional.interpolate(some, (size, size), mode="area").round().byte().permute(0, 2, 3, 1).numpy())
    return replace(faces, pixels=np.concatenate(out))


def pyramid(pictures: torch.Tensor) -> list[torch.Tensor]:
    """Levels of a Laplacian pyramid, the finest first, down to 16 pixels."""
    levels = []
    while pictures.shape[-1] > 16:
        small = functional.avg_pool2d(pictures, 2)
        levels.append(pictures - functional.interpolate(small, scale_factor=2, mode="bilinear"))
        pictures = small
    return [*levels, pictures]


def sliced_distance(a: torch.Tensor, b: torch.Tensor) -> float:
    """Of patches of two sets of pictures, (N, C, S, S), normalised per channel, times 1000."""
    random = np.random.default_rng(0)
    places = random.integers(0, a.shape[-1] - _SIDE + 1, (_PATCHES, 2))
    sets = []
    for pictures in (a, b):
        cut = torch.cat([pictures[:, :3, y : y + _SIDE, x : x + _SIDE] for y, x in places])
        cut = (cut - cut.mean((0, 2, 3), keepdim=True)) / cut.std((0, 2, 3), keepdim=True).clamp_min(1e-6)
        sets.append(cut.flatten(1))
    ways = torch.from_numpy(random.normal(size=(sets[0].shape[1], _SLICES)).astype(np.float32))
    ways = ways / ways.norm(dim=0)
    first, second = (torch.sort(some @ ways, dim=0).values for some in sets)
    return float((first - second).abs().mean()) * 1000


@torch.no_grad()
def measure(generator: Generator, held: Batch) -> dict[str, float]:
    """What the module's text says."""
    real = torch.from_numpy(held.pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
    told = torch.from_numpy(held.parameters)
    made = torch.cat([generator(generator.mapping(some)) for some in told.split(64)])
    levels = list(zip(pyramid(made), pyramid(real), strict=True))
    out = {f"distance of level {level}": sliced_distance(a, b) for level, (a, b) in enumerate(levels)}
    fine, true = levels[0]
    out["fine energy"] = float(fine[:, :3].square().mean() / true[:, :3].square().mean())
    out["difference"] = float((made - real)[:, :3].abs().mean()) * 127.5
    return out


def trained(training: GeneratorTraining, count: int, playing: bool, session: Session) -> float:
    """Train on so many pictures; processor seconds. ``playing``: the game, as after ``taught`` of the budget."""
    rng, batch = np.random.default_rng(1), training.preset.batch
    order = dataset.batches(len(training.faces.pixels), batch, rng)
    began = time.process_time()
    for step in range(count // batch):
        share = step * batch / count
        taught = training.preset.taught
        training.step(next(order), taught + (1 - taught) * share if playing else share * taught * 0.999, session)
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faces", type=Path, metavar="FACES")
    parser.add_argument("--size", type=int, default=32, choices=sorted(_CHANNELS))
    parser.add_argument("--count", type=int, default=12_000, help="faces to learn from")
    parser.add_argument("--taught", type=int, default=24_000, help="pictures of the common beginning")
    parser.add_argument("--pictures", type=int, default=24_000, help="pictures of each way on")
    parser.add_argument("--sheet", type=Path, metavar="FILE")
    args = parser.parse_args()
    torch.set_num_threads(1)
    batch = reduced(dataset.load(args.faces, args.count + _HELD_OUT), args.size)
    held = Batch(*(getattr(batch, name)[-_HELD_OUT:] for name in Batch.__slots__))
    preset: Preset = replace(PRESETS["cpu"], size=args.size, channels=_CHANNELS[args.size], width=96, depth=2)
    options = GeneratorOptions("cpu", batch.parameters.shape[1], 0)
    with tempfile.TemporaryDirectory() as folder:
        session = Session(Path(folder), options, Budget(1e9, 10**9), QuietProgress())
        begun = GeneratorTraining(batch.first(args.count), preset, options)
        spent = trained(begun, args.taught, False, session)
        print(f"imitation, {args.taught} pictures, {spent:.0f} s:", _words(measure(begun.average, held)), flush=True)
        pictures = [torch.from_numpy(held.pixels[:8]).permute(0, 3, 1, 2).float() / 127.5 - 1]
        for name, playing in (("imitation goes on", False), ("the game", True)):
            training = copy.deepcopy(begun)
            spent = trained(training, args.pictures, playing, session)
            print(f"{name}, {args.pictures} more, {spent:.0f} s:", _words(measure(training.average, held)), flush=True)
            with torch.no_grad():
                told = torch.from_numpy(held.parameters[:8])
                pictures.append(training.average(training.average.mapping(told)))
        if args.sheet is not None:
            session.grid("sheet", torch.cat(pictures), 8)
            args.sheet.write_bytes((Path(folder) / "grid-sheet.png").read_bytes())
        session.close()


def _words(found: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in found.items())


if __name__ == "__main__":
    main()
