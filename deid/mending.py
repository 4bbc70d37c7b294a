"""What the check of a rendering found of replaced faces, and what is done about it before the next one."""

from __future__ import annotations

from collections.abc import Sequence

from deid.models.engine import Engine
from deid.plan import Replacement
from deid.progress import Progress
from deid.render import Rendered

LIKE_ANOTHER = "like another person's new face"


def other_faces(
    seconds: Sequence[float], rendered: Rendered, progress: Progress, engine: Engine, *, first: bool, last: bool
) -> dict[int, Replacement]:
    """Other faces for those whose new ones were recognised, or are alike, after the ``first`` renderings. What cannot
    be mended so is obscured; before the ``last`` one who is recognised is, in all of the track. By track, what is new.
    ``seconds``: the frames' times."""
    pairs = [of.people for of in rendered.alike]
    out = engine.recast(rendered.recognised, pairs, rendered.codes, rendered.met) if first else {}
    recast = {person.id for person in engine.people() if any(track in out for track in person.tracks)}
    done = set(out)
    how = "giving it another one" if out else "obscuring it"
    if rendered.matches:
        when = ", ".join(sorted({f"{seconds[frame]:.2f} s" for frame, _ in rendered.matches}))
        progress.note(f"a replaced face was still recognised at {when}: {how} and rendering again")
    if rendered.alike:
        who = ", ".join(f"{a} and {b}" for a, b in pairs)
        progress.note(f"new faces of two people were alike (people {who}): {how} and rendering again")
    for key in rendered.matches:
        face = key[1]
        if face.track not in done or key in rendered.hopeless:
            out[face.track] = engine.refuse(face.track, face.row, everywhere=last)
    for of in rendered.alike:
        for _, face in of.faces:
            if not recast & set(of.people):
                out[face.track] = engine.refuse(face.track, face.row, LIKE_ANOTHER)
    return out
