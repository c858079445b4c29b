"""Looks at held-out images while a run trains: they change nothing, survive a kill, and end training where asked."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from genprior.errors import GenpriorError
from genprior.families import FAMILIES, parse_config
from genprior.progress import Stage
from genprior.restoration.search_settings import SearchSettings
from genprior.runs import held_out_looks as module
from genprior.runs.best_weights import ScoredAge, impatience, scored_ages, weights_in_words
from genprior.runs.checkpoint import load_checkpoint
from genprior.runs.execute import TrainingOutcome, execute
from genprior.runs.held_out_looks import HeldOutLooks, held_out_bits, held_out_score
from genprior.runs.lined_files import write_lines
from genprior.runs.prepare import PreparedRun, new_run, resumed_run
from genprior.runs.run_folder import Run, open_run
from genprior.runs.step_rows import read_rows
from genprior.runs.summary import summary
from genprior.runs.trained_prior import load_prior
from small import gone_through

SMALL = {
    "gan": {"preset": "pyramid", "model": "pyramid:generator_width=2,discriminator_width=2", "latent_size": 4},
    "glo": {"model": "pyramid:generator_width=2", "latent_size": 4},
    "flow-matching": {"model": "unet:width=4,levels=1,blocks=1"},
    "glow": {"levels": 1, "steps": 1, "width": 4},
    "mixture": {"components": 2, "rank": 2},
    "vae": {"model": "dense:width=8,depth=1", "latent_size": 4},
}
COMMON = {"held_out": 0.1, "batch_size": 8, "images_seen": 48, "threads": 1, "precision": "float32", "score_every": 16}
CASES = [(family, shape) for family in FAMILIES for shape in ((1, 28, 28), (1, 32, 48))] + [("glo", (3, 64, 64))]


def prepared(path: Path, data: str = "digits[:60]", family: str = "vae", **changes: object) -> PreparedRun:
    return new_run(path, parse_config({"family": family, "data": data, **COMMON, **SMALL[family], **changes}))


def trained(
    ready: PreparedRun, until: float = 1.0, should_stop: Callable[[], bool] = lambda: False
) -> tuple[list[Stage], TrainingOutcome]:
    task = execute(ready.run, ready.learner, ready.data, should_stop, held_out=ready.held_out, until=until)
    return gone_through(task)


def states(run: Run) -> dict[str, torch.Tensor]:
    saved, _ = load_checkpoint(run.checkpoints)
    assert saved is not None
    return saved.tensors


def scores(run: Run) -> list[tuple[int, tuple[float, ...]]]:
    return [(age.images_seen, age.psnr) for age in scored_ages(run)]


@pytest.fixture(autouse=True)
def _short_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUICK", SearchSettings(starts=1, iterations=2, second_try=False))


@pytest.fixture
def scored_as(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes looks see these scores in decibels, one after another."""

    def see(*means: float) -> None:
        left: Iterator[float] = iter(means)
        monkeypatch.setattr(module, "held_out_score", lambda prior, x: next(left) + torch.tensor([0.0, 0.1, -0.1]))

    return see


@pytest.mark.parametrize(("family", "shape"), CASES)
def test_the_weights_of_every_family_and_shape_are_scored(
    tmp_path: Path, family: str, shape: tuple[int, int, int]
) -> None:
    channels, height, width = shape
    images = torch.rand(40, height, width, channels, generator=torch.Generator().manual_seed(1))
    np.save(tmp_path / "images.npy", (255 * images).to(torch.uint8).numpy())
    ready = prepared(tmp_path / "run", str(tmp_path / "images.npy"), family)
    trained(ready)
    ages = scored_ages(ready.run)
    assert [age.images_seen for age in ages] == [16, 32, 48]
    prior = load_prior(ready.run.path, weights="best")
    x = prior.sample(2)
    assert x.shape == (2, *shape)
    best = max(ages, key=lambda age: age.mean)
    assert ready.held_out is not None
    if family == "glow":
        assert all(len(age.bits_per_dim) == 4 and not age.psnr and 0 < -age.mean < 20 for age in ages)
        kept = load_checkpoint(ready.run.best)[0]
        assert kept is not None
        assert kept.step == best.step
        again, found = held_out_bits(ready.run.config, kept, ready.held_out.some(256)), best.bits_per_dim
    else:
        assert all(len(age.psnr) == 4 and not age.bits_per_dim and 0 < age.mean < 60 for age in ages)
        again, found = held_out_score(prior, ready.held_out.some(16)), best.psnr
    torch.testing.assert_close(again, torch.tensor(found), atol=1e-3, rtol=0)


def test_looking_leaves_training_as_it_is(tmp_path: Path) -> None:
    runs = []
    for every in (16, 0):
        ready = prepared(tmp_path / str(every), family="gan", score_every=every)
        trained(ready)
        runs.append(ready.run)
    looked, blind = (states(run) for run in runs)
    assert all(torch.equal(value, blind[name]) for name, value in looked.items())
    assert [len(scored_ages(run)) for run in runs] == [3, 0]
    rows = [[{k: v for k, v in row.items() if k != "images_per_second"} for row in read_rows(r.steps)] for r in runs]
    assert rows[0] == rows[1]


