"""The probe of equilibrium on a run: what is measured on which images, what is saved and said, what is refused."""

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from genprior.errors import GenpriorError
from genprior.families import GANConfig
from genprior.judges.run_images import unseen_images
from genprior.probes.equilibrium_found import EquilibriumResult, EquilibriumSettings, lines, title
from genprior.probes.equilibrium_probe import EquilibriumSetup, nothing_found, opened_for, stages
from genprior.runs.checkpoint import ages, load_age, load_checkpoint, save_checkpoint
from genprior.runs.run_folder import Run, open_run
from genprior.stored_files import signed
from genprior.training.optimisation import grouped
from genprior.writing import save_tensors
from staged import gone_through
from tiny_run import make_tiny_run


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path) -> Path:
    """A copy, to write into."""
    return Path(shutil.copytree(tiny_run, tmp_path / "run"))


def _opened(run: Path) -> EquilibriumSetup:
    return opened_for(EquilibriumSettings(run=run))


def _measured(run: Path, **changes: object) -> tuple[EquilibriumResult, str]:
    """What is found, and the notes before."""
    found, shares, notes = gone_through(stages(EquilibriumSettings(run=run, **changes), None))
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)
    return found, "\n".join(notes)


def _saved(run: Path, **changes: object) -> dict[str, Any]:
    return json.loads(_measured(run, **changes)[0].model_dump_json(), parse_constant=pytest.fail)


def test_everything_is_measured(run: Path) -> None:
    found, _ = _measured(run, steps=5)
    saved = found.model_dump(mode="json")
    assert found.equilibrium is not None
    assert saved["verdict"] == found.equilibrium.verdict
    assert saved["duality_gap"]["value"] == pytest.approx(
        saved["best_discriminator"]["value"] - saved["best_generator"]["value"]
    )
    seen = (saved["best_discriminator"]["value"] + math.log(4)) / 2
    assert saved["divergence"]["value"] == pytest.approx(max(0, seen))
    assert found.is_complete
    starts = [saved[who]["moments"][0] for who in ("best_discriminator", "best_generator")]
    assert starts[0]["judged"]["value"] == pytest.approx(starts[1]["judged"]["value"])  # that of the run's players
    assert saved["value"]["value"] == starts[0]["judged"]["value"]
    assert [moment["step"] for moment in saved["best_generator"]["moments"]] == [0, 1, 2, 3, 4, 5]
    assert list(saved["told"]) == ["training", "fakes"]
    assert len(saved["path"]["cosines"]) == 25
    assert saved["earlier"] == 0
    assert saved["images_seen"] == 48
    assert saved["rule"]["close_gap_below"] == math.log(4)
    assert saved["terms"] == {}


def test_what_is_measured_so_far_is_saved_and_told_and_a_verdict_only_when_all_adversaries_are_done(run: Path) -> None:
    found = [stage.found for stage in stages(EquilibriumSettings(run=run, steps=3), None) if stage.found is not None]
    verdicts = []
    for each in found:
        saved = json.loads(each.model_dump_json(), parse_constant=pytest.fail)
        assert saved["is_complete"] is False
        assert any(line.startswith("Verdict") for line in lines(each)) is (saved["verdict"] is not None)
        verdicts.append(saved["verdict"] is not None)
        assert (saved["duality_gap"] is not None) is verdicts[-1]
    assert verdicts == [False] * 3 + [True] * 3
    assert found[1].best_discriminator is not None
    assert found[1].best_generator is None


def test_adversaries_learn_from_other_images_than_they_are_judged_on(run: Path) -> None:
    game = _opened(run).game
    parts = [game.data.take(torch.arange(len(game.data))), game.withheld.real, game.reported.real]
    seen = [{x.numpy().tobytes() for x in part} for part in parts]
    assert [len(part) for part in seen] == [40, 12, 12]
    assert not seen[0] & seen[1] | seen[0] & seen[2] | seen[1] & seen[2]
    assert {x.numpy().tobytes() for x in game.known.real} <= seen[0]


def test_a_run_that_held_nothing_out_says_so(run: Path) -> None:
    found, notes = _measured(run, steps=1)
    assert found.held_out is None
    assert "images of the run itself that the adversaries do not see, but D did" in notes
    text = "\n".join(lines(found))
    assert "No images were held out, so whether D knows" in text
    assert "judged by images that the players were trained on" in text.splitlines()[0]


@pytest.mark.parametrize("keep", ["generator", "nothing"])
def test_without_earlier_players_the_path_angle_is_not_known(run: Path, keep: str) -> None:
    for path in ages(open_run(run)).values():
        generator = grouped(load_age(path), "generator")
        path.unlink()
        if keep == "generator":  # as older versions did
            save_tensors(generator, path)
    found, notes = _measured(run, steps=1)
    why = {"generator": "at 0 images the run has kept its generator alone", "nothing": "the run has kept no age"}[keep]
    assert f"the path angle is not known: {why}" in notes
    assert found.path is None
    assert found.path_not_known is not None
    assert found.path_not_known.startswith(why)
    assert lines(found)[-1] == f"Path angle: not known, {found.path_not_known}."


