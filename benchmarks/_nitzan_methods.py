"""Ways to put one person's identity under another's attributes, on rendered pictures of both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from _likenesses import faces_of_picture

from deid import imaging
from deid.detection.landmarks import FaceLandmarker, roi_from_landmarks
from deid.models.checkpoints import build, open_checkpoint
from deid.models.morphable.appearance import load_appearance
from deid.models.morphable.geometry import load_geometry
from deid.models.morphable.own_code import own_code
from deid.models.morphable.painter import Sitter
from deid.models.morphable.surrogate import in_place
from deid.models.stylegan.networks import Networks, normalised
from deid.recognition.chips import chip_from_picture
from deid.recognition.lite import LiteRecogniser
from deid.training.faces import Picture, crossed, pictures
from deid.training.scene import identity_numbers

_LEARNED = 1200  # pictures that the plain encoder is fitted on
_RIDGE = 1e-2
_TALL = 512  # pixels that pictures are enlarged to for the other engine


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """``pictures``: by row the attributes, by column the person; ``pixels``: uint8 (S, S, 3) RGB; ``points``: float32
    (478, 3), the true mesh in pixels; ``read``: the same as the landmark model reads it off the diagonal's pictures,
    which is all that a method may know."""

    pictures: list[list[Picture]]
    pixels: list[list[np.ndarray]]
    points: list[list[np.ndarray]]
    read: list[np.ndarray]

    @classmethod
    def rendered(cls, size: int, seed: int, count: int) -> Pairs:
        made = crossed(size, seed, count)
        pixels = [[np.ascontiguousarray(p.pixels[..., :3]) for p in row] for row in made]
        points = [[in_pixels(p.points, size) for p in row] for row in made]
        with FaceLandmarker() as landmarker:
            read = []
            for k in range(count):
                seen = landmarker.run(pixels[k][k], roi_from_landmarks(points[k][k]), rgb=True)
                read.append(points[k][k] if seen is None else seen.points)
        return cls(made, pixels, points, read)

    def codes(self, networks: Networks) -> tuple[np.ndarray, np.ndarray]:
        """E_id and E_attr of the pictures on the diagonal."""
        own = np.stack([self.pixels[k][k] for k in range(len(self.pixels))])
        points = np.stack(self.read)
        same = np.repeat(np.eye(2, 3)[None], len(own), axis=0)
        return networks.identities(own, points), networks.attribute_codes(own, normalised(points, same, own.shape[1]))

    def shown(self, networks: Networks, codes: np.ndarray) -> np.ndarray:
        """What the generator makes of ``codes``: uint8 (n, S, S, 3)."""
        return np.rint(networks.pictures(codes)[..., :3] * 255).astype(np.uint8)


Method = Callable[[Pairs], np.ndarray]
"""Pairs to uint8 (n, n, S, S, 3), by row the attributes, by column the identity."""


def in_pixels(points: np.ndarray, size: int) -> np.ndarray:
    """Meshes of -1 to 1 over a picture, in its pixels."""
    out = points * np.float32(size / 2)
    out[..., :2] += np.float32((size - 1) / 2)
    return out


def rendered(pairs: Pairs) -> np.ndarray:
    """The truth."""
    return np.stack([np.stack(row) for row in pairs.pixels])


def told(networks: Networks) -> Method:
    """What the generator shows when its mapping network is told the truth."""

    def method(pairs: Pairs) -> np.ndarray:
        rows = []
        for row in pairs.pictures:
            words = torch.from_numpy(np.stack([picture.parameters for picture in row]))
            with torch.no_grad():
                codes = networks.generator.mapping(words).numpy()
            rows.append(pairs.shown(networks, codes))
        return np.stack(rows)

    return method


def mapped(networks: Networks) -> Method:
    """The engine's way."""

    def method(pairs: Pairs) -> np.ndarray:
        who, how = pairs.codes(networks)
        rows = [pairs.shown(networks, networks.mapped(who, np.repeat(h[None], len(who), 0))) for h in how]
        return np.stack(rows)

    return method


def ablated(networks: Networks, file: Path) -> Method:
    """The engine's way, with another mapper and its encoder."""
    held = open_checkpoint(file)
    return mapped(
        Networks(networks.generator, networks.recogniser, build.attributes(held), build.mapper(held), (file.name,))
    )


def plain(networks: Networks, seed: int) -> Method:
    """Codes of both encoders read by ridge regression into what the mapping network is told; identity swapped."""
    geometry, appearance = load_geometry(), load_appearance()
    own = identity_numbers(geometry, appearance)
    made, source = [], pictures(networks.generator.shape.size, seed)
    for _ in range(_LEARNED):
        made.append(next(source))
    size = networks.generator.shape.size
    pixels = np.stack([p.pixels[..., :3] for p in made])
    points = np.stack([in_pixels(p.points, size) for p in made])
    same = np.repeat(np.eye(2, 3)[None], len(made), axis=0)
    who = networks.identities(pixels, points)
    how = networks.attribute_codes(pixels, normalised(points, same, size))
    told = np.stack([p.parameters for p in made])
    identity, attributes = _ridge(who, told[:, :own]), _ridge(how, told[:, own:])

    def method(pairs: Pairs) -> np.ndarray:
        who, how = pairs.codes(networks)
        rows = []
        for h in how:
            words = np.concatenate([identity(who), np.repeat(attributes(h[None]), len(who), 0)], axis=1)
            with torch.no_grad():
                codes = networks.generator.mapping(torch.from_numpy(words.astype(np.float32))).numpy()
            rows.append(pairs.shown(networks, codes))
        return np.stack(rows)

    return method


def _ridge(x: np.ndarray, y: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    centre, spread = x.mean(0), x.std(0) + 1e-6
    a = np.column_stack([(x - centre) / spread, np.ones(len(x))]).astype(np.float64)
    weights = np.linalg.solve(a.T @ a + _RIDGE * len(a) * np.eye(a.shape[1]), a.T @ y)
    return lambda q: np.column_stack([(q - centre) / spread, np.ones(len(q))]) @ weights


def morphable() -> Method:
    """The other engine: its inversion of the one picture's identity, its inversion of the other's attributes."""
    geometry, appearance, recogniser = load_geometry(), load_appearance(), LiteRecogniser()

    def method(pairs: Pairs) -> np.ndarray:
        size, count = pairs.pixels[0][0].shape[0], len(pairs.pixels)
        found = []
        for k in range(count):
            large = imaging.resize(pairs.pixels[k][k][..., ::-1], (_TALL, _TALL), interpolation=imaging.INTER_CUBIC)
            faces = faces_of_picture(f"{k}.png", np.ascontiguousarray(large), 40)
            found.append(faces[0] if faces else None)
        codes = [
            None if f is None else own_code(geometry, appearance, f.shape, f.likenesses[0], recogniser.embed).code
            for f in found
        ]
        sitters = [None if code is None else Sitter.make(geometry, appearance, code, 256) for code in codes]
        out = np.zeros((count, count, size, size, 3), np.uint8)
        for i, face in enumerate(found):
            for j, sitter in enumerate(sitters):
                out[i, j] = pairs.pixels[i][i]
                if face is None or sitter is None:
                    continue
                likeness = face.likenesses[0]
                chip = in_place(geometry, sitter, likeness)
                back = chip_from_picture(pairs.points[i][i])
                imaging.warp_affine(
                    chip, back, (size, size), out[i, j], flags=imaging.INTER_LINEAR | imaging.WARP_INVERSE_MAP,
                    borderMode=imaging.BORDER_TRANSPARENT,
                )  # fmt: skip
        return out

    return method
