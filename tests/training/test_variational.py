"""Variational training: the loss by hand, the KL weight, the learning rate, what is refused, and going on."""

import math

import pytest
import torch
from torch import Tensor

from genprior.data import Dataset, load_data
from genprior.errors import GenpriorError
from genprior.models.autoencoder import VAES, Bernoulli, Gaussian, PixelLikelihood
from genprior.seeding import initialised
from genprior.training.loop import Batch, Budget, train
from genprior.training.optimisation import AdamSettings, annealed
from genprior.training.processes import Placement
from genprior.training.variational import VAE, kl_to_standard_normal

SHAPE = (1, 8, 8)
RECORD = {"loss", "reconstruction_error", "kl", "negative_bound", "gradient_norm", "non_finite_gradients"}
State = dict[str, Tensor]
every_model = pytest.mark.parametrize("model", VAES)
both_likelihoods = pytest.mark.parametrize("likelihood", [Bernoulli(), Gaussian(0.3)], ids=["bernoulli", "gaussian"])


def _data(shape: tuple[int, int, int] = SHAPE, count: int = 40) -> Dataset:
    generator = torch.Generator().manual_seed(0)
    return Dataset("noise", torch.randint(256, (count, *shape), dtype=torch.uint8, generator=generator))


def _vae(
    model: str = "dense",
    seed: int = 0,
    likelihood: PixelLikelihood = Gaussian(0.3),  # noqa: B008 - frozen
    dtype: torch.dtype = torch.float32,
    kl_warm_up: float = 0.5,
) -> VAE:
    networks = initialised(lambda: VAES[model](SHAPE, 5, width=4), seed)
    return VAE(
        networks,
        likelihood,
        batch_size=6,
        adam=AdamSettings(0.01, beta1=0.9),
        kl_warm_up=kl_warm_up,
        placement=Placement(dtype),
    )


def _update(vae: VAE, seed: int = 0, progress: float = 0.0) -> State:
    indices = torch.arange(6)
    return vae.update(Batch(_data().take(indices), indices), progress, torch.Generator().manual_seed(seed))


def _copy(state: State) -> State:
    return {name: value.clone() for name, value in state.items()}


def _assert_bit_equal(got: State, expected: State) -> None:
    assert got.keys() == expected.keys()
    assert not [name for name, value in expected.items() if not torch.equal(got[name], value)]


def _trained(model: str, limit: int, dtype: torch.dtype = torch.float32, seed: int = 3) -> VAE:
    vae = _vae(model, dtype=dtype)
    for step in train(vae, _data(), Budget(images=72), seed=seed):
        if step.images_seen >= limit:
            break
    return vae


# The loss.


def test_the_kl_term_is_that_of_torch() -> None:
    mean, log_variance = torch.randn(7, 5, dtype=torch.float64), torch.randn(7, 5, dtype=torch.float64)
    normal = torch.distributions.Normal
    posterior, prior = normal(mean, torch.exp(0.5 * log_variance)), normal(0.0, 1.0)
    expected = torch.distributions.kl_divergence(posterior, prior).sum(1)
    torch.testing.assert_close(kl_to_standard_normal(mean, log_variance), expected)


@both_likelihoods
@pytest.mark.parametrize(("used", "weight"), [(0.0, 0.0), (0.1, 0.2), (0.5, 1.0), (1.0, 1.0)])
def test_the_record_equals_a_computation_by_hand(likelihood: PixelLikelihood, used: float, weight: float) -> None:
    vae, x = _vae(likelihood=likelihood, dtype=torch.float64), _data().take(torch.arange(6)).double()
    with torch.no_grad():
        mean, log_variance = vae.encoder(x)
        noise = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
        logits = vae.decoder.logits(mean + torch.exp(log_variance / 2) * noise)
    record = _update(vae, 7, used)
    kl = kl_to_standard_normal(mean, log_variance).mean()
    log_likelihood = likelihood(logits, x).mean()
    expected = {
        "loss": weight * kl - log_likelihood,
        "negative_bound": kl - log_likelihood,
        "kl": kl,
        "reconstruction_error": (torch.sigmoid(logits) - x).square().mean(),
    }
    torch.testing.assert_close({name: record[name] for name in expected}, expected)


