"""A square with a face on it, and what is drawn with, for ``thing_pictures.py`` and ``thing_portraits.py``."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np

from deid import imaging
from deid.blending.outline import OVAL

SIDE = 128
RIM = OVAL[6:31]  # the outline but for the forehead
JAW = OVAL[8:29]
LIPS = [61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146]
CHEEKS = [50, 280, 205, 425, 101, 330]
_FINE = 16  # fill_poly's fixed point


@dataclass(slots=True)
class Scene:
    """``picture``: float32 (SIDE, SIDE, 3) RGB code values; ``truth``: float32 (SIDE, SIDE), 1 where a thing is;
    ``points``: (478, 2), the face's mesh; ``others``: uint8 (n, h, w, 3), pictures to cut patterns from."""

    picture: np.ndarray
    truth: np.ndarray
    points: np.ndarray
    others: np.ndarray
    rng: np.random.Generator

    @property
    def width(self) -> float:
        return float(np.ptp(self.points[OVAL, 0]))

    def lay(self, mask: np.ndarray, colours: np.ndarray) -> None:
        """Put a thing before everything: ``mask``, float32 0 to 1; ``colours``, (SIDE, SIDE, 3)."""
        rng = self.rng
        soft = imaging.gaussian_blur(mask, (0, 0), rng.uniform(0.3, 1.0))
        if rng.random() < 0.5:  # it casts a shadow
            move = np.float32([[1, 0, rng.uniform(-6, 6)], [0, 1, rng.uniform(-6, 6)]])
            cast = imaging.gaussian_blur(imaging.warp_affine(mask, move, (SIDE, SIDE)), (0, 0), rng.uniform(1, 5))
            self.picture *= 1 - (rng.uniform(0.05, 0.5) * cast * (1 - soft))[..., None]
        self.picture += (colours - self.picture) * soft[..., None]
        np.maximum(self.truth, soft, out=self.truth)

    def tint(self, share: np.ndarray, colours: np.ndarray) -> None:
        """Change what is there, which stays what it is."""
        self.picture += (colours - self.picture) * share[..., None]


def grid() -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    return y, x


def filled(outline: np.ndarray) -> np.ndarray:
    canvas = np.zeros((SIDE, SIDE), np.uint8)
    imaging.fill_poly(canvas, [np.round(np.asarray(outline) * _FINE).astype(np.int32)], 255, imaging.LINE_AA, 4)
    return canvas.astype(np.float32) / 255


def stroke(points: np.ndarray, thick: int) -> np.ndarray:
    canvas = np.zeros((SIDE, SIDE), np.uint8)
    whole = np.round(np.asarray(points) * _FINE).astype(np.int32)
    imaging.polylines(canvas, [whole], False, 255, thick, imaging.LINE_AA, 4)
    return canvas.astype(np.float32) / 255


def disc(middle: np.ndarray, a: float, b: float, turn: float = 0.0) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, 40)
    c, s = np.cos(turn), np.sin(turn)
    return filled(np.stack([a * np.cos(angle), b * np.sin(angle)], 1) @ np.array([[c, s], [-s, c]]) + middle)


def colour(rng: np.random.Generator) -> np.ndarray:
    kind = rng.choice(5, p=[0.3, 0.24, 0.14, 0.24, 0.08])
    if kind == 3:
        return 255 * np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.3, 1), rng.uniform(0.2, 1)))
    if kind == 4:
        return np.array([rng.uniform(80, 230), rng.uniform(50, 180), rng.uniform(30, 150)])
    low, high, spread = ((0, 55, 5), (170, 250, 10), (55, 170, 6))[kind]
    return np.full(3, rng.uniform(low, high)) + rng.normal(0, spread, 3)


def pattern(scene: Scene) -> np.ndarray:
    """float (SIDE, SIDE, 3): what a thing is made of."""
    rng = scene.rng
    y, x = grid()
    kind = rng.choice(5, p=[0.34, 0.26, 0.16, 0.14, 0.1])
    if kind == 0:
        return np.ones((SIDE, SIDE, 3)) * colour(rng)
    if kind == 1:  # of somebody's clothes, or of what is behind them
        other = scene.others[rng.integers(len(scene.others))]
        n = int(rng.uniform(24, 150))
        top = rng.integers(360, 512 - n) if rng.random() < 0.75 else rng.integers(0, 120)
        left = rng.integers(0, 512 - n)
        cut = imaging.resize(other[top : top + n, left : left + n], (SIDE, SIDE), interpolation=imaging.INTER_LINEAR)
        cut = cut[..., rng.permutation(3)] if rng.random() < 0.5 else cut
        return cut * rng.uniform(0.5, 1.5) + rng.uniform(-25, 25)
    if kind == 2:
        angle = rng.uniform(0, np.pi)
        wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) * rng.uniform(0.2, 1.4) + rng.uniform(0, 6))
        share = np.clip(wave * rng.uniform(0.5, 3) + 0.5, 0, 1)[..., None]
    elif kind == 3:
        noise = imaging.gaussian_blur(rng.normal(0, 1, (SIDE, SIDE)), (0, 0), rng.uniform(0.4, 3))
        return np.ones((SIDE, SIDE, 3)) * colour(rng) + (noise / noise.std() * rng.uniform(5, 40))[..., None]
    else:
        share = ((x // rng.integers(4, 14) + y // rng.integers(4, 14)) % 2)[..., None]
    return colour(rng) * share + colour(rng) * (1 - share)


def shaded(rng: np.random.Generator, colours: np.ndarray, across: np.ndarray | None = None) -> np.ndarray:
    """``colours`` lit from a side; ``across``: -1 to 1 over a thing that is round that way."""
    y, x = grid()
    angle = rng.uniform(0, 2 * np.pi)
    slope = ((x - SIDE / 2) * np.cos(angle) + (y - SIDE / 2) * np.sin(angle)) / SIDE
    colours = colours * (1 + rng.uniform(0, 0.9) * slope)[..., None]
    if across is not None:
        side = np.clip(np.abs(across - rng.uniform(-0.4, 0.4)), 0, 1.4)
        colours = colours * (1 - rng.uniform(0, 0.6) * side**2)[..., None]
        if rng.random() < 0.5:
            glint = np.exp(-(((across - rng.uniform(-0.6, 0.6)) / rng.uniform(0.08, 0.3)) ** 2))
            colours = colours + (rng.uniform(20, 120) * glint)[..., None]
    return colours


def rounded(outline: np.ndarray) -> np.ndarray:
    for _ in range(3):
        after = np.roll(outline, -1, 0)
        outline = np.stack([0.75 * outline + 0.25 * after, 0.25 * outline + 0.75 * after], 1).reshape(-1, 2)
    return outline
