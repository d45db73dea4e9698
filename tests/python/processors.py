"""Prepares images with transformers' own image processors, by Pillow, and prints float values as JSON.

    processors.py < {"files": [IMAGE, ...], "cases": [{preprocessor_config.json}, ...]}
"""

import json
import sys

import numpy as np
import transformers
from PIL import Image


def processor(fields):
    name = fields["image_processor_type"]
    kind = getattr(transformers, name + "Pil", None) or getattr(transformers, name)
    return kind(**{key: value for key, value in fields.items() if key != "image_processor_type"})


def prepared(kind, file):
    image = Image.open(file)
    # Without conversion a processor takes only images that have three colors.
    image = image if kind.do_convert_rgb else image.convert("RGB")
    values = kind(image, return_tensors="np")["pixel_values"][0]
    return {"shape": list(values.shape), "values": np.asarray(values, np.float64).transpose(1, 2, 0).ravel().tolist()}


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    print(json.dumps([[prepared(processor(case), file) for file in asked["files"]] for case in asked["cases"]]))
