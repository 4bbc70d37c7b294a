"""A batch, from what is there to what is told.

Look at every file and at the ledger; who is in the files, where a person is to keep one face in all of them; then make
what is not made yet, and audit what is to be audited, each file in a process of its own. Only this process writes the
ledger and gives names to outputs, so that whatever dies, and when, the next run goes on from a state that is true.
"""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from deid import __version__
from deid.batch import pages
from deid.batch.board import Board
from deid.batch.files import Item, content_of, stamp_of
from deid.batch.job import (
    NO_AUDIT,
    PERMANENT,
    Job,
    Options,
    Places,
    give_name,
    in_words,
    is_ours,
    is_there,
    numbers_of,
    refuse_foreign,
    settings_of,
)
from deid.batch.judging import Judging
from deid.batch.ledger import Ledger, Row
from deid.batch.merging import Merging, Message
from deid.batch.pool import Crew, Hand
from deid.config import OBSCURING, RunConfig
from deid.errors import AuditFailed, DeidError
from deid.keys import seed_from
from deid.remote import Url

_POLL = 0.2  # seconds


class Batch:
    """``items``: the sources; ``names``: of their copies below ``destination``. ``config``: for each of them.
    ``crew``: gathers who works, for one pass over the files. ``check``: called often, may raise to stop."""

    def __init__(
        self,
        items: Sequence[Item],
        names: Sequence[str],
        destination: Path | Url,
        ledger: Ledger,
        config: RunConfig,
        options: Options,
        crew: Callable[[], Crew],
        board: Board,
        check: Callable[[], None],
    ) -> None:
        self._ledger, self._config, self._options = ledger, config, options
        self._crew, self._board, self._check = crew, board, check
        self._places = Places.of(destination, ledger.path)
        self._settings, self._judged = settings_of(config)
        self._merges = config.scope in ("batch", "key") and config.engine not in OBSCURING
        self._merging = Merging(ledger, config, self._settings, check)
        self._judging = Judging(ledger, self._places, config, self._judged, options.report)
        self._proof: tuple[str, str] | None = None
        self._said: dict[str, Message] = {}
        self._unregistered = False
        rows = ledger.rows()
        self.jobs = [
            Job(item, name, rows.get(name) or Row(name, str(item.source)))
            for item, name in zip(items, names, strict=True)
        ]
        self._by_name = {job.name: job for job in self.jobs}

    def run(self) -> None:
        """Everything. What failed is told by the jobs; raised is only what stops the whole batch."""
        self._catch_up()
        if self._merges:
            self._merging.settle(
                self.jobs, self._unregistered, self._board.say,
                lambda missing: self._drive("looking for people", missing, "people"),
            )  # fmt: skip
        for what, kind, fate in (("de-identifying", "run", "todo"), ("auditing", "audit", "judge")):
            jobs = [job for job in self.jobs if job.fate == fate]
            if jobs:
                self._drive(what, jobs, kind)
        if self._merges and (self._options.forget or all(job.is_finished for job in self.jobs)):
            self._merging.forget()
        if self._proof is not None:
            Path(self._proof[0]).unlink(missing_ok=True)
        self._places.close()
        if self._options.report is not None:
            pages.write(self._options.report, self.jobs, self._ledger)

    # -- what is there ----------------------------------------------------------------------------------------------

    def _catch_up(self) -> None:
        """Finish what a killed run was about to name, sweep up, and see what is left to do."""
        for job in self.jobs:
            self._check()
            if job.row.state == "naming":
                self._unregistered = True
                self._name_after_all(job)
            elif job.row.state == "running":
                job.row = self._ledger.put(job.row, state="waiting", stops=job.row.stops + 1)
        self._places.sweep()
        for job in self.jobs:
            self._check()
            self._judge(job)

    def _name_after_all(self, job: Job) -> None:
        staged, target = self._places.staged(job.row), self._places.target(job.name)
        with suppress(OSError, DeidError):
            if target.exists() and content_of(target) == job.row.output:
                job.row = self._finished(job)
                return
            if staged.exists() and content_of(staged) == job.row.output:
                old = job.row.output_stamp
                if not target.exists() or self._options.overwrite or stamp_of(target) == old:
                    give_name(staged, target, may_replace=target.exists())
                    job.row = self._finished(job)
                    return
        job.row = self._ledger.put(job.row, state="waiting")

    def _judge(self, job: Job) -> None:
        """Whether there is anything to do."""
        row = job.row
        try:
            job.stamp = stamp_of(job.item.source)
        except OSError as error:
            job.stamp = f"unreadable: {error.strerror}"  # its own run says what is wrong
        except DeidError as error:
            job.stamp = f"unreadable: {error}"
        same = row.settings == self._settings and row.version == __version__
        if not same or row.stamp != job.stamp or self._options.again:
            job.row = row = replace(row, attempts=0)
        if row.state == "failed" and same and row.stamp == job.stamp and not self._options.again:
            job.fate = "given up"
        elif row.state == "done" and same and row.stamp == job.stamp and self._is_there(job):
            job.fate = self._judging.what_is_left(row)
        elif row.state == "waiting" and row.attempts > self._options.retries:
            job.fate = "given up"
            job.row = self._ledger.put(row, state="failed")

    def _is_there(self, job: Job) -> bool:
        try:
            return is_ours(job.row, self._places.target(job.name))
        except (OSError, DeidError):
            return False

    # -- the work ---------------------------------------------------------------------------------------------------

    def _drive(self, what: str, jobs: Sequence[Job], kind: str) -> None:
        """Give every job to a process, again where another attempt may help, until all are through."""
        # what was under way when a run was stopped may have stopped it: it comes last
        by_content = self._merging.cast is not None
        queue = sorted(jobs, key=lambda job: (job.row.stops, job.row.content or "" if by_content else "", job.name))
        self._board.begin(what, [job.name for job in queue])
        running: dict[str, Job] = {}
        with self._crew() as crew:
            while queue or running:
                self._check()
                while crew.has_room and (job := self._next(queue, running, kind)) is not None:
                    queue.remove(job)
                    if self._start(crew, job, kind):
                        running[job.name] = job
                if queue and not running:
                    continue  # all that was started failed at once
                for name, message, worker in crew.listen(_POLL if running else 0.0):
                    if message is not None:
                        self._hear(name, message)
                        continue
                    job = running.pop(name)
                    if self._through(job, kind, worker):
                        queue.append(job)
                self._board.turn()

    def _next(self, queue: Sequence[Job], running: dict[str, Job], kind: str) -> Job | None:
        if any(job.alone for job in running.values()):
            return None
        ready = [job for job in queue if kind != "run" or self._may_start(job)]
        together = next((job for job in ready if not job.alone), None)
        return together if together is not None or running else next(iter(ready), None)

    def _may_start(self, job: Job) -> bool:
        if self._merging.cast is None or job.planned is None:
            return True
        over = {j.planned for j in self.jobs if j.is_over and j.planned is not None}
        return self._merging.cast.is_ready(job.planned, over)

    def _start(self, crew: Crew, job: Job, kind: str) -> bool:
        """Whether there is anything to wait for."""
        try:
            if kind == "run":
                refuse_foreign(job.row, self._places.target(job.name), self._options.overwrite)
        except DeidError as error:
            self._board.started(job.name)
            self._give_up(job, error.exit_code, str(error), attempts=job.row.attempts)
            return False
        row = job.row
        same = row.settings == self._settings and row.version == __version__ and row.stamp != job.stamp
        unless = row.content if kind == "run" and row.state == "done" and same and self._is_there(job) else None
        self._said[job.name] = {}
        if kind == "run":
            job.row = self._ledger.put(row, state="done" if unless else "running", begun=time.time())
            self._places.clear(job.row)
        self._board.started(job.name)
        crew.start(job.name, self._task(job, kind, unless))
        return True

    def _task(self, job: Job, kind: str, unless: str | None) -> Message:
        config = self._config
        if kind == "people":
            config = replace(config, scope="video", key=None, registry=None, **NO_AUDIT)
        plan = None
        if kind == "run" and self._merging.cast is not None and job.planned is not None:
            plan = self._merging.cast.words(job.planned)
        seed, secret = config.seed, self._ledger.secret
        if seed is None and self._merges:
            seed = seed_from(secret, b"batch")
        return {
            "kind": kind,
            "source": _text(job.item.source),
            "staging": _text(self._places.staging(job.row)),
            "name": self._places.staged(job.row).name,
            "target": _text(self._places.target(job.name)),
            "output": job.row.output,
            "proof": self._prove() if kind != "people" else None,
            "config": {**config.as_dict(), "seed": None},
            "seed": seed,
            "secret": base64.b64encode(secret).decode(),
            "unless": unless,
            "planned": None if plan is None else job.planned,
            "plan": plan,
            "pages": self._options.report is not None,
            "debug": self._options.debug,
        }

    def _prove(self) -> tuple[str, str] | None:
        """A file in DST by which workers on other machines know that it is the same folder there."""
        hidden = self._places.hidden
        if self._options.far and self._proof is None and isinstance(hidden, Path):
            hidden.mkdir(parents=True, exist_ok=True)
            proof = hidden / "proof"
            proof.write_text(text := secrets.token_hex(16))
            self._proof = str(proof), text
        return self._proof

    def _hear(self, name: str, message: Message) -> None:
        kind = message["t"]
        if kind == "note":
            self._board.say(f"{name}: {message['text']}")
        elif kind in ("stage", "done"):
            self._board.told(name, message)
        else:
            self._said[name][kind] = message

    def _through(self, job: Job, kind: str, worker: Hand) -> bool:
        """A process has ended: keep what came of it. Whether to try again."""
        said = self._said.pop(job.name)
        content = said.get("content")
        if content is not None:
            job.row, job.stamp = replace(job.row, content=content["is"], stamp=content["stamp"]), content["stamp"]
        if worker.code == 0 and {"end", "people", "same", "audit"} & said.keys():
            try:
                self._keep(job, said, time.monotonic() - worker.began)
                return False
            except DeidError as error:
                return self._failed(job, kind, error.exit_code, str(error))
        if "fail" in said:
            return self._failed(job, kind, said["fail"]["code"], said["fail"]["message"])
        job.alone = worker.code == -9 and not worker.hung
        return self._failed(job, kind, *worker.how_it_ended())

    def _keep(self, job: Job, said: dict[str, Message], took: float) -> None:
        if "same" in said:
            job.row = self._ledger.put(job.row, state="done")
            job.fate = "judge" if self._judging.what_is_left(job.row) == "judge" else "same"
            self._board.ended(job.name, "as it was")
        elif "audit" in said:
            self._judging.take(job, said["audit"])
            self._board.ended(job.name, "audited", in_words(job.row.numbers))
        elif "people" in said:
            assert job.row.content is not None
            with self._ledger.change():
                self._merging.keep(job.row.content, said["people"]["people"])
                job.row = self._ledger.put(job.row)
            self._board.ended(job.name, "done", f"people: {len(said['people']['people'])}")
        else:
            self._name(job, said["end"], took)

    def _name(self, job: Job, end: Message, took: float) -> None:
        """The copy is finished: say so in the ledger, give it its name, and say that, too."""
        target, staged = self._places.target(job.name), self._places.staged(job.row)
        refuse_foreign(job.row, target, self._options.overwrite)
        replaces = is_there(target)
        report, cast, content = end["report"], self._merging.cast, job.planned
        self._judging.hold(job.row, end.get("page"))
        with self._ledger.change():
            if cast is not None and content is not None:
                cast.learned(content, end["personas"])
            self._ledger.keep_report(job.name, report)
            job.row = self._ledger.put(
                job.row,
                state="naming",
                settings=self._settings,
                version=__version__,
                inputs=cast.inputs(content) if cast is not None and content is not None else None,
                code=0,
                message=None,
                seconds=round(took, 3),
                output=end["output"],
                output_stamp=stamp_of(target) if replaces else None,
                summary=json.dumps(numbers_of(report)),
                judged=self._judged,
            )
        give_name(staged, target, may_replace=replaces)
        job.row = self._finished(job)
        self._places.clear(job.row)
        job.fate = "done"
        self._board.ended(job.name, "done", in_words(job.row.numbers))

    def _finished(self, job: Job) -> Row:
        """What comes with a name that was given: the registry's new people, and the page."""
        if self._merging.cast is not None and job.planned is not None:
            self._merging.register(job.planned)
        self._judging.adopt(job.row)
        return self._ledger.put(job.row, state="done", output_stamp=stamp_of(self._places.target(job.name)))

    def _failed(self, job: Job, kind: str, code: int, message: str) -> bool:
        if kind == "audit" and code != AuditFailed.exit_code:  # what an earlier run made stays finished
            job.tries += 1
            if code not in PERMANENT and job.tries <= self._options.retries:
                self._board.ended(job.name, "again", message)
                return True
            job.row = replace(job.row, code=code, message=f"it is finished, but not audited: {message}")
            job.fate = "failed"
            self._board.ended(job.name, "failed", message)
            return False
        attempts = job.row.attempts + 1
        if code in PERMANENT or attempts > self._options.retries:
            self._give_up(job, code, message, attempts)
            return False
        self._places.clear(job.row)
        told = {"code": code, "message": message, "settings": self._settings, "version": __version__}
        job.row = self._ledger.put(job.row, state="waiting", attempts=attempts, **told)
        self._board.ended(job.name, "again", message)
        return True

    def _give_up(self, job: Job, code: int, message: str, attempts: int) -> None:
        self._places.clear(job.row)
        if self._is_there(job):
            message = f"{message.rstrip('.')}; the copy that an earlier run made is still there."
        job.row = self._ledger.put(
            job.row, state="failed", stamp=job.stamp, settings=self._settings, version=__version__,
            attempts=attempts, code=code, message=message,
        )  # fmt: skip
        job.fate = "failed"
        self._board.ended(job.name, "failed", message)


def _text(place: Path | Url) -> str:
    return place.text if isinstance(place, Url) else str(place)
