"""Which features that are learned without labels order known damage: the choice of the judge for unlabelled images.

    python benchmarks/judge_damage.py DATA [--size 64] [--seeds 3] [--threads 2] [--only NAME ...]

DATA is any spec of images, such as a folder. A random half is learned from. Of the rest 600 are the reference, and 600
are damaged in six ways at four strengths, each twice the one before or about so:

    blur            by a Gaussian of 0.5, 1, 2 and 4 pixels
    noise           of deviation 0.05, 0.1, 0.2 and 0.4
    swapped patches 1, 2, 4 and 8 pairs of the 16 patches of an image
    colour shift    each channel of each image by up to 0.05, 0.1, 0.2 and 0.4, up or down
    dropped modes   a tenth, a quarter, four and six tenths of the modes are replaced by images of the others
    copies          5, 10, 20 and 40 % are images that were learned from

Modes are labels where DATA has any, else ten clusters of thumbnails of 8 x 8 pixels: no feature that is judged here.
A case is a damage at a strength, 24 in all. It is ordered where its score is worse than that of the strength before it,
of the first where it is worse than that of undamaged images. The score is the Fréchet distance to the reference, and
for copies the share of near copies. `faintest over floor` is the geometric mean, over the first five damages at their
first strength, of that distance over the one of undamaged images: above 1 it sees faint damage.

All candidates have the network of the package's judge, its steps and its batches, and differ in what they learn:
random (nothing), jigsaw (the package's: in which of 24 orders four quarters stand), rotations (which way an image is
turned; Gidaris et al. 2018, https://arxiv.org/abs/1803.07728), vicreg (two parts of an image have like features; Bardes
et al. 2022, https://arxiv.org/abs/2105.04906), denoiser (to remove noise; the features are those in the middle). Prints
`name: value` lines; seconds of a busy machine are more than those of its processor, so both are printed.
"""

import itertools
import math
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from measuring import median_and_range, parser_of
from torch import Tensor, nn

import genprior
from genprior.data import Dataset
from genprior.evaluation.distances import closeness, copied_share, frechet_distance
from genprior.evaluation.features import features_of, features_of_data
from genprior.evaluation.jigsaw_features import (
    BATCH,
    SHOWN_TO_SCALE,
    STEPS,
    WIDTHS,
    JigsawNetwork,
    jigsaw_training,
)
from genprior.hardware import resolve_precision
from genprior.seeding import derived_generator, initialised

COUNT = 600  # images of reference, and as many to damage
CLUSTERS = 10
BLURS, NOISES = (0.5, 1.0, 2.0, 4.0), (0.05, 0.1, 0.2, 0.4)
PAIRS, SHIFTS = (1, 2, 4, 8), (0.05, 0.1, 0.2, 0.4)
GONE, COPIES = (0.1, 0.25, 0.4, 0.6), (0.05, 0.1, 0.2, 0.4)


def _draws(purpose: str, index: int = 0) -> torch.Generator:
    return derived_generator(0, f"judge damage, {purpose}", index)


def blurred(x: Tensor) -> list[Tensor]:
    from torchvision.transforms.functional import gaussian_blur

    return [gaussian_blur(x, [2 * math.ceil(3 * sigma) + 1] * 2, [sigma] * 2) for sigma in BLURS]


def noisy(x: Tensor) -> list[Tensor]:
    noise = torch.randn(x.shape, generator=_draws("noise"))
    return [(x + sigma * noise).clamp(0, 1) for sigma in NOISES]


def with_swapped_patches(x: Tensor) -> list[Tensor]:
    return [torch.stack([_swapped(image, pairs, i) for i, image in enumerate(x)]) for pairs in PAIRS]


