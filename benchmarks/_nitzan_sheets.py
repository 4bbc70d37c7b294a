"""The paper's figures on our own generator: uint8 BGR pictures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from _nitzan_methods import Pairs, in_pixels

from deid.models.stylegan.networks import Networks, normalised
from deid.training.faces import Picture, Studio
from deid.training.scene import draw_who, portrait_of

_POSES = ((0.0, 0.0), (14.0, 0.0), (-14.0, 4.0))


def composed(pairs: Pairs, made: np.ndarray, most: int = 8) -> np.ndarray:
    """A composition table, uint8 BGR: identities in the top row, attributes in the left column."""
    n, side = min(most, len(made)), pairs.pixels[0][0].shape[0]
    own = [pairs.pixels[k][k] for k in range(n)]
    lines = [np.hstack([np.full((side, side, 3), 255, np.uint8), *own])]
    lines += [np.hstack([own[i], *(made[i, j] for j in range(n))]) for i in range(n)]
    return np.ascontiguousarray(np.vstack(lines)[..., ::-1])


def between(networks: Networks, pairs: Pairs, steps: int = 7, count: int = 6) -> np.ndarray:
    """Interpolations, uint8 BGR: in odd rows of identity alone, in even rows of attributes alone."""
    who, how = pairs.codes(networks)
    lines = []
    for k in range(min(count, len(who) - 1)):
        share = np.linspace(0, 1, steps, dtype=np.float32)[:, None]
        moved = who[k] * (1 - share) + who[k + 1] * share, how[k] * (1 - share) + how[k + 1] * share
        for one, other in (
            (moved[0], np.repeat(how[k][None], steps, 0)),
            (np.repeat(who[k][None], steps, 0), moved[1]),
        ):
            lines.append(np.hstack(list(pairs.shown(networks, networks.mapped(one, other)))))
    return np.ascontiguousarray(np.vstack(lines)[..., ::-1])


def deidentified(networks: Networks, pairs: Pairs, most: int = 8) -> np.ndarray:
    """In the first row people, in the second the same pictures with the identity of somebody whom none of them shows,
    in the third with somebody else's for each."""
    studio, rng = Studio(pairs.pixels[0][0].shape[0]), np.random.default_rng(77)
    how = pairs.codes(networks)[1][:most]
    strangers = []
    for _ in how:
        who = draw_who(studio.geometry, studio.appearance, rng)
        who, hows = portrait_of(studio.geometry, studio.appearance, who.code, _POSES)
        model = studio.cast(who)
        strangers.append(_told(networks, [studio.shoot(model, one) for one in hows])[0].mean(0))
    one = pairs.shown(networks, networks.mapped(np.repeat(strangers[0][None], len(how), 0), how))
    each = pairs.shown(networks, networks.mapped(np.stack(strangers), how))
    own = [pairs.pixels[k][k] for k in range(len(how))]
    return _stacked(own, list(one), list(each))


def held(networks: Networks, pairs: Pairs, steps: int = 9) -> np.ndarray:
    """An image sequence: in the first row somebody who turns and talks, below the same with the identities of two
    others held."""
    studio = Studio(pairs.pixels[0][0].shape[0])
    start, end = pairs.pictures[0][0], pairs.pictures[1][1]
    model = studio.cast(start.who)
    frames = []
    for share in np.linspace(0, 1, steps):
        mixed = {
            name: getattr(start.how, name) * (1 - share) + getattr(end.how, name) * share
            for name in ("expression", "gaze", "yaw", "pitch")
        }
        frames.append(studio.shoot(model, replace(start.how, glasses=0.0, **mixed)))
    how = _told(networks, frames)[1]
    who = pairs.codes(networks)[0]
    rows = [list(pairs.shown(networks, networks.mapped(np.repeat(who[k][None], steps, 0), how))) for k in (1, 2)]
    return _stacked([np.ascontiguousarray(f.pixels[..., :3]) for f in frames], *rows)


def _told(networks: Networks, pictures: list[Picture]) -> tuple[np.ndarray, np.ndarray]:
    """E_id and E_attr of rendered pictures."""
    pixels = np.stack([p.pixels[..., :3] for p in pictures])
    size = pixels.shape[1]
    points = np.stack([in_pixels(p.points, size) for p in pictures])
    same = np.repeat(np.eye(2, 3)[None], len(pixels), axis=0)
    return networks.identities(pixels, points), networks.attribute_codes(pixels, normalised(points, same, size))


def _stacked(*rows: list[np.ndarray]) -> np.ndarray:
    return np.ascontiguousarray(np.vstack([np.hstack(row) for row in rows])[..., ::-1])
