"""Ids that tokenizers gives texts by themselves.

stdin: JSON with `tokenizer`, the path of a tokenizer.json, and `texts`. stdout: JSON, the ids of each.
"""

import json
import sys

from tokenizers import Tokenizer

request = json.load(sys.stdin)
tokenizer = Tokenizer.from_file(request["tokenizer"])
encodings = tokenizer.encode_batch(request["texts"], add_special_tokens=False)
json.dump([encoding.ids for encoding in encodings], sys.stdout)
