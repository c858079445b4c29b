"""What keeps a discriminator's layers in bounds, by name. Imports errors and layers only."""

from torch import nn

from genprior.errors import GenpriorError, suggestion
from genprior.models.layers import BatchNorm2d, Unnormalised

NORMS = ("batch", "spectral", "none")


def bounded(layer: nn.Module, norm: str) -> nn.Module:
    """Returns a layer whose weight matrix has a largest singular value of 1 where the norm is "spectral".

    Miyato et al. 2018, https://arxiv.org/abs/1802.05957, equation 8; by one power iteration a pass.

    Raises:
        GenpriorError: Unknown norm.
    """
    if norm not in NORMS:
        raise GenpriorError(f"unknown norm '{norm}', {suggestion(norm, NORMS)}", argument="model")
    return nn.utils.parametrizations.spectral_norm(layer) if norm == "spectral" else layer


def norm_layer(channels: int, norm: str) -> nn.Module:
    """Returns what normalises activations (B, C, H, W): batch normalisation where the norm is "batch", else nothing."""
    return BatchNorm2d(channels) if norm == "batch" else Unnormalised()
