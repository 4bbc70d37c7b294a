"""StyleGAN2-ADA pickles (NVIDIA's), read without running the code that is stored in them.

Such a file is a pickle of whole objects, each with the source text of its class. Here an object becomes a plain record
of its class's name and its state; the source text is never looked at.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from deid.errors import ModelError
from deid.models.checkpoints.bundle import Network
from deid.models.checkpoints.pickles import load_storage, read_pickle, view
from deid.models.stylegan.generator import GeneratorShape


@dataclass(frozen=True, slots=True, eq=False)
class _Record:
    """What is left of an object: the name of its class, and its state."""

    name: str
    state: Mapping[str, Any]


class _Table(dict):
    """Stands in for every dictionary class; what is set on it as an object is forgotten."""

    def __setstate__(self, state: object) -> None:
        pass


def _record(meta: Any) -> _Record:
    if not isinstance(meta, Mapping) or not isinstance(meta.get("state"), Mapping):
        raise ModelError("an object in the file has no state; it is damaged, or another kind of file.")
    return _Record(str(meta.get("class_name")), meta["state"])


def _forgotten(*_: Any) -> None:
    """Numbers of NumPy's, which nothing here needs."""


def _parameter(data: torch.Tensor, *_: Any) -> torch.Tensor:
    return data


_NAMES: dict[tuple[str, str], Any] = {
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _record,
    ("dnnlib.util", "EasyDict"): _Table,
    ("dnnlib", "EasyDict"): _Table,
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
    ("torch", "Size"): tuple,
    ("torch", "device"): _forgotten,
    ("torch._utils", "_rebuild_tensor_v2"): view,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch.storage", "_load_from_bytes"): load_storage,
    ("numpy.core.multiarray", "scalar"): _forgotten,
    ("numpy._core.multiarray", "scalar"): _forgotten,
    ("numpy", "dtype"): _Table,
} | {("torch", name): name for name in ("float16", "float32", "float64")}


def read_file(path: Path) -> Network:
    """The averaged generator ("G_ema") of the pickle at ``path``. Raises
    :class:`~deid.models.checkpoints.pickles.Refused` when it asks for anything but tensors and plain containers,
    :class:`ModelError` for another kind of file."""
    held = read_pickle(path, _NAMES)
    record = held.get("G_ema") if isinstance(held, Mapping) else held
    if not isinstance(record, _Record):
        raise ModelError(f"{path} holds no G_ema; use a StyleGAN2-ADA snapshot.")
    tensors: dict[str, torch.Tensor] = {}
    _collect(record, "", tensors)
    return read_generator(tensors)


def _collect(record: _Record, begin: str, found: dict[str, torch.Tensor]) -> None:
    for group in ("_parameters", "_buffers"):
        for name, value in dict(record.state.get(group) or {}).items():
            if isinstance(value, torch.Tensor):
                found[f"{begin}{name}"] = value.detach().float()
    for name, value in dict(record.state.get("_modules") or {}).items():
        if isinstance(value, _Record):
            _collect(value, f"{begin}{name}.", found)


def read_generator(tensors: Mapping[str, torch.Tensor]) -> Network:
    """A table of tensors by NVIDIA's names. Raises :class:`ModelError` for other networks than StyleGAN2's with the
    skip architecture and without classes."""
    if any(name.startswith("mapping.embed.") for name in tensors):
        raise ModelError("the generator in the file makes pictures of classes; use one without.")
    if any(name.endswith(".skip.weight") for name in tensors) or "synthesis.b4.const" not in tensors:
        raise ModelError("the generator in the file is no StyleGAN2 with skip connections; use another file.")
    sizes = sorted({int(name.split(".")[1][1:]) for name in tensors if name.startswith("synthesis.b")})
    depth = sum(1 for name in tensors if name.startswith("mapping.fc") and name.endswith(".weight"))
    found = {"synthesis.constant": tensors["synthesis.b4.const"]}
    try:
        for index in range(depth):
            for part in ("weight", "bias"):
                found[f"mapping.layers.{index}.{part}"] = tensors[f"mapping.fc{index}.{part}"]
        found["mapping.mean"] = tensors["mapping.w_avg"]
        for block, size in enumerate(sizes):
            for theirs, ours in (("conv0", "first"), ("conv1", "second")):
                if size == 4 and theirs == "conv0":
                    continue
                _layer(tensors, f"synthesis.b{size}.{theirs}.", f"synthesis.blocks.{block}.{ours}.", found)
            _layer(tensors, f"synthesis.b{size}.torgb.", f"synthesis.blocks.{block}.picture.", found, styled=False)
        shape = GeneratorShape(
            size=sizes[-1],
            channels=tuple(tensors[f"synthesis.b{size}.conv1.weight"].shape[0] for size in sizes),
            latent=tensors["mapping.fc0.weight"].shape[1],
            width=tensors["mapping.w_avg"].shape[0],
            depth=depth,
            colours=tensors["synthesis.b4.torgb.weight"].shape[0],
        )
    except KeyError as error:
        raise ModelError(f"the generator in the file lacks {error.args[0]}; use a complete StyleGAN2 file.") from error
    return Network(shape.numbers(), found)


def _layer(
    tensors: Mapping[str, torch.Tensor], theirs: str, ours: str, found: dict[str, torch.Tensor], styled: bool = True
) -> None:
    found[f"{ours}conv.weight"] = tensors[f"{theirs}weight"]
    found[f"{ours}conv.affine.weight"] = tensors[f"{theirs}affine.weight"]
    found[f"{ours}conv.affine.bias"] = tensors[f"{theirs}affine.bias"]
    found[f"{ours}bias"] = tensors[f"{theirs}bias"]
    if styled:
        found[f"{ours}strength"] = tensors[f"{theirs}noise_strength"].reshape(())
        found[f"{ours}noise"] = tensors[f"{theirs}noise_const"]