def _swapped(image: Tensor, pairs: int, index: int) -> Tensor:
    image, (height, width) = image.clone(), (side // 4 for side in image.shape[1:])
    for first, second in torch.randperm(16, generator=_draws("patches", index))[: 2 * pairs].view(-1, 2).tolist():
        a, b = (image[:, p // 4 * height :, p % 4 * width :][:, :height, :width] for p in (first, second))
        kept = a.clone()
        a.copy_(b)
        b.copy_(kept)
    return image


def shifted(x: Tensor) -> list[Tensor]:
    up = 2 * torch.rand(*x.shape[:2], 1, 1, generator=_draws("colour")) - 1
    return [(x + most * up).clamp(0, 1) for most in SHIFTS]


def without_modes(x: Tensor, modes: Tensor, pool: Tensor, pool_modes: Tensor) -> list[Tensor]:
    """Images of the modes that go are replaced by others of those that stay; the rest are the same."""
    names = torch.unique(torch.cat([modes, pool_modes]))
    order, found = names[torch.randperm(len(names), generator=_draws("modes"))], []
    for share in GONE:
        gone = order[: max(1, round(share * len(names)))]
        is_gone, others = torch.isin(modes, gone), pool[~torch.isin(pool_modes, gone)]
        which = torch.randint(len(others), (int(is_gone.sum()),), generator=_draws("others"))
        y = x.clone()
        y[is_gone] = others[which]
        found.append(y)
    return found


def with_copies(x: Tensor, learned: Dataset) -> list[Tensor]:
    copies = learned.take(torch.randperm(len(learned), generator=_draws("copies"))[: len(x)])
    return [torch.cat([copies[: int(share * len(x))], x[int(share * len(x)) :]]) for share in COPIES]


class Materials:
    """Images to learn from, a reference, and undamaged and damaged images."""

    def __init__(self, data: Dataset) -> None:
        data = data.part(torch.randperm(len(data), generator=_draws("split")))
        self.learned, rest = (data.part(part) for part in torch.arange(len(data)).tensor_split(2))
        if len(rest) < 3 * COUNT:
            raise SystemExit(f"{6 * COUNT} images or more are needed, {data.name} has {len(data)}")
        x, modes = rest.take(torch.arange(len(rest))), _modes_of(rest)
        self.reference, self.real, pool = x[:COUNT], x[COUNT : 2 * COUNT], x[2 * COUNT :]
        self.damaged = {
            "blur": blurred(self.real),
            "noise": noisy(self.real),
            "swapped patches": with_swapped_patches(self.real),
            "colour shift": shifted(self.real),
            "dropped modes": without_modes(self.real, modes[COUNT : 2 * COUNT], pool, modes[2 * COUNT :]),
            "copies": with_copies(self.real, self.learned),
        }


def _modes_of(data: Dataset) -> Tensor:
    if data.labels is not None:
        return data.labels
    from sklearn.cluster import KMeans

    thumbnails = F.adaptive_avg_pool2d(data.take(torch.arange(len(data))), 8).flatten(1).numpy()
    return torch.from_numpy(KMeans(CLUSTERS, n_init=3, random_state=0).fit_predict(thumbnails)).long()


class Learner(nn.Module):
    """A network of the package's judge that learns something else; `loss` of images x (B, C, H, W) is a number."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.network = JigsawNetwork(channels)

    def middle(self, x: Tensor) -> Tensor:
        """Returns the last map (B, 32, H / 8, W / 8)."""
        return self.network.maps(x)[-1]

    def loss(self, x: Tensor, draws: torch.Generator) -> Tensor:
        raise NotImplementedError


class Rotations(Learner):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.out = nn.Linear(WIDTHS[-1], 4)

    def loss(self, x: Tensor, draws: torch.Generator) -> Tensor:
        square = x[:, :, : min(x.shape[2:]), : min(x.shape[2:])]
        turns = torch.randint(4, (len(x),), generator=draws)
        turned = torch.stack([each.rot90(turn, (1, 2)) for each, turn in zip(square, turns.tolist(), strict=True)])
        return F.cross_entropy(self.out(self.middle(turned).mean((2, 3))).float(), turns)


class VicReg(Learner):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.out = nn.Sequential(nn.Linear(WIDTHS[-1], 256), nn.ReLU(), nn.Linear(256, 256))

    def loss(self, x: Tensor, draws: torch.Generator) -> Tensor:
        first, second = (self.out(self.middle(_part_of_each(x, draws)).mean((2, 3))).float() for _ in range(2))
        terms = [25 * F.mse_loss(first, second)]
        for z in (first, second):
            covariance = torch.cov(z.T)
            variance = covariance.diag()
            terms.append(12.5 * F.relu(1 - (variance + 1e-4).sqrt()).mean())
            terms.append((covariance.square().sum() - variance.square().sum()) / z.shape[1])
        return torch.stack(terms).sum()


def _part_of_each(x: Tensor, draws: torch.Generator) -> Tensor:
    """A random part of each image, of half its sides or more, at the size of the whole."""
    scale = 0.5 + 0.5 * torch.rand(len(x), generator=draws)
    shift = (2 * torch.rand(len(x), 2, generator=draws) - 1) * (1 - scale)[:, None]
    turn = torch.diag_embed(scale[:, None].expand(-1, 2))
    grid = F.affine_grid(torch.cat([turn, shift[..., None]], dim=2), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)


class Denoiser(Learner):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        sizes = (WIDTHS[2], WIDTHS[1], WIDTHS[0], channels)
        layers = [
            layer
            for before, after in itertools.pairwise(sizes)
            for layer in (nn.ReLU(), nn.Upsample(scale_factor=2), nn.Conv2d(before, after, 3, 1, 1))
        ]
        self.out = nn.Sequential(*layers)

    def loss(self, x: Tensor, draws: torch.Generator) -> Tensor:
        sigma = 0.5 * torch.rand(len(x), 1, 1, 1, generator=draws)
        noisy = x + sigma * torch.randn(x.shape, generator=draws)
        return F.mse_loss(self.out(self.middle(noisy)).float(), x)


def _learned(build: Callable[[int], Learner], data: Dataset, seed: int) -> JigsawNetwork:
    """The network of a learner after as many steps as the package's judge takes, in the same way."""
    learner = initialised(lambda: build(data.image_shape[0]), seed, "learner").to(memory_format=torch.channels_last)
    is_short = resolve_precision("auto", torch.device("cpu")) == "bf16"
    optimiser = torch.optim.Adam(learner.parameters(), lr=0.002, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=0.002, total_steps=STEPS)
    for step in range(STEPS):
        draws = derived_generator(seed, "learner", step)
        x = data.take(torch.randint(len(data), (BATCH,), generator=draws))
        with torch.autocast("cpu", torch.bfloat16, enabled=is_short):
            loss = learner.loss(x.contiguous(memory_format=torch.channels_last), draws)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        schedule.step()
    return _scaled(learner.network, data)


def _scaled(network: JigsawNetwork, data: Dataset) -> JigsawNetwork:
    network.scale_to(data.some(SHOWN_TO_SCALE))
    return network.eval().requires_grad_(False)


def _random(data: Dataset, seed: int) -> JigsawNetwork:
    return _scaled(initialised(lambda: JigsawNetwork(data.image_shape[0]), seed, "random network"), data)


def _jigsaw(data: Dataset, seed: int) -> JigsawNetwork:
    *_, (_, network) = jigsaw_training(data, seed=seed)
    return network


CANDIDATES: dict[str, Callable[[Dataset, int], JigsawNetwork]] = {
    "random": _random,
    "jigsaw": _jigsaw,
    "rotations": lambda data, seed: _learned(Rotations, data, seed),
    "vicreg": lambda data, seed: _learned(VicReg, data, seed),
    "denoiser": lambda data, seed: _learned(Denoiser, data, seed),
}


def scores_of(network: JigsawNetwork, materials: Materials) -> dict[str, list[float]]:
    """Returns the score of undamaged images and of each strength, by damage."""
    learned, reference = features_of_data(network, materials.learned), features_of(network, materials.reference)
    near = closeness(reference, learned)

    def score(damage: str, x: Tensor) -> float:
        features = features_of(network, x)
        if damage == "copies":
            return float(copied_share(near, closeness(features, learned)))
        return frechet_distance(reference, features)

    return {name: [score(name, x) for x in (materials.real, *found)] for name, found in materials.damaged.items()}


def measure(name: str, materials: Materials, seeds: int) -> None:
    """Prints a candidate's scores of each damage, and what it comes to over seeds."""
    ordered, faintest, seconds, computed = [], [], [], []
    for seed in range(seeds):
        began, before = time.perf_counter(), time.process_time()
        network = CANDIDATES[name](materials.learned, seed)
        seconds.append(time.perf_counter() - began)
        computed.append(time.process_time() - before)
        found = scores_of(network, materials)
        rises = {damage: sum(a < b for a, b in itertools.pairwise(scores)) for damage, scores in found.items()}
        for damage, scores in found.items():
            print(f"{name}, seed {seed}, {damage}: {rises[damage]} of 4:", *(f"{each:.3g}" for each in scores))
        ordered.append(sum(rises.values()))
        ratios = [scores[1] / scores[0] for damage, scores in found.items() if damage != "copies"]
        faintest.append(math.prod(ratios) ** (1 / len(ratios)))
    print(f"{name}, cases ordered of 24: {median_and_range(ordered)}")
    print(f"{name}, faintest over floor: {median_and_range(faintest, '.3f')}")
    print(f"{name}, seconds of training: {median_and_range(seconds, '.1f')}")
    print(f"{name}, processor seconds of training: {median_and_range(computed, '.1f')}", flush=True)


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("data")
    parser.add_argument("--size", type=int)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs="+", choices=CANDIDATES, default=list(CANDIDATES))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    materials = Materials(genprior.load_data(arguments.data, size=arguments.size))
    for name in arguments.only:
        measure(name, materials, arguments.seeds)


if __name__ == "__main__":
    main()
