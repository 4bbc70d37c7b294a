"""What a finished clip is measured against."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

INF = float("inf")


@dataclass(frozen=True, slots=True)
class Target:
    """``low`` and ``high``: what the value must lie between. ``means``: what the number is, for people."""

    name: str
    key: str
    low: float
    high: float
    style: str = ".3f"
    means: str = ""

    def met(self, value: float | None) -> bool | None:
        """Whether ``value`` lies between; ``None`` where there is no value."""
        return None if value is None or not np.isfinite(value) else self.low <= value <= self.high


TARGETS = (
    Target(
        "replaced, yaw to 45", "replaced_45", 0.95, INF,
        means="share of faces of 64 pixels and more, turned up to 45 degrees, that show another face, not a blur",
    ),
    Target(
        "replaced, yaw to 60", "replaced_60", 0.80, INF,
        means="the same of faces turned up to 60 degrees",
    ),
    Target("untouched", "kept", -INF, 0.0, ".4f", means="share of faces that are as they were"),
    Target(
        "matches source", "match", -INF, 0.003, ".4f",
        means="share of replaced faces that a recogniser takes for the person who was filmed",
    ),
    Target(
        "same person", "same", 0.99, INF,
        means="share of pairs of one person's new faces that a recogniser takes for one person",
    ),
    Target(
        "other person", "other", -INF, 0.001, ".4f",
        means="share of pairs of two people's new faces that a recogniser takes for one person",
    ),
    Target("eye opening r", "eye", 0.90, INF, means="how well opening and closing eyes follow (correlation)"),
    Target("mouth opening r", "mouth", 0.93, INF, means="how well the opening of the mouth follows (correlation)"),
    Target("gaze x r", "gaze_x", 0.85, INF, means="how well looking to the sides follows (correlation)"),
    Target("gaze y r", "gaze_y", 0.85, INF, means="how well looking up and down follows (correlation)"),
    Target("yaw, degrees", "yaw", -INF, 2.0, ".2f", means="by how much the head's turn to the side is off"),
    Target("pitch, degrees", "pitch", -INF, 2.0, ".2f", means="by how much the head's nod is off"),
    Target("roll, degrees", "roll", -INF, 2.0, ".2f", means="by how much the head's lean is off"),
    Target(
        "jitter ratio", "jitter", 0.85, 1.05,
        means="fast movement of the face's points beside the original's: above 1 trembles, below 1 is stiff",
    ),
)  # fmt: skip
"""What replacing aims at, in order of importance."""
