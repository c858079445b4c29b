"""Adam: its settings, its first step, and its state under readable names."""

import pytest
import torch
from torch import Tensor, nn

from genprior.models.dcgan import dcgan_discriminator
from genprior.training.optimisation import AdamSettings, Descent

SETTINGS = AdamSettings(learning_rate=0.01, beta1=0.3, beta2=0.9, weight_decay=0.02)


def _network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return dcgan_discriminator((1, 8, 8), width=3).to(memory_format=torch.channels_last)


def _step(descent: Descent, seed: int) -> None:
    x = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    descent.step(descent.network(x).square().sum())


def _copies(state: dict[str, Tensor], contiguous: bool) -> dict[str, Tensor]:
    return {k: v.clone(memory_format=torch.contiguous_format) if contiguous else v.clone() for k, v in state.items()}


def test_the_settings_reach_the_optimiser() -> None:
    group = Descent(nn.Linear(1, 1), SETTINGS)._adam.param_groups[0]
    assert (group["lr"], group["betas"], group["weight_decay"]) == (0.01, (0.3, 0.9), 0.02)


@pytest.mark.parametrize("slope", [1e-3, -2.0, 50.0])
def test_the_first_step_is_the_learning_rate_against_the_sign_of_the_gradient(slope: float) -> None:
    network = nn.Linear(1, 1, bias=False).double()
    before = network.weight.item()
    Descent(network, AdamSettings(0.1)).step((slope * network.weight).sum())
    expected = before - 0.1 * slope / (abs(slope) + 1e-8)
    assert network.weight.item() == pytest.approx(expected, rel=1e-12)


def test_weight_decay_is_added_to_the_gradient() -> None:
    network = nn.Linear(1, 1, bias=False).double()
    descent = Descent(network, AdamSettings(0.1, weight_decay=0.5))
    with torch.no_grad():
        network.weight.fill_(4.0)
    descent.step((-1.0 * network.weight).sum())  # -1 + 0.5 * 4 > 0: the weight falls
    assert network.weight.item() == pytest.approx(3.9, rel=1e-7)


def test_names_are_those_of_the_parameters() -> None:
    network = _network()
    descent = Descent(network, SETTINGS)
    assert descent.state_dict() == {}
    _step(descent, 0)
    names = {f"{p}/{q}" for p, _ in network.named_parameters() for q in ("step", "exp_avg", "exp_avg_sq")}
    assert descent.state_dict().keys() == names


@pytest.mark.parametrize(("saved", "loaded"), [(torch.float32, torch.float64), (torch.float64, torch.float32)])
def test_what_was_saved_in_another_precision_is_gone_on_with(saved: torch.dtype, loaded: torch.dtype) -> None:
    network, other = _network().to(saved), _network().to(loaded)
    descent, fresh = Descent(network, SETTINGS), Descent(other, SETTINGS)
    for _ in range(2):
        descent.step(sum(p.square().sum() for p in network.parameters()))
    other.load_state_dict(network.state_dict())
    fresh.load_state_dict(descent.state_dict())
    for each, own in ((descent, network), (fresh, other)):
        each.step(sum(p.square().sum() for p in own.parameters()))
    for one, two in zip(other.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(one.to(saved), two, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("contiguous", [False, True])
def test_two_steps_after_loading_equal_two_steps_without(contiguous: bool) -> None:
    network, other = _network(), _network()
    descent, fresh = Descent(network, SETTINGS), Descent(other, SETTINGS)
    for seed in (1, 2):
        _step(descent, seed)
    state = _copies(descent.state_dict(), contiguous)
    other.load_state_dict(_copies(network.state_dict(), contiguous))
    fresh.load_state_dict(state)
    for seed in (3, 4):
        _step(descent, seed)
        _step(fresh, seed)
    torch.testing.assert_close(dict(other.state_dict()), dict(network.state_dict()), rtol=0, atol=0)
    torch.testing.assert_close(fresh.state_dict(), descent.state_dict(), rtol=0, atol=0)


def test_loading_copies_the_state() -> None:
    network = _network()
    descent = Descent(network, SETTINGS)
    _step(descent, 0)
    state = _copies(descent.state_dict(), contiguous=False)
    kept = _copies(state, contiguous=False)
    descent.load_state_dict(state)
    _step(descent, 1)
    torch.testing.assert_close(state, kept, rtol=0, atol=0)


def test_loading_nothing_forgets_everything() -> None:
    network = _network()
    descent = Descent(network, SETTINGS)
    _step(descent, 0)
    descent.load_state_dict({})
    assert descent.state_dict() == {}


def test_the_norm_is_that_of_torch_and_ill_gradients_are_counted() -> None:
    network = _network()
    descent = Descent(network, SETTINGS, clip=1e-3)
    x = torch.rand(4, 1, 8, 8)
    norm, ill = descent.step(network(x).square().sum())
    clipped = torch.nn.utils.get_total_norm([p.grad for p in network.parameters() if p.grad is not None])
    assert (float(clipped), int(ill)) == (pytest.approx(1e-3), 0)
    twin = _network()
    twin(x).square().sum().backward()
    assert torch.equal(norm, torch.nn.utils.get_total_norm([p.grad for p in twin.parameters() if p.grad is not None]))
    with torch.no_grad():
        next(iter(network.parameters())).fill_(torch.nan)
    assert descent.step(network(x).square().sum())[1] > 0
