"""Commands that put a trained run to the test by an experiment."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genprior.cli.common import Root, RunFolder
from genprior.errors import GenpriorError

if TYPE_CHECKING:
    from genprior.diagnosis.duality import Response
    from genprior.figures_equilibrium import Curve
    from genprior.jobs.compare import Stage
    from genprior.jobs.equilibrium import EquilibriumProbe
    from genprior.jobs.probe import SaturationProbe

probe_app = typer.Typer(help="Put a trained run to the test by an experiment.", rich_markup_mode=None)


@probe_app.callback()
def _experiments() -> None:
    """Put a trained run to the test by an experiment."""


@probe_app.command()
def saturation(
    run: RunFolder,
    ages: Annotated[int, typer.Option(help="Ages of the generator, spread over those kept, the last included.")] = 3,
    steps: Annotated[int, typer.Option(help="Of each discriminator.")] = 2000,
    seeds: Annotated[int, typer.Option(help="Fresh discriminators at each age.")] = 1,
    seed: Annotated[int, typer.Option(help="Of the first of them; the others follow.")] = 0,
    threads: Annotated[int | None, typer.Option(min=1, max=1024, help="CPU threads.")] = None,
    data_root: Root = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the probe that is there.")] = False,
) -> None:
    """Retrain D against a frozen G: which loss's gradient vanishes? (Arjovsky & Bottou 2017)."""
    import torch

    from genprior.jobs.probe import SATURATION, SaturationProbe
    from genprior.progress import show_stages

    if threads is not None:
        torch.set_num_threads(threads)
    probe = SaturationProbe(run, ages, steps, seeds, seed, data_root)
    numbers, figure = run / f"{SATURATION}.json", probe.probed.run.figures / f"{SATURATION}.png"
    if numbers.exists() and not overwrite:
        raise GenpriorError(f"{numbers} exists; replace it with --overwrite", argument="run")

    def saving() -> "Iterator[Stage]":
        saved = 0
        for stage in probe.measure():
            if len(probe.found) > saved:  # what ends the command loses no discriminator that was measured
                probe.save()
                saved = len(probe.found)
            yield stage

    show_stages(saving(), probe.notes)
    _draw(probe, figure)
    typer.echo(probe.paragraph())
    typer.echo(f"numbers: {numbers}")
    typer.echo(f"figure: {figure}")


def _draw(probe: "SaturationProbe", path: Path) -> None:
    from genprior.figures_probe import Panel, write_saturation
    from genprior.jobs.probe import by_age, span

    panels = [
        Panel(
            f"generator at {same_age[0].images_seen:,} images",
            [moment.step for moment in same_age[0].moments],
            {
                f"{loss}: fell by {span([each.decades[loss] for each in same_age])} decades": [
                    each.norms(loss) for each in same_age
                ]
                for loss in same_age[0].decades
            },
        )
        for same_age in by_age(probe.found)
    ]
    write_saturation(panels, path)


@probe_app.command()
def equilibrium(
    run: RunFolder,
    steps: Annotated[int, typer.Option(help="Of each adversary.")] = 300,
    age: Annotated[
        int | None, typer.Option(help="Images seen by the earlier players of the path; default: the last kept age.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of all draws.")] = 0,
    threads: Annotated[int | None, typer.Option(min=1, max=1024, help="CPU threads.")] = None,
    data_root: Root = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the probe that is there.")] = False,
) -> None:
    """Is this GAN close to an equilibrium? Duality gap, path angle, gradients, D on held-out images."""
    import torch

    from genprior.jobs.equilibrium import EQUILIBRIUM, EquilibriumProbe
    from genprior.progress import show_stages

    if threads is not None:
        torch.set_num_threads(threads)
    probe = EquilibriumProbe(run, steps, age, seed, data_root)
    numbers, figure = run / f"{EQUILIBRIUM}.json", probe.probed.run.figures / f"{EQUILIBRIUM}.png"
    if numbers.exists() and not overwrite:
        raise GenpriorError(f"{numbers} exists; replace it with --overwrite", argument="run")

    def saving() -> "Iterator[Stage]":
        for stage in probe.measure():
            probe.save()  # what ends the command loses nothing that was measured
            yield stage

    show_stages(saving(), probe.notes)
    _draw_equilibrium(probe, figure)
    typer.echo(probe.paragraph())
    typer.echo(f"numbers: {numbers}")
    typer.echo(f"figure: {figure}")


def _draw_equilibrium(probe: "EquilibriumProbe", path: Path) -> None:
    from genprior.diagnosis.equilibrium import LEVEL
    from genprior.figures_equilibrium import EquilibriumPicture, write_equilibrium

    found = probe.found
    assert found.up is not None
    assert found.down is not None
    assert found.equilibrium is not None
    rules = "" if found.paying is None else ", by the rules of its penalties"
    picture = EquilibriumPicture(
        f"{probe.run}: {found.equilibrium.verdict}{rules}; duality gap of V {found.equilibrium.gap.value:.3f} or more, "
        f"Jensen-Shannon divergence {found.equilibrium.divergence.value:.3f} nats or more",
        _curve(found.up),
        _curve(found.down),
        None if found.paying is None else _curve(found.paying),
        LEVEL,
        [] if found.path is None else found.path.alphas,
        [] if found.path is None else found.path.cosines,
        probe.no_path,
        {kind: told.accuracy for kind, told in found.told.items()},
        {kind: told.accuracy_error for kind, told in found.told.items()},
    )
    write_equilibrium(picture, path)


def _curve(response: "Response") -> "Curve":
    from genprior.figures_equilibrium import Curve

    moments = list(response.moments)
    values = [moment.judged.value for moment in moments], [moment.fit.value for moment in moments]
    steps = [moment.step for moment in moments]
    return Curve(steps, *values, best=steps.index(response.best.step))
