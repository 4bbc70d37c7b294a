"""Training f(w, da), which edits latent codes: Khodadadeh et al. 2022, section 3. The generator, H and the recogniser
stay as they are; all that is needed is codes.

The five losses are the paper's; their weights are not published and stand in :data:`WEIGHTS`. Targets come from another
sample's attributes, with small changes zeroed; half of the edits change only one to three attributes, which is what
editors are asked for, to values that are drawn evenly as often as from another sample.

Generating pictures costs a thousand times what f costs. So for a share of the budget small networks stand in that were
fitted to what H and the recogniser say of the generator's pictures, as functions of w; then come the pictures, a few a
step, beside the stand-ins: the few alone are so noisy that what was learned is lost again. What stand-ins know ends
where the generator's own codes do, and f soon finds what only they take for an edit; so now and then f's own edits are
looked at, and the stand-ins are fitted to these as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from deid.models.checkpoints.bundle import Network
from deid.models.editing.conservation import Edit, named
from deid.models.editing.latent import colours, faces_of
from deid.models.editing.latent_to_latent import EditNet, EditShape
from deid.models.editing.names import INDEX, NAMES
from deid.models.editing.regressor import Regressor
from deid.models.stylegan.generator import Generator
from deid.progress import Progress, QuietProgress
from deid.training.session import Budget, Session, short, train

_SMALL = 0.1  # changes of attributes below which nothing is asked
_FEW = 3
_ENTROPY = 1.0
_ASKED = 5.0  # how much more an attribute counts that is asked to change: it is one of 44
_SIDE = 64  # pixels of the generator's pictures that f learns from
_CHUNK = 64
_SHOWN = (
    ("smile", 0.7),
    ("age", 0.5),
    ("gender", 0.0),
    ("glasses", 0.7),
    ("beard", 0.7),
    ("yaw", 0.3),
    ("baldness", 0.8),
)


class Recogniser(Protocol):
    """E_id: ``side`` pixels of an aligned face, (N, 3, side, side) in [0, 1] to codes."""

    side: int

    def __call__(self, faces: torch.Tensor) -> torch.Tensor: ...


@dataclass(frozen=True, slots=True)
class Weights:
    """Of the five losses, and of each conservation loss."""

    target: float = 1.0
    cycle: float = 0.3
    identity: float = 0.3
    neighbourhood: float = 0.15
    face: float = 2.0
    conservation: float = 2.0


WEIGHTS = Weights()


@dataclass(frozen=True, slots=True)
class EditorPreset:
    """``layers``: of f; ``album``: pictures of the generator's that stand-ins are fitted to; ``again``: edits that
    are looked at in each of :data:`ROUNDS`; ``fits``: steps of a fit;
    ``batch``: edits a step with these; ``shown``: with pictures."""

    layers: int
    album: int
    again: int
    fits: int
    batch: int
    shown: int
    pictures: int


ROUNDS = 3
"""How often stand-ins are fitted again, evenly over their share of the budget."""

PRESETS = {
    "cpu": EditorPreset(4, 6_144, 2_048, 1_500, 128, 8, 2_000_000),
    "gpu": EditorPreset(6, 60_000, 20_000, 12_000, 256, 64, 40_000_000),
    "tiny": EditorPreset(2, 64, 16, 20, 16, 4, 2_000),
}


@dataclass(frozen=True, slots=True)
class EditorOptions:
    """What has to be the same from one call to the next. ``sketched``: share of the budget with stand-ins; ``keep``:
    names of conservation losses; ``weights``: of losses."""

    preset: str
    seed: int
    sketched: float = 0.6
    keep: tuple[str, ...] = ()
    weights: Weights = WEIGHTS


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """``codes``: float32 (n, width); ``attributes``: (n, A), what H tells of the generator's picture; ``faces``: (n,
    d), what the recogniser makes of it."""

    codes: torch.Tensor
    attributes: torch.Tensor
    faces: torch.Tensor


@torch.no_grad()
def sample(
    generator: Generator, regressor: Regressor, recogniser: Recogniser, codes: torch.Tensor, progress: Progress
) -> Samples:
    """What ``codes`` show."""
    progress.stage("generating pictures", len(codes))
    told, seen = [], []
    for some in codes.split(_CHUNK):
        with short():
            made = generator(some, False, _sizes(generator))
        picture = colours(made.float())
        told.append(regressor(picture))
        with short():
            seen.append(recogniser(faces_of(picture, recogniser.side)).float())
        progress.advance(len(some))
    return Samples(codes, torch.cat(told), torch.cat(seen))


@torch.no_grad()
def draw_codes(generator: Generator, parameters: torch.Tensor | None, own: int, count: int, seed: int) -> torch.Tensor:
    """float32 (count, width): w of random z; of a generator that a renderer taught, of what it was told:
    ``parameters``, (n, P), of which the first ``own`` say who it is, one person's under another picture's rest."""
    random = torch.Generator().manual_seed(seed)
    if parameters is None:
        return generator.codes(torch.randn(count, generator.shape.latent, generator=random))
    rows = torch.randint(len(parameters), (2, count), generator=random)
    told = parameters[rows[0]].clone()
    told[:, own:] = parameters[rows[1], own:]
    return generator.codes(told)


def _sizes(generator: Generator) -> int:
    """How many sizes of the generator reach :data:`_SIDE` pixels."""
    return len([size for size in range(len(generator.shape.channels)) if 4 << size <= _SIDE])


class StandIn(nn.Module):
    """w to what H and the recogniser say of its picture: logits (N, A) and codes (N, d)."""

    def __init__(self, samples: Samples) -> None:
        super().__init__()
        width, self.count = samples.codes.shape[1], samples.attributes.shape[1]
        wide = 2 * width
        self.net = nn.Sequential(
            nn.Linear(width, wide), nn.SiLU(), nn.Linear(wide, wide), nn.SiLU(),
            nn.Linear(wide, self.count + samples.faces.shape[1]),
        )  # fmt: skip
        self.mean, self.scale = samples.codes.mean(0), samples.codes.std(0).clamp_min(1e-4)
        self.middle, self.spread = samples.faces.mean(0), samples.faces.std().clamp_min(1e-4)

    def forward(self, w: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        out = self.net((w - self.mean) / self.scale)
        return out[:, : self.count].sigmoid(), self.middle + self.spread * out[:, self.count :]

    def fit(self, samples: Samples, steps: int, seed: int) -> float:
        """Learn; the mean absolute error of attributes on a sixteenth that is held out."""
        random = torch.Generator().manual_seed(seed)
        self.requires_grad_(True)
        held = max(len(samples.codes) // 16, 1)
        tutor = torch.optim.AdamW(self.parameters(), lr=2e-3, weight_decay=0.05)
        plan = torch.optim.lr_scheduler.CosineAnnealingLR(tutor, max(steps, 1))
        for _ in range(steps):
            rows = held + torch.randint(len(samples.codes) - held, (256,), generator=random)
            found, faces = self(samples.codes[rows])
            loss = functional.binary_cross_entropy(found, samples.attributes[rows])
            loss = loss + ((faces - samples.faces[rows]) / self.spread).square().mean()
            tutor.zero_grad(set_to_none=True)
            loss.backward()
            tutor.step()
            plan.step()
        self.requires_grad_(False)
        return float((self(samples.codes[:held])[0] - samples.attributes[:held]).abs().mean())


class EditorTraining:
    """One training of f."""

    def __init__(
        self,
        generator: Generator,
        regressor: Regressor,
        recogniser: Recogniser,
        samples: Samples,
        preset: EditorPreset,
        options: EditorOptions,
    ) -> None:
        torch.manual_seed(options.seed)
        self.generator, self.regressor, self.recogniser = generator, regressor, recogniser
        self.samples, self.preset, self.options = samples, preset, options
        self.net = EditNet(EditShape(samples.codes.shape[1], len(NAMES), preset.layers))
        self.net.know(samples.codes)
        self.tutor = torch.optim.Adam(self.net.parameters(), lr=1e-3)
        self.stand_in = StandIn(samples)
        self.off = self.stand_in.fit(samples, preset.fits, options.seed) if options.sketched > 0 else float("nan")
        self._known, self._round = samples, 0
        self._kept = {name: named(name) for name in options.keep}
        self._spread = samples.attributes.std(0).clamp_min(0.05)
        self._face = 2 * samples.faces.var(0).sum()  # the squared distance of two strangers
        self._chance = torch.Generator().manual_seed(options.seed)

    def state(self) -> dict[str, Any]:
        """Everything that has to be kept to go on."""
        kept: dict[str, Any] = {name: getattr(self, name).state_dict() for name in ("net", "tutor", "stand_in")}
        return {**kept, "round": self._round}

    def load(self, state: Mapping[str, Any]) -> None:
        """The way back from :meth:`state`."""
        for name in ("net", "tutor", "stand_in"):
            getattr(self, name).load_state_dict(state[name])
        self._round = int(state["round"])

    def step(self, rows: np.ndarray, used: float, session: Session) -> None:
        """One step on the codes ``rows``."""
        sketch = used < self.options.sketched
        done = used / self.options.sketched if sketch else (used - self.options.sketched) / (1 - self.options.sketched)
        for group in self.tutor.param_groups:
            group["lr"] = (1e-3 if sketch else 1e-4) * (1 - 0.9 * done)
        if sketch and self._round < ROUNDS and done * (ROUNDS + 1) > self._round + 1:
            self._look_again(session)
        loss = torch.zeros(())
        if self.options.sketched > 0:
            loss = loss + self._loss(torch.from_numpy(rows), True, session)
        if not sketch:
            loss = loss + self._loss(torch.from_numpy(rows[: self.preset.shown]), False, session)
        self.tutor.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.tutor.step()

    def _look_again(self, session: Session) -> None:
        """Fit the stand-ins to what f's own edits show, too."""
        self._round += 1
        rows = torch.randint(len(self.samples.codes), (self.preset.again,), generator=self._chance)
        with torch.no_grad():
            moved = self.net(self.samples.codes[rows], self.asked(self.samples.attributes[rows]))
            told = self.stand_in(moved)[0]
        seen = sample(self.generator, self.regressor, self.recogniser, moved, QuietProgress())
        session.note(stand_in_of_edits=(told - seen.attributes).abs().mean())
        parts = ((getattr(self._known, name), getattr(seen, name)) for name in ("codes", "attributes", "faces"))
        self._known = Samples(*(torch.cat(pair) for pair in parts))
        self.off = self.stand_in.fit(self._known, self.preset.fits, self.options.seed + self._round)

    def _loss(self, rows: torch.Tensor, sketch: bool, session: Session) -> torch.Tensor:
        """All losses, weighted, of one batch."""
        w, had, was = (getattr(self.samples, name)[rows] for name in ("codes", "attributes", "faces"))
        changes = self.asked(had)
        moved = self.net(w, changes)
        weights = self.options.weights
        back = self.net(moved, -changes)
        parts = {
            "cycle": ((w - back) / self.net.scale).abs().mean(),
            "identity": ((w - self.net(w, torch.zeros_like(changes))) / self.net.scale).abs().mean(),
            "neighbourhood": ((w - moved) / self.net.scale).square().mean(),
        }
        parts |= self._seen(w, moved, had, was, changes, sketch)
        session.note(**{f"{'sketch' if sketch else 'shown'}.{name}": part for name, part in parts.items()})
        return torch.stack([getattr(weights, name, weights.conservation) * part for name, part in parts.items()]).sum()

    def _seen(
        self, w: torch.Tensor, moved: torch.Tensor, had: torch.Tensor, was: torch.Tensor, changes: torch.Tensor,
        sketch: bool,
    ) -> dict[str, torch.Tensor]:  # fmt: skip
        """The losses on what a code shows: attributes, each by its own spread, and the person."""
        if sketch:
            has, seen = self.stand_in(moved)
            kept = {}
        else:
            sizes = _sizes(self.generator)
            with short():
                made = self.generator(moved, False, sizes)
            picture = colours(made.float())
            has, seen = self.regressor(picture), self.recogniser(faces_of(picture, self.recogniser.side))
            kept = self._conserved(w, moved, made.float(), had, has, changes, sizes)
        off = ((has - (had + changes).clamp(0, 1)) / self._spread).square()
        asked = changes != 0
        # where H is sure its curve is flat and squares have no slope: of what is asked the cross entropy counts, too
        aim, sure = (had + changes).clamp(0.01, 0.99), has.clamp(1e-5, 1 - 1e-5)
        off = off + _ENTROPY * asked * (aim * (aim / sure).log() + (1 - aim) * ((1 - aim) / (1 - sure)).log())
        # strangers differ by 1: what identity costs does not depend on the recogniser
        return {
            "target": (off * (1 + _ASKED * asked)).mean(),
            "face": (seen - was).square().sum(1).mean() / self._face,
        } | kept

    def _conserved(
        self, w: torch.Tensor, moved: torch.Tensor, made: torch.Tensor, had: torch.Tensor, has: torch.Tensor,
        changes: torch.Tensor, sizes: int,
    ) -> dict[str, torch.Tensor]:  # fmt: skip
        if not self._kept:
            return {}
        with torch.no_grad():
            before = self.generator(w, False, sizes)
        edit = Edit(before, made, had, has, changes, w, moved)
        return {f"keep {name}": function(edit) for name, function in self._kept.items()}

    def asked(self, had: torch.Tensor) -> torch.Tensor:
        """(N, A): changes to ask of faces whose attributes are ``had``."""
        count, attributes = had.shape
        other = self.samples.attributes[torch.randint(len(self.samples.attributes), (count,), generator=self._chance)]
        few = torch.rand(count, 1, generator=self._chance) < 0.5
        even = torch.rand(count, attributes, generator=self._chance)
        any_ = torch.rand(count, attributes, generator=self._chance) < 0.5
        wanted = torch.where(few & any_, even, other)
        order = torch.rand(count, attributes, generator=self._chance).argsort(1).argsort(1)
        number = torch.randint(1, _FEW + 1, (count, 1), generator=self._chance)
        changes = (wanted - had) * (~few | (order < number))
        return torch.where(changes.abs() < _SMALL, torch.zeros_like(changes), changes)

    @torch.no_grad()
    def grid(self, count: int = 6) -> torch.Tensor:
        """A row a face: as it is, then with one attribute after the other changed."""
        rows = torch.from_numpy(np.linspace(1, len(self.samples.codes) - 1, count).astype(np.int64))
        w, had = self.samples.codes[rows], self.samples.attributes[rows]
        columns = [self.generator(w)]
        for name, value in _SHOWN:
            changes = torch.zeros_like(had)
            at = INDEX[name]
            wanted = torch.where(had[:, at] > 0.5, 0.1, 0.9) if name == "gender" else torch.full_like(had[:, at], value)
            changes[:, at] = wanted - had[:, at]
            columns.append(self.generator(self.net(w, changes)))
        return torch.stack(columns, 1).flatten(0, 1)[:, :3]

    def show(self, session: Session, name: str) -> None:
        """Edits of some faces."""
        session.grid(name, self.grid(), len(_SHOWN) + 1)
        session.note(stand_in_error=self.off)

    def networks(self) -> dict[str, Network]:
        """What is kept."""
        return {"editor": Network(self.net.shape.numbers(), self.net.state_dict())}


def train_editor(training: EditorTraining, folder: Path, budget: Budget, progress: Progress) -> Path:
    """Train, or go on training, until the budget is spent; the weights' place."""
    count = len(training.samples.codes)
    batch = min(training.preset.batch, count)
    return train(training, folder, training.options, budget, progress, pictures=count, batch=batch)
