"""Loads model folders that may break rules, and prints the logits or the refusal of each as a JSON list.

    folder_logits.py SOURCES < {"ids": [...], "images": {"16": [...]}, "cases": [{"folder": ..., "size": 16, "form": ...}]}

A case may have further arguments of load().

A size of null is a language model. Anything but a ValueError is no refusal, and ends the program.
"""

import json
import math
import sys


def answer(asked, folder, size, form, **options):
    from modeling_gblr import load

    try:
        model = load(folder, form=form, **options)
    except ValueError as error:
        return {"refusal": str(error)}
    if size is None:
        inputs = torch.tensor([asked["ids"]])
    else:
        inputs = torch.tensor(asked["images"][str(size)]).reshape(-1, size, size, 3).permute(0, 3, 1, 2)
    with torch.no_grad():
        logits = model(inputs).flatten().tolist()
    # JSON has no other numbers
    return {"logits": [value if math.isfinite(value) else None for value in logits]}


if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    import torch

    torch.set_num_threads(1)
    asked = json.load(sys.stdin)
    print(json.dumps([answer(asked, **case) for case in asked["cases"]]))
