"""Generators made from trained ones: frozen and without batch normalisation, or of whitened latents."""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from genprior.models.layers import ConvTranspose2d
from genprior.models.pyramid import DoublingConv2d, SmoothDoublingConv2d

Enlarging = ConvTranspose2d | DoublingConv2d | SmoothDoublingConv2d
FOLDING = (ConvTranspose2d, DoublingConv2d, SmoothDoublingConv2d)


def folded(network: nn.Module) -> nn.Module:
    """Returns a frozen copy of a network in which running statistics are part of the weights before them.

    In evaluation mode batch normalisation after a convolution that enlarges is a scale and a shift of its output, so
    the two are one layer. Outputs agree up to rounding; gradients flow to the input only. It lies in channels-last
    memory.

    Arguments:
        network: Its `nn.Sequential` parts are searched; whatever else it holds stays as it is.
    """
    frozen = copy.deepcopy(network).eval()
    for part in list(frozen.modules()):
        if isinstance(part, nn.Sequential):
            _fold_sequence(part)
    return frozen.requires_grad_(False).to(memory_format=torch.channels_last)


def _fold_sequence(sequence: nn.Sequential) -> None:
    names = list(sequence._modules)
    layers = list(sequence)
    for place in reversed(range(len(layers) - 1)):
        layer, norm = layers[place : place + 2]
        if isinstance(layer, FOLDING) and isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None:
            layers[place] = sequence._modules[names[place]] = _merged(copy.deepcopy(layer), norm)
            del sequence._modules[names[place + 1]]
            del layers[place + 1], names[place + 1]


@torch.no_grad()
def _merged(layer: Enlarging, norm: nn.BatchNorm2d) -> Enlarging:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    mean, variance = norm.running_mean, norm.running_var
    is_transposed = isinstance(layer, ConvTranspose2d)
    layer.weight, bias = fuse_conv_bn_weights(
        layer.weight, layer.bias, mean, variance, norm.eps, norm.weight, norm.bias, transpose=is_transposed
    )
    layer.bias = bias
    return layer


class Whitening(nn.Module):
    """w (B, k) of mean 0 and covariance I -> codes (B, k) of the mean and covariance that it is given.

    Arguments:
        mean: m (k,).
        factor: L (k, k), lower triangular, so that the covariance is L L^T.
    """

    mean: Tensor
    factor: Tensor

    def __init__(self, mean: Tensor, factor: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("factor", factor)

    def forward(self, w: Tensor) -> Tensor:
        """Returns m + L w in the dtype of w, computed in that of m and L where that is the finer one."""
        wide = w.to(torch.promote_types(w.dtype, self.mean.dtype))
        code = self.mean.to(wide) + wide @ self.factor.to(wide).T
        return code.to(w.dtype)

    @torch.no_grad()
    def inverse(self, code: Tensor) -> Tensor:
        """Returns w (B, k) = L^-1 (code - m)."""
        off = (code - self.mean.to(code)).T
        w: Tensor = torch.linalg.solve_triangular(self.factor.to(code), off, upper=False).T
        return w


class WhitenedGenerator(nn.Module):
    """w (B, k) -> x (B, C, H, W): whitened latents become codes, codes become images.

    Arguments:
        whitening: What makes codes.
        generator: With `latent_size`, `image_shape` and `output_range`.
    """

    def __init__(self, whitening: Whitening, generator: nn.Module) -> None:
        super().__init__()
        self.whitening, self.generator = whitening, generator
        known: Any = generator
        self.latent_size: int = known.latent_size
        self.image_shape: tuple[int, int, int] = known.image_shape
        self.output_range: tuple[float, float] = known.output_range

    def forward(self, w: Tensor) -> Tensor:
        x: Tensor = self.generator(self.whitening(w))
        return x
