"""Commands that put a trained run to the test by an experiment."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genprior.cli.common import Overwrite, Root, RunFolder, Threads, refuse_kept, set_threads
from genprior.cli.probe_collapse import collapse
from genprior.cli.probe_equilibrium import equilibrium

if TYPE_CHECKING:
    from genprior.probes.saturation_probe import SaturationProbe
    from genprior.progress import Stage

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
    threads: Threads = None,
    data_root: Root = None,
    overwrite: Overwrite = False,
) -> None:
    """Retrain D against a frozen G: which loss's gradient vanishes? (Arjovsky & Bottou 2017)."""
    from genprior.cli.legacy_progress import show_stages
    from genprior.probes.saturation_probe import SATURATION, SaturationProbe

    set_threads(threads)
    probe = SaturationProbe(run, ages, steps, seeds, seed, data_root)
    numbers, figure = run / f"{SATURATION}.json", probe.probed.run.figures / f"{SATURATION}.png"
    refuse_kept(numbers, overwrite)

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
    from genprior.plotting.probe_figures import Panel, write_saturation
    from genprior.probes.saturation_probe import by_age, span

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


probe_app.command()(collapse)
probe_app.command()(equilibrium)
