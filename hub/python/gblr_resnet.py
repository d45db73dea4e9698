"""Residual networks as torch modules whose convolutions may be structured: He et al. 2016, ResNet-18 and 34 with basic
blocks, ResNet-50, 101 and 152 with bottlenecks, with the parameter names of torchvision, which timm uses too.
"""

from types import SimpleNamespace

from torch import nn
from torch.nn import functional

from gblr_build import Network, renamer
from gblr_patches import DropPath
from gblr_timm import chosen, class_count, is_timm, timm_arguments, timm_classes, timm_input, timm_name

# A convolution of a block: its kernel, and whether it has the stride of the block. All but the last are narrow.
RESNET_BASIC = ((3, True), (3, False))
RESNET_BOTTLENECK = ((1, False), (3, True), (1, False))
RESNET_EARLY_BOTTLENECK = ((1, True), (3, False), (1, False))
RESNET_EXPANSION = 4  # channels of the output of a bottleneck per narrow channel

RESNET_NAMES = {
    "resnet18": (RESNET_BASIC, (2, 2, 2, 2)),
    "resnet34": (RESNET_BASIC, (3, 4, 6, 3)),
    "resnet50": (RESNET_BOTTLENECK, (3, 4, 6, 3)),
    "resnet101": (RESNET_BOTTLENECK, (3, 4, 23, 3)),
    "resnet152": (RESNET_BOTTLENECK, (3, 8, 36, 3)),
}
RESNET_ARGUMENTS = ("layers", "channels", "in_chans", "drop_rate", "drop_path_rate", "zero_init_last")
RESNET_DEFAULTS = {"global_pool": "avg", "stem_type": "", "output_stride": 32}
MOST_STAGES = 8


def _resnet_stage_names(stage):
    """Hugging Face counts stages from 0, torchvision from 1."""
    own, theirs = f"layer{stage + 1}.#", f"resnet.encoder.stages.{stage}.layers.#"
    return [
        *((f"{theirs}.layer.{i}.convolution", f"{own}.conv{i + 1}") for i in range(3)),
        *((f"{theirs}.layer.{i}.normalization", f"{own}.bn{i + 1}") for i in range(3)),
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
        for stage, (depth, (width, narrow)) in enumerate(zip(sizes.depths, sizes.widths)):
            blocks = nn.Sequential()
            for index in range(depth):
                stride = 2 if stage > 0 and index == 0 else 1
                rate = sizes.drop_path * before / max(1, sum(sizes.depths) - 1)
                name, places = f"layer{stage + 1}.{index}", (channels, narrow, width)
                blocks.append(ResNetBlock(layers, name, sizes.block, places, stride, rate))
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
        return name in RESNET_NAMES


class ResNetBlock(nn.Module):
    """The convolutions of a block with a shortcut. channels: of the input, between the convolutions, and of the output.
    rate: of stochastic depth."""

    def __init__(self, layers, name, kinds, channels, stride, rate):
        super().__init__()
        first, narrow, width = channels
        self.count, before = len(kinds), first
        for index, (kernel, strided) in enumerate(kinds):
            after = width if index == self.count - 1 else narrow
            geometry = (kernel, stride if strided else 1, kernel // 2)
            convolution = layers.convolution(f"{name}.conv{index + 1}", before, after, geometry)
            self.add_module(f"conv{index + 1}", convolution)
            self.add_module(f"bn{index + 1}", nn.BatchNorm2d(after))
            before = after
        self.downsample = None
        if stride != 1 or first != width:
            shortcut = layers.convolution(f"{name}.downsample.0", first, width, (1, stride, 0))
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(width))
        self.drop_path = DropPath(rate)

    def forward(self, x):
        inner = x
        for index in range(1, self.count + 1):
            inner = getattr(self, f"bn{index}")(getattr(self, f"conv{index}")(inner))
            if index < self.count:
                inner = functional.relu(inner)
        return functional.relu(self.drop_path(inner) + (x if self.downsample is None else self.downsample(x)))


def _timm_resnet_sizes(fields):
    name = timm_name(fields)
    if name not in RESNET_NAMES:
        known = ", ".join(RESNET_NAMES)
        raise ValueError(f'config.json: architecture "{name}" is not supported; the ResNets that are supported are {known}')
    block, depths = RESNET_NAMES[name]
    expansion = 1 if block is RESNET_BASIC else RESNET_EXPANSION
    given = timm_arguments(fields, RESNET_ARGUMENTS, RESNET_DEFAULTS)
    return SimpleNamespace(
        stem=64,
        block=block,
        depths=given.get("layers", depths),
        widths=[(narrow * expansion, narrow) for narrow in given.get("channels", (64, 128, 256, 512))],
        colors=given.get("in_chans", timm_input(fields)[0]),
        classes=timm_classes(fields),
        drop=given.get("drop_rate", 0),
        drop_path=given.get("drop_path_rate", 0),
    )


def _transformers_resnet_sizes(fields):
    is_basic = chosen(fields, "layer_type", ("basic", "bottleneck"), "bottleneck") == "basic"
    is_early = chosen(fields, "downsample_in_bottleneck", (False, True), False)
    chosen(fields, "hidden_act", ("relu",), "relu")
    chosen(fields, "downsample_in_first_stage", (False,), False)
    for field in ("depths", "hidden_sizes"):
        if not fields.get(field):
            raise ValueError(f"config.json: {field} is missing")
    bottleneck = RESNET_EARLY_BOTTLENECK if is_early else RESNET_BOTTLENECK
    expansion = 1 if is_basic else RESNET_EXPANSION
    if min(fields["hidden_sizes"]) < expansion:
        least = f"bottleneck blocks have at least {expansion} channels"
        raise ValueError(f"config.json: hidden_sizes has {min(fields['hidden_sizes'])}: {least}")
    return SimpleNamespace(
        stem=fields.get("embedding_size", 64),
        block=RESNET_BASIC if is_basic else bottleneck,
        depths=fields["depths"],
        widths=[(width, width // expansion) for width in fields["hidden_sizes"]],
        colors=fields.get("num_channels", 3),
        classes=class_count(fields),
        drop=0,
        drop_path=0,
    )
