"""The run folder: what is written, what is refused, what is never lost."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest

from genprior.calibration.calibration_commands import EXPERIMENTS as CALIBRATIONS
from genprior.errors import GenpriorError
from genprior.probes.probe_experiments import EXPERIMENTS as PROBES
from genprior.progress import result_of
from genprior.report.collect import write_run_picture
from genprior.runs.base_settings import BASE_WEIGHTS
from genprior.runs.encoder_experiment import EXPERIMENTS as ENCODERS
from genprior.runs.execute import execute
from genprior.runs.experiment import part_of
from genprior.runs.kept_residual import RESIDUAL
from genprior.runs.prepare import new_run, resumed_run
from genprior.runs.run_folder import Run, create_run, locked, open_run
from genprior.runs.summary import summary
from genprior.runs.trained_prior import load_prior
from genprior.scoring.scoring_experiments import EXPERIMENTS as SCORING
from genprior.writing import MARK
from small import points_config

RESULTS = {**ENCODERS, **SCORING, **PROBES, **CALIBRATIONS}


def test_a_run_holds_its_parts(make_run: Callable[..., Run]) -> None:
    run = make_run()
    assert {path.name for path in run.path.iterdir()} == {
        "config.json",
        "environment.json",
        "steps.jsonl",
        "events.jsonl",
        "checkpoint",
        "history",
        "lock",
    }
    assert open_run(run.path).config == run.config


def test_config_is_written_before_the_first_step(tmp_path: Path) -> None:
    prepared = new_run(tmp_path / "run", points_config())
    assert json.loads((tmp_path / "run" / "config.json").read_text())["loss"] == "non-saturating"
    assert not prepared.run.steps.exists()


def test_automatic_precision_is_stored_as_it_turned_out_and_threads_stay_open(tmp_path: Path) -> None:
    prepared = new_run(tmp_path / "run", points_config(precision="auto", threads=None))
    assert prepared.run.config.precision in ("bf16", "float32")
    assert prepared.run.config.threads is None  # checkpoints record what was chosen


def test_existing_folder_is_refused_and_left_alone(make_run: Callable[..., Run]) -> None:
    run = make_run()
    before = run.steps.read_bytes()
    with pytest.raises(GenpriorError, match="exists; choose another folder"):
        new_run(run.path, points_config())
    assert run.steps.read_bytes() == before


def test_overwrite_replaces_a_run(make_run: Callable[..., Run]) -> None:
    run = make_run()
    new_run(run.path, points_config(seed=5), overwrite=True)
    assert open_run(run.path).config.seed == 5
    assert not run.steps.exists()


def test_overwrite_spares_a_folder_that_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(GenpriorError, match="is not a run, and is not overwritten"):
        create_run(tmp_path, points_config(), overwrite=True)
    assert (tmp_path / "thesis.tex").exists()


def test_bad_input_leaves_no_folder_behind(tmp_path: Path) -> None:
    with pytest.raises(GenpriorError, match="unknown loss"):
        new_run(tmp_path / "run", points_config(loss="hing"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("place", ["/proc/genprior", "file/below"])
def test_unwritable_output_is_one_line(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("a file where a folder should be")
    with pytest.raises(GenpriorError, match=r"cannot write to .*: "):
        create_run(tmp_path / place, points_config())


def test_folder_without_config_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(GenpriorError, match=r"is not a run: it has no config.json"):
        open_run(tmp_path)


def test_unknown_key_in_a_config_names_the_nearest(make_run: Callable[..., Run]) -> None:
    run = make_run()
    file = run.path / "config.json"
    file.write_text(file.read_text().replace('"batch_size"', '"batchsize"'))
    with pytest.raises(GenpriorError, match="batchsize: unknown config key, did you mean 'batch_size'"):
        open_run(run.path)


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_unreadable_config_is_one_line(make_run: Callable[..., Run], text: str) -> None:
    run = make_run()
    (run.path / "config.json").write_text(text)
    with pytest.raises(GenpriorError, match=r"config\.json"):
        open_run(run.path)


def test_summary_tells_state_and_last_numbers(make_run: Callable[..., Run]) -> None:
    facts = summary(make_run().path)
    assert facts["state"] == "finished (1,000 images)"
    assert str(facts["progress"]).startswith("1,000 images = 2.00 epochs, 20 steps")
    assert float(str(facts["d_real"])) > 0


def test_run_is_trained_by_one_process_at_a_time(make_run: Callable[..., Run]) -> None:
    run = make_run()
    prepared = resumed_run(run.path, {"images_seen": 2000})
    with locked(run), pytest.raises(GenpriorError, match="is being trained by another process"):
        list(execute(prepared.run, prepared.learner, prepared.data))
    assert result_of(execute(prepared.run, prepared.learner, prepared.data)).outcome == "finished"


def test_run_in_training_is_not_overwritten(make_run: Callable[..., Run]) -> None:
    run = make_run()
    with locked(run), pytest.raises(GenpriorError, match="is being trained by another process"):
        new_run(run.path, points_config(), overwrite=True)
    assert run.steps.exists()


def test_an_overwritten_run_keeps_nothing_but_its_lock(make_run: Callable[..., Run]) -> None:
    run = make_run(tensorboard=True)
    (run.path / "report.html").write_text("derived")
    write_run_picture(run, run.config.load_data())
    create_run(run.path, points_config(), overwrite=True)
    assert {path.name for path in run.path.iterdir()} == {"config.json", "lock"}


FOREIGN = (
    *("thesis.tex", "notes/a.txt", "figures/holiday.jpg", "checkpoint/best.safetensors", "figures/holiday.png"),
    *("history/notes.safetensors", "history/1a.safetensors", "probe-of-mine.json", "my.part.json", "tensorboard/mine"),
    *("tensorboard/events.out.tfevents.x/holiday.png", "checkpoint/step-000012/.genprior-a/c.png"),
)


@pytest.mark.parametrize("name", FOREIGN)
def test_a_run_with_a_file_of_somebody_else_is_not_overwritten(make_run: Callable[..., Run], name: str) -> None:
    run = make_run()
    (run.path / name).parent.mkdir(parents=True, exist_ok=True)
    (run.path / name).write_text("years of work")
    before = contents(run.path)
    with pytest.raises(GenpriorError, match=f"is not overwritten: it holds {name}") as raised:
        create_run(run.path, points_config(), overwrite=True)
    assert raised.value.argument == "out"
    assert contents(run.path) == before


@pytest.mark.parametrize("name", [name for name, each in RESULTS.items() if "run" in each.settings.model_fields])
def test_what_every_command_writes_into_a_run_is_of_genprior(make_run: Callable[..., Run], name: str) -> None:
    run = make_run()
    file = RESULTS[name].file(RESULTS[name].settings.model_construct(run=run.path))
    for each in (file, part_of(file)):
        each.write_text("{}")
    (run.path / RESIDUAL).write_text("")
    (run.path / BASE_WEIGHTS).write_text("")
    create_run(run.path, points_config(), overwrite=True)
    assert not file.exists()


def test_a_link_in_a_run_is_not_followed_when_it_is_overwritten(make_run: Callable[..., Run], tmp_path: Path) -> None:
    run, elsewhere = make_run(), tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "samples.png").write_text("years of work")
    (run.path / "figures").symlink_to(elsewhere)
    with pytest.raises(GenpriorError, match="it holds figures, which is not of genprior"):
        create_run(run.path, points_config(), overwrite=True)
    assert (elsewhere / "samples.png").exists()


@pytest.mark.parametrize(
    "text",
    ['{"name": "web-project", "version": "1.0"}', '{"architectures": ["Bert"]}', "[]", '{"family": "gan", "x": 1}'],
)
def test_a_folder_of_another_program_is_not_overwritten(tmp_path: Path, text: str) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "config.json").write_text(text)
    before = contents(folder)
    with pytest.raises(GenpriorError, match="is not overwritten: "):
        new_run(folder, points_config(), overwrite=True)
    assert contents(folder) == before


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_whose_making_was_killed_is_free(tmp_path: Path, overwrite: bool) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "lock").write_text("")
    (folder / f"{MARK}1234.json").write_text('{"fam')
    assert new_run(folder, points_config(), overwrite=overwrite).run.path == folder


def test_a_run_among_the_images_that_it_learns_from_is_refused(image_folder: Callable[..., Path]) -> None:
    photos = image_folder(4)
    for folder in (photos, photos / "run"):
        with pytest.raises(GenpriorError, match=r"lies in the folder of images|is no run") as raised:
            new_run(folder, points_config(preset="pyramid", data=str(photos)))
        assert raised.value.argument == "out"
    assert {path.name for path in photos.iterdir()} == {"a.png", "b.png", "c.png", "d.png"}


def contents(folder: Path) -> dict[str, bytes]:
    """The files below a folder, but for locks, whose dates change."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_budget_of_a_run_in_training_stays(make_run: Callable[..., Run]) -> None:
    run = make_run()
    with locked(run), pytest.raises(GenpriorError, match="is being trained by another process"):
        resumed_run(run.path, {"images_seen": 2000})
    assert open_run(run.path).config.images_seen == 1000


