"""Residual networks of basic blocks or bottlenecks in plain torch.nn under torchvision's names or Hugging Face's."""

import os
import sys

from torch import nn

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from vision_reference import answer  # noqa: E402


def projection(n_in, n_out, stride):
    """The convolution of a shortcut whose input and output differ in shape, else None."""
    if stride == 1 and n_in == n_out:
        return None
    return nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride=stride, bias=False), nn.BatchNorm2d(n_out))


class Block(nn.Module):
    expansion = 1

    def __init__(self, n_in, n_out, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.downsample = projection(n_in, n_out, stride)

    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.bn1(self.conv1(x)).relu()
        return (self.bn2(self.conv2(x)) + shortcut).relu()


class Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, n_in, n_out, stride):
        super().__init__()
        inner = n_out // 4
        self.conv1 = nn.Conv2d(n_in, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, n_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(n_out)
        self.downsample = projection(n_in, n_out, stride)

    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.bn1(self.conv1(x)).relu()
        x = self.bn2(self.conv2(x)).relu()
        return (self.bn3(self.conv3(x)) + shortcut).relu()


class TimmResnet(nn.Module):
    def __init__(self, config):
        super().__init__()
        kind = Bottleneck if config["architecture"] == "resnet50" else Block
        args = config["model_args"]
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        n_in, self.stages = 64, len(args["layers"])
        for stage, (blocks, planes) in enumerate(zip(args["layers"], args["channels"])):
            made, n_out = [], planes * kind.expansion
            for block in range(blocks):
                made.append(kind(n_in, n_out, 2 if block == 0 and stage > 0 else 1))
                n_in = n_out
            setattr(self, f"layer{stage + 1}", nn.Sequential(*made))
        self.fc = nn.Linear(n_in, config["num_classes"])

    def forward(self, x):
        x = self.maxpool(self.bn1(self.conv1(x)).relu())
        for stage in range(self.stages):
            x = getattr(self, f"layer{stage + 1}")(x)
        return self.fc(x.mean((2, 3)))


class Convolved(nn.Module):
    def __init__(self, n_in, n_out, kernel, stride):
        super().__init__()
        self.convolution = nn.Conv2d(n_in, n_out, kernel, stride=stride, padding=kernel // 2, bias=False)
        self.normalization = nn.BatchNorm2d(n_out)

    def forward(self, x):
        return self.normalization(self.convolution(x))


class BottleneckLayer(nn.Module):
    def __init__(self, n_in, n_out, stride, early=False):
        super().__init__()
        changes = stride != 1 or n_in != n_out
        self.shortcut = Convolved(n_in, n_out, 1, stride) if changes else nn.Identity()
        first = Convolved(n_in, n_out // 4, 1, stride if early else 1)
        second = Convolved(n_out // 4, n_out // 4, 3, 1 if early else stride)
        self.layer = nn.Sequential(first, second, Convolved(n_out // 4, n_out, 1, 1))

    def forward(self, x):
        inner = self.layer[1](self.layer[0](x).relu()).relu()
        return (self.layer[2](inner) + self.shortcut(x)).relu()


class BasicLayer(nn.Module):
    def __init__(self, n_in, n_out, stride):
        super().__init__()
        changes = stride != 1 or n_in != n_out
        self.shortcut = Convolved(n_in, n_out, 1, stride) if changes else nn.Identity()
        first = Convolved(n_in, n_out, 3, stride)
        self.layer = nn.Sequential(first, Convolved(n_out, n_out, 3, 1))

    def forward(self, x):
        return (self.layer[1](self.layer[0](x).relu()) + self.shortcut(x)).relu()


class Stage(nn.Module):
    def __init__(self, kind, n_in, n_out, depth, stride):
        super().__init__()
        first = kind(n_in, n_out, stride)
        self.layers = nn.Sequential(first, *(kind(n_out, n_out, 1) for _ in range(depth - 1)))

    def forward(self, x):
        return self.layers(x)


class TransformersResnet(nn.Module):
    def __init__(self, config):
        super().__init__()
        stem = config["embedding_size"]
        self.resnet = nn.Module()
        self.resnet.embedder = nn.Module()
        self.resnet.embedder.embedder = Convolved(3, stem, 7, 2)
        widths = [stem, *config["hidden_sizes"]]
        early = config.get("downsample_in_bottleneck", False)
        kind = BasicLayer if config["layer_type"] == "basic" else lambda *sizes: BottleneckLayer(*sizes, early=early)
        stages = [
            Stage(kind, n_in, n_out, depth, 1 if i == 0 else 2)
            for i, (n_in, n_out, depth) in enumerate(zip(widths, widths[1:], config["depths"]))
        ]
        self.resnet.encoder = nn.Module()
        self.resnet.encoder.stages = nn.ModuleList(stages)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(widths[-1], len(config["id2label"])))

    def forward(self, x):
        x = self.pool(self.resnet.embedder.embedder(x).relu())
        for stage in self.resnet.encoder.stages:
            x = stage(x)
        return self.classifier(x.mean((2, 3)))


if __name__ == "__main__":
    answer(lambda config: TimmResnet(config) if "architecture" in config else TransformersResnet(config))
