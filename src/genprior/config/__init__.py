"""What a run is made of, as frozen tables that reject unknown keys; presets; and names resolved to objects.

Strings live here and at the command line, nowhere below. Each family of models has a file; `families.py` lists them.
Importing this package does not import torch.
"""

from genprior.config.base import BUDGETS, Curves, RunConfig, Setting
from genprior.config.families import FAMILIES, parse_config
from genprior.config.gan import GANConfig
from genprior.config.glo import GLOConfig
from genprior.config.glow import GlowConfig
from genprior.config.names import build
from genprior.config.vae import VAEConfig

__all__ = [
    "BUDGETS",
    "FAMILIES",
    "Curves",
    "GANConfig",
    "GLOConfig",
    "GlowConfig",
    "RunConfig",
    "Setting",
    "VAEConfig",
    "build",
    "parse_config",
]
