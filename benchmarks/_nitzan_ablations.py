"""The paper's ablations, each a training of its own from the same beginning, with the same number of pictures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

WITHOUT = {
    "all losses": (),
    "no adversary": ("adversary",),
    "no landmarks": ("landmarks",),
    "no crossing": ("crossing",),
}


def trained(folder: Path, generator: Path, faces: Path, landmarks: Path, pictures: int, told: float) -> dict[str, Path]:
    """Mappers by what was left out, made by ``deid train mapper``; those that ``folder`` holds already are not made
    again. ``told``: share of the training in which codes are told outright."""
    out = {}
    for name, parts in WITHOUT.items():
        place = folder / name.replace(" ", "-")
        out[name] = place / "weights.safetensors"
        if out[name].exists():
            continue
        words = [word for part in parts for word in ("--without", part)]
        subprocess.run(
            [sys.executable, "-m", "deid", "train", "mapper", "--faces", faces, "--generator", generator,
             "--landmarks", landmarks, "--album", folder / "album.safetensors", "-o", place, "--minutes", "1000",
             "--pictures", str(pictures), "--told", str(told), "--threads", "1", "--quiet", *words],
            check=True,
        )  # fmt: skip
    return out
