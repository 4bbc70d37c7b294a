"""From what portraits show to log relative albedo: light, casts, smiles, hair, teeth and brows taken out.

Part of ``tools/face_appearance.py``. All images are the crop ``CROP`` of the tile at 768 texels, 660 x 640; values are
log relative albedo. Steps: second-order spherical harmonics fitted robustly to skin over the donors' mean (Ramamoorthi
and Hanrahan 2001), donors chosen by what remains, hair and teeth masked, the low band made symmetric (one-sided light),
smile, light and tone regressed out a texel at a time, holes filled from a low-rank model (robust EM-PCA), and what is
left of shading in smooth skin reduced.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from face_textures import FaceModel, Portrait, Tile

from deid import imaging

SIZE = 768
CROP = (64, 40, 704, 700)
HEIGHT, WIDTH = CROP[3] - CROP[1], CROP[2] - CROP[0]
NEAR = 2  # the reduction at which donors are cleaned
_SEEN = 70 / 255  # least weight of a texel that counts
_V, _U = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
_OFF = np.abs(_U - (WIDTH - 1) / 2)  # texels from the middle line


def smoothstep(low: float, high: float, v: np.ndarray) -> np.ndarray:
    t = np.clip((v - low) / (high - low), 0, 1)
    return (t * t * (3 - 2 * t)).astype(np.float32)


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    return imaging.gaussian_blur(np.ascontiguousarray(image, np.float32), (0, 0), sigma)


def blur_over(image: np.ndarray, weight: np.ndarray, sigma: float) -> np.ndarray:
    """Normalised convolution (Knutsson and Westin 1993)."""
    shaped = weight if image.ndim == 2 else weight[..., None]
    below = blur(weight, sigma) + 1e-3
    return blur(image * shaped, sigma) / (below if image.ndim == 2 else below[..., None])


def reduced(image: np.ndarray, by: int) -> np.ndarray:
    size = (WIDTH // by, HEIGHT // by)
    return imaging.resize(np.ascontiguousarray(image, np.float32), size, interpolation=imaging.INTER_AREA)


def enlarged(image: np.ndarray) -> np.ndarray:
    return imaging.resize(np.ascontiguousarray(image, np.float32), (WIDTH, HEIGHT), interpolation=imaging.INTER_CUBIC)


def ellipse(u: float, v: float, su: float, sv: float, power: float = 2.0) -> np.ndarray:
    """exp(-((|u|-u0)/su)^p - ((v-v0)/sv)^p), ``u`` from the middle line, on both sides."""
    return np.exp(-(np.abs((_OFF - u) / su) ** power) - np.abs((_V - v) / sv) ** power).astype(np.float32)


def brow_band() -> np.ndarray:
    """1 where brows lie, soft edges."""
    x = (_OFF - 110) / 75
    up = _V - (116 - 3 * x + 8 * (x * x - 0.2))
    along = smoothstep(-1.25, -1.05, x) * (1 - smoothstep(1.15, 1.4, x))
    return smoothstep(-34, -20, up) * (1 - smoothstep(14, 24, up)) * along


def features() -> np.ndarray:
    """1 on eyes, lips and the base of the nose, whose shading and colour belong to them."""
    nose = np.exp(-((_OFF / 82) ** 4) - ((_V - 288) / 28) ** 4)
    eyes = np.exp(-((((_OFF - 108) / 52) ** 2 + ((_V - 178) / 24) ** 2) ** 2))
    return blur(np.maximum.reduce([eyes, lips(), nose]), 6)


def lips() -> np.ndarray:
    return np.exp(-((_OFF / 100) ** 4) - ((_V - 393) / 58) ** 4).astype(np.float32)


def core_skin() -> np.ndarray:
    """Bool: skin that every face shows, without brows, eyes, nostrils, mouth."""
    v, off = _V + CROP[1], _OFF
    out = (v >= 95) & (v < 560) & (off < 300)
    out &= ~((v >= 150) & (v < 245) & (off >= 54) & (off < 194))
    out &= ~((v >= 385) & (v < 490) & (off < 84))
    return out & ~((v >= 320) & (v < 350) & (off < 49))


def hair_zone() -> np.ndarray:
    """0 to 1: how readily something is taken for hair there."""
    beside_brow = np.minimum((118 - _V) / 35, (_OFF - 160) / 25)
    return np.clip(np.maximum.reduce([(100 - _V) / 40, (_OFF - 185) / 50, beside_brow]), 0, 1)


@dataclass(frozen=True, slots=True, eq=False)
class Donors:
    """Portraits with light taken out. ``log``: float16 (K, H, W, 3); ``weight``: float16 (K, H, W), 0 or 1; ``light``:
    (K, 9, 3); ``expression``: (K, 57); ``female``: bool (K,); ``age``: years (K,); ``error``: (K,), robust spread about
    the harmonics; ``mean``: float32 (H, W, 3), median of the donors and their mirror images."""

    portraits: list[Portrait]
    log: np.ndarray
    weight: np.ndarray
    light: np.ndarray
    expression: np.ndarray
    female: np.ndarray
    age: np.ndarray
    error: np.ndarray
    mean: np.ndarray

    def chosen(self, keep: np.ndarray) -> Donors:
        rows = np.flatnonzero(keep)
        log, weight = self.log[rows], self.weight[rows]
        return Donors(
            [self.portraits[i] for i in rows], log, weight, self.light[rows], self.expression[rows],
            self.female[rows], self.age[rows], self.error[rows], median(log, weight),
        )  # fmt: skip


def harmonics(n: np.ndarray) -> np.ndarray:
    x, y, z = n[..., 0], n[..., 1], n[..., 2]
    return np.stack([np.ones_like(x), x, y, z, x * y, x * z, y * z, x * x - y * y, 3 * z * z - 1], -1)


def read_donors(model: FaceModel, portraits: list[Portrait]) -> Donors:
    """Every portrait in the crop, light divided out."""
    tile = Tile(model, SIZE)
    rows, columns = np.nonzero(tile.inside)
    inside = (columns >= CROP[0]) & (columns < CROP[2]) & (rows >= CROP[1]) & (rows < CROP[3])
    at = rows[inside] - CROP[1], columns[inside] - CROP[0]
    skin = (core_skin()[at] & tile.narrow[inside]).nonzero()[0][::23]
    narrow = np.zeros((HEIGHT, WIDTH), bool)
    narrow[at] = tile.narrow[inside]
    count, texels = len(portraits), len(at[0])
    colour = np.empty((count, texels, 3), np.float16)
    weight, normal = np.empty((count, texels), np.uint8), np.empty((count, texels, 3), np.int8)
    expression = np.empty((count, len(model.expression_names)), np.float32)
    for k, portrait in enumerate(portraits):
        seen = tile.sample(model, portrait)
        colour[k], weight[k], normal[k] = seen.colour[inside], seen.weight[inside] * 255, seen.normal[inside] * 127
        expression[k] = seen.expression
    light, error = _lights(colour[:, skin], weight[:, skin], normal[:, skin])
    log = np.zeros((len(portraits), HEIGHT, WIDTH, 3), np.float16)
    kept = np.zeros(log.shape[:3], np.float16)
    for k in range(count):
        shade = harmonics(normal[k].astype(np.float32) / 127) @ light[k]
        shade = np.maximum(shade, 0.25 * np.median(shade[skin], axis=0))
        log[k][at] = np.log(np.clip(colour[k] / shade, 0.02, 8))
        kept[k][at] = weight[k] > _SEEN * 255
        kept[k] *= narrow
    female = np.array([p.gender == "female" for p in portraits])
    age = np.array([2014.0 - p.birth_year for p in portraits])  # when most of the photographs were taken
    clear = np.argsort(error)[:220]
    return Donors(portraits, log, kept, light, expression, female, age, error, median(log[clear], kept[clear]))


def _lights(
    colour: np.ndarray, weight: np.ndarray, normal: np.ndarray, rounds: int = 3
) -> tuple[np.ndarray, np.ndarray]:
    """Harmonics (K, 9, 3) of each donor over the common albedo, which is estimated in turn, and the error (K,)."""
    basis = harmonics(normal.astype(np.float32) / 127)
    use = np.where(weight > 64, weight / 255.0, 0)
    mean = np.zeros((colour.shape[1], 3), np.float32)
    for _ in range(rounds):
        fits = [_light(b, c / np.exp(mean), w) for b, c, w in zip(basis, colour.astype(np.float32), use, strict=True)]
        light, error = np.stack([f[0] for f in fits]), np.array([f[1] for f in fits])
        clear = np.argsort(error)[:220]
        left = np.log(np.clip(colour[clear] / np.maximum(basis[clear] @ light[clear], 1e-3), 0.02, 8))
        left[use[clear] == 0] = np.nan
        mean = np.nan_to_num(np.nanmedian(left, axis=0)).astype(np.float32)
        mean -= mean.mean(0)
    return light, error


def _light(basis: np.ndarray, colour: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, float]:
    """Iteratively reweighted least squares with Cauchy's weights squared."""
    ridge = np.diag([0, 0.02, 0.02, 0.02, 0.1, 0.1, 0.1, 0.1, 0.1]) * 0.3
    robust, spread = weight, 1.0
    for _ in range(8):
        solved = np.linalg.solve(
            (basis * robust[:, None]).T @ basis + ridge * robust.sum(), (basis * robust[:, None]).T @ colour
        )
        ratio = np.log(np.maximum(colour, 1e-3) / np.maximum(basis @ solved, 1e-3)).mean(1)
        spread = 1.48 * float(np.median(np.abs(ratio[weight > 0]))) + 1e-3
        robust = weight / (1 + (ratio / (2 * spread)) ** 2)
    return solved, spread


