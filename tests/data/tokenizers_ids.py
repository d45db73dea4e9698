# Ids of PyPI's tokenizers for texts, as one CRC-32 a text of the ids' 32 bit numbers: a list of them, in binary.
#
#     tokenizers_ids.py TOKENIZER.JSON OUT < texts   texts: JSON; {"codePoints": PATTERN}: PATTERN with each code point for #
import json
import sys
import zlib
from array import array

from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file(sys.argv[1])
given = json.load(sys.stdin)
if isinstance(given, dict):
    points = (point for point in range(0x110000) if not 0xD800 <= point < 0xE000)
    given = [given["codePoints"].replace("#", chr(point)) for point in points]
sums = array("I")
for start in range(0, len(given), 20_000):
    for encoding in tokenizer.encode_batch(given[start : start + 20_000], add_special_tokens=False):
        sums.append(zlib.crc32(array("i", encoding.ids).tobytes()))
with open(sys.argv[2], "wb") as file:
    sums.tofile(file)
