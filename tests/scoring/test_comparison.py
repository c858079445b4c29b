"""Runs side by side: what is measured, saved, and refused."""

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import genprior
from genprior.data.spec import parse_spec
from genprior.errors import GenpriorError
from genprior.evaluation.comparison import TASKS, inverted, restored
from genprior.evaluation.image_quality import importance_weighted_bound
from genprior.families import parse_config
from genprior.judges.run_images import may_share
from genprior.models.autoencoder import Gaussian
from genprior.models.image_flow import bits_per_dim
from genprior.restoration.operators import OPERATORS
from genprior.runs.checkpoint import load_state
from genprior.runs.execute import execute
from genprior.runs.prepare import new_run
from genprior.runs.run_folder import Run, open_run
from genprior.scoring.comparison_experiment import Comparison, save, table_of
from genprior.seeding import derived_generator
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


@pytest.fixture(scope="module")
def comparison(runs: dict[str, Path]) -> Comparison:
    found = Comparison(list(runs.values()), HELD_OUT, count=4)
    shares = [stage.fraction for stage in found.measure()]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    return found


def test_every_family_is_measured_on_every_task(comparison: Comparison) -> None:
    for each in comparison.found:
        assert each.tasks.keys() == {task.title for task in TASKS.values()}
        assert each.samples.shape == (36, 1, 8, 8)
        assert math.isfinite(each.facts["reconstruction_error"])
        assert all(0 < told["psnr"] < 100 for told in each.facts["restoration"].values())


def test_numbers_are_those_that_each_part_gives_alone(comparison: Comparison, runs: dict[str, Path]) -> None:
    prior, x = genprior.load_prior(runs["vae"]), genprior.load_data(HELD_OUT, size=8).take(torch.arange(4))
    facts = comparison.found[-1].facts
    found = genprior.invert(prior, x)
    assert facts["reconstruction_error"] == pytest.approx(float((found.images - x).square().mean()), rel=1e-4)
    operator = OPERATORS["denoise"](image_shape=(1, 8, 8), seed=0)
    denoised = restored(prior, x, operator, 0.3)
    mse = (denoised.images - x).square().flatten(1).mean(1)
    assert facts["restoration"]["noise of 0.3"]["psnr"] == pytest.approx(float((-10 * mse.log10()).mean()), rel=1e-3)
    assert (denoised.shown - x).std() > 0.1


def test_only_a_flow_inverts_without_error(comparison: Comparison) -> None:
    errors = {each.facts["family"]: each.facts["reconstruction_error"] for each in comparison.found}
    assert errors.pop("Glow") < 1e-8
    assert min(errors.values()) > 1e-4


def test_likelihood_stands_where_there_is_one(comparison: Comparison, runs: dict[str, Path]) -> None:
    told = {name: each.facts for name, each in zip(runs, comparison.found, strict=True)}
    assert told["gan"]["bits_per_dim"] is None
    assert told["glo"]["likelihood"] == "none"
    assert "D = 64" in told["glow"]["likelihood"]
    assert "variational dequantisation" in told["glow"]["likelihood"]
    nats = torch.tensor(told["vae"]["nats"])
    assert told["vae"]["bits_per_dim"] == pytest.approx(float(bits_per_dim(nats, 64)))


def test_a_cross_entropy_has_no_likelihood(tmp_path: Path) -> None:
    path = _train(tmp_path / "vae", "vae", likelihood="bernoulli")
    comparison = Comparison([path], HELD_OUT, count=2)
    list(comparison.measure())
    assert comparison.found[0].facts["likelihood"] == "none"


def test_table_and_numbers_are_saved(comparison: Comparison, tmp_path: Path) -> None:
    save(comparison.found, tmp_path / "out")
    with (tmp_path / "out" / "table.csv").open() as file:
        assert list(csv.reader(file)) == table_of(comparison.found)
    saved = json.loads((tmp_path / "out" / "comparison.json").read_text())["runs"]
    assert saved == [each.facts for each in comparison.found]
    rows = {row[0]: row[1:] for row in table_of(comparison.found)}
    assert rows["log-likelihood"][:2] == ["none", "none"]
    assert "bits/dim" in rows["log-likelihood"][2]


