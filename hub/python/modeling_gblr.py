"""Models whose linear layers are structured, in PyTorch. The arithmetic of the layers is in gblr_layers.py.

With torch alone:      from modeling_gblr import load; model = load("folder"); logits = model(input_ids)
Under transformers:    AutoModelForCausalLM.from_pretrained(repo, trust_remote_code=True)

A new architecture is a module with its layers by the checkpoint's names, a line in ARCHITECTURES, and a class at the end.
"""

import math
import os

import torch
from torch import nn
from torch.nn import functional

try:
    from .configuration_gblr import GblrGPT2Config, PlainGPT2Config, read_config
    from .gblr_files import Tensors, problem
    from .gblr_layers import LAYERS, GblrLinear, PackedGblrLinear, StructuredLinear
    from .gblr_masks import gaudi_mask  # noqa: F401  transformers 4 copies only those files of a folder named in this one
except ImportError:
    from configuration_gblr import GblrGPT2Config, PlainGPT2Config, read_config
    from gblr_files import Tensors, problem
    from gblr_layers import LAYERS, GblrLinear, PackedGblrLinear, StructuredLinear


def gelu_tanh(x):
    return functional.gelu(x, approximate="tanh")


ACTIVATIONS = {
    "gelu_new": gelu_tanh, "gelu_pytorch_tanh": gelu_tanh, "gelu_fast": gelu_tanh, "gelu": functional.gelu,
    "gelu_python": functional.gelu, "relu": functional.relu, "silu": functional.silu, "swish": functional.silu,
    "tanh": torch.tanh,
}  # fmt: skip


class Dense(nn.Module):
    """y = x W + bias; the weight lies as in GPT-2's checkpoints, (n_in, n_out)."""

    def __init__(self, n_in, n_out):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(n_in, n_out))
        self.bias = nn.Parameter(torch.zeros(n_out))

    def forward(self, x):
        return functional.linear(x, self.weight.t(), self.bias)


