"""Things before faces, drawn: microphones, fists that hold them, hands, headsets, masks, scarves, cups, boards, blobs,
rods and hats, in plain colours, patterns, and pieces of other portraits' clothes. For ``thing_portraits.py``.
"""

from __future__ import annotations

import numpy as np
from thing_canvas import CHEEKS, JAW, RIM, SIDE, Scene, disc, filled, grid, pattern, rounded, shaded, stroke

from deid import imaging
from deid.blending.outline import OVAL


def _ball_on_stick(scene: Scene, at: np.ndarray, radius: float, angle: float, plain: np.ndarray | None = None) -> None:
    rng, (y, x) = scene.rng, grid()
    along = np.array([np.cos(angle), np.sin(angle)])
    side = np.array([-along[1], along[0]])
    across = ((x - at[0]) * side[0] + (y - at[1]) * side[1]) / max(radius, 1)
    wide, begin, end = radius * rng.uniform(0.35, 0.95), at + along * radius * 0.6, at + along * scene.width * 1.6
    stick = filled(np.array([begin + side * wide, end + side * wide, end - side * wide, begin - side * wide]))
    scene.lay(stick, shaded(rng, pattern(scene) if plain is None else plain, across))
    ball = disc(at, radius, radius * rng.uniform(0.85, 1.4), angle - np.pi / 2)
    scene.lay(ball, shaded(rng, pattern(scene) if plain is None else plain * rng.uniform(0.6, 1.4), across))


def microphone(scene: Scene) -> None:
    rng = scene.rng
    at = scene.points[[61, 291, 0, 17]].mean(0) + np.array([rng.normal(0, 0.16), rng.uniform(-0.05, 0.5)]) * scene.width
    _ball_on_stick(scene, at, rng.uniform(0.09, 0.24) * scene.width, rng.uniform(np.radians(25), np.radians(155)))


def held(scene: Scene) -> None:
    rng, wide = scene.rng, scene.width
    at = scene.points[[13, 14]].mean(0) + np.array([rng.normal(0, 0.15), rng.uniform(0, 0.45)]) * wide
    angle = rng.uniform(np.radians(35), np.radians(145))
    dark = np.ones((SIDE, SIDE, 3)) * rng.uniform(5, 60)
    _ball_on_stick(scene, at, rng.uniform(0.09, 0.17) * wide, angle, None if rng.random() < 0.4 else dark)
    along = np.array([np.cos(angle), np.sin(angle)])
    hand(
        scene, at + along * rng.uniform(0.12, 0.35) * wide, angle + np.pi / 2 * rng.choice([-1, 1]) + rng.normal(0, 0.5)
    )


def headset(scene: Scene) -> None:
    rng, wide = scene.rng, scene.width
    side = rng.integers(2)
    ear, mouth = scene.points[[234, 454][side]], scene.points[[61, 291][side]]
    end = mouth + np.array([rng.uniform(-0.1, 0.1), rng.uniform(0, 0.2)]) * wide
    bend = (ear + mouth) / 2 + [0, rng.uniform(0.02, 0.2) * wide]
    mask = np.maximum(stroke(np.array([ear, bend, end]), int(rng.integers(2, 5))), disc(end, *[0.06 * wide] * 2))
    scene.lay(mask, shaded(rng, pattern(scene)))


def mask(scene: Scene) -> None:
    rng, p = scene.rng, scene.points
    up = p[[6, 197, 195, 5][rng.integers(4)]] if rng.random() < 0.85 else p[2]
    start = rng.integers(3)
    ring = p[JAW[start : len(JAW) - start]]
    ring = ring.mean(0) + (ring - ring.mean(0)) * rng.uniform(0.97, 1.08)
    wings = [up + (end - up) * 0.45 + [0, rng.uniform(-2, 4)] for end in (ring[0], ring[-1])]
    outline = np.concatenate([wings[:1], ring, wings[1:], [up]])
    area = filled(outline)
    usual = ((190, 225, 235), (235, 240, 245), (32, 30, 30), (120, 190, 215), (150, 170, 200))[rng.integers(5)]
    colours = np.ones((SIDE, SIDE, 3)) * usual if rng.random() < 0.6 else pattern(scene)
    y, x = grid()
    colours = shaded(rng, colours, (x - p[1, 0]) / (0.55 * scene.width))
    if rng.random() < 0.6:  # pleats
        folds = np.sin((y + 0.004 * (x - p[1, 0]) ** 2) * rng.uniform(0.3, 0.8) + rng.uniform(0, 6)) > 0.7
        colours = colours * (1 - rng.uniform(0.05, 0.25) * folds)[..., None]
    if rng.random() < 0.6:
        light = imaging.gaussian_blur(scene.picture.mean(2), (0, 0), 8)
        colours = colours * np.clip(light / max(float(light.mean()), 1e-3), 0.4, 1.6)[..., None]
    for end, ear in ((0, 454), (-1, 234)):
        if rng.random() < 0.7:
            area = np.maximum(area, stroke(np.array([ring[end], p[ear] + rng.uniform(-3, 3, 2)]), 1))
    scene.lay(area, colours)


