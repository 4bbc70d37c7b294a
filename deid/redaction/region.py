"""The area of a picture that an obscured face takes up."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

EXPONENT = 2.2
"""p of the superellipse |u|^p + |v|^p = 1: round, yet it holds more of the jaw than an ellipse."""


@dataclass(frozen=True, slots=True)
class Region:
    """A superellipse in frame pixels; inside it nothing of the original picture may be seen.

    ``cx``, ``cy``: its centre; ``ax``, ``ay``: its half axes, across and along the head; ``roll``: radians, clockwise
    positive as seen on screen. ``by``: how it is obscured, where that is not for the run to say. Raises
    :class:`ValueError` unless all are finite and the half axes positive.
    """

    cx: float
    cy: float
    ax: float
    ay: float
    roll: float = 0.0
    by: str = ""

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (self.cx, self.cy, self.ax, self.ay, self.roll))):
            raise ValueError(f"a region needs finite numbers: {self}")
        if self.ax <= 0 or self.ay <= 0:
            raise ValueError(f"a region needs positive half axes: {self}")

    def radius(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """How far points lie from the centre, in units of the outline: at most 1 inside. Arrays broadcast."""
        cos, sin = math.cos(self.roll), math.sin(self.roll)
        dx, dy = np.asarray(x, np.float64) - self.cx, np.asarray(y, np.float64) - self.cy
        return radius((dx * cos + dy * sin) / self.ax, (dy * cos - dx * sin) / self.ay)

    def contains(self, points: np.ndarray) -> np.ndarray:
        """Which of ``points`` (..., 2) lie inside or on the outline: bool (...,)."""
        points = np.asarray(points, np.float64)
        return self.radius(points[..., 0], points[..., 1]) <= 1

    def outline(self, count: int = 64, grow: float = 1.0) -> np.ndarray:
        """``count`` points on the outline, scaled by ``grow`` about the centre: float64 (count, 2)."""
        u, v = unit_outline(count).T * grow
        cos, sin = math.cos(self.roll), math.sin(self.roll)
        x, y = u * self.ax, v * self.ay
        return np.stack([self.cx + x * cos - y * sin, self.cy + x * sin + y * cos], axis=1)

    def bounds(self, grow: float = 1.0) -> tuple[float, float, float, float]:
        """``x0 y0 x1 y1`` of a box that holds the region scaled by ``grow``, a little generously."""
        cos, sin = abs(math.cos(self.roll)), abs(math.sin(self.roll))
        half_x, half_y = _support(self.ax * cos, self.ay * sin) * grow, _support(self.ax * sin, self.ay * cos) * grow
        return self.cx - half_x, self.cy - half_y, self.cx + half_x, self.cy + half_y


def radius(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The superellipse's norm of points given in units of the half axes. Arrays broadcast."""
    return (np.abs(u) ** EXPONENT + np.abs(v) ** EXPONENT) ** (1 / EXPONENT)


@lru_cache(maxsize=16)
def unit_outline(count: int) -> np.ndarray:
    """``count`` points on the unit superellipse, anticlockwise in u, v: float64 (count, 2), read-only."""
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    cos, sin = np.cos(angle), np.sin(angle)
    power = 2 / EXPONENT
    points = np.stack([np.sign(cos) * np.abs(cos) ** power, np.sign(sin) * np.abs(sin) ** power], axis=1)
    points.setflags(write=False)
    return points


def _support(a: float, b: float) -> float:
    """The largest u a + v b on the unit superellipse: by Hölder's inequality, the conjugate norm of (a, b)."""
    conjugate = EXPONENT / (EXPONENT - 1)
    scale = max(a, b)
    return scale * ((a / scale) ** conjugate + (b / scale) ** conjugate) ** (1 / conjugate) if scale else 0.0
