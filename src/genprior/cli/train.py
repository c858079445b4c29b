"""Commands that train a run: one for each family, and resume."""

import json
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import Field

from genprior.cli.console import ILL, INTERRUPTED, Given, command, parsed, say, stop_on_signal
from genprior.cli.room_commands import measures
from genprior.errors import MAY_TELL, GenpriorError, is_lack_of_memory
from genprior.families import BUDGETS, FAMILIES, RunConfig, parse_config
from genprior.runs.experiment import part_of, read_result
from genprior.runs.run_folder import AUTO
from genprior.scoring.auto_results import AutoTraining
from genprior.scoring.scoring_experiments import EXPERIMENTS
from genprior.settings import Moved, RunFolder, Settings
from genprior.stored_files import loads, read_object

if TYPE_CHECKING:
    from genprior.runs.prepare import PreparedRun


class NewRunFlags(Settings):
    """Where a new run goes, and what its settings begin with."""

    out: Annotated[Path | None, Field(description="Folder of the new run.")] = None
    config: Annotated[Path | None, Field(description="Settings as JSON, as --dry-run prints them.")] = None
    fork: Annotated[
        Path | None,
        Field(description="Run from whose newest checkpoint this one goes on, with its settings but for those given."),
    ] = None
    distil: Annotated[
        Path | None,
        Field(description="gan: run of flow matching whose network becomes the generator, for samples in a few steps."),
    ] = None
    overwrite: Annotated[bool, Field(description="Replace the run that is there.")] = False
    dry_run: Annotated[bool, Field(description="Print the settings as JSON and end, before images are read.")] = False


class ResumeSettings(Settings):
    """Which run is resumed; a budget takes the place of the run's."""

    run: RunFolder
    epochs: Annotated[float | None, Field(description="Budget in passes over the data.")] = None
    images_seen: Annotated[int | None, Field(description="Budget in images.")] = None
    minutes: Annotated[float | None, Field(description="Budget in minutes.")] = None
    patience: Annotated[
        int | None, Field(ge=1, description="Images without a better look at held-out ones after which training ends.")
    ] = None
    device: Annotated[str | None, Field(description="auto, cpu, cuda, cuda:1 ...")] = None
    data: Moved = None


def add_train_commands(train: typer.Typer) -> None:
    """Adds a command for each family."""
    for family, config in FAMILIES.items():
        train.command(family)(command([NewRunFlags, config], _trains(family), config.HELP))


def resume(given: Given) -> None:
    """Resume a run where its last checkpoint stands; a budget given here replaces the run's."""
    settings: ResumeSettings = parsed(ResumeSettings, given)
    unfinished = read_result(part_of(settings.run / AUTO), AutoTraining)
    if unfinished is not None:
        _resume_auto(unfinished, given)
        return
    from genprior.runs.prepare import resumed_run

    _train(resumed_run(settings.run, settings.model_dump(exclude={"run"})))


def _resume_auto(unfinished: AutoTraining, given: Given) -> None:
    """Continues an automatic training that was interrupted, wherever it stood."""
    changed = given.keys() - {"run"}
    if changed:
        raise GenpriorError("an unfinished automatic training keeps its settings", argument=min(changed))
    own = unfinished.settings.model_dump(exclude_none=True) | {"out": given["run"]}
    measures(EXPERIMENTS["train auto"])(own)


def _trains(family: str) -> Any:  # noqa: ANN401 - a function of what was given
    def train(given: Given) -> None:
        flags: NewRunFlags = parsed(NewRunFlags, given)
        own = {name: value for name, value in given.items() if name not in NewRunFlags.model_fields}
        _refuse_two_beginnings(flags)
        config = _config(flags, own, family)
        if flags.dry_run:
            config.check_names()
            say(json.dumps(loads(config.as_json()), indent=2))
            return
        if flags.out is None or flags.out == Path():
            raise GenpriorError("name the folder of the new run", argument="out")
        _train(_prepared(flags.out, flags, config, {**own, "family": family}))

    return train


def _refuse_two_beginnings(flags: NewRunFlags) -> None:
    if flags.fork is not None and flags.config is not None:
        raise GenpriorError("a fork has the settings of its run; give those that change", argument="config")
    if flags.distil is not None and (flags.fork is not None or flags.config is not None):
        other = "fork" if flags.config is None else "config"
        raise GenpriorError("says how a run begins, and so does --distil; give one of them", argument=other)


