"""Positions as timm resamples them: resize.py on a JSON {"grid", "to", "width", "values"}, the resized values on stdout."""

import json
import sys

import torch

asked = json.load(sys.stdin)
grid, to, width = asked["grid"], asked["to"], asked["width"]
table = torch.tensor(asked["values"], dtype=torch.float64).reshape(1, grid, grid, width).permute(0, 3, 1, 2)
resized = torch.nn.functional.interpolate(table, size=(to, to), mode="bicubic", antialias=True)
json.dump(resized.permute(0, 2, 3, 1).flatten().tolist(), sys.stdout)
