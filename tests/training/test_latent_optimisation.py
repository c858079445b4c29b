"""Generative latent optimisation: codes and their Adam, an update by hand, where codes start, and going on."""

import threading
from collections.abc import Callable

import pytest
import torch
from sklearn.decomposition import PCA
from torch import Tensor, nn

from genprior.data import Dataset, load_data
from genprior.errors import GenpriorError
from genprior.models import dcgan, mlp
from genprior.seeding import initialised
from genprior.training import latent_optimisation as module
from genprior.training.latent_optimisation import GLO, STARTS, CodeTable, in_ball, pca_codes, random_codes
from genprior.training.loop import Batch, Budget, train
from genprior.training.optimisation import AdamSettings, annealed
from genprior.training.processes import Placement, Processes
from genprior.training.reconstruction_losses import RECONSTRUCTION_LOSSES, squared_error

SHAPE = (1, 8, 8)
RECORD = {"loss", "reconstruction_error", "code_norm", "gradient_norm", "non_finite_gradients"}
GENERATORS: dict[str, Callable[[], nn.Module]] = {
    "dcgan": lambda: dcgan.DCGANGenerator(SHAPE, 5, 4),
    "mlp": lambda: mlp.MLPGenerator(SHAPE, 5, 8, 2),
}
State = dict[str, Tensor]
every_loss = pytest.mark.parametrize("loss", RECONSTRUCTION_LOSSES)
every_model = pytest.mark.parametrize("model", GENERATORS)
every_start = pytest.mark.parametrize("start", STARTS)


def _data(count: int = 40, shape: tuple[int, int, int] = SHAPE) -> Dataset:
    generator = torch.Generator().manual_seed(0)
    return Dataset("noise", torch.randint(256, (count, *shape), dtype=torch.uint8, generator=generator))


def _glo(
    model: str = "dcgan",
    seed: int = 0,
    loss: str = "l2",
    dtype: torch.dtype = torch.float32,
    processes: Processes | None = None,
) -> GLO:
    return GLO(
        initialised(GENERATORS[model], seed),
        random_codes(_data(), 5, seed),
        RECONSTRUCTION_LOSSES[loss](),
        batch_size=6,
        generator_adam=AdamSettings(0.01),
        code_adam=AdamSettings(0.05),
        average_half_life=30,
        placement=Placement(dtype, processes=processes or Processes()),
    )


def _batch(indices: Tensor) -> Batch:
    return Batch(_data().take(indices), indices)


def _update(glo: GLO, indices: Tensor | None = None, progress: float = 0.0) -> State:
    return glo.update(_batch(torch.arange(6) if indices is None else indices), progress, torch.Generator())


def _copy(state: State) -> State:
    return {name: value.clone() for name, value in state.items()}


def _assert_bit_equal(got: State, expected: State) -> None:
    assert got.keys() == expected.keys()
    assert not [name for name, value in expected.items() if not torch.equal(got[name], value)]


def _trained(model: str, limit: int, dtype: torch.dtype = torch.float32, seed: int = 3) -> GLO:
    glo = _glo(model, dtype=dtype)
    for step in train(glo, _data(), Budget(images=120), seed=seed):
        if step.images_seen >= limit:
            break
    return glo


# Codes and their Adam.


def _table(rate: float = 0.1) -> CodeTable:
    values = 0.2 * torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return CodeTable(values, AdamSettings(rate))


def test_the_ball_keeps_what_is_inside_and_shortens_the_rest() -> None:
    codes = torch.tensor([[0.3, 0.4], [3.0, 4.0], [0.0, 0.0], [0.0, -1.0]])
    torch.testing.assert_close(in_ball(codes), torch.tensor([[0.3, 0.4], [0.6, 0.8], [0.0, 0.0], [0.0, -1.0]]))


def test_first_codes_are_put_in_the_ball_and_copied() -> None:
    values = torch.full((2, 3), 9.0)
    table = CodeTable(values, AdamSettings(0.1))
    torch.testing.assert_close(table.values.norm(dim=1), torch.ones(2))
    table.step(torch.arange(2), torch.ones(2, 3), 1.0)
    assert (values == 9).all()


