"""Are latents recovered from the images that they made? x = G(z), z standard normal, then invert x.

    python benchmarks/self_inversion.py RUN [--images 1000] [--iterations 60 300] [--starts 1 8] [--json out.json]

Prints the share of images whose z comes back with a mean squared error below 1e-4 and 1e-2, and whose image is met with
one below 1e-6 and 1e-4 (Lipton & Tripathi 2017 count the first).
"""

import time
from pathlib import Path

import torch
from measuring import errors_of, parser_of, save_json

import genprior
from genprior.seeding import derived_generator


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--iterations", type=int, nargs="+", default=[60, 300])
    parser.add_argument("--starts", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    prior = genprior.load_prior(options.run)
    z = torch.randn(options.images, prior.latent_size, generator=derived_generator(0, "self-inversion"))
    with torch.no_grad():
        x = torch.cat([prior.decode(part) for part in torch.split(z, 256)])
    rows = []
    for iterations, starts in zip(options.iterations, options.starts, strict=True):
        settings = genprior.SearchSettings(iterations=iterations, starts=starts, tolerance=0.0)
        began = time.perf_counter()
        found = genprior.invert(prior, x, settings)
        seconds = (time.perf_counter() - began) / len(x)
        z_error, x_error = (found.latents - z).square().mean(1), errors_of(found.images, x)
        shares = {f"z below {t:g}": float((z_error < t).float().mean()) for t in (1e-4, 1e-2)}
        shares |= {f"image below {t:g}": float((x_error < t).float().mean()) for t in (1e-6, 1e-4)}
        rows.append({"iterations": iterations, "starts": starts, "seconds": seconds, **shares})
        rows[-1] |= {"median z error": float(z_error.median()), "median image error": float(x_error.median())}
        print(", ".join(f"{name}: {value:.4g}" for name, value in rows[-1].items()), flush=True)
    save_json(options.json, rows)


if __name__ == "__main__":
    main()
