"""Checks the tensors of a model folder with structured layers by the rules of the format (docs/format.md), as the
workbench does: which tensors each layer must have, and where blocks may be. Does not open files.

A broken rule raises a ValueError of one line that names the tensor and the rule.
"""

import math
from typing import NamedTuple

from gblr_config_rules import MOST_VALUES, LayerError
from gblr_structures import STRUCTURES

REAL = ("F64", "F32", "F16", "BF16")
PACKED = ("spans", "values_in", "values_out")
TRAINABLE = ("lr_weight1", "lr_weight2", "widths", "locations")
BUFFERS = ("sigma", "freq_in", "freq_out")  # of the reference's layers; config.json has the same information

# structures whose rules are in STRUCTURES; GBLR has its own rules below
PLAIN = {name: structure for name, structure in STRUCTURES.items() if structure["parts"]}


def _plain_forms():
    """The forms of PLAIN by their signs, which several structures can share."""
    found = {}
    for name, structure in PLAIN.items():
        signs = tuple(structure["signs"])
        _, parts, names = found.get(", ".join(sorted(signs)), (signs, (), ()))
        found[", ".join(sorted(signs))] = (signs, (*parts, *structure["parts"]), (*names, name))
    return found


# forms of a structured layer: the tensors that identify it, all of its tensors, its possible structures in config.json
FORMS = {
    "packed": (PACKED, PACKED, ("gblr",)),
    "trainable": (("lr_weight1", "lr_weight2"), TRAINABLE + BUFFERS, ("gblr",)),
    **_plain_forms(),
}
SIGNS = {sign for signs, _, _ in FORMS.values() for sign in signs}
PARTS = {part for _, parts, _ in FORMS.values() for part in parts} | {"weight"}


class Stored(NamedTuple):
    """A tensor in a file: its name in the file, its safetensors dtype and its shape."""

    name: str
    dtype: str
    shape: tuple


def own_tensors(tensors, own_name):
    """Returns the tensors of a file by their names in the model, which must be unique. The tensors of a structured
    layer must have the same layer name in the file. own_name: maps a name in the file to one in the model, or None."""
    found, layers = {}, {}
    for tensor in tensors:
        name = own_name(tensor.name)
        if name is None:
            continue
        if name in found:
            raise ValueError(f'tensor "{tensor.name}": appears twice, also as "{found[name].name}"')
        found[name] = tensor
        (layer, _, part), stored = name.rpartition("."), tensor.name.rpartition(".")[0]
        if part in PARTS and layers.setdefault(layer, stored) != stored:
            raise ValueError(f'tensor "{tensor.name}": other tensors of its layer have the name "{layers[layer]}"')
    return found


def check_trainable(layers, above, below):
    """Checks the two files of a model with a trainable form. layers: of config.json. above, below: the tensors of
    trainable.safetensors and of model.safetensors. All are by their names in the model."""
    listed = [layer for layer, settings in (layers or {}).items() if settings["structure"] == "gblr"]
    allowed = {f"{layer}.{part}" for layer in listed for part in TRAINABLE + BUFFERS}
    for name, tensor in above.items():
        if name in below:
            raise ValueError(f'tensor "{tensor.name}": is also in model.safetensors')
        if name not in allowed:
            raise ValueError(f'tensor "{tensor.name}": is not a parameter of a GBLR layer that config.json lists')
    for layer, part in ((layer, part) for layer in listed for part in TRAINABLE):
        if f"{layer}.{part}" not in above:
            raise LayerError(layer, "is missing in trainable.safetensors", part)


def check_layers(layers, tensors):
    """Checks the structured layers against config.json. layers: from check_config. tensors: Stored. Both are by their
    names in the model. Returns the form of each layer, a key of FORMS: "packed", "trainable", or signs."""
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
            raise LayerError(layer, f"config.json lists it as {settings['structure']}, but it has no tensor")
    return forms


