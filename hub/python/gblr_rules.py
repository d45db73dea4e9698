"""The rules of a model folder with structured layers, the same to which the workbench holds it (docs/format.md): what
config.json says of the layers, which tensors each must have, and where blocks may lie. Opens no files, needs no torch.

Whatever breaks a rule is refused with a ValueError of one line that names the tensor, or the field, and the rule.
"""

import math
from typing import NamedTuple

from gblr_structures import STRUCTURES

FORMAT = 1
MOST_SIDE = 2**24  # masks round shares of a side in float32, which counts that far
MOST_VALUES = 2**31 - 1  # indices on GPUs are 32 bits wide

REAL = ("F64", "F32", "F16", "BF16")
PACKED = ("spans", "values_in", "values_out")
TRAINABLE = ("lr_weight1", "lr_weight2", "widths", "locations")
BUFFERS = ("sigma", "freq_in", "freq_out")  # of the reference's layers; config.json says what they say

# structures whose tensors have no rules of their own here, as GBLR's have
PLAIN = {name: structure for name, structure in STRUCTURES.items() if structure["parts"]}


def _plain_forms():
    """By their signs, which several structures can have in common."""
    found = {}
    for name, structure in PLAIN.items():
        signs = tuple(structure["signs"])
        _, parts, names = found.get(", ".join(sorted(signs)), (signs, (), ()))
        found[", ".join(sorted(signs))] = (signs, (*parts, *structure["parts"]), (*names, name))
    return found


# how tensors can hold a structured layer: by which of them it is known, all that it has, what config.json may call it
FORMS = {
    "packed": (PACKED, PACKED, ("gblr",)),
    "trainable": (("lr_weight1", "lr_weight2"), TRAINABLE + BUFFERS, ("gblr",)),
    **_plain_forms(),
}
SIGNS = {sign for signs, _, _ in FORMS.values() for sign in signs}
PARTS = {part for _, parts, _ in FORMS.values() for part in parts} | {"weight"}


