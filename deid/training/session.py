"""What every training shares: a folder, a time budget, saved states to go on from, statistics, grids of pictures.

A folder holds ``options.json``, ``state.pt`` (networks and optimisers, this machine only), ``stats.jsonl`` (a line
every few seconds), ``grid-*.png``, and at the end ``weights.safetensors``. Progress is counted in pictures, as in T.
Karras et al., *Elucidating the Design Space of Diffusion-Based Generative Models*' code and its forerunners.
"""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from deid import imaging
from deid.errors import OutputError, UsageError
from deid.models.checkpoints import native
from deid.models.checkpoints.bundle import Network
from deid.models.checkpoints.pickles import read_torch
from deid.progress import Progress
from deid.training.dataset import batches

_STATE = "state.pt"


@dataclass(frozen=True, slots=True)
class Budget:
    """When to stop: after so many seconds of this call, or so many pictures over all calls; whatever comes first.
    ``every``: seconds between states that are saved, and between grids."""

    seconds: float
    pictures: int
    every: float = 300.0


def best_device() -> torch.device:
    """Where trainings run: a GPU where torch sees one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def short() -> torch.autocast:
    """A context in which networks multiply in bfloat16 where the device does that itself: on processors a third less
    time. For forward passes whose slopes are taken once; losses and penalties stay in float32."""
    if best_device().type == "cuda":
        return torch.autocast("cuda", torch.bfloat16)
    able = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) if torch.backends.mkldnn.is_available() else False
    return torch.autocast("cpu", torch.bfloat16, enabled=able)


class Training(Protocol):
    """What :func:`train` drives: some networks and how they learn."""

    def state(self) -> dict[str, Any]:
        """Everything that has to be kept to go on."""

    def load(self, state: Mapping[str, Any]) -> None:
        """The way back from :meth:`state`."""

    def step(self, rows: np.ndarray, used: float, session: Session) -> None:
        """One step on the pictures ``rows``; ``used``: share of the budget, 0 to 1."""

    def show(self, session: Session, name: str) -> None:
        """Grids of pictures and measurements, whenever a state is saved."""

    def networks(self) -> dict[str, Network]:
        """What is kept in the end."""


class Session:
    """One training, from the first call to the last. ``latest``: the newest line of statistics. Raises
    :class:`UsageError` when the folder holds one with other options, :class:`OutputError` when it cannot be
    written."""

    def __init__(self, folder: Path, options: Any, budget: Budget, progress: Progress) -> None:
        self.folder, self.budget, self.progress = folder, budget, progress
        self.pictures, self._spent = 0, 0.0
        self._began, self._saved, self._told = time.monotonic(), time.monotonic(), 0.0
        self.latest: dict[str, float] = {}
        self._sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        wanted = json.loads(json.dumps(asdict(options) if is_dataclass(options) else options))  # type: ignore[arg-type]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._stats = (folder / "stats.jsonl").open("a", encoding="utf-8")
        except OSError as error:
            raise OutputError(f"{folder} cannot be written: {error.strerror}; choose another folder.") from error
        kept = folder / "options.json"
        if kept.exists() and json.loads(kept.read_text()) != wanted:
            raise UsageError(f"{folder} holds a training with other options; choose another folder, or give the same.")
        kept.write_text(json.dumps(wanted, indent=1) + "\n")

    def resume(self, load: Callable[[Mapping[str, Any]], None]) -> bool:
        """Go on where an earlier call was, if there was one: ``load`` gets what it saved."""
        path = self.folder / _STATE
        if not path.exists():
            return False
        held = read_torch(path)
        self.pictures, self._spent = int(held["pictures"]), float(held["spent"])
        load(held["state"])
        return True

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the saved state, in one step."""
        part = self.folder / f".{_STATE}.part"
        torch.save({"pictures": self.pictures, "spent": self.spent, "state": _at_home(dict(state))}, part)
        os.replace(part, self.folder / _STATE)
        self._saved = time.monotonic()

    @property
    def spent(self) -> float:
        """Seconds of training, over all calls."""
        return self._spent + time.monotonic() - self._began

    def steps(self, batch: int) -> Iterator[float]:
        """Once a step, as long as there is budget left: how much of it is used, 0 to 1."""
        first = self.pictures
        self.progress.stage("training", max(self.budget.pictures - first, 0))
        while True:
            used = max(
                (time.monotonic() - self._began) / max(self.budget.seconds, 1e-9),
                self.pictures / max(self.budget.pictures, 1),
            )
            if used >= 1:
                return
            yield used
            self.pictures += batch
            self.progress.advance(batch)

    def due(self) -> bool:
        """Whether it is time to save a state and a grid."""
        return time.monotonic() - self._saved > self.budget.every

    def note(self, **numbers: torch.Tensor | float) -> None:
        """Add up statistics of a step; means of them are written every few seconds."""
        for name, value in numbers.items():
            entry = self._sums[name]
            entry[0] += float(value.detach() if isinstance(value, torch.Tensor) else value)
            entry[1] += 1
        if self.spent - self._told > 10:
            self.flush()

    def flush(self) -> None:
        """Write the means since the last time."""
        if not self._sums:
            return
        line = {"pictures": self.pictures, "seconds": round(self.spent, 1)}
        line |= {name: round(total / count, 6) for name, (total, count) in self._sums.items()}
        self._stats.write(json.dumps(line) + "\n")
        self.latest = line
        self._stats.flush()
        self._sums.clear()
        self._told = self.spent

    def grid(self, name: str, pictures: torch.Tensor, columns: int) -> None:
        """Write ``pictures``, (N, 3 or 4, H, W) in [-1, 1], as one picture; a fourth channel is opacity over grey."""
        colours = ((pictures.detach().float().cpu() + 1) / 2).clamp(0, 1)
        if colours.shape[1] == 4:
            colours = colours[:, :3] * colours[:, 3:] + 0.5 * (1 - colours[:, 3:])
        cells = (colours.permute(0, 2, 3, 1).numpy() * 255).round().astype(np.uint8)[..., ::-1]
        rows = [
            np.hstack(cells[start : start + columns]) for start in range(0, len(cells) // columns * columns, columns)
        ]
        path = self.folder / f"grid-{name}.png"
        path.write_bytes(imaging.encoded(np.vstack(rows), ".png"))

    def write(self, networks: Mapping[str, Network], history: Mapping[str, Any]) -> Path:
        """The weights that are kept, in half precision: ``weights.safetensors`` of the folder."""
        path = self.folder / "weights.safetensors"
        part = self.folder / ".weights.part"
        networks = {name: Network(n.shape, _at_home(dict(n.tensors))) for name, n in networks.items()}
        part.write_bytes(native.write(networks, half=True, history=json.dumps(dict(history))))
        os.replace(part, path)
        return path

    def close(self) -> None:
        self.flush()
        self._stats.close()


def _at_home(value: Any) -> Any:
    """``value`` with all tensors in it where every machine can read them."""
    if isinstance(value, torch.Tensor):
        return value.detach().cpu()
    if isinstance(value, Mapping):
        return {name: _at_home(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_at_home(item) for item in value)
    return value


def train(
    training: Training,
    folder: Path,
    options: Any,
    budget: Budget,
    progress: Progress,
    *,
    pictures: int,
    batch: int,
) -> Path:
    """Train, or go on training, until the budget is spent; the weights' place. ``options``: what has to be the same
    from one call to the next, a dataclass with a ``seed``. ``pictures``: how many there are; ``batch``: of a step."""
    session = Session(folder, options, budget, progress)
    session.resume(training.load)
    order = batches(pictures, batch, np.random.default_rng((options.seed, session.pictures)))

    def keep(name: str) -> None:
        training.show(session, name)
        session.save(training.state())

    try:
        for used in session.steps(batch):
            training.step(next(order), used, session)
            if session.due():
                keep(f"{session.pictures:08d}")
        keep("last")
    finally:
        session.close()
    history = {"options": asdict(options), **session.latest}
    return session.write(training.networks(), history)
