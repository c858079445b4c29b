"""Generators that depend on what they are for, and on nothing else."""

import torch

from genprior.seeding import derived_generator, derived_seed, initialised


def test_seeds_are_the_same_in_every_process_and_version() -> None:
    assert derived_seed(0, "weights") == 5409347080047710043
    assert derived_seed(-3, "latents", 12) == 6347295152539209142


def test_seeds_fit_into_63_bits() -> None:
    seeds = [derived_seed(seed, "any", index) for seed in (-1, 0, 2**80) for index in range(300)]
    assert min(seeds) >= 0
    assert max(seeds) < 2**63
    assert max(seeds) > 2**62


def test_seed_purpose_and_index_all_matter() -> None:
    purposes = ("step", "order", "1", "1/1", "")
    arguments = [(seed, purpose, index) for seed in range(-2, 13) for purpose in purposes for index in range(13)]
    assert len({derived_seed(*each) for each in arguments}) == len(arguments)


def test_generators_draw_the_same_whatever_was_drawn_before() -> None:
    first = torch.randn(5, generator=derived_generator(1, "latents", 2))
    torch.randn(3, generator=derived_generator(1, "latents", 2))
    torch.testing.assert_close(torch.randn(5, generator=derived_generator(1, "latents", 2)), first, rtol=0, atol=0)


def test_neighbouring_generators_are_uncorrelated() -> None:
    rows = torch.stack([torch.randn(2000, generator=derived_generator(0, "latents", i)) for i in range(20)])
    correlations = torch.corrcoef(rows) - torch.eye(20)
    assert correlations.abs().max() < 0.1


def test_the_global_generator_is_neither_used_nor_moved() -> None:
    before = torch.get_rng_state()
    torch.randn(3, generator=derived_generator(0, "latents"))
    initialised(lambda: torch.nn.Linear(3, 4), 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_weights_depend_on_seed_and_purpose_alone() -> None:
    def first(seed: int, purpose: str = "weights") -> torch.Tensor:
        torch.rand(1)  # moves the global generator, which must not matter
        return initialised(lambda: torch.nn.Linear(3, 4), seed, purpose).weight

    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))
    assert not torch.equal(first(1), first(1, "other weights"))


def test_rows_are_standard_normal() -> None:
    rows = torch.cat([torch.randn(1, 8, generator=derived_generator(0, "latents", i)) for i in range(2000)])
    torch.testing.assert_close(rows.mean(0), torch.zeros(8), rtol=0, atol=0.1)
    torch.testing.assert_close(torch.cov(rows.T), torch.eye(8), rtol=0, atol=0.1)
