"""What the mapper learns from: pictures with their codes, and what the encoders and a landmark model make of them.

The paper trains on the generator's own pictures alone. A generator that was taught by a renderer has more to offer: the
rendered faces themselves, whose codes its mapping network knows as well. They are as sharp as what the encoders will be
shown later, and their meshes are read by the landmark model that will read those of footage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from torch.nn import functional

from deid.detection.landmarks import FaceLandmarker, roi_from_box, roi_from_landmarks
from deid.errors import ModelError
from deid.models.mapping.identity import Recogniser, aligned
from deid.models.morphable.appearance import load_appearance
from deid.models.morphable.geometry import load_geometry
from deid.models.stylegan.generator import Generator
from deid.models.stylegan.networks import normalised
from deid.progress import Progress
from deid.training.faces import Batch, degraded
from deid.training.scene import identity_numbers
from deid.training.sensitivity import face_places, metric, to_unit
from deid.training.session import short

_CHUNK = 64
_SIDE = 256  # pixels at which pictures of larger generators are kept
_FACE_AT = np.array([0.22, 0.28, 0.78, 0.9], np.float32)  # of a picture that is aligned as FFHQ's are
_PRESENCE, _TRIES = 0.5, 100
_OWN = 4  # one in so many of the faces is shown as the generator makes it, too
_HARMED = 0.5  # share of rendered faces that are shown as footage shows faces


@dataclass(frozen=True, slots=True, eq=False)
class Album:
    """``codes``: float32 (n, width); ``pixels``: uint8 (n, S, S, 3), what the encoders see; ``points``: float32
    (n, 478, 3), -1 to 1, where the face is, and ``read``, where a landmark model takes it to be; ``identities``:
    float32 (n, d), what E_id makes of each; ``parameters``: float32 (n, P), what the mapping network was told, of which
    ``own`` say who it is: 0 when nobody knows. ``made``: of the first so many the pictures are the generator's.
    ``seen``: float32 (width, width), how much is seen of an error in w (:mod:`.sensitivity`); nothing where no codes
    are told."""

    codes: torch.Tensor
    pixels: np.ndarray
    points: torch.Tensor
    read: torch.Tensor
    identities: torch.Tensor
    parameters: torch.Tensor
    own: int
    made: int
    seen: torch.Tensor

    def to(self, device: torch.device) -> Album:
        """The same with its tensors there."""
        held = {f.name: getattr(self, f.name) for f in fields(self)}
        return Album(**{name: v.to(device) if isinstance(v, torch.Tensor) else v for name, v in held.items()})

    def save(self, path: Path) -> None:
        """All of it into one file."""
        held = {f.name: np.ascontiguousarray(getattr(self.to(torch.device("cpu")), f.name)) for f in fields(self)}
        save_file({name: np.atleast_1d(array) for name, array in held.items()}, path)

    @classmethod
    def load(cls, path: Path) -> Album:
        """The way back. Raises :class:`ModelError` when the file is damaged or something else."""
        try:
            held = load_file(path)
            arrays = {f.name: held[f.name] for f in fields(cls)}
        except (SafetensorError, OSError, KeyError) as error:
            raise ModelError(f"{path} is no album, or is damaged; delete it, and it is made again.") from error
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items() if name != "pixels"}
        numbers = {name: int(tensors.pop(name)) for name in ("own", "made")}
        return cls(pixels=arrays["pixels"], **tensors, **numbers)


def album_of(
    generator: Generator,
    recogniser: Recogniser,
    faces: Batch,
    count: int,
    seed: int,
    kept: Path | None,
    progress: Progress,
) -> Album:
    """The album for a generator, by whoever taught it; the one in the file ``kept`` where there is one already. Raises
    :class:`ModelError` when that is of another generator, recogniser or number of faces."""
    taught = generator.shape.latent == faces.parameters.shape[1]
    if kept is not None and kept.exists():
        held = Album.load(kept)
        same = held.codes.shape[1] == generator.shape.width and held.identities.shape[1] == recogniser.width
        shown = held.codes[:1]
        if taught and same and held.own:
            with torch.no_grad():
                shown = generator.mapping(held.parameters[:1].to(_device(generator))).cpu()
        if not same or bool(held.own) != taught or not torch.allclose(shown, held.codes[:1], atol=1e-3):
            raise ModelError(f"{kept} is of another generator or recogniser; name another file for the album.")
        return held
    if taught:
        own = identity_numbers(load_geometry(), load_appearance())
        made = photograph(generator, recogniser, faces.first(count), own, seed, progress)
    else:
        made = draw_album(generator, recogniser, count, seed, progress)
    if kept is not None:
        made.save(kept)
    return made


def photograph(
    generator: Generator, recogniser: Recogniser, faces: Batch, own: int, seed: int, progress: Progress
) -> Album:
    """``faces`` as they are, and before them what ``generator`` makes of the numbers of the first quarter."""
    count = -(-len(faces.parameters) // _OWN)
    own_pictures = _generated(generator, faces.first(count), progress)
    rendered = np.ascontiguousarray(faces.pixels[..., :3])
    points = np.concatenate([faces.points[:count], faces.points])
    clean = np.concatenate([own_pictures, rendered])
    identities = _who(recogniser, clean, points, progress)
    rng = np.random.default_rng((seed, 21))
    for row in np.flatnonzero(rng.random(len(rendered)) < _HARMED):
        clean[count + row] = degraded(rendered[row], rng)
    read = _read(clean, points, progress)
    told = torch.from_numpy(np.concatenate([faces.parameters[:count], faces.parameters]))
    with torch.no_grad():
        codes = generator.mapping(told.to(_device(generator))).cpu()
    seen = metric(generator, recogniser, codes[:count], torch.from_numpy(faces.points), codes.std(0), progress)
    return Album(codes, clean, torch.from_numpy(points), torch.from_numpy(read), identities, told, own, count, seen)


@torch.no_grad()
def _generated(generator: Generator, faces: Batch, progress: Progress) -> np.ndarray:
    progress.stage("generating pictures", len(faces.parameters))
    out = []
    for rows in _chunks(len(faces.parameters)):
        with short():
            told = torch.from_numpy(faces.parameters[rows]).to(_device(generator))
            made = generator(generator.mapping(told))
        out.append((to_unit(made.float()) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy())
        progress.advance(len(made))
    return np.concatenate(out)


@torch.no_grad()
def _who(recogniser: Recogniser, pixels: np.ndarray, points: np.ndarray, progress: Progress) -> torch.Tensor:
    progress.stage("recognising", len(pixels))
    out, device = [], next(iter(recogniser.parameters())).device
    for rows in _chunks(len(pixels)):
        pictures = torch.from_numpy(pixels[rows]).to(device).permute(0, 3, 1, 2).float() / 255
        places = face_places(torch.from_numpy(points[rows]).to(device), recogniser.side, pictures.shape[-1])
        with short():
            code = recogniser(aligned(pictures, places, recogniser.side))
        out.append(code.float().cpu())
        progress.advance(len(code))
    return torch.cat(out)


def _read(pixels: np.ndarray, points: np.ndarray, progress: Progress) -> np.ndarray:
    """Meshes as the landmark model reads them; where it sees no face, the true ones."""
    progress.stage("reading landmarks", len(pixels))
    out, size = points.copy(), pixels.shape[1]
    with FaceLandmarker() as landmarker:
        for row, picture in enumerate(pixels):
            true = points[row] * np.float32(size / 2)
            true[:, :2] += np.float32((size - 1) / 2)
            seen = landmarker.run(picture, roi_from_landmarks(true), rgb=True)
            if seen is not None and seen.presence >= _PRESENCE:
                out[row] = normalised(seen.points[None], np.eye(2, 3)[None], size)[0]
            progress.advance()
    return out


@torch.no_grad()
def draw_album(generator: Generator, recogniser: Recogniser, count: int, seed: int, progress: Progress) -> Album:
    """Of a generator that no renderer taught, such as one of FFHQ: codes are drawn, points are what the landmark model
    sees. Raises :class:`ModelError` when most pictures show no face."""
    progress.stage("generating pictures", count)
    random = torch.Generator().manual_seed(seed)
    codes: list[torch.Tensor] = []
    pixels, points, identities = [], [], []
    tried, device = 0, _device(generator)
    with FaceLandmarker() as landmarker:
        while len(codes) < count:
            if tried >= _TRIES + 4 * count:
                raise ModelError("hardly any picture of this generator shows a face; use one of aligned faces.")
            tried += 1
            w = generator.codes(torch.randn(1, generator.shape.latent, generator=random).to(device))
            made = to_unit(generator(w))
            made = functional.interpolate(made, (_SIDE, _SIDE), mode="area")
            picture = (made[0] * 255).round().byte().permute(1, 2, 0).cpu().numpy()
            seen = landmarker.run(picture, roi_from_box(_FACE_AT * _SIDE), rgb=True)
            if seen is None or seen.presence < _PRESENCE:
                continue
            told = torch.from_numpy(normalised(seen.points[None], np.eye(2, 3)[None], _SIDE))
            places = face_places(told.to(made.device), recogniser.side, _SIDE)
            codes.append(w.cpu())
            pixels.append(picture)
            points.append(told)
            identities.append(recogniser(aligned(made, places, recogniser.side)).cpu())
            progress.advance()
    where, untold = torch.cat(points), torch.zeros(count, 0)
    who = torch.cat(identities)
    return Album(torch.cat(codes), np.stack(pixels), where, where, who, untold, 0, count, torch.zeros(0))


def _device(generator: Generator) -> torch.device:
    return next((p.device for p in generator.parameters()), torch.device("cpu"))


def _chunks(count: int) -> Sequence[slice]:
    return [slice(start, start + _CHUNK) for start in range(0, count, _CHUNK)]
