"""GLO: codes and generator learn to remake the training images; samples need a density that is fitted afterwards."""

from pathlib import Path

import torch

from genprior.families.glo import GLOConfig
from genprior.training.loop import Budget, train


def main(
    data: str = "mnist[:10000]",
    images: int = 200_000,
    width: int = 32,
    columns: int = 14,
    out: Path = Path("docs/pictures/family-glo.png"),
) -> None:
    config = GLOConfig(data=data, model=f"dcgan:generator_width={width}", latent_size=32)
    digits = config.load_data()
    glo = config.build(digits)
    shown = torch.linspace(0, len(digits) - 1, columns).long()
    rows = {"training images": digits.take(shown)}
    for step in train(glo, digits, Budget(images=images)):
        for share, name in ((0.05, "remade, 5% of training"), (1.0, "remade, all of it")):
            if name not in rows and step.progress >= share:
                with torch.no_grad():
                    rows[name] = glo.average.network(glo.codes.values[shown])
    print({name: round(float(value), 4) for name, value in step.record.items()})

    for density, name in (("gaussian", "samples, one Gaussian"), ("mixture:components=10", "samples, ten Gaussians")):
        fitted = GLOConfig.model_validate({**config.model_dump(), "density": density})
        rows[name] = fitted.prior(glo.state_dict(), digits.image_shape, True).sample(columns)
    write(rows, out)
    print(out)


def write(rows: dict[str, torch.Tensor], out: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 0.72 * len(rows)), layout="constrained")
    for axis, (name, x) in zip(figure.subplots(len(rows), 1), rows.items(), strict=True):
        axis.imshow(x[:, 0].permute(1, 0, 2).flatten(1).numpy(), cmap="gray", vmin=0, vmax=1)
        axis.set(xticks=[], yticks=[])
        axis.set_ylabel(name, rotation=0, ha="right", va="center")
    figure.savefig(out, dpi=110)


if __name__ == "__main__":
    main()