def one_line(text):
    """The same text with escapes for what would break the line or steer a terminal: names in files can be any text."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


class LayerError(ValueError):
    """What is wrong with a layer, or with one of its tensors."""

    def __init__(self, layer, what, part=None):
        place = f'layer "{layer}"' if part is None else f'tensor "{layer}.{part}"'
        super().__init__(one_line(f"{place}: {what}"))
        self.layer, self.what, self.part = layer, what, part

    def renamed(self, layer):
        return LayerError(layer, self.what, self.part)


class Stored(NamedTuple):
    """A tensor in a file: its name there, its type as safetensors calls it, its shape."""

    name: str
    dtype: str
    shape: tuple


def check_config(fields):
    """fields: of config.json. Returns the settings of each structured layer by name, its structure among them; None for
    a dense model."""
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
        held = _is_number(part["sigma"]) and 2.0**-126 <= part["sigma"] <= (2 - 2.0**-23) * 2.0**127
        _expect(held, "gblr.sigma", "must be a positive number that float32 holds", part["sigma"])
    if "base_model" in part:
        _expect(isinstance(part["base_model"], str), "gblr.base_model", "must be text", part["base_model"])
    if "relative_flops" in part:
        _check_flops(part["relative_flops"])
    if "images" in part:
        _check_images(part["images"])
    layers = part.get("layers")
    _expect(isinstance(layers, dict), "gblr.layers", "must be an object", layers)
    if not layers:
        raise _field("gblr.layers", 'must name a layer; a dense model has no "gblr"')
    return {name: _checked_layer(name, settings, structure) for name, settings in layers.items()}


def _check_format(value):
    if _is_number(value) and value == FORMAT:
        return
    newer = _is_number(value) and value > FORMAT
    raise _field("gblr.format", f"must be {FORMAT}, is {value}" + ("; a newer version of gblr wrote it" if newer else ""))


def _check_flops(value):
    _expect(isinstance(value, dict), "gblr.relative_flops", "must be an object", value)
    for name in ("reference", "actual"):
        share = value.get(name)
        _expect(_is_number(share) and share >= 0, f"gblr.relative_flops.{name}", "must be a number from 0", share)


def _check_images(value):
    """How images are prepared."""
    _expect(isinstance(value, dict), "gblr.images", "must be an object", value)
    rules = {
        "size": (lambda each: _is_whole(each, 1, MOST_VALUES), "must be a whole number from 1"),
        "mean": (lambda each: _all(each, _is_number), "must be a list of numbers"),
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
        expect(_is_whole(settings.get(field), least, most), field, must)

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
        pair = _all(kernel, lambda side: _is_whole(side, 1, MOST_VALUES)) and len(kernel) == 2
        expect(pair, "kernel", "must be two whole numbers, rows and columns")
        expect(n_in % (kernel[0] * kernel[1]) == 0, "kernel", f"must divide n_in {n_in} into channels")
    if "shapes" in settings:
        shapes = settings["shapes"]
        expect(isinstance(shapes, dict), "shapes", "must map tensors to their shapes")
        is_side = lambda side: _is_whole(side, 0, MOST_VALUES)  # noqa: E731
        expect(all(_all(shape, is_side) for shape in shapes.values()), "shapes", "must be lists of whole numbers")
    if n_in * n_out > MOST_VALUES:
        raise LayerError(layer, f"n_in * n_out must be at most {MOST_VALUES}, is {n_in} * {n_out}")
    if settings.get("blocks", 0) > n_in * n_out:
        raise LayerError(layer, f"blocks must be at most n_in * n_out, {n_in * n_out}, is {settings['blocks']}")
    if settings.get("blocks", 0) * max(n_in, n_out) > MOST_VALUES:
        raise LayerError(layer, f"blocks * max(n_in, n_out) must be at most {MOST_VALUES}, blocks is {settings['blocks']}")
    return settings


def own_tensors(tensors, own_name):
    """tensors: of a file. Returns them by the names that they have in the model. Two must not have the same, and those of
    a structured layer must have the layer's name in common."""
    found, layers = {}, {}
    for tensor in tensors:
        name = own_name(tensor.name)
        if name is None:
            continue
        if name in found:
            raise ValueError(f'tensor "{tensor.name}": is there twice, as "{found[name].name}" too')
        found[name] = tensor
        (layer, _, part), stored = name.rpartition("."), tensor.name.rpartition(".")[0]
        if part in PARTS and layers.setdefault(layer, stored) != stored:
            raise ValueError(f'tensor "{tensor.name}": others of its layer are of "{layers[layer]}"')
    return found


def check_claims(fields, shapes):
    """That config.json does not claim more blocks or longer sides than files with tensors of these shapes can have:
    building them takes memory."""
    arguments = fields.get("model_args")
    given = {**(arguments if isinstance(arguments, dict) else {}), **fields}
    for field in ("n_layer", "num_hidden_layers", "depth", "num_blocks", "layers", "depths"):
        claimed = given.get(field)
        for count in claimed if isinstance(claimed, (list, tuple)) else [claimed]:
            if _is_number(count) and count > len(shapes):
                raise _field(field, f"is {count}, which is more than the files have tensors: {len(shapes)}")
    longest = max((side for shape in shapes for side in shape), default=0)
    # each is a side of a table or a norm, which are never structured
    for field in ("vocab_size", "n_positions", "n_embd", "hidden_size", "embed_dim"):
        side = given.get(field)
        if _is_number(side) and side > longest:
            raise _field(field, f"is {side}, no tensor has a side of more than {longest}")


def check_trainable(layers, above, below):
    """The two files of a model that can be trained on: layers of config.json, tensors of trainable.safetensors and of
    model.safetensors, all by their names in the model."""
    listed = [layer for layer, settings in (layers or {}).items() if settings["structure"] == "gblr"]
    allowed = {f"{layer}.{part}" for layer in listed for part in TRAINABLE + BUFFERS}
    for name, tensor in above.items():
        if name in below:
            raise ValueError(f'tensor "{tensor.name}": is in model.safetensors too')
        if name not in allowed:
            raise ValueError(f'tensor "{tensor.name}": is no parameter of a GBLR layer that config.json lists')
    for layer, part in ((layer, part) for layer in listed for part in TRAINABLE):
        if f"{layer}.{part}" not in above:
            raise LayerError(layer, "is missing in trainable.safetensors", part)


