"""What a face looks like after a run, beside what it looked like before: touched how, and how well.

Works on *looks*: pictures of one face, (150, 150, 3) RGB uint8, cut from the source and from the output through one
transform, that of the source's landmarks, so that what differs is what the run did.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from deid import imaging
from deid.recognition.chips import CHIP, chip_from_picture, cut_chip

_OVAL = np.array(
    [10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150,
     136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109]
)  # fmt: skip
_SECTORS = {"forehead": (32, 33, 34, 35, 0, 1, 2, 3, 4), "right side": (5, 6, 7, 8, 9, 10), "jaw": tuple(range(11, 26)),
            "left side": (26, 27, 28, 29, 30, 31)}  # fmt: skip
SECTORS = tuple(_SECTORS)
"""Parts of the face's outline, sides as the viewer sees them, in the order of :attr:`Comparison.seams`."""

_WIDE = 1.7  # of a look, for seams: how much more of the surroundings it shows
_SEAM = 9.0  # look pixels from the middle of the band inside the outline to the middle of the one outside
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


class Touched(Enum):
    """What was done to a face, as the picture shows it."""

    REPLACED = "replaced"
    OBSCURED = "obscured"
    CHANGING = "changing"
    KEPT = "kept"


# A blur with a sigma of 15 % of the face's height, or one colour, leaves less than a tenth of the structure at the
# scale of eyes and lips; a face that was replaced keeps about all of it.
_OBSCURED, _CHANGING = 0.12, 0.35
_KEPT_LIKENESS, _KEPT_CHANGE = 0.97, 6.0


def _ellipse() -> np.ndarray:
    y, x = np.mgrid[0:CHIP, 0:CHIP]
    return ((x - 74.5) / 40) ** 2 + ((y - 82) / 48) ** 2 <= 1


_CORE = _ellipse()
_BLOCKS = [np.s_[y : y + 15, x : x + 15] for y in range(0, CHIP, 15) for x in range(0, CHIP, 15) if _CORE[y + 7, x + 7]]
_LEAST_CORE = 0.15  # of the core, that must lie inside the picture to be looked at alone
_TEXTURED = 2.5  # standard deviation of a block's structure, 8-bit levels, below which it tells nothing
# Skin that is seldom covered or moved: forehead, both cheeks. (rows, columns)
_SKIN = (np.s_[22:34, 55:95], np.s_[72:92, 28:44], np.s_[72:92, 106:122])


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """One face's picture taken apart. ``rgb``: uint8 (150, 150, 3). ``luma``: float32 (150, 150). ``fine``, ``middle``:
    the luma's structure under 4 pixels, and between 3 and 10, float32. ``coarse``: the rest. ``core``: bool (150, 150),
    the middle of the face, as far as it lies inside the picture: the picture's border is no structure of a face."""

    rgb: np.ndarray
    luma: np.ndarray
    fine: np.ndarray
    middle: np.ndarray
    coarse: np.ndarray
    core: np.ndarray

    @classmethod
    def of(cls, rgb: np.ndarray, core: np.ndarray | None = None, beyond: np.ndarray | None = None) -> Look:
        """``beyond``: rgb as it goes on beyond the picture's border; by default ``rgb``."""
        luma = (rgb if beyond is None else beyond).astype(np.float32) @ _LUMA
        coarse = imaging.gaussian_blur(luma, (0, 0), 10)
        middle = imaging.gaussian_blur(luma, (0, 0), 3) - coarse
        fine = luma - imaging.gaussian_blur(luma, (0, 0), 4)
        return cls(rgb, luma, fine, middle, coarse, _CORE if core is None else core)


@dataclass(frozen=True, slots=True)
class Comparison:
    """An output face beside its source.

    ``touched``: see :class:`Touched`. ``structure``: standard deviation of middle structure, output over source.
    ``likeness``: correlation of middle structure. ``change``: mean absolute difference, 8-bit levels. ``tone``:
    distance of the mean skin colours in CIELAB (about 2 is just seen side by side). ``softness``: fine structure at
    features, output over source; under 1 is too soft. ``grain``: the finest structure of skin, output over source.
    ``ghost``: correlation of the finest structure of skin; above 0.2 the source's own skin shows through.
    ``left``: share of the face whose structure is still the source's: what was never covered, rightly (a hand) or not.
    ``seams``: by sector of the outline, how much larger the step in colour across it is than in the source, CIELAB.
    """

    touched: Touched
    structure: float
    likeness: float
    change: float
    tone: float
    softness: float
    grain: float
    ghost: float
    left: float
    seams: tuple[float, ...]


