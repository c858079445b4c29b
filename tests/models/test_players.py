"""What every family of players promises, and how their weights are drawn."""

import math

import pytest
import torch
from torch import nn

from genprior.errors import GenpriorError
from genprior.models import mlp
from genprior.models.players import (
    MODELS,
    Players,
    PlayerSizes,
    latent_size_of,
    output_range_of,
    value_range,
)
from genprior.seeding import initialised

# A shape and options, small, for each family.
SMALL: dict[str, tuple[tuple[int, int, int], dict[str, int]]] = {
    "dcgan": ((3, 16, 16), {"generator_width": 4, "discriminator_width": 4}),
    "mlp": ((2, 1, 1), {"width": 8, "depth": 2}),
    "metz": ((3, 28, 28), {"generator_width": 2}),
    "pyramid": ((3, 16, 16), {"generator_width": 4, "discriminator_width": 4}),
    "few-steps": ((3, 16, 20), {"evaluations": 2, "width": 4, "levels": 1, "blocks": 1, "discriminator_width": 4}),
}
LATENTS = {"few-steps": 2 * 3 * 16 * 20}  # of its own
every_model = pytest.mark.parametrize("name", MODELS)


def _players(name: str, seed: int = 0) -> Players:
    shape, options = SMALL[name]
    return initialised(lambda: MODELS[name](PlayerSizes(shape, 6), **options), seed)


def _latents(name: str, count: int) -> torch.Tensor:
    return torch.randn(count, LATENTS.get(name, 6), generator=torch.Generator().manual_seed(0))


def _weights(players: Players) -> list[torch.Tensor]:
    return [*players.generator.parameters(), *players.discriminator.parameters()]


def test_every_family_is_tested() -> None:
    assert SMALL.keys() == MODELS.keys()


@every_model
def test_players_map_latents_to_images_and_images_to_logits(name: str) -> None:
    players = _players(name)
    x = players.generator(_latents(name, 4))
    assert x.shape == (4, *SMALL[name][0])
    assert players.discriminator(x).shape == (4,)
    assert players.discriminator(torch.cat([x, x]), parts=2).shape == (8,)


@every_model
def test_the_generator_tells_its_latent_size_shape_and_range(name: str) -> None:
    players = _players(name)
    assert latent_size_of(players.generator) == LATENTS.get(name, 6)
    assert players.generator.image_shape == SMALL[name][0]
    low, high = output_range_of(players.generator)
    x = players.generator(100 * _latents(name, 64))
    assert low <= x.min() <= x.max() <= high


@every_model
def test_every_parameter_of_both_players_gets_a_finite_gradient(name: str) -> None:
    players = _players(name)
    players.discriminator(players.generator(_latents(name, 4))).square().sum().backward()
    for network in (players.generator, players.discriminator):
        for parameter, value in network.named_parameters():
            assert value.grad is not None, parameter
            assert torch.isfinite(value.grad).all(), parameter


@every_model
def test_parts_equal_two_calls_while_training(name: str) -> None:
    together, apart = _players(name).discriminator, _players(name).discriminator
    first, second = torch.rand(2, 3, *SMALL[name][0], generator=torch.Generator().manual_seed(0))
    both = together(torch.cat([first, 5 * second]), parts=2)
    torch.testing.assert_close(both, torch.cat([apart(first), apart(5 * second)]))


@every_model
def test_the_same_seed_gives_the_same_weights(name: str) -> None:
    torch.testing.assert_close(_weights(_players(name, 3)), _weights(_players(name, 3)), rtol=0, atol=0)


@every_model
def test_another_seed_gives_other_weights(name: str) -> None:
    assert not torch.equal(_weights(_players(name, 3))[0], _weights(_players(name, 4))[0])


@every_model
def test_initialising_leaves_the_generators_of_torch_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seeded: list[int] = []
    monkeypatch.setattr("torch.cuda.manual_seed_all", seeded.append)
    before = torch.get_rng_state()
    _players(name)
    assert torch.equal(torch.get_rng_state(), before)
    assert not seeded


def test_weights_do_not_depend_on_what_was_drawn_before() -> None:
    first = _weights(_players("mlp"))
    torch.rand(7)
    torch.testing.assert_close(_weights(_players("mlp")), first, rtol=0, atol=0)


def test_the_value_range_is_the_smallest_and_the_largest_value() -> None:
    assert value_range(torch.tensor([[0.5, -1.0], [3.0, 2.0]])) == (-1.0, 3.0)


def test_a_generator_without_a_range_may_reach_everything() -> None:
    assert output_range_of(nn.Identity()) == (-math.inf, math.inf)


@pytest.mark.parametrize("size", [None, "100", 2.0])
def test_a_generator_must_tell_its_latent_size(size: object) -> None:
    network = nn.Identity()
    network.latent_size = size
    with pytest.raises(GenpriorError, match="must have an integer attribute latent_size"):
        latent_size_of(network)


def test_waves_are_the_sines_and_cosines_of_fixed_directions() -> None:
    waves = initialised(lambda: mlp.Waves(2, 300, 1.5), 0)
    x = torch.tensor([[0.3, -0.2]])
    phases = x @ waves.directions
    torch.testing.assert_close(waves(x), torch.cat([x, phases.sin(), phases.cos()], 1))
    assert float(waves.directions.std()) == pytest.approx(2 * math.pi * 1.5, rel=0.1)
    assert not list(waves.parameters())


@pytest.mark.parametrize("frequency", [0, -1, 1e7])
def test_a_frequency_out_of_range_is_refused(frequency: float) -> None:
    with pytest.raises(GenpriorError, match="option 'frequency' must be above 0"):
        MODELS["mlp"](PlayerSizes((2, 1, 1), 2), waves=4, frequency=frequency)
