"""The encoder of a run: learned from the run's own data, kept in its folder, used for no other weights."""

import errno
import hashlib
import json
import math
import re
import warnings
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from genprior.data import load_data
from genprior.data.held_out import Split
from genprior.errors import GenpriorError
from genprior.priors.contracts import SAMPLES_AT_ONCE
from genprior.priors.generator_prior import EncodedPrior
from genprior.progress import Stage, Task, result_of
from genprior.runs import encoder_training as module
from genprior.runs.checkpoint import load_counters
from genprior.runs.encoder_experiment import EXPERIMENTS
from genprior.runs.encoder_settings import ENCODER, WEIGHTS, EncoderSettings, EncoderTable
from genprior.runs.encoder_training import encoder_images
from genprior.runs.execute import execute
from genprior.runs.experiment import carry_out
from genprior.runs.prepare import resumed_run
from genprior.runs.run_folder import Run, create_run, locked
from genprior.runs.trained_prior import load_encoder, load_generator, load_prior
from genprior.settings import validated
from genprior.stored_files import read_model, signed, weights_sha256
from genprior.writing import save_tensors
from small import gone_through, points_config

MakeRun = Callable[..., Run]
HALF = 64 * 30  # images
DIGITS = {
    "preset": "dcgan-28",
    "data": "digits[:120]",
    "size": 8,
    "model": "dcgan:generator_width=4,discriminator_width=4,norm=none",
    "batch_size": 20,
    "images_seen": 120,
}


def _stages(path: Path, overwrite: bool = False, **settings: object) -> Task[EncoderTable]:
    settings = validated(EncoderSettings, {"run": path, **settings})
    return carry_out(EXPERIMENTS["train encoder"], settings, overwrite=overwrite)


def _train(run: Run, images: int = 128, **settings: object) -> EncoderTable:
    return result_of(_stages(run.path, images_seen=images, **settings))


def _encoded(run: Run) -> EncodedPrior:
    prior = load_prior(run.path)
    assert isinstance(prior, EncodedPrior)
    return prior


def _files(run: Run) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in run.path.glob("encoder*")}


# Training and saving.


@pytest.mark.parametrize("settings", [{}, DIGITS], ids=["points", "digits"])
def test_a_run_gets_an_encoder(make_run: MakeRun, settings: dict[str, object]) -> None:
    run = make_run(**settings)
    assert not isinstance(load_prior(run.path), EncodedPrior)
    stages, found = gone_through(_stages(run.path, images_seen=128 * 10))
    assert stages[-1].fraction == 1
    assert re.fullmatch(r"1,280 images  [\d,]+/s  error \d+\.\d{3}", stages[-1].what)
    assert EXPERIMENTS["train encoder"].lines(found) == [
        f"error on {found.held_out_images} images ({found.held_out}): {found.held_out_error:.4g}",
        f"encoder: {run.path / WEIGHTS}",
    ]
    prior = _encoded(run)
    x = run.config.load_data().some(5)
    assert prior.encode(x).shape == (5, prior.latent_size)


def test_progress_only_grows_and_comes_often(make_run: MakeRun) -> None:
    stages, _ = gone_through(_stages(make_run().path, images_seen=64 * 35))
    assert [stage.fraction for stage in stages] == pytest.approx([10 / 35, 20 / 35, 30 / 35, 1.0])


def test_the_table_tells_what_was_done(make_run: MakeRun) -> None:
    run = make_run(**DIGITS)
    found = _train(run, 256, seed=3)
    table = json.loads((run.path / ENCODER).read_text())
    assert read_model(run.path / ENCODER, EncoderTable, "run") == found
    assert (table["version"], table["is_complete"]) == (1, True)
    assert table["settings"]["seed"] == 3
    assert table["images_seen"] == 256
    assert table["seconds"] > 0
    assert table["image_shape"] == [1, 8, 8]
    assert table["generator_sha256"] == weights_sha256(load_generator(run).state_dict())
    assert table["held_out_images"] == 12
    assert table["held_out_error"] == found.held_out_error


