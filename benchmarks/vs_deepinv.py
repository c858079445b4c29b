"""Restoration by a GAN prior: `deepinv.models.CSGMGenerator` against ours, same generator, same damaged images.

    python benchmarks/vs_deepinv.py RUN [--images 10] [--many 500] [--json out.json]

deepinv restores one image a call, from one random latent (its generator draws z from [-1, 1], as is its default), by
2500 steps of Adam at learning rate 0.01 and returns the last iterate. It is run with its default stopping rule, and
once more to the full 2500 steps. Ours is the default of `genprior restore`, in one batch of all images. Errors are mean
squared errors against the true images.
"""

import statistics
import time
from pathlib import Path

import torch
from deepinv.models import CSGMGenerator
from deepinv.physics import Denoising, GaussianNoise, Inpainting, Physics
from measuring import errors_of, mnist_test, parser_of, save_json
from torch import Tensor, nn

import genprior


class Backbone(nn.Module):
    """Our generator as deepinv's models want one: z (B, nz, 1, 1), and its length."""

    def __init__(self, prior: genprior.GeneratorPrior) -> None:
        super().__init__()
        self.generator, self.nz = prior.generator, prior.latent_size

    def forward(self, z: Tensor) -> Tensor:
        return self.generator(z.flatten(1))


def tasks() -> dict[str, Physics]:
    hole = torch.ones(1, 1, 28, 28)
    hole[..., 7:21, 7:21] = 0
    noise = lambda sigma: GaussianNoise(sigma, rng=torch.Generator().manual_seed(1))  # noqa: E731
    return {
        "denoise 0.3": Denoising(noise(0.3)),
        "inpaint box 14, noise 0.02": Inpainting((1, 28, 28), mask=hole, noise_model=noise(0.02)),
        "inpaint 50 % random, noise 0.02": Inpainting(
            (1, 28, 28), mask=0.5, noise_model=noise(0.02), rng=torch.Generator().manual_seed(2)
        ),
    }


def one_by_one(model: CSGMGenerator, y: Tensor, physics: Physics) -> tuple[float, Tensor]:
    """Median seconds of an image, and the restored images."""
    seconds, found = [], []
    for each in torch.split(y, 1):
        began = time.perf_counter()
        found.append(model(each, physics).detach())
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds), torch.cat(found)


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--images", type=int, default=10)
    parser.add_argument("--many", type=int, default=500)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    prior = genprior.load_prior(options.run)
    x = mnist_test(options.many)
    torch.manual_seed(0)  # deepinv draws z from the global generator
    rows = []
    for task, physics in tasks().items():
        y = physics(x)
        times: dict[str, float] = {}
        errors: dict[str, Tensor] = {}
        for name, tolerance in (("deepinv, its stopping rule", 1e-4), ("deepinv, 2500 steps", 0.0)):
            model = CSGMGenerator(Backbone(prior), inf_tol=tolerance).eval()
            times[name], found = one_by_one(model, y[: options.images], physics)
            errors[name] = errors_of(found, x[: options.images])
        began = time.perf_counter()
        found = genprior.restore(prior, y, physics).images
        times["ours"] = (time.perf_counter() - began) / len(x)
        errors["ours"] = errors_of(found, x)[: options.images]
        for name, seconds in times.items():
            mean, worst = float(errors[name].mean()), float(errors[name].max())
            rows.append({"task": task, "name": name, "seconds": seconds, "mean": mean, "worst": worst})
            print(f"{task:32} {name:27} {seconds:.4f} s an image  error {mean:.4f}, worst {worst:.4f}", flush=True)
        print(f"{task}, throughput ratio: {times['deepinv, 2500 steps'] / times['ours']:.0f}")
        print(f"{task}, error ratio: {float(errors['ours'].mean() / errors['deepinv, 2500 steps'].mean()):.2f}")
    save_json(options.json, rows)


if __name__ == "__main__":
    main()
