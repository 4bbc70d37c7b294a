"""What a checkpoint holds once it is read, whatever its format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from deid.errors import ModelError


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """``shape``: what the network is built from, as numbers; ``tensors``: its parameters and buffers, by their names in
    this project."""

    shape: Mapping[str, Any]
    tensors: Mapping[str, torch.Tensor]

    def parameters(self) -> int:
        """How many numbers there are."""
        return sum(tensor.numel() for tensor in self.tensors.values())


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """``kind``: the format it was read from; ``networks``: by role, "generator", "style_encoder", "recogniser" and so
    on; ``notes``: what a user should know about the file, in sentences."""

    kind: str
    networks: Mapping[str, Network]
    notes: tuple[str, ...] = field(default=())

    def network(self, role: str) -> Network:
        """Raises :class:`ModelError` when the file holds no such network."""
        found = self.networks.get(role)
        if found is None:
            held = ", ".join(self.networks) or "nothing"
            raise ModelError(f"the file holds {held} but no {role.replace('_', ' ')}; give one that does.")
        return found


def fill(module: torch.nn.Module, network: Network, what: str) -> None:
    """Put ``network``'s tensors into ``module``, all of them. Raises :class:`ModelError` when one is missing, too many,
    of another shape, or not finite."""
    wanted = module.state_dict()
    missing, extra = sorted(wanted.keys() - network.tensors.keys()), sorted(network.tensors.keys() - wanted.keys())
    if missing or extra:
        names = ", ".join((missing or extra)[:3])
        raise ModelError(
            f"the {what} in the file {'lacks' if missing else 'has more than it should:'} {names}; "
            "use a file of the same network."
        )
    for name, tensor in network.tensors.items():
        if tensor.shape != wanted[name].shape:
            raise ModelError(
                f"{name} of the {what} is {tuple(tensor.shape)} in the file where "
                f"{tuple(wanted[name].shape)} is needed; use a file of the same network."
            )
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ModelError(f"{name} of the {what} holds numbers that are not finite; the file is damaged.")
    module.load_state_dict({name: tensor.to(wanted[name].dtype) for name, tensor in network.tensors.items()})