@pytest.mark.parametrize("share", [0.1, 0.0])
def test_the_held_out_error_is_that_of_the_prior_on_images_it_has_not_seen(make_run: MakeRun, share: float) -> None:
    run = make_run(**DIGITS, held_out=share)
    error = _train(run).held_out_error
    prior, split = _encoded(run), run.config.load_split()
    unseen = split.load_held_out()
    x = split.learned.take(torch.arange(108, 120)) if unseen is None else unseen.some(12)
    assert error == pytest.approx(float((prior.decode(prior.encode(x)) - x).square().mean()), rel=1e-5)


@pytest.mark.parametrize(("images", "expected"), [(2, 1), (9, 1), (20, 2), (9_000, 900), (25_000, 1000)])
def test_the_last_images_are_kept_back_where_none_are_held_out(images: int, expected: int) -> None:
    data = load_data(f"ring:count={images}")
    learned, unseen = encoder_images(Split(data, lambda: None))
    assert len(unseen) == expected
    assert torch.equal(torch.cat([learned.images, unseen.images]), data.images)
    assert "which the run itself has learned" in unseen.name


def test_a_single_image_is_refused() -> None:
    with pytest.raises(GenpriorError, match=r"^data: at least 2 images are needed, ring:count=1 has 1$"):
        encoder_images(Split(load_data("ring:count=1"), lambda: None))


def test_training_lowers_the_held_out_error(make_run: MakeRun) -> None:
    run = make_run(images_seen=50 * 150)
    error = _train(run, 64 * 100).held_out_error
    prior, x = load_prior(run.path), encoder_images(run.config.load_split())[1].images
    constant = float((prior.decode(torch.zeros(1, prior.latent_size)) - x).square().mean())
    assert error < 0.3 * constant


def test_the_same_seed_gives_the_same_encoder(make_run: MakeRun) -> None:
    run = make_run(**DIGITS)
    saved = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(saved))
        _train(run, seed=seed, overwrite=True)
        saved.append(load_file(run.path / WEIGHTS))
    first, again, other = saved
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    assert not all(torch.equal(value, other[name]) for name, value in first.items())


def test_no_global_random_numbers_are_used(make_run: MakeRun) -> None:
    run = make_run()
    before = torch.get_rng_state()
    _train(run)
    assert torch.equal(torch.get_rng_state(), before)


