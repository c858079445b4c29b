"""Families are tried on a part of the budget, and the best goes on: as one run, after a kill too, in words."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from genprior.errors import GenpriorError
from genprior.families import parse_config
from genprior.progress import Stage
from genprior.restoration.search_settings import SearchSettings
from genprior.runs import held_out_looks
from genprior.runs.best_weights import scored_ages
from genprior.runs.checkpoint import load_checkpoint
from genprior.runs.execute import execute
from genprior.runs.experiment import carry_out, part_of, read_result
from genprior.runs.prepare import new_run
from genprior.runs.run_folder import AUTO, open_run
from genprior.scoring import auto_results, auto_training
from genprior.scoring.auto_results import TRIES, AutoSettings, AutoTraining, TriedFamily
from genprior.scoring.scoring_experiments import EXPERIMENTS
from small import gone_through

Command = Callable[..., str]
REAL = dict(TRIES)
SHAPES = ((1, 28, 28), (3, 32, 32), (1, 32, 48), (3, 64, 64))
TINY = {  # the same families, small enough for a test
    "glo": lambda shape, count: {"model": "pyramid:generator_width=2", "batch_size": 16, "latent_size": 4},
    "vae": lambda shape, count: {"model": "dense:width=8,depth=1", "batch_size": 8, "latent_size": 4},
    "gan": lambda shape, count: {
        "latent_size": 4,
        "preset": "pyramid",
        "model": "pyramid:generator_width=2,discriminator_width=2",
        "batch_size": 8,
    },
    "mixture": lambda shape, count: {"components": 2, "rank": 1, "batch_size": 16},
    "flow-matching": lambda shape, count: {"model": "unet:width=4,levels=1,blocks=1", "batch_size": 16},
}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_out_looks, "QUICK", SearchSettings(starts=1, iterations=2, second_try=False))
    for name, recipe in TINY.items():
        monkeypatch.setitem(auto_results.TRIES, name, recipe)


@pytest.fixture
def scored_as(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes looks see these scores in decibels, one after another, the last for ever."""

    def see(*means: float) -> None:
        left = list(means)
        monkeypatch.setattr(
            held_out_looks,
            "held_out_score",
            lambda prior, x: (left.pop(0) if len(left) > 1 else left[0]) + torch.tensor([0.0, 0.1, -0.1]),
        )

    return see


def settings(out: Path, data: str = "digits[:80]", images_seen: int = 1200, **changes: object) -> AutoSettings:
    given = {"out": out, "data": data, "images_seen": images_seen, "threads": 1, **changes}
    return AutoSettings.model_validate(given)


def done(which: AutoSettings) -> tuple[list[Stage], AutoTraining]:
    return gone_through(carry_out(EXPERIMENTS["train auto"], which))


def weights(out: Path) -> dict[str, torch.Tensor]:
    saved, _ = load_checkpoint(out / "checkpoint")
    assert saved is not None
    return saved.tensors


@pytest.mark.parametrize("shape", SHAPES, ids=["x".join(map(str, shape)) for shape in SHAPES])
@pytest.mark.parametrize("name", TRIES)
def test_every_try_is_for_images_of_any_shape(tmp_path: Path, name: str, shape: tuple[int, int, int]) -> None:
    channels, height, width = shape
    images = torch.rand(50, height, width, channels, generator=torch.Generator().manual_seed(1))
    np.save(tmp_path / "images.npy", (255 * images).to(torch.uint8).numpy())
    for recipe in (TRIES[name], REAL[name]):
        values = {"family": name, "data": str(tmp_path / "images.npy"), "size": None}
        config = parse_config({**values, **recipe(shape, 45), "batch_size": 8, "images_seen": 8})
        data = config.load_data()
        config.build(data).check(data)


def test_the_best_goes_on_from_where_it_stopped(tmp_path: Path, scored_as: Callable[..., None]) -> None:
    scored_as(21.0, 23.5, 19.0, 20.0, 18.0, 24.0)
    stages, found = done(settings(tmp_path / "run"))
    assert [stage.fraction for stage in stages] == sorted(stage.fraction for stage in stages)
    assert [(tried.name, tried.images_seen) for tried in found.tries] == [(name, 80) for name in TINY]
    assert found.winner == "vae"
    words = (
        "vae: 23.50 dB, glo: 21.00 dB, mixture: 20.00 dB, gan: 19.00 dB, flow-matching: 18.00 dB: goes on with vae, "
        "2.50 ± 0.00 dB above glo on 3 held-out images"
    )
    assert found.reason == words
    assert any(words in stage.notes for stage in stages)
    run = open_run(tmp_path / "run")
    assert (run.config.family, run.config.images_seen, found.images_seen) == ("vae", 880, 880)
    assert [age.images_seen for age in scored_ages(run)] == [80, 880]
    alone = new_run(tmp_path / "alone", run.config)
    gone_through(execute(alone.run, alone.learner, alone.data))
    assert all(torch.equal(value, weights(alone.run.path)[name]) for name, value in weights(run.path).items())
    assert sorted(path.name for path in (run.path / "tries").iterdir()) == ["flow-matching", "gan", "glo", "mixture"]
    assert read_result(run.path / AUTO, AutoTraining) == found
    assert found.is_complete


