"""The probe of saturation on a run: which ages, what is saved, what is said, and what is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from genprior.diagnosis.retraining import Moment, Retrained
from genprior.errors import GenpriorError
from genprior.families import parse_config
from genprior.probes.opened_gan import spread
from genprior.probes.saturation_probe import SaturationProbe, verdict
from genprior.runs.checkpoint import ages, load_age, load_state
from genprior.runs.prepare import new_run
from genprior.runs.run_folder import Run, open_run

VAE = {"family": "vae", "data": "digits[:64]", "size": 8, "latent_size": 3, "model": "dense:width=8", "batch_size": 8}


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path) -> Path:
    """A copy, to write into."""
    return Path(shutil.copytree(tiny_run, tmp_path / "run"))


def _measured(probe: SaturationProbe) -> SaturationProbe:
    shares = [stage.fraction for stage in probe.measure()]
    assert shares == sorted(shares)
    assert 0 < shares[0] < shares[-1] == 1
    return probe


def test_kept_ages_and_the_last_checkpoint_are_probed(run: Path) -> None:
    probe = _measured(SaturationProbe(run, steps=2))
    assert [each.images_seen for each in probe.found] == [0, 48]
    first = ages(open_run(run))[0]
    assert all(torch.equal(value, probe.probed.states[0][name]) for name, value in load_age(first).items())
    assert any("has 2 ages of its generator, not 3" in note for note in probe.notes)


def test_the_last_generator_is_that_of_the_last_step_without_averaging(run: Path) -> None:
    probe = SaturationProbe(run)
    state = load_state(probe.probed.run.checkpoints)
    expected = probe.probed.config.generator(state, (1, 8, 8), average=False)
    assert expected is not None
    for name, value in probe.probed.generator(48).state_dict().items():
        assert torch.equal(expected.state_dict()[name], value)


def test_a_run_without_history_is_probed_at_its_end_and_says_so(run: Path) -> None:
    shutil.rmtree(run / "history")
    probe = SaturationProbe(run, steps=1)
    assert list(probe.probed.states) == [48]
    assert any("has kept no earlier ages of its generator" in note for note in probe.notes)


def test_each_seed_is_a_discriminator_of_its_own_and_the_same_at_each_age(run: Path) -> None:
    probe = _measured(SaturationProbe(run, steps=1, seeds=2, seed=5))
    assert [(each.images_seen, each.seed) for each in probe.found] == [(0, 5), (0, 6), (48, 5), (48, 6)]
    starts = [each.moments[0] for each in probe.found]
    on_real = [start.real_logit for start in starts]  # before the first step; it depends on the discriminator alone
    assert on_real[:2] == on_real[2:]
    assert on_real[0] != on_real[1]
    alone = _measured(SaturationProbe(run, steps=1, ages=1, seed=6))
    assert alone.found[0].moments == probe.found[3].moments


def test_numbers_are_saved_as_strict_json(run: Path) -> None:
    probe = _measured(SaturationProbe(run, steps=2))
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    saved = json.loads(probe.save().read_text(), parse_constant=pytest.fail)
    assert [age["images_seen"] for age in saved["ages"]] == [0, 48]
    (discriminator,) = saved["ages"][1]["discriminators"]
    assert discriminator["decades_fallen"] == probe.found[1].decades
    assert [moment["step"] for moment in discriminator["moments"]] == [0, 1, 2]
    assert discriminator["moments"][2]["gradient_norm"] == probe.found[1].moments[2].gradient_norm
    assert saved["confirmed"] is False
    assert saved["verdict"] == verdict(probe.found)
    assert all(path.read_bytes() == content for path, content in before.items())


def test_points_are_probed_too(make_run: Callable[..., Run]) -> None:
    probe = _measured(SaturationProbe(make_run().path, steps=2, ages=1))
    assert probe.found[0].moments[-1].gradient_norm["saturating"] > 0


# Words.


def _found(images_seen: int, saturating: list[float], other: list[float]) -> Retrained:
    moments = [
        Moment(i, {"saturating": a, "non-saturating": b}, {}, 1.0, -1.0, 1.0)
        for i, (a, b) in enumerate(zip(saturating, other, strict=True))
    ]
    return Retrained(images_seen, 0, moments)


HOLDS = _found(0, [1.0, 2.0, 1e-3], [1.0, 10.0, 5.0])
TOO_LITTLE = _found(9000, [1.0, 2.0, 1e-1], [1.0, 10.0, 5.0])
BOTH = _found(9000, [1.0, 1e-4, 1e-3], [1.0, 0.05, 5.0])


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
    assert verdict(found).endswith(expected)


def test_gradients_that_vanish_entirely_or_are_ill_are_not_a_number_of_decades(run: Path) -> None:
    probe = SaturationProbe(run, steps=1)
    probe.found = [_found(0, [1.0, 0.0], [float("nan"), 1.0])]
    assert "fell by an unknown number of" in probe.paragraph()
    saved = json.loads(probe.save().read_text(), parse_constant=pytest.fail)
    (discriminator,) = saved["ages"][0]["discriminators"]
    nothing = {"saturating": None, "non-saturating": None}
    assert discriminator["decades_fallen"] == discriminator["last_over_first"] == nothing
    assert discriminator["moments"][0]["gradient_norm"]["non-saturating"] is None


def test_the_paragraph_tells_the_fall_of_both_losses_at_each_age(run: Path) -> None:
    probe = SaturationProbe(run, steps=1)
    probe.found = [HOLDS, TOO_LITTLE]
    text = probe.paragraph()
    assert "At 0 images, a fresh discriminator told 100.0 % right after 2 steps" in text
    assert "fell by 3.3 decades under the saturating loss and by 0.3 under the non-saturating one" in text
    assert "fell by 1.3 decades" in text
    assert "at the last step it was 0.001 times and 5 times what it was at step 0" in text
    assert "at the last step it was 0.1 times and 5 times what it was at step 0" in text


def test_discriminators_of_one_age_are_told_together(run: Path) -> None:
    probe = SaturationProbe(run, steps=1)
    probe.found = [HOLDS, _found(0, [1.0, 1.0, 1e-5], [1.0, 10.0, 10.0])]
    text = probe.paragraph()
    assert text.count("At 0 images") == 1
    assert "fell by 3.3 to 5.0 decades" in text
    assert "it was 1e-05 to 0.001 times and 5 to 10 times what" in text


@pytest.mark.parametrize(
    ("count", "expected"), [(1, [60]), (2, [0, 60]), (3, [0, 4, 60]), (4, [0, 4, 16, 60]), (9, [0, 1, 4, 16, 60])]
)
def test_ages_are_spread_and_the_last_is_among_them(count: int, expected: list[int]) -> None:
    assert spread([0, 1, 4, 16, 60], count) == expected


# Bad input.


@pytest.mark.parametrize("name", ["ages", "steps", "seeds"])
@pytest.mark.parametrize("number", [0, -3])
def test_numbers_are_at_least_one(run: Path, name: str, number: int) -> None:
    with pytest.raises(GenpriorError, match=rf"^{name}: expected at least 1, got {number}$"):
        SaturationProbe(run, **{name: number})


def test_too_many_seeds_are_refused(run: Path) -> None:
    with pytest.raises(GenpriorError, match=r"^seeds: expected at most 100, got 101$"):
        SaturationProbe(run, seeds=101)


def test_a_run_without_a_discriminator_is_refused(tmp_path: Path) -> None:
    prepared = new_run(tmp_path / "vae", parse_config(VAE))
    with pytest.raises(GenpriorError, match=r"^run: .*has no discriminator; give a run of `genprior train gan`$"):
        SaturationProbe(prepared.run.path)


def test_a_run_without_a_checkpoint_is_refused(run: Path) -> None:
    shutil.rmtree(run / "checkpoint")
    with pytest.raises(GenpriorError, match=r"^run: .*has no checkpoint; train it first$"):
        SaturationProbe(run)


def test_a_damaged_age_is_named(run: Path) -> None:
    (run / "history" / "0.safetensors").write_bytes(b"nonsense")
    with pytest.raises(GenpriorError, match=r"^run: .*0\.safetensors cannot be read"):
        SaturationProbe(run)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"digits[:64]"', '"digits[:60]"', "^data: .*is no longer what"),
        ("generator_width=4", "generator_width=5", "^run: .*does not describe the networks"),
    ],
)
def test_a_config_that_was_changed_is_noticed(run: Path, old: str, new: str, message: str) -> None:
    file = run / "config.json"
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(GenpriorError, match=message):
        SaturationProbe(run)
