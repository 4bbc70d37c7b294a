"""What a rendered face is made from: who it is, and everything else, drawn at random, with names.

A :class:`Who` is an identity; a :class:`How` the expression, pose, gaze, light, hair, beard, glasses and backdrop of
one picture. Any two can be put together, which is what photographs never offer: pictures of equal attributes and
different people, and the reverse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from deid.models.morphable.appearance import Appearance
from deid.models.morphable.codes import IdentityCode
from deid.models.morphable.geometry import Geometry
from deid.models.morphable.sampling import draw
from deid.people import Person

AGES = (18.0, 80.0)
YAW, PITCH = 42.0, 20.0
"""Degrees; heads are turned up to these."""

_SEEN = np.zeros((1, 128), np.float32)  # a person of whom there are good pictures: the gender is certain
_LIGHT = 9

_POSED: tuple[tuple[str, ...], ...] = (
    ("mouthSmile", "cheekSquint", "mouthUpperUp"),
    ("mouthSmile", "cheekSquint", "jawOpen"),
    ("mouthFrown", "browDown", "mouthShrugLower"),
    ("browInnerUp", "browOuterUp", "eyeWide"),
    ("browInnerUp", "browOuterUp", "eyeWide", "jawOpen"),
    ("browDown", "eyeSquint", "mouthPress"),
    ("noseSneer", "mouthUpperUp", "browDown"),
    ("mouthPucker",),
    ("mouthStretch", "browInnerUp", "jawOpen"),
    ("cheekPuff", "mouthPress"),
    ("mouthRollLower", "mouthRollUpper"),
    ("browInnerUp", "mouthFrown"),
)
_SPOKEN: tuple[tuple[str, ...], ...] = (
    ("jawOpen", "mouthLowerDown"),
    ("jawOpen", "mouthFunnel"),
    ("jawOpen", "mouthStretch", "mouthUpperUp"),
    ("mouthPress", "mouthClose"),
    ("mouthPucker", "jawOpen"),
    ("mouthRollLower",),
)
_STRENGTH = {"jawOpen": 0.55, "mouthClose": 0.1, "mouthStretch": 0.5, "mouthUpperUp": 0.5, "mouthShrugLower": 0.5}


@dataclass(frozen=True, slots=True, eq=False)
class Who:
    """``code``: of the morphable engine. ``female``: -1 (a man) to 1 (a woman); ``age`` in years; ``tone``: float32
    (3,), linear RGB of the skin under white light of 1."""

    code: IdentityCode
    female: float
    age: float
    tone: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class How:
    """``expression``: float32 (E,). ``gaze``: (2,), to the subject's left and up, radians; ``yaw``, ``pitch`` in
    degrees. ``harmonics``: float32 (9,), light by direction; ``white``: float32 (3,), its colour and strength.
    ``bald``: 0 a full head of hair to 1 none; ``length``: 0 cropped to 1 to the shoulders; ``volume``: 0 to 1;
    ``hair``: float32 (3,), linear RGB; ``beard``: 0 none, 0.3 stubble, 1 full; ``glasses``: 0 none to 1 heavy;
    ``lens``: 0 small to 1 large; ``backdrop``: float32 (2, 3), linear RGB at the top and at the bottom. ``seed``: of
    what has no number: strands, skin's grain."""

    expression: np.ndarray
    gaze: np.ndarray
    yaw: float
    pitch: float
    harmonics: np.ndarray
    white: np.ndarray
    bald: float
    length: float
    volume: float
    hair: np.ndarray
    beard: float
    glasses: float
    lens: float
    backdrop: np.ndarray
    seed: int


_TONES = np.array(  # linear RGB under white light of 1, from light to dark (ITA 55 to -35 degrees)
    [(0.60, 0.42, 0.33), (0.52, 0.34, 0.24), (0.42, 0.25, 0.165), (0.27, 0.145, 0.09), (0.13, 0.068, 0.043)]
)
_HAIRS = np.array(  # linear RGB: black, brown, light brown, fair, red, grey, white
    [(0.012, 0.010, 0.009), (0.045, 0.026, 0.016), (0.13, 0.075, 0.04), (0.34, 0.22, 0.11), (0.22, 0.07, 0.025),
     (0.20, 0.20, 0.20), (0.55, 0.55, 0.54)]
)  # fmt: skip


def draw_who(geometry: Geometry, appearance: Appearance, rng: np.random.Generator) -> Who:
    """Somebody, as likely a woman as a man, of any skin and any adult age."""
    female, age = float(rng.choice((-1.0, 1.0))), float(rng.uniform(*AGES))
    shade = float(rng.beta(1.1, 1.6)) * (len(_TONES) - 1)
    tone = np.array([np.interp(shade, range(len(_TONES)), channel) for channel in _TONES.T], np.float32)
    person = Person(1, (), _SEEN, female, age)
    return Who(draw(geometry, appearance, rng, person, dark=float(tone.mean()) < 0.2), female, age, tone)


