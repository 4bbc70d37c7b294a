"""Training the attribute encoder and the mapper: Nitzan et al. 2020, on the generator's own pictures.

The generator and the identity encoder stay as they are. Every third step crosses two pictures, the others use one for
both roles; losses and weights are the published ones (``deid/models/mapping/losses.py``), with the steadier adversary
of e4e (O. Tov et al. 2021): a tenth of the weight, slower, R1 every sixteen steps, on a pool of past codes.

Before that, for a share of the budget, what is wanted is told outright: a generator that was taught by a renderer knows
the code of one person's identity under another picture's attributes, since both are numbers it was given. A generator
that came from elsewhere cannot say, and the paper's losses do all the work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from deid.detection.landmarks import FaceLandmarker, roi_from_box
from deid.errors import ModelError
from deid.models.checkpoints.bundle import Network
from deid.models.mapping import losses
from deid.models.mapping.attributes import MESH_OF_LANDMARKS, AttributeEncoder, LandmarkNet
from deid.models.mapping.identity import IdentityEncoder, aligned
from deid.models.mapping.mapper import LatentDiscriminator, Mapper, MapperShape
from deid.models.stylegan.alignment import inverse
from deid.models.stylegan.generator import Generator
from deid.models.stylegan.networks import normalised
from deid.progress import Progress
from deid.recognition.chips import CHIP, chip_from_picture
from deid.training.faces import Batch
from deid.training.presets import Preset
from deid.training.session import Budget, Session, short, train

_CROSS_EVERY, _PENALTY_EVERY = 3, 16
_POOL = 50
_ADVERSARY = 0.1  # of the paper's weight
_LANDMARK_PIXELS = 160 / 2  # of a picture from -1 to 1
_CHUNK = 64
_ALBUM_SIDE = 256  # pixels at which pictures of larger generators are kept
_FACE_AT = np.array([0.22, 0.28, 0.78, 0.9], np.float32)  # of a picture that is aligned as FFHQ's are
_PRESENCE, _TRIES = 0.5, 100
_GRID = 6


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


@dataclass(frozen=True, slots=True, eq=False)
class Album:
    """The generator's own pictures. ``codes``: float32 (n, width); ``pixels``: uint8 (n, S, S, 3); ``points``: float32
    (n, 478, 3), -1 to 1; ``identities``: float32 (n, d), what E_id makes of each; ``parameters``: float32 (n, P), what
    the mapping network was told; ``own``: how many of these say who it is, 0 when nobody knows."""

    codes: torch.Tensor
    pixels: np.ndarray
    points: torch.Tensor
    identities: torch.Tensor
    parameters: torch.Tensor
    own: int


@torch.no_grad()
def photograph(
    generator: Generator,
    recogniser: IdentityEncoder,
    faces: Batch,
    own: int,
    progress: Progress,
    truncation: float = 1.0,
) -> Album:
    """What ``generator`` makes of the numbers of ``faces``, and who that is. Points are those of the rendered face,
    which the generator has learned to show in the same place."""
    progress.stage("generating pictures", len(faces.parameters))
    told, points = torch.from_numpy(faces.parameters), torch.from_numpy(faces.points)
    codes, pixels, identities = [], [], []
    for start in range(0, len(told), _CHUNK):
        rows = slice(start, start + _CHUNK)
        w = generator.codes(told[rows], truncation)
        with short():
            made = generator(w)
        made = to_unit(made.float())
        identities.append(
            recogniser(aligned(made, face_places(points[rows], recogniser.side, made.shape[-1]), recogniser.side))
        )
        codes.append(w)
        pixels.append((made * 255).round().byte().permute(0, 2, 3, 1).numpy())
        progress.advance(len(w))
    return Album(torch.cat(codes), np.concatenate(pixels), points, torch.cat(identities), told, own)


@torch.no_grad()
def draw_album(generator: Generator, recogniser: IdentityEncoder, count: int, seed: int, progress: Progress) -> Album:
    """The same of a generator that no renderer taught, such as one of FFHQ: codes are drawn, points are what the
    landmark model sees. Raises :class:`ModelError` when most pictures show no face."""
    progress.stage("generating pictures", count)
    random = torch.Generator().manual_seed(seed)
    codes: list[torch.Tensor] = []
    pixels, points, identities = [], [], []
    tried = 0
    with FaceLandmarker() as landmarker:
        while len(codes) < count:
            if tried >= _TRIES + 4 * count:
                raise ModelError("hardly any picture of this generator shows a face; use one of aligned faces.")
            tried += 1
            w = generator.codes(torch.randn(1, generator.shape.latent, generator=random))
            made = to_unit(generator(w))
            made = functional.interpolate(made, (_ALBUM_SIDE, _ALBUM_SIDE), mode="area")
            picture = (made[0] * 255).round().byte().permute(1, 2, 0).numpy()
            seen = landmarker.run(picture, roi_from_box(_FACE_AT * _ALBUM_SIDE), rgb=True)
            if seen is None or seen.presence < _PRESENCE:
                continue
            where = normalised(seen.points[None], np.eye(2, 3)[None], _ALBUM_SIDE)
            told = torch.from_numpy(where)
            places = face_places(told, recogniser.side, _ALBUM_SIDE)
            codes.append(w)
            pixels.append(picture)
            points.append(told)
            identities.append(recogniser(aligned(made, places, recogniser.side)))
            progress.advance()
    return Album(
        torch.cat(codes), np.stack(pixels), torch.cat(points), torch.cat(identities), torch.zeros(len(codes), 0), 0
    )


def to_unit(made: torch.Tensor) -> torch.Tensor:
    """What a generator makes, (N, 3 or 4, H, W) in -1 to 1, as colours (N, 3, H, W) from 0 to 1."""
    return (made[:, :3] / 2 + 0.5).clamp(0, 1)


def face_places(points: torch.Tensor, side: int, size: int) -> torch.Tensor:
    """float32 (N, 2, 3), picture_from_face for :func:`~deid.models.mapping.identity.aligned`: from an aligned face of
    ``side`` pixels to a picture of ``size``, where the mesh is ``points``, (N, 478, 3) in -1 to 1."""
    places = ((points.numpy()[..., :2] + 1) * size - 1) / 2
    out = [inverse(chip_from_picture(mesh) * (side / CHIP)) for mesh in places]
    return torch.from_numpy(np.stack(out).astype(np.float32))


class MapperTraining:
    """One training of E_attr and M."""

    def __init__(
        self,
        generator: Generator,
        recogniser: IdentityEncoder,
        landmarks: LandmarkNet | None,
        album: Album,
        preset: Preset,
        options: MapperOptions,
    ) -> None:
        torch.manual_seed(options.seed)
        self.generator, self.recogniser, self.landmarks = generator, recogniser, landmarks
        self.album, self.options = album, options
        self.encoder = AttributeEncoder(preset.attributes)
        width = generator.shape.width
        self.mapper = Mapper(MapperShape(recogniser.width, preset.attributes.width, preset.hidden, width))
        self.judge = LatentDiscriminator(width)
        self.encoder.know(album.points)
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

    def state(self) -> dict[str, Any]:
        """Everything that has to be kept to go on."""
        parts = ("encoder", "mapper", "judge", "tutor", "fooler", "referee")
        return {name: getattr(self, name).state_dict() for name in parts} | {"step": self._step}

    def load(self, state: Mapping[str, Any]) -> None:
        """The way back from :meth:`state`."""
        for name in ("encoder", "mapper", "judge", "tutor", "fooler", "referee"):
            getattr(self, name).load_state_dict(state[name])
        self._step = int(state["step"])

    def step(self, rows: np.ndarray, used: float, session: Session) -> None:
        """One step with the attributes of ``rows``."""
        self._step += 1
        crossed = self.options.crossing and self._step % _CROSS_EVERY == 0
        if used < self.options.told:
            self._rate(1e-3 * (1 - 0.9 * used / self.options.told))
            self._tell(rows, self._random.permutation(rows), session)
            return
        self._rate(5e-5)
        rows = rows[: max(len(rows) // 8, 2)]
        self._learn(rows, self._random.permutation(len(self.album.codes))[: len(rows)] if crossed else rows, session)

    def _rate(self, rate: float) -> None:
        for group in self.tutor.param_groups:
            group["lr"] = rate

    def _tell(self, rows: np.ndarray, people: np.ndarray, session: Session) -> None:
        """Identities of ``people`` under the attributes of ``rows``: the code is known."""
        told = self.album.parameters[rows].clone()
        told[:, : self.album.own] = self.album.parameters[people, : self.album.own]
        with torch.no_grad():
            wanted = self.generator.mapping(told)
        found = self._mapped(rows, people)
        loss = ((found - wanted) / self.mapper.scale).square().mean()
        self.tutor.zero_grad(set_to_none=True)
        loss.backward()
        self.tutor.step()
        session.note(told=loss)

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
        return self._pictures(rows), self.album.points[rows]

    def _pictures(self, rows: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(self.album.pixels[rows]).permute(0, 3, 1, 2).float() / 255

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
        return {
            "attributes": Network(self.encoder.shape.numbers(), self.encoder.state_dict()),
            "mapper": Network(self.mapper.shape.numbers(), self.mapper.state_dict()),
        }


def train_mapper(training: MapperTraining, folder: Path, preset: Preset, budget: Budget, progress: Progress) -> Path:
    """Train, or go on training, until the budget is spent; the weights' place."""
    count = len(training.album.codes)
    return train(training, folder, training.options, budget, progress, pictures=count, batch=preset.batch * 4)
