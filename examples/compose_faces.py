"""Composition tables and interpolations of Nitzan et al. 2020, of your own pictures or of generated ones.

    python examples/compose_faces.py -o table.png anna.jpg ben.jpg carla.jpg
    python examples/compose_faces.py -o table.png --generated 5
    python examples/compose_faces.py -o line.png --between identity anna.jpg ben.jpg
    python examples/compose_faces.py -o line.png --hold anna.jpg frame1.jpg frame2.jpg frame3.jpg

Identities stand in the top row, attributes (expression, pose, light) in the left column. ``--hold``: the identity of
the first picture over all others, the frames of somebody who moves, say. ``deid run --engine stylegan`` does that over
a clip, with the identity of somebody who does not exist.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

from deid import DeidError, imaging
from deid.models.stylegan.networks import Networks
from deid.models.stylegan.portraits import Portrait, between, composed, read_portrait
from deid.training.faces import pictures

LEAST = 256  # pixels that small pictures are enlarged to, for the detector


def enlarged(picture: np.ndarray) -> np.ndarray:
    zoom = max(1, -(-LEAST // min(picture.shape[:2])))
    size = (picture.shape[1] * zoom, picture.shape[0] * zoom)
    return imaging.resize(picture, size, interpolation=imaging.INTER_CUBIC)


def generated(networks: Networks, count: int, seed: int) -> list[Portrait]:
    """The generator's own pictures: of what a renderer would be told where it was taught by one, else of chance."""
    source, out = pictures(64, seed), []
    random, generator = torch.Generator().manual_seed(seed), networks.generator
    while len(out) < count:
        told = torch.from_numpy(next(source).parameters)[None]
        if told.shape[1] != generator.shape.latent:
            told = torch.randn(1, generator.shape.latent, generator=random)
        with torch.no_grad():
            made = networks.pictures(generator.codes(told, 0.8).numpy())[0]
        try:
            out.append(read_portrait(networks, enlarged(np.rint(made[..., 2::-1] * 255).astype(np.uint8))))
        except DeidError:
            continue  # turned too far for the landmark model
    return out


def table(networks: Networks, faces: list[Portrait]) -> np.ndarray:
    made = composed(networks, faces, faces)
    side = made.shape[2]
    own = [imaging.resize(face.aligned, (side, side), interpolation=imaging.INTER_AREA) for face in faces]
    rows = [np.hstack([np.full((side, side, 3), 255, np.uint8), *own])]
    return np.vstack(rows + [np.hstack([look, *line]) for look, line in zip(own, made, strict=True)])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="*", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--generated", type=int, default=0, metavar="N")
    parser.add_argument("--between", choices=("identity", "attributes"))
    parser.add_argument("--hold", action="store_true")
    parser.add_argument("--steps", type=int, default=7)
    parser.add_argument("--seed", type=int, default=0)
    for name in ("generator", "encoder", "mapper", "identity-encoder"):
        parser.add_argument(f"--{name}", type=Path, metavar="FILE", help="default: the shipped one")
    args = parser.parse_args()
    try:
        networks = Networks.load(args.generator, args.encoder, args.mapper, args.identity_encoder)
        faces = generated(networks, args.generated, args.seed)
        for path in args.pictures:
            faces.append(read_portrait(networks, enlarged(imaging.decoded(path.read_bytes())), path.name))
        if len(faces) < 2:
            parser.error("give two pictures at least, or --generated 2")
        if args.between:
            lines = [between(networks, a, b, args.steps, args.between) for a, b in zip(faces, faces[1:], strict=False)]
            sheet = np.vstack([np.hstack(list(line)) for line in lines])
        elif args.hold:
            sheet = np.hstack([line[0] for line in composed(networks, faces[:1], faces[1:])])
        else:
            sheet = table(networks, faces)
    except (DeidError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    args.output.write_bytes(imaging.encoded(np.ascontiguousarray(sheet[..., ::-1]), ".png"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
