"""A residual in a run's folder: it comes back as it was, fits its weights alone, and draws have it."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from finished_jobs import restored_to, restoring_settings

from genprior.calibration.calibration_commands import EXPERIMENTS
from genprior.calibration.residual_results import ResidualSettings, ResidualTable
from genprior.data import load_data
from genprior.errors import GenpriorError
from genprior.models.range_residual import RangeResidual
from genprior.priors import gaussian_posterior
from genprior.priors.flow_matching_prior import FlowMatchingPrior
from genprior.progress import result_of
from genprior.restoration.restore import invert
from genprior.restoration.search_settings import SearchSettings
from genprior.restoring.restore_job import prepare_restoring
from genprior.runs.kept_residual import (
    RESIDUAL,
    ResidualRecord,
    generator_sha256,
    image_sha256,
    keep_residual,
    learned_images,
    load_residual,
    read_residual,
    refuse_without_range,
)
from genprior.runs.trained_prior import load_prior
from genprior.settings import validated
from tiny_run import QUICK, make_tiny_run
from velocities import gaussian_field

EXPERIMENT = EXPERIMENTS["train residual"]
TASK = {
    "operator": "inpaint:box=3",
    "noise": "gaussian:sigma=0.1",
    "simulate": True,
    "draws": 9,
    "resize": True,
    **QUICK,
}


def _with_residual(run: Path, scale: float = 0.1) -> Path:
    off = scale * torch.randn(40, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    record = ResidualRecord(generator_sha256=generator_sha256(load_prior(run)), learned=["0"])
    keep_residual(run, RangeResidual.learned(off, 3), record)
    return run


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path) -> Path:
    """A run with a residual."""
    return _with_residual(shutil.copytree(tiny_run, tmp_path / "run"))


def test_a_residual_comes_back_as_it_was(run: Path) -> None:
    found, (record, read) = load_prior(run).residual, read_residual(run / RESIDUAL)
    assert found is not None
    assert record.learned == ["0"]
    assert found.factors.shape == (64, 3)
    assert torch.equal(found.factors, read.factors)
    assert torch.equal(found.noise, read.noise)


def test_one_of_other_weights_is_not_used_and_a_damaged_one_is_refused(run: Path, tmp_path: Path) -> None:
    other = make_tiny_run(tmp_path / "other", seed=1)
    assert load_prior(other).residual is None
    shutil.copy(run / RESIDUAL, other)
    with pytest.warns(UserWarning, match=r"belongs to other weights.*genprior train residual .*other --overwrite$"):
        assert load_prior(other).residual is None
    assert load_prior(run, average=False).residual is None
    content = bytearray((run / RESIDUAL).read_bytes())
    content[-1] ^= 1
    (run / RESIDUAL).write_bytes(content)
    with pytest.raises(GenpriorError, match=r"is damaged.*checksum.*genprior train residual"):
        load_prior(run)


def test_a_damaged_one_can_be_learned_anew(run: Path) -> None:
    (run / RESIDUAL).write_bytes((run / RESIDUAL).read_bytes()[:-1])
    with pytest.raises(GenpriorError, match="is damaged"):
        load_prior(run)
    settings = validated(ResidualSettings, {"run": run, "images": "digits[100:150]", "threads": 1})
    result_of(EXPERIMENT.stages(settings, None))
    assert load_prior(run).residual is not None


def test_an_encoder_makes_no_difference_to_the_weights_that_it_fits(run: Path) -> None:
    prior = load_prior(run)
    assert load_residual(run, prior.with_encoder(torch.nn.Linear(1, 1))) is not None  # type: ignore[arg-type]


def _deviation(run: Path, out: Path, **changes: object) -> float:
    """The sum of the deviations of two images' draws."""
    output = restored_to(out, restoring_settings(run, "digits[:2]", **{**TASK, **changes}))
    with (output.path / "table.csv").open() as file:
        return sum(float(row["deviation"]) for row in csv.DictReader(file))


@pytest.mark.parametrize(
    "changes", [{}, {"noise": "none"}, {"operator": "blur:sigma=1"}, {"noise": "poisson:gain=0.1"}]
)
def test_draws_have_it(run: Path, tiny_run: Path, tmp_path: Path, changes: dict[str, object]) -> None:
    within = _deviation(tiny_run, tmp_path / "within", **changes)
    assert _deviation(run, tmp_path / "beside", **changes) > 1.1 * within


