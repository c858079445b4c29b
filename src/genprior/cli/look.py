"""Commands that look at what is there: sample, info, data."""

from pathlib import Path
from typing import Annotated

import typer

from genprior.cli.common import (
    PICTURES,
    Channels,
    Fit,
    Root,
    RunFolder,
    Size,
    Strict,
    print_table,
    refuse_existing,
)

POINTS_SHOWN = 5000


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
    from genprior.images import write_array
    from genprior.plotting.sample_figures import write_samples
    from genprior.runs.trained_prior import load_prior

    refuse_existing(out, overwrite, (*PICTURES, ".npy"))
    x = load_prior(run, average=not no_average).sample(count, seed)
    (write_array if out.suffix == ".npy" else write_samples)(x, out)
    typer.echo(f"{count} samples: {out}")


def info(run: RunFolder) -> None:
    """Say what a run is, how far it is, and its last numbers."""
    from genprior.runs.summary import summary

    print_table(summary(run))


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
    from genprior.plotting.sample_figures import write_samples

    picture = out or Path("".join(c if c.isalnum() else "-" for c in Path(name).name).strip("-") + ".png")
    refuse_existing(picture, overwrite, PICTURES)
    loaded = load_data(name, root=data_root, size=size, channels=channels, fit=fit or "crop", strict=bool(strict))
    write_samples(loaded.some(POINTS_SHOWN if loaded.is_points else 64), picture)
    print_table({**loaded.summary(), "picture": str(picture)})
