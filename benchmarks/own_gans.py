"""GANs of a folder of colour images: presets at equal minutes of one core, scored on images that were never learned.

    python benchmarks/own_gans.py FOLDER [--size 64] [--minutes 5] [--seeds 3] [--learn N] [--out own-gans]
                                  [--runs r1-64 "r1-64:batch_size=32;latent_size=64" pyramid]

Every fifth image is held out. Each run is a preset with settings changed, PRESET:key=value;key=value. It gets the same
time of one core's work, whatever else the machine does: the process's own time counts, and schedules follow it.
`--learn N` lets runs see N of the other images only.

Scores are Fréchet distances between 1,500 samples of the averaged weights and the held-out images, lower is better:
"random", of random convolutions at three sizes, and "learned", of a small network that learned without labels to know
an image again after it was moved, enlarged and recoloured. Both see the 64 first principal components of their features
of learned images. "judge" are the features that `genprior evaluate` learns where there are no labels. The floor is the
distance of as many learned images to the held-out ones. What is done is kept in --out, beside samples of each run as a
PNG, and is not done again.
"""

import json
import time
from collections.abc import Iterator
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from measuring import median_and_range, parser_of
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import genprior
from genprior.evaluation.distances import frechet_distance
from genprior.evaluation.jigsaw_features import JigsawNetwork, jigsaw_training
from genprior.families import GANConfig, parse_config
from genprior.hardware import keep_freed_memory
from genprior.images import image_grid, write_image
from genprior.seeding import derived_generator, initialised
from genprior.training.adversarial import GAN
from genprior.training.loop import Batch, shuffled_indices

HELD_OUT, SAMPLES, COMPONENTS = 5, 1500, 64
KNOWING_STEPS, KNOWING_BATCH = 120, 192


