"""Calibration as a command: faults that are planted are named, results resume and read back, bad input is one line."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from genprior.calibration import posterior_draws
from genprior.calibration.calibration_commands import EXPERIMENTS
from genprior.calibration.calibration_experiment import examples, judged, own_truths, residuals_of
from genprior.calibration.calibration_inputs import Assumed, held_out, opened
from genprior.calibration.calibration_results import (
    Calibration,
    CalibrationSettings,
    RankTest,
    culprit_of,
    verdict_line,
)
from genprior.calibration.posterior_draws import PosteriorDraws, draws_of
from genprior.calibration.residual_results import ResidualSettings, ResidualTable
from genprior.data import load_data
from genprior.errors import GenpriorError
from genprior.families import MixtureConfig
from genprior.priors.flow_matching_prior import FlowMatchingPrior
from genprior.priors.mixture_prior import MixturePrior
from genprior.progress import result_of
from genprior.report.collect import collect
from genprior.report.page import page_of
from genprior.restoration.fidelity import L2
from genprior.restoration.noise import gaussian, measure
from genprior.restoration.operators import Operator, blur, inpaint
from genprior.restoration.restore import restore
from genprior.restoration.search_settings import SEARCHES
from genprior.runs import trained_prior
from genprior.runs.execute import execute
from genprior.runs.experiment import carry_out, part_of, read_result
from genprior.runs.kept_residual import image_sha256, learned_images
from genprior.runs.prepare import new_run
from genprior.runs.trained_prior import load_prior
from genprior.seeding import derived_seed
from genprior.settings import validated
from mixtures import image_mixture
from tiny_run import make_tiny_run
from velocities import gaussian_field

SHAPE, SIGMA = (1, 8, 8), 0.05
TASK = {"operator": "inpaint:box=4", "noise": "gaussian:sigma=0.1", "count": 12, "draws": 9, "threads": 1}
EXPERIMENT = EXPERIMENTS["calibrate"]


def narrow(*given: Any) -> PosteriorDraws:  # noqa: ANN401 - as a sampler is called
    """Draws that stopped half way from their mean."""
    drawn = draws_of(*given)
    mean = drawn.x.mean(1, keepdim=True)
    return drawn._replace(x=mean + 0.6 * (drawn.x - mean))


def ignoring(*given: Any) -> PosteriorDraws:  # noqa: ANN401 - as a sampler is called
    """Draws of the prior, whatever was measured."""
    prior, y, _, _, count, seed, first = given
    each = [prior.sample(count, derived_seed(seed, "ignoring", first + i)) for i in range(len(y))]
    return PosteriorDraws(torch.stack(each), None)


def assumed(operator: Operator, **changes: Any) -> Assumed:  # noqa: ANN401 - fields of any type
    prior = MixturePrior(image_mixture(SHAPE), SHAPE)
    return dataclasses.replace(Assumed(prior, operator, gaussian(SIGMA), SIGMA, draws=19, seed=0), **changes)


def culprit(given: Assumed, true: Operator | None = None, noise: float = SIGMA, offset: float = 0.0) -> str | None:
    """What is blamed for draws where measurements were made otherwise, of images that are brighter by `offset`."""
    own = result_of(judged(given, *own_truths(given, 60), "own"))
    x = given.prior.sample(60, seed=1) + offset
    y = measure(x, true or given.operator, gaussian(noise), seed=2)
    return culprit_of(own.level, residuals_of(given, x, y), result_of(judged(given, x, y, "held-out")).level)


@pytest.mark.parametrize("operator", [inpaint(SHAPE, box=4), inpaint(SHAPE, random=0.5), blur(SHAPE, sigma=0.8)])
def test_nothing_is_blamed_where_nothing_is_wrong(operator: Operator) -> None:
    assert culprit(assumed(operator)) is None


def test_each_fault_is_blamed_on_its_culprit() -> None:
    hole = inpaint(SHAPE, box=4)
    assert culprit(assumed(hole, sampler=narrow)) == "sampler"
    assert culprit(assumed(hole, sampler=ignoring)) == "sampler"
    assert culprit(assumed(hole), inpaint(SHAPE, box=4, left=3, top=2)) == "operator"
    assert culprit(assumed(hole), noise=1.5 * SIGMA) == "noise level"
    assert culprit(assumed(hole), noise=SIGMA / 1.5) == "noise level"
    assert culprit(assumed(hole), offset=0.1) == "prior"


@pytest.mark.parametrize(
    ("factor", "ball_factor", "test", "verdict"),
    [
        (1.2, 0.9, "balls: evenly spread", "overconfident"),
        (0.8, 0.9, "projections: evenly spread", "timid"),
        (1.04, 0.9, "pixels in intervals", "misshapen"),
        (0.9, 0.97, "balls: not too far out", "misshapen"),
        (1.04, 0.9, "projections: evenly spread", "off-centre"),
    ],
)
def test_the_verdict_says_what_is_wrong(run: Path, factor: float, ball_factor: float, test: str, verdict: str) -> None:
    level = result_of(judged(*_measured_in_a_hole(), "held-out")).level
    tests = level.tests | {test: RankTest(z=99.0, p=1e-4)}
    changes = {"p": 1e-4, "factor": factor, "ball_factor": ball_factor, "tests": tests}
    found = Calibration(settings=settings_of(run), held_out=level.model_copy(update=changes))
    assert found.culprit == "prior"
    assert found.verdict == verdict


def _measured_in_a_hole() -> tuple[Assumed, Tensor, Tensor]:
    given = assumed(inpaint(SHAPE, box=4))
    x = given.prior.sample(30, seed=1)
    return given, x, measure(x, given.operator, gaussian(SIGMA), seed=2)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mixture(tmp_path_factory.mktemp("runs") / "mixture", held_out=0.2)


def mixture(folder: Path, held_out: float) -> Path:
    """A mixture of digits of 8 x 8 pixels."""
    config = {
        "data": "digits[:200]",
        "components": 2,
        "rank": 3,
        "size": 8,
        "images_seen": 200,
        "threads": 1,
        "held_out": held_out,
    }
    prepared = new_run(folder, MixtureConfig.model_validate(config))
    for _ in execute(prepared.run, prepared.learner, prepared.data):
        pass
    return prepared.run.path


def settings_of(run: Path, **changes: object) -> CalibrationSettings:
    return validated(CalibrationSettings, {"run": run, **TASK, **changes})


def learn(run: Path, **changes: object) -> ResidualTable:
    """Has a run learn what its range lacks."""
    settings = validated(ResidualSettings, {"run": run, "threads": 1, **changes})
    return result_of(carry_out(EXPERIMENTS["train residual"], settings))


def test_a_result_resumes_reads_back_and_is_put_into_words_and_drawn(run: Path) -> None:
    settings = settings_of(run, repair=True)
    task = carry_out(EXPERIMENT, settings, overwrite=True)
    while next(task).found is None:
        pass
    task.close()
    kept = read_result(part_of(EXPERIMENT.file(settings)), Calibration)
    assert kept is not None
    assert kept.own is not None
    assert kept.held_out is None

    def failing(found: object) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        result_of(carry_out(EXPERIMENT, settings, draw=failing))
    kept = read_result(part_of(EXPERIMENT.file(settings)), Calibration)
    assert kept is not None
    found = result_of(carry_out(EXPERIMENT, settings))
    assert (found.own, found.held_out, found.repair) == (kept.own, kept.held_out, kept.repair)
    assert found == result_of(EXPERIMENT.stages(settings, None))
    saved = json.loads(EXPERIMENT.file(settings).read_text(), parse_constant=pytest.fail)
    assert saved["culprit"] == found.culprit
    assert read_result(EXPERIMENT.file(settings), Calibration) is not None
    lines = EXPERIMENT.lines(found)
    assert found.verdict in lines[0]
    assert any("repair: balls" in line for line in lines)
    assert EXPERIMENT.figures is not None
    assert all(path.stat().st_size > 5000 for path in EXPERIMENT.figures(settings, found).values())
    page = page_of([collect(run, "mixture")])
    assert verdict_line(found) in page
    assert page.count('class="drawn"') == 1


def test_real_measurements_are_judged_instead_of_simulated_ones(run: Path, tmp_path: Path) -> None:
    """Here they were made with thrice the noise that is named."""
    x = load_data("digits[200:240]", size=(8, 8)).take(torch.arange(40))
    operator = inpaint(SHAPE, box=4)
    np.save(tmp_path / "y.npy", measure(x, operator, gaussian(0.3), seed=0).numpy())
    given = {"images": "digits[200:240]", "measurements": tmp_path / "y.npy", "count": 40}
    found = result_of(EXPERIMENT.stages(settings_of(run, **given), None))
    assert found.residuals is not None
    assert found.residuals.size == pytest.approx(3, rel=0.1)
    assert found.culprit == "noise level"


def test_a_run_that_holds_out_too_few_is_told_of_the_flag(tmp_path: Path) -> None:
    run = mixture(tmp_path / "run", held_out=0.02)
    with pytest.raises(GenpriorError, match=r"at least 10 images, .* has \d: name others with --images$"):
        next(EXPERIMENT.stages(settings_of(run), None))


@pytest.mark.parametrize(
    ("changes", "argument", "match"),
    [
        ({"noise": "none"}, "noise", "above 0"),
        ({"noise": "poisson"}, "noise", "one known level"),
        ({"operator": "inpaint:box=40"}, "operator", "box"),
        ({"images": "digits[:5]"}, "images", "at least 10"),
        ({"images": "nonsense"}, "images", "nonsense"),
        ({"images": "digits[:20]", "measurements": "nowhere.npy"}, "measurements", "nowhere"),
        ({"measurements": "y.npy"}, "measurements", "--images"),
        ({"draws": 3}, "draws", "9"),
        ({"preset": "thorough"}, "preset", "leave --preset out"),
        ({"preset": "through"}, "preset", "through"),
    ],
)
def test_bad_input_is_told_in_a_line(run: Path, changes: dict[str, object], argument: str, match: str) -> None:
    with pytest.raises(GenpriorError, match=match) as caught:
        next(EXPERIMENT.stages(settings_of(run, **changes), None))
    assert caught.value.argument == argument
    assert "\n" not in str(caught.value)


def test_measurements_of_another_shape_are_refused(run: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "y.npy", np.zeros((40, 3)))
    with pytest.raises(GenpriorError, match="expected finite numbers of shape"):
        next(EXPERIMENT.stages(settings_of(run, images="digits[:20]", measurements=tmp_path / "y.npy"), None))


@pytest.mark.parametrize("dtype", [np.uint8, np.complex64])
def test_measurements_that_are_no_floats_are_refused(run: Path, tmp_path: Path, dtype: type) -> None:
    np.save(tmp_path / "y.npy", np.ones((40, 1, 28, 28), dtype))
    with pytest.raises(GenpriorError, match=f"expected floats .*, got {np.dtype(dtype)}"):
        next(EXPERIMENT.stages(settings_of(run, images="digits[:20]", measurements=tmp_path / "y.npy"), None))


def test_priors_of_latents_are_calibrated_too(tiny_run: Path) -> None:
    settings = settings_of(tiny_run, images="digits[200:220]", count=20, draws=19)
    found = result_of(EXPERIMENT.stages(settings, None))
    assert found.is_complete
    assert found.verdict


def test_a_preset_that_is_not_the_default_stands_in_the_verdict_and_one_of_searches_is_refused(
    tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Calibration(settings=settings_of(run), is_complete=True, weights="")
    thorough = found.model_copy(update={"settings": settings_of(run, preset="thorough")})
    assert [", preset thorough: " in verdict_line(each) for each in (found, thorough)] == [False, True]
    prior = FlowMatchingPrior(gaussian_field(SHAPE, 0.5, 0.25).float(), SHAPE)
    monkeypatch.setattr(trained_prior, "load_prior", lambda _: prior)
    with pytest.raises(GenpriorError, match="preset: 'study' is about searches"):
        opened(settings_of(tmp_path, operator="inpaint:box=2", preset="study"))
    operator = inpaint(SHAPE, box=4)
    with pytest.raises(GenpriorError, match="preset: draws of this run are made in one way"):
        draws_of(MixturePrior(image_mixture(SHAPE), SHAPE), torch.zeros(1, *SHAPE), operator, 0.1, 2, 0, preset="fast")


@pytest.mark.parametrize("preset", ["fast", "thorough"])
def test_draws_of_flow_matching_are_calibrated_as_a_preset_makes_them(
    preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prior = FlowMatchingPrior(gaussian_field(SHAPE, 0.5, 0.25).float(), SHAPE)
    monkeypatch.setattr(trained_prior, "load_prior", lambda _: prior)
    given, _ = opened(settings_of(tmp_path, operator="inpaint:box=2", preset=preset))
    _, y = own_truths(given, 2)
    found = given.sampler(prior, y, given.operator, given.sigma, 3, 5, 0).x
    settings = dataclasses.replace(SEARCHES[preset], draws=3)
    expected = restore(prior, y, given.operator.physics, settings, fidelity=L2(), noise_level=given.sigma, seed=5).draws
    torch.testing.assert_close(found, expected)
    other = draws_of(prior, y, given.operator, given.sigma, 3, 5)
    assert float((other.x - found).abs().amax()) > 1e-3


def test_progress_is_told_after_few_images_where_draws_take_long(
    tiny_run: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path, told in ((tiny_run, [4, 8, 10]), (run, [10])):
        given, _ = opened(settings_of(path))
        x, y = own_truths(given, 10)
        task = judged(dataclasses.replace(given, sampler=ignoring), x, y, "own")
        assert [int(stage.what.split()[0]) for stage in task] == told


def test_images_whose_draws_do_not_mix_are_counted_and_said(tiny_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(tiny_run, images="digits[200:220]", count=12, draws=9)
    for bound, lines in ((0.0, 2), (float("inf"), 0)):  # no R-hat is below 1
        monkeypatch.setattr(posterior_draws, "MIXED", bound)
        monkeypatch.setattr(posterior_draws, "LEAST_EFFECTIVE", 0)
        found = result_of(EXPERIMENT.stages(settings, None))
        assert found.own is not None
        assert found.own.not_mixed == (12 if lines else 0)
        assert sum("12 of 12 did not mix" in line for line in EXPERIMENT.lines(found)) == lines


def test_truths_have_what_a_residual_adds_and_those_it_was_learned_from_are_not_judged(
    tiny_run: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(tiny_run, tmp_path / "run")
    settings = settings_of(run, images="digits[200:240]", count=10, draws=19)
    within = result_of(EXPERIMENT.stages(settings, None))
    learn(run, images="digits[200:240]", count=20)
    beyond = result_of(EXPERIMENT.stages(settings, None))
    assert beyond.weights != within.weights  # what an interrupted calibration without it has left is of no use
    assert beyond.own is not None
    assert within.held_out is not None
    assert beyond.held_out is not None
    assert beyond.own.p > 0.01
    assert beyond.held_out.ball_factor < 0.8 * within.held_out.ball_factor
    x, _, notes = held_out(settings.model_copy(update={"count": 30}), opened(settings)[0])
    assert notes == ["20 held-out images, not 30: there are no more"]
    assert not {image_sha256(one) for one in x} & learned_images(run)
    assert len(list(examples(settings, 2))) == 2
    few = settings_of(run, images="digits[215:225]", count=10)
    with pytest.raises(GenpriorError, match=r"has [0-9] that the run's residual was not learned from"):
        held_out(few, opened(few)[0])


def test_measured_images_keep_their_order_whatever_the_residual_has_learned(tiny_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(tiny_run, tmp_path / "run")
    learn(run, images="digits[200:240]", count=20)
    np.save(tmp_path / "y.npy", np.zeros((40, 1, 8, 8)))
    settings = settings_of(run, images="digits[200:240]", count=12, measurements=tmp_path / "y.npy")
    x, _, _ = held_out(settings, opened(settings)[0])
    expected = load_data("digits[200:240]", size=(8, 8), channels=1).take(torch.arange(12))
    torch.testing.assert_close(x, expected)


def test_oblong_colour_images_are_calibrated_beside_their_range(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (40, 16, 24, 3), generator=generator, dtype=torch.uint8)
    np.save(tmp_path / "colour.npy", images.numpy())
    run = make_tiny_run(tmp_path / "run", data=str(tmp_path / "colour.npy"), size=None, model="pyramid")
    learn(run, images=str(tmp_path / "colour.npy"), count=20)
    settings = settings_of(run, operator="inpaint:box=3", images=str(tmp_path / "colour.npy"), count=10)
    found = result_of(EXPERIMENT.stages(settings, None))
    assert found.own is not None
    assert found.own.p > 0.01
    residual = load_prior(run).residual
    assert residual is not None
    assert len(residual.noise) == 3 * 16 * 24


def test_the_command_names_the_verdict(genprior: Callable[..., str], run: Path) -> None:
    words = [f"--{name}={value}" for name, value in TASK.items()]
    text = genprior("calibrate", run, *words, "--overwrite")
    assert "truths from the prior" in text
    assert "reliability figure" in text
