"""The two networks of a variational autoencoder, its likelihoods, and the tables that name them.

Kingma & Welling 2014, https://arxiv.org/abs/1312.6114. Imports errors, layers and the study's shapes only.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genprior.errors import GenpriorError
from genprior.models import dcgan
from genprior.models.latent_encoder import check_shape, halving
from genprior.models.layers import Linear


class Recognition(nn.Module):
    """x (B, C, H, W) -> mean and log variance (B, k) of q(z | x) = N(mean, diag(exp(log variance))).

    Arguments:
        body: x -> features (B, F), in the dtype of x.
        features: F.
        image_shape: (C, H, W).
        latent_size: k, at least 1.
    """

    def __init__(self, body: nn.Module, features: int, image_shape: tuple[int, int, int], latent_size: int) -> None:
        super().__init__()
        self.image_shape, self.latent_size = image_shape, latent_size
        self.body, self.head = body, Linear(features, 2 * latent_size)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        # The posterior is often narrower than the steps of bf16 around its mean, so the head is at least float32.
        features = self.body(x)
        mean, log_variance = self.head(features.to(torch.promote_types(x.dtype, torch.float32))).chunk(2, 1)
        return mean, log_variance

    def encode(self, x: Tensor, known: Tensor | None = None) -> Tensor:
        """Returns the posterior mean (B, k), in the dtype of x; unknown pixels count as 0, whatever stands in them.

        Arguments:
            x: (B, C, H, W), about [0, 1].
            known: (B, 1, H, W) or (1, 1, H, W), 0 where a pixel is unknown; None: all are known.

        Raises:
            GenpriorError: x or known has another shape.
        """
        check_shape("x", x, self.image_shape, (x.shape[0],))
        if known is not None:
            check_shape("known", known, (1, *self.image_shape[1:]), (x.shape[0], 1))
            x = x.where(known != 0, 0)
        mean: Tensor = self(x)[0]
        return mean.to(x.dtype)


class Decoder(nn.Module):
    """z (B, k) -> x (B, C, H, W) in [0, 1], the sigmoid of `logits(z)`.

    Arguments:
        layers: z -> logits, of any shape with C * H * W values an image.
        image_shape: (C, H, W).
        latent_size: k.
    """

    output_range = (0.0, 1.0)

    def __init__(self, layers: nn.Sequential, image_shape: tuple[int, int, int], latent_size: int) -> None:
        super().__init__()
        self.image_shape, self.latent_size, self.layers = image_shape, latent_size, layers

    def logits(self, z: Tensor) -> Tensor:
        """Returns (B, C, H, W), unbounded."""
        logits: Tensor = self.layers(z)
        return logits.reshape(-1, *self.image_shape)

    def forward(self, z: Tensor) -> Tensor:
        return torch.sigmoid(self.logits(z))


class Autoencoder(nn.Module):
    """A recognition network and a decoder, which learn together.

    Arguments:
        encoder: x -> mean and log variance of z.
        decoder: z -> x.
    """

    def __init__(self, encoder: Recognition, decoder: Decoder) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder


class PixelLikelihood(Protocol):
    """log p(x | z) (B,) in nats, of logits and x (B, C, H, W); what the decoder shows is the sigmoid of its logits."""

    def __call__(self, logits: Tensor, x: Tensor) -> Tensor: ...


class Bernoulli:
    """sum_i x_i log s_i + (1 - x_i) log(1 - s_i), s = sigmoid(logits): Kingma & Welling 2014, appendix C.1.

    With grey values x in [0, 1] it is a cross entropy and no density of images, neither of real nor of 8-bit ones: a
    bound made of it compares models with each other, and has no bits per dimension.
    """

    def __call__(self, logits: Tensor, x: Tensor) -> Tensor:
        return -F.binary_cross_entropy_with_logits(logits, x, reduction="none").flatten(1).sum(1)


@dataclass(frozen=True)
class Gaussian:
    """log N(x; sigmoid(logits), sigma^2 I), a density of real x in nats: Kingma & Welling 2014, appendix C.2.

    Densities have units: over 8-bit steps of 1/255 a bound of b nats is about b - D log 255 nats of probability,
    as far as sigma is large against a step.

    Attributes:
        sigma: Standard deviation of a pixel, greater than 0.
    """

    sigma: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.sigma < math.inf:
            raise GenpriorError(f"option 'sigma' must be greater than 0, got {self.sigma}", argument="likelihood")

    def __call__(self, logits: Tensor, x: Tensor) -> Tensor:
        errors = (torch.sigmoid(logits) - x).flatten(1)
        constant = errors.shape[1] * (math.log(self.sigma) + 0.5 * math.log(2 * math.pi))
        return -0.5 * errors.square().sum(1) / self.sigma**2 - constant


class _Pixels(nn.Module):
    """z (B, k) -> (B, k, 1, 1)."""

    def forward(self, z: Tensor) -> Tensor:
        return z[:, :, None, None]


def _hidden(inputs: int, width: int, depth: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for i in range(depth):
        layers += [Linear(width if i else inputs, width), nn.SiLU()]
    return layers


def dense(image_shape: tuple[int, int, int], latent_size: int, width: int = 500, depth: int = 2) -> Autoencoder:
    """Returns perceptrons, by default those of Bora et al. 2017 (https://arxiv.org/abs/1703.03208, section 6.1).

    Arguments:
        image_shape: (C, H, W), any.
        latent_size: k.
        width: Units of a hidden layer.
        depth: Hidden layers of each network.

    Example:
        >>> sum(p.numel() for p in dense((1, 28, 28), 20).decoder.parameters())
        653784
    """
    _at_least_one(width=width, depth=depth)
    size = math.prod(image_shape)
    body = nn.Sequential(nn.Flatten(), *_hidden(size, width, depth))
    layers = nn.Sequential(*_hidden(latent_size, width, depth), Linear(width, size))
    return Autoencoder(Recognition(body, width, image_shape, latent_size), Decoder(layers, image_shape, latent_size))


def conv(image_shape: tuple[int, int, int], latent_size: int, width: int = 32) -> Autoencoder:
    """Returns a decoder in the shape of the study's generator, and an encoder in that of its discriminator.

    Arguments:
        image_shape: (C, H, W) with H = W, 8 to 128.
        latent_size: k.
        width: Channels of the largest hidden images; each layer towards the latents has twice as many.

    Raises:
        GenpriorError: Another size.
    """
    _at_least_one(width=width)
    generator = dcgan.DCGANGenerator(image_shape, latent_size, width)
    assert isinstance(generator.layers[-1], nn.Sigmoid)
    decoder = Decoder(nn.Sequential(_Pixels(), *generator.layers[:-1]), image_shape, latent_size)
    layers, features = halving(image_shape[0], image_shape[1], width)
    return Autoencoder(Recognition(nn.Sequential(*layers), features, image_shape, latent_size), decoder)


def _at_least_one(**options: float) -> None:
    for name, value in options.items():
        if not isinstance(value, int) or not 1 <= value <= 4096:
            raise GenpriorError(f"option '{name}' must be an integer from 1 to 4096, got {value}", argument="model")


# Each makes log p(x | z) from logits, with options of its own.
LIKELIHOODS: dict[str, Callable[..., PixelLikelihood]] = {
    "bernoulli": Bernoulli,
    "gaussian": Gaussian,
}

# Each builds both networks from (C, H, W), the latent size k and options of its own.
VAES: dict[str, Callable[..., Autoencoder]] = {
    "dense": dense,
    "conv": conv,
}
