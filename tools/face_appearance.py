"""Builds the morphable engine's appearance model from portraits: ``face_appearance.py --data FOLDER -o FILE``.

Portraits are read into the face's tile (:mod:`face_textures`), freed of light and everything that is not skin
(:mod:`face_delight`, :mod:`face_clean`), and summed up as statistics: mean, principal components of the low and middle
band, and sheets of remainder in which every donor has a random sign and a weight of one over the root of their number.
The greatest weight that any donor has in 20,000 draws is printed and must stay under 0.15.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parent.parent)]

from face_clean import clean, domain  # noqa: E402
from face_delight import (  # noqa: E402
    HEIGHT,
    WIDTH,
    Donors,
    blur,
    brow_band,
    choose,
    ellipse,
    enlarged,
    mask_hair_and_teeth,
    read_donors,
    reduced,
)
from face_textures import FaceModel, read_portraits  # noqa: E402

from deid import imaging  # noqa: E402

MODES = 48
_LEVERAGE = 0.58  # no donor takes a larger part in the space of the modes
SHEETS = 10
_LUMA, _CHROMA = (214, 220), (107, 110)  # width, height at which modes are kept
_CHROMA_WEIGHT = 1.5
_SHEET_LIMIT = 3.5  # standard deviations
_GREATEST_WEIGHT = 0.15
# Brows are drawn, not photographed: how a woman's and ten years change the numbers of deid.models.morphable.brows.
_BROWS_FEMALE = (-0.4, 0, 0.5, -0.9, 0, -0.35, 0.1, -0.2)
_BROWS_DECADE = (0, -0.1, -0.1, 0.05, 0, -0.2, 0.25, 0.5)
_BROWS_SPREAD = 1.2
_MEAN_YEARS = 57.0


def build(data_dir: Path, out: Path) -> None:
    """Writes the asset that :func:`deid.models.morphable.appearance.load_appearance` reads. ``data_dir``: with ``ict``
    and ``portraits``."""
    model = FaceModel(data_dir / "ict")
    portraits = [p for p in read_portraits(data_dir / "portraits") if abs(p.yaw + 2) < 16 and abs(p.pitch) < 12]
    print(f"{len(portraits)} portraits face the camera", flush=True)
    donors = read_donors(model, portraits)
    donors = donors.chosen(choose(donors))
    print(f"{len(donors.portraits)} donors, {int(donors.female.sum())} of them women", flush=True)
    mask_hair_and_teeth(donors)
    mean, left, middle = clean(donors, model.expression_names)
    arrays, codes, modes = _components(left, donors)
    arrays |= _sheets(donors, left, middle, codes, modes)
    arrays["mean"] = mean.astype(np.float16)
    arrays["domain"] = reduced(domain(), 4).astype(np.float16)
    save_file({name: np.ascontiguousarray(a) for name, a in arrays.items()}, out)
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB")


def _resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return imaging.resize(np.ascontiguousarray(image, np.float32), size, interpolation=imaging.INTER_AREA)


def _components(left: np.ndarray, donors: Donors) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Modes and the distribution of coefficients; also the donors' coefficients (K, A) and the luminance modes."""
    count = len(left)
    near = reduced(domain(), 2)[..., None]
    luma, chroma = [], []
    for image in left * near:
        grey = image.mean(2)
        luma.append(_resized(grey, _LUMA).ravel())
        chroma.append(_resized(np.stack([image[..., 0] - grey, image[..., 2] - grey], 2), _CHROMA).ravel())
    flat = np.concatenate([np.array(luma), _CHROMA_WEIGHT * np.array(chroma)], axis=1)
    flat -= flat.mean(0)
    alike = flat @ flat.T
    share = np.ones(count)  # donors who are far from the others count for less, so that no mode is one person's
    for _ in range(12):
        power, axes = np.linalg.eigh(alike * share[:, None] * share)
        axes = axes[:, ::-1][:, :MODES]
        share *= np.minimum(1, _LEVERAGE / np.linalg.norm(axes, axis=1))
    print(f"{MODES} modes hold {power[::-1][:MODES].sum() / power.sum():.2f} of the variance", flush=True)
    flat *= share[:, None]
    codes = axes * np.sqrt(count)
    modes = axes.T @ flat / np.sqrt(count)
    luma_modes = modes[:, : _LUMA[0] * _LUMA[1]].reshape(MODES, _LUMA[1], _LUMA[0])
    chroma_modes = modes[:, _LUMA[0] * _LUMA[1] :].reshape(MODES, _CHROMA[1], _CHROMA[0], 2) / _CHROMA_WEIGHT
    design = _traits(donors)
    solved = np.linalg.solve(design.T @ design + np.diag([0, 2, 2]), design.T @ codes)
    spread = (codes - design @ solved).std(0)
    _check_weights(axes * share[:, None], solved, spread)
    brows = np.zeros(len(_BROWS_FEMALE))
    arrays = {
        "centre": np.r_[solved[0], brows],
        "gender": np.r_[solved[1], _BROWS_FEMALE],
        "age": np.r_[solved[2], _BROWS_DECADE],
        "spread": np.r_[spread, brows + _BROWS_SPREAD],
    }
    arrays = {name: a.astype(np.float32) for name, a in arrays.items()}
    arrays["luma_modes"], arrays["luma_scale"] = _quantised(luma_modes)
    arrays["chroma_modes"], arrays["chroma_scale"] = _quantised(chroma_modes)
    return arrays, codes / share[:, None], luma_modes


