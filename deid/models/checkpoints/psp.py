"""pSp and e4e checkpoints: an encoder, its generator, and the average w that codes are offsets from."""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

import torch

from deid.errors import ModelError
from deid.models.checkpoints import rosinality
from deid.models.checkpoints.bundle import Bundle, Network
from deid.models.checkpoints.pickles import tensors
from deid.models.mapping.style_encoder import StyleEncoderShape

_KINDS = {"GradualStyleEncoder": False, "Encoder4Editing": True}


def read(held: Mapping[str, Any]) -> Bundle:
    """``held``: what the file holds. Raises :class:`ModelError` when it is another kind of encoder, or incomplete."""
    table = tensors(held["state_dict"], "state_dict")
    options = held.get("opts") or {}
    options = vars(options) if isinstance(options, Namespace) else options
    encoder = _part(table, "encoder.")
    if not encoder:
        raise ModelError("the file has no encoder in it; use a pSp or e4e checkpoint.")
    mean = held.get("latent_avg")
    shape = _shape(encoder, options)
    networks = {"style_encoder": Network(shape.numbers(), {name: _float(value) for name, value in encoder.items()})}
    notes: tuple[str, ...] = ()
    decoder = _part(table, "decoder.")
    if decoder:
        networks["generator"], notes = rosinality.read_generator(
            decoder, mean if isinstance(mean, torch.Tensor) else None
        )
    if shape.from_mean and not isinstance(mean, torch.Tensor):
        notes += ("its codes are offsets from an average w that the file lacks, so the generator's is taken",)
    return Bundle("e4e" if shape.offsets else "psp", networks, notes)


def _part(table: Mapping[str, torch.Tensor], begin: str) -> dict[str, torch.Tensor]:
    return {name[len(begin) :]: value for name, value in table.items() if name.startswith(begin)}


def _float(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().float() if tensor.is_floating_point() else tensor


def _shape(encoder: Mapping[str, torch.Tensor], options: Mapping[str, Any]) -> StyleEncoderShape:
    kind = options.get("encoder_type", "GradualStyleEncoder")
    if kind not in _KINDS:
        raise ModelError(f"{kind} is not an encoder this tool knows; use GradualStyleEncoder or Encoder4Editing.")
    try:
        entry = encoder["input_layer.0.weight"]
        styles = 1 + max(int(found[1]) for name in encoder if (found := re.match(r"styles\.(\d+)\.", name)))
        depths = [encoder[f"body.{index}.res_layer.1.weight"].shape[0] for index in range(_count(encoder))]
        pools = [_pools(encoder, min(index, styles - 1)) for index in (0, 3, 7)]
    except (KeyError, ValueError) as error:
        raise ModelError("the encoder in the file is incomplete; get it again.") from error
    base = entry.shape[0]
    units = [depths.count(base << stage) for stage in range(4)]
    if sum(units) != len(depths) or min(units) < 1 or depths != sorted(depths):
        raise ModelError("the encoder in the file has another backbone than pSp's; use another file.")
    return StyleEncoderShape(
        styles=styles,
        units=(units[0], units[1], units[2], units[3]),
        channels=base,
        pools=(pools[0], pools[1], pools[2]),
        offsets=_KINDS[kind],
        from_mean=bool(options.get("start_from_latent_avg", True)),
        squeeze="body.0.res_layer.5.fc1.weight" in encoder,
        colours=entry.shape[1],
    )


def _count(encoder: Mapping[str, torch.Tensor]) -> int:
    return 1 + max(int(found[1]) for name in encoder if (found := re.match(r"body\.(\d+)\.", name)))


def _pools(encoder: Mapping[str, torch.Tensor], style: int) -> int:
    begin = f"styles.{style}.convs."
    return sum(1 for name in encoder if name.startswith(begin) and name.endswith(".weight"))
