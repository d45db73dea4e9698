"""Parts shared by vision transformers and mixers: patch embedding, stochastic depth, and a check of the input."""

import torch
from torch import nn


class PatchEmbedding(nn.Module):
    """Embeds non-overlapping patches: (batch, colors, height, width) to (batch, patches, n), row by row."""

    def __init__(self, sizes):
        super().__init__()
        self.proj = nn.Conv2d(sizes.colors, sizes.width, sizes.patch, sizes.patch)

    def forward(self, pixel_values):
        return self.proj(pixel_values).flatten(2).transpose(1, 2)


class DropPath(nn.Module):
    """Stochastic depth (Huang et al. 2016). In training, sets the values of each image to 0 with probability `rate` and
    divides the others by 1 - rate."""

    def __init__(self, rate):
        super().__init__()
        self.rate = rate

    def forward(self, x):
        if not self.training or self.rate == 0:
            return x
        kept = torch.rand(len(x), *[1] * (x.dim() - 1), device=x.device) >= self.rate
        return x * kept / (1 - self.rate)


def expect_images(pixel_values, sizes):
    """Raises a ValueError of one line unless images have the size that the model requires."""
    shape, wanted = tuple(pixel_values.shape), (sizes.colors, sizes.image, sizes.image)
    if shape[1:] != wanted or len(shape) != 4:
        must = ", ".join(map(str, ("batch", *wanted)))
        raise ValueError(f"pixel_values must be of shape ({must}), is {shape}")
