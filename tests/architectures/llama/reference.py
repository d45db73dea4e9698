"""Small models of Llama's families, made by transformers, with what it computes of them.

Usage: reference.py, on stdin a JSON {"out": folder, "windows": [[id]], "models": {name: {"config": {...}, "save":
{...}, "partial": bool}}}. Each model is written to OUT/NAME as transformers saves it, with config.json as given in
OUT/NAME/given.json and OUT/NAME/expected/model.safetensors: logits, losses, logits by a key/value cache, and the
gradient of each parameter.
"""

import copy
import json
import os
import sys

import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.models.phi3 import modeling_phi3
from transformers.utils import logging

logging.set_verbosity_error()


def turn_partly(model):
    """Rotates a part of each head as Phi-3 does; the class of Llama has no such code and fails."""
    module = sys.modules[type(model).__module__]
    module.apply_rotary_pos_emb = modeling_phi3.apply_rotary_pos_emb
    turns = model.model.rotary_emb
    if turns.rope_type == "default":
        frequencies, _ = modeling_phi3.Phi3RotaryEmbedding.compute_default_rope_parameters(model.config)
        turns.inv_freq.data = frequencies


def liven(model):
    """The weights of a new model are so small that mistakes hide, and its gains and biases are all the same."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.2)


def stepwise(model, ids):
    """Logits of ids by a cache: first five tokens, then one by one."""
    cache, found = None, []
    for step in [ids[:, :5], *ids[:, 5:].split(1, dim=1)]:
        # The keyword of the cache has changed in version 5.
        answer = model(step, use_cache=True, **({} if cache is None else {"cache": cache}))
        cache = answer.cache
        found.append(answer.logits)
    return torch.cat(found, dim=1)


def make(folder, windows, seed, config, save, partial):
    torch.manual_seed(seed)
    os.makedirs(f"{folder}/expected")
    with open(f"{folder}/given.json", "w") as file:
        json.dump(config, file)
    given = AutoConfig.from_pretrained(f"{folder}/given.json")
    model = AutoModelForCausalLM.from_config(given, attn_implementation="eager").float().eval()
    liven(model)
    dtype = getattr(torch, save.pop("dtype", "float32"))
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype).float()
    copy.deepcopy(model).to(dtype).save_pretrained(folder, **save)
    original = sys.modules[type(model).__module__].apply_rotary_pos_emb
    if partial:
        turn_partly(model)
    ids = torch.tensor(windows)
    logits = model(ids[:, :-1], use_cache=False).logits
    nll = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    nll.mean().backward()
    with torch.no_grad():
        cached = stepwise(model, ids[:1, :-1])
    sys.modules[type(model).__module__].apply_rotary_pos_emb = original
    expected = {"logits": logits.detach(), "nll": nll.detach().reshape(len(windows), -1), "cached": cached}
    gradients = {f"gradient {name}": parameter.grad for name, parameter in model.named_parameters()}
    save_file({name: tensor.contiguous() for name, tensor in {**expected, **gradients}.items()},
              f"{folder}/expected/model.safetensors")


def main(asked):
    for seed, (name, model) in enumerate(asked["models"].items()):
        make(f"{asked['out']}/{name}", asked["windows"], seed, model["config"], model.get("save", {}),
             model.get("partial", False))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(json.load(sys.stdin))
    print("{}")
