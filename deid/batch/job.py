"""One file of a batch: what it is, what is known of it, and how its copy gets its name."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from deid import __version__
from deid.batch.files import Item, content_of, stamp_of
from deid.batch.ledger import Row
from deid.config import RunConfig
from deid.errors import InputError, InputNotFound, OutputError, OutputExists
from deid.media.target import as_output_error

PERMANENT = frozenset({2, 3, 4, 6, 7, 8})
"""Exit codes that another attempt would end with, too."""
_NOT_IN_DIGEST = ("seed", "threads", "overwrite", "dry_run", "html", "signals")
_FILES = ("plan", "recogniser", "generator", "encoder", "mapper", "identity_encoder")


NO_AUDIT: dict[str, Any] = {
    "audit": False, "strict": False, "recogniser": None, "recogniser_threshold": None, "recogniser_bgr": False,
}  # fmt: skip
"""Options of a run that is not to be judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is asked of a batch, beside what is done with each file. ``jobs``: processes at a time. ``retries``: further
    attempts for what may pass. ``stall``: seconds without a word after which a process is taken for hung. ``again``:
    try, too, what was given up. ``overwrite``: take the place of files that are not this batch's. ``report``: folder
    for audits and their index. ``forget``: delete what is kept of people, though not all files are finished."""

    jobs: int
    retries: int = 2
    stall: float = 900.0
    again: bool = False
    overwrite: bool = False
    report: Path | None = None
    forget: bool = False
    debug: bool = False


@dataclass(slots=True, eq=False)
class Job:
    """``name``: of the copy, below DST. ``fate``: ``todo``, ``skip`` (finished before), ``given up`` (failed before)
    or, once it is through, ``done``, ``same`` (looked at again, and finished before) or ``failed``. ``stamp``: of the
    source as it is now. ``alone``: it was killed, and is tried again with nobody beside it. ``planned``: the source's
    content as the plan over all people has it."""

    item: Item
    name: str
    row: Row
    fate: str = "todo"
    stamp: str | None = None
    alone: bool = False
    planned: str | None = None

    @property
    def is_over(self) -> bool:
        return self.fate != "todo"


@dataclass(frozen=True, slots=True)
class Places:
    """Where things go. ``destination``: DST, absolute. ``hidden``: a folder of this ledger's in it."""

    destination: Path
    hidden: Path

    @classmethod
    def of(cls, destination: Path, ledger: Path) -> Places:
        own = hashlib.sha256(os.fsencode(os.path.abspath(ledger))).hexdigest()[:12]
        whole = Path(os.path.abspath(destination))
        return cls(whole, whole / ".deid-batch" / f"unnamed-{own}")

    def target(self, name: str) -> Path:
        return self.destination / name

    def staging(self, name: str) -> Path:
        """The folder in which a copy is finished."""
        return self.hidden / hashlib.sha256(os.fsencode(name)).hexdigest()[:24]

    def staged(self, name: str) -> Path:
        return self.staging(name) / PurePosixPath(name).name

    def page(self, name: str) -> Path:
        """The audit's page, until it is put where it belongs."""
        staging = self.staging(name)
        return staging.with_name(f"{staging.name}.html")

    def clear(self, name: str) -> None:
        """Nothing that is unfinished stays."""
        shutil.rmtree(self.staging(name), ignore_errors=True)
        with suppress(OSError):
            self.page(name).unlink()


def is_ours(row: Row, target: Path) -> bool:
    """Whether what lies at ``target`` is what this batch made last. Raises :class:`OSError` where it cannot be read."""
    if row.output is None or not target.exists():
        return False
    return row.output_stamp == stamp_of(target) or row.output == content_of(target)


def refuse_foreign(row: Row, target: Path, overwrite: bool) -> None:
    """Raises :class:`OutputExists` where something lies at ``target`` that this batch did not make."""
    if overwrite or not os.path.lexists(target):
        return
    try:
        if is_ours(row, target):
            return
    except OSError as error:
        raise OutputError(f"{target} cannot be read ({error.strerror}); choose another place with -o.") from error
    raise OutputExists(f"{target} exists and is not what this batch made; move it away, or add --overwrite.")