def check_layers(layers, tensors):
    """Holds the structured layers to config.json. layers: as check_config gives them, tensors: Stored, both by their names
    in the model. Returns the form of each layer: packed, trainable, or one of FORMS by its signs."""
    parts_of = {}
    for name in tensors:
        layer, _, part = name.rpartition(".")
        if layer and part in PARTS:
            parts_of.setdefault(layer, set()).add(part)
    forms = {}
    for layer, parts in parts_of.items():
        settings = (layers or {}).get(layer)
        if settings is not None or parts & SIGNS:
            forms[layer] = _check_layer(layer, parts, settings, tensors, must_be_listed=layers is not None)
    for layer, settings in (layers or {}).items():
        if layer not in forms:
            raise LayerError(layer, f"config.json lists it as {settings['structure']}, no tensor is its")
    return forms


def _check_layer(layer, parts, settings, tensors, must_be_listed):
    structure = settings["structure"] if settings else None
    forms = [form for form, (signs, _, _) in FORMS.items() if parts & set(signs)]
    # first the one that config.json means, else the one that most of the tensors are of
    forms.sort(key=lambda form: (structure not in FORMS[form][2], -len(parts & set(FORMS[form][1]))))
    if not forms and parts == {"weight"}:
        raise LayerError(layer, f"config.json lists it as {structure}, its tensors are weight")
    if not forms:
        missing = PACKED[0] if structure == "gblr" else next(iter(PLAIN[structure]["parts"]))
        raise LayerError(layer, f"is missing, a layer of structure {structure} has one", missing)
    form, *others = forms
    foreign = {sign for other in others for sign in FORMS[other][0]} - set(FORMS[form][1])
    if parts & foreign or "weight" in parts:
        raise LayerError(layer, f"is in two forms: it has {', '.join(sorted(parts))}")
    if settings is None and (must_be_listed or form != "trainable"):
        raise LayerError(layer, f"has {', '.join(sorted(parts))}, and config.json does not list it under gblr.layers")
    _, allowed, structures = FORMS[form]
    if settings is not None and structure not in structures:
        raise LayerError(layer, f"config.json lists it as {structure}, its tensors are {', '.join(sorted(parts))}")
    if structure in PLAIN:
        allowed = tuple(PLAIN[structure]["parts"])
    extra = sorted(parts - set(allowed))
    if extra:
        raise LayerError(layer, f"{extra[0]} is too much in a layer of structure {structure}")
    check = {"packed": _check_packed, "trainable": _check_trainable}.get(form, _check_plain)
    check(_Place(layer, structure or "gblr", tensors), settings)
    if settings is not None and form != "trainable":
        _check_said_shapes(layer, parts, settings.get("shapes"), tensors)
    return form


class _Place(NamedTuple):
    layer: str
    structure: str
    tensors: dict

    def expect(self, part, shape, dtypes=REAL):
        """shape: numbers must be met, names stand for any length."""
        tensor, must = self.tensors.get(f"{self.layer}.{part}"), f"({', '.join(map(str, shape))})"
        if tensor is None:
            raise LayerError(self.layer, f"is missing, a layer of structure {self.structure} has one", part)
        fits = len(tensor.shape) == len(shape) and all(
            isinstance(side, str) or side == own for side, own in zip(shape, tensor.shape)
        )
        if not fits or tensor.dtype not in dtypes:
            is_ = f"{tensor.dtype} ({', '.join(map(str, tensor.shape))})"
            raise LayerError(self.layer, f"must be {'float' if dtypes == REAL else dtypes[0]} of shape {must}, is {is_}", part)
        return tensor.shape

    def expect_size(self, settings, n_in, n_out):
        if f"{self.layer}.bias" in self.tensors:
            self.expect("bias", (n_out,))
        said = (settings["n_in"], settings["n_out"]) if settings else (n_in, n_out)
        if said != (n_in, n_out):
            is_ = f"its tensors are of n_in x n_out = {n_in} x {n_out}"
            raise LayerError(self.layer, f"{is_}, config.json says {said[0]} x {said[1]}")