def test_a_look_that_a_kill_prevented_is_made_up_for(tmp_path: Path) -> None:
    whole, torn = prepared(tmp_path / "whole"), prepared(tmp_path / "torn")
    trained(whole)
    trained(torn, until=2 / 3)
    kept = scored_ages(torn.run)
    assert len(kept) == 2
    write_lines(torn.run.scores, kept[:1])  # killed after the checkpoint, before its look was written
    trained(resumed_run(torn.run.path, {}))
    assert scores(torn.run) == scores(whole.run)


def test_whoever_interrupts_does_not_wait_for_a_look(tmp_path: Path) -> None:
    whole, hasty = prepared(tmp_path / "whole"), prepared(tmp_path / "hasty")
    trained(whole)
    answers = iter([False, True])
    assert trained(hasty, should_stop=lambda: next(answers))[1].outcome == "interrupted"
    assert scores(hasty.run) == []
    trained(resumed_run(hasty.run.path, {}))
    assert scores(hasty.run) == scores(whole.run)


def test_looks_at_a_lost_future_are_forgotten(tmp_path: Path) -> None:
    ready = prepared(tmp_path / "run", checkpoint_seconds=1e-9)
    trained(ready)
    before = scores(ready.run)
    *kept, last = scored_ages(ready.run)
    lost = [*kept, last.model_copy(update={"psnr": (99.0,) * len(last.psnr)})]
    write_lines(ready.run.scores, lost)
    newest, _ = sorted(ready.run.checkpoints.iterdir())[::-1]
    (newest / "tensors.safetensors").write_bytes(b"")
    stages, _ = trained(resumed_run(ready.run.path, {}))
    assert any(stage.alarm and "is refused" in stage.alarm for stage in stages)
    assert scores(ready.run) == before


def test_a_pause_is_looked_at_and_training_goes_on_as_if_there_had_been_none(tmp_path: Path) -> None:
    whole, paused = (prepared(tmp_path / name, score_every=None) for name in ("whole", "paused"))
    trained(whole)
    _, ended = trained(paused, until=0.4)
    assert (ended.outcome, ended.row["images_seen"]) == ("finished", 24)
    assert [age.images_seen for age in scored_ages(paused.run)] == [24]
    again = trained(resumed_run(paused.run.path, {}), until=0.4)[1]  # there is nothing left to do
    assert again.row["images_seen"] == 24
    trained(resumed_run(paused.run.path, {}))
    assert all(torch.equal(value, states(paused.run)[name]) for name, value in states(whole.run).items())
    assert [age.images_seen for age in scored_ages(paused.run)] == [24, 48]
    assert scored_ages(whole.run) == []  # a short run is not worth a look


def test_training_ends_where_patience_is_used_up(tmp_path: Path, scored_as: Callable[..., None]) -> None:
    scored_as(20.0, 22.0, 21.0, 20.5, 23.0, 22.0, 21.0, 20.0)
    ready = prepared(tmp_path / "run", images_seen=400, patience=30)
    stages, ended = trained(ready)
    assert (ended.outcome, ended.row["images_seen"]) == ("finished", 64)
    reason = "held-out restoration has not become better than 22.00 dB since 32 images; stopped at 64"
    assert stages[-1].alarm == reason
    assert summary(ready.run.path)["state"] == f"stopped early: {reason}"
    with pytest.raises(GenpriorError, match="stopped at 64; continue it with a larger --patience"):
        resumed_run(ready.run.path, {})
    again = resumed_run(ready.run.path, {"patience": 40})
    assert trained(again)[1].row["images_seen"] == 128
    assert open_run(ready.run.path).config.patience == 40


def test_the_best_weights_are_kept_and_said(tmp_path: Path, scored_as: Callable[..., None]) -> None:
    scored_as(20.0, 22.0, 21.0)
    ready = prepared(tmp_path / "run")
    trained(ready)
    assert [path.name for path in sorted(ready.run.best.iterdir())] == ["step-000000002", "step-000000004"]
    best, last = load_prior(ready.run.path), load_prior(ready.run.path, weights="last")
    assert not torch.equal(best.sample(1), last.sample(1))
    assert torch.equal(best.sample(1), load_prior(ready.run.path, weights="best").sample(1))
    said = "the best: after 32 images 22.00 dB on held-out images, 1.00 ± 0.00 dB better than those after 48"
    assert said in str(summary(ready.run.path)["weights"])


