"""``deid train``: the StyleGAN engine's networks, trained in-house."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from deid.commands._shell import StopRequest, common_options, emit, emit_json
from deid.errors import ModelError, UsageError
from deid.progress import progress_for

if TYPE_CHECKING:
    from deid.models.checkpoints import Bundle
    from deid.training.faces import Batch
    from deid.training.presets import Preset
    from deid.training.session import Budget

_EXAMPLES = """\b
Examples:
  deid train faces -o data                                        render what all of them learn from
  deid train generator --faces data -o out/generator --minutes 120
  deid train attributes --faces data -o out/attributes --minutes 15
  deid train mapper --faces data --generator out/generator/weights.safetensors \\
      --landmarks out/attributes/weights.safetensors -o out/mapper --minutes 60
  deid train regressor --faces data --generator out/generator/weights.safetensors -o out/regressor --minutes 15
  deid train editor --faces data --generator out/generator/weights.safetensors \\
      --regressor out/regressor/weights.safetensors --keep background -o out/editor --minutes 30
"""

_Command = TypeVar("_Command", bound=Callable[..., Any])


@click.group(epilog=_EXAMPLES, short_help="Train the networks of the StyleGAN engine.")
def train() -> None:
    """Train a generator on rendered faces, then what maps identities and attributes into its latent space (Nitzan et
    al. 2020) and edits codes there (Khodadadeh et al. 2022). Each stage stops when its time is up; the same command
    goes on where it stopped."""


def _options(command: _Command) -> _Command:
    for option in reversed((
        click.option("-o", "--output", "folder", type=click.Path(path_type=Path), required=True, metavar="FOLDER",
                     help="Where states, statistics, grids of pictures and weights go."),
        click.option("--preset", type=click.Choice(("cpu", "gpu", "tiny")), default="cpu", show_default=True,
                     help="Sizes and schedules; tiny only shows that everything runs."),
        click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, metavar="N",
                     help="Where chance begins."),
        click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing."),
    )):  # fmt: skip
        command = option(command)
    return command


def _timed(command: _Command) -> _Command:
    for option in reversed((
        click.option("--faces", type=click.Path(path_type=Path), required=True, metavar="FOLDER",
                     help="Rendered faces, of deid train faces."),
        click.option("--minutes", type=click.FloatRange(min=0, min_open=True), default=120.0, show_default=True,
                     help="How long this call trains."),
        click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Processor cores to use."),
    )):  # fmt: skip
        command = option(command)
    return command


_counted = click.option(
    "--pictures", type=click.IntRange(min=1), metavar="N",
    help="Stop after so many pictures over all calls, too; by default the preset's.",
)  # fmt: skip


@train.command(epilog=_EXAMPLES, short_help="Render labelled faces to learn from.")
@_options
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="How many; by default the preset's.")
@click.option("--workers", type=click.IntRange(1, 256), default=1, show_default=True, help="Processes to use.")
@common_options
def faces(
    folder: Path, preset: str, seed: int, dry_run: bool, count: int | None, workers: int, as_json: bool, quiet: bool,
    debug: bool,
) -> None:  # fmt: skip
    """Render labelled faces of people who do not exist. What is there already stays; a folder left half-way is filled
    up."""
    from deid.training.presets import PRESETS

    chosen = PRESETS[preset]
    wanted = count or chosen.faces
    plan = {"stage": "faces", "size": chosen.size, "count": wanted, "folder": str(folder)}
    if not dry_run:
        from deid.training import dataset

        with progress_for(sys.stderr, quiet=quiet) as progress:
            dataset.fill(folder, chosen.size, seed, wanted, progress, workers)
    _tell(plan, as_json, quiet)


@train.command(epilog=_EXAMPLES, short_help="Train a StyleGAN2 generator on rendered faces.")
@_options
@_timed
@_counted
@click.option("--no-game", is_flag=True, help="Only imitate the renderer, without an adversary.")
@common_options
@click.pass_obj
def generator(
    stop: StopRequest, folder: Path, preset: str, seed: int, dry_run: bool, faces: Path, minutes: float,
    pictures: int | None, threads: int | None, no_game: bool, as_json: bool, quiet: bool, debug: bool,
) -> None:  # fmt: skip
    """Train a generator: taught by the renderer first, then in the adversarial game."""
    from deid.models.stylegan.generator import Generator
    from deid.training.generator import GeneratorOptions, train_generator
    from deid.training.presets import PRESETS
    from deid.training.scene import numbers

    shape = PRESETS[preset].generator(numbers())
    plan = {"stage": "generator", **shape.numbers(), "parameters": _count(Generator(shape)),
            **_planned(preset, faces, minutes, pictures), "folder": str(folder)}
    if not dry_run:
        chosen, batch, budget = _begin(preset, faces, minutes, threads, pictures)
        options = GeneratorOptions(preset, batch.parameters.shape[1], seed, not no_game)
        with progress_for(sys.stderr, quiet=quiet, check=stop.check) as progress:
            plan["weights"] = str(train_generator(batch, folder, chosen, options, budget, progress))
    _tell(plan, as_json, quiet)


@train.command(epilog=_EXAMPLES, short_help="Train the network that reads landmarks off pictures.")
@_options
@_timed
@_counted
@common_options
@click.pass_obj
def attributes(
    stop: StopRequest, folder: Path, preset: str, seed: int, dry_run: bool, faces: Path, minutes: float,
    pictures: int | None, threads: int | None, as_json: bool, quiet: bool, debug: bool,
) -> None:  # fmt: skip
    """Train the network that tells where landmarks lie, with gradients: one of the mapper's teachers."""
    from deid.training.landmarks import LandmarkOptions, train_landmarks

    plan = {"stage": "attributes", **_planned(preset, faces, minutes, pictures), "folder": str(folder)}
    if not dry_run:
        chosen, batch, budget = _begin(preset, faces, minutes, threads, pictures)
        with progress_for(sys.stderr, quiet=quiet, check=stop.check) as progress:
            options = LandmarkOptions(preset, seed)
            plan["weights"] = str(train_landmarks(batch, folder, chosen, options, budget, progress))
    _tell(plan, as_json, quiet)


