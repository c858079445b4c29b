"""Training beside other busy programs: what the number of threads, and how they wait, do to its speed.

    python benchmarks/busy_machine.py [--busy 2] [--seconds 15] [--rounds 3] [--data digits]

Each contender trains `dcgan-28` for the same seconds, one after another, several rounds, beside as many processes that
do nothing but compute; `--busy 0` is a quiet machine. `torch` is what torch does by itself: all cores, threads that
spin while they wait. `spins` and `passive` let them wait otherwise, `one` is one thread, and `ours` is the plain
command, which finds out by itself. Ratios are of medians, to the best of the four.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

LIBGOMP = {"GOMP_SPINCOUNT": "300000"}  # libgomp's own default, as our command line may set another one
CONTENDERS: dict[str, tuple[dict[str, str], list[str]]] = {
    "torch": (LIBGOMP, ["--threads", str(os.cpu_count())]),
    "spins": ({"GOMP_SPINCOUNT": "2000"}, ["--threads", str(os.cpu_count())]),
    "passive": ({"OMP_WAIT_POLICY": "PASSIVE"}, ["--threads", str(os.cpu_count())]),
    "one": (LIBGOMP, ["--threads", "1"]),
    "ours": ({}, []),
}


def images_in(seconds: float, data: str, environment: dict[str, str], flags: list[str]) -> int:
    """Returns how many images one training sees in that time; loading and starting do not count."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "run")
        command = ["train", "gan", "--preset", "dcgan-28", "--data", data, "--minutes", str(seconds / 60), *flags]
        subprocess.run(
            [sys.executable, "-m", "genprior", *command, "--out", str(out)],
            env=os.environ | environment,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        counters = json.loads((max(out.glob("checkpoint/step-*")) / "counters.json").read_text())
        return int(counters["images_seen"])


def main() -> None:
    """Measures all contenders."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--busy", type=int, default=2, help="processes that compute beside")
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--only", nargs="*", choices=CONTENDERS, default=list(CONTENDERS))
    arguments = parser.parse_args()
    beside = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(arguments.busy)]
    found: dict[str, list[int]] = {name: [] for name in arguments.only}
    try:
        for _ in range(arguments.rounds):
            for name, images in found.items():
                images.append(images_in(arguments.seconds, arguments.data, *CONTENDERS[name]))
    finally:
        for process in beside:
            process.kill()
    medians = {name: statistics.median(images) for name, images in found.items()}
    best = max(value for name, value in medians.items() if name != "ours" or len(medians) == 1)
    for name, images in found.items():
        print(f"{name}: {medians[name]:,.0f} images ({min(images):,} to {max(images):,}), {medians[name] / best:.2f}")


if __name__ == "__main__":
    main()