@pytest.mark.parametrize("damage", ["gone", "damaged"])
def test_best_weights_that_are_not_there_are_told(tmp_path: Path, scored_as: Callable[..., None], damage: str) -> None:
    scored_as(20.0, 22.0, 21.0)
    ready = prepared(tmp_path / "run")
    trained(ready)
    if damage == "gone":
        shutil.rmtree(ready.run.best)
    else:
        (max(ready.run.best.iterdir()) / "tensors.safetensors").write_bytes(b"")
    with pytest.warns(UserWarning, match="the weights after 32 images are not there.*; the last ones are used"):
        prior = load_prior(ready.run.path)
    assert torch.equal(prior.sample(1), load_prior(ready.run.path, weights="last").sample(1))
    with pytest.raises(GenpriorError, match="the weights after 32 images are not there"):
        load_prior(ready.run.path, weights="best")


def test_the_last_weights_are_used_where_the_best_may_be_chance(tmp_path: Path) -> None:
    run = prepared(tmp_path / "run", score_every=0).run
    for psnr, says in (((20.0, 23.0, 25.0), "which may be chance"), ((21.5, 22.6, 23.4), "the best: after 32")):
        ages = [
            ScoredAge(step=step, images_seen=8 * step, seconds=1.0, psnr=each, took=0.1)
            for step, each in ((2, (1.0, 1.0, 1.0)), (4, psnr), (6, (21.0, 22.0, 23.0)))
        ]
        write_lines(run.scores, ages)
        assert says in str(weights_in_words(open_run(run.path)))


def test_fewer_bits_are_better_and_are_told_as_such(tmp_path: Path) -> None:
    run = prepared(tmp_path / "run", family="glow", score_every=0).run
    ages = [
        ScoredAge(step=step, images_seen=8 * step, seconds=1.0, bits_per_dim=each, took=0.1)
        for step, each in ((2, (3.0, 3.0)), (4, (1.0, 1.1)), (6, (1.5, 1.6)))
    ]
    write_lines(run.scores, ages)
    said = (
        "the best: after 32 images 1.050 bits/dim on held-out images, 0.500 ± 0.000 bits/dim better than those after 48"
    )
    assert said in str(weights_in_words(open_run(run.path)))
    reason = impatience(ages, 10)
    assert (
        reason
        == "the density of held-out images has not become better than 1.050 bits/dim since 32 images; stopped at 48"
    )
    assert impatience(ages, 20) is None


def test_scores_of_another_kind_are_forgotten_where_training_goes_on(tmp_path: Path) -> None:
    ready = prepared(tmp_path / "run", family="glow")
    trained(ready, until=0.5)
    young = ScoredAge(step=1, images_seen=8, seconds=1.0, psnr=(60.0, 60.0), took=0.1)  # of an older version
    write_lines(ready.run.scores, [young, *scored_ages(ready.run)])
    trained(resumed_run(ready.run.path, {}))
    ages = scored_ages(ready.run)
    assert all(age.bits_per_dim for age in ages)
    assert ages[-1].images_seen == 48


def test_weights_that_were_never_scored_are_not_the_best(tmp_path: Path) -> None:
    ready = prepared(tmp_path / "run", score_every=0)
    trained(ready)
    load_prior(ready.run.path)
    with pytest.raises(GenpriorError, match="were never scored: training was short, or no images are held out"):
        load_prior(ready.run.path, weights="best")


def test_looks_take_a_twentieth_of_the_time(tmp_path: Path) -> None:
    ready = prepared(tmp_path / "run", score_every=None)
    looks = HeldOutLooks(ready.run, ready.held_out, 1.0)
    assert [looks.is_due(100, seconds, 0.5) for seconds in (119.0, 121.0)] == [False, True]
    looks.ages.append(ScoredAge(step=1, images_seen=100, seconds=121.0, psnr=(20.0, 20.0), took=3.0))
    assert [looks.is_due(200, seconds, 0.5) for seconds in (180.5, 181.0)] == [False, True]
    assert not looks.is_due(100, 199.0, 1.0)  # twice at the same age tells nothing
    assert looks.is_due(101, 122.0, 1.0)  # the end is looked at


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patience": 10, "score_every": 0}, "needs looks at held-out images, got 0"),
        ({"patience": 10, "held_out": 0}, "needs looks at held-out images, got 0"),
        ({"patience": 10, "data": "ring", "family": "gan", "preset": "points"}, "needs held-out images, ring has none"),
        ({"patience": 0}, "greater than or equal to 1"),
    ],
)
def test_patience_without_scores_is_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    settings = {"family": "vae", "data": "digits[:60]", **COMMON, **changes}
    with pytest.raises(GenpriorError, match=message):
        new_run(tmp_path / "run", parse_config(settings))
    assert not (tmp_path / "run").exists()


def test_altered_scores_are_left_out_with_a_warning(tmp_path: Path) -> None:
    ready = prepared(tmp_path / "run")
    trained(ready)
    ready.run.scores.write_text(ready.run.scores.read_text().replace('"psnr":[', '"psnr":[9', 1))
    with pytest.warns(UserWarning, match="was altered, and is left out: the last weights are used"):
        assert scored_ages(ready.run) == []
