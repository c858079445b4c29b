"""Bits per dimension of trained flows on the MNIST test set, and the curve that led there.

    python benchmarks/flow_likelihood.py RUN ... [--images 10000] [--draws 1] [--figure curve.png] [--json out.json]

D = 784, without padding. One draw of the dequantisation is an unbiased estimate of the bound on average; more draws
(`--draws`) make the importance-weighted bound, which is tighter. Networks run in float32 with averaged weights.
The figure shows bits per dimension of training batches over images seen, the test value at the end, and, dashed and not
measured, where a power law a + c n^-p through the medians of 24 stretches after a tenth of the run leads.
"""

import itertools
import math
from pathlib import Path

import torch
from measuring import mnist_test, parser_of, save_json

import genprior
from genprior.models.image_flow import bits_per_dim
from genprior.priors.flow_prior import FlowPrior
from genprior.runs.checkpoint import load_checkpoint
from genprior.runs.run_folder import open_run
from genprior.runs.step_rows import read_rows
from genprior.seeding import derived_generator


def nats(prior: FlowPrior, x: torch.Tensor, draws: int) -> torch.Tensor:
    """The bound (B,) of `draws` draws."""
    generator = derived_generator(0, "dequantisation")
    each = [torch.cat([prior.log_prob(part, generator) for part in torch.split(x, 500)]) for _ in range(draws)]
    return torch.logsumexp(torch.stack(each), 0) - math.log(draws)


def extrapolated(seen: torch.Tensor, bits: torch.Tensor, until: torch.Tensor) -> torch.Tensor:
    """The power law at `until` images."""
    from scipy.optimize import curve_fit

    edges = torch.linspace(0.1 * float(seen[-1]), float(seen[-1]), 25, dtype=torch.float64)
    inside = [(seen >= low) & (seen < high) for low, high in itertools.pairwise(edges)]
    x = torch.stack([seen[each].mean() for each in inside]) / 1e6
    y = torch.stack([bits[each].median() for each in inside])
    (a, c, p), _ = curve_fit(lambda n, a, c, p: a + c * n**-p, x.numpy(), y.numpy(), p0=(1.0, 0.1, 0.5), maxfev=20_000)
    print(f"extrapolated, not measured: {a:.3f} + {c:.3f} n^-{p:.3f} bits, n in millions of images")
    return a + c * (until / 1e6) ** -p


def draw(curves: dict[str, list], ends: dict[str, float], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axis = figure.subplots()
    for name, rows in curves.items():
        seen = torch.tensor([row["images_seen"] for row in rows], dtype=torch.float64)
        bits = torch.tensor([row["bits_per_dim"] for row in rows], dtype=torch.float64)
        window = max(1, len(rows) // 200)
        smooth = bits.unfold(0, window, 1).median(1).values
        (line,) = axis.plot(seen[window - 1 :], smooth, linewidth=1.2, label=f"{name}, training batches")
        until = torch.linspace(float(seen[-1]), 5 * float(seen[-1]), 100, dtype=torch.float64)
        law = extrapolated(seen, bits, until)
        axis.plot(until, law, "--", color=line.get_color(), alpha=0.6, label=f"{name}, extrapolated: not measured")
        axis.plot(seen[-1:], [ends[name]], "o", color=line.get_color(), label=f"{name}, test set: {ends[name]:.3f}")
    axis.axhline(1.05, color="#777777", linestyle=":")
    axis.annotate("1.05, Glow as published", (0.99, 1.052), xycoords=("axes fraction", "data"), ha="right", fontsize=8)
    axis.set(xlabel="images seen", ylabel="bits per dimension (D = 784)", ylim=(0.98, 1.35), title="Glow on MNIST")
    axis.grid(alpha=0.25)
    axis.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--draws", type=int, default=1)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    x = mnist_test(options.images)
    curves, ends, results = {}, {}, []
    for path in options.runs:
        run, prior = open_run(path), genprior.load_prior(path)
        checkpoint, _ = load_checkpoint(run.checkpoints)
        bits = bits_per_dim(nats(prior, x, options.draws), prior.latent_size)
        error = float(bits.std() / len(bits) ** 0.5)
        z = prior.encode(x[:1000])
        trip = float((prior.decode(z) - x[:1000]).abs().max())
        curves[path.name], ends[path.name] = read_rows(run.steps), float(bits.mean())
        parameters = sum(p.numel() for p in prior.model.parameters())
        results.append({"run": str(path), "bits_per_dim": ends[path.name], "standard_error": error})
        results[-1] |= {"images_seen": checkpoint.images_seen, "minutes": checkpoint.seconds / 60}
        results[-1] |= {"parameters": parameters, "dequantisation": run.config.dequantisation, "round_trip": trip}
        print(
            f"{path}: {parameters:,} parameters, {checkpoint.images_seen:,} images in {checkpoint.seconds / 60:.1f} "
            f"minutes, {run.config.dequantisation} dequantisation, {options.draws} draws, largest round-trip error "
            f"{trip:.1e}"
        )
        print(f"bits per dimension (D = 784): {ends[path.name]:.4f} +- {error:.4f}", flush=True)
    if options.figure:
        draw(curves, ends, options.figure)
    save_json(options.json, results)


if __name__ == "__main__":
    main()
