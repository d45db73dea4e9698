"""Writes small random models twice: as transformers saves them, and as GGUF, as llama.cpp's converter writes them.

    python models.py FOLDER

For each model NAME: FOLDER/NAME/ by save_pretrained, FOLDER/NAME.gguf by PyPI's gguf.GGUFWriter, with the permutation of
queries and keys of llama.cpp's convert_hf_to_gguf.py (LlamaModel.permute) where it has one. FOLDER/NAME.json has what
transformers reads from the GGUF file: config fields, ids of texts and of a pair, and the texts of these ids. It does not
read smollm3.
"""

import json
import os
import sys

import gguf
import numpy as np
import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

transformers.logging.set_verbosity_error()
folder = sys.argv[1]
torch.manual_seed(7)

SHARED = dict(hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=256)
LLAMA3 = dict(
    rope_type="llama3",
    rope_theta=500000.0,
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=8192,
)
TEXTS = [
    "Hello  world, it's 12345 o'clock!\n\n  \tTwo\r\nlines",
    "naïve café, ФИЗИКА и 数学 😀 e\u0301 a\u200db",
    "<|im_start|>user\nhi<|im_end|> and <s>marks</s> <think>so</think>",
    "",
    "   x",
    "a\ufeffb",
]


def permuted(weight, heads):
    return weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def byte_level(pre, merged, control):
    letters = list(transformers.convert_slow_tokenizer.bytes_to_unicode().values())
    tokens, merges = list(letters), []
    for left, right in merged:
        merges.append(f"{left} {right}")
        tokens.append(left + right)
    kinds = [1] * len(tokens)
    for token in control:
        tokens.append(token)
        kinds.append(4 if token.startswith("<think") else 3)
    return dict(model="gpt2", pre=pre, tokens=tokens, kinds=kinds, merges=merges)


MERGED = [("h", "e"), ("l", "l"), ("he", "ll"), ("hell", "o"), ("Ġ", "Ġ"), ("1", "2"), ("12", "3"), ("Ġ", "w"), ("Ċ", "Ċ"), ("Ã", "©")]
MARKS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>"]


def sentencepiece(with_merges):
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    kinds = [2, 3, 3] + [6] * 256
    scores = [0.0] * len(tokens)
    words = ["▁", "H", "e", "l", "o", "w", "r", "d", "t", "a", "x", ",", "1", "2", "el", "ll", "ello", "Hello", "▁w", "or", "▁wor", "ld", "▁world", "▁▁", "it", "i", "\ufeff"]
    for number, word in enumerate(words):
        tokens.append(word)
        kinds.append(1)
        scores.append(-float(number % 7))
    tokens.append("<think>")
    kinds.append(4)
    scores.append(0.0)
    vocabulary = dict(model="llama", pre=None, tokens=tokens, kinds=kinds, scores=scores)
    if with_merges:
        vocabulary["merges"] = ["e l", "l l", "H el", "l o", "Hel lo", "▁ w"]
        vocabulary["tokens"] += ["Hel", "lo", "Hello▁"]
        vocabulary["kinds"] += [1, 1, 1]
        vocabulary["scores"] += [-1.0, -1.0, -1.0]
    return vocabulary


def add_vocabulary(writer, vocabulary, size, special):
    writer.add_tokenizer_model(vocabulary["model"])
    if vocabulary["pre"]:
        writer.add_tokenizer_pre(vocabulary["pre"])
    assert len(vocabulary["tokens"]) <= size
    writer.add_token_list(vocabulary["tokens"])
    writer.add_token_types(vocabulary["kinds"])
    if "scores" in vocabulary:
        writer.add_token_scores(vocabulary["scores"])
    if "merges" in vocabulary:
        writer.add_token_merges(vocabulary["merges"])
    ids = {token: number for number, token in enumerate(vocabulary["tokens"])}
    writer.add_bos_token_id(ids[special["bos"]])
    writer.add_eos_token_id(ids[special["eos"]])
    if "pad" in special:
        writer.add_pad_token_id(ids[special["pad"]])
    if "add_bos" in special:
        writer.add_add_bos_token(special["add_bos"])


