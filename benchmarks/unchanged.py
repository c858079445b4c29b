"""What must not change when code is moved: weights, records and results of every command, at fixed seeds.

    python benchmarks/unchanged.py record FILE      # before
    python benchmarks/unchanged.py compare FILE     # after; prints what differs, exit code 1

Every family and preset is trained for 50 steps, then each command that measures something is run on small runs of the
embedded digits. All of it goes through the command line, in one thread and float32, so that a commit can be compared
with any other on the same machine. Times, versions and paths are left out. About six minutes.
"""

import argparse
import csv
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

STEPS, BATCH = 50, 16
PRESETS = {
    "gan": ("r1-28", "r1-32", "r1-64", "dcgan-28", "study-literal", "dcgan-32", "dcgan-64", "pyramid", "points"),
    "glo": ("glo-28",),
    "glow": ("glow-28", "glow-small-28", "glow-32"),
    "vae": ("vae-28", "vae-conv-28"),
}
TURNS = {"dcgan-28": 3, "study-literal": 3, "dcgan-32": 3, "dcgan-64": 3}  # discriminator updates in a step
ALONE = "--threads 1 --precision float32 --device cpu --checkpoint-seconds 100000"
SMALL = {  # runs of 8 x 8 pixels that train in seconds
    "gan": "--model dcgan:generator_width=8,discriminator_width=8,norm=none --latent-size 8",
    "glo": "--model dcgan:generator_width=8 --latent-size 8",
    "glow": "--levels 2 --steps 2 --width 8",
    "vae": "--model dense:width=32,depth=1 --latent-size 8",
}
DAMAGES = {
    "hole": "--operator inpaint:box=4 --noise gaussian:sigma=0.1",
    "pixels": "--operator inpaint:random=0.5 --noise uniform:a=0.1 --candidates 2",
    "blur": "--operator blur:sigma=0.7 --noise poisson:gain=0.05",
    "few": "--operator compressed-sensing:m=20 --noise gaussian:sigma=0.02 --beyond",
    "small": "--operator downsample:factor=2 --noise salt-and-pepper:p=0.05",
}
TIMES = ("seconds", "per_second", "minutes", "speed", "core_second", "version", "genprior", "complete")
Facts = dict[str, Any]


def run(command: str) -> None:
    """Runs one command of genprior; exit code 1, a verdict, is no failure."""
    words = [sys.executable, "-m", "genprior", *command.split()]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(f"genprior {command}\n{done.stdout}{done.stderr}")


