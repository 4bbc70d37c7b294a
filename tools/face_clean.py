"""Donors' albedo made complete and comparable: symmetric low band, no smile, light or tone, no holes, no brows.

Part of ``tools/face_appearance.py``; see :mod:`face_delight` for the steps and the images' layout.
"""

from __future__ import annotations

import numpy as np
from face_delight import (
    HEIGHT,
    NEAR,
    WIDTH,
    Donors,
    blur,
    blur_over,
    brow_band,
    ellipse,
    enlarged,
    features,
    lips,
    median,
    reduced,
    smoothstep,
)

from deid import imaging

_H, _W = HEIGHT // NEAR, WIDTH // NEAR
_V, _U = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
_OFF = np.abs(_U - (WIDTH - 1) / 2)
_REST = ("smile", "jaw", "squint", "lip")  # expressions that are taken to the calmest donors' level, not to the mean
_RED_GREEN = np.array([1, -1, 0], np.float32) / np.sqrt(2, dtype=np.float32)
_YELLOW_BLUE = np.array([1, 1, -2], np.float32) / np.sqrt(6, dtype=np.float32)


def domain() -> np.ndarray:
    """1 where donors show skin reliably, fading to 0 at hairline, ears and jaw."""
    return smoothstep(15, 70, _V) * (1 - smoothstep(500, 545, _V)) * (1 - smoothstep(205, 262, _OFF))


