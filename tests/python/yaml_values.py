"""What PyYAML's safe_load makes of a text. stdin: YAML. stdout: JSON, with numbers that are not finite as text."""

import json
import math
import sys

import yaml


def plain(value):
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    return value if isinstance(value, (str, int, float, bool, type(None))) else repr(value)


json.dump(plain(yaml.safe_load(sys.stdin.buffer.read().decode("utf-8"))), sys.stdout)
