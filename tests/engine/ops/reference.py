"""Writes tests/fixtures/engine/ops.json: what PyTorch itself gives for the ops that the engines fuse.

Run once with any PyTorch from 2.5 (the fixture says with which): python3 tests/engine/ops/reference.py
Then lay it out: npx biome format --stdin-file-path=ops.json < tests/fixtures/engine/ops.json
Inputs are float32 numbers; PyTorch computes on them in float64.
"""

import json
import platform
from pathlib import Path

import torch
from torch.nn import functional as F

torch.manual_seed(20)


def sample(*shape, scale=1.0):
    """Multiples of 1/64: exact in float32, short in JSON."""
    return ((torch.randn(*shape) * scale * 64).round() / 64).double().requires_grad_()


def listed(tensor):
    return [float(f"{value:.12g}") for value in tensor.detach().flatten().tolist()]


def operand(tensor):
    return {"shape": list(tensor.shape), "values": listed(tensor)}


def case(function, operands, **settings):
    """A function's value and gradients for an outer gradient."""
    y = function(*operands.values())
    dy = sample(*y.shape)
    gradients = torch.autograd.grad(y, list(operands.values()), dy.detach())
    return {
        "settings": settings,
        "operands": {name: operand(tensor) for name, tensor in operands.items()},
        "dy": listed(dy),
        "y": listed(y),
        "gradients": {name: listed(gradient) for name, gradient in zip(operands, gradients)},
    }


def cross_entropy(targets, **settings):
    ids = torch.tensor(targets)
    result = case(
        lambda logits: F.cross_entropy(logits, ids, reduction="none", **settings),
        {"logits": sample(len(targets), 6, scale=2)},
        ignoreIndex=settings.get("ignore_index", -100),
        labelSmoothing=settings.get("label_smoothing", 0),
    )
    return {**result, "targets": targets}


def adamw(steps, clip_norm):
    """Two groups with settings of their own; the state after each step."""
    groups = [
        {"lr": 0.01, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.1, "params": [sample(3, 4), sample(5)]},
        {"lr": 0.002, "betas": (0.0, 0.95), "eps": 1e-6, "weight_decay": 0.0, "params": [sample(2, 3)]},
    ]
    described = [
        {
            "learningRate": group["lr"],
            "betas": list(group["betas"]),
            "epsilon": group["eps"],
            "weightDecay": group["weight_decay"],
            "parameters": [operand(parameter) for parameter in group["params"]],
        }
        for group in groups
    ]
    parameters = [parameter for group in groups for parameter in group["params"]]
    optimizer = torch.optim.AdamW(groups)
    taken = []
    for _ in range(steps):
        for parameter in parameters:
            parameter.grad = sample(*parameter.shape, scale=2).detach()
        gradients = [listed(parameter.grad) for parameter in parameters]
        norm = torch.nn.utils.clip_grad_norm_(parameters, clip_norm)
        optimizer.step()
        taken.append({"gradients": gradients, "norm": float(norm), "parameters": [listed(p) for p in parameters]})
    return {"clipNorm": clip_norm, "groups": described, "steps": taken}


def rotate(x, cos, sin):
    """apply_rotary_pos_emb of Hugging Face's models, for tables of half the width."""
    width = 2 * cos.shape[-1]
    rotated, rest = x[..., :width], x[..., width:]
    first, second = rotated.chunk(2, dim=-1)
    turned = torch.cat((-second, first), dim=-1)
    return torch.cat((rotated * torch.cat((cos, cos), -1) + turned * torch.cat((sin, sin), -1), rest), dim=-1)


def rotary(tokens, half, *shape):
    angles = sample(tokens, half, scale=2).detach()
    cos, sin = angles.cos(), angles.sin()
    result = case(lambda x: rotate(x, cos, sin), {"x": sample(*shape)})
    return {**result, "cos": operand(cos), "sin": operand(sin)}


def grouped_attention(heads, key_heads, tokens, key_tokens, window):
    positions = torch.arange(tokens)[:, None] + key_tokens - tokens
    keys = torch.arange(key_tokens)
    seen = (keys <= positions) & (keys > positions - window)
    return case(
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=seen, enable_gqa=True),
        {"q": sample(1, heads, tokens, 4), "k": sample(1, key_heads, key_tokens, 4), "v": sample(1, key_heads, key_tokens, 4)},
        window=window,
    )


fixture = {
    "origin": f"PyTorch {torch.__version__} on Python {platform.python_version()}, float64, by tests/engine/ops/reference.py",
    "gelu": [
        case(lambda x, form=form: F.gelu(x, approximate=form), {"x": sample(4, 5, scale=2)}, approximate=form)
        for form in ("none", "tanh")
    ],
    "linear": case(lambda x, weight, bias: F.linear(x, weight, bias), {"x": sample(2, 3, 4), "weight": sample(5, 4), "bias": sample(5)}),
    "layerNorm": case(
        lambda x, gain, bias: F.layer_norm(x, (6,), gain, bias, 1e-5),
        {"x": sample(2, 3, 6), "gain": sample(6), "bias": sample(6)},
        epsilon=1e-5,
    ),
    "crossEntropy": [
        cross_entropy([0, 5, 3, 3]),
        cross_entropy([1, -100, 4], label_smoothing=0.1),
        cross_entropy([2, 0, 0, 5], ignore_index=0),
    ],
    "embedding": {
        **case(lambda table: F.embedding(torch.tensor([[0, 2, 2], [4, 0, 1]]), table), {"table": sample(5, 3)}),
        "ids": [[0, 2, 2], [4, 0, 1]],
    },
    "adamw": adamw(steps=6, clip_norm=4.0),
    "rmsNorm": case(
        lambda x, gain: F.rms_norm(x, (6,), gain, 1e-5), {"x": sample(2, 3, 6), "gain": sample(6)}, epsilon=1e-5
    ),
    "rotary": [rotary(3, 2, 1, 2, 3, 4), rotary(2, 1, 2, 1, 2, 5)],
    "gatedActivation": [
        case(function, {"gate": sample(3, 4, scale=2), "up": sample(3, 4)}, activation=activation)
        for activation, function in (
            ("silu", lambda gate, up: F.silu(gate) * up),
            ("gelu_tanh", lambda gate, up: F.gelu(gate, approximate="tanh") * up),
        )
    ],
    "groupedAttention": [
        grouped_attention(3, 1, 4, 4, window=4),
        grouped_attention(4, 2, 3, 5, window=2),
        grouped_attention(2, 2, 1, 5, window=3),
    ],
}

path = Path(__file__).parents[2] / "fixtures" / "engine" / "ops.json"
path.parent.mkdir(parents=True, exist_ok=True)
path.write_text(json.dumps(fixture, separators=(",", ":")) + "\n")
print(f"{path}: {path.stat().st_size} bytes")
