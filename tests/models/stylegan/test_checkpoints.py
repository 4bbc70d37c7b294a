"""Every format gives the same network; nothing in a file is ever run."""

from __future__ import annotations

import argparse
import io
import os
import pickle
from pathlib import Path

import nvidia_file
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from deid.cli import cli
from deid.errors import ModelError
from deid.models.checkpoints import build, native, open_checkpoint
from deid.models.checkpoints.bundle import Network
from deid.models.checkpoints.rosinality import write_generator
from deid.models.mapping.style_encoder import StyleEncoder, StyleEncoderShape
from deid.models.stylegan.generator import Generator
from deid.recognition._facenet import inception_resnet


def _write(path: Path, generator: Generator, kind: str) -> Path:
    if kind == "nvidia":
        path.write_bytes(nvidia_file.write(generator.state_dict()))
    elif kind == "native":
        path.write_bytes(native.write({"generator": Network(generator.shape.numbers(), generator.state_dict())}))
    else:
        held = {
            "g_ema": write_generator(generator),
            "latent_avg": generator.mapping.mean,
            "args": argparse.Namespace(size=32, batch=4),
        }
        torch.save(held, path, _use_new_zipfile_serialization=kind == "rosinality")
    return path


@pytest.mark.parametrize("kind", ["native", "rosinality", "rosinality-old", "nvidia"])
def test_every_format_gives_the_same_pictures(generator: Generator, tmp_path: Path, kind: str) -> None:
    found = build.generator(open_checkpoint(_write(tmp_path / "file", generator, kind)))
    z = torch.randn(2, 32)
    assert found.shape == generator.shape
    assert torch.equal(found.codes(z, 0.7), generator.codes(z, 0.7))
    assert torch.equal(found(found.codes(z)), generator(generator.codes(z)))


def test_an_average_that_is_missing_is_measured(generator: Generator, tmp_path: Path) -> None:
    path = tmp_path / "old.pt"
    torch.save({"g_ema": write_generator(generator)}, path)
    bundle = open_checkpoint(path)
    codes = generator.codes(torch.randn(4000, 32))
    measured = build.generator(bundle).mapping.mean
    assert (measured - codes.mean(0)).abs().max() < 0.2 * codes.std(0).mean()
    assert any("measured" in note for note in bundle.notes)


@pytest.fixture
def encoder() -> StyleEncoder:
    torch.manual_seed(4)
    made = StyleEncoder(StyleEncoderShape(styles=8, units=(1, 2, 3, 1), channels=16, offsets=True))
    for layer in made.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 2)
    return made.eval()


@pytest.mark.parametrize("kind", ["GradualStyleEncoder", "Encoder4Editing"])
def test_pyramids_and_their_generators(generator: Generator, encoder: StyleEncoder, tmp_path: Path, kind: str) -> None:
    table = {f"encoder.{name}": value for name, value in encoder.state_dict().items()}
    table |= {f"decoder.{name}": value for name, value in write_generator(generator).items()}
    options = {"encoder_type": kind, "start_from_latent_avg": True, "output_size": 32}
    path = tmp_path / "file.pt"
    torch.save(
        {"state_dict": table, "opts": argparse.Namespace(**options), "latent_avg": generator.mapping.mean.repeat(8, 1)},
        path,
    )
    bundle = open_checkpoint(path)
    found = build.style_encoder(bundle)
    pictures = torch.rand(2, 3, 256, 256) * 2 - 1
    codes = found(pictures)
    assert bundle.kind == ("e4e" if kind == "Encoder4Editing" else "psp")
    assert found.shape.offsets == (kind == "Encoder4Editing") and found.shape.units == (1, 2, 3, 1)
    if found.shape.offsets:
        assert torch.equal(codes, encoder(pictures))
        plain = StyleEncoder(StyleEncoderShape(styles=8, units=(1, 2, 3, 1), channels=16))
        plain.load_state_dict(encoder.state_dict())
        plain = plain.eval()(pictures)
        assert torch.allclose(codes[:, 1:], plain[:, 1:] + plain[:, :1], atol=1e-5)
    assert torch.equal(build.generator(bundle)(generator.mapping.mean[None]), generator(generator.mapping.mean[None]))


def test_a_recogniser_loses_its_classes(tmp_path: Path) -> None:
    net = inception_resnet()
    path = tmp_path / "vgg.pt"
    torch.save(net.state_dict() | {"logits.weight": torch.zeros(5, 512), "logits.bias": torch.zeros(5)}, path)
    network = open_checkpoint(path).network("recogniser")
    assert network.tensors.keys() == net.state_dict().keys()


