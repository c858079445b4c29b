"""Commands that train: one for each family, and encoder; and resume."""

import inspect
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genprior.cli.common import (
    ILL,
    INTERRUPTED,
    Device,
    Epochs,
    ImagesSeen,
    Minutes,
    RunFolder,
    stop_on_signal,
)
from genprior.errors import GenpriorError
from genprior.families import BUDGETS, FAMILIES, RunConfig, parse_config
from genprior.settings import Setting

if TYPE_CHECKING:
    from genprior.runs.prepare import PreparedRun

train_app = typer.Typer(help="Train a model; each family has its sub-command.")


def _train_command(family: str, config_class: type[RunConfig]) -> Callable[..., None]:
    """The sub-command of a family: each field of its config is a flag, the field's description the flag's help."""

    def command(out: Path | None, config: Path | None, overwrite: bool, dry_run: bool, **given: Any) -> None:  # noqa: ANN401
        flags = {k: str(v) if isinstance(v, Path) else v for k, v in given.items() if v not in (None, [])}
        settings = parse_config({**_config_file(config, flags, family), **flags, "family": family})
        if dry_run:
            settings.check_names()
            typer.echo(settings.model_dump_json(indent=2))
            return
        if out is None or out == Path():
            raise GenpriorError("name the folder of the new run", argument="out")
        from genprior.runs.prepare import new_run

        _train(new_run(out, settings, overwrite=overwrite))

    parameters = [
        ("out", Annotated[Path | None, typer.Option(help="Folder of the new run.")], None),
        *((setting.name, _flag(setting), None) for setting in config_class.settings()),
        ("config", Annotated[Path | None, typer.Option(help="Settings as JSON, as --dry-run prints them.")], None),
        ("overwrite", Annotated[bool, typer.Option("--overwrite", help="Replace the run that is there.")], False),
        ("dry_run", Annotated[bool, typer.Option("--dry-run", help="Print the config as JSON and end.")], False),
    ]
    # Typer reads flags from the signature.
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
            for name, kind, default in parameters
        ]
    )
    command.__annotations__ = {name: kind for name, kind, _ in parameters}
    command.__doc__ = config_class.HELP
    return command


def _flag(setting: Setting) -> Any:  # noqa: ANN401 - a type that is made here
    kind: Any = list[str] if setting.is_many else Path if setting.name == "data_root" else setting.kind
    names = (f"--{setting.name.replace('_', '-')}",) if kind is bool else ()
    default = "" if setting.default in (None, ()) or kind is bool else f" Default {_told(setting.default)}."
    return Annotated[kind | None, typer.Option(*names, help=f"{setting.help}{default}")]


def _told(default: object) -> str:
    return " ".join(map(str, default)) if isinstance(default, tuple) else str(default)


for _family, _config in FAMILIES.items():
    train_app.command(_family)(_train_command(_family, _config))


@train_app.command("encoder")
def train_encoder(
    run: RunFolder,
    minutes: Annotated[float | None, typer.Option(help="Budget in minutes; default 1.")] = None,
    images_seen: ImagesSeen = None,
    seed: Annotated[int, typer.Option(help="Any integer.")] = 0,
    threads: Annotated[int | None, typer.Option(min=1, max=1024, help="CPU threads.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the encoder that is there.")] = False,
) -> None:
    """Train the way back from images to latents of a trained run, from which inversion and restoration start."""
    from genprior.progress import show
    from genprior.runs.experiment import carry_out
    from genprior.runs.experiments import EXPERIMENTS, EncoderSettings
    from genprior.settings import validated

    given = {"run": run, "minutes": minutes, "images_seen": images_seen, "seed": seed, "threads": threads}
    experiment, settings = EXPERIMENTS["train encoder"], validated(EncoderSettings, given)
    with stop_on_signal() as stopped:
        found = show(_until(carry_out(experiment, settings, overwrite=overwrite), stopped))
    if found is None:
        typer.echo("interrupted; no encoder was saved")
        sys.exit(INTERRUPTED)
    for line in experiment.told(found):
        typer.echo(line)


def _until(task: Any, stopped: list[int]) -> Any:  # noqa: ANN401 - goes with this file
    """A task that ends early, with None, when a signal has come."""
    while not stopped:
        try:
            yield next(task)
        except StopIteration as end:
            return end.value
    task.close()
    return None


def resume(
    run: RunFolder,
    epochs: Epochs = None,
    images_seen: ImagesSeen = None,
    minutes: Minutes = None,
    device: Device = None,
) -> None:
    """Go on with a run where its last checkpoint stands; a budget given here replaces the run's."""
    from genprior.runs.prepare import resumed_run

    changes = {"epochs": epochs, "images_seen": images_seen, "minutes": minutes, "device": device}
    _train(resumed_run(run, changes))


def _config_file(path: Path | None, flags: dict[str, Any], family: str) -> dict[str, Any]:
    """The settings in a file, as far as the flags leave them standing."""
    if path is None:
        return {}
    if "preset" in flags:
        raise GenpriorError("the config file settles what a preset would; give one of them", argument="preset")
    from genprior.runs.files import read_table

    values = read_table(path, "config")
    theirs = values.get("family", family)
    if theirs != family:
        raise GenpriorError(f"{path} is for `genprior train {theirs}`, not for {family}", argument="config")
    replaced = BUDGETS if flags.keys() & set(BUDGETS) else ()  # one budget takes the place of another
    return {name: value for name, value in values.items() if name not in replaced}


def _train(prepared: "PreparedRun") -> None:
    """Trains to the end of the budget, showing how far it is, and leaves pictures; sets the exit code."""
    from genprior.progress import show
    from genprior.report.run_pictures import write_run_pictures
    from genprior.runs.execute import execute

    quiet = prepared.learner.processes.rank > 0
    run = prepared.run
    for note in [] if quiet else prepared.notes:
        print(note, flush=True)
    with stop_on_signal() as stopped:
        ended = show(execute(run, prepared.learner, prepared.data, lambda: bool(stopped)), quiet)
    prepared.learner.processes.leave()
    if quiet:
        return
    if ended.outcome == "non-finite":
        sys.exit(ILL)
    pictures = write_run_pictures(run, prepared.data)
    for what, path in pictures.items():
        typer.echo(f"{what}: {path}")
    if ended.outcome == "interrupted":
        typer.echo(f"interrupted and saved; go on with: genprior resume {shlex.quote(str(run.path))}")
        sys.exit(INTERRUPTED)