def test_minutes_end_training_and_anneal_it(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run, ticks = make_run(), count()
    monkeypatch.setattr("genprior.training.loop.time.monotonic", lambda: float(next(ticks)))
    stages, found = gone_through(_stages(run.path, minutes=1.0))
    assert stages[-1].fraction == 1
    assert 60 <= found.seconds < 63
    assert found.images_seen == 60 * 64


def test_the_generator_of_the_run_stays_as_it_is(make_run: MakeRun) -> None:
    run = make_run(**DIGITS)
    before = weights_sha256(load_generator(run).state_dict())
    _train(run)
    assert weights_sha256(load_generator(run).state_dict()) == before


# What is refused, and what is left as it was.


def test_an_encoder_is_never_overwritten_by_accident(make_run: MakeRun) -> None:
    run = make_run()
    _train(run)
    before = _files(run)
    with pytest.raises(GenpriorError, match=r"^run: .*encoder.json exists; replace it with --overwrite$"):
        _train(run)
    assert _files(run) == before
    _train(run, overwrite=True, seed=1)
    assert _files(run) != before


def test_training_that_is_broken_off_leaves_the_old_encoder(make_run: MakeRun) -> None:
    run = make_run()
    _train(run)
    before = _files(run)
    task = _stages(run.path, overwrite=True, images_seen=10_000, seed=1)
    next(task)
    task.close()
    assert _files(run) == before


def test_abandoned_training_leaves_nothing(make_run: MakeRun) -> None:
    run = make_run()
    task = _stages(run.path, images_seen=10_000)
    next(task)
    task.close()
    assert not _files(run)


def test_a_full_disk_leaves_the_old_encoder(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run()
    _train(run)
    before = _files(run)

    def no_space(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", no_space)
    with pytest.raises(OSError, match="No space left"):
        _train(run, overwrite=True, seed=1)
    assert _files(run) == before


@pytest.mark.parametrize("where", ["during", "after"])
def test_values_that_are_not_finite_end_training_and_are_not_saved(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    run = make_run()
    if where == "after":
        monkeypatch.setattr("genprior.runs.encoder_training.reconstruction_error", lambda *_: math.nan)
    else:
        monkeypatch.setattr("genprior.training.distillation.annealed", lambda _: 1e30)
    stages: list[Stage] = []
    task = _stages(run.path, images_seen=64 * 30)
    with pytest.raises(
        GenpriorError, match=r"^step \d+ of the encoder has values that are not finite; nothing was saved$"
    ):
        stages.extend(task)
    assert ([stage.fraction for stage in stages][-1:] == [1.0]) == (where == "after")
    assert not _files(run)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"minutes": 0.0}, r"^minutes: input should be greater than 0, got 0.0$"),
        ({"minutes": math.nan}, r"^minutes: input should be .*, got nan$"),
        ({"images_seen": 0}, r"^images_seen: input should be greater than or equal to 1, got 0$"),
        ({"images_seen": 5, "minutes": 1.0}, r"^minutes: give one of minutes and images_seen$"),
    ],
)
def test_a_budget_out_of_range_is_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(GenpriorError, match=message):
        validated(EncoderSettings, {"run": "run", **options})


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GenpriorError, match=r"^run: .* is not a run: it has no config.json$"):
        next(_stages(tmp_path))


def test_a_run_without_checkpoint_is_refused(tmp_path: Path) -> None:
    create_run(tmp_path / "run", points_config())
    with pytest.raises(GenpriorError, match=r"^run: .*run has no checkpoint; train it first$"):
        next(_stages(tmp_path / "run"))


def test_other_data_than_the_run_s_are_refused(make_run: MakeRun) -> None:
    run = make_run()
    file = run.path / "config.json"
    file.write_text(signed(file.read_text().replace("count=500", "count=501")))
    with pytest.raises(
        GenpriorError, match=r"^data: ring:count=501 is no longer what .*run was trained on \(500 images .*\)$"
    ):
        next(_stages(run.path))


def test_a_run_that_is_being_trained_is_refused(make_run: MakeRun) -> None:
    run = make_run()
    with locked(run), pytest.raises(GenpriorError, match=r"^run: .* is being trained by another process$"):
        _train(run)


# Resuming.


@pytest.fixture
def half_trained(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run whose encoder's training was interrupted after half of its images."""
    run = make_run(**DIGITS)
    monkeypatch.setattr(module, "SAVE_SECONDS", 0.0)
    task = _stages(run.path, images_seen=HALF * 2)
    for stage in task:
        if stage.fraction >= 0.5:
            break
    task.close()
    return run


def test_an_interrupted_training_is_resumed_bit_for_bit(half_trained: Run, make_run: MakeRun) -> None:
    counters, _ = load_counters(half_trained.path / module.UNFINISHED)
    assert counters is not None
    assert counters.images_seen >= HALF
    stages, _ = gone_through(_stages(half_trained.path, images_seen=HALF * 2))
    assert stages[0].fraction > 0.5
    undisturbed = make_run("undisturbed", **DIGITS)
    _train(undisturbed, images=HALF * 2)
    resumed, whole = load_file(half_trained.path / WEIGHTS), load_file(undisturbed.path / WEIGHTS)
    assert resumed.keys() == whole.keys()
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())
    assert not (half_trained.path / module.UNFINISHED).exists()


