"""What one run is asked to do: :class:`RunConfig`, its limits, and the values options may take."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from deid.errors import UsageError
from deid.media.settings import AUDIO, CODECS, PRESETS, EncodeSettings

ENGINES: dict[str, str] = {
    "morphable": "a fictional person's face that moves as the original moved",
    "stylegan": "a fictional person's face out of a generator's latent space, also a user's own generator",
    "blur": "a blur too strong to undo",
    "pixelate": "a coarse mosaic",
    "solid": "one flat colour",
}
"""What can be put over a face: name, and what it looks like. The one place where engines are named."""

DEFAULT_ENGINE = "morphable"

OBSCURING = ("blur", "pixelate", "solid")
"""The engines that cover a face rather than replace it, and what may stand in where a face cannot be replaced."""

DETECTS = ("balanced", "fast", "thorough")
"""How hard faces are looked for: often enough for what a clip shows, half as often, or everywhere and twice."""

COVERS = ("face", "head")
"""What is covered of somebody who is obscured."""

MATCHES = ("age,gender", "age", "gender", "none")
"""What a surrogate may share with the person it stands in for, as far as a recogniser can tell."""

POLICIES: dict[str, dict[str, Any]] = {
    "research": {"engine": "morphable", "match": "age,gender", "fallback": "blur", "crf": 18, "audio": "mask",
                 "audit": True},
    "street": {"engine": "blur", "cover": "head", "detect": "thorough", "audio": "drop"},
    "broadcast": {"engine": "morphable", "match": "age,gender", "fallback": "blur", "preset": "medium", "crf": 17,
                  "audio": "mask"},
    "source-protection": {
        "engine": "morphable", "match": "none", "fallback": "solid", "cover": "head", "detect": "thorough",
        "audio": "mask", "strict": True,
    },
    "max-privacy": {"engine": "solid", "fallback": "solid", "cover": "head", "detect": "thorough",
                    "audio": "drop"},
}  # fmt: skip
"""Options that go together, by what they are for. ``research``: expressions and looks to be measured, and a report
that tells how well they follow. ``street``: many faces, small ones, nobody of interest. ``broadcast``: to be looked at.
``source-protection``: somebody who must not be found; nothing of them is guessed and kept, and there is no output
unless the audit passes. ``max-privacy``: whole heads under one flat colour, looked for as hard as can be."""

SCOPES = ("video", "batch", "key")
"""How far one person keeps one surrogate: in a clip, in the files of a batch, in every file of a key."""

DEVICES = ("cpu", "cuda")
_NETWORKS = ("generator", "encoder", "mapper", "identity_encoder")

_TIME = re.compile(r"(?:(?:(\d+):)?(\d{1,2}):)?(\d+(?:\.\d*)?|\.\d+)", re.ASCII)


def parse_time(text: str) -> float:
    """Seconds from ``"62.5"``, ``"1:02.5"`` or ``"00:01:02.500"``.

    Raises :class:`~deid.errors.UsageError` for anything else, and for minutes or seconds of 60 and more after a colon.
    """
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{text!r} is not a time; write seconds (62.5), M:SS.s (1:02.5) or H:MM:SS.s (0:01:02.5).")
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    if match[2] is not None and (seconds >= 60 or (match[1] is not None and minutes >= 60)):
        raise UsageError(f"{text!r} is not a time: after a colon, minutes and seconds stay below 60.")
    return hours * 3600 + minutes * 60 + seconds


def available_cores() -> int:
    """How many processor cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def preset_options(names: Iterable[str], dry_run: bool = False) -> dict[str, Any]:
    """What presets stand for: an encoder speed (one of :data:`PRESETS`) for ``preset``, and options of the same name
    for one of :data:`POLICIES`; of several, the last that says something, and speeds before policies.
    :class:`RunConfig` refuses other names. ``dry_run``: without an audit, of which there is nothing to make."""
    found: dict[str, Any] = {}
    for name in sorted(names, key=lambda name: name not in POLICIES):  # a speed that is said outright holds
        found |= POLICIES.get(name, {"preset": name})
    return {k: v for k, v in found.items() if not (dry_run and k in ("audit", "strict"))}


