"""What diagnosis costs during training: images a second with and without it, in turns within one process.

    python benchmarks/diagnosis_cost.py [--rounds 15] [--steps 20] [--threads N] [--preset dcgan-28]

`with` is what every run does: the three factors of the generator's gradient, what every other loss would give, and
the signs that are looked for in every row. `without` trains the same players and leaves all of it out.
"""

import statistics
import time
from collections.abc import Iterator
from functools import partial

import torch
from measuring import in_turns, median_and_range, parser_of
from torch import Tensor

from genprior.data import Dataset
from genprior.diagnosis.health_verdict import Watch
from genprior.families import GANConfig
from genprior.hardware import keep_freed_memory
from genprior.runs.step_log import rows_of
from genprior.training.adversarial import GAN
from genprior.training.loop import Budget, Step, train


class Undiagnosed(GAN):
    """The same training, without diagnosis."""

    def _update_generator(self, fake: Tensor, real: Tensor, real_logits: Tensor, progress: float) -> dict[str, Tensor]:
        self.discriminator.requires_grad_(False)
        fake_logits = self.discriminator(fake).to(self.placement.wide)
        loss = self.loss.generator(real_logits, fake_logits).mean()
        norm, bad = self._generator_descent.step(loss, self.settings.schedule(progress))
        self.discriminator.requires_grad_(True)
        return {
            "generator_loss": self.loss.generator(real_logits, fake_logits.detach()).mean(),
            "generator_gradient_norm": norm,
            "non_finite_gradients": bad,
        }


def work(steps: Iterator[Step], count: int, gan: GAN, watch: Watch | None) -> None:
    """Trains that many steps, rows as in a run."""
    began = time.perf_counter()
    for _ in range(count // 10):
        rows = rows_of([next(steps) for _ in range(10)], gan.images_per_update, began)
        if watch is not None:
            list(watch.look(rows))


def contender(config: GANConfig, data: Dataset, kind: type[GAN]) -> tuple[GAN, Iterator[Step]]:
    gan = config.build(data)
    gan.__class__ = kind
    return gan, train(gan, data, Budget(images=10**9))


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=20, help="a multiple of 10")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--preset", default="dcgan-28")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    config = GANConfig(preset=arguments.preset)
    data = config.load_data()
    game = config.game()
    (gan, steps), (other, other_steps) = (contender(config, data, kind) for kind in (GAN, Undiagnosed))
    taken = in_turns(
        {
            "with": partial(work, steps, arguments.steps, gan, Watch(game)),
            "without": partial(work, other_steps, arguments.steps, other, None),
        },
        arguments.rounds,
    )
    for name, times in taken.items():
        rates = [arguments.steps * gan.images_per_update / each for each in times]
        print(f"{name}: {median_and_range(rates, ',.0f')} images/s")
    ratios = sorted(a / b - 1 for a, b in zip(taken["with"], taken["without"], strict=True))
    quarter = len(ratios) // 4
    low, middle, high = (100 * ratio for ratio in (ratios[quarter], statistics.median(ratios), ratios[-1 - quarter]))
    print(f"cost: {middle:.1f} % ({low:.1f} to {high:.1f}, quartiles)")


if __name__ == "__main__":
    main()
