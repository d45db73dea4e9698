"""torchvision's ResNet-18 on images, for packaged-resnet.slow.test.ts: `packaged_resnet.py WEIGHTS OUT < {"folder": ...}`.

Reads the state_dict and the images of a folder with one folder for each class. Writes OUT/seen.pth, the same weights
whose running statistics are those of the images, and OUT/images.bin, the images as torchvision prepares them, float32
(batch, height, width, 3). Prints the logits and predictions of both."""

import json
import os
import sys

import torch
import torchvision
from torchvision import transforms


def main(weights, out):
    torch.set_num_threads(2)
    folder = json.load(sys.stdin)["folder"]
    stored = torch.load(weights, map_location="cpu", weights_only=True)
    prefix = "backbone."
    model = torchvision.models.resnet18(num_classes=10)
    model.load_state_dict({name.removeprefix(prefix): tensor for name, tensor in stored.items()})
    prepare = transforms.Compose(
        [
            transforms.Resize(256),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )
    images = torchvision.datasets.ImageFolder(folder, prepare)
    x = torch.stack([image for image, _ in images])
    labels = torch.tensor([label for _, label in images])
    x.permute(0, 2, 3, 1).contiguous().numpy().tofile(os.path.join(out, "images.bin"))
    answers = {"trained": any(int(t) > 0 for name, t in stored.items() if name.endswith("num_batches_tracked"))}
    for kind in ("stored", "seen"):
        if kind == "seen":
            for module in model.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.momentum = None  # the mean over all batches
            model.train()
            with torch.no_grad():
                for batch in x.split(10):
                    model(batch)
            state = {prefix + name: tensor for name, tensor in model.state_dict().items()}
            torch.save(state, os.path.join(out, "seen.pth"))
        model.eval()
        with torch.no_grad():
            logits = model(x)
        taken = logits.argmax(1)
        answers[kind] = {
            "logits": logits.double().flatten().tolist(),
            "taken": taken.tolist(),
            "top1": (taken == labels).float().mean().item(),
        }
    print(json.dumps(answers))


if __name__ == "__main__":
    main(*sys.argv[1:])
