"""Models of torchvision, timm and transformers for peers.test.ts: `peers.py KIND FOLDER` writes FOLDER/weights.pth, a
state_dict or a whole module as people save them, and prints the logits of FOLDER/input as JSON."""

import json
import os
import sys

import torch

SIZE = 64


def torchvision_resnet18():
    import torchvision

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = torchvision.models.resnet18(weights=None)
            self.backbone.fc = torch.nn.Linear(512, 10)

        def forward(self, x):
            return self.backbone(x)

    model = Net()
    return model, model.state_dict()


def torchvision_resnet34():
    import torchvision

    model = torchvision.models.resnet34(weights=None)
    model.fc = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Linear(512, 7))
    return model, model


def torchvision_resnet50():
    import torchvision

    model = torchvision.models.resnet50(weights=None, num_classes=9)
    return model, {"state_dict": {"model.net." + name: tensor for name, tensor in model.state_dict().items()}}


def torchvision_resnet101():
    import torchvision

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = torchvision.models.resnet101(weights=None)
            self.backbone.fc = torch.nn.Identity()
            self.classifier = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Linear(2048, 4))

        def forward(self, x):
            return self.classifier(self.backbone(x))

    model = Net()
    return model, model.state_dict()


def timm_resnet152():
    import timm

    model = timm.create_model("resnet152", num_classes=3)
    return model, model.state_dict()


def transformers_resnet50():
    from transformers import ResNetConfig, ResNetForImageClassification

    model = ResNetForImageClassification(ResNetConfig(num_labels=5))
    return model, model.state_dict()


def torchvision_vit():
    import torchvision

    size = {"image_size": SIZE, "patch_size": 16, "num_layers": 2, "num_heads": 4, "hidden_dim": 64, "mlp_dim": 128}
    model = torchvision.models.VisionTransformer(num_classes=6, **size)
    torch.nn.init.normal_(model.heads.head.weight)
    return model, model


def timm_vit():
    import timm

    model = timm.create_model("vit_tiny_patch16_224", img_size=SIZE, num_classes=6, depth=2)
    return model, torch.nn.DataParallel(model).state_dict()


def timm_mixer():
    import timm

    model = timm.create_model("mixer_s32_224", img_size=SIZE, num_classes=6)
    return model, {"model": model.state_dict(), "epoch": 3}


def transformers_vit():
    from transformers import ViTConfig, ViTForImageClassification

    model = ViTForImageClassification(ViTConfig(num_hidden_layers=2, image_size=SIZE, num_labels=5))
    return model, model.state_dict()


def transformers_gpt2():
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config(n_layer=2, n_embd=128, n_head=4, vocab_size=200, n_positions=32))
    return model, model


LLAMA = {"vocab_size": 200, "hidden_size": 128, "intermediate_size": 96, "num_hidden_layers": 2, "num_key_value_heads": 1}


def transformers_llama():
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(**LLAMA, num_attention_heads=2, rms_norm_eps=1e-5, mlp_bias=True, tie_word_embeddings=True)
    model = LlamaForCausalLM(config)
    return model, torch.nn.DataParallel(model).state_dict()


def transformers_qwen2():
    from transformers import Qwen2Config, Qwen2ForCausalLM

    rope = {"rope_type": "default", "rope_theta": 1e6}
    model = Qwen2ForCausalLM(Qwen2Config(**LLAMA, num_attention_heads=2, rope_parameters=rope))
    return model, {"model": model.state_dict(), "step": 7}


def transformers_qwen3():
    from transformers import Qwen3Config, Qwen3ForCausalLM

    rope = {"rope_type": "default", "rope_theta": 1e6}
    model = Qwen3ForCausalLM(Qwen3Config(**LLAMA, num_attention_heads=4, head_dim=16, rope_parameters=rope))
    return model, model.state_dict()


def main(kind, folder):
    torch.manual_seed(0)
    model, saved = globals()[kind]()
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            tensor.add_(torch.randn_like(tensor) * 0.02)  # statistics and biases that are none of the plain ones
    model.eval()
    torch.save(saved, os.path.join(folder, "weights.pth"))
    if kind in ("transformers_gpt2", "transformers_llama", "transformers_qwen2", "transformers_qwen3"):
        x = torch.arange(9)[None] * 7 % 200
    else:
        x = torch.randn(2, 3, SIZE, SIZE)
    with torch.no_grad():
        y = model(x)
    logits = y if isinstance(y, torch.Tensor) else y.logits
    images = [] if x.dim() == 2 else x.permute(0, 2, 3, 1).flatten().tolist()
    print(json.dumps({"images": images, "logits": logits.double().flatten().tolist()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
