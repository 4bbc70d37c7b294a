"""Sizes of networks and schedules, by name: ``cpu`` for two cores and an afternoon, ``gpu`` for a data-centre GPU."""

from __future__ import annotations

from dataclasses import dataclass

from deid.models.mapping.attributes import AttributeShape
from deid.models.stylegan.generator import GeneratorShape

NAMES = ("cpu", "gpu", "tiny")


@dataclass(frozen=True, slots=True)
class Preset:
    """``channels``: of generator and discriminator from 4 x 4 on; ``width``: of w; ``depth``: layers of the mapping
    network; ``faces``: pictures in the data set; ``album``: of these the mapper is trained with, all in memory;
    ``batch``: pictures a step. ``teach``: learning rate while the renderer is imitated, ``play``: of the adversarial
    game, which begins after the share ``taught`` of the budget. ``attributes``: the attribute encoder; ``hidden``:
    layers of the mapper; ``pictures``: most pictures a stage sees."""

    size: int
    channels: tuple[int, ...]
    width: int
    depth: int
    faces: int
    album: int
    batch: int
    teach: float
    play: float
    taught: float
    attributes: AttributeShape
    hidden: tuple[int, ...]
    pictures: int

    def generator(self, parameters: int) -> GeneratorShape:
        """``parameters``: numbers that the renderer is told."""
        return GeneratorShape(self.size, self.channels, parameters, self.width, self.depth, 4)


PRESETS: dict[str, Preset] = {
    "cpu": Preset(
        size=128, channels=(256, 256, 128, 96, 48, 24), width=256, depth=3, faces=40_000, album=16_000, batch=16,
        teach=1e-2, play=1e-3, taught=0.75, attributes=AttributeShape(64, 24, 192, components=96),
        hidden=(768, 512, 384), pictures=4_000_000,
    ),
    "gpu": Preset(
        size=256, channels=(384, 384, 384, 256, 128, 64, 32), width=512, depth=4, faces=120_000, album=30_000,
        batch=64, teach=1e-2, play=2e-3, taught=0.4, attributes=AttributeShape(128, 48, 512, components=128),
        hidden=(2048, 1024, 512), pictures=25_000_000,
    ),
    "tiny": Preset(
        size=16, channels=(16, 12, 8), width=16, depth=2, faces=512, album=512, batch=8,
        teach=1e-2, play=1e-3, taught=0.5, attributes=AttributeShape(16, 8, 16, components=8),
        hidden=(32, 32), pictures=4_000,
    ),
}  # fmt: skip
"""``tiny`` learns nothing worth keeping: it shows in a minute that everything runs."""
