"""Checkpoints as the authors' trainer leaves them, of random weights, and what they compute, in plain PyTorch.

Modules have the names of the authors' and nothing else of theirs: a mask is the Gaussian-Dirichlet formula of
docs/method.md, a matrix the masked sum of its blocks, a layer its product with that matrix. What is asked is JSON on stdin,
settings by the file that they are for; answers, by file too, are JSON on stdout.
"""

import json
import sys
import types

import torch
from torch import nn
from torch.nn import functional as F




def mask(widths, locations, n, sigma):
    """(K, n) in evaluation: whole samples, blocks of one sample dropped, entries below 1e-3 too."""
    samples = torch.round(widths * n).double()
    start = torch.round(locations * n).double()[:, None]
    w = (samples * (samples.abs() > 1) / n)[:, None]
    f = torch.arange(n // 2 + 1).double()
    spectrum = w * torch.sinc(f * w) / torch.sinc(f / n) * torch.exp(1j * torch.pi * f * (1 / n - w) - 2j * torch.pi * f * start / n)
    if sigma is not None:
        spectrum = spectrum * torch.exp(-(f**2) / (2 * sigma**2))
    values = torch.fft.irfft(spectrum, n=n, norm="forward")
    return values * (values.abs() >= 1e-3)


class Gaudi(nn.Module):
    """A matrix of blocks. Widths are of every kind: none, one sample, halves that round to even, full, outside."""

    def __init__(self, n_in, n_out, settings, bias):
        super().__init__()
        rank = settings.get("rank", 1)
        blocks = min(n_in, n_out) // rank
        self.n_in, self.n_out, self.smooth = n_in, n_out, settings["gaussian"]
        widths, locations = torch.rand(2, blocks), torch.rand(2, blocks)
        widths[torch.rand(2, blocks) < 0.2] = 0
        for row, n in enumerate((n_in, n_out)):
            special = torch.tensor([1.0, 1 / n, 1.5 / n, 2.5 / n, 3.5 / n, -3e-4, 1 + 3e-4, -1 / n, 1.2, -0.2])
            at = torch.randperm(blocks)[: blocks // 2]
            widths[row, at[: len(special)]] = special[torch.randperm(len(special))[: len(at)]]
            locations[row, :4] = torch.tensor([0.0, 1.0, 2.5 / n, -0.2])
        self.widths, self.locations = nn.Parameter(widths), nn.Parameter(locations)
        self.register_buffer("freq_in", torch.arange(0.0, n_in // 2 + 1))
        self.register_buffer("freq_out", torch.arange(0.0, n_out // 2 + 1))
        self.register_buffer("sigma", torch.tensor(float(settings["sigma"])))
        size = (blocks * rank * n_in) ** -0.25
        self.lr_weight1 = nn.Parameter(size * torch.randn(blocks, rank, n_in))
        self.lr_weight2 = nn.Parameter(size * torch.randn(blocks, n_out, rank))
        self.bias = nn.Parameter(0.3 * torch.randn(n_out)) if bias else None

    def masks(self):
        sigma = self.sigma.double() if self.smooth else None
        sides = zip(self.widths, self.locations, (self.n_in, self.n_out))
        return [mask(widths, locations, n, sigma) for widths, locations, n in sides]

    def matrix(self):
        across, down = self.masks()
        masked = across[:, None, :] * self.lr_weight1.double(), down[:, :, None] * self.lr_weight2.double()
        return torch.einsum("kri,kor->oi", *masked)

    def cost(self):
        across, down = [(side > 1e-3).sum(1) for side in self.masks()]
        rank = self.lr_weight1.shape[1]
        alive = (torch.round(self.widths[0] * self.n_in) > 1) & (torch.round(self.widths[1] * self.n_out) > 1)
        return int((torch.minimum((across + down) * rank, across * down) * alive).sum())

    def forward(self, x):
        return F.linear(x, self.matrix(), self.bias.double())


class GaudiConv(nn.Module):
    """A kernel of such matrices: one for each of its positions, row by row, or one over (rows, columns, channels)."""

    def __init__(self, n_in, n_out, kernel, stride, settings):
        super().__init__()
        self.kernel, self.stride, self.each = kernel, stride, settings["convolutions"] == "each"
        if self.each:
            self.gaudi_modules = nn.ModuleList(Gaudi(n_in, n_out, settings, False) for _ in range(kernel * kernel))
        else:
            self.gaudi_module = Gaudi(kernel * kernel * n_in, n_out, settings, False)

    def forward(self, x):
        k, channels = self.kernel, x.shape[1]
        if self.each:
            weight = torch.stack([one.matrix() for one in self.gaudi_modules], dim=2)
            weight = weight.view(len(weight), channels, k, k)
        else:
            matrix = self.gaudi_module.matrix()
            weight = matrix.view(len(matrix), k, k, channels).permute(0, 3, 1, 2)
        return F.conv2d(x, weight, stride=self.stride, padding=k // 2)


class Attention(nn.Module):
    def __init__(self, width, heads, settings, sparse):
        super().__init__()
        self.heads, self.packed = heads, settings.get("packed", False) and not sparse
        if self.packed:
            self.qkv = nn.Linear(width, 3 * width)
        for part in () if self.packed else ("q_proj", "k_proj", "v_proj"):
            setattr(self, part, Gaudi(width, width, settings, True) if sparse else nn.Linear(width, width))
        self.proj = nn.Linear(width, width)

    def forward(self, x):
        batch, tokens, width = x.shape
        parts = self.qkv(x).chunk(3, -1) if self.packed else (self.q_proj(x), self.k_proj(x), self.v_proj(x))
        q, k, v = (part.view(batch, tokens, self.heads, -1).transpose(1, 2) for part in parts)
        weights = (q @ k.transpose(2, 3) / (width // self.heads) ** 0.5).softmax(-1)
        return self.proj((weights @ v).transpose(1, 2).reshape(batch, tokens, width))


class Mlp(nn.Module):
    def __init__(self, width, inner, settings, sparse):
        super().__init__()
        made = (lambda *size: Gaudi(*size, settings, True)) if sparse else nn.Linear
        self.fc1, self.fc2 = made(width, inner), made(inner, width)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class VitBlock(nn.Module):
    def __init__(self, width, settings, sparse):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, settings["heads"], settings, sparse)
        self.mlp = Mlp(width, settings["inner"], settings, sparse)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Vit(nn.Module):
    def __init__(self, settings):
        super().__init__()
        width, patch = settings["width"], settings["patch"]
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv2d(3, width, patch, stride=patch)
        self.cls_token = nn.Parameter(torch.randn(1, 1, width))
        self.pos_embed = nn.Parameter(torch.randn(1, (settings["image"] // patch) ** 2 + 1, width))
        dense = settings.get("dense", [])
        self.blocks = nn.Sequential(*(VitBlock(width, settings, i not in dense) for i in range(settings["blocks"])))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, settings["classes"])

    def forward(self, images):
        x = self.patch_embed.proj(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self.pos_embed
        return self.head(self.norm(self.blocks(x))[:, 0])


class ResnetBlock(nn.Module):
    def __init__(self, n_in, n_out, stride, settings):
        super().__init__()
        self.conv1, self.bn1 = GaudiConv(n_in, n_out, 3, stride, settings), nn.BatchNorm2d(n_out)
        self.conv2, self.bn2 = GaudiConv(n_out, n_out, 3, 1, settings), nn.BatchNorm2d(n_out)
        self.downsample = None
        if stride != 1 or n_in != n_out:
            self.downsample = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride=stride, bias=False), nn.BatchNorm2d(n_out))

    def forward(self, x):
        short = x if self.downsample is None else self.downsample(x)
        return (self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())) + short).relu()


class Resnet(nn.Module):
    def __init__(self, settings):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False), nn.BatchNorm2d(64)
        n_in = 64
        self.stages = [f"layer{i + 1}" for i in range(len(settings["layers"]))]
        for i, (stage, n_out) in enumerate(zip(self.stages, settings["channels"])):
            sizes = [(n_in if j == 0 else n_out, n_out, 2 if j == 0 < i else 1) for j in range(settings["layers"][i])]
            setattr(self, stage, nn.Sequential(*(ResnetBlock(*size, settings) for size in sizes)))
            n_in = n_out
        self.fc = nn.Linear(n_in, settings["classes"])

    def forward(self, images):
        x = F.max_pool2d(self.bn1(self.conv1(images)).relu(), 3, stride=2, padding=1)
        for stage in self.stages:
            x = getattr(self, stage)(x)
        return self.fc(x.mean((2, 3)))


def enliven(model):
    """Statistics and gains that are none of the plain ones they start with."""
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        owner = model.get_submodule(name.rpartition(".")[0])
        if isinstance(owner, (nn.LayerNorm, nn.BatchNorm2d)) and tensor.is_floating_point():
            tensor.data += 0.5 * torch.rand_like(tensor) - (0 if name.endswith("running_var") else 0.25)


def as_configuration(value):
    """As OmegaConf keeps a configuration: values in objects of its own."""
    if isinstance(value, dict):
        made = DictConfig()
        made.__dict__.update(_metadata=None, _content={key: as_configuration(inner) for key, inner in value.items()})
        return made
    made = AnyNode()
    made.__dict__.update(_metadata=None, _val=value)
    return made


def class_of(module, name):
    made = type(name, (), {"__module__": module})
    sys.modules.setdefault(module.split(".")[0], types.ModuleType(module.split(".")[0]))
    sys.modules[module] = types.ModuleType(module)
    setattr(sys.modules[module], name, made)
    return made


DictConfig = class_of("omegaconf.dictconfig", "DictConfig")
AnyNode = class_of("omegaconf.nodes", "AnyNode")


def read_safetensors(path):
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        data = bytearray(file.read())
    types = {"F32": torch.float32, "I64": torch.int64}
    tensors = {}
    for name, info in header.items():
        if name != "__metadata__":
            first, end = info["data_offsets"]
            tensors[name] = torch.frombuffer(data[first:end], dtype=types[info["dtype"]]).view(info["shape"])
    return tensors


def answer(file, asked):
    torch.manual_seed(5)
    model = {"vit": Vit, "resnet": Resnet}[asked["model"]](asked)
    enliven(model)
    if "load" in asked:
        model.load_state_dict(read_safetensors(asked["load"]), strict=True)
    state = {f"model.{name}": tensor.clone() for name, tensor in model.state_dict().items()}
    rest = {"epoch": 9, "global_step": 25030, "pytorch-lightning_version": "2.0.0", "lr_schedulers": []}
    hyper = {"hyper_parameters": as_configuration(asked["hyper"])} if "hyper" in asked else {}
    torch.save({**rest, "state_dict": state, **hyper}, file)
    matrices = [module for module in model.modules() if isinstance(module, Gaudi)]
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.LayerNorm, nn.BatchNorm2d)):
            module.double()
    model.eval()
    images = torch.randn(2, 3, asked["image"], asked["image"]).double()
    with torch.no_grad():
        logits = model(images)
        costs = [module.cost() for module in matrices]
    flat = images.permute(0, 2, 3, 1).flatten().tolist()
    return {"images": flat, "logits": logits.flatten().tolist(), "costs": costs}


if __name__ == "__main__":
    torch.set_num_threads(1)
    json.dump({file: answer(file, asked) for file, asked in json.load(sys.stdin).items()}, sys.stdout)
