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

from deid.batch.files import Item, content_of, stamp_of
from deid.batch.ledger import Row
from deid.config import RunConfig
from deid.errors import OutputError, OutputExists
from deid.media.target import as_output_error

PERMANENT = frozenset({2, 3, 4, 6, 7, 8})
"""Exit codes that another attempt would end with, too."""
_NOT_IN_DIGEST = ("seed", "threads", "overwrite", "dry_run", "html", "signals")
_FILES = ("plan", "recogniser", "generator", "encoder", "mapper", "identity_encoder")


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
