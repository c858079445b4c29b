"""Laws that every score keeps."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from genprior.evaluation.distances import closeness
from genprior.evaluation.scores import SCORES, Evidence
from genprior.seeding import derived_generator

COUNT, SIZE = 150, 8


def _normal(index: int, count: int = COUNT) -> Tensor:
    return torch.randn(count, SIZE, generator=derived_generator(0, "scores test", index))


TRAINING = _normal(0, 3 * COUNT)


def _evidence(judged: Tensor, held_out_error: float = 1.0) -> Evidence:
    held_out, errors = _normal(1), [torch.rand(40, generator=derived_generator(0, "errors", i)) for i in range(2)]
    near = [closeness(x, TRAINING) for x in (held_out, judged)]
    return Evidence(held_out, judged, near[0], near[1], errors[0], held_out_error * errors[1])


REAL = _evidence(_normal(2))
# Something that each score must see: far, narrow, copied, badly inverted; a score that is not here must see the first.
FAR = _evidence(_normal(2) + 1, held_out_error=3)
ILL = {
    "frechet": _evidence(_normal(2) + 1),
    "kernel": _evidence(_normal(2) + 1),
    "precision": _evidence(3 * _normal(2)),
    "recall": _evidence(0.2 * _normal(2)),
    "density": _evidence(3 * _normal(2)),
    "coverage": _evidence(0.2 * _normal(2)),
    "memorisation": _evidence(TRAINING[:COUNT]),
    "inversion": _evidence(_normal(2), held_out_error=3),
    "inversion_ratio": _evidence(_normal(2), held_out_error=3),
}


@pytest.mark.parametrize("name", SCORES)
def test_the_value_lies_in_its_interval(name: str) -> None:
    for evidence in (REAL, ILL.get(name, FAR)):
        found = SCORES[name].estimate(evidence, derived_generator(0, name))
        assert found.low <= found.value <= found.high
        assert all(map(math.isfinite, (found.low, found.value, found.high)))


@pytest.mark.parametrize("name", SCORES)
def test_what_is_ill_lies_on_the_wrong_side_of_what_is_real(name: str) -> None:
    score = SCORES[name]
    real, ill = (score.estimate(each, derived_generator(0, name)) for each in (REAL, ILL.get(name, FAR)))
    if score.better == "lower":
        assert ill.low > real.value
    elif score.better == "higher":
        assert ill.high < real.value
    else:
        assert real.low > ill.value or ill.value > real.high


@pytest.mark.parametrize("name", SCORES)
def test_the_same_generator_gives_the_same_numbers(name: str) -> None:
    first, second = (SCORES[name].estimate(REAL, derived_generator(5, name)) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("name", SCORES)
def test_the_order_of_images_has_no_influence(name: str) -> None:
    order = torch.randperm(COUNT, generator=derived_generator(0, "order"))
    shuffled = replace(REAL, judged=REAL.judged[order], judged_closeness=REAL.judged_closeness[order])
    first, second = (SCORES[name].estimate(each, derived_generator(0, name)).value for each in (REAL, shuffled))
    assert first == pytest.approx(second, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("name", SCORES)
def test_the_least_number_of_images_is_enough(name: str) -> None:
    least = SCORES[name].minimum
    features = torch.randn(2, least, 128, generator=derived_generator(0, "least"))
    near, errors = torch.rand(2, least, generator=derived_generator(0, "near")), torch.rand(2, least)
    few = Evidence(features[0], features[1], near[0], near[1], errors[0], errors[1])
    found = SCORES[name].estimate(few, derived_generator(0, name))
    assert math.isfinite(found.low + found.value + found.high)


def test_errors_below_those_of_eight_bits_say_nothing() -> None:
    exact = replace(REAL, reference_errors=torch.full((5,), 1e-16), judged_errors=torch.full((5,), 1e-14))
    assert SCORES["inversion_ratio"].estimate(exact, derived_generator(0, "r")).value == pytest.approx(1, abs=1e-6)
    none = replace(REAL, reference_errors=torch.zeros(5), judged_errors=torch.zeros(5))
    assert SCORES["inversion_ratio"].estimate(none, derived_generator(0, "r")).value == 1
