"""One face of a picture, inverted once and edited as often as wanted, through either engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from deid import imaging
from deid.config import RunConfig
from deid.errors import InputError
from deid.models.editing.names import NAMES, Change
from deid.progress import Progress

if TYPE_CHECKING:
    import torch

    from deid.models.stylegan.networks import Networks

_REFINED = 80  # steps of inversion
_AROUND = 0.75  # of a face's longer side: from its middle to the border of a close-up
_TEXELS = ((110.0, 256), (260.0, 512), (np.inf, 1024))  # face height in pixels up to which so many texels will do


class EditedPortrait(Protocol):
    """``now``: what the face shows, by name, 0 to 1: what changes are relative to."""

    @property
    def now(self) -> Mapping[str, float]: ...

    def edited(self, changes: Sequence[Change]) -> np.ndarray:
        """uint8 (h, w, 3) BGR: the picture with ``changes``. Raises :class:`~deid.errors.UsageError` for what this
        engine cannot change."""
        ...

    def closeup(self, picture: np.ndarray, side: int) -> np.ndarray:
        """uint8 (side, side, 3): the face of one of :meth:`edited`'s pictures, with some of what is around it."""
        ...


def differences(now: Mapping[str, float], changes: Sequence[Change]) -> dict[str, float]:
    """By how much each attribute is to change."""
    return {change.name: change.of(now[change.name]) for change in changes}


class MorphablePortrait:
    """Through the everyday engine: the face is inverted into its own identity code and the picture's attributes, both
    are edited, and the face is rendered and composited where it was."""

    def __init__(self, path: Path, progress: Progress, threads: int = 1) -> None:
        from deid.media import Reader
        from deid.media.convert import bgr
        from deid.models.editing import morphable
        from deid.models.morphable.engine import MorphableEngine
        from deid.models.morphable.inversion import code_at
        from deid.models.morphable.own_code import own_code
        from deid.pipeline import analyse

        with Reader(path) as reader:
            if reader.info.kind != "image":
                raise InputError(f"{path} is no picture; deid edit takes a photo, deid run --surrogate-edit a video.")
            self._picture = bgr(next(iter(reader)))
        config = RunConfig(threads=threads, seed=0)
        engine = MorphableEngine(config, 0)
        try:
            analysis, times = analyse(path, config, progress, engine.observer)
            found = engine.identify(analysis, times, progress)
            sizes = {track.id: float(track.boxes[0, 3]) for track in analysis.tracks}
            people = sorted(found.people, key=lambda person: -max(sizes[track] for track in person.tracks))
            shown = engine.likenesses(people[0], found) if people else []
            if not shown:
                raise InputError(f"there is no clear face in {path}; give a picture of one face, seen from ahead.")
            self._geometry, self._appearance = engine._geometry, engine._appearance
            track, row = shown[0].track, shown[0].row
            codes = engine._codes[track]
            self._points = engine._points(codes, row)
            self._attributes = code_at(codes, codes.attributes, row)
            self._worn = engine.glasses(people[0], found)
            progress.stage("inverting the face", 1)
            own = own_code(self._geometry, self._appearance, codes.identity.shape, shown[0].likeness, engine.recognise)
            self.distance, self._code = own.distance, own.code
            self._subject = self._geometry.neutral(codes.identity.shape)
            self._texels = next(n for limit, n in _TEXELS if sizes[track] < limit)
        finally:
            engine.close()
        self.now: Mapping[str, float] = (
            {name: morphable.plain(name) for name in ("beard", "glasses", *morphable.ELSEWHERE)}
            | morphable.read_moment(self._geometry, self._attributes)
            | morphable.read_person(self._geometry, self._appearance, self._code)
        )
        if self._worn is not None:
            self.now = {**self.now, "glasses": 0.5}

    def edited(self, changes: Sequence[Change]) -> np.ndarray:
        """See :class:`EditedPortrait`."""
        from deid.blending import Compositor
        from deid.models.editing import morphable
        from deid.models.morphable.painter import Sitter, paint_picture

        morphable.allowed([change.name for change in changes])
        by = differences(self.now, changes)
        code = morphable.edit_person(self._geometry, self._appearance, self._code, by)
        attributes = morphable.edit_moment(self._geometry, self._attributes, by)
        sitter = Sitter.make(self._geometry, self._appearance, code, self._texels)
        sitter = morphable.with_beard(sitter, self._appearance, by.get("beard", 0.0))
        sitter = sitter.in_place_of(self._geometry, self._subject)
        worn = self._worn if "glasses" not in by else morphable.pair_of(self.now["glasses"] + by["glasses"])
        if worn is not None:
            worn = replace(worn, own=None if self._worn is None else self._worn.own)
            sitter = replace(sitter, eyewear=worn.on(self._geometry, sitter.neutral))
        rgb = np.ascontiguousarray(self._picture[..., ::-1]).astype(np.float32) / np.float32(255)
        made = paint_picture(rgb, self._points, sitter, self._geometry, attributes, Compositor(), seed=0, frame=0)
        return np.rint(np.clip(made.rgb[..., ::-1], 0, 1) * 255).astype(np.uint8)

    def closeup(self, picture: np.ndarray, side: int) -> np.ndarray:
        """See :class:`EditedPortrait`."""
        x, y = self._points[:468, 0], self._points[:468, 1]
        half = _AROUND * float(max(np.ptp(x), np.ptp(y)))
        height, width = picture.shape[:2]
        left, top = (int(max(middle - half, 0)) for middle in (float(x.mean()), float(y.mean())))
        right, bottom = int(min(x.mean() + half, width)), int(min(y.mean() + half, height))
        return _squared(picture[top:bottom, left:right], side)


