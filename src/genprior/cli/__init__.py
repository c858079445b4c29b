"""The command line: one short function per sub-command, no mathematics. Help must not import torch."""

import os
import sys
import warnings
from typing import Any, NoReturn

import typer

from genprior.cli import look, restore
from genprior.cli.benchmark import benchmark_app
from genprior.cli.common import USER_ERROR
from genprior.cli.compare import compare
from genprior.cli.diagnose import diagnose
from genprior.cli.evaluate import evaluate
from genprior.cli.probe import probe_app
from genprior.cli.report import report
from genprior.cli.train import resume, train_app
from genprior.errors import GenpriorError

USAGE_ERROR: Any = typer.BadParameter.__bases__[0]  # the parent of all that typer itself finds wrong

app = typer.Typer(
    help="Train small generative image models and use them as priors.",
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)
app.add_typer(train_app, name="train")
app.command()(resume)
app.command()(look.sample)
app.command()(restore.invert)
app.command()(restore.restore)
app.command()(restore.degrade)
app.command()(compare)
app.command()(evaluate)
app.command()(diagnose)
app.add_typer(probe_app, name="probe")
app.add_typer(benchmark_app, name="benchmark")
app.command()(report)
app.command()(look.info)
app.command("data")(look.show_data)


def main() -> None:
    """Runs the command line; an error of the user's is one line and exit code 2."""
    warnings.showwarning = _show_warning
    if len(sys.argv) == 1:
        sys.argv.append("--help")
    try:
        code = app(standalone_mode=False)
    except GenpriorError as error:
        _fail(error.message, error.argument)
    except USAGE_ERROR as error:
        _fail(error.format_message(), None)
    except OSError as error:  # a full disk, a folder that may not be written
        where = f"{error.filename}: " if error.filename else ""
        _fail(f"{where}{error.strerror or error}", None)
    sys.exit(code or 0)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    typer.echo(f"genprior: warning: {message}", err=True)


def _fail(message: str, argument: str | None) -> NoReturn:
    flags = {"run": "RUN: ", "images": "IMAGES: ", None: ""}
    where = flags.get(argument, f"--{str(argument).replace('_', '-')}: ")
    rank = os.environ.get("RANK", "0")
    whose = "" if rank == "0" else f"[process {rank}] "
    typer.echo(f"genprior: {whose}{where}{message}", err=True)
    sys.exit(USER_ERROR)
