"""Decides which module holds each layer of a model: dense, in a structure, a convolution of either. What config.json's
"gblr" part says of a layer is held against the model, and the shapes of its parameters against both. Reads no files.
"""

import re

from torch import nn

from gblr_convolutions import Geometry, PositionConvolution
from gblr_kinds import CONVOLUTIONS, LAYERS
from gblr_rules import check_geometry

BESIDE = ("bias", "sigma", "freq_in", "freq_out")  # of a structured layer, but not of its matrix


NETWORKS = {}
"""The networks by `model_type` of config.json. A subclass of Network with a `kind` puts itself in."""


class Network(nn.Module):
    """What load() asks of an architecture. Parameters have timm's names, those of language models Hugging Face's."""

    kind = None  # `model_type` of the base model; None: a part of another network
    padded = ()  # parameters of which files may hold more rows

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        if cls.__dict__.get("kind") is not None:
            NETWORKS[cls.kind] = cls

    def ignores(self, name):
        """Whether a tensor of the files has no place here, by the name that it would have."""
        return False

    @staticmethod
    def recognizes(name):
        """Whether a model of this name in timm is one."""
        return False

    @staticmethod
    def parameter_name(stored):
        """A checkpoint's name as it is here, of a layer too; None for what is no parameter."""
        return stored


class Layers:
    """Makes the layers that a model asks for by name."""

    def __init__(self, gblr, own_name, shapes=None, mode="dense"):
        """gblr: the part of config.json, or None. own_name: a checkpoint's name as it is in the model. shapes: of all
        tensors by their names in the model; None: as `gblr` says. mode: of packed layers, "dense" or "packed"."""
        part = gblr or {}
        self.mode, self.from_files = mode, shapes is not None
        structure = {"structure": part.get("structure", "gblr")}
        listed = part.get("layers", {}).items()
        self.settings = {own_name(name): {**structure, **settings} for name, settings in listed}
        self.unused = set(self.settings)
        self.parts = {name: settings.get("shapes") or {} for name, settings in self.settings.items()}
        if self.from_files:
            self.parts = {}
            for name, shape in shapes.items():
                layer, _, part = name.rpartition(".")
                if part not in BESIDE:
                    self.parts.setdefault(layer, {})[part] = shape

    def is_structured(self, name):
        return "weight" not in self.parts.get(name, {}) and (name in self.parts or name in self.settings)

    def changes(self, name):
        """Whether config.json lists this layer, or a position of it if it is a convolution."""
        return any(each == name or re.fullmatch(re.escape(name) + r"\.\d+", each) for each in self.settings)

    def has_weight(self, name):
        """Whether the files hold this layer dense."""
        return "weight" in self.parts.get(name, {})

    def linear(self, name, n_in, n_out, bias=True, dense=nn.Linear):
        """x (..., n_in) to (..., n_out). dense(n_in, n_out, bias=...) makes the layer where it has no structure."""
        self.unused.discard(name)
        if not self.is_structured(name):
            return dense(n_in, n_out, bias=bias)
        return self._structured(name, LAYERS, n_in=n_in, n_out=n_out, bias=bias)

    def convolution(self, name, channels, n_out, geometry, bias=False):
        """x (batch, channels, height, width) to (batch, n_out, height', width')."""
        self.unused.discard(name)
        geometry = Geometry(*geometry)
        positions = [f"{name}.{index}" for index in range(geometry.kernel**2)]
        if any(self.is_structured(each) or self.has_weight(each) for each in positions):
            return PositionConvolution([self.linear(each, channels, n_out, bias=False) for each in positions], geometry)
        if self.is_structured(name):
            n_in = geometry.kernel**2 * channels
            return self._structured(name, CONVOLUTIONS, n_in=n_in, n_out=n_out, bias=bias, geometry=geometry)
        return nn.Conv2d(channels, n_out, geometry.kernel, geometry.stride, geometry.padding, bias=bias)

    def expect_all_used(self):
        if self.unused:
            raise ValueError(f'layer "{min(self.unused)}": config.json lists it, the model has no such layer')

    def _structured(self, name, kinds, n_in, n_out, **options):
        settings, shapes = self.settings.get(name, {}), self.parts.get(name, {})
        if not shapes and not self.from_files:
            raise ValueError(f'layer "{name}": config.json gives no shapes of its parameters; save the model anew')
        said = (settings.get("n_in", n_in), settings.get("n_out", n_out))
        if said != (n_in, n_out):
            must = f"must be n_in x n_out = {n_in} x {n_out}"
            raise ValueError(f'layer "{name}": {must}, config.json says {said[0]} x {said[1]}')
        check_geometry(name, settings, options.get("geometry"))
        structure = settings.get("structure", "gblr")
        kind = kinds.get("packed" if structure == "gblr" and "spans" in shapes else structure)
        if kind is None:
            raise ValueError(f'layer "{name}": structure is "{structure}", there is {", ".join(kinds)}')
        for part in kind.parts:
            if part not in shapes:
                raise ValueError(f'tensor "{name}.{part}": is missing, a layer of structure {structure} has one')
        return kind(name, n_in, n_out, shapes, mode=self.mode, **options)


def replace_layers(model, layers, own_name):
    """Puts structured layers into a module of dense ones, where `layers` has them. own_name: of a module's path."""
    for path, module in list(model.named_modules()):
        name = own_name(path)
        if name is None or not layers.changes(name):
            continue
        bias = getattr(module, "bias", None) is not None
        if isinstance(module, nn.Conv2d):
            geometry = (module.kernel_size[0], module.stride[0], module.padding[0])
            held = layers.convolution(name, module.in_channels, module.out_channels, geometry, bias=bias)
        elif isinstance(module, nn.Linear):
            held = layers.linear(name, module.in_features, module.out_features, bias=bias)
        else:  # a linear layer of GPT-2's, whose weight is (n_in, n_out)
            held = layers.linear(name, *module.weight.shape, bias=bias)
        parent, _, child = path.rpartition(".")
        setattr(model.get_submodule(parent), child, held)
    layers.expect_all_used()


def renamer(table):
    """A function from one naming to another: names that are, or begin with, a pattern of the table. `#` is a number."""
    rules = [
        (re.compile("^" + re.escape(old).replace(r"\#", "#").replace("#", r"(\d+)") + r"(?=\.|$)"), new)
        for old, new in sorted(table, key=lambda pair: -len(pair[0]))
    ]

    def renamed(name):
        for pattern, new in rules:
            found = pattern.match(name)
            if found:
                for number in found.groups():
                    new = new.replace("#", number, 1)
                return new + name[found.end() :]
        return name

    return renamed
