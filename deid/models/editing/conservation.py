"""What an edit is to leave alone, beyond what it is not asked to change: losses that users may add to their own
training.

Khodadadeh et al. 2022, section 3, name a hook for such losses. One is a function of what there was and what came of it;
``deid train editor --keep NAME`` takes those registered here, and ``--keep MODULE:FUNCTION`` anybody's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module

import torch

from deid.errors import UsageError
from deid.models.editing.names import INDEX

_SHUT = 0.5  # from which on eyes count as closed


@dataclass(frozen=True, slots=True, eq=False)
class Edit:
    """One batch of edits while f is trained. ``before``, ``after``: what the generator makes, (N, 3 or 4, S, S) in
    about -1 to 1, the fourth channel opacity of the face; ``had``, ``has``: float (N, A), what H tells of both;
    ``changes``: (N, A), what was asked for; ``w``, ``moved``: the codes, (N, width). Gradients flow through ``after``,
    ``has`` and ``moved``."""

    before: torch.Tensor
    after: torch.Tensor
    had: torch.Tensor
    has: torch.Tensor
    changes: torch.Tensor
    w: torch.Tensor
    moved: torch.Tensor


Conservation = Callable[[Edit], torch.Tensor]
"""A number, 0 where all is kept."""

_KNOWN: dict[str, Conservation] = {}


def conserves(name: str) -> Callable[[Conservation], Conservation]:
    """Registers the function that follows under ``name``."""

    def registered(function: Conservation) -> Conservation:
        if name in _KNOWN:
            raise UsageError(f"there is a conservation loss {name!r} already; give yours another name.")
        _KNOWN[name] = function
        return function

    return registered


def known() -> tuple[str, ...]:
    """Names of those that are registered."""
    return tuple(_KNOWN)


def named(name: str) -> Conservation:
    """The one of that name, or ``MODULE:FUNCTION`` of anybody's. Raises :class:`UsageError` where there is none."""
    if name in _KNOWN:
        return _KNOWN[name]
    module, colon, function = name.partition(":")
    if not colon:
        near = get_close_matches(name, known(), 1)
        meant = f"did you mean {near[0]}?" if near else f"there are {', '.join(known())};"
        raise UsageError(f"--keep {name!r} is no conservation loss: {meant} your own is --keep MODULE:FUNCTION.")
    try:
        found = getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"--keep {name} cannot be loaded ({error}); give an importable MODULE:FUNCTION.") from error
    if not callable(found):
        raise UsageError(f"--keep {name} is no function; give one that takes an Edit and returns a number.")
    return found


@conserves("background")
def background(edit: Edit) -> torch.Tensor:
    """What is surely not the face, before and after, keeps its colours. Of generators without opacity that is what lies
    at the picture's border."""
    if edit.after.shape[1] == 4:
        covered = torch.maximum(edit.before[:, 3:], edit.after[:, 3:]).detach()
        around = ((1 - covered) / 2).clamp(0, 1)
    else:
        side = edit.after.shape[-1]
        place = torch.linspace(-1, 1, side, device=edit.after.device)
        around = ((torch.maximum(place.abs()[:, None], place.abs()[None]) - 0.8) / 0.2).clamp(0, 1)[None, None]
    off = (edit.after[:, :3] - edit.before[:, :3]).square() * around
    return off.sum() / (around.expand_as(off).sum() + 1e-6)


@conserves("eyes_closed")
def eyes_closed(edit: Edit) -> torch.Tensor:
    """Who had the eyes closed has them closed, unless that is what was asked to change."""
    at = INDEX["eyes_closed"]
    shut = ((edit.had[:, at] > _SHUT) & (edit.changes[:, at] == 0)).float()
    return ((edit.has[:, at] - edit.had[:, at]).square() * shut).sum() / shut.sum().clamp_min(1)
