"""Audits of copies that stand, and audits' pages until they are where they belong."""

from __future__ import annotations

import json
from pathlib import Path

from deid.batch import pages
from deid.batch.job import Job, Places, numbers_of, take_away
from deid.batch.ledger import Ledger, Row
from deid.batch.merging import Message
from deid.config import RunConfig
from deid.errors import AuditFailed


class Judging:
    """``judged``: what :func:`deid.batch.job.judge_of` makes of ``config``. ``folder``: where pages go, if at all."""

    def __init__(
        self, ledger: Ledger, places: Places, config: RunConfig, judged: str | None, folder: Path | None
    ) -> None:
        self._ledger, self._places, self._config = ledger, places, config
        self._judged, self._folder = judged, folder

    def what_is_left(self, row: Row) -> str:
        """What is left to do with a copy that stands, as a job's fate: it may be asked to be audited only now."""
        if not self._config.audit:
            return "skip"
        page = self._folder / f"{row.target}.html" if self._folder is not None else None
        failed = self._config.strict and row.numbers["audit"] is False
        if row.judged == self._judged and not failed and (page is None or page.is_file()):
            return "skip"
        return "todo" if row.numbers["kept"] else "judge"  # only a run knows which faces it kept

    def hold(self, row: Row, text: str | None) -> None:
        """A page that came as a message."""
        if text is not None:
            page = self._places.page(row)
            page.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            page.write_text(text, encoding="utf-8")

    def adopt(self, row: Row) -> None:
        """Put the page where it belongs."""
        page = self._places.page(row)
        if self._folder is not None and page.exists():
            pages.adopt(page, self._folder, row.target)

    def take(self, job: Job, told: Message) -> None:
        """A copy that stood was audited. With ``strict`` one that fails goes, as a run would have left none: raises
        :class:`AuditFailed`."""
        report = {**(self._ledger.report(job.name) or {}), "audit": told["audit"]}
        self.hold(job.row, told["page"])
        self.adopt(job.row)
        with self._ledger.change():
            self._ledger.keep_report(job.name, report)
            job.row = self._ledger.put(job.row, judged=self._judged, summary=json.dumps(numbers_of(report)))
        if self._config.strict and not told["audit"]["passed"]:
            take_away(self._places.target(job.name))
            failed = ", ".join(c["name"] for c in told["audit"]["criteria"] if c["met"] is False)
            raise AuditFailed(f"the audit failed ({failed}), so the copy was taken away again: read the report.")
        job.fate = "judged"
