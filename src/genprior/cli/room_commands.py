"""Commands from the tables of the rooms: those that measure runs, and those that work on many images."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import Field

from genprior.cli.console import ILL, Given, command, parsed, resumable, say, set_threads
from genprior.errors import NotFiniteError
from genprior.progress import Task, primed, show
from genprior.restoring.commands import Command
from genprior.runs.experiment import Experiment, carry_out, is_finished
from genprior.settings import RunFolders, Settings

AnyExperiment = Experiment[Any, Any]


class RunsFlag(Settings):
    """The runs of a command that does one after another."""

    run: RunFolders


class OverwriteFlag(Settings):
    """Whether what is there is replaced."""

    overwrite: Annotated[bool, Field(description="Start anew and replace the result that is there.")] = False


def add_experiments(apps: Mapping[str, typer.Typer], experiments: Mapping[str, AnyExperiment]) -> None:
    """Adds a command for each experiment; "probe collapse" is the command collapse of the group probe."""
    for name, experiment in experiments.items():
        group, _, own = name.rpartition(" ")
        before: list[type[Settings]] = [RunsFlag] if experiment.is_per_run else []
        after: list[type[Settings]] = [] if experiment.is_derived else [OverwriteFlag]
        models = [*before, experiment.settings, *after]
        apps[group].command(own)(command(models, measures(experiment), experiment.help))


def add_jobs(app: typer.Typer, jobs: Mapping[str, Command]) -> None:
    """Adds a command for each job on many images."""
    for name, job in jobs.items():
        app.command(name)(command(job.settings, _works(job), job.help))


def measures(experiment: AnyExperiment) -> Callable[[Given], None]:
    """Returns what the command of an experiment does with what was given."""

    def do(given: Given) -> None:
        overwrite = bool(given.pop("overwrite", False))
        runs = given.pop("run") if experiment.is_per_run else [None]
        each = [given if run is None else {**given, "run": run} for run in runs]
        settings = [parsed(experiment.settings, one) for one in each]
        set_threads(given.get("threads"))
        ill: list[bool] = []

        def is_done_with(word: str) -> bool:
            if word == "--overwrite":  # of no use, and harmful, once all that is to be replaced is replaced
                return not any(is_finished(experiment, one) for one in settings[len(ill) :])
            return Path(word) in [Path(run) for run in runs[: len(ill)] if run is not None]

        try:
            with resumable(is_done_with):
                # What is wrong with the last run is found before minutes are spent on the others.
                all_drawn = [_Drawn(experiment, one) for one in settings]
                tasks = [
                    primed(carry_out(experiment, drawn.settings, overwrite=overwrite, draw=drawn.draw))
                    for drawn in all_drawn
                ]
                for drawn, task in zip(all_drawn, tasks, strict=True):
                    ill.append(_shown(drawn, task))
        except NotFiniteError as error:
            say(f"genprior: {error.message}", err=True)
            sys.exit(ILL)
        sys.exit(ILL if any(ill) else 0)

    return do


def _works(job: Command) -> Callable[[Given], None]:
    def do(given: Given) -> None:
        models = [parsed(model, given) for model in job.settings]
        set_threads(given.get("threads"))
        with resumable(lambda word: word == "--overwrite"):
            result = show(job.run(models))
        for line in job.lines(result):
            say(line)
        sys.exit(ILL if job.failed(result) else 0)

    return do


class _Drawn:
    """The figures of an experiment, by what they show, once they are drawn."""

    def __init__(self, experiment: AnyExperiment, settings: Settings) -> None:
        self.experiment, self.settings = experiment, settings
        self.figures: Mapping[str, Path] = {}

    def draw(self, result: Any) -> None:  # noqa: ANN401 - of any experiment
        if self.experiment.figures is not None:
            self.figures = self.experiment.figures(self.settings, result)


def _shown(drawn: _Drawn, task: Task[Any]) -> bool:
    """Works an experiment to its end and prints what it found; returns whether that is ill."""
    result, experiment = show(task), drawn.experiment
    for line in experiment.lines(result):
        say(line)
    for what, path in {"numbers": experiment.file(drawn.settings), **drawn.figures}.items():
        say(f"{what}: {path}")
    return experiment.is_ill is not None and experiment.is_ill(result)
