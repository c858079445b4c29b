"""What all probes have in common: saving on the way, resuming to the same numbers, and leaving the run as it is."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from genprior.errors import GenpriorError
from genprior.families import parse_config
from genprior.probes.probe_experiments import EXPERIMENTS
from genprior.progress import result_of
from genprior.runs.experiment import carry_out, part_of, read_result
from genprior.runs.prepare import new_run
from genprior.runs.run_folder import Run
from genprior.settings import Settings, validated
from genprior.stored_files import signed

VAE = {"family": "vae", "data": "digits[:64]", "size": 8, "latent_size": 3, "model": "dense:width=8", "batch_size": 8}
PENALISED = {"penalty": ["r1:gamma=0.1"]}  # players of points, which no classifier has to judge


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path) -> Path:
    """A copy, to write into."""
    return Path(shutil.copytree(tiny_run, tmp_path / "run"))


def _settings(name: str, run: Path, **changes: object) -> Settings:
    return EXPERIMENTS[name].settings(run=run, steps=2, **changes)


def _interrupted(name: str, settings: Settings, stages: int) -> str:
    """Stops a probe after so many stages at which something was found; returns what is saved."""
    task, left = carry_out(EXPERIMENTS[name], settings), stages
    while left:
        left -= next(task).found is not None
    task.close()
    return part_of(EXPERIMENTS[name].file(settings)).read_text()


@pytest.mark.parametrize("name", EXPERIMENTS)
@pytest.mark.parametrize("stages", [1, 4])
def test_an_interrupted_probe_is_resumed_to_the_numbers_of_an_undisturbed_one(
    make_run: Callable[..., Run], name: str, stages: int
) -> None:
    """Four stages of an equilibrium are all adversaries; a probe with fewer stages is stopped just before its end."""
    settings = _settings(name, make_run(**PENALISED).path)
    file = EXPERIMENTS[name].file(settings)
    result_of(carry_out(EXPERIMENTS[name], settings))
    undisturbed = file.read_text()
    file.unlink()
    found = sum(stage.found is not None for stage in EXPERIMENTS[name].stages(settings, None))
    partial = json.loads(_interrupted(name, settings, min(stages, found)), parse_constant=pytest.fail)
    assert partial["is_complete"] is False
    kept = read_result(part_of(file), EXPERIMENTS[name].result)
    assert kept is not None
    stages_left = [stage for stage in EXPERIMENTS[name].stages(settings, kept) if stage.found is not None]
    assert len(stages_left) == found - min(stages, found)
    result_of(carry_out(EXPERIMENTS[name], settings))
    assert file.read_text() == undisturbed


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_result_is_strict_json_reads_back_and_is_put_into_words_and_drawn(
    make_run: Callable[..., Run], name: str
) -> None:
    experiment, settings = EXPERIMENTS[name], _settings(name, make_run().path)
    before = {path: path.read_bytes() for path in settings.run.rglob("*") if path.is_file()}
    found = result_of(carry_out(experiment, settings))
    saved = json.loads(experiment.file(settings).read_text(), parse_constant=pytest.fail)
    assert saved["is_complete"] is True
    again = read_result(experiment.file(settings), experiment.result)
    assert again is not None
    assert again.model_dump_json() == found.model_dump_json()
    assert experiment.lines(again) == experiment.lines(found) != []
    assert experiment.figures is not None
    assert all(path.stat().st_size > 5000 for path in experiment.figures(settings, again).values())
    assert all(path.read_bytes() == content for path, content in before.items())


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_same_settings_give_the_same_numbers_and_another_seed_others(
    make_run: Callable[..., Run], name: str
) -> None:
    run = make_run().path
    found = [result_of(EXPERIMENTS[name].stages(_settings(name, run, seed=seed), None)) for seed in (0, 0, 1)]
    one, same, other = (each.model_dump_json(exclude={"settings"}) for each in found)
    assert one == same != other


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_run_that_was_trained_on_since_is_probed_anew(make_run: Callable[..., Run], name: str) -> None:
    experiment, settings = EXPERIMENTS[name], _settings(name, make_run().path)
    _interrupted(name, settings, 1)
    kept = read_result(part_of(experiment.file(settings)), experiment.result)
    assert kept is not None
    whole = result_of(experiment.stages(settings, None))
    longer = make_run("longer", images_seen=1100).path
    shutil.rmtree(settings.run)
    shutil.move(longer, settings.run)
    expected = result_of(experiment.stages(settings, None))
    assert result_of(experiment.stages(settings, kept)) == expected != whole


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_interrupted_probe_leaves_no_figure_of_other_numbers(make_run: Callable[..., Run], name: str) -> None:
    experiment, settings = EXPERIMENTS[name], _settings(name, make_run().path)
    assert experiment.figures is not None
    drawn = experiment.figures(settings, result_of(experiment.stages(settings, None))).values()
    _interrupted(name, settings, 1)
    assert not any(path.exists() for path in drawn)


def test_settings_and_results_need_no_torch() -> None:
    code = "import sys, genprior.probes.probe_experiments; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Bad input: it is told before the first stage.


def _first_stage(name: str, **values: object) -> None:
    next(EXPERIMENTS[name].stages(validated(EXPERIMENTS[name].settings, values), None))


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_what_is_no_trained_gan_is_refused(run: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(GenpriorError, match=r"^run: .*is not a run"):
        _first_stage(name, run=tmp_path / "nowhere")
    vae = new_run(tmp_path / "vae", parse_config(VAE)).run.path
    with pytest.raises(GenpriorError, match=r"^run: .*has no discriminator; give a run of `genprior train gan`$"):
        _first_stage(name, run=vae)
    shutil.rmtree(run / "checkpoint")
    with pytest.raises(GenpriorError, match=r"^run: .*has no checkpoint; train it first$"):
        _first_stage(name, run=run)


@pytest.mark.parametrize("name", EXPERIMENTS)
@pytest.mark.parametrize("number", [0, -3])
def test_steps_are_at_least_one(run: Path, name: str, number: int) -> None:
    with pytest.raises(GenpriorError, match=rf"^steps: .*greater than or equal to 1, got {number}$"):
        _first_stage(name, run=run, steps=number)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_damaged_age_is_named(run: Path, name: str) -> None:
    (run / "history" / "0.safetensors").write_bytes(b"nonsense")
    with pytest.raises(GenpriorError, match=r"^run: .*0\.safetensors cannot be read"):
        _first_stage(name, run=run)


@pytest.mark.parametrize("name", EXPERIMENTS)
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"digits[:64]"', '"digits[:60]"', "^data: .*is no longer what"),
        ("generator_width=4", "generator_width=5", "^run: .*does not describe the networks"),
    ],
)
def test_a_config_that_was_changed_is_noticed(run: Path, name: str, old: str, new: str, message: str) -> None:
    file = run / "config.json"
    file.write_text(signed(file.read_text().replace(old, new)))
    with pytest.raises(GenpriorError, match=message):
        _first_stage(name, run=run)


def test_a_result_is_saved_once_its_figures_are_drawn(make_run: Callable[..., Run]) -> None:
    (name, *_) = EXPERIMENTS
    experiment, settings = EXPERIMENTS[name], _settings(name, make_run().path)
    file = experiment.file(settings)

    def fail(found: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        result_of(carry_out(experiment, settings, draw=fail))
    assert not file.exists()
    drawn: list[object] = []
    found = result_of(carry_out(experiment, settings, draw=drawn.append))
    assert drawn == [found]
    assert file.exists()


def test_what_a_kill_leaves_beside_a_whole_result_is_removed(make_run: Callable[..., Run]) -> None:
    (name, *_) = EXPERIMENTS
    experiment, settings = EXPERIMENTS[name], _settings(name, make_run().path)
    file = experiment.file(settings)
    result_of(carry_out(experiment, settings))
    for age, is_kept in ((-1, False), (1, True)):  # a younger part is of a measurement with --overwrite
        part_of(file).write_text("{}")
        os.utime(part_of(file), (file.stat().st_mtime + age,) * 2)
        with pytest.raises(GenpriorError, match="exists; replace it with --overwrite"):
            result_of(carry_out(experiment, settings))
        assert part_of(file).exists() is is_kept
