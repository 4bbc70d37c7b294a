"""How much is seen of an error in w: by what the mapper's told codes are compared.

Two codes that lie apart by so much may show two pictures that nobody can tell apart, or an open and a closed eye. The
metric that the picture induces in w (D. Arad Hudson and others call it the pull-back; H. Shao et al. 2018, *The
Riemannian geometry of deep generative models*, section 3) is ``J' J``, J being how a picture, or what is read off it,
changes with w. Here it is a mean over pictures, measured by small steps along each number of w, of three readings: the
face's pixels, the fine structure of eyes, brows and mouth, and the recogniser's code.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from deid.models.mapping.attributes import MESH_OF_LANDMARKS
from deid.models.mapping.identity import Recogniser, aligned
from deid.models.stylegan.alignment import inverse
from deid.models.stylegan.generator import Generator
from deid.progress import Progress
from deid.recognition.chips import CHIP, chip_from_picture
from deid.training.session import short

PICTURES = 4
_STEP = 0.25  # of each number's spread
_CHUNK = 32
_SIDE = 128  # pixels of a side at which pictures are compared, at the most
_PIXELS, _PARTS, _WHO, _REST = 0.25, 0.4, 0.25, 0.1
_FINE = 9  # of 128 pixels: what is wider than this is light and colour
_BROWS, _EYES, _LIPS = slice(0, 10), slice(19, 31), slice(31, 51)
_REACH = 0.07  # of a picture that is 2 wide


@torch.no_grad()
def metric(
    generator: Generator,
    recogniser: Recogniser,
    codes: torch.Tensor,
    points: torch.Tensor,
    scale: torch.Tensor,
    progress: Progress,
) -> torch.Tensor:
    """float32 (width, width), L: of an error e in w, in units of ``scale``, ``|e L|^2`` is how much of it is seen;
    about 1 for an error as large as codes differ. ``codes``: (n, width), pictures to ask about, whose meshes are
    ``points``, (n or more, 478, 3), -1 to 1."""
    width, device = len(scale), next(generator.parameters()).device
    scale = scale.to(device)
    rows = np.linspace(0, len(codes) - 1, min(PICTURES, len(codes))).astype(np.int64)
    progress.stage("asking what shows", len(rows))
    parts = [torch.zeros(width, width, dtype=torch.float64, device=device) for _ in range(3)]
    for row in rows:
        changes = _changes(generator, recogniser, codes[row].to(device), points[row : row + 1].to(device), scale)
        for total, found in zip(parts, changes, strict=True):
            square = (found @ found.T).double()
            total += square / square.diagonal().sum().clamp_min(1e-12) / len(rows)
        progress.advance()
    joined = _REST * torch.eye(width, dtype=torch.float64, device=device) / width
    for weight, total in zip((_PIXELS, _PARTS, _WHO), parts, strict=True):
        joined += weight * total
    return torch.linalg.cholesky(joined).float().cpu()


def _changes(
    generator: Generator, recogniser: Recogniser, code: torch.Tensor, points: torch.Tensor, scale: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """How each reading changes with each number of w: (width, readings) each."""
    steps = torch.cat([torch.zeros_like(scale)[None], torch.diag(scale * _STEP)]) + code
    faces, fine, who = [], [], []
    for start in range(0, len(steps), _CHUNK):
        with short():
            made = generator(steps[start : start + _CHUNK])
        made = to_unit(made.float())
        places = face_places(points, recogniser.side, made.shape[-1]).expand(len(made), -1, -1)
        with short():
            who.append(recogniser(aligned(made, places, recogniser.side)).float())
        if made.shape[-1] > _SIDE:
            made = functional.interpolate(made, (_SIDE, _SIDE), mode="area")
        faces.append(functional.avg_pool2d(made * _face(points, made.shape[-1]), 2).flatten(1))
        fine.append((detail(made) * features(points, made.shape[-1])).flatten(1))
    read = [torch.cat(some) for some in (faces, fine, who)]
    return read[0][1:] - read[0][0], read[1][1:] - read[1][0], read[2][1:] - read[2][0]


def to_unit(made: torch.Tensor) -> torch.Tensor:
    """What a generator makes, (N, 3 or 4, H, W) in -1 to 1, as colours (N, 3, H, W) from 0 to 1."""
    return (made[:, :3] / 2 + 0.5).clamp(0, 1)


def face_places(points: torch.Tensor, side: int, size: int) -> torch.Tensor:
    """float32 (N, 2, 3), picture_from_face for :func:`~deid.models.mapping.identity.aligned`: from an aligned face of
    ``side`` pixels to a picture of ``size``, where the mesh is ``points``, (N, 478, 3) in -1 to 1."""
    places = ((points.cpu().numpy()[..., :2] + 1) * size - 1) / 2
    out = [inverse(chip_from_picture(mesh) * (side / CHIP)) for mesh in places]
    return torch.from_numpy(np.stack(out).astype(np.float32)).to(points.device)


def detail(pictures: torch.Tensor) -> torch.Tensor:
    """What of pictures (N, 3, S, S) is finer than light and colour: brightness less its surroundings', (N, 1, S, S)."""
    grey = pictures.mean(1, keepdim=True)
    size = max(3, _FINE * pictures.shape[-1] // 128 | 1)
    return grey - functional.avg_pool2d(grey, size, stride=1, padding=size // 2, count_include_pad=False)


def features(points: torch.Tensor, size: int) -> torch.Tensor:
    """float32 (N, 1, size, size), 0 to 1: where eyes, brows and mouth are, of meshes (N, 478, 3), -1 to 1."""
    marks = points[:, list(MESH_OF_LANDMARKS), :2]
    marks = torch.cat([marks[:, part] for part in (_BROWS, _EYES, _LIPS)], 1)
    axis = (2 * torch.arange(size, device=points.device) + 1) / size - 1
    across = (axis[None, None] - marks[..., 0, None]).square()
    down = (axis[None, None] - marks[..., 1, None]).square()
    nearest = (down[..., :, None] + across[..., None, :]).amin(1, keepdim=True)
    return torch.exp(-nearest / (2 * (_REACH / 2) ** 2))


def _face(points: torch.Tensor, size: int) -> torch.Tensor:
    """float32 (N, 1, size, size): 1 within the box of the mesh."""
    low, high = points[..., :2].amin(1), points[..., :2].amax(1)
    axis = (2 * torch.arange(size, device=points.device) + 1) / size - 1
    across = (axis >= low[:, :1]) & (axis <= high[:, :1])
    down = (axis >= low[:, 1:]) & (axis <= high[:, 1:])
    return (down[:, None, :, None] & across[:, None, None, :]).float()
