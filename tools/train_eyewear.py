"""Trains what tells whether somebody wears glasses (``deid/models/morphable/eyewear_find.py``).

Portraits are unrolled onto the lenses' surface at the size that runs see. Those who wear glasses were picked out by eye
(``_NAMES``); glasses of every kind are drawn on the others as well, for congressmen wear few kinds. Each picture
comes several times, shifted, turned, blurred, darkened and with noise; faces without glasses also with what
congressmen lack and a classifier of lines takes for rims and arms: strong brows, painted and shaded eyes, bags and
folds, strands of hair. Prints held-out log odds by quantiles (three folds of portraits), then writes a safetensors
file of 2,705 numbers.

    python tools/train_eyewear.py ../shared/data/portraits deid/models/morphable/eyewear.safetensors
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from scipy.optimize import minimize

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

from _portraits import portraits

from deid import imaging
from deid.models.morphable import eyewear_sheet as sheet
from deid.models.morphable.eyewear import Outline
from deid.models.morphable.eyewear_find import describe, mirrored
from deid.models.morphable.fit import fit_attributes, fit_identity
from deid.models.morphable.geometry import load_geometry
from deid.models.morphable.tracks import Observations
from deid.recognition.chips import CHIP, chip_from_picture, cut_chip

_NAMES = (
    "h0000 h0001 h0022 h0028 h0044 h0050 h0057 h0060 h0066 h0067 h0071 h0076 h0083 h0090 h0098 h0108 h0115 "
    "h0120 h0124 h0131 h0133 h0136 h0146 h0149 h0155 h0164 h0168 h0170 h0171 h0176 h0180 h0183 h0188 h0193 "
    "h0194 h0196 h0210 h0218 h0222 h0224 h0226 h0227 h0233 h0235 h0236 h0237 h0242 h0243 h0251 h0260 h0261 "
    "h0268 h0275 h0279 h0286 h0290 h0303 h0305 h0313 h0319 h0320 h0329 h0341 h0349 h0351 h0352 h0357 h0360 "
    "h0366 h0369 h0386 h0395 h0403 h0409 h0410 h0411 h0412 h0416 h0418 h0422 h0424 h0426 h0428 h0432 h0434 "
    "s0439 s0441 s0454 s0457 s0459 s0463 s0467 s0472 s0478 s0483 s0489 s0496 s0501 s0525 s0526 s0528 s0533 "
)
_WEARERS = frozenset(_NAMES.split())
_UNCLEAR = ("h0362",)  # an eye patch
_COPIES, _DRAWN = 6, 3  # changed copies of every picture, and pairs drawn on each face without
_LIKE = 4  # copies of each face without that have what is taken for glasses
_FINE = 4  # drawn on sheets so many times as fine
_RIDGE = 1e-3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("portraits", type=Path)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    rows, owner, truth, kind = [], [], [], []
    for number, (name, seen) in enumerate(_sheets(options.portraits)):
        if name in _UNCLEAR:
            continue
        wears = name in _WEARERS
        pictures = [(seen, wears, 0)] + [(changed(seen, rng), wears, 1) for _ in range(_COPIES)]
        if not wears:
            pictures += [(changed(with_glasses(seen, rng), rng), True, 2) for _ in range(_DRAWN)]
            pictures += [(changed(like_glasses(seen, rng), rng), False, 3) for _ in range(_LIKE)]
            both = like_glasses(seen, rng)
            pictures.append((changed(with_glasses(both, rng), rng), True, 2))
        for picture, label, group in pictures:
            cells = describe(picture)
            rows.append((cells + mirrored(cells)).ravel() / 2)
            owner.append(number)
            truth.append(label)
            kind.append(group)
    x, y = np.array(rows, np.float64), np.array(truth)
    owners, kinds = np.array(owner), np.array(kind)
    odds = np.zeros(len(x))
    for fold in range(3):
        held = owners % 3 == fold
        weights, bias = fitted(x[~held], y[~held])
        odds[held] = x[held] @ weights + bias
    for group, words in enumerate(("portraits", "changed portraits", "drawn glasses", "likenesses")):
        for label in (True, False):
            some = odds[(kinds == group) & (y == label)]
            if len(some):
                print(
                    words, "with" if label else "without", np.quantile(some, (0, 0.02, 0.1, 0.5, 0.9, 0.98, 1)).round(2)
                )
    weights, bias = fitted(x, y)
    shape = describe(np.zeros((sheet.HEIGHT, sheet.WIDTH, 3), np.uint8)).shape
    save_file({"weights": weights.reshape(shape).astype(np.float32), "bias": np.float32([bias])}, options.output)


def _sheets(folder: Path):
    """Name and sheet, uint8 (h, w, 3), of every portrait."""
    geometry = load_geometry()
    for portrait in portraits(folder):
        transform = chip_from_picture(portrait.mesh)
        chip = cut_chip(portrait.picture, transform)
        points = portrait.mesh.copy()
        points[:, :2] = points[:, :2] @ transform[:, :2].T + transform[:, 2]
        points[:, 2] *= np.hypot(transform[0, 0], transform[1, 0])
        one = np.zeros(1, np.int32)
        seen = Observations(one, points[None].astype(np.float32), np.ones(1, np.float32), (CHIP, CHIP))
        who = fit_identity(geometry, seen)
        pose = fit_attributes(geometry, who.shape, who.distance, seen, offsets=who.offsets, scale=who.scale)
        middle = sheet.eyes_of(geometry, geometry.neutral(who.shape))
        yield Path(portrait.name).stem, sheet.unrolled(chip, pose.camera(0), middle)


def changed(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """``picture``, uint8 (h, w, 3), as another camera might have seen it."""
    h, w = picture.shape[:2]
    coarse = rng.choice([1, 1, 1.4, 2, 2.6])
    size, turn = 1 + rng.normal(0, 0.02), np.radians(rng.normal(0, 1.5))
    linear = size * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    middle = np.array([w / 2, h / 2])
    move = np.column_stack([linear, middle - linear @ middle + rng.normal(0, 1.5, 2)])
    out = imaging.warp_affine(picture, move, (w, h), flags=imaging.INTER_LINEAR, borderMode=imaging.BORDER_REPLICATE)
    if coarse > 1:
        small = imaging.resize(out, (int(w / coarse), int(h / coarse)), interpolation=imaging.INTER_AREA)
        out = imaging.resize(small, (w, h), interpolation=imaging.INTER_LINEAR)
    out = out.astype(np.float32) * rng.uniform(0.45, 1.1) + rng.uniform(-10, 25)
    return np.clip(out + rng.normal(0, rng.uniform(0, 5), out.shape), 0, 255).astype(np.uint8)


class _Canvas:
    """Lines on a finer sheet."""

    def __init__(self) -> None:
        self.mask = np.zeros((sheet.HEIGHT * _FINE, sheet.WIDTH * _FINE), np.float32)

    def places(self, xy: np.ndarray) -> np.ndarray:
        at = np.stack([xy[:, 0] - sheet.LEFT, sheet.TOP - xy[:, 1]], axis=1) / sheet.STEP
        return np.round((at + 0.5) * _FINE * 16).astype(np.int32)

    def line(self, xy: np.ndarray, share: float, thick: float, closed: bool = False) -> None:
        one = np.zeros(self.mask.shape, np.uint8)
        wide = max(1, round(thick * _FINE / sheet.STEP))
        imaging.polylines(one, [self.places(xy)], closed, 255, wide, imaging.LINE_AA, 4)
        np.maximum(self.mask, one * np.float32(share / 255), out=self.mask)


def with_glasses(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """``picture``, uint8 (h, w, 3), with a pair of some kind drawn on it."""
    u = rng.uniform
    a = u(2.2, 3.4)
    own = Outline(max(u(3.05, 4.0), a + 0.15), u(-1.0, 0.35), a, u(1.3, 2.7), u(2, 4), u(-0.03, 0.13), u(-0.1, 0.6))
    thick = rng.choice([u(0.06, 0.14), u(0.15, 0.45)])
    colours = (
        np.full(3, u(5, 60)) + rng.normal(0, 6, 3), np.full(3, u(90, 210)),
        np.array([u(120, 220), u(90, 160), u(50, 110)]), rng.uniform(20, 200, 3), np.full(3, u(180, 250)),
    )  # fmt: skip
    colour = colours[rng.choice(5, p=[0.45, 0.2, 0.15, 0.1, 0.1])]
    below = rng.choice([1, 1, 1, u(0, 0.5), 0])
    canvas, outline = _Canvas(), own.points(64)
    lenses = np.zeros(canvas.mask.shape, np.uint8)
    for side in (1, -1):
        around = outline * (side, 1)
        upper = around[around[:, 1] > own.y - 0.1 * own.b]
        canvas.line(upper[np.argsort(upper[:, 0])], 1, thick)
        if below > 0:
            canvas.line(around, below, thick, closed=True)
        imaging.fill_poly(lenses, [canvas.places(around)], 255, imaging.LINE_AA, 4)
        end, height = own.x + own.a * (1 + 0.5 * own.taper), own.y + own.lift + u(0.3, 0.6) * own.b
        arm = np.array([(end - 0.05, height), (end + u(0.2, 0.6), height), (9, height - u(-0.2, 0.4))]) * (side, 1)
        canvas.line(arm, 1, min(thick, 0.3) * u(0.8, 1.6))
    half, height = max(own.x - 0.97 * own.a, 0.25), own.y - own.lift + u(0.2, 0.6) * own.b
    rise = u(0, 0.25)
    bridge = [(-half, height), (-0.4 * half, height + rise), (0.4 * half, height + rise), (half, height)]
    canvas.line(np.array(bridge), 1, thick * u(0.7, 1.2))
    h, w = picture.shape[:2]
    fine = imaging.resize(picture, (w * _FINE, h * _FINE), interpolation=imaging.INTER_LINEAR).astype(np.float32)
    glass = lenses[..., None].astype(np.float32) / 255
    fine *= 1 - glass * (u(0.5, 0.95) if rng.random() < 0.07 else u(0, 0.12))
    y, x = np.mgrid[: fine.shape[0], : fine.shape[1]]
    if rng.random() < 0.5:  # a window in the lenses
        cx, cy = canvas.places(np.array([[u(-5, 5), own.y + u(-1, 1)]]))[0] / 16
        spot = np.exp(-(((x - cx) / (_FINE * u(3, 14))) ** 2) - ((y - cy) / (_FINE * u(3, 12))) ** 2)
        fine += glass * (spot * u(20, 160))[..., None] * (1 + rng.choice([0, 1]) * np.array([-0.3, -0.2, 0.3]))
    mask = canvas.mask[..., None]
    shadow = np.roll(imaging.gaussian_blur(canvas.mask, (0, 0), _FINE * u(1, 2.5)), int(_FINE * u(1, 5)), 0)
    fine *= 1 - u(0, 0.3) * shadow[..., None]
    shine = 1 + u(0, 0.5) * np.sin(x / (_FINE * u(8, 30)) + u(0, 6.3))
    fine = fine * (1 - mask) + mask * np.clip(colour * u(0.8, 1.2) * shine[..., None], 0, 255)
    return np.clip(imaging.resize(fine, (w, h), interpolation=imaging.INTER_AREA), 0, 255).astype(np.uint8)


def like_glasses(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """``picture``, uint8 (h, w, 3), of a face without glasses, with some of what looks like them."""
    u, (h, w) = rng.uniform, picture.shape[:2]
    fine = imaging.resize(picture, (w * _FINE, h * _FINE), interpolation=imaging.INTER_LINEAR).astype(np.float32)
    skin = np.median(picture[h // 2 :, w // 4 : -w // 4].reshape(-1, 3), axis=0)
    arch = np.linspace(0, 1, 12)

    def painted(lines: list[tuple[np.ndarray, float]], soft: float, share: float, colour: np.ndarray) -> None:
        canvas = _Canvas()
        for xy, thick in lines:
            canvas.line(xy, 1, thick)
        mask = imaging.gaussian_blur(canvas.mask, (0, 0), max(_FINE * soft / sheet.STEP, 0.5))[..., None] * share
        np.copyto(fine, fine * (1 - mask) + mask * colour)

    def both(xy: np.ndarray, thick: float) -> list[tuple[np.ndarray, float]]:
        return [(xy * (side, 1), thick * u(0.8, 1.2)) for side in (1, -1)]

    if rng.random() < 0.6:  # brows
        height, rise = u(1.2, 2.2), u(0.1, 0.7)
        x = u(0.7, 1.5) + arch * u(3.6, 4.6)
        brow = np.stack([x, height + rise * np.sin(np.pi * np.clip(arch * u(0.6, 1.0), 0, 1)) - 0.3 * arch**3], axis=1)
        painted(both(brow, u(0.3, 0.8)), u(0.08, 0.2), u(0.4, 0.9), skin * u(0.1, 0.45))
    if rng.random() < 0.6:  # paint and shade around the eyes
        round_ = np.stack([3.1 + u(1.2, 2.0) * np.cos(6.3 * arch), u(-0.2, 0.4) + u(0.5, 1.1) * np.sin(6.3 * arch)], 1)
        tint = skin * u(0.25, 0.75) * np.array([1.0, u(0.75, 1.05), u(0.75, 1.1)])
        painted(both(round_, u(0.3, 1.0)), u(0.15, 0.4), u(0.3, 0.8), tint)
    if rng.random() < 0.6:  # bags and folds
        for _ in range(rng.integers(1, 4)):
            x = u(1.2, 2.2) + arch * u(1.5, 3.2)
            fold = np.stack([x, u(-1.9, -0.7) - u(0, 0.6) * np.sin(np.pi * arch) + u(-0.3, 0.5) * arch], axis=1)
            painted(both(fold, u(0.05, 0.2)), u(0.03, 0.15), u(0.15, 0.6), skin * u(0.45, 1.15))
    if rng.random() < 0.6:  # strands of hair
        for _ in range(rng.integers(1, 6)):
            side, x = rng.choice([-1, 1]), u(4.6, 7.8)
            strand = np.stack([side * (x + u(-0.4, 0.4) * arch + u(-1.5, 1.5) * arch**2), 3.2 - u(3, 9) * arch], axis=1)
            painted(
                [(strand, u(0.05, 0.5))],
                u(0.03, 0.15),
                u(0.4, 1.0),
                rng.choice([skin * u(0.05, 0.5), skin * u(1, 1.4)]),
            )
    if rng.random() < 0.4:  # the nose's edges
        edge = np.stack([u(0.4, 1.0) + u(0, 0.5) * arch, 0.8 - 4 * arch], axis=1)
        painted([(edge * (rng.choice([-1, 1]), 1), u(0.2, 0.8))], u(0.1, 0.4), u(0.2, 0.6), skin * u(0.4, 1.3))
    return np.clip(imaging.resize(fine, (w, h), interpolation=imaging.INTER_AREA), 0, 255).astype(np.uint8)


def fitted(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights (d,) and bias of ridge-regularised logistic regression on ``x``, (n, d), both classes of equal weight."""
    mean = x.mean(axis=0)
    centred = x - mean
    share = np.where(y, 0.5 / y.mean(), 0.5 / (1 - y.mean())) / len(y)

    def loss(p: np.ndarray) -> tuple[float, np.ndarray]:
        odds = centred @ p[:-1] + p[-1]
        wrong = share * (1 / (1 + np.exp(-np.clip(odds, -50, 50))) - y)
        value = float((share * np.logaddexp(0, np.where(y, -odds, odds))).sum() + 0.5 * _RIDGE * (p[:-1] ** 2).sum())
        return value, np.append(centred.T @ wrong + _RIDGE * p[:-1], wrong.sum())

    found = minimize(loss, np.zeros(x.shape[1] + 1), jac=True, method="L-BFGS-B", options={"maxiter": 35}).x
    return found[:-1], float(found[-1] - mean @ found[:-1])


if __name__ == "__main__":
    main()
