"""GPT-2 in plain torch.nn, float64, to hold the workbench's against: logits, loss and gradients of a model folder.

Usage: reference.py FOLDER, a JSON {"windows": [[id]], "gradients": [name]} on stdin, a JSON answer on stdout.
"""

import json
import math
import struct
import sys

import torch
from torch import nn


def read_tensors(path):
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        data = file.read()
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        start, end = entry["data_offsets"]
        assert entry["dtype"] == "F32", entry
        values = torch.frombuffer(bytearray(data[start:end]), dtype=torch.float32)
        tensors[name] = values.reshape(entry["shape"]).double()
    return tensors


ACTIVATIONS = {
    "gelu_new": lambda x: 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "gelu": nn.functional.gelu,
    "relu": torch.relu,
    "silu": nn.functional.silu,
    "tanh": torch.tanh,
}


class Conv1D(nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_in, n_out, dtype=torch.float64))
        self.bias = nn.Parameter(torch.empty(n_out, dtype=torch.float64))

    def forward(self, x):
        return x @ self.weight + self.bias


class Attention(nn.Module):
    def __init__(self, config, index):
        super().__init__()
        width = config["n_embd"]
        self.heads = config["n_head"]
        self.scale = 1 / math.sqrt(width // self.heads) if config.get("scale_attn_weights", True) else 1
        if config.get("scale_attn_by_inverse_layer_idx"):
            self.scale /= index + 1
        self.c_attn = Conv1D(width, 3 * width)
        self.c_proj = Conv1D(width, width)

    def forward(self, x):
        batch, tokens, width = x.shape
        q, k, v = (
            part.view(batch, tokens, self.heads, width // self.heads).transpose(1, 2)
            for part in self.c_attn(x).split(width, dim=2)
        )
        scores = q @ k.transpose(2, 3) * self.scale
        hidden = torch.ones(tokens, tokens, dtype=torch.bool).triu(1)
        weights = scores.masked_fill(hidden, -math.inf).softmax(-1)
        return self.c_proj((weights @ v).transpose(1, 2).reshape(batch, tokens, width))


class Mlp(nn.Module):
    def __init__(self, config):
        super().__init__()
        width, inner = config["n_embd"], config.get("n_inner") or 4 * config["n_embd"]
        self.c_fc = Conv1D(width, inner)
        self.c_proj = Conv1D(inner, width)
        self.activation = ACTIVATIONS[config.get("activation_function", "gelu_new")]

    def forward(self, x):
        return self.c_proj(self.activation(self.c_fc(x)))


class Block(nn.Module):
    def __init__(self, config, index):
        super().__init__()
        norm = {"eps": config.get("layer_norm_epsilon", 1e-5), "dtype": torch.float64}
        self.ln_1 = nn.LayerNorm(config["n_embd"], **norm)
        self.attn = Attention(config, index)
        self.ln_2 = nn.LayerNorm(config["n_embd"], **norm)
        self.mlp = Mlp(config)

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class Gpt2(nn.Module):
    def __init__(self, config):
        super().__init__()
        width = config["n_embd"]
        self.wte = nn.Embedding(config["vocab_size"], width, dtype=torch.float64)
        self.wpe = nn.Embedding(config["n_positions"], width, dtype=torch.float64)
        self.h = nn.ModuleList(Block(config, i) for i in range(config["n_layer"]))
        self.ln_f = nn.LayerNorm(width, eps=config.get("layer_norm_epsilon", 1e-5), dtype=torch.float64)
        self.lm_head = nn.Linear(width, config["vocab_size"], bias=False, dtype=torch.float64)
        if config.get("tie_word_embeddings", True):
            self.lm_head.weight = self.wte.weight

    def forward(self, ids):
        x = self.wte(ids) + self.wpe(torch.arange(ids.shape[1]))
        for block in self.h:
            x = block(x)
        return self.lm_head(self.ln_f(x))


def main(folder, asked):
    with open(f"{folder}/config.json") as file:
        config = json.load(file)
    model = Gpt2(config)
    tied = {"lm_head.weight"} if config.get("tie_word_embeddings", True) else set()
    missing, extra = model.load_state_dict(read_tensors(f"{folder}/model.safetensors"), strict=False)
    assert set(missing) == tied and not extra, (missing, extra)
    windows = torch.tensor(asked["windows"])
    logits = model(windows[:, :-1])
    nll = nn.functional.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten(), reduction="none")
    nll.mean().backward()
    parameters = dict(model.named_parameters())
    return {
        "logits": logits.flatten().tolist(),
        "nll": nll.tolist(),
        "loss": nll.mean().item(),
        "gradients": {name: parameters[name].grad.flatten().tolist() for name in asked["gradients"]},
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    json.dump(main(sys.argv[1], json.load(sys.stdin)), sys.stdout)
