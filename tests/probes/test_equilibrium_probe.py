"""The probe of equilibrium on a run: what is measured on which images, what is saved and said, what is refused."""

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from genprior.data import load_data
from genprior.errors import GenpriorError
from genprior.families import GANConfig, parse_config
from genprior.judges.run_images import held_out_of
from genprior.probes.equilibrium_found import Found, facts, paragraph, title
from genprior.probes.equilibrium_probe import EquilibriumProbe
from genprior.runs.checkpoint import ages, load_age, load_checkpoint, save_checkpoint
from genprior.runs.files import save_tensors
from genprior.runs.prepare import new_run
from genprior.runs.run_folder import Run, open_run
from genprior.training.optimisation import grouped
from tiny_run import make_tiny_run

VAE = {"family": "vae", "data": "digits[:64]", "size": 8, "latent_size": 3, "model": "dense:width=8", "batch_size": 8}


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path) -> Path:
    """A copy, to write into."""
    return Path(shutil.copytree(tiny_run, tmp_path / "run"))


def _measured(probe: EquilibriumProbe) -> EquilibriumProbe:
    shares = [stage.fraction for stage in probe.measure()]
    assert shares == sorted(shares)
    assert 0 < shares[0] < shares[-1] == 1
    return probe


def test_everything_is_measured_and_saved_as_strict_json(run: Path) -> None:
    probe = _measured(EquilibriumProbe(run, steps=5))
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    saved = json.loads(probe.save().read_text(), parse_constant=pytest.fail)
    found = probe.found
    assert found.equilibrium is not None
    assert saved["verdict"] == found.equilibrium.verdict
    assert saved["duality_gap"]["value"] == pytest.approx(
        saved["best_discriminator"]["value"] - saved["best_generator"]["value"]
    )
    seen = (saved["best_discriminator"]["value"] + math.log(4)) / 2
    assert saved["divergence"]["value"] == pytest.approx(max(0, seen))
    assert saved["complete"] is True
    starts = [saved[who]["moments"][0] for who in ("best_discriminator", "best_generator")]
    assert starts[0]["judged"]["value"] == pytest.approx(starts[1]["judged"]["value"])  # that of the run's players
    assert saved["value"]["value"] == starts[0]["judged"]["value"]
    assert [moment["step"] for moment in saved["best_generator"]["moments"]] == [0, 1, 2, 3, 4, 5]
    assert list(saved["told"]) == ["training", "fakes"]
    assert len(saved["path"]["cosines"]) == 25
    assert saved["earlier"] == 0
    assert saved["images_seen"] == 48
    assert saved["rule"]["close_gap_below"] == math.log(4)
    assert all(path.read_bytes() == content for path, content in before.items())


def test_the_same_settings_give_the_same_numbers_and_another_seed_others(run: Path) -> None:
    texts = [_measured(EquilibriumProbe(run, steps=2, seed=seed)).save().read_text() for seed in (0, 0, 1)]
    assert texts[0] == texts[1]
    assert json.loads(texts[0])["value"] != json.loads(texts[2])["value"]


def test_what_is_measured_so_far_can_be_saved_and_told(run: Path) -> None:
    probe = EquilibriumProbe(run, steps=3)
    for stage in probe.measure():
        saved = json.loads(probe.save().read_text(), parse_constant=pytest.fail)
        assert probe.paragraph()
        if stage.what.startswith("a better discriminator, step 1"):
            assert saved["verdict"] is None
            assert len(saved["best_discriminator"]["moments"]) == 2
            assert saved["best_generator"] is None


def test_adversaries_learn_from_other_images_than_they_are_judged_on(run: Path) -> None:
    game = EquilibriumProbe(run).game
    parts = [game.data.take(torch.arange(len(game.data))), game.withheld.real, game.reported.real]
    seen = [{x.numpy().tobytes() for x in part} for part in parts]
    assert [len(part) for part in seen] == [40, 12, 12]
    assert not seen[0] & seen[1] | seen[0] & seen[2] | seen[1] & seen[2]
    assert {x.numpy().tobytes() for x in game.known.real} <= seen[0]


def test_a_run_that_held_nothing_out_says_so(run: Path) -> None:
    probe = EquilibriumProbe(run, steps=1)
    assert probe.held_out is None
    assert any("images of the run itself that the adversaries do not see, but D did" in note for note in probe.notes)
    text = _measured(probe).paragraph()
    assert "No images were held out, so whether D knows" in text
    assert "judged by images that the players were trained on" in text.splitlines()[0]


