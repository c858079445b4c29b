"""Commands that measure models beside published ones."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genprior.cli.common import INTERRUPTED, Root, print_columns, stop_on_signal

if TYPE_CHECKING:
    from genprior.modes.mode_benchmark import ModeBenchmark

benchmark_app = typer.Typer(help="Measure losses and remedies beside published ones.", rich_markup_mode=None)


@benchmark_app.callback()
def _benchmarks() -> None:
    """Measure losses and remedies beside published ones."""


@benchmark_app.command()
def modes(
    out: Annotated[Path, typer.Option(help="Folder of runs, tables and figures.")] = Path("runs/modes"),
    data: Annotated[
        list[str] | None,
        typer.Option(help="ring, grid, mnist, stacked-mnist, stacked-mnist-dcgan; repeatable; default first three."),
    ] = None,
    row: Annotated[
        list[str] | None, typer.Option(help="A loss or a remedy, such as hinge or r1; repeatable; default all.")
    ] = None,
    seeds: Annotated[int, typer.Option(help="How many, from 0 on.")] = 3,
    workers: Annotated[int | None, typer.Option(help="Runs at the same time; default one a core.")] = None,
    threads: Annotated[int, typer.Option(max=1024, help="CPU threads of each.")] = 1,
    data_root: Root = None,
) -> None:
    """Count the modes that GAN losses and remedies against mode collapse reach; goes on where it was ended."""
    import torch

    from genprior.cli.legacy_progress import show_stages
    from genprior.modes.mode_benchmark import ModeBenchmark
    from genprior.modes.mode_tables import lines_of

    torch.set_num_threads(max(1, threads))
    benchmark = ModeBenchmark(out, data or (), row or (), seeds, workers, threads, data_root)
    with stop_on_signal() as stopped:
        show_stages(benchmark.measure(lambda: bool(stopped)), benchmark.notes)
    if stopped:
        typer.echo("interrupted; every run is saved, and the same command goes on")
        sys.exit(INTERRUPTED)
    for table in benchmark.tables():
        cells, notes = lines_of(table)
        print_columns(cells)
        typer.echo("".join(f"{note}\n" for note in notes))
    _draw(benchmark)
    typer.echo("mean +- standard deviation over seeds; published rows: as their source tells.")
    typer.echo("speed: images trained on in a second of a core, in units of the plain row's; runs shared the cores.")
    typer.echo(f"runs, tables and figures: {out}")


def _draw(benchmark: "ModeBenchmark") -> None:
    from genprior.modes.mode_pictures import pictures_of
    from genprior.plotting.sample_figures import Samples, write_digits, write_points

    for table in benchmark.tables():
        path = benchmark.out / "figures" / f"{table.data}.png"
        panels = [Samples(each.title, each.x, each.is_good) for each in pictures_of(benchmark, table)]
        known = benchmark.sets[table.data].modes
        if known is not None and known.centres is not None:
            write_points(panels, known.centres, path)
        else:
            write_digits(panels, path)
