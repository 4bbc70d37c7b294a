"""Where do strangers lie, by dlib's recogniser? Prints the distance that one pair of strangers in a thousand
falls under.

Strangers are portraits of different people; of one person there is only one portrait here, so that nothing is said
about how many genuine pairs a threshold accepts. Also prints where CenterFace's five points lie in an aligned chip, the
numbers behind ``deid.recognition.chips``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from _portraits import FOLDER, portraits

from deid.recognition.chips import chip_from_picture
from deid.recognition.dlib_net import SAME_PERSON, DlibRecogniser, distance


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--portraits", type=Path, default=FOLDER, help="folder of JPEG portraits, one person each")
    parser.add_argument("--count", type=int, help="use so many of them (default: all)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()

    recogniser = DlibRecogniser(threads=options.threads)
    chips: dict[str, list[np.ndarray]] = {"mesh": [], "five points": []}
    places = []
    for portrait in portraits(options.portraits, options.count):
        points = portrait.detection.points
        chips["mesh"].append(recogniser.chip(portrait.picture, portrait.mesh))
        chips["five points"].append(recogniser.chip(portrait.picture, points))
        transform = chip_from_picture(portrait.mesh)
        places.append(points @ transform[:, :2].T + transform[:, 2])
    result: dict[str, object] = {
        "portraits": len(places),
        "centerface points in the chip": np.median(places, axis=0).round(1).tolist(),
    }
    for name, found in chips.items():
        codes = recogniser.embed(np.stack(found))
        strangers = distance(codes[:, None], codes[None])[np.triu_indices(len(codes), 1)]
        result[name] = {
            "threshold at FAR 1e-3": round(float(np.quantile(strangers, 1e-3)), 3),
            "strangers' 5th, 50th, 95th percentile": np.quantile(strangers, [0.05, 0.5, 0.95]).round(3).tolist(),
            f"strangers under {SAME_PERSON}": round(float((strangers < SAME_PERSON).mean()), 5),
        }
    if options.json:
        print(json.dumps(result, indent=2))
        return
    print(f"{result['portraits']} portraits; CenterFace's points: {result['centerface points in the chip']}\n")
    keys = list(result["mesh"])
    print("| aligned by | " + " | ".join(keys) + " |\n|---|" + "---|" * len(keys))
    for name in chips:
        print(f"| {name} | " + " | ".join(str(result[name][key]) for key in keys) + " |")


if __name__ == "__main__":
    main()
