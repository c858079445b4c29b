"""Adversarial losses on logits, one value per sample, without reduction; and where the generator's gradient is lost.

With logit a = D(x) and s = sigmoid(a), the generator's gradient with respect to the logit of a fake is

    saturating       log(1 - s)      -s        vanishes while D rejects fakes (a -> -inf)
    non-saturating   -log s          s - 1     tends to -1 there

(Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661, section 3). Both have the same fixed point, and the ratio of
the two gradients is exp(-a). Everything is written with softplus: sigmoid followed by log would saturate again in
floating point, for every loss.

With logits a_i = D(x_i) of n fakes x_i = G(z_i), the generator's gradient is

    1/n sum_i  dL/da_i  *  da_i/dx_i  *  dx_i/dtheta

and the three numbers of `saturation` multiply to its norm. Only the first depends on the loss as a formula, so what
every other loss would give on the same logits costs nothing.

Imports nothing of ours. `LOSSES`, at the end, is the place to add a loss.
"""

from collections.abc import Callable, Mapping
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


def loss_factors(loss: AdversarialLoss, real: Tensor, fake: Tensor) -> Tensor:
    """Returns dL/da (B,) of the generator's loss at the logits of fakes (B,), in float64.

    Example:
        >>> logits = torch.tensor([-10.0, 0.0])
        >>> [f"{float(value):.2g}" for value in loss_factors(saturating(), logits, logits)]
        ['-4.5e-05', '-0.5']
    """
    with torch.enable_grad():
        logits = fake.detach().double().requires_grad_(True)
        (factors,) = torch.autograd.grad(loss.generator(real.detach().double(), logits).sum(), logits)
    return factors


def effective_share(factors: Tensor) -> Tensor:
    """Returns the effective sample size over the sample size of weights (B,), (sum |w|)^2 / (B sum w^2), in [1/B, 1].

    It is 1 where all fakes count alike and 1/B where one of them makes the whole gradient (Kish 1965, section 11.2; on
    weights that are all 0 it is 0).
    """
    total = factors.square().sum() * len(factors)
    return factors.abs().sum().square() / total.clamp_min(torch.finfo(total.dtype).tiny)


def saturation(
    loss: AdversarialLoss,
    others: Mapping[str, AdversarialLoss],
    real: Tensor,
    fake: Tensor,
    image_gradient: Tensor,
    gradient_norm: Tensor,
) -> dict[str, Tensor]:
    """Returns the three factors of the generator's gradient norm, and what other losses would give.

    Arguments:
        loss: The generator's.
        others: Losses to compare with, by name.
        real, fake: Logits (B,).
        image_gradient: Norm of d(sum_i L_i)/dx over all B fakes together.
        gradient_norm: Norm of the gradient of the mean loss with respect to the generator's weights.

    Returns:
        `loss_factor`, the root mean square of dL/da; `discriminator_slope`, that of |da/dx|, weighted by the squared
        loss factors, per unit of pixel value; `generator_jacobian`, by how much the generator's weights amplify what
        arrives at its images; `effective_share`; and `loss_factor_<name>` for each of the others.
    """
    factors = loss_factors(loss, real, fake)
    count, tiny = len(factors), torch.finfo(torch.float64).tiny
    factor_norm, image_gradient = factors.norm(), image_gradient.double()
    return {
        "loss_factor": factor_norm / count**0.5,
        "discriminator_slope": image_gradient / factor_norm.clamp_min(tiny),
        "generator_jacobian": gradient_norm.double() * count**0.5 / image_gradient.clamp_min(tiny),
        "effective_share": effective_share(factors),
        **_compared(loss, others, real, fake),
    }


def _compared(
    loss: AdversarialLoss, others: Mapping[str, AdversarialLoss], real: Tensor, fake: Tensor
) -> dict[str, Tensor]:
    """The loss factors of other losses, found in one pass."""
    if not others:
        return {}
    pair = torch.stack([real, fake]).detach().double()
    opinions = torch.stack(loss.opinions(*pair))
    with torch.enable_grad():
        logits = torch.stack([pair[1] if other.is_relative else opinions[1] for other in others.values()])
        logits.requires_grad_(True)
        sums = [
            other.generator(pair[0] if other.is_relative else opinions[0], row).sum()
            for other, row in zip(others.values(), logits.unbind(), strict=True)
        ]
        (factors,) = torch.autograd.grad(torch.stack(sums).sum(), logits)
    sizes = factors.square().mean(1).sqrt()
    return {f"loss_factor_{name}": size for name, size in zip(others, sizes, strict=True)}


LOSSES: dict[str, Callable[..., AdversarialLoss]] = {
    "saturating": saturating,
    "non-saturating": non_saturating,
    "least-squares": least_squares,
    "least-squares-logit": least_squares_logit,
    "hinge": hinge,
    "wasserstein": wasserstein,
    "relativistic": relativistic,
}
