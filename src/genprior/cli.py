"""The command line: one short function per sub-command, no mathematics. Help must not import torch."""

import os
import shlex
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from genprior.config import BUDGETS, PRESETS, GANConfig, check_names, parse_config
from genprior.errors import GenpriorError

if TYPE_CHECKING:
    from genprior.runs import PreparedRun

USER_ERROR, ILL, INTERRUPTED = 2, 1, 130
USAGE_ERROR: Any = typer.BadParameter.__bases__[0]  # the parent of all that typer itself finds wrong
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tiff")
POINTS_SHOWN = 5000

app = typer.Typer(
    help="Train small generative image models and use them as priors.",
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)
train_app = typer.Typer(help="Train a model; each family has its sub-command.")
app.add_typer(train_app, name="train")

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")]
Root = Annotated[
    Path | None,
    typer.Option(help="Folder of named data sets; default $GENPRIOR_DATA, else a cache folder."),
]
Size = Annotated[int | None, typer.Option(help="Resize images to this many pixels a side.")]
Channels = Annotated[int | None, typer.Option(help="1 for grey, 3 for colour; default as the data.")]
Fit = Annotated[str | None, typer.Option(help="How images become square: crop or pad.")]
Strict = Annotated[
    bool | None,
    typer.Option("--strict", help="Refuse a folder with an unreadable image instead of skipping it."),
]
Seed = Annotated[int | None, typer.Option(help="Any integer; the same settings give the same run.")]
Epochs = Annotated[float | None, typer.Option(help="Budget in passes over the data; default 10.")]
ImagesSeen = Annotated[int | None, typer.Option(help="Budget in images.")]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1 ...")]
Minutes = Annotated[float | None, typer.Option(help="Budget in minutes.")]


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


@app.command()
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


@app.command()
def sample(
    run: RunFolder,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="Number of samples.")] = 64,
    out: Annotated[Path, typer.Option(help="Picture to write, or .npy for the numbers.")] = Path("samples.png"),
    seed: Annotated[int, typer.Option(help="Any integer.")] = 0,
    no_average: Annotated[
        bool, typer.Option("--no-average", help="Use the last weights, not their moving average.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file that is there.")] = False,
) -> None:
    """Write samples of a trained run."""
    from genprior.figures import write_samples
    from genprior.images import write_array
    from genprior.runs import load_prior

    _refuse_existing(out, overwrite, (*PICTURES, ".npy"))
    x = load_prior(run, average=not no_average).sample(count, seed)
    (write_array if out.suffix == ".npy" else write_samples)(x, out)
    typer.echo(f"{count} samples: {out}")


@app.command()
def info(run: RunFolder) -> None:
    """Say what a run is, how far it is, and its last numbers."""
    from genprior.runs import summary

    _print_table(summary(run))


@app.command("data")
def show_data(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name, a folder, an array file.")],
    data_root: Root = None,
    size: Size = None,
    channels: Channels = None,
    fit: Fit = None,
    strict: Strict = None,
    out: Annotated[Path | None, typer.Option(help="Picture to write; default NAME.png here.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file that is there.")] = False,
) -> None:
    """Say how many images there are, of what size and range, and write a picture of some."""
    from genprior.data import load_data
    from genprior.figures import write_samples

    picture = out or Path("".join(c if c.isalnum() else "-" for c in Path(name).name).strip("-") + ".png")
    _refuse_existing(picture, overwrite, PICTURES)
    loaded = load_data(name, root=data_root, size=size, channels=channels, fit=fit or "crop", strict=bool(strict))
    write_samples(loaded.some(POINTS_SHOWN if loaded.is_points else 64), picture)
    _print_table({**loaded.summary(), "picture": str(picture)})


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


def _refuse_existing(path: Path, overwrite: bool, suffixes: tuple[str, ...]) -> None:
    if path.suffix.lower() not in suffixes:
        raise GenpriorError(f"expected a name that ends in {', '.join(suffixes)}, got {path}", argument="out")
    if path.exists() and not overwrite:
        raise GenpriorError(f"{path} exists; replace it with --overwrite", argument="out")


def _train(prepared: "PreparedRun") -> None:
    """Trains to the end of the budget, showing how far it is, and leaves pictures; sets the exit code."""
    from genprior.pictures import write_run_pictures
    from genprior.progress import show
    from genprior.runs import execute

    quiet = prepared.gan.processes.rank > 0
    run = prepared.run
    with _stop_on_signal() as stopped:
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


@contextmanager
def _stop_on_signal() -> Iterator[list[int]]:
    """A list that the first Ctrl-C or termination signal fills; the second one ends the process as usual."""
    received: list[int] = []
    kinds: list[int] = [signal.SIGINT, signal.SIGTERM]
    hangup = getattr(signal, "SIGHUP", None)  # the terminal was closed; Windows does not know it
    if hangup is not None and signal.getsignal(hangup) != signal.SIG_IGN:  # nohup asks to train on
        kinds.append(hangup)

    def receive(number: int, _: object) -> None:
        received.append(number)
        for kind, handler in before.items():
            signal.signal(kind, handler)

    before = {kind: signal.signal(kind, receive) for kind in kinds}
    try:
        yield received
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


def _print_table(values: dict[str, object]) -> None:
    width = max(len(key) for key in values)
    for key, value in values.items():
        typer.echo(f"{key:<{width}}  {value}")


def main() -> None:
    """Runs the command line; an error of the user's is one line and exit code 2."""
    warnings.showwarning = _show_warning
    if len(sys.argv) == 1:
        sys.argv.append("--help")
    try:
        code = app(standalone_mode=False)
    except GenpriorError as error:
        _fail(error.message, error.argument)
    except USAGE_ERROR as error:
        _fail(error.format_message(), None)
    except OSError as error:  # a full disk, a folder that may not be written
        where = f"{error.filename}: " if error.filename else ""
        _fail(f"{where}{error.strerror or error}", None)
    sys.exit(code or 0)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    typer.echo(f"genprior: warning: {message}", err=True)


def _fail(message: str, argument: str | None) -> NoReturn:
    flags = {"run": "RUN: ", None: ""}
    where = flags.get(argument, f"--{str(argument).replace('_', '-')}: ")
    rank = os.environ.get("RANK", "0")
    whose = "" if rank == "0" else f"[process {rank}] "
    typer.echo(f"genprior: {whose}{where}{message}", err=True)
    sys.exit(USER_ERROR)
