"""A velocity field as a generator: noise becomes an image in a few evaluations, each of them after fresh noise.

Trained by regression, a field needs tens of evaluations for a sample, since each one says what to expect and not what
may be. Trained on as the generator of a GAN it says what may be (Sauer et al. 2023, https://arxiv.org/abs/2311.17042;
Zheng & Yang 2025, https://arxiv.org/abs/2506.09376, who need no other loss). Imports models only.
"""

import math

import torch
from torch import Tensor, nn

from genprior.errors import GenpriorError
from genprior.models.velocity_field import VelocityField, moved

FIRST_TIME = 0.25  # on the path: earlier a trained field looks at nothing but the mean of all images
MOST_EVALUATIONS = 16


def step_times(evaluations: int) -> list[float]:
    """Returns the times of the path at which the field is evaluated, evenly from `FIRST_TIME` on.

    Example:
        >>> step_times(3)
        [0.25, 0.5, 0.75]
    """
    return [FIRST_TIME + (1 - FIRST_TIME) * step / evaluations for step in range(evaluations)]


class FewStepGenerator(nn.Module):
    """z (B, k) -> x (B, C, H, W) in [0, 1], with k = C H W for each evaluation.

    Each evaluation covers the image that the last one expected, at first the mean of all, with noise of its own, and
    expects a new one: multistep sampling of consistency models (Song et al. 2023, https://arxiv.org/abs/2303.01469,
    algorithm 1).

    Arguments:
        field: Its mean and spread are those of the images.
        image_shape: (C, H, W).
        evaluations: Of the field, 1 to 16.

    Raises:
        GenpriorError: Another number of evaluations.
    """

    output_range = (0.0, 1.0)

    def __init__(self, field: VelocityField, image_shape: tuple[int, int, int], evaluations: int) -> None:
        super().__init__()
        if not isinstance(evaluations, int) or not 1 <= evaluations <= MOST_EVALUATIONS:
            raise GenpriorError(
                f"option 'evaluations' must be an integer from 1 to {MOST_EVALUATIONS}, got {evaluations}",
                argument="model",
            )
        self.field, self.image_shape, self.times = field, image_shape, step_times(evaluations)
        self.latent_size = evaluations * math.prod(image_shape)

    def forward(self, z: Tensor) -> Tensor:
        noises = z.view(-1, len(self.times), *self.image_shape).unbind(1)
        u = torch.zeros_like(noises[0])  # `new_zeros` of len(z) would make an ONNX file for batches of that size alone
        for noise, time in zip(noises, self.times, strict=True):
            t = torch.full_like(z[:, 0], time)
            u = self.field.image_at(moved(noise, u, t), t)
        # What lies outside is cut off as a picture would be, or a discriminator would look at nothing else.
        return self.field.as_image(u).clamp(*self.output_range)


def blank_field(network: nn.Module) -> VelocityField:
    """Returns a field that has learned nothing, for images about the middle of [0, 1]."""
    return VelocityField(network, mean=0.5, spread=0.5)


def check_images(image_shape: tuple[int, int, int]) -> None:
    """Raises `GenpriorError` for points: the networks are convolutions."""
    if image_shape[1:] == (1, 1):
        raise GenpriorError("few-steps is for images; take --model mlp for points", argument="model")