def test_a_kill_at_any_stage_changes_nothing(tmp_path: Path) -> None:
    _, whole = done(settings(tmp_path / "whole", images_seen=600))
    count = 0
    while not (tmp_path / "parts" / AUTO).exists():  # each call goes a few stages further than the one before it
        task = carry_out(EXPERIMENTS["train auto"], settings(tmp_path / "parts", images_seen=600))
        for _ in range(2 + count):
            if next(task, None) is None:
                break
        task.close()
        count += 1
    found = read_result(tmp_path / "parts" / AUTO, AutoTraining)
    assert found is not None
    assert count > 3
    assert (found.winner, found.reason, found.images_seen) == (whole.winner, whole.reason, whole.images_seen)
    assert [tried.psnr for tried in found.tries] == [tried.psnr for tried in whole.tries]
    both = weights(tmp_path / "parts"), weights(tmp_path / "whole")
    assert all(torch.equal(value, both[1][name]) for name, value in both[0].items())


def test_a_winner_that_was_half_moved_is_moved_whole(tmp_path: Path, scored_as: Callable[..., None]) -> None:
    scored_as(20.0)
    task = carry_out(EXPERIMENTS["train auto"], settings(tmp_path / "run", family=("vae",)))
    for stage in task:
        if stage.what.endswith("goes on with vae"):
            break
    task.close()
    half = tmp_path / "run" / "tries" / "vae"
    (half / "checkpoint").rename(tmp_path / "run" / "checkpoint")
    _, found = done(settings(tmp_path / "run", family=("vae",)))
    assert found.images_seen == 1200
    assert not half.exists()


def test_what_cannot_make_such_images_is_left_out(tmp_path: Path, scored_as: Callable[..., None]) -> None:
    scored_as(20.0)
    stages, found = done(settings(tmp_path / "run", size=12))
    assert [tried.name for tried in found.tries] == ["vae", "mixture", "flow-matching"]
    lines = [note for note in stages[0].notes if "is not tried" in note]
    assert [line.split(":")[0] for line in lines] == ["glo is not tried", "gan is not tried"]
    with pytest.raises(GenpriorError, match=r"glo is not tried: .*16"):
        done(settings(tmp_path / "other", size=12, family=("glo",)))


def test_a_difference_that_may_be_chance_is_called_so() -> None:
    tries = (TriedFamily(name="glo", psnr=(20.0, 22.0)), TriedFamily(name="vae", psnr=(20.5, 21.7)))
    tries += (TriedFamily(name="gan", failed="values that are not finite"),)
    found = auto_training._decided(AutoTraining(settings=settings(Path("run")), tries=tries))
    assert found.winner == "vae"
    assert found.reason.endswith("0.10 ± 0.40 dB above glo on 2 held-out images, which may be chance")
    assert "gan: values that are not finite" in found.reason


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--data digits[:80]", "--out"),
        ("--out run", "--data"),
        ("--out run --data digits[:20]", "--data: at least 40 images to learn and 2 held out are needed, digits[:20]"),
        ("--out run --data ring", "--data: restores images, these are points"),
        ("--out run --data digits[:80] --minutes 0.1", "--minutes: 0.1 minutes leave 0.4 seconds for each of 5 tries"),
        (
            "--out run --data digits[:80] --images-seen 100",
            "--images-seen: 100 images leave 6 for each of 5 tries; give at least 240",
        ),
        ("--out run --data digits[:80] --minutes 1 --images-seen 9", "--minutes: give one of"),
        ("--out run --data digits[:80] --family glu", "--family: unknown 'glu', did you mean 'glo'"),
        ("--out full/run --data full", "--out: full/run lies in the folder of images"),
        ("--out full --data digits[:80]", "--out: full exists and holds no automatic training"),
    ],
)
def test_bad_input_is_one_line(genprior: Command, words: str, message: str) -> None:
    Path("full").mkdir()
    Path("full", "mine.txt").write_text("mine")
    text = genprior("train", "auto", *words.split(), code=2)
    assert message in text
    assert "Traceback" not in text
    assert not Path("run").exists()
    assert [path.name for path in Path("full").iterdir()] == ["mine.txt"]
    assert Path("full", "mine.txt").read_text() == "mine"


def test_a_run_that_was_chosen_is_a_run_like_any_other(genprior: Command) -> None:
    words = "train auto --data digits[:80] --images-seen 360 --threads 1 --out run".split()
    text = genprior(*words)
    assert "goes on with" in text
    assert "real and generated: run/figures/samples.png" in text
    reason = json.loads(Path("run", AUTO).read_text())["reason"]
    assert reason in genprior("info", "run")
    genprior("report", "run")
    assert "goes on with" in Path("run", "report.html").read_text()
    assert "exists; replace it with --overwrite" in genprior(*words, code=2)
    genprior("resume", "run", "--images-seen", 400)
    genprior("sample", "run", "-n", 2, "--weights", "best", "--out", "samples.png")
    genprior("info", next(Path("run", "tries").iterdir()))
    Path("run", AUTO).rename(part_of(Path("run", AUTO)))
    assert genprior("resume", "run", "--patience", 9, code=2).startswith("genprior: --patience: an unfinished")
    genprior("resume", "run")
    genprior(*words, "--overwrite")
    assert not part_of(Path("run", AUTO)).exists()
    shutil.rmtree("run")
