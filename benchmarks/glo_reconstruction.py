"""Reconstruction error of GLO for several sizes of code, beside PCA with as many components.

    python benchmarks/glo_reconstruction.py [--sizes 16 32 64 100] [--epochs 5] [--images 1000] [--start pca random]

Each GLO is trained anew on the MNIST training images with the default preset. Training error: of the training images by
their own codes and the averaged weights. Held-out error: `genprior.invert` on the first test images. PCA: components of
the training images, of the same test images, clipped to [0, 1].
"""

import time
from pathlib import Path

import torch
from measuring import mnist_test, parser_of, save_json
from torch import Tensor

import genprior
from genprior.families import GLOConfig
from genprior.hardware import keep_freed_memory
from genprior.training.latent_optimisation import GLO


def trained(size: int, epochs: float, start: str, data: genprior.Dataset) -> tuple[GLO, GLOConfig]:
    config = GLOConfig(latent_size=size, epochs=epochs, start=start)
    glo = config.build(data)
    for _ in genprior.train(glo, data, config.budget()):
        pass
    return glo, config


@torch.no_grad()
def training_error(glo: GLO, data: genprior.Dataset, count: int = 5000) -> float:
    x = data.take(torch.arange(count))
    return float((glo.average.network(glo.codes.values[:count]) - x).square().mean())


def pca_error(x: Tensor, data: genprior.Dataset, size: int) -> float:
    from sklearn.decomposition import PCA

    model = PCA(size, svd_solver="covariance_eigh").fit(data.take(torch.arange(20_000)).flatten(1).numpy())
    flat = x.flatten(1).numpy()
    back = torch.from_numpy(model.inverse_transform(model.transform(flat))).clamp(0, 1)
    return float((back - x.flatten(1)).square().mean())


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[16, 32, 64, 100])
    parser.add_argument("--epochs", type=float, default=5)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--start", nargs="+", default=["pca"], choices=["pca", "random"])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    keep_freed_memory()
    data = genprior.load_data("mnist:train")
    x = mnist_test(options.images)
    rows = []
    for size in options.sizes:
        for start in options.start:
            began = time.perf_counter()
            glo, config = trained(size, options.epochs, start, data)
            minutes = (time.perf_counter() - began) / 60
            error = genprior.invert(config.prior(glo.state_dict(), data.image_shape, True), x).images - x
            each = error.square().flatten(1).mean(1)
            row = {"latent_size": size, "start": start, "minutes": minutes, "training_error": training_error(glo, data)}
            row |= {"held_out_error": float(each.mean()), "standard_error": float(each.std() / len(each) ** 0.5)}
            rows.append(row | {"pca_error": pca_error(x, data, size)})
            print(
                f"k = {size:3}, {start:6} start, {minutes:.1f} min: training {row['training_error']:.5f}, held-out "
                f"{row['held_out_error']:.5f} +- {row['standard_error']:.5f}, PCA {rows[-1]['pca_error']:.5f}",
                flush=True,
            )
    for row in rows:
        ratio = row["held_out_error"] / row["pca_error"]
        print(f"error ratio to PCA at k = {row['latent_size']}, {row['start']} start: {ratio:.3f}")
    save_json(options.json, rows)


if __name__ == "__main__":
    main()
