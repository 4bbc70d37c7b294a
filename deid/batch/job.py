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
from deid.errors import DeidError, InputError, InputNotFound, OutputError, OutputExists
from deid.media.target import as_output_error
from deid.remote import Url

PERMANENT = frozenset({2, 3, 4, 6, 7, 8})
"""Exit codes that another attempt would end with, too."""
NO_AUDIT: dict[str, Any] = {
    "audit": False, "strict": False, "recogniser": None, "recogniser_threshold": None, "recogniser_bgr": False,
}  # fmt: skip
"""Options of a run that is not to be judged."""
_NOT_IN_DIGEST = ("seed", "threads", "overwrite", "dry_run", "html", "signals", *NO_AUDIT)
_FILES = ("plan", "generator", "encoder", "mapper", "identity_encoder")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is asked of a batch, beside what is done with each file. ``retries``: further attempts for what may pass.
    ``again``: try, too, what was given up. ``overwrite``: take the place of files that are not this batch's.
    ``report``: folder for audits and their index. ``forget``: delete what is kept of people, though not all files are
    finished. ``debug``: what workers print shows. ``far``: they are on other machines, perhaps."""

    retries: int = 2
    again: bool = False
    overwrite: bool = False
    report: Path | None = None
    forget: bool = False
    debug: bool = False
    far: bool = False


FINISHED = ("done", "same", "skip", "judged")


@dataclass(slots=True, eq=False)
class Job:
    """``name``: of the copy, below DST. ``fate``: ``todo``, ``judge`` (finished, and to be audited), ``skip`` (finished
    before), ``given up`` (failed before) or, once it is through, ``done``, ``same`` (looked at again, and finished
    before), ``judged`` (finished before, and audited now) or ``failed``. ``stamp``: of the
    source as it is now. ``alone``: it was killed, and is tried again with nobody beside it. ``planned``: the source's
    content as the plan over all people has it. ``tries``: audits of it that failed."""

    item: Item
    name: str
    row: Row
    fate: str = "todo"
    stamp: str | None = None
    alone: bool = False
    planned: str | None = None
    tries: int = 0

    @property
    def is_over(self) -> bool:
        """Whether there is nothing to be made."""
        return self.fate != "todo"

    @property
    def copy_stands(self) -> bool:
        """Whether an earlier run finished it, and nothing calls for another copy."""
        return self.fate in ("skip", "judge")

    @property
    def is_finished(self) -> bool:
        """Whether its copy is there."""
        return self.fate in FINISHED


@dataclass(frozen=True, slots=True)
class Places:
    """Where things go. ``destination``: DST, absolute or a URL. ``hidden``: a folder of this ledger's in it, and
    ``beside``: one on this machine."""

    destination: Path | Url
    hidden: Path | Url
    beside: Path

    @classmethod
    def of(cls, destination: Path | Url, ledger: Path) -> Places:
        place = Path(os.path.abspath(ledger))
        own = f"unnamed-{hashlib.sha256(os.fsencode(place)).hexdigest()[:12]}"
        if isinstance(destination, Url):
            return cls(destination, destination / ".deid-batch" / own, place.parent / own)
        whole = Path(os.path.abspath(destination))
        hidden = whole / ".deid-batch" / own
        return cls(whole, hidden, hidden)

    def target(self, name: str) -> Path | Url:
        return self.destination / name

    def staging(self, row: Row) -> Path | Url:
        """The folder in which a copy is finished: each attempt has its own."""
        return self.hidden / self._own(row)

    def staged(self, row: Row) -> Path | Url:
        return self.staging(row) / PurePosixPath(row.target).name

    def page(self, row: Row) -> Path:
        """The audit's page, until it is put where it belongs."""
        return self.beside / f"{self._own(row)}.html"

    @staticmethod
    def _own(row: Row) -> str:
        return hashlib.sha256(f"{row.target}\0{row.begun!r}".encode(errors="surrogateescape")).hexdigest()[:24]

    def clear(self, row: Row) -> None:
        """Nothing that is unfinished stays."""
        _remove(self.staging(row))
        with suppress(OSError):
            self.page(row).unlink()

    def sweep(self) -> None:
        """Nothing stays of what any attempt left."""
        _remove(self.hidden)
        _remove(self.beside)

    def close(self) -> None:
        """The hidden folder goes where it is empty."""
        for folder in (self.hidden, self.beside):
            if isinstance(folder, Path):
                with suppress(OSError):
                    folder.rmdir()
            else:
                folder.remove()


