"""What trainers save beside weights, for trainer.test.ts: NumPy's arrays and random states, and whole modules.

    trainer.py arrays FILE PROTOCOL    a state_dict with arrays and random states beside it
    trainer.py module FILE [legacy]    a whole module, in a class that is named like a function; its state_dict is
                                       printed as JSON: shape and values of each tensor, in its order
"""

import json
import random
import sys

import torch


def arrays(file, protocol):
    import numpy as np

    hyper = {
        "class_weights": np.ones(3),
        "masked": np.ma.array([1.0, 2.0], mask=[False, True]),
        "pixels": np.arange(6, dtype=np.uint8).reshape(2, 3),
        "columns": np.asfortranarray(np.zeros((2, 3), dtype=np.float32)),
        "big": np.ones(2, dtype=">f8"),
        "names": np.array(["cat", "dog"]),
        "objects": np.array([{"a": 1}, None], dtype=object),
        "rows": np.zeros(2, dtype=[("a", "f4"), ("b", "i8")]),
        "days": np.array(["2020-01-01"], dtype="datetime64[D]"),
        "none": np.zeros((0, 3)),
        "loss": np.float64(1.5),
    }
    states = {
        "generator": np.random.default_rng(0),
        "numpy": np.random.RandomState(0),
        "bits": np.random.PCG64(np.random.SeedSequence(1)),
        "python": random.getstate()[2],
        "torch": torch.get_rng_state()[:8].clone(),
    }
    weights = {"w": torch.arange(6.0).reshape(2, 3)}
    saved = {"state_dict": weights, "hyper_parameters": hyper, "rng": states}
    torch.save(saved, file, pickle_protocol=protocol)


class net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(3, 2)
        self.again = self.first
        self.scale = torch.nn.Parameter(torch.arange(2.0))
        self.shared = self.scale
        self.none = torch.nn.Parameter(torch.zeros(1))
        self.none = None
        self.register_buffer("mean", torch.full((1,), 0.5))
        self.register_buffer("grid", torch.ones(4), persistent=False)
        self.blocks = torch.nn.Sequential(torch.nn.BatchNorm1d(2), torch.nn.GELU(), torch.nn.Linear(2, 2, bias=False))
        self.num_heads = 2
        self.plain = torch.ones(2)
        self.activation = torch.nn.functional.relu
        self.method = self.forward

    def forward(self, x):
        return x


def module(file, legacy):
    torch.manual_seed(0)
    model = torch.nn.DataParallel(net())
    torch.save(model, file, _use_new_zipfile_serialization=not legacy)
    state = model.state_dict()
    truth = {name: {"shape": list(t.shape), "values": t.double().flatten().tolist()} for name, t in state.items()}
    print(json.dumps(truth))


if __name__ == "__main__":
    if sys.argv[1] == "arrays":
        arrays(sys.argv[2], int(sys.argv[3]))
    else:
        module(sys.argv[2], len(sys.argv) > 3)
