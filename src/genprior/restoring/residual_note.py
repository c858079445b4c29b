"""Words on what draws beside a prior's range have, or lack and why. Knows priors and operators."""

import torch
from torch import Tensor

from genprior.priors.contracts import LatentPrior
from genprior.priors.gaussian_posterior import LinearMap
from genprior.priors.measured_residual import MeasuredResidual
from genprior.restoration.operators import Operator
from genprior.restoration.problem import flat_measurement
from genprior.restoring.job_settings import RestoreSettings
from genprior.runs.kept_residual import has_range

NOISES = "it takes Gaussian noise of a known level, photon counts, or none"


def told_of_residual(
    settings: RestoreSettings, prior: LatentPrior, operator: Operator, is_taken: bool, is_taken_by_noise: bool
) -> str:
    """Returns the end of a line: that draws would be better with a residual, or why that of the run has no effect.

    Arguments:
        settings: Of the job.
        prior: What it restores with.
        operator: What measured the images.
        is_taken: Whether the data term allows it.
        is_taken_by_noise: Whether the noise's own data term does.
    """
    if not settings.draws or not has_range(prior):
        return ""
    why = "" if is_taken else f"--fidelity {settings.fidelity} goes without it" if is_taken_by_noise else NOISES
    why = why or _refused_by(operator, prior)
    if prior.residual is None:
        return "" if why else f"; draws are nearer to the truth after: genprior train residual {settings.run}"
    return f"; the run's residual is without effect: {why}" if why else ""


def _refused_by(operator: Operator, prior: LatentPrior) -> str:
    """Why an operator shows nothing of a residual; empty: it does."""
    from deepinv.physics import LinearPhysics

    if operator.has_masks:
        return ""
    if not isinstance(operator.physics, LinearPhysics):
        return "it takes linear operators"
    parameters = operator.parameters(0)

    def measure(x: Tensor) -> Tensor:
        own = {name: value.expand(len(x), *value.shape[1:]) for name, value in parameters.items()}
        return flat_measurement(operator.physics.A(x, **own))

    A = LinearMap(measure, prior.image_shape, torch.zeros(()))
    return "" if MeasuredResidual.has_room(A) else "this operator mixes more numbers than there is room for"