@pytest.mark.parametrize("keep", ["generator", "nothing"])
def test_without_earlier_players_the_path_angle_is_not_known(run: Path, keep: str) -> None:
    for path in ages(open_run(run)).values():
        generator = grouped(load_age(path), "generator")
        path.unlink()
        if keep == "generator":  # as older versions did
            save_tensors(generator, path)
    probe = _measured(EquilibriumProbe(run, steps=1))
    why = {"generator": "at 0 images the run has kept its generator alone", "nothing": "has kept no age"}[keep]
    assert any(f"the path angle is not known: {why}" in note or why in note for note in probe.notes)
    assert f"Path angle: not known, {probe.no_path}." in probe.paragraph()
    assert json.loads(probe.save().read_text())["path"] == {"not_known": probe.no_path}


def test_points_are_probed_too_with_new_points_held_out(make_run: Callable[..., Run]) -> None:
    probe = _measured(EquilibriumProbe(make_run().path, steps=2))
    assert probe.held_out is not None
    assert len(probe.held_out) == 10_000
    assert list(probe.found.told) == ["training", "held out", "fakes"]
    assert set(probe.found.gradients) == {"discriminator", "generator"}
    text = probe.paragraph()
    assert "On training images it is better by" in text
    assert "times what sampling noise alone would give" in text


def test_new_points_follow_the_distribution_of_the_old_ones_and_are_others() -> None:
    data = load_data("ring:count=20000")
    new = held_out_of(GANConfig(preset="points"), data, seed=3)
    assert new is not None
    assert not {tuple(x.flatten().tolist()) for x in new.images} & {tuple(x.flatten().tolist()) for x in data.images}
    torch.testing.assert_close(new.images.std(0), data.images.std(0), rtol=0.02, atol=0)
    assert new.modes == data.modes


@pytest.mark.parametrize("spec", ["mnist:all", "mnist:test", "mnist:split=all[:50]", "emnist:letters,split=test"])
def test_test_images_that_were_trained_on_are_not_held_out(spec: str) -> None:
    assert held_out_of(GANConfig(data=spec), load_data("digits[:5]"), 0) is None


def test_a_source_without_a_test_split_holds_nothing_out(tmp_path: Path) -> None:
    assert held_out_of(GANConfig(data="digits"), load_data("digits[:5]"), 0) is None
    config = GANConfig(data="no-such-source", data_root=str(tmp_path))
    assert held_out_of(config, load_data("digits[:5]"), 0) is None


@pytest.mark.usefixtures("made_mnist")
def test_the_test_split_is_held_out() -> None:
    found = held_out_of(GANConfig(data="mnist[:50]", size=14), load_data("mnist[:50]"), 0)
    assert found is not None
    assert found.name == "mnist:test"
    assert found.images.shape == (20, 1, 14, 14)


def test_nothing_measured_is_nothing_said() -> None:
    assert paragraph(Found(), "the run has kept nothing") == "Path angle: not known, the run has kept nothing."
    assert facts(Found(), None)["verdict"] is None


# Bad input.


@pytest.mark.parametrize("steps", [0, -3])
def test_steps_are_at_least_one(run: Path, steps: int) -> None:
    with pytest.raises(GenpriorError, match=rf"^steps: expected at least 1, got {steps}$"):
        EquilibriumProbe(run, steps=steps)


@pytest.mark.parametrize("age", [48, 7, -1])
def test_an_age_that_was_not_kept_before_the_end_is_refused(run: Path, age: int) -> None:
    with pytest.raises(GenpriorError, match=rf"^age: expected an age kept before the last checkpoint \(0\), got {age}"):
        EquilibriumProbe(run, age=age)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GenpriorError, match=r"^run: .*is not a run"):
        EquilibriumProbe(tmp_path)


def test_a_run_without_a_discriminator_is_refused(tmp_path: Path) -> None:
    prepared = new_run(tmp_path / "vae", parse_config(VAE))
    with pytest.raises(GenpriorError, match=r"^run: .*has no discriminator; give a run of `genprior train gan`$"):
        EquilibriumProbe(prepared.run.path)


def test_an_untrained_run_is_refused(run: Path) -> None:
    shutil.rmtree(run / "checkpoint")
    with pytest.raises(GenpriorError, match=r"^run: .*has no checkpoint; train it first$"):
        EquilibriumProbe(run)


def test_a_run_on_too_few_images_is_refused(tmp_path: Path) -> None:
    run = make_tiny_run(tmp_path / "few", data="digits[:4]", batch_size=2, images_seen=4)
    with pytest.raises(GenpriorError, match=r"^run: .*has 4 images; 5 or more are needed$"):
        EquilibriumProbe(run)


def test_a_damaged_age_is_told_by_its_file_before_anything_is_measured(run: Path) -> None:
    save_tensors({"generator/layer.weight": torch.zeros(2)}, run / "history" / "16.safetensors")
    with pytest.raises(GenpriorError, match=r"^run: .*history/16\.safetensors does not hold the networks of .*config"):
        EquilibriumProbe(run)


