"""Frozen networks without batch normalisation. Imports layers only."""

import copy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from genprior.models.layers import ConvTranspose2d


def folded(network: nn.Module) -> nn.Module:
    """Returns a frozen copy of a network in which running statistics are part of the weights before them.

    In evaluation mode batch normalisation after a transposed convolution is a scale and a shift of its output, so the
    two are one layer. Outputs agree up to rounding; gradients flow to the input only. It lies in channels-last memory.

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
        if isinstance(layer, ConvTranspose2d) and isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None:
            layers[place] = sequence._modules[names[place]] = _merged(copy.deepcopy(layer), norm)
            del sequence._modules[names[place + 1]]
            del layers[place + 1], names[place + 1]


@torch.no_grad()
def _merged(layer: ConvTranspose2d, norm: nn.BatchNorm2d) -> ConvTranspose2d:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    layer.weight, bias = fuse_conv_bn_weights(
        layer.weight, layer.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias, transpose=True
    )
    layer.bias = bias
    return layer
