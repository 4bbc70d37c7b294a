"""Did everything that is no face come through: frames, times, sound, subtitles, and nothing that tells who or where."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from deid.audit.notes import Watched
from deid.media import probe, read_mark
from deid.media.sound import compare_sound
from deid.media.tags import telling_tags

_SLIP = 0.0021
"""Seconds: Matroska counts in whole milliseconds, and each of two clips may be off by one."""


def contract(
    source: Path, output: Path, watched: Watched, start: float | None = None, end: float | None = None
) -> dict[str, Any]:
    """What became of the media, JSON-able; ``start``, ``end``: the part of ``source`` that ``output`` shows. Raises
    what :func:`~deid.media.probe` raises."""
    before, after = probe(source), probe(output)
    wanted = Counter(s.kind for s in before.streams if s.kind in ("audio", "subtitle") and s.fate != "dropped")
    there = Counter(s.kind for s in after.streams)
    further = sum(s.kind in ("video", "attachment", "data") for s in after.streams) - (after.kind == "video")
    return {
        "frames": {"source": watched.counts[0], "output": watched.counts[1]},
        "frames_equal": watched.counts[0] == watched.counts[1],
        "largest_time_difference": round(watched.slip, 6),
        "times_equal": watched.slip <= _SLIP,
        "size": list(watched.size),
        "streams": [{"kind": kind, "source": wanted[kind], "output": there[kind]} for kind in ("audio", "subtitle")],
        "sound": compare_sound(source, output, start, end),
        "streams_equal": all(wanted[kind] == there[kind] for kind in ("audio", "subtitle")),
        "further_streams": max(further, 0),
        "telling_tags": list(telling_tags(output)),
        "mark": read_mark(output) if output.is_file() else None,
    }
