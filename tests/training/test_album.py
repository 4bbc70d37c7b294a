"""What a mapper learns from, and how much is seen of an error in its codes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from deid.errors import ModelError
from deid.models.checkpoints.build import frozen
from deid.models.mapping.attributes import AttributeEncoder, AttributeShape
from deid.models.mapping.identity import DlibIdentity
from deid.models.morphable.appearance import load_appearance
from deid.models.morphable.geometry import load_geometry
from deid.models.stylegan.generator import Generator, GeneratorShape
from deid.progress import QuietProgress
from deid.training.album import Album, album_of, photograph
from deid.training.faces import Batch, Studio, stacked
from deid.training.mapper import MapperOptions, MapperTraining
from deid.training.presets import PRESETS
from deid.training.scene import bare_eyed, draw_how, draw_who, identity_numbers, numbers, parameters, wears_glasses
from deid.training.sensitivity import features, metric


@pytest.fixture(scope="module")
def recogniser() -> DlibIdentity:
    return frozen(DlibIdentity())


@pytest.fixture(scope="module")
def faces() -> Batch:
    studio, rng = Studio(64), np.random.default_rng(5)
    model = studio.cast(draw_who(studio.geometry, studio.appearance, rng))
    return stacked([studio.shoot(model, draw_how(studio.geometry, rng)) for _ in range(8)], [0] * 8)


@pytest.fixture(scope="module")
def generator() -> Generator:
    torch.manual_seed(1)
    return frozen(Generator(GeneratorShape(64, (12, 12, 10, 8, 8), latent=numbers(), width=10, depth=2, colours=4)))


@pytest.fixture(scope="module")
def album(generator: Generator, recogniser: DlibIdentity, faces: Batch) -> Album:
    own = identity_numbers(load_geometry(), load_appearance())
    return photograph(generator, recogniser, faces, own, 0, QuietProgress())


def test_an_album_shows_faces_as_they_are_and_as_the_generator_makes_them(album, generator, faces) -> None:
    assert len(album.codes) == 10 and album.made == 2 and album.own > 50
    with torch.no_grad():
        shown = generator(generator.mapping(torch.from_numpy(faces.parameters[:2])))
    made = ((shown[:, :3] / 2 + 0.5).clamp(0, 1) * 255).permute(0, 2, 3, 1).numpy()
    assert np.abs(made - album.pixels[:2]).mean() < 3
    kept = [(album.pixels[2 + k] == faces.pixels[k, ..., :3]).all() for k in range(8)]
    assert 0 < sum(kept) < 8  # the others are shown as footage would
    assert torch.equal(album.codes[0], album.codes[2]) and torch.equal(album.points[0], album.points[2])
    off = (album.read[2:, :468, :2] - album.points[2:, :468, :2]).norm(dim=-1).mean(1)
    assert off.median() < 0.05 and off.max() > 0  # a picture is 2 wide


def test_an_album_is_kept_for_its_own_generator_only(album, generator, recogniser, faces, tmp_path: Path) -> None:
    path = tmp_path / "album.safetensors"
    album.save(path)
    held = album_of(generator, recogniser, faces, 8, 0, path, QuietProgress())
    assert held.own == album.own and held.made == album.made
    assert (held.pixels == album.pixels).all() and torch.equal(held.seen, album.seen)
    assert torch.equal(held.identities, album.identities)
    torch.manual_seed(2)
    other = frozen(Generator(generator.shape))
    with pytest.raises(ModelError, match="another generator"):
        album_of(other, recogniser, faces, 8, 0, path, QuietProgress())
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(ModelError, match="delete it"):
        Album.load(path)


def test_the_metric_tells_what_shows_from_what_does_not(album, generator, recogniser) -> None:
    """Along its first direction pictures change many times as much as along its last."""
    scale = album.codes.std(0) + 0.1
    root = metric(generator, recogniser, album.codes[:2], album.points, scale, QuietProgress())
    assert torch.allclose((root @ root.T).diagonal().sum(), torch.tensor(1.0), atol=1e-3)
    directions = torch.linalg.eigh(root @ root.T)[1].T

    def change(direction: torch.Tensor) -> float:
        with torch.no_grad():
            pair = generator(torch.stack([album.codes[0], album.codes[0] + 0.25 * direction * scale]))
        return float((pair[1] - pair[0])[:3].square().mean())

    assert change(directions[-1]) > 3 * change(directions[0])


def test_features_are_where_eyes_and_mouth_are(faces) -> None:
    points = torch.from_numpy(faces.points)
    mask = features(points, 64)
    for mesh, shown in zip(points, mask[:, 0], strict=True):
        for point, high in ((13, True), (159, True), (66, True), (10, False), (152, False), (205, False)):
            x, y = (((mesh[point, :2] + 1) * 64 - 1) / 2).round().long().tolist()
            if 0 <= x < 64 and 0 <= y < 64:
                assert (shown[y, x] > 0.5) == high, point


def test_numbers_without_glasses_are_those_of_the_bare_face() -> None:
    geometry, rng = load_geometry(), np.random.default_rng(0)
    who = draw_who(geometry, load_appearance(), rng)
    how = replace(draw_how(geometry, rng), glasses=0.7, lens=0.2)
    bare = parameters(who, replace(how, glasses=0.0, lens=0.5))
    np.testing.assert_array_equal(bare_eyed(parameters(who, how)[None])[0], bare)
    assert wears_glasses(parameters(who, how)) and not wears_glasses(bare)


def test_small_movements_of_the_mesh_are_told_as_loudly_as_large_ones() -> None:
    rng = np.random.default_rng(0)
    turn, blink = rng.normal(0, 0.1, (300, 1, 1)), rng.normal(0, 0.002, 300)
    points = torch.from_numpy((rng.normal(0, 0.3, (1, 478, 3)) * (1 + turn)).astype(np.float32))
    points[:, [159, 145], 1] += torch.from_numpy(blink.astype(np.float32))[:, None]
    encoder = AttributeEncoder(AttributeShape(16, 8, 8, components=4))
    encoder.know(points)
    told = encoder._told(points)
    assert torch.allclose(told[:, :2].square().mean(0), torch.ones(2), atol=1e-2)
    heard = np.abs([np.corrcoef(told[:, k].numpy(), blink)[0, 1] for k in range(4)])
    assert heard.max() > 0.95


def test_shapes_of_files_without_components_are_read() -> None:
    numbers_of = AttributeShape(16, 8, 8).numbers()
    del numbers_of["components"]
    assert AttributeShape.of(numbers_of) == AttributeShape(16, 8, 8)
    with pytest.raises(ModelError):
        AttributeShape.of({"side": 16})


def test_the_last_layer_is_settled_once_by_least_squares(album, generator, recogniser, monkeypatch) -> None:
    monkeypatch.setattr("deid.training.mapper._OUTWARDS", 1.0)
    options = MapperOptions("tiny", 0, crossing=False)  # ten pictures are fitted by 33 numbers each
    training = MapperTraining(generator, recogniser, None, album, PRESETS["tiny"], options)

    def error() -> float:
        rows = np.arange(len(album.codes))
        with torch.no_grad():
            wanted = generator.mapping(training._plain)
            return float(((training._mapped(rows, rows) - wanted) / training.mapper.scale).square().mean())

    before = error()
    training._settle()
    after = error()
    assert after < 0.05 * before
    training._settle()
    assert error() == after
    again = MapperTraining(generator, recogniser, None, album, PRESETS["tiny"], options)
    again.load(training.state())
    again._settle()
    assert error() == after and torch.equal(again.mapper.net[-1].weight, training.mapper.net[-1].weight)


def test_an_encoder_of_directions_begins_as_one_of_points() -> None:
    rng = np.random.default_rng(0)
    basis = rng.normal(0, 0.1, (6, 478, 3))
    points = torch.from_numpy((rng.normal(0, 1, (40, 6)) @ basis.reshape(6, -1)).reshape(40, 478, 3).astype(np.float32))
    old, new = AttributeEncoder(AttributeShape(16, 8, 8)), AttributeEncoder(AttributeShape(16, 8, 8, components=12))
    old.know(points[:20])
    new.know(points)
    new.follow(old)
    pictures = torch.rand(40, 3, 16, 16)
    assert torch.allclose(old(pictures, points), new(pictures, points), atol=1e-3)
    with pytest.raises(ValueError, match="sizes"):
        new.follow(AttributeEncoder(AttributeShape(16, 8, 9)))
