"""Training speed of flow matching: the network of `flow-28` written plainly in float32 torch, against ours.

    python benchmarks/flow_matching_throughput.py [--rounds 5] [--steps 20] [--threads 1] [--json out.json]

Both have the same layers and as many weights, batches of 32 of MNIST, Adam and a moving average of the weights. The
plain one is what somebody writes after a tutorial: memory as torch lays it out, its usual Adam, a loop over weights for
the average. Ours: all that a training update does, with clipping, looks at held-out errors and the record's numbers; in
float32, and with bf16, which pays on processors that have it. Contenders take turns in one process; ratios are of
medians.
"""

import copy
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from measuring import parser_of, save_json, update_rates
from torch import Tensor, nn

from genprior.data import load_data
from genprior.families import FlowMatchingConfig
from genprior.hardware import keep_freed_memory
from genprior.training.loop import Budget, train

WIDTH, BLOCKS, BATCH = 64, 2, 32


class PlainNorm(nn.Module):
    """Mean 0 and variance 1 over the channels of each place."""

    def forward(self, x: Tensor) -> Tensor:
        off = x - x.mean(1, keepdim=True)
        return off / (off.square().mean(1, keepdim=True) + 1e-5).sqrt()


class PlainBlock(nn.Module):
    def __init__(self, channels: int, time: int) -> None:
        super().__init__()
        self.norm = PlainNorm()
        self.first, self.second = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        self.time = nn.Linear(time, 2 * channels)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        scale, shift = self.time(told)[:, :, None, None].chunk(2, 1)
        return x + self.second(F.silu(self.first(self.norm(x)) * (1 + scale) + shift))


class PlainUNet(nn.Module):
    """Two resolutions of 2x2 patches, as `VelocityUNet`."""

    def __init__(self) -> None:
        super().__init__()
        time = 2 * WIDTH
        self.time = nn.Sequential(nn.Linear(32, time), nn.SiLU(), nn.Linear(time, time), nn.SiLU())
        self.first, self.last = nn.Conv2d(4, WIDTH, 3, padding=1), nn.Conv2d(WIDTH, 4, 3, padding=1)
        self.down = nn.ModuleList(PlainBlock(WIDTH, time) for _ in range(BLOCKS))
        self.middle = nn.ModuleList(PlainBlock(2 * WIDTH, time) for _ in range(BLOCKS))
        self.up = nn.ModuleList(PlainBlock(WIDTH, time) for _ in range(BLOCKS))
        self.smaller, self.larger = nn.Conv2d(4 * WIDTH, 2 * WIDTH, 1), nn.Conv2d(2 * WIDTH, 4 * WIDTH, 1)
        self.joined, self.norm = nn.Conv2d(2 * WIDTH, WIDTH, 1), PlainNorm()

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        ratio = torch.log((1 - t + 1e-3) / (t + 1e-3))[:, None] * torch.logspace(-2, 2, 16, base=2)
        told = self.time(torch.cat([ratio.sin(), ratio.cos()], 1))
        fine = self.first(F.pixel_unshuffle(x, 2))
        for block in self.down:
            fine = block(fine, told)
        coarse = self.smaller(F.pixel_unshuffle(fine, 2))
        for block in self.middle:
            coarse = block(coarse, told)
        fine = self.joined(torch.cat([F.pixel_shuffle(self.larger(coarse), 2), fine], 1))
        for block in self.up:
            fine = block(fine, told)
        return F.pixel_shuffle(self.last(F.silu(self.norm(fine))), 2)


def plain_update(images: Tensor) -> Callable[[], None]:
    torch.manual_seed(0)
    network = PlainUNet()
    average, adam = copy.deepcopy(network), torch.optim.Adam(network.parameters(), lr=1e-3)

    def update() -> None:
        u = (images[torch.randint(len(images), (BATCH,))].float() / 255 - 0.13) / 0.31
        noise, t = torch.randn_like(u), torch.rand(BATCH)
        share = t[:, None, None, None]
        loss = (network((1 - share) * noise + share * u, t) - (u - noise)).square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        with torch.no_grad():
            for kept, own in zip(average.parameters(), network.parameters(), strict=True):
                kept.lerp_(own, 0.002)

    return update


def our_update(precision: str, threads: int) -> Callable[[], None]:
    data = load_data("mnist:train")
    config = FlowMatchingConfig(data="mnist", precision=precision, threads=threads, batch_size=BATCH)
    steps = train(config.build(data), data, Budget(images=10**9))
    return lambda: next(steps) and None


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    contenders = {
        "plain float32": plain_update(load_data("mnist:train").images),
        "ours float32": our_update("float32", options.threads),
        "ours bf16": our_update("bf16", options.threads),
    }
    rates = update_rates(contenders, BATCH, options.steps, options.rounds)
    print(f"weights: plain {sum(p.numel() for p in PlainUNet().parameters()):,}")
    save_json(options.json, {"threads": options.threads, "images_per_second": rates})


if __name__ == "__main__":
    main()
