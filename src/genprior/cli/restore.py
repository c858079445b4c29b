"""The commands invert, restore and degrade, from the table of their room; goes when all commands come from tables."""

import shlex
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from genprior.cli.common import ILL, INTERRUPTED, interrupted_by_signals
from genprior.progress import Task, show
from genprior.restoring.commands import COMMANDS, Command
from genprior.settings import Setting, validated


def _option(setting: Setting) -> Any:  # noqa: ANN401 - an annotation
    kind = setting.kind if setting.is_required or setting.default is not None else setting.kind | None
    if setting.flag.metavar is not None:
        return Annotated[kind, typer.Argument(metavar=setting.flag.metavar, help=setting.help)]
    flag = f"--{setting.name.replace('_', '-')}"
    return Annotated[kind, typer.Option(flag, help=setting.help)]


def _made(name: str, command: Command) -> Any:  # noqa: ANN401 - typer reads its signature
    import inspect

    settings = [each for model in command.settings for each in model.settings()]
    settings.sort(key=lambda each: not each.is_required)
    empty = inspect.Parameter.empty
    parameters = [
        inspect.Parameter(
            each.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=empty if each.is_required else _plain(each.default),
            annotation=_option(each),
        )
        for each in settings
    ]

    def run(**given: Any) -> None:  # noqa: ANN401
        _run(command, given)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__name__, run.__doc__ = name, command.help
    return run


def _plain(default: object) -> object:
    return default if isinstance(default, int | float | None) else str(default)


def _run(command: Command, given: Mapping[str, Any]) -> None:
    models = [validated(model, {name: given[name] for name in model.model_fields}) for model in command.settings]
    task, last = command.run(models), [""]
    try:
        with interrupted_by_signals():
            result = show(_noting(task, last))
    except KeyboardInterrupt:
        again = shlex.join(["genprior", *(word for word in sys.argv[1:] if word != "--overwrite")])
        done = f"{last[0].partition('  ')[0]} are finished; " if last[0] else ""
        typer.echo(f"interrupted, {done}resume with: {again}", err=True)
        sys.exit(INTERRUPTED)
    for line in command.told(result):
        typer.echo(line)
    if command.failed(result):
        sys.exit(ILL)


def _noting(task: Task[Any], last: list[str]) -> Task[Any]:
    while True:
        try:
            stage = next(task)
        except StopIteration as end:
            return end.value
        last[0] = stage.what
        yield stage


invert, restore, degrade = (_made(name, command) for name, command in COMMANDS.items())
