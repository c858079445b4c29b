"""A loss of one's own: two functions on logits, one value a sample."""

import torch.nn.functional as F

import genprior
from genprior.models.players import MODELS, PlayerSizes
from genprior.seeding import initialised

# Label smoothing (Salimans et al. 2016): real images are called real with probability 0.9.
smoothed = genprior.AdversarialLoss(
    discriminator=lambda real, fake: 0.9 * F.softplus(-real) + 0.1 * F.softplus(real) + F.softplus(fake),
    generator=lambda real, fake: F.softplus(-fake),
)


def main(images: int = 150_000) -> None:
    data = genprior.load_data("digits")
    players = initialised(lambda: MODELS["dcgan"](PlayerSizes(data.image_shape, latent_size=100)), seed=0)
    gan = genprior.GAN(players, smoothed)
    *_, last = genprior.train(gan, data, genprior.Budget(images=images))
    print({name: round(float(value), 3) for name, value in last.record.items()})


if __name__ == "__main__":
    main()
