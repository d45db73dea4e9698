"""Loads base models with adapters by Hugging Face's PEFT and prints their logits as a JSON list, in order.

    peft_logits.py IDS BASE ADAPTERS [BASE ADAPTERS ...]

For each pair: the logits of the base alone, with the adapters beside it, and with the adapters merged by PEFT.
"""

import json
import sys

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM
from transformers.utils import logging

logging.set_verbosity_error()


def logits(model, ids):
    with torch.no_grad():
        return model.eval()(ids).logits.flatten().tolist()


def answer(base, adapters, ids):
    model = AutoModelForCausalLM.from_pretrained(base)
    plain = logits(model, ids)
    adapted = PeftModel.from_pretrained(model, adapters)
    return {"base": plain, "adapted": logits(adapted, ids), "merged": logits(adapted.merge_and_unload(), ids)}


if __name__ == "__main__":
    ids = torch.tensor(json.loads(sys.argv[1]))
    pairs = zip(sys.argv[2::2], sys.argv[3::2])
    print(json.dumps([answer(base, adapters, ids) for base, adapters in pairs]))
