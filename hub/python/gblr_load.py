"""Loads a model folder with torch alone. With transformers, use its own from_pretrained()."""

import math
import os

import torch

from configuration_gblr import read_config
from gblr_build import NETWORKS, Layers, Network
from gblr_config_rules import INT8_FORMAT, LayerError, check_claims, check_config, one_line
from gblr_files import Tensors, problem
from gblr_layers import GblrLinear, PackedGblrLinear
from gblr_rules import BUFFERS, check_layers, check_trainable, check_values, own_tensors, sizes_of
from gblr_sizes import cut_tensors
from gblr_timm import is_timm, timm_name


def load(folder, form="auto", mode="dense", keep=None):
    """Loads a model folder as a torch module in evaluation mode.

    form: "packed" reads model.safetensors; "trainable" also trainable.safetensors, and parameters require gradients;
        "auto" is "packed" if there is a model.safetensors.
    mode: of packed layers. "dense" builds each matrix once; "packed" uses the stored values only and needs less memory.
    keep: of a model of several sizes, the share of the linear parameters to keep; None keeps all blocks.
    Raises a ValueError of one line if a file is missing, damaged, or contradicts config.json.
    """
    if form not in ("auto", "packed", "trainable") or mode not in ("dense", "packed"):
        raise ValueError(f'form must be "auto", "packed" or "trainable", mode "dense" or "packed"; got {form}, {mode}')
    try:
        fields = read_config(folder)
        network_class = _network_class(fields, folder)
        gblr = fields.get("gblr") or {}
        stored = checked_tensors(fields, _sources(folder, form), network_class.parameter_name)
        if keep is not None:
            if form == "trainable":
                raise ValueError("keep cuts packed layers; leave out form")
            stored = cut_tensors(fields, stored, network_class.parameter_name, keep)
        shapes = {name: source.shapes()[original] for name, (source, original) in stored.items()}
        check_claims(fields, list(shapes.values()))
        layers = Layers(gblr, network_class.parameter_name, shapes=shapes, mode=mode)
        network = _built(network_class, fields, layers)
        layers.expect_all_used()
        _fill(network, stored, folder)
        _finish(network, gblr.get("sigma"))
    except ValueError as error:
        text = str(error)
        raise ValueError(one_line(text if text.startswith(folder) else f"{folder}: {text}")) from None
    trains = form == "trainable" or any(isinstance(module, GblrLinear) for module in network.modules())
    return network.requires_grad_(trains).eval()


def _built(network_class, fields, layers):
    try:
        return network_class(fields, layers)
    except (TypeError, ArithmeticError, LookupError, AttributeError, RuntimeError, MemoryError) as error:
        # invalid values, such as text instead of a number, 0 heads, or a negative width
        why = str(error).partition("\n")[0]
        raise ValueError(f"config.json: no model can be built of it: {type(error).__name__}: {why}") from None


def _network_class(fields, folder):
    kind = str(fields.get("model_type")).replace("gblr_", "", 1)
    if kind in NETWORKS:
        return NETWORKS[kind]
    if "model_type" not in fields and is_timm(fields):
        kind = timm_name(fields)
        for network_class in NETWORKS.values():
            if network_class.recognizes(kind):
                return network_class
        known = ", ".join(sorted(name for name, each in NETWORKS.items() if each.recognizes is not Network.recognizes))
        raise ValueError(f'{folder}: config.json: unknown architecture "{kind}"; available: {known}')
    raise ValueError(f'{folder}: config.json: unknown model_type "{kind}"; available: {", ".join(sorted(NETWORKS))}')


def _sources(folder, form):
    """Opens the files of a form: model.safetensors and trainable.safetensors, each None if not needed."""
    packed = _open(folder, "model.safetensors")
    trainable = None if form == "packed" or (form == "auto" and packed) else _open(folder, "trainable.safetensors")
    if form == "packed" and not packed:
        raise problem(os.path.join(folder, "model.safetensors"), None, "does not exist, nor does its index")
    if form == "trainable" and not trainable:
        what = "does not exist; the model was saved without its trainable form"
        raise problem(os.path.join(folder, "trainable.safetensors"), None, what)
    if not packed and not trainable:
        raise problem(folder, None, "has neither model.safetensors nor trainable.safetensors")
    return packed, trainable


