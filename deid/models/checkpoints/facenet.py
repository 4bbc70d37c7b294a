"""InceptionResnetV1 recognisers, in facenet-pytorch's layout: 160 pixels, (x - 127.5) / 128, 512 numbers."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from deid.models.checkpoints.bundle import Bundle, Network


def looks_like(table: Mapping[str, object]) -> bool:
    """Whether the names are this layout's."""
    return "conv2d_1a.conv.weight" in table and "last_linear.weight" in table


def read(table: Mapping[str, torch.Tensor]) -> Bundle:
    """Without the classes it was trained to tell, which are people."""
    kept = {name: value.detach() for name, value in table.items() if not name.startswith("logits.")}
    dropped = len(table) > len(kept)
    notes = ("the classes it was trained on were left out",) if dropped else ()
    return Bundle("facenet", {"recogniser": Network({"kind": "inception-resnet-v1", "width": 512}, kept)}, notes)
