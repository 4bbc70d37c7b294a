"""``--surrogate-edit``: what a video's surrogates are to be, in both engines; only what belongs to a person, since all
else follows the source from frame to frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from deid.models.editing.names import LASTING, Change, parse
from deid.models.morphable.appearance import Appearance
from deid.models.morphable.codes import IdentityCode
from deid.models.morphable.geometry import Geometry
from deid.models.morphable.surrogate import Likeness, Recognise, Surrogate, rejudged

if TYPE_CHECKING:
    from deid.models.morphable.eyewear import Eyewear
    from deid.models.morphable.painter import Sitter
    from deid.models.stylegan.networks import Networks

OPTION = "--surrogate-edit"
_TURNS = 3  # draws that are tried until an edited one is a stranger
_READ = 8  # codes of a track that what it shows is read off
_DRAWN = ("beard", "glasses")


@dataclass(frozen=True, slots=True)
class SurrogateEdits:
    """``changes``: none are none."""

    changes: tuple[Change, ...] = ()

    @classmethod
    def of(cls, words: Sequence[str]) -> SurrogateEdits:
        """Raises :class:`~deid.errors.UsageError` for what is no attribute of a person."""
        return cls(tuple(parse(list(words), OPTION, LASTING)))

    def person(self, geometry: Geometry, appearance: Appearance, code: IdentityCode) -> IdentityCode:
        """A drawn surrogate as it is to be."""
        from deid.models.editing.morphable import edit_person, read_person

        asked = [change for change in self.changes if change.name not in _DRAWN]
        if not asked:
            return code
        now = read_person(geometry, appearance, code)
        return edit_person(geometry, appearance, code, {change.name: change.of(now[change.name]) for change in asked})

    def chosen(
        self,
        geometry: Geometry,
        appearance: Appearance,
        choose: Callable[[int], Surrogate],
        likenesses: Sequence[Likeness],
        others: Sequence[Surrogate],
        recognise: Recognise,
    ) -> Surrogate:
        """The first of some draws that is a stranger after the edit, too; the last where none is. ``choose``: gives the
        draw of a turn, from 0."""
        for turn in range(_TURNS):
            found = choose(turn)
            code = self.person(geometry, appearance, found.code)
            if code is found.code:
                return found
            found = rejudged(geometry, appearance, code, likenesses, others, recognise, found.draws)
            if found.safe:
                break
        return found

    def dressed(self, appearance: Appearance, sitter: Sitter) -> Sitter:
        """``sitter`` with the beard that is asked for."""
        from deid.models.editing.morphable import with_beard

        return with_beard(sitter, appearance, self._value("beard", 0.0))

    def worn(self, found: Eyewear | None) -> Eyewear | None:
        """The glasses that are asked for. Who wears some in the footage keeps them: they stay in the picture."""
        from deid.models.editing.morphable import pair_of

        return pair_of(self._value("glasses", 0.0)) if found is None else found

    def _value(self, name: str, now: float) -> float:
        return next((now + change.of(now) for change in self.changes if change.name == name), now)

    def networks(self, networks: Networks) -> Networks:
        """``networks`` that edit every code they map."""
        return _editing(networks, self.changes) if self.changes else networks


def _editing(networks: Networks, changes: Sequence[Change]) -> Networks:
    import torch

    from deid.models.editing.latent import Reader
    from deid.models.editing.latent_to_latent import load_editor
    from deid.models.editing.names import INDEX
    from deid.models.editing.regressor import load_regressor
    from deid.models.stylegan.networks import Networks as Plain

    editor = load_editor(None, networks.generator.shape.width)
    read = Reader(networks.generator, load_regressor())

    class _Edited(Plain):
        __slots__ = ()

        def mapped(self, identities: np.ndarray, attributes: np.ndarray) -> np.ndarray:
            w = torch.from_numpy(Plain.mapped(self, identities, attributes))
            some = w[:: max(len(w) // _READ, 1)][:_READ]
            now = read(some).mean(0)
            by = {change.name: change.of(float(now[INDEX[change.name]])) for change in changes}
            return np.asarray(editor.edit(w, by).numpy(), np.float32)

    return _Edited(**{field.name: getattr(networks, field.name) for field in fields(networks)})
