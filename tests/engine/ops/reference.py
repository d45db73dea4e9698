"""Writes tests/fixtures/engine/ops.json: what PyTorch itself gives for the ops that the engines fuse.

Run once with any PyTorch (the fixture says with which): python3 tests/engine/ops/reference.py && npm run format
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
}

path = Path(__file__).parents[2] / "fixtures" / "engine" / "ops.json"
path.parent.mkdir(parents=True, exist_ok=True)
path.write_text(json.dumps(fixture, separators=(",", ":")) + "\n")
print(f"{path}: {path.stat().st_size} bytes")
