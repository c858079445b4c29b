"""Noise: closed forms of every model, and measurements that depend on seed and image number alone."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from deepinv.physics import (
    GammaNoise,
    GaussianNoise,
    NoiseModel,
    Physics,
    PoissonGaussianNoise,
    UniformGaussianNoise,
    UniformNoise,
)
from torch import Tensor

from genprior.errors import GenpriorError
from genprior.restoration.noise import NOISES, measure, noise_level, stacked, suggested_fidelity
from genprior.restoration.operators import OPERATORS, Operator
from genprior.specs import Spec

SHAPE = (1, 8, 8)
SIDE = 1000
MANY = SIDE**2


@dataclass(frozen=True)
class ClosedForm:
    """What is known of the noise on a constant image of value x.

    Attributes:
        spec: The noise, with an option.
        mean, deviation: Of y, as functions of x.
        level: What `noise_level` returns.
        fidelity: What `suggested_fidelity` returns.
    """

    spec: str
    mean: Callable[[float], float]
    deviation: Callable[[float], float]
    level: float | None
    fidelity: str | None = None


CLOSED_FORMS = {
    "none": ClosedForm("none", lambda x: x, lambda x: 0, 0.0),
    "gaussian": ClosedForm("gaussian:sigma=0.25", lambda x: x, lambda x: 0.25, 0.25),
    "poisson": ClosedForm("poisson:gain=0.02", lambda x: x, lambda x: math.sqrt(0.02 * x), None, "poisson:gain=0.02"),
    "uniform": ClosedForm("uniform:a=0.3", lambda x: x, lambda x: 0.3 / math.sqrt(3), 0.3 / math.sqrt(3)),
    "salt-and-pepper": ClosedForm(
        "salt-and-pepper:p=0.3",
        lambda x: 0.7 * x + 0.15,
        lambda x: math.sqrt(0.7 * x**2 + 0.15 - (0.7 * x + 0.15) ** 2),
        None,
        "l1",
    ),
}
every_noise = pytest.mark.parametrize("name", NOISES)


def _built(spec: str) -> NoiseModel:
    return Spec.parse(spec).build(NOISES, "noise")


def _noise(name: str) -> NoiseModel:
    return _built(CLOSED_FORMS[name].spec if name in CLOSED_FORMS else name)


def _operator(spec: str = "denoise", shape: tuple[int, int, int] = SHAPE) -> Operator:
    return Spec.parse(spec).build(OPERATORS, "operator", image_shape=shape, seed=0)


def _images(count: int) -> Tensor:
    return torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(0))


def _constant(x: float) -> tuple[Tensor, Operator]:
    return torch.full((1, 1, SIDE, SIDE), x), _operator(shape=(1, SIDE, SIDE))


@every_noise
@pytest.mark.parametrize("x", [0.1, 0.6])
def test_the_level_of_a_noise_is_its_deviation_wherever_it_names_one(name: str, x: float) -> None:
    clean, operator = _constant(x)
    level, y = noise_level(_noise(name)), measure(clean, operator, _noise(name), seed=0)
    assert bool(y.isfinite().all())
    if level is not None:
        assert float((y - clean).double().std()) == pytest.approx(level, rel=0.01, abs=1e-9)
        assert float(y.double().mean()) == pytest.approx(x, abs=5 * level / math.sqrt(MANY) + 1e-6)


@pytest.mark.parametrize("name", CLOSED_FORMS)
@pytest.mark.parametrize("x", [0.1, 0.6])
def test_mean_and_deviation_are_those_of_the_closed_form(name: str, x: float) -> None:
    known = CLOSED_FORMS[name]
    y = measure(*_constant(x), _noise(name), seed=0).double()
    deviation = known.deviation(x)
    assert float(y.mean()) == pytest.approx(known.mean(x), abs=5 * deviation / math.sqrt(MANY) + 1e-6)
    assert float(y.std()) == pytest.approx(deviation, rel=0.01, abs=1e-9)


@every_noise
def test_the_defaults_can_be_drawn(name: str) -> None:
    y = measure(_images(2), _operator(), NOISES[name](), seed=0)
    assert (y.shape, y.dtype) == ((2, *SHAPE), torch.float32)


def test_uniform_noise_stays_within_its_width() -> None:
    x, operator = _constant(0.5)
    error = (measure(x, operator, _noise("uniform"), seed=0) - x).abs()
    assert 0.299 < float(error.max()) <= 0.3 + 1e-6


def test_poisson_noise_counts() -> None:
    counts = measure(*_constant(0.3), _noise("poisson"), seed=0) / 0.02
    torch.testing.assert_close(counts, counts.round())


@pytest.mark.parametrize("p", [0, 0.2, 1])
def test_salt_and_pepper_hit_the_share_half_each(p: float) -> None:
    y = measure(*_constant(0.5), _built(f"salt-and-pepper:p={p}"), seed=0)
    for value, share in ((0, p / 2), (1, p / 2), (0.5, 1 - p)):
        assert float((y == value).double().mean()) == pytest.approx(share, abs=5 * 0.5 / math.sqrt(MANY) * bool(p))


@pytest.mark.parametrize("name", ["gaussian", "uniform"])
def test_level_zero_is_no_noise(name: str) -> None:
    option = {"gaussian": "sigma", "uniform": "a"}[name]
    x = _images(3)
    assert torch.equal(measure(x, _operator(), _built(f"{name}:{option}=0"), seed=0), x)


# Seeds and numbers decide the noise, nothing else does.


@every_noise
@pytest.mark.parametrize("spec", ["denoise", "inpaint:random=0.5", "blur:sigma=1"])
def test_batches_and_order_change_nothing(name: str, spec: str) -> None:
    operator, noise, x = _operator(spec), _noise(name), _images(6)
    whole = measure(x, operator, noise, seed=3)
    torch.rand(5)  # whatever was drawn before
    last = measure(x[4:], operator, noise, seed=3, first=4)
    first = measure(x[:4], operator, noise, seed=3)
    assert torch.equal(whole, torch.cat([first, last]))


@every_noise
def test_other_seeds_and_other_images_have_other_noise(name: str) -> None:
    operator, noise, x = _operator(), _noise(name), torch.full((2, *SHAPE), 0.5)
    y, other = measure(x, operator, noise, seed=0), measure(x, operator, noise, seed=1)
    assert torch.equal(y[0], y[1]) == (name == "none")
    assert torch.equal(y, other) == (name == "none")


@every_noise
def test_measuring_leaves_generators_models_and_operators_as_they_were(name: str) -> None:
    operator, noise = _operator("inpaint:box=3"), _noise(name)
    noise.rng = torch.Generator().manual_seed(5)
    own, everywhere, before = noise.rng.get_state(), torch.get_rng_state(), operator.physics.noise_model
    measure(_images(2), operator, noise, seed=0)
    assert torch.equal(noise.rng.get_state(), own)
    assert torch.equal(torch.get_rng_state(), everywhere)
    assert operator.physics.noise_model is before


def test_a_generator_in_the_noise_model_does_not_matter() -> None:
    seeded = GaussianNoise(0.25, rng=torch.Generator().manual_seed(5))
    x = _images(2)
    assert torch.equal(measure(x, _operator(), seeded, seed=0), measure(x, _operator(), _noise("gaussian"), seed=0))


@pytest.mark.parametrize(
    "noise", [GammaNoise(5.0), UniformGaussianNoise(), PoissonGaussianNoise(0.1, 0.1)], ids=lambda noise: type(noise)
)
def test_noise_of_deepinv_without_an_entry_is_as_reproducible(noise: NoiseModel) -> None:
    x = _images(3) + 0.1
    y = measure(x, _operator(), noise, seed=0)
    assert torch.equal(measure(x[1:], _operator(), noise, seed=0, first=1), y[1:])
    assert not torch.equal(y, x)


@every_noise
def test_missing_pixels_get_no_noise(name: str) -> None:
    operator = _operator("inpaint:random=0.5")
    y = measure(_images(3), operator, _noise(name), seed=0)
    missing = stacked(operator, range(3))["mask"] == 0
    assert not y[missing].any()
    assert y[~missing].any()


def test_a_sensor_of_the_physics_comes_last() -> None:
    physics = Physics(sensor_model=lambda y: y.clamp(0, 0.5))
    y = measure(_images(2), Operator(physics), _noise("gaussian"), seed=0)
    assert 0 == float(y.min()) < float(y.max()) == 0.5


def test_measurements_are_float32_without_history() -> None:
    y = measure(_images(2).double().requires_grad_(), _operator("blur:sigma=1"), _noise("gaussian"), seed=0)
    assert (y.dtype, y.requires_grad) == (torch.float32, False)


# What solvers want to know.


@every_noise
def test_levels_and_suggestions_are_those_of_the_closed_form(name: str) -> None:
    known = CLOSED_FORMS[name]
    level = noise_level(_noise(name))
    assert level == (known.level if known.level is None else pytest.approx(known.level, rel=1e-6))
    suggested, expected = suggested_fidelity(_noise(name)), known.fidelity and Spec.parse(known.fidelity)
    assert (suggested and suggested.name) == (expected and expected.name)
    gain = expected and {name: float(value) for name, value in expected.options.items()}
    assert (suggested and suggested.options) == (gain if not gain else pytest.approx(gain, rel=1e-6))


@pytest.mark.parametrize(
    ("noise", "level"),
    [
        (GaussianNoise(torch.tensor([0.5])), 0.5),
        (GaussianNoise(torch.tensor([0.5, 0.25])), None),
        (UniformNoise(torch.tensor([0.5, 0.25])), None),
        (GaussianNoise(0.3) + GaussianNoise(0.4), 0.5),
        (UniformGaussianNoise(), None),
        (PoissonGaussianNoise(), None),
        (NoiseModel(lambda y: y + 1), None),
    ],
)
def test_levels_of_other_models(noise: NoiseModel, level: float | None) -> None:
    assert noise_level(noise) == (level if level is None else pytest.approx(level))


# Refusals.


ALLOWED = {
    "gaussian:sigma": ("from 0 to 1000, where 1 is white", [-0.1, "1e+300", "nan", "inf"]),
    "uniform:a": ("from 0 to 1000, where 1 is white", [-0.1, "1e+300", "nan", "inf"]),
    "poisson:gain": ("from 1e-06 to 1000, where 1 is white", [0, -0.1, 1e-300, "1e+300", "nan", "inf"]),
    "salt-and-pepper:p": ("a share from 0 to 1", [-0.1, 1.1, "nan", "inf"]),
}


@pytest.mark.parametrize(
    ("option", "value"), [(option, value) for option, (_, values) in ALLOWED.items() for value in values]
)
def test_levels_out_of_range_are_refused_with_the_range(option: str, value: object) -> None:
    name, _, key = option.partition(":")
    expected = f"noise: option '{key}' of '{name}' must be {ALLOWED[option][0]}, got {value}"
    with pytest.raises(GenpriorError, match=f"^{re.escape(expected)}$") as caught:
        _built(f"{option}={value}")
    assert caught.value.argument == "noise"


def test_refused_levels_are_known_for_every_noise() -> None:
    assert {option.partition(":")[0] for option in ALLOWED} == NOISES.keys() - {"none"}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("gausian", r"unknown noise 'gausian', did you mean 'gaussian'\? Known: gaussian, none, "),
        ("gaussian:sgma=1", r"unknown option 'sgma' of 'gaussian', did you mean 'sigma'\? Known: sigma$"),
        ("none:sigma=1", r"unknown option 'sigma' of 'none', it has none$"),
    ],
)
def test_unknown_names_suggest_the_nearest(spec: str, message: str) -> None:
    with pytest.raises(GenpriorError, match=f"^noise: {message}"):
        _built(spec)


def test_counts_of_negative_measurements_are_refused() -> None:
    operator = _operator("compressed-sensing:m=20")
    expected = r"^noise: Input tensor for Poisson noise must be non-negative, but the measurements lie in \[-.*\]$"
    with pytest.raises(GenpriorError, match=expected) as caught:
        measure(_images(1), operator, _noise("poisson"), seed=0)
    assert caught.value.argument == "noise"
    assert type(operator.physics.noise_model).__name__ == "ZeroNoise"


def test_several_levels_are_refused() -> None:
    with pytest.raises(GenpriorError, match=r"^noise: expected one level for all images, got levels for 2$"):
        measure(_images(2), _operator(), GaussianNoise(torch.tensor([0.1, 0.2])), seed=0)


@pytest.mark.parametrize("x", [torch.rand(1, 8, 8), torch.rand(0, 1, 8, 8), torch.ones(1, 1, 8, 8, dtype=torch.uint8)])
def test_what_is_no_batch_of_images_is_refused(x: Tensor) -> None:
    with pytest.raises(GenpriorError, match=r"^x: expected \(B, C, H, W\) of floats, got \(.*\) of torch\."):
        measure(x, _operator(), _noise("none"), seed=0)
