"""Glasses as an attribute: a generic pair of the kind that a subject wears, and where the subject's own pair lies.

A pair is described on the sheet of :mod:`.eyewear_sheet`: the surface that lenses lie in, in centimetres from the
middle between the eyes. What is drawn comes in few sizes, shapes and colours, so that it says that somebody wears
glasses and of what kind, and not which.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from deid.models.morphable import eyewear_sheet as sheet
from deid.models.morphable.geometry import Geometry

_ROUND = 44  # points of a lens's outline
_TEMPLES = (127, 356)  # mesh points of the face where arms pass
_CLEAR = 0.14  # centimetres between the nose and a bridge, and between a temple and an arm
_EAR = (0.75, -0.3)  # farther out than the temple, and head-space z, of where an arm rests on the ear
_ARM_PIECES = 9
_STUB = 1  # pieces of an arm that stand out from the head


@dataclass(frozen=True, slots=True)
class Outline:
    """The outline of the lens on the viewer's right; the other one is its mirror image. Centimetres on the sheet.

    ``x``, ``y``: its middle. ``a``, ``b``: half its width and height. ``corners``: exponent of the superellipse: 2 an
    ellipse, 4 nearly a rectangle. ``taper``: how much wider its top is than its middle, share of ``a``. ``lift``: how
    far its outer end is raised, centimetres.
    """

    x: float
    y: float
    a: float
    b: float
    corners: float = 2.6
    taper: float = 0.05
    lift: float = 0.0

    def points(self, count: int = _ROUND) -> np.ndarray:
        """float64 (count, 2): x, y around the outline, from the outer end upwards."""
        angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
        c, s = np.cos(angle), np.sin(angle)
        power = 2.0 / self.corners
        across, up = np.sign(c) * np.abs(c) ** power, np.sign(s) * np.abs(s) ** power
        x = self.x + self.a * across * (1 + self.taper * up)
        return np.stack([x, self.y + self.b * up + self.lift * across], axis=1)


@dataclass(frozen=True, slots=True, eq=False)
class Wire:
    """What is drawn of a pair on one head, head space, centimetres. ``ends``: float64 (n, 2, 3), pieces of tube;
    ``half``: float64 (n,), half their thickness; ``share``: float64 (n,), how much there is of each; ``arm``: bool
    (n,), arms; ``back``: bool (n,), those pieces of arms that lie beside the head. ``lenses``: float64 (2, m, 3), their
    outlines."""

    ends: np.ndarray
    half: np.ndarray
    share: np.ndarray
    arm: np.ndarray
    back: np.ndarray
    lenses: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Eyewear:
    """``pair``: the outline to draw. ``own``: that of the subject's pair, whose remains are taken away; ``None`` for
    who wears none. ``rim``: half the rim's thickness, centimetres; 0 draws none. ``below``: how much of it there is
    below, 0 to 1. ``colour``: float32 (3,), linear reflectance. ``metal``: whether it shines as metal does. ``lens``:
    float32 (3,), what the lenses let through. ``wire``: what is drawn of it on a certain head."""

    pair: Outline
    own: Outline | None
    rim: float
    below: float
    colour: np.ndarray
    metal: bool
    lens: np.ndarray
    wire: Wire | None = None

    def on(self, geometry: Geometry, neutral: np.ndarray) -> Eyewear:
        """This pair made ready for the head ``neutral``, float32 (V, 3) at rest."""
        return replace(self, wire=wire(geometry, neutral, self))


def arms(geometry: Geometry, neutral: np.ndarray, own: Outline, rim: float) -> list[np.ndarray]:
    """Where the arms of the subject's ``own`` pair lie, left one first: float64 (n, 3) each, from the rim backwards, in
    the space of the head ``neutral``, float32 (V, 3) at rest."""
    middle = sheet.eyes_of(geometry, neutral)
    corners = geometry.triangles[geometry.landmark_triangles[list(_TEMPLES)]]
    temples = (neutral[corners] * geometry.landmark_weights[list(_TEMPLES)][..., None]).sum(axis=1).astype(np.float64)
    return [
        _arm(own, middle, temple, side, rim)[:, 0]
        for side, temple in ((1, temples[1]), (-1, temples[0]))
    ]


def wire(geometry: Geometry, neutral: np.ndarray, eyewear: Eyewear) -> Wire:
    """``eyewear`` on the head ``neutral``, float32 (V, 3) at rest."""
    middle = sheet.eyes_of(geometry, neutral)
    corners = geometry.triangles[geometry.landmark_triangles]
    mesh = (neutral[corners] * geometry.landmark_weights[..., None]).sum(axis=1).astype(np.float64)
    xy = eyewear.pair.points()
    right = sheet.surface(xy[:, 0], xy[:, 1], middle)
    left = sheet.surface(-xy[:, 0], xy[:, 1], middle)
    rim = max(eyewear.rim, 0.03)
    above = np.clip(0.5 + (xy[:, 1] - eyewear.pair.y) / (0.6 * eyewear.pair.b), 0, 1)
    there = (eyewear.below + (1 - eyewear.below) * above) * (eyewear.rim > 0)
    pieces = [(np.stack([p, np.roll(p, -1, axis=0)], axis=1), rim, (there + np.roll(there, -1)) / 2, False)
              for p in (right, left)]  # fmt: skip
    all_of_it = np.ones(1)
    pieces.append((_bridge(eyewear.pair, middle, mesh), 0.9 * rim, all_of_it, False))
    thin = min(rim, 0.13)
    for side, temple in ((1, mesh[_TEMPLES[1]]), (-1, mesh[_TEMPLES[0]])):
        pieces.append((_arm(eyewear.pair, middle, temple, side, rim), thin, all_of_it, True))
    return Wire(
        np.concatenate([p[0] for p in pieces]),
        np.concatenate([np.full(len(p[0]), p[1]) for p in pieces]),
        np.concatenate([np.broadcast_to(p[2], len(p[0])) for p in pieces]),
        np.concatenate([np.full(len(p[0]), p[3]) for p in pieces]),
        np.concatenate([np.full(len(p[0]), p[3]) & (np.arange(len(p[0])) >= _STUB) for p in pieces]),
        np.stack([right, left]),
    )


def _bridge(pair: Outline, middle: np.ndarray, mesh: np.ndarray) -> np.ndarray:
    """(n, 2, 3): an arch between the lenses, clear of the nose."""
    half = max(pair.x - 0.97 * pair.a, 0.25)
    t = np.linspace(-1, 1, 9)
    y = pair.y - pair.lift + 0.42 * pair.b + 0.22 * (1 - t * t)
    arch = sheet.surface(half * t, y, middle)
    nose = mesh[[168, 6, 197]]
    order = np.argsort(nose[:, 1])
    front = np.interp(arch[:, 1], nose[order, 1], nose[order, 2]) + _CLEAR
    arch[:, 2] = np.maximum(arch[:, 2], front * (1 - t * t) + arch[:, 2] * t * t)
    return np.stack([arch[:-1], arch[1:]], axis=1)


def _arm(pair: Outline, middle: np.ndarray, temple: np.ndarray, side: int, rim: float) -> np.ndarray:
    """(n, 2, 3): from the rim's outer end around the corner and back to the ear."""
    reach = pair.x + pair.a * (1 + 0.5 * pair.taper)
    height = pair.y + pair.lift + 0.45 * pair.b
    start = sheet.surface(np.array(side * (reach - 0.05)), np.array(height), middle)
    wide = max(abs(float(temple[0])) + _CLEAR, abs(float(start[0])) + 0.22)
    corner = np.array([side * (abs(float(start[0])) + 0.22), start[1], start[2] - 0.3])
    at_temple = np.array([side * wide, start[1] - 0.1, float(temple[2])])
    ear = np.array([side * (abs(float(temple[0])) + _EAR[0]), start[1] - 0.3, _EAR[1]])
    t = np.linspace(0, 1, _ARM_PIECES)[:, None]
    back = corner * (1 - t) ** 2 + 2 * t * (1 - t) * (2 * at_temple - (corner + ear) / 2) + ear * t * t
    line = np.concatenate([start[None], back])
    return np.stack([line[:-1], line[1:]], axis=1)
