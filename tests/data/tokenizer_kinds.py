# Makes a tokenizer.json of every kind with PyPI's tokenizers, and encodes and decodes texts with it.
#
#     tokenizer_kinds.py make FOLDER < [text, ...]
#         Writes FOLDER/KIND/tokenizer.json for each kind, trained on the texts, and prints the kinds.
#     tokenizer_kinds.py sums TOKENIZER.JSON OUT < [text, ...]
#         Writes four CRC-32 for each text: of its ids, its ids with special tokens, the text decoded from the latter,
#         and that text without special tokens.
#     tokenizer_kinds.py cases
#         Prints some kinds, trained on a few sentences, with the ids and decoded texts of examples, as in
#         tests/fixtures/tokenizers/kinds.json. Training is not the same in each run, so ids of some kinds differ.
import json
import os
import sys
import zlib
from array import array

from tokenizer_families import FAMILIES
from tokenizer_parts import PARTS
from tokenizers import Tokenizer

KINDS = {**FAMILIES, **PARTS}


def make(folder):
    texts = json.load(sys.stdin)
    for kind, train in KINDS.items():
        os.makedirs(os.path.join(folder, kind), exist_ok=True)
        train(texts).save(os.path.join(folder, kind, "tokenizer.json"))
    print(json.dumps(list(KINDS)))


def sums(path, out):
    tokenizer = Tokenizer.from_file(path)
    given = json.load(sys.stdin)
    found = array("I")
    for start in range(0, len(given), 20_000):
        part = given[start : start + 20_000]
        plain = [encoding.ids for encoding in tokenizer.encode_batch(part, add_special_tokens=False)]
        # Without a post-processor there are no special tokens to add.
        special = [encoding.ids for encoding in tokenizer.encode_batch(part)] if tokenizer.post_processor else plain
        texts = [tokenizer.decode_batch(special, skip_special_tokens=skip) for skip in [False, True]]
        for i in range(len(part)):
            found.extend(zlib.crc32(array("i", some[i]).tobytes()) for some in [plain, special])
            found.extend(zlib.crc32(some[i].encode()) for some in texts)
    with open(out, "wb") as file:
        found.tofile(file)


SENTENCES = ["the cat's hat, the cat and that hat", "This is a test. Is this the test? 2024 and 1999!", "Das Café, ein Ä"]
EXAMPLES = [
    "",
    " ",
    "the cat",
    "  The cat's HAT \r\n\n isn't 12345 here!",
    "Café e\u0301 \ufb01\u0301 \u00bd ΑΣ\u0130",
    "a\u0085b\ufeffc\u3000d\u2581e \u2581 f",
    "日本語 한국 नि 👩‍👩‍👧 \u088f",
    "'\u017f 'LL '\u212a \r\u0600a",
    "<|im_start|>user\nHi<|im_end|>\n<|endoftext|>",
    "<s>the</s> the <unk> <mask>  cat <0x41>[MASK]",
    "a new word left   right whole wholes é tHe",
]
CASES = [
    *["gpt2 with a space", "gpt2 with added tokens", "lowercase with added tokens", "llama3", "qwen2", "smollm2"],
    *["llama2", "llama2 with added tokens", "metaspace first, added tokens", "metaspace always", "gemma"],
    *["unigram with bytes", "bert", "clip", "old bpe", "words", "small map"],
    *["normalizer NFKD", "normalizer BertNormalizer", "cut Split MergedWithNext", "cut Metaspace after words"],
    "first after Strip, then Prepend",
]


def cases():
    kinds = []
    for kind in CASES:
        tokenizer = KINDS[kind](SENTENCES)
        found = []
        for text in EXAMPLES:
            plain, special = [tokenizer.encode(text, add_special_tokens=add).ids for add in [False, True]]
            decoded, skipped = [tokenizer.decode(special, skip_special_tokens=skip) for skip in [False, True]]
            found.append({"text": text, "ids": plain, "special": special, "decoded": decoded, "skipped": skipped})
        kinds.append({"kind": kind, "definition": json.loads(tokenizer.to_str()), "cases": found})
    print("[\n" + ",\n".join(json.dumps(kind, separators=(",", ":")) for kind in kinds) + "\n]")


if __name__ == "__main__":
    {"make": make, "sums": sums, "cases": cases}[sys.argv[1]](*sys.argv[2:])
