"""A prior of one's own: any network from z to images, here the principal components of the training images."""

import torch
from deepinv.physics import Inpainting
from torch import nn

import genprior


def main(data: str = "digits", components: int = 20) -> None:
    images = genprior.load_data(data)
    x = images.take(torch.arange(len(images)))
    mean, (_, sizes, directions) = x.flatten(1).mean(0), torch.pca_lowrank(x.flatten(1), components)
    decode = nn.Sequential(nn.Linear(components, mean.numel()), nn.Unflatten(1, images.image_shape))
    decode[0].weight.data, decode[0].bias.data = directions * sizes / len(x) ** 0.5, mean

    prior = genprior.GeneratorPrior(decode, components, images.image_shape)
    physics = Inpainting(images.image_shape, mask=0.5, rng=torch.Generator().manual_seed(0))
    found = genprior.restore(prior, physics.A(x[:8]), physics)
    print("mean squared error of each image:", (found.images - x[:8]).square().mean((1, 2, 3)).tolist())


if __name__ == "__main__":
    main()
