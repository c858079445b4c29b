"""Adversarial losses on logits, one value per sample, without reduction.

With logit a = D(x) and s = sigmoid(a), the generator's gradient with respect to the logit of a fake is

    saturating       log(1 - s)      -s        vanishes while D rejects fakes (a -> -inf)
    non-saturating   -log s          s - 1     tends to -1 there

(Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661, section 3). Both have the same fixed point, and the ratio of
the two gradients is exp(-a). Everything is written with softplus: sigmoid followed by log would saturate again in
floating point, for every loss. Imports nothing of ours.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

LogitLoss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class AdversarialLoss:
    """Two pure functions of the logits (real (B,), fake (B,)) -> (B,), one to be minimised by each player.

    Attributes:
        discriminator: The discriminator's loss, real and fake terms summed.
        generator: The generator's loss. It also sees the real logits, so that relativistic losses fit.
        equilibrium_logit: The logit that the best discriminator returns everywhere once fakes equal the data, and
            above which it takes an image for real.
        is_relative: Whether only differences of logits count: a constant added to all of them changes no loss.
        has_scale: Whether the loss itself sets how large logits become; else a bound on the slope does.
    """

    discriminator: LogitLoss
    generator: LogitLoss
    equilibrium_logit: float = 0.0
    is_relative: bool = False
    has_scale: bool = True

    def opinions(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """Returns logits (B,) of real images and of fakes being real, against `equilibrium_logit`.

        Where only differences count, the logits of an image say nothing alone: its opinion is then how far it lies
        above the other of its pair (Jolicoeur-Martineau 2019, https://arxiv.org/abs/1807.00734, section 3.4).
        """
        return (real - fake, fake - real) if self.is_relative else (real, fake)

    def at_equilibrium(self) -> tuple[float, float]:
        """Returns both players' losses (discriminator, generator) once fakes equal the data.

        Example:
            >>> ["%.4f" % value for value in LOSSES["non-saturating"]().at_equilibrium()]
            ['1.3863', '0.6931']
        """
        logit = torch.tensor([self.equilibrium_logit], dtype=torch.float64)
        return float(self.discriminator(logit, logit)), float(self.generator(logit, logit))


def cross_entropy_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """-log s(real) - log(1 - s(fake)); at equilibrium log 4. Goodfellow et al. 2014, equation 1."""
    return F.softplus(-real) + F.softplus(fake)


def saturating_generator(real: Tensor, fake: Tensor) -> Tensor:
    """log(1 - s(fake)), derivative -s(fake). Goodfellow et al. 2014, equation 1."""
    return -F.softplus(fake)


def non_saturating_generator(real: Tensor, fake: Tensor) -> Tensor:
    """-log s(fake), derivative s(fake) - 1. Goodfellow et al. 2014, section 3."""
    return F.softplus(-fake)


def least_squares_probability_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """Half the squared error of the probability to its label, (s(real) - 1)^2 / 2 + s(fake)^2 / 2."""
    # exp(-softplus(a)) is 1 - s(a). The derivative of torch.sigmoid is exactly 0 where its value rounds to one.
    return 0.5 * torch.exp(-2 * F.softplus(real)) + 0.5 * torch.exp(-2 * F.softplus(-fake))


def least_squares_probability_generator(real: Tensor, fake: Tensor) -> Tensor:
    """(s(fake) - 1)^2 / 2, derivative (s - 1) s (1 - s): it vanishes on both sides, at most 4/27 at s = 1/3."""
    return 0.5 * torch.exp(-2 * F.softplus(fake))


def least_squares_logit_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """(real - 1)^2 / 2 + fake^2 / 2. Mao et al. 2017, https://arxiv.org/abs/1611.04076, equation 9."""
    return 0.5 * (real - 1).square() + 0.5 * fake.square()


def least_squares_logit_generator(real: Tensor, fake: Tensor) -> Tensor:
    """(fake - 1)^2 / 2, derivative fake - 1: it never vanishes. Mao et al. 2017, equation 9."""
    return 0.5 * (fake - 1).square()


def hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """max(0, 1 - real) + max(0, 1 + fake). Lim & Ye 2017, https://arxiv.org/abs/1705.02894."""
    return F.relu(1 - real) + F.relu(1 + fake)


def linear_generator(real: Tensor, fake: Tensor) -> Tensor:
    """-fake, derivative -1 everywhere. Lim & Ye 2017; Arjovsky et al. 2017."""
    return -fake


def wasserstein_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """fake - real. Arjovsky et al. 2017, https://arxiv.org/abs/1701.07875, equation 2."""
    return fake - real


def relativistic_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """-log s(real - fake). Jolicoeur-Martineau 2019, https://arxiv.org/abs/1807.00734, section 4.1."""
    return F.softplus(fake - real)


def relativistic_generator(real: Tensor, fake: Tensor) -> Tensor:
    """-log s(fake - real), derivative -s(real - fake)."""
    return F.softplus(real - fake)


def saturating() -> AdversarialLoss:
    """The original minimax game; its generator gradient vanishes while D rejects fakes."""
    return AdversarialLoss(cross_entropy_discriminator, saturating_generator)


def non_saturating() -> AdversarialLoss:
    """Cross entropy, the generator maximising log D(G(z))."""
    return AdversarialLoss(cross_entropy_discriminator, non_saturating_generator)


def least_squares() -> AdversarialLoss:
    """Squared error of the probability to the label: the study's third loss."""
    return AdversarialLoss(least_squares_probability_discriminator, least_squares_probability_generator)


def least_squares_logit() -> AdversarialLoss:
    """Squared error of the logit to the label, as Mao et al. define LSGAN."""
    return AdversarialLoss(least_squares_logit_discriminator, least_squares_logit_generator, equilibrium_logit=0.5)


def hinge() -> AdversarialLoss:
    """The hinge loss."""
    return AdversarialLoss(hinge_discriminator, linear_generator)


def wasserstein() -> AdversarialLoss:
    """The critic's mean difference; it needs a bounded slope, such as `--penalty wgan-gp` gives."""
    return AdversarialLoss(wasserstein_discriminator, linear_generator, is_relative=True, has_scale=False)


def relativistic() -> AdversarialLoss:
    """Each fake against one real image; with R1 and R2 the loss of R3GAN (Huang et al. 2024, arXiv 2501.05441)."""
    return AdversarialLoss(relativistic_discriminator, relativistic_generator, is_relative=True)


LOSSES: dict[str, Callable[..., AdversarialLoss]] = {
    "saturating": saturating,
    "non-saturating": non_saturating,
    "least-squares": least_squares,
    "least-squares-logit": least_squares_logit,
    "hinge": hinge,
    "wasserstein": wasserstein,
    "relativistic": relativistic,
}
