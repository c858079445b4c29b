"""The plane of a VAE with two latents, decoded on a grid of equal probability (Kingma & Welling 2014, figure 4)."""

from pathlib import Path

import torch

from genprior.families.vae import VAEConfig
from genprior.plotting.sample_figures import write_samples
from genprior.training.loop import Budget, train


def main(
    data: str = "mnist",
    images: int = 900_000,
    width: int = 256,
    side: int = 18,
    out: Path = Path("docs/pictures/family-vae.png"),
) -> None:
    config = VAEConfig(data=data, model=f"dense:width={width}", latent_size=2, likelihood="bernoulli")
    digits = config.load_data()
    vae = config.build(digits)
    *_, last = train(vae, digits, Budget(images=images))
    print({name: round(float(value), 2) for name, value in last.record.items()})

    # Under p(z) = N(0, I) each cell of this grid is equally probable.
    ticks = torch.special.ndtri((torch.arange(side) + 0.5) / side)
    z = torch.cartesian_prod(-ticks, ticks).flip(1)  # rows from the top, columns from the left
    with torch.no_grad():
        write_samples(vae.average_decoder.network(z), out, columns=side)
    print(out)


if __name__ == "__main__":
    main()
