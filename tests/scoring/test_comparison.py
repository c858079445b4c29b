"""Runs side by side: what is measured, saved, and refused."""

import csv
import json
import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import genprior
from genprior.errors import GenpriorError
from genprior.evaluation.comparison import TASKS, inverted, restored
from genprior.evaluation.image_quality import importance_weighted_bound
from genprior.families import parse_config
from genprior.models.autoencoder import Gaussian
from genprior.models.image_flow import bits_per_dim
from genprior.progress import Stage
from genprior.restoration.operators import OPERATORS
from genprior.runs.checkpoint import trained_checkpoint
from genprior.runs.execute import execute
from genprior.runs.experiment import carry_out, part_of, read_result
from genprior.runs.prepare import new_run, resumed_run
from genprior.runs.run_folder import Run, open_run
from genprior.scoring import comparison_experiment as module
from genprior.scoring.comparison_experiment import FIGURE, IMAGES, TABLE, comparison_rows
from genprior.scoring.scoring_experiments import EXPERIMENTS
from genprior.scoring.scoring_results import COMPARISON, Comparison, ComparisonSettings
from genprior.seeding import derived_generator
from genprior.stored_files import signed
from tiny_run import make_tiny_run

TINY = {"data": "digits[:64]", "size": 8, "batch_size": 8, "images_seen": 48, "threads": 1, "precision": "float32"}
SETTINGS = {
    "glo": {"latent_size": 4, "model": "dcgan:generator_width=4", "density": "gaussian"},
    "glow": {"steps": 1, "width": 4},
    "vae": {"latent_size": 3, "model": "dense:width=8"},
}
HELD_OUT = "digits[64:]"


