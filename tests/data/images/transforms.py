# The evaluation transforms of timm and torchvision: what they make of image files, as levels from 0 to 255 in files.
#
#     transforms.py < {"folder", "names", "cases": [{"library", "size", "share", "interpolation", "mode"}]}
#
# Answers with one file a case and image, named CASE.NAME.rgb: size x size x 3 bytes.
import json
import math
import os
import sys

import numpy as np
import torch
from PIL import Image

MEAN, STD = (0.3, 0.5, 0.1), (0.5, 0.25, 0.2)


def timm_transform(size, share, interpolation, mode):
    from timm.data import create_transform

    how = {"crop_pct": share, "interpolation": interpolation, "crop_mode": mode, "mean": MEAN, "std": STD}
    return create_transform((3, size, size), is_training=False, **how)


def torchvision_transform(size, share, interpolation, mode):
    from torchvision.transforms._presets import ImageClassification
    from torchvision.transforms.functional import InterpolationMode

    assert mode == "center"
    kind = InterpolationMode(interpolation)
    sizes = {"crop_size": size, "resize_size": math.floor(size / share)}
    return ImageClassification(interpolation=kind, mean=MEAN, std=STD, **sizes)


def as_tensor(transform):
    """The same of an image that is a tensor of bytes, as torchvision.io reads it."""
    return lambda image: transform(torch.from_numpy(np.array(image)).permute(2, 0, 1))


LIBRARIES = {
    "timm": timm_transform,
    "torchvision": torchvision_transform,
    "torchvision on tensors": lambda **how: as_tensor(torchvision_transform(**how)),
}


def levels(values):
    """What normalization was given, rounded: it is a byte but for float32's last bits."""
    mean, std = (torch.tensor(each)[:, None, None] for each in (MEAN, STD))
    return (255 * (values * std + mean)).round().clamp(0, 255).byte().permute(1, 2, 0).contiguous()


given = json.load(sys.stdin)
for index, case in enumerate(given["cases"]):
    transform = LIBRARIES[case.pop("library")](**case)
    for name in given["names"]:
        image = Image.open(os.path.join(given["folder"], name)).convert("RGB")
        path = os.path.join(given["folder"], f"{index}.{name}.rgb")
        levels(transform(image)).numpy().tofile(path)
print("null")