@pytest.mark.parametrize("changes", [{"noise": "salt-and-pepper:p=0.1"}, {"fidelity": "l1"}])
def test_draws_under_other_noise_go_without_it(
    run: Path, tiny_run: Path, tmp_path: Path, changes: dict[str, object]
) -> None:
    within = _deviation(tiny_run, tmp_path / "within", **changes)
    assert _deviation(run, tmp_path / "beside", **changes) == within


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, ""),
        ({"noise": "poisson:gain=0.1"}, ""),
        ({"noise": "salt-and-pepper:p=0.1"}, "it takes Gaussian noise of a known level, photon counts, or none"),
        ({"fidelity": "l1"}, "--fidelity l1 goes without it"),
        ({"noise": "poisson:gain=0.1", "fidelity": "l2"}, "--fidelity l2 goes without it"),
        ({"operator": "blur:sigma=1"}, "this operator mixes more numbers than there is room for"),
    ],
)
def test_a_line_says_where_it_is_without_effect_and_where_it_would_help(
    run: Path, tiny_run: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], why: str
) -> None:
    monkeypatch.setattr(gaussian_posterior, "MOST_MEASUREMENTS", 10)
    settings = {**TASK, **changes}
    with_one, without = (
        prepare_restoring(restoring_settings(each, "digits[:2]", **settings)).note for each in (run, tiny_run)
    )
    assert with_one.partition("; the run's residual is without effect: ")[2] == why
    assert ("genprior train residual" in without) is (not why)
    few = prepare_restoring(restoring_settings(run, "digits[:2]", **{**settings, "draws": 0}))
    assert "residual" not in few.note


def test_draws_of_latents_go_without_it(run: Path, tiny_run: Path) -> None:
    x = load_data("digits[:1]", size=(8, 8)).take(torch.arange(1))
    found, within = (invert(load_prior(each), x, SearchSettings(draws=9)) for each in (run, tiny_run))
    assert torch.equal(found.draws, within.draws)


def test_another_residual_is_another_job(run: Path, tmp_path: Path) -> None:
    settings = restoring_settings(run, "digits[:2]", **TASK)
    restored_to(tmp_path / "out", settings)
    _with_residual(run, 0.2)
    with pytest.raises(GenpriorError, match="residual"):
        restored_to(tmp_path / "out", settings)


def test_the_command_learns_what_inversions_leave(tiny_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(tiny_run, tmp_path / "run")
    settings = validated(ResidualSettings, {"run": run, "images": "digits[100:150]", "threads": 1})
    found = result_of(EXPERIMENT.stages(settings, None))
    assert isinstance(found, ResidualTable)
    assert found.images == 25  # half: the others are left for a calibration
    assert found.rank == 6
    data = load_data("digits[100:150]", size=(8, 8)).take(torch.arange(50))
    assert learned_images(run) <= {image_sha256(one) for one in data}
    residual = load_prior(run).residual
    assert residual is not None
    variance = residual.noise + residual.factors.square().sum(1)
    assert float(variance.mean().sqrt()) == pytest.approx(found.size, rel=0.01)
    assert f"miss 25 others (digits[100:150]) by {found.size:.3f}" in EXPERIMENT.lines(found)[0]


@pytest.mark.parametrize(
    ("changes", "argument", "match"),
    [
        ({"images": "digits[:10]"}, "images", "at least 20 images are needed"),
        ({"images": "nonsense"}, "images", "nonsense"),
        ({"count": 19}, "count", "20"),
    ],
)
def test_bad_input_is_told_in_a_line(tiny_run: Path, changes: dict[str, object], argument: str, match: str) -> None:
    with pytest.raises(GenpriorError, match=match) as caught:
        next(EXPERIMENT.stages(validated(ResidualSettings, {"run": tiny_run, **changes}), None))
    assert caught.value.argument == argument
    assert "\n" not in str(caught.value)


def test_restore_names_the_command_where_draws_lack_it(
    genprior: Callable[..., str], run: Path, tiny_run: Path, tmp_path: Path
) -> None:
    words = [f"--{name.replace('_', '-')}={value}" for name, value in QUICK.items()]
    task = ["digits[:2]", "--resize", "--simulate", "--operator=inpaint:box=3", "--noise=gaussian:sigma=0.1", *words]
    for number, (each, draws, is_told) in enumerate(((tiny_run, 9, True), (run, 9, False), (tiny_run, 0, False))):
        text = genprior("restore", each, *task, f"--draws={draws}", "--out", tmp_path / str(number))
        assert (f"genprior train residual {each}" in text) is is_told


def test_a_prior_of_all_images_is_told_at_once_that_nothing_is_beside_it(tmp_path: Path) -> None:
    prior = FlowMatchingPrior(gaussian_field((1, 3, 2)), (1, 3, 2))
    with pytest.raises(GenpriorError, match="has all images in its range; a residual goes with GAN, GLO, VAE"):
        refuse_without_range(tmp_path, prior)


@pytest.mark.parametrize("command", ["train residual", "calibrate --operator denoise --noise gaussian:sigma=0.1"])
def test_images_that_are_a_flag_are_named_as_one(genprior: Callable[..., str], tiny_run: Path, command: str) -> None:
    first, *flags = command.split(" --")
    text = genprior(
        *first.split(), tiny_run, *(f"--{flag}".replace(" ", "=") for flag in flags), "--images", "x", code=2
    )
    assert text.startswith("genprior: --images: ")
