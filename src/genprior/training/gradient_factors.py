"""Where the generator's gradient is lost: loss factor, slope of the discriminator, Jacobian of the generator.

With logits a_i = D(x_i) of n fakes x_i = G(z_i), the generator's gradient is

    1/n sum_i  dL/da_i  *  da_i/dx_i  *  dx_i/dtheta

and the three numbers here multiply to its norm. Only the first depends on the loss as a formula, so what every other
loss would give on the same logits costs nothing. Knows losses only.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from genprior.training.losses import AdversarialLoss


def loss_factors(loss: AdversarialLoss, real: Tensor, fake: Tensor) -> Tensor:
    """Returns dL/da (B,) of the generator's loss at the logits of fakes (B,), in float64.

    Example:
        >>> from genprior.training.losses import saturating
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