def draw_how(geometry: Geometry, rng: np.random.Generator, who: Who | None = None) -> How:
    """One picture's rest. ``who``: beards and bald heads are then drawn as they go with gender and age; what labels are
    learned from is drawn without."""
    man = 0.5 if who is None else float(who.female < 0)
    old = 0.5 if who is None else float(np.clip((who.age - 30) / 40, 0, 1))
    kind = rng.dirichlet(np.full(len(_HAIRS), 0.25))
    warm = rng.normal(0, 0.16)
    white = np.exp(rng.normal(-0.35, 0.28)) * np.exp(np.array([warm, 0.0, -warm]))
    return How(
        expression=draw_expression(geometry, rng),
        gaze=np.clip(rng.normal(0, (0.2, 0.12)), -0.5, 0.5).astype(np.float32),
        yaw=float(np.clip(rng.normal(0, 17), -YAW, YAW)),
        pitch=float(np.clip(rng.normal(0, 8), -PITCH, PITCH)),
        harmonics=draw_light(rng),
        white=white.astype(np.float32),
        bald=float(rng.random() ** 2 if rng.random() < 0.12 + 0.35 * man * old else rng.uniform(0, 0.1)),
        length=float(np.clip(rng.beta(1.0, 1.6) + 0.35 * (0.5 - man), 0, 1)),
        volume=float(rng.beta(2, 3)),
        hair=((kind @ _HAIRS) * np.exp(rng.normal(0, 0.15))).astype(np.float32),
        beard=float(rng.random() if rng.random() < 0.08 + 0.34 * man else 0.0),
        glasses=float(rng.uniform(0.25, 1.0) if rng.random() < 0.3 else 0.0),
        lens=float(rng.random()),
        backdrop=np.exp(rng.normal(-1.3, 0.8, (2, 1)) + rng.normal(0, 0.25, (2, 3))).clip(0, 1).astype(np.float32),
        seed=int(rng.integers(2**31)),
    )


def draw_expression(geometry: Geometry, rng: np.random.Generator) -> np.ndarray:
    """float32 (E,): neutral, posed, spoken or random, with lids that blink, and one side at times stronger."""
    out = np.zeros(len(geometry.expression), np.float32)
    kind = rng.random()
    if kind < 0.4:
        _add(out, _POSED[int(rng.integers(len(_POSED)))], float(rng.uniform(0.2, 1.0)), rng)
    if 0.3 < kind < 0.75:
        _add(out, _SPOKEN[int(rng.integers(len(_SPOKEN)))], float(rng.uniform(0.2, 1.0)), rng)
    if kind > 0.75:
        some = rng.random(len(out)) < 0.15
        out += some * rng.beta(1.2, 2.5, len(out)).astype(np.float32)
    lids = (_index("eyeBlink_L"), _index("eyeBlink_R"))
    closed = float(rng.uniform(0.1, 1.0)) if rng.random() < 0.25 else float(rng.uniform(0, 0.12))
    for lid in lids:
        out[lid] = closed if rng.random() < 0.92 else float(rng.random())
    clipped: np.ndarray = np.clip(out, 0, 1)
    return clipped


def _add(out: np.ndarray, names: tuple[str, ...], amount: float, rng: np.random.Generator) -> None:
    lean = float(rng.normal(0, 0.3)) if rng.random() < 0.25 else 0.0
    for name in names:
        weight = amount * _STRENGTH.get(name, 0.85) * float(rng.uniform(0.7, 1.1))
        if (single := _names().get(name)) is not None:
            out[single] += weight
        else:
            out[_index(f"{name}_L")] += weight * max(0.0, 1 + lean)
            out[_index(f"{name}_R")] += weight * max(0.0, 1 - lean)


@lru_cache(maxsize=1)
def _names() -> dict[str, int]:
    from deid.models.morphable.geometry import load_geometry

    return {name: index for index, name in enumerate(load_geometry().expression_names)}


def _index(name: str) -> int:
    return _names()[name]


