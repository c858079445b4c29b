"""The command that scores trained runs."""

from pathlib import Path
from typing import Annotated

import typer

from genprior.cli.common import Root, Threads, set_threads


def evaluate(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of trained runs on images.")],
    count: Annotated[int, typer.Option(help="Samples, and real images of either kind beside them.")] = 10_000,
    held_out: Annotated[
        str | None, typer.Option(help="Images that the run has not seen; default the test images of its data.")
    ] = None,
    judge: Annotated[
        str | None, typer.Option(help="Labelled data whose classifier judges; default the data of the run.")
    ] = None,
    inversions: Annotated[int, typer.Option(help="Held-out and training images to invert; 0 for none.")] = 100,
    seed: Annotated[int, typer.Option(help="Of samples and intervals.")] = 0,
    threads: Threads = None,
    data_root: Root = None,
) -> None:
    """Score samples of trained runs, beside the scores of real images, into metrics.json of each."""
    from genprior.progress import primed, show
    from genprior.runs.experiment import carry_out
    from genprior.scoring.experiments import EXPERIMENTS, EvaluationSettings

    set_threads(threads)
    experiment = EXPERIMENTS["evaluate"]
    settings = [
        EvaluationSettings(
            run=run, count=count, held_out=held_out, judge=judge, inversions=inversions, seed=seed, data_root=data_root
        )
        for run in runs
    ]
    # What is wrong with the last run is found before minutes are spent on the others.
    tasks = [primed(carry_out(experiment, each)) for each in settings]
    for each, task in zip(settings, tasks, strict=True):
        for line in experiment.told(show(task)):
            typer.echo(line)
        typer.echo(f"numbers: {experiment.file(each)}")
