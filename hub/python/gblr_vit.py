"""Vision transformers as torch modules whose linear layers may be structured: Dosovitskiy et al. 2021, with timm's
parameter names. Queries, keys and values are one layer, as in timm, or three if one of them is structured.
"""

import re
from types import SimpleNamespace

import torch
from torch import nn
from torch.nn import functional

from gblr_build import Network, renamer
from gblr_patches import DropPath, PatchEmbedding, expect_images
from gblr_timm import chosen, class_count, is_timm, square, timm_arguments, timm_classes, timm_input, timm_name

VIT_NAME = re.compile(r"^(vit|deit|deit3)_(tiny|small|base|large)_patch(\d+)(?:_(\d+))?$")
VIT_SIZES = {"tiny": (192, 12, 3), "small": (384, 12, 6), "base": (768, 12, 12), "large": (1024, 24, 16)}
VIT_ARGUMENTS = (
    "img_size", "patch_size", "in_chans", "embed_dim", "depth", "num_heads", "mlp_ratio", "qkv_bias", "init_values",
    "class_token", "no_embed_class", "global_pool", "fc_norm", "representation_size", "drop_rate", "pos_drop_rate",
    "proj_drop_rate", "attn_drop_rate", "drop_path_rate",
)  # fmt: skip
VIT_DEFAULTS = {"pre_norm": False, "qk_norm": False, "reg_tokens": 0, "dynamic_img_size": False}
VIT_ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "gelu_fast")

# module names of transformers 5, which differ from those in checkpoints
THEIR_VIT, VIT_MODULES = "vit.encoder.layer.#", "vit.layers.#"
own_vit_name = renamer(
    [
        ("vit.embeddings.cls_token", "cls_token"),
        ("vit.embeddings.position_embeddings", "pos_embed"),
        ("vit.embeddings.patch_embeddings.projection", "patch_embed.proj"),
        (f"{THEIR_VIT}.layernorm_before", "blocks.#.norm1"),
        (f"{THEIR_VIT}.attention.attention.query", "blocks.#.attn.q_proj"),
        (f"{THEIR_VIT}.attention.attention.key", "blocks.#.attn.k_proj"),
        (f"{THEIR_VIT}.attention.attention.value", "blocks.#.attn.v_proj"),
        (f"{THEIR_VIT}.attention.output.dense", "blocks.#.attn.proj"),
        (f"{THEIR_VIT}.layernorm_after", "blocks.#.norm2"),
        (f"{THEIR_VIT}.intermediate.dense", "blocks.#.mlp.fc1"),
        (f"{THEIR_VIT}.output.dense", "blocks.#.mlp.fc2"),
        (f"{VIT_MODULES}.attention.q_proj", "blocks.#.attn.q_proj"),
        (f"{VIT_MODULES}.attention.k_proj", "blocks.#.attn.k_proj"),
        (f"{VIT_MODULES}.attention.v_proj", "blocks.#.attn.v_proj"),
        (f"{VIT_MODULES}.attention.o_proj", "blocks.#.attn.proj"),
        (f"{VIT_MODULES}.mlp", "blocks.#.mlp"),
        ("vit.layernorm", "norm"),
        ("classifier", "head"),
    ]
)


