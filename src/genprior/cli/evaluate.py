"""The command that scores trained runs."""

from pathlib import Path
from typing import Annotated, Any

import typer

from genprior.cli.common import Root, Threads, print_columns, set_threads


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
    from genprior.cli.legacy_progress import show_stages
    from genprior.runs.metrics import METRICS
    from genprior.scoring.evaluation_experiment import Evaluation

    set_threads(threads)
    # What is wrong with the last run is found before minutes are spent on the others.
    evaluations = [Evaluation(run, count, held_out, judge, seed, data_root, inversions) for run in runs]
    for evaluation in evaluations:
        typer.echo(f"{evaluation.run}")
        show_stages(evaluation.measure(), evaluation.notes)
        _print(evaluation.metrics)
        typer.echo(f"numbers: {evaluation.run / METRICS}")


def _print(metrics: dict[str, Any]) -> None:
    rows = [["", "samples", "real against real", "better"]]
    rows += [
        [each["title"], _interval(each), _interval(each["floor"]), each["better"]]
        for each in metrics["scores"].values()
    ]
    print_columns(rows)
    classes, modes, judge = metrics["classes"], metrics["modes"], metrics["judge"]
    typer.echo(f"classes found: {modes['found']} of {modes['of']}")
    typer.echo(
        f"class histogram: chi-square {classes['chi_square']:.4g} with {classes['degrees']} degrees of freedom, "
        f"p {classes['p_value']:.2g}; real against real {classes['floor_chi_square']:.4g}"
    )
    typer.echo(f"judge: classifier of {judge['data']}, accuracy {judge['accuracy']:.2%}, hash {judge['hash'][:12]}")


def _interval(found: dict[str, Any]) -> str:
    return f"{found['value']:.4g} [{found['low']:.4g}, {found['high']:.4g}]"
