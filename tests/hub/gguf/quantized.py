"""Writes random blocks of each quantized type, and the values that PyPI's gguf gives for them.

    python quantized.py FILE SEED BLOCKS

FILE is safetensors: TYPE.bytes (uint8) and TYPE.values (float32) for each type. The float16 scales of the first blocks
are the extremes: zeros, subnormals, the largest, infinities, NaN. For each type that gguf can quantize, TYPE.normal.bytes
and TYPE.normal.values are quantized normal numbers. tests/fixtures/gguf/quantized.safetensors has seed 1 and 10 blocks.
"""

import sys

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type
from safetensors.numpy import save_file

path, seed, blocks = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
random = np.random.default_rng(seed)
# positions of the float16 numbers in a block
HALVES = {
    "Q4_0": [0],
    "Q4_1": [0, 2],
    "Q5_0": [0],
    "Q5_1": [0, 2],
    "Q8_0": [0],
    "IQ4_NL": [0],
    "Q2_K": [80, 82],
    "Q3_K": [108],
    "Q4_K": [0, 2],
    "Q5_K": [0, 2],
    "Q6_K": [208],
    "F16": [0],
    "BF16": [],
}
EXTREMES = [0x0000, 0x8000, 0x0001, 0x83FF, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E01]

tensors = {}
np.seterr(all="ignore")
for name, halves in HALVES.items():
    kind = Type[name]
    values, size = gguf.GGML_QUANT_SIZES[kind]
    count = max(blocks, len(EXTREMES) + 1)
    data = random.integers(0, 256, (count, size), dtype=np.uint8)
    for row, bits in enumerate(EXTREMES):
        for at in halves:
            data[row, at : at + 2] = np.array([bits], dtype="<u2").view(np.uint8)
    tensors[f"{name}.bytes"] = data.reshape(-1)
    tensors[f"{name}.values"] = np.ascontiguousarray(gguf.dequantize(data.reshape(1, -1), kind).reshape(-1))
    try:
        normal = random.normal(size=(2, 8 * values)).astype(np.float32)
        quantized = gguf.quantize(normal, kind)
    except NotImplementedError:
        continue
    tensors[f"{name}.normal.bytes"] = np.ascontiguousarray(quantized).view(np.uint8).reshape(-1)
    tensors[f"{name}.normal.values"] = np.ascontiguousarray(gguf.dequantize(quantized, kind).reshape(-1))
save_file(tensors, path)
