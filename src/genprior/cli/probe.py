"""Commands that put a trained run to the test by an experiment."""

from collections.abc import Mapping
from typing import Annotated

import typer

from genprior.cli.common import Overwrite, Root, RunFolder, Threads, set_threads
from genprior.probes.experiments import EXPERIMENTS

probe_app = typer.Typer(help="Put a trained run to the test by an experiment.", rich_markup_mode=None)


@probe_app.callback()
def _experiments() -> None:
    """Put a trained run to the test by an experiment."""


@probe_app.command(help=EXPERIMENTS["probe saturation"].help)
def saturation(
    run: RunFolder,
    ages: Annotated[int, typer.Option(help="Ages of G, spread over those kept, the last included.")] = 3,
    steps: Annotated[int, typer.Option(help="Of each discriminator.")] = 2000,
    seeds: Annotated[int, typer.Option(help="Fresh discriminators at each age.")] = 1,
    seed: Annotated[int, typer.Option(help="Of the first of them; the others follow.")] = 0,
    threads: Threads = None,
    data_root: Root = None,
    overwrite: Overwrite = False,
) -> None:
    values = {"run": run, "ages": ages, "steps": steps, "seeds": seeds, "seed": seed}
    _carry_out("probe saturation", values | {"threads": threads, "data_root": data_root}, overwrite)


@probe_app.command(help=EXPERIMENTS["probe collapse"].help)
def collapse(
    run: RunFolder,
    ages: Annotated[int, typer.Option(help="Ages of D, spread over those kept, the last included.")] = 3,
    steps: Annotated[int, typer.Option(help="Of each G and each D.")] = 150,
    seed: Annotated[int, typer.Option(help="Of all draws.")] = 0,
    judge: Annotated[str | None, typer.Option(help="Labelled images whose classifier counts modes.")] = None,
    loss: Annotated[str | None, typer.Option(help="Of G, default that of the run; saturating is V itself.")] = None,
    threads: Threads = None,
    data_root: Root = None,
    overwrite: Overwrite = False,
) -> None:
    values = {"run": run, "ages": ages, "steps": steps, "seed": seed, "judge": judge, "loss": loss}
    _carry_out("probe collapse", values | {"threads": threads, "data_root": data_root}, overwrite)


@probe_app.command(help=EXPERIMENTS["probe equilibrium"].help)
def equilibrium(
    run: RunFolder,
    steps: Annotated[int, typer.Option(help="Of each adversary.")] = 300,
    age: Annotated[
        int | None, typer.Option(help="Images seen by the earlier players of the path; default: the last kept age.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of all draws.")] = 0,
    threads: Threads = None,
    data_root: Root = None,
    overwrite: Overwrite = False,
) -> None:
    values = {"run": run, "steps": steps, "age": age, "seed": seed, "threads": threads, "data_root": data_root}
    _carry_out("probe equilibrium", values, overwrite)


def _carry_out(name: str, values: Mapping[str, object], overwrite: bool) -> None:
    from genprior.progress import show
    from genprior.runs.experiment import carry_out
    from genprior.settings import validated

    experiment = EXPERIMENTS[name]
    settings = validated(experiment.settings, values)
    set_threads(settings.threads)
    found = show(carry_out(experiment, settings, overwrite=overwrite))
    for line in experiment.told(found):
        typer.echo(line)
    typer.echo(f"numbers: {experiment.file(settings)}")
    assert experiment.figures is not None
    for what, path in experiment.figures(settings, found).items():
        typer.echo(f"{what}: {path}")
