"""A run's scores: what is measured, saved, kept for the next time, and refused."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import genprior
from genprior.data import Dataset
from genprior.errors import GenpriorError
from genprior.evaluation.features import seen
from genprior.evaluation.scores import SCORES, Evidence
from genprior.families import parse_config
from genprior.images import to_uint8
from genprior.judges.trained_judge import without_labels
from genprior.progress import result_of
from genprior.runs.execute import execute
from genprior.runs.experiment import carry_out, part_of, read_result
from genprior.runs.files import write_json
from genprior.runs.prepare import new_run
from genprior.runs.run_folder import Run
from genprior.scoring import evaluation_experiment as module
from genprior.scoring.evaluation_experiment import EvaluationInputs, load_evaluation_inputs, measure_scores
from genprior.scoring.scoring_experiments import EXPERIMENTS
from genprior.scoring.scoring_results import METRICS, ClassHistogram, Evaluation, EvaluationSettings, ScoreBesideFloor
from genprior.settings import validated
from genprior.stored_files import read_object
from tiny_judge import load_tiny, make_tiny_judge

TINY = {
    "data": "digits[:400]",
    "held_out": 0,
    "size": 8,
    "batch_size": 8,
    "images_seen": 48,
    "threads": 1,
    "precision": "float32",
}
SETTINGS = {
    "gan": {"latent_size": 4, "model": "dcgan:generator_width=4,discriminator_width=4,norm=none"},
    "glo": {"latent_size": 4, "model": "dcgan:generator_width=4", "density": "gaussian"},
    "glow": {"steps": 1, "width": 4},
    "vae": {"latent_size": 3, "model": "dense:width=8"},
}
HELD_OUT = "digits[400:]"


def _train(path: Path, family: str = "vae", **changes: object) -> Path:
    prepared = new_run(path, parse_config({"family": family, **TINY, **SETTINGS[family], **changes}))
    for _ in execute(prepared.run, prepared.learner, prepared.data):
        pass
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _train(tmp_path_factory.mktemp("runs") / "vae")


def _settings(run: Path, root: Path, **changes: object) -> EvaluationSettings:
    return validated(EvaluationSettings, {"run": run, "data_root": root, **changes})


def _inputs(run: Path, root: Path, **changes: object) -> EvaluationInputs:
    return load_evaluation_inputs(_settings(run, root, **changes))


def _first_stage(run: Path, root: Path, **changes: object) -> None:
    next(carry_out(EXPERIMENTS["evaluate"], _settings(run, root, **changes)))


def _evaluated(run: Path, root: Path, **changes: object) -> dict:
    given = {"held_out": HELD_OUT, "judge": "digits", "count": 60, "inversions": 2, **changes}
    shares: list[float] = []
    task = carry_out(EXPERIMENTS["evaluate"], _settings(run, root, **given))
    try:
        while True:
            shares.append(next(task).fraction)
    except StopIteration as end:
        found = end.value
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)
    assert read_result(run / METRICS, Evaluation) == found
    return read_object(run / METRICS, "run").values


@pytest.fixture(scope="module")
def metrics(run: Path, root: Path) -> dict:
    return _evaluated(run, root, count=150, inversions=4)


def test_every_score_stands_beside_real_images(metrics: dict) -> None:
    assert metrics["scores"].keys() == SCORES.keys()
    for name, each in metrics["scores"].items():
        assert each.keys() == {"title", "value", "low", "high", "floor", "better", "unit"}
        assert each["low"] <= each["value"] <= each["high"]
        assert each["floor"]["low"] <= each["floor"]["value"] <= each["floor"]["high"]
        assert (each["title"], each["better"]) == (SCORES[name].title, SCORES[name].better)


def test_samples_of_a_model_that_learnt_nothing_are_worse_than_real_images(metrics: dict) -> None:
    scores = metrics["scores"]
    assert scores["frechet"]["low"] > 2 * scores["frechet"]["floor"]["high"]
    assert scores["coverage"]["high"] < scores["coverage"]["floor"]["low"]
    assert scores["coverage"]["floor"]["value"] > 0.9
    assert metrics["classes"]["p_value"] < 1e-6
    assert metrics["modes"]["found"] < metrics["modes"]["of"] == 10


def test_the_floor_is_what_chance_does_where_both_sides_are_the_same(metrics: dict) -> None:
    floor = metrics["scores"]["inversion_ratio"]["floor"]
    assert floor["value"] == 1
    assert floor["low"] < 1 < floor["high"]
    assert metrics["scores"]["memorisation"]["floor"]["value"] == pytest.approx(0.01, abs=0.01)


def test_what_else_is_saved(metrics: dict, run: Path, root: Path) -> None:
    assert metrics["images_seen"] == 48
    assert (metrics["samples"], metrics["real"]) == (150, 150)
    classes = metrics["classes"]
    assert classes["names"] == [str(i) for i in range(10)]
    assert sum(classes["counts"]) == 150 == round(sum(classes["expected"]))
    assert metrics["judge"]["data"] == "digits"
    assert metrics["judge"]["accuracy"] > 0.9
    assert len(metrics["judge"]["hash"]) == 64


def test_an_interrupted_evaluation_measures_what_is_left(
    run: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"held_out": HELD_OUT, "judge": "digits", "count": 60, "inversions": 2}
    whole = _evaluated(run, root, **given)
    task = carry_out(EXPERIMENTS["evaluate"], _settings(run, root, **given))
    for stage in task:
        if stage.found is not None and len(stage.found.scores) == 4:
            break
    task.close()
    assert read_object(run / METRICS, "run").values == whole  # it stays until the new one is whole
    measured: list[str] = []
    beside_floor = module._beside_floor

    def remember(inputs: EvaluationInputs, name: str, *evidence: Evidence) -> ScoreBesideFloor:
        measured.append(name)
        return beside_floor(inputs, name, *evidence)

    monkeypatch.setattr(module, "_beside_floor", remember)
    assert _evaluated(run, root, **given) == whole
    assert measured == list(whole["scores"])[4:]
    measured.clear()
    _evaluated(run, root, **given)  # a whole one is replaced
    assert measured == list(whole["scores"])


@pytest.mark.parametrize("change", ["held out", "nothing"])
def test_scores_of_other_images_are_not_kept(run: Path, root: Path, tmp_path: Path, change: str) -> None:
    file = tmp_path / "held-out.npy"
    images = genprior.load_data(HELD_OUT, size=8).images.numpy()
    np.save(file, images[:80])
    given = {"held_out": str(file), "judge": "digits", "count": 60, "inversions": 2}
    whole = _evaluated(run, root, **given)
    scores = {name: {**score, "value": -1.0, "low": -1.0} for name, score in whole["scores"].items()}
    write_json(part_of(run / METRICS), {**whole, "scores": scores, "is_complete": False})
    if change == "held out":
        np.save(file, images[80:160])
    found = _evaluated(run, root, **given)["scores"]
    assert all((found[name]["value"] == -1) == (change == "nothing") for name in found)


def test_numbers_are_those_that_each_part_gives_alone(metrics: dict, run: Path, root: Path) -> None:
    judge, prior = make_tiny_judge(root), genprior.load_prior(run)
    training = load_tiny("digits[:400]")
    counts = torch.bincount(judge.network(prior.sample(150)).argmax(1), minlength=10)
    assert metrics["classes"]["counts"] == counts.tolist()
    real = torch.bincount(seen(judge.network, training)[1], minlength=10)
    assert metrics["classes"]["expected"] == pytest.approx((150 / 400 * real).tolist())


@pytest.mark.parametrize("family", ["gan", "glo", "glow"])
def test_runs_of_every_family_are_scored(family: str, tmp_path: Path, root: Path) -> None:
    metrics = _evaluated(_train(tmp_path / family, family), root)
    assert {"precision", "recall", "inversion"} <= metrics["scores"].keys()
    if family == "glow":
        assert metrics["scores"]["inversion"]["value"] < 1e-8


def test_the_same_seed_gives_the_same_numbers(run: Path, root: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    found = _evaluated(copy, root)
    assert _evaluated(copy, root) == found
    assert _evaluated(copy, root, seed=1) != found


def test_scores_that_need_more_images_are_left_out_and_told(run: Path, root: Path, tmp_path: Path) -> None:
    metrics = _evaluated(shutil.copytree(run, tmp_path / "run"), root, inversions=0)
    assert not {"frechet", "memorisation", "inversion", "inversion_ratio"} & metrics["scores"].keys()
    assert (
        "left out: Fréchet distance needs at least 129 samples and as many held-out images, there are 60"
        in metrics["notes"]
    )
    assert any(note.startswith("left out: error of inverting") and "there are 0" in note for note in metrics["notes"])


def test_notes_tell_how_many_were_asked_for_and_what_may_have_been_seen(run: Path, root: Path) -> None:
    notes = _inputs(run, root, held_out="digits[300:]").notes
    assert "400 samples; real against real: 400 images of digits[:400] against 400 of digits[300:]" in notes[0]
    assert notes[1].startswith("10,000 samples are not compared")
    assert notes[2] == "the run has learned 100 of these 1,497 images: what is measured on them is not held-out"


def test_a_run_is_judged_on_what_it_holds_out(tmp_path: Path, root: Path) -> None:
    run = _train(tmp_path / "run", data="digits", held_out=0.1)
    inputs = _inputs(run, root)
    assert (len(inputs.training), len(inputs.held_out)) == (1617, 180)
    assert inputs.held_out.name == "digits, held out"
    assert inputs.held_out_learned == 0
    assert not any("has learned" in note for note in inputs.notes)
    given = {"held_out": None, "count": 10, "inversions": 0}
    assert _evaluated(run, root, **given)["held_out_learned"] == 0
    assert "10 against" not in _inputs(run, root, held_out="digits[:300]").notes[0]
    assert any("has learned" in note for note in _inputs(run, root, held_out="digits[:300]").notes)


def test_a_run_of_an_earlier_version_has_learned_all_images(tmp_path: Path, root: Path) -> None:
    run = _train(tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    del config["held_out"], config["white"]
    write_json(run / "config.json", config)
    assert len(_inputs(run, root, held_out=HELD_OUT).training) == 400
    with pytest.raises(GenpriorError, match="held_out: the run has learned from all images"):
        _first_stage(run, root)


def test_measuring_alone_finds_the_same_and_writes_nothing(run: Path, root: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    inputs = _inputs(copy, root, count=60, held_out=HELD_OUT, judge="digits", inversions=2)
    written = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    found = result_of(measure_scores(inputs))
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == written
    assert found.model_dump(mode="json") == _evaluated(copy, root)


def test_words_are_those_of_the_scores(metrics: dict, run: Path) -> None:
    found = Evaluation.model_validate(metrics)
    lines = EXPERIMENTS["evaluate"].lines(found)
    assert lines[0].split() == ["samples", "real", "against", "real", "better"]
    recall = found.scores["recall"]
    (line,) = [each for each in lines if each.startswith("recall")]
    assert line.split("  ")[-1] == "higher"
    assert f"{recall.value:.4g} [{recall.low:.4g}, {recall.high:.4g}]" in line
    assert f"classes found: {found.modes.found} of 10" in lines
    assert lines[-1].startswith("judge: classifier of digits, accuracy 9")


def test_a_histogram_without_a_name_for_each_class_is_damaged(metrics: dict) -> None:
    with pytest.raises(GenpriorError, match="as many counts as names"):
        validated(ClassHistogram, {**metrics["classes"], "names": ["0"]})


# Without labels.


@dataclass(frozen=True)
class Shown:
    """A prior whose samples are images."""

    data: Dataset

    def sample(self, count: int, seed: int) -> Tensor:
        return self.data.take(torch.arange(count))


def _unlabelled(folder: Path, shape: tuple[int, int, int]) -> tuple[Path, Path]:
    """Files of digits without labels, in this shape: 300 to train on and 200 others."""
    channels, height, width = shape
    x = genprior.load_data("digits", size=min(height, width)).take(torch.arange(500))
    x = F.pad(x, (0, width - x.shape[3], 0, height - x.shape[2])).expand(-1, channels, -1, -1)
    images = to_uint8(x).permute(0, 2, 3, 1).numpy()
    paths = folder / "train.npy", folder / "held_out.npy"
    for path, part in zip(paths, (images[:300], images[300:]), strict=True):
        np.save(path, part)
    return paths


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run on images without labels, and others like these."""
    folder = tmp_path_factory.mktemp("unlabelled")
    train, held_out = _unlabelled(folder, (1, 16, 16))
    return _train(folder / "run", data=str(train), size=16), held_out


