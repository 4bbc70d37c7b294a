"""Video in, video out: everything about files, containers, timestamps and samples, and nothing about faces.

* :func:`probe` tells what a source holds.
* :class:`Reader` yields its frames, upright, in the decoder's own samples, with exact times.
* :class:`Writer` encodes frames and carries over sound, subtitles and chapters, all or nothing.
* :func:`check_target` finds out before any work whether the output can be written.
* :func:`read_mark` reads the synthetic-media mark of a finished file.
* :mod:`deid.media.convert` goes between planes and RGB.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .examine import probe
    from .mark import read_mark
    from .reader import Reader
    from .settings import EncodeSettings
    from .target import check_target
    from .writer import Writer

__all__ = ["EncodeSettings", "Reader", "Writer", "check_target", "probe", "read_mark"]

_HOMES = {
    "EncodeSettings": "settings",
    "Reader": "reader",
    "Writer": "writer",
    "check_target": "target",
    "probe": "examine",
    "read_mark": "mark",
}


def __getattr__(name: str) -> Any:
    # Loading FFmpeg costs a tenth of a second that `deid --help` should not pay.
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value