def write(name, architecture, config, vocabulary, special, keys, renamed, dtype=torch.float32, quantized=None, extra=(), read=True):
    model = AutoModelForCausalLM.from_config(config).to(dtype)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3)
    path = os.path.join(folder, name)
    writer = gguf.GGUFWriter(path + ".gguf", architecture)
    writer.add_name(name)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_head_count(config.num_attention_heads)
    keys(writer, config)
    add_vocabulary(writer, vocabulary, config.vocab_size, special)
    states = model.state_dict()
    with torch.no_grad():
        for stored, weight in states.items():
            if stored == "lm_head.weight" and config.tie_word_embeddings:
                continue
            target, change = renamed(stored)
            array = weight.float().numpy()
            array = np.ascontiguousarray(change(array))
            kind = gguf.GGMLQuantizationType.F32
            if weight.dim() == 2 and quantized is not None:
                kind = quantized
                data = gguf.quantize(array, kind)
                # The folder gets what the file holds.
                weight.copy_(torch.from_numpy(undo(stored, gguf.dequantize(data, kind), change, weight.shape)))
            elif weight.dim() == 2 and dtype != torch.float32:
                kind = gguf.GGMLQuantizationType.F16 if dtype == torch.float16 else gguf.GGMLQuantizationType.BF16
                data = gguf.quantize(array, kind)
            else:
                data = array
            writer.add_tensor(target, data, raw_dtype=kind)
    for target, data in extra:
        writer.add_tensor(target, data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    model.save_pretrained(path)
    if read:
        with open(path + ".json", "w") as file:
            json.dump(read_by_transformers(name), file)


def undo(stored, array, change, shape):
    """The values in the order of the model, by applying the change to the positions."""
    places = np.arange(int(np.prod(shape))).reshape(tuple(shape))
    result = np.empty(int(np.prod(shape)), dtype=np.float32)
    result[np.ascontiguousarray(change(places)).ravel()] = array.ravel()
    return result.reshape(tuple(shape))


def read_by_transformers(name):
    config = AutoConfig.from_pretrained(folder, gguf_file=name + ".gguf")
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name + ".gguf")
    pair = tokenizer("Hello", "world").input_ids
    return {
        "config": json.loads(config.to_json_string(use_diff=False)),
        "ids": [tokenizer(text).input_ids for text in TEXTS],
        "texts": TEXTS,
        "decoded": [tokenizer.decode(tokenizer(text).input_ids) for text in TEXTS],
        "pair": pair,
    }


def llama_keys(writer, config):
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_key_length(head)
    writer.add_value_length(head)
    if config.model_type != "qwen2":
        writer.add_rope_dimension_count(head)
    if config.model_type == "mistral" and config.sliding_window:
        writer.add_sliding_window(config.sliding_window)
    scaling = config.rope_parameters
    if scaling["rope_type"] in ("linear", "yarn"):
        writer.add_rope_scaling_type(gguf.RopeScalingType(scaling["rope_type"]))
        writer.add_rope_scaling_factor(scaling["factor"])
        if "original_max_position_embeddings" in scaling:
            writer.add_rope_scaling_orig_ctx_len(scaling["original_max_position_embeddings"])