class Attention(nn.Module):
    def __init__(self, config, linear, name, index):
        super().__init__()
        width = config.n_embd
        self.heads, self.drop = config.n_head, config.attn_pdrop
        self.c_attn = linear(f"{name}.c_attn", width, 3 * width)
        self.c_proj = linear(f"{name}.c_proj", width, width)
        self.scale = 1 / math.sqrt(width // config.n_head) if config.scale_attn_weights else 1.0
        if config.scale_attn_by_inverse_layer_idx:
            self.scale /= index + 1

    def forward(self, x):
        batch, tokens, width = x.shape
        split = (batch, tokens, self.heads, width // self.heads)
        q, k, v = (part.reshape(split).transpose(1, 2) for part in self.c_attn(x).split(width, 2))
        scores = (q * self.scale) @ k.transpose(2, 3)
        hidden = torch.ones(tokens, tokens, dtype=torch.bool, device=x.device).triu(1)
        weights = torch.softmax(scores.masked_fill(hidden, torch.finfo(scores.dtype).min), 3)
        weights = functional.dropout(weights, self.drop, self.training)
        return self.c_proj((weights @ v).transpose(1, 2).reshape(x.shape))


class Mlp(nn.Module):
    def __init__(self, config, linear, name):
        super().__init__()
        inner = config.n_inner or 4 * config.n_embd
        if config.activation_function not in ACTIVATIONS:
            known = ", ".join(ACTIVATIONS)
            raise ValueError(f'config.json: activation_function is "{config.activation_function}", there is {known}')
        self.activation = ACTIVATIONS[config.activation_function]
        self.c_fc = linear(f"{name}.c_fc", config.n_embd, inner)
        self.c_proj = linear(f"{name}.c_proj", inner, config.n_embd)

    def forward(self, x):
        return self.c_proj(self.activation(self.c_fc(x)))


class Block(nn.Module):
    def __init__(self, config, linear, index):
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.attn = Attention(config, linear, f"h.{index}.attn", index)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.mlp = Mlp(config, linear, f"h.{index}.mlp")
        self.drop = nn.Dropout(config.resid_pdrop)

    def forward(self, x):
        x = x + self.drop(self.attn(self.ln_1(x)))
        return x + self.drop(self.mlp(self.ln_2(x)))


class GPT2(nn.Module):
    """input_ids (batch, tokens) to logits (batch, tokens, vocabulary). No cache of keys and values: transformers has."""

    def __init__(self, config, linear):
        """linear(name, n_in, n_out) makes the layer of that name."""
        super().__init__()
        self.config = config
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.n_positions, config.n_embd)
        self.drop = nn.Dropout(config.embd_pdrop)
        self.h = nn.ModuleList(Block(config, linear, index) for index in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.lm_head = None
        if not config.tie_word_embeddings:
            self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)

    def forward(self, input_ids):
        tokens, most = input_ids.shape[1], self.config.n_positions
        if tokens > most:
            raise ValueError(f"input_ids must be at most {most} tokens long, as the model has positions, is {tokens}")
        x = self.drop(self.wte(input_ids) + self.wpe(torch.arange(tokens, device=input_ids.device)))
        for block in self.h:
            x = block(x)
        return functional.linear(self.ln_f(x), (self.wte if self.lm_head is None else self.lm_head).weight)

    @staticmethod
    def parameter_name(stored):
        """A checkpoint's name as it is here; None for what is no parameter: causal masks, a tied head's copy."""
        name = stored
        for prefix in ("model.", "transformer."):
            name = name[len(prefix) :] if name.startswith(prefix) else name
        is_mask = name.endswith((".attn.bias", ".attn.masked_bias"))
        return None if is_mask or name.endswith((".freq_in", ".freq_out")) else name


ARCHITECTURES = {"gpt2": (PlainGPT2Config, GPT2)}


def load(folder, form="auto", mode="dense"):
    """A model folder as a torch module: ready to run, or with form="trainable" to train.

    form: "packed" reads model.safetensors, "trainable" what was saved for further training; "auto": packed if there is.
    mode: of packed layers. "dense" builds each matrix once; "packed" touches only what is stored, in less memory.
    Raises ValueError, one line, when a file is missing, damaged, or contradicts config.json.
    """
    if form not in ("auto", "packed", "trainable") or mode not in ("dense", "packed"):
        raise ValueError(f'form must be "auto", "packed" or "trainable", mode "dense" or "packed"; got {form}, {mode}')
    fields = read_config(folder)
    kind = str(fields.get("model_type")).replace("gblr_", "", 1)
    if kind not in ARCHITECTURES:
        raise ValueError(f'{folder}: config.json: model_type is "{kind}", there is {", ".join(ARCHITECTURES)}')
    config_class, model_class = ARCHITECTURES[kind]
    config = config_class(**fields)
    stored = _stored(folder, form, model_class.parameter_name)
    layers = {model_class.parameter_name(name): each for name, each in _layers(config).items()}
    shapes = {name: source.shapes()[original] for name, (source, original) in stored.items()}
    unused = set(layers)

    def linear(name, n_in, n_out):
        unused.discard(name)
        own = {key[len(name) + 1 :]: shape for key, shape in shapes.items() if key.startswith(f"{name}.")}
        if "weight" in own:
            return Dense(n_in, n_out)
        settings = {"n_in": n_in, "n_out": n_out, **layers.get(name, {})}
        if (settings["n_in"], settings["n_out"]) != (n_in, n_out):
            is_ = f"{settings['n_in']} x {settings['n_out']}"
            raise ValueError(f'{folder}: layer "{name}": must be n_in x n_out = {n_in} x {n_out}, config.json says {is_}')
        return structured_linear(name, {**settings, "shapes": own}, mode)

    model = model_class(config, linear)
    if unused:
        raise ValueError(f'{folder}: layer "{min(unused)}": config.json lists it, the model has no such layer')
    _fill(model, stored, folder)
    sigma = (config.gblr or {}).get("sigma")
    for module in model.modules():
        if isinstance(module, PackedGblrLinear):
            module.check()
        if isinstance(module, GblrLinear):
            module.sigma.fill_(math.inf if sigma is None else sigma)
    trains = any(isinstance(module, GblrLinear) for module in model.modules()) or form == "trainable"
    return model.requires_grad_(trains).eval()


def structured_linear(name, settings, mode="dense"):
    """The layer that `settings` of config.json, with the shapes of its parameters, describe."""
    shapes = settings.get("shapes")
    if not shapes:
        raise ValueError(f'layer "{name}": config.json gives no shapes of its parameters; save the model anew')
    structure = settings.get("structure", "gblr")
    if structure == "gblr" and "spans" in shapes:
        structure = "packed"
    kind = LAYERS.get(structure)
    if kind is None:
        raise ValueError(f'layer "{name}": structure is "{structure}", there is {", ".join(LAYERS)}')
    for part in kind.parts:
        if part not in shapes:
            raise ValueError(f'tensor "{name}.{part}": is missing, a layer of structure {structure} has one')
    bias = settings.get("bias", "bias" in shapes)
    return kind(name, settings["n_in"], settings["n_out"], shapes, bias=bias, mode=mode)


def _layers(config):
    """The part of config.json about structured layers, each with the structure that it has."""
    part = config.gblr or {}
    own = {"structure": part.get("structure", "gblr")}
    return {name: {**own, **settings} for name, settings in part.get("layers", {}).items()}


def _stored(folder, form, parameter_name):
    """Where each parameter is: its file and its name there, by its name in the model."""
    packed, trainable = (_open(folder, name) for name in ("model.safetensors", "trainable.safetensors"))
    if form == "packed" or (form == "auto" and packed):
        trainable = None
    if form == "packed" and not packed:
        raise problem(os.path.join(folder, "model.safetensors"), None, "is not there, nor its index")
    if form == "trainable" and not trainable:
        what = "is not there; the model was not saved for further training"
        raise problem(os.path.join(folder, "trainable.safetensors"), None, what)
    if not packed and not trainable:
        raise problem(folder, None, "has neither model.safetensors nor trainable.safetensors")
    found = {}
    for source in (packed, trainable):
        names = {parameter_name(name): (source, name) for name in (source.entries if source else {})}
        names.pop(None, None)
        # a layer that is there to train is not taken in its packed form too; its bias lies with that
        taken = {name.rsplit(".", 1)[0] for name in names if name.endswith(".lr_weight1")}
        parts = {f"{layer}.{part}" for layer in taken for part in PackedGblrLinear.parts}
        found = {name: each for name, each in found.items() if name not in parts}
        found.update(names)
    return found


def _open(folder, name):
    for path in (os.path.join(folder, name), os.path.join(folder, f"{name}.index.json")):
        if os.path.exists(path):
            return Tensors(path)
    return None


def _fill(model, stored, folder):
    """Puts the stored tensors into the model; every one must have a place, and every place a tensor of its shape."""
    places = dict(model.state_dict(keep_vars=True))
    for name, (source, original) in stored.items():
        if name == "lm_head.weight" and model.lm_head is None or name.endswith(".sigma"):
            continue
        place = places.pop(name, None)
        if place is None:
            raise problem(source.path, original, "the model of config.json has no such parameter")
        tensor = source.read(original)
        wanted = tuple(place.shape)
        if tensor.shape != wanted and name in ("wte.weight", "lm_head.weight"):
            tensor = tensor[: wanted[0]]  # vocabularies are padded
        if tuple(tensor.shape) != wanted:
            raise problem(source.path, original, f"must be of shape {wanted}, is {tuple(tensor.shape)}")
        if tensor.is_floating_point() != place.is_floating_point():
            raise problem(source.path, original, f"must be of type {place.dtype}, is {tensor.dtype}")
        with torch.no_grad():
            place.copy_(tensor)
    missing = sorted(name for name in places if not name.endswith(".sigma"))
    if missing:
        raise problem(folder, missing[0], "is missing from the files")


try:
    from transformers import GPT2LMHeadModel
except (ImportError, RuntimeError):  # RuntimeError: a transformers that cannot use this torch
    GPT2LMHeadModel = None

if GPT2LMHeadModel is not None:

    class GblrGPT2LMHeadModel(GPT2LMHeadModel):
        """GPT2LMHeadModel, its structured layers put in: generation, caches and attention kernels are its own."""

        config_class = GblrGPT2Config

        def __init__(self, config, *inputs, **options):
            super().__init__(config, *inputs, **options)
            for stored, settings in _layers(config).items():
                name = GPT2.parameter_name(stored)
                parent, _, child = f"transformer.{name}".rpartition(".")
                settings = {"bias": True, **settings}
                setattr(self.get_submodule(parent), child, structured_linear(name, settings, config.gblr_mode))
            self.post_init()

        @torch.no_grad()
        def _init_weights(self, module):
            # their values come from the file; there is no start to train them from
            if not isinstance(module, StructuredLinear):
                super()._init_weights(module)
