"""``deid models``: networks in files, whoever made them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deid.commands._shell import StopRequest, common_options, emit, emit_json
from deid.errors import ModelError, OutputError
from deid.files import check_places, put_bytes

if TYPE_CHECKING:
    from deid.models.checkpoints import Bundle

_KINDS = """\b
Files that are read:
  deid         safetensors that this tool wrote (convert, train)
  rosinality   StyleGAN2 .pt files with g_ema
  nvidia       StyleGAN2-ADA .pkl files with G_ema, without running what is in them
  psp, e4e     .pt files with an encoder and its generator
  facenet      InceptionResnetV1 .pt files, without their classes
"""

_EXAMPLES = """\b
Examples:
  deid models info ffhq.pkl
  deid models convert ffhq.pkl ffhq.safetensors --half
"""


@click.group(epilog=f"{_EXAMPLES}\n{_KINDS}", short_help="Look into checkpoints, and convert them.")
def models() -> None:
    """Generators, encoders and recognisers in files. None of them is ever run as a program: a file that asks for
    more than tensors is refused."""


@models.command(epilog=f"{_EXAMPLES}\n{_KINDS}", short_help="Say what networks a file holds.")
@click.argument("file", type=click.Path(path_type=Path))
@common_options
def info(file: Path, as_json: bool, quiet: bool, debug: bool) -> None:
    """Say what networks FILE holds: their kind, shape and size, and the file's SHA-256."""
    from deid.models.checkpoints import open_checkpoint

    facts = _facts(file, open_checkpoint(file))
    if as_json:
        emit_json(facts)
    elif not quiet:
        emit("\n".join(_lines(facts)))


@models.command(epilog=_EXAMPLES, short_help="Write a file's networks as safetensors.")
@click.argument("source", type=click.Path(path_type=Path), metavar="IN")
@click.argument("target", type=click.Path(path_type=Path), metavar="OUT")
@click.option("--half", is_flag=True, help="Parameters as 16-bit floats: half the size, the same pictures to the eye.")
@click.option("--overwrite", is_flag=True, help="Take the place of a file that exists.")
@common_options
@click.pass_obj
def convert(
    stop: StopRequest, source: Path, target: Path, half: bool, overwrite: bool, as_json: bool, quiet: bool, debug: bool
) -> None:
    """Write the networks in IN to OUT in this tool's own format, which loads faster and can hold no code."""
    if target.suffix.lower() != ".safetensors":
        raise OutputError(f"{target} must end in .safetensors; choose another name.")
    check_places((target,), (source,), overwrite)
    from deid.models.checkpoints import native, open_checkpoint

    bundle = open_checkpoint(source)
    data = native.write(bundle.networks, half=half, history=f"converted from a {bundle.kind} file")
    put_bytes(target, data, overwrite)
    stop.disarm()
    if as_json:
        emit_json(_facts(target, bundle))
    elif not quiet:
        emit(f"wrote {target} ({len(data) / 1e6:.1f} MB)")


def _facts(path: Path, bundle: Bundle) -> dict[str, Any]:
    networks = {
        role: {"parameters": network.parameters(), **network.shape} for role, network in bundle.networks.items()
    }
    return {"file": str(path), "kind": bundle.kind, "sha256": _digest(path), "networks": networks,
            "notes": list(bundle.notes)}


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}; check the path.") from error
    return digest.hexdigest()


def _lines(facts: dict[str, Any]) -> list[str]:
    lines = [f"{facts['file']}: {facts['kind']}"]
    for role, network in facts["networks"].items():
        shape = {name: value for name, value in network.items() if name != "parameters"}
        lines.append(f"  {role.replace('_', ' ')}: {network['parameters'] / 1e6:.1f} million numbers")
        lines += [f"    {name}: {_text(value)}" for name, value in shape.items()]
    return [*lines, *(f"  note: {note}" for note in facts["notes"]), f"  sha256: {facts['sha256']}"]


def _text(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
