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
    makes_a_run = settings[0].name == "out"
    assert makes_a_run or str(settings[0].flag.metavar).startswith("RUN")
    names = {each.name for each in settings}
    where = {"threads", "data_root"} | ({"out"} if makes_a_run else names & {"run", "data"})  # and how
    assert {each.name for each in settings if not each.flag.is_outcome} == where


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_bad_input_is_found_before_the_first_stage(name: str, tmp_path: Path) -> None:
    experiment = EXPERIMENTS[name]
    none, out, names = tmp_path / "none", tmp_path / "out", experiment.settings.model_fields
    every: dict[str, object] = {"runs": [none], "run": none, "out": out}
    paths = {each: path for each, path in every.items() if each in names}
    if "run" not in names and "runs" not in names:
        paths["data"] = str(none)
    with pytest.raises(Exception, match=r"none is not a run|no such file or folder: .*none"):
        next(experiment.stages(experiment.settings(**paths), None))


def test_importing_the_table_does_not_import_torch() -> None:
    code = "import sys, genprior.scoring.scoring_experiments; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
