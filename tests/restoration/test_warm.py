"""First guesses by an encoder: what it is shown, image by image, and where it is not asked."""

import pytest
import torch
from torch import Tensor

from genprior.models.latent_encoder import Encoder
from genprior.models.mlp import MLPGenerator
from genprior.priors.contracts import LatentPrior
from genprior.priors.generator_prior import EncodedPrior
from genprior.restoration.operators import OPERATORS
from genprior.restoration.problem import warm_start
from genprior.restoration.restore import invert, restore
from genprior.restoration.search_settings import SearchSettings

SHAPE, LATENTS = (1, 4, 4), 16


class _Open(LatentPrior):
    """x = z, and an encoder that writes down what it is shown."""

    latent_size, image_shape = LATENTS, SHAPE

    def __init__(self) -> None:
        self.shown: list[tuple[Tensor, Tensor | None]] = []

    def start(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.randn(count, LATENTS, generator=generator)

    def decode(self, z: Tensor) -> Tensor:
        return z.view(-1, *SHAPE)

    def energy(self, z: Tensor) -> Tensor:
        return 0.5 * z.square().sum(1)

    def sample(self, count: int, seed: int = 0) -> Tensor:
        return torch.rand(count, *SHAPE)

    def encode(self, x: Tensor, known: Tensor | None = None) -> Tensor:
        self.shown.append((x, known))
        return (x if known is None else x.where(known != 0, 0.0)).flatten(1)

    def encode_damaged(self, x: Tensor, known: Tensor | None) -> Tensor:
        return self.encode(x, known)


class _Whole(_Open):
    """A prior that declares no encoder of damaged images."""

    encode_damaged = None


def _masks(count: int, channels: int = 1) -> Tensor:
    return (torch.rand(count, channels, 4, 4) < 0.6).float()


def _inpainting(mask: Tensor):  # noqa: ANN202 - deepinv has no types
    from deepinv.physics import Inpainting

    return Inpainting(img_size=SHAPE, mask=mask)


def test_images_are_shown_as_they_are() -> None:
    prior, x = _Open(), torch.rand(3, *SHAPE)
    z = warm_start(prior, x, None, {})
    assert z is not None
    assert torch.equal(z, x.flatten(1))


def test_each_image_is_shown_with_its_own_holes() -> None:
    prior, x, masks = _Open(), torch.rand(3, *SHAPE), _masks(3)
    warm_start(prior, x * masks, _inpainting(masks[:1]), {"mask": masks})
    ((shown, known),) = prior.shown
    assert torch.equal(shown, x * masks)
    assert known is not None
    assert torch.equal(known.expand_as(masks), masks)


def test_what_stands_in_holes_has_no_influence() -> None:
    x, masks = torch.rand(3, *SHAPE), _masks(3)
    guesses = [
        warm_start(_Open(), torch.where(masks > 0, x, blank), _inpainting(masks[:1]), {"mask": masks})
        for blank in (0.0, 0.7, -1e6)
    ]
    assert all(torch.equal(guess, guesses[0]) for guess in guesses)


def test_without_noise_or_holes_nothing_is_unknown() -> None:
    prior, x = _Open(), torch.rand(3, *SHAPE)
    warm_start(prior, x, OPERATORS["denoise"](SHAPE).physics, {})
    ((shown, known),) = prior.shown
    assert torch.equal(shown, x)
    assert known is None or bool((known == 1).all())


@pytest.mark.parametrize(
    ("name", "options"), [("downsample", {"factor": 2}), ("blur", {"sigma": 0.5}), ("compressed-sensing", {"m": 6})]
)
def test_other_linear_measurements_are_shown_as_the_closest_image(name: str, options: dict[str, float]) -> None:
    """It explains the measurement."""
    prior, x = _Open(), 0.4 + 0.2 * torch.rand(3, *SHAPE)
    physics = OPERATORS[name](SHAPE, **options).physics
    y = physics.A(x)
    warm_start(prior, y, physics, {})
    ((shown, known),) = prior.shown
    assert known is None or bool((known == 1).all())
    assert shown.min() >= 0
    assert shown.max() <= 1
    if name != "compressed-sensing":  # there the closest image leaves [0, 1]
        torch.testing.assert_close(physics.A(shown), y, rtol=0, atol=0.02)


def test_an_operator_that_keeps_the_size_is_not_taken_for_a_mask() -> None:
    """A flip shows ones as ones; its measurement is no image with all pixels known."""
    from deepinv.physics import LinearPhysics

    prior, x = _Open(), torch.rand(2, *SHAPE)
    physics = LinearPhysics(A=lambda x, **_: x.flip(3), A_adjoint=lambda y, **_: y.flip(3))
    warm_start(prior, physics.A(x), physics, {})
    ((shown, _),) = prior.shown
    torch.testing.assert_close(shown, x, rtol=0, atol=1e-4)


def test_a_guess_does_not_depend_on_the_other_images() -> None:
    """Also where the closest image is found step by step, and some images take more steps than others."""
    from deepinv.physics import LinearPhysics

    matrix = torch.randn(10, 16)
    physics = LinearPhysics(
        A=lambda x, **_: x.flatten(1) @ matrix.T, A_adjoint=lambda y, **_: (y @ matrix).view(-1, *SHAPE)
    )
    y = physics.A(torch.rand(4, *SHAPE)) * torch.tensor([1.0, 1e-3, 30.0, 0.0])[:, None]
    together = warm_start(_Open(), y, physics, {})
    assert together is not None
    alone = torch.cat([warm_start(_Open(), y[i : i + 1], physics, {}) for i in range(4)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)


def _unguessable() -> dict[str, object]:
    from deepinv.physics import LinearPhysics, Physics, stack

    return {
        "nonlinear": Physics(A=lambda x, **_: x.square()),
        "complex": LinearPhysics(A=lambda x, **_: torch.fft.fft2(x)),
        "stacked": stack(LinearPhysics(A=lambda x, **_: x), LinearPhysics(A=lambda x, **_: 2 * x)),
        "without adjoint": LinearPhysics(A=lambda x, **_: x[..., ::2, :]),
    }


@pytest.mark.parametrize("name", _unguessable())
def test_where_no_image_can_be_shown_the_search_starts_at_random(name: str) -> None:
    prior, physics = _Open(), _unguessable()[name]
    x = torch.rand(2, *SHAPE)
    assert warm_start(prior, physics.A(x), physics, {}) is None
    found = restore(prior, physics.A(x), physics, SearchSettings(iterations=20))
    assert torch.isfinite(found.images).all()


def test_a_prior_without_an_encoder_guesses_nothing() -> None:
    from genprior.priors.generator_prior import GeneratorPrior

    prior = GeneratorPrior(MLPGenerator(SHAPE, LATENTS, 8, 1), LATENTS, SHAPE)
    assert warm_start(prior, torch.rand(2, *SHAPE), None, {}) is None


def test_an_encoder_of_whole_images_is_not_shown_damaged_ones() -> None:
    prior, x, masks = _Whole(), torch.rand(2, *SHAPE), _masks(2)
    assert torch.equal(warm_start(prior, x, None, {}), x.flatten(1))
    assert warm_start(prior, x, OPERATORS["denoise"](SHAPE).physics, {}) is None
    found = restore(prior, x * masks, _inpainting(masks), SearchSettings(iterations=5, second_try=False))
    assert len(prior.shown) == 1
    assert found.starts.tolist() == [8, 8]


@pytest.mark.parametrize("encoder", [True, False])
def test_the_first_start_is_the_guess(encoder: bool) -> None:
    prior, x = _Open(), torch.rand(3, *SHAPE)
    settings = SearchSettings(iterations=1, energy_weight=0.0, encoder=encoder, second_try=False)
    found = invert(prior, x, settings)
    assert len(prior.shown) == encoder
    assert torch.equal(found.images, x) or not encoder
    assert found.starts.tolist() == [1 if encoder else 8] * 3


@pytest.mark.parametrize("name", ["invert", "inpaint", "downsample"])
def test_a_prior_with_an_encoder_restores(name: str) -> None:
    torch.manual_seed(1)
    encoder = Encoder((1, 8, 8), 6, width=4)
    prior = EncodedPrior(MLPGenerator((1, 8, 8), 6, 32, 2), 6, (1, 8, 8), encoder)
    x = prior.sample(3)
    settings = SearchSettings(iterations=20)
    if name == "invert":
        found = invert(prior, x, settings)
    else:
        physics = OPERATORS[name]((1, 8, 8), **({"box": 3} if name == "inpaint" else {"factor": 2})).physics
        found = restore(prior, physics.A(x), physics, settings)
    assert found.images.shape == x.shape
    assert found.error.max() < 0.2


@pytest.mark.parametrize("name", ["blur", "inpaint"])
def test_measurements_of_another_precision_are_taken_in_that_of_the_prior(name: str) -> None:
    from deepinv.physics import Blur, Inpainting

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        prior = EncodedPrior(MLPGenerator((1, 8, 8), 6, 32, 2), 6, (1, 8, 8), Encoder((1, 8, 8), 6, width=4))
    blur = Blur(filter=torch.full((1, 1, 3, 3), 1 / 9), padding="circular")
    physics = {"blur": blur, "inpaint": Inpainting((1, 8, 8), mask=(torch.rand(1, 1, 8, 8) > 0.5).float())}[name]
    y = physics.A(prior.sample(2))
    settings = SearchSettings(iterations=3)
    wide, narrow = (restore(prior, each, physics, settings).images for each in (y.double(), y))
    assert torch.equal(wide, narrow)