def _traits(donors: Donors) -> np.ndarray:
    """(K, 3): one, gender (-1 or 1), decades from the mean age."""
    gender = np.where(donors.female, 1.0, -1.0)
    return np.column_stack([np.ones(len(gender)), gender, (donors.age - _MEAN_YEARS) / 10])


def _check_weights(axes: np.ndarray, solved: np.ndarray, spread: np.ndarray, draws: int = 20000) -> None:
    """How much of a donor a drawn skin holds: coefficients z weigh donor i by axes[i] @ z / root of the number."""
    rng = np.random.default_rng(0)
    traits = np.column_stack([np.ones(draws), rng.uniform(-1, 1, draws), rng.uniform(-2.9, 2.3, draws)])
    codes = traits @ solved + np.clip(rng.normal(size=(draws, MODES)), -2, 2) * spread * 0.75
    greatest = float(np.abs(codes @ axes.T).max() / np.sqrt(len(axes)))
    print(f"greatest weight of a donor in {draws} draws: {greatest:.3f}", flush=True)
    if greatest > _GREATEST_WEIGHT:
        raise SystemExit(f"a donor weighs {greatest:.3f}, more than {_GREATEST_WEIGHT}: use fewer modes or more donors")


def _quantised(modes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int8 and the factors (A,) that undo it."""
    scale = np.abs(modes).reshape(len(modes), -1).max(1) / 127
    shaped = scale.reshape((-1,) + (1,) * (modes.ndim - 1))
    return np.rint(modes / shaped).astype(np.int8), scale.astype(np.float32)


def _sheets(
    donors: Donors, left: np.ndarray, middle: np.ndarray, codes: np.ndarray, modes: np.ndarray
) -> dict[str, np.ndarray]:
    """Random mixtures of what the modes leave, of unit variance everywhere, and how strong it is by gender and age."""
    count = len(left)
    keep = domain() * (1 - 0.85 * brow_band()) * (1 - np.clip(ellipse(89, 384, 16, 16) * 1.5, 0, 0.9))
    keep = keep * (1 - 0.45 * ellipse(128, 150, 45, 16))
    rest, weight = (np.zeros((count, HEIGHT, WIDTH), np.float16) for _ in range(2))
    for k in range(count):
        seen = imaging.erode(donors.weight[k].astype(np.float32), np.ones((7, 7), np.uint8))
        grey = (donors.log[k].astype(np.float32) - middle).mean(2)
        high = (grey - blur(grey * seen, 2) / (blur(seen, 2) + 1e-3)) * seen
        remainder = blur(enlarged(left[k].mean(2)), 1.2) + high - enlarged(np.tensordot(codes[k], modes, 1))
        rest[k], weight[k] = np.clip(remainder * keep, -0.3, 0.2) * seen, seen
    shown = (weight.sum(0, dtype=np.float32) > 0.25 * count) & (domain() > 0.02)
    amplitude = _amplitudes(rest, weight, donors)
    rng = np.random.default_rng(11)
    sheets = np.zeros((SHEETS, HEIGHT, WIDTH), np.int8)
    for j in range(SHEETS):
        total, power = (np.zeros((HEIGHT, WIDTH), np.float32) for _ in range(2))
        for k, sign in enumerate(rng.permutation(np.resize([1.0, -1.0], count))):
            way = rng.choice((-1, 1))
            total += sign * rest[k][:, ::way].astype(np.float32)
            power += weight[k][:, ::way].astype(np.float32)
        mixed = total / np.sqrt(power + 1)
        soft = blur(mixed, 3)
        mixed = mixed - 0.5 * soft  # folds of single donors live in the softer part
        mixed = mixed / (np.sqrt(blur(mixed * mixed, 6)) + 0.012) * shown
        sheets[j] = np.rint(np.clip(mixed, -_SHEET_LIMIT, _SHEET_LIMIT) * 127 / _SHEET_LIMIT)
    return {
        "detail": sheets,
        "detail_scale": np.array([_SHEET_LIMIT / 127], np.float32),
        "detail_amplitude": amplitude.astype(np.float16),
    }


def _amplitudes(rest: np.ndarray, weight: np.ndarray, donors: Donors) -> np.ndarray:
    """(3, h, w): log of the remainder's local strength at the mean age, and its change to a woman and with a decade."""
    size = (WIDTH // 8, HEIGHT // 8)
    strength, seen = [], []
    for one, cover in zip(rest.astype(np.float16), weight, strict=True):
        cover = cover.astype(np.float32)
        power = blur(np.minimum(np.abs(one.astype(np.float32)), 0.25) ** 2 * cover, 8) + 1e-5
        strength.append(np.log(_resized(np.sqrt(power / (blur(cover, 8) + 0.02)), size)).ravel())
        seen.append(_resized(cover, size).ravel() > 0.5)
    values, known, design = np.array(strength), np.array(seen), _traits(donors)
    out = np.zeros((3, values.shape[1]))
    out[0] = np.log(0.05)
    for i in np.flatnonzero(known.sum(0) > 40):
        own = design[known[:, i]]
        value = values[known[:, i], i]
        value = np.clip(value, np.median(value) - 1, np.median(value) + 1)
        out[:, i] = np.linalg.solve(own.T @ own + np.diag([0, 10, 10]), own.T @ value)
    out = out.reshape(3, size[1], size[0])
    out = (out + out[:, :, ::-1]) / 2
    return np.stack([out[0], blur(out[1], 2), blur(out[2], 2)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    build(options.data, options.output)


if __name__ == "__main__":
    main()
