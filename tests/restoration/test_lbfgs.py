"""Laws of the batched L-BFGS: closed-form minima, rows that never influence each other, nothing uphill accepted."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from genprior.restoration.search_methods import FIRST_STEP, LBFGS, LONGEST_STEP, SHORTEST

Objective = Callable[[Tensor, Tensor], Tensor]  # z (R, k), number of each row (R,) -> values (R,)


def _evaluated(objective: Objective, z: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    leaf = z.detach().requires_grad_()
    value = objective(leaf, rows)
    (slope,) = torch.autograd.grad(value.sum(), leaf)
    return value.detach(), slope


def _started(objective: Objective, z: Tensor, rows: Tensor | None = None) -> LBFGS:
    rows = torch.arange(len(z)) if rows is None else rows
    return LBFGS(z.clone(), *_evaluated(objective, z, rows))


def _run(objective: Objective, z: Tensor, count: int, rows: Tensor | None = None) -> LBFGS:
    rows = torch.arange(len(z)) if rows is None else rows
    search = _started(objective, z, rows)
    for _ in range(count):
        trial = search.trial()
        search.advance(trial, *_evaluated(objective, trial, rows))
    return search


def _quadratic(condition: float, size: int = 12, count: int = 5) -> tuple[Objective, Tensor]:
    """Random quadratics of this condition number, and their minima (count, size) by a linear solver."""
    basis = torch.linalg.qr(torch.randn(count, size, size, dtype=torch.float64)).Q
    scales = torch.logspace(0, torch.tensor(condition).log10().item(), size, dtype=torch.float64)
    matrix = basis @ torch.diag(scales) @ basis.mT
    b = torch.randn(count, size, dtype=torch.float64)

    def objective(z: Tensor, rows: Tensor) -> Tensor:
        # Sums of products, not matrix products, whose rounding depends on the number of rows.
        return 0.5 * (matrix[rows] * z[:, None, :] * z[:, :, None]).sum((1, 2)) - (b[rows] * z).sum(1)

    return objective, torch.linalg.solve(matrix, b)


def _rosenbrock(z: Tensor, rows: Tensor) -> Tensor:
    return (100 * (z[:, 1:] - z[:, :-1].square()).square() + (1 - z[:, :-1]).square()).sum(1)


@pytest.mark.parametrize("condition", [1.0, 1e2, 1e4])
def test_the_minimum_of_a_quadratic_is_found(condition: float) -> None:
    objective, minimum = _quadratic(condition)
    search = _run(objective, torch.randn(5, 12, dtype=torch.float64), 400)
    torch.testing.assert_close(search.z, minimum, rtol=1e-4, atol=1e-5)
    # Steps shorter than this are given up, and so near the minimum the value is off by half the curvature times that.
    unreached = condition / 2 * (SHORTEST * FIRST_STEP) ** 2
    off = search.value - objective(minimum, torch.arange(5))
    assert bool((off <= unreached + 1e-10).all())
    assert bool((off >= -1e-10).all())


@pytest.mark.parametrize("size", [2, 6])
def test_the_valley_of_rosenbrock_is_followed_to_its_end(size: int) -> None:
    z = torch.tensor([[-1.2, 1.0] * (size // 2), [0.0, 0.0] * (size // 2)], dtype=torch.float64)
    search = _run(_rosenbrock, z, 400)
    torch.testing.assert_close(search.value[1], torch.tensor(0.0, dtype=torch.float64), rtol=0, atol=1e-12)
    if size == 2:  # longer ones have a second, local minimum
        torch.testing.assert_close(search.z, torch.ones_like(z), rtol=0, atol=1e-6)


def test_the_end_is_as_low_as_that_of_torch() -> None:
    z = torch.tensor([[-1.2, 1.0, -0.5, 0.8]], dtype=torch.float64)
    leaf = z[0].clone().requires_grad_()
    reference = torch.optim.LBFGS([leaf], max_iter=200, line_search_fn="strong_wolfe", tolerance_change=1e-14)

    def closure() -> Tensor:
        reference.zero_grad()
        value = _rosenbrock(leaf[None], torch.zeros(1, dtype=torch.int64))[0]
        value.backward()
        return value

    reference.step(closure)
    evaluations = reference.state[leaf]["func_evals"]
    ours = _run(_rosenbrock, z, 2 * evaluations).value
    assert float(ours[0]) <= closure().item() + 1e-9


def _bitwise(one: LBFGS, other: LBFGS, row: int) -> None:
    for name in ("z", "value", "slope", "direction", "step", "failed"):
        assert torch.equal(getattr(one, name)[row : row + 1], getattr(other, name)), name
    assert torch.equal(one.steps[:, row : row + 1], other.steps)
    assert torch.equal(one.changes[:, row : row + 1], other.changes)


@pytest.mark.parametrize("count", [1, 7, 60])
def test_a_search_is_the_same_alone_and_in_company(count: int) -> None:
    objective, _ = _quadratic(1e3)
    z = torch.randn(5, 12, dtype=torch.float64)
    together = _run(objective, z, count)
    for row in range(5):
        _bitwise(together, _run(objective, z[row : row + 1], count, torch.tensor([row])), row)


def test_values_never_rise() -> None:
    """On an objective with many waves, where most full steps overshoot."""

    def waves(z: Tensor, rows: Tensor) -> Tensor:
        return (z.square() + 3 * torch.sin(7 * z)).sum(1)

    search, rows = _started(waves, 3 * torch.randn(20, 4, dtype=torch.float64)), torch.arange(20)
    refused = 0
    for _ in range(60):
        before, z, trial = search.value.clone(), search.z.clone(), search.trial()
        value, slope = _evaluated(waves, trial, rows)
        accepted = search.advance(trial, value, slope)
        assert (search.value <= before).all()
        assert torch.equal(search.value, torch.where(accepted, value, before))
        assert torch.equal(search.z, torch.where(accepted[:, None], trial, z))
        refused += int((~accepted).sum())
    assert refused > 20


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_what_is_not_a_number_is_refused_and_stepped_back_from(wrong: float) -> None:
    def walled(z: Tensor, rows: Tensor) -> Tensor:
        value = (z - 2).square().sum(1)
        return torch.where(z[:, 0] > 2.5, wrong, value)

    search = _run(walled, torch.tensor([[-1.0, 0.0], [2.4, 8.0]], dtype=torch.float64), 60)
    assert torch.isfinite(search.z).all()
    assert torch.isfinite(search.slope).all()
    torch.testing.assert_close(search.z, torch.full_like(search.z, 2.0), rtol=0, atol=1e-5)


def test_a_search_that_fails_disturbs_no_other() -> None:
    objective, _ = _quadratic(1e2)

    def one_is_hopeless(z: Tensor, rows: Tensor) -> Tensor:
        """Search 2 is told that all other points are worse, however close."""
        start = z.detach()[:, 0] == 0.5
        return torch.where((rows == 2) & ~start, torch.nan, objective(z, rows))

    z = torch.randn(5, 12, dtype=torch.float64)
    z[2, 0] = 0.5
    disturbed, alone = _run(one_is_hopeless, z, 60), _run(objective, z, 60)
    assert disturbed.failed[2]
    assert not alone.failed[2]
    assert torch.equal(disturbed.z[2], z[2])
    others = torch.tensor([0, 1, 3, 4])
    assert torch.equal(disturbed.z[others], alone.z[others])
    assert torch.equal(disturbed.failed[others], alone.failed[others])


def test_searches_go_on_as_before_without_those_that_were_left() -> None:
    objective, _ = _quadratic(1e2)
    z, rows = torch.randn(5, 12, dtype=torch.float64), torch.tensor([4, 1])
    search, whole = _run(objective, z, 15), _run(objective, z, 30)
    search.keep(rows)
    for _ in range(15):
        trial = search.trial()
        search.advance(trial, *_evaluated(objective, trial, rows))
    for row, kept in enumerate(rows.tolist()):
        assert torch.equal(search.z[row], whole.z[kept])
        assert torch.equal(search.steps[:, row], whole.steps[:, kept])


def test_a_good_guess_of_the_curvature_saves_steps_and_a_poor_one_changes_no_minimum() -> None:
    size, rows = 12, torch.arange(5)
    matrix = torch.diag(torch.logspace(0, 4, size, dtype=torch.float64))
    minimum = torch.randn(5, size, dtype=torch.float64)

    def objective(z: Tensor, rows: Tensor) -> Tensor:
        return (torch.cosh(z - minimum[rows]) - 1) @ matrix.diag()

    z = minimum + 0.7 * torch.randn(5, size, dtype=torch.float64)
    values = {}
    for name, guess in {
        "none": None,
        "identity": torch.eye(size, dtype=torch.float64),
        "good": torch.linalg.inv(matrix),
        "poor": torch.diag(0.3 + 3 * torch.rand(size, dtype=torch.float64)),
    }.items():
        search = LBFGS(z.clone(), *_evaluated(objective, z, rows), guess)
        for step in range(300):
            trial = search.trial()
            search.advance(trial, *_evaluated(objective, trial, rows))
            if step == 8:
                values[name] = search.value
        torch.testing.assert_close(search.z, minimum, rtol=0, atol=1e-4)
    assert values["good"].max() < 1e-12
    assert values["none"].min() > 1e-6
    torch.testing.assert_close(values["identity"], values["none"], rtol=1e-6, atol=0)


def test_after_new_weights_the_search_ends_where_the_new_minimum_is() -> None:
    objective, _ = _quadratic(1e2)
    other, minimum = _quadratic(1e2)
    search, rows = _run(objective, torch.randn(5, 12, dtype=torch.float64), 30), torch.arange(5)
    search.revalue(*_evaluated(other, search.z, rows))
    for _ in range(300):
        trial = search.trial()
        search.advance(trial, *_evaluated(other, trial, rows))
    torch.testing.assert_close(search.z, minimum, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [1e-25, 1e-12, 1.0, 1e12])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_first_move_has_its_length_however_steep_the_slope(size: float, dtype: torch.dtype) -> None:
    slope = torch.full((1, 4), size, dtype=dtype)
    search = LBFGS(torch.zeros(1, 4, dtype=dtype), torch.ones(1, dtype=dtype), slope)
    assert float(search.trial().double().norm()) == pytest.approx(FIRST_STEP, rel=1e-5)


def test_without_a_slope_a_search_stays() -> None:
    z = torch.randn(2, 4)
    search = LBFGS(z, torch.ones(2), torch.zeros(2, 4))
    for _ in range(30):
        trial = search.trial()
        assert torch.equal(trial, z)
        search.advance(trial, torch.ones(2), torch.zeros(2, 4))
        assert torch.equal(search.z, z)


def test_no_step_is_longer_than_the_longest() -> None:
    def far(z: Tensor, rows: Tensor) -> Tensor:
        return (1e-3 * (z - 1000).square()).sum(1)

    search, rows = _started(far, torch.zeros(3, 4, dtype=torch.float64)), torch.arange(3)
    for _ in range(30):
        trial = search.trial()
        assert float((trial - search.z).norm(dim=1).max()) <= max(LONGEST_STEP, FIRST_STEP) * (1 + 1e-9)
        search.advance(trial, *_evaluated(far, trial, rows))
