"""Trainings outlive whoever began them."""

import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from genprior.errors import GenpriorError
from genprior.runs.checkpoint import load_counters
from genprior.runs.experiment import part_of, read_result, save_result
from genprior.runs.run_folder import AUTO, open_run
from genprior.runs.summary import summary
from genprior.scoring.auto_results import AutoTraining
from genprior.studio.allowed_folders import AllowedFolders
from genprior.studio.shown_training import training_html
from genprior.studio.training_processes import TrainingProcess, Trainings, looked_at
from served_studio import end_trainings

QUICK = {"family": "gan", "data": "digits[:64]", "minutes": 5, "batch_size": 16, "size": 8, "threads": 1, "seed": 3}


def waited_for(is_so: Callable[[], bool], seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.2)


@pytest.fixture
def trainings(tmp_path: Path) -> Iterator[Trainings]:
    try:
        yield Trainings(AllowedFolders(tmp_path, (tmp_path,)))
    finally:  # a training outlives whoever began it, so also a test that fails
        end_trainings(tmp_path)


def test_an_automatic_training_is_begun_stopped_and_resumed_by_its_own_commands(trainings: Trainings) -> None:
    out = trainings.folders.new("best")
    words = trainings.auto_command("digits[:80]", 8, out)
    assert words[:3] == ["genprior", "train", "auto"]
    with pytest.raises(GenpriorError, match="outside"):
        trainings.auto_command("/etc", 1, out)
    trainings.start(words, out)
    waited_for(lambda: part_of(out / AUTO).is_file())
    assert "being trained" in training_html(trainings, [out])
    trainings.stop(out)
    waited_for(lambda: not trainings.is_running(out))
    assert trainings.resume_command(out, 3) == ["genprior", "resume", str(out)]
    found = read_result(part_of(out / AUTO), AutoTraining)
    assert found is not None
    strange = found.model_copy(update={"settings": found.settings.model_copy(update={"data": "/etc"})})
    save_result(part_of(out / AUTO), strange)
    with pytest.raises(GenpriorError, match="lies outside the folders"):
        trainings.resume_command(out, None)


def test_a_test_that_fails_leaves_no_training(trainings: Trainings) -> None:
    out = trainings.folders.new("one")
    trainings.start(trainings.command(trainings.config(QUICK), out), out)
    assert trainings.is_running(out)
    end_trainings(trainings.folders.home)
    assert not trainings.is_running(out)
    assert not psutil.pid_exists(next(iter(trainings._own)))


def test_settings_that_do_not_go_together_begin_nothing(trainings: Trainings) -> None:
    for wrong in ({"family": "nonsense"}, {"loss": "nonsense"}, {"data": "/etc"}, {"minutes": -1}):
        with pytest.raises(GenpriorError):
            trainings.config({**QUICK, **wrong})


def test_a_file_of_a_stranger_names_no_process_to_be_ended(trainings: Trainings) -> None:
    out = trainings.folders.new("one")
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        for command in ("", "genprior train", shlex.join(["-c", "import time; time.sleep(600)"])):
            log = trainings._log(out)
            log.parent.mkdir(exist_ok=True)
            save_result(log.with_suffix(".json"), TrainingProcess(run=out, pid=other.pid, command=command))
            with pytest.raises(GenpriorError, match="is not being trained from here"):
                trainings.stop(out)
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_runs_of_one_name_in_two_folders_are_two(trainings: Trainings) -> None:
    home = trainings.folders.home
    assert trainings._log(home / "a" / "ns") != trainings._log(home / "b" / "ns")


def test_nothing_is_imported_from_the_folder_of_the_page(tmp_path: Path) -> None:
    (tmp_path / "typer").mkdir()
    (tmp_path / "typer" / "__init__.py").write_text("raise SystemExit('foreign code ran')")
    said = looked_at(["genprior", "--version"], tmp_path)
    assert "foreign" not in said
    assert "genprior" in said


def test_a_run_that_learned_what_may_not_be_read_is_not_trained_further(
    trainings: Trainings, genprior: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    config = trainings.config(QUICK)
    for changes in ({"data": str(elsewhere)}, {"data_root": str(elsewhere)}):
        run = trainings.folders.home / "strange"
        run.mkdir(exist_ok=True)
        save_result(run / "config.json", config.model_copy(update=changes))
        with pytest.raises(GenpriorError, match="lies outside the folders"):
            trainings.resume_command(run, None)
        with pytest.raises(GenpriorError, match="lies outside the folders"):
            trainings.fork_command(run, "hinge", run)


def test_a_training_is_stopped_by_another_server_and_resumed(trainings: Trainings) -> None:
    out = trainings.folders.new("one")
    command = trainings.start(trainings.command(trainings.config(QUICK), out), out)
    assert command.startswith("genprior train gan --data ")
    waited_for(lambda: (out / "steps.jsonl").is_file() and (out / "steps.jsonl").stat().st_size > 0)
    with pytest.raises(GenpriorError, match="is being trained already"):
        trainings.start(["genprior", "resume", str(out)], out)
    later = Trainings(trainings.folders)
    assert later.is_running(out)
    assert later.running() == [out]
    assert "being trained" in training_html(later, [out])
    later.stop(out)
    waited_for(lambda: not trainings.is_running(out))
    assert later.running() == []
    assert "not finished" in str(summary(out)["state"])
    text = training_html(trainings, [out])
    assert "Losses of both players" in text
    assert "at equilibrium" in text
    with pytest.raises(GenpriorError, match="not being trained from here"):
        trainings.stop(out)
    trainings.start(["genprior", "resume", str(out), "--images-seen", "10"], out)
    waited_for(lambda: not trainings.is_running(out))
    assert "finished" in str(summary(out)["state"])


def test_a_fork_goes_on_from_where_its_run_stands_with_another_loss(
    trainings: Trainings, genprior: Callable[..., str]
) -> None:
    run, out = trainings.folders.new("one"), trainings.folders.new("two")
    words = "--data digits[:32] --size 8 --batch-size 8 --images-seen 96 --threads 1 --out".split()
    genprior("train", "gan", *words, run)
    saved, _ = load_counters(run / "checkpoint")
    assert saved is not None
    command = trainings.fork_command(run, "hinge", out, saved.seconds / 60 + 0.02)
    trainings.start(command, out)
    waited_for(lambda: not trainings.is_running(out))
    one, two = open_run(run).config.model_dump(), open_run(out).config.model_dump()
    assert {name for name in one if one[name] != two[name]} == {"loss", "images_seen", "minutes", "forked_from"}
    assert two["forked_from"]["images_seen"] == 96
    told = training_html(trainings, [run, out])
    assert told.count(f"<figcaption>{out.name}</figcaption>") == told.count(f"<figcaption>{run.name}</figcaption>") > 3
    assert "<figcaption>" not in training_html(trainings, [run]).partition("Losses of both players")[2]
    assert "loss was non-saturating" in told
    assert told.count("Losses of both players") >= 1
