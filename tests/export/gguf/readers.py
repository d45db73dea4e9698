"""Reads GGUF files with other programs, and prints what they found as JSON, by name.

The input is {NAME: {"file": path, "ids": token ids, "texts": texts, "original": path, "folder": path}}. The answer has:
- `differing`: tensors that differ from those of the file `original`, which PyPI's gguf wrote from a model of transformers
- `scores`: logarithms of the probabilities of all tokens behind `ids`, of llama.cpp (PyPI's xllamacpp)
- `expected`: the same of the model of transformers in `folder`
- `tokens`: ids of the texts, of llama.cpp
`original` and `folder` may be missing.
"""

import json
import sys
import urllib.request

import gguf
import numpy as np
import torch
import transformers
import xllamacpp
from transformers import AutoModelForCausalLM

transformers.logging.set_verbosity_error()


def tensors(path):
    found = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
    return {name: gguf.dequantize(tensor.data, tensor.tensor_type).reshape(tensor.shape[::-1]) for name, tensor in found.items()}


def differing(path, original):
    ours, theirs = tensors(path), tensors(original)
    # The factors of rotary positions are computed twice.
    same = lambda name: ours[name].shape == theirs[name].shape and np.allclose(ours[name], theirs[name], rtol=1e-6 if name == "rope_freqs.weight" else 0, atol=0)
    return sorted(set(ours) ^ set(theirs)) + [name for name in ours if name in theirs and not same(name)]


def served(path):
    params = xllamacpp.CommonParams()
    params.model.path = path
    params.n_ctx = params.n_batch = params.n_ubatch = 64
    params.n_parallel = 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.warmup = params.fit_params = False
    params.verbosity = 1
    return xllamacpp.Server(params)


def tokens(server, text):
    body = json.dumps({"content": text, "add_special": True, "parse_special": True}).encode()
    request = urllib.request.Request(server.listening_address + "/tokenize", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["tokens"]


def scores(server, ids, count):
    # A part of a character would not be answered, nor its probabilities. They are those before the bias.
    bias = [[tokens(server, "H")[-1], 1000.0]]
    request = {"prompt": ids, "n_predict": 1, "n_probs": count, "logit_bias": bias, "cache_prompt": False}
    answer = server.handle_completions(request)
    top = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
    found = {each["id"]: each["logprob"] for each in top}
    return [found[token] for token in range(count)]


def expected(folder, ids):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        return torch.log_softmax(model(torch.tensor([ids])).logits[0, -1], -1).tolist()


def found(request):
    path = request["file"]
    server = served(path)
    count = int(tensors(path)["token_embd.weight"].shape[0])
    return {
        "differing": differing(path, request["original"]) if "original" in request else [],
        "types": {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(path).tensors},
        "scores": scores(server, request["ids"], count),
        "expected": expected(request["folder"], request["ids"]) if "folder" in request else [],
        "tokens": [tokens(server, text) for text in request["texts"]],
    }


print(json.dumps({name: found(request) for name, request in json.load(sys.stdin).items()}))
