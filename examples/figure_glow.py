"""Glow's own steps on points, images of one pixel with two channels: they bend noise into a ring and know p(x)."""

from pathlib import Path

import torch
from torch import nn

import genprior
from genprior.models.glow_flow import Level
from genprior.seeding import derived_generator, initialised


def main(updates: int = 2500, width: int = 48, out: Path = Path("docs/pictures/family-glow.png")) -> None:
    random = derived_generator(0, "figure")
    x = torch.normal(genprior.load_data("ring:count=20000").images, 0.1, generator=random).view(-1, 1, 1, 2)
    levels = initialised(lambda: nn.ModuleList(Level(2, steps=6, width=width) for _ in range(3)), 0)
    levels[2].initialise(levels[1].initialise(levels[0].initialise(x, x.dtype), x.dtype), x.dtype)
    adam = torch.optim.Adam(levels.parameters())
    for i in range(updates):
        adam.param_groups[0]["lr"] = 0.003 * (1 - i / updates)
        adam.zero_grad()
        (-log_prob(levels, x[torch.randint(len(x), (256,), generator=random)])).mean().backward()
        adam.step()
    write(levels.eval().requires_grad_(False), torch.randn(6000, 1, 1, 2, generator=random), out)
    print(f"{out}: {-float(log_prob(levels, x).mean()):.3f} nats a point; the data themselves have 0.322")


def log_prob(levels: nn.ModuleList, x: torch.Tensor, total: torch.Tensor | float = 0.0) -> torch.Tensor:
    for level in levels:
        x, log_det = level.encode(x, x.dtype)
        total = total + log_det
    return total + torch.distributions.Normal(0.0, 1.0).log_prob(x).flatten(1).sum(1)


def write(levels: nn.ModuleList, z: torch.Tensor, out: Path) -> None:
    from matplotlib.figure import Figure

    figure, colours = Figure(figsize=(13, 2.8), layout="constrained"), torch.atan2(z[..., 1], z[..., 0])
    *axes, last = figure.subplots(1, 5)
    for i, (axis, bound) in enumerate(zip(axes, (3, 3, 3, 1.5), strict=True)):
        z = levels[-i].decode(z, z.dtype) if i else z
        axis.scatter(*z.view(-1, 2).T, c=colours, cmap="hsv", s=3, linewidths=0)
        axis.set(title=f"after {6 * i} steps", xlim=(-bound, bound), ylim=(-bound, bound), aspect="equal")
    density = log_prob(levels, torch.cartesian_prod(*2 * [torch.linspace(-1.5, 1.5, 200)]).view(-1, 1, 1, 2)).exp()
    last.imshow(density.view(200, 200).T.numpy(), origin="lower", extent=2 * (-1.5, 1.5)).axes.set_title("p(x)")
    figure.savefig(out, dpi=100)


if __name__ == "__main__":
    main()
