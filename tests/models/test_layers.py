"""The layers against torch's own: outputs, all gradients, second derivatives, layouts, dtypes, statistics."""

from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genprior.models.layers import BatchNorm2d, Conv2d, ConvTranspose2d, Linear, patches

Size = tuple[int, int]
CHANNELS = [(1, 1), (1, 3), (3, 1), (2, 3)]
SIZES = [(1, 1), (4, 4), (5, 5), (4, 7)]


def _conv_sizes() -> Iterator[tuple[Size, int, int, int]]:
    """Every (height, width), kernel, stride, padding for which a convolution has an output."""
    for size, kernel, stride, padding in product(SIZES, (3, 4), (1, 2), (0, 1, 2)):
        if min(size) + 2 * padding >= kernel:
            yield size, kernel, stride, padding


def _transposed_sizes() -> Iterator[tuple[Size, int, int, int, int]]:
    """The same for a transposed convolution, with its output padding."""
    for size, kernel, stride, padding, rest in product(SIZES, (3, 4), (1, 2), (0, 1, 2), (0, 1)):
        if rest < stride and (min(size) - 1) * stride - 2 * padding + kernel + rest > 0:
            yield size, kernel, stride, padding, rest


def _layouts(x: Tensor) -> dict[str, Tensor]:
    """x in every memory layout that a layer may meet."""
    wide = torch.stack([x, -x], dim=-1)
    return {
        "contiguous": x.contiguous(),
        "channels-last": x.contiguous(memory_format=torch.channels_last),
        "strided": wide[..., 0],
        "transposed": x.transpose(2, 3).contiguous().transpose(2, 3),
    }


