# Trains a tokenizer of each family of models, and of each kind of model, with PyPI's tokenizers.
import base64
import io
import json
import tempfile

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
GPT4O = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
DEEPSEEK = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CHAT = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
BYTES = ["<0x%02X>" % byte for byte in range(256)]


def split(pattern):
    return pre_tokenizers.Split(Regex(pattern), "isolated")


def byte_level(texts, pre_tokenizer, normalizer=None, special=CHAT, ignore_merges=False, processor=None):
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(vocab_size=3000, special_tokens=special, initial_alphabet=alphabet, show_progress=False),
    )
    tokenizer.post_processor = processor or processors.ByteLevel(trim_offsets=False)
    return tokenizer


def around(tokenizer, before, after=()):
    tokens = [(token, tokenizer.token_to_id(token)) for token in [*before, *after]]
    single = " ".join([*before, "$A", *after])
    return processors.TemplateProcessing(single=single, pair=single + " $B", special_tokens=tokens)


def llama3(texts):
    cut = pre_tokenizers.Sequence([split(LLAMA3), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    special = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    tokenizer = byte_level(texts, cut, special=special, ignore_merges=True)
    template = around(tokenizer, ["<|begin_of_text|>"])
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=True), template])
    return tokenizer


def with_added(tokenizer):
    tokenizer.add_tokens(["new word", AddedToken("left", lstrip=True), AddedToken("right", rstrip=True)])
    tokenizer.add_tokens([AddedToken("whole", single_word=True, normalized=False), "tHe", "  ", "é"])
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, rstrip=True), "<|im"])
    return tokenizer


def sentencepiece_bpe(texts, normalizer=None, pre_tokenizer=None, decoder=None):
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    training = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
    tokenizer.pre_tokenizer = training
    special = ["<unk>", "<s>", "</s>", *BYTES]
    tokenizer.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=3000, special_tokens=special, limit_alphabet=300, show_progress=False)
    )
    return rebuilt(tokenizer, special[:3], normalizer, pre_tokenizer, decoder)


def rebuilt(tokenizer, special, normalizer, pre_tokenizer, decoder):
    # Tokens of bytes are no added tokens.
    definition = json.loads(tokenizer.to_str())
    definition["added_tokens"] = [token for token in definition["added_tokens"] if token["content"] in special]
    definition["pre_tokenizer"] = None
    tokenizer = Tokenizer.from_str(json.dumps(definition))
    if normalizer:
        tokenizer.normalizer = normalizer
    if pre_tokenizer:
        tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoder
    tokenizer.post_processor = around(tokenizer, ["<s>"])
    return tokenizer


def llama2_decoder():
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    return decoders.Sequence(steps)


def llama2(texts):
    normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return sentencepiece_bpe(texts, normalizer=normalizer, decoder=llama2_decoder())


def metaspace(scheme, whole):
    def make(texts):
        cut = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=whole)
        return sentencepiece_bpe(texts, pre_tokenizer=cut, decoder=decoders.Metaspace(prepend_scheme=scheme))

    return make


def gemma(texts):
    normalizer = normalizers.Replace(" ", "▁")
    cut = pre_tokenizers.Split(" ", "merged_with_previous")
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    return sentencepiece_bpe(texts, normalizer=normalizer, pre_tokenizer=cut, decoder=decoders.Sequence(steps))


def charsmap(**rule):
    # The map does not depend on the text.
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(f"the quick brown fox jumps over {i} lazy dogs" for i in range(100)),
        model_writer=model,
        model_type="char",
        vocab_size=30,
        hard_vocab_limit=False,
        **rule,
        minloglevel=2,
    )
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto.FromString(model.getvalue())
    return base64.b64encode(proto.normalizer_spec.precompiled_charsmap).decode()


def precompiled(rule="nmt_nfkc", known={}):
    if rule not in known:
        known[rule] = charsmap(normalization_rule_name=rule)
    return {"type": "Precompiled", "precompiled_charsmap": known[rule]}


def small_map(texts):
    # Parts of graphemes: "fi" with an accent, the accent by itself, CR with LF.
    rules = {"ﬁ": "fi", "e\u0301": "\u00e9", "\r": " ", "\n": " ", "Ａ": "A", "\u0600": "", "½": "1/2"}
    lines = [" ".join(f"{ord(c):X}" for c in old) + "\t" + " ".join(f"{ord(c):X}" for c in new) for old, new in rules.items()]
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as file:
        file.write("\n".join(lines) + "\n")
        file.flush()
        return {"type": "Precompiled", "precompiled_charsmap": charsmap(normalization_rule_tsv=file.name)}


