"""What a run is made of, as frozen tables that reject unknown keys; presets; and names resolved to objects.

Strings live here and at the command line, nowhere below. Each family of models has a file; `families.py` lists them.
Importing this package does not import torch.
"""

from genprior.families.gan import GANConfig
from genprior.families.glo import GLOConfig
from genprior.families.glow import GlowConfig
from genprior.families.run_config import BUDGETS, Curves, RunConfig
from genprior.families.table import FAMILIES, parse_config
from genprior.families.vae import VAEConfig

__all__ = [
    "BUDGETS",
    "FAMILIES",
    "Curves",
    "GANConfig",
    "GLOConfig",
    "GlowConfig",
    "RunConfig",
    "VAEConfig",
    "parse_config",
]
