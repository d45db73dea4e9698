"""What the references of vision models share: a folder with a checkpoint of random weights, and what PyTorch makes of it.

A reference gives `answer` a module whose parameters have a checkpoint's names; the module itself is plain torch.nn.
"""

import json
import struct
import sys

import torch
from torch import nn


def randomize(model, seed):
    """Weights of a size at which mistakes show, rounded to float32 as the file holds them."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, tensor in list(model.named_parameters()) + list(model.named_buffers()):
            if not tensor.is_floating_point():
                continue
            values = torch.randn(tensor.shape, dtype=torch.float64)
            if name.endswith("running_var"):
                values = 0.5 + torch.rand(tensor.shape, dtype=torch.float64)
            elif tensor.dim() > 1:
                values = values / max(1, tensor[0].numel()) ** 0.5
            else:
                values = 0.3 * values + (1 if tensor.dim() == 1 and name.endswith(("weight", "gamma")) else 0)
            tensor.copy_(values.float().double())


def write_safetensors(path, tensors):
    header, chunks, at = {}, [], 0
    for name, tensor in tensors.items():
        kind = {"torch.float32": "F32", "torch.int64": "I64"}[str(tensor.dtype)]
        data = tensor.contiguous().numpy().tobytes()
        header[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [at, at + len(data)]}
        at += len(data)
        chunks.append(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(chunks))


def stored(model):
    return {
        name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in model.state_dict().items()
    }


def answer(build):
    """Reads what is asked on stdin, writes the checkpoint into the folder, and the answer on stdout."""
    torch.set_num_threads(1)
    folder, asked = sys.argv[1], json.load(sys.stdin)
    config = asked["config"]
    model = build(config).double()
    randomize(model, 7)
    write_safetensors(f"{folder}/model.safetensors", stored(model))
    with open(f"{folder}/config.json", "w") as file:
        json.dump(config, file)
    torch.manual_seed(8)
    batch, size = asked["batch"], asked["image"]
    images = torch.randn(batch, 3, size, size).double()
    labels = torch.arange(batch) % asked["classes"]
    model.eval()
    logits = model(images)
    model.train()
    loss = nn.functional.cross_entropy(model(images), labels, label_smoothing=0.1)
    loss.backward()
    parameters = dict(model.named_parameters())
    buffers = {name: tensor for name, tensor in model.named_buffers() if "running" in name}
    result = {
        "images": images.permute(0, 2, 3, 1).flatten().tolist(),
        "labels": labels.tolist(),
        "logits": logits.flatten().tolist(),
        "loss": loss.item(),
        "gradients": {name: parameters[name].grad.flatten().tolist() for name in asked["gradients"]},
        "buffers": {name: tensor.flatten().tolist() for name, tensor in buffers.items()},
    }
    json.dump(result, sys.stdout)