@train.command(epilog=_EXAMPLES, short_help="Train the attribute encoder and the mapper into W.")
@_options
@_timed
@_counted
@click.option("--generator", "made", type=click.Path(path_type=Path), required=True, metavar="FILE",
              help="The generator: it stays as it is.")
@click.option("--landmarks", type=click.Path(path_type=Path), metavar="FILE", help="Of deid train attributes.")
@click.option("--recogniser", type=click.Path(path_type=Path), metavar="FILE",
              help="InceptionResnetV1 weights as the identity encoder; by default dlib's network.")
@click.option("--told", type=click.FloatRange(0, 1), default=0.5, show_default=True,
              help="Share of the time in which codes are told outright, as a taught generator allows.")
@click.option("--begin", type=click.Path(path_type=Path), metavar="FILE",
              help="Begin with the networks of this mapper, trained for the same generator.")
@click.option("--album", type=click.Path(path_type=Path), metavar="FILE",
              help="Keep what the networks make of the faces, which takes minutes, for further calls.")
@click.option("--without", "left_out", type=click.Choice(("adversary", "landmarks", "crossing")), multiple=True,
              help="Leave a part out, for ablations.")
@common_options
@click.pass_obj
def mapper(
    stop: StopRequest, folder: Path, preset: str, seed: int, dry_run: bool, faces: Path, minutes: float,
    pictures: int | None, threads: int | None, made: Path, landmarks: Path | None, recogniser: Path | None, told: float,
    begin: Path | None, album: Path | None, left_out: tuple[str, ...], as_json: bool, quiet: bool, debug: bool,
) -> None:  # fmt: skip
    """Train the attribute encoder and the mapper with the generator and the identity encoder frozen, on the generator's
    own pictures (Nitzan et al. 2020, section 3)."""
    from deid.models.checkpoints import build, open_checkpoint
    from deid.models.mapping.identity import identity_encoder
    from deid.training.album import album_of
    from deid.training.mapper import MapperOptions, MapperTraining, train_mapper
    from deid.training.scene import numbers

    bundle: Bundle = open_checkpoint(made)
    network = build.generator(bundle)
    if network.shape.latent != numbers() and told > 0:
        raise UsageError(
            f"{made} begins from {network.shape.latent} numbers and the faces have {numbers()}, so it was not trained "
            "on such faces and no code can be told; add --told 0."
        )
    reader = build.landmarks(open_checkpoint(landmarks)) if landmarks is not None else None
    parts = (part not in left_out for part in ("adversary", "landmarks", "crossing"))
    options = MapperOptions(preset, seed, told, *parts)
    plan = {"stage": "mapper", "generator": str(made), **_planned(preset, faces, minutes, pictures),
            "without": list(left_out), "folder": str(folder)}
    if not dry_run:
        chosen, batch, budget = _begin(preset, faces, minutes, threads, pictures, album=True)
        with progress_for(sys.stderr, quiet=quiet, check=stop.check) as progress:
            who = identity_encoder(recogniser)
            pages = album_of(network, who, batch, chosen.album, seed, album, progress)
            training = MapperTraining(network, who, reader, pages, chosen, options)
            if begin is not None:
                held = open_checkpoint(begin)
                training.begin_as(build.attributes(held), build.mapper(held))
            plan["weights"] = str(train_mapper(training, folder, chosen, budget, progress))
    _tell(plan, as_json, quiet)