def give_name(staged: Path, target: Path, may_replace: bool) -> None:
    """The finished copy at ``staged`` becomes ``target``, in one step. Raises the errors of
    :class:`~deid.errors.OutputError`."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if may_replace and not (staged.is_dir() or target.is_dir()):
            os.replace(staged, target)
        elif staged.is_dir():
            if may_replace and target.is_dir():
                os.rename(target, staged.parent / "old")
            os.rename(staged, target)
        else:
            try:
                os.link(staged, target)  # unlike a rename, never takes the place of what appeared meanwhile
            except FileExistsError:
                raise OutputExists(f"{target} appeared meanwhile; move it away, or add --overwrite.") from None
            except OSError:  # file systems without hard links
                if os.path.lexists(target):
                    raise
                os.rename(staged, target)
            else:
                os.unlink(staged)
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise as_output_error(str(target), error) from error


def digest_of(config: RunConfig, seed: int | None) -> str:
    """What tells whether a file would be made the same way again: every option but those that change nothing in it,
    with the contents of files they name. Raises :class:`OSError` for a file that cannot be read."""
    told: dict[str, Any] = {k: v for k, v in config.as_dict().items() if k not in _NOT_IN_DIGEST}
    told["seed"] = seed
    for name in _FILES:
        path = getattr(config, name)
        told[name] = None if path is None else content_of(path)
    told["keep_like"] = [content_of(path) for path in config.keep_like]
    if config.key is not None:
        from deid.keys import read_key

        told["key"] = read_key(config.key).subkey("batch settings").hex()
        told["registry"] = os.path.abspath(config.registry) if config.registry is not None else None
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def settings_of(config: RunConfig) -> str:
    """See :func:`digest_of`. Raises :class:`InputError` for a file that cannot be read."""
    try:
        return digest_of(config, config.seed)
    except FileNotFoundError as error:
        raise InputNotFound(f"there is no {error.filename}; check the options that name files.") from error
    except OSError as error:
        raise InputError(f"{error.filename} cannot be read ({error.strerror}).") from error


def numbers_of(report: Mapping[str, Any]) -> dict[str, Any]:
    """What the ledger's row, the table and the index tell of a run's report."""
    tracks = report["tracks"]
    audit = report["audit"]
    return {
        "frames": report["frames"],
        "seconds": report["seconds"],
        "engine": report["engine"],
        "people": len(report["people"]),
        **{fate: sum(t["outcome"] == fate for t in tracks) for fate in ("replaced", "obscured", "kept")},
        "damaged_frames": report["damaged_frames"],
        "warnings": list(report["warnings"]),
        "audit": None if audit is None else bool(audit["passed"]),
        "summary": [] if audit is None else list(audit["summary"]),
    }


def in_words(numbers: Mapping[str, Any]) -> str:
    """:func:`numbers_of` for people."""
    told = [f"{numbers[fate]} {fate}" for fate in ("replaced", "obscured", "kept") if numbers[fate]]
    if numbers["audit"] is not None:
        told.append("audit passed" if numbers["audit"] else "audit FAILED")
    return ", ".join(told) or "no face found"


def what_is_due(row: Row | None, item: Item, settings: str, target: Path) -> str:
    """What a run would do with a file, in words, as far as can be told without reading it."""
    try:
        stamp = stamp_of(item.source)
    except OSError as error:
        return f"would fail ({error.strerror})"
    if row is None:
        return "to be made" if not target.exists() else "would fail: something of that name is there already"
    same = row.settings == settings and row.version == __version__
    if row.state == "failed" and same and row.stamp == stamp:
        return f"failed before: {row.message}"
    if row.state == "done":
        if not target.exists():
            return "to be made again: it is gone"
        if not same:
            return "to be made again: options or program have changed"
        return "finished" if row.stamp == stamp else "to be looked at: the source may have changed"
    return "to be made"
