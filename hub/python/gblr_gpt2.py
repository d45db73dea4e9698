"""GPT-2 as a torch module whose linear layers may be structured. load() fills in its parameters."""

import math

import torch
from torch import nn
from torch.nn import functional

from configuration_gblr import PlainGPT2Config
from gblr_build import Network


def gelu_tanh(x):
    """GELU in the tanh approximation (Hendrycks and Gimpel 2016)."""
    return functional.gelu(x, approximate="tanh")


GPT2_ACTIVATIONS = {
    "gelu_new": gelu_tanh, "gelu_pytorch_tanh": gelu_tanh, "gelu_fast": gelu_tanh, "gelu": functional.gelu,
    "gelu_python": functional.gelu, "relu": functional.relu, "silu": functional.silu, "swish": functional.silu,
    "tanh": torch.tanh,
}  # fmt: skip


class Gpt2Dense(nn.Module):
    """y = x W + bias. The weight is (n_in, n_out), as in GPT-2's checkpoints."""

    is_transposed = True

    def __init__(self, n_in, n_out, bias=True):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(n_in, n_out))
        self.bias = nn.Parameter(torch.zeros(n_out)) if bias else None

    def forward(self, x):
        return functional.linear(x, self.weight.t(), self.bias)


class Gpt2Attention(nn.Module):
    """Causal self-attention: x (batch, tokens, n_embd) to a tensor of the same shape."""

    def __init__(self, config, layers, name, index):
        super().__init__()
        width = config.n_embd
        self.heads, self.drop = config.n_head, config.attn_pdrop
        self.c_attn = layers.linear(f"{name}.c_attn", width, 3 * width, dense=Gpt2Dense)
        self.c_proj = layers.linear(f"{name}.c_proj", width, width, dense=Gpt2Dense)
        self.scale = 1 / math.sqrt(width // config.n_head) if config.scale_attn_weights else 1.0
        if config.scale_attn_by_inverse_layer_idx:
            self.scale /= index + 1

    def forward(self, x):
        batch, tokens, width = x.shape
        split = (batch, tokens, self.heads, width // self.heads)
        q, k, v = (part.reshape(split).transpose(1, 2) for part in self.c_attn(x).split(width, 2))
        scores = (q * self.scale) @ k.transpose(2, 3)
        hidden = torch.ones(tokens, tokens, dtype=torch.bool, device=x.device).triu(1)
        weights = torch.softmax(scores.masked_fill(hidden, torch.finfo(scores.dtype).min), 3)
        weights = functional.dropout(weights, self.drop, self.training)
        return self.c_proj((weights @ v).transpose(1, 2).reshape(x.shape))


class Gpt2Mlp(nn.Module):
    """The feed-forward network of a block: x (batch, tokens, n_embd) to a tensor of the same shape."""

    def __init__(self, config, layers, name):
        super().__init__()
        inner = config.n_inner or 4 * config.n_embd
        if config.activation_function not in GPT2_ACTIVATIONS:
            known = ", ".join(GPT2_ACTIVATIONS)
            unknown = config.activation_function
            raise ValueError(f'config.json: unknown activation_function "{unknown}"; available: {known}')
        self.activation = GPT2_ACTIVATIONS[config.activation_function]
        self.c_fc = layers.linear(f"{name}.c_fc", config.n_embd, inner, dense=Gpt2Dense)
        self.c_proj = layers.linear(f"{name}.c_proj", inner, config.n_embd, dense=Gpt2Dense)

    def forward(self, x):
        return self.c_proj(self.activation(self.c_fc(x)))


class Gpt2Block(nn.Module):
    """Attention and feed-forward network, each after a LayerNorm and with a residual connection."""

    def __init__(self, config, layers, index):
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.attn = Gpt2Attention(config, layers, f"h.{index}.attn", index)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.mlp = Gpt2Mlp(config, layers, f"h.{index}.mlp")
        self.drop = nn.Dropout(config.resid_pdrop)

    def forward(self, x):
        x = x + self.drop(self.attn(self.ln_1(x)))
        return x + self.drop(self.mlp(self.ln_2(x)))


class GPT2(Network):
    """input_ids (batch, tokens) to logits (batch, tokens, vocabulary). There is no key-value cache; use transformers
    for fast generation."""

    kind = "gpt2"

    padded = ("wte.weight", "lm_head.weight")

    def __init__(self, fields, layers):
        """fields: the fields of config.json."""
        super().__init__()
        config = self.config = PlainGPT2Config(**fields)
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.n_positions, config.n_embd)
        self.drop = nn.Dropout(config.embd_pdrop)
        self.h = nn.ModuleList(Gpt2Block(config, layers, index) for index in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.lm_head = None
        if not config.tie_word_embeddings:
            self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)

    def forward(self, input_ids):
        tokens, most = input_ids.shape[1], self.config.n_positions
        if tokens > most:
            raise ValueError(f"input_ids must have at most {most} tokens, the number of positions, got {tokens}")
        x = self.drop(self.wte(input_ids) + self.wpe(torch.arange(tokens, device=input_ids.device)))
        for block in self.h:
            x = block(x)
        return functional.linear(self.ln_f(x), (self.wte if self.lm_head is None else self.lm_head).weight)

    def ignores(self, name):
        return name == "lm_head.weight" and self.lm_head is None

    @staticmethod
    def parameter_name(stored):
        """Maps a name in checkpoints to the name in this module; None for causal masks, which are not parameters."""
        name = stored
        for prefix in ("model.", "transformer."):
            name = name[len(prefix) :] if name.startswith(prefix) else name
        is_mask = name.endswith((".attn.bias", ".attn.masked_bias"))
        return None if is_mask else name
