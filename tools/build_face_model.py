"""Builds the packaged face model: ``build_face_model.py geometry|appearance --data FOLDER [--out FILE]``.

``FOLDER`` holds ``ict/`` (ICT-FaceKit's light model) and ``portraits/`` (photographs and their index). See README.md
beside this file.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
_MODELS = _ROOT / "deid" / "models" / "morphable"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("geometry", "appearance"))
    parser.add_argument("--data", type=Path, default=_ROOT.parent / "shared" / "data")
    parser.add_argument("--out", type=Path, help="default: the packaged file")
    parser.add_argument("--quick", action="store_true", help="geometry: keep the first guess of the landmarks")
    options = parser.parse_args()
    sys.path[:0] = [str(Path(__file__).resolve().parent), str(_ROOT)]
    out = options.out or _MODELS / f"{options.what}.safetensors"
    if options.what == "geometry":
        import face_geometry

        face_geometry.build(options.data, out, None if options.quick else options.data / "portraits")
    else:
        import face_appearance

        face_appearance.build(options.data, out)


if __name__ == "__main__":
    main()
