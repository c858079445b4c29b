"""Our convolutions against torch's own, forward and both gradients, at the sizes of the study's networks.

    python benchmarks/layers.py [--repeats 40]

The two are timed in turn, batch 128, channels-last, and the median of each is printed with their ratio.
"""

import statistics
from collections.abc import Callable

import torch
from measuring import in_turns, parser_of
from torch import Tensor, nn

from genprior.hardware import keep_freed_memory
from genprior.models.layers import Conv2d, ConvTranspose2d

# name, layer's arguments, side of the input
LAYERS = (
    ("transposed 100 -> 256, 1 -> 3", ConvTranspose2d, nn.ConvTranspose2d, (100, 256, 3, 2), 1),
    ("transposed 256 -> 128, 3 -> 7", ConvTranspose2d, nn.ConvTranspose2d, (256, 128, 3, 2), 3),
    ("transposed 128 -> 64, 7 -> 15", ConvTranspose2d, nn.ConvTranspose2d, (128, 64, 3, 2), 7),
    ("transposed 64 -> 1, 15 -> 28", ConvTranspose2d, nn.ConvTranspose2d, (64, 1, 3, 2, 2, 1), 15),
    ("convolution 1 -> 32, 28 -> 14", Conv2d, nn.Conv2d, (1, 32, 4, 2, 1), 28),
    ("convolution 32 -> 64, 14 -> 7", Conv2d, nn.Conv2d, (32, 64, 4, 2, 1), 14),
    ("convolution 64 -> 128, 7 -> 3", Conv2d, nn.Conv2d, (64, 128, 4, 2, 1), 7),
)


def task(layer: nn.Module, x: Tensor) -> Callable[[], object]:
    layer = layer.to(memory_format=torch.channels_last)
    leaf = x.to(memory_format=torch.channels_last).requires_grad_()
    grad = torch.ones_like(layer(leaf))
    inputs = (leaf, *layer.parameters())
    return lambda: torch.autograd.grad(layer(leaf), inputs, grad)


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--repeats", type=int, default=40)
    arguments = parser.parse_args()
    keep_freed_memory()
    for dtype in (torch.bfloat16, torch.float32):
        total = [0.0, 0.0]
        for name, ours, theirs, options, side in LAYERS:
            x = torch.randn(128, options[0], side, side, dtype=dtype)
            pair = {"torch": task(theirs(*options).to(dtype), x), "ours": task(ours(*options).to(dtype), x)}
            times = in_turns(pair, arguments.repeats).values()
            torch_ms, our_ms = (1000 * statistics.median(each) for each in times)
            total = [total[0] + torch_ms, total[1] + our_ms]
            print(f"{dtype} {name}: torch {torch_ms:.2f} ms, ours {our_ms:.2f} ms, ratio {torch_ms / our_ms:.2f}")
        print(f"{dtype} ratio: {total[0] / total[1]:.2f}")


if __name__ == "__main__":
    main()
