"""The shipped networks together: edits of codes, of a picture, and of a video's surrogates in the StyleGAN engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from deid import imaging
from deid.models.editing.latent import Reader
from deid.models.editing.latent_to_latent import load_editor
from deid.models.editing.names import INDEX, NAMES, parse
from deid.models.editing.portraits import LatentPortrait
from deid.models.editing.regressor import SHIPPED, load_regressor
from deid.models.editing.video import SurrogateEdits
from deid.models.stylegan.networks import Networks
from deid.progress import QuietProgress
from deid.training.faces import pictures

ASKED = {"beard": 0.6, "baldness": 0.6, "yaw": 0.25, "mouth_open": 0.3, "light_from_left": 0.3, "age": 0.3}


@pytest.fixture(scope="module")
def networks() -> Networks:
    return Networks.load()


@pytest.fixture(scope="module")
def codes(networks: Networks) -> torch.Tensor:
    told = np.stack([picture.parameters for picture, _ in zip(pictures(64, 70, 1), range(12), strict=False)])
    with torch.no_grad():
        return networks.generator.codes(torch.from_numpy(told))


def test_weights_are_small() -> None:
    folder = SHIPPED.parent
    assert all(path.stat().st_size < 1.5e6 for path in folder.glob("*.safetensors")) and len(NAMES) >= 35


@pytest.mark.parametrize("name", ASKED)
def test_the_shipped_editor_moves_what_it_is_asked_to(networks: Networks, codes: torch.Tensor, name: str) -> None:
    editor, read = load_editor(None, codes.shape[1]), Reader(networks.generator, load_regressor())
    before = read(codes)
    ready = before[:, INDEX[name]] < 0.5 if ASKED[name] > 0 else before[:, INDEX[name]] > 0.5
    after = read(editor.edit(codes[ready], {name: ASKED[name]}))
    got = (after - before[ready])[:, INDEX[name]] * np.sign(ASKED[name])
    assert float(got.mean()) > 0.2 * abs(ASKED[name])
    others = (after - before[ready]).abs().mean(0)
    others[INDEX[name]] = 0
    assert float(others.mean()) < 0.5 * float(got.mean())


def test_every_mapped_code_is_edited(networks: Networks) -> None:
    rng = np.random.default_rng(0)
    who = rng.normal(0, 0.08, (3, 128)).astype(np.float32)
    how = np.zeros((3, networks.attributes.shape.width), np.float32)
    assert SurrogateEdits.of([]).networks(networks) is networks
    edited = SurrogateEdits.of(["beard=0.9"]).networks(networks)
    read = Reader(networks.generator, load_regressor())
    plain, grown = (read(torch.from_numpy(one.mapped(who, how)))[:, INDEX["beard"]] for one in (networks, edited))
    assert float((grown - plain).mean()) > 0.1
    assert np.array_equal(edited.mapped(who, how), edited.mapped(who, how))


def test_a_picture_is_edited_through_the_latent_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deid.models.editing.portraits._REFINED", 6)
    picture = next(picture for picture in pictures(256, 31, 1) if picture.labels[INDEX["yaw"]] < 0.6)
    path = tmp_path / "face.png"
    path.write_bytes(imaging.encoded(np.ascontiguousarray(picture.pixels[..., 2::-1]), ".png"))
    portrait = LatentPortrait(path, QuietProgress())
    bald = portrait.edited(parse(["baldness=0.9"]))
    assert bald.shape == (128, 128, 3) and bald.dtype == np.uint8
    assert np.abs(bald.astype(int) - portrait.edited([])).mean() > 1
