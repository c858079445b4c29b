"""Laws that every task keeps, for images of every shape."""

import pytest
import torch
from torch import Tensor

from genprior.evaluation.comparison import TASKS, restored
from genprior.priors.contracts import LatentPrior
from genprior.restoration.operators import OPERATORS
from genprior.specs import Spec

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
