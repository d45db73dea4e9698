"""MLP-Mixer in plain torch.nn under timm's names. Usage: see vision_reference.py."""

import os
import sys

from torch import nn

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from vision_reference import answer  # noqa: E402


class Mlp(nn.Module):
    def __init__(self, width, inner):
        super().__init__()
        self.fc1 = nn.Linear(width, inner)
        self.fc2 = nn.Linear(inner, width)

    def forward(self, x):
        return self.fc2(nn.functional.gelu(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, patches, width, ratios):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.mlp_tokens = Mlp(patches, int(ratios[0] * width))
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp_channels = Mlp(width, int(ratios[1] * width))

    def forward(self, x):
        x = x + self.mlp_tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.mlp_channels(self.norm2(x))


class Mixer(nn.Module):
    def __init__(self, config):
        super().__init__()
        args = config["model_args"]
        width, patch = args["embed_dim"], args["patch_size"]
        patches = (args["img_size"] // patch) ** 2
        self.stem = nn.Module()
        self.stem.proj = nn.Conv2d(3, width, patch, stride=patch)
        ratios = args.get("mlp_ratio", [0.5, 4])
        self.blocks = nn.ModuleList(Block(patches, width, ratios) for _ in range(args["num_blocks"]))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, config["num_classes"])

    def forward(self, images):
        x = self.stem.proj(images).flatten(2).transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x).mean(1))


if __name__ == "__main__":
    answer(Mixer)
