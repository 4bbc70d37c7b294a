"""Who is who over all files of a batch: asked of every file, settled once, forgotten at the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from deid.batch.job import Job
from deid.batch.ledger import Ledger
from deid.config import RunConfig

if TYPE_CHECKING:
    from deid.batch.people import Cast, Seal
    from deid.registry import Entry

Message = dict[str, Any]


class Merging:
    """``settings``: of the batch, as the ledger has them. ``check``: called often, may raise to stop.

    ``cast``: once people are settled, who is who."""

    def __init__(self, ledger: Ledger, config: RunConfig, settings: str, check: Callable[[], None]) -> None:
        self._ledger, self._config, self._settings, self._check = ledger, config, settings, check
        self._seal: Seal | None = None
        self.cast: Cast | None = None

    def settle(
        self, jobs: Sequence[Job], unregistered: bool, say: Callable[[str], None], look: Callable[[list[Job]], None]
    ) -> None:
        """Settle who is who in ``jobs``; ``look`` asks the files that were not asked yet. ``unregistered``: what was
        chosen by a run that was killed may not be in the registry yet. Files somebody in which has another face by now
        are to be made again."""
        from deid.batch import people
        from deid.keys import read_key
        from deid.registry import Registry

        todo = [job for job in jobs if not job.is_over]
        if not todo and not (unregistered and self._config.key is not None):
            return
        registered: tuple[Entry, ...] = ()
        if self._config.key is not None and self._config.registry is not None:
            key = read_key(self._config.key)
            self._seal = people.Seal(key.subkey("batch ledger", self._ledger.secret))
            with Registry(self._config.registry, key, self._config.key) as registry:
                registered = registry.entries
        else:
            self._seal = people.open_seal(self._ledger.path)
        known = self._known()
        if any(j.copy_stands and j.row.content not in known for j in jobs) and self._config.key is None:
            say("the batch was finished, and who was in its files is forgotten: people in new files get new faces")
        missing = [j for j in todo if j.row.stamp != j.stamp or j.row.content not in known]
        if missing:
            look(missing)
        known = self._known()
        wanted = {j.row.content for j in jobs if j.copy_stands or j.fate == "todo"}
        files = {content: people.of_words(words) for content, words in known.items() if content in wanted}
        self.cast = people.Cast(self._ledger, self._seal, files, registered)
        for job in jobs:
            job.planned = job.row.content if job.row.content in files and job.fate != "failed" else None
            if job.copy_stands and job.planned is not None:
                if job.row.inputs is not None and job.row.inputs != self.cast.inputs(job.planned):
                    job.fate = "todo"
                elif unregistered:
                    self.register(job.planned)

    def _known(self) -> dict[str, list[Message]]:
        assert self._seal is not None
        opened = {
            content: self._seal.open(sealed, content.encode())
            for content, sealed in self._ledger.people(self._settings).items()
        }
        return {content: words for content, words in opened.items() if words is not None}

    def keep(self, content: str, words: Sequence[Message]) -> None:
        """Who is in a file."""
        assert self._seal is not None
        self._ledger.keep_people(content, self._settings, self._seal.close(words, content.encode()))

    def register(self, content: str) -> None:
        """Whose surrogates a file chose, into the registry."""
        from deid.keys import read_key
        from deid.registry import Registry

        assert self.cast is not None
        chosen = self.cast.chosen_by(content)
        if self._config.key is None or self._config.registry is None or not chosen:
            return
        with Registry(self._config.registry, read_key(self._config.key), self._config.key) as registry:
            registry.hold(lambda first: self._check())
            for entry in chosen:
                registry.add(entry)
            registry.prepare()
            registry.commit()

    def forget(self) -> None:
        """Nothing of what faces look like stays."""
        from deid.batch.people import destroy_key

        destroy_key(self._ledger.path)
        self._ledger.forget_people()
