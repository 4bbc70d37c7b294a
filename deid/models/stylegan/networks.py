"""The four networks of the StyleGAN engine, this project's own or a user's, checked to go together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from deid.errors import ModelError
from deid.models.checkpoints import build, open_checkpoint
from deid.models.mapping.attributes import AttributeEncoder
from deid.models.mapping.identity import DlibIdentity, FacenetIdentity, aligned, identity_encoder
from deid.models.mapping.mapper import Mapper
from deid.models.stylegan.alignment import inverse
from deid.models.stylegan.generator import Generator
from deid.recognition.chips import CHIP, chip_from_picture

SHIPPED = Path(__file__).parent
_GENERATOR, _MAPPER = "generator.safetensors", "mapper.safetensors"
_BATCH = 16
_FARTHEST = 3.5
"""Standard deviations of the generator's own codes, by their own directions, beyond which a mapped code is drawn in:
what lies farther is no face that the generator was ever asked for."""


@dataclass(frozen=True, slots=True, eq=False)
class Networks:
    """G, E_id, E_attr and M of Nitzan et al. 2020, frozen. ``files``: what they were read from, for reports.
    ``device``: where they compute; what goes in and comes out is on the processor."""

    generator: Generator
    recogniser: DlibIdentity | FacenetIdentity
    attributes: AttributeEncoder
    mapper: Mapper
    files: tuple[str, ...]
    device: str = "cpu"

    @classmethod
    def load(
        cls,
        generator: Path | None = None,
        encoder: Path | None = None,
        mapper: Path | None = None,
        recogniser: Path | None = None,
        device: str = "cpu",
    ) -> Networks:
        """``mapper``: a file with M and, unless ``encoder`` names another, E_attr. ``recogniser``: weights of E_id, by
        default dlib's network; M has to be trained with it. Whatever is ``None`` is the shipped one. ``device``: as
        torch calls it. Raises :class:`ModelError` when a file is missing, broken, or does not go with the others, and
        where there is no such device."""
        _require(device)
        if generator is not None and mapper is None:
            raise ModelError(
                f"a mapper goes with one generator only, and none is given for {generator.name}; train one with "
                "'deid train mapper --generator FILE', and name it with --mapper."
            )
        made_by = generator or SHIPPED / _GENERATOR
        mapped_by = mapper or SHIPPED / _MAPPER
        told_by = encoder or mapped_by
        out = cls(
            build.generator(open_checkpoint(made_by)).to(device),
            build.frozen(identity_encoder(recogniser)).to(device),
            build.attributes(open_checkpoint(told_by)).to(device),
            build.mapper(open_checkpoint(mapped_by)).to(device),
            tuple(dict.fromkeys(path.name for path in (made_by, told_by, mapped_by))),
            device,
        )
        out._check(made_by, told_by, mapped_by)
        return out

    def _check(self, made_by: Path, told_by: Path, mapped_by: Path) -> None:
        wanted = self.mapper.shape
        for found, needed, path, what in (
            (self.generator.shape.width, wanted.width, made_by, "takes codes of"),
            (self.attributes.shape.width, wanted.attributes, told_by, "tells attributes in"),
            (self.recogniser.width, wanted.identity, Path(self.recogniser.name), "tells identities in"),
        ):
            if found != needed:
                raise ModelError(
                    f"{path.name} {what} {found} numbers, the mapper in {mapped_by.name} was trained for {needed}; "
                    "use files that were made for each other."
                )

    @torch.no_grad()
    def identities(self, pictures: np.ndarray, points: np.ndarray) -> np.ndarray:
        """E_id: float32 (n, d) of ``pictures``, uint8 (n, S, S, 3) RGB, with meshes ``points``, (n, 478, 3) in their
        pixels."""
        side, out = self.recogniser.side, []
        for rows in _batches(len(pictures)):
            places = [inverse(chip_from_picture(mesh) * (side / CHIP)) for mesh in points[rows]]
            where = torch.from_numpy(np.stack(places).astype(np.float32))
            out.append(self.recogniser(aligned(self._unit(pictures[rows]), where.to(self.device), side)).cpu())
        return np.asarray(torch.cat(out).numpy(), np.float32)

    @torch.no_grad()
    def attribute_codes(self, pictures: np.ndarray, points: np.ndarray) -> np.ndarray:
        """E_attr: float32 (n, width) of aligned ``pictures``, uint8 (n, S, S, 3) RGB; ``points``: float32 (n, 478, 3),
        -1 to 1 over the picture."""
        where = torch.from_numpy(np.ascontiguousarray(points, np.float32)).to(self.device)
        out = [self.attributes(self._unit(pictures[rows]), where[rows]).cpu() for rows in _batches(len(pictures))]
        return np.asarray(torch.cat(out).numpy(), np.float32)

    @torch.no_grad()
    def mapped(self, identities: np.ndarray, attributes: np.ndarray) -> np.ndarray:
        """M: float32 (n, width), drawn in where it lies farther out than the generator's own codes do."""
        codes = self.mapper(*(torch.from_numpy(told).to(self.device) for told in (identities, attributes)))
        away = (codes - self.mapper.mean) / self.mapper.scale
        size = away.square().mean(1, keepdim=True).sqrt()
        near = self.mapper.mean + away * (_FARTHEST / size.clamp_min(_FARTHEST)) * self.mapper.scale
        return np.asarray(near.cpu().numpy(), np.float32)

    @torch.no_grad()
    def pictures(self, codes: np.ndarray) -> np.ndarray:
        """G: float32 (n, S, S, 3 or 4), code values and opacity, 0 to 1."""
        told = torch.from_numpy(np.ascontiguousarray(codes))
        out = [self.generator(told[rows].to(self.device)).cpu() for rows in _batches(len(codes))]
        made = (torch.cat(out) / 2 + 0.5).clamp(0, 1)
        return np.ascontiguousarray(made.permute(0, 2, 3, 1).numpy(), np.float32)

    def _unit(self, pictures: np.ndarray) -> torch.Tensor:
        made = torch.from_numpy(np.ascontiguousarray(pictures)).to(self.device)
        return made.permute(0, 3, 1, 2).float() / 255


def normalised(points: np.ndarray, crop_from_frame: np.ndarray, side: int) -> np.ndarray:
    """Meshes, (n, 478, 3) frame pixels, as E_attr takes them: float32, -1 to 1 over a crop of ``side`` pixels, z in the
    same unit about the mesh's mean. ``crop_from_frame``: (n, 2, 3)."""
    out = np.empty(points.shape, np.float32)
    flat = np.einsum("nij,npj->npi", crop_from_frame[:, :, :2], points[..., :2]) + crop_from_frame[:, None, :, 2]
    out[..., :2] = (2 * flat + 1) / side - 1
    scale = np.sqrt(np.abs(np.linalg.det(crop_from_frame[:, :, :2])))[:, None]
    depth = points[..., 2] - points[:, :468, 2].mean(axis=1, keepdims=True)
    out[..., 2] = 2 * depth * scale / side
    return out


def _require(device: str) -> None:
    """Raises :class:`ModelError` where there is no such device; has one compute the same way every time."""
    if not device.startswith("cuda"):
        return
    if not torch.cuda.is_available():
        raise ModelError("there is no GPU that torch can use here; leave --device out, or install torch for GPUs.")
    torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = False, True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False


def _batches(count: int) -> Sequence[slice]:
    return [slice(start, start + _BATCH) for start in range(0, count, _BATCH)]
