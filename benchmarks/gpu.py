"""Training and restoration of every family on a GPU beside the same on the CPU; five minutes in all.

    python benchmarks/gpu.py [--device cuda] [--seconds 10] [--images 16] [--data digits] [--json out.json]

Each family is trained with its default settings for `--seconds` on either device, after a few updates that warm up. The
model that the GPU has trained then restores images with a hole in the middle, on either device. Prints images a second,
seconds an image, ratios of the GPU to the CPU, and how far the restored images of the two devices are apart. `--device
cpu` measures the CPU alone.
"""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from measuring import errors_of, parser_of, save_json

import genprior
from genprior.families import FAMILIES, RunConfig, parse_config
from genprior.hardware import keep_freed_memory
from genprior.seeding import derived_generator
from genprior.training.loop import Budget, train

if TYPE_CHECKING:
    from deepinv.physics import Physics

MINUTES = 5.0
WARM_UP = 10  # updates
NOISE = 0.02
SEARCH = genprior.SearchSettings(iterations=20, starts=1, second_try=False)


def synchronise(device: str) -> None:
    """Waits until the GPU has done what it was given."""
    if device != "cpu":
        torch.cuda.synchronize(device)


def trained(config: RunConfig, data: genprior.Dataset, seconds: float) -> tuple[float, dict[str, torch.Tensor]]:
    """Trains on the device of the config; returns images a second, and the weights on the CPU."""
    learner = config.build(data)
    steps = train(learner, data, Budget(images=10**9))
    for _ in range(WARM_UP):
        next(steps)
    synchronise(config.device)
    began, first = time.perf_counter(), learner.images_per_update * WARM_UP
    for step in steps:
        if step.index % WARM_UP == 0:
            synchronise(config.device)
            if time.perf_counter() - began >= seconds:
                break
    rate = (step.images_seen - first) / (time.perf_counter() - began)
    return rate, {name: value.cpu() for name, value in learner.state_dict().items()}


def holed(shape: tuple[int, int, int], device: str) -> "Physics":
    """The operator that hides a square in the middle, half as high and as wide as the image."""
    from deepinv.physics import Inpainting

    mask = torch.ones(1, *shape)
    height, width = shape[1:]
    mask[..., height // 4 : height - height // 4, width // 4 : width - width // 4] = 0
    return Inpainting(shape, mask=mask.to(device), device=device)


def restored(prior: genprior.Prior, x: torch.Tensor, device: str) -> tuple[float, torch.Tensor]:
    """Restores images (B, C, H, W) on a device; returns seconds an image, and the images on the CPU."""
    _ = prior.preconditioner  # found once, on the CPU, before the clock starts
    for network in prior.networks:
        network.to(device)
    physics = holed(prior.image_shape, device)
    y = physics.A(x.to(device))
    y = y + (NOISE * torch.randn(y.shape, generator=derived_generator(0, "noise"))).to(device) * (y != 0)
    genprior.restore(prior, y[:1], physics, SEARCH, noise_level=NOISE)  # warms up
    synchronise(device)
    began = time.perf_counter()
    found = genprior.restore(prior, y, physics, SEARCH, noise_level=NOISE).images
    synchronise(device)
    return (time.perf_counter() - began) / len(x), found.cpu()


def measured(family: str, devices: list[str], text: str, seconds: float, count: int) -> dict[str, float]:
    """Returns all numbers of a family, by what they are of."""
    found: dict[str, float] = {}
    states = []
    for device in devices:
        config = parse_config({"family": family, "data": text, "device": device})
        data = config.load_data()
        found[f"{device} training, images/s"], state = trained(config, data, seconds)
        states.append(state)
    x, images = data.take(torch.arange(count)), {}
    for device in devices:
        prior = config.prior(states[0], data.image_shape, True)
        spent, images[device] = restored(prior, x, device)
        found[f"{device} restoration, s an image"] = spent
        found[f"{device} restoration, error"] = float(errors_of(images[device], x).mean())
    if len(devices) == 2:
        gpu, cpu = devices
        rates, times = (
            [found[f"{device} {what}"] for device in devices]
            for what in ("training, images/s", "restoration, s an image")
        )
        found["training, ratio"], found["restoration, ratio"] = rates[0] / rates[1], times[1] / times[0]
        found["restoration, largest difference"] = float((images[gpu] - images[cpu]).abs().max())
    return found


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1 ..., or cpu for the CPU alone")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.device != "cpu" and not torch.cuda.is_available():
        raise SystemExit("gpu.py: there is no CUDA device here; --device cpu measures the CPU alone")
    keep_freed_memory()
    devices = [options.device] if options.device == "cpu" else [options.device, "cpu"]
    machine = "" if options.device == "cpu" else f", {torch.cuda.get_device_name(options.device)}"
    print(f"torch {torch.__version__}, {torch.get_num_threads()} CPU threads{machine}")
    began, results = time.monotonic(), {}
    for family in FAMILIES:
        if time.monotonic() - began > 60 * MINUTES:
            raise SystemExit(f"gpu.py: {MINUTES:g} minutes are over; {family} and those after it are not measured")
        results[family] = measured(family, devices, options.data, options.seconds, options.images)
        for name, value in results[family].items():
            print(f"{family}, {name}: {value:.4g}", flush=True)
    save_json(options.json, results)


if __name__ == "__main__":
    main()
