"""Sizes of networks, as headers of weight files hold them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, TypeVar

from deid.errors import ModelError

Shape = TypeVar("Shape", bound="NetworkShape")


@dataclass(frozen=True, slots=True)
class NetworkShape:
    """What has to be known to build a network before its weights are read into it. ``WHAT``: its name for people."""

    WHAT: ClassVar[str] = "network"

    def numbers(self) -> dict[str, Any]:
        """For a file's header; :meth:`of` is the way back."""
        return asdict(self)

    @classmethod
    def of(cls: type[Shape], numbers: Mapping[str, Any]) -> Shape:
        """Raises :class:`ModelError` where something is missing, or is not what it should be."""
        try:
            if missing := {field.name for field in fields(cls)} - set(numbers):
                raise ValueError(missing)
            return cls(**{name: _plain(value) for name, value in numbers.items()})
        except (TypeError, ValueError) as error:
            raise ModelError(f"the file does not say what {cls.WHAT} is in it; use another file.") from error


def _plain(value: Any) -> Any:
    """Lists, which JSON makes of tuples, as tuples of whole numbers."""
    return tuple(int(item) for item in value) if isinstance(value, (list, tuple)) else value
