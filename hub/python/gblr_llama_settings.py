"""The settings of the Llama family in config.json: the defaults of transformers, what differs among the families, and the
fields that are refused because they change the result. The workbench has the same rules.
"""

import json
import math
from types import SimpleNamespace

from torch.nn import functional

from gblr_gpt2 import gelu_tanh

LLAMA_ACTIVATIONS = {
    "silu": functional.silu, "swish": functional.silu, "gelu_pytorch_tanh": gelu_tanh, "gelu_new": gelu_tanh,
    "gelu_fast": gelu_tanh,
}  # fmt: skip

# Fields of related models, and their values without effect. null never has an effect.
OTHER_FIELDS = {
    # factors and limits of Granite, MiniCPM, Cohere, Gemma
    "embedding_multiplier": [1], "residual_multiplier": [1], "attention_multiplier": [], "logits_scaling": [1],
    "logit_scale": [1], "final_logit_softcapping": [], "attn_logit_softcapping": [], "query_pre_attn_scalar": [],
    "scale_emb": [1], "scale_depth": [], "dim_model_base": [], "clip_qkv": [],
    # mixtures of experts
    "num_experts": [0], "num_local_experts": [0, 1], "n_routed_experts": [0], "n_shared_experts": [0],
    "moe_intermediate_size": [],
    # other attention
    "is_causal": [True], "use_bidirectional_attention": [False], "add_cross_attention": [False],
    "attention_chunk_size": [], "attn_temperature_tuning": [False], "kv_lora_rank": [], "q_lora_rank": [],
    "use_qk_norm": [False], "qk_layernorm": [False], "use_mrope": [False], "use_rope": [True],
    "rope_interleave": [False], "rope_interleaved": [False], "alibi": [False], "use_alibi": [False],
    "use_parallel_residual": [False],
    # models of several parts
    "per_layer_config": [], "vision_config": [], "text_config": [],
}  # fmt: skip

FULL, SLIDING = "full_attention", "sliding_attention"
LLAMA_DEFAULTS = {
    "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": None, "head_dim": None, "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-6, "hidden_act": "silu", "rope_theta": 10000.0, "sliding_window": None, "max_window_layers": 28,
    "no_rope_layer_interval": 4, "tie_word_embeddings": False,
}  # fmt: skip


class LlamaFamily:
    """Llama, and what the other families have in common with it. given: the fields of config.json, with defaults."""

    defaults = LLAMA_DEFAULTS
    fixed = {
        "sliding_window": [], "use_sliding_window": [False], "no_rope_layers": [], "no_rope_layer_interval": [],
    }  # fmt: skip
    """Fields that transformers' class of the family does not read, and their values without effect."""
    norms_of_heads = False
    has_layer_types = False  # whether layer_types chooses the layers with a window
    window_fields = "Llama's sliding_window"  # the fields that determine windows, for errors

    def biases(self, given):
        """Whether there are biases in the layers of queries, keys and values, in the output layer, and in the MLP."""
        attention = bool(given.get("attention_bias"))
        return attention, attention, bool(given.get("mlp_bias"))

    def rotates(self, given, index):
        """Whether a layer has rotary positions."""
        return True

    def slides(self, given, index):
        """Whether a layer has a sliding window, if the model has one and config.json has no layer_types."""
        return False


class MistralFamily(LlamaFamily):
    defaults = {
        **LLAMA_DEFAULTS, "intermediate_size": 14336, "num_key_value_heads": 8, "max_position_embeddings": 131072,
        "sliding_window": 4096,
    }  # fmt: skip
    window_fields = "Mistral's sliding_window"
    fixed = {
        "attention_bias": [False], "mlp_bias": [False], "use_sliding_window": [True], "no_rope_layers": [],
        "no_rope_layer_interval": [],
    }  # fmt: skip

    def biases(self, given):
        return False, False, False

    def slides(self, given, index):
        return True


class Qwen2Family(LlamaFamily):
    defaults = {
        **LLAMA_DEFAULTS, "vocab_size": 151936, "intermediate_size": 22016, "num_key_value_heads": 32,
        "max_position_embeddings": 32768, "sliding_window": 4096,
    }  # fmt: skip
    fixed = {"attention_bias": [True], "mlp_bias": [False], "no_rope_layers": [], "no_rope_layer_interval": []}
    has_layer_types = True
    window_fields = "use_sliding_window and sliding_window"

    def biases(self, given):
        return True, False, False

    def slides(self, given, index):
        return bool(given.get("use_sliding_window")) and index >= given["max_window_layers"]


class Qwen3Family(Qwen2Family):
    defaults = {**Qwen2Family.defaults, "head_dim": 128}
    fixed = {"mlp_bias": [False], "no_rope_layers": [], "no_rope_layer_interval": []}
    norms_of_heads = True

    def biases(self, given):
        attention = bool(given.get("attention_bias"))
        return attention, attention, False


class SmolLM3Family(LlamaFamily):
    defaults = {
        **LLAMA_DEFAULTS, "vocab_size": 128256, "hidden_size": 2048, "num_hidden_layers": 36, "num_attention_heads": 16,
        "num_key_value_heads": 4, "max_position_embeddings": 32768, "rope_theta": 2e6, "tie_word_embeddings": True,
    }  # fmt: skip
    fixed = {}
    has_layer_types = True
    window_fields = "use_sliding_window and sliding_window"

    def rotates(self, given, index):
        listed = given.get("no_rope_layers")
        return (index + 1) % given["no_rope_layer_interval"] != 0 if listed is None else bool(listed[index])

    def slides(self, given, index):
        return bool(given.get("use_sliding_window")) and not self.rotates(given, index)