def clean(donors: Donors, names: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean log albedo, float32 (H, W, 3); the donors' differences from it at half size, float32 (K, H/2, W/2, 3); and
    the median that these differences were first taken from."""
    middle = median(donors.log, donors.weight)
    has = np.isfinite(middle[..., 0])
    middle = np.nan_to_num(middle)
    left, seen = _near(donors, middle)
    left, shift = _without_nuisance(left, seen, donors, names)
    left = _filled(left, seen)
    rest = left.mean(0)
    left -= rest
    mean = _spread_out(middle, imaging.erode(has.astype(np.float32), np.ones((3, 3), np.uint8))) + enlarged(
        shift + rest
    )
    mean = _calm_mean((mean + mean[:, ::-1]) / 2)
    calm = 1 - 0.35 * reduced(_lid_fold(), NEAR)[..., None]
    for k in range(len(left)):
        left[k] = _unfolded(_without_corners(_calm(left[k], 0.38, 0.6, NEAR) * calm, NEAR), 0.6, NEAR)
    return mean, left, middle


def _near(donors: Donors, middle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Differences at half size with a symmetric low band, (K, h, w, 3), and where they are seen, (K, h, w)."""
    count = len(donors.portraits)
    left, seen = np.zeros((count, _H, _W, 3), np.float32), np.zeros((count, _H, _W), np.float32)
    for k in range(count):
        weight = donors.weight[k].astype(np.float32)
        cover = reduced(weight, NEAR)
        own = reduced(np.clip(donors.log[k] - middle, -1.2, 1.0) * weight[..., None], NEAR) / (cover[..., None] + 1e-3)
        here = (cover > 0.6).astype(np.float32)
        low = blur_over(np.clip(own, -0.6, 0.6), here, 8 / NEAR)
        share = blur(here, 8 / NEAR) + 1e-3
        share = (share / (share + share[:, ::-1]))[..., None]
        high = own - low
        mirrored = np.where(here[:, ::-1, None] > 0, high[:, ::-1], 0)
        left[k] = share * low + (1 - share) * low[:, ::-1] + np.where(here[..., None] > 0, high, mirrored)
        seen[k] = np.maximum(here, here[:, ::-1])
    return left, seen


def _nuisances(donors: Donors, names: list[str]) -> dict[str, np.ndarray]:
    def pair(name: str) -> np.ndarray:
        return (donors.expression[:, names.index(f"{name}_L")] + donors.expression[:, names.index(f"{name}_R")]) / 2

    level = np.log(np.maximum(donors.light[:, 0], 1e-3))
    shape = donors.light.mean(2) / donors.light[:, 0].mean(1)[:, None]
    cast = donors.light[:, 2] / donors.light[:, 0]
    return {
        "smile": pair("mouthSmile"), "jaw": donors.expression[:, names.index("jawOpen")], "squint": pair("cheekSquint"),
        "lip": pair("mouthUpperUp"), "lids": (pair("eyeBlink") + pair("eyeSquint")) / 2, "raise": pair("browInnerUp"),
        "frown": pair("browDown"), "up": shape[:, 2], "front": shape[:, 3], "yz": shape[:, 6], "x2": shape[:, 7],
        "z2": shape[:, 8], "side": np.abs(shape[:, 1]), "tone": level.mean(1), "red": level[:, 0] - level[:, 1],
        "blue": level[:, 1] - level[:, 2], "warm": np.log(np.maximum(cast[:, 0] - cast[:, 2] + 2, 0.1)),
    }  # fmt: skip


def _without_nuisance(
    left: np.ndarray, seen: np.ndarray, donors: Donors, names: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Ridge regression a texel at a time; gender and age take part but stay in. Also how the mean moves when
    expressions go to rest, (h, w, 3)."""
    found = _nuisances(donors, names)
    values = np.stack(list(found.values()), 1)
    centre, spread = values.mean(0), values.std(0) + 1e-6
    scaled = np.clip((values - centre) / spread, -3, 3)
    gender = donors.female - donors.female.mean()
    age = (donors.age - donors.age.mean()) / donors.age.std()
    design = np.column_stack([np.ones(len(scaled)), scaled, gender, age])
    weight = np.repeat(seen.reshape(len(seen), -1), 3, axis=1)
    flat = left.reshape(len(left), -1) * weight
    n = scaled.shape[1]
    solved = np.linalg.solve(design.T @ design + np.diag([1e-3] + [8.0] * n + [4.0, 4.0]), design.T @ flat).astype(
        np.float32
    )
    rest = np.array(
        [
            (np.percentile(values[:, i], 5) - centre[i]) / spread[i] if name in _REST else 0
            for i, name in enumerate(found)
        ]
    )
    flat -= (scaled.astype(np.float32) @ solved[1 : 1 + n] + solved[0]) * weight
    shift = (solved[0] + rest @ solved[1 : 1 + n]).reshape(_H, _W, 3)
    return flat.reshape(left.shape), ((shift + shift[:, ::-1]) / 2).astype(np.float32)


def _filled(left: np.ndarray, seen: np.ndarray, rounds: int = 10) -> np.ndarray:
    """Texels not seen, or far from what the other donors make likely, replaced by a low-rank reconstruction."""
    count = len(left)
    small = np.stack([reduced(x, 4) for x in left]).reshape(count, -1)
    here = np.repeat((np.stack([reduced(w, 4) for w in seen]) > 0.6).reshape(count, -1), 3, axis=1)
    region = here.mean(0) > 0.12
    known = np.where(here, small, 0)
    for step in range(rounds):
        middle = known.mean(0)
        off = known - middle
        power, axes = np.linalg.eigh(off @ off.T)
        power, axes = power[::-1], axes[:, ::-1]
        rank = min(4 + 3 * step, 30)
        likely = (axes[:, :rank] * np.maximum(0, 1 - 0.25 * power[rank] / power[:rank])) @ (
            axes[:, :rank].T @ off
        ) + middle
        wrong = small - likely
        spread = np.sqrt((np.where(here, np.clip(wrong, -0.6, 0.6), 0) ** 2).mean(0)) + 0.04
        good = here & (np.abs(wrong) < 3.2 * spread)
        known = np.where(good, small, likely) * region
    shape = (count, HEIGHT // 4, WIDTH // 4, 3)
    good, likely = good.reshape(shape).all(3), likely.reshape(shape)
    out = np.empty_like(left)
    for k in range(count):
        keep = imaging.resize(good[k].astype(np.float32), (_W, _H), interpolation=imaging.INTER_LINEAR)
        keep = (blur(imaging.erode(keep, np.ones((3, 3), np.uint8)), 1.5) * seen[k])[..., None]
        guess = imaging.resize(likely[k].astype(np.float32), (_W, _H), interpolation=imaging.INTER_CUBIC)
        out[k] = left[k] * keep + guess * (1 - keep)
    return out


def _spread_out(image: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Holes filled from ever wider surroundings."""
    done, out = weight.copy(), image * weight[..., None]
    for sigma in (2, 4, 8, 16, 32, 64, 128):
        below = blur(weight, sigma)
        share = np.clip(below * 8, 0, 1) * (1 - done)
        out += blur(image * weight[..., None], sigma) / (below[..., None] + 1e-6) * share[..., None]
        done += share
    return out


def _calm(image: np.ndarray, luma: float, colour: float, by: int) -> np.ndarray:
    """Brows filled in, and the low band of smooth skin, which is shading for the most part, reduced to ``luma``; its
    colour to ``colour`` between red and green (blood), and to half of that between yellow and blue (highlights)."""
    sigma = 6 / by
    brows, own, mouth = (reduced(m, by) for m in (brow_band(), features(), lips()))
    weight = 1 - brows + 1e-3
    near, wide = (
        (blur(image * weight[..., None], s) / (blur(weight, s)[..., None] + 1e-6)) for s in (sigma, 3 * sigma)
    )
    trust = np.clip(blur(weight, sigma) * 3, 0, 1)[..., None]
    low = near * trust + wide * (1 - trust)
    high = (image - low) * (1 - brows)[..., None]
    grey = low.mean(2, keepdims=True)
    cast = low - grey
    red, yellow = (cast @ axis for axis in (_RED_GREEN, _YELLOW_BLUE))
    red = red * (colour + (1 - colour) * own)
    yellow = yellow * (0.5 * colour + (1 - 0.5 * colour) * mouth)
    cast = red[..., None] * _RED_GREEN + yellow[..., None] * _YELLOW_BLUE
    return grey * (luma + (1 - luma) * own[..., None]) + cast + high


def _without_corners(image: np.ndarray, by: int) -> np.ndarray:
    """The corners of open mouths are dark holes; skin from around them instead."""
    corner = reduced(np.clip(ellipse(89, 384, 13, 13) * 1.8, 0, 1), by)
    weight = 1 - np.clip(corner * 1.3, 0, 1) + 1e-4
    around = blur(image * weight[..., None], 9 / by) / blur(weight, 9 / by)[..., None]
    return image * (1 - corner[..., None]) + around * corner[..., None]


def _lid_fold() -> np.ndarray:
    """Where brow bones catch the light."""
    return ellipse(128, 150, 45, 16)


def _fold() -> np.ndarray:
    """Where smiles fold the cheek: from the wing of the nose past the corner of the mouth."""
    line = np.array([(76, 268), (100, 310), (117, 350), (114, 395)], np.float32)
    out = np.zeros((HEIGHT, WIDTH), np.float32)
    for (u0, v0), (u1, v1) in zip(line[:-1], line[1:], strict=True):
        t = np.clip(((_OFF - u0) * (u1 - u0) + (_V - v0) * (v1 - v0)) / ((u1 - u0) ** 2 + (v1 - v0) ** 2), 0, 1)
        gap = np.hypot(_OFF - u0 - t * (u1 - u0), _V - v0 - t * (v1 - v0))
        out = np.maximum(out, 1 - smoothstep(8, 26, gap))
    return out * (1 - np.clip(1.6 * ellipse(0, 390, 96, 50, 4), 0, 1)) * (1 - ellipse(45, 285, 34, 24, 4))


def _unfolded(image: np.ndarray, share: float, by: int) -> np.ndarray:
    """``share`` of the fold, light and dark edge, replaced by the skin around it; pores stay."""
    fold = reduced(_fold(), by)
    weight = 1 - 0.97 * np.clip(fold * 1.5, 0, 1)
    around = blur(image * weight[..., None], 16 / by) / (blur(weight, 16 / by)[..., None] + 1e-4)
    fine = image - blur(image, 2.5 / by)
    return image + (share * fold)[..., None] * (around + fine - image)


def _calm_mean(mean: np.ndarray) -> np.ndarray:
    smooth = (features() < 0.05) & (_V > 60) & (_V < 480) & (_OFF < 190)
    mean = _unfolded(_without_corners(_calm(mean - mean[smooth].mean(0), 0.28, 0.75, 1), 1), 0.8, 1)
    lit = np.maximum(blur(mean.mean(2), 4) - 0.02, 0) * 0.8 * _lid_fold()
    mean = mean - lit[..., None]
    inner = (1 - smoothstep(485, 530, _V)) * (1 - smoothstep(215, 268, _OFF)) * smoothstep(8, 60, _V)
    around = blur(mean * inner[..., None], 40) / (blur(inner, 40)[..., None] + 0.02)
    return mean * inner[..., None] + around * (1 - inner[..., None]) * 0.8
