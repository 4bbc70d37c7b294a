"""The folder of ``--report``: each file's report and audit, and an index over all of them. No scripts, nothing from
elsewhere; names of files as they are below the sources, no other paths."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from html import escape
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from deid.batch.job import Job
from deid.batch.ledger import Ledger
from deid.errors import OutputError
from deid.files import put

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; padding: .3rem .8rem .3rem 0;
border-bottom: 1px solid #ddd; vertical-align: top; } td.n { text-align: right; } .bad { color: #a00; }
.good { color: #060; } small { color: #666; } @media print { a { color: inherit; text-decoration: none; } }
"""


def adopt(page: Path, folder: Path, name: str) -> None:
    """Put the audit's page of the copy ``name`` where it belongs. Raises :class:`OutputError`."""
    target = folder / f"{name}.html"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.part")
        shutil.move(page, part)
        os.replace(part, target)
    except OSError as error:
        raise OutputError(f"{target} cannot be written ({error.strerror}); choose another place.") from error


def write(folder: Path, jobs: Sequence[Job], ledger: Ledger) -> None:
    """Every report, ``index.json`` and ``index.html``; what is there under these names makes way. Raises
    :class:`OutputError`."""
    entries = [entry_of(job) for job in jobs]
    try:
        for job, entry in zip(jobs, entries, strict=True):
            if not entry["finished"]:
                continue
            report = ledger.report(job.name)
            if report is not None:
                place = folder / f"{job.name}.json"
                place.parent.mkdir(parents=True, exist_ok=True)
                put(place, json.dumps(report, indent=2, ensure_ascii=False) + "\n", True)
            entry["page"] = (folder / f"{job.name}.html").is_file()
        folder.mkdir(parents=True, exist_ok=True)
        put(folder / "index.json", json.dumps({"files": entries}, indent=2, ensure_ascii=False) + "\n", True)
        put(folder / "index.html", index(entries), True)
    except OSError as error:
        raise OutputError(f"the reports cannot go to {folder} ({error.strerror}); choose another place.") from error


def entry_of(job: Job) -> dict[str, Any]:
    """What is told of one file, for programs."""
    finished = job.is_finished
    return {
        "source": str(job.item.relative),
        "target": job.name,
        "outcome": job.fate,
        "finished": finished,
        "exit_code": 0 if finished else job.row.code,
        "message": None if finished else job.row.message,
        "attempts": job.row.attempts,
        "seconds": job.row.seconds if finished else None,
        **(job.row.numbers if finished else {}),
    }


def index(entries: Sequence[dict[str, Any]]) -> str:
    """The page over all files: what failed first, then what an audit found, then the rest."""
    finished = [e for e in entries if e["finished"]]
    judged = [e for e in finished if e["audit"] is not None]
    told = [
        f"{len(finished)} of {len(entries)} files finished, {len(entries) - len(finished)} failed.",
        f"{sum(e['audit'] for e in judged)} of {len(judged)} audits passed." if judged else "No file was audited.",
    ]
    ranked = sorted(entries, key=lambda e: (e["finished"], e.get("audit") is not False, e["target"]))
    rows = "\n".join(_row(entry) for entry in ranked)
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Batch</title><style>{_STYLE}</style></head><body>
<h1>Batch</h1>
{"".join(f"<p>{escape(line)}</p>" for line in told)}
<table><thead><tr><th>file</th><th>outcome</th><th>audit</th><th>people</th><th>faces replaced</th><th>obscured</th>
<th>kept</th><th>to know</th></tr></thead><tbody>
{rows}
</tbody></table>
<p><small>Each audit judges one file by itself. Files in which a person keeps one face can be told to show one person.
</small></p>
</body></html>
"""


def _row(entry: dict[str, Any]) -> str:
    name = escape(entry["target"])
    if not entry["finished"]:
        message = escape(entry["message"] or "not tried")
        return f'<tr><td>{name}</td><td class="bad">failed</td><td colspan="5"></td><td>{message}</td></tr>'
    link = quote(str(PurePosixPath(entry["target"])))
    audit = "not audited"
    if entry["audit"] is not None:
        audit = f'<span class="{"good" if entry["audit"] else "bad"}">{"passed" if entry["audit"] else "FAILED"}</span>'
    if entry.get("page"):
        audit = f'<a href="{link}.html">{audit}</a>'
    numbers = "".join(f'<td class="n">{entry[key]}</td>' for key in ("people", "replaced", "obscured", "kept"))
    notes = "; ".join(entry["warnings"])
    outcome = f'<a href="{link}.json">finished</a>'
    return f"<tr><td>{name}</td><td>{outcome}</td><td>{audit}</td>{numbers}<td>{escape(notes)}</td></tr>"
