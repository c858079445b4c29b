"""Commands that measure models beside published ones."""

from pathlib import Path
from typing import Annotated

import typer

from genprior.cli.common import Root, interrupted_by_signals

benchmark_app = typer.Typer(help="Measure losses and remedies beside published ones.", rich_markup_mode=None)


@benchmark_app.callback()
def _benchmarks() -> None:
    """Measure losses and remedies beside published ones."""


@benchmark_app.command()
def modes(
    out: Annotated[Path, typer.Option(help="Folder of runs, tables and figures.")] = Path("runs/modes"),
    data: Annotated[list[str] | None, typer.Option(help="Data set to learn; repeatable.")] = None,
    row: Annotated[list[str] | None, typer.Option(help="A loss or a remedy; repeatable; default all.")] = None,
    seeds: Annotated[int, typer.Option(help="How many, from 0 on.")] = 3,
    jobs: Annotated[int, typer.Option(help="Runs at the same time; 0: one per core.")] = 0,
    engine: Annotated[str, typer.Option(help="loky, dask or ray.")] = "loky",
    scheduler: Annotated[str | None, typer.Option(help="Address of a cluster.")] = None,
    threads: Annotated[int, typer.Option(help="CPU threads of each.")] = 1,
    data_root: Root = None,
) -> None:
    """Count the modes that GAN losses and remedies against mode collapse reach; resumes what was interrupted."""
    from genprior.modes.experiments import EXPERIMENTS
    from genprior.progress import show
    from genprior.runs.experiment import carry_out
    from genprior.settings import validated

    experiment = EXPERIMENTS["benchmark modes"]
    given: dict[str, object] = {
        "out": out,
        "data": data or (),
        "row": row or (),
        "seeds": seeds,
        "jobs": jobs,
        "engine": engine,
    }
    given |= {"scheduler": scheduler, "threads": threads, "data_root": data_root}
    settings = validated(experiment.settings, given)
    with interrupted_by_signals():
        result = show(carry_out(experiment, settings))
    assert experiment.figures is not None
    files = {"result": experiment.file(settings), **experiment.figures(settings, result)}
    for line in [*experiment.told(result), *(f"{name}: {path}" for name, path in files.items())]:
        typer.echo(line)
