"""What is expected of an image that noise covers and of which something was measured. Knows problems and denoisers.

With x_s = x + s n, a denoiser says E[x | x_s], and its Jacobian J says how sure that is: Cov[x | x_s] = s^2 J (Efron
2011, https://doi.org/10.1198/jasa.2011.tm11181). Where x given x_s is taken for a Gaussian with these two, and
y = A x + noise of variance v, the conditional mean is

    E[x | x_s, y] = E[x | x_s] + s^2 J A^T (s^2 A J A^T + v)^-1 (y - A E[x | x_s])

(moment matching, Rozet et al. 2024, https://arxiv.org/abs/2405.13712). A few conjugate gradients solve it, each one a
pass backwards through the network; J is symmetric. Two are enough for a good mean of draws. With four, draws of hard
operators (a blur, few measurements) are nearer to the posterior.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from genprior.errors import GenpriorError
from genprior.priors.contracts import DenoisingPrior
from genprior.restoration.gaussian_term import as_gaussian
from genprior.restoration.problem import Problem
from genprior.restoration.search_settings import SearchSettings

TINY = 1e-30  # squared residual that is divided by
LEAST_COSINE = (
    0.1  # between p and S p: in trials 0.2 and more, and below 0 where the Jacobian of a network was no covariance
)


@torch.enable_grad()
def guided_mean(
    problem: Problem,
    denoiser: DenoisingPrior,
    x_noisy: Tensor,
    sigma: float,
    who: Tensor,
    scale: Tensor,
    is_linear: bool,
    rounds: int = SearchSettings.rounds,
) -> Tensor:
    """Returns about E[x | x_noisy, y] (R, C, H, W), without a graph; 1 + `rounds` evaluations of the network.

    A data term that is not Gaussian is replaced by the Gaussian one that has its slope at the prediction. An operator
    that is not linear is replaced by its derivative there.

    Arguments:
        problem: Measurements, and how images are compared with them.
        denoiser: E[x | x_noisy], differentiable.
        x_noisy: (R, C, H, W).
        sigma: Standard deviation of its noise, above 0.
        who: Which measurement each row is compared with (R,).
        scale: Of the noise in the measurements (R,), above 0.
        is_linear: Whether the operator is.
        rounds: Of conjugate gradients, at least 1.

    Raises:
        GenpriorError: The operator or the denoiser is not differentiable.
    """
    x = x_noisy.detach().requires_grad_()
    expected, prediction = _expected(problem, denoiser, x, sigma, who)
    root, residual = _weighed(problem, prediction.detach(), who, scale)

    def pulled(v: Tensor) -> Tensor:
        """J A^T v."""
        (found,) = torch.autograd.grad(prediction, x, v, retain_graph=True)
        return found

    pushed = _derivative(problem, expected.detach(), who, is_linear)

    def product(p: Tensor) -> tuple[Tensor, Tensor]:
        back = pulled(root * p)
        return sigma**2 * root * pushed(back) + p, back

    return (expected + sigma**2 * _solved(product, residual, rounds)).detach()


def _expected(
    problem: Problem, denoiser: DenoisingPrior, x_noisy: Tensor, sigma: float, who: Tensor
) -> tuple[Tensor, Tensor]:
    """E[x | x_noisy] (R, C, H, W) and A of it (R, M), both with a graph."""
    expected = denoiser.denoise(x_noisy, sigma)
    prediction = problem.measure(expected, who)
    if not prediction.requires_grad or not expected.requires_grad:
        raise GenpriorError("the operator's A(x), or the prior's denoise(x, sigma), is not differentiable")
    return expected, prediction


def _weighed(problem: Problem, prediction: Tensor, who: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """One over the deviations of the noise (R, M), and the residual in these units."""
    target, sharpness = as_gaussian(problem.fidelity, prediction, problem.y[who])
    root = (sharpness / scale[:, None]).sqrt()
    return root, root * (target - prediction)


def _solved(product: Callable[[Tensor], tuple[Tensor, Tensor]], b: Tensor, rounds: int) -> Tensor:
    """J A^T v (R, C, H, W) for the v (R, M) that conjugate gradients find with S v = b; `product`: p -> S p, J A^T p.

    S is the identity and something that is positive, so no step is longer than that of the identity. A network's
    Jacobian may say otherwise; where S p shows that, the step is the one that leaves the smallest residual.
    """
    residual, direction, square = b, b, b.square().sum(1)
    change: Tensor | None = None
    for _ in range(rounds):
        onto, back = product(direction)
        along, size = (direction * onto).sum(1), direction.square().sum(1)
        length = onto.square().sum(1)
        least = ((residual * onto).sum(1) / length.clamp_min(TINY)).clamp_min(0)
        is_positive = along >= LEAST_COSINE * (size * length).sqrt()
        step = torch.where(is_positive, square / along.maximum(size).clamp_min(TINY), least)
        taken = step.view(-1, 1, 1, 1) * back
        change = taken if change is None else change + taken
        residual = residual - step[:, None] * onto
        new = residual.square().sum(1)
        direction = residual + (new / square.clamp_min(TINY))[:, None] * direction
        square = new
    assert change is not None
    return change


def _derivative(problem: Problem, x: Tensor, who: Tensor, is_linear: bool) -> Callable[[Tensor], Tensor]:
    """u (R, C, H, W) -> A u (R, M), A the operator's derivative at x.

    That of w -> A^T w, which is linear in w, is A (the double-backward trick).
    """
    if is_linear:
        return lambda u: problem.measure(u, who).detach()
    at = x.requires_grad_()
    prediction = problem.measure(at, who)
    w = torch.zeros_like(prediction).requires_grad_()
    (back,) = torch.autograd.grad(prediction, at, w, create_graph=True)
    return lambda u: torch.autograd.grad(back, w, u, retain_graph=True)[0]
