"""The command that sets trained runs side by side."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genprior.cli.common import Root, Threads, print_columns, set_threads
from genprior.errors import GenpriorError

if TYPE_CHECKING:
    from genprior.data import Dataset
    from genprior.progress import Stage
    from genprior.scoring.comparison_experiment import Compared

MOST_RUNS = 12


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of trained runs.")],
    out: Annotated[Path, typer.Option(help="Folder of table and figure.")] = Path("comparison"),
    held_out: Annotated[
        str | None, typer.Option(help="Images that no run has seen; default the test images of the first run's data.")
    ] = None,
    count: Annotated[int, typer.Option(help="How many of them, at least 2.")] = 100,
    seed: Annotated[int, typer.Option(help="Of damage and samples.")] = 0,
    threads: Threads = None,
    data_root: Root = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the comparison that is there.")] = False,
) -> None:
    """Set trained runs side by side: samples, held-out error, restorations, log-likelihood, cost."""
    if out == Path() or (out.exists() and not out.is_dir()):
        raise GenpriorError(f"expected the name of a folder, got '{out}'", argument="out")
    if out.exists() and not overwrite:
        raise GenpriorError(f"{out} exists; replace it with --overwrite", argument="out")
    if len(runs) > MOST_RUNS:
        raise GenpriorError(f"expected at most {MOST_RUNS} runs, got {len(runs)}", argument="run")
    from genprior.cli.legacy_progress import show_stages
    from genprior.scoring.comparison_experiment import Comparison, save, table_of

    set_threads(threads)
    comparison = Comparison(runs, held_out, count, seed, data_root)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GenpriorError(f"cannot write to {out}: {error.strerror}", argument="out") from None

    def saving() -> "Iterator[Stage]":
        for stage in comparison.measure():
            if comparison.found:
                save(comparison.found, out)  # what ends the command loses no run that was measured
            yield stage

    show_stages(saving(), comparison.notes)
    save(comparison.found, out)
    _draw(comparison.found, comparison.data, out / "comparison.png")
    print_columns(table_of(comparison.found))
    for each in comparison.found:
        if each.facts["bits_per_dim"] is not None:
            typer.echo(f"{each.facts['run']}: log-likelihood by {each.facts['likelihood']}")
    typer.echo(f"table, numbers and figure: {out}")


def _draw(found: Sequence["Compared"], data: "Dataset", path: Path) -> None:
    import torch

    from genprior.plotting.sample_figures import Pictured, write_comparison

    truth = data.take(torch.arange(len(data)))
    pictured = [
        Pictured(
            str(each.run.path),
            each.samples,
            truth,
            each.inversion.images,
            {title: (task.shown, task.images) for title, task in each.tasks.items()},
        )
        for each in found
    ]
    write_comparison(pictured, path)
