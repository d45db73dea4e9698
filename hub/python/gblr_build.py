"""Creates the module of each layer of a model: a dense or structured linear layer or convolution. Checks that the
layers in the "gblr" part of config.json and the shapes of their parameters fit the model. Does not read files.
"""

import re

from torch import nn

from gblr_convolutions import Geometry, PositionConvolution
from gblr_kinds import CONVOLUTIONS, LAYERS
from gblr_rules import check_geometry

BESIDE = ("bias", "sigma", "freq_in", "freq_out")  # tensors of a structured layer that are not parameters of its matrix


NETWORKS = {}
"""Network classes by the `model_type` in config.json. Subclasses of Network with a `kind` are added automatically."""


class Network(nn.Module):
    """Base class of the networks that load() can create. Image models have timm's parameter names, language models those
    of Hugging Face."""

    kind = None  # `model_type` of the base model, or a tuple of them; None for a part of another network
    padded = ()  # parameters that may have more rows in files

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        kind = cls.__dict__.get("kind") or ()
        NETWORKS.update(dict.fromkeys([kind] if isinstance(kind, str) else kind, cls))

    @staticmethod
    def check_transformers(fields):
        """Raises a ValueError of one line for settings of config.json with which transformers would compute something
        else than this network."""

    def ignores(self, name):
        """Whether a tensor of this name in the files is not used."""
        return False

    @staticmethod
    def recognizes(name):
        """Whether a timm model of this name has this architecture."""
        return False

    @staticmethod
    def parameter_name(stored):
        """Maps the name of a parameter or layer in checkpoints to the name in this module; None if it is not used."""
        return stored


class Layers:
    """Creates the layers of a model by their names."""

    def __init__(self, gblr, own_name, shapes=None, mode="dense"):
        """gblr: the part of config.json, or None. own_name: maps names in checkpoints to names in the model. shapes:
        the shapes of all tensors by their names in the model; None to use those in `gblr`. mode: of packed layers, "dense"
        or "packed"."""
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
        """Whether this layer is structured in the files or in config.json."""
        return "weight" not in self.parts.get(name, {}) and (name in self.parts or name in self.settings)

    def changes(self, name):
        """Whether config.json lists this layer, or a kernel position of this convolution."""
        return any(each == name or re.fullmatch(re.escape(name) + r"\.\d+", each) for each in self.settings)

    def has_weight(self, name):
        """Whether this layer is dense in the files."""
        return "weight" in self.parts.get(name, {})

    def linear(self, name, n_in, n_out, bias=True, dense=nn.Linear):
        """Creates a linear layer, (..., n_in) to (..., n_out). dense: class of the layer if it is not structured; its
        weight is (n_out, n_in), or if it has `is_transposed` (n_in, n_out)."""
        self.unused.discard(name)
        if not self.is_structured(name):
            self._expect_dense(name, (n_in, n_out) if getattr(dense, "is_transposed", False) else (n_out, n_in))
            return dense(n_in, n_out, bias=bias)
        return self._structured(name, LAYERS, n_in=n_in, n_out=n_out, bias=bias)

    def convolution(self, name, channels, n_out, geometry, bias=False):
        """Creates a convolution, (batch, channels, height, width) to (batch, n_out, height', width')."""
        self.unused.discard(name)
        geometry = Geometry(*geometry)
        positions = [f"{name}.{index}" for index in range(geometry.kernel**2)]
        if any(self.is_structured(each) or self.has_weight(each) for each in positions):
            return PositionConvolution([self.linear(each, channels, n_out, bias=False) for each in positions], geometry)
        if self.is_structured(name):
            n_in = geometry.kernel**2 * channels
            return self._structured(name, CONVOLUTIONS, n_in=n_in, n_out=n_out, bias=bias, geometry=geometry)
        return nn.Conv2d(channels, n_out, geometry.kernel, geometry.stride, geometry.padding, bias=bias)

    def _expect_dense(self, name, shape):
        """Checks the shape of a dense weight in the files, before config.json can claim more memory than they need."""
        if not self.from_files:
            return
        held = self.parts.get(name, {}).get("weight")
        if held is None:
            raise ValueError(f'tensor "{name}.weight": is missing from the files')
        if tuple(held) != shape:
            raise ValueError(f'tensor "{name}.weight": must be of shape {shape}, is {tuple(held)}')

    def expect_all_used(self):
        """Raises a ValueError of one line if config.json lists a layer that was not created."""
        if self.unused:
            raise ValueError(f'layer "{min(self.unused)}": config.json lists it, but the model has no such layer')

    def _structured(self, name, kinds, n_in, n_out, **options):
        settings, shapes = self.settings.get(name, {}), self.parts.get(name, {})
        if not shapes and not self.from_files:
            raise ValueError(f'layer "{name}": config.json has no shapes of its parameters; save the model again')
        said = (settings.get("n_in", n_in), settings.get("n_out", n_out))
        if said != (n_in, n_out):
            must = f"must be n_in x n_out = {n_in} x {n_out}"
            raise ValueError(f'layer "{name}": {must}, config.json says {said[0]} x {said[1]}')
        check_geometry(name, settings, options.get("geometry"))
        structure = settings.get("structure", "gblr")
        kind = kinds.get("packed" if structure == "gblr" and "spans" in shapes else structure)
        if kind is None:
            raise ValueError(f'layer "{name}": unknown structure "{structure}"; available: {", ".join(kinds)}')
        for part in kind.parts:
            if part not in shapes:
                raise ValueError(f'tensor "{name}.{part}": is missing; a layer of structure {structure} has one')
        return kind(name, n_in, n_out, shapes, mode=self.mode, **options)


def replace_layers(model, layers, own_name):
    """Replaces dense layers of a module by structured ones where `layers` has them. own_name: maps a module's path to
    the name of the layer."""
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
        else:  # a linear layer of GPT-2, whose weight is (n_in, n_out)
            held = layers.linear(name, *module.weight.shape, bias=bias)
        parent, _, child = path.rpartition(".")
        setattr(model.get_submodule(parent), child, held)
    layers.expect_all_used()


def renamer(table):
    """Returns a function that renames parameters. table: pairs of old and new prefixes, in which `#` is a number."""
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
