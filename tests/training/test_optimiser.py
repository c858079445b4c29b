"""Adam: its settings, its first step, and its state under readable names."""

import pytest
import torch
from torch import Tensor, nn

from genprior.models.dcgan import Discriminator
from genprior.training.optimisation import AdamSettings, adam, load_optimiser_state, optimiser_state

SETTINGS = AdamSettings(learning_rate=0.01, beta1=0.3, beta2=0.9, weight_decay=0.02)


def _network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Discriminator((1, 8, 8), width=3).to(memory_format=torch.channels_last)


def _step(network: nn.Module, optimiser: torch.optim.Optimizer, seed: int) -> None:
    x = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    optimiser.zero_grad()
    network(x).square().sum().backward()
    optimiser.step()


def _copies(state: dict[str, Tensor], contiguous: bool) -> dict[str, Tensor]:
    return {k: v.clone(memory_format=torch.contiguous_format) if contiguous else v.clone() for k, v in state.items()}


def test_the_settings_reach_the_optimiser() -> None:
    group = adam(nn.Linear(1, 1), SETTINGS).param_groups[0]
    assert (group["lr"], group["betas"], group["weight_decay"]) == (0.01, (0.3, 0.9), 0.02)


@pytest.mark.parametrize("slope", [1e-3, -2.0, 50.0])
def test_the_first_step_is_the_learning_rate_against_the_sign_of_the_gradient(slope: float) -> None:
    network = nn.Linear(1, 1, bias=False).double()
    before = network.weight.item()
    optimiser = adam(network, AdamSettings(0.1))
    (slope * network.weight).sum().backward()
    optimiser.step()
    expected = before - 0.1 * slope / (abs(slope) + 1e-8)
    assert network.weight.item() == pytest.approx(expected, rel=1e-12)


def test_weight_decay_is_added_to_the_gradient() -> None:
    network = nn.Linear(1, 1, bias=False).double()
    optimiser = adam(network, AdamSettings(0.1, weight_decay=0.5))
    with torch.no_grad():
        network.weight.fill_(4.0)
    (-1.0 * network.weight).sum().backward()  # -1 + 0.5 * 4 > 0: the weight falls
    optimiser.step()
    assert network.weight.item() == pytest.approx(3.9, rel=1e-7)


def test_names_are_those_of_the_parameters() -> None:
    network = _network()
    optimiser = adam(network, SETTINGS)
    assert optimiser_state(optimiser, network) == {}
    _step(network, optimiser, 0)
    names = {f"{p}/{q}" for p, _ in network.named_parameters() for q in ("step", "exp_avg", "exp_avg_sq")}
    assert optimiser_state(optimiser, network).keys() == names


@pytest.mark.parametrize("contiguous", [False, True])
def test_two_steps_after_loading_equal_two_steps_without(contiguous: bool) -> None:
    network, other = _network(), _network()
    optimiser, fresh = adam(network, SETTINGS), adam(other, SETTINGS)
    for seed in (1, 2):
        _step(network, optimiser, seed)
    state = _copies(optimiser_state(optimiser, network), contiguous)
    other.load_state_dict(_copies(network.state_dict(), contiguous))
    load_optimiser_state(fresh, other, state)
    for seed in (3, 4):
        _step(network, optimiser, seed)
        _step(other, fresh, seed)
    torch.testing.assert_close(dict(other.state_dict()), dict(network.state_dict()), rtol=0, atol=0)
    torch.testing.assert_close(optimiser_state(fresh, other), optimiser_state(optimiser, network), rtol=0, atol=0)


def test_loading_copies_the_state() -> None:
    network = _network()
    optimiser = adam(network, SETTINGS)
    _step(network, optimiser, 0)
    state = _copies(optimiser_state(optimiser, network), contiguous=False)
    kept = _copies(state, contiguous=False)
    load_optimiser_state(optimiser, network, state)
    _step(network, optimiser, 1)
    torch.testing.assert_close(state, kept, rtol=0, atol=0)


def test_loading_nothing_forgets_everything() -> None:
    network = _network()
    optimiser = adam(network, SETTINGS)
    _step(network, optimiser, 0)
    load_optimiser_state(optimiser, network, {})
    assert optimiser_state(optimiser, network) == {}
