"""E_id: who is in a picture, as numbers that gradients flow through.

The recognisers are those of :mod:`deid.recognition`: dlib's network, and InceptionResnetV1 with weights that a user
brings. Both want an aligned face; where it lies in the picture follows from its landmarks.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from deid.errors import ModelError
from deid.models.checkpoints.bundle import Bundle, fill


class DlibIdentity(nn.Module):
    """dlib's network: 128 numbers from 150 pixels. ``width``: numbers in a code; ``side``: pixels of an aligned face;
    ``name``: for reports. Takes aligned faces, float (N, 3, side, side) RGB in [0, 1], to codes (N, width), whose
    distances tell people apart."""

    width, side, name = 128, 150, "dlib"

    def __init__(self, weights: Path | None = None) -> None:
        super().__init__()
        from deid.recognition.dlib_net import load_net

        self.net = load_net(weights)

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        code: torch.Tensor = self.net(faces * 255)
        return code


class FacenetIdentity(nn.Module):
    """InceptionResnetV1 with a user's weights: 512 numbers, of length 1, from 160 pixels."""

    width, side, name = 512, 160, "facenet"

    def __init__(self, bundle: Bundle) -> None:
        super().__init__()
        from deid.recognition._facenet import inception_resnet

        self.net = inception_resnet()
        fill(self.net, bundle.network("recogniser"), "recogniser")
        self.net.eval()

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        return functional.normalize(self.net((faces * 255 - 127.5) / 128))


Recogniser = DlibIdentity | FacenetIdentity


def identity_encoder(path: Path | None = None) -> DlibIdentity | FacenetIdentity:
    """dlib's by default, or the one in a checkpoint. Raises :class:`ModelError` when that holds no recogniser."""
    if path is None:
        return DlibIdentity()
    from deid.models.checkpoints import open_checkpoint

    bundle = open_checkpoint(path)
    if "recogniser" not in bundle.networks:
        raise ModelError(f"{path} holds no recogniser; give weights of InceptionResnetV1 in facenet-pytorch's layout.")
    return FacenetIdentity(bundle)


def aligned(pictures: torch.Tensor, picture_from_face: torch.Tensor, side: int) -> torch.Tensor:
    """Faces cut out of ``pictures``, (N, 3, H, W), float (N, 3, side, side). ``picture_from_face``: (N, 2, 3), from
    pixel centres of the face to those of the picture. Gradients flow to the pictures. Faces much smaller than they were
    are averaged first, so that nothing is skipped over."""
    step = torch.linalg.norm(picture_from_face[:, :, 0], dim=1).mean().item()
    while step > 1.5 and min(pictures.shape[2:]) >= 2 * side:
        pictures = functional.avg_pool2d(pictures, 2)
        half = picture_from_face.clone() / 2
        half[:, :, 2] -= 0.25  # pixel centres: the first two become one between them
        picture_from_face, step = half, step / 2
    height, width = pictures.shape[2:]
    grid = torch.arange(side, device=pictures.device, dtype=pictures.dtype)
    y, x = torch.meshgrid(grid, grid, indexing="ij")
    places = torch.einsum("nij,yxj->nyxi", picture_from_face, torch.stack([x, y, torch.ones_like(x)], -1))
    size = torch.tensor([width, height], device=pictures.device, dtype=pictures.dtype)
    return functional.grid_sample(
        pictures, (2 * places + 1) / size - 1, mode="bilinear", padding_mode="border", align_corners=False
    )
