"""A run examined: record, samples, scores, verdict."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from genprior.config import GANConfig
from genprior.errors import GenpriorError
from genprior.jobs.diagnose import FILE, Examination
from genprior.jobs.evaluate import METRICS
from genprior.jobs.judge import FOLDER
from genprior.runs import execute, new_run, open_run
from genprior.runs.checkpoint import load_checkpoint
from genprior.runs.log import append_event
from tiny_judge import make_tiny_judge
from tiny_run import make_tiny_run


def _trained(path: Path, **changes: object) -> Path:
    config = GANConfig(
        **{
            **{"data": "digits", "size": 8, "latent_size": 4, "batch_size": 8, "threads": 1, "precision": "float32"},
            **{"model": "dcgan:generator_width=4,discriminator_width=8", "images_seen": 2000, "preset": "dcgan-28"},
            **changes,
        }
    )
    prepared = new_run(path, config)
    for _ in execute(prepared.run, prepared.learner, prepared.data):
        pass
    return path


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with the judge of 8 x 8 digits in its cache."""
    folder = tmp_path_factory.mktemp("root")
    make_tiny_judge(folder / FOLDER)
    return folder


def _examined(path: Path, root: Path) -> Examination:
    examination = Examination(path, data_root=root)
    fractions = [stage.fraction for stage in examination.examine()]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    return examination


def test_a_weak_generator_loses_and_the_verdict_is_saved(tmp_path: Path, root: Path) -> None:
    run = _trained(tmp_path / "run", generator_learning_rate=1e-9, discriminator_learning_rate=0.01)
    examination = _examined(run, root)
    assert examination.found is not None
    assert examination.found.verdict == "discriminator wins"
    saved = json.loads((run / FILE).read_text())
    assert (saved["verdict"], saved["is_ill"], saved["images_seen"]) == ("discriminator wins", True, 2016)
    assert saved["signs"][-1]["until_images"] == 2016
    assert saved["remedy"]


def test_a_run_that_stopped_is_not_finite(tmp_path: Path, root: Path) -> None:
    run = make_tiny_run(tmp_path / "run")
    event = {
        "event": "stopped",
        "step": 3,
        "images_seen": 24,
        "not_finite": ["generator_loss"],
        "back_to": 0,
        "rate": None,
    }
    append_event(open_run(run), event)
    found = _examined(run, root).found
    assert found is not None
    assert found.verdict == "non-finite"
    assert found.evidence[0] == "step 3 was not finite: generator_loss"


def test_a_short_record_is_told_and_samples_judged_alone(tmp_path: Path, root: Path) -> None:
    examination = _examined(make_tiny_run(tmp_path / "run"), root)
    assert any("signs need 50: samples alone were judged" in note for note in examination.notes)


def test_kept_scores_are_used_while_they_belong_to_the_checkpoint(tmp_path: Path, root: Path) -> None:
    run = _trained(tmp_path / "run", generator_learning_rate=0.01)
    checkpoint, _ = load_checkpoint(run / "checkpoint")
    assert checkpoint is not None
    one = {"value": 0.9, "floor": {"value": 0.9}}
    metrics = {"images_seen": checkpoint.images_seen, "modes": {"found": 3, "of": 10}, "scores": {"precision": one}}
    for images, verdict in ((checkpoint.images_seen, "collapsed"), (checkpoint.images_seen + 1, None)):
        (run / METRICS).write_text(json.dumps({**metrics, "images_seen": images}))
        found = _examined(run, root).found
        assert found is not None
        told = any("3 of 10 classes" in line for line in found.evidence)
        assert told == (verdict == "collapsed")


def test_data_that_no_classifier_judges_are_told(tmp_path: Path, root: Path) -> None:
    np.save(tmp_path / "images.npy", np.random.default_rng(0).integers(0, 256, (64, 8, 8), dtype=np.uint8))
    examination = _examined(_trained(tmp_path / "run", data=str(tmp_path / "images.npy")), root)
    assert "whether the samples are copies is not known" in examination.notes[0]
    assert "no classifier looked at the samples" in examination.notes[1]
    assert "--judge" in examination.notes[1]


def test_points_are_judged_by_their_record_and_spread(
    make_run: Callable[..., object], tmp_path: Path, root: Path
) -> None:
    make_run(images_seen=4000)
    found = _examined(tmp_path / "run", root).found
    assert found is not None
    assert found.verdict in {"healthy", "collapsed"}


@pytest.mark.parametrize("what", ["untrained", "nothing"])
def test_without_a_checkpoint_it_is_one_line(what: str, tmp_path: Path) -> None:
    if what == "untrained":
        new_run(tmp_path / "run", GANConfig(data="digits"))
    expected = {"untrained": "has no checkpoint of a trained model", "nothing": "is not a run"}[what]
    with pytest.raises(GenpriorError, match=expected):
        Examination(tmp_path / "run")


def test_the_exit_code_tells(genprior: Callable[..., str], tmp_path: Path, root: Path) -> None:
    run = _trained(tmp_path / "run", generator_learning_rate=1e-9, discriminator_learning_rate=0.01)
    output = genprior("diagnose", run, "--data-root", root, code=1)
    assert "discriminator wins since" in output
    assert "remedy: bound the discriminator's slope" in output


def test_alarms_are_recorded_during_training_once(tmp_path: Path) -> None:
    run = _trained(tmp_path / "run", generator_learning_rate=1e-9, discriminator_learning_rate=0.01)
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    assert [(event["event"], event["verdict"]) for event in events] == [("alarm", "discriminator wins")]


def test_help_names_it(genprior: Callable[..., str]) -> None:
    assert "diagnose" in genprior("--help")
