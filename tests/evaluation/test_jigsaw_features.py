"""Features learned from mixed quarters: what they see, of which images, and what is refused."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from genprior.data import Dataset, load_data
from genprior.errors import GenpriorError
from genprior.evaluation import jigsaw_features as module
from genprior.evaluation.distances import frechet_distance
from genprior.evaluation.features import features_of, features_of_data
from genprior.evaluation.jigsaw_features import JigsawNetwork, jigsaw_training, orders_named
from genprior.seeding import derived_generator

SHAPES = [(1, 28, 28), (3, 32, 32), (1, 32, 48), (3, 64, 64), (1, 16, 16), (3, 64, 40), (3, 128, 96)]


def _noise(shape: tuple[int, int, int], count: int = 20) -> Dataset:
    draws = derived_generator(0, "noise images")
    return Dataset("noise", torch.randint(256, (count, *shape), generator=draws).to(torch.uint8))


def _trained(data: Dataset, steps: int = 2, seed: int = 0) -> JigsawNetwork:
    *_, (_, network) = jigsaw_training(data, seed=seed, steps=steps)
    return network


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return replace(load_data("digits", size=16), labels=None)


@pytest.fixture(scope="module")
def network(digits: Dataset) -> JigsawNetwork:
    return _trained(digits.part(torch.arange(1000)), steps=150)


@pytest.mark.parametrize("shape", SHAPES)
def test_images_of_every_shape_are_seen(shape: tuple[int, int, int]) -> None:
    data = _noise(shape)
    network = _trained(data)
    features = features_of_data(network, data)
    assert features.shape == (20, network.num_features)
    torch.testing.assert_close(features.mean(0), torch.zeros(network.num_features), atol=1e-4, rtol=0)
    spread = features.std(0)
    assert bool(((spread - 1).abs() < 1e-3).logical_or(spread < 1).all())  # less where a feature never changes
    one_by_one = torch.cat([features_of(network, data.take(torch.tensor([i]))) for i in range(20)])
    torch.testing.assert_close(one_by_one, features, atol=1e-3, rtol=1e-3)
    assert network.classes(features) is None
    assert 0 <= orders_named(network, data) <= 1


@pytest.mark.parametrize(
    ("shape", "sides"),
    [((1, 28, 28), (28, 28)), ((1, 32, 48), (32, 48)), ((1, 17, 80), (16, 64)), ((3, 128, 96), (64, 64))],
)
def test_a_step_sees_parts_of_bounded_size(shape: tuple[int, int, int], sides: tuple[int, int]) -> None:
    x, orders = module._mixed_parts(_noise(shape), 0, 0)
    assert x.shape == (module.BATCH, shape[0], *sides)
    assert 15 < len(set(orders.tolist())) <= 24


def test_mixed_quarters_are_those_of_the_image() -> None:
    x = torch.arange(16.0).view(1, 1, 4, 4)
    assert torch.equal(module._mixed(x, torch.tensor([0])), x)
    backwards = module._mixed(x, torch.tensor([23]))  # the last order is 3, 2, 1, 0
    assert backwards[0, 0].tolist() == [[10, 11, 8, 9], [14, 15, 12, 13], [2, 3, 0, 1], [6, 7, 4, 5]]


def test_orders_are_learned_and_counted(digits: Dataset, network: JigsawNetwork) -> None:
    new = digits.part(torch.arange(1000, 1797))
    assert orders_named(network, new) > 0.5
    in_order = network(new.take(torch.arange(len(new)))).argmax(1) == 0
    assert float(in_order.double().mean()) > 0.5
    assert orders_named(JigsawNetwork(1), new) == pytest.approx(1 / 24, abs=0.03)


def _blurred(x: Tensor, strength: int) -> Tensor:
    for _ in range(strength):
        x = torch.nn.functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    return x


def _noisy(x: Tensor, strength: int) -> Tensor:
    noise = torch.randn(x.shape, generator=derived_generator(0, "noise"))
    return (x + 0.03 * 2**strength * noise).clamp(0, 1)


def _shifted(x: Tensor, strength: int) -> Tensor:
    up = torch.rand(len(x), 1, 1, 1, generator=derived_generator(0, "shift"))
    return (x + 0.05 * 2**strength * up).clamp(0, 1)


def _swapped(x: Tensor, strength: int) -> Tensor:
    x = x.clone()
    for i in range(strength):
        x[:, :, 4 * i : 4 * i + 2] = x[:, :, 4 * i : 4 * i + 2].roll(8, 3)
    return x


@pytest.mark.parametrize("damage", [_blurred, _noisy, _shifted, _swapped])
def test_stronger_damage_is_farther_from_real_images(damage: object, digits: Dataset, network: JigsawNetwork) -> None:
    reference, x = (digits.take(torch.arange(first, first + 390)) for first in (1000, 1400))
    damaged = [x] + [damage(x, strength) for strength in range(1, 5)]  # type: ignore[operator]
    real = features_of(network, reference)
    distances = [frechet_distance(real, features_of(network, each)) for each in damaged]
    assert distances == sorted(distances)
    assert distances[4] > 3 * distances[0]


def test_the_same_seed_gives_the_same_network_and_progress_ends_at_1() -> None:
    data = _noise((1, 16, 16))
    shares = [share for share, _ in jigsaw_training(data, steps=45)]
    assert shares == [pytest.approx(20 / 45), pytest.approx(40 / 45), 1]
    first, second, other = (_trained(data, seed=seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["out.weight"], other["out.weight"])


def test_labels_are_not_looked_at() -> None:
    data = _noise((1, 16, 16))
    with_labels = replace(data, labels=torch.arange(20))
    first, second = (_trained(each).state_dict() for each in (data, with_labels))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("shape", "count", "told"),
    [((1, 15, 28), 20, "20 of 15 x 28"), ((3, 28, 8), 20, "28 x 8"), ((1, 28, 28), 1, "1 of")],
)
def test_what_cannot_be_learned_from_is_refused(shape: tuple[int, int, int], count: int, told: str) -> None:
    with pytest.raises(GenpriorError, match=rf"2 images or more of 16 pixels a side or more; noise has .*{told}"):
        _trained(_noise(shape, count))
