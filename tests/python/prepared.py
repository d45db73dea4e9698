"""Prepares images as the model folders say, and names what is likeliest where later classes are.

    prepared.py SOURCES '{"models": [FOLDER, ...], "files": [IMAGE, ...]}'
"""

import json
import sys

sys.path.insert(0, sys.argv[1])

import torch  # noqa: E402
from gblr_images import Images  # noqa: E402
from PIL import Image  # noqa: E402


def answer(model, files):
    images = Images(model)
    values = images.pixel_values(*[Image.open(file) for file in files])
    return {"values": values.flatten(1).tolist(), "top": images.top(torch.arange(3.0)[None])}


if __name__ == "__main__":
    asked = json.loads(sys.argv[2])
    print(json.dumps([answer(model, asked["files"]) for model in asked["models"]]))