# What an interrupted probe says, and what it is measured on.


def test_a_verdict_is_given_only_when_all_adversaries_have_taken_their_steps(run: Path) -> None:
    probe = EquilibriumProbe(run, steps=3)
    for stage in probe.measure():
        saved = json.loads(probe.save().read_text())
        assert saved["complete"] is (stage.what == "all measured")
        if stage.what.startswith("a better generator, step 3"):
            assert saved["verdict"] is saved["duality_gap"] is None
            assert "Verdict" not in probe.paragraph()
    assert saved["verdict"] is not None


def test_held_out_images_choose_the_best_step_and_others_of_them_are_reported(make_run: Callable[..., Run]) -> None:
    probe = EquilibriumProbe(make_run().path)
    game, held_out = probe.game, probe.held_out
    assert held_out is not None
    assert len(game.data) == len(probe.probed.data) == 500
    unseen = {x.numpy().tobytes() for x in held_out.images}
    withheld, reported = ({x.numpy().tobytes() for x in part.real} for part in (game.withheld, game.reported))
    assert withheld <= unseen
    assert reported <= unseen
    assert not withheld & reported


@pytest.mark.parametrize(
    ("budget", "share"), [({"images_seen": 96}, 0.1**0.5), ({"epochs": 0.75}, 0.1), ({"minutes": 60}, 1.0)]
)
def test_a_fading_penalty_has_the_weight_that_it_had_at_the_checkpoint(
    run: Path, budget: dict[str, float], share: float
) -> None:
    """The run has seen 48 of 64 images, in about a second."""
    path = run / "config.json"
    config = json.loads(path.read_text()) | {"images_seen": None} | budget
    path.write_text(json.dumps(config | {"penalty": ["r1:gamma=2,fade=0.1"]}))
    ((penalty,),) = [EquilibriumProbe(run).penalties]
    assert penalty.weight == pytest.approx(share, rel=0.01)
    assert penalty.fade == 1


# Losses of differences of logits.


def _raised(run: Path, by: float) -> None:
    """Adds a number to all logits of the discriminator at the last checkpoint."""
    probed = EquilibriumProbe(run).probed
    checkpoint, _ = load_checkpoint(probed.run.checkpoints)
    assert checkpoint is not None
    name = [name for name in probed.discriminator(probed.last).state_dict() if name.endswith("bias")][-1]
    tensors = checkpoint.tensors | {f"discriminator/{name}": checkpoint.tensors[f"discriminator/{name}"] + by}
    save_checkpoint(probed.run.checkpoints, replace(checkpoint, tensors=tensors))


@pytest.mark.parametrize("loss", ["relativistic", "wasserstein"])
def test_a_number_added_to_all_logits_changes_nothing(make_run: Callable[..., Run], loss: str) -> None:
    run = make_run(loss=loss, penalty=["r1:gamma=0.1"]).path
    before = json.loads(_measured(EquilibriumProbe(run, steps=2)).save().read_text())
    _raised(run, 4.0)
    after = json.loads(_measured(EquilibriumProbe(run, steps=2)).save().read_text())
    assert before["told"]["training"]["accuracy"] == after["told"]["training"]["accuracy"] not in (0, 1)
    for name in ("value", "divergence", "duality_gap", "played_duality_gap"):
        if before[name] is not None:
            assert after[name]["value"] == pytest.approx(before[name]["value"], abs=1e-4)
    assert before["verdict"] == after["verdict"]


def test_logits_without_a_scale_give_no_verdict_but_a_divergence(make_run: Callable[..., Run]) -> None:
    probe = _measured(EquilibriumProbe(make_run(loss="wasserstein", penalty=["wgan-gp"]).path, steps=2))
    saved = json.loads(probe.save().read_text())
    assert saved["complete"] is True
    assert saved["verdict"] is saved["duality_gap"] is saved["value"] is saved["best_generator"] is None
    assert "wasserstein leaves the scale of D's logits open" in saved["verdict_not_known"]
    assert saved["divergence"]["value"] >= 0
    assert probe.paragraph().startswith("Verdict: not known (the loss wasserstein leaves")
    assert title(probe.found, "run").splitlines()[0] == "run: not known"


@pytest.mark.parametrize("pack", [7, 16])
def test_discriminators_of_packs_are_probed(make_run: Callable[..., Run], pack: int) -> None:
    probe = _measured(EquilibriumProbe(make_run(pack=pack, batch_size=112).path, steps=2))
    assert probe.found.at_once == pack
    assert f"of sets of {pack} images" in probe.paragraph()
