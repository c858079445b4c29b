"""Maximum likelihood: record, learning, exact resuming, what is monitored, and setbacks of a run."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

import genprior
from genprior.data import Dataset, load_data
from genprior.errors import GenpriorError
from genprior.families import GlowConfig
from genprior.progress import result_of
from genprior.restoration.problem import warm_start
from genprior.runs.checkpoint import load_checkpoint
from genprior.runs.execute import TrainingOutcome, execute
from genprior.runs.prepare import new_run, resumed_run
from genprior.runs.run_folder import Run
from genprior.runs.trained_prior import load_prior
from genprior.training.loop import Batch, Budget, train
from genprior.training.maximum_likelihood import LOOK_EVERY, MaximumLikelihood
from genprior.training.optimisation import SLOWEST
from small import gone_through

RECORD = {"bits_per_dim", "gradient_norm", "round_trip_error", "learning_rate", "non_finite_gradients"}
SMALL = {"data": "digits[:64]", "size": 8, "steps": 2, "width": 6, "batch_size": 8, "threads": 1} | {
    "precision": "float32"
}


def _config(**changes: object) -> GlowConfig:
    return GlowConfig.model_validate({**SMALL, "images_seen": 80, **changes})


def _learner(**changes: object) -> tuple[MaximumLikelihood, Dataset]:
    config = _config(**changes)
    data = config.load_data()
    return config.build(data), data


def _update(learner: MaximumLikelihood, data: Dataset, seed: int = 0, progress: float = 0.0) -> dict[str, Tensor]:
    indices = torch.arange(learner.images_per_update)
    return learner.update(Batch(data.take(indices), indices), progress, torch.Generator().manual_seed(seed))


def _assert_bit_equal(got: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert got.keys() == expected.keys()
    assert not [name for name, value in expected.items() if not torch.equal(got[name], value)]


@pytest.mark.parametrize("dequantisation", ["uniform", "variational"])
def test_bits_per_dimension_fall(dequantisation: str) -> None:
    learner, data = _learner(dequantisation=dequantisation, learning_rate=0.01)
    bits = [float(step.record["bits_per_dim"]) for step in train(learner, data, Budget(images=8 * 60))]
    assert sum(bits[-5:]) / 5 < sum(bits[:5]) / 5 - 0.3


@pytest.mark.parametrize("dequantisation", ["uniform", "variational"])
def test_every_update_moves_every_parameter_and_records_what_is_promised(dequantisation: str) -> None:
    learner, data = _learner(dequantisation=dequantisation)
    before = {name: value.clone() for name, value in learner.model.named_parameters()}
    for seed in range(3):  # the last layers begin at 0, and hide those before them
        record = _update(learner, data, seed)
    assert record.keys() == RECORD
    still = [name for name, value in learner.model.named_parameters() if torch.equal(value, before[name])]
    assert not still


def test_weights_that_are_loaded_go_on_bit_for_bit() -> None:
    first, data = _learner()
    for seed in range(3):
        _update(first, data, seed)
    first.slow_down()
    second, _ = _learner(seed=5)
    second.load_state_dict({name: value.clone() for name, value in first.state_dict().items()})
    for learner in (first, second):
        _update(learner, data, 7, 0.3)
        learner.average_weights(32)
    _assert_bit_equal(second.state_dict(), first.state_dict())


def test_the_round_trip_is_measured_in_float32_and_now_and_then() -> None:
    learner, data = _learner(precision="bf16")
    errors = [float(_update(learner, data, seed)["round_trip_error"]) for seed in range(LOOK_EVERY + 2)]
    assert 0 < errors[0] < 1e-4
    assert len(set(errors)) == 2
    assert learner.placement.dtype == torch.bfloat16


def test_the_gradient_is_clipped() -> None:
    learner, data = _learner(clip=1e-6)
    norms: list[float] = []
    step = learner._descent._adam.step

    def watched() -> None:
        grads = [p.grad.flatten() for p in learner.model.parameters() if p.grad is not None]
        norms.append(float(torch.cat(grads).norm()))
        step()

    learner._descent._adam.step = watched
    record = _update(learner, data)
    assert norms == [pytest.approx(1e-6, rel=1e-3)]
    assert float(record["gradient_norm"]) > 1e-2


def test_the_rate_follows_schedule_and_setbacks() -> None:
    learner, data = _learner(learning_rate=0.01)
    assert float(_update(learner, data, progress=0.05)["learning_rate"]) == pytest.approx(0.01)
    assert learner.slow_down() == 0.5
    assert float(_update(learner, data, progress=0.05)["learning_rate"]) == pytest.approx(0.005)
    learner.pace.share = SLOWEST
    assert learner.slow_down() is None


def test_names_and_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(GenpriorError, match=r"unknown dequantisation 'unifrom', did you mean 'uniform'"):
        _config(dequantisation="unifrom").check_names()
    with pytest.raises(GenpriorError, match=r"data: glow models 8-bit images, not points; for points train a gan"):
        _learner(data="ring:count=50", size=None)
    with pytest.raises(GenpriorError, match=r"levels: 4 levels need sides that are multiples of 16, got 8x8"):
        _learner(levels=4)
    learner, _ = _learner()
    with pytest.raises(GenpriorError, match=r"models images of shape \(1, 8, 8\), digits\[:64\] has \(1, 12, 12\)"):
        learner.check(load_data("digits[:64]", size=12))
    with pytest.raises(GenpriorError, match=r"batch_size: 8 is more than the 5 images"):
        learner.check(load_data("digits[:5]", size=8))


# As a run.


def _run(path: Path, **changes: object) -> Run:
    prepared = new_run(path, _config(**changes))
    assert _last(prepared.run, prepared.learner, prepared.data).outcome == "finished"
    return prepared.run


def _last(run: Run, learner: MaximumLikelihood, data: Dataset) -> TrainingOutcome:
    return result_of(execute(run, learner, data))


def _tensors(run: Run) -> dict[str, Tensor]:
    saved, _ = load_checkpoint(run.checkpoints)
    assert saved is not None
    return saved.tensors


def test_a_resumed_run_is_the_uninterrupted_one(tmp_path: Path) -> None:
    whole = _run(tmp_path / "whole")
    prepared = new_run(tmp_path / "halves", _config())
    seen: list[int] = []
    stop: Callable[[], bool] = lambda: len(seen) > 0 or bool(seen.append(1))  # noqa: E731
    first = result_of(execute(prepared.run, prepared.learner, prepared.data, stop, flush_every=1))
    assert first.outcome == "interrupted"
    again = resumed_run(tmp_path / "halves", {})
    assert _last(again.run, again.learner, again.data).outcome == "finished"
    _assert_bit_equal(_tensors(again.run), _tensors(whole))


def test_values_that_are_not_finite_lead_back_to_the_last_checkpoint_at_half_the_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = new_run(tmp_path / "run", _config(checkpoint_seconds=1e-6))
    ill, update = [4], prepared.learner.update

    def poisoned(batch: Batch, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        record = update(batch, progress, generator)
        ill[0] -= 1
        if ill[0] == 0:
            with torch.no_grad():
                next(prepared.learner.model.parameters()).fill_(float("nan"))
        return record

    monkeypatch.setattr(prepared.learner, "update", poisoned)
    stages, ended = gone_through(execute(prepared.run, prepared.learner, prepared.data, flush_every=1))
    assert ended.outcome == "finished"
    (message,) = [stage.alarm for stage in stages if stage.alarm]
    assert "went back to step 3, learning rates at 0.5 of the settings" in message
    *events, _ = [json.loads(line) for line in prepared.run.events.read_text().splitlines()]
    (event,) = events
    assert (event["event"], event["step"], event["back_to"], event["rate"]) == ("rolled back", 4, 3, 0.5)
    logged = [json.loads(line)["step"] for line in prepared.run.steps.read_text().splitlines()]
    assert logged == list(range(1, 11))
    assert float(_tensors(prepared.run)["rate"]) == 0.5
    assert not [name for name, value in _tensors(prepared.run).items() if not torch.isfinite(value).all()]


def test_a_run_that_cannot_be_saved_from_nan_stops_and_says_so(tmp_path: Path) -> None:
    prepared = new_run(tmp_path / "run", _config())
    update = prepared.learner.update

    def poisoned(batch: Batch, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        return update(batch, progress, generator) | {"bits_per_dim": torch.tensor(float("nan"))}

    prepared.learner.update = poisoned
    stages, ended = gone_through(execute(prepared.run, prepared.learner, prepared.data))
    assert ended.outcome == "non-finite"
    assert stages[-1].alarm is not None
    assert "training stopped" in stages[-1].alarm
    *events, _ = [json.loads(line) for line in prepared.run.events.read_text().splitlines()]
    assert [event["event"] for event in events] == ["rolled back"] * 10 + ["stopped"]


def test_a_run_becomes_a_prior(tmp_path: Path) -> None:
    from deepinv.physics import Denoising, GaussianNoise

    run = _run(tmp_path / "run")
    prior = load_prior(run.path)
    x = load_data("digits[64:70]", size=8).take(torch.arange(6))
    torch.testing.assert_close(prior.decode(prior.encode(x)), x, rtol=0, atol=1e-5)
    wide = x.double()
    torch.testing.assert_close(prior.decode(prior.encode(wide)), wide, rtol=0, atol=1e-12)
    assert torch.equal(prior.sample(2, seed=1)[1], prior.sample(3, seed=1)[1])
    mean = prior.decode(torch.zeros(1, 64)).clamp(0, 1)
    torch.testing.assert_close(prior.sample(2, seed=3, temperature=0.0), mean.expand(2, -1, -1, -1))
    assert torch.equal(prior.start(2, torch.Generator())[0], torch.zeros(64))
    y, physics = torch.cat([x, x]), Denoising(GaussianNoise(0.1))
    assert warm_start(prior, y, physics, {}) is None
    assert genprior.restore(prior, y, physics, genprior.SearchSettings(second_try=False)).starts.tolist() == [1] * 12
    state = _tensors(run)
    last = load_prior(run.path, average=False)
    weights = dict(last.networks[0].named_parameters())
    assert not [name for name, value in weights.items() if not torch.equal(value.float(), state[f"model/{name}"])]
