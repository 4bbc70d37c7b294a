"""Training the attribute encoder and the mapper: Nitzan et al. 2020, on the pictures of an album.

The generator and the identity encoder stay as they are. Every third step crosses two pictures, the others use one for
both roles; losses and weights are the published ones (``deid/models/mapping/losses.py``), with the steadier adversary
of e4e (O. Tov et al. 2021): a tenth of the weight, slower, R1 every sixteen steps, on a pool of past codes.

Before that, for a share of the budget, what is wanted is told outright: a generator that was taught by a renderer knows
the code of one person's identity under another picture's attributes, since both are numbers it was given. Codes are
compared by what shows of the difference (``sensitivity.py``). A generator that came from elsewhere cannot say, and the
paper's losses do all the work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from deid.errors import ModelError
from deid.models.checkpoints.bundle import Network
from deid.models.mapping import losses
from deid.models.mapping.attributes import MESH_OF_LANDMARKS, AttributeEncoder, LandmarkNet
from deid.models.mapping.identity import Recogniser, aligned
from deid.models.mapping.mapper import LatentDiscriminator, Mapper, MapperShape
from deid.models.stylegan.generator import Generator
from deid.progress import Progress
from deid.training.album import Album
from deid.training.presets import Preset
from deid.training.scene import bare_eyed, wears_glasses
from deid.training.sensitivity import face_places, to_unit
from deid.training.session import Budget, Session, best_device, short, train

_CROSS_EVERY, _PENALTY_EVERY = 3, 16
_POOL = 50
_ADVERSARY = 0.1  # of the paper's weight
_LANDMARK_PIXELS = 160 / 2  # of a picture from -1 to 1
_GRID = 6
_SETTLED_ON, _RIDGE = 6, 1e-4  # turns of identities, and of the diagonal
_OUTWARDS = 1.4  # with this people are told apart by galleries as the generator's own are


@dataclass(frozen=True, slots=True)
class MapperOptions:
    """What has to be the same from one call to the next. ``told``: share of the budget in which codes are told
    outright, 0 for generators that no renderer taught. ``adversary``, ``landmarks``, ``crossing``: for ablations,
    whether there is that part."""

    preset: str
    seed: int
    told: float = 0.5
    adversary: bool = True
    landmarks: bool = True
    crossing: bool = True


class MapperTraining:
    """One training of E_attr and M."""

    def __init__(
        self,
        generator: Generator,
        recogniser: Recogniser,
        landmarks: LandmarkNet | None,
        album: Album,
        preset: Preset,
        options: MapperOptions,
    ) -> None:
        torch.manual_seed(options.seed)
        self.device = best_device()
        self.generator, self.recogniser = generator.to(self.device), recogniser.to(self.device)
        self.landmarks = landmarks.to(self.device) if landmarks is not None else None
        numbers = album.parameters.numpy()
        self.album = album = album.to(self.device)
        self.options = options
        self.encoder = AttributeEncoder(preset.attributes).to(self.device)
        width = generator.shape.width
        shape = MapperShape(recogniser.width, preset.attributes.width, preset.hidden, width)
        self.mapper = Mapper(shape).to(self.device)
        self.judge = LatentDiscriminator(width).to(self.device)
        # Glasses are the one thing that is left out: what shows through them is learned, and engines draw them.
        self._plain = torch.from_numpy(bare_eyed(numbers)).to(self.device) if album.own else album.parameters
        self._bare = ~wears_glasses(numbers) if album.own else np.ones(len(numbers), bool)
        self.encoder.know(album.read)
        self.judge.know(album.codes)
        with torch.no_grad():
            some = self.encoder(*self._looks(np.arange(min(256, len(album.codes)))))
        self.mapper.know(album.identities[: len(some)], some, album.codes)
        self.mapper.centre[recogniser.width :] = 0.0
        self.mapper.spread[recogniser.width :] = some.std()
        self._learned = [*self.encoder.parameters(), *self.mapper.parameters()]
        self.tutor = torch.optim.Adam(self._learned, lr=1e-3)
        self.fooler = torch.optim.Adam(self._learned, lr=1e-5)
        self.referee = torch.optim.Adam(self.judge.parameters(), lr=2e-5)
        self._pool: list[torch.Tensor] = []
        self._random = np.random.default_rng((options.seed, 13))
        self._step = 0
        self._settled = False

    def begin_as(self, encoder: AttributeEncoder, mapper: Mapper) -> None:
        """Begin with networks that were trained before, for this generator and recogniser. Raises :class:`ModelError`
        when they are of other sizes."""
        if mapper.shape != self.mapper.shape or replace(encoder.shape, components=0) != replace(
            self.encoder.shape, components=0
        ):
            raise ModelError("the mapper to begin with has other sizes than the preset's; leave out --begin.")
        if encoder.shape == self.encoder.shape:
            self.encoder.load_state_dict(encoder.state_dict())
        else:
            self.encoder.follow(encoder)
        self.mapper.load_state_dict(mapper.state_dict())

    def state(self) -> dict[str, Any]:
        """Everything that has to be kept to go on."""
        parts = ("encoder", "mapper", "judge", "tutor", "fooler", "referee")
        return {name: getattr(self, name).state_dict() for name in parts} | {
            "step": self._step,
            "settled": self._settled,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """The way back from :meth:`state`."""
        for name in ("encoder", "mapper", "judge", "tutor", "fooler", "referee"):
            getattr(self, name).load_state_dict(state[name])
        self._step, self._settled = int(state["step"]), bool(state.get("settled", False))

    def step(self, rows: np.ndarray, used: float, session: Session) -> None:
        """One step with the attributes of ``rows``."""
        self._step += 1
        crossed = self.options.crossing and self._step % _CROSS_EVERY == 0
        if used < self.options.told:
            self._rate(1e-3 * (1 - 0.9 * used / self.options.told))
            self._tell(rows, self._random.permutation(rows) if self.options.crossing else rows, session)
            return
        self._settle()
        self._rate(5e-5)
        rows = rows[self._bare[rows]][: max(len(rows) // 8, 2)]
        self._learn(rows, self._random.permutation(len(self.album.codes))[: len(rows)] if crossed else rows, session)

    def _rate(self, rate: float) -> None:
        for group in self.tutor.param_groups:
            group["lr"] = rate

    def _tell(self, rows: np.ndarray, people: np.ndarray, session: Session) -> None:
        """Identities of ``people`` under the attributes of ``rows``: the code is known."""
        told = self._plain[rows].clone()
        told[:, : self.album.own] = self.album.parameters[people, : self.album.own]
        with torch.no_grad():
            wanted = self.generator.mapping(told)
        with short():
            found = self._mapped(rows, people)
        found = found.float()
        loss = ((found - wanted) / self.mapper.scale @ self.album.seen).square().sum(1).mean()
        self.tutor.zero_grad(set_to_none=True)
        loss.backward()
        self.tutor.step()
        session.note(told=loss)

    @torch.no_grad()
    def _settle(self) -> None:
        """Once codes were told: the mapper's last layer by least squares, over every picture with the identities of
        itself and of some others. What steps have learned of the rest is then used as well as it can be. Least squares
        draw identities to their mean, since a code tells only some of who it is; that much they are moved out again."""
        if self._settled or not self.album.own or not self.options.told:
            return
        self._settled = True
        count, last = len(self.album.codes), self.mapper.net[-1]
        parts = np.array_split(np.arange(count), count // 64 + 1)
        looks = torch.cat([self.encoder(*self._looks(rows)) for rows in parts])
        width = last.in_features + 1
        square = torch.zeros(width, width, dtype=torch.float64, device=self.device)
        beside = torch.zeros(width, last.out_features, dtype=torch.float64, device=self.device)
        for turn in range(_SETTLED_ON):
            people = self._random.permutation(count) if turn and self.options.crossing else np.arange(count)
            told = self._plain.clone()
            told[:, : self.album.own] = self.album.parameters[people, : self.album.own]
            wanted = (self.generator.mapping(told) - self.mapper.mean) / self.mapper.scale
            joined = torch.cat([self.album.identities[people], looks], 1)
            shown = self.mapper.net[:-1]((joined - self.mapper.centre) / self.mapper.spread)
            shown = torch.cat([shown, torch.ones_like(shown[:, :1])], 1).double()
            square += shown.T @ shown
            beside += shown.T @ wanted.double()
        square += _RIDGE * torch.diag(square.diagonal())
        found = torch.linalg.solve(square, beside).float()
        last.weight.copy_(found[:-1].T)
        last.bias.copy_(found[-1])
        self.mapper.spread[: self.mapper.shape.identity] /= _OUTWARDS

    def _learn(self, rows: np.ndarray, people: np.ndarray, session: Session) -> None:
        """The paper's losses; every second step the adversary's as well."""
        weights = losses.WEIGHTS
        codes = self._mapped(rows, people)
        with short():
            made = self.generator(codes)
        made = to_unit(made.float())
        if made.shape[-1] != self.album.pixels.shape[1]:
            made = functional.interpolate(made, self.album.pixels.shape[1:3], mode="area")
        points = self.album.points[rows]
        places = face_places(points, self.recogniser.side, made.shape[-1])
        who = losses.identity_loss(
            self.recogniser(aligned(made, places, self.recogniser.side)), self.album.identities[people]
        )
        loss = weights.identity * who
        if self.landmarks is not None and self.options.landmarks:
            wanted = points[:, list(MESH_OF_LANDMARKS), :2] * _LANDMARK_PIXELS
            where = losses.landmark_loss(self.landmarks(made) * _LANDMARK_PIXELS, wanted)
            loss = loss + weights.landmarks * where
            session.note(landmarks=where)
        if np.array_equal(rows, people):
            like = losses.reconstruction_loss(made, self._pictures(rows))
            loss = loss + weights.reconstruction * like
            session.note(reconstruction=like)
        self.tutor.zero_grad(set_to_none=True)
        loss.backward()
        self.tutor.step()
        session.note(identity=who)
        if self.options.adversary and self._step % 2 == 0:
            self._play(rows, people, session)

    def _play(self, rows: np.ndarray, people: np.ndarray, session: Session) -> None:
        codes = self._mapped(rows, people)
        fooled = losses.WEIGHTS.adversarial * _ADVERSARY * losses.fool_loss(self.judge(codes))
        self.fooler.zero_grad(set_to_none=True)
        fooled.backward()
        self.fooler.step()
        real = self.album.codes[self._random.integers(len(self.album.codes), size=len(rows))]
        loss = losses.judge_loss(self.judge(real), self.judge(self._pooled(codes.detach())))
        if self._step % _PENALTY_EVERY == 0:
            real = real.clone().requires_grad_()
            penalty = losses.slope_penalty(self.judge(real), real)
            loss = loss + 0.5 * losses.WEIGHTS.penalty * _PENALTY_EVERY * penalty
        self.referee.zero_grad(set_to_none=True)
        loss.backward()
        self.referee.step()
        session.note(fool=fooled, judge=loss)

    def _pooled(self, codes: torch.Tensor) -> torch.Tensor:
        """Half of ``codes`` change places with ones of before."""
        out = []
        for code in codes:
            if len(self._pool) < _POOL:
                self._pool.append(code)
                out.append(code)
            elif self._random.random() < 0.5:
                place = int(self._random.integers(_POOL))
                out.append(self._pool[place])
                self._pool[place] = code
            else:
                out.append(code)
        return torch.stack(out)

    def _mapped(self, rows: np.ndarray, people: np.ndarray) -> torch.Tensor:
        codes: torch.Tensor = self.mapper(self.album.identities[people], self.encoder(*self._looks(rows)))
        return codes

    def _looks(self, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        return self._pictures(rows), self.album.read[rows]

    def _pictures(self, rows: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(self.album.pixels[rows]).to(self.device).permute(0, 3, 1, 2).float() / 255

    @torch.no_grad()
    def grid(self, count: int = _GRID) -> torch.Tensor:
        """A composition table: identities in the first row, attributes in the first column."""
        rows = np.linspace(1, len(self.album.codes) - 1, count).astype(np.int64)
        top = self._pictures(rows) * 2 - 1
        lines = [torch.cat([torch.zeros_like(top[:1]), top])]
        for row in rows:
            codes = self._mapped(np.full(count, row), rows)
            made = to_unit(self.generator(codes)) * 2 - 1
            lines.append(torch.cat([self._pictures(np.array([row])) * 2 - 1, made]))
        return torch.cat(lines)

    def show(self, session: Session, name: str) -> None:
        """A composition table."""
        session.grid(name, self.grid(), _GRID + 1)

    def networks(self) -> dict[str, Network]:
        """What is kept."""
        self._settle()
        return {
            "attributes": Network(self.encoder.shape.numbers(), self.encoder.state_dict()),
            "mapper": Network(self.mapper.shape.numbers(), self.mapper.state_dict()),
        }


def train_mapper(training: MapperTraining, folder: Path, preset: Preset, budget: Budget, progress: Progress) -> Path:
    """Train, or go on training, until the budget is spent; the weights' place."""
    count = len(training.album.codes)
    return train(training, folder, training.options, budget, progress, pictures=count, batch=preset.batch * 4)
