"""One contract over four editors, and what each promises beyond it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from deid.errors import ModelError, UsageError
from deid.models.checkpoints import native
from deid.models.checkpoints.build import frozen
from deid.models.checkpoints.bundle import Network
from deid.models.editing.ganspace import fit_ganspace
from deid.models.editing.interfacegan import fit_interfacegan
from deid.models.editing.latent import LatentEditor, Reader
from deid.models.editing.latent_to_latent import EditNet, EditShape, LatentToLatent, load_editor
from deid.models.editing.names import INDEX, NAMES
from deid.models.editing.styleflow import fit_styleflow
from deid.models.stylegan.generator import Generator, GeneratorShape

WIDTH, LAYERS = 12, 6
EASY = ("smile", "age", "yaw")


class _World(Reader):
    """A latent space in which the first three numbers of w are attributes, and no network is needed to see them."""

    def __init__(self) -> None:
        self.generator = frozen(Generator(GeneratorShape(16, (4, 4, 4), 8, WIDTH, 2)))

    def __call__(self, w: torch.Tensor) -> torch.Tensor:
        flat = w if w.ndim == 2 else w.mean(1)
        out = torch.full((len(flat), len(NAMES)), 0.5)
        for place, name in enumerate(EASY):
            out[:, INDEX[name]] = (1.5 * flat[:, place]).sigmoid()
        return out


@pytest.fixture(scope="module")
def world() -> tuple[_World, torch.Tensor]:
    torch.manual_seed(0)
    codes = torch.randn(1500, WIDTH) * torch.linspace(2.0, 0.6, WIDTH)
    return _World(), codes


def _learned(world: tuple[_World, torch.Tensor]) -> LatentToLatent:
    """f, taught here by the attributes alone."""
    reader, codes = world
    torch.manual_seed(0)
    net = EditNet(EditShape(WIDTH, len(NAMES), 2))
    net.know(codes)
    tutor = torch.optim.Adam(net.parameters(), lr=3e-3)
    for step in range(250):
        w = codes[torch.arange(step * 64, step * 64 + 64) % len(codes)]
        had, changes = reader(w), torch.zeros(64, len(NAMES))
        for name in EASY:
            changes[:, INDEX[name]] = (torch.rand(64) - had[:, INDEX[name]]) * (torch.rand(64) < 0.5)
        moved = net(w, changes)
        loss = 10 * (reader(moved) - had - changes).square().sum(1).mean() + 0.02 * (moved - w).square().mean()
        tutor.zero_grad()
        loss.backward()
        tutor.step()
    return LatentToLatent(net)


@pytest.fixture(scope="module", params=["Latent to Latent", "InterFaceGAN", "GANSpace", "StyleFlow"])
def editor(request: pytest.FixtureRequest, world: tuple[_World, torch.Tensor]) -> LatentEditor:
    reader, codes = world
    made: dict[str, LatentEditor] = {}
    if request.param == "Latent to Latent":
        return _learned(world)
    if request.param == "InterFaceGAN":
        return fit_interfacegan(codes, reader(codes), reader)
    if request.param == "GANSpace":
        return fit_ganspace(codes, reader(codes), reader)
    made["StyleFlow"] = fit_styleflow(codes, reader(codes), reader, steps=400, batch=128)
    return made[request.param]


def test_an_editor_says_who_it_is(editor: LatentEditor) -> None:
    assert editor.name and set(EASY) <= set(editor.attributes) <= set(NAMES)


def test_no_change_gives_the_code_itself(editor: LatentEditor, world: tuple) -> None:
    w = world[1][:4]
    assert torch.equal(editor.edit(w, {}), w) and torch.equal(editor.edit(w, {"smile": 0.0}), w)


def test_what_comes_out_goes_into_the_generator(editor: LatentEditor, world: tuple) -> None:
    w = world[1][:3]
    before = w.clone()
    out = editor.edit(w, {"smile": 0.3, "age": -0.2})
    assert out.shape in ((3, WIDTH), (3, LAYERS, WIDTH)) and bool(torch.isfinite(out).all())
    assert world[0].generator(out).shape == (3, 3, 16, 16)
    assert torch.equal(w, before)  # what comes in is left alone


@pytest.mark.parametrize("name", EASY)
def test_the_attribute_moves_the_way_it_is_asked(editor: LatentEditor, world: tuple, name: str) -> None:
    reader, codes = world
    w = codes[:200]
    w = w[(reader(w)[:, INDEX[name]] - 0.5).abs() < 0.2]
    now = reader(w)[:, INDEX[name]]
    more, less = (reader(editor.edit(w, {name: sign * 0.25}))[:, INDEX[name]] - now for sign in (1, -1))
    assert float(more.mean()) > 0.08 and float(less.mean()) < -0.08
    assert float((more > 0).float().mean()) > 0.9 and float((less < 0).float().mean()) > 0.9


def test_it_is_the_same_every_time_and_alone_as_in_company(editor: LatentEditor, world: tuple) -> None:
    w = world[1][:5]
    first = editor.edit(w, {"age": 0.3})
    assert torch.equal(first, editor.edit(w, {"age": 0.3}))
    assert torch.allclose(first[2:3], editor.edit(w[2:3], {"age": 0.3}), atol=1e-4)


def test_a_name_that_is_none_gets_a_sentence(editor: LatentEditor, world: tuple) -> None:
    with pytest.raises(UsageError, match="did you mean smile"):
        editor.edit(world[1][:1], {"smlie": 0.5})


def test_conditional_ways_are_at_right_angles_to_the_other_normals(world: tuple) -> None:
    reader, codes = world
    made = fit_interfacegan(codes, reader(codes), reader)
    at, other = INDEX["smile"], INDEX["age"]
    assert abs(float(made.conditional[at] @ made.ways[other])) < 1e-3
    assert float(made.conditional[at].norm()) == pytest.approx(1, abs=1e-4) and 0 <= float(made.share[at]) <= 1 + 1e-5


def test_a_flow_leads_out_and_back(world: tuple) -> None:
    reader, codes = world
    flow = fit_styleflow(codes, reader(codes), reader, steps=200, batch=64).flow
    x, told = (codes[:8] - flow.mean) / flow.scale, reader(codes[:8])
    there = flow.solved(x, told, 1.0, 0.0)
    assert torch.allclose(flow.solved(there, told, 0.0, 1.0), x, atol=0.02)
    assert not torch.allclose(there, x, atol=0.05)


def test_an_editor_of_another_generator_is_refused(tmp_path: Path) -> None:
    net = EditNet(EditShape(WIDTH, len(NAMES), 1))
    path = tmp_path / "e.safetensors"
    path.write_bytes(native.write({"editor": Network(net.shape.numbers(), net.state_dict())}))
    assert load_editor(path, WIDTH).net.shape.layers == 1
    with pytest.raises(ModelError, match="takes codes of 12"):
        load_editor(path, 256)
    with pytest.raises(ModelError):
        load_editor(tmp_path / "none.safetensors")


def test_the_shipped_regressor_reads_rendered_faces() -> None:
    from deid.models.editing.regressor import load_regressor
    from deid.training.faces import pictures

    made = [picture for picture, _ in zip(pictures(128, 91, 1), range(24), strict=False)]
    found = load_regressor().read(np.stack([one.pixels[..., :3] for one in made]))
    truth = np.stack([one.labels for one in made])
    for name, most in (("yaw", 0.07), ("mouth_open", 0.1), ("light_from_left", 0.12), ("gender", 0.2), ("beard", 0.2)):
        assert np.abs(found - truth)[:, INDEX[name]].mean() < most, name
    assert (found >= 0).all() and (found <= 1).all()
