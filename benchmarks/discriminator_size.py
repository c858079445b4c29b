"""The study's statement that a larger discriminator leads to mode collapse: sizes and seeds, over twenty epochs.

    python benchmarks/discriminator_size.py [--widths 16 32 64] [--seeds 3] [--epochs 20] [--only WIDTH-SEED ...]
                                            [--out runs/discriminator-size] [--threads 1]

Each run is an ordinary one with the study's settings (preset dcgan-28, non-saturating loss, all 70,000 MNIST images)
and another width of the discriminator; it is taken up again where it stands if the script is started again. Once an
epoch 5,000 samples of the weights as they are, and of the averaged ones, are looked at by a classifier. Prints for each
size the classes that samples hold (of 10) and the feature distance to the first 5,000 test images, beside that of 5,000
of the images that runs learn, and draws both over time.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from measuring import median_and_range, parser_of

import genprior
from genprior.data.spec import data_root
from genprior.evaluation.distances import frechet_distance
from genprior.evaluation.features import features_and_classes, seen
from genprior.evaluation.histogram import class_counts, modes_found
from genprior.families import GANConfig
from genprior.judges.trained_judge import CLASSIFIER, judge_of
from genprior.progress import result_of
from genprior.runs.execute import execute
from genprior.runs.prepare import new_run, resumed_run
from genprior.runs.run_folder import open_run
from genprior.training.adversarial import GAN

SAMPLES, CLASSES = 5000, 10
Row = dict[str, Any]


class Eyes:
    """Looks at samples with a classifier of MNIST."""

    def __init__(self) -> None:
        train, test = genprior.load_data("mnist"), genprior.load_data("mnist:test")
        self.classifier = result_of(judge_of(CLASSIFIER, train, test, data_root())).network
        features, classes = seen(self.classifier, test)
        self.real, self.counts = features[:SAMPLES], class_counts(classes, CLASSES)
        # The two halves of the test set are by different writers; what runs learn is all of MNIST.
        like_training, _ = features_and_classes(self.classifier, genprior.load_data("mnist:all").some(SAMPLES))
        self.floor = frechet_distance(self.real, like_training)

    def look(self, draw: Callable[[torch.Tensor], torch.Tensor], gan: GAN) -> Row:
        """Returns classes found, the share of the rarest one, and the feature distance."""
        z = gan.latents(SAMPLES, torch.Generator().manual_seed(0))
        features, classes = features_and_classes(self.classifier, torch.cat([draw(part) for part in z.split(500)]))
        counts = class_counts(classes, CLASSES)
        found, _ = modes_found(counts, self.counts)
        return {
            "modes": found,
            "rarest": float(counts.min()) / SAMPLES,
            "distance": frechet_distance(self.real, features),
        }


def followed(folder: Path, config: GANConfig, eyes: Eyes) -> list[Row]:
    """Trains a run to its end, and returns what was seen at each epoch."""
    path = folder / "over_time.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    assert config.epochs is not None
    if (folder / "config.json").exists() and open_run(folder).config.epochs != config.epochs:
        raise SystemExit(f"{folder} was made for another number of epochs; choose another --out")
    if len(rows) >= config.epochs:
        return rows
    prepared = resumed_run(folder, {}) if (folder / "config.json").exists() else new_run(folder, config)
    gan = prepared.learner
    assert isinstance(gan, GAN)
    epoch, flush = len(prepared.data), 10
    total = round(config.epochs * epoch)
    for stage in execute(prepared.run, prepared.learner, prepared.data, flush_every=flush):
        images = round(stage.fraction * total)
        if images < epoch * (len(rows) + 1) and stage.fraction < 1:
            continue

        def as_it_is(z: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():  # in training mode, as the discriminator saw it
                return gan.generator(z.to(gan.placement.dtype)).float()

        statistics_kept = {name: value.clone() for name, value in gan.generator.state_dict().items()}
        row = {"images_seen": images, "last": eyes.look(as_it_is, gan), "average": eyes.look(gan.sample, gan)}
        gan.generator.load_state_dict(statistics_kept)
        if len(rows) < images // epoch:
            rows.append(row)
            with path.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(f"{folder.name}: {images:,} images", row["last"], row["average"], flush=True)
    if len(rows) < config.epochs:  # values that are not finite, or a kill after the last checkpoint
        raise SystemExit(f"{folder} ended with {len(rows)} of {config.epochs:g} epochs looked at; delete it and go on")
    return rows


def draw(found: dict[int, list[list[Row]]], floor: float, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    axes = figure.subplots(1, 2)
    colours = ("#92c5de", "#2166ac", "#d6604d", "#762a83")
    for colour, (width, runs) in zip(colours, found.items(), strict=False):
        for i, rows in enumerate(runs):
            epochs = [row["images_seen"] / 70_000 for row in rows]
            label = f"first layer {width} wide" if i == 0 else None
            axes[0].plot(epochs, [100 * row["last"]["rarest"] for row in rows], color=colour, label=label, alpha=0.8)
            axes[1].plot(epochs, [row["last"]["distance"] for row in rows], color=colour, alpha=0.8)
    axes[1].axhline(floor, color="#777777", linestyle="--", linewidth=1)
    axes[1].text(0.1, floor * 0.9, "5,000 of the images learned", color="#777777", fontsize=8)
    axes[1].set_yscale("log")
    axes[1].set_yticks(ticks := [20, 30, 50, 100, 200], [str(tick) for tick in ticks])
    axes[1].minorticks_off()
    axes[0].set_ylim(0, 10)
    titles = ("share of the rarest of ten classes, %", "feature distance to 5,000 test images")
    for axis, title in zip(axes, titles, strict=True):
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("epochs of 70,000 images")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.25)
    axes[0].legend(frameon=False, fontsize=8, loc="lower right")
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--widths", nargs="+", type=int, default=[16, 32, 64])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=float, default=20)
    parser.add_argument("--only", nargs="+", help="such as 32-0: train these, and print no table")
    parser.add_argument("--out", type=Path, default=Path("runs/discriminator-size"))
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    eyes, found = Eyes(), {}
    for seed in range(arguments.seeds):
        for width in arguments.widths:
            name = f"{width}-{seed}"
            if arguments.only and name not in arguments.only:
                continue
            config = GANConfig(
                preset="dcgan-28",
                data="mnist:all",
                model=f"dcgan:discriminator_width={width}",
                epochs=arguments.epochs,
                seed=seed,
                threads=arguments.threads,
            )
            found.setdefault(width, []).append(followed(arguments.out / name, config, eyes))
    if arguments.only:
        return
    print(f"distance of {SAMPLES:,} of the images learned: {eyes.floor:.2f}")
    for width, runs in found.items():
        for which in ("last", "average"):
            least = [float(min(row[which]["modes"] for row in rows)) for rows in runs]
            rarest = [100 * min(row[which]["rarest"] for row in rows[1:] or rows) for rows in runs]
            distances = [rows[-1][which]["distance"] for rows in runs]
            best = [min(row[which]["distance"] for row in rows) for rows in runs]
            print(
                f"width {width} ({which} weights): fewest classes {median_and_range(least, '.1f')}, "
                f"the rarest has from the second epoch on at least {median_and_range(rarest, '.1f')} %; "
                f"distance at the end {median_and_range(distances, '.1f')}, smallest {median_and_range(best, '.1f')}"
            )
    draw(found, eyes.floor, arguments.out / "over_time.png")
    print(f"picture: {arguments.out / 'over_time.png'}")


if __name__ == "__main__":
    main()
