"""Reads and checks safetensors files with torch alone, either one file or several with an index.

A file that breaks a rule of the format raises a ValueError of one line that names the tensor and the rule.
"""

import json
import math
import os
import struct

import torch

from gblr_config_rules import one_line
from gblr_rules import Stored

DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
LONGEST_HEADER = 100_000_000
GROUP = 32  # consecutive values of an I8 tensor T that share a scale, in T_scales


class Tensors:
    """The tensors of one file, or of all files of an index, by name. Values are read by read(). A tensor of 8-bit
    integers that has scales is read as real numbers, and its scales are not listed."""

    def __init__(self, path):
        self.path = path
        self.entries = {}
        self.scales = {}  # entries of scales by the names of their tensors
        if path.endswith(".json"):
            self._open_index(path)
        else:
            self._open_file(path)
        self._hide_scales()

    def shapes(self):
        """Returns a dict from the name of each tensor to its shape."""
        return {name: entry["shape"] for name, entry in self.entries.items()}

    def stored(self):
        """Name, dtype and shape of each tensor as it is read."""
        dtypes = {name: "F32" if name in self.scales else entry["dtype"] for name, entry in self.entries.items()}
        return [Stored(name, dtypes[name], tuple(entry["shape"])) for name, entry in self.entries.items()]

    def read(self, name):
        """Reads one tensor into memory."""
        values = self._values(name, self.entries[name])
        if name not in self.scales:
            return values
        scales = self._values(f"{name}_scales", self.scales[name]).float().repeat_interleave(GROUP)
        return values.float() * scales[: values.numel()].reshape(values.shape)

    def _hide_scales(self):
        """Takes the scales of 8-bit integers out of the entries, and checks their type and shape."""
        for name in [name for name, entry in self.entries.items() if entry["dtype"] == "I8"]:
            scales = self.entries.pop(f"{name}_scales", None)
            if scales is None:
                continue
            found, groups = f"{scales['dtype']} {tuple(scales['shape'])}", self._groups(name)
            if found != f"BF16 {(groups,)}":
                raise problem(self.path, name, f"is I8, so {name}_scales must be BF16 ({groups}), is {found}")
            self.scales[name] = scales

    def _groups(self, name):
        return -(-math.prod(self.entries[name]["shape"]) // GROUP)

    def check_int8(self, allowed):
        """Checks that there are 8-bit integers with scales only if they are allowed, and then none without."""
        for name, entry in self.entries.items():
            if name in self.scales and not allowed:
                raise problem(self.path, name, "is I8, which needs gblr.format 3 in config.json")
            if allowed and entry["dtype"] == "I8" and name not in self.scales:
                must = f"so {name}_scales must be BF16 ({self._groups(name)}), is missing"
                raise problem(self.path, name, f"is I8, {must}")

    def _values(self, name, entry):
        file, dtype, shape, start, end = (entry[key] for key in ("file", "dtype", "shape", "start", "end"))
        if start == end:
            return torch.zeros(shape, dtype=DTYPES[dtype])
        data = bytearray(end - start)
        with open(file, "rb") as source:
            source.seek(start)
            if source.readinto(data) != len(data):
                raise problem(file, name, "the file ends within its data")
        return torch.frombuffer(data, dtype=DTYPES[dtype]).reshape(shape)

    def _open_index(self, path):
        weights = _json(_bytes(path, 0, LONGEST_HEADER), path).get("weight_map")
        if not isinstance(weights, dict):
            raise problem(path, None, "weight_map must map tensors to files")
        for name, shard in weights.items():
            if not isinstance(shard, str) or not shard.endswith(".safetensors") or shard != os.path.basename(shard):
                raise problem(path, name, "its file must be a safetensors file in the folder of the index")
        for shard in sorted(set(weights.values())):
            self._open_file(os.path.join(os.path.dirname(path), shard))
        for name, shard in weights.items():
            if name not in self.entries or os.path.basename(self.entries[name]["file"]) != shard:
                raise problem(path, name, f"is not in {shard}, which the index names")

    def _open_file(self, path):
        size, header, data = _header(path)
        filled = 0
        by_offset = []
        for name, entry in header.items():
            if name == "__metadata__":
                if not isinstance(entry, dict) or not all(isinstance(value, str) for value in entry.values()):
                    raise problem(path, None, "__metadata__ must map strings to strings")
            else:
                by_offset.append((_checked(path, name, entry), name))
        for entry, name in sorted(by_offset, key=lambda each: (each[0]["start"], each[0]["end"])):
            if name in self.entries:
                raise problem(path, name, "is in two files")
            if entry["start"] != filled:
                raise problem(path, name, f"data_offsets must begin at {filled}, where the previous tensor ends")
            filled = entry["end"]
            self.entries[name] = {**entry, "file": path, "start": data + entry["start"], "end": data + entry["end"]}
        if data + filled != size:
            raise problem(path, None, f"must be {data + filled} bytes long, as its header says, is {size}")


def _header(path):
    prefix = _bytes(path, 0, 8)
    size = os.path.getsize(path)
    if len(prefix) < 8:
        raise problem(path, None, f"is too short for a safetensors file: {size} bytes")
    (length,) = struct.unpack("<Q", prefix)
    if length > min(size - 8, LONGEST_HEADER):
        raise problem(path, None, f"header of {length} bytes does not fit in a file of {size}")
    data = _bytes(path, 8, length)
    if data[:1] != b"{":
        raise problem(path, None, "header must begin with {")
    header = _json(data, path)
    return size, header, 8 + length


def _checked(path, name, entry):
    """Checks an entry of a header. Returns its dtype, shape, start and end."""
    if any("\ud800" <= character <= "\udfff" for character in name):
        raise problem(path, ascii(name), "the name is not well-formed Unicode")
    if not isinstance(entry, dict):
        raise problem(path, name, "its entry must be an object")
    dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if dtype not in DTYPES:
        raise problem(path, name, f"dtype must be one of {', '.join(DTYPES)}, is {dtype}")
    if not _counts(shape):
        raise problem(path, name, "shape must be a list of whole numbers from 0")
    if not _counts(offsets) or len(offsets) != 2:
        raise problem(path, name, "data_offsets must be two whole numbers from 0")
    needed = torch.empty(0, dtype=DTYPES[dtype]).element_size()
    for side in shape:
        needed *= side
    if offsets[1] - offsets[0] != needed:
        raise problem(path, name, f"{dtype} {tuple(shape)} takes {needed} bytes, data_offsets give {offsets}")
    return {"dtype": dtype, "shape": shape, "start": offsets[0], "end": offsets[1]}


def _counts(values):
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 2**53 for value in values)


def _bytes(path, start, length):
    try:
        with open(path, "rb") as file:
            file.seek(start)
            return file.read(length)
    except OSError as error:
        raise problem(path, None, f"cannot be read: {error.strerror}") from error


def _json(data, path):
    def once(pairs):
        fields = {}
        for name, value in pairs:
            if name in fields:
                raise problem(path, name, "appears twice")
            fields[name] = value
        return fields

    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=once, parse_constant=_no_number)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise problem(path, None, "header is not JSON") from error
    if not isinstance(value, dict):
        raise problem(path, None, "header is not a JSON object")
    return value


def _no_number(text):
    raise json.JSONDecodeError("is not a JSON number", text, 0)


def problem(path, tensor, what):
    where = f'{path}: tensor "{tensor}"' if tensor is not None else path
    return ValueError(one_line(f"{where}: {what}"))