def looks(source: np.ndarray, output: np.ndarray, points: np.ndarray) -> tuple[Look, Look]:
    """The face whose source mesh is ``points`` in both pictures, uint8 (H, W, 3) RGB."""
    transform = chip_from_picture(points)
    core, place = _inside(transform, source.shape[1], source.shape[0])
    cut = [cut_chip(picture, transform) for picture in (source, output)]
    before, after = (Look.of(rgb, core, rgb[place]) for rgb in cut)
    return before, after


def _inside(transform: np.ndarray, width: int, height: int) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """The core of a look, bool (150, 150), less what is beyond the picture, all of it where hardly any would be left;
    and for every pixel of the look the row and column of the nearest that shows the picture. ``transform``: (2, 3), to
    the look."""
    inverse = np.linalg.inv(np.vstack([transform, [0, 0, 1]]))[:2]
    y, x = np.mgrid[0:CHIP, 0:CHIP]
    u, v = (row[0] * x + row[1] * y + row[2] for row in inverse)
    away = float(np.hypot(inverse[0, 0], inverse[1, 0]))  # interpolation mixes a pixel with the next
    left, top = np.clip(u, away, width - 1 - away), np.clip(v, away, height - 1 - away)
    core = _CORE & (u == left) & (v == top)
    near = [np.clip(np.rint(row[0] * left + row[1] * top + row[2]), 0, CHIP - 1).astype(np.intp) for row in transform]
    return (core if core.sum() >= _LEAST_CORE * _CORE.sum() else _CORE), (near[1], near[0])


def compare(before: Look, after: Look, seams: tuple[float, ...] = ()) -> Comparison:
    """Judge one face. ``seams``: see :func:`seam_steps`."""
    structure = _ratio(float(after.middle[before.core].std()), float(before.middle[before.core].std()))
    likeness = _correlation(before.middle[before.core], after.middle[before.core])
    change = float(np.abs(before.luma - after.luma)[before.core].mean())
    grains = [_ratio(_grain(after, part), _grain(before, part)) for part in _SKIN]
    return Comparison(
        touched=_touched(structure, likeness, change),
        structure=structure,
        likeness=likeness,
        change=change,
        tone=float(np.linalg.norm(_skin_lab(before.rgb) - _skin_lab(after.rgb))),
        softness=_ratio(float(after.fine[before.core].std()), float(before.fine[before.core].std())),
        grain=float(np.median(grains)),
        ghost=float(np.median([_correlation(_finest(before, part), _finest(after, part)) for part in _SKIN])),
        left=left_alone(before, after),
        seams=seams,
    )


def left_alone(before: Look, after: Look) -> float:
    """Share of the face's textured blocks, 15 by 15 look pixels, that are the source's: structure correlates and is as
    strong, and the luma is the same within 4 levels."""
    same, textured = 0, 0
    for block in _BLOCKS:
        a, b = before.middle[block] + before.fine[block], after.middle[block] + after.fine[block]
        if a.std() >= _TEXTURED:
            textured += 1
            close = float(np.abs(before.luma[block] - after.luma[block]).mean()) < 4.0
            same += close and _correlation(a, b) > 0.93 and 0.75 < _ratio(float(b.std()), float(a.std())) < 1.33
    return same / textured if textured else 0.0


def _touched(structure: float, likeness: float, change: float) -> Touched:
    if structure < _OBSCURED:
        return Touched.OBSCURED
    if likeness > _KEPT_LIKENESS and change < _KEPT_CHANGE:
        return Touched.KEPT
    return Touched.CHANGING if structure < _CHANGING else Touched.REPLACED


def _ratio(a: float, b: float) -> float:
    return a / max(b, 1e-3)


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    if min(a.std(), b.std()) < 1e-3:
        return 0.0
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def _grain(look: Look, part: tuple[slice, slice]) -> float:
    return float(_finest(look, part).std())


