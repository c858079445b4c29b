"""Damaged images, and ways to restore them: a prior, total variation, the Lasso, plug-and-play, tuned on other images.

A library, not a script: it measures nothing by itself.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

import genprior
from genprior.restoration.fidelity import L2, Fidelity
from genprior.restoration.noise import NOISES, measure, stacked
from genprior.restoration.operators import Operator
from genprior.restoration.search_settings import SEARCHES
from genprior.specs import Spec

DRAWS = 64


class Case:
    """One kind of damage on some images."""

    def __init__(self, operator: Operator, sigma: float, x: Tensor, first: int) -> None:
        self.operator, self.sigma, self.x, self.first = operator, sigma, x, first
        noise = Spec.parse(f"gaussian:sigma={sigma}").build(NOISES, "noise")
        self.y = measure(x, operator, noise, seed=0, first=first)
        self.parameters = stacked(operator, range(first, first + len(x)))

    def few(self, count: int) -> "Case":
        case = object.__new__(Case)
        case.operator, case.sigma, case.first = self.operator, self.sigma, self.first
        case.x, case.y = self.x[:count], self.y[:count]
        case.parameters = {name: value[:count] for name, value in self.parameters.items()}
        return case

    def apply(self, x: Tensor) -> Tensor:
        measured: Tensor = self.operator.physics.A(x, **self.parameters)
        return measured

    def adjoint(self, y: Tensor) -> Tensor:
        back: Tensor = self.operator.physics.A_adjoint(y, **self.parameters)
        return back


def restored(
    prior: genprior.LatentPrior,
    case: Case,
    settings: genprior.SearchSettings = SEARCHES["default"],
    fidelity: Fidelity | None = None,
) -> Tensor:
    """Returns images as `genprior restore` finds them, the level of the noise being known."""
    return genprior.restore(
        prior,
        case.y,
        case.operator.physics,
        settings,
        parameters=case.parameters,
        fidelity=fidelity,
        noise_level=case.sigma,
    ).images


def drawn(prior: genprior.LatentPrior, case: Case, draws: int = DRAWS) -> genprior.Restoration:
    """Returns the mean of draws of each posterior, and the draws; the level of the noise being known."""
    settings = genprior.SearchSettings(draws=draws)
    y, physics = case.y, case.operator.physics
    return genprior.restore(
        prior, y, physics, settings, parameters=case.parameters, fidelity=L2(), noise_level=case.sigma
    )


def covered(found: genprior.Restoration, x: Tensor, level: float = 0.9) -> float:
    """Returns the share of truths x (B, C, H, W) in the ball around the mean that holds `level` of the draws."""
    off = (found.draws - found.images[:, None]).flatten(2).norm(dim=2)
    radius = torch.quantile(off, level, dim=1)
    return float(((x - found.images).flatten(1).norm(dim=1) <= radius).float().mean())


def largest_singular_value(case: Case) -> float:
    """Returns that of the operator, by thirty power iterations."""
    x, norm = torch.rand(case.x.shape, generator=torch.Generator().manual_seed(0)), 1.0
    for _ in range(30):
        x = case.adjoint(case.apply(x))
        norm = float(x.flatten(1).norm(dim=1).max())
        x = x / norm
    return norm**0.5


def proximal(case: Case, prox: Callable[[Tensor, float], Tensor], iterations: int) -> Tensor:
    """FISTA (Beck & Teboulle 2009) on |A x - y|^2 / 2 + weight R(x), x in [0, 1]."""
    norm = largest_singular_value(case) ** 2
    x = at = case.adjoint(case.y) / norm
    momentum = 1.0
    for _ in range(iterations):
        new = prox(at - case.adjoint(case.apply(at) - case.y) / norm, 1 / norm).clamp(0, 1)
        following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        at, x, momentum = new + (momentum - 1) / following * (new - x), new, following
    return x


def total_variation(case: Case, weight: float, iterations: int = 60) -> Tensor:
    """Returns x with the least |A x - y|^2 / 2 + weight TV(x), isotropic, of each channel alone."""
    from deepinv.models import TVDenoiser

    denoiser = TVDenoiser(n_it_max=30)
    return proximal(case, lambda x, step: denoiser(x, ths=weight * step), iterations)


def exact_total_variation(case: Case, weight: float, iterations: int = 1000) -> Tensor:
    """Returns the same where A leaves pixels as they are or sets them to 0, without loops in loops.

    The algorithm of Condat 2013, which deepinv has for A = 1, takes masks as easily. With a step of 0.5 and 1,000
    iterations a hole of 20 pixels is filled: 2,000 change the PSNR by 0.01 dB. The 60 of FISTA leave it half empty.
    """
    from deepinv.models import TVDenoiser

    known = case.adjoint(torch.ones_like(case.y))

    class Masked(TVDenoiser):  # type: ignore[misc]  # deepinv has no types
        def prox_tau_fx(self, x: Tensor, y: Tensor) -> Tensor:
            nearer: Tensor = (x + self.tau * known * y) / (1 + self.tau * known)
            return nearer

    found: Tensor = Masked(tau=0.5, n_it_max=iterations, crit=0.0)(case.y, ths=weight)
    return found.clamp(0, 1)


def lasso(case: Case, weight: float) -> Tensor:
    """Returns x with the least |A x - y|^2 / 2 + weight |x|_1."""
    return proximal(case, lambda x, step: x - weight * step, 400)  # with x >= 0 the shrinkage is a shift


def wavelet_lasso(case: Case, setting: tuple[str, float]) -> Tensor:
    """Returns x with about the least |A x - y|^2 / 2 + weight |W x|_1, W an orthogonal wavelet's details of two scales.

    The shrinkage is the mean over four shifts of the image (Coifman & Donoho 1995), without which blocks show.
    """
    import pywt

    wavelet, weight = setting

    def shrunk(x: Tensor, step: float) -> Tensor:
        coarse, *details = pywt.wavedec2(x.numpy(), wavelet, mode="periodization", level=2)
        smaller = [tuple(pywt.threshold(each, weight * step, "soft") for each in scale) for scale in details]
        return torch.from_numpy(pywt.waverec2([coarse, *smaller], wavelet, mode="periodization")).to(x)

    def prox(x: Tensor, step: float) -> Tensor:
        shifts = [(i, j) for i in (0, 1) for j in (0, 1)]
        each = [shrunk(x.roll(by, (2, 3)), step).roll((-by[0], -by[1]), (2, 3)) for by in shifts]
        return torch.stack(each).mean(0)

    return proximal(case, prox, 200)


def plug_and_play(prior: genprior.LatentPrior, case: Case, setting: tuple[float, float, int]) -> Tensor:
    """Half-quadratic splitting as in deepinv's DPIR (Zhang et al. 2021), its denoiser being the prior.

    Arguments:
        prior: Of flow matching.
        case: The damage.
        setting: The first level of noise, the weight of the measurement at the last one, and how many there are.
    """
    from deepinv.optim import HQS, L2, PnP

    first, weight, rounds = setting
    last = max(case.sigma, 0.01)
    levels = torch.logspace(torch.log10(torch.tensor(first)), torch.log10(torch.tensor(last)), rounds)
    model = HQS(
        data_fidelity=L2(),
        prior=PnP(denoiser=genprior.PriorDenoiser(prior)),
        stepsize=(weight * (levels / last) ** 2).tolist(),
        g_param=levels.tolist(),
        max_iter=rounds,
        early_stop=False,
    )
    case.operator.physics.update_parameters(**case.parameters)
    with torch.no_grad():
        found: Tensor = model(case.y, case.operator.physics)
    return found


S = TypeVar("S")


def tuned(method: Callable[[Case, S], Tensor], settings: Sequence[S], tuning: Case) -> S:
    """Returns the setting, such as a weight, with the smallest mean squared error on images that are known."""
    errors = [float((method(tuning, each) - tuning.x).square().mean().nan_to_num(1e9)) for each in settings]
    return settings[errors.index(min(errors))]
