"""Features that are learned from the images alone: those with which a small network tells which way an image is turned.

Images are turned by 0, 90, 180 or 270 degrees, and the network names the turn (Gidaris et al. 2018,
https://arxiv.org/abs/1803.07728). It needs no labels, and it was chosen by measurement: `benchmarks/judge_damage.py`
shows it known damage beside other ways to learn features. Where images have no way up, such as cells, it learns little,
and its features are those of random convolutions, which see damage less clearly.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genprior.data import Dataset
from genprior.errors import GenpriorError
from genprior.evaluation.features import SMALLEST_SIDE
from genprior.hardware import resolve_precision
from genprior.seeding import derived_generator, initialised

WIDTHS = (16, 16, 32)
GROUP = 8  # channels that are normalised together
TURNS = 4
LARGEST_CROP = 64  # pixels a side: bounds the time of a step
STEPS, BATCH = 400, 64
STEPS_A_LOOK = 20  # between two words on how far training is
SHOWN_TO_SCALE = 2000  # images that tell mean and deviation of the features
AT_ONCE = 250
LEAST_SPREAD = 1e-4  # of a feature that is the same for all images
ROTATION_RECIPE = "convolutions of 16, 16 and 32, mean and deviation of each; quarter turns, Adam, 400 steps of 64"


class RotationNetwork(nn.Module):
    """x (B, C, H, W) in [0, 1] -> logits of the four turns (B, 4); any height and width from 8 pixels on.

    Arguments:
        channels: Of the images.
    """

    num_features = 2 * sum(WIDTHS)
    num_classes = 0
    centre: Tensor  # of the features of training images
    spread: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        sizes = zip((channels, *WIDTHS), WIDTHS, strict=False)
        self.convolutions = nn.ModuleList(nn.Conv2d(before, after, 4, 2, 1) for before, after in sizes)
        self.norms = nn.ModuleList(nn.GroupNorm(width // GROUP, width) for width in WIDTHS)
        self.out = nn.Linear(WIDTHS[-1], TURNS)
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
        logits: Tensor = self.out(self._maps(x)[-1].mean((2, 3)))
        return logits

    @torch.no_grad()
    def scale_to(self, x: Tensor) -> None:
        """Sets mean and deviation of the features to those of images x (B, C, H, W), at least 2."""
        found = torch.cat([self._statistics(part) for part in torch.split(x, AT_ONCE)])
        self.centre, self.spread = found.mean(0), found.std(0).clamp_min(LEAST_SPREAD)

    def _maps(self, x: Tensor) -> list[Tensor]:
        maps = [2 * x - 1]
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            maps.append(F.relu(norm(convolution(maps[-1]))))
        return maps[1:]

    def _statistics(self, x: Tensor) -> Tensor:
        found = []
        for each in self._maps(x):
            variance, mean = torch.var_mean(each, dim=(2, 3), correction=0)
            found += [mean, variance.sqrt()]
        return torch.cat(found, dim=1)


def rotation_training(data: Dataset, *, seed: int = 0, steps: int = STEPS) -> Iterator[tuple[float, RotationNetwork]]:
    """Trains a network on images, and yields the share that is done with the network, which is ready at 1.

    A step costs the same for all images of 64 pixels a side or more: it sees a part of them.

    Arguments:
        data: Images; labels are not looked at.
        seed: The same seed gives the same network on the same machine.
        steps: Of training, at least 1.

    Raises:
        GenpriorError: Fewer images than 2, or images below 8 pixels.
    """
    check_sides(data)
    network = initialised(lambda: RotationNetwork(data.image_shape[0]), seed, "rotation network")
    network.to(memory_format=torch.channels_last)
    is_short = resolve_precision("auto", torch.device("cpu")) == "bf16"
    optimiser = torch.optim.Adam(network.parameters(), lr=0.002, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=0.002, total_steps=max(steps, 2))
    for step in range(steps):
        x, turns = _turned(data, seed, step)
        with torch.autocast("cpu", torch.bfloat16, enabled=is_short):
            logits = network(x)
        optimiser.zero_grad()
        torch.autograd.backward(F.cross_entropy(logits.float(), turns))
        optimiser.step()
        schedule.step()
        if step % STEPS_A_LOOK == STEPS_A_LOOK - 1 and step + 1 < steps:
            yield (step + 1) / steps, network
    network.scale_to(data.some(SHOWN_TO_SCALE))
    yield 1.0, network.eval().requires_grad_(False)


@torch.no_grad()
def turns_named(network: RotationNetwork, data: Dataset) -> float:
    """Returns the share of images whose turn the network names, each in all four turns; 1/4 is chance."""
    side = _crop_side(data)
    top, left = ((whole - side) // 2 for whole in data.image_shape[1:])
    right = 0
    for part in torch.split(torch.arange(len(data)), AT_ONCE):
        x = data.take(part)[:, :, top : top + side, left : left + side]
        named = (network(x.rot90(turn, (2, 3))).argmax(1) == turn for turn in range(TURNS))
        right += sum(int(each.sum()) for each in named)
    return right / (TURNS * len(data))


def check_sides(data: Dataset) -> None:
    """Raises `GenpriorError` where the network cannot learn from images: fewer than 2, or below 8 pixels."""
    _, height, width = data.image_shape
    if len(data) < 2 or min(height, width) < SMALLEST_SIDE:
        raise GenpriorError(
            f"features are learned from 2 images or more of {SMALLEST_SIDE} pixels a side or more; {data.name} has "
            f"{len(data)} of {height} x {width}",
            argument="data",
        )


def _turned(data: Dataset, seed: int, step: int) -> tuple[Tensor, Tensor]:
    """Square parts of random images, each turned: x (B, C, S, S) and the turns (B,)."""
    draws, side = derived_generator(seed, "turned images", step), _crop_side(data)
    indices = torch.randint(len(data), (BATCH,), generator=draws)
    turns = torch.randint(TURNS, (BATCH,), generator=draws)
    tops, lefts = (torch.randint(whole - side + 1, (BATCH,), generator=draws) for whole in data.image_shape[1:])
    parts = (
        x[:, top : top + side, left : left + side].rot90(turn, (1, 2))
        for x, top, left, turn in zip(data.take(indices), tops.tolist(), lefts.tolist(), turns.tolist(), strict=True)
    )
    return torch.stack(list(parts)).contiguous(memory_format=torch.channels_last), turns


def _crop_side(data: Dataset) -> int:
    return min(*data.image_shape[1:], LARGEST_CROP)
