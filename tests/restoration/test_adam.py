"""Adam for many searches at once is torch's, step by step."""

import pytest
import torch
from torch import Tensor

from genprior.restoration.search_methods import Adam


def _waves(z: Tensor) -> Tensor:
    return (torch.sin(3 * z) + 0.1 * z.square() + z * z.roll(1, 1)).sum(1)


def _evaluated(z: Tensor) -> tuple[Tensor, Tensor]:
    leaf = z.detach().requires_grad_()
    value = _waves(leaf)
    (slope,) = torch.autograd.grad(value.sum(), leaf)
    return value.detach(), slope


def _step(search: Adam) -> Tensor:
    z = search.trial()
    return search.advance(z, *_evaluated(z))


@pytest.mark.parametrize("learning_rate", [0.01, 0.3])
def test_every_step_is_that_of_torch(learning_rate: float) -> None:
    z = torch.randn(4, 6, dtype=torch.float64)
    leaf = z.clone().requires_grad_()
    reference = torch.optim.Adam([leaf], lr=learning_rate)
    search = Adam(z, *_evaluated(z), learning_rate=learning_rate)
    for _ in range(200):
        reference.zero_grad()
        _waves(leaf).sum().backward()
        reference.step()
        _step(search)
        assert torch.equal(search.z, leaf.detach())
        torch.testing.assert_close(search.value, _waves(leaf.detach()), rtol=1e-9, atol=1e-9)


def test_every_step_is_taken_uphill_or_not() -> None:
    z = torch.randn(4, 6)
    search = Adam(z, *_evaluated(z), learning_rate=3.0)
    values = [search.value]
    for _ in range(20):
        assert _step(search).all()
        values.append(search.value)
    assert (torch.stack(values).diff(dim=0) > 0).any()
    assert not search.failed.any()


def test_a_search_is_the_same_alone_in_company_and_after_others_left() -> None:
    z = torch.randn(5, 6, dtype=torch.float64)
    whole, alone = Adam(z, *_evaluated(z)), Adam(z[3:4], *_evaluated(z[3:4]))
    fewer = Adam(z, *_evaluated(z))
    for step in range(40):
        if step == 17:
            fewer.keep(torch.tensor([3, 0]))
        for search in (whole, alone, fewer):
            _step(search)
    assert torch.equal(whole.z[3:4], alone.z)
    assert torch.equal(whole.z[[3, 0]], fewer.z)


def test_searches_may_leave_before_the_first_step() -> None:
    z = torch.randn(5, 6, dtype=torch.float64)
    whole, fewer = Adam(z, *_evaluated(z)), Adam(z, *_evaluated(z))
    fewer.keep(torch.tensor([2, 4]))
    for _ in range(3):
        _step(whole)
        _step(fewer)
    assert torch.equal(whole.z[[2, 4]], fewer.z)


def test_new_weights_change_the_slope_of_the_next_step() -> None:
    z = torch.zeros(1, 2, dtype=torch.float64)
    search = Adam(z, torch.ones(1), torch.ones(1, 2, dtype=torch.float64))
    search.revalue(torch.zeros(1), -torch.ones(1, 2, dtype=torch.float64))
    assert (search.trial() > 0).all()
