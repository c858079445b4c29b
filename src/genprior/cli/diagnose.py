"""The command that gives a verdict."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from genprior.cli.common import ILL, Root, Threads, set_threads


def diagnose(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of trained runs.")],
    judge: Annotated[
        str | None, typer.Option(help="Labelled images whose classifier looks at samples; default the run's data.")
    ] = None,
    threads: Threads = None,
    data_root: Root = None,
) -> None:
    """Say whether a run is healthy, with evidence and a remedy; exit code 1 where one is ill."""
    from genprior.cli.legacy_progress import show_stages
    from genprior.scoring.diagnosis_experiment import Examination

    set_threads(threads)
    examinations = [Examination(run, judge, data_root) for run in runs]  # bad input is found before work is done
    is_ill = False
    for examination in examinations:
        show_stages(examination.examine(), [])
        found = examination.found
        assert found is not None
        since = "" if found.since_images is None else f" since {found.since_images:,} images"
        typer.echo(f"{examination.run}: {found.verdict}{since}")
        for line in found.evidence:
            typer.echo(f"  {line}")
        if found.is_ill:
            typer.echo(f"  remedy: {found.remedy}")
        for note in examination.notes:
            typer.echo(f"  note: {note}")
        is_ill |= found.is_ill
    sys.exit(ILL if is_ill else 0)