def _random(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def _twins(ours: nn.Module, torchs: nn.Module, dtype: torch.dtype) -> tuple[nn.Module, nn.Module]:
    """Both layers with the same random weights."""
    ours, torchs = ours.to(dtype), torchs.to(dtype)
    state = {
        name: _random(*value.shape, dtype=dtype, seed=i) if value.is_floating_point() else value
        for i, (name, value) in enumerate(torchs.state_dict().items(), 1)
    }
    ours.load_state_dict(state)
    torchs.load_state_dict(state)
    return ours, torchs


def _output_and_gradients(layer: nn.Module, x: Tensor) -> dict[str, Tensor]:
    x = x.detach().requires_grad_()
    layer.zero_grad()
    out = layer(x)
    # The incoming gradient differs everywhere, so that a transposed or shifted one shows.
    (out * _random(*out.shape, dtype=torch.float64, seed=9).to(out.dtype)).sum().backward()
    assert x.grad is not None
    gradients = {name: p.grad for name, p in layer.named_parameters()}
    assert all(gradient is not None for gradient in gradients.values())
    return {"output": out.detach(), "input": x.grad, **{k: v for k, v in gradients.items() if v is not None}}


def _assert_same(ours: nn.Module, torchs: nn.Module, x: Tensor, **tolerance: float) -> None:
    got, expected = _output_and_gradients(ours, x), _output_and_gradients(torchs, x)
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value, **tolerance, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("sizes", list(_conv_sizes()), ids=str)
def test_convolution_equals_torchs(sizes: tuple[Size, int, int, int], bias: bool) -> None:
    size, *how = sizes
    for channels in CHANNELS:
        layers = Conv2d(*channels, *how, bias=bias), nn.Conv2d(*channels, *how, bias=bias)
        _assert_same(*_twins(*layers, torch.float64), _random(3, channels[0], *size))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("sizes", list(_transposed_sizes()), ids=str)
def test_transposed_convolution_equals_torchs(sizes: tuple[Size, int, int, int, int], bias: bool) -> None:
    size, *how = sizes
    for channels in CHANNELS:
        layers = ConvTranspose2d(*channels, *how, bias=bias), nn.ConvTranspose2d(*channels, *how, bias=bias)
        _assert_same(*_twins(*layers, torch.float64), _random(3, channels[0], *size))


@pytest.mark.parametrize("layer", [Conv2d, ConvTranspose2d])
@pytest.mark.parametrize("option", [{"dilation": 2}, {"groups": 2}, {"padding_mode": "circular"}], ids=str)
def test_options_of_torch_that_are_not_computed_are_refused(
    option: dict[str, object], layer: type[Conv2d] | type[ConvTranspose2d]
) -> None:
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{next(iter(option))}'"):
        layer(4, 4, 3, **option)


@pytest.mark.parametrize("bias", [True, False])
def test_linear_equals_torchs(bias: bool) -> None:
    ours, torchs = _twins(Linear(5, 3, bias=bias), nn.Linear(5, 3, bias=bias), torch.float64)
    _assert_same(ours, torchs, _random(4, 5))


PAIRS: dict[str, Callable[[], tuple[nn.Module, nn.Module, Tensor]]] = {
    "convolution": lambda: (Conv2d(3, 2, 4, 2, 1), nn.Conv2d(3, 2, 4, 2, 1), _random(2, 3, 7, 6)),
    "convolution-grey": lambda: (Conv2d(1, 2, 4, 2, 1), nn.Conv2d(1, 2, 4, 2, 1), _random(2, 1, 7, 6)),
    "transposed": lambda: (
        ConvTranspose2d(3, 2, 3, 2),
        nn.ConvTranspose2d(3, 2, 3, 2),
        _random(2, 3, 4, 3),
    ),
    "transposed-grey": lambda: (
        ConvTranspose2d(3, 1, 3, 2, 2, 1),
        nn.ConvTranspose2d(3, 1, 3, 2, 2, 1),
        _random(2, 3, 4, 3),
    ),
    "transposed-from-one-pixel": lambda: (
        ConvTranspose2d(3, 2, 3, 2),
        nn.ConvTranspose2d(3, 2, 3, 2),
        _random(2, 3, 1, 1),
    ),
}
every_pair = pytest.mark.parametrize("name", PAIRS)


@every_pair
@pytest.mark.parametrize("layout", ["contiguous", "channels-last", "strided", "transposed"])
def test_the_memory_layout_of_the_input_does_not_matter(layout: str, name: str) -> None:
    ours, torchs, x = PAIRS[name]()
    _assert_same(*_twins(ours, torchs, torch.float64), _layouts(x)[layout])


@every_pair
def test_channels_last_weights_give_the_same(name: str) -> None:
    ours, torchs, x = PAIRS[name]()
    ours, torchs = _twins(ours, torchs, torch.float64)
    _assert_same(ours.to(memory_format=torch.channels_last), torchs, x)


@every_pair
def test_the_layout_of_the_incoming_gradient_does_not_matter(name: str) -> None:
    ours, torchs, x = PAIRS[name]()
    ours, torchs = _twins(ours, torchs, torch.float64)
    gradients = []
    for layer in (ours, torchs):
        out = layer(leaf := x.clone().requires_grad_())
        weights = torch.linspace(0, 1, out[0].numel(), dtype=x.dtype).view(out.shape[1:])
        incoming = weights.expand_as(out)  # every stride of the batch is 0
        gradients.append(torch.autograd.grad(out, [leaf, *layer.parameters()], incoming))
    torch.testing.assert_close(*gradients)


@every_pair
def test_float32_equals_torchs(name: str) -> None:
    ours, torchs, x = PAIRS[name]()
    _assert_same(*_twins(ours, torchs, torch.float32), x.float(), rtol=1e-4, atol=1e-5)


@every_pair
def test_bf16_arithmetic_keeps_float32_parameters(name: str) -> None:
    ours, torchs, x = PAIRS[name]()
    ours, torchs = _twins(ours, torchs, torch.float32)
    got = _output_and_gradients(ours, x.bfloat16())
    expected = _output_and_gradients(torchs, x.bfloat16().float())
    assert got["output"].dtype == got["input"].dtype == torch.bfloat16
    assert all(p.dtype == torch.float32 == got[n].dtype for n, p in ours.named_parameters())
    for key, value in expected.items():  # bf16 has 8 bits; errors grow with the size of what is summed
        error = (got[key].float() - value).abs().max() / value.abs().max()
        assert error < 0.03, key


def _gradient_names(layer: nn.Module) -> list[str]:
    return ["input", *(name for name, _ in layer.named_parameters())]


@every_pair
@pytest.mark.parametrize("place", [0, 1, 2])
def test_each_gradient_is_right_when_it_alone_is_asked_for(place: int, name: str) -> None:
    ours, torchs, x = PAIRS[name]()
    gradients = []
    for layer in _twins(ours, torchs, torch.float64):
        leaves = [x.clone(), *(p.detach() for p in layer.parameters())]
        leaves[place].requires_grad_()
        parameters = dict(zip(_gradient_names(layer)[1:], leaves[1:], strict=True))
        out = torch.func.functional_call(layer, parameters, (leaves[0],))
        gradients.append(torch.autograd.grad(out.square().sum(), leaves[place]))
    torch.testing.assert_close(*gradients)


def _as_function(layer: nn.Module, x: Tensor) -> tuple[Callable[..., Tensor], list[Tensor]]:
    """The layer as a function of its input and parameters, and these."""
    names = [name for name, _ in layer.named_parameters()]
    leaves = [x, *(p.detach() for p in layer.parameters())]

    def function(x: Tensor, *parameters: Tensor) -> Tensor:
        out: Tensor = torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), (x,))
        return out

    return function, [leaf.clone().requires_grad_() for leaf in leaves]


