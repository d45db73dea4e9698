"""MLP-Mixer as a torch module whose linear layers may be structured: Tolstikhin et al. 2021, with timm's names."""

import re
from types import SimpleNamespace

from torch import nn
from torch.nn import functional

from gblr_build import Network
from gblr_patches import DropPath, PatchEmbedding, expect_images
from gblr_timm import is_timm, square, timm_arguments, timm_classes, timm_input, timm_name

MIXER_NAME = re.compile(r"^mixer_([sbl])(\d+)(?:_(\d+))?$")
MIXER_SIZES = {"s": (512, 8), "b": (768, 12), "l": (1024, 24)}
MIXER_ARGUMENTS = (
    "img_size", "patch_size", "in_chans", "embed_dim", "num_blocks", "mlp_ratio", "drop_rate", "proj_drop_rate",
    "drop_path_rate",
)  # fmt: skip


class Mixer(Network):
    """pixel_values (batch, colors, image, image), normalized, to logits (batch, classes)."""

    kind = "mixer"

    def __init__(self, fields, layers, **options):
        """fields: the fields of timm's config.json."""
        super().__init__(**options)
        self.sizes = sizes = _mixer_sizes(fields)
        self.stem = PatchEmbedding(sizes)
        self.blocks = nn.ModuleList(MixerBlock(sizes, layers, f"blocks.{index}") for index in range(sizes.blocks))
        self.norm = nn.LayerNorm(sizes.width, eps=sizes.epsilon)
        self.head_drop = nn.Dropout(sizes.drop.head)
        self.head = nn.Linear(sizes.width, sizes.classes)

    def forward(self, pixel_values):
        expect_images(pixel_values, self.sizes)
        x = self.stem(pixel_values)
        for block in self.blocks:
            x = block(x)
        return self.head(self.head_drop(self.norm(x).mean(1)))

    @staticmethod
    def recognizes(name):
        """Whether a timm model of this name is an MLP-Mixer."""
        return MIXER_NAME.match(name) is not None


class MixerBlock(nn.Module):
    """Mixes patches, then channels: x (batch, patches, width) to a tensor of the same shape."""

    def __init__(self, sizes, layers, name):
        super().__init__()
        patches = (sizes.image // sizes.patch) ** 2
        self.norm1 = nn.LayerNorm(sizes.width, eps=sizes.epsilon)
        self.mlp_tokens = MixerMlp(layers, f"{name}.mlp_tokens", (patches, sizes.token_width), sizes.drop.mlp)
        self.norm2 = nn.LayerNorm(sizes.width, eps=sizes.epsilon)
        self.mlp_channels = MixerMlp(layers, f"{name}.mlp_channels", (sizes.width, sizes.channel_width), sizes.drop.mlp)
        self.drop_path = DropPath(sizes.drop_path)

    def forward(self, x):
        across = self.mlp_tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        x = x + self.drop_path(across)
        return x + self.drop_path(self.mlp_channels(self.norm2(x)))


class MixerMlp(nn.Module):
    """Two linear layers with GELU between them. widths: the outer and the inner width. rate: of dropout."""

    def __init__(self, layers, name, widths, rate):
        super().__init__()
        outer, inner = widths
        self.fc1 = layers.linear(f"{name}.fc1", outer, inner)
        self.fc2 = layers.linear(f"{name}.fc2", inner, outer)
        self.drop = nn.Dropout(rate)

    def forward(self, x):
        return self.drop(self.fc2(self.drop(functional.gelu(self.fc1(x)))))


def _mixer_sizes(fields):
    if not is_timm(fields):
        raise ValueError('config.json: "architecture" is missing; it must be the name of an MLP-Mixer in timm')
    found = MIXER_NAME.match(timm_name(fields))
    if not found:
        raise ValueError(f'config.json: architecture "{timm_name(fields)}" is not a plain MLP-Mixer of timm')
    size, patch, named_image = found.groups()
    given = timm_arguments(fields, MIXER_ARGUMENTS, {"global_pool": "avg"})
    width, blocks = MIXER_SIZES[size]
    width = given.get("embed_dim", width)
    colors, image = timm_input(fields)
    tokens, channels = given.get("mlp_ratio", (0.5, 4))
    sizes = SimpleNamespace(
        blocks=given.get("num_blocks", blocks),
        width=width,
        # both are relative to the width of the model, also that of token mixing
        token_width=int(tokens * width),
        channel_width=int(channels * width),
        image=square(given.get("img_size", image or int(named_image or 224)), "model_args.img_size"),
        patch=square(given.get("patch_size", int(patch)), "model_args.patch_size"),
        colors=given.get("in_chans", colors),
        classes=timm_classes(fields),
        epsilon=1e-6,
        drop=SimpleNamespace(mlp=given.get("proj_drop_rate", 0), head=given.get("drop_rate", 0)),
        drop_path=given.get("drop_path_rate", 0),
    )
    if sizes.patch > sizes.image:
        raise ValueError(f"config.json: the patch size must be at most the image size {sizes.image}, is {sizes.patch}")
    return sizes
