"""Laws of every experiment on trained runs: what its settings and results must be, and that help stays light."""

import subprocess
import sys
from pathlib import Path

import pytest

from genprior.scoring.scoring_experiments import EXPERIMENTS
from genprior.settings import Result


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_result_keeps_the_settings_of_its_experiment(name: str) -> None:
    experiment = EXPERIMENTS[name]
    assert issubclass(experiment.result, Result)
    assert experiment.result.model_fields["settings"].annotation is experiment.settings


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_setting_has_a_help_and_one_of_them_names_runs(name: str) -> None:
    settings = EXPERIMENTS[name].settings.settings()
    assert [each.name for each in settings] == list(EXPERIMENTS[name].settings.model_fields)
    assert settings[0].flag.metavar is not None
    assert settings[0].flag.metavar.startswith("RUN")
    assert {each.name for each in settings if not each.flag.is_outcome} - {"run"} == {"threads", "data_root"}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_bad_input_is_found_before_the_first_stage(name: str, tmp_path: Path) -> None:
    experiment = EXPERIMENTS[name]
    many = "runs" in experiment.settings.model_fields
    paths = {"runs": [tmp_path / "none"], "out": tmp_path / "out"} if many else {"run": tmp_path / "none"}
    with pytest.raises(Exception, match="none is not a run"):
        next(experiment.stages(experiment.settings(**paths), None))


def test_importing_the_table_does_not_import_torch() -> None:
    code = "import sys, genprior.scoring.scoring_experiments; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
