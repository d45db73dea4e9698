"""Loads folders of dense models with transformers and prints their logits of some inputs as a JSON list, in order.

    dense_logits.py FOLDER ...
"""

import json
import sys

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageClassification
from transformers.utils import logging

logging.set_verbosity_error()


def logits(folder):
    config = AutoConfig.from_pretrained(folder)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        if hasattr(config, "vocab_size"):
            ids = torch.randint(0, config.vocab_size, (2, 13), generator=generator)
            return AutoModelForCausalLM.from_pretrained(folder).eval()(ids).logits
        size = getattr(config, "image_size", 24)
        images = torch.randn((2, 3, size, size), generator=generator)
        return AutoModelForImageClassification.from_pretrained(folder).eval()(images).logits


if __name__ == "__main__":
    print(json.dumps([logits(folder).flatten().tolist() for folder in sys.argv[1:]]))