@train.command(epilog=_EXAMPLES, short_help="Train the network that reads attributes off pictures.")
@_options
@_timed
@click.option("--generator", "made", type=click.Path(path_type=Path), metavar="FILE",
              help="A generator that was taught by such faces: its pictures are learned from, too.")
@common_options
@click.pass_obj
def regressor(
    stop: StopRequest, folder: Path, preset: str, seed: int, dry_run: bool, faces: Path, minutes: float,
    threads: int | None, made: Path | None, as_json: bool, quiet: bool, debug: bool,
) -> None:  # fmt: skip
    """Train H, which tells how much of each named attribute a picture shows, with the labels of rendered faces."""
    _, batch, budget = _begin(preset, faces, minutes, threads)
    from deid.models.checkpoints import build, open_checkpoint
    from deid.models.editing.names import NAMES
    from deid.training.regressor import SHAPES, RegressorOptions, examples, train_regressor

    generator = build.generator(open_checkpoint(made)) if made is not None else None
    plan = {"stage": "regressor", "attributes": len(NAMES), "faces": len(batch.pixels), "minutes": minutes,
            "folder": str(folder)}
    if not dry_run:
        with progress_for(sys.stderr, quiet=quiet, check=stop.check) as progress:
            some = examples(batch, SHAPES[preset].side, generator, progress)
            options = RegressorOptions(preset, seed, generator is not None)
            plan["weights"] = str(train_regressor(some, folder, preset, options, budget, progress))
    _tell(plan, as_json, quiet)


@train.command(epilog=_EXAMPLES, short_help="Train the network that edits latent codes.")
@_options
@_timed
@click.option("--generator", "made", type=click.Path(path_type=Path), metavar="FILE",
              help="The generator: it stays as it is.  [default: the one that ships]")
@click.option("--regressor", "reads", type=click.Path(path_type=Path), metavar="FILE",
              help="Of deid train regressor.  [default: the one that ships]")
@click.option("--recogniser", type=click.Path(path_type=Path), metavar="FILE",
              help="InceptionResnetV1 weights as the recogniser; by default dlib's network.")
@click.option("--keep", multiple=True, metavar="NAME",
              help="A conservation loss: background, eyes_closed, or MODULE:FUNCTION of your own; repeat for more.")
