"""Strided convolutions that run fast on a CPU, and batch normalisation over all processes.

On a CPU the gradients of transposed convolutions, and in bf16 the weight gradients of the others, are faster as one
matrix product over patches than by torch's strided backward convolutions (`benchmarks/layers.py`). On other devices
these layers are torch's own. Activations are (B, C, H, W) in channels-last memory, and the dtype of the input decides
the dtype of the arithmetic; weights stay in theirs. Imports nothing of ours.
"""

from typing import Any

import torch
import torch.distributed
import torch.nn.functional as F
from torch import Tensor, nn


def patches(x: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
    """Returns the patches (B * H' * W', kernel * kernel * C) that a convolution sees, in the order (kh, kw, C).

    Arguments:
        x: (B, C, H, W), any memory layout.
        kernel, stride, padding: In pixels, the same in both directions.

    Example:
        >>> patches(torch.arange(9.).view(1, 1, 3, 3), kernel=2, stride=1, padding=0)[0]
        tensor([0., 1., 3., 4.])
    """
    rows = F.pad(x.permute(0, 2, 3, 1), (0, 0, padding, padding, padding, padding)).contiguous()
    batch, height, width, channels = rows.shape
    out_height = (height - kernel) // stride + 1
    out_width = (width - kernel) // stride + 1
    row, image = width * channels, height * width * channels
    if channels == 1:  # one strided copy per tap: runs of `kernel` numbers are too short to copy fast
        taps = rows.new_empty(kernel * kernel, batch, out_height, out_width)
        for i in range(kernel):
            for j in range(kernel):
                stop = i + stride * out_height, j + stride * out_width
                taps[i * kernel + j] = rows[:, i : stop[0] : stride, j : stop[1] : stride, 0]
        return taps.view(kernel * kernel, -1).t()
    view = rows.as_strided(
        (batch, out_height, out_width, kernel, kernel * channels),
        (image, stride * row, stride * channels, row, 1),
    )
    return view.reshape(batch * out_height * out_width, kernel * kernel * channels)


def _as_rows(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B * H * W, C)."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def _as_image(rows: Tensor, batch: int, height: int, width: int) -> Tensor:
    """(B * H * W, C) -> (B, C, H, W) in channels-last memory."""
    return rows.view(batch, height, width, -1).permute(0, 3, 1, 2)


def _overlap_add(taps: Tensor, stride: int, padding: int, height: int, width: int) -> Tensor:
    """(kernel, kernel, B, H, W) -> (B, 1, height, width): each tap added where a transposed convolution puts it."""
    kernel, _, batch, rows, columns = taps.shape
    full = taps.new_zeros(batch, height + 2 * padding + stride, width + 2 * padding + stride)
    for i in range(kernel):
        for j in range(kernel):
            full[:, i : i + stride * rows : stride, j : j + stride * columns : stride] += taps[i, j]
    return full[:, None, padding : padding + height, padding : padding + width]


class _PatchConv(torch.autograd.Function):
    """Convolution whose weight gradient is one product over patches; differentiable twice."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding, ctx.has_bias = stride, padding, bias is not None
        return F.conv2d(x, weight, bias, stride, padding)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        x, weight = ctx.saved_tensors
        kernel = weight.shape[2]
        grad_x = grad_weight = grad_bias = None
        rows = _as_rows(grad)
        if ctx.needs_input_grad[0]:
            grad_x = _input_gradient(grad, weight, x, ctx.stride, ctx.padding)
        if ctx.needs_input_grad[1]:
            matrix = rows.t() @ patches(x, kernel, ctx.stride, ctx.padding)  # (C_out, kernel * kernel * C_in)
            grad_weight = matrix.view(-1, kernel, kernel, x.shape[1]).permute(0, 3, 1, 2)
        if ctx.has_bias and ctx.needs_input_grad[2]:
            grad_bias = rows.sum(0)
        return grad_x, grad_weight, grad_bias, None, None


def _input_gradient(grad: Tensor, weight: Tensor, x: Tensor, stride: int, padding: int) -> Tensor:
    kernel = weight.shape[2]
    batch, _, height, width = x.shape
    if x.shape[1] == 1:
        taps = weight.permute(2, 3, 1, 0).reshape(-1, weight.shape[0]) @ _as_rows(grad).t()
        taps = taps.view(kernel, kernel, batch, *grad.shape[2:])
        return _overlap_add(taps, stride, padding, height, width)
    extra = [
        side - ((out - 1) * stride - 2 * padding + kernel)
        for side, out in zip((height, width), grad.shape[2:], strict=True)
    ]
    return F.conv_transpose2d(grad, weight, None, stride, padding, extra)


class _PatchConvTranspose(torch.autograd.Function):
    """Transposed convolution whose two gradients share one set of patches."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: int,
        padding: int,
        output_padding: int,
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding, ctx.has_bias = stride, padding, bias is not None
        in_channels, out_channels, kernel, _ = weight.shape
        batch, _, height, width = x.shape
        if height == width == 1 and padding == 0 and output_padding == 0:  # one plain product
            flat = x.reshape(batch, -1) @ weight.permute(0, 2, 3, 1).reshape(in_channels, -1)
            out = _as_image(flat, batch, kernel, kernel)
        elif out_channels == 1:
            taps = (weight.permute(2, 3, 1, 0).reshape(-1, in_channels) @ _as_rows(x).t()).view(
                kernel, kernel, batch, height, width
            )
            side = [(size - 1) * stride - 2 * padding + kernel + output_padding for size in (height, width)]
            out = _overlap_add(taps, stride, padding, side[0], side[1])
        else:
            out = F.conv_transpose2d(x, weight, None, stride, padding, output_padding)
        return out if bias is None else out + bias.view(1, -1, 1, 1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        x, weight = ctx.saved_tensors
        in_channels, out_channels, kernel, _ = weight.shape
        batch, _, height, width = x.shape
        grad_x = grad_weight = grad_bias = None
        # Rows and columns beyond the last patch come from output padding and get no gradient.
        columns = patches(grad, kernel, ctx.stride, ctx.padding)
        if ctx.needs_input_grad[0]:
            matrix = weight.permute(2, 3, 1, 0).reshape(-1, in_channels)
            grad_x = _as_image(columns @ matrix, batch, height, width)
        if ctx.needs_input_grad[1]:
            grad_weight = (_as_rows(x).t() @ columns).view(in_channels, kernel, kernel, out_channels)
            grad_weight = grad_weight.permute(0, 3, 1, 2)
        if ctx.has_bias and ctx.needs_input_grad[2]:
            grad_bias = grad.sum((0, 2, 3))
        return grad_x, grad_weight, grad_bias, None, None, None


class Conv2d(nn.Conv2d):
    """`torch.nn.Conv2d` with square kernels, in the dtype of its input, fast on a CPU."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, padding: int = 0, bias: bool = True
    ) -> None:
        super().__init__(in_channels, out_channels, kernel, stride, padding, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.to(x.dtype)
        bias = None if self.bias is None else self.bias.to(x.dtype)
        stride, padding = int(self.stride[0]), int(self.padding[0])
        if x.device.type != "cpu":
            return F.conv2d(x, weight, bias, stride, padding)
        out: Tensor = _PatchConv.apply(x, weight, bias, stride, padding)
        return out


class ConvTranspose2d(nn.ConvTranspose2d):
    """`torch.nn.ConvTranspose2d` with square kernels, in the dtype of its input, fast on a CPU."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        padding: int = 0,
        output_padding: int = 0,
        bias: bool = True,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel, stride, padding, output_padding, bias=bias)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        assert output_size is None, "the size follows from the constructor"
        weight = self.weight.to(x.dtype)
        bias = None if self.bias is None else self.bias.to(x.dtype)
        sizes = int(self.stride[0]), int(self.padding[0]), int(self.output_padding[0])
        if x.device.type != "cpu" or not weight.requires_grad:  # torch's input gradient alone is the faster one
            return F.conv_transpose2d(x, weight, bias, *sizes)
        out: Tensor = _PatchConvTranspose.apply(x, weight, bias, *sizes)
        return out


class Linear(nn.Linear):
    """`torch.nn.Linear` in the dtype of its input."""

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return F.linear(x, self.weight.to(x.dtype), bias)


class _SumOverProcesses(torch.autograd.Function):
    """All-reduce whose gradient is an all-reduce: each process's output depends on every process's input."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.contiguous().clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        total = grads[0].contiguous().clone()
        torch.distributed.all_reduce(total)
        return total


class BatchNorm2d(nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d` for a batch of equal parts, and with the statistics of the global batch.

    While training, each of `parts` equal parts of the batch is normalised by its own statistics, as if they had come
    one after another. When several processes train, statistics are those of all processes' shares of a
    part; torch's own synchronised version runs on GPUs only, this one on any backend.
    """

    def forward(self, x: Tensor, parts: int = 1) -> Tensor:
        if not self.training or parts == 1:
            return self._normalised(x)
        return torch.cat([self._normalised(part) for part in x.chunk(parts)])

    def _normalised(self, x: Tensor) -> Tensor:
        if self.training and torch.distributed.is_initialized():
            processes = torch.distributed.get_world_size()
            if processes > 1:
                return self._forward_synchronised(x, processes)
        return super().forward(x)

    def _forward_synchronised(self, x: Tensor, processes: int) -> Tensor:
        count = x.numel() // x.shape[1] * processes
        wide = x.to(self.weight.dtype)
        mean = _sum_over_processes(wide.sum((0, 2, 3))) / count
        # Two passes, not E[x^2] - E[x]^2, which cancels where the mean is large against the spread.
        centred = wide - mean.view(1, -1, 1, 1)
        variance = _sum_over_processes(centred.square().sum((0, 2, 3))) / count
        scale = self.weight * torch.rsqrt(variance + self.eps)
        self._track(mean.detach(), variance.detach() * (count / max(1, count - 1)))
        out = centred * scale.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)
        return out.to(x.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, unbiased_variance: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(unbiased_variance, self.momentum)


class Unnormalised(nn.Module):
    """Stands where `BatchNorm2d` would, and changes nothing."""

    def forward(self, x: Tensor, parts: int = 1) -> Tensor:
        return x


def _sum_over_processes(x: Tensor) -> Tensor:
    total: Tensor = _SumOverProcesses.apply(x)
    return total
