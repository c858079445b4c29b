"""The probe of saturation on a run: which ages, what is saved, what is said, and what is refused."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from genprior.diagnosis.one_player import Retrained, RetrainingMoment
from genprior.errors import GenpriorError
from genprior.probes.opened_gan import open_probed, spread
from genprior.probes.saturation_probe import RetrainedAge, SaturationResult, SaturationSettings, lines, stages
from genprior.runs.checkpoint import ages, load_age, trained_checkpoint
from genprior.runs.run_folder import Run, open_run
from genprior.settings import validated
from staged import gone_through


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path) -> Path:
    """A copy, to write into."""
    return Path(shutil.copytree(tiny_run, tmp_path / "run"))


def _measured(run: Path, **changes: object) -> tuple[SaturationResult, tuple[str, ...]]:
    """What is found, and the notes before."""
    found, shares, notes = gone_through(stages(SaturationSettings(run=run, **changes), None))
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)
    return found, notes


def test_kept_ages_and_the_last_checkpoint_are_probed(run: Path) -> None:
    found, notes = _measured(run, steps=2)
    assert [each.images_seen for each in found.ages] == [0, 48]
    first = ages(open_run(run))[0]
    assert all(torch.equal(value, open_probed(run, None).states[0][name]) for name, value in load_age(first).items())
    assert any("has 2 ages of its generator, not 3" in note for note in notes)


def test_the_last_generator_is_that_of_the_last_step_without_averaging(run: Path) -> None:
    probed = open_probed(run, None)
    expected = probed.config.generator(trained_checkpoint(probed.run.checkpoints).tensors, (1, 8, 8), average=False)
    assert expected is not None
    for name, value in probed.generator(48).state_dict().items():
        assert torch.equal(expected.state_dict()[name], value)


def test_a_run_without_history_is_probed_at_its_end_and_says_so(run: Path) -> None:
    shutil.rmtree(run / "history")
    found, notes = _measured(run, steps=1)
    assert [each.images_seen for each in found.ages] == [48]
    assert any("has kept no earlier ages of its generator" in note for note in notes)


def test_each_seed_is_a_discriminator_of_its_own_and_the_same_at_each_age(run: Path) -> None:
    found, _ = _measured(run, steps=1, seeds=2, seed=5)
    all_ = [(age.images_seen, each) for age in found.ages for each in age.discriminators]
    assert [(age, each.seed) for age, each in all_] == [(0, 5), (0, 6), (48, 5), (48, 6)]
    on_real = [each.moments[0].real_logit for _, each in all_]  # before the first step: of the discriminator alone
    assert on_real[:2] == on_real[2:]
    assert on_real[0] != on_real[1]
    alone, _ = _measured(run, steps=1, ages=1, seed=6)
    assert alone.ages[0].discriminators[0] == all_[3][1]


def test_points_are_probed_too(make_run: Callable[..., Run]) -> None:
    found, _ = _measured(make_run().path, steps=2, ages=1)
    assert found.ages[0].discriminators[0].moments[-1].gradient_norm["saturating"] > 0


# Words.


def _found(saturating: list[float], other: list[float]) -> Retrained:
    moments = [
        RetrainingMoment(
            step=i,
            gradient_norm={"saturating": a, "non-saturating": b},
            loss_factor={},
            real_logit=1.0,
            fake_logit=-1.0,
            accuracy=1.0,
        )
        for i, (a, b) in enumerate(zip(saturating, other, strict=True))
    ]
    return Retrained(seed=0, moments=moments)


def _result(*found: Retrained, by_age: bool = True, is_complete: bool = True) -> SaturationResult:
    """Of discriminators at 0, 9,000 ... images, or all at 0."""
    ages = [RetrainedAge(images_seen=9000 * i, discriminators=[each]) for i, each in enumerate(found)]
    if not by_age:
        ages = [RetrainedAge(images_seen=0, discriminators=found)]
    settings = SaturationSettings(run="run")
    planned = [age.images_seen for age in ages]
    return SaturationResult(
        settings=settings, is_complete=is_complete, latents=512, batch_size=8, planned=planned, ages=ages
    )


HOLDS = _found([1.0, 2.0, 1e-3], [1.0, 10.0, 5.0])
TOO_LITTLE = _found([1.0, 2.0, 1e-1], [1.0, 10.0, 5.0])
BOTH = _found([1.0, 1e-4, 1e-3], [1.0, 0.05, 5.0])


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([HOLDS], "is confirmed on this run."),
        ([TOO_LITTLE], "is not confirmed on this run. The fall was still going on at the last step: try more --steps."),
        ([BOTH], "is not confirmed on this run."),
        ([HOLDS, BOTH], "depends on the generator's age: it holds at 0 images, not at 9,000."),
    ],
)
def test_the_verdict_needs_both_halves_at_every_age(found: list[Retrained], expected: str) -> None:
    result = _result(*found)
    assert result.verdict.endswith(expected)
    assert result.confirmed is (found == [HOLDS])


def test_what_is_not_complete_has_no_verdict() -> None:
    result = _result(HOLDS, is_complete=False)
    assert result.confirmed is None
    assert result.verdict == "Not all is measured yet."


def test_gradients_that_vanish_entirely_or_are_ill_are_not_a_number_of_decades() -> None:
    result = _result(_found([1.0, 0.0], [float("nan"), 1.0]))
    assert "fell by an unknown number of" in lines(result)[0]
    (discriminator,) = result.model_dump(mode="json")["ages"][0]["discriminators"]
    nothing = {"saturating": None, "non-saturating": None}
    assert discriminator["decades_fallen"] == discriminator["last_over_first"] == nothing
    assert '"non-saturating":null' in result.ages[0].discriminators[0].moments[0].model_dump_json()


def test_the_paragraph_tells_the_fall_of_both_losses_at_each_age() -> None:
    (text,) = lines(_result(HOLDS, TOO_LITTLE))
    assert "At 0 images, a fresh discriminator told 100.0 % right after 2 steps" in text
    assert "fell by 3.3 decades under the saturating loss and by 0.3 under the non-saturating one" in text
    assert "fell by 1.3 decades" in text
    assert "at the last step it was 0.001 times and 5 times what it was at step 0" in text
    assert "at the last step it was 0.1 times and 5 times what it was at step 0" in text


def test_discriminators_of_one_age_are_told_together() -> None:
    (text,) = lines(_result(HOLDS, _found([1.0, 1.0, 1e-5], [1.0, 10.0, 10.0]), by_age=False))
    assert text.count("At 0 images") == 1
    assert "fell by 3.3 to 5.0 decades" in text
    assert "it was 1e-05 to 0.001 times and 5 to 10 times what" in text


@pytest.mark.parametrize(
    ("count", "expected"), [(1, [60]), (2, [0, 60]), (3, [0, 4, 60]), (4, [0, 4, 16, 60]), (9, [0, 1, 4, 16, 60])]
)
def test_ages_are_spread_and_the_last_is_among_them(count: int, expected: list[int]) -> None:
    assert spread([0, 1, 4, 16, 60], count) == expected


@pytest.mark.parametrize(("name", "number"), [("ages", 0), ("seeds", 0), ("seeds", 101)])
def test_numbers_out_of_range_are_refused(name: str, number: int) -> None:
    with pytest.raises(GenpriorError, match=rf"^{name}: input should be .* than or equal to .*, got {number}$"):
        validated(SaturationSettings, {"run": "run", name: number})