def test_points_are_probed_too_with_new_points_held_out(make_run: Callable[..., Run]) -> None:
    found, notes = _measured(make_run().path, steps=2)
    assert "held out: 10,000 of new points like ring:count=500" in notes
    assert list(found.told) == ["training", "held out", "fakes"]
    assert set(found.gradients) == {"discriminator", "generator"}
    text = "\n".join(lines(found))
    assert "On training images it is better by" in text
    assert "times what sampling noise alone would give" in text


def test_new_points_follow_the_distribution_of_the_old_ones_and_are_others() -> None:
    split = GANConfig(preset="points", data="ring:count=20000").load_split()
    data, new = split.learned, unseen_images(split, seed=3)
    assert new is not None
    assert not {tuple(x.flatten().tolist()) for x in new.images} & {tuple(x.flatten().tolist()) for x in data.images}
    torch.testing.assert_close(new.images.std(0), data.images.std(0), rtol=0.02, atol=0)
    assert new.modes == data.modes


def test_nothing_measured_is_nothing_said(run: Path) -> None:
    found = nothing_found(EquilibriumSettings(run=run), _opened(run))
    assert lines(found) == ["Path angle: not known, not measured."]
    assert found.verdict is None


def test_the_earlier_players_are_those_of_the_last_age_before_the_end(run: Path) -> None:
    default, named = (_measured(run, steps=1, **age)[0] for age in ({}, {"age": 0}))
    assert default.model_copy(update={"settings": named.settings}).model_dump() == named.model_dump()


# Bad input.


@pytest.mark.parametrize("age", [48, 7, -1])
def test_an_age_that_was_not_kept_before_the_end_is_refused(run: Path, age: int) -> None:
    with pytest.raises(GenpriorError, match=rf"^age: expected an age kept before the last checkpoint \(0\), got {age}"):
        _measured(run, age=age)


def test_a_run_on_too_few_images_is_refused(tmp_path: Path) -> None:
    run = make_tiny_run(tmp_path / "few", data="digits[:4]", batch_size=2, images_seen=4, held_out=0)
    with pytest.raises(GenpriorError, match=r"^run: .*has 4 images; 5 or more are needed$"):
        _opened(run)


def test_a_damaged_age_is_told_by_its_file_before_anything_is_measured(run: Path) -> None:
    save_tensors({"generator/layer.weight": torch.zeros(2)}, run / "history" / "16.safetensors")
    with pytest.raises(GenpriorError, match=r"^run: .*history/16\.safetensors does not hold the networks of .*config"):
        _opened(run)


# What it is measured on.


def test_held_out_images_choose_the_best_step_and_others_of_them_are_reported(make_run: Callable[..., Run]) -> None:
    probe = _opened(make_run().path)
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
    path.write_text(signed(json.dumps(config | {"penalty": ["r1:gamma=2,fade=0.1"]})))
    ((penalty,),) = [_opened(run).penalties]
    assert penalty.weight == pytest.approx(share, rel=0.01)
    assert penalty.fade == 1


# Losses of differences of logits.


def _raised(run: Path, by: float) -> None:
    """Adds a number to all logits of the discriminator at the last checkpoint."""
    probed = _opened(run).probed
    checkpoint, _ = load_checkpoint(probed.run.checkpoints)
    assert checkpoint is not None
    name = [name for name in probed.discriminator(probed.last).state_dict() if name.endswith("bias")][-1]
    tensors = checkpoint.tensors | {f"discriminator/{name}": checkpoint.tensors[f"discriminator/{name}"] + by}
    save_checkpoint(probed.run.checkpoints, replace(checkpoint, tensors=tensors))


@pytest.mark.parametrize("loss", ["relativistic", "wasserstein"])
def test_a_number_added_to_all_logits_changes_nothing(make_run: Callable[..., Run], loss: str) -> None:
    run = make_run(loss=loss, penalty=["r1:gamma=0.1"]).path
    before = _saved(run, steps=2)
    _raised(run, 4.0)
    after = _saved(run, steps=2)
    assert before["told"]["training"]["accuracy"] == after["told"]["training"]["accuracy"] not in (0, 1)
    for name in ("value", "divergence", "duality_gap", "played_duality_gap"):
        if before[name] is not None:
            assert after[name]["value"] == pytest.approx(before[name]["value"], abs=1e-4)
    assert before["verdict"] == after["verdict"]


def test_logits_without_a_scale_give_no_verdict_but_a_divergence(make_run: Callable[..., Run]) -> None:
    found, _ = _measured(make_run(loss="wasserstein", penalty=["wgan-gp"]).path, steps=2)
    assert found.is_complete
    assert found.verdict is found.duality_gap is found.value is found.best_generator is None
    assert found.verdict_not_known is not None
    assert "wasserstein leaves the scale of D's logits open" in found.verdict_not_known
    assert found.divergence is not None
    assert found.divergence.value >= 0
    assert lines(found)[0].startswith("Verdict: not known (the loss wasserstein leaves")
    assert title(found).splitlines()[0] == "run: not known"


@pytest.mark.parametrize("pack", [7, 16])
def test_discriminators_of_packs_are_probed(make_run: Callable[..., Run], pack: int) -> None:
    found, _ = _measured(make_run(pack=pack, batch_size=112).path, steps=2)
    assert found.images_at_once == pack
    assert f"of sets of {pack} images" in "\n".join(lines(found))
