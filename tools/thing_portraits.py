"""Portraits with drawn things before them, and with what is no such thing, for ``train_things.py``.

Everything is drawn on a square in which the face lies where :mod:`deid.detection.things` puts it. Drawn as well, but no
things: beards, open mouths, painted lips, sunglasses, locks of hair, shadows, skin of other tones, and a camera's blur,
noise and compression.
"""

from __future__ import annotations

import colorsys

import numpy as np
from thing_canvas import JAW, LIPS, SIDE, Scene, disc, filled, grid, shaded, stroke
from thing_pictures import THINGS

from deid import imaging
from deid.blending.outline import OVAL
from deid.detection.things import GRID, grid_from_picture, levelled
from deid.detection.things import SIDE as SEEN


def beard(scene: Scene) -> None:
    rng, p = scene.rng, scene.points
    area = np.zeros((SIDE, SIDE), np.float32)
    if rng.random() < 0.6:
        around = [0.3 * p[58] + 0.7 * p[61], p[61], p[164], p[291], 0.3 * p[288] + 0.7 * p[291]]
        area = filled(np.concatenate([p[JAW[2:-2]], around]) + rng.normal(0, 1, (len(JAW) + 1, 2)))
        if rng.random() < 0.7:
            area *= 1 - filled(p[LIPS])
    if rng.random() < 0.6:
        area = np.maximum(
            area, filled(np.array([p[61] + [-2, 1], p[165], p[2] + [0, 1], p[391], p[291] + [2, 1], p[0]]))
        )
    hair = imaging.gaussian_blur(rng.normal(0, 1, (SIDE, SIDE)), (0, 0), rng.uniform(0.5, 1.2))
    hair /= hair.std()
    dark = np.array([32, 25, 20]) * rng.uniform(0.3, 1.5)
    colour = dark if rng.random() < 0.7 else np.full(3, rng.uniform(90, 220))
    colour = np.array([130, 70, 30]) * rng.uniform(0.6, 1.4) if rng.random() < 0.2 else colour
    light = np.clip(scene.picture.mean(2, keepdims=True) / 120, 0.3, 1.6)
    share = imaging.gaussian_blur(area, (0, 0), rng.uniform(1, 4)) * rng.uniform(0.4, 1.05) * (1 + 0.3 * hair)
    scene.tint(np.clip(share, 0, 1), colour * light * (1 + 0.25 * hair[..., None]))


def open_mouth(scene: Scene) -> None:
    rng, p = scene.rng, scene.points
    middle, deep = p[[13, 14]].mean(0), rng.uniform(0.05, 0.2) * scene.width
    share = disc(middle, float(np.hypot(*(p[291] - p[61]))) * rng.uniform(0.25, 0.48), deep)
    inside = np.ones((SIDE, SIDE, 3)) * np.array([45, 20, 25]) * rng.uniform(0.2, 1.3)
    if rng.random() < 0.6:
        inside[: int(middle[1] - 0.3 * deep)] = np.array([215, 205, 190]) * rng.uniform(0.4, 1.05)
    scene.tint(imaging.gaussian_blur(share, (0, 0), 0.8), inside)


def painted_lips(scene: Scene) -> None:
    rng = scene.rng
    hue = rng.choice([0, 0.97, 0.94, 0.92, 0.03, 0.83])
    colour = 255 * np.array(colorsys.hsv_to_rgb(hue, rng.uniform(0.4, 0.9), rng.uniform(0.16, 0.86)))
    light = np.clip(scene.picture.mean(2, keepdims=True) / max(float(scene.picture.mean()), 1), 0.5, 1.6)
    scene.tint(imaging.gaussian_blur(filled(scene.points[LIPS]), (0, 0), 0.7) * rng.uniform(0.3, 0.9), colour * light)


