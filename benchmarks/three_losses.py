"""The study's practical part: three losses, several seeds, ten epochs of all 70,000 MNIST images.

    python benchmarks/three_losses.py [--epochs 10] [--seeds 3] [--losses ...] [--preset dcgan-28] [--data mnist:all]
                                      [--threads N] [--out FOLDER]

Each run is an ordinary one, and is taken up again where it stands if the script is started again. Prints for each run
its last numbers, when it was ill, its verdict, and the feature distance of 10,000 samples to the MNIST test set with
the averaged and with the last weights, beside real against real; then median and spread over seeds for each loss.

    python benchmarks/three_losses.py --preset r1-28 --losses non-saturating --data mnist --epochs 25 --out runs/recipe

measures the default recipe in the same way.
"""

import json
import statistics
from pathlib import Path

from measuring import genprior_command, parser_of, save_json

import genprior
from genprior.data.spec import data_root
from genprior.evaluation.distances import frechet_distance
from genprior.evaluation.features import features_and_classes, seen
from genprior.judges.trained_judge import CLASSIFIER, judge_of
from genprior.plotting.sample_figures import write_samples
from genprior.progress import result_of
from genprior.runs.checkpoint import load_checkpoint
from genprior.runs.run_folder import open_run
from genprior.runs.step_rows import read_rows
from genprior.runs.summary import summary
from genprior.scoring.evaluation_experiment import load_evaluation_inputs
from genprior.scoring.scoring_results import EvaluationSettings

LAST_STEPS = 100
SHOWN = (
    "discriminator_loss",
    "generator_loss",
    "d_real",
    "d_fake",
    "accuracy_real",
    "accuracy_fake",
    "loss_factor",
    "generator_gradient_norm",
)


def trained(folder: Path, **settings: object) -> Path:
    """Trains a run of these settings, or takes it up again; returns its folder once it is finished."""
    if not (folder / "config.json").exists():
        flags = [word for key, value in settings.items() for word in (f"--{key.replace('_', '-')}", str(value))]
        genprior_command("train", "gan", "--out", str(folder), *flags)
    config = open_run(folder).config.model_dump()
    other = {key: config[key] for key, value in settings.items() if value not in (config[key], "auto")}
    if other:
        raise SystemExit(f"{folder} was made with other settings: {other}")
    if not str(summary(folder)["state"]).startswith("finished"):
        genprior_command("resume", str(folder))
    return folder


def measured(folder: Path, threads: str) -> dict[str, object]:
    """Returns the numbers of a run; evaluates and diagnoses it first, once."""
    if not (folder / "metrics.json").exists():
        genprior_command("evaluate", str(folder), "--inversions", "0", "--threads", threads)
    genprior_command("diagnose", str(folder), "--threads", threads, allowed=(0, 1))
    metrics, diagnosis = (json.loads((folder / name).read_text()) for name in ("metrics.json", "diagnosis.json"))
    rows = read_rows(open_run(folder).steps)[-LAST_STEPS:]
    checkpoint, _ = load_checkpoint(open_run(folder).checkpoints)
    assert checkpoint is not None
    frechet = metrics["scores"]["frechet"]
    return {
        **{name: statistics.fmean(row[name] for row in rows) for name in SHOWN},
        "minutes": checkpoint.seconds / 60,
        "distance": frechet["value"],
        "distance_of_real": frechet["floor"]["value"],
        "distance_last_weights": last_weights(folder),
        "modes": metrics["modes"]["found"],
        "verdict": diagnosis["verdict"],
        "ill": [f"{s['name']} {s['since_images']:,} to {s['until_images']:,}" for s in diagnosis["signs"]],
    }


def last_weights(folder: Path) -> float:
    """Returns the feature distance of samples of the last weights, as a run without averaging would have it."""
    inputs = load_evaluation_inputs(EvaluationSettings(run=folder, inversions=0))
    judged_by = inputs.judged_by
    judge = result_of(judge_of(CLASSIFIER, *judged_by.images, data_root(inputs.config.data_root)))
    classifier = judge.network
    x = genprior.load_prior(folder, average=False).sample(inputs.size)
    real, _ = seen(classifier, inputs.held_out)
    return frechet_distance(real, features_and_classes(classifier, x)[0])


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--epochs", type=float, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--losses", nargs="+", default=["saturating", "non-saturating", "least-squares"])
    parser.add_argument("--preset", default="dcgan-28")
    parser.add_argument("--data", default="mnist:all")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/three-losses"))
    arguments = parser.parse_args()

    results: dict[str, dict[str, object]] = {}
    for loss in arguments.losses:
        for seed in range(arguments.seeds):
            settings = {"data": arguments.data, "loss": loss, "seed": seed, "preset": arguments.preset}
            settings |= {"epochs": arguments.epochs, "threads": arguments.threads}
            run = trained(arguments.out / f"{loss}-{seed}", **settings)
            results[run.name] = measured(run, str(arguments.threads))
            write_samples(genprior.load_prior(run).sample(40), arguments.out / f"{run.name}.png", columns=10)
            told = "  ".join(
                f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in results[run.name].items()
            )
            print(f"{run.name}: {told}", flush=True)
    save_json(arguments.out / "results.json", results)
    for loss in arguments.losses:
        for name in ("distance", "distance_last_weights"):
            values = [float(str(found[name])) for run, found in results.items() if run.rpartition("-")[0] == loss]
            middle = statistics.median(values)
            spread = (max(values) - min(values)) / middle
            print(f"{loss} {name}: median {middle:.2f}, spread {spread:.2f} ({', '.join(f'{v:.2f}' for v in values)})")


if __name__ == "__main__":
    main()