def _check_packed(place, settings):
    _, live = place.expect("spans", (4, "B"), ("I32",))
    for side in ("in", "out"):
        place.expect(f"values_{side}", (f"sum of length_{side}",), ("F32",))
    if live > settings["blocks"]:
        raise LayerError(place.layer, f"spans has {live} blocks, config.json says blocks: {settings['blocks']}")
    place.expect_size(settings, settings["n_in"], settings["n_out"])


def _check_trainable(place, settings):
    blocks, rank, n_in = place.expect("lr_weight1", ("K", "r", "n_in"))
    n_out = place.expect("lr_weight2", (blocks, "n_out", rank))[1]
    for part in ("widths", "locations"):
        place.expect(part, (2, blocks))
    if f"{place.layer}.sigma" in place.tensors:
        place.expect("sigma", ())
    if 0 in (blocks, rank, n_in, n_out):
        raise LayerError(place.layer, "lr_weight1 and lr_weight2 must not be empty")
    if settings is not None and settings["blocks"] != blocks * rank:
        has = f"lr_weight1 has {blocks} * {rank} blocks of rank 1"
        raise LayerError(place.layer, f"{has}, config.json says blocks: {settings['blocks']}")
    place.expect_size(settings, n_in, n_out)


def _check_plain(place, settings):
    structure = PLAIN[settings["structure"]]
    sizes = {"n_in": settings["n_in"], "n_out": settings["n_out"]}
    for part, names in structure["parts"].items():
        shape = place.expect(part, [sizes.get(name, name) for name in names], ("F32",))
        sizes.update(zip(names, shape))
    if structure["input_sizes"]:
        sizes["n_in"] = math.prod(sizes[name] for name in structure["input_sizes"])
    if structure["kernel"]:
        own = tuple(sizes[name] for name in structure["kernel"]["sizes"])
        said = tuple(settings.get("kernel", own))
        if said != own:
            is_ = f"{structure['kernel']['part']} is of {own[0]} x {own[1]}"
            raise LayerError(place.layer, f"{is_}, config.json says kernel: {said[0]} x {said[1]}")
    place.expect_size(settings, sizes["n_in"], sizes["n_out"])
    for rule in structure["rules"]:
        must = _requirement(rule, sizes)
        if must is not None:
            is_ = f"{rule['size']} must be {must}, is {sizes[rule['size']]}"
            raise LayerError(place.layer, f"{is_}, by the shapes of its tensors")


def _requirement(rule, sizes):
    """What the size of a rule must be; None where it is."""
    size = sizes[rule["size"]]
    if rule.get("isPowerOfTwo"):
        return None if size > 0 and size & (size - 1) == 0 else "a power of two"
    if "is" in rule:
        exact = _length(rule["is"], sizes)
        return None if size == exact else str(exact)
    least, most = _length(rule.get("from", 0), sizes), _length(rule.get("to", math.inf), sizes)
    if least <= size <= most:
        return None
    return f"in {least} ... {most}" if most < math.inf else f"at least {least}"


