"""One phase of bench/llama.ts in transformers: the peer, on the same model folder and the same token ids.

Reads a JSON request from stdin, `PhaseRequest` of request.ts, and prints a JSON answer as its last line. Phases:
`parity` (logits, greedy ids and the mean NLL), `evaluate`, `train`, `generate`.
"""

import json
import resource
import sys
import time

import torch
import transformers
from torch import nn
from torch.nn import functional


def logits_of(model, asked):
    """Writes the logits of each text, float32, to a file; returns greedy ids and the mean NLL of the windows."""
    with torch.inference_mode(), open(asked["logits"], "wb") as file:
        for ids in asked["texts"]:
            file.write(model(torch.tensor([ids])).logits[0].float().numpy().tobytes())
        return {"greedy": greedy(model, asked), "nll": nll(model, asked["windows"])}


def nll(model, windows):
    """Mean negative log-likelihood of all targets: each window is its inputs and one more token."""
    losses = []
    with torch.inference_mode():
        for ids in windows:
            row = torch.tensor([ids])
            logits = model(row[:, :-1]).logits[0]
            losses.append(functional.cross_entropy(logits, row[0, 1:], reduction="none").double())
    return torch.cat(losses).mean().item()


def greedy(model, asked):
    """Ids after the prompt, the most likely ones, without stopping at the end of a text."""
    prompt = torch.tensor([asked["prompt"]])
    count = asked["tokens"]
    made = model.generate(
        prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=count, min_new_tokens=count,
        temperature=None, top_p=None, top_k=None, repetition_penalty=1.0,
    )  # fmt: skip
    return made[0, prompt.shape[1] :].tolist()


def evaluate(model, asked):
    """Seconds of each batch of windows."""
    seconds = []
    windows = torch.tensor(asked["windows"])
    with torch.inference_mode():
        for rows in windows.split(asked["batch"]):
            begin = time.perf_counter()
            logits = model(rows[:, :-1]).logits
            functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten()).item()
            seconds.append((time.perf_counter() - begin) / len(rows))
    return {"seconds": seconds}


def train(model, asked):
    """Seconds of each step of AdamW."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.1)
    seconds, losses = [], []
    windows = torch.tensor(asked["windows"])
    for rows in list(windows.split(asked["batch"]))[: asked["steps"]]:
        begin = time.perf_counter()
        logits = model(rows[:, :-1]).logits
        loss = functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
        seconds.append((time.perf_counter() - begin) / len(rows))
    return {"seconds": seconds, "losses": losses}


def generate(model, asked):
    """Seconds per token; the first call warms up."""
    greedy(model, {**asked, "tokens": 4})
    seconds = []
    for _ in range(asked["steps"]):
        begin = time.perf_counter()
        greedy(model, asked)
        seconds.append((time.perf_counter() - begin) / asked["tokens"])
    return {"seconds": seconds}


PHASES = {"parity": logits_of, "evaluate": evaluate, "train": train, "generate": generate}


def main():
    asked = json.load(sys.stdin)
    torch.set_num_threads(asked["threads"])
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    model = transformers.AutoModelForCausalLM.from_pretrained(asked["folder"], dtype=torch.float32).eval()
    answer = PHASES[asked["phase"]](model, asked)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    version = f"transformers {transformers.__version__}, PyTorch {torch.__version__}"
    print(json.dumps({"version": version, "peakBytes": peak, **answer}))


main()
