# Makes a tokenizer for each normalizer and pre-tokenizer, whose ids show what that part alone does to a text.
import json

from tokenizers import Tokenizer

from tokenizer_families import BYTES, FIRST, precompiled, small_map


def visible(normalizer=None, pre_tokenizer=None):
    # Tokens are the bytes of the normalized text, with a "#" before each character that does not start a piece.
    def make(texts):
        vocab = {token: i for i, token in enumerate(BYTES)}
        model = {"type": "BPE", "vocab": vocab, "merges": [], "byte_fallback": True, "continuing_subword_prefix": "#"}
        parts = {"normalizer": normalizer and normalizer(texts), "pre_tokenizer": pre_tokenizer, "model": model}
        return Tokenizer.from_str(json.dumps({"version": "1.0", "added_tokens": [], **parts}))

    return make


def typed(name, **fields):
    return {"type": name, **fields}


def split_part(pattern, behavior, invert=False):
    return typed("Split", pattern=pattern, behavior=behavior, invert=invert)


NORMALIZERS = {
    **{name: typed(name) for name in ["NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Nmt"]},
    "Strip": typed("Strip", strip_left=True, strip_right=True),
    "Strip left": typed("Strip", strip_left=True, strip_right=False),
    "Prepend": typed("Prepend", prepend="▁"),
    "Strip, then Prepend": typed(
        "Sequence",
        normalizers=[typed("Strip", strip_left=True, strip_right=False), typed("Prepend", prepend="a")],
    ),
    "Replace a hyphen": typed("Replace", pattern={"String": "-"}, content=""),
    "Replace a word": typed("Replace", pattern={"Regex": r"\b\w|\s+$"}, content="$&"),
    "Replace nothing": typed("Replace", pattern={"Regex": r"e*"}, content="-"),
    "BertNormalizer": typed(
        "BertNormalizer", clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=True
    ),
}
CUTS = {
    **{name: typed(name) for name in ["WhitespaceSplit", "Whitespace", "BertPreTokenizer"]},
    "Digits": typed("Digits", individual_digits=True),
    "Digits together": typed("Digits", individual_digits=False),
    "CharDelimiterSplit": typed("CharDelimiterSplit", delimiter="e"),
    "Split at a hyphen": split_part({"String": "-"}, "Isolated"),
    "FixedLength": typed("FixedLength", length=3),
    "ByteLevel": typed("ByteLevel", add_prefix_space=True, trim_offsets=True, use_regex=True),
    "Metaspace first": FIRST,
    "Metaspace after spaces": typed("Sequence", pretokenizers=[typed("WhitespaceSplit"), FIRST]),
    "Metaspace after words": typed("Sequence", pretokenizers=[typed("BertPreTokenizer"), FIRST]),
}
CUTS["ByteLevel, then Digits"] = typed(
    "Sequence", pretokenizers=[typed("ByteLevel", add_prefix_space=False, trim_offsets=True), CUTS["Digits"]]
)
for behavior in ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]:
    CUTS[f"Punctuation {behavior}"] = typed("Punctuation", behavior=behavior)
    CUTS[f"Split {behavior}"] = split_part({"Regex": r"\s|[aeiou]+"}, behavior)
    CUTS[f"Split {behavior} inverted"] = split_part({"Regex": r"\w+"}, behavior, True)
    CUTS[f"Split at a text {behavior}"] = split_part({"String": "e "}, behavior)

# Functions from training texts, most of which ignore these, to a tokenizer.
PARTS = {
    "precompiled": visible(normalizer=lambda _: precompiled()),
    "small map": visible(normalizer=small_map),
    "precompiled nfkc_cf": visible(normalizer=lambda texts: precompiled("nfkc_cf")),
    **{f"normalizer {name}": visible(normalizer=lambda _, part=part: part) for name, part in NORMALIZERS.items()},
    **{f"first after {name}": visible(lambda _, part=part: part, FIRST) for name, part in NORMALIZERS.items()},
    **{f"cut {name}": visible(pre_tokenizer=part) for name, part in CUTS.items()},
}
