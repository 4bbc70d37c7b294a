"""An audit in plain words."""

from __future__ import annotations

from typing import Any


def summary(told: dict[str, Any]) -> list[str]:
    """Sentences for whoever decides about the clip."""
    overall, people = told["overall"], told["people"]
    faces = overall["leak"]["frames"]
    voices = []
    if told["media"]["sound"] == "as it was":
        voices = ["Voices are as they were, and identify as faces do: --audio mask changes them, --audio drop leaves "
                  "them out."]  # fmt: skip
    if not faces and not told["unfollowed"]["faces_as_they_were"]:
        nothing = "No face was found in the source, so nothing could be judged: look through the clip yourself."
        return [nothing, *voices]
    out = [
        f"{len(people)} {'person' if len(people) == 1 else 'people'} seen, {faces} faces counted frame by frame: "
        f"{_percent(overall['replaced']['rate'])} replaced, {_percent(overall['obscured']['rate'])} obscured, "
        f"{_percent(overall['changing']['rate'])} in between, {_percent(overall['bare']['rate'])} as they were."
    ]
    hits, match = overall["leak"]["hits"] + told["unfollowed"]["faces_as_they_were"], overall["match"]
    out.append(
        "No face was found as it was, and none is still recognised."
        if not hits
        else f"{'1 face' if hits == 1 else f'{hits} faces'}, counted frame by frame, {'is' if hits == 1 else 'are'} "
        "unchanged or still recognised: see the moments listed."
    )
    if match["frames"]:
        out.append(
            f"A face recogniser takes {_percent(match['rate'])} of the replaced faces for the person who was filmed; "
            "one pair of strangers in a thousand passes for one person to it, so up to 0.3 % is as good as chance."
        )
    missed = [t["name"] for t in told["fidelity"] if t["met"] is False]
    out.append(
        "Expression, gaze, pose and steadiness follow the original as well as they should."
        if not missed
        else "Does not follow or look as well as it should: " + ", ".join(missed) + "."
    )
    media = told["media"]
    out.append(
        "All frames are there, at their times."
        if media["frames_equal"] and media["times_equal"]
        else "Frames are missing, added or moved in time."
    )
    if media["telling_tags"]:
        out.append("The file still carries tags that may tell something: " + ", ".join(media["telling_tags"]) + ".")
    out += voices
    out.append("Faces are not all that identifies: go through the list of what remains.")
    return out


def _percent(rate: float | None) -> str:
    return "none" if rate is None else f"{100 * rate:.2f} %" if 0 < rate < 0.1 else f"{100 * rate:.1f} %"


def lines(told: dict[str, Any]) -> list[str]:
    """For a terminal."""
    failed = [c for c in told["criteria"] if c["met"] is False]
    out = ["audit passed" if told["passed"] else "audit FAILED: " + ", ".join(c["name"] for c in failed)]
    out += [f"  {sentence}" for sentence in told["summary"]]
    for entry in told["suspects"][:12]:
        who = f"person {entry['person']}" if entry["person"] else "nobody followed"
        out.append(f"  {entry['start']:.2f} to {entry['end']:.2f} s, {who}: {entry['why']}")
    if len(told["suspects"]) > 12:
        out.append(f"  and {len(told['suspects']) - 12} more moments")
    return out
