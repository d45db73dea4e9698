"""The gradient of the mean loss of next tokens with respect to each parameter of trainable model folders, in training.

    gradients.py SOURCES FOLDER ... < [[id]]

Prints a JSON list, for each folder an object from the names of parameters to their gradients, flattened.
"""

import json
import sys

sys.path.insert(0, sys.argv[1])

import torch  # noqa: E402
from modeling_gblr import load  # noqa: E402


def gradients(folder, ids):
    model = load(folder, form="trainable").train()
    torch.nn.functional.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten()).backward()
    return {name: each.grad.flatten().tolist() for name, each in model.named_parameters()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    windows = torch.tensor(json.load(sys.stdin))
    print(json.dumps([gradients(folder, windows) for folder in sys.argv[2:]]))
