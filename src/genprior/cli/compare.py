"""The command that sets trained runs side by side."""

from pathlib import Path
from typing import Annotated

import typer

from genprior.cli.common import Root, Threads, set_threads
from genprior.settings import validated


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of trained runs.")],
    out: Annotated[Path, typer.Option(help="Folder of table and figure.")] = Path("comparison"),
    held_out: Annotated[
        str | None, typer.Option(help="Images that no run has seen; default the test images of the first run's data.")
    ] = None,
    count: Annotated[int, typer.Option(help="How many of them, at least 2.")] = 100,
    seed: Annotated[int, typer.Option(help="Of damage and samples.")] = 0,
    threads: Threads = None,
    data_root: Root = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the comparison that is there.")] = False,
) -> None:
    """Set trained runs side by side: samples, held-out error, restorations, log-likelihood, cost."""
    from genprior.progress import show
    from genprior.runs.experiment import carry_out
    from genprior.scoring.experiments import EXPERIMENTS, ComparisonSettings

    set_threads(threads)
    experiment = EXPERIMENTS["compare"]
    given = {"runs": runs, "out": out, "held_out": held_out, "count": count, "seed": seed, "data_root": data_root}
    settings = validated(ComparisonSettings, given)
    found = show(carry_out(experiment, settings, overwrite=overwrite))
    for line in experiment.told(found):
        typer.echo(line)
    assert experiment.figures is not None
    for name, path in experiment.figures(settings, found).items():
        typer.echo(f"{name}: {path}")