def scarf(scene: Scene) -> None:
    rng, p = scene.rng, scene.points
    level = p[[2, 13, 17, 199][rng.integers(4)], 1] + rng.normal(0, 3)
    x = np.linspace(-5, SIDE + 5, 9)
    y = np.cumsum(rng.normal(0, 3.5, 9))
    y += level - np.interp(p[1, 0], x, y) + 0.3 * rng.uniform(-0.4, 0.1) * np.abs(x - p[1, 0]) ** 1.2
    below = np.array([[SIDE + 5, SIDE + 5], [-5, SIDE + 5]])
    rows, columns = grid()
    folds = np.sin(rows * rng.uniform(0.1, 0.5) + 0.05 * columns + rng.uniform(0, 6))
    colours = pattern(scene) * (1 + rng.uniform(0, 0.4) * folds)[..., None]
    scene.lay(filled(np.concatenate([np.stack([x, y], 1), below])), shaded(rng, colours))


def cup(scene: Scene) -> None:
    rng, wide = scene.rng, scene.width
    rim = scene.points[[13, 14]].mean(0) + np.array([rng.normal(0, 0.1), rng.uniform(-0.12, 0.12)]) * wide
    tall, a = rng.uniform(0.35, 0.9) * wide, rng.uniform(0.14, 0.36) * wide
    b, turn = a * rng.uniform(0.6, 1.1), rng.normal(0, 0.35)
    c, s = np.cos(turn), np.sin(turn)
    body = np.array([[-a, 0], [a, 0], [b, tall], [-b, tall]]) @ np.array([[c, s], [-s, c]]) + rim
    y, x = grid()
    across = ((x - rim[0]) * c + (y - rim[1]) * s) / a
    area = np.maximum(filled(body), disc(rim, a, a * rng.uniform(0.05, 0.5), turn))
    scene.lay(area, shaded(rng, pattern(scene), across))


