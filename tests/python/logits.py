"""Loads model folders with the Python files that are in the first of them, and prints their logits as a JSON list.

    logits.py IDS FOLDER[:FORM[:MODE]] ...      with torch alone
    logits.py IDS FOLDER:transformers ...       as a user of transformers would; also saves and reads it again

A folder that is refused gives its error instead.
"""

import json
import sys
import tempfile


def with_transformers(folder, input_ids):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True).eval()
    with torch.no_grad():
        logits = model(input_ids).logits
        options = {"max_new_tokens": 4, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
        cached = model.generate(input_ids[:, :4], **options).tolist()
        whole = model.generate(input_ids[:, :4], use_cache=False, **options).tolist()
    with tempfile.TemporaryDirectory() as saved:
        model.save_pretrained(saved)
        again = with_torch(saved, input_ids)["logits"]
    found = {"class": type(model).__name__, "cached": cached, "whole": whole, "again": again}
    return {**found, "logits": logits.flatten().tolist()}


def with_torch(folder, input_ids, form="auto", mode="dense"):
    from modeling_gblr import load

    model = load(folder, form=form, mode=mode)
    trains = sorted({name.rsplit(".", 1)[-1] for name, each in model.named_parameters() if each.requires_grad})
    with torch.no_grad():
        logits = model(input_ids)
    return {"logits": logits.flatten().tolist(), "trains": trains}


def answer(case, input_ids):
    folder, *form = case.split(":")
    try:
        return with_transformers(folder, input_ids) if form == ["transformers"] else with_torch(folder, input_ids, *form)
    except ValueError as error:
        return {"error": str(error)}


if __name__ == "__main__":
    sys.path.insert(0, sys.argv[2].split(":")[0])
    import torch

    print(json.dumps([answer(case, torch.tensor(json.loads(sys.argv[1]))) for case in sys.argv[2:]]))