def test_inversion_is_timed_for_each_image(runs: dict[str, Path]) -> None:
    x = genprior.load_data(HELD_OUT, size=8).take(torch.arange(3))
    found = inverted(genprior.load_prior(runs["gan"]), x)
    assert found.error.shape == found.psnr.shape == (3,)
    assert 0 < found.seconds < 60


def test_different_data_are_told(runs: dict[str, Path]) -> None:
    file = runs["gan"] / "config.json"
    before = file.read_text()
    file.write_text(before.replace('"digits[:64]"', '"mnist:all"'))
    try:
        comparison = Comparison([runs["gan"], runs["vae"]], HELD_OUT, count=2)
        assert any("trained on different data: digits[:64], mnist:all" in note for note in comparison.notes)
        assert not any("may hold these images" in note for note in comparison.notes)
    finally:
        file.write_text(before)


@pytest.mark.parametrize(
    ("trained", "held_out", "expected"),
    [
        ("mnist", "mnist:test[:100]", False),
        ("mnist:all", "mnist:test[:100]", True),
        ("mnist:test[:300]", "mnist:test[:100]", True),
        ("mnist:test[100:]", "mnist:test[:100]", False),
        ("mnist", "mnist:train", True),
        ("digits[:64]", "digits[64:]", False),
        ("digits", "digits[64:]", True),
        ("mnist", "fashion-mnist:test", False),
    ],
)
def test_images_that_a_run_may_have_seen_are_known(trained: str, held_out: str, expected: bool) -> None:
    assert may_share(parse_spec(trained), parse_spec(held_out)) is expected


def test_the_likelihood_of_a_vae_is_its_bound_times_the_width_of_a_level(runs: dict[str, Path]) -> None:
    run = open_run(runs["vae"])
    state, x = load_state(run.checkpoints), genprior.load_data(HELD_OUT, size=8).take(torch.arange(4))
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
def test_held_out_images_that_cannot_be_used_are_named(runs: dict[str, Path], held_out: str) -> None:
    with pytest.raises(GenpriorError, match=r"^held_out: "):
        Comparison([runs["vae"]], held_out)


def test_images_of_different_shapes_are_not_compared(runs: dict[str, Path], tmp_path: Path) -> None:
    other = _train(tmp_path / "large", "vae", size=12)
    with pytest.raises(GenpriorError, match=r"these make different ones .*1x8x8.*1x12x12"):
        Comparison([runs["vae"], other], HELD_OUT)


def test_points_are_not_compared(make_run: Callable[..., Run]) -> None:
    with pytest.raises(GenpriorError, match="models points; images are compared"):
        Comparison([make_run().path], HELD_OUT)


def test_an_untrained_run_is_found_at_once(runs: dict[str, Path], tmp_path: Path) -> None:
    prepared = new_run(tmp_path / "new", parse_config({"family": "vae", **TINY, **SETTINGS["vae"]}))
    with pytest.raises(GenpriorError, match=r"run: .*new has no checkpoint; train it first"):
        Comparison([runs["gan"], prepared.run.path], HELD_OUT)


def test_held_out_images_must_be_named_where_the_data_have_none(runs: dict[str, Path]) -> None:
    with pytest.raises(GenpriorError, match=r"held_out: digits\[:64\] has no test images of its own"):
        Comparison([runs["vae"]])


@pytest.mark.parametrize("count", [1, 0, -3])
def test_one_image_is_too_few(runs: dict[str, Path], count: int) -> None:
    with pytest.raises(GenpriorError, match=rf"count: expected at least 2 images, got {count}"):
        Comparison([runs["vae"]], HELD_OUT, count=count)
