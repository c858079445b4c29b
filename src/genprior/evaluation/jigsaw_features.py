"""Features that are learned from the images alone: those with which a small network puts mixed quarters into order.

An image is cut into quarters, these are mixed, and the network, which sees each quarter alone, names their order
(Noroozi & Favaro 2016, https://arxiv.org/abs/1603.09246, with all 24 orders of four parts). That needs no
labels, and it was chosen by measurement: `benchmarks/judge_damage.py` shows known damage to it and to other features.
Where all parts of all images look alike, such as textures, it learns little. Its features are then those of random
convolutions, which see faint damage less clearly.
"""

import itertools
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genprior.data import Dataset
from genprior.errors import GenpriorError
from genprior.hardware import resolve_precision
from genprior.seeding import derived_generator, initialised

WIDTHS = (16, 16, 32)
SMALLEST = 16  # pixels a side: of quarters of 4 pixels the last layer sees too little to learn anything
GROUP = 8  # channels that are normalised together
ORDERS = torch.tensor(list(itertools.permutations(range(4))))
LARGEST_PART = 64  # pixels a side: bounds the time of a step
STEPS, BATCH = 400, 64
STEPS_A_LOOK = 20  # between two words on how far training is
SHOWN_TO_SCALE = 2000  # images that tell mean and deviation of the features
LEAST_SPREAD = 1e-4  # of a feature that is the same for all images
AT_ONCE = 250
JIGSAW_RECIPE = "convolutions of 16, 16 and 32, mean and deviation of each; order of quarters, Adam, 400 steps of 64"