LLAMA_FAMILIES = {
    "llama": LlamaFamily(),
    "mistral": MistralFamily(),
    "qwen2": Qwen2Family(),
    "qwen3": Qwen3Family(),
    "smollm3": SmolLM3Family(),
}
"""The families by the `model_type` in config.json."""


def llama_sizes(fields):
    """Reads the settings of config.json that the computation needs.

    Raises a ValueError of one line that names a field that is not valid, or that changes the result and is not supported.
    """
    family = LLAMA_FAMILIES[str(fields.get("model_type")).replace("gblr_", "", 1)]
    for field, neutral in {**OTHER_FIELDS, **family.fixed}.items():
        value = fields.get(field)
        if value is not None and value not in neutral:
            raise setting_problem(f"{field} is {shown(value)}, which is not computed here")
    given = {**family.defaults, **fields}
    names = ("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads", "vocab_size")
    blocks, width, inner_width, heads, vocabulary = (_count(given, name) for name in names)
    groups = heads if given["num_key_value_heads"] is None else _count(given, "num_key_value_heads")
    _expect_divides("num_key_value_heads", groups, "num_attention_heads", heads)
    if given["head_dim"] is None:
        _expect_divides("num_attention_heads", heads, "hidden_size", width)
    if given["hidden_act"] not in LLAMA_ACTIVATIONS:
        raise setting_problem(f"hidden_act is {shown(given['hidden_act'])}, there is {', '.join(LLAMA_ACTIVATIONS)}")
    qkv_bias, out_bias, mlp_bias = family.biases(given)
    return SimpleNamespace(
        blocks=blocks,
        width=width,
        heads=heads,
        groups=groups,
        head=width // heads if given["head_dim"] is None else _count(given, "head_dim"),
        inner_width=inner_width,
        vocabulary=vocabulary,
        positions=_count(given, "max_position_embeddings"),
        theta=family.defaults["rope_theta"],
        epsilon=given["rms_norm_eps"],
        activation=LLAMA_ACTIVATIONS[given["hidden_act"]],
        qkv_bias=qkv_bias,
        out_bias=out_bias,
        mlp_bias=mlp_bias,
        norms_of_heads=family.norms_of_heads,
        tied=bool(given["tie_word_embeddings"]),
        attention_dropout=given.get("attention_dropout") or 0.0,
        rotates=_rotating(family, given, blocks),
        windows=_windows(family, given, blocks),
    )


def _rotating(family, given, blocks):
    """Whether each layer has rotary positions."""
    listed = given.get("no_rope_layers")
    if listed is not None and len(listed) < blocks:
        raise setting_problem(f"no_rope_layers has {len(listed)} entries: expected one for each of {blocks} layers")
    return [family.rotates(given, index) for index in range(blocks)]


def _windows(family, given, blocks):
    """How many keys a query sees in each layer, its own included; None for all."""
    window, types = given.get("sliding_window"), given.get("layer_types")
    usual = [window is not None and family.slides(given, index) for index in range(blocks)]
    if types is None:
        return [window if slides else None for slides in usual]
    if len(types) != blocks:
        raise setting_problem(f"layer_types has {len(types)} entries: expected one for each of {blocks} layers")
    unknown = [each for each in types if each not in (FULL, SLIDING)]
    if unknown:
        raise setting_problem(f"layer_types has {shown(unknown[0])}, there is {FULL}, {SLIDING}")
    sliding = [each == SLIDING for each in types]
    chosen = family.has_layer_types and given.get("use_sliding_window") and window is not None
    for index, (slides, expected) in enumerate(zip(sliding, usual)):
        if slides != expected and not chosen and (slides or not family.has_layer_types):
            must = f"expected {SLIDING if expected else FULL} by {family.window_fields}"
            raise setting_problem(f"layer_types[{index}] is {types[index]}: {must}")
    return [window if slides else None for slides in sliding]


def _count(given, name):
    value = given[name]
    if type(value) is not int or value < 1:
        raise setting_problem(f"{name} is {shown(value)}: expected a whole number from 1")
    return value


def _expect_divides(name, divisor, of, number):
    if number % divisor != 0:
        raise setting_problem(f"{name} must divide {of} {number}, is {divisor}")


def expect_unquantized(fields):
    """Raises a ValueError of one line for weights that are quantized. Those of GGUF are dequantized on import."""
    given = fields.get("quantization_config")
    method = given.get("quant_method") if isinstance(given, dict) else given
    if given is not None and method != "gguf":
        what = f"quantization_config.quant_method is {shown(method)}: expected weights that are not quantized"
        raise setting_problem(what)


def setting_problem(what):
    return ValueError(f"config.json: {what}")


def shown(value):
    """A value of config.json as the file has it, shortened."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)[:80]


def number_setting(given, path, name, usual=None, above=0, least=-math.inf):
    """A number of config.json that is greater than `above` and not less than `least`. usual: if there is none. path: of
    the object `given`, for errors."""
    value = given.get(name)
    if value is None and usual is not None:
        return usual
    fits = isinstance(value, (int, float)) and not isinstance(value, bool) and value > above and value >= least
    if not fits:
        must = f"above {above}" if least < above else f"from {least}"
        is_ = "is missing" if value is None else f"is {shown(value)}"
        raise setting_problem(f"{path}{name} {is_}: expected a number {must}")
    return value