@pytest.fixture(scope="module")
def unlabelled_metrics(unlabelled: tuple[Path, Path], root: Path) -> dict:
    run, held_out = unlabelled
    return _evaluated(run, root, held_out=str(held_out), judge=None, count=200)


def test_images_without_labels_are_judged_by_what_is_learned_from_them(
    unlabelled_metrics: dict, unlabelled: tuple[Path, Path]
) -> None:
    found = unlabelled_metrics
    assert found["scores"].keys() == SCORES.keys()
    assert found["scores"]["frechet"]["low"] > 2 * found["scores"]["frechet"]["floor"]["high"]
    assert found["scores"]["precision"]["high"] < found["scores"]["precision"]["floor"]["low"]
    assert (found["judge"]["kind"], found["judge"]["data"]) == ("jigsaw", str(unlabelled[0].parent / "train.npy"))
    assert found["judge"]["accuracy"] > 0.5
    assert (found["classes"], found["modes"]) == (None, None)
    assert "judged by features learned from" in found["notes"][0]
    assert "no classifier judges: " in found["notes"][1]
    assert "has no labels" in found["notes"][1]


def test_words_without_classes_say_so(unlabelled_metrics: dict) -> None:
    lines = EXPERIMENTS["evaluate"].lines(Evaluation.model_validate(unlabelled_metrics))
    assert "classes: not known, the judge learned without labels" in lines
    assert lines[-1].startswith("judge: features learned without labels from ")
    assert "mixed quarters put right" in lines[-1]


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 32, 48), (3, 64, 64)])
def test_unlabelled_samples_of_every_shape_are_judged(
    shape: tuple[int, int, int], tmp_path: Path, root: Path, unlabelled: tuple[Path, Path]
) -> None:
    train, held_out = _unlabelled(tmp_path, shape)
    x = [Dataset(path.name, torch.from_numpy(np.load(path)).permute(0, 3, 1, 2)) for path in (train, held_out)]
    inputs = _inputs(unlabelled[0], root, held_out=str(unlabelled[1]), count=100, inversions=0)
    judged_by = without_labels(x[0].part(torch.arange(60)), "no labels")
    samples = x[1].part(torch.arange(100, 200))
    inputs = replace(inputs, training=x[0], held_out=x[1], judged_by=judged_by, prior=Shown(samples))
    scores = result_of(measure_scores(inputs)).scores
    assert scores["precision"].value > 0.8
    assert scores["coverage"].value > 0.8


