"""Glow: the same mathematics as `normflows`, and the laws of a change of variables."""

import math
import warnings

import pytest
import torch
from torch import Tensor, nn

from genprior.errors import GenpriorError
from genprior.models.flow_layers import BOUND, ActivationNorm, ChannelMixer, Coupling, squeezed, unsqueezed
from genprior.models.glow_flow import Glow, Level
from genprior.models.image_flow import DEQUANTISATIONS, ImageFlow, UniformNoise, bits_per_dim

SHAPE = (1, 4, 4)
every_shape = pytest.mark.parametrize("shape", [SHAPE, (3, 4, 4), (1, 8, 4)], ids=str)
every_dequantisation = pytest.mark.parametrize("name", DEQUANTISATIONS)


def _disturbed(network: nn.Module, dtype: torch.dtype = torch.float64, size: float = 0.1) -> nn.Module:
    """The network with random numbers in all parameters: as it begins, its couplings do nothing."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += size * torch.randn(parameter.shape, generator=generator)
    return network.to(dtype).eval().requires_grad_(False)


def _glow(shape: tuple[int, int, int] = SHAPE, levels: int = 2, steps: int = 2, width: int = 5) -> Glow:
    torch.manual_seed(0)
    glow = _disturbed(Glow(shape, levels, steps, width))
    assert isinstance(glow, Glow)
    return glow


def _model(name: str = "uniform", shape: tuple[int, int, int] = SHAPE, dtype: torch.dtype = torch.float64) -> ImageFlow:
    torch.manual_seed(0)
    model = _disturbed(ImageFlow(Glow(shape, 2, 2, 5), DEQUANTISATIONS[name](shape)), dtype)
    assert isinstance(model, ImageFlow)
    return model


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _images(count: int, shape: tuple[int, int, int] = SHAPE) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(256, (count, *shape), generator=generator).double() / 255


# The mathematics of `normflows`.


class _Bounded(nn.Module):
    """Our coupling's convolutions as `normflows` wants them: shifts and logarithms of scales by turns."""

    def __init__(self, coupling: Coupling) -> None:
        super().__init__()
        self.coupling = coupling

    def forward(self, x1: Tensor) -> Tensor:
        shift, log_scale = self.coupling._shift_and_log_scale(x1.permute(0, 2, 3, 1), x1.dtype)
        return torch.stack([shift, log_scale], -1).flatten(-2).permute(0, 3, 1, 2)


def _mixer_of_normflows(channels: int) -> nn.Module:
    import normflows as nf

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.lu is deprecated")
        return nf.flows.Invertible1x1Conv(channels, use_lu=True)


def _norm_of_normflows(channels: int) -> nn.Module:
    import normflows as nf

    return nf.flows.ActNorm((channels, 1, 1)).double()


@pytest.mark.parametrize("channels", [2, 4, 12, 48])
def test_weights_have_the_names_the_order_and_the_first_values_of_normflows(channels: int) -> None:
    pairs = [(ChannelMixer, _mixer_of_normflows), (ActivationNorm, lambda count: _norm_of_normflows(count).float())]
    for ours, theirs in pairs:
        torch.manual_seed(3)
        mine, drawn = ours(channels), torch.rand(1)
        torch.manual_seed(3)
        expected = theirs(channels)
        assert torch.equal(drawn, torch.rand(1))
        assert [name for name, _ in mine.named_parameters()] == [name for name, _ in expected.named_parameters()]
        assert mine.state_dict().keys() == expected.state_dict().keys()
        for name, value in mine.state_dict().items():
            assert torch.equal(value, expected.state_dict()[name]), name


def _plain(glow: Glow) -> nn.Module:
    """The same network, put together of `normflows` alone but for the convolutions of the couplings."""
    import normflows as nf

    flows, bases = [], []
    for i, level in enumerate(reversed(glow.levels)):
        own = []
        for norm, mixer, coupling in reversed(list(zip(level.norms, level.mixers, level.couplings, strict=True))):
            channels = len(mixer.eye)
            block = nf.flows.GlowBlock(channels, 1)
            coupled = nf.flows.AffineCouplingBlock(_Bounded(coupling), scale_map="exp")
            layers = [_mixer_of_normflows(channels).double(), _norm_of_normflows(channels)]
            block.flows = nn.ModuleList([coupled, *layers])
            for theirs, ours in zip(layers, (mixer, norm), strict=True):
                theirs.load_state_dict(ours.state_dict())
            layers[1].data_dep_init_done.fill_(1.0)  # else it would take the first batch for its initialisation
            own.append(block)
        flows.append([*own, nf.flows.Squeeze()])
        height, width, channels = glow._shape(len(glow.levels) - 1 - i, i == 0)
        bases.append(nf.distributions.DiagGaussian((channels, height, width), trainable=False).double())
    merges = [nf.flows.Merge() for _ in flows[1:]]
    return nf.MultiscaleFlow(bases, flows, merges, class_cond=False).eval()


