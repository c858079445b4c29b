"""Runs made healthy or ill on purpose, and what `genprior diagnose` says of each.

    python benchmarks/verdicts.py [--out runs/verdicts] [--threads 1] [--only NAME ...]

Each run is an ordinary one, a minute or less of training, and is not trained again if the script is started again.
Prints a table, how many verdicts are right, and how many healthy runs are called ill.
"""

import json
from pathlib import Path

from measuring import genprior_command, parser_of, save_json

STUDY = "--data mnist --preset dcgan-28 --images-seen 50000"
EPOCH = "--data mnist --preset dcgan-28 --images-seen 70000"  # samples are judged after an epoch only
OURS = "--data mnist --images-seen 60000"
POINTS = "--preset points --images-seen 100000"
CIRCLE = "--discriminator-updates 1 --beta1 0.95 --model dcgan:norm=none --images-seen 50000"
# Name -> what is wrong with it, and its settings.
RUNS: dict[str, tuple[str, str]] = {
    "ours-0": ("healthy", OURS),
    "ours-1": ("healthy", f"{OURS} --seed 1"),
    "ours-hinge": ("healthy", f"{OURS} --loss hinge --seed 2"),
    "ours-saturating": ("healthy", f"{OURS} --loss saturating --seed 3"),
    "study-0": ("healthy", EPOCH),
    "study-least-squares": ("healthy", f"{EPOCH} --loss least-squares --seed 1"),
    "points-0": ("healthy", POINTS),
    "saturated-0": ("saturated", f"{STUDY} --loss saturating --discriminator-updates 5"),
    "saturated-1": ("saturated", f"{STUDY} --loss saturating --generator-learning-rate 1e-5 --seed 1"),
    "discriminator-0": ("discriminator wins", f"{STUDY} --generator-learning-rate 1e-6"),
    "discriminator-hinge": ("discriminator wins", f"{STUDY} --loss hinge --generator-learning-rate 1e-6 --seed 1"),
    "generator-0": ("generator wins", f"{STUDY} --discriminator-learning-rate 1e-6"),
    "generator-least-squares": (
        "generator wins",
        f"{STUDY} --loss least-squares --discriminator-learning-rate 1e-6 --seed 1",
    ),
    "dead-0": ("dead discriminator", f"{STUDY} --loss least-squares --discriminator-learning-rate 0.1"),
    "dead-1": ("dead discriminator", f"{STUDY} --loss least-squares --discriminator-learning-rate 0.1 --seed 1"),
    "circle-0": (
        "oscillating",
        f"--data mnist --preset dcgan-28 {CIRCLE} --generator-learning-rate 0.005 --discriminator-learning-rate 0.0005",
    ),
    "circle-points": (
        "oscillating",
        f"{POINTS} --beta1 0.9 --generator-learning-rate 0.01 --discriminator-learning-rate 0.01",
    ),
    "collapsed-0": ("collapsed", f"{EPOCH} --model dcgan:discriminator_width=1 --generator-learning-rate 0.01"),
    "collapsed-1": (
        "collapsed",
        f"{EPOCH} --model dcgan:discriminator_width=1 --generator-learning-rate 0.01 --seed 1",
    ),
    "memorising-0": (
        "memorising",
        "--data mnist:train[:100] --batch-size 50 --penalty r1:gamma=0.05,every=4 --images-seen 200000 "
        "--generator-learning-rate 0.002 --discriminator-learning-rate 0.002",
    ),
    "non-finite-0": ("non-finite", f"{STUDY} --generator-learning-rate 1e8"),
}


def verdict_on(folder: Path, settings: str, threads: str) -> tuple[str, str]:
    """Trains a run if it is not there, and returns its verdict and the first line of evidence."""
    events = folder / "events.jsonl"
    has_stopped = events.exists() and '"stopped"' in events.read_text()
    if not has_stopped and not (folder / "figures").exists():
        flags = [*settings.split(), "--threads", threads, "--out", str(folder), "--overwrite"]
        genprior_command("train", "gan", *flags, allowed=(0, 1), quiet=True)
    genprior_command("diagnose", str(folder), "--threads", threads, allowed=(0, 1), quiet=True)
    found = json.loads((folder / "diagnosis.json").read_text())
    return found["verdict"], (found["evidence"] or [""])[0]


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/verdicts"))
    parser.add_argument("--threads", default="1")
    parser.add_argument("--only", nargs="+", default=list(RUNS))
    arguments = parser.parse_args()
    right, called_ill = 0, 0
    results = {}
    for name in arguments.only:
        label, settings = RUNS[name]
        found, evidence = verdict_on(arguments.out / name, settings, arguments.threads)
        right += found == label
        called_ill += label == "healthy" and found != label
        results[name] = {"label": label, "verdict": found, "evidence": evidence}
        print(f"{'right' if found == label else 'WRONG'}  {name}: made {label}, found {found}  {evidence}", flush=True)
    save_json(arguments.out / "verdicts.json", results)
    print(f"right: {right} of {len(results)}")
    print(f"healthy called ill: {called_ill}")


if __name__ == "__main__":
    main()