@pytest.mark.parametrize("used", [0.1, 1.0])
def test_the_gradient_is_that_of_the_loss(used: float) -> None:
    vae, same = _vae(dtype=torch.float64), _vae(dtype=torch.float64)
    norm = _update(vae, progress=used)["gradient_norm"]
    x = _data().take(torch.arange(6)).double()
    mean, log_variance = same.encoder(x)
    noise = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    logits = same.decoder.logits(mean + torch.exp(log_variance / 2) * noise)
    weight = min(1.0, used / 0.5)
    loss = (weight * kl_to_standard_normal(mean, log_variance) - same.likelihood(logits, x)).mean()
    expected = torch.autograd.grad(loss, list(same.networks.parameters()))
    torch.testing.assert_close([p.grad for p in vae.networks.parameters()], list(expected))
    torch.testing.assert_close(norm, torch.stack([each.norm() for each in expected]).norm())


def test_without_warm_up_the_kl_weight_is_one_from_the_start() -> None:
    vae = _vae(kl_warm_up=0.0)
    assert vae.kl_weight(0.0) == 1.0
    record = _update(vae)
    assert record["loss"] == record["negative_bound"]


@every_model
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_the_record_holds_finite_scalars_without_a_graph(model: str, dtype: torch.dtype) -> None:
    vae = _vae(model, dtype=dtype)
    record = _update(vae)
    assert record.keys() == RECORD
    for name, value in record.items():
        assert value.shape == (), name
        assert torch.isfinite(value), name
        assert not value.requires_grad, name
    wide = torch.promote_types(dtype, torch.float32)
    assert {p.dtype for p in vae.networks.parameters()} == {wide}
    assert {v.dtype for v in record.values() if v.is_floating_point()} == {wide}


def test_bf16_is_float32_up_to_rounding() -> None:
    got, expected = _update(_vae(dtype=torch.bfloat16)), _update(_vae())
    for name in ("loss", "kl", "reconstruction_error"):
        torch.testing.assert_close(got[name], expected[name], rtol=0.03, atol=1e-3)


def test_likelihoods_are_computed_in_float32_under_bf16() -> None:
    seen: list[torch.dtype] = []

    def likelihood(logits: Tensor, x: Tensor) -> Tensor:
        seen.extend([logits.dtype, x.dtype])
        return Gaussian(0.3)(logits, x)

    _update(_vae(likelihood=likelihood, dtype=torch.bfloat16))
    assert seen == [torch.float32, torch.float32]


@every_model
def test_every_parameter_gets_a_gradient_and_moves(model: str) -> None:
    vae = _vae(model)
    before = _copy(dict(vae.networks.named_parameters()))
    for seed in range(3):
        _update(vae, seed, 0.3)
    for name, parameter in vae.networks.named_parameters():
        assert parameter.grad is not None, name
        assert not torch.equal(parameter, before[name]), name


def test_gradients_that_are_not_finite_are_counted() -> None:
    vae = _vae()
    with torch.no_grad():
        next(vae.decoder.parameters()).fill_(torch.inf)
    assert _update(vae)["non_finite_gradients"] > 0


# The learning rate.


@pytest.mark.parametrize("used", [0.02, 0.5])
@pytest.mark.parametrize("halvings", [0, 2])
def test_the_step_follows_the_used_share_and_the_rate(used: float, halvings: int) -> None:
    vae = _vae()
    for _ in range(halvings):
        vae.slow_down()
    before = {name: value.detach().clone() for name, value in vae.networks.named_parameters()}
    _update(vae, progress=used)
    after = dict(vae.networks.named_parameters())
    # Adam's first step moves every weight by the learning rate, whatever its gradient.
    moved = max(float((value.detach() - before[name]).abs().max()) for name, value in after.items())
    assert moved == pytest.approx(0.01 * annealed(used) * 0.5**halvings, rel=1e-3)