def test_labels_that_make_no_good_classifier_give_way_to_features(
    tmp_path: Path, root: Path, unlabelled: tuple[Path, Path]
) -> None:
    images = np.load(unlabelled[0].parent / "train.npy")
    guessed = str(tmp_path / "guessed.npz")
    np.savez(guessed, images=images, labels=np.random.default_rng(0).integers(0, 5, 300))
    run = _train(tmp_path / "run", data=guessed, size=16)
    given = {"held_out": str(unlabelled[1]), "count": 50, "inversions": 0}
    metrics = _evaluated(run, root, judge=None, **given)
    assert metrics["judge"]["kind"] == "jigsaw"
    assert any("no classifier judges: the classifier of" in note and "is right on" in note for note in metrics["notes"])
    with pytest.raises(GenpriorError, match=r"judge: the classifier of .* is right on"):
        _evaluated(run, root, judge=guessed, **given)


# Bad input.


def test_a_named_judge_without_labels_is_refused(run: Path, root: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "photos.npy", np.zeros((20, 8, 8), dtype=np.uint8))
    with pytest.raises(
        GenpriorError, match=r"judge: .*photos.npy has no labels .* with --judge, such as --judge mnist"
    ):
        _first_stage(run, root, held_out=HELD_OUT, judge=str(tmp_path / "photos.npy"))