PARTS = {
    "embed_tokens": "token_embd",
    "norm": "output_norm",
    "lm_head": "output",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def llama_names(config, permutes):
    def renamed(stored):
        part, kind = stored.removeprefix("model.").rsplit(".", 1)
        prefix = ""
        if part.startswith("layers."):
            _, layer, part = part.split(".", 2)
            prefix = f"blk.{layer}."
        heads = {"self_attn.q_proj": config.num_attention_heads, "self_attn.k_proj": config.num_key_value_heads}.get(part)
        change = (lambda array: permuted(array, heads)) if heads and permutes else (lambda array: array)
        return f"{prefix}{PARTS[part]}.{kind}", change

    return renamed


def gpt2_names(stored):
    parts = {
        "wte": "token_embd",
        "wpe": "position_embd",
        "ln_f": "output_norm",
        "ln_1": "attn_norm",
        "ln_2": "ffn_norm",
        "attn.c_attn": "attn_qkv",
        "attn.c_proj": "attn_output",
        "mlp.c_fc": "ffn_up",
        "mlp.c_proj": "ffn_down",
    }
    part, kind = stored.removeprefix("transformer.").rsplit(".", 1)
    prefix = ""
    if part.startswith("h."):
        _, layer, part = part.split(".", 2)
        prefix = f"blk.{layer}."
    transposes = prefix != "" and kind == "weight" and "ln_" not in part
    return f"{prefix}{parts[part]}.{kind}", (lambda array: array.T) if transposes else (lambda array: array)


def gpt2_keys(writer, config):
    writer.add_feed_forward_length(config.n_inner or 4 * config.n_embd)
    writer.add_layer_norm_eps(config.layer_norm_epsilon)


def llama_factors(config):
    """What llama.cpp's converter stores for Llama 3.1, computed by transformers."""
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")
    dim = config.head_dim
    plain = 1.0 / (config.rope_parameters["rope_theta"] ** (torch.arange(0, dim, 2).float() / dim))
    return (plain / scaled).numpy().astype(np.float32)


BYTES = lambda pre: byte_level(pre, MERGED, MARKS)
CHAT = dict(bos="<|im_start|>", eos="<|im_end|>", pad="<|im_end|>", add_bos=False)
PIECES = dict(bos="<s>", eos="</s>")


def main():
    Llama = transformers.LlamaConfig
    config = Llama(**SHARED, vocab_size=288, num_key_value_heads=2, head_dim=24, rms_norm_eps=1e-5, tie_word_embeddings=True, rope_parameters=dict(rope_type="default", rope_theta=100000.0), bos_token_id=1, eos_token_id=2)
    write("llama", "llama", config, BYTES("smollm"), CHAT, llama_keys, llama_names(config, True))
    config = Llama(**SHARED, vocab_size=288, num_key_value_heads=4, head_dim=64, rms_norm_eps=1e-6, tie_word_embeddings=False, attention_bias=True, mlp_bias=True, rope_parameters=LLAMA3)
    factors = llama_factors(config)
    write("llama3", "llama", config, BYTES("llama-bpe"), dict(CHAT, add_bos=True), llama_keys, llama_names(config, True), dtype=torch.float16, extra=[("rope_freqs.weight", factors)])
    config = Llama(**SHARED, vocab_size=300, num_key_value_heads=4, rms_norm_eps=1e-5, rope_parameters=dict(rope_type="linear", rope_theta=10000.0, factor=2.5), tie_word_embeddings=False)
    write("pieces", "llama", config, sentencepiece(False), PIECES, llama_keys, llama_names(config, True), quantized=gguf.GGMLQuantizationType.Q8_0)
    config = transformers.MistralConfig(**SHARED, vocab_size=300, num_key_value_heads=1, sliding_window=32, rms_norm_eps=1e-5, rope_parameters=dict(rope_type="default", rope_theta=1e6), tie_word_embeddings=False)
    write("mistral", "llama", config, sentencepiece(True), dict(PIECES, add_bos=False), llama_keys, llama_names(config, True), dtype=torch.bfloat16)
    config = transformers.Qwen2Config(**SHARED, vocab_size=288, num_key_value_heads=2, rms_norm_eps=1e-6, rope_parameters=dict(rope_type="yarn", rope_theta=1e6, factor=4.0, original_max_position_embeddings=64), tie_word_embeddings=True)
    write("qwen2", "qwen2", config, BYTES("qwen2"), CHAT, llama_keys, llama_names(config, False), quantized=gguf.GGMLQuantizationType.Q5_0)
    config = transformers.Qwen3Config(**SHARED, vocab_size=288, num_key_value_heads=2, head_dim=32, rms_norm_eps=1e-6, rope_parameters=dict(rope_type="default", rope_theta=1e6), tie_word_embeddings=True)
    write("qwen3", "qwen3", config, BYTES("tekken"), CHAT, llama_keys, llama_names(config, False))
    config = transformers.SmolLM3Config(**SHARED, vocab_size=288, num_key_value_heads=2, rms_norm_eps=1e-6, rope_parameters=dict(rope_type="default", rope_theta=2e6), tie_word_embeddings=True, pad_token_id=None)
    write("smollm3", "smollm3", config, BYTES("smaug-bpe"), CHAT, llama_keys, llama_names(config, True), read=False)
    config = transformers.GPT2Config(n_embd=64, n_layer=2, n_head=4, n_positions=96, vocab_size=288, n_inner=128, layer_norm_epsilon=1e-5, tie_word_embeddings=True)
    write("gpt2", "gpt2", config, BYTES("gpt-2"), dict(bos="<|endoftext|>", eos="<|endoftext|>"), gpt2_keys, gpt2_names, quantized=gguf.GGMLQuantizationType.Q4_0)


main()
