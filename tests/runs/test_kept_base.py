"""A base in the folder of a run of flow matching: learned from the run's images, and where its samples begin."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from family_runs import GREY, OBLONG, make_family_run, write_discs
from genprior import memory
from genprior.calibration.calibration_experiment import own_truths
from genprior.calibration.calibration_inputs import opened
from genprior.calibration.calibration_results import CalibrationSettings
from genprior.data import load_data
from genprior.errors import GenpriorError
from genprior.priors import flow_matching_prior
from genprior.progress import result_of
from genprior.report.collect import samples_of as report_samples
from genprior.runs import base_training
from genprior.runs.base_settings import BASE, BASE_WEIGHTS, BaseSettings, BaseTable
from genprior.runs.best_weights import used_checkpoint
from genprior.runs.encoder_experiment import EXPERIMENTS
from genprior.runs.experiment import carry_out
from genprior.runs.kept_base import base_note, base_sha256, keep_base, read_base
from genprior.runs.run_folder import open_run
from genprior.runs.trained_prior import load_prior
from genprior.settings import validated
from genprior.training.loop import Budget, train

EXPERIMENT = EXPERIMENTS["train base"]


def _train(run: Path, **settings: object) -> BaseTable:
    return result_of(carry_out(EXPERIMENT, validated(BaseSettings, {"run": run, **settings}), overwrite=True))


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of oblong colour images, without a base."""
    return make_family_run(tmp_path_factory.mktemp("runs") / "flow", "flow-matching", OBLONG)


@pytest.fixture
def run(flow: Path, tmp_path: Path) -> Path:
    """The same with a base of two components."""
    path = shutil.copytree(flow, tmp_path / "run")
    _train(path, components=2, rank=3)
    return path


def test_samples_begin_at_the_base_that_a_run_has(flow: Path, run: Path) -> None:
    plain, prior = load_prior(flow), load_prior(run)
    assert prior.sample(2).shape == (2, *OBLONG)
    assert not torch.allclose(prior.sample(2), plain.sample(2))
    assert base_note(open_run(flow)) == f"better after: genprior train base {flow}"
    assert base_note(open_run(run)) == ""


def test_a_base_is_a_mixture_of_the_images_of_the_run(run: Path, flow: Path) -> None:
    learned = load_data(str(flow.with_suffix(".npy"))).images.float() / 255
    _, base = read_base(run / BASE_WEIGHTS)
    assert (base.count, base.rank) == (2, 3)
    mean = (base.weights @ base.means).view(OBLONG)
    assert float((mean - learned.mean(0)).abs().max()) < 0.15  # a tenth of the images is held out
    likelier = base.log_prob(learned.flatten(1)).mean() - base.log_prob(torch.rand(50, mean.numel())).mean()
    assert float(likelier) > 100


def test_a_training_says_what_makes_its_samples_better(flow: Path, genprior: Callable[..., str]) -> None:
    words = (
        f"train flow-matching --data {flow.with_suffix('.npy')} --model unet:width=4,levels=1,blocks=1 --images-seen 64"
    )
    out = flow.parent / "my flow"
    told = f"samples are better after: genprior train base '{out}'\n"
    assert genprior(*words.split(), "--threads", "1", "--out", str(out)).endswith(told)


def test_what_was_learned_is_told(flow: Path, tmp_path: Path) -> None:
    path = shutil.copytree(flow, tmp_path / "run")
    found = _train(path)
    assert (found.components, found.rank, found.is_complete) == (2, 10, True)  # one for 60 of 144 images
    first, second = EXPERIMENT.lines(found)
    assert re.fullmatch(r"2 factor analysers of rank 10 from 144 images \(.*flow\.npy\)", first)
    assert second == f"base: {path / BASE_WEIGHTS}; samples begin at it now, with 6 evaluations in place of 50"


def test_the_same_seed_gives_the_same_base(flow: Path, tmp_path: Path) -> None:
    paths = [shutil.copytree(flow, tmp_path / name) for name in "ab"]
    for path in paths:
        _train(path, seed=3, components=2)
    one, other = (read_base(path / BASE_WEIGHTS)[1] for path in paths)
    assert all(torch.equal(a, b) for a, b in zip(one.buffers(), other.buffers(), strict=True))


