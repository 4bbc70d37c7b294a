"""The attributes that can be named, each a number from 0 to 1: what they are, and what is said of a name that is none.

They are those that the data engine knows exactly (``deid/training/labels.py``), in its order; the paper's own 35 are
not published. Needs nothing but the standard library, so that lists of them cost nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

from deid.errors import UsageError


@dataclass(frozen=True, slots=True)
class Attribute:
    """``low``, ``high``: what 0 and 1 show. ``group``: ``pose``, ``expression``, ``light``, ``person`` or ``look``.
    ``sided``: whether a mirrored picture shows ``1 - x``. ``lasting``: whether it belongs to a person rather than to a
    moment, so that a video's surrogates can have it; ``rest``: what a plain face has."""

    name: str
    group: str
    low: str
    high: str
    sided: bool = False
    lasting: bool = False
    rest: float = 0.5


def _moment(name: str, high: str) -> Attribute:
    return Attribute(name, "expression", "not at all", high, rest=0.0)


def _shape(name: str, low: str, high: str) -> Attribute:
    return Attribute(name, "person", low, high, lasting=True)


ATTRIBUTES: tuple[Attribute, ...] = (
    Attribute("yaw", "pose", "turned to the viewer's left", "turned to the viewer's right", sided=True),
    Attribute("pitch", "pose", "head lowered", "head raised"),
    Attribute("gaze_across", "pose", "eyes to the viewer's left", "eyes to the viewer's right", sided=True),
    Attribute("gaze_up", "pose", "eyes down", "eyes up"),
    _moment("smile", "mouth corners drawn up"),
    _moment("frown", "mouth corners drawn down"),
    _moment("mouth_open", "jaw dropped"),
    _moment("pucker", "lips pushed out"),
    _moment("lips_pressed", "lips pressed together"),
    _moment("mouth_stretched", "mouth drawn wide"),
    _moment("upper_lip_raised", "upper lip raised"),
    _moment("brows_raised", "brows raised"),
    _moment("brows_lowered", "brows drawn down"),
    _moment("eyes_closed", "eyes closed"),
    _moment("eyes_wide", "eyes wide open"),
    _moment("squint", "eyes narrowed"),
    _moment("sneer", "nose wrinkled"),
    _moment("cheeks_puffed", "cheeks blown up"),
    Attribute(
        "smile_side", "expression", "smile on the viewer's left only", "smile on the viewer's right only", sided=True
    ),
    Attribute("wink", "expression", "eye on the viewer's left closed", "eye on the viewer's right closed", sided=True),
    Attribute("brightness", "light", "dim", "bright"),
    Attribute("light_from_left", "light", "lit from the viewer's right", "lit from the viewer's left", sided=True),
    Attribute("light_from_above", "light", "lit from below", "lit from above"),
    Attribute("light_contrast", "light", "soft light", "hard light"),
    Attribute("light_warmth", "light", "cold light", "warm light"),
    Attribute("skin_lightness", "person", "dark skin", "light skin"),
    Attribute("age", "person", "18 years", "80 years", lasting=True),
    Attribute("gender", "person", "a man", "a woman", lasting=True),
    _shape("face_width", "narrow face", "wide face"),
    _shape("jaw_width", "narrow jaw", "wide jaw"),
    _shape("chin_height", "low chin", "high chin"),
    _shape("nose_length", "short nose", "long nose"),
    _shape("nose_width", "narrow nose", "wide nose"),
    _shape("mouth_width", "narrow mouth", "wide mouth"),
    _shape("lip_thickness", "thin lips", "full lips"),
    _shape("eye_size", "small eyes", "large eyes"),
    _shape("eye_spacing", "eyes close together", "eyes far apart"),
    _shape("brow_height", "low brows", "high brows"),
    _shape("brow_thickness", "thin brows", "thick brows"),
    Attribute("baldness", "look", "a full head of hair", "bald", rest=0.0),
    Attribute("hair_length", "look", "cropped hair", "long hair"),
    Attribute("hair_lightness", "look", "black hair", "white hair"),
    Attribute("beard", "look", "shaved", "a full beard", lasting=True, rest=0.0),
    Attribute("glasses", "look", "no glasses", "heavy glasses", lasting=True, rest=0.0),
)
NAMES: tuple[str, ...] = tuple(attribute.name for attribute in ATTRIBUTES)
INDEX: dict[str, int] = {name: number for number, name in enumerate(NAMES)}
LASTING: tuple[str, ...] = tuple(attribute.name for attribute in ATTRIBUTES if attribute.lasting)


@dataclass(frozen=True, slots=True)
class Change:
    """``value``: what ``name`` is to be, 0 to 1, or where ``relative`` by how much it is to change, -1 to 1."""

    name: str
    value: float
    relative: bool = False

    def of(self, now: float) -> float:
        """By how much an attribute that is ``now`` has to change; what comes out stays within 0 to 1 where it was
        there."""
        wanted = min(max(now + self.value, min(now, 0.0)), max(now, 1.0)) if self.relative else self.value
        return wanted - now


def parse(words: tuple[str, ...] | list[str], option: str = "--set", among: tuple[str, ...] = NAMES) -> list[Change]:
    """``name=0.8`` says what an attribute is to be, ``name=+0.2`` and ``name=-0.2`` by how much it is to change;
    several may stand in one word with commas between. Raises :class:`UsageError` for anything else, for names that are
    not ``among`` those allowed, and for one that is given twice."""
    found: dict[str, Change] = {}
    for part in (part.strip() for word in words for part in word.split(",")):
        name, equals, text = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise UsageError(f"{option} {part!r} says no value; write NAME=0.8, or NAME=+0.2 for a change.")
        check_name(name, option, among)
        change = Change(name, _number(name, text, option), text.startswith(("+", "-")))
        if name in found:
            raise UsageError(f"{option} names {name} twice; give it once.")
        found[name] = change
    return list(found.values())


def check_name(name: str, option: str = "--set", among: tuple[str, ...] = NAMES) -> None:
    """Raises :class:`UsageError`, with what may have been meant, for a name that is not ``among`` those allowed."""
    if name in among:
        return
    if name in INDEX:
        raise UsageError(
            f"{option} {name} follows the source's own face from frame to frame and cannot be set; "
            f"of a surrogate these can: {', '.join(among)}."
        )
    near = get_close_matches(name.lower().replace("-", "_").replace(" ", "_"), among, 3, 0.5)
    meant = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(among[:6])} and others;"
    raise UsageError(f"{option} {name!r} is no attribute: {meant} 'deid edit --list' names all.")


def _number(name: str, text: str, option: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise UsageError(f"{option} {name}={text} is no number; write {name}=0.8, or {name}=+0.2.") from None
    relative = text.startswith(("+", "-"))
    if not (-1 <= value <= 1 if relative else 0 <= value <= 1):
        range_ = "a change from -1 to +1" if relative else "0 to 1"
        raise UsageError(f"{option} {name}={text} lies outside {range_}; choose a number within.")
    return value
