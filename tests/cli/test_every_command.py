"""Laws of all commands that come from tables: flags, help and results belong together, and help is quick."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from genprior.calibration.calibration_commands import EXPERIMENTS as CALIBRATIONS
from genprior.exporting.export_commands import EXPERIMENTS as EXPORTS
from genprior.modes.mode_experiment import EXPERIMENTS as MODES
from genprior.probes.probe_experiments import EXPERIMENTS as PROBES
from genprior.restoring.commands import COMMANDS
from genprior.runs.encoder_experiment import EXPERIMENTS as ENCODERS
from genprior.runs.experiment import Experiment
from genprior.scoring.scoring_experiments import EXPERIMENTS as SCORING
from genprior.study.study_experiment import EXPERIMENTS as STUDY

EVERY = {**ENCODERS, **SCORING, **PROBES, **MODES, **CALIBRATIONS, **STUDY, **EXPORTS}
ALL = [*EVERY, *COMMANDS]
HELP = """
import sys
from genprior.cli import main
sys.argv = ["genprior", *sys.argv[1].split(), "--help"]
try:
    main()
except SystemExit as end:
    assert not end.code
heavy = {"torch", "numpy", "matplotlib", "sklearn", "pandas"} & set(sys.modules)
assert not heavy, heavy
"""


@pytest.mark.parametrize("name", ALL)
def test_help_is_quick_and_names_every_setting(name: str) -> None:
    done = subprocess.run([sys.executable, "-c", HELP, name], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    models = COMMANDS[name].settings if name in COMMANDS else (EVERY[name].settings,)
    for setting in (each for model in models for each in model.settings()):
        flag = setting.flag.metavar or f"--{setting.name.replace('_', '-')}"
        assert flag in done.stdout
        assert setting.help, f"{flag} says what it is for"


@pytest.mark.parametrize("experiment", EVERY.values(), ids=EVERY)
def test_a_result_holds_the_settings_it_was_found_with(experiment: Experiment[Any, Any]) -> None:
    fields = experiment.result.model_fields
    assert fields["settings"].annotation is experiment.settings
    assert {"version", "is_complete"} <= fields.keys()
    assert all(experiment.result.model_config.get(key) == value for key, value in {"frozen": True}.items())


@pytest.mark.parametrize("name", [name for name, each in EVERY.items() if not each.is_per_run])
def test_every_command_refuses_what_it_does_not_know(genprior: Callable[..., str], name: str) -> None:
    text = genprior(*name.split(), "--nonsense", code=2)
    assert "--nonsense" in text
    assert "Traceback" not in text
