"""A run examined: record, samples, scores, verdict."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from genprior.data import load_data
from genprior.diagnosis.health_verdict import Sampled
from genprior.errors import GenpriorError
from genprior.families import GANConfig
from genprior.progress import result_of
from genprior.runs.checkpoint import load_checkpoint
from genprior.runs.execute import execute
from genprior.runs.experiment import carry_out, part_of, read_result, save_result
from genprior.runs.prepare import new_run, resumed_run
from genprior.runs.run_events import Setback, append_event
from genprior.runs.run_folder import open_run
from genprior.scoring import diagnosis_experiment as module
from genprior.scoring import evaluation_experiment
from genprior.scoring.diagnosis_experiment import with_scores
from genprior.scoring.scoring_experiments import EXPERIMENTS
from genprior.scoring.scoring_results import DIAGNOSIS, METRICS, DiagnosisResult, DiagnosisSettings, Evaluation
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


def _diagnosed(path: Path, root: Path, judge: str | None = None) -> DiagnosisResult:
    task = carry_out(EXPERIMENTS["diagnose"], DiagnosisSettings(run=path, judge=judge, data_root=root))
    fractions = [stage.fraction for stage in task]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0, 1)
    found = read_result(path / DIAGNOSIS, DiagnosisResult)
    assert found is not None
    return found


def test_a_weak_generator_loses_and_the_verdict_is_saved(tmp_path: Path, root: Path) -> None:
    run = _trained(tmp_path / "run", generator_learning_rate=1e-9, discriminator_learning_rate=0.01)
    found = _diagnosed(run, root)
    assert found.verdict == "discriminator wins"
    saved = json.loads((run / DIAGNOSIS).read_text())
    assert (saved["verdict"], saved["is_ill"], saved["images_seen"]) == ("discriminator wins", True, 2016)
    assert saved["signs"][-1]["until_images"] == 2016
    lines = EXPERIMENTS["diagnose"].lines(found)
    assert lines[0] == f"{run}: discriminator wins since {saved['since_images']:,} images"
    assert lines[1] == f"  {saved['evidence'][0]}"
    assert f"  remedy: {saved['remedy']}" in lines


def test_a_run_that_stopped_is_not_finite(tmp_path: Path, root: Path) -> None:
    run = make_tiny_run(tmp_path / "run")
    event = Setback(event="stopped", step=9, images_seen=24, not_finite=("generator_loss",), back_to=0)
    append_event(open_run(run), event)
    found = _diagnosed(run, root)
    assert found.verdict == "non-finite"
    assert found.evidence[0] == "step 9 was not finite: generator_loss"


def test_a_short_record_is_told_and_samples_judged_alone(tmp_path: Path, root: Path) -> None:
    found = _diagnosed(make_tiny_run(tmp_path / "run"), root)
    assert any("signs need 50: samples alone were judged" in note for note in found.notes)


def test_a_run_that_went_on_after_a_stop_is_not_held_to_it(tmp_path: Path, root: Path) -> None:
    run = make_tiny_run(tmp_path / "run")
    event = Setback(event="stopped", step=2, images_seen=16, not_finite=("x",), back_to=0)
    append_event(open_run(run), event)
    found = _diagnosed(run, root)
    assert found.verdict != "non-finite"


def _metrics(images: int) -> dict[str, Any]:
    ends = {"value": 0.9, "low": 0.8, "high": 1.0}
    score = {"title": "precision", "better": "higher", "unit": "share", **ends, "floor": ends}
    classes = {"names": ["0"], "counts": [1], "expected": [1.0], "chi_square": 0.0, "floor_chi_square": 0.0}
    classes |= {"degrees": 0, "p_value": 1.0}
    judge = {"data": "digits", "accuracy": 0.99, "hash": "abc"}
    rest = {"modes": {"found": 3, "of": 10}, "notes": [], "held_out": "digits"}
    numbers = {"images_seen": images, "samples": 1000, "real": 1000}
    found = {"judge": judge, "classes": classes, "scores": {"precision": score}}
    return {"settings": {"run": "run"}, **numbers, **rest, **found}


@pytest.mark.parametrize(
    ("change", "is_used"),
    [
        ({}, True),
        ({"images_seen": 1}, False),
        ({"samples": 100}, False),
        ({"scores": {"precision": {}}}, False),
    ],
    ids=["fresh", "stale", "few", "damaged"],
)
def test_kept_scores_are_used_where_they_are_whole_and_fresh(
    change: dict[str, Any], is_used: bool, tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(settings: object) -> None:
        raise GenpriorError("none", argument="judge")

    monkeypatch.setattr(module, "load_evaluation_inputs", refuse)
    run = _trained(tmp_path / "run", images_seen=48, generator_learning_rate=0.01)
    checkpoint, _ = load_checkpoint(run / "checkpoint")
    assert checkpoint is not None
    (run / METRICS).write_text(json.dumps({**_metrics(checkpoint.images_seen), **change}))
    is_measured = "no judge looked at the samples: none" in _diagnosed(run, root).notes
    assert is_measured == (not is_used)


def test_an_interrupted_diagnosis_is_resumed_with_its_scores(tmp_path: Path, root: Path) -> None:
    run = _trained(tmp_path / "run", images_seen=48)
    settings = DiagnosisSettings(run=run, data_root=root)
    experiment = EXPERIMENTS["diagnose"]
    whole = result_of(carry_out(experiment, settings))
    assert whole.scores is not None
    task = carry_out(experiment, settings)
    for stage in task:
        if stage.found is not None and len(stage.found.scores.scores) == 2:
            break
    task.close()
    assert read_result(run / DIAGNOSIS, DiagnosisResult) == whole  # it stays until the new one is whole
    part = read_result(part_of(run / DIAGNOSIS), DiagnosisResult)
    assert part is not None
    assert part.scores is not None
    kept = part.scores
    marked = {name: score.model_copy(update={"title": "kept"}) for name, score in kept.scores.items()}
    kept = kept.model_copy(update={"scores": marked})
    save_result(part_of(run / DIAGNOSIS), whole.model_copy(update={"scores": kept, "is_complete": False}))
    again = result_of(carry_out(experiment, settings))
    assert [score.title == "kept" for score in again.scores.scores.values()].count(True) == 2
    assert again.verdict == whole.verdict


@pytest.mark.parametrize(
    ("samples", "has_held_out", "expected"), [(1000, True, ((3, 10), 0.7)), (100, False, (None, None))]
)
def test_what_scores_are_not_made_for_is_not_taken_from_them(
    samples: int, has_held_out: bool, expected: tuple[object, object]
) -> None:
    metrics = {**_metrics(48), "samples": samples}
    metrics["scores"]["memorisation"] = {**metrics["scores"]["precision"], "value": 0.7}
    found = with_scores(Sampled(1.0), Evaluation.model_validate(metrics), has_held_out)
    assert (found.modes, found.copies) == expected
    del metrics["scores"]["precision"]
    assert with_scores(Sampled(1.0), Evaluation.model_validate(metrics), has_held_out).precision is None


def test_data_that_nothing_judges_are_told(tmp_path: Path, root: Path) -> None:
    np.save(tmp_path / "images.npy", np.random.default_rng(0).integers(0, 256, (64, 8, 8), dtype=np.uint8))
    notes = _diagnosed(_trained(tmp_path / "run", data=str(tmp_path / "images.npy"), held_out=0), root).notes
    assert "whether the samples are copies is not known" in notes[0]
    assert "no judge looked at the samples" in notes[1]
    assert "16 pixels a side or more" in notes[1]


@pytest.mark.parametrize(
    ("noise", "verdict", "told"),
    [(0.0, "healthy", ""), (0.4, "poor samples", "% as many real images as other real ones do")],
)
def test_poor_samples_are_seen_without_labels(
    noise: float, verdict: str, told: str, tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = load_data("digits", size=16).images[:, 0]
    np.save(tmp_path / "images.npy", images[:500].numpy())
    run = _trained(tmp_path / "run", data=str(tmp_path / "images.npy"), size=16, batch_size=16, images_seen=512)
    x = images[500:1000, None].float() / 255
    samples = Drawn((x + noise * torch.randn(x.shape)).clamp(0, 1))
    for each in (module, evaluation_experiment):
        monkeypatch.setattr(each, "load_prior", lambda path, weights="auto": samples)
    found = _diagnosed(run, root)
    assert found.verdict == verdict
    assert told in " ".join(found.evidence)
    assert found.scores is not None
    assert found.scores.judge.kind == "jigsaw"


def test_points_are_judged_by_their_record_and_spread(
    make_run: Callable[..., object], tmp_path: Path, root: Path
) -> None:
    make_run(images_seen=4000)
    found = _diagnosed(tmp_path / "run", root)
    assert found.verdict == "healthy"


@dataclass(frozen=True)
class Drawn:
    """A prior of which these points are drawn."""

    x: Tensor

    def sample(self, count: int, seed: int) -> Tensor:
        return self.x[:count]


@pytest.mark.parametrize(
    ("modes", "verdict", "told"), [(8, "healthy", []), (3, "collapsed", ["the samples hold 3 of 8 modes"])]
)
def test_points_that_miss_modes_are_called_collapsed(
    modes: int,
    verdict: str,
    told: list[str],
    make_run: Callable[..., object],
    tmp_path: Path,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_run(images_seen=4000)
    data = load_data("ring")
    assert data.labels is not None
    x = data.take((data.labels < modes).nonzero()[:2000, 0])
    monkeypatch.setattr(module, "load_prior", lambda path: Drawn(x))
    monkeypatch.setattr(module.Examined, "is_young", lambda self, data: False)
    found = _diagnosed(tmp_path / "run", root)
    assert (found.verdict, found.evidence) == (verdict, told)


@pytest.mark.parametrize("what", ["untrained", "nothing"])
def test_without_a_checkpoint_it_is_one_line(what: str, tmp_path: Path) -> None:
    if what == "untrained":
        new_run(tmp_path / "run", GANConfig(data="digits"))
    expected = {"untrained": "has no checkpoint of a trained model", "nothing": "is not a run"}[what]
    with pytest.raises(GenpriorError, match=expected):
        next(carry_out(EXPERIMENTS["diagnose"], DiagnosisSettings(run=tmp_path / "run")))


def test_the_exit_code_tells(genprior: Callable[..., str], tmp_path: Path, root: Path) -> None:
    run = _trained(tmp_path / "run", generator_learning_rate=1e-9, discriminator_learning_rate=0.01)
    output = genprior("diagnose", run, "--data-root", root, code=1)
    assert "discriminator wins since" in output
    assert "remedy: bound the discriminator's slope" in output


def test_alarms_are_recorded_during_training_once(tmp_path: Path) -> None:
    run = _trained(tmp_path / "run", generator_learning_rate=1e-9, discriminator_learning_rate=0.01)
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    assert [(event["event"], event["verdict"]) for event in events[:-1]] == [("alarm", "discriminator wins")]
    assert events[-1].keys() == {"checksum"}


def test_alarms_stand_once_after_a_resume(tmp_path: Path) -> None:
    settings = {"generator_learning_rate": 1e-9, "discriminator_learning_rate": 0.01}
    whole = _trained(tmp_path / "whole", images_seen=3000, **settings)
    run = open_run(_trained(tmp_path / "parts", images_seen=1700, **settings))
    run.events.write_text(run.events.read_text() + '{"event": "alarm", "st')
    prepared = resumed_run(run.path, {"images_seen": 3000})
    for _ in execute(prepared.run, prepared.learner, prepared.data):
        pass
    events = (whole / "events.jsonl").read_text()
    assert run.events.read_text() == events
    assert events.count("\n") == 2


def test_help_names_it(genprior: Callable[..., str]) -> None:
    assert "diagnose" in genprior("--help")


@pytest.mark.parametrize("text", [None, "", "cut off"])
def test_no_run_is_healthy_whose_record_is_not_its_checkpoints(tmp_path: Path, root: Path, text: str | None) -> None:
    run = open_run(_trained(tmp_path / "run", generator_learning_rate=1e-9, discriminator_learning_rate=0.01))
    record = run.steps.read_text()
    run.steps.unlink() if text is None else run.steps.write_text(record[: len(record) // 3] if text else "")
    found = _diagnosed(run.path, root)
    assert found.is_ill
    assert any(f"{run.steps} ends at step" in line for line in found.evidence)


def test_a_run_that_stopped_and_lost_its_events_is_not_finite(tmp_path: Path, root: Path) -> None:
    run = open_run(make_tiny_run(tmp_path / "run"))
    last = {"step": 7, "images_seen": 56, "generator_loss": None, "not_finite": {"generator_loss": "nan"}}
    with run.steps.open("a") as file:
        file.write(json.dumps(last) + "\n")
    run.events.unlink()
    assert _diagnosed(run.path, root).evidence[0] == "step 7 was not finite: generator_loss"


def test_black_images_are_not_healthy(tmp_path: Path, root: Path) -> None:
    np.save(tmp_path / "black.npy", np.zeros((30, 8, 8), np.uint8))
    run = make_tiny_run(tmp_path / "run", data=str(tmp_path / "black.npy"))
    found = _diagnosed(run, root)
    assert (found.verdict, found.is_ill) == ("not known", True)
    assert "are alike" in found.evidence[0]