class VisionTransformer(Network):
    """pixel_values (batch, colors, image, image), normalized, to logits (batch, classes)."""

    kind = "vit"

    def __init__(self, fields, layers, **options):
        """fields: the fields of config.json, in the format of timm or Hugging Face."""
        super().__init__(**options)
        self.sizes = sizes = (_timm_vit_sizes if is_timm(fields) else _transformers_vit_sizes)(fields)
        _check_vit(sizes)
        width = sizes.width
        self.patch_embed = PatchEmbedding(sizes)
        tokens = (sizes.image // sizes.patch) ** 2 + sizes.class_position
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width)) if sizes.class_token else None
        self.pos_embed = nn.Parameter(torch.zeros(1, tokens, width))
        self.pos_drop = nn.Dropout(sizes.drop.embedding)
        self.blocks = nn.ModuleList(VitBlock(sizes, layers, index) for index in range(sizes.blocks))
        self.add_module(sizes.final_norm, nn.LayerNorm(width, eps=sizes.epsilon))
        self.pre_logits = PreLogits(width, sizes.representation) if sizes.representation else nn.Identity()
        self.head_drop = nn.Dropout(sizes.drop.head)
        self.head = nn.Linear(sizes.representation or width, sizes.classes)

    def forward(self, pixel_values):
        expect_images(pixel_values, self.sizes)
        x = self.pos_drop(self._tokens(pixel_values))
        for block in self.blocks:
            x = block(x)
        return self.head(self.head_drop(self.pre_logits(self._pooled(x))))

    def _tokens(self, pixel_values):
        patches = self.patch_embed(pixel_values)
        if self.cls_token is None:
            return patches + self.pos_embed
        own = self.cls_token.expand(len(patches), -1, -1)
        if self.sizes.class_position:
            return torch.cat([own, patches], 1) + self.pos_embed
        return torch.cat([own, patches + self.pos_embed], 1)

    def _pooled(self, x):
        norm = getattr(self, self.sizes.final_norm)
        if self.sizes.pooling == "token":
            return norm(x[:, 0])
        first = 0 if self.cls_token is None else 1
        if self.sizes.final_norm == "fc_norm":
            return norm(x[:, first:].mean(1))
        return norm(x)[:, first:].mean(1)

    @staticmethod
    def parameter_name(stored):
        # the pooler of a bare ViTModel is not used by the classifier
        return None if stored.startswith("vit.pooler.") else own_vit_name(stored)

    @staticmethod
    def recognizes(name):
        """Whether a timm model of this name is a vision transformer."""
        return VIT_NAME.match(name) is not None


class VitBlock(nn.Module):
    """Attention and feed-forward network: x (batch, tokens, width) to a tensor of the same shape."""

    def __init__(self, sizes, layers, index):
        super().__init__()
        name, rate = f"blocks.{index}", sizes.drop_path * index / max(1, sizes.blocks - 1)
        self.norm1 = nn.LayerNorm(sizes.width, eps=sizes.epsilon)
        self.attn = VitAttention(sizes, layers, f"{name}.attn")
        self.ls1 = VitGains(sizes)
        self.norm2 = nn.LayerNorm(sizes.width, eps=sizes.epsilon)
        self.mlp = VitMlp(sizes, layers, f"{name}.mlp")
        self.ls2 = VitGains(sizes)
        self.drop_path = DropPath(rate)

    def forward(self, x):
        x = x + self.drop_path(self.ls1(self.attn(self.norm1(x))))
        return x + self.drop_path(self.ls2(self.mlp(self.norm2(x))))


