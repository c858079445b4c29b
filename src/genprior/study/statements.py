"""All statements, in the order of the page. `STATEMENTS` is the place to add one: a function that judges, and an entry.

Imports no torch.
"""

from genprior.study.beyond_statements import LIMITS, PRIORS_COMPARED, RECIPE
from genprior.study.inversion_statements import INVERSION, LATER
from genprior.study.loss_statements import EQUILIBRIUM, LEAST_SQUARES, NON_SATURATING, SATURATING
from genprior.study.network_statements import LAMBDA, LARGER_DISCRIMINATOR, NETWORKS
from genprior.study.posterior_statements import AMBIGUOUS, PROBABILITIES
from genprior.study.restoration_statements import DATA_TERMS, DENOISING, INPAINTING, STROKES_AND_LOOPS
from genprior.study.study_evidence import StudyStatement
from genprior.study.theory_statements import DANGERS, FACTORS, LIKELIHOOD, ORDER

STATEMENTS: dict[str, StudyStatement] = {
    "networks": NETWORKS,
    "saturating": SATURATING,
    "non-saturating": NON_SATURATING,
    "equilibrium": EQUILIBRIUM,
    "least-squares": LEAST_SQUARES,
    "larger-discriminator": LARGER_DISCRIMINATOR,
    "lambda": LAMBDA,
    "inversion": INVERSION,
    "stronger-later": LATER,
    "denoising": DENOISING,
    "inpainting": INPAINTING,
    "strokes-and-loops": STROKES_AND_LOOPS,
    "ambiguous": AMBIGUOUS,
    "data-terms": DATA_TERMS,
    "likelihood": LIKELIHOOD,
    "gradient-factors": FACTORS,
    "min-max": ORDER,
    "two-dangers": DANGERS,
    "recipe": RECIPE,
    "priors": PRIORS_COMPARED,
    "probabilities": PROBABILITIES,
    "limits": LIMITS,
}