TINY: dict[str, Callable[[], tuple[nn.Module, Tensor]]] = {
    "convolution": lambda: (Conv2d(2, 2, 3, 2, 1), _random(2, 2, 4, 3)),
    "convolution-odd-rest": lambda: (Conv2d(2, 1, 4, 2, 1, bias=False), _random(1, 2, 5, 5)),
    "convolution-grey": lambda: (Conv2d(1, 2, 3, 1, 1), _random(2, 1, 3, 3)),
    "convolution-grey-odd-rest": lambda: (Conv2d(1, 2, 4, 2, 1), _random(1, 1, 5, 5)),
    "transposed": lambda: (ConvTranspose2d(2, 2, 3, 2, 1, 1), _random(2, 2, 2, 3)),
    "transposed-grey": lambda: (ConvTranspose2d(2, 1, 3, 2, 2, 1), _random(2, 2, 3, 3)),
    "transposed-from-one-pixel": lambda: (ConvTranspose2d(2, 2, 3, 2, bias=False), _random(2, 2, 1, 1)),
    "linear": lambda: (Linear(3, 2), _random(2, 3)),
}
every_tiny_layer = pytest.mark.parametrize("name", TINY)


@every_tiny_layer
def test_first_derivatives_equal_finite_differences(name: str) -> None:
    layer, x = TINY[name]()
    function, leaves = _as_function(layer.double(), x)
    assert torch.autograd.gradcheck(function, leaves)


@every_tiny_layer
def test_second_derivatives_equal_finite_differences(name: str) -> None:
    layer, x = TINY[name]()
    function, leaves = _as_function(layer.double(), x)
    assert torch.autograd.gradgradcheck(function, leaves)