def default_target(source: Path) -> Path:
    """``<name>.deid.<extension>`` beside ``source``, ``.mkv`` where its own format is only read; for a folder,
    ``<name>.deid``."""
    from deid.media.target import IMAGE_EXTENSIONS, VIDEO_KINDS

    source = Path(os.path.abspath(source))
    if source.is_dir():
        return source.with_name(f"{source.name}.deid")
    ending = source.suffix if source.suffix.lower() in {*VIDEO_KINDS, *IMAGE_EXTENSIONS} else ".mkv"
    return source.with_name(f"{source.stem}.deid{ending}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """Everything that decides what a run does with a source; the source and the target are not part of it.

    Parameters
    ----------
    engine:
        What goes over each face: a key of :data:`ENGINES`.
    generator, encoder, mapper, identity_encoder:
        Networks of engine ``stylegan``: a StyleGAN2 generator; the attribute encoder, by default the one in the
        mapper's file; the mapper, trained for that generator; weights of the identity encoder that the mapper was
        trained with,
        by default dlib's. ``None`` is what ships.
    device:
        Where engine ``stylegan``'s networks compute, one of :data:`DEVICES`.
    fallback:
        How a face is obscured that an engine cannot replace well: one of :data:`OBSCURING`.
    match:
        What a surrogate shares with the person it stands in for, one of :data:`MATCHES`.
    surrogate_edit:
        What surrogates are to be, as :func:`deid.models.editing.names.parse` takes it: ``"age=+0.3"``. Of the
        attributes that belong to a person.
    start, end:
        The part to process, in seconds of the source's own time; ``None`` is its beginning or its end. Nothing outside
        reaches the output.
    max_height:
        Scale the output down to at most this many lines; ``None`` keeps the size.
    codec, crf, preset:
        Output video encoding, as :class:`deid.media.settings.EncodeSettings` takes them; a ``crf`` of ``None`` is the
        codec's own for a picture that looks like the source.
    overwrite:
        Take the place of a target that exists. The source itself is never overwritten.
    salvage:
        Accept a damaged source: what can be decoded is kept, whole damaged frames are obscured, and damaged sound that
        cannot be copied is left out, packet by packet.
    audio:
        What becomes of sound, one of :data:`AUDIO`: kept as it is, left out, or with voices that are hard to know
        (:mod:`deid.media.voice`).
    keep_metadata:
        Keep titles, dates, locations, device names and chapter names, which are otherwise removed.
    mark:
        Write into the output's metadata that it was de-identified, with what.
    watermark:
        Text to burn into a corner of every frame, or ``None``.
    seed:
        Makes everything that is drawn by chance repeatable; ``None`` draws a fresh one. 0 to 2**63 - 1.
    scope:
        How far one person keeps one surrogate, one of :data:`SCOPES`; ``None`` is ``"key"`` with a key and ``"video"``
        without. For a single file, ``"batch"`` is ``"video"``.
    key:
        A key file, see :mod:`deid.keys`: in all files of this key the same person has the same surrogate.
    registry:
        Where the key's people are kept; ``None`` is ``<name>.people.sqlite`` beside the key.
    plan:
        A file that says for each person what is done, see :mod:`deid.choice`.
    keep_like:
        Photos of people whose faces stay as they are.
    keep:
        Track numbers, as a dry run or a report shows them, whose faces stay as they are.
    dry_run:
        Analyse and plan; write no video.
    audit:
        Look at every frame of the finished output beside the source before it gets its name, see :mod:`deid.audit`. The
        next five ask for it too.
    strict:
        No output when the audit fails.
    recogniser:
        Weights of another face recogniser for the audit, see :mod:`deid.recognition.custom`.
    recogniser_threshold:
        Its distance up to which two faces are one person's; ``None`` is its kind's usual one.
    recogniser_bgr:
        It takes blue, green and red from 0 to 255.
    html:
        Where the audit's page goes, ``None`` for none.
    signals:
        Where the table of expression, gaze and pose of source and output goes, ``None`` for none.
    segments:
        From 2 on, a clip of several long shots is finished in parts, cut at shot changes, by up to so many processes at
        a time (:mod:`deid.segments`). Where it is cut, and so the output, does not depend on how many.
    threads:
        Processor threads to use at most; by default every core this process may use.
    detect:
        How hard faces are looked for, one of :data:`DETECTS`.
    cover:
        What is covered of somebody who is obscured, one of :data:`COVERS`.
    threshold:
        Score, above 0 and below 1, from which the face detector's findings count. Lower finds more, and more that is
        no face.

    Raises
    ------
    UsageError
        For a value outside these limits, with the limits.
    """

    engine: str = DEFAULT_ENGINE
    generator: Path | None = None
    encoder: Path | None = None
    mapper: Path | None = None
    identity_encoder: Path | None = None
    device: str = "cpu"
    fallback: str = "blur"
    match: str = "age,gender"
    surrogate_edit: tuple[str, ...] = ()
    start: float | None = None
    end: float | None = None
    max_height: int | None = None
    codec: str = "h264"
    crf: int | None = None
    preset: str = "veryfast"
    overwrite: bool = False
    salvage: bool = False
    keep_metadata: bool = False
    mark: bool = True
    watermark: str | None = None
    seed: int | None = None
    scope: str | None = None
    key: Path | None = None
    registry: Path | None = None
    plan: Path | None = None
    keep_like: tuple[Path, ...] = ()
    keep: tuple[int, ...] = ()
    dry_run: bool = False
    audit: bool = False
    strict: bool = False
    recogniser: Path | None = None
    recogniser_threshold: float | None = None
    recogniser_bgr: bool = False
    html: Path | None = None
    signals: Path | None = None
    audio: str = "copy"
    segments: int = 1
    threads: int = field(default_factory=available_cores)
    threshold: float = 0.2
    detect: str = "balanced"
    cover: str = "face"

    def __post_init__(self) -> None:
        _one_of("engine", self.engine, ENGINES)
        _one_of("fallback", self.fallback, OBSCURING)
        _one_of("match", self.match, MATCHES)
        _one_of("detect", self.detect, DETECTS)
        _one_of("cover", self.cover, COVERS)
        _one_of("codec", self.codec, CODECS)
        _one_of("audio", self.audio, AUDIO)
        _one_of("preset", self.preset, PRESETS)
        for flag in ("overwrite", "salvage", "keep_metadata", "mark", "dry_run", "audit", "strict", "recogniser_bgr"):
            if not isinstance(getattr(self, flag), bool):
                raise UsageError(f"{flag} is {getattr(self, flag)!r}; it must be True or False.")
        _check_range(self.start, self.end)
        _integer("max_height", self.max_height, 16, 16384)
        _integer("crf", self.crf, 0, 63)
        _integer("seed", self.seed, 0, 2**63 - 1)
        _integer("threads", self.threads, 1, 1024)
        _integer("segments", self.segments, 1, 256)
        if not _is_number(self.threshold) or not 0 < self.threshold < 1:
            raise UsageError(f"threshold is {self.threshold!r}; it must be above 0 and below 1.")
        if self.watermark is not None and (not isinstance(self.watermark, str) or not self.watermark.strip()):
            raise UsageError("watermark is empty; give it some text or leave it out.")
        EncodeSettings(codec=self.codec, crf=self.crf, preset=self.preset, watermark=self.watermark, audio=self.audio)
        object.__setattr__(self, "keep", _tracks(self.keep))
        self._settle_networks()
        self._settle_edits()
        self._settle_people()
        self._settle_audit()

    def _settle_networks(self) -> None:
        """Paths of networks, which only one engine has."""
        for name in _NETWORKS:
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else _path(name, value))
            if value is not None and self.engine != "stylegan":
                raise UsageError(f"{name} is for engine stylegan, not {self.engine}; leave one of them out.")
        _one_of("device", self.device, DEVICES)
        if self.device != "cpu" and (self.engine != "stylegan" or self.surrogate_edit):
            raise UsageError("device cuda is for engine stylegan without surrogate_edit; leave one of them out.")

    def _settle_edits(self) -> None:
        """Words that are attributes, for engines that have such."""
        words = (self.surrogate_edit,) if isinstance(self.surrogate_edit, str) else tuple(self.surrogate_edit)
        object.__setattr__(self, "surrogate_edit", words)
        if not words:
            return
        from deid.models.editing.names import LASTING, parse

        parse(words, "surrogate_edit", LASTING)
        if self.engine in OBSCURING:
            raise UsageError(f"surrogate_edit needs surrogates, which engine {self.engine} has none of; use morphable.")
        if self.generator is not None:
            raise UsageError("surrogate_edit goes with the generator that ships only; leave one of them out.")

    def _settle_people(self) -> None:
        """Paths, scope, and what goes with what."""
        for name in ("key", "registry", "plan"):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else _path(name, value))
        photos = (self.keep_like,) if isinstance(self.keep_like, (str, Path)) else tuple(self.keep_like)
        object.__setattr__(self, "keep_like", tuple(_path("keep_like", photo) for photo in photos))
        if self.scope is None:
            object.__setattr__(self, "scope", "video" if self.key is None else "key")
        _one_of("scope", self.scope, SCOPES)
        if self.scope == "key" and self.key is None:
            raise UsageError("scope is 'key', but no key is given; make one with 'deid key new FILE'.")
        if self.scope != "key" and self.key is not None:
            raise UsageError(f"a key is given, but scope is {self.scope!r}; leave one of them out.")
        if self.registry is not None and self.key is None:
            raise UsageError("a registry is given, but not its key; name that too.")
        if self.key is not None and self.registry is None:
            object.__setattr__(self, "registry", self.key.with_name(f"{self.key.stem}.people.sqlite"))
        if self.engine in OBSCURING:
            asked = {"key": self.key, "plan": self.plan, "keep_like": self.keep_like}
            for name in (name for name, value in asked.items() if value):
                raise UsageError(f"{name} needs to know people, which engine {self.engine} does not; use morphable.")

    def _settle_audit(self) -> None:
        """Paths, and what asks for an audit."""
        for name in ("recogniser", "html", "signals"):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else _path(name, value))
        limit = self.recogniser_threshold
        if limit is not None and not (_is_number(limit) and limit > 0):
            raise UsageError(f"recogniser_threshold is {limit!r}; it must be a number above 0.")
        if self.recogniser is None and (limit is not None or self.recogniser_bgr):
            raise UsageError("something is said about a recogniser, but none is given; name its file too.")
        asked = (self.strict, self.recogniser, self.html, self.signals)
        object.__setattr__(self, "audit", bool(self.audit or any(asked)))
        if self.audit and self.dry_run:
            raise UsageError("a dry run has no output to audit; leave one of them out.")

    @property
    def obscures_by(self) -> str:
        """How a face is obscured where it is not replaced."""
        return self.engine if self.engine in OBSCURING else self.fallback

    def as_dict(self) -> dict[str, Any]:
        """All fields as JSON can hold them."""
        files = ("key", "registry", "plan", "recogniser", "html", "signals", *_NETWORKS)
        paths = {name: str(value) if value else None for name in files for value in [getattr(self, name)]}
        lists = {"keep": list(self.keep), "surrogate_edit": list(self.surrogate_edit)}
        return {**asdict(self), **paths, **lists, "keep_like": [str(p) for p in self.keep_like]}


def _one_of(name: str, value: object, allowed: Collection[str]) -> None:
    if value not in allowed:
        raise UsageError(f"{name} is {value!r}; it must be one of {', '.join(allowed)}.")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _integer(name: str, value: int | None, lowest: int, highest: int) -> None:
    if value is not None and not (_is_integer(value) and lowest <= value <= highest):
        raise UsageError(f"{name} is {value!r}; it must be a whole number from {lowest} to {highest}.")


def _path(name: str, value: object) -> Path:
    if not isinstance(value, (str, Path)) or not str(value):
        raise UsageError(f"{name} is {value!r}; it must be the name of a file.")
    return Path(value)


def _check_range(start: float | None, end: float | None) -> None:
    for name, value in (("start", start), ("end", end)):
        if value is not None and not (_is_number(value) and value >= 0):
            raise UsageError(f"{name} is {value!r}; it must be a time of 0 seconds or more.")
    if end is not None and end <= (start or 0):
        raise UsageError(f"end ({end:g} s) is not after start ({start or 0:g} s); choose a part that has a length.")


def _tracks(keep: object) -> tuple[int, ...]:
    if not isinstance(keep, Iterable) or isinstance(keep, (str, bytes)):
        raise UsageError(f"keep is {keep!r}; it must be a sequence of track numbers.")
    numbers = tuple(keep)
    if not all(_is_integer(number) and number >= 0 for number in numbers):
        raise UsageError(f"keep is {numbers!r}; track numbers are whole and 0 or more.")
    return tuple(sorted(set(numbers)))