def _finest(look: Look, part: tuple[slice, slice]) -> np.ndarray:
    """What is left of a patch of skin without its shading."""
    patch = look.luma[part]
    return patch - imaging.gaussian_blur(patch, (0, 0), 1.2)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIELAB (D65), float32, of uint8 (H, W, 3) RGB: lightness 0 to 100, a and b about -100 to 100."""
    return imaging.cvt_color(rgb.astype(np.float32) / 255, imaging.COLOR_RGB2LAB)


def _skin_lab(rgb: np.ndarray) -> np.ndarray:
    colours = lab(rgb)
    return np.median(np.concatenate([colours[part].reshape(-1, 3) for part in _SKIN]), axis=0)


def typology_angle(rgb: np.ndarray) -> float:
    """Individual typology angle of a face's skin in degrees, from a chip, uint8 (150, 150, 3) RGB: 55 and more for
    very light skin, -30 and less for dark skin.

    atan((L - 50) / b) of the median skin colour in CIELAB (A. Chardon, I. Cretois and C. Hourseau, *Skin colour
    typology and suntanning pathways*, 1991). Made for an instrument that lights the skin itself: off a picture, the
    light and the camera's exposure enter.
    """
    lightness, _, yellow = (float(v) for v in _skin_lab(rgb))
    return float(np.degrees(np.arctan2(lightness - 50.0, max(yellow, 1e-3))))


def seam_steps(source: np.ndarray, output: np.ndarray, points: np.ndarray) -> tuple[float, ...]:
    """How much larger the colour step across the face's outline is in the output than in the source, by sector.

    ``source``, ``output``: uint8 (H, W, 3) RGB; ``points``: the source's mesh (478, 2 or 3). The step is the CIELAB
    distance between two bands either side of MediaPipe's outline; a sector's number is the mean over its points, and
    negative where the output is smoother.
    """
    transform = chip_from_picture(points) / _WIDE
    transform[:, 2] += CHIP / 2 * (1 - 1 / _WIDE)
    outline = points[_OVAL, :2].astype(np.float64) @ transform[:, :2].T + transform[:, 2]
    outward = outline - outline.mean(0)
    outward /= np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1e-9)
    steps = [_steps(cut_chip(picture, transform), outline, outward) for picture in (source, output)]
    excess = steps[1] - steps[0]
    return tuple(float(excess[list(index)].mean()) for index in _SECTORS.values())


def _steps(rgb: np.ndarray, outline: np.ndarray, outward: np.ndarray) -> np.ndarray:
    colours = imaging.gaussian_blur(lab(rgb), (0, 0), 2)
    half = _SEAM / _WIDE / 2
    inside, outside = (_sampled(colours, outline + side * half * outward) for side in (-1, 1))
    return np.linalg.norm(inside - outside, axis=1)


def _sampled(picture: np.ndarray, points: np.ndarray) -> np.ndarray:
    x, y = np.clip(np.rint(points), 0, CHIP - 1).astype(int).T
    return picture[y, x]


@dataclass(frozen=True, slots=True)
class Step:
    """What changes from one frame to the next in an aligned face, 8-bit levels: the skin's light (signed), and the
    mean absolute change of coarse, middle and fine structure less the mean."""

    mean: float
    coarse: float
    middle: float
    fine: float

    @classmethod
    def of(cls, before: Look, after: Look) -> Step:
        """Between two looks at one face in consecutive frames, each through its own frame's transform."""
        delta = (after.coarse - before.coarse)[_CORE]
        # Skin only: a mouth that opens shows teeth or the dark, and that is no change of light.
        mean = float(np.mean([(after.luma[part] - before.luma[part]).mean() for part in _SKIN]))
        return cls(
            mean,
            float(np.abs(delta - delta.mean()).mean()),
            float(np.abs(after.middle - before.middle)[_CORE].mean()),
            float(np.abs(after.fine - before.fine)[_CORE].mean()),
        )


@dataclass(frozen=True, slots=True)
class Flicker:
    """How unsteady an output is beyond its source. ``light``: mean absolute difference of the two faces' changes in
    skin luma, 8-bit levels a frame (0 when light follows exactly). ``coarse``, ``middle``, ``fine``: change of
    structure, output over source; above 1 shimmers, far below 1 is frozen."""

    light: float
    coarse: float
    middle: float
    fine: float

    @classmethod
    def of(cls, source: list[Step], output: list[Step]) -> Flicker:
        """``source``, ``output``: the same instants. NaN without any."""
        if not source:
            return cls(*[float("nan")] * 4)
        light = np.mean([abs(b.mean - a.mean) for a, b in zip(source, output, strict=True)])
        ratios = [
            _ratio(
                float(np.mean([getattr(s, name) for s in output])), float(np.mean([getattr(s, name) for s in source]))
            )
            for name in ("coarse", "middle", "fine")
        ]
        return cls(float(light), *ratios)