@every_shape
def test_latents_log_det_and_density_are_those_of_normflows(shape: tuple[int, int, int]) -> None:
    glow, v = _glow(shape), _normal(3, *shape)
    plain = _plain(glow)
    z, log_det = glow.encode(v)
    parts, expected = plain.inverse_and_log_det(v)
    ours = torch.split(z, glow._sizes(), 1)
    for part, own in zip(reversed(parts), ours, strict=True):
        torch.testing.assert_close(own, part.permute(0, 2, 3, 1).flatten(1))
    torch.testing.assert_close(log_det, expected)
    base = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1)
    torch.testing.assert_close(base + log_det, plain.log_prob(v, None))


@every_shape
def test_decoding_is_that_of_normflows(shape: tuple[int, int, int]) -> None:
    glow = _glow(shape)
    z = _normal(3, glow.latent_size)
    parts = []
    for level, part in enumerate(torch.split(z, glow._sizes(), 1)):
        rows = part.view(3, *glow._shape(level, level == len(glow.levels) - 1))
        parts.append(rows.permute(0, 3, 1, 2))
    x, _ = _plain(glow).forward_and_log_det(parts[::-1])
    torch.testing.assert_close(glow.decode(z), x)


# Laws.


@every_shape
def test_decode_inverts_encode_and_encode_inverts_decode(shape: tuple[int, int, int]) -> None:
    glow, v = _glow(shape), _normal(4, *shape)
    torch.testing.assert_close(glow.decode(glow.encode(v).z), v, rtol=0, atol=1e-9)
    z = _normal(4, glow.latent_size)
    torch.testing.assert_close(glow.encode(glow.decode(z)).z, z, rtol=0, atol=1e-9)


def test_log_det_is_that_of_the_jacobian() -> None:
    glow, v = _glow(), _normal(2, *SHAPE)
    for i, expected in enumerate(glow.encode(v).log_det):
        jacobian = torch.autograd.functional.jacobian(lambda x: glow.encode(x[None]).z[0], v[i])
        torch.testing.assert_close(torch.linalg.slogdet(jacobian.view(16, 16)).logabsdet, expected)


@every_dequantisation
def test_decode_inverts_encode_of_images_in_float32(name: str) -> None:
    model, x = _model(name, dtype=torch.float32), _images(64).float()
    x[0], x[1] = 0, 1
    assert (model.decode(model.encode(x)) - x).abs().max() < 1e-4


def test_a_tiny_density_integrates_to_1() -> None:
    """Over the plane of a 1 x 2 image, by the midpoint rule."""
    torch.manual_seed(0)
    level = _disturbed(Level(2, steps=3, width=4))
    assert isinstance(level, Level)
    points = torch.linspace(-40, 40, 1201, dtype=torch.float64)
    v = torch.cartesian_prod(points, points).view(-1, 1, 1, 2)
    z, log_det = level.encode(v, torch.float64)
    density = torch.exp(log_det - 0.5 * z.square().flatten(1).sum(1) - math.log(2 * math.pi))
    assert float(density.sum() * (points[1] - points[0]) ** 2) == pytest.approx(1, abs=1e-3)


