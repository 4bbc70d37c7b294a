"""Measures the ranges of CenterFace's tensors for its 8-bit version, and how far that is from the float network.

    python benchmarks/calibrate_centerface.py [--portraits ../shared/data/portraits] [--write]

Ranges come from every second portrait, hung on walls and filmed from near and far by the virtual camera, in all kinds
of light, with sensor noise; agreement is measured on the others. Needs torch, for what lies between the layers.
``--write`` stores the ranges where the package looks for them. Recall: ``benchmarks/recall.py``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

from deid import imaging
from deid.detection import CenterFace
from deid.detection._onnx import Layer, read_layers
from deid.detection._rounding import RANGES, digest, even_channels
from deid.detection.centerface import _HEADS, weights_path
from deid.virtual_camera import Pose, ShotPlan, film, hang

SIDE = 384


@dataclass(frozen=True)
class Portrait:
    """A print for :func:`deid.virtual_camera.hang`."""

    path: Path
    face: tuple[float, float, float, float] = (340, 200, 680, 640)

    def read(self) -> np.ndarray:
        picture = imaging.imread(str(self.path))
        if picture is None:
            raise SystemExit(f"{self.path} is not a picture")
        return picture


def scenes(paths: Sequence[Path], count: int, seed: int) -> list[np.ndarray]:
    """Pictures of walls of prints, uint8 (SIDE, SIDE, 3)."""
    rng = np.random.default_rng(seed)
    pictures: list[np.ndarray] = []
    while len(pictures) < count:
        rows = int(rng.integers(1, 4))
        chosen = rng.choice(len(paths), rows * int(rng.integers(1, 4)), replace=False)
        wall = hang([Portrait(paths[int(k)]) for k in chosen], rows=rows, margin=300, seed=int(rng.integers(1 << 30)))
        high, wide = wall.canvas.shape[:2]
        for _ in range(3):
            x, y = float(rng.uniform(0, wide - 600)), float(rng.uniform(0, high - 600))
            height = float(np.exp(rng.uniform(np.log(500), np.log(20000 if rng.random() < 0.3 else 9000))))
            if height > 0.9 * high:
                x, y = (wide - 600) / 2, (high - 600) / 2
            pose = Pose(0, x, y, height, float(rng.normal(0, 12)))
            shot = ShotPlan(wall, (pose, replace(pose, time=1)), 1)
            pictures += [_lit(p.pixels, rng) for p in film([shot], width=SIDE, height=SIDE, fps=25)]
    return pictures[:count]


def _lit(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """In another light, with another gradation, sharpness and noise."""
    light = rng.uniform(0.35, 1.15, 3) * np.exp(rng.normal(0, 0.05, 3)) if rng.random() < 0.5 else np.ones(3)
    if rng.random() < 0.5:
        light[:] = light.mean()
    out = 255 * np.clip(picture * light / 255, 0, 1) ** np.exp(rng.normal(0, 0.25))
    if rng.random() < 0.4:
        out = imaging.gaussian_blur(out, (0, 0), float(rng.uniform(0.5, 1.5)))
    out = out + rng.normal(0, rng.choice([0, 1.5, 4, 9]), picture.shape[:2])[..., None]
    return np.clip(np.rint(out), 0, 255).astype(np.uint8)


def walk(layers: Sequence[Layer], picture: np.ndarray, see: Callable[[Layer, torch.Tensor], None]) -> None:
    """Run the network in float and show every layer's output (1, channels, h, w) to ``see``."""
    tensors = {layers[0].inputs[0]: torch.from_numpy(picture.astype(np.float32)).permute(2, 0, 1)[None]}
    functional = torch.nn.functional
    for layer in layers:
        sources = [tensors[name] for name in layer.inputs]
        if layer.kind == "add":
            out = sources[0] + sources[1]
        else:
            weights, bias = torch.from_numpy(layer.weights.copy()), torch.from_numpy(layer.bias.copy())
            if layer.kind == "transposed":
                out = functional.conv_transpose2d(sources[0], weights, bias, stride=layer.stride)
            else:
                groups = len(weights) if layer.kind == "depthwise" else 1
                padding = weights.shape[2] // 2
                out = functional.conv2d(sources[0], weights, bias, layer.stride, padding, groups=groups)
        tensors[layer.output] = out.relu() if layer.relu else out
        see(layer, tensors[layer.output])


def measured(layers: Sequence[Layer], pictures: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """The ranges of all tensors but the heads': see :data:`deid.detection._rounding.RANGES`."""
    low: dict[str, np.ndarray] = {}
    high: dict[str, np.ndarray] = {}

    def see(layer: Layer, values: torch.Tensor) -> None:
        least, most = values.amin((0, 2, 3)).numpy(), values.amax((0, 2, 3)).numpy()
        low[layer.output] = np.minimum(low.get(layer.output, least), least)
        high[layer.output] = np.maximum(high.get(layer.output, most), most)

    with torch.no_grad():
        for picture in pictures:
            walk(layers, picture, see)
    even = even_channels(layers)
    names = [name for name in high if name not in _HEADS]
    return {n: high[n] if n in even else np.array([low[n].min(), high[n].max()], np.float32) for n in names}


def agreement(pictures: Sequence[np.ndarray]) -> str:
    """How far the 8-bit network's maps are from the float network's where that sees anything like a face."""
    exact, coarse = CenterFace(), CenterFace(coarse=True)
    apart, cells = [], np.zeros(3, int)
    threshold = np.log(0.2 / 0.8)
    for picture in pictures:
        a, b = exact._forward(picture), coarse._forward(picture)
        apart.append((b - a)[a[..., 0] > -3.5])
        over = a[..., 0] > threshold, b[..., 0] > threshold
        cells += [over[0].sum(), over[1].sum(), (over[0] & over[1]).sum()]
    error = np.concatenate(apart).astype(np.float64)
    rms = np.sqrt((error**2).mean(0))
    return (
        f"logit: rms {rms[0]:.3f}, mean {error[:, 0].mean():+.3f}; log size: rms {rms[1:3].max():.3f}; "
        f"cells above 0.2: {cells[0]} in float, {cells[1]} in 8 bits, {cells[2]} in both"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(__file__).resolve().parents[1].parent / "shared" / "data" / "portraits"
    parser.add_argument("--portraits", type=Path, default=default)
    parser.add_argument("--scenes", type=int, default=60)
    parser.add_argument("--write", action="store_true", help=f"store the ranges in {RANGES.name}")
    options = parser.parse_args()
    paths = sorted(options.portraits.glob("*.jpg"))
    if options.write:
        data = weights_path().read_bytes()
        layers = read_layers(data)
        # fed with BGR, as CenterFace does
        layers[0] = replace(layers[0], weights=np.ascontiguousarray(layers[0].weights[:, ::-1]))
        save_file(measured(layers, scenes(paths[::2], options.scenes, 1)), RANGES, {"weights": digest(data)})
    print(agreement(scenes(paths[1::2], 24, 2)))


if __name__ == "__main__":
    main()
