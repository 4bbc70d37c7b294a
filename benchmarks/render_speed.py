"""How long one rendered face takes, and each part of it: processor time of one thread, least of many.

    python benchmarks/render_speed.py [--face 220] [--crop 360] [--rounds 30]

The numbers of the parts need not add up: each is the least of its own.
"""

from __future__ import annotations

import argparse
import math
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

# numba looks for a package named coverage, and would find the benchmark of that name beside this file
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]

from deid.models.morphable import raster, render, shade, shade_skin  # noqa: E402
from deid.models.morphable.codes import Camera, Light  # noqa: E402
from deid.models.morphable.geometry import load_geometry  # noqa: E402

FACE_WIDTH = 14.6  # centimetres from cheek to cheek
_KERNELS = (
    (raster, "project"),
    (raster, "vertex_normals"),
    (raster, "nearest"),
    (raster, "find_edges"),
    (raster, "refine"),
    (raster, "fragments"),
    (shade, "light_rig"),
    (shade, "light_vertices"),
    (shade_skin, "plan_skin"),
    (shade_skin, "shade_plain"),
    (shade_skin, "shade_skin"),
    (render, "posed_eyes"),
    (render, "shade_eyes"),
    (render, "posed_mouth"),
    (render, "opened_occlusion"),
    (render, "shade_mouth"),
    (render, "draw_lashes"),
    (render, "resolve"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--face", type=float, default=220.0, help="width of the face in pixels")
    parser.add_argument("--crop", type=int, default=360, help="side of the picture in pixels")
    parser.add_argument("--texture", type=int, default=512, help="side of the skin texture")
    parser.add_argument("--yaw", type=float, default=20.0, help="degrees")
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()

    geometry = load_geometry()
    rng = np.random.default_rng(0)
    texture = rng.uniform(0.9, 1.1, (options.texture, options.texture, 3)).astype(np.float32)
    began = time.perf_counter()
    made = render.Renderer(geometry, texture, texture[..., 0], np.array([0.06, 0.1, 0.14], np.float32))
    built = time.perf_counter() - began
    vertices = _posed(geometry)
    yaw = math.radians(options.yaw)
    rotation = np.array([[math.cos(yaw), 0, math.sin(yaw)], [0, 1, 0], [-math.sin(yaw), 0, math.cos(yaw)]])
    scale = options.face / FACE_WIDTH
    camera = Camera(rotation, scale, np.array([options.crop / 2 - 4 * scale * math.sin(yaw), options.crop / 2]), 60.0)
    sh = np.zeros((9, 3), np.float32)
    sh[0], sh[3], sh[2] = 0.8, 0.3, 0.2
    light = Light(sh, np.array([0.36, 0.22, 0.16], np.float32), np.array([0.62, 0.6, 0.57], np.float32))

    began = time.perf_counter()
    face = made.render(vertices, camera, light, options.crop, options.crop)
    first = time.perf_counter() - began

    def draw() -> object:
        return made.render(vertices, camera, light, options.crop, options.crop)

    whole = _least(draw, options.rounds)
    print(platform.processor() or platform.machine(), "numpy", np.__version__)
    print(f"{len(vertices)} vertices, {len(geometry.triangles)} triangles; {options.crop} x {options.crop} pixels,")
    print(f"{int((face.alpha > 0).sum())} of face, {int((face.head > 0).sum())} of head")
    print(f"renderer made in {built * 1e3:.0f} ms, first picture after {first:.1f} s (compiled if not cached)")
    print(f"{'one picture':16}{whole * 1e3:8.2f} ms")
    for name, seconds in _parts(draw, options.rounds):
        print(f"  {name:14}{seconds * 1e3:8.2f} ms")


def _posed(geometry: Any) -> np.ndarray:
    expression = np.zeros(len(geometry.expression_names), np.float32)
    for name, value in (("jawOpen", 0.2), ("mouthSmile_L", 0.5), ("mouthSmile_R", 0.5)):
        expression[geometry.expression_names.index(name)] = value
    neutral = geometry.neutral(np.zeros(len(geometry.identity), np.float32))
    posed: np.ndarray = geometry.pose(neutral, expression, np.zeros((2, 2), np.float32))
    return posed


def _least(work: Callable[[], object], rounds: int) -> float:
    """Processor time of this thread, seconds."""
    best = math.inf
    for _ in range(rounds):
        began = time.thread_time()
        work()
        best = min(best, time.thread_time() - began)
    return best


def _parts(work: Callable[[], object], rounds: int) -> list[tuple[str, float]]:
    """Least time of each kernel, found by putting a clock around it."""
    best: dict[str, float] = {}

    def timed(name: str, kernel: Callable[..., object]) -> Callable[..., object]:
        def run(*arguments: object) -> object:
            began = time.thread_time()
            result = kernel(*arguments)
            best[name] = min(best.get(name, math.inf), time.thread_time() - began)
            return result

        return run

    kept = [(module, name, getattr(module, name)) for module, name in _KERNELS]
    try:
        for module, name, kernel in kept:
            setattr(module, name, timed(name, kernel))
        for _ in range(rounds):
            work()
    finally:
        for module, name, kernel in kept:
            setattr(module, name, kernel)
    return list(best.items())


if __name__ == "__main__":
    main()
