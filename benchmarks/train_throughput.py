"""Training speed and memory: the study's loop as a student writes it, against ours.

Same two networks, same batch, same number of updates, real MNIST. Every contender runs in a process of its own, one
after another, several rounds, so that a noisy machine disturbs all of them alike; ratios are of medians.

    python benchmarks/train_throughput.py [--rounds 3] [--seconds 15] [--threads N] [--only NAME ...] [--json F]

`student` reads through `DataLoader` over `torchvision.datasets.MNIST`; `student_in_memory` is the same loop with the
images in one float tensor, which takes the reading out of the comparison. `ours` is all that `genprior train gan
--preset dcgan-28` does while it trains: updates, average, diagnosis, records written to `steps.jsonl`, checkpoints.
`ours_without_records` leaves the writing of records out, to tell what they cost; `recipe` is the default preset.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from measuring import median_and_range, parser_of, save_json

BATCH, TURNS, BLOCK = 128, 3, 10  # images, discriminator updates a step, steps a block


def student_networks() -> tuple:
    from torch import nn

    generator = nn.Sequential(
        nn.ConvTranspose2d(100, 256, 3, stride=2, bias=False),
        nn.BatchNorm2d(256),
        nn.ReLU(),
        nn.ConvTranspose2d(256, 128, 3, stride=2, bias=False),
        nn.BatchNorm2d(128),
        nn.ReLU(),
        nn.ConvTranspose2d(128, 64, 3, stride=2, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.ConvTranspose2d(64, 1, 3, stride=2, padding=2, output_padding=1),
        nn.Sigmoid(),
    )
    discriminator = nn.Sequential(
        nn.Conv2d(1, 32, 4, stride=2, padding=1),
        nn.BatchNorm2d(32),
        nn.LeakyReLU(0.2),
        nn.Conv2d(32, 64, 4, 2, 1),
        nn.BatchNorm2d(64),
        nn.LeakyReLU(0.2),
        nn.Conv2d(64, 128, 4, 2, 1),
        nn.BatchNorm2d(128),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(1152, 1),
        nn.Sigmoid(),
    )
    return generator, discriminator


def student_batches(in_memory: bool) -> Iterator:
    import torch
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    from genprior.data.spec import data_root

    images = datasets.MNIST(str(data_root()), train=True, transform=transforms.ToTensor(), download=True)
    if in_memory:
        x = images.data.float().div(255)[:, None]
        while True:
            yield x[torch.randint(len(x), (BATCH,))]
    while True:
        for batch, _ in DataLoader(images, batch_size=BATCH, shuffle=True, drop_last=True):
            yield batch


def student_blocks(in_memory: bool) -> Iterator[None]:
    import torch
    from torch import nn

    generator, discriminator = student_networks()
    settings = {"lr": 0.002, "betas": (0.5, 0.999)}
    generator_adam = torch.optim.Adam(generator.parameters(), **settings)
    discriminator_adam = torch.optim.Adam(discriminator.parameters(), **settings)
    criterion = nn.BCELoss()
    real_label, fake_label = torch.ones(BATCH, 1), torch.zeros(BATCH, 1)
    batches = student_batches(in_memory)
    losses = []
    while True:
        for _ in range(TURNS):
            real = next(batches)
            fake = generator(torch.randn(BATCH, 100, 1, 1)).detach()
            discriminator_adam.zero_grad()
            loss_d = criterion(discriminator(real), real_label)
            loss_d += criterion(discriminator(fake), fake_label)
            loss_d.backward()
            discriminator_adam.step()
        generator_adam.zero_grad()
        loss_g = criterion(discriminator(generator(torch.randn(BATCH, 100, 1, 1))), real_label)
        loss_g.backward()
        generator_adam.step()
        losses.append((loss_d.item(), loss_g.item()))
        if len(losses) % BLOCK == 0:
            yield


def our_blocks(precision: str = "auto", preset: str = "dcgan-28", steps: int = BLOCK) -> Iterator[None]:
    from genprior.families import GANConfig
    from genprior.runs.execute import execute
    from genprior.runs.prepare import new_run

    with tempfile.TemporaryDirectory() as folder:
        config = GANConfig(preset=preset, data="mnist", epochs=1000, precision=precision)
        prepared = new_run(Path(folder) / "run", config)
        yield from (None for _ in execute(prepared.run, prepared.learner, prepared.data, flush_every=steps))


def our_bare_blocks() -> Iterator[None]:
    from genprior.families import GANConfig
    from genprior.hardware import keep_freed_memory
    from genprior.training.loop import Budget, train

    keep_freed_memory()
    config = GANConfig(preset="dcgan-28", data="mnist")
    data = config.load_data()
    for step in train(config.build(data), data, Budget(images=10**9)):
        if step.index % BLOCK == 0:
            yield


CONTENDERS: dict[str, Callable[[], Iterator[None]]] = {
    "student": lambda: student_blocks(in_memory=False),
    "student_in_memory": lambda: student_blocks(in_memory=True),
    "ours": our_blocks,
    "ours_float32": lambda: our_blocks("float32"),
    "ours_without_records": our_bare_blocks,
    # One turn of the discriminator a step, so that a block holds as many images.
    "recipe": lambda: our_blocks(preset="r1-28", steps=BLOCK * TURNS),
}


def measure(name: str, seconds: float, threads: int | None) -> dict[str, float]:
    """Trains for `seconds` after a warm-up; the median over blocks, which a passing disturbance does not move.

    With a given number of threads the clock is the CPU time of the process: what others do counts little.
    """
    clock = time.perf_counter if threads is None else time.process_time
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    blocks = CONTENDERS[name]()
    next(blocks)
    times = []
    end = clock() + seconds
    while clock() < end:
        start = clock()
        next(blocks)
        times.append(clock() - start)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"images_per_second": BLOCK * BATCH * TURNS / statistics.median(times), "peak_mb": peak_mb}


def print_ratios(speed: dict[str, float]) -> None:
    """Prints what was measured on both sides."""
    pairs = {
        "ratio": ("ours", "student"),
        "ratio in memory": ("ours", "student_in_memory"),
        "ratio in float32": ("ours_float32", "student"),
    }
    for name, (one, other) in pairs.items():
        if one in speed and other in speed:
            print(f"{name}: {speed[one] / speed[other]:.2f}")
    if "ours_without_records" in speed and "ours" in speed:
        print(f"records cost percent: {100 * (1 - speed['ours'] / speed['ours_without_records']):.1f}")
    if "recipe" in speed and "student_in_memory" in speed:
        plain, recipe = 10 * 70_000 / speed["student_in_memory"] / 60, 25 * 60_000 / speed["recipe"] / 60
        print(f"minutes of the study's 10 epochs as a plain loop: {plain:.1f}")
        print(f"minutes of the recipe's 25 epochs: {recipe:.1f}")
        print(f"ratio of minutes: {recipe / plain:.2f}")


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--threads", type=int, help="count CPU time, with so many threads")
    parser.add_argument("--one", choices=CONTENDERS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.one, arguments.seconds, arguments.threads)))
        return
    results: dict[str, list[dict[str, float]]] = {name: [] for name in arguments.only}
    for number in range(arguments.rounds):
        for name in arguments.only:
            command = [sys.executable, __file__, "--one", name, "--seconds", str(arguments.seconds)]
            command += ["--threads", str(arguments.threads)] if arguments.threads is not None else []
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            results[name].append(json.loads(output.splitlines()[-1]))
            print(number + 1, name, results[name][-1], flush=True)
    speed = {name: statistics.median(r["images_per_second"] for r in rounds) for name, rounds in results.items()}
    for name, rounds in results.items():
        print(f"{name}: {median_and_range([r['images_per_second'] for r in rounds])} images/s")
    print_ratios(speed)
    if "ours" in results:
        print(f"peak memory MB: {max(r['peak_mb'] for r in results['ours']):.0f}")
    save_json(arguments.json, results)


if __name__ == "__main__":
    main()
