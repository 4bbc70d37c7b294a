"""De-identify video: every face replaced by a fictional person's, everything else untouched.

    >>> from deid import deidentify
    >>> report = deidentify("interview.mp4", "interview.deid.mp4", seed=7)            # doctest: +SKIP
    >>> print(*report.lines(), sep="\\n")                                              # doctest: +SKIP

Importing this package is cheap; what it needs is loaded when first used.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from deid.config import RunConfig
    from deid.errors import (
        AuditFailed,
        BatchFailed,
        DamagedInput,
        DamagedRegistry,
        DeidError,
        DiskFull,
        InputError,
        InputNotFound,
        ModelError,
        NotMedia,
        NoVideoStream,
        OutputError,
        OutputExists,
        PrivacyError,
        UnsupportedInput,
        UsageError,
        WrongKey,
    )
    from deid.media.examine import probe
    from deid.progress import Progress
    from deid.report import RunReport

_HOME = {
    "RunConfig": "deid.config",
    "Progress": "deid.progress",
    "RunReport": "deid.report",
    "probe": "deid.media.examine",
    **dict.fromkeys(
        (
            "AuditFailed",
            "BatchFailed",
            "DamagedInput",
            "DamagedRegistry",
            "DeidError",
            "DiskFull",
            "InputError",
            "InputNotFound",
            "ModelError",
            "NotMedia",
            "NoVideoStream",
            "OutputError",
            "OutputExists",
            "PrivacyError",
            "UnsupportedInput",
            "UsageError",
            "WrongKey",
        ),
        "deid.errors",
    ),
}

__all__ = [
    "AuditFailed",
    "BatchFailed",
    "DamagedInput",
    "DamagedRegistry",
    "DeidError",
    "DiskFull",
    "InputError",
    "InputNotFound",
    "ModelError",
    "NoVideoStream",
    "NotMedia",
    "OutputError",
    "OutputExists",
    "PrivacyError",
    "Progress",
    "RunConfig",
    "RunReport",
    "UnsupportedInput",
    "UsageError",
    "WrongKey",
    "__version__",
    "deidentify",
    "probe",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__


def deidentify(
    source: str | Path,
    target: str | Path | None = None,
    *,
    progress: Progress | None = None,
    config: RunConfig | None = None,
    **options: Any,
) -> RunReport:
    """Write a copy of ``source`` in which every face is replaced by a fictional person's, or obscured.

    Parameters
    ----------
    source:
        A video, an image, or a folder of frames.
    target:
        Where the result goes; ``None`` puts it beside the source as ``<name>.deid.<extension>``. With ``dry_run`` no
        target is written. It appears only when the whole run has succeeded.
    progress:
        Told how far the run is, see :class:`deid.progress.Progress`; ``None`` shows nothing.
    config:
        All options as one value. Or give any of them by name:
    options:
        The fields of :class:`deid.config.RunConfig`, such as ``engine="solid"``, ``start=2.5``, ``overwrite=True``.

    Returns
    -------
    RunReport
        What was found and what was done; ``warnings`` holds what a person should look at.

    Raises
    ------
    DeidError
        One of its subclasses, see :mod:`deid.errors`; then there is no output.

    Examples
    --------
    >>> from deid import deidentify
    >>> report = deidentify("ward-7.mkv", "ward-7-public.mkv", engine="pixelate", end=90)     # doctest: +SKIP
    >>> report.warnings                                                                      # doctest: +SKIP
    ()
    """
    from deid.config import RunConfig, default_target
    from deid.errors import UsageError
    from deid.progress import QuietProgress

    if config is not None and options:
        raise UsageError("Give either config or single options, not both.")
    if config is None:
        unknown = sorted(set(options) - set(RunConfig.__dataclass_fields__))
        if unknown:
            raise UsageError(f"There is no option {unknown[0]!r}; RunConfig lists them all.")
        config = RunConfig(**options)
    source = Path(source)
    if config.dry_run:
        chosen = None
    else:
        chosen = default_target(source) if target is None else Path(target)
    from deid.pipeline import run

    with progress or QuietProgress() as shown:
        return run(source, chosen, config, shown)