def test_only_the_rows_of_a_batch_change() -> None:
    table = _table()
    before = _copy({"values": table.values, **table.state_dict()})
    table.step(torch.tensor([4, 1]), torch.randn(2, 3, dtype=torch.float64), 1.0)
    for name, value in {"values": table.values, **table.state_dict()}.items():
        assert (value != before[name]).any(1).tolist() == [False, True, False, False, True, False, False], name


def test_a_first_step_moves_by_the_rate_against_the_sign() -> None:
    table, g = _table(), torch.randn(2, 3, dtype=torch.float64)
    before = table.values.clone()
    table.step(torch.tensor([4, 1]), g, 0.25)
    moved = table.values[[4, 1]] - before[[4, 1]]
    torch.testing.assert_close(moved, -0.1 * 0.25 * g / (g.abs() + 1e-8))


def test_each_row_has_the_adam_of_torch_to_itself() -> None:
    table = _table(0.01)
    rows = [nn.Parameter(row.clone()) for row in table.values]
    optimisers = [torch.optim.Adam([row], lr=0.01, betas=(0.5, 0.999)) for row in rows]
    generator = torch.Generator().manual_seed(1)
    for _ in range(12):
        indices = torch.randperm(7, generator=generator)[:3]  # rows are visited at different times
        g = torch.randn(3, 3, dtype=torch.float64, generator=generator)
        table.step(indices, g, 1.0)
        for place, row in enumerate(indices.tolist()):
            rows[row].grad = g[place].clone()
            optimisers[row].step()
    torch.testing.assert_close(table.values, torch.stack([row.detach() for row in rows]))


def test_an_image_twice_in_a_batch_moves_by_the_sum_of_its_gradients() -> None:
    twice, once = _table(), _table()
    g = torch.randn(4, 3, dtype=torch.float64)
    twice.step(torch.tensor([5, 2, 5, 0]), g, 1.0)
    once.step(torch.tensor([5, 2, 0]), torch.stack([g[0] + g[2], g[1], g[3]]), 1.0)
    torch.testing.assert_close(twice.values, once.values)
    assert twice.steps.squeeze(1).tolist() == [1, 0, 1, 0, 0, 1, 0]
    torch.testing.assert_close(twice.state_dict(), once.state_dict())


def test_codes_stay_in_the_unit_ball() -> None:
    table = _table(0.5)
    for _ in range(30):
        table.step(torch.arange(7), -torch.ones(7, 3, dtype=torch.float64), 1.0)
        assert table.values.norm(dim=1).max() <= 1 + 1e-12
    # Pushed for long towards one side, all of them lie on the sphere where it is farthest that way.
    torch.testing.assert_close(table.values, torch.full((7, 3), 3**-0.5, dtype=torch.float64), rtol=0, atol=1e-3)


def test_codes_of_another_shape_are_not_loaded() -> None:
    table, other = _table(), CodeTable(torch.zeros(6, 3), AdamSettings(0.1))
    with pytest.raises(RuntimeError, match=r"^codes of shape \(7, 3\) cannot be loaded from \(6, 3\)$"):
        table.load_state_dict(other.values, other.state_dict())


# Where codes start.


@every_start
def test_a_start_depends_on_the_seed_alone_and_lies_in_the_ball(start: str) -> None:
    before = torch.get_rng_state()
    codes = STARTS[start](_data(), 5, 0)
    assert (codes.shape, codes.dtype) == ((40, 5), torch.float32)
    assert codes.norm(dim=1).max() == pytest.approx(1)
    assert torch.equal(codes, STARTS[start](_data(), 5, 0))
    assert torch.equal(torch.get_rng_state(), before)


def test_random_codes_lie_on_the_sphere_and_differ_by_seed() -> None:
    codes, other = random_codes(_data(), 5, 0), random_codes(_data(), 5, 1)
    torch.testing.assert_close(codes.norm(dim=1), torch.ones(40))
    assert (codes - other).norm(dim=1).min() > 1e-3
    assert random_codes(_data(2000), 5, 0).mean(0).abs().max() < 0.05


