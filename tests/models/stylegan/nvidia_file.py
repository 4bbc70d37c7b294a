"""Pickles as StyleGAN2-ADA writes them: objects with the source text of their classes, by a hook of theirs."""

from __future__ import annotations

import io
import pickle
import sys
import types
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

_SOURCE = "raise SystemExit('the source text of a class was run')"


@contextmanager
def _their_modules() -> Iterator[tuple[type, object]]:
    """Modules of the names that the files mention, for as long as a file is being written."""
    package, utilities = types.ModuleType("torch_utils"), types.ModuleType("dnnlib")
    persistence, util = types.ModuleType("torch_utils.persistence"), types.ModuleType("dnnlib.util")

    class EasyDict(dict):
        pass

    def _reconstruct_persistent_obj(meta: object) -> None:
        raise SystemExit("an object was put together")

    EasyDict.__module__, EasyDict.__qualname__ = "dnnlib.util", "EasyDict"
    _reconstruct_persistent_obj.__module__ = "torch_utils.persistence"
    _reconstruct_persistent_obj.__qualname__ = "_reconstruct_persistent_obj"
    util.EasyDict, persistence._reconstruct_persistent_obj = EasyDict, _reconstruct_persistent_obj
    made = {"torch_utils": package, "torch_utils.persistence": persistence, "dnnlib": utilities, "dnnlib.util": util}
    sys.modules.update(made)
    try:
        yield EasyDict, _reconstruct_persistent_obj
    finally:
        for name in made:
            del sys.modules[name]


class _Object:
    def __init__(self, hook: object, easy: type, name: str, state: dict) -> None:
        self._made = hook, easy(type="class", version=6, module_src=_SOURCE, class_name=name, state=state)

    def __reduce__(self) -> tuple:
        return self._made[0], (self._made[1],)


def names(ours: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A generator's state by NVIDIA's names."""
    parts = {
        "conv.weight": "weight",
        "conv.affine.weight": "affine.weight",
        "conv.affine.bias": "affine.bias",
        "bias": "bias",
        "strength": "noise_strength",
        "noise": "noise_const",
    }
    found = {}
    for name, tensor in ours.items():
        words = name.split(".")
        if name == "mapping.mean":
            found["mapping.w_avg"] = tensor
        elif words[0] == "mapping":
            found[f"mapping.fc{words[2]}.{words[3]}"] = tensor
        elif name == "synthesis.constant":
            found["synthesis.b4.const"] = tensor
        else:
            layer = {"first": "conv0", "second": "conv1", "picture": "torgb"}[words[3]]
            found[f"synthesis.b{4 << int(words[2])}.{layer}.{parts['.'.join(words[4:])]}"] = tensor
    return found


def write(ours: Mapping[str, torch.Tensor], extra: Mapping[str, torch.Tensor] | None = None) -> bytes:
    """The bytes of a snapshot whose averaged generator is ``ours``."""
    tree: dict = {}
    for name, tensor in (names(ours) | dict(extra or {})).items():
        place = tree
        *path, last = name.split(".")
        for word in path:
            place = place.setdefault(word, {})
        place[last] = tensor
    with _their_modules() as (easy, hook):

        def packed(name: str, branch: dict) -> _Object:
            leaves = {key: value for key, value in branch.items() if isinstance(value, torch.Tensor)}
            fixed = {"w_avg", "noise_const"}
            state = {
                "training": False,
                "_parameters": OrderedDict((k, torch.nn.Parameter(v)) for k, v in leaves.items() if k not in fixed),
                "_buffers": OrderedDict((k, v) for k, v in leaves.items() if k in fixed),
                "_non_persistent_buffers_set": set(),
                "_backward_hooks": OrderedDict(),
                "_modules": OrderedDict((k, packed(k, v)) for k, v in branch.items() if isinstance(v, dict)),
                "_init_kwargs": easy(c_dim=0, fp16=None),
            }
            return _Object(hook, easy, name, state)

        out = io.BytesIO()
        pickle.dump({"G_ema": packed("Generator", tree), "training_set_kwargs": easy(path="x")}, out)
    return out.getvalue()
