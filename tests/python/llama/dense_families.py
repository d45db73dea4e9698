"""Reads dense models of Llama's families that transformers has saved, with torch alone, and compares what they compute with
what transformers computed with them.

    dense_families.py SOURCES < {"windows": [[id]], "folders": {name: FOLDER}}

A folder has config.json as transformers writes it, given.json with the fields as they were given, and
expected/model.safetensors. Prints by name the deviation of logits and of gradients, relative to the largest value, and
whether both files have the same settings, also under the names of transformers before version 5.
"""

import json
import os
import sys

sys.path.insert(0, sys.argv[1])

import torch  # noqa: E402
from configuration_gblr import with_old_rotary_names  # noqa: E402
from gblr_files import Tensors  # noqa: E402
from gblr_llama_settings import llama_sizes  # noqa: E402
from gblr_rotary import rotary_settings  # noqa: E402
from modeling_gblr import load  # noqa: E402


def settings_of(fields):
    sizes = llama_sizes(fields)
    return sizes, rotary_settings(fields, sizes)


def json_in(folder, file):
    with open(os.path.join(folder, file)) as opened:
        return json.load(opened)


def deviation(values, truth, least=0.0):
    return float((values - truth).abs().max() / max(float(truth.abs().max()), least))


def answer(folder, ids):
    expected = Tensors(os.path.join(folder, "expected", "model.safetensors"))
    model = load(folder).requires_grad_(True)
    logits = model(ids[:, :-1])
    torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()).backward()
    gradients = {name: each.grad for name, each in model.named_parameters()}
    truths = {name: expected.read(f"gradient {stored(name)}") for name in gradients}
    # the gradient of a bias that changes nothing is rounding
    least = 1e-2 * max(float(truth.abs().max()) for truth in truths.values())
    config = json_in(folder, "config.json")
    renamed = [with_old_rotary_names(each) for each in (config, {"rope_scaling": None, **config})]
    settings = [settings_of(each) for each in (json_in(folder, "given.json"), config, *renamed)]
    return {
        "logits": deviation(logits.detach(), expected.read("logits")),
        "gradients": max(deviation(gradients[name], truth, least) for name, truth in truths.items()),
        "same_settings": all(each == settings[0] for each in settings),
    }


def stored(name):
    return name if name == "lm_head.weight" else f"model.{name}"


if __name__ == "__main__":
    torch.set_num_threads(1)
    asked = json.load(sys.stdin)
    windows = torch.tensor(asked["windows"])
    print(json.dumps({name: answer(folder, windows) for name, folder in asked["folders"].items()}))
