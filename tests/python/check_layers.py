"""The layers of hub/python against the reference's golden numbers: masks and their gradients, whole GBLR layers, and
their two ways to multiply. Prints the largest deviations as JSON.

    check_layers.py SOURCES FIXTURES
"""

import json
import math
import os
import sys

sys.path.insert(0, sys.argv[1])

import torch  # noqa: E402
from gblr_files import Tensors  # noqa: E402
from gblr_layers import GblrLinear, PackedGblrLinear  # noqa: E402
from gblr_masks import gaudi_mask  # noqa: E402

SIGMAS = {"none": math.inf, "1": 1.0, "100": 100.0}


def deviation(value, truth):
    return float((value.double() - truth.double()).abs().max())


def masks(folder):
    grads, values = (Tensors(os.path.join(folder, f"{name}.safetensors")) for name in ("mask_grad", "mask"))
    worst = {"mask": 0.0, "gradient": 0.0, "cases": 0}
    for name in sorted(values.entries):
        size, _, sigma = (name.split(".") + ["", ""])[:3]
        if f"{size}.train_ste.{sigma}.custom.f64" != name:
            continue
        n = int(size[1:])
        w, l, g = (grads.read(f"{size}.{part}").float() for part in ("w", "l", "G"))
        w.requires_grad_(True), l.requires_grad_(True)
        mask = gaudi_mask(w, l, n, SIGMAS[sigma[1:]])
        worst["mask"] = max(worst["mask"], deviation(mask.detach(), values.read(name)))
        (mask * g).sum().backward()
        for own, part in ((w.grad, "gw"), (l.grad, "gl")):
            truth = grads.read(f"{size}.ste.{sigma}.custom.f64.{part}")
            worst["gradient"] = max(worst["gradient"], deviation(own, truth) / float(truth.abs().max()))
        worst["cases"] += len(w)
    return worst


def layers(folder):
    golden = Tensors(os.path.join(folder, "layer.safetensors"))
    worst = {"output": 0.0, "gradient": 0.0, "checked": 0}
    for name, n_in, n_out in (("a", 48, 96), ("b", 96, 48)):
        parts = ("lr_weight1", "lr_weight2", "widths", "locations")
        shapes = {part: golden.shapes()[f"{name}.{part}"] for part in parts}
        for setting, sigma in (("nogauss", math.inf), ("gauss100", 100.0), ("gauss10", 10.0)):
            for mode in ("train", "eval"):
                layer = GblrLinear(name, n_in, n_out, shapes)
                for part in (*parts, "bias"):
                    getattr(layer, part).data.copy_(golden.read(f"{name}.{part}"))
                layer.sigma.fill_(sigma)
                layer.train(mode == "train")
                y = layer(golden.read(f"{name}.x"))
                key = f"{name}.{setting}.{mode}.dense"
                if f"{key}.y" not in golden.entries:
                    continue
                # with a Gaussian an entry at the cut may be kept on one side and dropped on the other
                if mode == "train" or setting == "nogauss":
                    worst["output"] = max(worst["output"], deviation(y.detach(), golden.read(f"{key}.y")))
                worst["checked"] += 1
                if f"{key}.grad.widths" not in golden.entries:
                    continue
                (y * golden.read(f"{name}.G")).sum().backward()
                for part in (*parts, "bias"):
                    truth = golden.read(f"{key}.grad.{part}")
                    error = deviation(getattr(layer, part).grad, truth) / float(truth.abs().max())
                    worst["gradient"] = max(worst["gradient"], error)
    return worst


def packed():
    """Both ways to multiply, values and gradients, and the matrix kept as long as nothing changes."""
    torch.manual_seed(0)
    spans = torch.tensor([[0, 5, 10], [12, 9, 2], [3, 0, 17], [4, 20, 6]], dtype=torch.int32)
    shapes = {"spans": [4, 3], "values_in": [23], "values_out": [30]}
    found = {}
    for mode in ("dense", "packed"):
        torch.manual_seed(1)
        layer = PackedGblrLinear("x", 12, 20, shapes, mode=mode)
        layer.spans.copy_(spans)
        for part in ("values_in", "values_out", "bias"):
            getattr(layer, part).data.normal_()
        x = torch.randn(2, 7, 12, requires_grad=True)
        y = layer(x)
        y.square().sum().backward()
        found[mode] = [y.detach(), x.grad, layer.values_in.grad, layer.values_out.grad, layer.bias.grad]
    worst = max(deviation(a, b) / float(b.abs().max()) for a, b in zip(found["dense"], found["packed"]))
    # W by the definition: entry by entry
    truth = torch.zeros(20, 12, dtype=torch.float64)
    at_in = at_out = 0
    for start_in, length_in, start_out, length_out in spans.t().tolist():
        for i in range(length_out):
            for j in range(length_in):
                value = layer.values_out[at_out + i].double() * layer.values_in[at_in + j].double()
                truth[(start_out + i) % 20, (start_in + j) % 12] += value.detach()
        at_in, at_out = at_in + length_in, at_out + length_out
    exact = deviation(layer.matrix().detach(), truth)
    layer.requires_grad_(False)
    layer.mode = "dense"
    first, second = layer.kept_matrix(), layer.kept_matrix()
    layer.values_in.mul_(2)
    doubled = deviation(layer.kept_matrix(), 2 * first)
    return {"ways": worst, "matrix": exact, "kept": first is second, "doubled": doubled}


if __name__ == "__main__":
    print(json.dumps({"masks": masks(sys.argv[2]), "layers": layers(sys.argv[2]), "packed": packed()}))
