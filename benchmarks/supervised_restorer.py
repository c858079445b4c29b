"""A small U-Net that learns one kind of damage: from pairs of images and their measurements to images.

A library, not a script: it measures nothing by itself. A user would train it for one task that is known beforehand:
the operator and the level of the noise of the measurements that are restored later are those of its pairs.
"""

import math
import time

import torch
import torch.nn.functional as F
from restoring_methods import Case
from torch import Tensor, nn

from genprior.data import Dataset
from genprior.hardware import resolve_precision
from genprior.restoration.operators import Operator
from genprior.seeding import derived_generator

WIDTH, BATCH, LEARNING_RATE = 64, 64, 2e-3
GROUPS = 8  # of channels that are normalised together
FIRST = 10**6  # number of the first pair: no test image has its mask


class PairsUNet(nn.Module):
    """(B, 2C, H, W) -> (B, C, H, W): blocks of 2 x 2 pixels as channels, and cells of twice their size.

    Arguments:
        channels: C.
        width: Channels where the image is largest, doubled in the cells.
    """

    def __init__(self, channels: int, width: int = WIDTH) -> None:
        super().__init__()
        self.down, self.coarse = _twice(8 * channels, width), _twice(width, 2 * width)
        self.up, self.last = _twice(3 * width, width), nn.Conv2d(width, 4 * channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        fine = self.down(F.pixel_unshuffle(x, 2))
        coarse = self.coarse(F.max_pool2d(fine, 2, ceil_mode=True))
        larger = F.interpolate(coarse, size=fine.shape[2:], mode="nearest")
        return F.pixel_shuffle(self.last(self.up(torch.cat([larger, fine], 1))), 2)


def _twice(inputs: int, outputs: int) -> nn.Sequential:
    def one(before: int) -> list[nn.Module]:
        return [nn.Conv2d(before, outputs, 3, padding=1), nn.GroupNorm(GROUPS, outputs), nn.SiLU()]

    return nn.Sequential(*one(inputs), *one(outputs))


class Supervised:
    """A U-Net trained for one operator and one level of noise, which are known to it.

    Arguments:
        operator: What measures.
        sigma: Standard deviation of the noise.
        data: Images that are learned.
        minutes: CPU minutes of training, those that making pairs takes included.
        seed: Any integer.

    Attributes:
        images_seen: Pairs that were learned from.
        cpu_minutes: That training took.
    """

    def __init__(self, operator: Operator, sigma: float, data: Dataset, minutes: float, seed: int = 0) -> None:
        self.images_seen, began = 0, time.process_time()
        torch.manual_seed(seed)
        channels = data.take(torch.arange(1)).shape[1]
        self.network = PairsUNet(channels).to(memory_format=torch.channels_last)
        self.in_bf16 = resolve_precision("auto", torch.device("cpu")) == "bf16"
        optimiser = torch.optim.AdamW(self.network.parameters(), LEARNING_RATE, weight_decay=1e-3)
        generator = derived_generator(seed, "pairs")
        while (share := (time.process_time() - began) / (60 * minutes)) < 1:
            for group in optimiser.param_groups:  # up for a twentieth of the time, then down along a cosine
                group["lr"] = LEARNING_RATE * min(20 * share, 0.5 + 0.5 * math.cos(math.pi * share))
            x = data.take(torch.randint(len(data), (BATCH,), generator=generator))
            case = Case(operator, sigma, x, FIRST + self.images_seen)
            loss = F.mse_loss(self._restored(case), x)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            self.images_seen += BATCH
        self.cpu_minutes = (time.process_time() - began) / 60
        self.network.eval()

    def _restored(self, case: Case) -> Tensor:
        # Where pixels are missing, A^T A 1 says which.
        seen = case.adjoint(case.apply(torch.ones_like(case.x)))
        given = torch.cat([case.adjoint(case.y), seen], 1)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.in_bf16):
            return self.network(given.contiguous(memory_format=torch.channels_last)).float()

    @torch.no_grad()
    def __call__(self, case: Case) -> Tensor:
        """Returns restored images (B, C, H, W) in [0, 1]."""
        return self._restored(case).clamp(0, 1)
