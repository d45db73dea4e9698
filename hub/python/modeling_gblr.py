"""Models with structured layers in PyTorch, with or without transformers.

With torch alone:      from modeling_gblr import load; model = load("folder"); logits = model(input_ids)
With transformers:     AutoModelForCausalLM.from_pretrained(repo, trust_remote_code=True)

Image models take pixel_values and are loaded with AutoModelForImageClassification.

To add an architecture, write a subclass of Network with a `kind`. For transformers, also add a configuration class to
configuration_gblr.py and a model class at the end of this file.
"""

import torch

from configuration_gblr import (
    GblrGPT2Config,
    GblrLlamaConfig,
    GblrMistralConfig,
    GblrQwen2Config,
    GblrQwen3Config,
    GblrResNetConfig,
    GblrSmolLM3Config,
    GblrTimmMixerConfig,
    GblrTimmResNetConfig,
    GblrTimmViTConfig,
    GblrViTConfig,
    transformers_class,
)
from gblr_build import Layers, replace_layers
from gblr_config_rules import check_config
from gblr_files import Tensors
from gblr_gpt2 import GPT2
from gblr_images import Images
from gblr_layers import PackedGblrLinear, StructuredLinear
from gblr_llama import Llama
from gblr_load import checked_tensors, load
from gblr_mixer import Mixer
from gblr_resnet import ResNet
from gblr_timm import timm_classes, timm_labels
from gblr_vit import VisionTransformer

# ----------------------------------------------------------------------------------------------------------------------
# The same models as classes of transformers, if it is installed.
# ----------------------------------------------------------------------------------------------------------------------

try:
    from transformers import GenerationConfig, GPT2LMHeadModel, PreTrainedModel
    from transformers import ResNetForImageClassification, ViTForImageClassification
    from transformers.modeling_outputs import ImageClassifierOutputWithNoAttention
    from transformers.utils import cached_file
except (ImportError, RuntimeError):  # RuntimeError: this transformers does not support this torch
    PreTrainedModel = None

