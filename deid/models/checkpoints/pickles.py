"""Reading pickled checkpoints without running what is in them.

A pickle is a program: it may call any function it can name. This reader names none. Every class or function a file asks
for is looked up in a short list of inert stand-ins; anything else ends the reading before it is made, and nothing has
run. Tensors' storages are rebuilt from their bytes here, not by torch's reader of whole objects.
"""

from __future__ import annotations

import argparse
import io
import pickle
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from deid.errors import ModelError

_Names = Mapping[tuple[str, str], Any]


class Refused(ModelError):
    """The file asks for something that a checkpoint has no need of."""


class _Reader(pickle.Unpickler):
    def __init__(self, file: io.BufferedIOBase, names: _Names) -> None:
        super().__init__(file)
        self._names = names

    def find_class(self, module: str, name: str) -> Any:
        found = self._names.get((module, name))
        if found is None:
            raise Refused(
                f"the file wants to use {module}.{name}, which no checkpoint needs, so it was not read; "
                "get it from somewhere you trust, or convert it where it was made."
            )
        return found

    def persistent_load(self, pid: Any) -> Any:
        raise Refused("the file refers to something outside itself; use a complete one.")


def read_pickle(path: Path, names: _Names) -> Any:
    """What ``path`` holds, with ``names`` the only callables it may use, by (module, name). Raises :class:`Refused` for
    any other, and :class:`ModelError` for what is no pickle, or a broken one."""
    try:
        with path.open("rb") as file:
            return _Reader(file, names).load()
    except ModelError:
        raise
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}; check the path.") from error
    except Exception as error:  # an unpickler raises whatever the bytes lead it to
        raise ModelError(f"{path} is not a checkpoint, or a broken one; get it again.") from error


def load_storage(data: bytes) -> torch.TypedStorage:
    """A storage that was saved by itself inside a pickle, by torch's own reader, restricted to tensors."""
    try:
        with warnings.catch_warnings():  # the kind of storage that old files hold is deprecated, for writers
            warnings.simplefilter("ignore")
            made = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a broken or hostile inner file leads to
        raise Refused("the file holds a tensor that is not one, so it was not read; get it again.") from error
    if not isinstance(made, torch.TypedStorage):
        raise Refused("the file holds a tensor that is not one, so it was not read; get it again.")
    return made


def view(stored: torch.TypedStorage, offset: int, size: Sequence[int], stride: Sequence[int], *_: Any) -> torch.Tensor:
    """A tensor in a storage; outside of it raises :class:`Refused`."""
    if not isinstance(stored, torch.TypedStorage):
        raise Refused("the file holds a tensor that is not one, so it was not read; get it again.")
    try:
        flat = torch.empty(0, dtype=stored.dtype).set_(stored._untyped_storage)
        return flat.as_strided(tuple(size), tuple(stride), offset).clone()
    except (RuntimeError, TypeError) as error:
        raise Refused("the file holds a tensor that is larger than its numbers; get it again.") from error


def read_torch(path: Path) -> Any:
    """What ``torch.save`` wrote to ``path``: tensors, containers, numbers, and settings in an ``argparse.Namespace``,
    which does nothing. Raises :class:`Refused` for anything else."""
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise ModelError(f"{path} does not exist; check the path.") from error
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}; check the path.") from error
    except pickle.UnpicklingError as error:
        if "weights_only" in str(error) or "Unsupported" in str(error):
            raise Refused(
                f"{path} holds more than tensors and settings, so it was not read; get it from somewhere you "
                "trust, or convert it where it was made."
            ) from error
        raise ModelError(f"{path} is not a checkpoint, or a broken one; get it again.") from error
    except Exception as error:  # truncated archives and the like
        raise ModelError(f"{path} is not a checkpoint, or a broken one; get it again.") from error


def tensors(value: Any, what: str) -> dict[str, torch.Tensor]:
    """``value`` as a table of tensors by name. Raises :class:`ModelError` when it is something else."""
    if not isinstance(value, Mapping) or not value:
        raise ModelError(f"the file's {what} is no table of tensors; use another file.")
    found = {str(name): tensor for name, tensor in value.items() if isinstance(tensor, torch.Tensor)}
    if len(found) != len(value):
        raise ModelError(f"the file's {what} holds more than tensors; use another file.")
    return found