class LatentPortrait:
    """Through the StyleGAN engine: the face is inverted into w, by the mapper first and then by descent, w is edited,
    and the picture is the generator's."""

    def __init__(self, path: Path, progress: Progress, generator: Path | None = None, mapper: Path | None = None,
                 editor: Path | None = None, regressor: Path | None = None) -> None:  # fmt: skip
        import torch

        from deid.media import Reader
        from deid.media.convert import bgr
        from deid.models.editing.latent import Reader as Reading
        from deid.models.editing.latent_to_latent import load_editor
        from deid.models.editing.regressor import load_regressor
        from deid.models.stylegan.networks import Networks
        from deid.models.stylegan.portraits import read_portrait

        torch.set_num_threads(1)  # so that pictures do not depend on how many there are
        with Reader(path) as reader:
            if reader.info.kind != "image":
                raise InputError(f"{path} is no picture; deid edit takes a photo, deid run --surrogate-edit a video.")
            picture = bgr(next(iter(reader)))
        self._networks = Networks.load(generator, None, mapper)
        self._editor = load_editor(editor, self._networks.generator.shape.width)
        progress.stage("inverting the face", _REFINED)
        portrait = read_portrait(self._networks, picture, str(path))
        first = self._networks.mapped(portrait.identity[None], portrait.attributes[None])
        self._w = inverted(self._networks, portrait.aligned, torch.from_numpy(first), progress)
        read = Reading(self._networks.generator, load_regressor(regressor))
        self.now: Mapping[str, float] = dict(zip(NAMES, read(self._w)[0].tolist(), strict=True))

    def edited(self, changes: Sequence[Change]) -> np.ndarray:
        """See :class:`EditedPortrait`; the generator's own picture, as large as it makes them."""
        w = self._editor.edit(self._w, differences(self.now, changes))
        made = self._networks.pictures(w.numpy())[0][..., :3]
        return np.ascontiguousarray(np.rint(made[..., ::-1] * 255).astype(np.uint8))

    def closeup(self, picture: np.ndarray, side: int) -> np.ndarray:
        """See :class:`EditedPortrait`: all of it."""
        return _squared(picture, side)


def _squared(picture: np.ndarray, side: int) -> np.ndarray:
    """``picture`` in a square of ``side`` pixels, grey where it is not one."""
    height, width = picture.shape[:2]
    zoom = side / max(height, width)
    size = max(1, round(width * zoom)), max(1, round(height * zoom))
    way = imaging.INTER_AREA if zoom < 1 else imaging.INTER_CUBIC
    out = np.full((side, side, 3), 127, np.uint8)
    x, y = (side - size[0]) // 2, (side - size[1]) // 2
    out[y : y + size[1], x : x + size[0]] = imaging.resize(np.ascontiguousarray(picture), size, interpolation=way)
    return out


def inverted(networks: Networks, aligned: np.ndarray, start: torch.Tensor, progress: Progress) -> torch.Tensor:
    """w, (1, width), whose picture is like ``aligned``, uint8 (S, S, 3) RGB: from ``start`` by descent on colours and
    on who it is, held near the start in units of the codes' spread, so that it stays where edits work."""
    import torch
    from torch.nn import functional

    from deid.models.editing.latent import colours, faces_of

    generator, recogniser, scale = networks.generator, networks.recogniser, networks.mapper.scale
    size = generator.shape.size
    wanted = torch.from_numpy(np.ascontiguousarray(aligned)).permute(2, 0, 1)[None].float() / 255
    if wanted.shape[-1] != size:
        wanted = functional.interpolate(wanted, (size, size), mode="area")
    with torch.no_grad():
        person = recogniser(faces_of(wanted, recogniser.side))
    moved = torch.zeros_like(start, requires_grad=True)
    tutor = torch.optim.Adam([moved], lr=0.03)
    for step in range(_REFINED):
        tutor.param_groups[0]["lr"] = 0.03 * (1 - 0.9 * step / _REFINED)
        made = colours(generator(start + moved * scale))
        loss = _coarse(made - wanted) + 0.05 * moved.square().mean()
        loss = loss + 0.1 * (recogniser(faces_of(made, recogniser.side)) - person).square().sum()
        tutor.zero_grad()
        loss.backward()
        tutor.step()
        progress.advance()
    return (start + moved.detach() * scale).contiguous()


def _coarse(off: torch.Tensor) -> torch.Tensor:
    """Mean absolute differences at three sizes: the whole before the detail."""
    from torch.nn import functional

    return sum((functional.avg_pool2d(off, 2**level).abs().mean() for level in (0, 2, 4)), off.new_zeros(()))
