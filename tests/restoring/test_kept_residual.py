"""A residual in a run's folder: it comes back as it was, fits its weights alone, and restored images have it."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from finished_jobs import restored_to, restoring_settings

from genprior.errors import GenpriorError
from genprior.models.range_residual import RangeResidual
from genprior.priors.flow_matching_prior import FlowMatchingPrior
from genprior.restoring.job_settings import RestoreSettings
from genprior.runs.kept_residual import RESIDUAL, keep_residual, read_residual, with_kept_residual
from genprior.runs.trained_prior import load_prior
from genprior.settings import validated
from tiny_run import QUICK, make_tiny_run
from velocities import gaussian_field

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
    keep_residual(run, load_prior(run).with_residual(RangeResidual.learned(off, 3)), 40)
    return run


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path) -> Path:
    """A run with a residual."""
    return _with_residual(shutil.copytree(tiny_run, tmp_path / "run"))


def test_a_residual_comes_back_as_it_was(run: Path) -> None:
    found, (record, read) = with_kept_residual(run, load_prior(run)).residual, read_residual(run / RESIDUAL)
    assert found is not None
    assert record.images == 40
    assert found.factors.shape == (64, 3)
    assert torch.equal(found.factors, read.factors)
    assert torch.equal(found.noise, read.noise)


def test_one_that_is_missing_damaged_or_of_other_weights_is_refused(run: Path, tmp_path: Path) -> None:
    other = make_tiny_run(tmp_path / "other", seed=1)
    with pytest.raises(GenpriorError, match=r"residual: .*has none yet; learn one: genprior calibrate"):
        with_kept_residual(other, load_prior(other))
    shutil.copy(run / RESIDUAL, other)
    with pytest.raises(GenpriorError, match="belongs to other weights"):
        with_kept_residual(other, load_prior(other))
    content = bytearray((run / RESIDUAL).read_bytes())
    content[-1] ^= 1
    (run / RESIDUAL).write_bytes(content)
    with pytest.raises(GenpriorError, match=r"is damaged.*checksum"):
        with_kept_residual(run, load_prior(run))


def test_restored_images_have_it_where_it_is_asked_for(run: Path, tmp_path: Path) -> None:
    deviations = []
    for name, changes in (("within", {}), ("beside", {"residual": True})):
        output = restored_to(tmp_path / name, restoring_settings(run, "digits[:2]", **TASK, **changes))
        with (output.path / "table.csv").open() as file:
            deviations.append(sum(float(row["deviation"]) for row in csv.DictReader(file)))
    assert deviations[1] > 1.1 * deviations[0]


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"noise": "none"}, "Gaussian noise of a known level"),
        ({"noise": "poisson:gain=0.1"}, "Gaussian noise of a known level"),
        ({"fidelity": "l1"}, "no other data term"),
    ],
)
def test_draws_that_would_go_without_it_are_refused(
    run: Path, tmp_path: Path, changes: dict[str, object], match: str
) -> None:
    with pytest.raises(GenpriorError, match=match) as caught:
        restored_to(tmp_path / "out", restoring_settings(run, "digits[:2]", **{**TASK, "residual": True, **changes}))
    assert caught.value.argument == "residual"
    assert not (tmp_path / "out").exists()


def test_it_goes_with_draws(run: Path) -> None:
    given = {**TASK, "run": run, "images": "digits[:2]", "draws": 0, "residual": True}
    with pytest.raises(GenpriorError, match="residual: goes with draws"):
        validated(RestoreSettings, given)


def test_another_residual_is_another_job(run: Path, tmp_path: Path) -> None:
    settings = restoring_settings(run, "digits[:2]", **TASK, residual=True)
    restored_to(tmp_path / "out", settings)
    _with_residual(run, 0.2)
    with pytest.raises(GenpriorError, match="residual"):
        restored_to(tmp_path / "out", settings)


def test_the_flag_is_one_of_restore(genprior: Callable[..., str]) -> None:
    assert "--residual" in genprior("restore", "--help")
    assert "--residual" not in genprior("invert", "--help")


def test_a_prior_of_all_images_is_told_at_once_that_nothing_is_beside_it(tmp_path: Path) -> None:
    prior = FlowMatchingPrior(gaussian_field((1, 3, 2)), (1, 3, 2))
    with pytest.raises(GenpriorError, match="has all images in its range; it goes with GAN, GLO, VAE"):
        with_kept_residual(tmp_path, prior)
