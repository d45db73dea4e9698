"""Configurations of models with structured layers: the settings of the base model, and "gblr", the part of config.json
that describes the structured layers.

With transformers these are its configuration classes; without it, plain objects with the same fields.
"""

import json
import os

try:
    import transformers
    from transformers import GPT2Config, PretrainedConfig, ResNetConfig, ViTConfig
except ImportError:
    PretrainedConfig = None

GUARD = "gblr: needs trust_remote_code=True"
GUARDED = ("attn_implementation", "transformers_weights")

GPT2_DEFAULTS = {
    "vocab_size": 50257,
    "n_positions": 1024,
    "n_embd": 768,
    "n_layer": 12,
    "n_head": 12,
    "n_inner": None,
    "activation_function": "gelu_new",
    "resid_pdrop": 0.1,
    "embd_pdrop": 0.1,
    "attn_pdrop": 0.1,
    "layer_norm_epsilon": 1e-5,
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "tie_word_embeddings": True,
}


def transformers_class(name):
    """Returns transformers' class of this name. If this version has none, returns a class that raises an ImportError
    of one line when it is used, so that the other classes of this file work."""
    try:
        return getattr(transformers, name)
    except (AttributeError, ImportError, RuntimeError):
        return _missing_class(name)


def _missing_class(name):
    def refuse(*_, **options):
        what = f"transformers {transformers.__version__} has no {name}, which this model needs"
        raise ImportError(f"{what}; install a newer transformers, or use load() of modeling_gblr.py, which needs none")

    names = ("from_pretrained", "register_for_auto_class")
    return type(name, (), {"__init__": refuse, **dict.fromkeys(names, classmethod(refuse))})


class PlainConfig:
    """The fields of a config.json as attributes, with `defaults` for missing fields."""

    model_type = ""
    defaults = {}

    def __init__(self, **fields):
        if "n_ctx" in fields:  # its name in old files
            fields.setdefault("n_positions", fields["n_ctx"])
        for name, value in {**self.defaults, "gblr": None, "gblr_mode": "dense", **fields}.items():
            if name != "model_type":
                setattr(self, name, value)

    @classmethod
    def from_pretrained(cls, folder):
        """Reads config.json in a local model folder."""
        return cls(**read_config(folder))


class PlainGPT2Config(PlainConfig):
    model_type = "gpt2"
    defaults = GPT2_DEFAULTS


if PretrainedConfig is None:
    GblrGPT2Config = PlainGPT2Config
    GblrViTConfig = GblrResNetConfig = GblrTimmViTConfig = GblrTimmResNetConfig = GblrTimmMixerConfig = PlainConfig
    GblrLlamaConfig = GblrMistralConfig = GblrQwen2Config = GblrQwen3Config = GblrSmolLM3Config = PlainConfig
else:

    class _Gblr:
        """`gblr` is the part of config.json that describes the structured layers. `gblr_mode` is how packed layers
        multiply: "dense" builds each matrix once, "packed" uses the stored values only."""

        gblr = None
        gblr_mode = "dense"

    class _Guarded(_Gblr):
        """A configuration with the base model's model_type, so that the tokenizer loads without this code.

        The base model's own class would initialize structured layers at random. To make transformers refuse it,
        config.json has GUARD in two fields: as the attention implementation, which a caller's argument can override,
        and as the name of the weights file, which transformers reads since version 5. This class removes both."""

        @classmethod
        def from_dict(cls, fields, **options):
            guards = {name: None for name in GUARDED if fields.get(name) == GUARD}
            return super().from_dict({**fields, **guards}, **options)

        def to_dict(self):
            return {**super().to_dict(), **dict.fromkeys(GUARDED, GUARD)}

    class GblrGPT2Config(_Guarded, GPT2Config):
        pass

    class GblrViTConfig(_Guarded, ViTConfig):
        pass

    class GblrResNetConfig(_Guarded, ResNetConfig):
        pass

    class _GuardedLlama(_Guarded):
        @classmethod
        def from_dict(cls, fields, **options):
            if int(transformers.__version__.split(".")[0]) < 5:
                fields = with_old_rotary_names(fields)
            return super().from_dict(fields, **options)

    class GblrLlamaConfig(_GuardedLlama, transformers_class("LlamaConfig")):
        pass

    class GblrMistralConfig(_GuardedLlama, transformers_class("MistralConfig")):
        pass

    class GblrQwen2Config(_GuardedLlama, transformers_class("Qwen2Config")):
        pass

    class GblrQwen3Config(_GuardedLlama, transformers_class("Qwen3Config")):
        pass

    class GblrSmolLM3Config(_GuardedLlama, transformers_class("SmolLM3Config")):
        pass

    class GblrTimmViTConfig(_Gblr, PretrainedConfig):
        """The fields of timm: architecture, model_args, pretrained_cfg."""

        model_type = "gblr_vit"

    class GblrTimmResNetConfig(_Gblr, PretrainedConfig):
        model_type = "gblr_resnet"

    class GblrTimmMixerConfig(_Gblr, PretrainedConfig):
        model_type = "gblr_mixer"


def with_old_rotary_names(fields):
    """Returns the fields of a config.json with the settings of rotary positions under the names that transformers before
    version 5 reads: `rope_theta`, `partial_rotary_factor` and `rope_scaling` instead of `rope_parameters`."""
    if not isinstance(fields.get("rope_parameters"), dict):
        return fields
    renamed = dict(fields)
    scaling = dict(renamed.pop("rope_parameters"))
    if renamed.get("rope_scaling"):
        return renamed  # it precedes rope_parameters in transformers 5 too
    for name in ("rope_theta", "partial_rotary_factor"):
        if scaling.get(name) is not None:
            renamed[name] = scaling.pop(name)
    kind = scaling.get("rope_type") or scaling.get("type") or "default"
    renamed["rope_scaling"] = None if kind == "default" else scaling
    return renamed


def read_config(folder):
    """Returns the fields of a folder's config.json as a dict.

    Raises a ValueError of one line if the file is missing or is not a JSON object.
    """
    path = os.path.join(folder, "config.json")
    twice = []

    def once(pairs):
        fields = {}
        for name, value in pairs:
            if name in fields:
                twice.append(name)
            fields[name] = value
        return fields

    def no_number(text):
        raise ValueError(text + " is not a JSON number")

    try:
        with open(path, encoding="utf-8") as file:
            fields = json.load(file, object_pairs_hook=once, parse_constant=no_number)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}; a model folder has one") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: is not JSON") from error
    if not isinstance(fields, dict):
        raise ValueError(f"{path}: is not a JSON object")
    if "gblr" in fields and twice:
        raise ValueError(f'{path}: "{twice[0]}" appears twice')
    return fields