def median(log: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Median over the donors and their mirror images, float32 (H, W, 3), NaN where fewer than 12 show anything."""
    out = np.full((HEIGHT, WIDTH, 3), np.nan, np.float32)
    for row in range(HEIGHT):
        values = log[:, row].astype(np.float32)
        values[weight[:, row] < 0.5] = np.nan
        values = np.concatenate([values, values[:, ::-1]])
        enough = np.isfinite(values[..., 0]).sum(0) >= 24
        out[row, enough] = np.nanmedian(values[:, enough], axis=0)
    return out


def measures(donors: Donors, k: int) -> dict[str, float]:
    """What speaks against a donor: edges of glasses, one-sided or coloured light, beard, blur."""
    left = donors.log[k].astype(np.float32) - np.nan_to_num(donors.mean)
    weight, left = reduced(donors.weight[k], 2), np.clip(reduced(left, 2), -1.5, 1.5)
    luma = left.mean(2)
    clear = weight > 0.99
    band = (luma - blur_over(luma, weight, 10)) * clear
    fine = (luma - blur_over(luma, weight, 2)) * clear
    soft, wide, colour = blur_over(luma, weight, 8), blur_over(luma, weight, 16), blur_over(left, weight, 16)
    skin = (reduced(core_skin(), 2) > 0.5) & (weight > 0.9)
    both = skin & skin[:, ::-1]
    cheeks = (_box(soft, 200, 300, 290, 360).mean() + _box(soft, 478, 300, 568, 360).mean()) / 2
    return {
        "error": float(donors.error[k]),
        "bridge": max(_rms(_box(band, 352, 175, 416, 205)), _rms(_box(band, 352, 205, 416, 240))),
        "under_eyes": (_rms(_box(band, 190, 235, 320, 300)) + _rms(_box(band, 448, 235, 578, 300))) / 2,
        "cheek_noise": (_rms(_box(fine, 180, 290, 300, 400)) + _rms(_box(fine, 468, 290, 588, 400))) / 2,
        "moustache": float(abs(_box(soft, 330, 352, 438, 380).mean() - cheeks)),
        "stubble": (_rms(_box(fine, 330, 352, 438, 380)) + _rms(_box(fine, 310, 490, 458, 560))) / 2,
        "one_sided": _rms((wide - wide[:, ::-1])[both]),
        "coloured": float(
            np.std((colour[..., 0] - colour[..., 2])[skin]) + np.std((colour[..., 0] - colour[..., 1])[skin])
        ),
    }


LIMITS = {
    "error": 0.42, "bridge": 0.36, "under_eyes": 0.36, "cheek_noise": 0.175, "moustache": 0.5, "stubble": 0.2,
    "one_sided": 0.28, "coloured": 0.26,
}  # fmt: skip
LENIENT = {"error": 0.52, "one_sided": 0.36, "coloured": 0.32, "moustache": 0.9}  # for women, who are few, beardless


def choose(donors: Donors) -> np.ndarray:
    """Bool (K,): donors without glasses, beards, strong side light, casts."""
    keep = np.zeros(len(donors.portraits), bool)
    for k in range(len(keep)):
        limits = LIMITS | LENIENT if donors.female[k] else LIMITS
        found = measures(donors, k)
        keep[k] = all(found[name] < limit for name, limit in limits.items())
    return keep


def _box(image: np.ndarray, x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    """Part of an image reduced by 2; corners in texels of the tile."""
    return image[(y0 - CROP[1]) // 2 : (y1 - CROP[1]) // 2, (x0 - CROP[0]) // 2 : (x1 - CROP[0]) // 2]


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def mask_hair_and_teeth(donors: Donors) -> None:
    """Sets weights to 0 there, and each donor's level to its own core skin, in place."""
    zone = hair_zone()
    slack = 1 / np.maximum(zone, 0.02)
    core = core_skin() & (zone == 0)
    mouth = (_OFF / 92) ** 2 + ((_V - 396) / 52) ** 2 < 1
    for k in range(len(donors.portraits)):
        log = donors.log[k].astype(np.float32)
        weight = imaging.erode(donors.weight[k].astype(np.float32), np.ones((5, 5), np.uint8))
        log -= np.median(log[core & (weight > 0)], axis=0)
        luma = log.mean(2)
        soft = blur_over(np.clip(luma, -2, 1.5), weight, 4)
        rough = np.sqrt(blur_over(np.clip(luma - soft, -0.5, 0.5) ** 2, weight, 4))
        cast = np.abs(blur_over(log[..., 0] - log[..., 2], weight, 4))
        hair = (soft < -0.3 * slack) | (soft > 0.4 * slack) | (rough > 0.11 * slack) | (cast > 0.38 * slack)
        hair = imaging.erode((hair & (zone > 0)).astype(np.uint8), np.ones((3, 3), np.uint8))
        hair = imaging.dilate(hair, np.ones((15, 15), np.uint8)) > 0
        teeth = mouth & ((luma > 0.3) | ((log[..., 2] - log[..., 0] > 0.45) & (luma > 0)))
        teeth = imaging.dilate(teeth.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        donors.log[k], donors.weight[k] = log, weight * ~hair * ~teeth