@pytest.mark.parametrize(("count", "expected"), [(3, 3), (0, 0), (-5, -5)])
def test_a_handful_of_samples_is_too_few_for_any_score(run: Path, root: Path, count: int, expected: int) -> None:
    with pytest.raises(GenpriorError, match=rf"count: no score is defined for fewer samples than 4, got {expected}"):
        _first_stage(run, root, count=count, held_out=HELD_OUT)


def test_a_handful_of_held_out_images_is_too_few(run: Path, root: Path) -> None:
    with pytest.raises(GenpriorError, match="held_out: no score is defined for fewer held-out images than 4, got 2"):
        _first_stage(run, root, held_out="digits[400:402]")


def test_one_inversion_is_too_few(run: Path, root: Path) -> None:
    with pytest.raises(GenpriorError, match="inversions: expected 0 for none, or at least 2, got 1"):
        _first_stage(run, root, held_out=HELD_OUT, inversions=1)


def test_held_out_images_must_be_named_where_the_data_have_none(run: Path, root: Path) -> None:
    with pytest.raises(GenpriorError, match=r"held_out: the run has learned from all images of digits\[:400\]"):
        _first_stage(run, root)


def test_held_out_images_that_cannot_be_used_are_named(run: Path, root: Path) -> None:
    with pytest.raises(GenpriorError, match=r"^held_out: unknown data set"):
        _first_stage(run, root, held_out="nowhere")


