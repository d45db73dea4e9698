"""Residual networks of basic blocks as torch modules whose convolutions may be structured: He et al. 2016, ResNet-18
and 34, with the parameter names of torchvision, which timm uses too.
"""

from types import SimpleNamespace

from torch import nn
from torch.nn import functional

from gblr_build import Network, renamer
from gblr_patches import DropPath
from gblr_timm import chosen, class_count, is_timm, timm_arguments, timm_classes, timm_input, timm_name

RESNET_DEPTHS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3)}
RESNET_ARGUMENTS = ("layers", "channels", "in_chans", "drop_rate", "drop_path_rate", "zero_init_last")
RESNET_DEFAULTS = {"global_pool": "avg", "stem_type": "", "output_stride": 32}
MOST_STAGES = 8


def _resnet_stage_names(stage):
    """Hugging Face counts stages from 0, torchvision from 1."""
    own, theirs = f"layer{stage + 1}.#", f"resnet.encoder.stages.{stage}.layers.#"
    return [
        (f"{theirs}.layer.0.convolution", f"{own}.conv1"),
        (f"{theirs}.layer.0.normalization", f"{own}.bn1"),
        (f"{theirs}.layer.1.convolution", f"{own}.conv2"),
        (f"{theirs}.layer.1.normalization", f"{own}.bn2"),
        (f"{theirs}.shortcut.convolution", f"{own}.downsample.0"),
        (f"{theirs}.shortcut.normalization", f"{own}.downsample.1"),
    ]


own_resnet_name = renamer(
    [
        ("resnet.embedder.embedder.convolution", "conv1"),
        ("resnet.embedder.embedder.normalization", "bn1"),
        *(pair for stage in range(MOST_STAGES) for pair in _resnet_stage_names(stage)),
        ("classifier.1", "fc"),
    ]
)


class ResNet(Network):
    """pixel_values (batch, colors, height, width), normalized, to logits (batch, classes)."""

    kind = "resnet"

    def __init__(self, fields, layers, **options):
        """fields: the fields of config.json, in the format of timm or Hugging Face."""
        super().__init__(**options)
        self.sizes = sizes = (_timm_resnet_sizes if is_timm(fields) else _transformers_resnet_sizes)(fields)
        if len(sizes.depths) != len(sizes.widths):
            counts = f"{len(sizes.depths)} and {len(sizes.widths)}"
            raise ValueError(f"config.json: the numbers of depths and widths must be equal, got {counts}")
        self.conv1 = layers.convolution("conv1", sizes.colors, sizes.stem, (7, 2, 3))
        self.bn1 = nn.BatchNorm2d(sizes.stem)
        channels, before = sizes.stem, 0
        for stage, (depth, width) in enumerate(zip(sizes.depths, sizes.widths)):
            blocks = nn.Sequential()
            for index in range(depth):
                stride = 2 if stage > 0 and index == 0 else 1
                rate = sizes.drop_path * before / max(1, sum(sizes.depths) - 1)
                block = ResNetBlock(layers, f"layer{stage + 1}.{index}", (channels, width), stride, rate)
                blocks.append(block)
                channels, before = width, before + 1
            self.add_module(f"layer{stage + 1}", blocks)
        self.head_drop = nn.Dropout(sizes.drop)
        self.fc = nn.Linear(channels, sizes.classes)

    def forward(self, pixel_values):
        if pixel_values.dim() != 4 or pixel_values.shape[1] != self.sizes.colors:
            must = f"(batch, {self.sizes.colors}, height, width)"
            raise ValueError(f"pixel_values must be of shape {must}, is {tuple(pixel_values.shape)}")
        x = functional.relu(self.bn1(self.conv1(pixel_values)))
        x = functional.max_pool2d(x, 3, 2, 1)
        for stage in range(len(self.sizes.depths)):
            x = getattr(self, f"layer{stage + 1}")(x)
        return self.fc(self.head_drop(x.mean((2, 3))))

    @staticmethod
    def parameter_name(stored):
        return None if stored.endswith(".num_batches_tracked") else own_resnet_name(stored)

    @staticmethod
    def recognizes(name):
        """Whether a timm model of this name is a supported ResNet."""
        return name in RESNET_DEPTHS


class ResNetBlock(nn.Module):
    """Two 3 x 3 convolutions with a shortcut. channels: of the input and the output. rate: of stochastic depth."""

    def __init__(self, layers, name, channels, stride, rate):
        super().__init__()
        before, width = channels
        self.conv1 = layers.convolution(f"{name}.conv1", before, width, (3, stride, 1))
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = layers.convolution(f"{name}.conv2", width, width, (3, 1, 1))
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = None
        if stride != 1 or before != width:
            shortcut = layers.convolution(f"{name}.downsample.0", before, width, (1, stride, 0))
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(width))
        self.drop_path = DropPath(rate)

    def forward(self, x):
        inner = functional.relu(self.bn1(self.conv1(x)))
        residual = self.drop_path(self.bn2(self.conv2(inner)))
        return functional.relu(residual + (x if self.downsample is None else self.downsample(x)))


def _timm_resnet_sizes(fields):
    name = timm_name(fields)
    if name not in RESNET_DEPTHS:
        raise ValueError(f'config.json: architecture "{name}" is neither resnet18 nor resnet34')
    given = timm_arguments(fields, RESNET_ARGUMENTS, RESNET_DEFAULTS)
    return SimpleNamespace(
        stem=64,
        depths=given.get("layers", RESNET_DEPTHS[name]),
        widths=given.get("channels", (64, 128, 256, 512)),
        colors=given.get("in_chans", timm_input(fields)[0]),
        classes=timm_classes(fields),
        drop=given.get("drop_rate", 0),
        drop_path=given.get("drop_path_rate", 0),
    )


def _transformers_resnet_sizes(fields):
    chosen(fields, "layer_type", ("basic",), "bottleneck")
    chosen(fields, "hidden_act", ("relu",), "relu")
    chosen(fields, "downsample_in_first_stage", (False,), False)
    for field in ("depths", "hidden_sizes"):
        if not fields.get(field):
            raise ValueError(f"config.json: {field} is missing")
    return SimpleNamespace(
        stem=fields.get("embedding_size", 64),
        depths=fields["depths"],
        widths=fields["hidden_sizes"],
        colors=fields.get("num_channels", 3),
        classes=class_count(fields),
        drop=0,
        drop_path=0,
    )
