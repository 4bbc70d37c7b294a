"""What kind of checkpoint a file is, by its first bytes and its names; never by running it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from deid.errors import ModelError
from deid.models.checkpoints import facenet, native, nvidia, psp, rosinality
from deid.models.checkpoints.bundle import Bundle
from deid.models.checkpoints.pickles import read_torch, tensors

_ZIP = b"PK\x03\x04"
_OLD_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How files begin that torch wrote before it made archives: a pickled number of ten bytes."""


def open_checkpoint(path: Path) -> Bundle:
    """The networks in ``path``: this project's files, rosinality's and NVIDIA's generators, pSp, e4e, facenet. Raises
    :class:`ModelError` when it is missing, damaged, of another kind, or asks for code to be run."""
    start = _start(path)
    if start.startswith((_ZIP, _OLD_TORCH)):
        return _torch_file(path)
    if start[8:9] == b"{":
        return native.read(path)
    if start[:1] == b"\x80":
        return Bundle("nvidia", {"generator": nvidia.read_file(path)})
    raise ModelError(f"{path} is no checkpoint that this tool knows; 'deid models info --help' lists them.")


def _start(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(64)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}; check the path.") from error


def _torch_file(path: Path) -> Bundle:
    held: Any = read_torch(path)
    if not isinstance(held, Mapping):
        raise ModelError(f"{path} holds a {type(held).__name__} and no table of networks; use another file.")
    if "g_ema" in held:
        mean = held.get("latent_avg")
        table = tensors(held["g_ema"], "g_ema")
        network, notes = rosinality.read_generator(table, mean if isinstance(mean, torch.Tensor) else None)
        return Bundle("rosinality", {"generator": network}, notes)
    if isinstance(held.get("state_dict"), Mapping):
        return psp.read(held)
    if facenet.looks_like(held):
        return facenet.read(tensors(held, "contents"))
    if rosinality.looks_like(held):
        network, notes = rosinality.read_generator(tensors(held, "contents"), None)
        return Bundle("rosinality", {"generator": network}, notes)
    raise ModelError(f"{path} holds no network that this tool knows; 'deid models info --help' lists them.")
