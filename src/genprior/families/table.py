"""The families of models. `FAMILIES` is the place to add one: a config, which knows how to build its algorithm."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from genprior.errors import GenpriorError, suggestion
from genprior.families.gan import GANConfig
from genprior.families.glo import GLOConfig
from genprior.families.glow import GlowConfig
from genprior.families.run_config import RunConfig
from genprior.families.vae import VAEConfig

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
    config = FAMILIES[family]
    try:
        return config.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        cause = first.get("ctx", {}).get("error")
        if isinstance(cause, GenpriorError):
            raise cause from None
        argument = str(first["loc"][0]) if first["loc"] else None
        if first["type"] == "extra_forbidden":
            hint = suggestion(str(argument), config.model_fields)
            raise GenpriorError(f"unknown config key, {hint}", argument=argument) from None
        got = f", got {first['input']!r}" if argument else ""
        message = first["msg"].removeprefix("Value error, ")
        raise GenpriorError(message[0].lower() + message[1:] + got, argument=argument) from None
