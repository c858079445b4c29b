"""The command that gives a verdict."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from genprior.cli.common import ILL, Root, Threads, set_threads


def diagnose(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of trained runs.")],
    judge: Annotated[
        str | None, typer.Option(help="Labelled images whose classifier looks at samples; default the run's data.")
    ] = None,
    threads: Threads = None,
    data_root: Root = None,
) -> None:
    """Say whether a run is healthy, with evidence and a remedy; exit code 1 where one is ill."""
    from genprior.progress import primed, show
    from genprior.runs.experiment import carry_out
    from genprior.scoring.experiments import EXPERIMENTS, DiagnosisSettings

    set_threads(threads)
    experiment = EXPERIMENTS["diagnose"]
    settings = [DiagnosisSettings(run=run, judge=judge, data_root=data_root) for run in runs]
    tasks = [primed(carry_out(experiment, each)) for each in settings]  # bad input is found before work is done
    is_ill = False
    for task in tasks:
        found = show(task)
        for line in experiment.told(found):
            typer.echo(line)
        is_ill |= found.is_ill
    sys.exit(ILL if is_ill else 0)