def tensors_sha256(path: Path) -> str:
    """Returns a hash of all tensors in a safetensors file, whatever their order in it."""
    import torch
    from safetensors.torch import load_file

    digest = hashlib.sha256()
    for name, value in sorted(load_file(path).items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def checkpoint(run_path: Path) -> str:
    """Returns the hash of a run's last checkpoint."""
    return tensors_sha256(max(run_path.glob("checkpoint/step-*")) / "tensors.safetensors")


def steps(run_path: Path) -> str:
    """Returns a hash of a run's record, rates left out."""
    rows = [json.loads(line) for line in (run_path / "steps.jsonl").read_text().splitlines()]
    return hashlib.sha256(json.dumps([leaves(row) for row in rows]).encode()).hexdigest()


def leaves(value: object, name: str = "") -> Facts:
    """Returns the values in nested tables by their paths, but for times, versions and paths of files."""
    if any(word in name.rpartition("/")[2] for word in TIMES):
        return {}
    if isinstance(value, dict):
        return {key: each for k, v in value.items() for key, each in leaves(v, f"{name}/{k}").items()}
    if isinstance(value, list):
        return {key: each for i, v in enumerate(value) for key, each in leaves(v, f"{name}/{i}").items()}
    return {name: value}


def of_json(path: Path) -> Facts:
    """Returns the values in a JSON file."""
    return leaves(json.loads(path.read_text()))


def of_table(path: Path) -> Facts:
    """Returns the values in a CSV file with a head."""
    with path.open(newline="") as file:
        return leaves(list(csv.DictReader(file)))


def presets() -> Iterator[tuple[str, Facts]]:
    """Trains each family and preset."""
    for family, names in PRESETS.items():
        for preset in names:
            images = STEPS * BATCH * TURNS.get(preset, 1)
            data = "" if preset == "points" else "--data digits"
            path = Path("presets", preset)
            run(
                f"train {family} {data} --preset {preset} --batch-size {BATCH} --images-seen {images} {ALONE} "
                f"--out {path}"
            )
            yield f"preset {preset}", {"weights": checkpoint(path), "steps": steps(path)}


def small_runs() -> Iterator[tuple[str, Facts]]:
    """Trains the small runs, in grey and in colour, with an encoder for the GAN, and draws samples."""
    for family, options in SMALL.items():
        for kind, channels in (("grey", 1), ("colour", 3)):
            path = Path(f"{family}-{kind}")
            run(
                f"train {family} --data digits[:1000] --size 8 --channels {channels} --batch-size 32 "
                f"--images-seen 9600 {options} {ALONE} --out {path}"
            )
            run(f"sample {path} -n 4 --out {path}.npy")
            samples = hashlib.sha256(Path(f"{path}.npy").read_bytes()).hexdigest()
            yield str(path), {"weights": checkpoint(path), "steps": steps(path), "samples": samples}
    run("train encoder gan-grey --images-seen 3200 --threads 1")
    yield "encoder", {"weights": tensors_sha256(Path("gan-grey/encoder.safetensors"))}


def restorations() -> Iterator[tuple[str, Facts]]:
    """Inverts and restores a few images with each small run, and damages some."""
    for family in SMALL:
        for kind in ("grey", "colour"):
            out = Path(f"inverted-{family}-{kind}")
            run(f"invert {family}-{kind} digits[1000:1008] --resize --iterations 15 --threads 1 --out {out}")
            yield str(out), of_table(out / "table.csv") | of_json(out / "summary.json")
        for name, damage in DAMAGES.items():
            out = Path(f"restored-{family}-{name}")
            run(
                f"restore {family}-grey digits[1000:1006] --simulate {damage} --resize --iterations 15 --starts 2 "
                f"--threads 1 --out {out}"
            )
            yield str(out), of_table(out / "table.csv") | of_json(out / "summary.json")
    for name in ("hole", "blur"):
        damage = DAMAGES[name]
        run(f"degrade digits[1000:1006] {damage} --size 8 --out degraded-{name}")
        values = hashlib.sha256(Path(f"degraded-{name}/measurements.npy").read_bytes()).hexdigest()
        yield f"degraded-{name}", of_json(Path(f"degraded-{name}/degradation.json")) | {"values": values}


def experiments() -> Iterator[tuple[str, Facts]]:
    """Evaluates, diagnoses, compares and probes the small runs, and measures one cell of the mode benchmark."""
    for family in SMALL:
        run(f"evaluate {family}-grey --count 150 --held-out digits[1000:1300] --inversions 4 --threads 1")
        yield f"evaluate {family}", of_json(Path(f"{family}-grey/metrics.json"))
        run(f"diagnose {family}-grey --threads 1")
        yield f"diagnose {family}", of_json(Path(f"{family}-grey/diagnosis.json"))
    run("diagnose presets/points --threads 1")
    yield "diagnose points", of_json(Path("presets/points/diagnosis.json"))
    runs = " ".join(f"{family}-grey" for family in SMALL)
    run(f"compare {runs} --held-out digits[1000:1010] --count 10 --threads 1 --out comparison")
    yield "compare", of_json(Path("comparison/comparison.json"))
    for probe, options in (("saturation", "--steps 40 --ages 2"), ("collapse", "--steps 20 --ages 2")):
        run(f"probe {probe} gan-grey {options} --threads 1")
        yield f"probe {probe}", of_json(Path(f"gan-grey/probe-{probe}.json"))
    run("probe equilibrium gan-grey --steps 20 --threads 1")
    yield "probe equilibrium", of_json(Path("gan-grey/probe-equilibrium.json"))
    run("benchmark modes --data ring --row hinge --seeds 1 --out modes")
    yield (
        "mode cell",
        of_json(Path("modes/ring/hinge/0/modes.json")) | {"weights": checkpoint(Path("modes/ring/hinge/0"))},
    )


SECTIONS: dict[str, Callable[[], Iterator[tuple[str, Facts]]]] = {
    "presets": presets,
    "small runs": small_runs,
    "restorations": restorations,
    "experiments": experiments,
}


def measured() -> dict[str, Facts]:
    """Returns everything, by what it is of."""
    os.environ |= {"OMP_NUM_THREADS": "1", "GENPRIOR_DATA": str(Path.cwd() / "data")}
    found: dict[str, Facts] = {}
    for section in SECTIONS.values():
        for name, facts in section():
            print(name, flush=True)
            found[name] = facts
    return found


def differences(before: dict[str, Facts], after: dict[str, Facts]) -> list[str]:
    """Returns a line for each value that is another one, is gone, or is new."""
    lines = []
    for name in before.keys() | after.keys():
        then, now = before.get(name, {}), after.get(name, {})
        changed = [key for key in then.keys() | now.keys() if then.get(key, "absent") != now.get(key, "absent")]
        lines += [f"{name}: {key}: {then.get(key, 'absent')} -> {now.get(key, 'absent')}" for key in changed]
    return sorted(lines)


def main() -> None:
    """Records, or compares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("record", "compare"))
    parser.add_argument("file", type=Path)
    arguments = parser.parse_args()
    file = arguments.file.resolve()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        found = measured()
        os.chdir(file.parent)
    if arguments.what == "record":
        file.write_text(json.dumps(found, indent=1) + "\n")
        return
    lines = differences(json.loads(file.read_text()), json.loads(json.dumps(found)))
    print("\n".join(lines))
    print(f"differences: {len(lines)}")
    sys.exit(1 if lines else 0)


if __name__ == "__main__":
    main()
