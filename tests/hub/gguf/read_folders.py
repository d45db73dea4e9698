"""Reads imported folders as Python's users do, and prints what it found as JSON, by name.

    python read_folders.py FOLDER NAME...

FOLDER/NAME is the model as transformers saved it, FOLDER/imported-NAME the folder made from FOLDER/NAME.gguf, and
FOLDER/NAME.json, if there, has the texts.
"""

import json
import os
import sys

import torch
import transformers
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoModelForCausalLM

transformers.logging.set_verbosity_error()
folder = sys.argv[1]


def found(name):
    imported = os.path.join(folder, "imported-" + name)
    ids = torch.arange(40).reshape(2, 20)
    paths = [os.path.join(folder, name), imported]
    models = [AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval() for path in paths]
    with torch.no_grad():
        one, other = [model(ids).logits for model in models]
    tokenizer = Tokenizer.from_file(os.path.join(imported, "tokenizer.json"))
    texts = []
    if os.path.exists(os.path.join(folder, name + ".json")):
        with open(os.path.join(folder, name + ".json")) as file:
            texts = json.load(file)["texts"]
    return {
        "config": json.loads(AutoConfig.from_pretrained(imported).to_json_string(use_diff=False)),
        "ids": [tokenizer.encode(text).ids for text in texts],
        "pair": tokenizer.encode("Hello", "world").ids,
        "decoded": [tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) for text in texts],
        "largest": one.abs().max().item(),
        "difference": (one - other).abs().max().item(),
    }


print(json.dumps({name: found(name) for name in sys.argv[2:]}))
