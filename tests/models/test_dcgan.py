"""The convolutional players: the study's two networks exactly, and every other size by the same rule."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from genprior.errors import GenpriorError
from genprior.models.dcgan import LARGEST, SMALLEST, DCGANGenerator, dcgan_discriminator
from genprior.models.layers import BatchNorm2d, Conv2d, ConvTranspose2d, Linear

STUDY = (1, 28, 28)
SIZES = [SMALLEST, 9, 15, 16, 17, 28, 31, 32, 33, 64, 99, LARGEST]
every_size = pytest.mark.parametrize("size", SIZES)
every_kind = pytest.mark.parametrize("channels", [1, 3])


def _latents(count: int, size: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(count, size, dtype=dtype, generator=torch.Generator().manual_seed(0))


def _images(count: int, *shape: int) -> Tensor:
    return torch.rand(count, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def _randomised(network: nn.Module) -> nn.Module:
    """The network in float64 with random weights and running statistics, none of them as it was made."""
    generator = torch.Generator().manual_seed(2)
    for name, value in network.double().state_dict().items():
        if value.is_floating_point():
            spread = 0.5 + torch.rand(value.shape, dtype=value.dtype, generator=generator)
            sign = torch.randn(value.shape, dtype=value.dtype, generator=generator).sign()
            value.copy_(spread if name.endswith("running_var") else 0.2 * sign * spread)
    return network


def _parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def _study_generator() -> nn.Sequential:
    return nn.Sequential(
        nn.ConvTranspose2d(100, 256, 3, stride=2, bias=False),
        nn.BatchNorm2d(256),
        nn.ReLU(),
        nn.ConvTranspose2d(256, 128, 3, stride=2, bias=False),
        nn.BatchNorm2d(128),
        nn.ReLU(),
        nn.ConvTranspose2d(128, 64, 3, stride=2, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.ConvTranspose2d(64, 1, 3, stride=2, padding=2, output_padding=1, bias=True),
        nn.Sigmoid(),
    )


def _study_discriminator() -> nn.Sequential:
    """Without the sigmoid at its end: ours returns logits."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 4, stride=2, padding=1),
        nn.BatchNorm2d(32),
        nn.LeakyReLU(0.2),
        nn.Conv2d(32, 64, 4, stride=2, padding=1),
        nn.BatchNorm2d(64),
        nn.LeakyReLU(0.2),
        nn.Conv2d(64, 128, 4, stride=2, padding=1),
        nn.BatchNorm2d(128),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(1152, 1),
    )


def _in_study_order(name: str, value: Tensor) -> tuple[str, Tensor]:
    """A tensor of our discriminator under its name, and in its order, in the study's."""
    kind, _, rest = name.partition(".")
    if kind == "head":  # ours reads (h, w, F), the study's (F, h, w)
        ordered = value.view(-1, 3, 3, 128).permute(0, 3, 1, 2).flatten(1) if rest == "weight" else value
        return f"10.{rest}", ordered
    layer, _, what = rest.partition(".")
    return f"{3 * int(layer) + (kind == 'norms')}.{what}", value


def _gradients(network: nn.Module) -> dict[str, Tensor]:
    gradients = {name: p.grad for name, p in network.named_parameters()}
    missing = [name for name, gradient in gradients.items() if gradient is None]
    assert not missing, f"no gradient reached {missing}"
    return {name: gradient for name, gradient in gradients.items() if gradient is not None}


def test_the_study_networks_have_the_study_parameter_counts() -> None:
    assert _parameters(DCGANGenerator(STUDY)) == _parameters(_study_generator()) == 600_513
    assert _parameters(dcgan_discriminator(STUDY)) == _parameters(_study_discriminator()) == 166_177


def test_the_generator_consists_of_the_study_layers() -> None:
    kinds = [type(layer) for layer in DCGANGenerator(STUDY).layers]
    assert kinds == 3 * [ConvTranspose2d, BatchNorm2d, nn.ReLU] + [ConvTranspose2d, nn.Sigmoid]
    ours = [layer for layer in DCGANGenerator(STUDY).layers if isinstance(layer, nn.ConvTranspose2d)]
    for layer, study in zip(ours, _study_generator()[::3], strict=True):
        assert isinstance(study, nn.ConvTranspose2d)
        assert layer.extra_repr() == study.extra_repr()


def test_the_discriminator_consists_of_the_study_layers() -> None:
    network, study = dcgan_discriminator(STUDY), _study_discriminator()
    for ours, theirs in zip(network.convolutions, study[:9:3], strict=True):
        assert isinstance(ours, Conv2d)
        assert ours.extra_repr() == theirs.extra_repr()
    for ours, theirs in zip(network.norms, study[1:9:3], strict=True):
        assert isinstance(ours, BatchNorm2d)
        assert ours.extra_repr() == theirs.extra_repr()
    assert isinstance(network.head, Linear)
    assert network.head.extra_repr() == study[-1].extra_repr()