def _check_layer(layer, parts, settings, tensors, must_be_listed):
    structure = settings["structure"] if settings else None
    forms = [form for form, (signs, _, _) in FORMS.items() if parts & set(signs)]
    # prefers the form named by config.json, then the one with the most tensors
    forms.sort(key=lambda form: (structure not in FORMS[form][2], -len(parts & set(FORMS[form][1]))))
    if not forms and parts == {"weight"}:
        raise LayerError(layer, f"config.json lists it as {structure}, but its tensors are weight")
    if not forms:
        missing = PACKED[0] if structure == "gblr" else next(iter(PLAIN[structure]["parts"]))
        raise LayerError(layer, f"is missing; a layer of structure {structure} has one", missing)
    form, *others = forms
    foreign = {sign for other in others for sign in FORMS[other][0]} - set(FORMS[form][1])
    if parts & foreign or "weight" in parts:
        raise LayerError(layer, f"has two forms: it has {', '.join(sorted(parts))}")
    if settings is None and (must_be_listed or form != "trainable"):
        raise LayerError(layer, f"has {', '.join(sorted(parts))}, but config.json does not list it under gblr.layers")
    _, allowed, structures = FORMS[form]
    if settings is not None and structure not in structures:
        raise LayerError(layer, f"config.json lists it as {structure}, but its tensors are {', '.join(sorted(parts))}")
    if structure in PLAIN:
        allowed = tuple(PLAIN[structure]["parts"])
    extra = sorted(parts - set(allowed))
    if extra:
        raise LayerError(layer, f"{extra[0]} is not a tensor of structure {structure}")
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
        """Checks the shape and dtype of a tensor. In shape, numbers are required, names stand for any length."""
        tensor, must = self.tensors.get(f"{self.layer}.{part}"), f"({', '.join(map(str, shape))})"
        if tensor is None:
            raise LayerError(self.layer, f"is missing; a layer of structure {self.structure} has one", part)
        fits = len(tensor.shape) == len(shape) and all(
            isinstance(side, str) or side == own for side, own in zip(shape, tensor.shape)
        )
        if not fits or tensor.dtype not in dtypes:
            is_ = f"{tensor.dtype} ({', '.join(map(str, tensor.shape))})"
            raise LayerError(self.layer, f"must be {'float' if dtypes == REAL else ' or '.join(dtypes)} of shape {must}, is {is_}", part)
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
        place.expect(f"values_{side}", (f"sum of length_{side}",), settings["types"])
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
        # half precision does not have all indices
        types = ("F32",) if part in structure.get("permutations", ()) else settings["types"]
        shape = place.expect(part, [sizes.get(name, name) for name in names], types)
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
    """The requirement of a rule that a size breaks; None if the rule is met."""
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
    """The value of a bound: a number, a size, the smaller or the difference of two sizes, or a quotient rounded up."""
    if isinstance(bound, str):
        return sizes[bound]
    if not isinstance(bound, dict):
        return bound
    if "smaller" in bound:
        return min(sizes[name] for name in bound["smaller"])
    if "difference" in bound:
        first, second = bound["difference"]
        return sizes[first] - sizes[second]
    over, under = (sizes[name] for name in bound["ceil"])
    return -(-over // max(1, under))


def _check_said_shapes(layer, parts, shapes, tensors):
    """Checks the shapes of the parameters against `shapes` in config.json, if it has them."""
    if shapes is None:
        return
    for part in sorted(parts | set(shapes)):
        own = tensors[f"{layer}.{part}"].shape if part in parts else "missing"
        said = tuple(shapes[part]) if part in shapes else "missing"
        if own != said:
            raise LayerError(layer, f"{part} is {own}, shapes in config.json says {said}")


def check_spans(layer, spans, n_in, n_out, values_in, values_out):
    """Checks the spans of a packed layer, a tensor (4, blocks). values_in, values_out: the numbers of its values."""
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
            raise LayerError(layer, f"values_{side} must have {total} values by the lengths in spans, has {values}")


def check_places(layer, widths, locations, n_in, n_out):
    """Checks widths and locations, which are shares of n: they must be finite, and samples must fit into 32 bits."""
    most = MOST_VALUES / max(n_in, n_out)
    for part, values in (("widths", widths), ("locations", locations)):
        if not bool(values.float().isfinite().all()):
            raise LayerError(layer, f"{part} has a value that is not finite")
        if bool((values.float().abs() > most).any()):
            raise LayerError(layer, f"{part} must be shares of n, has {float(values.abs().max())}")


def check_values(forms, tensors, read, sizes, layers):
    """Checks spans, widths, locations and orders of the layers before anything is computed. forms: from check_layers.
    read: returns the values of a Stored tensor. sizes: (n_in, n_out) by layer. layers: settings by layer, or None."""
    for layer, form in forms.items():
        part = lambda name: tensors[f"{layer}.{name}"]  # noqa: B023, E731
        structure = PLAIN.get(((layers or {}).get(layer) or {}).get("structure"), {})
        for name in structure.get("permutations", ()):
            values = read(part(name)).tolist()
            if sorted(values) != list(range(len(values))):
                raise LayerError(layer, f"must have each of the numbers 0 ... {len(values) - 1} once", name)
        if form == "packed":
            counts = [part(name).shape[0] for name in ("values_in", "values_out")]
            check_spans(layer, read(part("spans")), *sizes[layer], *counts)
        elif form == "trainable":
            check_places(layer, read(part("widths")), read(part("locations")), *sizes[layer])
            if f"{layer}.sigma" in tensors and not float(read(part("sigma"))) > 0:
                raise LayerError(layer, "sigma must be positive")


def sizes_of(forms, layers, tensors):
    """Returns (n_in, n_out) of the GBLR layers, by layer."""
    found = {}
    for layer, form in forms.items():
        if form == "packed":
            found[layer] = (layers[layer]["n_in"], layers[layer]["n_out"])
        elif form == "trainable":
            first, second = (tensors[f"{layer}.{part}"].shape for part in ("lr_weight1", "lr_weight2"))
            found[layer] = (first[2], second[1])
    return found


def check_geometry(layer, settings, geometry=None):
    """Checks kernel and stride in config.json. geometry: the model's Geometry; None for a linear layer."""
    for field in ("kernel", "stride"):
        if field not in settings:
            continue
        if geometry is None:
            raise LayerError(layer, f"config.json gives {field}, but it is not a convolution")
        said, wanted = settings[field], getattr(geometry, field)
        if any(side != wanted for side in (said if field == "kernel" else [said])):
            raise LayerError(layer, f"{field} must be {wanted}, config.json says {said}")
