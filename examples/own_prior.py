"""A prior of one's own: the principal components of the training images, with Gaussian latents."""

import torch
from deepinv.physics import Inpainting
from torch import Tensor

import genprior


class PrincipalComponents(genprior.LatentPrior):
    """x = mean + directions z with z ~ N(0, I). (A network from z to images needs no class: see GeneratorPrior.)"""

    def __init__(self, x: Tensor, components: int) -> None:
        self.image_shape, self.latent_size = tuple(x.shape[1:]), components
        self.mean, (_, sizes, directions) = x.flatten(1).mean(0), torch.pca_lowrank(x.flatten(1), components)
        self.directions = directions * sizes / len(x) ** 0.5

    def start(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.randn(count, self.latent_size, generator=generator)

    def decode(self, z: Tensor) -> Tensor:
        return (self.mean + z @ self.directions.T).view(-1, *self.image_shape)

    def energy(self, z: Tensor) -> Tensor:
        return 0.5 * z.square().sum(1)


def main(data: str = "digits", components: int = 20) -> None:
    images = genprior.load_data(data)
    x = images.take(torch.arange(len(images)))
    prior = PrincipalComponents(x, components)
    physics = Inpainting(images.image_shape, mask=0.5, rng=torch.Generator().manual_seed(0))
    found = genprior.restore(prior, physics.A(x[:8]), physics)
    print("mean squared error of each image:", (found.images - x[:8]).square().mean((1, 2, 3)).tolist())


if __name__ == "__main__":
    main()