def sunglasses(scene: Scene) -> None:
    rng, p, wide = scene.rng, scene.points, scene.width
    a, b = rng.uniform(0.15, 0.22) * wide, rng.uniform(0.1, 0.2) * wide
    share = stroke(p[[133, 362]], 2)
    for eye, outer, ear in (((33, 133), 33, 234), ((362, 263), 263, 454)):
        share = np.maximum(share, disc(p[list(eye)].mean(0) + [0, 0.03 * wide], a, b))
        share = np.maximum(share, stroke(np.array([p[outer], p[ear] - [0, 0.1 * wide]]), int(rng.integers(1, 4))))
    colour = rng.uniform(5, 90) + rng.normal(0, 8, 3)
    glass = shaded(rng, np.ones((SIDE, SIDE, 3)) * colour)
    scene.tint(imaging.gaussian_blur(share, (0, 0), 0.6) * rng.uniform(0.6, 1), glass)


def lock_of_hair(scene: Scene) -> None:
    rng, p, wide = scene.rng, scene.points, scene.width
    root = p[rng.choice(np.concatenate([OVAL[:7], OVAL[30:]]))]
    fair = np.array([170, 130, 80]) * rng.uniform(0.5, 1.3)
    colour = np.array([40, 30, 25]) * rng.uniform(0.2, 2) if rng.random() < 0.7 else fair
    for _ in range(rng.integers(1, 14)):
        start = root + rng.normal(0, 0.05, 2) * wide
        end = start + np.array([rng.normal(0, 0.2), rng.uniform(0.1, 0.9)]) * wide
        bend = (start + end) / 2 + rng.normal(0, 0.07, 2) * wide
        strand = stroke(np.array([start - [0, 0.2 * wide], start, bend, end]), int(rng.integers(1, 4)))
        scene.tint(strand * rng.uniform(0.4, 1), np.ones((SIDE, SIDE, 3)) * colour * rng.uniform(0.7, 1.3))


def shadow(scene: Scene) -> None:
    rng, (y, x) = scene.rng, grid()
    at, angle = scene.points[1] + rng.normal(0, 0.4, 2) * scene.width, rng.uniform(0, 2 * np.pi)
    beyond = (x - at[0]) * np.cos(angle) + (y - at[1]) * np.sin(angle)
    dark = np.abs(beyond) < rng.uniform(0.05, 0.4) * scene.width if rng.random() < 0.5 else beyond > 0
    share = imaging.gaussian_blur(dark.astype(np.float32), (0, 0), rng.uniform(0.6, 8))
    left = np.clip(1 - rng.uniform(0.15, 0.9) * (1 + rng.normal(0, 0.07, 3)), 0.03, 1)
    scene.tint(share, scene.picture * left)


NO_THINGS = (
    (beard, 0.2), (open_mouth, 0.07), (painted_lips, 0.12), (sunglasses, 0.08), (lock_of_hair, 0.12), (shadow, 0.5),
    (shadow, 0.15),
)  # fmt: skip