def unigram(normalizer, pre_tokenizer, fallback=False):
    def make(texts):
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        special = ["<s>", "<pad>", "</s>", "<unk>", *(BYTES if fallback else [])]
        trainer = trainers.UnigramTrainer(
            vocab_size=2500, special_tokens=special, unk_token="<unk>", max_piece_length=12, show_progress=False
        )
        known = ["".join(character for character in text[:3000] if ord(character) < 0x500) for text in texts]
        tokenizer.train_from_iterator(known, trainer)
        definition = json.loads(tokenizer.to_str())
        # Scores that tie, as rounded scores of real models do.
        definition["model"]["vocab"] = [[token, round(score, 1)] for token, score in definition["model"]["vocab"]]
        definition["model"]["byte_fallback"] = fallback
        definition["added_tokens"] = [token for token in definition["added_tokens"] if token["content"] in special[:4]]
        definition["normalizer"] = normalizer(texts)
        definition["pre_tokenizer"] = pre_tokenizer
        definition["decoder"] = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
        tokenizer = Tokenizer.from_str(json.dumps(definition))
        tokenizer.post_processor = around(tokenizer, ["<s>"], ["</s>"])
        return tokenizer

    return make


METASPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
FIRST = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": True}
SPACES = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"}


def xlm_roberta(texts):
    return precompiled()


def t5(texts):
    strip = {"type": "Strip", "strip_left": False, "strip_right": True}
    return {"type": "Sequence", "normalizers": [precompiled(), strip, SPACES]}


def albert(texts):
    quotes = [{"type": "Replace", "pattern": {"String": quote}, "content": '"'} for quote in ["``", "''"]]
    steps = [*quotes, {"type": "NFKD"}, {"type": "StripAccents"}, {"type": "Lowercase"}, precompiled("nmt_nfkc_cf")]
    return {"type": "Sequence", "normalizers": steps}


def bert(uncased):
    def make(texts):
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=20))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=uncased)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece(cleanup=uncased)
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        trainer = trainers.WordPieceTrainer(vocab_size=3000, special_tokens=special, show_progress=False)
        tokenizer.train_from_iterator(texts, trainer)
        sep, cls = [(token, tokenizer.token_to_id(token)) for token in ["[SEP]", "[CLS]"]]
        tokenizer.post_processor = processors.BertProcessing(sep, cls)
        return tokenizer

    return make


def clip(texts):
    tokenizer = Tokenizer(models.BPE(unk_token="<|endoftext|>", end_of_word_suffix="</w>"))
    steps = [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    tokenizer.normalizer = normalizers.Sequence(steps)
    words = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    cut = pre_tokenizers.Split(Regex(words), "removed", invert=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([cut, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    special = ["<|startoftext|>", "<|endoftext|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=3000,
        special_tokens=special,
        initial_alphabet=alphabet,
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.decoder = decoders.ByteLevel()
    cls, sep = [(token, tokenizer.token_to_id(token)) for token in special]
    tokenizer.post_processor = processors.RobertaProcessing(sep, cls, trim_offsets=False, add_prefix_space=False)
    return tokenizer


def old_bpe(texts):
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", continuing_subword_prefix="##", end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.BPEDecoder(suffix="</w>")
    trainer = trainers.BpeTrainer(
        vocab_size=3000,
        special_tokens=["<unk>"],
        continuing_subword_prefix="##",
        end_of_word_suffix="</w>",
        limit_alphabet=300,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def word_level(texts):
    tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.WordLevelTrainer(vocab_size=3000, special_tokens=["<unk>"], show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


GPT2 = pre_tokenizers.ByteLevel(add_prefix_space=False)
PLAIN_BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)

# Functions from training texts to a tokenizer.
FAMILIES = {
    "gpt2": lambda texts: byte_level(texts, GPT2),
    "gpt2 with a space": lambda texts: byte_level(texts, pre_tokenizers.ByteLevel(add_prefix_space=True)),
    "llama3": llama3,
    "qwen2": lambda texts: byte_level(texts, pre_tokenizers.Sequence([split(QWEN2), PLAIN_BYTES]), normalizers.NFC()),
    "smollm2": lambda texts: byte_level(
        texts, pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), GPT2])
    ),
    "gpt4o": lambda texts: byte_level(texts, pre_tokenizers.Sequence([split(GPT4O), PLAIN_BYTES])),
    "deepseek": lambda texts: byte_level(
        texts,
        pre_tokenizers.Sequence(
            [split(r"\p{N}{1,3}"), split(r"[一-龥぀-ゟ゠-ヿ]+"), split(DEEPSEEK), PLAIN_BYTES]
        ),
    ),
    "gpt2 with added tokens": lambda texts: with_added(byte_level(texts, GPT2)),
    "lowercase with added tokens": lambda texts: with_added(byte_level(texts, GPT2, normalizers.Lowercase())),
    "llama2": llama2,
    "llama2 with added tokens": lambda texts: with_added(llama2(texts)),
    "metaspace first": metaspace("first", False),
    "metaspace first, added tokens": lambda texts: with_added(metaspace("first", False)(texts)),
    "metaspace always": metaspace("always", True),
    "metaspace never": metaspace("never", True),
    "gemma": gemma,
    "xlm-roberta": unigram(xlm_roberta, {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, METASPACE]}),
    "t5": unigram(t5, METASPACE),
    "t5, first": unigram(t5, FIRST),
    "albert": unigram(albert, METASPACE),
    "unigram with bytes": unigram(lambda texts: None, METASPACE, fallback=True),
    "bert": bert(True),
    "bert, cased": bert(False),
    "clip": clip,
    "old bpe": old_bpe,
    "words": word_level,
}