class JigsawNetwork(nn.Module):
    """x (B, C, H, W) in [0, 1] -> logits of the 24 orders of quarters (B, 24); any sides from 16 pixels on.

    Arguments:
        channels: Of the images.
    """

    num_features = 2 * sum(WIDTHS)
    num_classes = 0
    centre: Tensor  # of the features of training images
    spread: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        sizes = itertools.pairwise((channels, *WIDTHS))
        self.convolutions = nn.ModuleList(nn.Conv2d(before, after, 3, 2, 1) for before, after in sizes)
        self.norms = nn.ModuleList(nn.GroupNorm(width // GROUP, width) for width in WIDTHS)
        self.out = nn.Linear(4 * WIDTHS[-1], len(ORDERS))
        self.register_buffer("centre", torch.zeros(self.num_features))
        self.register_buffer("spread", torch.ones(self.num_features))

    def features(self, x: Tensor) -> Tensor:
        """Returns mean and standard deviation over the image of each channel of each layer (B, 128).

        They are scaled such that training images have mean 0 and deviation 1 in each: early layers see noise and blur,
        late ones what is where.
        """
        return (self._statistics(x) - self.centre) / self.spread

    def classes(self, features: Tensor) -> None:
        """Returns None: what it learned are no classes of images."""

    def forward(self, x: Tensor) -> Tensor:
        seen = self.maps(_quarters(x).flatten(0, 1))[-1].mean((2, 3))
        logits: Tensor = self.out(seen.view(len(x), -1))
        return logits

    def maps(self, x: Tensor) -> list[Tensor]:
        """Returns what each layer makes of x, at least 0, each (B, channels, H / 2^layer, W / 2^layer)."""
        maps = [2 * x - 1]
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            maps.append(F.relu(norm(convolution(maps[-1]))))
        return maps[1:]

    @torch.no_grad()
    def scale_to(self, x: Tensor) -> None:
        """Sets mean and deviation of the features to those of images x (B, C, H, W), at least 2."""
        found = torch.cat([self._statistics(part) for part in torch.split(x, AT_ONCE)])
        self.centre, self.spread = found.mean(0), found.std(0).clamp_min(LEAST_SPREAD)

    def _statistics(self, x: Tensor) -> Tensor:
        found = []
        for each in self.maps(x):
            variance, mean = torch.var_mean(each, dim=(2, 3), correction=0)
            found += [mean, variance.sqrt()]
        return torch.cat(found, dim=1)


def jigsaw_training(data: Dataset, *, seed: int = 0, steps: int = STEPS) -> Iterator[tuple[float, JigsawNetwork]]:
    """Trains a network on images, and yields the share that is done with the network, which is ready at 1.

    A step costs the same for all images of 64 pixels a side or more: it sees a part of them.

    Arguments:
        data: Images; labels are not looked at.
        seed: The same seed gives the same network on the same machine.
        steps: Of training, at least 1.

    Raises:
        GenpriorError: Fewer images than 2, or images below 16 pixels.
    """
    check_sides(data)
    network = initialised(lambda: JigsawNetwork(data.image_shape[0]), seed, "jigsaw network")
    network.to(memory_format=torch.channels_last)
    is_short = resolve_precision("auto", torch.device("cpu")) == "bf16"
    optimiser = torch.optim.Adam(network.parameters(), lr=0.002, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=0.002, total_steps=max(steps, 2))
    for step in range(steps):
        x, orders = _mixed_parts(data, seed, step)
        with torch.autocast("cpu", torch.bfloat16, enabled=is_short):
            logits = network(x)
        optimiser.zero_grad()
        torch.autograd.backward(F.cross_entropy(logits.float(), orders))
        optimiser.step()
        schedule.step()
        if step % STEPS_A_LOOK == STEPS_A_LOOK - 1 and step + 1 < steps:
            yield (step + 1) / steps, network
    network.to(memory_format=torch.contiguous_format)  # as files want it
    network.scale_to(data.some(SHOWN_TO_SCALE))
    yield 1.0, network.eval().requires_grad_(False)


@torch.no_grad()
def orders_named(network: JigsawNetwork, data: Dataset) -> float:
    """Returns the share of images whose quarters, mixed in one of 24 orders, the network puts right; 1/24 is chance."""
    right = 0
    for part in torch.split(torch.arange(len(data)), AT_ONCE):
        orders = part % len(ORDERS)
        right += int((network(_mixed(data.take(part), orders)).argmax(1) == orders).sum())
    return right / len(data)


def check_sides(data: Dataset) -> None:
    """Raises `GenpriorError` where the network cannot learn from images: fewer than 2, or below 16 pixels."""
    _, height, width = data.image_shape
    if len(data) < 2 or min(height, width) < SMALLEST:
        raise GenpriorError(
            f"features are learned from 2 images or more of {SMALLEST} pixels a side or more; {data.name} has "
            f"{len(data)} of {height} x {width}",
            argument="data",
        )


def _mixed_parts(data: Dataset, seed: int, step: int) -> tuple[Tensor, Tensor]:
    """Parts of random images, of at most 64 pixels a side, each with mixed quarters, and the orders (B,)."""
    draws = derived_generator(seed, "mixed quarters", step)
    indices = torch.randint(len(data), (BATCH,), generator=draws)
    orders = torch.randint(len(ORDERS), (BATCH,), generator=draws)
    x = data.take(indices)
    for dimension in (2, 3):  # the same part of all images of a step
        spare = max(0, x.shape[dimension] - LARGEST_PART)
        first = int(torch.randint(spare + 1, (), generator=draws))
        x = x.narrow(dimension, first, x.shape[dimension] - spare)
    return _mixed(x, orders).contiguous(memory_format=torch.channels_last), orders


def _mixed(x: Tensor, orders: Tensor) -> Tensor:
    """Images with their quarters in these orders (B,), numbers of `ORDERS`; of odd sides the middle goes."""
    mixed = _quarters(x)[torch.arange(len(x))[:, None], ORDERS[orders]]
    rows = [torch.cat([mixed[:, i], mixed[:, i + 1]], dim=3) for i in (0, 2)]
    return torch.cat(rows, dim=2)


def _quarters(x: Tensor) -> Tensor:
    """The quarters of x, row by row (B, 4, C, H / 2, W / 2)."""
    height, width = (side // 2 for side in x.shape[2:])
    halves = x[:, :, :height], x[:, :, -height:]
    return torch.stack([part for half in halves for part in (half[..., :width], half[..., -width:])], dim=1)
