"""How densities change along a flow: closed forms, change of variables, and what integrates to 1."""

import math

import pytest
import torch
from torch import Tensor

from genprior.priors.flow_ode import flowed, log_densities, path_times, random_signs, slopes, unit_directions
from velocities import gaussian_field, made_gaussian, random_field

SHAPE = (2, 1, 1)


def _noise(count: int, shape: tuple[int, int, int] = SHAPE) -> Tensor:
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def _log_density(x: Tensor, steps: int) -> Tensor:
    """Of the random field's images in the units of the path (B,)."""
    base, changes = log_densities(random_field(), x, path_times(steps).flip(0), unit_directions(SHAPE))
    return base - changes.sum(0)


def test_the_flow_of_gaussian_data_is_known() -> None:
    """The mean moves, and what is off it is scaled: from N(0, I) to N(m, s^2)."""
    mean, variance = made_gaussian(SHAPE)
    noise = _noise(5)
    u = flowed(gaussian_field(SHAPE), noise, path_times(200))
    torch.testing.assert_close(u, mean + variance.sqrt() * noise, atol=1e-4, rtol=1e-3)


def test_the_way_back_undoes_the_way_there() -> None:
    noise, times = _noise(5), path_times(100)
    u = flowed(random_field(), noise, times)
    torch.testing.assert_close(flowed(random_field(), u, times.flip(0)), noise, atol=1e-3, rtol=0)


def test_the_midpoint_rule_is_of_second_order() -> None:
    noise = _noise(20)
    exact = flowed(random_field(), noise, path_times(800)).detach()
    found = [flowed(random_field(), noise, path_times(steps)).detach() for steps in (40, 80)]
    errors = [float((each - exact).abs().amax()) for each in found]
    assert 3.0 < errors[0] / errors[1] < 5.5


def test_slopes_sum_to_the_trace_of_the_jacobian() -> None:
    shape = (2, 2, 1)
    field, x, t = random_field(shape), _noise(3, shape), torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    v, found = slopes(field, x, t, unit_directions(shape))
    torch.testing.assert_close(v, field(x, t).detach())
    for i in range(3):
        jacobian = torch.autograd.functional.jacobian(
            lambda flat, i=i: field(flat.view(1, *shape), t[i : i + 1]).flatten(), x[i].flatten()
        )
        torch.testing.assert_close(found[:, i], jacobian.diagonal())


def test_random_signs_find_the_divergence_on_average() -> None:
    field, x, t = random_field(), _noise(1), torch.full((1,), 0.6, dtype=torch.float64)
    exact = slopes(field, x, t, unit_directions(SHAPE))[1].sum(0)
    signs = random_signs(2000, SHAPE, torch.Generator().manual_seed(0))
    assert set(signs.unique().tolist()) == {-1.0, 1.0}
    each = slopes(field, x, t, signs)[1][:, 0]
    assert abs(float(each.mean() - exact)) < 4 * float(each.std()) / len(each) ** 0.5


def test_log_density_is_the_change_of_variables_of_a_finely_solved_flow() -> None:
    """log p(u) = log N(noise) - log |det du/dnoise|, the Jacobian by autograd through all steps."""
    noise = _noise(4)

    def decode(flat: Tensor) -> Tensor:
        return flowed(random_field(), flat.view(1, *SHAPE), path_times(400)).flatten()

    u = torch.stack([decode(each.flatten()) for each in noise]).view(-1, *SHAPE).detach()
    jacobians = torch.stack([torch.autograd.functional.jacobian(decode, each.flatten()) for each in noise])
    base = -0.5 * noise.flatten(1).square().sum(1) - math.log(2 * math.pi)
    assert float(jacobians.det().log().std()) > 0.02  # the flow is no translation
    torch.testing.assert_close(_log_density(u, 400), base - jacobians.det().log(), atol=1e-4, rtol=0)


def test_the_density_of_a_flow_integrates_to_1() -> None:
    side, reach = 90, 7.0
    line = torch.linspace(-reach, reach, side, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line).view(-1, *SHAPE)
    total = _log_density(grid, 40).exp().sum() * (2 * reach / (side - 1)) ** 2
    assert float(total) == pytest.approx(1, abs=2e-3)