def test_half_precision_is_half_the_size(generator: Generator) -> None:
    networks = {"generator": Network(generator.shape.numbers(), generator.state_dict())}
    assert len(native.write(networks, half=True)) < 0.6 * len(native.write(networks))


class _Hostile:
    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self._mark),)


def _hostile_pickle(mark: Path) -> bytes:
    return pickle.dumps({"G_ema": _Hostile(mark)})


def _hostile_inside(mark: Path) -> bytes:
    """A storage that is a pickle of its own, as torch nests them."""

    class Inner:
        def __reduce__(self) -> tuple:
            return torch.storage._load_from_bytes, (pickle.dumps(_Hostile(mark)),)

    return pickle.dumps({"G_ema": Inner()})


def _hostile_archive(mark: Path) -> bytes:
    out = io.BytesIO()
    torch.save({"g_ema": {"input.input": torch.zeros(1)}, "args": _Hostile(mark)}, out)
    return out.getvalue()


def _hostile_builtin(mark: Path) -> bytes:
    return (
        b"\x80\x04cbuiltins\neval\n(X"
        + len(f"__import__('os').mkdir({str(mark)!r})").to_bytes(4, "little")
        + (f"__import__('os').mkdir({str(mark)!r})".encode() + b"tR.")
    )


@pytest.mark.parametrize("make", [_hostile_pickle, _hostile_inside, _hostile_archive, _hostile_builtin])
def test_hostile_files_are_refused_and_run_nothing(tmp_path: Path, make) -> None:
    mark, path = tmp_path / "it ran", tmp_path / "file.pkl"
    path.write_bytes(make(mark))
    with pytest.raises(ModelError, match="not read"):
        open_checkpoint(path)
    assert not mark.exists()


def test_tensors_beyond_their_storage_are_refused(generator: Generator, tmp_path: Path) -> None:
    data = nvidia_file.write(generator.state_dict())
    longer = data.replace(b"K\x20\x85", b"M\x00\x40\x85")  # a vector of 32 becomes one of 16,384
    assert longer != data
    path = tmp_path / "file.pkl"
    path.write_bytes(longer)
    with pytest.raises(ModelError):
        open_checkpoint(path)


@pytest.mark.parametrize(
    ("name", "change", "what"),
    [
        ("synthesis.b8.conv0.weight", None, "lacks"),
        ("mapping.embed.weight", torch.zeros(2, 2), "classes"),
        ("synthesis.b8.skip.weight", torch.zeros(2, 2), "skip connections"),
    ],
)
def test_other_networks_are_named(generator: Generator, tmp_path: Path, name: str, change, what: str) -> None:
    from deid.models.checkpoints import nvidia

    table = nvidia_file.names(generator.state_dict())
    table.pop(name, None)
    if change is not None:
        table[name] = change
    with pytest.raises(ModelError, match=what):
        nvidia.read_generator(table)


@given(st.integers(0, 10**6), st.integers(0, 255))
@settings(max_examples=60, deadline=None)
def test_damaged_files_end_in_one_error(tmp_path_factory: pytest.TempPathFactory, place: int, value: int) -> None:
    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("damaged")
    out = io.BytesIO()
    torch.save({"g_ema": {"input.input": torch.randn(1, 4, 4, 4)}, "latent_avg": torch.zeros(4)}, out)
    data = bytearray(out.getvalue())
    data[place % len(data)] = value
    (folder / "file.pt").write_bytes(data)
    with pytest.raises(ModelError):
        open_checkpoint(folder / "file.pt")


@pytest.mark.parametrize("data", [b"", b"hello", b"\x80", b"PK\x03\x04junk", b"\x00" * 8 + b"{}", b"\x80\x04N."])
def test_files_that_are_none(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(ModelError):
        open_checkpoint(path)
    with pytest.raises(ModelError):
        open_checkpoint(tmp_path / "missing")


def test_the_commands(generator: Generator, tmp_path: Path) -> None:
    source, target = _write(tmp_path / "in.pkl", generator, "nvidia"), tmp_path / "out.safetensors"
    runner = CliRunner()
    from deid.commands._shell import StopRequest

    said = runner.invoke(cli, ["models", "info", str(source)], obj=StopRequest())
    assert said.exit_code == 0 and "nvidia" in said.output and "size: 32" in said.output
    done = runner.invoke(cli, ["models", "convert", str(source), str(target), "--half"], obj=StopRequest())
    assert done.exit_code == 0, done.output
    found = build.generator(open_checkpoint(target))
    w = torch.randn(1, 32)
    assert torch.allclose(found(w), generator(w), atol=0.05)
    again = runner.invoke(cli, ["models", "convert", str(source), str(target)], obj=StopRequest())
    assert again.exit_code != 0 and "exists" in str(again.exception)
