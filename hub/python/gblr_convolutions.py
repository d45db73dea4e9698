"""Convolutions whose kernel is structured: one matrix (n_out, rows * columns * channels), one matrix (n_out, channels)
per position of the kernel, or Tucker-2 form. x is (batch, channels, height, width).
"""

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from gblr_layers import LowRankLinear, PackedGblrLinear, StructuredLinear


class Geometry(NamedTuple):
    """Geometry of a convolution with a square kernel. padding: zeros on each side."""

    kernel: int
    stride: int = 1
    padding: int = 0

    def convolve(self, x, kernel):
        """The convolution with a kernel (n_out, channels, rows, columns)."""
        return functional.conv2d(x, kernel, stride=self.stride, padding=self.padding)

    def convolve_matrix(self, x, matrix):
        """The convolution with a kernel as matrix (n_out, rows * columns * channels), in this order."""
        return self.convolve(x, matrix.reshape(len(matrix), self.kernel, self.kernel, -1).permute(0, 3, 1, 2))

    def patches(self, x):
        """The inputs of each kernel position: (batch, height', width', rows * columns, channels)."""
        batch, channels, height, width = x.shape
        sides = [(side + 2 * self.padding - self.kernel) // self.stride + 1 for side in (height, width)]
        under = functional.unfold(x, self.kernel, padding=self.padding, stride=self.stride)
        return under.reshape(batch, channels, self.kernel**2, *sides).permute(0, 3, 4, 2, 1)


class PatchConvolution(StructuredLinear):
    """Applies a structured linear layer to the patches of an image, which makes it a convolution. Must come before that
    layer in the list of base classes."""

    def __init__(self, *sizes, geometry, **options):
        self.geometry = geometry
        super().__init__(*sizes, **options)

    def known_sizes(self):
        sizes = super().known_sizes()
        return {**sizes, "kernel": self.geometry.kernel, "channels": self.n_in // self.geometry.kernel**2}

    def forward(self, x):
        y = self.convolved(x)
        return y if self.bias is None else y + self.bias[:, None, None]

    def convolved(self, x):
        return self.geometry.convolve_matrix(x, self.kept_matrix())


def convolution_of(linear):
    """Returns the class of convolutions whose kernel is the matrix of this class of structured linear layers."""
    return type(linear.__name__.replace("Linear", "Convolution"), (PatchConvolution, linear), {})


class PackedGblrConvolution(PatchConvolution, PackedGblrLinear):
    """A convolution whose kernel is a packed GBLR matrix."""

    def convolved(self, x):
        if self.mode == "dense":
            return super().convolved(x)
        rows = self.geometry.patches(x).flatten(3)
        y = self.product(rows.reshape(-1, self.n_in))
        return y.reshape(*rows.shape[:3], self.n_out).permute(0, 3, 1, 2)


class LowRankConvolution(PatchConvolution, LowRankLinear):
    """A convolution with `right`, followed by a 1 x 1 convolution with `left`."""

    def convolved(self, x):
        return _mix(self.geometry.convolve_matrix(x, self.right), self.left)


class TuckerConvolution(PatchConvolution):
    """A 1 x 1 convolution with input (channels, r_in), a convolution with core (rows, columns, r_in, r_out), and a
    1 x 1 convolution with output (r_out, n_out)."""

    parts = {
        "input": ("channels", "r_in"),
        "core": ("kernel", "kernel", "r_in", "r_out"),
        "output": ("r_out", "n_out"),
    }

    def convolved(self, x):
        inner = self.geometry.convolve(_mix(x, self.input.t()), self.core.permute(3, 2, 0, 1))
        return _mix(inner, self.output.t())


class PositionConvolution(nn.ModuleList):
    """A convolution with one linear layer per kernel position, row by row; each is structured or dense."""

    def __init__(self, layers, geometry):
        super().__init__(layers)
        self.geometry = geometry

    def forward(self, x):
        if any(getattr(layer, "mode", "dense") == "packed" for layer in self):
            seen = self.geometry.patches(x).unbind(3)
            return sum(layer(each) for layer, each in zip(self, seen)).permute(0, 3, 1, 2)
        matrices = [layer.kept_matrix() if isinstance(layer, StructuredLinear) else layer.weight for layer in self]
        kernel = torch.stack(matrices, 2)
        sides = (self.geometry.kernel, self.geometry.kernel)
        return self.geometry.convolve(x, kernel.reshape(*kernel.shape[:2], *sides))


def _mix(x, matrix):
    """A 1 x 1 convolution with a matrix (n_out, channels)."""
    return functional.conv2d(x, matrix[:, :, None, None])