class RandomFeatures(nn.Module):
    """x (B, C, H, W) -> (B, F): three layers of random convolutions at full, half and quarter size."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        widths = [channels, 48, 64, 64]
        self.layers = nn.ModuleList(
            nn.Conv2d(before, after, 3, stride=2, padding=1) for before, after in pairwise(widths)
        )
        for layer in self.layers:
            nn.init.kaiming_normal_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        found = []
        for size in (1, 2, 4):
            y = F.avg_pool2d(x, size) - 0.5
            for layer in self.layers:
                y = F.relu(layer(y))
                found.append(F.adaptive_avg_pool2d(y, 2).flatten(1))
        return torch.cat(found, 1)


def recogniser(channels: int) -> nn.Sequential:
    """Returns a network x (B, C, H, W) -> (B, 768)."""
    layers: list[nn.Module] = []
    for before, after in [(channels, 32), (32, 64), (64, 128), (128, 192)]:
        layers += [nn.Conv2d(before, after, 4, 2, 1), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten())


def disturbed(x: Tensor, generator: torch.Generator) -> Tensor:
    """Returns images moved, enlarged, recoloured and with a little noise."""
    count = len(x)
    where = torch.zeros(count, 2, 3)
    where[:, 0, 0] = where[:, 1, 1] = 1 - 0.3 * torch.rand(count, generator=generator)
    where[:, :, 2] = 0.4 * (torch.rand(count, 2, generator=generator) - 0.5)
    y = F.grid_sample(
        x, F.affine_grid(where, list(x.shape), align_corners=False), padding_mode="border", align_corners=False
    )
    brightness, contrast = torch.rand(2, count, 1, 1, 1, generator=generator)
    y = (y - 0.5 + 0.15 * (brightness - 0.5)) * (0.8 + 0.4 * contrast) + 0.5
    return y + 0.03 * torch.randn(y.shape, generator=generator)


def trained_recogniser(data: genprior.Dataset, path: Path) -> nn.Sequential:
    """Returns features by which an image is known again among others (Chen et al. 2020, arXiv 2002.05709)."""
    network = initialised(lambda: recogniser(data.image_shape[0]), 0)
    if path.exists():
        network.load_state_dict(load_file(path))
        return network.eval()
    head = initialised(lambda: nn.Sequential(nn.Linear(768, 128), nn.ReLU(), nn.Linear(128, 64)), 1)
    adam = torch.optim.Adam([*network.parameters(), *head.parameters()], 1e-3)
    for step in range(KNOWING_STEPS):
        generator = derived_generator(0, "recogniser", step)
        x = data.take(torch.randint(len(data), (KNOWING_BATCH,), generator=generator))
        first, second = (F.normalize(head(network(disturbed(x, generator))), dim=1) for _ in range(2))
        alike, same = first @ second.T / 0.1, torch.arange(KNOWING_BATCH)
        loss = F.cross_entropy(alike, same) + F.cross_entropy(alike.T, same)
        adam.zero_grad()
        torch.autograd.backward(loss)
        adam.step()
    save_file(network.state_dict(), path)
    return network.eval()


class Judge(nn.Module):
    """x (B, C, H, W) -> (B, 128): what `genprior evaluate` looks at."""

    def __init__(self, network: JigsawNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network.features(x)


def trained_judge(data: genprior.Dataset, path: Path) -> Judge:
    judge = Judge(JigsawNetwork(data.image_shape[0]))
    if path.exists():
        judge.load_state_dict(load_file(path))
    else:
        for _, network in jigsaw_training(data):
            judge.network = network
        save_file(judge.state_dict(), path)
    return judge.eval()


class Yardstick:
    """Distances to held-out images, by features of one network, or by their principal components."""

    def __init__(
        self, network: nn.Module, learned: genprior.Dataset, held_out: genprior.Dataset, components: int | None
    ) -> None:
        self.network = network
        features = self._features(learned.take(torch.arange(len(learned))))
        self.mean, self.directions = torch.zeros(features.shape[1]), torch.eye(features.shape[1])
        if components is not None:
            self.mean = features.mean(0)
            _, sizes, directions = torch.linalg.svd(features - self.mean, full_matrices=False)
            self.directions = directions[:components].T / (sizes[0] / len(features) ** 0.5)
        self.held_out = self._seen(held_out.take(torch.arange(len(held_out))))
        self.floor = self.distance(learned.some(len(held_out)))

    def distance(self, x: Tensor) -> float:
        return frechet_distance(self.held_out, self._seen(x))

    def _seen(self, x: Tensor) -> Tensor:
        return (self._features(x) - self.mean) @ self.directions

    @torch.no_grad()
    def _features(self, x: Tensor) -> Tensor:
        return torch.cat([self.network(part) for part in x.split(250)])


def trained(gan: GAN, data: genprior.Dataset, seconds: float, seed: int) -> Iterator[tuple[int, float]]:
    """Trains for so many seconds of this process's own time; yields images and seconds after each update."""
    gan.check(data)
    seen, spent = 0, 0.0
    while spent < seconds:
        began = time.process_time()
        count = gan.images_per_update
        indices = shuffled_indices(seen, count, len(data), seed)
        generator = derived_generator(seed, "step", seen // count)
        gan.update(Batch(data.take(indices), indices), spent / seconds, generator)
        seen += count
        gan.average_weights(seen)
        spent += time.process_time() - began
        yield seen, spent


def config_of(run: str, seed: int) -> GANConfig:
    preset, _, rest = run.partition(":")
    changes: dict[str, Any] = {}
    for item in filter(None, rest.split(";")):
        key, _, value = item.partition("=")
        changes[key] = [*changes.get(key, []), value] if key in ("augment", "penalty") else value
    config = parse_config({"preset": preset, "seed": seed, "threads": 1, "device": "cpu", **changes})
    assert isinstance(config, GANConfig)
    return config


def measured(run: str, seed: int, seconds: float, learned: genprior.Dataset, held_out: genprior.Dataset) -> GAN:
    gan = config_of(run, seed).build(learned, held_out=held_out)
    for _ in trained(gan, learned, seconds, seed):
        pass
    return gan


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("folder", metavar="FOLDER")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--runs", nargs="+", default=["r1-64", "r1-64:batch_size=32", "pyramid"])
    parser.add_argument("--learn", type=int)
    parser.add_argument("--out", type=Path, default=Path("own-gans"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    options.out.mkdir(parents=True, exist_ok=True)
    data = genprior.load_data(options.folder, size=options.size)
    is_held_out = torch.arange(len(data)) % HELD_OUT == HELD_OUT - 1
    learned, held_out = data.part(~is_held_out), data.part(is_held_out)
    networks = {
        "random": initialised(lambda: RandomFeatures(data.image_shape[0]), 0),
        "learned": trained_recogniser(learned, options.out / "recogniser.safetensors"),
    }
    yardsticks = {name: Yardstick(network, learned, held_out, COMPONENTS) for name, network in networks.items()}
    judge = trained_judge(learned, options.out / "judge.safetensors")
    yardsticks["judge"] = Yardstick(judge, learned, held_out, components=None)
    if options.learn is not None:
        learned = learned.part(torch.linspace(0, len(learned) - 1, options.learn).long())
    floors = {name: each.floor for name, each in yardsticks.items()}
    print(f"{len(learned)} images learned, {len(held_out)} held out; floors {floors}", flush=True)
    path = options.out / "results.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    for seed, run in product(range(options.seeds), options.runs):
        key = {"run": run, "seed": seed, "minutes": options.minutes, "images_learned": len(learned)}
        if any(key.items() <= row.items() for row in rows):
            continue
        gan = measured(run, seed, 60 * options.minutes, learned, held_out)
        z = gan.latents(SAMPLES, derived_generator(0, "samples"))
        x = torch.cat([gan.sample(part) for part in z.split(250)])
        name = f"{run.replace(':', '-')}-{seed}-{options.minutes:g}-{len(learned)}.png"
        write_image(image_grid(x[:100], columns=10), options.out / name)
        scores = {name: each.distance(x) for name, each in yardsticks.items()}
        seen = {name: float(value) for name, value in gan.sight.record().items()}
        rows.append({**key, "images_seen": gan.turns * gan.settings.batch_size, **scores, **seen})
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        print(rows[-1], flush=True)
    report([row for row in rows if (row["minutes"], row["images_learned"]) == (options.minutes, len(learned))])


def report(rows: list[dict[str, Any]]) -> None:
    for run in dict.fromkeys(row["run"] for row in rows):
        mine = [row for row in rows if row["run"] == run]
        for name in ("random", "learned", "judge", "images_seen"):
            form = ".0f" if name == "images_seen" else ".3f"
            print(f"{run}, {name}: {median_and_range([row[name] for row in mine], form)} of {len(mine)} seeds")


if __name__ == "__main__":
    main()
