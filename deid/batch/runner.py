"""A batch, from what is there to what is told.

Look at every file and at the ledger; who is in the files, where a person is to keep one face in all of them; then make
what is not made yet, each file in a process of its own. Only this process writes the ledger and gives names to outputs,
so that whatever dies, and when, the next run goes on from a state that is true.
"""

from __future__ import annotations

import base64
import json
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    numbers_of,
    refuse_foreign,
    settings_of,
)
from deid.batch.ledger import Ledger, Row
from deid.batch.pool import Pool, Worker, how_it_ended
from deid.config import OBSCURING, RunConfig
from deid.errors import DeidError
from deid.keys import seed_from

if TYPE_CHECKING:
    from deid.batch.people import Cast, Seal
    from deid.registry import Entry

_POLL = 0.2  # seconds
Message = dict[str, Any]


class Batch:
    """``items``: the sources; ``names``: of their copies below ``destination``. ``config``: for each of them.
    ``check``: called often, may raise to stop."""

    def __init__(
        self,
        items: Sequence[Item],
        names: Sequence[str],
        destination: Path,
        ledger: Ledger,
        config: RunConfig,
        options: Options,
        board: Board,
        check: Callable[[], None],
    ) -> None:
        self._ledger, self._config, self._options = ledger, config, options
        self._board, self._check = board, check
        self._places = Places.of(destination, ledger.path)
        self._settings = settings_of(config)
        self._merges = config.scope in ("batch", "key") and config.engine not in OBSCURING
        self._cast: Cast | None = None
        self._seal: Seal | None = None
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
            self._find_people()
        self._make()
        if self._merges and (self._options.forget or all(j.fate in ("skip", "same", "done") for j in self.jobs)):
            self._forget_people()
        with suppress(OSError):
            self._places.hidden.rmdir()
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
        shutil.rmtree(self._places.hidden, ignore_errors=True)
        for job in self.jobs:
            self._check()
            self._judge(job)

    def _name_after_all(self, job: Job) -> None:
        staged, target = self._places.staged(job.name), self._places.target(job.name)
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
            job.fate = "todo"  # its own run says what is wrong
            job.stamp = f"unreadable: {error.strerror}"
        same = row.settings == self._settings and row.version == __version__
        if not same or row.stamp != job.stamp or self._options.again:
            job.row = row = replace(row, attempts=0)
        if row.state == "failed" and same and row.stamp == job.stamp and not self._options.again:
            job.fate = "given up"
        elif row.state == "done" and same and row.stamp == job.stamp and self._is_there(job):
            job.fate = "skip"
        elif row.state == "waiting" and row.attempts > self._options.retries:
            job.fate = "given up"
            job.row = self._ledger.put(row, state="failed")

    def _is_there(self, job: Job) -> bool:
        try:
            return is_ours(job.row, self._places.target(job.name))
        except OSError:
            return False

    # -- people -----------------------------------------------------------------------------------------------------

    def _find_people(self) -> None:
        """Look through every file that is to be made, and settle who is who."""
        from deid.batch import people
        from deid.keys import read_key
        from deid.registry import Registry

        todo = [job for job in self.jobs if not job.is_over]
        if not todo and not (self._unregistered and self._config.key is not None):
            return
        registered: tuple[Entry, ...] = ()
        if self._config.key is not None and self._config.registry is not None:
            key = read_key(self._config.key)
            self._seal = people.Seal(key.subkey("batch ledger", self._ledger.secret))
            with Registry(self._config.registry, key, self._config.key) as registry:
                registered = registry.entries
        else:
            self._seal = people.open_seal(self._ledger.path)
        known = self._known_people()
        if any(job.fate == "skip" and job.row.content not in known for job in self.jobs) and self._config.key is None:
            self._board.say(
                "the batch was finished, and who was in its files is forgotten: people in new files get new faces"
            )
        missing = [j for j in todo if j.row.stamp != j.stamp or j.row.content not in known]
        if missing:
            self._drive("looking for people", missing, "people")
        known = self._known_people()
        wanted = {j.row.content for j in self.jobs if j.fate in ("skip", "todo")}
        files = {content: people.of_words(words) for content, words in known.items() if content in wanted}
        self._cast = people.Cast(self._ledger, self._seal, files, registered)
        for job in self.jobs:
            job.planned = job.row.content if job.row.content in files and job.fate != "failed" else None
            if job.fate == "skip" and job.planned is not None:
                if job.row.inputs is not None and job.row.inputs != self._cast.inputs(job.planned):
                    job.fate = "todo"  # somebody in it has another face by now
                elif self._unregistered:
                    self._register(job.planned)

    def _known_people(self) -> dict[str, list[Message]]:
        assert self._seal is not None
        opened = {
            content: self._seal.open(sealed, content.encode())
            for content, sealed in self._ledger.people(self._settings).items()
        }
        return {content: words for content, words in opened.items() if words is not None}

    def _forget_people(self) -> None:
        from deid.batch.people import destroy_key

        destroy_key(self._ledger.path)
        self._ledger.forget_people()

    # -- the work ---------------------------------------------------------------------------------------------------

    def _make(self) -> None:
        todo = [job for job in self.jobs if not job.is_over]
        if todo:
            self._drive("de-identifying", todo, "run")

    def _drive(self, what: str, jobs: Sequence[Job], kind: str) -> None:
        """Give every job to a process, again where another attempt may help, until all are through."""
        # what was under way when a run was stopped may have stopped it: it comes last
        queue = sorted(jobs, key=lambda job: (job.row.stops, job.row.content or "" if self._cast else "", job.name))
        self._board.begin(what, [job.name for job in queue])
        running: dict[str, Job] = {}
        with Pool(self._options.jobs, self._options.stall, self._options.debug) as pool:
            while queue or running:
                self._check()
                while pool.has_room and (job := self._next(queue, running, kind)) is not None:
                    queue.remove(job)
                    if self._start(pool, job, kind):
                        running[job.name] = job
                if queue and not running:
                    continue  # all that was started failed at once
                for name, message, worker in pool.listen(_POLL if running else 0.0):
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
        ready = [job for job in queue if kind == "people" or self._may_start(job)]
        together = next((job for job in ready if not job.alone), None)
        return together if together is not None or running else next(iter(ready), None)

    def _may_start(self, job: Job) -> bool:
        if self._cast is None or job.planned is None:
            return True
        return self._cast.is_ready(job.planned, {j.planned for j in self.jobs if j.is_over and j.planned is not None})

    def _start(self, pool: Pool, job: Job, kind: str) -> bool:
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
        self._places.clear(job.name)
        self._board.started(job.name)
        pool.start(job.name, self._task(job, kind, unless))
        return True

    def _task(self, job: Job, kind: str, unless: str | None) -> Message:
        config = self._config
        if kind == "people":
            config = replace(config, scope="video", key=None, registry=None, **NO_AUDIT)
        plan = None
        if kind == "run" and self._cast is not None and job.planned is not None:
            plan = self._cast.words(job.planned)
        seed, secret = config.seed, self._ledger.secret
        if seed is None and self._merges:
            seed = seed_from(secret, b"batch")
        return {
            "kind": kind,
            "source": str(job.item.source),
            "staging": str(self._places.staging(job.name)),
            "name": self._places.staged(job.name).name,
            "config": {**config.as_dict(), "seed": None},
            "seed": seed,
            "secret": base64.b64encode(secret).decode(),
            "unless": unless,
            "planned": None if plan is None else job.planned,
            "plan": plan,
            "pages": self._options.report is not None,
            "debug": self._options.debug,
        }

    def _hear(self, name: str, message: Message) -> None:
        kind = message["t"]
        if kind == "note":
            self._board.say(f"{name}: {message['text']}")
        elif kind in ("stage", "done"):
            self._board.told(name, message)
        else:
            self._said[name][kind] = message

    def _through(self, job: Job, kind: str, worker: Worker) -> bool:
        """A process has ended: keep what came of it. Whether to try again."""
        said = self._said.pop(job.name)
        content = said.get("content")
        if content is not None:
            job.row, job.stamp = replace(job.row, content=content["is"], stamp=content["stamp"]), content["stamp"]
        if worker.process.returncode == 0 and {"end", "people", "same"} & said.keys():
            try:
                self._keep(job, said, time.monotonic() - worker.began)
                return False
            except DeidError as error:
                return self._failed(job, error.exit_code, str(error))
        if "fail" in said:
            return self._failed(job, said["fail"]["code"], said["fail"]["message"])
        job.alone = worker.process.returncode == -9 and not worker.hung
        return self._failed(job, *how_it_ended(worker))

    def _keep(self, job: Job, said: dict[str, Message], took: float) -> None:
        if "same" in said:
            job.row = self._ledger.put(job.row, state="done")
            job.fate = "same"
            self._board.ended(job.name, "as it was")
        elif "people" in said:
            assert self._seal is not None and job.row.content is not None
            sealed = self._seal.close(said["people"]["people"], job.row.content.encode())
            with self._ledger.change():
                self._ledger.keep_people(job.row.content, self._settings, sealed)
                job.row = self._ledger.put(job.row)
            self._board.ended(job.name, "done", f"people: {len(said['people']['people'])}")
        else:
            self._name(job, said["end"], took)

    def _name(self, job: Job, end: Message, took: float) -> None:
        """The copy is finished: say so in the ledger, give it its name, and say that, too."""
        target, staged = self._places.target(job.name), self._places.staged(job.name)
        refuse_foreign(job.row, target, self._options.overwrite)
        replaces = target.exists()
        report, cast, content = end["report"], self._cast, job.planned
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
            )
        give_name(staged, target, may_replace=replaces)
        job.row = self._finished(job)
        self._places.clear(job.name)
        job.fate = "done"
        self._board.ended(job.name, "done", in_words(job.row.numbers))

    def _finished(self, job: Job) -> Row:
        """What comes with a name that was given: the registry's new people, and the page."""
        if self._cast is not None and job.planned is not None:
            self._register(job.planned)
        page = self._places.page(job.name)
        if self._options.report is not None and page.exists():
            pages.adopt(page, self._options.report, job.name)
        return self._ledger.put(job.row, state="done", output_stamp=stamp_of(self._places.target(job.name)))

    def _register(self, content: str) -> None:
        from deid.keys import read_key
        from deid.registry import Registry

        assert self._cast is not None
        chosen = self._cast.chosen_by(content)
        if self._config.key is None or self._config.registry is None or not chosen:
            return
        with Registry(self._config.registry, read_key(self._config.key), self._config.key) as registry:
            registry.hold(lambda first: self._check())
            for entry in chosen:
                registry.add(entry)
            registry.prepare()
            registry.commit()

    def _failed(self, job: Job, code: int, message: str) -> bool:
        attempts = job.row.attempts + 1
        if code in PERMANENT or attempts > self._options.retries:
            self._give_up(job, code, message, attempts)
            return False
        self._places.clear(job.name)
        told = {"code": code, "message": message, "settings": self._settings, "version": __version__}
        job.row = self._ledger.put(job.row, state="waiting", attempts=attempts, **told)
        self._board.ended(job.name, "again", message)
        return True

    def _give_up(self, job: Job, code: int, message: str, attempts: int) -> None:
        self._places.clear(job.name)
        if self._is_there(job):
            message = f"{message.rstrip('.')}; the copy that an earlier run made is still there."
        job.row = self._ledger.put(
            job.row, state="failed", stamp=job.stamp, settings=self._settings, version=__version__,
            attempts=attempts, code=code, message=message,
        )  # fmt: skip
        job.fate = "failed"
        self._board.ended(job.name, "failed", message)
