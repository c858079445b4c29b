"""The probe of min and max on a run: what is trained, what is saved, what is said, and what is refused."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from genprior.config import parse_config
from genprior.diagnosis.capacity import Agreement, Opposed, OuterMoment, Told
from genprior.diagnosis.collapse import Descended, InnerMoment
from genprior.errors import GenpriorError
from genprior.jobs import mode_finder
from genprior.jobs.collapse import CollapseProbe, in_packs
from genprior.jobs.collapse_words import AGAIN, as_table, paragraphs
from genprior.jobs.sizes import Sizes, sized
from genprior.models import players
from genprior.runs import Run, execute, new_run
from genprior.runs.history import load_age
from genprior.runs.tensors import save_tensors
from genprior.training.state import grouped

VAE = {"family": "vae", "data": "digits[:64]", "size": 8, "latent_size": 3, "model": "dense:width=8", "batch_size": 8}
WORDS = Sizes({"width 8": "", "width 32": "", "width 64": ""}, "width 32")


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
    monkeypatch.setattr("genprior.jobs.judge.LEAST_ACCURACY", 1.1)
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


@pytest.mark.parametrize(("count", "expected"), [(60_000, 600), (599, 480), (120, 120), (119, 108), (13, 12), (3, 3)])
def test_whole_packs_are_looked_at(count: int, expected: int) -> None:
    assert in_packs(count) == expected


# Words.


def _inner(age: int, *moments: tuple[int | None, float]) -> Descended:
    return Descended(
        age, 0.5, 2.0, [InnerMoment(i, modes, spread, 3.0 * i) for i, (modes, spread) in enumerate(moments)]
    )


def _outer(age: int, small: float, strong: float, cosine: float, reference: float) -> Opposed:
    told = {"width 8": Told(0.6, small), "width 32": Told(0.7, small), "width 64": Told(0.8, strong)}
    agreement = {"width 8": Agreement(cosine, 0.1), "width 32": Agreement(0.5, 0.2), AGAIN: Agreement(reference, 0.3)}
    return Opposed(age, "width 64", [OuterMoment(0, told, agreement), OuterMoment(1, told, agreement)])


FELL, STAYED, ALIKE = _inner(0, (8, 1.0), (1, 0.1)), _inner(48, (8, 1.0), (8, 0.9)), _inner(9, (1, 0.1), (1, 0.0))
WIDE, EVEN = _outer(4, -1.2, -0.8, 0.1, 0.8), _outer(48, -1.2, -1.15, 0.7, 0.8)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([FELL], "The statement that the inner optimum collapses is confirmed on this run."),
        ([STAYED], "is not confirmed on this run. Diversity was still falling at the last step: try more --steps."),
        ([FELL, STAYED], "depends on D's age: it does at 0 images, not at 48. Diversity was still falling"),
        ([FELL, ALIKE], "is confirmed on this run."),
        ([ALIKE], "cannot be told: images were alike before the first step."),
    ],
)
def test_the_inner_verdict_is_by_the_ages_that_had_something_to_lose(found: list[Descended], expected: str) -> None:
    assert expected in paragraphs(found, [WIDE], WORDS)[0]


def test_the_inner_paragraph_tells_modes_diversity_and_logits() -> None:
    text = paragraphs([FELL], [WIDE], WORDS)[0]
    assert "modes went from 8 to 1, half of them were gone at step 1, diversity went from 1.000 to 0.100" in text
    assert "rose from 0.00 to 3.00, that of real images is 0.50, the best of them has 2.00." in text
    far = Descended(0, 0.5, 5.0, FELL.moments)
    assert "that one image for every z would be better, the optimum was not reached" in paragraphs([far], [], WORDS)[0]


@pytest.mark.parametrize(
    ("found", "tells_more", "points"),
    [
        ([WIDE], "is confirmed on this run", "is confirmed on this run"),
        ([EVEN], "is not confirmed on this run", "is not confirmed on this run"),
        ([WIDE, EVEN], "is not confirmed on this run", "depends on G's age: it does at 4 images, not at 48."),
        ([_outer(4, -1.2, -0.8, 0.3, 0.4)], "is confirmed on this run", "is not confirmed on this run"),
        ([_outer(4, -1.2, math.nan, math.nan, 0.8)], "is not confirmed on this run", "is not confirmed on this run"),
    ],
)
def test_the_outer_verdicts(found: list[Opposed], tells_more: str, points: str) -> None:
    _, outer, direction = paragraphs([FELL], found, WORDS)
    assert tells_more in outer
    assert points in direction


def test_numbers_that_are_not_finite_are_null() -> None:
    table = as_table([_inner(0, (None, math.nan), (None, math.inf))], [_outer(4, math.nan, -1.0, math.nan, 1)], WORDS)
    saved = json.loads(json.dumps(table, allow_nan=False))
    assert saved["inner"]["ages"][0]["moments"][0]["diversity"] is None
    assert saved["generators"][0]["moments"][0]["cosines_with_strong"]["width 8"]["weights"] is None
    assert saved["inner"]["outcome"] == "cannot be told"


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
