"""The command line: settings in, words out; no mathematics. Help never imports torch.

`SECTIONS` is the order of a day's work; commands of experiments come from the tables of their rooms.
"""

import os
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from genprior import __version__
from genprior.calibration.calibration_commands import EXPERIMENTS as CALIBRATIONS
from genprior.cli import look, train
from genprior.cli.console import INTERRUPTED, USER_ERROR, command, lasting_streams, say
from genprior.cli.room_commands import add_experiments, add_jobs
from genprior.cpu_cores import let_threads_sleep_beside_others
from genprior.errors import MAY_TELL, GenpriorError, is_lack_of_memory
from genprior.exporting.export_commands import EXPERIMENTS as EXPORTS
from genprior.memory import advice_for, within_free_memory
from genprior.modes.mode_experiment import EXPERIMENTS as MODES
from genprior.probes.probe_experiments import EXPERIMENTS as PROBES
from genprior.restoring.commands import COMMANDS
from genprior.runs.encoder_experiment import EXPERIMENTS as ENCODERS
from genprior.scoring.scoring_experiments import EXPERIMENTS as SCORING
from genprior.study.study_experiment import EXPERIMENTS as STUDY

USAGE_ERROR: Any = typer.BadParameter.__bases__[0]  # the parent of all that typer itself finds wrong
SECTIONS = {
    "Train": ("data", "train", "resume", "info", "check", "sample", "export"),
    "Judge": ("evaluate", "diagnose", "report", "compare", "probe", "benchmark", "study"),
    "Restore": ("invert", "restore", "degrade", "calibrate"),
    "In a browser": ("studio",),
}


class _Sections(TyperGroup):
    """A list of commands under headings, in the order of `SECTIONS`."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - click's own types are private
        placed = {name for names in SECTIONS.values() for name in names}
        others = tuple(name for name in self.commands if name not in placed)
        for title, names in (SECTIONS | ({"Other": others} if others else {})).items():
            with formatter.section(title):
                width = formatter.width - 6 - max(map(len, self.commands))
                rows = [(name, self.commands[name].get_short_help_str(width)) for name in names]
                formatter.write_dl(rows)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        say(f"genprior {__version__}")
        raise typer.Exit


def _made() -> typer.Typer:
    plain: dict[str, Any] = {"rich_markup_mode": None, "add_completion": False}
    app = typer.Typer(cls=_Sections, pretty_exceptions_enable=False, **plain)

    @app.callback()
    def genprior(
        version: bool = typer.Option(
            False, "--version", callback=_print_version, is_eager=True, help="Print the version and end."
        ),
    ) -> None:
        """Train small generative image models and use them as priors."""

    groups = {
        "": app,
        "train": typer.Typer(help="Train a model; each family has a command.", **plain),
        "probe": typer.Typer(help="Run an experiment on a trained GAN.", **plain),
        "benchmark": typer.Typer(help="Measure losses and remedies next to published results.", **plain),
    }
    for name, group in groups.items():
        if name:
            app.add_typer(group, name=name)
            group.callback()(lambda: None)
    train.add_train_commands(groups["train"])
    app.command("resume")(command([train.ResumeSettings], train.resume, str(train.resume.__doc__)))
    for name, (models, do) in look.COMMANDS.items():
        app.command(name)(command(models, do, str(do.__doc__)))
    for experiments in (ENCODERS, SCORING, PROBES, MODES, CALIBRATIONS, STUDY, EXPORTS):
        add_experiments(groups, experiments)
    add_jobs(app, COMMANDS)
    return app


app = _made()


def main() -> None:
    """Runs the command line; an error of the user's is one line and exit code 2."""
    with lasting_streams() as output:
        try:
            _run()
        except SystemExit as end:
            output.flush()
            lost = output.fault
            if lost is None or isinstance(lost, BrokenPipeError):  # who reads no further has what he wanted
                raise
            say(f"genprior: the standard output cannot be written: {getattr(lost, 'strerror', lost)}", err=True)
            raise SystemExit(end.code or USER_ERROR) from None


def _run() -> None:
    warnings.showwarning = _tells_once()
    if len(sys.argv) == 1:
        sys.argv.append("--help")
    try:
        if not {"--help", "--version"} & set(sys.argv):
            let_threads_sleep_beside_others()
        with within_free_memory():
            code = app(standalone_mode=False)
    except GenpriorError as error:
        _fail(error.message, error.argument)
    except USAGE_ERROR as error:
        _fail(error.format_message(), None)
    except KeyboardInterrupt:  # before there was anything to resume
        say("interrupted", err=True)
        sys.exit(INTERRUPTED)
    except MAY_TELL as error:
        if not is_lack_of_memory(error):
            raise
        _fail(f"there is not enough memory: {advice_for(())}", None)
    except OSError as error:  # a full disk, a folder that may not be written
        where = f"{error.filename}: " if error.filename else ""
        _fail(f"{where}{error.strerror or error}", None)
    sys.exit(code or 0)


def _in_a_line(message: object) -> str:
    """A message in one line: names of files may hold ends of lines."""
    return str(message).replace("\n", "\\n")


def _tells_once() -> Callable[..., None]:
    """Returns what prints a warning; one that was said is not repeated, as where a command loads its images twice."""
    told: set[str] = set()

    def tell(message: Warning | str, *_: object, **__: object) -> None:
        line = _in_a_line(message)
        if line not in told:
            told.add(line)
            say(f"genprior: warning: {line}", err=True)

    return tell


ARGUMENTS: Mapping[str | None, str] = {
    "run": "RUN: ",
    "runs": "RUN: ",
    "images": "IMAGES: ",
    "name": "NAME: ",
    "folder": "FOLDER: ",
    None: "",
}


def _fail(message: str, argument: str | None) -> NoReturn:
    flag = f"--{str(argument).replace('_', '-')}"
    is_given = any(word.partition("=")[0] == flag for word in sys.argv[1:])  # images are a flag of some commands
    where = f"{flag}: " if is_given else ARGUMENTS.get(argument, f"{flag}: ")
    rank = os.environ.get("RANK", "0")
    whose = "" if rank == "0" else f"[process {rank}] "
    say(f"genprior: {whose}{where}{_in_a_line(message)}", err=True)
    sys.exit(USER_ERROR)
