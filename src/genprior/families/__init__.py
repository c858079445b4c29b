"""What a run is made of, as frozen tables that reject unknown keys; presets; and names resolved to objects.

Strings live here and at the command line, nowhere below. Each family of models has a file; `FAMILIES`, at the end, is
the place to add one.
Importing this package does not import torch.
"""

from collections.abc import Mapping
from typing import Any

from genprior.errors import GenpriorError, suggestion
from genprior.families.flow_matching import FlowMatchingConfig
from genprior.families.gan import GANConfig
from genprior.families.glo import GLOConfig
from genprior.families.glow import GlowConfig
from genprior.families.mixture import MixtureConfig
from genprior.families.run_config import BUDGETS, Curves, RunConfig
from genprior.families.vae import VAEConfig
from genprior.settings import validated

__all__ = [
    "BUDGETS",
    "FAMILIES",
    "Curves",
    "FlowMatchingConfig",
    "GANConfig",
    "GLOConfig",
    "GlowConfig",
    "MixtureConfig",
    "RunConfig",
    "VAEConfig",
    "parse_config",
]


def parse_config(values: Mapping[str, Any]) -> RunConfig:
    """Returns the config of `values`, of the family that they name or else a GAN, with errors of one line.

    Raises:
        GenpriorError: Unknown family, unknown key (with the nearest known one) or a value out of range.
    """
    family = values.get("family", "gan")
    if not isinstance(family, str) or family not in FAMILIES:
        raise GenpriorError(f"unknown family '{family}', {suggestion(str(family), FAMILIES)}", argument="family")
    return validated(FAMILIES[family], values)


FAMILIES: dict[str, type[RunConfig]] = {
    "flow-matching": FlowMatchingConfig,
    "gan": GANConfig,
    "glo": GLOConfig,
    "glow": GlowConfig,
    "mixture": MixtureConfig,
    "vae": VAEConfig,
}