if PreTrainedModel is not None:

    class _Checked:
        """Checks loaded models by the rules of the format. Must come before a class of transformers in the list of base
        classes."""

        @classmethod
        def from_pretrained(cls, name, *inputs, **options):
            path = _weights_file(name, options)
            stored = None if path is None else Tensors(path)
            whole = name
            if stored is not None and stored.scales:  # transformers would take integers for the values
                if options.get("config") is None:
                    options["config"] = cls.config_class.from_pretrained(name, **_places(options))
                options["state_dict"] = {each: stored.read(each) for each in stored.entries}
                whole = None  # state_dict is not accepted beside a name
            found = super().from_pretrained(whole, *inputs, **options)
            model = found[0] if isinstance(found, tuple) else found
            if whole is None and model.can_generate():
                _read_generation(model, name, options)
            if stored is not None:
                gblr, network = model.config.gblr, getattr(cls, "network", cls)
                # without "gblr", no layer may be structured; transformers would only warn about such tensors
                checked_tensors({} if gblr is None else {"gblr": gblr}, [stored], network.parameter_name)
            for module in model.modules():
                if isinstance(module, PackedGblrLinear) and not module.spans.is_meta:
                    module.check()
            return found

    def _places(options):
        """The options of from_pretrained() that say where files are."""
        known = ("cache_dir", "token", "revision", "local_files_only", "subfolder", "proxies")
        return {key: options[key] for key in known if options.get(key) is not None}

    def _read_generation(model, name, options):
        """Reads generation_config.json, if there is one, as from_pretrained() does for a name."""
        try:
            model.generation_config = GenerationConfig.from_pretrained(name, **_places(options))
        except OSError:
            pass

    def _weights_file(name, options):
        """The weights file that transformers reads; None if it is not a safetensors file of the usual name."""
        if options.get("state_dict") is not None or options.get("gguf_file") or options.get("variant"):
            return None
        where = _places(options)
        for file in ("model.safetensors", "model.safetensors.index.json"):
            path = cached_file(name, file, _raise_exceptions_for_missing_entries=False, **where)
            if path is not None:
                return path
        return None

    def _check_config(config):
        if config.gblr is not None:
            check_config({"gblr": config.gblr})

    class _Structured(_Checked):
        """Replaces layers by structured ones. Must come before a class of transformers in the list of base classes."""

        network = None  # class of the same architecture for torch alone, which maps names

        def __init__(self, config, *inputs, **options):
            _check_config(config)
            self.network.check_transformers(config.to_dict())
            super().__init__(config, *inputs, **options)
            own_name = self.network.parameter_name
            replace_layers(self, Layers(config.gblr, own_name, mode=config.gblr_mode), own_name)
            self.post_init()

        @torch.no_grad()
        def _init_weights(self, module):
            # structured layers have no initialization, because their values are loaded
            if not isinstance(module, StructuredLinear):
                super()._init_weights(module)

    class GblrGPT2LMHeadModel(_Structured, GPT2LMHeadModel):
        """GPT2LMHeadModel with structured layers. Generation, caches and attention are those of transformers."""

        config_class = GblrGPT2Config
        network = GPT2

    class GblrLlamaForCausalLM(_Structured, transformers_class("LlamaForCausalLM")):
        config_class = GblrLlamaConfig
        network = Llama

    class GblrMistralForCausalLM(_Structured, transformers_class("MistralForCausalLM")):
        config_class = GblrMistralConfig
        network = Llama

    class GblrQwen2ForCausalLM(_Structured, transformers_class("Qwen2ForCausalLM")):
        config_class = GblrQwen2Config
        network = Llama

    class GblrQwen3ForCausalLM(_Structured, transformers_class("Qwen3ForCausalLM")):
        config_class = GblrQwen3Config
        network = Llama

    class GblrSmolLM3ForCausalLM(_Structured, transformers_class("SmolLM3ForCausalLM")):
        config_class = GblrSmolLM3Config
        network = Llama

    class GblrViTForImageClassification(_Structured, ViTForImageClassification):
        config_class = GblrViTConfig
        network = VisionTransformer

    class GblrResNetForImageClassification(_Structured, ResNetForImageClassification):
        config_class = GblrResNetConfig
        network = ResNet
        _keys_to_ignore_on_load_missing = [r"num_batches_tracked"]

    class _TimmClassifier(_Checked):
        """Models with timm's parameter names, for which transformers has no classes. Must come before a network for
        torch alone and PreTrainedModel in the list of base classes. Takes pixel_values; returns an object with `logits`, and
        `loss` if labels are given."""

        main_input_name = "pixel_values"
        _keys_to_ignore_on_load_missing = [r"num_batches_tracked"]

        def __init__(self, config):
            _check_config(config)
            fields = config.to_dict()
            layers = Layers(config.gblr, self.parameter_name, mode=config.gblr_mode)
            super().__init__(fields, layers, config=config)
            layers.expect_all_used()
            self.num_labels, names = timm_classes(fields), timm_labels(fields)
            if len(config.id2label) != self.num_labels:
                config.num_labels = self.num_labels
                if len(names) == self.num_labels:
                    config.id2label = dict(enumerate(names))
            self.post_init()

        def forward(self, pixel_values, labels=None, **_):
            logits = super().forward(pixel_values)
            loss = None if labels is None else torch.nn.functional.cross_entropy(logits, labels)
            return ImageClassifierOutputWithNoAttention(loss=loss, logits=logits)

        @torch.no_grad()
        def _init_weights(self, module):
            if not isinstance(module, StructuredLinear):
                super()._init_weights(module)

    class GblrTimmViTForImageClassification(_TimmClassifier, VisionTransformer, PreTrainedModel):
        config_class = GblrTimmViTConfig

    class GblrTimmResNetForImageClassification(_TimmClassifier, ResNet, PreTrainedModel):
        config_class = GblrTimmResNetConfig

    class GblrTimmMixerForImageClassification(_TimmClassifier, Mixer, PreTrainedModel):
        config_class = GblrTimmMixerConfig
