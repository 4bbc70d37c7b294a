"""Rendered faces kept on disk, so that a training reads them as often as it likes.

A folder of shards, each a safetensors file of a few hundred pictures, made by one process or several, numbered: shard k
of a seed is always the same, so that a folder that was left half-way is filled up where it stands.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from deid.errors import ModelError, UsageError
from deid.progress import Progress
from deid.training.faces import Batch, Studio, stacked
from deid.training.scene import draw_how, draw_who

SHARD = 512
PER_PERSON = 8
_FIELDS = ("pixels", "points", "parameters", "labels", "people")


def fill(folder: Path, size: int, seed: int, count: int, progress: Progress, workers: int = 1) -> None:
    """Render until ``folder`` holds ``count`` pictures of ``size`` pixels a side. Raises :class:`UsageError` when it
    holds others."""
    folder.mkdir(parents=True, exist_ok=True)
    kind = folder / "kind.json"
    wanted = {"size": size, "seed": seed}
    if kind.exists() and json.loads(kind.read_text()) != wanted:
        raise UsageError(f"{folder} holds faces of another size or seed; choose another folder.")
    kind.write_text(json.dumps(wanted) + "\n")
    missing = [number for number in range(-(-count // SHARD)) if not _place(folder, number).exists()]
    progress.stage("rendering faces", len(missing) * SHARD)
    if workers < 2:
        for number in missing:
            make_shard(folder, size, seed, number)
            progress.advance(SHARD)
        return
    with ProcessPoolExecutor(workers) as pool:
        for done in [pool.submit(make_shard, folder, size, seed, number) for number in missing]:
            done.result()
            progress.advance(SHARD)


def make_shard(folder: Path, size: int, seed: int, number: int) -> None:
    """Render the ``number``-th shard; it gets its name when it is whole."""
    studio, rng = Studio(size), np.random.default_rng((seed, number, 4))
    made, people = [], []
    for person in range(SHARD // PER_PERSON):
        model = studio.cast(draw_who(studio.geometry, studio.appearance, rng))
        for _ in range(PER_PERSON):
            made.append(studio.shoot(model, draw_how(studio.geometry, rng, model.who)))
            people.append(number * (SHARD // PER_PERSON) + person)
    batch = stacked(made, people)
    path = _place(folder, number)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    save_file({name: np.ascontiguousarray(getattr(batch, name)) for name in _FIELDS}, part)
    os.replace(part, path)


def _place(folder: Path, number: int) -> Path:
    return folder / f"faces-{number:05d}.safetensors"


def count(folder: Path) -> int:
    """About how many pictures ``folder`` holds, without reading them."""
    return len(list(folder.glob("faces-*.safetensors"))) * SHARD


def load(folder: Path, most: int | None = None) -> Batch:
    """Everything in ``folder``, or the first ``most`` pictures. Raises :class:`ModelError` when there is nothing, or a
    shard is damaged."""
    paths = sorted(folder.glob("faces-*.safetensors"))
    if most is not None:
        paths = paths[: -(-most // SHARD)]
    if not paths:
        raise ModelError(f"{folder} holds no faces; render some first.")
    try:
        shards = [load_file(path) for path in paths]
        joined = {name: np.concatenate([shard[name] for shard in shards]) for name in _FIELDS}
    except (SafetensorError, OSError, KeyError) as error:
        raise ModelError(f"{folder} holds a damaged shard; delete the folder and render again.") from error
    return Batch(**{name: array[:most] for name, array in joined.items()})


def batches(count: int, size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Indices of ``size`` out of ``count``, without end: every one once before any comes again."""
    while True:
        order = rng.permutation(count)
        for start in range(0, count - size + 1, size):
            yield order[start : start + size]
