"""The study's practical part: three losses, several seeds, ten epochs of all 70,000 MNIST images.

    python benchmarks/three_losses.py [--epochs 10] [--seeds 2] [--losses ...] [--precision auto] [--out FOLDER]

Each run is an ordinary one, made by `genprior train gan`, and is taken up again where it stands if the script is
started again. Prints a table of each run's last numbers, with the feature distance of 10,000 samples to the MNIST
test set beside the distance of 10,000 training images to it, and writes one picture of all runs.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

import torch

import genprior
from genprior.evaluation.features import features_and_classes, train_classifier
from genprior.evaluation.fidelity import frechet_distance
from genprior.figures import write_samples
from genprior.runs import open_run, summary
from genprior.runs.log import read_rows

SAMPLES, LAST_STEPS = 10_000, 100
SHOWN = (
    "discriminator_loss",
    "generator_loss",
    "d_real",
    "d_fake",
    "accuracy_real",
    "accuracy_fake",
    "discriminator_gradient_norm",
    "generator_gradient_norm",
)


def trained(folder: Path, **settings: object) -> Path:
    """Trains a run of these settings, or takes it up again; returns its folder once it is finished."""
    command = [sys.executable, "-m", "genprior"]
    if not (folder / "config.json").exists():
        flags = [word for key, value in settings.items() for word in (f"--{key.replace('_', '-')}", str(value))]
        subprocess.run([*command, "train", "gan", "--out", str(folder), *flags], check=True)
    config = open_run(folder).config.model_dump()
    other = {key: config[key] for key, value in settings.items() if value not in (config[key], "auto")}
    if other:
        raise SystemExit(f"{folder} was made with other settings: {other}")
    if not str(summary(folder)["state"]).startswith("finished"):
        subprocess.run([*command, "resume", str(folder)], check=True)
    return folder


class Judge:
    """A classifier of MNIST's training set, and the features of its test set."""

    def __init__(self) -> None:
        self.classifier = train_classifier(genprior.load_data("mnist:train"))
        test = genprior.load_data("mnist:test")
        self.real, classes = features_and_classes(self.classifier, test.take(torch.arange(len(test))))
        accuracy = (classes == test.labels).float().mean()
        others = genprior.load_data(f"mnist:train[:{SAMPLES}]").take(torch.arange(SAMPLES))
        floor = frechet_distance(self.real, features_and_classes(self.classifier, others)[0])
        print(f"classifier accuracy on the test set: {accuracy:.4f}")
        print(f"feature distance of training images to test images: {floor:.2f}")

    def numbers(self, run: Path, picture: Path) -> dict[str, float]:
        """Returns a run's last numbers, its feature distance, and how many samples fall into each class."""
        rows = read_rows(open_run(run).steps)[-LAST_STEPS:]
        numbers = {name: statistics.fmean(row[name] for row in rows) for name in SHOWN}
        x = genprior.load_prior(run).sample(SAMPLES)
        features, classes = features_and_classes(self.classifier, x)
        numbers["feature_distance"] = frechet_distance(self.real, features)
        numbers |= {f"samples_of_{digit}": int((classes == digit).sum()) for digit in range(10)}
        write_samples(x[:40], picture, columns=10)
        return numbers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=float, default=10)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--losses", nargs="+", default=["saturating", "non-saturating", "least-squares"])
    parser.add_argument("--preset", default="dcgan-28")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--out", type=Path, default=Path("runs/three-losses"))
    arguments = parser.parse_args()

    runs = {}
    for seed in range(arguments.seeds):
        for loss in arguments.losses:
            runs[loss, seed] = trained(
                arguments.out / f"{loss}-{seed}",
                data="mnist:all",
                loss=loss,
                seed=seed,
                preset=arguments.preset,
                epochs=arguments.epochs,
                precision=arguments.precision,
            )

    judge = Judge()
    results = {}
    for (loss, seed), run in runs.items():
        numbers = judge.numbers(run, arguments.out / f"{loss}-{seed}.png")
        results[f"{loss}-{seed}"] = numbers
        shown = "  ".join(f"{name} {value:.4g}" for name, value in numbers.items())
        print(f"{loss} seed {seed}: {shown}", flush=True)
    (arguments.out / "results.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