def _prepared(out: Path, flags: NewRunFlags, config: RunConfig, own: Given) -> "PreparedRun":
    """The new run, from the beginning or from where another one stands."""
    if flags.fork is not None:
        from genprior.runs.fork import forked_run

        return forked_run(out, flags.fork, own, overwrite=flags.overwrite)
    if flags.distil is not None:
        from genprior.runs.distil import distilled_run

        return distilled_run(out, flags.distil, own, overwrite=flags.overwrite)
    from genprior.runs.prepare import new_run

    return new_run(out, config, overwrite=flags.overwrite)


def _config(flags: NewRunFlags, own: Given, family: str) -> RunConfig:
    """The settings of a new run: of a file or of the run that it goes on from, as far as those given leave them."""
    values = {**own, "family": family}
    if flags.fork is not None:
        from genprior.runs.fork import forked_config

        return forked_config(flags.fork, values)[1]
    if flags.distil is not None:
        from genprior.runs.distil import distilled_config

        return distilled_config(flags.distil, values)[1]
    return parse_config({**_from_file(flags.config, own, family), **values})


def _from_file(path: Path | None, own: Given, family: str) -> dict[str, Any]:
    """The settings in a file, as far as those at the command line leave them standing."""
    if path is None:
        return {}
    if "preset" in own:
        raise GenpriorError("the config file settles what a preset would; give one of them", argument="preset")
    values = read_object(path, "config").values  # whoever edits a copy of a run's settings need not mind its checksum
    theirs = values.get("family", family)
    if theirs != family:
        raise GenpriorError(f"{path} is for `genprior train {theirs}`, not for {family}", argument="config")
    replaced = BUDGETS if own.keys() & set(BUDGETS) else ()  # one budget takes the place of another
    return {name: value for name, value in values.items() if name not in replaced}


def _train(prepared: "PreparedRun") -> None:
    """Trains to the end of the budget, showing how far it is, and leaves a picture; sets the exit code."""
    from genprior.progress import show
    from genprior.report.collect import picture_of, write_run_picture
    from genprior.runs.best_weights import weights_in_words
    from genprior.runs.execute import execute
    from genprior.runs.kept_base import base_note

    run, processes = prepared.run, prepared.learner.processes
    quiet = processes.rank > 0
    if not quiet:
        for note in prepared.notes:
            say(note)
        picture_of(run).unlink(missing_ok=True)  # of other weights
    with stop_on_signal() as stopped, _told_to_resume(run.path):
        task = execute(run, prepared.learner, prepared.data, lambda: bool(stopped), held_out=prepared.held_out)
        outcome = show(task, quiet).outcome
    processes.leave()
    if quiet:
        return
    if outcome == "non-finite":
        sys.exit(ILL)
    used = weights_in_words(run)
    if used is not None:
        say(f"weights: {used}")
    try:
        say(f"real and generated: {write_run_picture(run, prepared.data)}")
    except OSError as error:  # a full disk: nothing else is lacking
        shown = f"the run is whole, and `genprior report {shlex.quote(str(run.path))}` shows its samples"
        say(f"genprior: warning: {picture_of(run)} cannot be written: {error.strerror or error}; {shown}", err=True)
    if outcome == "interrupted":
        say(f"interrupted and saved; resume it with: genprior resume {shlex.quote(str(run.path))}")
        sys.exit(INTERRUPTED)
    better = base_note(run)
    if better:
        say(f"samples are {better}")


@contextmanager
def _told_to_resume(path: Path) -> Iterator[None]:
    """Says how training goes on where a file could not be written or memory ran out; what was saved before is whole."""
    again = f"genprior resume {shlex.quote(str(path))}"
    try:
        yield
    except OSError as error:
        raise GenpriorError(
            f"{error.filename or path}: {error.strerror or error}; what was saved before is whole: make room, or mend "
            f"the rights, and continue with: {again}"
        ) from error
    except MAY_TELL as error:
        if not is_lack_of_memory(error):
            raise
        raise GenpriorError(
            "there is not enough memory; what was saved before is whole: close other programs and continue with: "
            f"{again}; or train anew with a lower --batch-size, --size, --latent-size or width in --model"
        ) from error