def checked_tensors(fields, sources, own_name):
    """Checks config.json and the files by the rules of the format. Returns a dict from the name of each parameter in
    the model to its file and its name in it. fields: of config.json. sources: from _sources. own_name: maps names in files
    to names in the model.

    Raises a ValueError of one line that names the tensor and the rule.
    """
    listed = check_config(fields)
    for source in filter(None, sources):
        source.check_int8((fields.get("gblr") or {}).get("format", 0) >= INT8_FORMAT)
    names = {own_name(name): name for name in listed or ()}
    layers = None if listed is None else {own: listed[name] for own, name in names.items()}
    if len(names) < len(listed or ()):
        raise ValueError('config.json: "gblr.layers" lists a layer twice, under two names')
    try:
        found, tensors = _overlaid(filter(None, sources), layers, own_name, names)
        forms = check_layers(layers, tensors)
        read = {tensor: found[own][0].read for own, tensor in tensors.items()}
        check_values(forms, tensors, lambda each: read[each](each.name), sizes_of(forms, layers, tensors), layers)
    except LayerError as error:
        # errors use the names in the files
        raise error.renamed(names.get(error.layer, error.layer)) from None
    return found


def _overlaid(sources, layers, own_name, names):
    """Returns two dicts by the names of parameters: file and name in it, and the Stored tensor. The trainable form
    replaces the packed one. names: is filled with the layers' names in the files."""
    found, tensors = {}, {}
    for source in sources:
        own = own_tensors(source.stored(), own_name)
        for name, tensor in own.items():
            names.setdefault(name.rpartition(".")[0], tensor.name.rpartition(".")[0])
        if found:
            check_trainable(layers, own, tensors)
            replaced = {f"{name.rpartition('.')[0]}.{part}" for name in own for part in PackedGblrLinear.parts}
            found = {name: each for name, each in found.items() if name not in replaced}
            tensors = {name: each for name, each in tensors.items() if name not in replaced}
        tensors.update(own)
        found.update({name: (source, tensor.name) for name, tensor in own.items()})
    return found, tensors


def _open(folder, name):
    for path in (os.path.join(folder, name), os.path.join(folder, f"{name}.index.json")):
        if os.path.exists(path):
            return Tensors(path)
    return None


def _fill(network, stored, folder):
    """Copies the stored tensors into the model. There must be exactly one tensor of the right shape per parameter."""
    places = dict(network.state_dict(keep_vars=True))
    for name, (source, original) in stored.items():
        if network.ignores(name) or _is_buffer(network, name):
            continue
        place = places.pop(name, None)
        if place is None:
            raise problem(source.path, original, "the model in config.json has no such parameter")
        tensor = source.read(original)
        wanted = tuple(place.shape)
        if tensor.shape != wanted and name in network.padded:
            tensor = tensor[: wanted[0]]  # files may pad the vocabulary
        if tuple(tensor.shape) != wanted:
            raise problem(source.path, original, f"must be of shape {wanted}, is {tuple(tensor.shape)}")
        if tensor.is_floating_point() != place.is_floating_point():
            raise problem(source.path, original, f"must be of type {place.dtype}, is {tensor.dtype}")
        with torch.no_grad():
            place.copy_(tensor)
    missing = sorted(name for name in places if not name.endswith((".sigma", ".num_batches_tracked")))
    if missing:
        raise problem(folder, missing[0], "is missing from the files")


def _is_buffer(network, name):
    """Whether it is a buffer of the reference's layers, which has no further information."""
    layer, _, part = name.rpartition(".")
    return part in BUFFERS and isinstance(dict(network.named_modules()).get(layer), GblrLinear)


def _finish(network, sigma):
    for module in network.modules():
        if isinstance(module, GblrLinear):
            module.sigma.fill_(math.inf if sigma is None else sigma)
