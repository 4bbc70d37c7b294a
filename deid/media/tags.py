"""What a file says about itself, by name."""

from __future__ import annotations

import os

from .images import is_image_source
from .source import opened

_CONTAINERS = ("major_brand", "minor_version", "compatible_brands", "handler_name", "vendor_id", "language", "duration")
_ENCODERS = ("encoder", "bps", "number_of_frames", "number_of_bytes", "_statistics_tags", "_statistics_writing_app")
HARMLESS = frozenset([*_CONTAINERS, *_ENCODERS, "comment", "digital_source_type"])
"""Names, in small letters, that containers and encoders write by themselves, and the mark of this package."""


def telling_tags(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Names of the metadata entries of a video's container and streams that are not :data:`HARMLESS`: titles, dates,
    places, devices; sorted, without their values. None for images. Raises what :func:`~deid.media.probe` raises."""
    name = os.fspath(path)
    if is_image_source(name):
        return ()
    with opened(name) as container:
        names = {*container.metadata, *(key for stream in container.streams for key in stream.metadata)}
    return tuple(sorted(n for n in names if n.lower().split("-")[0] not in HARMLESS))
