"""The command that takes the order of min and max apart."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genprior.cli.common import Overwrite, Root, RunFolder, Threads, refuse_kept, set_threads

if TYPE_CHECKING:
    from genprior.probes.collapse_probe import CollapseProbe


def collapse(
    run: RunFolder,
    ages: Annotated[int, typer.Option(help="Ages of D, spread over those kept, the last included.")] = 3,
    steps: Annotated[int, typer.Option(help="Of each G and each D.")] = 150,
    seed: Annotated[int, typer.Option(help="Of all draws.")] = 0,
    judge: Annotated[str | None, typer.Option(help="Labelled images whose classifier counts modes.")] = None,
    loss: Annotated[str | None, typer.Option(help="G's; saturating is V itself; default the run's.")] = None,
    threads: Threads = None,
    data_root: Root = None,
    overwrite: Overwrite = False,
) -> None:
    """Train G alone, then D alone: does min-max collapse, and what does a weak D miss? (Goodfellow et al. 2014)."""
    from genprior.cli.legacy_progress import show_stages
    from genprior.probes.collapse_probe import COLLAPSE, CollapseProbe

    set_threads(threads)
    probe = CollapseProbe(run, ages, steps, seed, judge, data_root, loss)
    numbers = run / f"{COLLAPSE}.json"
    refuse_kept(numbers, overwrite)
    said = list(probe.notes)
    show_stages(probe.saving(), said)
    for line in [*probe.notes[len(said) :], *probe.paragraphs()]:
        typer.echo(line)
    typer.echo(f"numbers: {numbers}")
    for figure in _draw_collapse(probe):
        typer.echo(f"figure: {figure}")


def _draw_collapse(probe: "CollapseProbe") -> "list[Path]":
    from genprior.plotting.probe_figures import write_angle, write_inner, write_outer
    from genprior.probes.collapse_probe import COLLAPSE

    names = ("inner", "outer", "angle")
    paths = [probe.probed.run.figures / f"{COLLAPSE}-{name}.png" for name in names]
    write_inner(probe.inner, paths[0])
    write_outer(probe.outer[-1], paths[1])
    write_angle(probe.outer, paths[2])
    return paths
