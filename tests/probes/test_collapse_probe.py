"""The probe of min and max on a run: what is trained, what is saved, what is said, and what is refused."""

import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from genprior.errors import GenpriorError
from genprior.families import parse_config
from genprior.judges import mode_finder
from genprior.judges.mode_finder import mode_counter
from genprior.judges.trained_judge import CLASSIFIER
from genprior.models import players
from genprior.probes.collapse_probe import MinMaxSetup, nothing_found, opened_for, sized, stages
from genprior.probes.collapse_rules import AGAIN, CollapseResult, CollapseSettings, lines
from genprior.progress import result_of
from genprior.runs.checkpoint import load_age
from genprior.runs.execute import execute
from genprior.runs.prepare import new_run
from genprior.runs.run_folder import Run
from genprior.specs import Spec
from genprior.stored_files import signed
from genprior.training.optimisation import grouped
from genprior.writing import save_tensors
from staged import gone_through
from tiny_run import make_tiny_run


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path) -> Path:
    """A copy, to write into."""
    return Path(shutil.copytree(tiny_run, tmp_path / "run"))


def _settings(run: Path, **changes: object) -> CollapseSettings:
    return CollapseSettings(run=run, **changes)


def _opened(run: Path) -> MinMaxSetup:
    return opened_for(_settings(run))


def _measured(run: Path, **changes: object) -> CollapseResult:
    found, shares, notes = gone_through(stages(_settings(run, **changes), None))
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)
    assert notes == found.notes  # all of them are shown
    return found


def test_g_meets_d_of_the_kept_ages_and_d_of_all_sizes_the_last_g(run: Path, root: Path) -> None:
    found = _measured(run, steps=2, data_root=root)
    assert [each.images_seen for each in found.inner.ages] == [0, 48]
    assert [each.images_seen for each in found.generators] == [48]
    judged = found.generators[0].moments[-1].discriminators
    assert list(judged) == ["width 1", "width 4", "width 8", AGAIN]
    assert all(0 <= each.accuracy <= 1 and each.divergence <= math.log(2) for each in judged.values())
    assert all(each.modes is not None and 1 <= each.modes <= 10 for each in found.inner.ages[0].moments)
    assert "run has 2 ages, not 3" in found.notes[-1]
    assert found.held_out == "digits[:64], kept back"


def test_another_loss_than_the_runs_can_be_descended(run: Path, root: Path) -> None:
    own, other = (_measured(run, ages=1, steps=1, data_root=root, loss=loss) for loss in (None, "saturating"))
    assert own.inner != other.inner
    assert (own.loss, other.loss) == ("non-saturating", "saturating")


def test_no_image_is_both_learned_from_and_judged_on(run: Path) -> None:
    probe = _opened(run)
    assert (len(probe.fitted), len(probe.held_out)) == (52, 12)
    both = torch.cat([probe.fitted.images, probe.held_out.images]).flatten(1)
    assert len(both.unique(dim=0)) == len(probe.probed.data.images.flatten(1).unique(dim=0))


def test_the_good_generator_is_the_average_and_a_young_one_is_as_it_trains(run: Path) -> None:
    probe = _opened(run)
    average = grouped(probe.probed.states[48], "average")
    met = probe.generator(48)
    assert not met.training
    assert all(torch.equal(value, average[name]) for name, value in met.state_dict().items())
    assert probe.generator(0).training


def test_a_run_that_kept_generators_only_is_probed_at_its_end_and_says_so(run: Path) -> None:
    for file in (run / "history").glob("*.safetensors"):
        save_tensors(grouped(load_age(file), "generator"), file)
    found = nothing_found(_settings(run), _opened(run))
    assert found.inner.planned == (48,)
    assert any("has kept no discriminators but 1" in note for note in found.notes)


def test_a_run_without_history_is_probed_at_its_end(run: Path, root: Path) -> None:
    shutil.rmtree(run / "history")
    found = _measured(run, steps=1, data_root=root)
    assert [each.images_seen for each in (*found.inner.ages, *found.generators)] == [48, 48]


def test_points_are_counted_by_the_nearest_centre(make_run: Callable[..., Run]) -> None:
    path = make_run().path
    assert _measured(path, ages=1, steps=2).held_out == "ring:count=500, kept back"
    probed = _opened(path).probed
    count_modes, real = result_of(mode_counter(probed.config, probed.data, None, [])), probed.data.some(500)
    assert count_modes is not None
    assert count_modes(real) == 8
    assert count_modes(real[:1].expand(50, -1, -1, -1)) == 1