def _components(data: Dataset, size: int) -> Tensor:
    """Principal components by scikit-learn's full decomposition."""
    x = data.take(torch.arange(len(data))).flatten(1).double().numpy()
    return torch.from_numpy(PCA(size, svd_solver="full").fit_transform(x))


def _assert_equal_up_to_signs_and_scale(codes: Tensor, expected: Tensor, tolerance: float = 1e-4) -> None:
    expected = expected / expected.norm(dim=1).max()
    signs = (codes.double() * expected).sum(0).sign()
    torch.testing.assert_close(codes.double() * signs, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("shape", [SHAPE, (3, 8, 8)], ids=str)
def test_principal_components_are_those_of_a_full_decomposition(shape: tuple[int, int, int]) -> None:
    data = _data(shape=shape)
    _assert_equal_up_to_signs_and_scale(pca_codes(data, 5, 0), _components(data, 5))


def test_components_of_large_images_are_found_too() -> None:
    data = load_data("digits[:30]", size=65)
    _assert_equal_up_to_signs_and_scale(pca_codes(data, 4, 0), _components(data, 4), 1e-3)


def test_images_are_projected_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pca_codes(_data(), 5, 0)
    monkeypatch.setattr(module, "AT_ONCE", 7)
    torch.testing.assert_close(pca_codes(_data(), 5, 0), whole)


def test_of_many_images_some_decide_the_components_and_all_get_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PCA_IMAGES", 100)
    data = load_data("digits[:200]", size=8)
    everything = data.take(torch.arange(200)).flatten(1).double().numpy()
    some = PCA(3, svd_solver="full").fit(data.some(100).flatten(1).double().numpy())
    _assert_equal_up_to_signs_and_scale(pca_codes(data, 3, 0), torch.from_numpy(some.transform(everything)))


def test_a_code_longer_than_an_image_ends_in_zeros() -> None:
    codes = pca_codes(_data(shape=(1, 2, 2)), 6, 0)
    _assert_equal_up_to_signs_and_scale(codes[:, :4], _components(_data(shape=(1, 2, 2)), 4))
    assert (codes[:, 4:] == 0).all()


def test_equal_images_have_finite_codes() -> None:
    assert torch.isfinite(pca_codes(Dataset("grey", torch.full((9, *SHAPE), 100, dtype=torch.uint8)), 3, 0)).all()


@pytest.mark.parametrize("count", [4, 5])
def test_as_few_images_as_numbers_in_a_code_are_refused(count: int) -> None:
    expected = rf"^latent_size: principal components of 5 numbers need 6 images, noise has {count}; .*start=random$"
    with pytest.raises(GenpriorError, match=expected):
        pca_codes(_data(count), 5, 0)
    assert pca_codes(_data(6), 5, 0).shape == (6, 5)


# An update.


@every_loss
def test_an_update_equals_a_computation_by_hand(loss: str) -> None:
    glo, same = _glo("mlp", loss=loss, dtype=torch.float64), _glo("mlp", loss=loss, dtype=torch.float64)
    indices = torch.tensor([3, 9, 1, 30, 39, 0])
    z = same.codes.values[indices].requires_grad_()
    made, real = same.generator(z), _data().take(indices).double()
    losses = RECONSTRUCTION_LOSSES[loss]()(made, real)
    slopes = torch.autograd.grad(losses.mean(), list(same.generator.parameters()), retain_graph=True)
    (by_code,) = torch.autograd.grad(losses.sum(), z)
    before = _copy(dict(glo.generator.named_parameters()))
    record = _update(glo, indices, 0.3)
    rate = annealed(0.3)
    torch.testing.assert_close([p.grad for p in glo.generator.parameters()], list(slopes))
    for (name, got), slope in zip(glo.generator.named_parameters(), slopes, strict=True):
        torch.testing.assert_close(got.detach(), before[name].detach() - 0.01 * rate * slope / (slope.abs() + 1e-8))
    torch.testing.assert_close(glo.codes.first[indices], 0.5 * by_code)  # half of the first gradient, by beta1
    after = in_ball(z.detach() - 0.05 * rate * by_code / (by_code.abs() + 1e-8))
    torch.testing.assert_close(glo.codes.values[indices], after)
    expected = {
        "loss": losses.mean().detach(),
        "reconstruction_error": squared_error(made, real).mean().detach(),
        "code_norm": after.norm(dim=1).mean(),
        "gradient_norm": torch.cat([slope.flatten() for slope in slopes]).norm(),
        "non_finite_gradients": torch.tensor(0),
    }
    torch.testing.assert_close(record, expected)


@every_loss
@every_model
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_the_record_holds_finite_scalars_without_a_graph(model: str, loss: str, dtype: torch.dtype) -> None:
    glo = _glo(model, loss=loss, dtype=dtype)
    record = _update(glo)
    assert record.keys() == RECORD
    for name, value in record.items():
        assert value.shape == (), name
        assert torch.isfinite(value), name
        assert not value.requires_grad, name
    wide = torch.promote_types(dtype, torch.float32)
    assert {p.dtype for p in glo.generator.parameters()} == {glo.codes.values.dtype} == {wide}
    assert {v.dtype for v in record.values() if v.is_floating_point()} == {wide}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_the_generator_computes_in_the_number_format_asked_for(dtype: torch.dtype) -> None:
    glo, seen = _glo(dtype=dtype), []
    glo.generator.register_forward_hook(lambda _, inputs, out: seen.append((inputs[0].dtype, out.dtype)))
    _update(glo)
    assert seen == [(dtype, dtype)]


def test_bf16_is_float32_up_to_rounding() -> None:
    got, expected = _update(_glo(dtype=torch.bfloat16)), _update(_glo())
    for name in ("loss", "reconstruction_error", "code_norm"):
        torch.testing.assert_close(got[name], expected[name], rtol=0.03, atol=1e-3)


@every_model
def test_every_parameter_gets_a_gradient_and_moves(model: str) -> None:
    glo = _glo(model)
    before = _copy(dict(glo.generator.named_parameters()))
    for _ in range(3):
        _update(glo)
    for name, parameter in glo.generator.named_parameters():
        assert parameter.grad is not None, name
        assert not torch.equal(parameter, before[name]), name


def test_codes_of_other_images_do_not_move() -> None:
    glo = _glo()
    before = glo.codes.values.clone()
    _update(glo, torch.tensor([7, 2, 7, 30, 31, 32]))
    changed = (glo.codes.values != before).any(1).nonzero().squeeze(1)
    assert changed.tolist() == [2, 7, 30, 31, 32]
    assert not glo.codes.values.requires_grad


@pytest.mark.parametrize("where", ["weights", "codes"])
def test_gradients_that_are_not_finite_are_counted(where: str) -> None:
    glo = _glo("mlp")
    with torch.no_grad():
        if where == "weights":
            next(glo.generator.parameters()).fill_(torch.inf)
        else:
            glo.codes.values[2] = torch.nan
    record = _update(glo)
    ill = sum(not bool(torch.isfinite(p.grad).all()) for p in glo.generator.parameters())
    assert ill > 0
    assert int(record["non_finite_gradients"]) == ill + {"weights": 6, "codes": 1}[where]


# Two processes.


class _Half(Processes):
    """One of two threads that exchange rows through a shared list."""

    def __init__(self, rank: int, rows: list[Tensor], barrier: threading.Barrier) -> None:
        super().__init__()
        self.count, self.rank, self._rows, self._barrier = 2, rank, rows, barrier

    def gather(self, rows: Tensor) -> Tensor:
        self._rows[self.rank] = rows
        self._barrier.wait()
        gathered = torch.cat(self._rows)
        self._barrier.wait()
        return gathered

    def average_gradients(self, parameters: object) -> None:
        for parameter in list(parameters):
            parameter.grad = self.gather(parameter.grad[None]).mean(0)


def _two(monkeypatch: pytest.MonkeyPatch) -> list[GLO]:
    monkeypatch.setattr(torch.distributed, "broadcast", lambda codes, source: None)
    rows, barrier = [torch.empty(0)] * 2, threading.Barrier(2, timeout=20)
    return [_glo("mlp", dtype=torch.float64, processes=_Half(rank, rows, barrier)) for rank in range(2)]


def test_two_processes_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two, records = _glo("mlp", dtype=torch.float64), _two(monkeypatch), [{}, {}]

    def go(rank: int) -> None:
        for indices in (torch.tensor([7, 2, 7, 30, 31, 7]), torch.arange(6)):  # a code in both halves
            records[rank] = _update(two[rank], indices)

    threads = [threading.Thread(target=go, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for indices in (torch.tensor([7, 2, 7, 30, 31, 7]), torch.arange(6)):
        record = _update(one, indices)
    for rank in range(2):
        torch.testing.assert_close(records[rank], record)
        torch.testing.assert_close(two[rank].state_dict(), one.state_dict())


def test_processes_start_from_the_codes_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = random_codes(_data(), 5, 0)
    sent = random_codes(_data(), 5, 1)
    monkeypatch.setattr(torch.distributed, "broadcast", lambda own, source: own.copy_(sent))
    half = _Half(1, [], threading.Barrier(1))
    assert torch.equal(
        GLO(GENERATORS["mlp"](), codes, batch_size=6, placement=Placement(processes=half)).codes.values, in_ball(sent)
    )
    assert torch.equal(codes, random_codes(_data(), 5, 0))


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    half = _Half(0, [], threading.Barrier(1))
    with pytest.raises(GenpriorError, match=r"^batch_size: 7 images cannot be shared evenly among 2 processes$"):
        GLO(GENERATORS["mlp"](), random_codes(_data(), 5, 0), batch_size=7, placement=Placement(processes=half))


# The learning rates.


@pytest.mark.parametrize("used", [0.02, 0.5])
@pytest.mark.parametrize("halvings", [0, 2])
def test_both_steps_follow_the_used_share_and_the_rate(used: float, halvings: int) -> None:
    glo = _glo()
    glo.codes.values.mul_(0.5)  # away from the sphere, so that nothing shortens a step
    for _ in range(halvings):
        glo.slow_down()
    weights, codes = _copy(dict(glo.generator.named_parameters())), glo.codes.values.clone()
    _update(glo, progress=used)
    # Adam's first step moves every value by the learning rate, whatever its gradient.
    share = annealed(used) * 0.5**halvings
    moved = [(value - weights[name]).detach().abs().max() for name, value in glo.generator.named_parameters()]
    assert float(max(moved)) == pytest.approx(0.01 * share, rel=1e-3)
    assert float((glo.codes.values - codes).abs().max()) == pytest.approx(0.05 * share, rel=1e-3)


def test_the_rate_is_halved_ten_times_and_then_no_more() -> None:
    glo = _glo()
    assert [glo.slow_down() for _ in range(11)] == [*(0.5**i for i in range(1, 11)), None]
    assert glo.pace.share == 2**-10


def test_the_rate_is_part_of_the_state() -> None:
    glo, other = _glo(), _glo()
    glo.slow_down()
    state = glo.state_dict()
    assert state["rate"].dtype == torch.float64
    other.load_state_dict(state)
    assert other.slow_down() == 0.25


# Going on, and randomness.


@every_model
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_going_on_from_a_state_equals_an_uninterrupted_run(model: str, dtype: torch.dtype) -> None:
    half = _copy(_trained(model, 60, dtype).state_dict())
    resumed = _glo(model, seed=1, dtype=dtype)
    list(train(resumed, _data(), Budget(images=12), seed=9))  # what was learned before leaves no trace
    resumed.load_state_dict({name: value.contiguous() for name, value in half.items()})
    list(train(resumed, _data(), Budget(images=120), seed=3, images_seen=60))
    _assert_bit_equal(resumed.state_dict(), _trained(model, 120, dtype).state_dict())


def test_loading_keeps_the_given_tensors_apart() -> None:
    state = _trained("mlp", 12).state_dict()
    before, other = _copy(state), _glo("mlp")
    other.load_state_dict(state)
    _update(other)
    _assert_bit_equal(state, before)


def test_a_state_holds_generator_average_codes_optimisers_and_rate() -> None:
    groups = {"generator", "average", "codes", "codes_adam", "rate"}
    assert {name.partition("/")[0] for name in _glo().state_dict()} == groups
    assert {name.partition("/")[0] for name in _trained("mlp", 6).state_dict()} == groups | {"generator_adam"}


def test_the_average_follows_the_generator() -> None:
    state, start = _trained("dcgan", 60).state_dict(), _glo().state_dict()
    for name, value in state.items():
        if name.startswith("generator/") and value.is_floating_point():
            average = "average/" + name.removeprefix("generator/")
            assert not torch.equal(state[average], value), name
            assert not torch.equal(state[average], start[average]), name


def test_an_update_uses_no_random_numbers() -> None:
    glo, same, before = _glo(), _glo(), torch.get_rng_state()
    generator = torch.Generator().manual_seed(1)
    glo.update(_batch(torch.arange(6)), 0.0, generator)
    same.update(_batch(torch.arange(6)), 0.0, torch.Generator().manual_seed(2))
    _assert_bit_equal(glo.state_dict(), same.state_dict())
    assert torch.equal(generator.get_state(), torch.Generator().manual_seed(1).get_state())
    assert torch.equal(torch.get_rng_state(), before)


def test_what_learns_is_counted() -> None:
    counts = _glo("mlp").parameter_counts()
    assert counts == {"generator": 5 * 8 + 8 + 8 * 8 + 8 + 8 * 64 + 64, "codes": 40 * 5}


# Learning, and what is refused.


@every_loss
@every_start
def test_digits_are_learned(loss: str, start: str) -> None:
    data = load_data("digits[:60]", size=8)
    glo = GLO(
        initialised(lambda: dcgan.DCGANGenerator(SHAPE, 8, 16), 0),
        STARTS[start](data, 8, 0),
        RECONSTRUCTION_LOSSES[loss](),
        batch_size=20,
        generator_adam=AdamSettings(0.02),
        code_adam=AdamSettings(0.03),
        average_half_life=100,
    )
    errors = []
    for step in train(glo, data, Budget(images=20 * 60)):
        errors.append(float(step.record["reconstruction_error"]))
    x = data.take(torch.arange(60))
    constant = float((x - x.mean(0)).square().mean())
    assert errors[-1] < 0.75 * constant < errors[0]
    with torch.no_grad():
        found = glo.average.network(glo.codes.values)
    assert (found - x).square().mean() < 0.75 * constant
    assert float(step.record["code_norm"]) <= 1


def test_points_are_refused() -> None:
    expected = r"^data: GLO learns images, ring.* holds points; train a GAN on them .*--preset points"
    with pytest.raises(GenpriorError, match=expected):
        next(train(_glo(), load_data("ring:count=40"), Budget(images=10**6)))


def test_fewer_images_than_a_batch_are_refused() -> None:
    with pytest.raises(GenpriorError, match=r"^batch_size: 6 is more than the 5 images of noise$"):
        next(train(_glo(), _data(5), Budget(images=10**6)))


@pytest.mark.parametrize("count", [39, 41])
def test_another_number_of_images_than_codes_is_refused(count: int) -> None:
    expected = rf"^data: expected one image for each of the 40 codes, noise has {count}; train anew on other data$"
    with pytest.raises(GenpriorError, match=expected):
        next(train(_glo(), _data(count), Budget(images=10**6)))


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 9, 9)], ids=str)
def test_images_of_another_shape_are_refused(shape: tuple[int, int, int]) -> None:
    expected = r"^data: the generator makes images of shape \(1, 8, 8\), noise has \({}, {}, {}\)$"
    with pytest.raises(GenpriorError, match=expected.format(*shape)):
        next(train(_glo(), _data(shape=shape), Budget(images=10**6)))
