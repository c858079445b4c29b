"""Training speed of Glow: `normflows` as its own example uses it, against ours, same shapes, batch and data.

    python benchmarks/flow_throughput.py [--rounds 5] [--steps 8] [--threads 2] [--json out.json]

Both have 2 levels x 8 steps with couplings of width 64 and 128, uniform dequantisation, a logit, Adam, batches of 128
of MNIST. `normflows`: `MultiscaleFlow` of its `GlowBlock`s (scales by sigmoid), float32. Ours: all that a training
update does, with clipping, averaging and the watch on the round trip; in float32, and with bf16 couplings. The
contenders take turns in one process, round after round; ratios are of medians.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from measuring import parser_of, save_json, update_rates
from torch import nn

from genprior.data import load_data
from genprior.families import GlowConfig
from genprior.hardware import keep_freed_memory
from genprior.training.loop import Budget, train

LEVELS, STEPS, WIDTH, BATCH = 2, 8, 64, 128


def plain_flow() -> nn.Module:
    import normflows as nf

    bases, flows, merges = [], [], []
    for level in reversed(range(LEVELS)):  # the coarsest first, as normflows wants it
        channels = 4 * 2**level
        blocks = [nf.flows.GlowBlock(channels, WIDTH << level) for _ in range(STEPS)]
        flows.append([*blocks, nf.flows.Squeeze()])
        is_last = level == LEVELS - 1
        shape = (channels if is_last else channels // 2, 28 >> (level + 1), 28 >> (level + 1))
        bases.append(nf.distributions.DiagGaussian(shape, trainable=False))
    merges = [nf.flows.Merge() for _ in range(LEVELS - 1)]
    return nf.MultiscaleFlow(bases, flows, merges, transform=nf.transforms.Logit(0.05), class_cond=False)


def plain_update(images: torch.Tensor) -> Callable[[], None]:
    torch.manual_seed(0)
    flow = plain_flow()
    adam = torch.optim.Adam(flow.parameters(), lr=1e-3)

    def update() -> None:
        x = images[torch.randint(len(images), (BATCH,))].float()
        loss = flow.forward_kld((x + torch.rand_like(x)) / 256)
        adam.zero_grad()
        loss.backward()
        adam.step()

    return update


def our_update(precision: str, threads: int) -> Callable[[], None]:
    config = GlowConfig(
        levels=LEVELS, steps=STEPS, width=WIDTH, dequantisation="uniform", precision=precision, threads=threads
    )
    data = load_data("mnist:train")
    steps = train(config.build(data), data, Budget(images=10**9))
    return lambda: next(steps) and None


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    contenders = {
        "normflows": plain_update(load_data("mnist:train").images),
        "ours float32": our_update("float32", options.threads),
        "ours bf16": our_update("bf16", options.threads),
    }
    rates = update_rates(contenders, BATCH, options.steps, options.rounds)
    save_json(options.json, {"threads": options.threads, "images_per_second": rates})


if __name__ == "__main__":
    main()