def test_truths_of_a_calibration_begin_where_draws_do(flow: Path, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def truths(path: Path) -> torch.Tensor:
        settings = CalibrationSettings(run=path, operator="denoise", noise="gaussian:sigma=0.1")
        return own_truths(opened(settings)[0], 3)[0]

    assert torch.equal(truths(flow), truths(run))  # of few components
    monkeypatch.setattr(flow_matching_prior, "LEAST_COMPONENTS", 1)
    assert not torch.allclose(truths(flow), truths(run), atol=0.01)
    assert torch.equal(truths(run), truths(run))


def test_a_damaged_base_is_refused_and_can_be_learned_anew(run: Path) -> None:
    content = bytearray((run / BASE_WEIGHTS).read_bytes())
    content[-1] ^= 1
    (run / BASE_WEIGHTS).write_bytes(content)
    with pytest.raises(GenpriorError, match=r"is damaged.*checksum.*genprior train base .*run --overwrite"):
        load_prior(run)
    _train(run, components=2)
    assert load_prior(run).sample(1).shape == (1, *OBLONG)


def test_check_reads_a_base_whole_and_misses_its_table(run: Path, genprior: Callable[..., str]) -> None:
    assert "0 are damaged" in genprior("check", str(run))
    (run / BASE).unlink()
    assert f"genprior train base {run} --overwrite" in genprior("check", str(run), code=1)
    _train(run, components=2)
    content = (run / BASE_WEIGHTS).read_bytes()
    (run / BASE_WEIGHTS).write_bytes(content[: len(content) // 2])
    assert f"genprior train base {run} --overwrite" in genprior("check", str(run), code=1)
    assert base_sha256(run) == ""


@pytest.mark.parametrize("changed", [{"image_shape": (3, 24, 16)}, {"data_sha256": "0"}])
def test_a_base_of_other_images_is_refused(run: Path, changed: dict[str, object]) -> None:
    table = _train(run, components=2)
    keep_base(run, read_base(run / BASE_WEIGHTS)[1], table.model_copy(update=changed))
    with pytest.raises(GenpriorError, match=r"was learned from other images than the run; learn it anew: genprior"):
        load_prior(run)


def test_scores_of_before_a_base_are_told_from_those_after_it(
    flow: Path, tmp_path: Path, genprior: Callable[..., str]
) -> None:
    path, data = shutil.copytree(flow, tmp_path / "run"), write_discs(tmp_path / "new.npy", OBLONG)
    words = f"evaluate {path} --held-out {data} --count 64 --inversions 0 --data-root {tmp_path} --threads 1".split()
    genprior(*words)
    assert "began elsewhere" not in _page(path, genprior)
    before = samples_of(path)
    _train(path, components=2)
    assert "began elsewhere" in _page(path, genprior)
    assert not torch.equal(samples_of(path), before)
    genprior(*words)
    assert "began elsewhere" not in _page(path, genprior)


def _page(run: Path, genprior: Callable[..., str]) -> str:
    genprior("report", str(run))
    return (run / "report.html").read_text()


def samples_of(run: Path) -> torch.Tensor:
    """What a report shows."""
    opened_run = open_run(run)
    return report_samples(opened_run, used_checkpoint(opened_run).tensors, OBLONG)


def test_as_many_components_as_images_suffice_for_and_memory_holds(flow: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = load_data(str(flow.with_suffix(".npy")))

    def components(**settings: object) -> int | None:
        found = base_training._mixture(validated(BaseSettings, {"run": flow, **settings}), data)
        return found.settings.components

    assert components() == 2  # of 160 images
    monkeypatch.setattr(base_training, "START_NUMBERS", 100 * 1152)  # as of images that are 700 times as large
    assert components() == 1
    assert components(components=7) == 7
    monkeypatch.setattr(memory, "free_memory", lambda: 10**6)
    with pytest.raises(GenpriorError, match=r"so many factors need about .* GB of memory.*lower it, or --rank"):
        components(components=7)


@pytest.mark.parametrize("count", [2, 5, 60])
def test_a_few_grey_images_are_enough(tmp_path: Path, count: int) -> None:
    path = make_family_run(tmp_path / "run", "flow-matching", GREY, 64)
    data = load_data(str(path.with_suffix(".npy")))
    few = data.part(torch.arange(count))
    algorithm = base_training._mixture(validated(BaseSettings, {"run": path, "components": 3}), few)
    for _ in train(algorithm, few, Budget(epochs=2)):
        pass
    x = torch.stack([algorithm.model.draw(torch.Generator().manual_seed(i)) for i in range(20)])
    assert bool(x.isfinite().all())
    assert float((x.mean(0) - few.images.float().flatten(1).mean(0) / 255).abs().mean()) < 0.3


@pytest.mark.parametrize("family", ["vae", "mixture"])
def test_other_families_take_none(tmp_path: Path, family: str) -> None:
    path = make_family_run(tmp_path / family, family, GREY, 64)
    with pytest.raises(GenpriorError, match="takes no base: only flow matching on images does"):
        _train(path)


def test_points_take_none(tmp_path: Path, genprior: Callable[..., str]) -> None:
    words = "train flow-matching --preset flow-points --images-seen 512 --threads 1 --out"
    assert "better after" not in genprior(*words.split(), str(tmp_path / "points"))
    assert "takes no base: only flow matching on images does" in genprior(
        "train", "base", str(tmp_path / "points"), code=2
    )
    assert "better after" not in genprior("sample", str(tmp_path / "points"), "--out", str(tmp_path / "s.npy"))


def test_other_data_are_refused(run: Path) -> None:
    data = write_discs(run.parent / "other.npy", GREY)
    with pytest.raises(GenpriorError, match="is no longer what"):
        _train(run, data=str(data))
