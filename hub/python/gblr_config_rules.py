"""Checks the config.json of a model with structured layers by the rules of the format (docs/format.md), as the
workbench does. Does not open files and does not need torch.

A broken rule raises a ValueError of one line that names the field or layer and the rule.
"""

import math

from gblr_structures import STRUCTURES

# versions, and the types of structured layers
FORMAT_TYPES = {1: ("F32",), 2: ("F32", "F16", "BF16"), 3: ("F32", "F16", "BF16")}
INT8_FORMAT = 3  # the first version in which any real tensor may be 8-bit integers with scales
MOST_SIDE = 2**24  # masks round widths in float32, which has all integers up to here
MOST_VALUES = 2**31 - 1  # indices on GPUs are 32 bits wide


def one_line(text):
    """Escapes characters that would break the line or control a terminal, since names in files can be any text."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


class LayerError(ValueError):
    """An error of a layer, or of one of its tensors."""

    def __init__(self, layer, what, part=None):
        place = f'layer "{layer}"' if part is None else f'tensor "{layer}.{part}"'
        super().__init__(one_line(f"{place}: {what}"))
        self.layer, self.what, self.part = layer, what, part

    def renamed(self, layer):
        """The same error for a layer of another name."""
        return LayerError(layer, self.what, self.part)


def check_config(fields):
    """Checks the fields of config.json. Returns a dict from the name of each structured layer to its settings, which
    include its structure; None for a dense model."""
    if "gblr" not in fields:
        if str(fields.get("model_type")).startswith("gblr_"):
            raise _field("gblr", f'is missing, model_type is "{fields["model_type"]}"')
        return None
    part = fields["gblr"]
    _expect(isinstance(part, dict), "gblr", "must be an object", part)
    _check_format(part.get("format"))
    structure = part.get("structure", "gblr")
    _expect(structure in STRUCTURES, "gblr.structure", f"must be one of {', '.join(STRUCTURES)}", structure)
    if "sigma" in part:
        held = is_number(part["sigma"]) and 2.0**-126 <= part["sigma"] <= (2 - 2.0**-23) * 2.0**127
        _expect(held, "gblr.sigma", "must be a positive number that float32 holds", part["sigma"])
    if "base_model" in part:
        _expect(isinstance(part["base_model"], str), "gblr.base_model", "must be text", part["base_model"])
    if "relative_flops" in part:
        _check_flops(part["relative_flops"])
    if "images" in part:
        _check_images(part["images"])
    layers = part.get("layers")
    _expect(isinstance(layers, dict), "gblr.layers", "must be an object", layers)
    if not layers and part["format"] < INT8_FORMAT:
        raise _field("gblr.layers", 'must name a layer; a dense model has no "gblr"')
    types = FORMAT_TYPES[part["format"]]
    return {name: {**_checked_layer(name, settings, structure), "types": types} for name, settings in layers.items()}


def _check_format(value):
    if is_number(value) and value in FORMAT_TYPES:
        return
    newer = is_number(value) and value > max(FORMAT_TYPES)
    *others, last = map(str, FORMAT_TYPES)
    known = f"{', '.join(others)} or {last}"
    raise _field("gblr.format", f"must be {known}, is {value}" + ("; a newer version of gblr wrote it" if newer else ""))


def _check_flops(value):
    _expect(isinstance(value, dict), "gblr.relative_flops", "must be an object", value)
    for name in ("reference", "actual"):
        share = value.get(name)
        _expect(is_number(share) and share >= 0, f"gblr.relative_flops.{name}", "must be a number from 0", share)


def _check_images(value):
    """Checks the settings of image preparation."""
    _expect(isinstance(value, dict), "gblr.images", "must be an object", value)
    rules = {
        "size": (lambda each: is_whole(each, 1, MOST_VALUES), "must be a whole number from 1"),
        "mean": (lambda each: _all(each, is_number), "must be a list of numbers"),
        "std": (lambda each: _all(each, _positive), "must be a list of positive numbers"),
        "interpolation": (lambda each: isinstance(each, str), "must be text"),
        "crop_share": (_positive, "must be a positive number"),
        "crop_mode": (lambda each: isinstance(each, str), "must be text"),
    }
    for name, (fits, must) in rules.items():
        _expect(fits(value.get(name)), f"gblr.images.{name}", must, value.get(name))


def _checked_layer(layer, settings, structure):
    if not isinstance(settings, dict):
        raise LayerError(layer, f"must be an object, is {repr(settings)[:80]}")
    settings = {"structure": structure, **settings}

    def expect(met, field, must):
        if not met:
            raise LayerError(layer, f"{field} {must}, is {repr(settings[field])[:80] if field in settings else 'missing'}")

    def expect_whole(field, least, most=MOST_VALUES):
        must = f"must be a whole number from {least} to {most}"
        expect(is_whole(settings.get(field), least, most), field, must)

    own = settings["structure"]
    expect(own in STRUCTURES, "structure", f"must be one of {', '.join(STRUCTURES)}")
    expect_whole("n_in", 1, MOST_SIDE)
    expect_whole("n_out", 1, MOST_SIDE)
    if own == "gblr" or "blocks" in settings:
        expect_whole("blocks", 0)
    if "stride" in settings:
        expect_whole("stride", 1)
    n_in, n_out, kernel = settings["n_in"], settings["n_out"], settings.get("kernel")
    if "kernel" in settings:
        pair = _all(kernel, lambda side: is_whole(side, 1, MOST_VALUES)) and len(kernel) == 2
        expect(pair, "kernel", "must be two whole numbers, rows and columns")
        expect(n_in % (kernel[0] * kernel[1]) == 0, "kernel", f"must divide n_in {n_in} into channels")
    if "shapes" in settings:
        shapes = settings["shapes"]
        expect(isinstance(shapes, dict), "shapes", "must map tensors to their shapes")
        is_side = lambda side: is_whole(side, 0, MOST_VALUES)  # noqa: E731
        expect(all(_all(shape, is_side) for shape in shapes.values()), "shapes", "must be lists of whole numbers")
    if n_in * n_out > MOST_VALUES:
        raise LayerError(layer, f"n_in * n_out must be at most {MOST_VALUES}, is {n_in} * {n_out}")
    if settings.get("blocks", 0) > n_in * n_out:
        raise LayerError(layer, f"blocks must be at most n_in * n_out, {n_in * n_out}, is {settings['blocks']}")
    if settings.get("blocks", 0) * max(n_in, n_out) > MOST_VALUES:
        raise LayerError(layer, f"blocks * max(n_in, n_out) must be at most {MOST_VALUES}, blocks is {settings['blocks']}")
    return settings


def check_claims(fields, shapes):
    """Checks that config.json does not claim more blocks or longer sides than tensors of these shapes can have. A model
    is built before its tensors are read, so that a wrong number could exhaust the memory."""
    arguments = fields.get("model_args")
    given = {**(arguments if isinstance(arguments, dict) else {}), **fields}
    for field in ("n_layer", "num_hidden_layers", "depth", "num_blocks", "layers", "depths"):
        claimed = given.get(field)
        for count in claimed if isinstance(claimed, (list, tuple)) else [claimed]:
            if is_number(count) and count > len(shapes):
                raise _field(field, f"is {count}, but the files have only {len(shapes)} tensors")
    longest = max((side for shape in shapes for side in shape), default=0)
    # each of these is a side of a table or a norm, which are never structured
    for field in ("vocab_size", "n_positions", "n_embd", "hidden_size", "embed_dim"):
        side = given.get(field)
        if is_number(side) and side > longest:
            raise _field(field, f"is {side}, but the longest side of a tensor is {longest}")


def _field(field, what):
    return ValueError(f'config.json: "{field}" {what}')


def _expect(met, field, must, value):
    if not met:
        raise _field(field, f"{must}, is {'missing' if value is None else repr(value)[:80]}")


def is_number(value):
    return (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and math.isfinite(value))


def _positive(value):
    return is_number(value) and value > 0


def is_whole(value, least, most):
    return is_number(value) and value == int(value) and least <= value <= most


def _all(values, fits):
    return isinstance(values, (list, tuple)) and all(map(fits, values))