def draw_light(rng: np.random.Generator) -> np.ndarray:
    """float32 (9,): an even part and one or two lamps, each as a clamped cosine (Ramamoorthi and Hanrahan 2001)."""
    out = np.zeros(_LIGHT)
    out[0] = rng.uniform(0.25, 0.6)
    for strength in (rng.uniform(0.4, 1.2), rng.uniform(0, 0.5) * (rng.random() < 0.5)):
        side, up = rng.normal(0, 45), rng.normal(25, 22)
        side, up = np.radians(np.clip(side, -95, 95)), np.radians(np.clip(up, -30, 75))
        x, y, z = np.sin(side) * np.cos(up), np.sin(up), np.cos(side) * np.cos(up)
        # the clamped cosine's own series: 1/4 + 1/2 n.l + 5/32 (3 (n.l)^2 - 1)
        second = 5 / 16 * np.array([3 * x * y, 3 * x * z, 3 * y * z, 0.75 * (x * x - y * y), 0.25 * (3 * z * z - 1)])
        out += strength * np.concatenate([[0.25], 0.5 * np.array([x, y, z]), second])
    return out.astype(np.float32)


def parameters(who: Who, how: How) -> np.ndarray:
    """float32 (P,): both as one vector, each number of about unit spread: what a generator that is taught by regression
    begins from."""
    code = who.code
    shade, warm = np.log(float(how.white.mean())), float(np.log(how.white[0] / how.white[2]))
    parts = [
        code.shape,
        code.appearance / np.maximum(np.abs(_spread()), 1e-3),
        np.log(code.iris) + 2.5,
        np.log(who.tone) + 1.5,
        (how.expression - 0.12) * 3.0,
        how.gaze * (5.0, 8.0),
        (how.yaw / 17, how.pitch / 8),
        (how.harmonics - _MEAN_LIGHT) * 4.0,
        (shade * 3 + 1, warm * 3),
        (3 * how.bald - 0.5, 3 * how.length - 1, 4 * how.volume - 1.6),
        (np.log(how.hair + 0.003) + 3) / 1.2,
        (3 * how.beard - 0.5, float(how.glasses > 0) * 2 - 0.6, 3 * how.glasses - 0.5, 2 * how.lens - 1),
        ((np.log(how.backdrop + 0.02) + 1.4) / 0.8).ravel(),
    ]
    return np.concatenate([np.ravel(part) for part in parts]).astype(np.float32)


_GLASSES, _NO_GLASSES = slice(-9, -6), np.array([-0.6, -0.5, 0.0], np.float32)
"""Where :func:`parameters` speaks of glasses, and what it says where there are none."""
_MEAN_LIGHT = np.array([0.66, 0.0, 0.2, 0.33, 0.0, 0.0, 0.08, 0.02, 0.05], np.float32)


@lru_cache(maxsize=1)
def _spread() -> np.ndarray:
    from deid.models.morphable.appearance import load_appearance

    return load_appearance().spread


def identity_numbers(geometry: Geometry, appearance: Appearance) -> int:
    """How many of the first of :func:`parameters` say who it is; skin tone is not among them, because a face has to go
    with its neck."""
    return len(geometry.identity) + len(appearance.spread) + 3


@lru_cache(maxsize=1)
def numbers() -> int:
    """How many :func:`parameters` there are."""
    from deid.models.morphable.appearance import load_appearance
    from deid.models.morphable.geometry import load_geometry

    geometry, appearance, rng = load_geometry(), load_appearance(), np.random.default_rng(0)
    who = draw_who(geometry, appearance, rng)
    return len(parameters(who, draw_how(geometry, rng, who)))


def bare_eyed(numbers: np.ndarray) -> np.ndarray:
    """:func:`parameters` (..., P) of the same pictures without glasses."""
    out = np.array(numbers, np.float32)
    out[..., _GLASSES] = _NO_GLASSES
    return out


def wears_glasses(numbers: np.ndarray) -> np.ndarray:
    """bool (...): whether pictures of these :func:`parameters` (..., P) show glasses."""
    shown: np.ndarray = np.asarray(numbers)[..., _GLASSES.start] > 0
    return shown


def portrait_of(
    geometry: Geometry, appearance: Appearance, code: IdentityCode, poses: Sequence[tuple[float, float]]
) -> tuple[Who, list[How]]:
    """``code`` at rest under soft light before a grey wall, by yaw and pitch in degrees: what an identity encoder is
    shown of somebody whom no video shows."""
    female, age = appearance.traits(code.appearance)
    who = Who(code, float(np.clip(female, -1, 1)), float(age), _TONES[1].astype(np.float32))
    base = How(
        expression=np.zeros(len(geometry.expression), np.float32),
        gaze=np.zeros(2, np.float32),
        yaw=0.0,
        pitch=0.0,
        harmonics=_MEAN_LIGHT,
        white=np.full(3, 0.75, np.float32),
        bald=0.0,
        length=0.3,
        volume=0.4,
        hair=_HAIRS[1].astype(np.float32),
        beard=0.0,
        glasses=0.0,
        lens=0.5,
        backdrop=np.full((2, 3), 0.3, np.float32),
        seed=1,
    )
    return who, [replace(base, yaw=yaw, pitch=pitch) for yaw, pitch in poses]