def _rim_point(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """A place on the outline, and the direction out of the face."""
    at = scene.points[scene.rng.choice(RIM)]
    out = at - scene.points[OVAL].mean(0)
    return at, out / np.hypot(*out)


def board(scene: Scene) -> None:
    rng, wide = scene.rng, scene.width
    at, out = _rim_point(scene)
    deep, (a, b) = rng.uniform(0.03, 0.45) * wide, rng.uniform(0.15, 0.7, 2) * wide
    turn = np.arctan2(out[1], out[0]) + rng.normal(0, 0.5)
    c, s = np.cos(turn), np.sin(turn)
    corners = [[-deep, -a], [2 * wide, -a * rng.uniform(0.7, 1.3)], [2 * wide, b], [-deep * rng.uniform(0.6, 1), b]]
    outline = np.array(corners) @ np.array([[c, s], [-s, c]]) + at
    scene.lay(filled(rounded(outline) if rng.random() < 0.4 else outline), shaded(rng, pattern(scene)))


def blob(scene: Scene) -> None:
    rng, wide = scene.rng, scene.width
    at, out = _rim_point(scene)
    n = rng.integers(5, 10)
    angle, reach = np.sort(rng.uniform(0, 2 * np.pi, n)), rng.uniform(0.12, 0.45) * wide * rng.uniform(0.6, 1.3, n)
    middle = at + out * rng.uniform(-0.15, 0.15) * wide
    outline = np.stack([np.cos(angle) * reach, np.sin(angle) * reach], 1) + middle
    scene.lay(filled(rounded(outline)), shaded(rng, pattern(scene)))


def rod(scene: Scene) -> None:
    rng, wide = scene.rng, scene.width
    at, out = _rim_point(scene)
    end = at - out * rng.uniform(0.05, 0.4) * wide + rng.normal(0, 0.12, 2) * wide
    scene.lay(stroke(np.array([at + out * wide, at, end]), int(rng.integers(3, 12))), shaded(rng, pattern(scene)))


def hat(scene: Scene) -> None:
    rng, wide = scene.rng, scene.width
    at = scene.points[[105, 334]].mean(0) - [0, rng.uniform(0.03, 0.3) * wide]
    x = np.linspace(-5, SIDE + 5, 15)
    y = at[1] + rng.uniform(-0.25, 0.35) * ((x - at[0]) / wide) ** 2 * wide + rng.uniform(-0.2, 0.2) * (x - at[0])
    above = np.array([[SIDE + 5, -5], [-5, -5]])
    scene.lay(filled(np.concatenate([np.stack([x, y], 1), above])), shaded(rng, pattern(scene)))


class _Flesh:
    """Tubes of skin, one over the other."""

    def __init__(self, skin: np.ndarray, size: float, light: float) -> None:
        self.mask, self.colours = np.zeros((SIDE, SIDE), np.float32), np.ones((SIDE, SIDE, 3), np.float32) * skin
        self.skin, self.size, self.light = skin, size, np.array([np.cos(light), np.sin(light)])

    def tube(self, a: np.ndarray, b: np.ndarray, first: float, last: float, colour: np.ndarray | None = None) -> None:
        y, x = grid()
        along = b - a
        t = np.clip(((x - a[0]) * along[0] + (y - a[1]) * along[1]) / max(float(along @ along), 1e-6), 0, 1)
        apart, radius = np.hypot(x - a[0] - t * along[0], y - a[1] - t * along[1]), first + (last - first) * t
        share = np.clip(radius - apart + 0.5, 0, 1)
        height = np.sqrt(np.clip(1 - (apart / np.maximum(radius, 0.5)) ** 2, 0, 1))
        side = ((x - a[0]) * self.light[0] + (y - a[1]) * self.light[1]) / self.size
        bright = (0.55 + 0.45 * height) * (1 + 0.15 * np.clip(side, -1, 1))
        lit = (self.skin if colour is None else colour) * bright[..., None]
        self.colours += (lit - self.colours) * share[..., None]
        np.maximum(self.mask, share, out=self.mask)


def hand(scene: Scene, at: np.ndarray | None = None, angle: float = 0.0) -> None:
    """A hand of the face's own skin, more or less: open or a fist, from outside towards ``at``."""
    rng, p, wide = scene.rng, scene.points, scene.width
    size = rng.uniform(0.38, 0.75) * wide
    x, y = np.clip(np.round(p[CHEEKS]).astype(int), 0, SIDE - 1).T
    skin = np.median(scene.picture[y, x], 0) * np.exp(rng.normal(0, 0.14)) * np.exp(rng.normal(0, 0.05, 3))
    skin = np.clip(skin + rng.normal(0, 5, 3), 5, 250)
    fist = at is not None or rng.random() < 0.3
    if at is None:
        middle = p[OVAL].mean(0) + [0, 0.1 * wide]
        edge = p[rng.choice(RIM[1:-1])]
        at = edge + (middle - edge) * rng.uniform(-0.05, 0.7)
        angle = np.arctan2(*(middle - edge)[::-1]) + rng.normal(0, 0.5)
    along = np.array([np.cos(angle), np.sin(angle)])
    turn = rng.choice([-1, 1])  # which hand
    side = np.array([-along[1], along[0]]) * turn
    wrist = at - along * size * (1.1 if fist else rng.uniform(0.6, 1.9))
    flesh = _Flesh(skin, size, rng.uniform(0, 2 * np.pi))
    sleeve = skin if rng.random() < 0.55 else rng.uniform(10, 220, 3)
    elbow = wrist - along * size * 0.35
    flesh.tube(wrist - along * 2.5 * size, elbow, 0.42 * size, 0.36 * size, sleeve)
    flesh.tube(elbow, wrist + along * 0.1 * size, 0.27 * size, 0.3 * size)
    places = ((0.95, -0.36), (1, -0.12), (0.97, 0.11), (0.88, 0.32))
    knuckles = [wrist + along * size * a + side * size * b for a, b in places]
    for k in knuckles:
        flesh.tube(wrist + side * ((k - wrist) @ side) * 0.6, k, 0.2 * size, 0.17 * size)
    thick, spread, bend = rng.uniform(0.11, 0.14) * size, rng.uniform(0, 0.25), rng.normal(0, 0.25)
    long = rng.uniform(0.7, 1.05) * size
    for i in rng.permutation(4):
        if fist or rng.random() < 0.15:
            flesh.tube(knuckles[i], knuckles[i] - along * rng.uniform(0.2, 0.5) * size, thick * 1.15, thick)
            continue
        way, last = angle + spread * (i - 1.5) * turn + rng.normal(0, 0.08), knuckles[i]
        for share in (0.45, 0.3, 0.25):
            end = last + np.array([np.cos(way), np.sin(way)]) * share * long
            flesh.tube(last, end, thick, thick * 0.9)
            last, way = end, way + bend
        if rng.random() < 0.4:
            nail = np.clip(skin * rng.uniform(0.9, 1.25), 0, 255) if rng.random() < 0.7 else rng.uniform(0, 255, 3)
            flesh.tube(last, last + 0.01, thick * 0.6, thick * 0.6, nail)
    way = angle + turn * (1.2 if fist else -0.7) + rng.normal(0, 0.3)
    root = wrist - side * 0.3 * size + along * 0.25 * size
    joint = root + np.array([np.cos(way), np.sin(way)]) * 0.5 * size
    flesh.tube(root, joint, thick * 1.4, thick * 1.1)
    flesh.tube(joint, joint + np.array([np.cos(way + 0.2), np.sin(way + 0.2)]) * 0.35 * size, thick * 1.1, thick * 0.9)
    rough = imaging.gaussian_blur(rng.normal(0, 1, (SIDE, SIDE)), (0, 0), 1.5)
    scene.lay(flesh.mask, flesh.colours + rough[..., None] * rng.uniform(0, 14))


THINGS = (
    (hand, 0.16), (held, 0.1), (microphone, 0.26), (headset, 0.05), (mask, 0.15), (scarf, 0.08), (cup, 0.12),
    (board, 0.13), (blob, 0.09), (rod, 0.08), (hat, 0.04),
)  # fmt: skip
