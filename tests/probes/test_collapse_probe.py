"""The probe of min and max on a run: what is trained, what is saved, what is said, and what is refused."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from genprior.errors import GenpriorError
from genprior.families import parse_config
from genprior.judges import mode_finder
from genprior.models import players
from genprior.probes.collapse_probe import CollapseProbe
from genprior.probes.collapse_rules import AGAIN
from genprior.probes.discriminator_sizes import sized
from genprior.runs.checkpoint import load_age
from genprior.runs.execute import execute
from genprior.runs.files import save_tensors
from genprior.runs.prepare import new_run
from genprior.runs.run_folder import Run
from genprior.training.optimisation import grouped
from tiny_run import make_tiny_run

VAE = {"family": "vae", "data": "digits[:64]", "size": 8, "latent_size": 3, "model": "dense:width=8", "batch_size": 8}


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path) -> Path:
    """A copy, to write into."""
    return Path(shutil.copytree(tiny_run, tmp_path / "run"))


def _measured(probe: CollapseProbe) -> CollapseProbe:
    shares = [stage.fraction for stage in probe.saving()]
    assert shares == sorted(shares)
    assert 0 < shares[0] < shares[-1] == pytest.approx(1)
    return probe


def test_g_meets_d_of_the_kept_ages_and_d_of_all_sizes_the_last_g(run: Path, root: Path) -> None:
    probe = _measured(CollapseProbe(run, steps=2, data_root=root))
    assert [each.images_seen for each in probe.inner] == [0, 48]
    assert [each.images_seen for each in probe.outer] == [48]
    told = probe.outer[0].moments[-1].told
    assert list(told) == ["width 1", "width 4", "width 8", AGAIN]
    assert all(0 <= each.accuracy <= 1 and each.divergence <= math.log(2) for each in told.values())
    assert all(each.modes is not None and 1 <= each.modes <= 10 for each in probe.inner[0].moments)
    assert "run has 2 ages, not 3" in probe.notes[-1]


def test_what_is_done_is_saved_at_once_as_strict_json_and_nothing_else_changes(run: Path, root: Path) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    probe = CollapseProbe(run, steps=1, data_root=root)
    for stage in probe.saving():
        if "inner problem, 48 images: step 0" in stage.what:
            break
    saved = json.loads((run / "probe-collapse.json").read_text(), parse_constant=pytest.fail)
    assert [age["images_seen"] for age in saved["inner"]["ages"]] == [0]
    saved = json.loads(_measured(CollapseProbe(run, steps=1, data_root=root)).save().read_text())
    assert [moment["step"] for moment in saved["generators"][0]["moments"]] == [0, 1]
    assert saved["held_out"] == "digits[:64], kept back"
    assert all(path.read_bytes() == content for path, content in before.items())


def test_the_same_command_gives_the_same_numbers_and_another_seed_others(run: Path, root: Path) -> None:
    first, again, other = (
        _measured(CollapseProbe(run, ages=1, steps=1, seed=seed, data_root=root)) for seed in (0, 0, 1)
    )
    assert (first.inner, first.outer) == (again.inner, again.outer)
    assert first.outer != other.outer


def test_another_loss_than_the_runs_can_be_descended(run: Path, root: Path) -> None:
    own, other = (
        _measured(CollapseProbe(run, ages=1, steps=1, data_root=root, loss=loss)) for loss in (None, "saturating")
    )
    assert own.inner != other.inner
    assert json.loads(own.save().read_text())["loss"] == "non-saturating"
    assert json.loads(other.save().read_text())["loss"] == "saturating"


def test_no_image_is_both_learned_from_and_judged_on(run: Path) -> None:
    probe = CollapseProbe(run)
    assert (len(probe.fitted), len(probe.held_out)) == (52, 12)
    both = torch.cat([probe.fitted.images, probe.held_out.images]).flatten(1)
    assert len(both.unique(dim=0)) == len(probe.probed.data.images.flatten(1).unique(dim=0))


def test_the_good_generator_is_the_average_and_a_young_one_is_as_it_trains(run: Path) -> None:
    probe = CollapseProbe(run)
    average = grouped(probe.probed.states[48], "average")
    met = probe._met(48)
    assert not met.training
    assert all(torch.equal(value, average[name]) for name, value in met.state_dict().items())
    assert probe._met(0).training


def test_a_run_that_kept_generators_only_is_probed_at_its_end_and_says_so(run: Path) -> None:
    for file in (run / "history").glob("*.safetensors"):
        save_tensors(grouped(load_age(file), "generator"), file)
    probe = CollapseProbe(run)
    assert probe.inner_ages == [48]
    assert any("has kept no discriminators but 1" in note for note in probe.notes)


def test_a_run_without_history_is_probed_at_its_end(run: Path, root: Path) -> None:
    shutil.rmtree(run / "history")
    probe = _measured(CollapseProbe(run, steps=1, data_root=root))
    assert [each.images_seen for each in probe.inner + probe.outer] == [48, 48]


def test_points_are_counted_by_the_nearest_centre(make_run: Callable[..., Run]) -> None:
    probe = _measured(CollapseProbe(make_run().path, ages=1, steps=2))
    assert probe.count_modes is not None
    assert probe.count_modes(probe.real) == 8
    assert probe.count_modes(probe.real[:1].expand(50, -1, -1, -1)) == 1
    assert probe.held_out.name == "ring:count=500, kept back"


def test_unlabelled_images_have_diversity_but_no_modes(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise GenpriorError("photos has no labels to train a classifier on", argument="judge")

    monkeypatch.setattr(mode_finder, "judge_data", refuse)
    probe = _measured(CollapseProbe(run, ages=1, steps=1))
    assert probe.inner[0].moments[0].modes is None
    assert probe.inner[0].moments[0].diversity > 0
    assert probe.notes[-1] == "how many modes there are is not known: photos has no labels to train a classifier on"
    assert "modes are not known" in probe.paragraphs()[0]


def test_a_folder_of_pictures_has_no_labels(image_folder: Callable[..., Path], tmp_path: Path) -> None:
    photos = image_folder(20)
    config = {"data": str(photos), "size": 8, "model": "dcgan:generator_width=2,discriminator_width=2,norm=none"}
    prepared = new_run(
        tmp_path / "photos-run", parse_config({**config, "batch_size": 4, "images_seen": 24, "threads": 1})
    )
    for _ in execute(prepared.run, prepared.learner, prepared.data):
        pass
    probe = _measured(CollapseProbe(tmp_path / "photos-run", ages=1, steps=1))
    assert "modes there are is not known" in probe.notes[-1]
    assert "neither known modes nor labels" in probe.notes[-1]


def test_a_classifier_that_is_unsure_is_a_note_unless_it_was_asked_for(
    run: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genprior.judges.classifier_judge.LEAST_ACCURACY", 1.1)
    probe = _measured(CollapseProbe(run, ages=1, steps=1, data_root=root))
    assert "is right on" in probe.notes[-1]
    with pytest.raises(GenpriorError, match=r"^judge: the classifier of digits is right on"):
        list(CollapseProbe(run, ages=1, steps=1, judge="digits", data_root=root).measure())


# Sizes.


@pytest.mark.parametrize(
    ("model", "names", "own"),
    [
        ("dcgan", ["width 8", "width 32", "width 64"], "width 32"),
        ("dcgan:norm=none,discriminator_width=2", ["width 1", "width 2", "width 4"], "width 2"),
        ("dcgan:discriminator_width=1", ["width 1", "width 2"], "width 1"),
        ("dcgan:discriminator_width=4096", ["width 1024", "width 4096"], "width 4096"),
        ("mlp:depth=2", ["width 32", "width 128", "width 256"], "width 128"),
    ],
)
def test_discriminators_are_a_quarter_as_wide_and_twice_as_wide(model: str, names: list[str], own: str) -> None:
    found = sized(model)
    assert list(found.models) == names
    assert (found.small, found.own, found.strong) == (names[0], own, names[-1])


def test_other_options_stay(run: Path) -> None:
    assert sized("dcgan:norm=none").models["width 64"] == "dcgan:norm=none,discriminator_width=64"
    fresh = CollapseProbe(run)
    widths = [fresh._fresh(model).convolutions[0].out_channels for model in fresh.sizes.models.values()]
    assert widths == [1, 4, 8]


def test_a_model_without_a_width_is_used_as_it_is_and_told(
    run: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def plain(image_shape: tuple[int, int, int], latent_size: int, pack: int, norm: str = "none") -> players.Players:
        return players._dcgan(image_shape, latent_size, pack, 4, 4, norm)

    monkeypatch.setitem(players.MODELS, "plain", plain)
    file = run / "config.json"
    file.write_text(file.read_text().replace("dcgan:generator_width=4,discriminator_width=4,", "plain:"))
    probe = _measured(CollapseProbe(run, ages=1, steps=1, data_root=root))
    assert any("has no option for D's width: only its own size is used" in note for note in probe.notes)
    assert list(probe.outer[0].moments[0].agreement) == [AGAIN]
    assert "cannot be told: there is one size only" in probe.paragraphs()[1]


# Packs.


def _packed_run(tmp_path: Path, pack: int, data: str = "digits[:200]") -> Path:
    model = "dcgan:generator_width=2,discriminator_width=2,norm=none"
    config = {"data": data, "size": 8, "model": model, "pack": pack, "batch_size": 2 * pack, "images_seen": 2 * pack}
    prepared = new_run(tmp_path / "packed", parse_config({**config, "threads": 1}))
    for _ in execute(prepared.run, prepared.learner, prepared.data):
        pass
    return tmp_path / "packed"


@pytest.mark.parametrize("pack", [2, 7, 16])
def test_packs_of_any_size_are_filled_and_told(tmp_path: Path, root: Path, pack: int) -> None:
    probe = _measured(CollapseProbe(_packed_run(tmp_path, pack), ages=1, steps=1, data_root=root))
    saved = json.loads(probe.save().read_text())
    assert saved["images_of_a_logit"] == pack
    assert [saved[name] % pack for name in ("samples", "judged_on", "latents_of_gradients")] == [0, 0, 0]
    assert f"divergence of packs of {pack} images of at least" in probe.paragraphs()[1]


def test_groups_of_a_deviation_are_packs(tmp_path: Path) -> None:
    model = "dcgan:generator_width=4,discriminator_width=4,deviation=4,norm=none"
    assert CollapseProbe(make_tiny_run(tmp_path / "grouped", model=model, penalty=["none"])).together == 4


def test_too_few_images_for_two_packs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        GenpriorError, match=r"^run: every fifth of the 64 images of digits\[:64\] is kept back.*here 7"
    ):
        CollapseProbe(_packed_run(tmp_path, 7, "digits[:64]"))


def test_what_is_cut_off_has_no_outcome_and_says_so(run: Path, root: Path) -> None:
    """In the midst of the outer part the averaged generator of the end has not been met."""
    probe, seen = CollapseProbe(run, steps=1, data_root=root), {}
    probe.outer_ages = [0, 48]
    for stage in probe.saving():
        if (run / "probe-collapse.json").exists():
            seen[stage.what] = json.loads((run / "probe-collapse.json").read_text())
    outcomes = {
        what: [saved[part]["outcome"] for part in ("inner", "outer", "direction")] for what, saved in seen.items()
    }
    assert outcomes["inner problem, 48 images: step 0"] == [None, None, None]
    assert outcomes["outer problem, 48 images: step 0"][1:] == [None, None]
    assert None not in outcomes["outer problem, 48 images: step 1"]
    told = seen["outer problem, 48 images: step 0"]["outer"]["told"]
    assert told == "Outer problem. Not measured yet."


@pytest.mark.parametrize(("loss", "expected"), [("relativistic", True), ("wasserstein", True), ("hinge", False)])
def test_that_only_differences_of_logits_count_is_said(run: Path, root: Path, loss: str, expected: bool) -> None:
    probe = _measured(CollapseProbe(run, ages=1, steps=1, data_root=root, loss=loss))
    assert ("Only differences of logits count in this loss." in probe.paragraphs()[0]) is expected


# Bad input.


@pytest.mark.parametrize("name", ["ages", "steps"])
@pytest.mark.parametrize("number", [0, -3])
def test_numbers_are_at_least_one(run: Path, name: str, number: int) -> None:
    with pytest.raises(GenpriorError, match=rf"^{name}: expected at least 1, got {number}$"):
        CollapseProbe(run, **{name: number})


def test_a_run_without_a_discriminator_is_refused(tmp_path: Path) -> None:
    prepared = new_run(tmp_path / "vae", parse_config(VAE))
    with pytest.raises(GenpriorError, match=r"^run: .*has no discriminator; give a run of `genprior train gan`$"):
        CollapseProbe(prepared.run.path)


def test_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GenpriorError, match="is not a run"):
        CollapseProbe(tmp_path / "nowhere")