@click.option("--sketched", type=click.FloatRange(0, 0.99), default=0.6, show_default=True,
              help="Share of the time in which small networks stand in for pictures.")
@common_options
@click.pass_obj
def editor(
    stop: StopRequest, folder: Path, preset: str, seed: int, dry_run: bool, faces: Path, minutes: float,
    threads: int | None, made: Path | None, reads: Path | None, recogniser: Path | None, keep: tuple[str, ...],
    sketched: float, as_json: bool, quiet: bool, debug: bool,
) -> None:  # fmt: skip
    """Train f(w, da), which changes any attributes of a latent code at once, with generator, regressor and recogniser
    frozen (Khodadadeh et al. 2022, section 3)."""
    _, batch, budget = _begin(preset, faces, minutes, threads)
    import torch

    from deid.models.checkpoints import build, open_checkpoint
    from deid.models.editing.conservation import named
    from deid.models.editing.regressor import load_regressor
    from deid.models.mapping.identity import identity_encoder
    from deid.models.morphable.appearance import load_appearance
    from deid.models.morphable.geometry import load_geometry
    from deid.models.stylegan.networks import SHIPPED
    from deid.training.editor import PRESETS, EditorOptions, EditorTraining, draw_codes, sample, train_editor
    from deid.training.scene import identity_numbers

    for name in keep:
        named(name)
    generator = build.generator(open_checkpoint(made or SHIPPED / "generator.safetensors"))
    reader, chosen = load_regressor(reads), PRESETS[preset]
    taught = generator.shape.latent == batch.parameters.shape[1]
    plan = {"stage": "editor", "generator": str(made or "shipped"), "codes": chosen.album, "keep": list(keep),
            "minutes": minutes, "folder": str(folder)}
    if not dry_run:
        with progress_for(sys.stderr, quiet=quiet, check=stop.check) as progress:
            who = build.frozen(identity_encoder(recogniser))
            told = torch.from_numpy(batch.parameters) if taught else None
            own = identity_numbers(load_geometry(), load_appearance())
            codes = draw_codes(generator, told, own, chosen.album, seed)
            options = EditorOptions(preset, seed, sketched, tuple(keep))
            samples = sample(generator, reader, who, codes, progress)
            training = EditorTraining(generator, reader, who, samples, chosen, options)
            plan["weights"] = str(train_editor(training, folder, budget, progress))
    _tell(plan, as_json, quiet)


def _planned(preset: str, faces: Path, minutes: float, pictures: int | None) -> dict[str, Any]:
    """What a stage would do, without reading a picture."""
    from deid.training import dataset
    from deid.training.presets import PRESETS

    chosen = PRESETS[preset]
    return {"faces": dataset.count(faces), "wanted": chosen.faces, "minutes": minutes,
            "pictures": pictures or chosen.pictures}  # fmt: skip


def _begin(
    preset: str, faces: Path, minutes: float, threads: int | None, pictures: int | None = None, *, album: bool = False
) -> tuple[Preset, Batch, Budget]:
    """``album``: only as many faces as a mapper looks at."""
    import torch

    from deid.training import dataset
    from deid.training.presets import PRESETS
    from deid.training.session import Budget

    if threads is not None:
        torch.set_num_threads(threads)
    chosen = PRESETS[preset]
    batch = dataset.load(faces, chosen.album if album else chosen.faces)
    if batch.pixels.shape[1] != chosen.size:
        raise ModelError(
            f"{faces} holds faces of {batch.pixels.shape[1]} pixels and the preset {preset} wants {chosen.size}; "
            "render others, or choose another preset."
        )
    return chosen, batch, Budget(minutes * 60, pictures or chosen.pictures)


def _count(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _tell(plan: dict[str, Any], as_json: bool, quiet: bool) -> None:
    if as_json:
        emit_json(plan)
    elif not quiet:
        emit("\n".join(f"{name}: {value}" for name, value in plan.items()))
