"""Pictures with known faces: public domain ones that ship inside installed packages, and the shared photographs."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from deid import imaging
from deid.detection import CenterFace, FaceLandmarker

SHARED = Path(__file__).resolve().parents[3] / "shared"


def packaged_picture(package: str, *parts: str) -> np.ndarray:
    spec = find_spec(package)
    path = Path(spec.origin).parent.joinpath(*parts) if spec and spec.origin else None
    if path is None or not path.is_file():
        pytest.skip(f"{package} does not bring {parts[-1]}")
    return imaging.imread(str(path))


def shared_file(*parts: str) -> Path:
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"no {'/'.join(parts)} beside the repository")
    return path


@pytest.fixture(scope="session")
def collins() -> np.ndarray:
    """Eileen Collins, NASA, public domain: 512 x 512 BGR, one face of about 85 x 115 pixels at (180, 65)."""
    return packaged_picture("skimage", "data", "astronaut.png")


@pytest.fixture(scope="session")
def hopper() -> np.ndarray:
    """Grace Hopper, US Navy, public domain: 512 x 606 BGR, one face of about 130 x 170 pixels."""
    return packaged_picture("matplotlib", "mpl-data", "sample_data", "grace_hopper.jpg")


@pytest.fixture(scope="session")
def cat() -> np.ndarray:
    """A cat's face, CC0: 451 x 300 BGR."""
    return packaged_picture("skimage", "data", "chelsea.png")


@pytest.fixture(scope="session")
def centerface() -> Iterator[CenterFace]:
    detector = CenterFace()
    yield detector
    detector.close()


@pytest.fixture(scope="session")
def landmarker() -> Iterator[FaceLandmarker]:
    with FaceLandmarker() as landmarker:
        yield landmarker


def resized(bgr: np.ndarray, factor: float) -> np.ndarray:
    height, width = bgr.shape[:2]
    how = imaging.INTER_AREA if factor < 1 else imaging.INTER_LINEAR
    return imaging.resize(bgr, (round(width * factor), round(height * factor)), interpolation=how)


def moved(bgr: np.ndarray, dx: int, dy: int, width: int, height: int, grey: int = 110) -> np.ndarray:
    """The picture laid on a grey one of ``width`` x ``height`` with its origin at ``(dx, dy)``, cut where it ends."""
    canvas = np.full((height, width, 3), grey, np.uint8)
    x0, y0 = max(0, dx), max(0, dy)
    part = bgr[y0 - dy : height - dy, x0 - dx : width - dx]
    canvas[y0 : y0 + part.shape[0], x0 : x0 + part.shape[1]] = part
    return canvas


def turned(bgr: np.ndarray, degrees: float, centre: tuple[float, float]) -> np.ndarray:
    """The picture turned clockwise about a point."""
    angle = np.radians(degrees)
    linear = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = np.column_stack([linear, np.array(centre) - linear @ centre])
    return imaging.warp_affine(
        bgr, matrix, (bgr.shape[1], bgr.shape[0]), flags=imaging.INTER_LINEAR, borderMode=imaging.BORDER_REPLICATE
    )
