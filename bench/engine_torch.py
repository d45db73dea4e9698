"""PyTorch as a contestant of the engine bench: serves the cases of bench/engine/cases.ts over the line protocol of
bench/engine/protocol.ts, written as a PyTorch user would write them. Runs on any python3 with torch (1.13 or later);
started by bench/engine.ts, of no use alone.
"""

import argparse
import contextlib
import json
import math
import resource
import sys
import time

import torch
import torch.nn.functional as F


def product(case, device):
    a, b = (uniform(device, case["size"], case["size"]) for _ in range(2))
    return lambda: a @ b


def elementwise(case, device):
    x = uniform(device, case["size"])
    return lambda: torch.tanh(x * 2 + 1) * x - 3


def layer_norm(case, device):
    x = uniform(device, case["rows"], case["width"])
    scale, offset = uniform(device, case["width"]), uniform(device, case["width"])
    return lambda: F.layer_norm(x, (case["width"],), scale, offset)


def rms_norm(case, device):
    x, scale = uniform(device, case["rows"], case["width"]), uniform(device, case["width"])
    if hasattr(F, "rms_norm"):  # torch 2.4
        return lambda: F.rms_norm(x, (case["width"],), scale, 1e-6)
    return lambda: x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * scale


def linear(case, device):
    x, weight = uniform(device, case["rows"], case["width"]), uniform(device, case["outputs"], case["width"])
    return lambda: F.linear(x, weight)


def attention(case, device):
    shape = (1, case["heads"], case["tokens"], case["width"])
    q, k, v, upstream = (uniform(device, *shape) for _ in range(4))
    future = torch.ones(case["tokens"], case["tokens"], dtype=torch.bool, device=device).triu(1)

    def forward():
        if hasattr(F, "scaled_dot_product_attention"):  # torch 2
            return F.scaled_dot_product_attention(q, k, v, is_causal=True)
        scores = q @ k.transpose(-2, -1) / math.sqrt(case["width"])
        return torch.softmax(scores.masked_fill(future, -math.inf), -1) @ v

    if not case["backward"]:
        return forward
    for operand in (q, k, v):
        operand.requires_grad_()

    def forward_and_backward():
        out = forward()
        return torch.autograd.grad(out, (q, k, v), upstream.to(out.dtype))

    return forward_and_backward


def training(case, device):
    model = torch.nn.Sequential(
        torch.nn.Linear(case["width"], case["hidden"]),
        torch.nn.GELU(approximate="tanh"),
        torch.nn.Linear(case["hidden"], case["width"]),
    ).to(device)
    x, target = (uniform(device, case["rows"], case["width"]) for _ in range(2))
    fused = {"fused": True} if device.type == "cuda" else {}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.01, **fused)

    def step():
        optimizer.zero_grad(set_to_none=True)
        with autocast():
            loss = F.mse_loss(model(x), target)
        loss.backward()
        optimizer.step()
        return loss

    return step


def tiny(case, device):
    x, y = uniform(device, case["size"]), uniform(device, case["size"])

    def chain():
        out = x
        for _ in range(case["operations"]):
            out = out + y
        return out

    return chain


CASES = {
    "product": product,
    "elementwise": elementwise,
    "layerNorm": layer_norm,
    "rmsNorm": rms_norm,
    "linear": linear,
    "attention": attention,
    "training": training,
    "tiny": tiny,
}


def uniform(device, *shape):
    return torch.rand(*shape, device=device) * 2 - 1


def options():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=["float32", "tf32", "bfloat16"], default="float32")
    parser.add_argument("--threads", type=int, required=True)
    return parser.parse_args()


OPTIONS = options()
DEVICE = torch.device(OPTIONS.device)


def autocast():
    if OPTIONS.precision != "bfloat16":
        return contextlib.nullcontext()
    return torch.autocast(DEVICE.type, torch.bfloat16)


def under_autocast(run):
    return run if OPTIONS.precision != "bfloat16" else autocast()(run)


def synchronize():
    if DEVICE.type == "cuda":
        torch.cuda.synchronize(DEVICE)


def page_faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


class Service:
    def __init__(self):
        self.call = None

    def about(self, request):
        return {"version": f"PyTorch {torch.__version__}", "device": str(DEVICE), "threads": torch.get_num_threads()}

    def prepare(self, request):
        case = request["case"]
        run = CASES[case["kind"]](case, DEVICE)
        # The training step enters autocast by itself: its backward pass and optimizer belong outside.
        self.call = run if case["kind"] == "training" else under_autocast(run)
        return {"done": True}

    def time(self, request):
        synchronize()
        start = time.perf_counter()
        for _ in range(request["calls"]):
            self.call()
        synchronize()
        return {"seconds": time.perf_counter() - start}

    def faults(self, request):
        faults = []
        for _ in range(request["calls"]):
            before = page_faults()
            self.call()
            synchronize()
            faults.append(page_faults() - before)
        return {"faults": faults}

    def release(self, request):
        self.call = None
        return {"done": True}


def main():
    torch.set_num_threads(OPTIONS.threads)
    torch.backends.cuda.matmul.allow_tf32 = OPTIONS.precision == "tf32"
    service = Service()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(service, request["do"])(request)
        except Exception as error:  # the bench prints it and goes on with the next case
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


main()
