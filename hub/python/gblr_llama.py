"""The Llama family as a torch module whose linear layers may be structured: Llama, Mistral, Qwen2, Qwen3 and SmolLM3.
load() fills in its parameters.
"""

import torch
from torch import nn
from torch.nn import functional

from gblr_build import Network
from gblr_llama_settings import LLAMA_FAMILIES, expect_unquantized, llama_sizes, setting_problem
from gblr_rotary import rotary_angles, rotary_settings, rotate


class LlamaNorm(nn.Module):
    """RMSNorm (Zhang and Sennrich 2019) over the last axis: x (..., width) to a tensor of the same shape."""

    def __init__(self, width, epsilon):
        super().__init__()
        self.weight, self.epsilon = nn.Parameter(torch.ones(width)), epsilon

    def forward(self, x):
        values = x.to(torch.promote_types(x.dtype, torch.float32))
        values = values * torch.rsqrt(values.square().mean(-1, keepdim=True) + self.epsilon)
        return self.weight * values.to(x.dtype)


class LlamaAttention(nn.Module):
    """Causal self-attention with grouped queries: x (batch, tokens, width) to a tensor of the same shape."""

    def __init__(self, sizes, layers, index):
        super().__init__()
        name, width, head = f"layers.{index}.self_attn", sizes.width, sizes.head
        self.sizes, self.window, self.rotates = sizes, sizes.windows[index], sizes.rotates[index]
        self.q_proj = layers.linear(f"{name}.q_proj", width, sizes.heads * head, bias=sizes.qkv_bias)
        self.k_proj = layers.linear(f"{name}.k_proj", width, sizes.groups * head, bias=sizes.qkv_bias)
        self.v_proj = layers.linear(f"{name}.v_proj", width, sizes.groups * head, bias=sizes.qkv_bias)
        self.o_proj = layers.linear(f"{name}.o_proj", sizes.heads * head, width, bias=sizes.out_bias)
        self.q_norm = LlamaNorm(head, sizes.epsilon) if sizes.norms_of_heads else nn.Identity()
        self.k_norm = LlamaNorm(head, sizes.epsilon) if sizes.norms_of_heads else nn.Identity()

    def forward(self, x, cos, sin):
        """cos, sin: (tokens, r / 2), of the angles of the rotary positions."""
        batch, tokens, _ = x.shape
        split = (batch, tokens, -1, self.sizes.head)
        q = self.q_norm(self.q_proj(x).reshape(split)).transpose(1, 2)
        k = self.k_norm(self.k_proj(x).reshape(split)).transpose(1, 2)
        v = self.v_proj(x).reshape(split).transpose(1, 2)
        if self.rotates:
            q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        each = self.sizes.heads // self.sizes.groups
        k, v = k.repeat_interleave(each, 1), v.repeat_interleave(each, 1)
        scores = q @ k.transpose(2, 3) * self.sizes.head**-0.5
        scores = scores.masked_fill(self._hidden(tokens, x.device), torch.finfo(scores.dtype).min)
        weights = functional.dropout(torch.softmax(scores, 3), self.sizes.attention_dropout, self.training)
        return self.o_proj((weights @ v).transpose(1, 2).reshape(batch, tokens, -1))

    def _hidden(self, tokens, device):
        """Which keys (columns) each query (row) does not see: later ones, and those before its window."""
        ones = torch.ones(tokens, tokens, dtype=torch.bool, device=device)
        return ones.triu(1) if self.window is None else ones.triu(1) | ones.tril(-self.window)


class LlamaMlp(nn.Module):
    """The gated feed-forward network of a block: x (batch, tokens, width) to a tensor of the same shape."""

    def __init__(self, sizes, layers, index):
        super().__init__()
        name, width, inner, bias = f"layers.{index}.mlp", sizes.width, sizes.inner_width, sizes.mlp_bias
        self.activation = sizes.activation
        self.gate_proj = layers.linear(f"{name}.gate_proj", width, inner, bias=bias)
        self.up_proj = layers.linear(f"{name}.up_proj", width, inner, bias=bias)
        self.down_proj = layers.linear(f"{name}.down_proj", inner, width, bias=bias)

    def forward(self, x):
        return self.down_proj(self.activation(self.gate_proj(x)) * self.up_proj(x))


class LlamaBlock(nn.Module):
    """Attention and feed-forward network, each after a normalization and with a residual connection."""

    def __init__(self, sizes, layers, index):
        super().__init__()
        self.input_layernorm = LlamaNorm(sizes.width, sizes.epsilon)
        self.self_attn = LlamaAttention(sizes, layers, index)
        self.post_attention_layernorm = LlamaNorm(sizes.width, sizes.epsilon)
        self.mlp = LlamaMlp(sizes, layers, index)

    def forward(self, x, cos, sin):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class Llama(Network):
    """input_ids (batch, tokens) to logits (batch, tokens, vocabulary). There is no key-value cache; use transformers
    for fast generation."""

    kind = tuple(LLAMA_FAMILIES)

    padded = ("embed_tokens.weight", "lm_head.weight")

    def __init__(self, fields, layers):
        """fields: the fields of config.json."""
        super().__init__()
        sizes = self.sizes = llama_sizes(fields)
        expect_unquantized(fields)
        self.rotary = rotary_settings(fields, sizes)
        self.embed_tokens = nn.Embedding(sizes.vocabulary, sizes.width)
        self.layers = nn.ModuleList(LlamaBlock(sizes, layers, index) for index in range(sizes.blocks))
        self.norm = LlamaNorm(sizes.width, sizes.epsilon)
        self.lm_head = None if sizes.tied else nn.Linear(sizes.width, sizes.vocabulary, bias=False)

    def forward(self, input_ids):
        x = self.embed_tokens(input_ids)
        cos, sin = (each.to(x) for each in rotary_angles(self.rotary, input_ids.shape[1]))
        for block in self.layers:
            x = block(x, cos, sin)
        return functional.linear(self.norm(x), (self.embed_tokens if self.lm_head is None else self.lm_head).weight)

    @staticmethod
    def check_transformers(fields):
        sizes = llama_sizes(fields)
        if rotary_settings(fields, sizes).width < sizes.head:
            what = "partial_rotary_factor is less than 1, which transformers does not apply to these models"
            raise setting_problem(f"{what}; use load() of modeling_gblr.py")

    def ignores(self, name):
        return name == "lm_head.weight" and self.lm_head is None

    @staticmethod
    def parameter_name(stored):
        """Maps a name in checkpoints to the name in this module; None for frequencies of rotary positions, which old
        checkpoints have."""
        name = stored[len("model.") :] if stored.startswith("model.") else stored
        return None if name.endswith(".rotary_emb.inv_freq") else name