def test_paths_are_stored_so_that_they_hold_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numpy.save(tmp_path / "images.npy", numpy.random.default_rng(0).integers(0, 256, (40, 28, 28), numpy.uint8))
    monkeypatch.chdir(tmp_path)
    changes = {"preset": "dcgan-28", "model": "mlp:width=4", "data": "images.npy[:30]", "batch_size": 5}
    prepared = new_run(Path("run"), points_config(**changes, images_seen=15, data_root="."))
    assert prepared.run.config.data == f"{tmp_path}/images.npy[:30]"
    assert prepared.run.config.data_root == str(tmp_path)
    list(execute(prepared.run, prepared.learner, prepared.data))
    monkeypatch.chdir("/")
    assert resumed_run(tmp_path / "run", {"images_seen": 30}).run.path == tmp_path / "run"


def test_run_killed_before_its_second_file_can_be_resumed(tmp_path: Path) -> None:
    prepared = new_run(tmp_path / "run", points_config())
    prepared.run.environment.unlink()
    again = resumed_run(tmp_path / "run", {})
    assert result_of(execute(again.run, again.learner, again.data)).outcome == "finished"


def test_run_without_its_checkpoints_is_not_begun_again(make_run: Callable[..., Run]) -> None:
    run = make_run()
    shutil.rmtree(run.checkpoints)
    with pytest.raises(GenpriorError, match="has steps but no checkpoint"):
        resumed_run(run.path, {"images_seen": 2000})
    assert run.steps.exists()


