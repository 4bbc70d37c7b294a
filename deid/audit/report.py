"""What an audit says, as one JSON-able value, and as a summary in plain words. No paths, no pictures, no templates."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from deid.audit import score
from deid.audit.score import Material
from deid.audit.tell import summary

FORMAT = 1

REMAINS = {
    "hair": "Hair, hairline and beard outside the face's outline are the person's own.",
    "ears": "Ears and the shape of the head are the person's own; ears alone can identify.",
    "voice": "The sound is unchanged: a voice identifies as a face does.",
    "names": "What is said, and names on badges, screens, letters and number plates.",
    "body": "Gait, build, gestures, hands, tattoos, scars and jewellery.",
    "clothes": "Clothes and uniforms, which tell a workplace or a day.",
    "place": "Rooms, views, devices and machines that tell a place or a time.",
    "manner": "Expressions and movements are kept on purpose; who knows a person well may know them by these.",
    "reflections": "Reflections, photographs and screens that show a face too small or too faint for a detector.",
    "skin": "Skin tone, apparent age and apparent gender are kept roughly.",
    "context": "Where and by whom the clip is published, and what is known beside it.",
}
"""What an audit of faces cannot clear, as a list to go through."""

MASKED = (
    "Voices sound otherwise than in the source. What is said, dialect, pauses and manner of speaking remain, and so do "
    "sounds that tell a place."
)

LIMITS = (
    "Faces that neither the following pass nor the second detector finds are not judged: very small ones (below about "
    "16 pixels), heads from behind, faces mostly out of the picture.",
    "Apparent gender and age are guesses of a recogniser from the source's pictures, skin tone is the individual "
    "typology angle of the skin as the picture shows it, in the light of the scene. They serve to see whether errors "
    "fall on some people more than on others, and say nothing about who anybody is.",
    "Intervals are drawn over people; with few people they are wide or missing, and mean little.",
    "Whether the picture outside the faces is unchanged cannot be told bit for bit after encoding.",
    "A recogniser that had a part in choosing the new faces is not an independent judge; --recogniser adds one.",
)


def remains(sound: str) -> dict[str, str]:
    """:data:`REMAINS`, by what became of the sound (:func:`deid.media.sound.compare_sound`)."""
    if sound == "changed":
        return REMAINS | {"voice": MASKED}
    return REMAINS if sound == "as it was" else {key: text for key, text in REMAINS.items() if key != "voice"}


def build(
    m: Material,
    media: dict[str, Any],
    table: list[dict[str, Any]],
    *,
    name: str,
    output: Path,
    chose: tuple[str, ...],
) -> dict[str, Any]:
    """The report of ``m``. ``media``: of the contract. ``table``: agreement of the signals. ``output`` is read for its
    checksum only; ``name``: what it is called."""
    from deid import __version__

    overall = score.rates(m, m.people)
    identity, alike = score.identity(m)
    followed, values = score.retention(m)
    shaking = score.jitter(m)
    values |= score.values_of_targets(m) | alike | {"jitter": shaking.get("all") or np.nan}
    people = [_person(m, k) for k in range(len(m.people))]
    strays = sum(s.sure for s in m.watched.strays)
    values |= {
        "bare_runs": score.bare_runs(m),
        "bare": (overall["bare"]["hits"] + strays) / max(overall["bare"]["frames"] + strays, 1),
        "match": _value(overall["match"]["rate"]),
        "match_worst": max((_value(p["rates"]["match"]["rate"], 0.0) for p in people), default=np.nan),
        "frames": abs(media["frames"]["source"] - media["frames"]["output"]),
        "times": media["largest_time_difference"],
    }
    criteria = score.judged(score.CRITERIA, values)
    seconds = m.watched.seconds
    told = {
        "format": FORMAT,
        "version": __version__,
        "output": name,
        "sha256": _checksum(output),
        "passed": all(c["met"] is not False for c in criteria),
        "criteria": criteria,
        "summary": [],
        "frames": len(seconds),
        "seconds": round(seconds[-1] - seconds[0], 3) if seconds else 0.0,
        "size": list(m.watched.size),
        "networks": _networks(m, chose),
        "overall": overall,
        "people": people,
        "groups": score.groups(m),
        "identity": identity,
        "recognised": score.recognised(m),
        "fidelity": score.fidelity(values),
        "expression": followed,
        "jitter": shaking,
        "signals": [{k: _short(v) for k, v in row.items()} for row in table],
        "media": media,
        "suspects": score.suspects(m),
        "unfollowed": {"faces_as_they_were": strays, "doubtful_places": len(m.watched.strays) - strays},
        "rates_mean": score.RATES,
        "remains": remains(media["sound"]),
        "limits": list(LIMITS),
    }
    told["summary"] = summary(told)
    return told


def _value(value: float | None, otherwise: float = float("nan")) -> float:
    return otherwise if value is None else value


def _short(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value


def _checksum(path: Path) -> str | None:
    if not path.is_file():
        return None
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _networks(m: Material, chose: tuple[str, ...]) -> list[dict[str, str]]:
    told = [
        {"name": "CenterFace", "did": "found the source's faces here; a run searches with it too"},
        {"name": "MediaPipe Face Mesh", "did": "measured expression, gaze and pose of both; a run uses it too"},
        {
            "name": "MTCNN",
            "did": "searched every output frame for faces as they were; a run asks it about doubtful places only",
        },
    ]
    for judge, limit in m.thresholds.items():
        part = "helped to choose the new faces" if judge in chose else "had no part in the run"
        told.append(
            {"name": judge, "did": f"compared every face with its source (one person below {limit:g}); {part}"}
        )
    return told


def _person(m: Material, index: int) -> dict[str, Any]:
    person = m.people[index]
    mine = [m.series[k] for k in person.faces]
    heights = np.concatenate([s.heights for s in mine])
    states: dict[str, int] = {}
    for s in mine:
        for state, n in score.states_of(s).items():
            states[state] = states.get(state, 0) + n
    nearest = [float(np.nanmin(d)) for s in mine if np.isfinite(d := s.notes["distance"][s.counted]).any()]
    return {
        "id": person.id,
        "faces": [k + 1 for k in person.faces],
        "times": [[round(float(s.seconds[0]), 3), round(float(s.seconds[-1]), 3)] for s in mine],
        "frames": sum(len(s) for s in mine),
        "height": round(float(np.median(heights)), 1),
        "apparent_gender": person.gender,
        "apparent_age": person.age,
        "skin": person.skin,
        "skin_angle": None if not np.isfinite(person.angle) else round(person.angle, 1),
        "states": states,
        "rates": score.rates(m, [person]),
        "nearest": round(min(nearest), 4) if nearest else None,
        "worst": [
            {"seconds": round(b.seconds, 3), "frame": b.frame, "why": b.why}
            for b in sorted(
                (b for k in person.faces for b in m.watched.faces[k].worst), key=lambda b: (-b.badness, b.frame)
            )[:8]
        ],
    }