def _penalty_gradients(layer: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
    """Gradients of |dD/dx|^2 by input and weights, as a gradient penalty needs them."""
    leaf = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(layer(leaf).pow(3).sum(), leaf, create_graph=True)
    return torch.autograd.grad(slope.square().sum(), [leaf, *layer.parameters()])


@every_pair
def test_gradient_penalties_equal_torchs(name: str) -> None:
    ours, torchs, x = PAIRS[name]()
    ours, torchs = _twins(ours, torchs, torch.float64)
    torch.testing.assert_close(_penalty_gradients(ours, x), _penalty_gradients(torchs, x))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("sizes", list(_conv_sizes()), ids=str)
def test_patches_equal_unfold_up_to_order(sizes: tuple[Size, int, int, int], channels: int) -> None:
    size, kernel, stride, padding = sizes
    for x in _layouts(_random(2, channels, *size)).values():
        before = x.clone()
        columns = F.unfold(x, kernel, stride=stride, padding=padding)  # (B, C * kh * kw, L)
        expected = columns.view(2, channels, kernel, kernel, -1).permute(0, 4, 2, 3, 1)
        got = patches(x, kernel, stride, padding)
        torch.testing.assert_close(got, expected.reshape(got.shape), rtol=0, atol=0)
        assert torch.equal(x, before)


def _norms(momentum: float = 0.1) -> tuple[BatchNorm2d, nn.BatchNorm2d]:
    ours, torchs = BatchNorm2d(3, momentum=momentum), nn.BatchNorm2d(3, momentum=momentum)
    state = {"weight": _random(3, seed=1), "bias": _random(3, seed=2)}
    for norm in (ours, torchs):
        norm.load_state_dict(state, strict=False)
    return ours.double(), torchs.double()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("momentum", [0.1, 0.7])
def test_batch_normalisation_equals_torchs(momentum: float, training: bool) -> None:
    ours, torchs = _norms(momentum)
    for step in range(3):
        _assert_same(ours.train(), torchs.train(), 2 + 3 * _random(4, 3, 5, 5, seed=step))
    _assert_same(ours.train(training), torchs.train(training), _random(4, 3, 5, 5, seed=7))
    torch.testing.assert_close(dict(ours.named_buffers()), dict(torchs.named_buffers()))


@pytest.mark.parametrize("parts", [1, 2, 3])
@pytest.mark.parametrize("training", [True, False])
def test_parts_equal_calls_one_after_another(training: bool, parts: int) -> None:
    ours, torchs = (norm.train(training) for norm in _norms())
    x = _random(6, 3, 4, 4) + torch.arange(6.0).view(6, 1, 1, 1)  # parts have different statistics
    weights = _random(6, 3, 4, 4, seed=1)
    leaves = [x.clone().requires_grad_(), x.clone().requires_grad_()]
    outputs = [ours(leaves[0], parts), torch.cat([torchs(part) for part in leaves[1].chunk(parts)])]
    for out in outputs:
        (out * weights).sum().backward()
    torch.testing.assert_close(outputs[0], outputs[1])
    torch.testing.assert_close(leaves[0].grad, leaves[1].grad)
    torch.testing.assert_close([p.grad for p in ours.parameters()], [p.grad for p in torchs.parameters()])
    torch.testing.assert_close(dict(ours.named_buffers()), dict(torchs.named_buffers()))


def test_batch_normalisation_in_bf16_keeps_float32_statistics() -> None:
    norm = BatchNorm2d(3)
    x = _random(8, 3, 4, 4).float()
    out = norm(x.bfloat16())
    assert out.dtype == torch.bfloat16
    assert {b.dtype for b in norm.buffers() if b.is_floating_point()} == {torch.float32}
    torch.testing.assert_close(out.float(), nn.BatchNorm2d(3)(x), rtol=0.02, atol=0.02)


GLOBAL = 2 + 5 * _random(4, 3, 2, 2)
INCOMING = _random(4, 3, 2, 2, seed=1)


def _normalise_a_share(rank: int, folder: Path) -> None:
    """What each of two processes does: normalise its half of a batch, and keep what came of it."""
    torch.distributed.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=2)
    norm = BatchNorm2d(3).double()
    x = GLOBAL.chunk(2)[rank].clone().requires_grad_()
    out = norm(x)
    (out * INCOMING.chunk(2)[rank]).sum().backward()
    gradients = [p.grad for p in norm.parameters()]
    torch.save([out.detach(), x.grad, gradients, dict(norm.named_buffers())], folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def test_statistics_and_gradients_are_those_of_the_batch_of_all_processes(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_normalise_a_share, (tmp_path,), nprocs=2)
    shares = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    norm = nn.BatchNorm2d(3).double()
    x = GLOBAL.clone().requires_grad_()
    out = norm(x)
    (out * INCOMING).sum().backward()
    torch.testing.assert_close(torch.cat([share[0] for share in shares]), out.detach())
    torch.testing.assert_close(torch.cat([share[1] for share in shares]), x.grad)
    summed = [sum(parts) for parts in zip(*(share[2] for share in shares), strict=True)]
    torch.testing.assert_close(summed, [p.grad for p in norm.parameters()])
    for share in shares:
        torch.testing.assert_close(share[3], dict(norm.named_buffers()))
