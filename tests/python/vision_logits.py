"""Loads folders of image models and prints their logits as a JSON list, in order.

    vision_logits.py SOURCES < {"images": {"16": [...]}, "cases": [{"folder": ..., "size": 16, "form": ...}]}

Images are (batch, height, width, 3) in a row, by their size. Form "transformers" loads as its user would, saves the
model once more, and reads that with torch alone. A folder that is refused gives its error instead.
"""

import json
import sys
import tempfile


def with_transformers(folder, pixel_values):
    from transformers import AutoModelForImageClassification

    model, found = AutoModelForImageClassification.from_pretrained(
        folder, trust_remote_code=True, output_loading_info=True
    )
    model.eval()
    labels = torch.arange(len(pixel_values)) % 5
    with torch.no_grad():
        logits = model(pixel_values).logits
        loss = float(model(pixel_values, labels=labels).loss)
    keys = [str(key) for part in ("missing_keys", "unexpected_keys", "mismatched_keys") for key in found[part]]
    wanted = float(torch.nn.functional.cross_entropy(logits, labels))
    config = {"labels": len(model.config.id2label), "type": model.config.model_type}
    with tempfile.TemporaryDirectory() as again:
        model.save_pretrained(again)
        config["again"] = with_torch(again, pixel_values)["logits"]
    return {"class": type(model).__name__, "keys": keys, "loss": [loss, wanted], **config, **answer_of(logits)}


def with_torch(folder, pixel_values, form="auto", mode="dense"):
    from modeling_gblr import load

    model = load(folder, form=form, mode=mode)
    trains = sorted({name.rsplit(".", 1)[-1] for name, each in model.named_parameters() if each.requires_grad})
    with torch.no_grad():
        logits = model(pixel_values)
    found = {"trains": trains, **answer_of(logits)}
    if form == "trainable":
        model.train()
        model(pixel_values).square().sum().backward()
        gradients = (each.grad for each in model.parameters())
        found["learns"] = all(each is not None and bool(each.isfinite().all()) for each in gradients)
    return found


def answer_of(logits):
    return {"shape": list(logits.shape), "logits": logits.flatten().tolist()}


def answer(images, folder, size, form="auto", mode="dense"):
    pixel_values = torch.tensor(images[str(size)]).reshape(-1, size, size, 3).permute(0, 3, 1, 2)
    try:
        if form == "transformers":
            return with_transformers(folder, pixel_values)
        return with_torch(folder, pixel_values, form, mode)
    except ValueError as error:
        return {"error": str(error)}


if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    import torch

    torch.set_num_threads(1)
    asked = json.load(sys.stdin)
    print(json.dumps([answer(asked["images"], **case) for case in asked["cases"]]))