class VitAttention(nn.Module):
    """Self-attention: x (batch, tokens, width) to a tensor of the same shape."""

    PARTS = ("q_proj", "k_proj", "v_proj")

    def __init__(self, sizes, layers, name):
        super().__init__()
        self.heads, self.drop, width = sizes.heads, sizes.drop.attention, sizes.width
        apart = [f"{name}.{part}" for part in self.PARTS]
        if any(layers.is_structured(each) or layers.has_weight(each) for each in apart):
            self.qkv = None
            for part, each in zip(self.PARTS, apart):
                self.add_module(part, layers.linear(each, width, width, bias=sizes.attention_bias))
        else:
            self.qkv = nn.Linear(width, 3 * width, bias=sizes.attention_bias)
        self.proj = layers.linear(f"{name}.proj", width, width)
        self.proj_drop = nn.Dropout(sizes.drop.residual)

    def forward(self, x):
        batch, tokens, width = x.shape
        if self.qkv is None:
            parts = (getattr(self, part)(x) for part in self.PARTS)
        else:
            parts = self.qkv(x).split(width, 2)
        split = (batch, tokens, self.heads, width // self.heads)
        q, k, v = (part.reshape(split).transpose(1, 2) for part in parts)
        weights = torch.softmax(q @ k.transpose(2, 3) / (width // self.heads) ** 0.5, 3)
        weights = functional.dropout(weights, self.drop, self.training)
        return self.proj_drop(self.proj((weights @ v).transpose(1, 2).reshape(x.shape)))


class VitMlp(nn.Module):
    """The feed-forward network of a block: x (batch, tokens, width) to a tensor of the same shape."""

    def __init__(self, sizes, layers, name):
        super().__init__()
        self.approximate = "none" if sizes.activation == "gelu" else "tanh"
        self.fc1 = layers.linear(f"{name}.fc1", sizes.width, sizes.inner_width)
        self.fc2 = layers.linear(f"{name}.fc2", sizes.inner_width, sizes.width)
        self.drop1, self.drop2 = nn.Dropout(sizes.drop.middle), nn.Dropout(sizes.drop.residual)

    def forward(self, x):
        return self.drop2(self.fc2(self.drop1(functional.gelu(self.fc1(x), approximate=self.approximate))))


class VitGains(nn.Module):
    """LayerScale (Touvron et al. 2021): a learned factor per channel, if the model has them."""

    def __init__(self, sizes):
        super().__init__()
        self.gamma = nn.Parameter(torch.full((sizes.width,), float(sizes.gains))) if sizes.gains is not None else None

    def forward(self, x):
        return x if self.gamma is None else x * self.gamma


class PreLogits(nn.Module):
    """A linear layer with tanh in front of the classifier: (batch, width) to (batch, representation)."""

    def __init__(self, width, representation):
        super().__init__()
        self.fc = nn.Linear(width, representation)

    def forward(self, x):
        return torch.tanh(self.fc(x))


def _timm_vit_sizes(fields):
    found = VIT_NAME.match(timm_name(fields))
    if not found:
        raise ValueError(f'config.json: architecture "{timm_name(fields)}" is not a plain vision transformer of timm')
    family, size, patch, named_image = found.groups()
    given = timm_arguments(fields, VIT_ARGUMENTS, VIT_DEFAULTS)
    if family == "deit3":  # defaults of deit3, which timm does not write to config.json
        given = {"no_embed_class": True, "init_values": 1e-6, **given}
    width, blocks, heads = VIT_SIZES[size]
    width = given.get("embed_dim", width)
    colors, image = timm_input(fields)
    average = chosen(given, "global_pool", ("token", "avg"), "token") == "avg"
    class_token, proj_drop = given.get("class_token", True), given.get("proj_drop_rate", 0)
    return SimpleNamespace(
        blocks=given.get("depth", blocks),
        width=width,
        heads=given.get("num_heads", heads),
        inner_width=int(width * given.get("mlp_ratio", 4)),
        image=square(given.get("img_size", image or int(named_image or 224)), "model_args.img_size"),
        patch=square(given.get("patch_size", int(patch)), "model_args.patch_size"),
        colors=given.get("in_chans", colors),
        classes=timm_classes(fields),
        epsilon=1e-6,
        activation="gelu",
        attention_bias=given.get("qkv_bias", True),
        class_token=class_token,
        class_position=class_token and not given.get("no_embed_class", False),
        pooling="average" if average else "token",
        final_norm="fc_norm" if given.get("fc_norm", average) else "norm",
        representation=given.get("representation_size"),
        gains=given.get("init_values"),
        drop=SimpleNamespace(
            embedding=given.get("pos_drop_rate", 0),
            residual=proj_drop,
            middle=proj_drop,
            attention=given.get("attn_drop_rate", 0),
            head=given.get("drop_rate", 0),
        ),
        drop_path=given.get("drop_path_rate", 0),
    )


def _transformers_vit_sizes(fields):
    residual = fields.get("hidden_dropout_prob", 0)
    return SimpleNamespace(
        blocks=fields.get("num_hidden_layers", 12),
        width=fields.get("hidden_size", 768),
        heads=fields.get("num_attention_heads", 12),
        inner_width=fields.get("intermediate_size", 3072),
        image=square(fields.get("image_size", 224), "image_size"),
        patch=square(fields.get("patch_size", 16), "patch_size"),
        colors=fields.get("num_channels", 3),
        classes=class_count(fields),
        epsilon=fields.get("layer_norm_eps", 1e-12),
        activation=chosen(fields, "hidden_act", VIT_ACTIVATIONS, "gelu"),
        attention_bias=fields.get("qkv_bias", True),
        class_token=True,
        class_position=True,
        pooling="token",
        final_norm="norm",
        representation=None,
        gains=None,
        drop=SimpleNamespace(
            embedding=residual,
            residual=residual,
            middle=0,
            attention=fields.get("attention_probs_dropout_prob", 0),
            head=0,
        ),
        drop_path=0,
    )


def _check_vit(sizes):
    if sizes.width % sizes.heads != 0:
        raise ValueError(f"config.json: heads must divide the width {sizes.width}, got {sizes.heads}")
    if sizes.patch > sizes.image:
        raise ValueError(f"config.json: the patch size must be at most the image size {sizes.image}, is {sizes.patch}")
    if sizes.pooling == "token" and not sizes.class_token:
        raise ValueError("config.json: global_pool token requires a class token, but class_token is false")
