"""A GAN is a map of latents and nothing else: noise in the plane goes to points of a ring, each in its colour."""

from pathlib import Path

import torch

import genprior
from genprior.seeding import derived_generator


def main(
    images: int = 1_000_000, count: int = 6000, data: str = "ring", out: Path = Path("docs/pictures/family-gan.png")
) -> None:
    config = genprior.GANConfig(preset="points", data=data, latent_size=2)
    ring = config.load_data()
    gan = config.build(ring)
    *_, last = genprior.train(gan, ring, genprior.Budget(images=images))
    print(f"D(x) {float(last.record['d_real']):.2f}, D(G(z)) {float(last.record['d_fake']):.2f}, at best 0.5 both")

    z = gan.latents(count, derived_generator(0, "figure"))
    made, real = gan.sample(z).flatten(1), ring.some(count).flatten(1)
    write(z, made, real, torch.atan2(made[:, 1], made[:, 0]), out)
    print(out)


def write(z: torch.Tensor, made: torch.Tensor, real: torch.Tensor, colours: torch.Tensor, out: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.6), layout="constrained")
    axes = figure.subplots(1, 3)
    dots = {"s": 3, "linewidths": 0}
    axes[0].scatter(*z.T, c=colours, cmap="hsv", **dots)
    axes[0].set(title="z: standard normal", xlim=(-3, 3), ylim=(-3, 3))
    axes[1].scatter(*made.T, c=colours, cmap="hsv", **dots)
    axes[1].set(title="G(z): each point in the colour of its z")
    axes[2].scatter(*real.T, color="#2166ac", **dots)
    axes[2].set(title="data")
    for axis in axes:
        axis.set_aspect("equal")
        axis.grid(alpha=0.25)
    for axis in axes[1:]:
        axis.set(xlim=(-1.4, 1.4), ylim=(-1.4, 1.4))
    figure.savefig(out, dpi=110)


if __name__ == "__main__":
    main()