def test_points_are_refused(make_run: Callable[..., Run], root: Path) -> None:
    with pytest.raises(GenpriorError, match="models points, which no judge sees; runs of images are evaluated"):
        _first_stage(make_run().path, root)


def test_an_untrained_run_is_refused(tmp_path: Path, root: Path) -> None:
    prepared = new_run(tmp_path / "new", parse_config({"family": "vae", **TINY, **SETTINGS["vae"]}))
    with pytest.raises(GenpriorError, match=r"run: .*new has no checkpoint; train it first"):
        _first_stage(prepared.run.path, root, held_out=HELD_OUT)


def test_data_that_changed_since_training_are_refused(run: Path, root: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    environment = json.loads((copy / "environment.json").read_text())
    write_json(copy / "environment.json", {**environment, "data_sha256": "0"})
    with pytest.raises(GenpriorError, match=r"run: digits\[:400\] is no longer what .* was trained on"):
        _first_stage(copy, root, held_out=HELD_OUT)


def test_samples_that_are_not_finite_are_told(run: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = _inputs(run, root, count=10, held_out=HELD_OUT, judge="digits")
    monkeypatch.setattr(inputs.prior, "sample", lambda count, _: torch.full((count, 1, 8, 8), torch.nan))
    with pytest.raises(GenpriorError, match=r"run: samples of .* are not finite: its training has diverged"):
        result_of(measure_scores(inputs))
