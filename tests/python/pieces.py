"""How tokenizers cuts a text around each code point, as the lengths of the pieces.

stdin: JSON with `kinds`, pre-tokenizers as tokenizer.json has them, `template` in which X is the code point, `first` and
`last`. stdout: JSON, for each kind one text a code point: "start-end start-end ...", in code points.
"""

import json
import sys

from tokenizers import Tokenizer, models


def pre_tokenizer(kind):
    tokenizer = json.loads(Tokenizer(models.BPE()).to_str())
    return Tokenizer.from_str(json.dumps({**tokenizer, "pre_tokenizer": kind})).pre_tokenizer


def main():
    request = json.load(sys.stdin)
    points = [c for c in range(request["first"], request["last"] + 1) if not 0xD800 <= c < 0xE000]
    texts = [request["template"].replace("X", chr(c)) for c in points]
    cuts = []
    for cutter in map(pre_tokenizer, request["kinds"]):
        cuts.append([" ".join(f"{a}-{b}" for _, (a, b) in cutter.pre_tokenize_str(text)) for text in texts])
    json.dump(cuts, sys.stdout)


main()
