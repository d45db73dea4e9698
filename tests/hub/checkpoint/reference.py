"""PyTorch's side of torch.test.ts: writes random checkpoints, and reads our safetensors with nothing but struct.

    reference.py make DIR SEED         checkpoints in every form, and truth.json: dtype, shape and SHA-256 of each tensor
    reference.py check FILE CHECKPOINT that FILE holds the tensors of the checkpoint's state_dict, bit for bit
"""

import collections
import hashlib
import json
import os
import random
import struct
import sys

import torch

DTYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64",
    torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip


def raw(tensor):
    """Row-major bytes; every type has some way to them that changes no bit."""
    flat = tensor.detach().contiguous().reshape(-1)
    if flat.dtype == torch.bfloat16:
        flat = flat.view(torch.int16)
    return flat.numpy().tobytes()


def random_tensor(pick):
    dtype = pick.choice(list(DTYPES))
    shape = [pick.randint(0, 4) for _ in range(pick.randint(0, 4))]
    tensor = (torch.randn(shape, dtype=torch.float64) * 50).to(dtype)
    change = pick.randint(0, 5)
    if change == 0 and tensor.dim() > 1:
        tensor = tensor.transpose(0, -1)
    elif change == 1 and tensor.dim() > 0:
        tensor = tensor[..., ::2]
    elif change == 2 and tensor.dim() > 0 and tensor.shape[0] > 1:
        tensor = tensor[1:]
    elif change == 3:
        tensor = tensor.unsqueeze(0).expand(3, *tensor.shape)
    elif change == 4 and tensor.is_floating_point():
        tensor = torch.nn.Parameter(tensor)
    return tensor


def random_checkpoint(pick):
    state = collections.OrderedDict((f"layer.{i}.weight", random_tensor(pick)) for i in range(pick.randint(1, 12)))
    state["tied"] = next(iter(state.values()))
    base = torch.randn(6, 8)
    state["rows"], state["columns"] = base[2:5], base.t()[1:3]
    model = torch.nn.Linear(3, 2)
    model(torch.randn(4, 3)).sum().backward()
    optimizer = torch.optim.AdamW(model.parameters())
    optimizer.step()
    rest = {"text": "σ ünï", "big": 2**80, "none": None, "tuple": (1, [2.5, True]), "bytes": b"\xff\0", "set": {3}}
    return {"state_dict": state, "optimizer": optimizer.state_dict(), "rest": rest, "size": torch.Size([1, 2])}


def make(folder, seed):
    pick = random.Random(seed)
    torch.manual_seed(seed)
    truth = {}
    for i in range(24):
        checkpoint = random_checkpoint(pick)
        legacy, protocol = i % 3 == 2, 2 + i % 4
        name = f"{i}{'-legacy' if legacy else ''}-protocol{protocol}.ckpt"
        torch.save(
            checkpoint,
            os.path.join(folder, name),
            pickle_protocol=protocol,
            _use_new_zipfile_serialization=not legacy,
        )
        truth[name] = {
            key: {"dtype": DTYPES[t.dtype], "shape": list(t.shape), "sha256": hashlib.sha256(raw(t)).hexdigest()}
            for key, t in checkpoint["state_dict"].items()
        }
    with open(os.path.join(folder, "truth.json"), "w") as file:
        json.dump(truth, file)


def check(path, checkpoint):
    expected = torch.load(checkpoint, weights_only=False)["state_dict"]
    with open(path, "rb") as file:
        data = file.read()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    assert set(header) == set(expected), set(header) ^ set(expected)
    for name, entry in header.items():
        start, end = (8 + length + offset for offset in entry["data_offsets"])
        tensor = expected[name]
        assert entry["dtype"] == DTYPES[tensor.dtype] and entry["shape"] == list(tensor.shape), name
        assert data[start:end] == raw(tensor), name
    print(len(header), "tensors agree")


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(sys.argv[2], int(sys.argv[3]))
    else:
        check(sys.argv[2], sys.argv[3])
