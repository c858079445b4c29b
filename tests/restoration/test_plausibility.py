"""Measurements of another scale are refused; noise of every kind and strength is not."""

from collections.abc import Callable

import pytest
import torch
from deepinv.physics import Denoising, GaussianNoise, Inpainting, LinearPhysics, ZeroNoise
from torch import Tensor

from genprior.errors import GenpriorError
from genprior.models.mlp import MLPGenerator
from genprior.priors.generator_prior import GeneratorPrior
from genprior.restoration.noise import NOISES, measure, noise_level, stacked
from genprior.restoration.operators import OPERATORS
from genprior.restoration.plausibility import estimated_level, implausible, is_average
from genprior.restoration.restore import restore
from genprior.restoration.search_settings import SearchSettings

SHAPES = [(1, 28, 28), (3, 32, 32), (1, 32, 48), (3, 64, 64)]
AVERAGES = {"denoise": {}, "inpaint": {"random": 0.5}, "downsample": {"factor": 2}, "blur": {"sigma": 1.0}}
SCALES: dict[str, Callable[[Tensor], Tensor]] = {"-1 to 1": lambda x: 2 * x - 1, "0 to 255": lambda x: 255 * x}
NOISY = ["none", "gaussian:0.01", "gaussian:0.1", "gaussian:0.5", "poisson:0.01", "poisson:0.3", "uniform:0.5"]


def image(shape: tuple[int, int, int]) -> Tensor:
    """A bright shape on black."""
    x = torch.zeros(1, *shape)
    x[..., shape[1] // 4 : shape[1] // 2, shape[2] // 4 : shape[2] // 2] = 0.9
    return x


def noise_of(text: str) -> object:
    name, _, value = text.partition(":")
    return NOISES[name](*map(float, filter(None, [value])))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", AVERAGES)
@pytest.mark.parametrize("text", [*NOISY, "salt-and-pepper:0.4"])
@pytest.mark.parametrize("told", ["model", "level", "nothing"])
def test_noise_of_every_kind_is_plausible(shape: tuple[int, int, int], name: str, text: str, told: str) -> None:
    operator, noise = OPERATORS[name](image_shape=shape, **AVERAGES[name]), noise_of(text)
    y = measure(image(shape), operator, noise, seed=1)[0]
    known = operator.parameters(0).get("mask")
    model, level = {"model": (noise, None), "level": (None, noise_level(noise)), "nothing": (None, None)}[told]
    assert implausible(y, model, level, None if known is None else known[0].expand_as(y)) is None


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("text", [None, "none", "gaussian:0.1", "poisson:0.05", "salt-and-pepper:0.1"])
def test_another_scale_is_not(shape: tuple[int, int, int], scale: str, text: str | None) -> None:
    wrong = implausible(SCALES[scale](image(shape)[0]), None if text is None else noise_of(text), None)
    assert wrong is not None
    assert "rescale them to [0, 1]" in wrong


def test_what_is_not_known_does_not_matter() -> None:
    y, known = image((1, 28, 28))[0], torch.ones(1, 28, 28)
    y[:, 3], known[:, 3] = 255, 0
    assert implausible(y, None, 0.0, known) is None
    assert implausible(y, None, None, known) is None
    assert implausible(y, None, None) is not None


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("sigma", [0.05, 0.2])
def test_the_noise_level_is_estimated(shape: tuple[int, int, int], sigma: float) -> None:
    y = image(shape)[0] + sigma * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    assert estimated_level(y) == pytest.approx(sigma, rel=0.2)


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_that_average_are_known(name: str) -> None:
    options = {"compressed-sensing": {"m": 20}}.get(name) or AVERAGES[name]
    operator = OPERATORS[name](image_shape=(1, 28, 28), **options)
    assert is_average(operator.physics, stacked(operator, [0])) == (operator.largest is None)
    assert not is_average(LinearPhysics(A=lambda x: 3 * x, A_adjoint=lambda y: 3 * y), {})


PRIOR = GeneratorPrior(MLPGenerator((1, 28, 28), 4, 8, 1), 4, (1, 28, 28))


@pytest.mark.parametrize("physics", [Denoising(noise_model=ZeroNoise()), Denoising(noise_model=GaussianNoise(0.1))])
@pytest.mark.parametrize("scale", SCALES)
def test_restoring_refuses_another_scale(physics: Denoising, scale: str) -> None:
    y = SCALES[scale](image((1, 28, 28)))
    with pytest.raises(GenpriorError, match="measurement 0 has values from") as raised:
        restore(PRIOR, y, physics, SearchSettings())
    assert raised.value.argument == "y"


def test_restoring_refuses_another_scale_beside_holes() -> None:
    physics = Inpainting((1, 28, 28), mask=0.5)
    with pytest.raises(GenpriorError, match="has values from -1"):
        restore(PRIOR, physics(2 * image((1, 28, 28)) - 1), physics, SearchSettings())
