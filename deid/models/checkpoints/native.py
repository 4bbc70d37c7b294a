"""This project's own files: safetensors, with a header that says what networks are inside."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from deid.errors import ModelError
from deid.models.checkpoints.bundle import Bundle, Network

FORMAT = "deid-networks"
VERSION = 1


def write(networks: Mapping[str, Network], *, half: bool = False, history: str = "") -> bytes:
    """The file's bytes. ``half``: parameters as 16-bit floats; ``history``: how they were made, a sentence or JSON."""
    tensors: dict[str, torch.Tensor] = {}
    for role, network in networks.items():
        for name, tensor in network.tensors.items():
            kept = tensor.detach().cpu().contiguous()
            tensors[f"{role}.{name}"] = kept.half() if half and kept.is_floating_point() else kept.clone()
    shapes = {role: dict(network.shape) for role, network in networks.items()}
    header = {"format": FORMAT, "version": str(VERSION), "networks": json.dumps(shapes), "history": history}
    return save(tensors, header)


def read(path: Path) -> Bundle:
    """Raises :class:`ModelError` when ``path`` is no such file, is damaged, or was written by a later version."""
    try:
        with safe_open(str(path), "pt") as file:
            header = file.metadata() or {}
            shapes = _shapes(path, header)
            names = list(file.keys())
            tensors = {name: _single(file.get_tensor(name)) for name in names}
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} cannot be read as safetensors; get or convert it again.") from error
    networks = {}
    for role, shape in shapes.items():
        begin = f"{role}."
        networks[role] = Network(
            shape, {name[len(begin) :]: value for name, value in tensors.items() if name.startswith(begin)}
        )
    note = header.get("history", "")
    return Bundle("deid", networks, (note,) if note else ())


def _single(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def _shapes(path: Path, header: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    if header.get("format") != FORMAT:
        raise ModelError(f"{path} holds no networks of this tool; convert it with 'deid models convert'.")
    if int(header.get("version", "0")) > VERSION:
        raise ModelError(f"{path} was written by a later version of deid; update deid.")
    found = json.loads(header["networks"])
    if not isinstance(found, dict):
        raise ModelError(f"{path} does not say what is in it; convert it again.")
    return found
