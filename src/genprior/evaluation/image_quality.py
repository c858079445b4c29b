"""How close restored images are to the originals, one number an image. Imports errors only; data range 1."""

import torch
from torch import Tensor

from genprior.errors import GenpriorError

# Windows of 11 x 11 pixels reach 5 beyond an edge, where the image goes on mirrored: that takes 6 pixels.
SMALLEST_SIDE = 6


def _check(x: Tensor, reference: Tensor) -> None:
    if x.shape != reference.shape or x.ndim != 4 or not len(x):
        got = f"{tuple(x.shape)} and {tuple(reference.shape)}"
        raise GenpriorError(f"expected as many images (B, C, H, W) of the same shape as references, got {got}")


@torch.no_grad()
def psnr(x: Tensor, reference: Tensor) -> Tensor:
    """Returns the peak signal-to-noise ratio (B,) in dB, infinite for identical images.

    -10 log10 mean (x - reference)^2, the peak being 1.

    Arguments:
        x: Restored images (B, C, H, W), in [0, 1]; they are not clipped.
        reference: Originals, the same shape.

    Raises:
        GenpriorError: Other shapes.
    """
    from torchmetrics.functional.image import peak_signal_noise_ratio

    _check(x, reference)
    return peak_signal_noise_ratio(x.float(), reference.float(), data_range=1.0, reduction="none", dim=(1, 2, 3))


@torch.no_grad()
def ssim(x: Tensor, reference: Tensor) -> Tensor:
    """Returns the structural similarity (B,) in [-1, 1], 1 for identical images.

    Wang et al. 2004, https://doi.org/10.1109/TIP.2003.819861, with their Gaussian window of 11 x 11 pixels and their
    constants, averaged over channels and over all pixels: near the edges, and everywhere in images smaller than the
    window, the window sees the image mirrored.

    Arguments:
        x: Restored images (B, C, H, W), in [0, 1]; they are not clipped.
        reference: Originals, the same shape.

    Raises:
        GenpriorError: Other shapes, or sides below 6 pixels, for which it is not defined.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    _check(x, reference)
    if min(x.shape[2:]) < SMALLEST_SIDE:
        got = f"{x.shape[2]} x {x.shape[3]}"
        raise GenpriorError(f"SSIM needs images of at least {SMALLEST_SIDE} x {SMALLEST_SIDE} pixels, got {got}")
    similarity = structural_similarity_index_measure(x.float(), reference.float(), data_range=1.0, reduction="none")
    assert isinstance(similarity, Tensor)
    return similarity
