"""When the saturating loss saturates, and whether it comes out again: seeds, readings of "lambda", learning rates.

    python benchmarks/saturation_onset.py [--images 60000] [--seeds 3] [--threads 1] [--out FOLDER]

The study's networks on all 70,000 MNIST images. A run is not trained again if the script is started again. For each
setting and seed: the parts of training in which the generator's loss factor had vanished, the loss factor and
D(G(z)) at the end, and how much the samples vary against real images.
"""

import statistics
from pathlib import Path

from measuring import genprior_command, parser_of, save_json

import genprior
from genprior.diagnosis.health_verdict import diversity, episodes
from genprior.plotting.sample_figures import write_samples
from genprior.runs.run_folder import open_run
from genprior.runs.step_rows import read_rows

STUDY = "--preset dcgan-28"
SETTINGS = {
    "beta1 = 0.5": STUDY,
    "weight decay 0.5": "--preset study-literal",
    "generator 10 times slower": f"{STUDY} --generator-learning-rate 0.0002",
    "generator 3 times slower": f"{STUDY} --generator-learning-rate 0.00067",
    "discriminator 3 times slower": f"{STUDY} --discriminator-learning-rate 0.00067",
    "discriminator 10 times slower": f"{STUDY} --discriminator-learning-rate 0.0002",
    "one discriminator update": f"{STUDY} --discriminator-updates 1",
}


def measured(folder: Path, settings: str, seed: int, images: int, threads: int) -> dict[str, object]:
    """Trains a run if it is not there; returns when it was saturated, and what came of it."""
    if not (folder / "figures").exists():
        flags = f"--data mnist:all --loss saturating --seed {seed} --images-seen {images} --threads {threads}"
        arguments = [*flags.split(), *settings.split(), "--out", str(folder), "--overwrite"]
        genprior_command("train", "gan", *arguments, quiet=True)
    run = open_run(folder)
    rows, game = read_rows(run.steps), run.config.game()
    assert game is not None
    x = genprior.load_prior(folder, average=False).sample(1000)
    write_samples(x[:40], folder.with_suffix(".png"), columns=10)
    return {
        "ill": [f"{e.name} {e.first:,} to {e.last:,}" for e in episodes(game, rows)],
        "smallest_loss_factor": min(row["loss_factor"] for row in rows),
        "loss_factor": statistics.median(row["loss_factor"] for row in rows[-50:]),
        "d_fake": statistics.median(row["d_fake"] for row in rows[-50:]),
        "diversity": diversity(x, run.config.load_data().some(1000)),
    }


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/saturation-onset"))
    arguments = parser.parse_args()
    results = {}
    for name, settings in SETTINGS.items():
        for seed in range(arguments.seeds):
            folder = arguments.out / f"{name.replace(' ', '-').replace('=', 'is')}-{seed}"
            found = measured(folder, settings, seed, arguments.images, arguments.threads)
            results[f"{name}, seed {seed}"] = found
            told = "  ".join(f"{k} {v:.2g}" if isinstance(v, float) else f"{k} {v}" for k, v in found.items())
            print(f"{name}, seed {seed}: {told}", flush=True)
    save_json(arguments.out / "results.json", results)


if __name__ == "__main__":
    main()
