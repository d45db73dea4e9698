"""What PyTorch gives for training, in float64: read as JSON from stdin, written as JSON to stdout.

`gpt2`: steps of torch.optim.AdamW on a GPT-2 written in plain torch.nn.functional. `lora`: the same on adapters of a GPT-2
with low-rank layers, with a dense GPT-2 as the teacher. `distillation`: a loss with its gradients.
"""

import json
import sys

import torch
from torch.nn import functional as F

torch.set_default_dtype(torch.float64)


def tensor(stored):
    return torch.tensor(stored["values"], dtype=torch.float64).reshape(stored["shape"])


def listed(x):
    return x.detach().flatten().tolist()


def logits_of(p, config, ids):
    batch, tokens = ids.shape
    width, heads = config["n_embd"], config["n_head"]
    x = p["wte.weight"][ids] + p["wpe.weight"][:tokens]

    def norm(name, x):
        return F.layer_norm(x, (width,), p[f"{name}.weight"], p[f"{name}.bias"], config["layer_norm_epsilon"])

    def layer(name, x):
        factored = f"{name}.left" in p
        weight = (p[f"{name}.left"] @ p[f"{name}.right"]).T if factored else p[f"{name}.weight"]
        return x @ weight + p[f"{name}.bias"]

    hidden = torch.full((tokens, tokens), float("-inf")).triu(1)
    for i in range(config["n_layer"]):
        qkv = layer(f"h.{i}.attn.c_attn", norm(f"h.{i}.ln_1", x)).split(width, dim=-1)
        q, k, v = (part.reshape(batch, tokens, heads, -1).transpose(1, 2) for part in qkv)
        scores = q @ k.transpose(-1, -2) / (width // heads) ** 0.5 + hidden
        y = (scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, tokens, width)
        x = x + layer(f"h.{i}.attn.c_proj", y)
        inner = F.gelu(layer(f"h.{i}.mlp.c_fc", norm(f"h.{i}.ln_2", x)), approximate="tanh")
        x = x + layer(f"h.{i}.mlp.c_proj", inner)
    return norm("ln_f", x) @ p["wte.weight"].T


def steps(given, optimizer, loss_of):
    """Losses and norms of gradients of a step for each learning rate. loss_of: from windows of ids to the loss."""
    learned = [x for group in optimizer.param_groups for x in group["params"]]
    losses, norms = [], []
    for rate, windows in zip(given["rates"], given["windows"]):
        loss = loss_of(torch.tensor(windows))
        optimizer.zero_grad()
        loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(learned, given["clip_norm"])))
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        losses.append(float(loss))
    return {"losses": losses, "norms": norms}


def gpt2(given):
    p = {name: tensor(stored).requires_grad_() for name, stored in given["parameters"].items()}
    groups = [
        {"params": [x for x in p.values() if x.dim() > 1], "weight_decay": given["weight_decay"]},
        {"params": [x for x in p.values() if x.dim() <= 1], "weight_decay": 0.0},
    ]

    def loss_of(ids):
        logits = logits_of(p, given["config"], ids[:, :-1])
        return F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())

    found = steps(given, torch.optim.AdamW(groups, lr=1.0, betas=(0.9, 0.999), eps=given["epsilon"]), loss_of)
    return {**found, "parameters": {name: listed(x) for name, x in p.items()}}


def lora(given):
    def read(part):
        return {name: tensor(stored) for name, stored in given[part].items()}

    base, teacher, adapters = read("parameters"), read("teacher"), read("adapters")
    for x in adapters.values():
        x.requires_grad_()
    optimizer = torch.optim.AdamW(adapters.values(), lr=1.0, eps=given["epsilon"], weight_decay=given["weight_decay"])

    def merged():
        adapted = {name.removesuffix(".lora_A") for name in adapters if name.endswith(".lora_A")}
        sums = {n: base[n] + given["scale"] * adapters[f"{n}.lora_B"] @ adapters[f"{n}.lora_A"] for n in adapted}
        return {**base, **sums}

    def loss_of(ids):
        z, t = (logits_of(p, given["config"], ids[:, :-1]).flatten(0, 1) for p in (merged(), teacher))
        return distilled(z, t, ids[:, 1:].flatten(), given["temperature"], given["weight"])

    found = steps(given, optimizer, loss_of)
    return {**found, "parameters": {name: listed(x) for name, x in merged().items()}}


def distilled(z, t, targets, temperature, weight):
    """The loss of logits z, (1 - weight) cross-entropy + weight T² KL(t || z) at temperature T."""
    student, teacher = (F.log_softmax(x / temperature, -1) for x in (z, t))
    divergence = F.kl_div(student, teacher, log_target=True, reduction="batchmean")
    return (1 - weight) * F.cross_entropy(z, targets) + weight * temperature**2 * divergence


def distillation(given):
    rows, head = (tensor(given[name]).requires_grad_() for name in ("rows", "head"))
    t = tensor(given["teacher_rows"]) @ tensor(given["teacher_head"]).T
    loss = distilled(rows @ head.T, t, torch.tensor(given["targets"]), given["temperature"], given["weight"])
    loss.backward()
    return {"loss": float(loss), "rows": listed(rows.grad), "head": listed(head.grad)}


given = json.load(sys.stdin)
json.dump({"gpt2": gpt2, "lora": lora, "distillation": distillation}[given["what"]](given), sys.stdout)
