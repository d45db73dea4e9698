"""Prepares images for a model as in its evaluation: resize, center crop and normalization, with the settings in
"gblr": "images" of config.json. Also gives the labels of predicted classes. Preparing an image needs Pillow.
"""

import math

import torch

from configuration_gblr import read_config
from gblr_timm import timm_labels

# The numbers of Pillow's filters.
FILTERS = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}
FIELDS = ("size", "mean", "std", "interpolation", "crop_share", "crop_mode")


class Images:
    """Prepares images for the model in a folder."""

    def __init__(self, folder):
        """Raises a ValueError of one line if a setting is missing from config.json or unknown."""
        self.folder, fields = folder, read_config(folder)
        part = (fields.get("gblr") or {}).get("images") or {}
        for field in FIELDS:
            if field not in part:
                raise ValueError(f"{folder}: config.json: gblr.images.{field} is missing; save the model again")
        self.size, self.mean, self.std, self.interpolation, self.crop_share, self.crop_mode = map(part.get, FIELDS)
        self.crop_rounding = part.get("crop_rounding", "half-even")
        self.transparency = part.get("transparency")
        self._expect("interpolation", FILTERS)
        self._expect("crop_mode", ("center", "squash", "border"))
        self._expect("crop_rounding", ("half-even", "down"))
        self._expect("transparency", (None, "white"))
        self.labels = _labels(fields)

    def _expect(self, field, known):
        value = getattr(self, field)
        if value not in known:
            raise ValueError(f'{self.folder}: config.json: gblr.images.{field} has the unknown value "{value}"')

    def pixel_values(self, *images):
        """Converts Pillow images to a float32 tensor (count, 3, size, size), normalized."""
        return torch.stack([self._prepared(self._rgb(image)) for image in images])

    def top(self, logits, count=5):
        """The most probable classes for each row of logits (batch, classes): lists of (label, probability)."""
        shares, classes = logits.softmax(1).topk(min(count, logits.shape[1]), 1)
        rows = zip(shares.tolist(), classes.tolist())
        return [[(self.labels.get(each, str(each)), share) for share, each in zip(*row)] for row in rows]

    def _rgb(self, image):
        """Converts to RGB. Transparent images are put on a white background if the model requires it."""
        from PIL import Image

        if self.transparency == "white" and ("A" in image.getbands() or "transparency" in image.info):
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image)
        return image.convert("RGB")

    def _prepared(self, image):
        image = image.resize(self._resized(*image.size), FILTERS[self.interpolation])
        image = self._middle(image)
        values = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).reshape(self.size, self.size, 3)
        mean, std = torch.tensor(self.mean), torch.tensor(self.std)
        return ((values / 255 - mean) / std).permute(2, 0, 1)

    def _resized(self, width, height):
        """The size that an image is resized to, rounded as in torchvision and timm."""
        edge = math.floor(self.size / self.crop_share)
        if self.crop_mode == "squash":
            return edge, edge
        if self.crop_mode == "border":
            ratio = max(width, height) / edge
            return max(1, round(width / ratio)), max(1, round(height / ratio))
        if width <= height:
            return edge, edge * height // width
        return edge * width // height, edge

    def _middle(self, image):
        """The center crop. With crop_mode "border", the part outside the image has the mean color."""
        from PIL import Image

        left, top = (self._before(side) for side in image.size)
        color = (0, 0, 0)
        if self.crop_mode == "border":
            color = tuple(round(255 * value) for value in self.mean)
        square = Image.new("RGB", (self.size, self.size), color)
        square.paste(image, (left, top))
        return square

    def _before(self, side):
        """Offset of the image in the square along one side; negative if the image is longer."""
        missing = self.size - side
        if missing > 0:
            return missing // 2
        return -(-missing // 2) if self.crop_rounding == "down" else -round(-missing / 2)


def _labels(fields):
    """Labels by class, if the config has them."""
    names = timm_labels(fields)
    if names:
        return dict(enumerate(names))
    labels = fields.get("id2label")
    return {int(index): label for index, label in labels.items()} if isinstance(labels, dict) else {}