def test_the_rate_is_halved_ten_times_and_then_no_more() -> None:
    vae = _vae()
    assert [vae.slow_down() for _ in range(11)] == [*(0.5**i for i in range(1, 11)), None]


def test_the_rate_is_part_of_the_state() -> None:
    vae, other = _vae(), _vae()
    vae.slow_down()
    state = vae.state_dict()
    assert state["rate"].dtype == torch.float64
    other.load_state_dict(state)
    assert other.slow_down() == 0.25


# Going on, and randomness.


@every_model
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_going_on_from_a_state_equals_an_uninterrupted_run(model: str, dtype: torch.dtype) -> None:
    half = _copy(_trained(model, 36, dtype).state_dict())
    resumed = _vae(model, seed=1, dtype=dtype)
    list(train(resumed, _data(), Budget(images=12), seed=9))  # what was learned before leaves no trace
    resumed.load_state_dict({name: value.contiguous() for name, value in half.items()})
    list(train(resumed, _data(), Budget(images=72), seed=3, images_seen=36))
    _assert_bit_equal(resumed.state_dict(), _trained(model, 72, dtype).state_dict())


def test_a_state_holds_networks_averages_optimiser_and_rate() -> None:
    groups = {"encoder", "decoder", "average_encoder", "average_decoder", "rate"}
    assert {name.partition("/")[0] for name in _vae().state_dict()} == groups
    assert {name.partition("/")[0] for name in _trained("dense", 6).state_dict()} == groups | {"adam"}


def test_averages_follow_both_networks() -> None:
    vae = _trained("dense", 36)
    state, start = vae.state_dict(), _vae().state_dict()
    for part in ("encoder", "decoder"):
        for name, value in state.items():
            if name.startswith(f"{part}/"):
                average = state["average_" + name]
                assert not torch.equal(average, value), name
                assert not torch.equal(average, start["average_" + name]), name


def test_the_same_seed_gives_the_same_run_and_another_one_another() -> None:
    first, again, other = (_trained("dense", 24, seed=seed).state_dict() for seed in (3, 3, 4))
    _assert_bit_equal(again, first)
    assert not torch.equal(other["decoder/layers.0.weight"], first["decoder/layers.0.weight"])


def test_an_update_uses_no_random_numbers_but_those_it_is_given() -> None:
    vae, before = _vae(), torch.get_rng_state()
    _update(vae)
    assert torch.equal(torch.get_rng_state(), before)


# Learning, and what is refused.


@every_model
def test_images_are_learned(model: str) -> None:
    data = load_data("digits[:200]", size=8)
    networks = initialised(lambda: VAES[model](SHAPE, 5, width=32), 0)
    vae = VAE(networks, Gaussian(0.1), batch_size=20, adam=AdamSettings(0.01, beta1=0.9))
    *_, step = train(vae, data, Budget(images=6000))
    x = data.take(torch.arange(200))
    with torch.no_grad():
        found = vae.average_decoder.network(vae.average_encoder.network.encode(x))
    error, constant = (found - x).square().mean(), (x.mean(0) - x).square().mean()
    assert error < 0.7 * constant
    assert 1 < float(step.record["kl"]) < 100
    assert math.isfinite(float(step.record["negative_bound"]))


def test_points_are_refused() -> None:
    expected = r"^data: ring.* holds points, .* for points take the family gan$"
    with pytest.raises(GenpriorError, match=expected):
        next(train(_vae(), load_data("ring:count=50"), Budget(images=10**6)))


def test_fewer_images_than_a_batch_are_refused() -> None:
    with pytest.raises(GenpriorError, match=r"^batch_size: 6 is more than the 5 images of noise$"):
        next(train(_vae(), _data(count=5), Budget(images=10**6)))


def test_images_of_another_shape_are_refused() -> None:
    expected = r"^data: the networks are for images of shape \(1, 8, 8\), noise has \(1, 9, 9\)$"
    with pytest.raises(GenpriorError, match=expected):
        next(train(_vae(), _data((1, 9, 9)), Budget(images=10**6)))