def test_another_place_of_the_run_resumes(half_trained: Run, tmp_path: Path) -> None:
    moved = half_trained.path.rename(tmp_path / "moved")
    stages, _ = gone_through(_stages(moved, images_seen=HALF * 2))
    assert stages[0].fraction > 0.5


def test_overwriting_begins_anew(half_trained: Run) -> None:
    stages, _ = gone_through(_stages(half_trained.path, images_seen=HALF * 2, overwrite=True))
    assert stages[0].fraction < 0.5


def test_damaged_checkpoints_of_an_encoder_are_begun_anew(half_trained: Run) -> None:
    for file in (half_trained.path / module.UNFINISHED).rglob("tensors.safetensors"):
        file.write_bytes(file.read_bytes()[:100])
    stages, found = gone_through(_stages(half_trained.path, images_seen=HALF * 2))
    assert stages[0].fraction < 0.5
    assert found.is_complete


def test_other_settings_do_not_take_up_what_is_unfinished(half_trained: Run) -> None:
    with pytest.raises(GenpriorError, match=r"unfinished result of other settings; replace it with --overwrite"):
        _train(half_trained, images=HALF * 2, seed=1)


# Loading.


@pytest.mark.parametrize("settings", [{}, DIGITS], ids=["points", "digits"])
def test_save_then_load_gives_the_same_latents(make_run: MakeRun, settings: dict[str, object]) -> None:
    run = make_run(**settings)
    saved = {}

    def remember(run: Run, encoder: torch.nn.Module, table: EncoderTable) -> None:
        saved["encoder"] = encoder
        save(run, encoder, table)

    save = module.save_encoder
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "save_encoder", remember)
        _train(run)
    x = run.config.load_data().some(7)
    with torch.no_grad():
        expected = saved["encoder"].eval().encode(x)
    assert torch.equal(_encoded(run).encode(x), expected)
    loaded = load_encoder(run, load_generator(run))
    assert loaded is not None
    assert not any(module.training for module in loaded.modules())
    assert torch.equal(loaded.encode(x), expected)


def test_the_prior_encodes_in_chunks_without_a_graph(make_run: MakeRun) -> None:
    run = make_run(**DIGITS)
    _train(run)
    prior = _encoded(run)
    x = torch.rand(SAMPLES_AT_ONCE + 3, 1, 8, 8)
    known = (torch.rand(len(x), 1, 8, 8) < 0.5).double()
    z = prior.encode(x.double().requires_grad_(), known)
    assert z.dtype == torch.float32
    assert not z.requires_grad
    few = [0, SAMPLES_AT_ONCE - 1, SAMPLES_AT_ONCE, SAMPLES_AT_ONCE + 2]
    torch.testing.assert_close(z[few], torch.cat([prior.encode(x[i : i + 1], known[i : i + 1]) for i in few]))
    torch.testing.assert_close(prior.encode(x, known[:1])[few], prior.encode(x[few], known[:1]))
    assert prior.encode(x[:0]).shape == (0, prior.latent_size)
    with pytest.raises(GenpriorError, match=rf"^known: expected 1 or {len(x)} times"):
        prior.encode(x, known[:-1])


def test_a_run_trained_further_does_without_its_encoder(make_run: MakeRun) -> None:
    run = make_run()
    _train(run)
    prepared = resumed_run(run.path, {"images_seen": 1100})
    for _ in execute(prepared.run, prepared.learner, prepared.data):
        pass
    with pytest.warns(UserWarning, match=r"belongs to other weights.*genprior train encoder .*run --overwrite$"):
        assert not isinstance(load_prior(run.path), EncodedPrior)
    _train(run, overwrite=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _encoded(run)


def test_the_last_weights_do_without_the_encoder_of_the_average(make_run: MakeRun) -> None:
    run = make_run()
    _train(run)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not isinstance(load_prior(run.path, average=False), EncodedPrior)


def test_a_warning_that_is_made_an_error_is_no_damage(make_run: MakeRun) -> None:
    run = make_run()
    _train(run)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="belongs to other weights"):
            load_encoder(run, load_generator(run, average=False))


