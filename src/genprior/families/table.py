"""The families of models. `FAMILIES` is the place to add one: a config, which knows how to build its algorithm."""

from collections.abc import Mapping
from typing import Any

from genprior.errors import GenpriorError, suggestion
from genprior.families.gan import GANConfig
from genprior.families.glo import GLOConfig
from genprior.families.glow import GlowConfig
from genprior.families.run_config import RunConfig
from genprior.families.vae import VAEConfig
from genprior.settings import validated

FAMILIES: dict[str, type[RunConfig]] = {
    "gan": GANConfig,
    "glo": GLOConfig,
    "glow": GlowConfig,
    "vae": VAEConfig,
}


def parse_config(values: Mapping[str, Any]) -> RunConfig:
    """Returns the config of `values`, of the family that they name or else a GAN, with errors of one line.

    Raises:
        GenpriorError: Unknown family, unknown key (with the nearest known one) or a value out of range.
    """
    family = values.get("family", "gan")
    if family not in FAMILIES:
        raise GenpriorError(f"unknown family '{family}', {suggestion(str(family), FAMILIES)}", argument="family")
    return validated(FAMILIES[family], values)