def _placed(picture: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A portrait, (h, w, 3), and its mesh, about where the network sees faces; now and then in a mirror."""
    move = np.vstack([grid_from_picture(points, SIDE), [0, 0, 1]])
    size, turn, middle = np.exp(rng.normal(0, 0.05)), rng.normal(0, 0.07), np.full(2, SIDE / 2)
    linear = size * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    shaken = np.vstack([np.column_stack([linear, middle - linear @ middle + rng.normal(0, 2, 2)]), [0, 0, 1]])
    mirror = np.array([[-1, 0, SIDE - 1], [0, 1, 0], [0, 0, 1]]) if rng.random() < 0.5 else np.eye(3)
    whole = (mirror @ shaken @ move)[:2]
    steps = max(1, round(1 / float(np.hypot(*whole[:, 0]))))
    h, w = picture.shape[0] // steps, picture.shape[1] // steps
    small = imaging.resize(picture[: h * steps, : w * steps], (w, h), interpolation=imaging.INTER_AREA)
    fine = np.column_stack([whole[:, :2] * steps, whole[:, 2] + whole[:, :2] @ np.full(2, (steps - 1) / 2)])
    seen = imaging.warp_affine(
        small, fine, (SIDE, SIDE), flags=imaging.INTER_LINEAR, borderMode=imaging.BORDER_REPLICATE
    )
    return seen.astype(np.float32), points[:, :2] @ whole[:, :2].T + whole[:, 2]


def _toned(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if rng.random() < 0.5:
        picture = 255 * (picture / 255) ** np.exp(rng.normal(0, 0.35))
    if rng.random() < 0.22:
        picture = picture * rng.uniform(0.35, 0.75) * np.array([1, rng.uniform(0.8, 1), rng.uniform(0.75, 1)])
    return np.clip(picture * np.exp(rng.normal(0, 0.1, 3)), 0, 255).astype(np.float32)


def _filmed(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """float (SIDE, SIDE, 3): as a poorer camera and a codec leave it."""
    coarse = rng.choice([1, 1, 1.3, 1.8, 2.5, 3.2])
    if coarse > 1:
        less = (int(SIDE / coarse),) * 2
        small = imaging.resize(picture, less, interpolation=imaging.INTER_AREA)
        picture = imaging.resize(small, (SIDE, SIDE), interpolation=imaging.INTER_LINEAR)
    if rng.random() < 0.3:
        picture = imaging.gaussian_blur(picture, (0, 0), rng.uniform(0.4, 1.6))
    if rng.random() < 0.12:  # motion
        way, reach = rng.uniform(0, np.pi), rng.uniform(1.2, 4)
        steps = np.linspace(-reach, reach, 9)
        moves = [np.float32([[1, 0, t * np.cos(way)], [0, 1, t * np.sin(way)]]) for t in steps]
        picture = np.mean(
            [imaging.warp_affine(picture, m, (SIDE, SIDE), borderMode=imaging.BORDER_REPLICATE) for m in moves], 0
        )
    picture = picture * rng.uniform(0.6, 1.25) + rng.uniform(-10, 22)
    if rng.random() < 0.3:
        picture = picture * np.array([rng.uniform(0.85, 1.3), rng.uniform(0.75, 1.1), rng.uniform(0.55, 1.15)])
    picture = np.clip(picture + rng.normal(0, rng.uniform(0, 7), picture.shape), 0, 255)
    if rng.random() < 0.06:
        picture = np.repeat(picture @ np.array([0.3, 0.59, 0.11])[:, None], 3, axis=2)
    if rng.random() < 0.5:
        file = imaging.jpeg(np.ascontiguousarray(picture[..., ::-1].astype(np.uint8)), int(rng.uniform(20, 90)))
        picture = imaging.decoded(file)[..., ::-1]
    return np.asarray(picture, np.float32)


def drawn(
    picture: np.ndarray, points: np.ndarray, others: np.ndarray, rng: np.random.Generator, share: float = 0.62
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the network sees, uint8 (SEEN, SEEN, 3); where things are in it, uint8 (GRID, GRID), 0 to 255; and how much
    each place counts. ``picture``: uint8 (h, w, 3) RGB with the mesh ``points``; ``share`` of all get things."""
    seen, mesh = _placed(picture, points, rng)
    scene = Scene(_toned(seen, rng), np.zeros((SIDE, SIDE), np.float32), mesh, others, rng)
    for draw, often in NO_THINGS:
        if rng.random() < often:
            draw(scene)
    if rng.random() < share:
        chances = np.array([often for _, often in THINGS])
        for _ in range(1 if rng.random() < 0.85 else 2):
            THINGS[rng.choice(len(THINGS), p=chances / chances.sum())][0](scene)
        if rng.random() < 0.2:
            shadow(scene)
    filmed = _filmed(np.clip(scene.picture, 0, 255), rng)
    near = 0.12 + 0.88 * imaging.dilate(filled(mesh[OVAL]), np.ones((9, 9), np.uint8))
    small = imaging.resize(filmed, (SEEN, SEEN), interpolation=imaging.INTER_AREA)
    maps = [imaging.resize(np.float32(x), (GRID, GRID), interpolation=imaging.INTER_AREA) for x in (scene.truth, near)]
    return levelled(small), *((255 * np.clip(x, 0, 1)).astype(np.uint8) for x in maps)
