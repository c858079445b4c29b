"""Commands that put a trained run to the test by an experiment."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genprior.cli.common import Root, RunFolder
from genprior.errors import GenpriorError

if TYPE_CHECKING:
    from genprior.jobs.collapse import CollapseProbe
    from genprior.jobs.compare import Stage
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
def collapse(
    run: RunFolder,
    ages: Annotated[int, typer.Option(help="Ages of D, spread over those kept, the last included.")] = 3,
    steps: Annotated[int, typer.Option(help="Of each G and each D.")] = 150,
    seed: Annotated[int, typer.Option(help="Of all draws.")] = 0,
    judge: Annotated[str | None, typer.Option(help="Labelled images whose classifier counts modes.")] = None,
    loss: Annotated[str | None, typer.Option(help="G's; saturating is V itself; default the run's.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, max=1024, help="CPU threads.")] = None,
    data_root: Root = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the probe that is there.")] = False,
) -> None:
    """Train G alone, then D alone: does min-max collapse, and what does a weak D miss? (Goodfellow et al. 2014)."""
    import torch

    from genprior.jobs.collapse import COLLAPSE, CollapseProbe
    from genprior.progress import show_stages

    if threads is not None:
        torch.set_num_threads(threads)
    probe = CollapseProbe(run, ages, steps, seed, judge, data_root, loss)
    numbers = run / f"{COLLAPSE}.json"
    if numbers.exists() and not overwrite:
        raise GenpriorError(f"{numbers} exists; replace it with --overwrite", argument="run")
    said = list(probe.notes)
    show_stages(probe.saving(), said)
    for line in [*probe.notes[len(said) :], *probe.paragraphs()]:
        typer.echo(line)
    typer.echo(f"numbers: {numbers}")
    for figure in _draw_collapse(probe):
        typer.echo(f"figure: {figure}")


def _draw_collapse(probe: "CollapseProbe") -> "list[Path]":
    from genprior.figures_collapse import write_angle, write_inner, write_outer
    from genprior.jobs.collapse import COLLAPSE

    names = ("inner", "outer", "angle")
    paths = [probe.probed.run.figures / f"{COLLAPSE}-{name}.png" for name in names]
    write_inner(probe.inner, paths[0])
    write_outer(probe.outer[-1], paths[1])
    write_angle(probe.outer, paths[2])
    return paths
