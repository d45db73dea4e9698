"""A vision transformer or a residual network in plain torch.nn on noise, timed: the peer of bench/vision.ts.

Usage: pytorch.py, a JSON {"name": timm's, "phase": "train" or "evaluate", "batch", "steps", "device", "precision",
"threads"} on stdin, a JSON {"version", "device", "seconds": [of each batch], "peakBytes"} on stdout.
"""

import contextlib
import json
import re
import resource
import sys
import time

import torch
from torch import nn
from torch.nn import functional

CLASSES = 1000
WIDTHS = {"tiny": (192, 12, 3), "small": (384, 12, 6), "base": (768, 12, 12), "large": (1024, 24, 16)}
DEPTHS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3)}


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def attend(self, x):
        batch, tokens, width = x.shape
        q, k, v = (part.view(batch, tokens, self.heads, -1).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
        if hasattr(functional, "scaled_dot_product_attention"):
            y = functional.scaled_dot_product_attention(q, k, v)
        else:
            y = (q @ k.transpose(2, 3) * q.shape[-1] ** -0.5).softmax(-1) @ v
        return self.proj(y.transpose(1, 2).reshape(batch, tokens, width))

    def forward(self, x):
        x = x + self.attend(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Vit(nn.Module):
    def __init__(self, width, blocks, heads, patch, size):
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, stride=patch)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(0.02 * torch.randn(1, (size // patch) ** 2 + 1, width))
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(blocks)))
        self.norm, self.head = nn.LayerNorm(width, eps=1e-6), nn.Linear(width, CLASSES)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.token.expand(len(x), -1, -1), x), 1) + self.positions
        return self.head(self.norm(self.blocks(x))[:, 0])


class Basic(nn.Module):
    def __init__(self, n_in, n_out, stride):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False), nn.BatchNorm2d(n_out))
        self.shortcut = nn.Identity()
        if stride > 1:
            self.shortcut = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))

    def forward(self, x):
        return (self.second(self.first(x)) + self.shortcut(x)).relu()


def resnet(depths):
    layers = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    n_in = 64
    for stage, depth in enumerate(depths):
        for block in range(depth):
            n_out = 64 << stage
            layers.append(Basic(n_in, n_out, 2 if stage > 0 and block == 0 else 1))
            n_in = n_out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(n_in, CLASSES))


def build(name):
    if name in DEPTHS:
        return resnet(DEPTHS[name]), 224
    size_name, patch, size = re.fullmatch(r"vit_(\w+)_patch(\d+)_(\d+)", name).groups()
    return Vit(*WIDTHS[size_name], int(patch), int(size)), int(size)


def main():
    asked = json.load(sys.stdin)
    torch.set_num_threads(asked["threads"])
    torch.manual_seed(0)
    device, batch = asked["device"], asked["batch"]
    on_gpu = device.startswith("cuda")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = asked["precision"] == "tf32"
    autocast = asked["precision"] == "bfloat16"
    model, size = build(asked["name"])
    model = model.to(device).train(asked["phase"] == "train")
    images = torch.randn(batch, 3, size, size, device=device)
    labels = torch.arange(batch, device=device) % CLASSES
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.1)

    def run():
        with torch.autocast("cuda", dtype=torch.bfloat16) if autocast else contextlib.nullcontext():
            return model(images)

    def train():
        loss = functional.cross_entropy(run(), labels, label_smoothing=0.1)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()

    def evaluate():
        with torch.inference_mode():
            run().cpu()

    seconds = []
    for _ in range(asked["steps"]):
        begin = time.perf_counter()
        train() if asked["phase"] == "train" else evaluate()
        seconds.append(time.perf_counter() - begin)
    peak = torch.cuda.max_memory_allocated() if on_gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    named = torch.cuda.get_device_name() if on_gpu else "cpu"
    json.dump({"version": torch.__version__, "device": named, "seconds": seconds, "peakBytes": peak}, sys.stdout)


main()