def test_an_encoder_of_an_older_version_is_read(make_run: MakeRun) -> None:
    """Its table was flat, and had no settings."""
    run = make_run(**DIGITS)
    found, state = _train(run), load_file(run.path / WEIGHTS)
    names = {"generator_sha256", "image_shape", "latent_size", "width", "held_out_error"}
    text = json.dumps(found.model_dump(mode="json", include=names) | {"seed": 0}, sort_keys=True)
    digest = hashlib.sha256(f"{text}\n{weights_sha256(state)}".encode()).hexdigest()
    x = run.config.load_data().some(3)
    expected = _encoded(run).encode(x)
    save_tensors(state, run.path / WEIGHTS, {"table": text, "sha256": digest})
    assert torch.equal(_encoded(run).encode(x), expected)


def test_no_encoder_is_none(make_run: MakeRun) -> None:
    run = make_run()
    assert load_encoder(run, load_generator(run)) is None


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def _flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def _alter_the_table(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'\\"seed\\": 0', b'\\"seed\\": 1'))


def _forget_the_table(path: Path) -> None:
    save_file(load_file(path), path)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [_truncate, _flip_a_bit, _alter_the_table, _forget_the_table, _empty])
def test_a_damaged_file_is_an_error_of_one_line(make_run: MakeRun, damage: Callable[[Path], None]) -> None:
    run = make_run()
    _train(run)
    before = (run.path / WEIGHTS).read_bytes()
    damage(run.path / WEIGHTS)
    assert (run.path / WEIGHTS).read_bytes() != before
    with pytest.raises(GenpriorError, match=r"^run: .*encoder.safetensors is damaged \(.*\); train it anew") as caught:
        load_prior(run.path)
    assert "\n" not in str(caught.value)
    _train(run, overwrite=True)
    _encoded(run)


def test_the_hash_of_weights_sees_names_values_and_shapes_alone() -> None:
    state = {"a": torch.arange(4.0).view(2, 2), "b": torch.zeros(3)}
    expected = weights_sha256(state)
    assert weights_sha256(dict(reversed(state.items()))) == expected
    assert weights_sha256({**state, "a": state["a"].t().contiguous().t()}) == expected
    others = [{**state, "a": state["a"] + 1}, {**state, "a": state["a"].view(4)}, {"a": state["a"], "c": state["b"]}]
    assert len({weights_sha256(other) for other in others} | {expected}) == 4


# Writing tensors.


def test_tensors_that_cannot_be_written_are_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="No such file or directory") as raised:
        save_tensors({"a": torch.zeros(1)}, tmp_path / "nowhere" / "a.safetensors")
    assert raised.value.filename is not None


@pytest.mark.parametrize(
    ("message", "number", "reason"),
    [
        ("I/O error: No space left on device (os error 28)", errno.ENOSPC, "No space left on device"),
        ("some other\nproblem", errno.EIO, "some other"),
    ],
)
def test_a_failed_write_leaves_the_old_tensors_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, message: str, number: int, reason: str
) -> None:
    path = tmp_path / "a.safetensors"
    save_tensors({"a": torch.ones(1)}, path, {"key": "value"})

    def full(_: object, file: Path, **__: object) -> None:
        file.write_text("half of it")
        raise SafetensorError(message)

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OSError, match=reason) as raised:
        save_tensors({"a": torch.zeros(1)}, path)
    assert (raised.value.errno, raised.value.filename) == (number, str(path))
    assert [each.name for each in tmp_path.iterdir()] == ["a.safetensors"]
    assert load_file(path)["a"].item() == 1
