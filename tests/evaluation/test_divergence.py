"""Divergences and their floors against closed forms and another library."""

import math

import pytest
import torch

from genprior.data import load_data
from genprior.evaluation.histogram import divergence, kl_divergence, kl_floor, miller_madow
from genprior.seeding import derived_generator

MNIST_CLASSES = [6903, 7877, 6990, 7141, 6824, 6313, 6876, 7293, 6825, 6958]  # of all 70,000 images


def test_the_divergence_is_that_of_scipy() -> None:
    from scipy.stats import entropy

    counts, reference = torch.tensor([3, 1, 0, 6]), torch.tensor([1.0, 2.0, 3.0, 4.0])
    expected = float(entropy(counts.numpy(), reference.numpy()))
    assert float(kl_divergence(counts, reference)) == pytest.approx(expected)


def test_equal_frequencies_diverge_by_nothing() -> None:
    assert float(kl_divergence(torch.tensor([4, 8, 12]), torch.tensor([1, 2, 3]))) == pytest.approx(0, abs=1e-15)


def test_a_divergence_that_is_infinite_is_none() -> None:
    even = torch.ones(2)
    assert math.isinf(float(kl_divergence(torch.tensor([1, 1]), torch.tensor([1, 0]))))
    assert divergence(torch.tensor([1, 1]), torch.tensor([1, 0]), even, derived_generator(0, "floor")) is None
    assert divergence(torch.tensor([0, 0]), even, even, derived_generator(0, "floor")) is None


@pytest.mark.parametrize(("modes", "samples"), [(8, 2500), (25, 2500), (1000, 26_000)])
def test_the_floor_is_that_of_a_chi_square(modes: int, samples: int) -> None:
    # 2 n KL is about chi-square with K - 1 degrees of freedom: mean K - 1, variance 2 (K - 1).
    even = torch.ones(modes)
    floor, spread = kl_floor(samples, even, even, derived_generator(0, "floor"), repeats=100)
    assert floor == pytest.approx((modes - 1) / (2 * samples), abs=4 * spread / 10)
    assert spread == pytest.approx(math.sqrt(2 * (modes - 1)) / (2 * samples), rel=0.3)


def test_the_floor_holds_how_far_the_data_are_from_the_reference() -> None:
    truth, even = torch.tensor([9.0, 1.0]), torch.ones(2)
    floor, spread = kl_floor(500, even, truth, derived_generator(0, "floor"))
    assert floor == pytest.approx(1 / 1000 + float(kl_divergence(truth, even)), abs=4 * spread / 200**0.5)


@pytest.mark.mnist
def test_mnist_has_the_class_counts_that_these_tests_use() -> None:
    labels = load_data("mnist:all").labels
    assert labels is not None
    assert labels.bincount().tolist() == MNIST_CLASSES


def test_the_floor_of_triples_of_mnist_is_known() -> None:
    share = torch.tensor(MNIST_CLASSES).double() / sum(MNIST_CLASSES)
    triples = torch.einsum("a,b,c->abc", share, share, share).flatten()
    even = torch.ones(1000)
    floor, spread = kl_floor(26_000, even, triples, derived_generator(0, "floor"))
    assert floor == pytest.approx(0.0236, abs=3e-4)
    assert spread == pytest.approx(0.0010, abs=2e-4)
    analytic = 999 / 52_000 + float(kl_divergence(triples, even))
    assert floor == pytest.approx(analytic, abs=3e-4)


def test_miller_and_madow_take_away_most_of_the_bias() -> None:
    even = torch.ones(100)
    drawn = [
        torch.randint(100, (2000,), generator=derived_generator(0, "draws", i)).bincount(minlength=100)
        for i in range(50)
    ]
    found = [divergence(counts, even, even, derived_generator(0, "floor")) for counts in drawn[:2]]
    assert found[0] is not None
    assert found[0].debiased == pytest.approx(found[0].raw - miller_madow(drawn[0]))
    raw = [float(kl_divergence(counts, even)) for counts in drawn]
    mended = [float(kl_divergence(counts, even)) - miller_madow(counts) for counts in drawn]
    assert abs(sum(mended) / 50) < 0.1 * sum(raw) / 50
