"""Laws that every task keeps, for images of every shape."""

import pytest
import torch
from torch import Tensor

from genprior.evaluation.comparison import LEAST_COMPARED_DRAWS, TASKS, drawn, restored
from genprior.priors.contracts import LatentPrior
from genprior.priors.mixture_prior import MixturePrior
from genprior.restoration.operators import OPERATORS
from genprior.specs import Spec
from mixtures import image_mixture

Shape = tuple[int, int, int]
SHAPES = ((1, 28, 28), (3, 32, 32), (1, 32, 48), (3, 64, 64))
every_task = pytest.mark.parametrize("name", TASKS)
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


class _Grey(LatentPrior):
    """Images of one grey value."""

    latent_size = 1

    def __init__(self, shape: Shape) -> None:
        self.image_shape = shape

    def start(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.randn(count, 1, generator=generator)

    def decode(self, z: Tensor) -> Tensor:
        return torch.sigmoid(z)[:, :, None, None].expand(-1, *self.image_shape)

    def energy(self, z: Tensor) -> Tensor:
        return 0.5 * z.square().sum(1)


@every_task
@every_shape
def test_a_task_names_an_operator_and_a_level_for_every_shape(name: str, shape: Shape) -> None:
    task = TASKS[name]
    spec, sigma = task.operator(shape), task.sigma(shape)
    assert isinstance(spec, Spec)
    assert Spec.parse(str(spec)) == spec
    assert 0 < sigma < 1
    assert spec.name in OPERATORS


@every_task
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 16, 16), (1, 16, 24)], ids=str)  # larger ones take minutes
def test_a_task_damages_images_and_a_prior_of_the_truth_mends_them(name: str, shape: Shape) -> None:
    task, x = TASKS[name], torch.full((2, *shape), 0.7)
    operator = task.operator(shape).build(OPERATORS, "operator", image_shape=shape, seed=0)
    found = restored(_Grey(shape), x, operator, task.sigma(shape))
    assert found.images.shape == found.shown.shape == x.shape
    assert not torch.equal(found.shown, x)
    assert float(found.error.max()) < 1e-3
    assert float(found.psnr.min()) > 30
    assert found.seconds > 0


@every_task
def test_balls_of_exact_draws_hold_the_truths_that_they_promise(name: str) -> None:
    task, shape = TASKS[name], (1, 6, 8)
    prior = MixturePrior(image_mixture(shape), shape)
    operator = task.operator(shape).build(OPERATORS, "operator", image_shape=shape, seed=0)
    x = prior.sample(60, 1)
    found = drawn(prior, x, operator, task.sigma(shape), 19, seed=0)
    assert found.images.shape == x.shape
    assert found.promised == pytest.approx(0.9)
    assert 0.78 <= float(found.held.double().mean()) <= 0.99  # 3 standard errors of 60
    assert found.disagree == 0
    other = torch.rand(60, *shape, generator=torch.Generator().manual_seed(0))  # nothing like the prior's images
    assert float(drawn(prior, other, operator, task.sigma(shape), 19).held.double().mean()) < 0.5


def test_the_fewest_draws_that_are_compared_know_a_ball() -> None:
    task, shape = TASKS["denoise"], (1, 6, 8)
    prior = MixturePrior(image_mixture(shape), shape)
    operator = task.operator(shape).build(OPERATORS, "operator", image_shape=shape, seed=0)
    found = drawn(prior, prior.sample(2, 1), operator, task.sigma(shape), LEAST_COMPARED_DRAWS)
    assert found.promised == pytest.approx(0.8)
