"""The race of many searches: the best one wins and is kept, each stops for itself, evaluations are counted."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor

from genprior.priors.contracts import LatentPrior
from genprior.restoration.fidelity import L2
from genprior.restoration.minimise import BLOCK, REASONS, Searches, minimise
from genprior.restoration.problem import Problem, make_problem
from genprior.restoration.search_methods import LBFGS, Adam
from genprior.restoration.search_settings import SearchSettings

SIDE, LATENTS = 4, 6
SHAPE = (1, SIDE, SIDE)


class _Waves(LatentPrior):
    """A prior with many local minima: sines of different pace. Row by row, so that sums do not depend on the rows."""

    latent_size, image_shape = LATENTS, SHAPE

    def __init__(self, pace: float = 2.0) -> None:
        generator = torch.Generator().manual_seed(3)
        self.pace = pace
        self.weights = torch.randn(LATENTS, SIDE * SIDE, generator=generator, dtype=torch.float64)

    def start(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.randn(count, LATENTS, generator=generator, dtype=torch.float64)

    def decode(self, z: Tensor) -> Tensor:
        inner = (z[:, :, None] * self.weights).sum(1)
        return (0.5 + 0.3 * torch.sin(self.pace * inner) + 0.1 * inner).view(-1, *SHAPE)

    def energy(self, z: Tensor) -> Tensor:
        return 0.5 * z.square().sum(1)

    def sample(self, count: int, seed: int = 0) -> Tensor:
        return self.decode(self.start(count, torch.Generator().manual_seed(seed)))


def _problem(images: int = 5, pace: float = 2.0) -> Problem:
    prior = _Waves(pace)
    return make_problem(prior, prior.sample(images, seed=1), None, L2())


def _starts(images: int, starts: int, seed: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(images * starts, LATENTS, generator=generator, dtype=torch.float64)


def _who(images: int, starts: int) -> Tensor:
    return torch.arange(images).repeat_interleave(starts)


def _minimise(problem: Problem, z: Tensor, who: Tensor, settings: SearchSettings, weight: float = 0.0) -> Searches:
    return minimise(problem, z, who, torch.full_like(z[:, 0], weight), None, settings)


def _reasons(found: Searches) -> list[str]:
    return [REASONS[place] for place in found.reason.tolist()]


PLAIN = SearchSettings(iterations=60, tolerance=0.0)


def test_one_search_of_each_image_is_left_and_it_leads_the_others_at_every_look() -> None:
    """Successive halving by hand, from searches that all run to the end."""
    images, starts = 5, 8
    problem, z = _problem(images), _starts(images, starts)
    found = _minimise(problem, z, _who(images, starts), PLAIN)
    survivors = (found.reason.view(images, starts) != REASONS.index("dropped")).nonzero()
    going = [list(range(starts)) for _ in range(images)]
    for look, keep in ((1, 4), (2, 2), (3, 1)):
        settings = replace(PLAIN, iterations=look * BLOCK, candidates=starts)
        misfit = _minimise(problem, z, _who(images, starts), settings).misfit.view(images, starts)
        for i in range(images):
            going[i] = sorted(going[i], key=lambda s, i=i: float(misfit[i, s]))[:keep]
    assert survivors.tolist() == [[i, going[i][0]] for i in range(images)]


def test_a_dropped_search_never_wins() -> None:
    images, starts = 5, 8
    problem = _problem(images)
    found = _minimise(problem, _starts(images, starts), _who(images, starts), PLAIN)
    for i in range(images):
        own = found.misfit.view(images, starts)[i]
        left = found.reason.view(images, starts)[i] != REASONS.index("dropped")
        assert left.tolist().count(True) == 1
        assert bool(left[own.argmin()])
        assert torch.isinf(own[~left]).all()


@pytest.mark.parametrize(("starts", "candidates"), [(40, 3), (7, 1), (5, 5), (2, 4), (1, 1), (60, 5)])
def test_several_searches_are_left_for_each_candidate_that_is_wanted(starts: int, candidates: int) -> None:
    images = 3
    settings = replace(PLAIN, candidates=candidates)
    found = _minimise(_problem(images), _starts(images, starts), _who(images, starts), settings)
    left = (found.reason != REASONS.index("dropped")).view(images, starts).sum(1)
    assert left.tolist() == [min(starts, settings.survivors)] * images
    assert settings.survivors >= candidates


def test_a_start_that_is_no_number_loses() -> None:
    z = _starts(2, 8)
    z[3], z[8] = torch.nan, torch.nan
    found = _minimise(_problem(2), z, _who(2, 8), PLAIN)
    winners = found.misfit.nan_to_num(torch.inf).view(2, 8).argmin(1)
    assert torch.isfinite(found.z.view(2, 8, LATENTS)[torch.arange(2), winners]).all()
    assert _reasons(found)[3] == _reasons(found)[8] == "dropped"


@pytest.mark.parametrize("method", [LBFGS, Adam])
def test_the_result_of_an_image_does_not_depend_on_the_others(method: type) -> None:
    images, starts = 5, 8
    problem, z = _problem(images), _starts(images, starts)
    settings = replace(PLAIN, method=method, tolerance=1e-3)
    together = _minimise(problem, z, _who(images, starts), settings, 1e-3)
    for i in range(images):
        rows = slice(i * starts, (i + 1) * starts)
        alone = _minimise(problem, z[rows], _who(images, starts)[rows], settings, 1e-3)
        for name in ("z", "misfit", "energy", "weight", "iterations", "reason"):
            assert torch.equal(getattr(together, name)[rows], getattr(alone, name)), name


def test_values_belong_to_the_latents() -> None:
    images, starts = 4, 3
    problem = _problem(images)
    settings = replace(PLAIN, candidates=3, iterations=23)
    found = _minimise(problem, _starts(images, starts), _who(images, starts), settings, 0.01)
    misfit, energy, _, _ = problem.evaluate(found.z, _who(images, starts))
    torch.testing.assert_close(found.misfit, misfit)
    torch.testing.assert_close(found.energy, energy)


def test_searches_end_below_their_starts() -> None:
    problem, z = _problem(4), _starts(4, 1)
    weight = 0.01
    before = problem.evaluate(z, torch.arange(4))
    found = _minimise(problem, z, torch.arange(4), PLAIN, weight)
    assert (found.misfit + weight * found.energy < before[0] + weight * before[1]).all()


@pytest.mark.parametrize("rate", [3.0, 30.0])
def test_the_best_point_is_kept_where_the_method_goes_up_again(rate: float) -> None:
    problem, z = _problem(4), _starts(4, 1)
    seen: list[Tensor] = []

    class Watched(Adam):
        def advance(self, z: Tensor, value: Tensor, slope: Tensor) -> Tensor:
            seen.append(value)
            return super().advance(z, value, slope)

    settings = replace(PLAIN, method=partial(Watched, learning_rate=rate), iterations=BLOCK)
    found = _minimise(problem, z, torch.arange(4), settings)
    values = torch.stack([problem.evaluate(z, torch.arange(4))[0], *seen])
    assert torch.equal(found.misfit, values.amin(0))
    assert (values[-1] > values.amin(0)).any()


@pytest.mark.parametrize("iterations", [1, BLOCK - 1, BLOCK, BLOCK + 1, 37])
def test_no_search_gets_more_evaluations_than_it_may(iterations: int) -> None:
    problem, z = _problem(4), _starts(4, 1)
    calls = []

    class Counted(Adam):  # which never stalls
        def trial(self) -> Tensor:
            calls.append(len(self.z))
            return super().trial()

    settings = replace(PLAIN, method=Counted, iterations=iterations)
    found = _minimise(problem, z, torch.arange(4), settings)
    assert len(calls) == int(found.iterations.max()) == iterations
    assert sum(calls) == int(found.iterations.sum())


@pytest.mark.parametrize("starts", [2, 8])
def test_the_evaluations_that_are_allowed_begin_when_a_search_is_alone(starts: int) -> None:
    problem, halvings = _problem(2), starts.bit_length() - 1

    class Lasting(Adam):  # which never stalls
        pass

    settings = replace(PLAIN, method=Lasting, iterations=20)
    found = _minimise(problem, _starts(2, starts), torch.arange(2).repeat_interleave(starts), settings)
    assert sorted(found.iterations.unique().tolist())[-1] == 20 + BLOCK * halvings


def test_each_search_stops_where_it_has_converged() -> None:
    """A search that starts at its minimum stops at the first look, the others do not wait, nor does it."""
    problem = _problem(3)
    z = _starts(3, 1)
    exact = _minimise(problem, z, torch.arange(3), replace(PLAIN, iterations=400), 0.01)
    z[1] = exact.z[1]
    settings = SearchSettings(iterations=400, tolerance=1e-6)
    found = _minimise(problem, z, torch.arange(3), settings, 0.01)
    assert int(found.iterations[1]) == BLOCK
    assert _reasons(found)[1] in ("converged", "stalled")
    assert (found.iterations[[0, 2]] > BLOCK).all()
    assert (found.iterations < 400).all()
    torch.testing.assert_close(found.misfit, exact.misfit, rtol=1e-3, atol=1e-5)


def test_whoever_still_goes_at_the_end_ran_out_of_iterations() -> None:
    found = _minimise(_problem(3), _starts(3, 1), torch.arange(3), replace(PLAIN, iterations=4))
    assert _reasons(found) == ["iterations"] * 3


def test_without_tolerance_a_method_that_goes_up_for_a_while_goes_on() -> None:
    """Adam overshoots for more than ten steps, and comes back lower."""
    problem = _problem(1, pace=0.0)
    z = _starts(1, 1)
    settings = replace(PLAIN, method=partial(Adam, learning_rate=0.05), iterations=600)
    found = _minimise(problem, z, torch.arange(1), settings)
    assert int(found.iterations[0]) == 600
    assert _reasons(found) == ["iterations"]


def test_a_weight_that_follows_the_search_is_the_one_that_counts() -> None:
    problem = _problem(3, pace=0.0)  # linear: any weight has one minimum
    z, who = _starts(3, 1), torch.arange(3)
    final = torch.tensor([0.3, 0.02, 4.0], dtype=torch.float64)

    def weigh(rows: Tensor, misfit: Tensor, weight: Tensor) -> Tensor:
        return torch.minimum(final[rows], weight * 3)

    settings = SearchSettings(iterations=300, tolerance=1e-9)
    found = minimise(problem, z, who, torch.full_like(final, 1e-3), weigh, settings)
    torch.testing.assert_close(found.weight, final)
    fixed = minimise(problem, z, who, final, None, settings)
    torch.testing.assert_close(found.z, fixed.z, rtol=1e-3, atol=1e-4)


def test_starts_are_left_as_they_are() -> None:
    z = _starts(3, 2)
    before = z.clone()
    _minimise(_problem(3), z, _who(3, 2), PLAIN)
    assert torch.equal(z, before)
