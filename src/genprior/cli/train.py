"""Commands that train: gan, encoder; and resume."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genprior.cli.common import (
    ILL,
    INTERRUPTED,
    Channels,
    Device,
    Epochs,
    Fit,
    ImagesSeen,
    Minutes,
    Root,
    RunFolder,
    Seed,
    Size,
    Strict,
    stop_on_signal,
)
from genprior.config import BUDGETS, PRESETS, GANConfig, check_names, parse_config
from genprior.errors import GenpriorError

if TYPE_CHECKING:
    from genprior.runs import PreparedRun

train_app = typer.Typer(help="Train a model; each family has its sub-command.")


@train_app.command("gan")
def train_gan(
    out: Annotated[Path | None, typer.Option(help="Folder of the new run.")] = None,
    data: Annotated[str | None, typer.Option(help="What to train on: a name, a folder, an array file.")] = None,
    loss: Annotated[
        str | None,
        typer.Option(help="saturating, non-saturating, least-squares, least-squares-logit, hinge."),
    ] = None,
    preset: Annotated[str | None, typer.Option(help=f"One of {', '.join(PRESETS)}.")] = None,
    config: Annotated[Path | None, typer.Option(help="Settings as JSON, as --dry-run prints them.")] = None,
    seed: Seed = None,
    epochs: Epochs = None,
    images_seen: ImagesSeen = None,
    minutes: Minutes = None,
    data_root: Root = None,
    size: Size = None,
    channels: Channels = None,
    fit: Fit = None,
    strict: Strict = None,
    model: Annotated[str | None, typer.Option(help="dcgan or mlp, with options: dcgan:generator_width=32.")] = None,
    latent_size: Annotated[int | None, typer.Option(help="Length of z.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Real images in a discriminator update.")] = None,
    discriminator_updates: Annotated[
        int | None, typer.Option(help="Discriminator updates for each generator update.")
    ] = None,
    generator_learning_rate: Annotated[float | None, typer.Option(help="Adam's step size.")] = None,
    discriminator_learning_rate: Annotated[float | None, typer.Option(help="Adam's step size.")] = None,
    beta1: Annotated[float | None, typer.Option(help="Adam's first decay, in [0, 1).")] = None,
    beta2: Annotated[float | None, typer.Option(help="Adam's second decay, in [0, 1).")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="Adam's L2 coefficient.")] = None,
    average_half_life: Annotated[
        float | None, typer.Option(help="Half-life of the generator's average, in images.")
    ] = None,
    precision: Annotated[str | None, typer.Option(help="auto, bf16, float32 or float64.")] = None,
    device: Device = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads of each process.")] = None,
    checkpoint_seconds: Annotated[float | None, typer.Option(help="Time between checkpoints.")] = None,
    tensorboard: Annotated[
        bool | None, typer.Option("--tensorboard", help="Write TensorBoard files into the run.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run that is there.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the config as JSON and end.")] = False,
) -> None:
    """Train a generator against a discriminator."""
    given = {key: value for key, value in locals().items() if key in GANConfig.model_fields}
    flags = {k: str(v) if isinstance(v, Path) else v for k, v in given.items() if v is not None}
    settings = parse_config({**_config_file(config, flags), **flags})
    if dry_run:
        check_names(settings)
        typer.echo(settings.model_dump_json(indent=2))
        return
    if out is None or out == Path():
        raise GenpriorError("name the folder of the new run", argument="out")
    from genprior.runs import new_run

    _train(new_run(out, settings, overwrite=overwrite))


@train_app.command("encoder")
def train_encoder(
    run: RunFolder,
    minutes: Annotated[float | None, typer.Option(help="Budget in minutes; default 1.")] = None,
    images_seen: ImagesSeen = None,
    seed: Annotated[int, typer.Option(help="Any integer.")] = 0,
    threads: Annotated[int | None, typer.Option(min=1, max=1024, help="CPU threads.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the encoder that is there.")] = False,
) -> None:
    """Train the way back from images to latents of a trained run, from which inversion and restoration start."""
    from genprior.progress import show
    from genprior.runs.encoder import MINUTES, WEIGHTS
    from genprior.runs.encoder import train_encoder as steps_of

    if minutes is not None and images_seen is not None:
        raise GenpriorError("give one of minutes and images_seen", argument="minutes")
    with stop_on_signal() as stopped:
        steps = steps_of(
            run,
            minutes=MINUTES if minutes is None else minutes,
            images_seen=images_seen,
            seed=seed,
            threads=threads,
            overwrite=overwrite,
            should_stop=lambda: bool(stopped),
        )
        last = None
        for progress in show(steps, [], quiet=False):
            last = progress
    if last is None or last.outcome == "non-finite":
        sys.exit(ILL)
    if last.outcome == "interrupted":
        typer.echo("interrupted; no encoder was saved")
        sys.exit(INTERRUPTED)
    typer.echo(f"error on images held out: {last.row['held_out_error']:.4g}")
    typer.echo(f"encoder: {run / WEIGHTS}")


def resume(
    run: RunFolder,
    epochs: Epochs = None,
    images_seen: ImagesSeen = None,
    minutes: Minutes = None,
    device: Device = None,
) -> None:
    """Go on with a run where its last checkpoint stands; a budget given here replaces the run's."""
    from genprior.runs import resumed_run

    changes = {"epochs": epochs, "images_seen": images_seen, "minutes": minutes, "device": device}
    _train(resumed_run(run, changes))


def _config_file(path: Path | None, flags: dict[str, Any]) -> dict[str, Any]:
    """The settings in a file, as far as the flags leave them standing."""
    if path is None:
        return {}
    if "preset" in flags:
        raise GenpriorError("the config file settles what a preset would; give one of them", argument="preset")
    from genprior.runs.folder import read_table

    values = read_table(path, "config")
    replaced = BUDGETS if flags.keys() & set(BUDGETS) else ()  # one budget takes the place of another
    return {name: value for name, value in values.items() if name not in replaced}


def _train(prepared: "PreparedRun") -> None:
    """Trains to the end of the budget, showing how far it is, and leaves pictures; sets the exit code."""
    from genprior.pictures import write_run_pictures
    from genprior.progress import show
    from genprior.runs import execute

    quiet = prepared.gan.processes.rank > 0
    run = prepared.run
    with stop_on_signal() as stopped:
        steps = execute(run, prepared.gan, prepared.data, lambda: bool(stopped))
        last = None
        for progress in show(steps, prepared.notes, quiet):
            last = progress  # not a list of all: a long run has many
    if quiet or last is None:
        return
    if last.outcome == "non-finite":
        sys.exit(ILL)
    pictures = write_run_pictures(run, prepared.data)
    for what, path in pictures.items():
        typer.echo(f"{what}: {path}")
    if last.outcome == "interrupted":
        typer.echo(f"interrupted and saved; go on with: genprior resume {shlex.quote(str(run.path))}")
        sys.exit(INTERRUPTED)
