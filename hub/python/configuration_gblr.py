"""What config.json says of a model with structured layers: the base model's own settings, and "gblr".

Under transformers these are its configuration classes; without it, plain objects with the same fields. No tensors.
"""

import json
import os

try:
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


class PlainConfig:
    """Fields of a config.json as attributes; those of `defaults` where it has none."""

    model_type = ""
    defaults = {}

    def __init__(self, **fields):
        if "n_ctx" in fields:  # what old files call it
            fields.setdefault("n_positions", fields["n_ctx"])
        for name, value in {**self.defaults, "gblr": None, "gblr_mode": "dense", **fields}.items():
            if name != "model_type":
                setattr(self, name, value)

    @classmethod
    def from_pretrained(cls, folder):
        """folder: a model folder on the disk."""
        return cls(**read_config(folder))


class PlainGPT2Config(PlainConfig):
    model_type = "gpt2"
    defaults = GPT2_DEFAULTS


if PretrainedConfig is None:
    GblrGPT2Config = PlainGPT2Config
    GblrViTConfig = GblrResNetConfig = GblrTimmViTConfig = GblrTimmResNetConfig = GblrTimmMixerConfig = PlainConfig
else:

    class _Gblr:
        """`gblr`: the part of config.json that says which layers are structured. `gblr_mode`: how packed layers
        multiply, "dense" builds each matrix once, "packed" touches what is stored."""

        gblr = None
        gblr_mode = "dense"

    class _Guarded(_Gblr):
        """Has the base model's model_type, so that a tokenizer loads without this code. GUARD is in config.json for
        transformers to refuse the base model's own class, which would fill structured layers at random: as a kind of
        attention, which a caller's argument replaces, and as a name of weights, which transformers reads since 5."""

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

    class GblrTimmViTConfig(_Gblr, PretrainedConfig):
        """timm's fields as they are: architecture, model_args, pretrained_cfg."""

        model_type = "gblr_vit"

    class GblrTimmResNetConfig(_Gblr, PretrainedConfig):
        model_type = "gblr_resnet"

    class GblrTimmMixerConfig(_Gblr, PretrainedConfig):
        model_type = "gblr_mixer"


def read_config(folder):
    """The fields of a folder's config.json.

    Raises ValueError, one line, when there is none or it is no JSON object.
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
        raise ValueError(text + " is no number of JSON's")

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
