"""The published protocol of editing: one attribute of one face by many strengths, and what pictures then show."""

from __future__ import annotations

import ctypes
import sys
from argparse import Namespace
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from _editing_measure import interval

from deid.detection.centerface import CenterFace
from deid.models.checkpoints import build, open_checkpoint
from deid.models.editing.ganspace import GanSpace
from deid.models.editing.interfacegan import InterFaceGan
from deid.models.editing.latent import LatentEditor, Reader, colours, faces_of
from deid.models.editing.regressor import load_regressor
from deid.models.mapping.identity import identity_encoder
from deid.models.stylegan.networks import SHIPPED

_BATCH = 21  # half of the published strengths: a larger batch's tensors leave the processor's caches
_LADDER = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)  # of the farthest strength, where a face is looked for first
_NO_LIMIT = 1e9


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What pictures of codes show: ``attributes`` (n, A), ``person`` (n, d), ``features`` (n, f), ``found`` bool
    (n,)."""

    attributes: np.ndarray
    person: np.ndarray
    features: np.ndarray
    found: np.ndarray


class RecallingReader(Reader):
    """What was read last is not read again: one code is edited by many strengths, and StyleFlow reads it each time."""

    def __init__(self, plain: Reader) -> None:
        super().__init__(plain.generator, plain.regressor)
        self._last: tuple[torch.Tensor, torch.Tensor] | None = None

    def __call__(self, w: torch.Tensor) -> torch.Tensor:
        if self._last is None or not torch.equal(self._last[0], w):
            self._last = (w.clone(), super().__call__(w))
        return self._last[1]


class Judge:
    """The generator, H, the recogniser and the detector."""

    def __init__(self, options: Namespace) -> None:
        _keep_large_blocks()
        self.generator = build.generator(open_checkpoint(options.generator or SHIPPED / "generator.safetensors"))
        self.regressor = load_regressor(options.regressor)
        self.recogniser = build.frozen(identity_encoder(options.recogniser))
        for network in (self.generator, self.recogniser, self.regressor):
            network.to(memory_format=torch.channels_last)  # two thirds of the time, the same numbers to six digits
        self.detector = CenterFace(threshold=0.5)
        self.reader = RecallingReader(Reader(self.generator, self.regressor))

    @torch.no_grad()
    def see(self, codes: torch.Tensor) -> Seen:
        """Everything but whether there is a face."""
        out: list[list[np.ndarray]] = [[], [], []]
        for some in codes.split(_BATCH):
            made = colours(self.generator(some))
            small = torch.nn.functional.interpolate(made, (self.regressor.shape.side,) * 2, mode="area")
            hidden = self.regressor.head[1](self.regressor.head[0](self.regressor.look(small * 4 - 2).flatten(1)))
            out[0].append(self.regressor.head[2](hidden).sigmoid().numpy())
            out[1].append(self.recogniser(faces_of(made, self.recogniser.side)).numpy())
            out[2].append(hidden.numpy())
        return Seen(*(np.concatenate(part) for part in out), np.empty(0, bool))

    @torch.no_grad()
    def face_found(self, codes: torch.Tensor) -> np.ndarray:
        """bool (n,): whether the detector finds a face; codes that overflowed show none."""
        sound = torch.isfinite(codes).flatten(1).all(1).numpy()
        made = colours(self.generator(torch.nan_to_num(codes)))
        pictures = (made * 255).round().byte().permute(0, 2, 3, 1).numpy()[..., ::-1]
        found = [len(self.detector.detect(np.ascontiguousarray(picture))) > 0 for picture in pictures]
        return np.array(found) & sound


def _keep_large_blocks() -> None:
    """Freed tensors are used again: giving each back to the system and taking it anew costs a quarter of the time."""
    if sys.platform.startswith("linux"):
        with suppress(OSError, AttributeError):
            for threshold in (-1, -3):  # trim, mmap; malloc.h
                ctypes.CDLL(None).mallopt(threshold, 1 << 30)


def unlimited(editor: LatentEditor) -> LatentEditor:
    """The protocol pushes every editor until no face is left: straight lines go on beyond the six standard deviations
    at which they stop in use."""
    if isinstance(editor, InterFaceGan | GanSpace):
        return replace(editor, farthest=_NO_LIMIT)
    return editor


def edited(editor: LatentEditor, w: torch.Tensor, name: str, steps: np.ndarray | list[float]) -> torch.Tensor:
    """(n, width) or (n, layers, width): ``w``, (1, width), with each of the changes."""
    out = [editor.edit(w, {name: float(step)}) for step in steps]
    layers = max((one.shape[1] for one in out if one.ndim == 3), default=0)
    return torch.cat([one[:, None].expand(-1, layers, -1) if layers and one.ndim == 2 else one for one in out])


def ends(judge: Judge, editor: LatentEditor, w: torch.Tensor, name: str, farthest: float) -> tuple[float, float]:
    """The smallest and the largest strength, ``farthest`` at most, at which there is a face: doubled until there is
    none, then one look half-way."""
    ladder = farthest * np.array(_LADDER)
    tried = np.concatenate([-ladder, ladder])
    found = judge.face_found(edited(editor, w, name, tried)).reshape(2, -1)
    counts = [int(np.argmin(row)) if not row.all() else len(row) for row in found]
    rungs = np.concatenate([[0.0], ladder])
    last = [float(rungs[count]) for count in counts]
    halves = [(rungs[count] + rungs[min(count + 1, len(ladder))]) / 2 for count in counts]
    between = judge.face_found(edited(editor, w, name, [-halves[0], halves[1]]))
    low, high = (half if there else end for half, there, end in zip(halves, between, last, strict=True))
    return -float(low), float(high)


@dataclass(frozen=True, slots=True, eq=False)
class Taken:
    """One attribute of all faces by all strengths. ``steps``: (F, S), ascending; ``cosine``, ``euclidean``: (F, S),
    distances of recognition codes from the unedited picture's; ``moved``: (F, S, A), by how much H's numbers
    changed."""

    steps: np.ndarray
    cosine: np.ndarray
    euclidean: np.ndarray
    moved: np.ndarray

    def save(self, path: Path, asked: np.ndarray) -> None:
        """``asked``: the options that it was made with."""
        part = path.with_suffix(".part.npz")
        np.savez_compressed(part, asked=asked, **{f.name: getattr(self, f.name) for f in fields(self)})
        part.replace(path)

    @classmethod
    def load(cls, path: Path, asked: np.ndarray) -> Taken:
        """The way back; ends the program when it was made with other options."""
        with np.load(path) as held:
            if not np.array_equal(held["asked"], asked):
                sys.exit(f"{path} was made with other options; name another folder with --state.")
            return cls(**{f.name: held[f.name] for f in fields(cls)})

    def first(self, count: int) -> Taken:
        """That of the first so many faces."""
        return Taken(**{f.name: getattr(self, f.name)[:count] for f in fields(self)})

    def then(self, more: Taken) -> Taken:
        """That of further faces after it."""
        return Taken(**{f.name: np.concatenate([getattr(self, f.name), getattr(more, f.name)]) for f in fields(self)})


def taken(
    judge: Judge, editor: LatentEditor, codes: torch.Tensor, plain: Seen, name: str, count: int, farthest: float
) -> Taken:
    """``plain``: what ``codes`` show unedited."""
    rows: list[list[np.ndarray]] = [[], [], [], []]
    for number, w in enumerate(codes):
        steps = np.linspace(*ends(judge, editor, w[None], name, farthest), count)
        seen, person = judge.see(edited(editor, w[None], name, steps)), plain.person[number]
        rows[0].append(steps)
        rows[1].append(1 - cosine(seen.person, person))
        rows[2].append(np.linalg.norm(seen.person - person, axis=1))
        rows[3].append(seen.attributes - plain.attributes[number])
    return Taken(*(np.stack(part).astype(np.float32) for part in rows))


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """What was measured, in ``folder``, an attribute and editor a file; nowhere where there is none. ``asked``: the
    options that it holds for."""

    folder: Path | None
    asked: np.ndarray

    def taken(
        self, judge: Judge, editor: LatentEditor, codes: torch.Tensor, plain: Seen, name: str, count: int,
        farthest: float,
    ) -> Taken:  # fmt: skip
        """As :func:`taken`, only for faces that are not there yet."""
        path = None if self.folder is None else self.folder / f"{editor.name.replace(' ', '-')}-{name}.npz"
        held = Taken.load(path, self.asked) if path is not None and path.exists() else None
        done = 0 if held is None else len(held.steps)
        if held is not None and done >= len(codes):
            return held.first(len(codes))
        rest = Seen(plain.attributes[done:], plain.person[done:], plain.features[done:], plain.found)
        found = taken(judge, editor, codes[done:], rest, name, count, farthest)
        found = found if held is None else held.then(found)
        if path is not None:
            found.save(path, self.asked)
        return found


def cosine(some: np.ndarray, one: np.ndarray) -> np.ndarray:
    """(n,): of each of ``some``, (n, d), with ``one``, (d,)."""
    return np.asarray((some @ one) / (np.linalg.norm(some, axis=1) * np.linalg.norm(one)))


def at_change(steps: np.ndarray, moved: np.ndarray, distance: np.ndarray, wanted: float) -> np.ndarray:
    """(F, 2): ``distance`` at the least strength, downwards and upwards, at which an attribute has ``moved`` by
    ``wanted`` the way it was asked to; NaN where it never does. All of (F, S), ``steps`` ascending; between strengths
    by a straight line, from nothing at no strength."""
    out = np.full((len(steps), 2), np.nan)
    for face in range(len(steps)):
        for side, sign in enumerate((-1.0, 1.0)):
            rows = np.flatnonzero(steps[face] * sign > 0)[:: int(sign)]
            way = np.concatenate([[0.0], moved[face, rows] * sign])
            far = np.concatenate([[0.0], distance[face, rows]])
            reached = np.flatnonzero(way >= wanted)
            if len(reached):
                k = int(reached[0])
                share = (wanted - way[k - 1]) / (way[k] - way[k - 1])
                out[face, side] = far[k - 1] + share * (far[k] - far[k - 1])
    return out


def mean_of(cases: np.ndarray) -> tuple[float, float, float]:
    """The mean of what is there of ``cases``, (F, 2), and its 95 % interval over faces."""
    parts = [row[~np.isnan(row)] for row in cases]
    parts = [part for part in parts if len(part)]
    if not parts:
        return float("nan"), float("nan"), float("nan")
    return interval(parts, lambda x: float(x.mean()))
