# Answers for the tests of images, by PIL itself: one request a run on stdin as JSON, pictures in and out as files of raw
# bytes or as PIL writes them.
import json
import math
import os
import sys

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps


def evaluation(image, size, share, interpolation, mode="center", mean=(0, 0, 0)):
    """Resize and CenterCrop as torchvision composes them, and timm's other crop modes."""
    edge, (w, h) = math.floor(size / share), image.size
    ratio = max(w / edge, h / edge)
    to = {
        "center": (edge, int(edge * h / w)) if w <= h else (int(edge * w / h), edge),
        "squash": (edge, edge),
        "border": (round(w / ratio), round(h / ratio)),
    }[mode]
    image = image.resize(to, getattr(Image, interpolation.upper()))
    across, down = max(0, size - to[0]), max(0, size - to[1])
    padding = (across // 2, down // 2, (across + 1) // 2, (down + 1) // 2)
    image = ImageOps.expand(image, padding, tuple(round(255 * value) for value in mean))
    w, h = image.size
    left, top = int(round((w - size) / 2.0)), int(round((h - size) / 2.0))
    return image.crop((left, top, left + size, top + size))


def affine(image, matrix, interpolation):
    how = getattr(Image, interpolation.upper())
    return image.transform(image.size, Image.AFFINE, matrix, how, fillcolor=(9, 99, 199))


def hue(image, turn):
    h, s, v = image.convert("HSV").split()
    shifted = (np.array(h, dtype=np.uint8).astype(np.int32) + int(turn * 255)) % 256
    return Image.merge("HSV", (Image.fromarray(shifted.astype(np.uint8), "L"), s, v)).convert("RGB")


def solarize_add(image, add):
    return image.point([min(255, i + add) if i < 128 else i for i in range(256)] * 3)


CHANGES = {
    "brightness": lambda i, x: ImageEnhance.Brightness(i).enhance(x),
    "contrast": lambda i, x: ImageEnhance.Contrast(i).enhance(x),
    "saturation": lambda i, x: ImageEnhance.Color(i).enhance(x),
    "sharpness": lambda i, x: ImageEnhance.Sharpness(i).enhance(x),
    "invert": lambda i, x: ImageOps.invert(i),
    "posterize": lambda i, x: ImageOps.posterize(i, x),
    "solarize": lambda i, x: ImageOps.solarize(i, x),
    "solarizeAdd": solarize_add,
    "autoContrast": lambda i, x: ImageOps.autocontrast(i),
    "equalize": lambda i, x: ImageOps.equalize(i),
    "hue": hue,
    "rotate": lambda i, x: i.rotate(x, Image.BICUBIC, fillcolor=(9, 99, 199)),
    "shear": lambda i, x: affine(i, (1, x, 0, 0, 1, 0), "bilinear"),
    "shearBicubic": lambda i, x: affine(i, (1, 0, 0, x, 1, 0), "bicubic"),
    "shift": lambda i, x: affine(i, (1, 0, x * i.size[0], 0, 1, 0), "bilinear"),
}


def kinds(folder):
    """Files of every kind, of a picture that has all of them in it."""
    y, x = np.mgrid[0:40, 0:50]
    base = np.stack([x * 5, y * 6, (x + y) * 2, (x * y) % 256], -1).astype(np.uint8)
    rgb, rgba = Image.fromarray(base[..., :3].copy()), Image.fromarray(base, "RGBA")
    exif = Image.Exif()
    exif[0x112] = 6
    palette = rgb.convert("P", palette=Image.ADAPTIVE)
    cmyk = Image.fromarray(base, "CMYK")
    images = {
        "gray.jpg": (rgb.convert("L"), {}),
        "progressive.jpg": (rgb, {"progressive": True}),
        "rotated.jpg": (rgb, {"exif": exif}),
        "cmyk.jpg": (cmyk, {}),
        "cmyk.tif": (cmyk, {}),
        "alpha.png": (rgba, {}),
        "alpha.webp": (rgba, {"lossless": True}),
        "gray-alpha.png": (Image.fromarray(base[..., 2:4].copy(), "LA"), {}),
        "palette.png": (palette, {"transparency": 3}),
        "palette.gif": (palette, {}),
        "bits.png": (rgb.convert("1"), {}),
        "lossy.webp": (rgb, {}),
        "grey16.png": (Image.fromarray((x * 1300).astype(np.uint16)), {}),
        "grey16.tif": (Image.fromarray((x * y).astype(np.uint16)), {}),
    }
    for name, (image, options) in images.items():
        image.save(os.path.join(folder, name), **options)
    return [dump(folder, name, Image.open(os.path.join(folder, name)).convert("RGB")) for name in images]


def over_white(folder):
    """Transparent pictures as transformers' processors convert them."""
    y, x = np.mgrid[0:40, 0:50]
    base = np.stack([x * 5, y * 6, (x + y) * 2, (x * y) % 256], -1).astype(np.uint8)
    rgba = Image.fromarray(base, "RGBA")
    images = {
        "white-alpha.png": (rgba, {}),
        "white-alpha.webp": (rgba, {"lossless": True}),
        "white-gray.png": (Image.fromarray(base[..., 2:4].copy(), "LA"), {}),
        "white-palette.png": (rgba.convert("RGB").convert("P", palette=Image.ADAPTIVE), {"transparency": 3}),
        "white-color.png": (rgba.convert("RGB"), {"transparency": (0, 0, 0)}),
        "white-none.png": (rgba.convert("RGB"), {}),
    }
    answers = []
    for name, (image, options) in images.items():
        image.save(os.path.join(folder, name), **options)
        seen = Image.open(os.path.join(folder, name)).convert("RGBA")
        white = Image.new("RGBA", seen.size, (255, 255, 255, 255))
        answers.append(dump(folder, name, Image.alpha_composite(white, seen).convert("RGB")))
    return answers


def dump(folder, name, image):
    np.asarray(image).tofile(os.path.join(folder, name + ".rgb"))
    return {"name": name, "width": image.size[0], "height": image.size[1]}


def main():
    given = json.load(sys.stdin)
    folder = given["folder"]
    if given["what"] == "kinds":
        return kinds(folder)
    if given["what"] == "over white":
        return over_white(folder)
    if given["what"] == "evaluate":
        answers = []
        for name in given["names"]:
            image = Image.open(os.path.join(folder, name)).convert("RGB")
            how = {name: given[name] for name in ("mode", "mean") if name in given}
            made = evaluation(image, given["size"], given["share"], given["interpolation"], **how)
            answers.append(dump(folder, name, made))
        return answers
    if given["what"] == "crop":
        image = Image.open(os.path.join(folder, given["name"])).convert("RGB")
        l, t, w, h = given["box"]
        size, how = given["size"], getattr(Image, given["interpolation"].upper())
        return dump(folder, given["name"], image.crop((l, t, l + w, t + h)).resize((size, size), how))
    image = Image.open(os.path.join(folder, given["name"])).convert("RGB")
    return [dump(folder, f"{at}", CHANGES[name](image, value)) for at, (name, value) in enumerate(given["changes"])]


json.dump(main(), sys.stdout)