def _train(path: Path, family: str, **changes: object) -> Path:
    prepared = new_run(path, parse_config({"family": family, **TINY, **SETTINGS[family], **changes}))
    for _ in execute(prepared.run, prepared.learner, prepared.data):
        pass
    return path


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny run of each family."""
    folder = tmp_path_factory.mktemp("families")
    return {"gan": make_tiny_run(folder / "gan")} | {name: _train(folder / name, name) for name in SETTINGS}


def _settings(out: Path, runs: Sequence[Path], held_out: str | None = HELD_OUT, count: int = 2) -> ComparisonSettings:
    return ComparisonSettings(out=out, runs=tuple(runs), held_out=held_out, count=count)


def _compared(settings: ComparisonSettings) -> Comparison:
    stages = list(carry_out(EXPERIMENTS["compare"], settings))
    shares = [stage.fraction for stage in stages]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)
    found = read_result(settings.out / COMPARISON, Comparison)
    assert found is not None
    assert found.is_complete
    return found


def _first_stage(settings: ComparisonSettings) -> Stage:
    return next(carry_out(EXPERIMENTS["compare"], settings))


@pytest.fixture(scope="module")
def comparison(runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    return _compared(_settings(tmp_path_factory.mktemp("out") / "comparison", list(runs.values()), count=4))


def test_every_family_is_measured_on_every_task(comparison: Comparison) -> None:
    titles = {task.title for task in TASKS.values()}
    images = load_file(comparison.settings.out / IMAGES)
    assert images["truth"].shape == (4, 1, 8, 8)
    for i, each in enumerate(comparison.runs):
        assert each.restoration.keys() == titles
        assert images[f"{i}/samples"].shape == (36, 1, 8, 8)
        assert math.isfinite(each.reconstruction_error)
        for title, score in each.restoration.items():
            assert 0 < score.psnr < 100
            error = (images[f"{i}/restored/{title}"] - images["truth"]).square().flatten(1).mean(1)
            assert score.psnr == pytest.approx(float((-10 * error.log10()).mean()), rel=1e-3)


def test_numbers_are_those_that_each_part_gives_alone(comparison: Comparison, runs: dict[str, Path]) -> None:
    prior, x = genprior.load_prior(runs["vae"]), genprior.load_data(HELD_OUT, size=8).take(torch.arange(4))
    facts = comparison.runs[-1]
    found = genprior.invert(prior, x)
    assert facts.reconstruction_error == pytest.approx(float((found.images - x).square().mean()), rel=1e-4)
    operator = OPERATORS["denoise"](image_shape=(1, 8, 8), seed=0)
    denoised = restored(prior, x, operator, 0.3)
    mse = (denoised.images - x).square().flatten(1).mean(1)
    assert facts.restoration["noise of 0.3"].psnr == pytest.approx(float((-10 * mse.log10()).mean()), rel=1e-3)
    assert (denoised.shown - x).std() > 0.1


def test_only_a_flow_inverts_without_error(comparison: Comparison) -> None:
    errors = {each.family: each.reconstruction_error for each in comparison.runs}
    assert errors.pop("Glow") < 1e-8
    assert min(errors.values()) > 1e-4


def test_likelihood_stands_where_there_is_one(comparison: Comparison, runs: dict[str, Path]) -> None:
    found = dict(zip(runs, comparison.runs, strict=True))
    assert found["gan"].bits_per_dim is None
    assert found["glo"].likelihood == "none"
    assert "D = 64" in found["glow"].likelihood
    assert "variational dequantisation" in found["glow"].likelihood
    nats = torch.tensor(found["vae"].nats)
    assert found["vae"].bits_per_dim == pytest.approx(float(bits_per_dim(nats, 64)))


def test_a_cross_entropy_has_no_likelihood(tmp_path: Path) -> None:
    path = _train(tmp_path / "vae", "vae", likelihood="bernoulli")
    assert _compared(_settings(tmp_path / "out", [path])).runs[0].likelihood == "none"


def test_table_numbers_and_figure_are_saved(comparison: Comparison) -> None:
    out, experiment = comparison.settings.out, EXPERIMENTS["compare"]
    with (out / TABLE).open() as file:
        assert list(csv.reader(file)) == comparison_rows(comparison.runs)
    saved = json.loads((out / COMPARISON).read_text())["runs"]
    assert saved == [each.model_dump() for each in comparison.runs]
    rows = {row[0]: row[1:] for row in comparison_rows(comparison.runs)}
    assert rows["log-likelihood"][:2] == ["none", "none"]
    assert "bits/dim" in rows["log-likelihood"][2]
    assert experiment.lines(comparison)[-1] == f"{comparison.runs[-1].run}: log-likelihood by " + (
        comparison.runs[-1].likelihood
    )
    assert experiment.figures is not None
    assert experiment.figures(comparison.settings, comparison) == {"table": out / TABLE, "figure": out / FIGURE}
    assert (out / FIGURE).stat().st_size > 1000


def test_draws_bring_their_means_and_what_their_balls_hold(runs: dict[str, Path], tmp_path: Path) -> None:
    settings = _settings(tmp_path / "out", [runs["vae"], runs["glow"]]).model_copy(update={"draws": 9})
    found = _compared(settings)
    images = load_file(settings.out / IMAGES)
    for i, run in enumerate(found.runs):
        for title, score in run.restoration.items():
            assert score.drawn is not None
            assert score.drawn.promised == pytest.approx(0.8)
            error = (images[f"{i}/mean of draws/{title}"] - images["truth"]).square().flatten(1).mean(1)
            assert score.drawn.psnr == pytest.approx(float((-10 * error.log10()).mean()), rel=1e-3)
    rows = [row[0] for row in comparison_rows(found.runs)]
    assert rows.count("  mean of draws") == rows.count("  balls of 80% hold") == len(TASKS)
    draw = EXPERIMENTS["compare"].figures
    assert draw is not None
    assert draw(settings, found)["figure"].stat().st_size > 1000


@pytest.mark.parametrize("draws", [1, 8])
def test_too_few_draws_are_refused(draws: int, runs: dict[str, Path], tmp_path: Path) -> None:
    settings = _settings(tmp_path / "out", [runs["vae"]]).model_copy(update={"draws": draws})
    with pytest.raises(GenpriorError, match=f"draws: expected 0 or at least 9, got {draws}"):
        _first_stage(settings)


def test_an_interrupted_comparison_measures_what_is_left(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = _settings(tmp_path / "out", [runs["vae"], runs["glo"]])
    whole = _compared(_settings(tmp_path / "whole", [runs["vae"], runs["glo"]]))
    task = carry_out(EXPERIMENTS["compare"], settings)
    for stage in task:
        if stage.what == f"{runs['vae']}: measured":
            break
    task.close()
    left = read_result(part_of(settings.out / COMPARISON), Comparison)
    assert left is not None
    assert not left.is_complete
    measured: list[torch.Tensor] = []
    monkeypatch.setattr(module, "inverted", lambda prior, x: measured.append(x) or inverted(prior, x))
    found = _compared(settings)
    assert len(measured) == 1
    assert found.runs[0] == left.runs[0]
    assert [each.reconstruction_error for each in found.runs] == [each.reconstruction_error for each in whole.runs]
    ours, others = (load_file(folder / IMAGES) for folder in (settings.out, tmp_path / "whole"))
    assert ours.keys() == others.keys()
    assert all(torch.equal(value, others[name]) for name, value in ours.items())


def test_a_comparison_made_anew_leaves_no_table_or_figure_of_the_old_one(runs: dict[str, Path], tmp_path: Path) -> None:
    settings = _settings(tmp_path, [runs["vae"]])
    next(carry_out(EXPERIMENTS["compare"], settings))
    stale = [tmp_path / TABLE, tmp_path / FIGURE]
    for path in stale:
        path.write_text("old")
    next(carry_out(EXPERIMENTS["compare"], settings, overwrite=True))
    assert not any(path.exists() for path in stale)


def test_runs_that_were_trained_further_are_measured_again(runs: dict[str, Path], tmp_path: Path) -> None:
    copy = Path(shutil.copytree(runs["vae"], tmp_path / "vae"))
    settings = _settings(tmp_path / "out", [copy, runs["glo"]])
    task = carry_out(EXPERIMENTS["compare"], settings)
    while next(task).what != f"{copy}: measured":
        pass
    task.close()
    prepared = resumed_run(copy, {"images_seen": 64})
    for _ in execute(prepared.run, prepared.learner, prepared.data):
        pass
    assert _compared(settings).runs[0].images_seen == 64


def test_a_folder_of_something_else_is_left_alone(runs: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "table.csv").write_text("mine")
    with pytest.raises(GenpriorError, match=r"out: .*out exists and holds no comparison; choose another folder"):
        _first_stage(_settings(tmp_path / "out", [runs["vae"]]))
    with pytest.raises(GenpriorError, match="out: expected the name of a folder, got"):
        _first_stage(_settings(tmp_path / "out" / "table.csv", [runs["vae"]]))


def test_a_finished_comparison_is_not_replaced(comparison: Comparison) -> None:
    with pytest.raises(GenpriorError, match=r"comparison.json exists; replace it with --overwrite"):
        _first_stage(comparison.settings)


def test_inversion_is_timed_for_each_image(runs: dict[str, Path]) -> None:
    x = genprior.load_data(HELD_OUT, size=8).take(torch.arange(3))
    found = inverted(genprior.load_prior(runs["gan"]), x)
    assert found.error.shape == found.psnr.shape == (3,)
    assert 0 < found.seconds < 60


def test_different_data_are_noted(runs: dict[str, Path], tmp_path: Path) -> None:
    file = runs["gan"] / "config.json"
    before = file.read_text()
    file.write_text(signed(before.replace('"digits[:64]"', '"mnist:all"')))
    try:
        notes = _first_stage(_settings(tmp_path / "out", [runs["gan"], runs["vae"]])).notes
        assert any("trained on different data: digits[:64], mnist:all" in note for note in notes)
        assert any("whether" in note and "has learned these images is not known: no " in note for note in notes)
    finally:
        file.write_text(before)


def test_the_likelihood_of_a_vae_is_its_bound_times_the_width_of_a_level(runs: dict[str, Path]) -> None:
    run = open_run(runs["vae"])
    state, x = trained_checkpoint(run.checkpoints).tensors, genprior.load_data(HELD_OUT, size=8).take(torch.arange(4))
    networks = run.config._trained(state, (1, 8, 8), average=True).eval()
    bound = importance_weighted_bound(
        networks.encoder,
        lambda z, x: Gaussian(0.35)(networks.decoder.logits(z), x),
        x,
        100,
        derived_generator(0, "importance samples"),
    )
    told = run.config.log_probability(state, (1, 8, 8), x)
    assert told is not None
    torch.testing.assert_close(told.nats, bound + 64 * math.log(1 / 255))


# Bad input.


@pytest.mark.parametrize("held_out", ["digits[:1]", "nowhere", "digits:test"])
def test_held_out_images_that_cannot_be_used_are_named(runs: dict[str, Path], tmp_path: Path, held_out: str) -> None:
    with pytest.raises(GenpriorError, match=r"^held_out: "):
        _first_stage(_settings(tmp_path / "out", [runs["vae"]], held_out))


def test_images_of_different_shapes_are_not_compared(runs: dict[str, Path], tmp_path: Path) -> None:
    other = _train(tmp_path / "large", "vae", size=12)
    with pytest.raises(GenpriorError, match=r"these make different ones .*1x8x8.*1x12x12"):
        _first_stage(_settings(tmp_path / "out", [runs["vae"], other]))


def test_points_are_not_compared(make_run: Callable[..., Run], tmp_path: Path) -> None:
    with pytest.raises(GenpriorError, match="models points; images are compared"):
        _first_stage(_settings(tmp_path / "out", [make_run().path]))


def test_an_untrained_run_is_found_at_once(runs: dict[str, Path], tmp_path: Path) -> None:
    prepared = new_run(tmp_path / "new", parse_config({"family": "vae", **TINY, **SETTINGS["vae"]}))
    with pytest.raises(GenpriorError, match=r"run: .*new has no checkpoint; train it first"):
        _first_stage(_settings(tmp_path / "out", [runs["gan"], prepared.run.path]))


def test_a_run_is_judged_on_what_it_holds_out(runs: dict[str, Path], tmp_path: Path) -> None:
    settings = _settings(tmp_path / "out", [runs["vae"], runs["glow"]], None, count=100)
    assert _first_stage(settings).notes == ("6 images of digits[:64], held out",)


def test_images_that_a_run_has_learned_are_told(runs: dict[str, Path], tmp_path: Path) -> None:
    notes = _first_stage(_settings(tmp_path / "out", [runs["vae"]], "digits[:70]", count=70)).notes
    assert notes[1] == f"{runs['vae']} has learned 58 of these 70 images: what is measured on them is not held-out"


def test_held_out_images_must_be_named_where_a_run_has_learned_all(tmp_path: Path) -> None:
    run = _train(tmp_path / "all", "vae", held_out=0)
    with pytest.raises(GenpriorError, match=r"^held_out: the run has learned from all images of digits\[:64\]"):
        _first_stage(_settings(tmp_path / "out", [run], None))


@pytest.mark.parametrize("count", [1, 0, -3])
def test_one_image_is_too_few(runs: dict[str, Path], tmp_path: Path, count: int) -> None:
    with pytest.raises(GenpriorError, match=rf"count: expected at least 2 images, got {count}"):
        _first_stage(_settings(tmp_path / "out", [runs["vae"]], count=count))
