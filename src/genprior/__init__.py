"""Train small generative image models, see whether training is healthy, and use them as priors.

Public names are loaded on first use: `import genprior` imports neither torch nor anything else that is heavy.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from genprior.data import Dataset as Dataset
    from genprior.data import load_data as load_data
    from genprior.errors import GenpriorError as GenpriorError
    from genprior.families import FlowMatchingConfig as FlowMatchingConfig
    from genprior.families import GANConfig as GANConfig
    from genprior.families import GLOConfig as GLOConfig
    from genprior.families import GlowConfig as GlowConfig
    from genprior.families import MixtureConfig as MixtureConfig
    from genprior.families import VAEConfig as VAEConfig
    from genprior.priors.contracts import LatentPrior as LatentPrior
    from genprior.priors.contracts import Prior as Prior
    from genprior.priors.generator_prior import GeneratorPrior as GeneratorPrior
    from genprior.restoration.restore import PriorDenoiser as PriorDenoiser
    from genprior.restoration.restore import PriorReconstructor as PriorReconstructor
    from genprior.restoration.restore import invert as invert
    from genprior.restoration.restore import restore as restore
    from genprior.restoration.result import Restoration as Restoration
    from genprior.restoration.search_settings import SearchSettings as SearchSettings
    from genprior.runs.trained_prior import load_prior as load_prior
    from genprior.training.adversarial import GAN as GAN
    from genprior.training.loop import Budget as Budget
    from genprior.training.loop import train as train
    from genprior.training.losses import AdversarialLoss as AdversarialLoss

_HOME = {
    "AdversarialLoss": "genprior.training.losses",
    "Budget": "genprior.training.loop",
    "Dataset": "genprior.data",
    "GAN": "genprior.training.adversarial",
    "GANConfig": "genprior.families",
    "GLOConfig": "genprior.families",
    "GeneratorPrior": "genprior.priors.generator_prior",
    "GenpriorError": "genprior.errors",
    "FlowMatchingConfig": "genprior.families",
    "GlowConfig": "genprior.families",
    "MixtureConfig": "genprior.families",
    "LatentPrior": "genprior.priors.contracts",
    "Prior": "genprior.priors.contracts",
    "PriorDenoiser": "genprior.restoration.restore",
    "PriorReconstructor": "genprior.restoration.restore",
    "Restoration": "genprior.restoration.result",
    "SearchSettings": "genprior.restoration.search_settings",
    "VAEConfig": "genprior.families",
    "invert": "genprior.restoration.restore",
    "load_data": "genprior.data",
    "load_prior": "genprior.runs.trained_prior",
    "restore": "genprior.restoration.restore",
    "train": "genprior.training.loop",
}
__all__ = sorted(_HOME)
__version__ = "0.2.0"


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'genprior' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