@pytest.mark.parametrize("training", [True, False])
def test_the_generator_equals_the_study_in_output_and_gradients(training: bool) -> None:
    ours, study = _randomised(DCGANGenerator(STUDY)).train(training), _study_generator().double().train(training)
    study.load_state_dict({k.removeprefix("layers."): v for k, v in ours.state_dict().items()})
    z, incoming = _latents(4, 100), _images(4, *STUDY)
    leaves = [z.clone().requires_grad_(), z.clone().requires_grad_()]
    outputs = [ours(leaves[0]), study(leaves[1][:, :, None, None])]
    for out in outputs:
        (out * incoming).sum().backward()
    torch.testing.assert_close(outputs[0], outputs[1])
    torch.testing.assert_close(leaves[0].grad, leaves[1].grad)
    got = {name.removeprefix("layers."): g for name, g in _gradients(ours).items()}
    torch.testing.assert_close(got, _gradients(study))
    got = {k.removeprefix("layers."): v for k, v in ours.state_dict().items()}
    torch.testing.assert_close(got, dict(study.state_dict()))  # running statistics


@pytest.mark.parametrize("training", [True, False])
def test_the_discriminator_equals_the_study_in_output_and_gradients(training: bool) -> None:
    ours = _randomised(dcgan_discriminator(STUDY)).train(training)
    study = _study_discriminator().double().train(training)
    study.load_state_dict(dict(_in_study_order(*item) for item in ours.state_dict().items()))
    x = _images(4, *STUDY)
    leaves = [x.clone().requires_grad_(), x.clone().requires_grad_()]
    outputs = [ours(leaves[0]), study(leaves[1])[:, 0]]
    for logits in outputs:
        (logits * torch.arange(1.0, 5.0)).sum().backward()
    torch.testing.assert_close(outputs[0], outputs[1])
    torch.testing.assert_close(leaves[0].grad, leaves[1].grad)
    got = dict(_in_study_order(*item) for item in _gradients(ours).items())
    torch.testing.assert_close(got, _gradients(study))
    got = dict(_in_study_order(*item) for item in ours.state_dict().items())
    torch.testing.assert_close(got, dict(study.state_dict()))


def test_real_and_fake_parts_equal_two_calls() -> None:
    together, apart = (_randomised(dcgan_discriminator(STUDY, width=4)) for _ in range(2))
    real, fake = _images(3, *STUDY), 0.1 * _images(3, *STUDY)
    both = together(torch.cat([real, fake]), parts=2)
    torch.testing.assert_close(both, torch.cat([apart(real), apart(fake)]))
    torch.testing.assert_close(dict(together.named_buffers()), dict(apart.named_buffers()))


@every_size
@every_kind
def test_every_size_gives_images_in_range_and_one_logit_each(channels: int, size: int) -> None:
    shape = (channels, size, size)
    x = DCGANGenerator(shape, latent_size=5, width=2)(_latents(3, 5).float())
    assert x.shape == (3, *shape)
    assert x.min() >= 0
    assert x.max() <= 1
    logits = dcgan_discriminator(shape, width=2)(x)
    assert logits.shape == (3,)


@every_size
@every_kind
def test_every_parameter_gets_a_finite_gradient(channels: int, size: int) -> None:
    shape = (channels, size, size)
    generator, discriminator = DCGANGenerator(shape, 5, width=2), dcgan_discriminator(shape, width=2)
    discriminator(generator(_latents(3, 5).float())).square().sum().backward()
    for network in (generator, discriminator):
        ill = [name for name, g in _gradients(network).items() if not torch.isfinite(g).all()]
        assert not ill


@every_size
def test_every_pixel_depends_on_the_latent(size: int) -> None:
    generator = DCGANGenerator((1, size, size), 5, width=2).double().eval()
    for parameter in generator.parameters():
        parameter.data.abs_()  # no ReLU is dead then
    z = _latents(1, 5).abs()[:, :, None, None]
    before_sigmoid = generator.layers[:-1]
    constant = (before_sigmoid(2 * z) == before_sigmoid(z))[0, 0].nonzero().tolist()
    assert not constant


@every_size
def test_the_logit_depends_on_every_pixel(size: int) -> None:
    x = _images(2, 1, size, size).requires_grad_()
    _randomised(dcgan_discriminator((1, size, size), width=2)).eval()(x).sum().backward()
    assert x.grad is not None
    assert (x.grad != 0).all()


@every_size
def test_evaluated_samples_do_not_depend_on_their_batch(size: int) -> None:
    generator = _randomised(DCGANGenerator((1, size, size), 5, width=2)).eval()
    z = _latents(64, 5)
    torch.testing.assert_close(torch.cat([generator(z[i : i + 1]) for i in (0, 5, 63)]), generator(z)[[0, 5, 63]])


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_the_dtype_of_the_input_decides_the_arithmetic(dtype: torch.dtype) -> None:
    wide = torch.promote_types(dtype, torch.float32)
    generator, discriminator = DCGANGenerator(STUDY).to(wide), dcgan_discriminator(STUDY).to(wide)
    x = generator(_latents(3, 100, wide).to(dtype))
    assert x.dtype == discriminator(x).dtype == dtype
    assert {p.dtype for p in generator.parameters()} == {wide}


@pytest.mark.parametrize("network", [DCGANGenerator, dcgan_discriminator])
@pytest.mark.parametrize("sides", [(7, 7), (129, 129), (28, 32)], ids=str)
def test_other_sizes_are_refused(sides: tuple[int, int], network: Callable[..., nn.Module]) -> None:
    expected = rf"^size: dcgan builds square images of 8 to 128 pixels, got {sides[0]}x{sides[1]}; .*--size"
    with pytest.raises(GenpriorError, match=expected):
        network((1, *sides))
