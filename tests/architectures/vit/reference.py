"""A vision transformer in plain torch.nn under timm's names or Hugging Face's. Usage: see vision_reference.py."""

import os
import sys

import torch
from torch import nn

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from vision_reference import answer  # noqa: E402


def attend(q, k, v, heads):
    batch, tokens, width = q.shape
    q, k, v = (x.view(batch, tokens, heads, width // heads).transpose(1, 2) for x in (q, k, v))
    weights = (q @ k.transpose(2, 3) * (width // heads) ** -0.5).softmax(-1)
    return (weights @ v).transpose(1, 2).reshape(batch, tokens, width)


class Named(nn.Module):
    """Modules under dotted names, to be as deep as a checkpoint's."""

    def __init__(self, **children):
        super().__init__()
        for name, child in children.items():
            setattr(self, name, child)


class TimmAttention(nn.Module):
    def __init__(self, width, heads, bias):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=bias)
        self.proj = nn.Linear(width, width)

    def forward(self, x):
        return self.proj(attend(*self.qkv(x).chunk(3, dim=-1), self.heads))


class Mlp(nn.Module):
    def __init__(self, width, inner):
        super().__init__()
        self.fc1 = nn.Linear(width, inner)
        self.fc2 = nn.Linear(inner, width)

    def forward(self, x):
        return self.fc2(nn.functional.gelu(self.fc1(x)))


class Gains(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return x * self.gamma


class TimmBlock(nn.Module):
    def __init__(self, width, args):
        super().__init__()
        scaled = args.get("init_values") is not None
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = TimmAttention(width, args["num_heads"], args.get("qkv_bias", True))
        self.ls1 = Gains(width) if scaled else nn.Identity()
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width, int(width * args.get("mlp_ratio", 4)))
        self.ls2 = Gains(width) if scaled else nn.Identity()

    def forward(self, x):
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))


class TimmVit(nn.Module):
    def __init__(self, config):
        super().__init__()
        args = config["model_args"]
        width, patch = args["embed_dim"], args["patch_size"]
        grid = args["img_size"] // patch
        self.average = args.get("global_pool", "token") == "avg"
        self.has_class = args.get("class_token", True)
        self.class_position = self.has_class and not args.get("no_embed_class", False)
        after = args.get("fc_norm")
        after = self.average if after is None else after
        self.patch_embed = Named(proj=nn.Conv2d(3, width, patch, stride=patch))
        if self.has_class:
            self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, grid**2 + (1 if self.class_position else 0), width))
        self.blocks = nn.ModuleList(TimmBlock(width, args) for _ in range(args["depth"]))
        self.norm = nn.Identity() if after else nn.LayerNorm(width, eps=1e-6)
        self.fc_norm = nn.LayerNorm(width, eps=1e-6) if after else nn.Identity()
        self.represents = args.get("representation_size")
        if self.represents:
            self.pre_logits = Named(fc=nn.Linear(width, self.represents))
        self.head = nn.Linear(self.represents or width, config["num_classes"])

    def forward(self, images):
        x = self.patch_embed.proj(images).flatten(2).transpose(1, 2)
        if self.has_class and not self.class_position:
            x = x + self.pos_embed
        if self.has_class:
            x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1)
        if self.class_position or not self.has_class:
            x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        x = x[:, 1 if self.has_class else 0 :].mean(1) if self.average else x[:, 0]
        x = self.fc_norm(x)
        if self.represents:
            x = torch.tanh(self.pre_logits.fc(x))
        return self.head(x)


class TransformersLayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        width, inner = config["hidden_size"], config["intermediate_size"]
        self.heads = config["num_attention_heads"]
        bias = config.get("qkv_bias", True)
        parts = {name: nn.Linear(width, width, bias=bias) for name in ("query", "key", "value")}
        self.attention = Named(attention=Named(**parts), output=Named(dense=nn.Linear(width, width)))
        self.intermediate = Named(dense=nn.Linear(width, inner))
        self.output = Named(dense=nn.Linear(inner, width))
        self.layernorm_before = nn.LayerNorm(width, eps=config["layer_norm_eps"])
        self.layernorm_after = nn.LayerNorm(width, eps=config["layer_norm_eps"])

    def forward(self, x):
        normed, own = self.layernorm_before(x), self.attention.attention
        attended = attend(own.query(normed), own.key(normed), own.value(normed), self.heads)
        x = x + self.attention.output.dense(attended)
        inner = nn.functional.gelu(self.intermediate.dense(self.layernorm_after(x)))
        return x + self.output.dense(inner)


class TransformersVit(nn.Module):
    def __init__(self, config):
        super().__init__()
        width, patch = config["hidden_size"], config["patch_size"]
        tokens = (config["image_size"] // patch) ** 2 + 1
        embeddings = Named(patch_embeddings=Named(projection=nn.Conv2d(3, width, patch, stride=patch)))
        embeddings.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        embeddings.position_embeddings = nn.Parameter(torch.zeros(1, tokens, width))
        layers = nn.ModuleList(TransformersLayer(config) for _ in range(config["num_hidden_layers"]))
        norm = nn.LayerNorm(width, eps=config["layer_norm_eps"])
        self.vit = Named(embeddings=embeddings, encoder=Named(layer=layers), layernorm=norm)
        self.classifier = nn.Linear(width, len(config["id2label"]))

    def forward(self, images):
        own = self.vit.embeddings
        x = own.patch_embeddings.projection(images).flatten(2).transpose(1, 2)
        x = torch.cat([own.cls_token.expand(len(x), -1, -1), x], dim=1) + own.position_embeddings
        for layer in self.vit.encoder.layer:
            x = layer(x)
        return self.classifier(self.vit.layernorm(x)[:, 0])


if __name__ == "__main__":
    answer(lambda config: TimmVit(config) if "architecture" in config else TransformersVit(config))