def _remove(folder: Path | Url) -> None:
    if isinstance(folder, Url):
        folder.remove()
    else:
        shutil.rmtree(folder, ignore_errors=True)


def is_there(target: Path | Url) -> bool:
    """Whether there is anything of that name."""
    return target.exists() if isinstance(target, Url) else os.path.lexists(target)


def take_away(target: Path | Url) -> None:
    """Remove a copy."""
    if isinstance(target, Path) and not target.is_dir():
        target.unlink(missing_ok=True)
    else:
        _remove(target)


def is_ours(row: Row, target: Path | Url) -> bool:
    """Whether what lies at ``target`` is what this batch made last. Raises :class:`OSError` where it cannot be read."""
    if row.output is None or not target.exists():
        return False
    return row.output_stamp == stamp_of(target) or row.output == content_of(target)


def refuse_foreign(row: Row, target: Path | Url, overwrite: bool) -> None:
    """Raises :class:`OutputExists` where something lies at ``target`` that this batch did not make."""
    if overwrite or not is_there(target):
        return
    try:
        if is_ours(row, target):
            return
    except OSError as error:
        raise OutputError(f"{target} cannot be read ({error.strerror}); choose another place with -o.") from error
    raise OutputExists(f"{target} exists and is not what this batch made; move it away, or add --overwrite.")


def give_name(staged: Path | Url, target: Path | Url, may_replace: bool) -> None:
    """The finished copy at ``staged`` becomes ``target``, in one step. Raises the errors of
    :class:`~deid.errors.OutputError`."""
    if isinstance(staged, Url) or isinstance(target, Url):
        assert isinstance(staged, Url) and isinstance(target, Url)
        staged.move(target, may_replace=may_replace)
        return
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
    told["segments"] = config.segments > 1  # where a clip is cut does not depend on how many work on it
    for name in _FILES:
        path = getattr(config, name)
        told[name] = None if path is None else content_of(path)
    told["keep_like"] = [content_of(path) for path in config.keep_like]
    if config.key is not None:
        from deid.keys import read_key

        told["key"] = read_key(config.key).subkey("batch settings").hex()
        told["registry"] = os.path.abspath(config.registry) if config.registry is not None else None
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def settings_of(config: RunConfig) -> tuple[str, str | None]:
    """See :func:`digest_of` and :func:`judge_of`. Raises :class:`InputError` for a file that cannot be read."""
    try:
        return digest_of(config, config.seed), judge_of(config)
    except FileNotFoundError as error:
        raise InputNotFound(f"there is no {error.filename}; check the options that name files.") from error
    except OSError as error:
        raise InputError(f"{error.filename} cannot be read ({error.strerror}).") from error


def judge_of(config: RunConfig) -> str | None:
    """What tells whether a copy would be audited the same way again; ``None`` where it is not to be."""
    if not config.audit:
        return None
    told: list[Any] = [config.recogniser_threshold, config.recogniser_bgr]
    told.append(None if config.recogniser is None else content_of(config.recogniser))
    return hashlib.sha256(json.dumps([__version__, *told]).encode()).hexdigest()


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


def what_is_due(row: Row | None, item: Item, settings: tuple[str, str | None], target: Path | Url) -> str:
    """What a run would do with a file, in words, as far as can be told without reading it."""
    try:
        stamp = stamp_of(item.source)
    except OSError as error:
        return f"would fail ({error.strerror})"
    except DeidError as error:
        return f"would fail ({error})"
    if row is None:
        return "to be made" if not is_there(target) else "would fail: something of that name is there already"
    same = row.settings == settings[0] and row.version == __version__
    if row.state == "failed" and same and row.stamp == stamp:
        return f"failed before: {row.message}"
    if row.state == "done":
        if not is_there(target):
            return "to be made again: it is gone"
        if not same:
            return "to be made again: options or program have changed"
        if row.stamp != stamp:
            return "to be looked at: the source may have changed"
        return "finished" if settings[1] in (None, row.judged) else "finished, to be audited"
    return "to be made"