def test_config_that_does_not_fit_the_checkpoint_is_named(make_run: Callable[..., Run]) -> None:
    run = make_run()
    file = run.path / "config.json"
    file.write_text(file.read_text().replace('"latent_size": 2', '"latent_size": 3'))
    with pytest.raises(GenpriorError, match=r"config\.json was altered: its checksum does not fit"):
        load_prior(run.path)
    file.write_text(re.sub(r',\s*"checksum": "\w+"', "", file.read_text()))  # somebody means it
    with pytest.raises(GenpriorError, match=r"config\.json does not describe the networks"):
        load_prior(run.path)
    prepared = resumed_run(run.path, {"images_seen": 2000})
    with pytest.raises(GenpriorError, match=r"config\.json does not describe the networks"):
        list(execute(prepared.run, prepared.learner, prepared.data))


@pytest.mark.parametrize(
    "text",
    [
        f'{{"image_shape": [1, {10**30}, 8], "images": 3}}',
        '{"image_shape": [1, 28]}',
        '{"image_shape": [2, 1, 1], "images": "x"}',
        "[]",
        "{",
    ],
)
def test_damaged_environment_is_one_line(make_run: Callable[..., Run], text: str) -> None:
    run = make_run()
    run.environment.write_text(text)
    with pytest.raises(GenpriorError, match=r"environment\.json cannot be read"):
        summary(run.path)