def _length(bound, sizes):
    """A number, a size by its name, the smaller of two sizes, or a quotient of two sizes rounded up."""
    if isinstance(bound, str):
        return sizes[bound]
    if not isinstance(bound, dict):
        return bound
    if "smaller" in bound:
        return min(sizes[name] for name in bound["smaller"])
    over, under = (sizes[name] for name in bound["ceil"])
    return -(-over // max(1, under))


def _check_said_shapes(layer, parts, shapes, tensors):
    if shapes is None:
        return
    for part in sorted(parts | set(shapes)):
        own = tensors[f"{layer}.{part}"].shape if part in parts else "missing"
        said = tuple(shapes[part]) if part in shapes else "missing"
        if own != said:
            raise LayerError(layer, f"{part} is {own}, shapes in config.json says {said}")


def check_spans(layer, spans, n_in, n_out, values_in, values_out):
    """spans: (4, blocks), a tensor. values_in, values_out: how many values there are."""
    rows = spans.cpu().long()
    for row, side, n, values in ((0, "in", n_in, values_in), (2, "out", n_out, values_out)):
        start, length = rows[row], rows[row + 1]
        rules = [
            ((length >= 2) & (length <= n), f"length_{side} must be in 2 ... {n}"),
            ((start >= 0) & (start < n), f"start_{side} must be in 0 ... {n - 1}"),
            ((length < n) | (start == 0), f"a full turn of {n} must start at 0"),
        ]
        for met, rule in rules:
            if not bool(met.all()):
                block = int((~met).nonzero()[0])
                is_ = f"start_{side} {int(start[block])}, length_{side} {int(length[block])}"
                raise LayerError(layer, f"spans: {rule}, block {block} has {is_}")
        total = int(length.sum())
        if total != values:
            raise LayerError(layer, f"values_{side} must have {total} values, as spans say, has {values}")


def check_places(layer, widths, locations, n_in, n_out):
    """Of a layer to train: tensors of shares of n, which must count samples that 32 bits can hold."""
    most = MOST_VALUES / max(n_in, n_out)
    for part, values in (("widths", widths), ("locations", locations)):
        if not bool(values.float().isfinite().all()):
            raise LayerError(layer, f"{part} has a value that is no finite number")
        if bool((values.float().abs() > most).any()):
            raise LayerError(layer, f"{part} must be shares of n, has {float(values.abs().max())}")


def check_values(forms, tensors, read, sizes):
    """The indices and widths of the layers, before anything is multiplied. forms: as check_layers gives them. read: of a
    Stored tensor. sizes: n_in and n_out by layer."""
    for layer, form in forms.items():
        part = lambda name: tensors[f"{layer}.{name}"]  # noqa: B023, E731
        if form == "packed":
            counts = [part(name).shape[0] for name in ("values_in", "values_out")]
            check_spans(layer, read(part("spans")), *sizes[layer], *counts)
        elif form == "trainable":
            check_places(layer, read(part("widths")), read(part("locations")), *sizes[layer])
            if f"{layer}.sigma" in tensors and not float(read(part("sigma"))) > 0:
                raise LayerError(layer, "sigma must be positive")


def sizes_of(forms, layers, tensors):
    """n_in and n_out of the layers in GBLR, by layer."""
    found = {}
    for layer, form in forms.items():
        if form == "packed":
            found[layer] = (layers[layer]["n_in"], layers[layer]["n_out"])
        elif form == "trainable":
            first, second = (tensors[f"{layer}.{part}"].shape for part in ("lr_weight1", "lr_weight2"))
            found[layer] = (first[2], second[1])
    return found


def check_geometry(layer, settings, geometry=None):
    """What config.json says of a convolution. geometry: of the model's, with kernel and stride; None: it is none."""
    for field in ("kernel", "stride"):
        if field not in settings:
            continue
        if geometry is None:
            raise LayerError(layer, f"config.json gives it {field}, it is no convolution of its own")
        said, wanted = settings[field], getattr(geometry, field)
        if any(side != wanted for side in (said if field == "kernel" else [said])):
            raise LayerError(layer, f"{field} must be {wanted}, config.json says {said}")


def _field(field, what):
    return ValueError(f'config.json: "{field}" {what}')


def _expect(met, field, must, value):
    if not met:
        raise _field(field, f"{must}, is {'missing' if value is None else repr(value)[:80]}")


def _is_number(value):
    return (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and math.isfinite(value))


def _positive(value):
    return _is_number(value) and value > 0


def _is_whole(value, least, most):
    return _is_number(value) and value == int(value) and least <= value <= most


def _all(values, fits):
    return isinstance(values, (list, tuple)) and all(map(fits, values))