def test_unlabelled_images_have_diversity_but_no_modes(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise GenpriorError("photos has no labels to train a classifier on", argument="judge")

    monkeypatch.setattr(mode_finder, "judge_data", refuse)
    found = _measured(run, ages=1, steps=1)
    assert found.inner.ages[0].moments[0].modes is None
    assert found.inner.ages[0].moments[0].diversity > 0
    assert found.notes[-1] == "how many modes there are is not known: photos has no labels to train a classifier on"
    assert "modes are not known" in lines(found)[0]


def test_a_folder_of_pictures_has_no_labels(image_folder: Callable[..., Path], tmp_path: Path) -> None:
    photos = image_folder(20)
    config = {"data": str(photos), "size": 8, "model": "dcgan:generator_width=2,discriminator_width=2,norm=none"}
    prepared = new_run(
        tmp_path / "photos-run", parse_config({**config, "batch_size": 4, "images_seen": 24, "threads": 1})
    )
    for _ in execute(prepared.run, prepared.learner, prepared.data):
        pass
    found = _measured(tmp_path / "photos-run", ages=1, steps=1)
    assert "modes there are is not known" in found.notes[-1]
    assert "neither known modes nor labels" in found.notes[-1]


def test_a_classifier_that_is_unsure_is_a_note_unless_it_was_asked_for(
    run: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genprior.judges.mode_finder.CLASSIFIER", replace(CLASSIFIER, least_accuracy=1.1))
    found = _measured(run, ages=1, steps=1, data_root=root)
    assert "is right on" in found.notes[-1]
    with pytest.raises(GenpriorError, match=r"^judge: the classifier of digits is right on"):
        _measured(run, ages=1, steps=1, judge="digits", data_root=root)


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
    models, name = sized(Spec.parse(model))
    assert (list(models), name) == (names, own)


def test_other_options_stay(run: Path) -> None:
    assert sized(Spec.parse("dcgan:norm=none"))[0]["width 64"] == "dcgan:norm=none,discriminator_width=64"
    opened = _opened(run)
    fresh = [opened.probed.fresh_discriminator(0, 0, model) for model in opened.sizes.values()]
    widths = [each.convolutions[0].out_channels for each in fresh]
    assert widths == [1, 4, 8]


def test_a_model_without_a_width_is_used_as_it_is_and_told(
    run: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def plain(sizes: players.PlayerSizes, norm: str = "none") -> players.Players:
        return players._dcgan(sizes, 4, 4, norm)

    monkeypatch.setitem(players.MODELS, "plain", plain)
    file = run / "config.json"
    file.write_text(signed(file.read_text().replace("dcgan:generator_width=4,discriminator_width=4,", "plain:")))
    found = _measured(run, ages=1, steps=1, data_root=root)
    assert any("has no option for D's width: only its own size is used" in note for note in found.notes)
    assert list(found.generators[0].moments[0].cosines_with_strong) == [AGAIN]
    assert "cannot be told: there is one size only" in lines(found)[1]


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
    found = _measured(_packed_run(tmp_path, pack), ages=1, steps=1, data_root=root)
    assert found.images_of_a_logit == pack
    assert [each % pack for each in (found.samples, found.judged_on, found.latents_of_gradients)] == [0, 0, 0]
    assert f"divergence of packs of {pack} images of at least" in lines(found)[1]


def test_groups_of_a_deviation_are_packs(tmp_path: Path) -> None:
    model = "dcgan:generator_width=4,discriminator_width=4,deviation=4,norm=none"
    assert _opened(make_tiny_run(tmp_path / "grouped", model=model, penalty=["none"])).together == 4


def test_too_few_images_for_two_packs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        GenpriorError, match=r"^run: every fifth of the 58 images of digits\[:64\] is kept back.*here 7"
    ):
        _opened(_packed_run(tmp_path, 7, "digits[:64]"))


def test_what_is_cut_off_has_no_outcome_and_says_so(make_run: Callable[..., Run]) -> None:
    """In the midst of the outer part the averaged generator of the end has not been met."""
    run = make_run(images_seen=2000).path  # keeps 0, 1,000 and 2,000 images
    seen = [stage.found for stage in stages(_settings(run, ages=2, steps=1), None) if stage.found is not None]
    outcomes = [(each.inner.outcome, each.outer.outcome, each.direction.outcome) for each in seen]
    assert outcomes[0] == (None, None, None)
    assert outcomes[1][0] is not None
    assert outcomes[2][1:] == (None, None)
    assert None not in outcomes[3]
    assert seen[2].outer.told == "Outer problem. Not measured yet."


@pytest.mark.parametrize(("loss", "expected"), [("relativistic", True), ("wasserstein", True), ("hinge", False)])
def test_that_only_differences_of_logits_count_is_said(run: Path, root: Path, loss: str, expected: bool) -> None:
    found = _measured(run, ages=1, steps=1, data_root=root, loss=loss)
    assert ("Only differences of logits count in this loss." in lines(found)[0]) is expected