def test_probabilities_of_all_images_sum_to_less_than_1() -> None:
    """Of 256^4 images of 2 x 2 pixels, by drawing them evenly: E[256^4 P] is their sum."""
    torch.manual_seed(0)
    model = _disturbed(ImageFlow(Glow((1, 2, 2), 1, 2, 4), UniformNoise((1, 2, 2))), size=0.1)
    assert isinstance(model, ImageFlow)
    x = _images(20_000, (1, 2, 2))
    noise = torch.rand(x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    total = torch.exp(model.log_prob(x, noise) + 4 * math.log(256)).mean()
    assert 0.8 < float(total) < 1.05


@every_dequantisation
def test_the_bound_is_the_change_of_variables_of_what_is_between_image_and_latents(name: str) -> None:
    model, x = _model(name), _images(2)
    raw = model.draw_noise(2, torch.Generator().manual_seed(0)).double()

    def latents(u: Tensor) -> Tensor:
        y = (255 * x[:1] + u.view(1, *SHAPE)) / 256
        inside = model.margin + (1 - 2 * model.margin) * y
        return model.flow.encode(inside.log() - (1 - inside).log()).z[0]

    u, log_q = model.dequantisation((255 * x).round(), raw, torch.float64)
    jacobian = torch.autograd.functional.jacobian(latents, u[:1])
    log_p = torch.distributions.Normal(0.0, 1.0).log_prob(latents(u[:1])).sum()
    log_p = log_p + torch.linalg.slogdet(jacobian.view(16, 16)).logabsdet
    torch.testing.assert_close(model.log_prob(x, raw)[0], log_p - log_q[0])


def test_the_density_of_variational_noise_is_that_of_its_change_of_variables() -> None:
    model, levels = _model("variational"), (255 * _images(1)).round()
    raw = _normal(1, *SHAPE)
    _, log_q = model.dequantisation(levels, raw, torch.float64)

    def noise(e: Tensor) -> Tensor:
        return model.dequantisation(levels, e, torch.float64).u

    jacobian = torch.autograd.functional.jacobian(noise, raw)
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(raw).sum()
    torch.testing.assert_close(log_q[0], expected - torch.linalg.slogdet(jacobian.view(16, 16)).logabsdet)


def test_squeezing_is_undone() -> None:
    x = _normal(2, 4, 6, 3)
    assert torch.equal(unsqueezed(squeezed(x)), x)


def test_samples_never_influence_each_other() -> None:
    glow, v = _glow(), _normal(5, *SHAPE)
    z, log_det = glow.encode(v)
    for i in range(5):
        alone = glow.encode(v[i : i + 1])
        torch.testing.assert_close(alone.z[0], z[i])
        torch.testing.assert_close(alone.log_det[0], log_det[i])


def test_the_scale_of_a_coupling_is_bounded_whatever_its_network_says() -> None:
    coupling = _disturbed(Coupling(4, 6), size=100.0)
    assert isinstance(coupling, Coupling)
    _, log_scale = coupling._shift_and_log_scale(_normal(3, 2, 2, 2), torch.float64)
    assert 0.99 * BOUND < log_scale.abs().max() <= BOUND


# Initialisation, inverses, arithmetic.


def test_initialised_couplings_do_nothing_and_normalisations_whiten_each_channel() -> None:
    torch.manual_seed(0)
    glow, v = Glow(SHAPE, 1, 3, 5).double(), 3 + 7 * _normal(500, *SHAPE)
    glow.initialise(v)
    z = glow.encode(v).z.view(500, 4, 4)
    torch.testing.assert_close(z.mean((0, 1)), torch.zeros(4, dtype=torch.float64), rtol=0, atol=1e-6)
    torch.testing.assert_close(z.square().mean(), torch.ones((), dtype=torch.float64), rtol=0, atol=1e-2)


@pytest.mark.parametrize("change", ["train", "load", "move"])
def test_frozen_inverses_are_kept_until_weights_may_change(change: str) -> None:
    glow, z = _glow(), _normal(2, 16)
    before = glow.decode(z)
    glow.freeze()
    assert glow.levels[0]._inverses is not None
    torch.testing.assert_close(glow.decode(z), before)
    state = {name: value.clone() for name, value in glow.state_dict().items()}
    state["levels.0.norms.0.s"] += 1
    if change == "train":
        glow.train()
        with torch.no_grad():
            glow.levels[0].norms[0].s.add_(1)
    elif change == "load":
        glow.load_state_dict(state)
    else:
        glow, z = glow.float(), z.float()
    assert glow.levels[0]._inverses is None
    torch.testing.assert_close(glow.encode(glow.decode(z)).z, z, rtol=1e-4, atol=1e-4)


def test_couplings_in_bf16_leave_log_det_in_float32_and_change_little() -> None:
    glow = _glow().float()
    v = _normal(4, *SHAPE).float()
    exact = glow.encode(v)
    glow.dtype = torch.bfloat16
    rough = glow.encode(v)
    assert rough.z.dtype == rough.log_det.dtype == torch.float32
    assert not torch.equal(rough.z, exact.z)
    torch.testing.assert_close(rough.log_det, exact.log_det, rtol=0.05, atol=0.3)


@every_dequantisation
def test_every_parameter_gets_a_gradient(name: str) -> None:
    model = _model(name).requires_grad_(True)
    raw = model.draw_noise(3, torch.Generator().manual_seed(0)).double()
    model.log_prob(_images(3), raw).sum().backward()
    assert not [n for n, p in model.named_parameters() if p.grad is None or not bool(p.grad.abs().sum() > 0)]


def test_bits_per_dimension_of_noise_are_8() -> None:
    assert float(bits_per_dim(torch.tensor(-10 * math.log(256.0)), 10)) == pytest.approx(8)


# Bad input.


@pytest.mark.parametrize(("shape", "levels"), [((1, 6, 6), 2), ((1, 5, 4), 1)])
def test_sides_that_cannot_be_halved_are_refused(shape: tuple[int, int, int], levels: int) -> None:
    with pytest.raises(GenpriorError, match=rf"levels: {levels} levels need sides that are multiples of {2**levels}"):
        Glow(shape, levels)


@every_dequantisation
@pytest.mark.parametrize("margin", [0.0, 0.5, -1.0])
def test_a_margin_out_of_range_is_refused(name: str, margin: float) -> None:
    with pytest.raises(GenpriorError, match=r"'margin' must lie between 0 and 0\.5"):
        DEQUANTISATIONS[name](SHAPE, margin=margin)
