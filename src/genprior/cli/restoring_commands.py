"""Commands that use a trained run as a prior: invert, restore; and degrade, which makes something to restore."""

import shlex
import sys
from typing import Any

import typer

from genprior.cli.console import ILL, INTERRUPTED, interrupted_by_signals, set_threads
from genprior.cli.flags import Given, command, parsed
from genprior.progress import show
from genprior.restoring.commands import COMMANDS, Command


def add_restoring(app: typer.Typer) -> None:
    """Adds a command for each entry of the table."""
    for name, each in COMMANDS.items():
        app.command(name)(command(each.settings, _does(each), each.help))


def _does(each: Command) -> Any:  # noqa: ANN401 - a function of what was given
    def do(given: Given) -> None:
        models = [parsed(model, given) for model in each.settings]
        set_threads(given.get("threads"))
        try:
            with interrupted_by_signals():
                summary = show(each.run(models))
        except KeyboardInterrupt:
            again = shlex.join(["genprior", *(word for word in sys.argv[1:] if word != "--overwrite")])
            typer.echo(f"interrupted; resume with: {again}", err=True)
            sys.exit(INTERRUPTED)
        for line in each.told(summary):
            typer.echo(line)
        sys.exit(ILL if each.failed(summary) else 0)

    return do
