"""GPT-2 in plain torch.nn on random tokens, timed: the peer of bench/gpt2.ts and bench/inference.ts.

Usage: pytorch.py, a JSON {"phase": "train" or "evaluate", "width", "blocks", "heads", "context", "vocabulary", "batch",
"steps", "device", "precision", "threads", "compiled"} on stdin, a JSON {"version", "device", "seconds": [of each step],
"peakBytes"} on stdout. "compiled" is optional and stands for torch.compile.
"""

import contextlib
import json
import resource
import sys
import time

import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.c_attn, self.c_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.c_fc, self.c_out = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.gelu = nn.GELU(approximate="tanh")

    def attend(self, x):
        batch, tokens, width = x.shape
        q, k, v = (part.view(batch, tokens, self.heads, -1).transpose(1, 2) for part in self.c_attn(x).split(width, 2))
        if hasattr(functional, "scaled_dot_product_attention"):
            y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            scores = q @ k.transpose(2, 3) * q.shape[-1] ** -0.5
            hidden = torch.ones(tokens, tokens, dtype=torch.bool, device=x.device).triu(1)
            y = scores.masked_fill(hidden, -torch.inf).softmax(-1) @ v
        return self.c_proj(y.transpose(1, 2).reshape(batch, tokens, width))

    def forward(self, x):
        x = x + self.attend(self.ln_1(x))
        return x + self.c_out(self.gelu(self.c_fc(self.ln_2(x))))


class Gpt2(nn.Module):
    def __init__(self, width, blocks, heads, context, vocabulary):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(blocks))
        self.ln_f = nn.LayerNorm(width)
        nn.init.normal_(self.wte.weight, std=0.02)

    def forward(self, ids):
        x = self.wte(ids) + self.wpe.weight[: ids.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.ln_f(x) @ self.wte.weight.T


def main():
    asked = json.load(sys.stdin)
    torch.set_num_threads(asked["threads"])
    torch.manual_seed(0)
    device = asked["device"]
    on_gpu = device.startswith("cuda")
    model = Gpt2(*(asked[key] for key in ("width", "blocks", "heads", "context", "vocabulary"))).to(device)
    run = torch.compile(model) if asked.get("compiled") else model
    fused = {"fused": True} if on_gpu else {}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.1, **fused)
    ids = torch.randint(asked["vocabulary"], (asked["batch"], asked["context"] + 1), device=device)
    bfloat16 = asked["precision"] == "bfloat16"
    torch.backends.cuda.matmul.allow_tf32 = asked["precision"] == "tf32"
    def loss_of():
        with torch.autocast("cuda", dtype=torch.bfloat16) if bfloat16 else contextlib.nullcontext():
            logits = run(ids[:, :-1])
            return functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())

    def train():
        loss = loss_of()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()

    def evaluate():
        with torch.inference_mode():
            loss_of().item()

    seconds = []
    for _ in range(asked["steps"]):
        begin = time.perf_counter()
        train() if asked["phase"] == "train" else evaluate()
        seconds.append(time.perf_counter() - begin)
    peak = torch.cuda.max_memory_allocated() if on_gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    name = torch.cuda.get_device_name() if on_gpu else "cpu"
    json.dump({"version": torch.__version__, "device": name, "seconds": seconds, "peakBytes": peak}, sys.stdout)


main()
