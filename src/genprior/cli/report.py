"""The command that writes a page about runs."""

from pathlib import Path
from typing import Annotated

import typer

from genprior.cli.common import refuse_existing
from genprior.errors import GenpriorError

MOST_RUNS = 12


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of trained runs.")],
    out: Annotated[
        Path | None,
        typer.Option(help="HTML file; default RUN/report.html, which is replaced, or report.html for several runs."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file that is there.")] = False,
) -> None:
    """Write one HTML file about a run, or about several side by side; it opens without a network."""
    if len(runs) > MOST_RUNS:
        raise GenpriorError(f"expected at most {MOST_RUNS} runs, got {len(runs)}", argument="run")
    is_derived = out is None and len(runs) == 1
    path = out or (runs[0] / "report.html" if is_derived else Path("report.html"))
    refuse_existing(path, overwrite or is_derived, (".html", ".htm"))
    from genprior.report import write_report

    write_report(runs, path)
    typer.echo(f"report: {path}")
