// Files of weights alone made into model folders: names and shapes tell the model, and what it computes is bit for bit what
// it computed before. What they do not tell is assumed as is usual, and said.

import { beforeAll, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import type { StoredTensor } from "../../../hub/safetensors/index.ts";
import { readSafetensors } from "../../../hub/safetensors/read.ts";
import { languageLogits } from "../../../workbench/architectures/parts/language-model.ts";
import { openEngine } from "../../../workbench/engine/core/open.ts";
import { loadModelNow } from "../../../workbench/models/folder/load.ts";
import { type Model, saveModelNow } from "../../../workbench/models/index.ts";
import { type Recognized, recognizeFile } from "../../../workbench/models/weights/index.ts";
import {
  logitsOf,
  MIXER,
  RESNET,
  RESNET_TRANSFORMERS,
  smallMixer,
  smallResnet,
  smallVit,
  someImages,
  VIT,
  VIT_TRANSFORMERS,
} from "../../architectures/small-vision.ts";
import { bytesOf, checkpoint, push } from "../../hub/checkpoint/build.ts";
import { temporaryFolder } from "../../hub/temporary.ts";
import { ids, livelier, taken, tinyGpt2 } from "../tiny.ts";
import { checkpointOf } from "../tiny-checkpoint.ts";
import { importedTo, type Tensors, type WrittenOptions, writtenWeights } from "./weights-files.ts";

const at = temporaryFolder();

beforeAll(async () => {
  await openEngine();
});

/** The model's tensors as a script's torch.save would have them. */
const weightsOf = (model: Model, change?: WrittenOptions["change"]): Promise<string> =>
  writtenWeights(model, at(), { change, hyper: push.dict({ epochs: push.int(3) }) });

const renamed =
  (rename: (name: string) => string) =>
  (tensors: Tensors): Tensors =>
    new Map([...tensors].map(([name, tensor]) => [rename(name), tensor]));

type Options = Parameters<typeof importedTo>[2];

const imported = (file: string, options: Options = {}): Promise<Recognized> => importedTo(at("model"), file, options);

const figures = (model: Model): Promise<Float32Array> =>
  model.architecture.type === "gpt2"
    ? taken(languageLogits(model, ids(1, 9)))
    : logitsOf(model, someImages(2, model.architecture.type === "resnet" ? 24 : 16));

/** Expects the folder to give these figures. */
async function expectFigures(expected: Float32Array): Promise<Model> {
  const model = await loadModelNow(at("model"));
  expect(await figures(model)).toEqual(expected);
  model.dispose();
  return model;
}

interface Case {
  make: () => Model;
  options?: Options;
  /** of config.json */
  config: object;
  assumed: object;
}

const HALF = [0.5, 0.5, 0.5];
const IMAGENET = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };
const scaled = { ...VIT.model_args, init_values: 0.1, qkv_bias: false, mlp_ratio: 3.3 };

const CASES: Record<string, Case> = {
  ViT: {
    make: () => smallVit() as Model,
    options: { heads: 3 },
    config: {
      architecture: "vit_base_patch4_16",
      num_classes: 5,
      model_args: { num_heads: 3, depth: 2, embed_dim: 24 },
    },
    assumed: { mean: HALF, std: HALF, interpolation: "bicubic", cropShare: 0.9, cropMode: "center" },
  },
  "ViT without a class token, its patches averaged": {
    make: () => smallVit({ ...VIT, model_args: { ...scaled, class_token: false, global_pool: "avg" } }) as Model,
    options: { heads: 3, mean: [0.1, 0.2, 0.3], std: [1, 1, 1] },
    config: {
      global_pool: "avg",
      model_args: { class_token: false, qkv_bias: false },
      pretrained_cfg: { std: [1, 1, 1] },
    },
    assumed: { interpolation: "bicubic", cropShare: 0.9, cropMode: "center" },
  },
  "ViT whose class token has no position": {
    make: () => smallVit({ ...VIT, model_args: { ...VIT.model_args, no_embed_class: true } }) as Model,
    options: { heads: 3 },
    config: { model_args: { no_embed_class: true, img_size: 16 } },
    assumed: { mean: HALF, std: HALF, interpolation: "bicubic", cropShare: 0.9, cropMode: "center" },
  },
  "ViT under Hugging Face's names": {
    make: () => smallVit(VIT_TRANSFORMERS) as Model,
    options: { heads: 3 },
    config: {
      ...VIT_TRANSFORMERS,
      id2label: { 0: "LABEL_0", 4: "LABEL_4" },
      architectures: ["ViTForImageClassification"],
    },
    assumed: { mean: HALF, std: HALF, interpolation: "bilinear", cropShare: 1, cropMode: "squash" },
  },
  ResNet: {
    make: () => smallResnet() as Model,
    config: {
      architecture: "resnet18",
      num_classes: 5,
      model_args: RESNET.model_args,
      pretrained_cfg: { input_size: [3, 224, 224], interpolation: "bilinear", crop_pct: 0.875, ...IMAGENET },
    },
    assumed: { imageSize: 224, ...IMAGENET, interpolation: "bilinear", cropShare: 0.875, cropMode: "center" },
  },
  "ResNet under Hugging Face's names": {
    make: () => smallResnet(RESNET_TRANSFORMERS) as Model,
    options: { imageSize: 24 },
    config: { ...RESNET_TRANSFORMERS, id2label: { 0: "LABEL_0" }, image_size: 24 },
    assumed: { ...IMAGENET, interpolation: "bicubic", cropShare: 0.875, cropMode: "center" },
  },
  "MLP-Mixer": {
    make: () => smallMixer() as Model,
    config: { architecture: "mixer_b4_16", model_args: { ...MIXER.model_args, mlp_ratio: [0.5, 4] } },
    assumed: { mean: HALF, std: HALF, interpolation: "bicubic", cropShare: 0.875, cropMode: "center" },
  },
  "GPT-2": {
    make: () => livelier(tinyGpt2()) as Model,
    options: { heads: 2 },
    config: { model_type: "gpt2", n_head: 2, n_layer: 2, n_embd: 16, vocab_size: 40, tie_word_embeddings: true },
    assumed: {},
  },
  "GPT-2 with a head of its own": {
    make: () => livelier(tinyGpt2({ tie_word_embeddings: false })) as Model,
    options: { heads: 2 },
    config: { tie_word_embeddings: false },
    assumed: {},
  },
};

const WRAPPERS = ["", "module._orig_mod.", "backbone."];

for (const [name, { make, options, config, assumed }] of Object.entries(CASES)) {
  test(`${name} is known by names and shapes, behind any wrapper, and gives the same figures`, async () => {
    const model = make();
    const expected = await figures(model);
    for (const wrapper of WRAPPERS) {
      const file = await weightsOf(
        model,
        renamed((stored) => wrapper + stored),
      );
      const found = await imported(file, options);
      expect(found.assumed).toEqual(assumed as Recognized["assumed"]);
      expect(JSON.parse(readFileSync(at("model", "config.json"), "utf8"))).toMatchObject(config);
      await expectFigures(expected);
    }
    const [one, other] = ["source", "model"].map((folder) => readSafetensors(at(folder, "model.safetensors")));
    expect(await other).toEqual((await one) as Tensors);
    expect(JSON.parse(readFileSync(at("model", "hyperparameters.json"), "utf8"))).toEqual({
      hyper_parameters: { epochs: 3 },
    });
    model.dispose();
  });
}

test("a safetensors file without a config.json becomes a model folder too", async () => {
  const model = smallResnet() as Model;
  await saveModelNow(model, at("alone"));
  await imported(at("alone", "model.safetensors"));
  await expectFigures(await figures(model));
  model.dispose();
});

test.each(["fc.weight", "fc.bias"])("a head in a Sequential is the head: %s", async (checked) => {
  const model = smallResnet() as Model;
  const file = await weightsOf(
    model,
    renamed((name) => name.replace(/^fc\./, "fc.1.")),
  );
  await imported(file);
  await expectFigures(await figures(model));
  expect([...(await readSafetensors(at("model", "model.safetensors"))).keys()]).toContain(checked);
  model.dispose();
});

test.each(["model.", "model_state_dict.module."])("a model in %s beside an optimizer is found", async (prefix) => {
  const model = livelier(tinyGpt2()) as Model;
  const file = await weightsOf(model, (tensors) => {
    const wrapped = renamed((name) => prefix + name)(tensors);
    return wrapped.set("optimizer.state.0.exp_avg", tensors.get("wte.weight") as StoredTensor);
  });
  const { others, tensors } = await imported(file, { heads: 2 });
  expect(others).toEqual(["optimizer.state.0.exp_avg"]);
  expect([...tensors.tensors.keys()]).toContain("wte.weight");
  await expectFigures(await figures(model));
  model.dispose();
});

const IN_MEMORY: [RegExp, string][] = [
  [/encoder\.layer\.(\d+)\.attention\.attention\.(query|key|value)/, "layers.$1.attention.$2"],
  [/attention\.query/, "attention.q_proj"],
  [/attention\.key/, "attention.k_proj"],
  [/attention\.value/, "attention.v_proj"],
  [/encoder\.layer\.(\d+)\.attention\.output\.dense/, "layers.$1.attention.o_proj"],
  [/encoder\.layer\.(\d+)\.intermediate\.dense/, "layers.$1.mlp.fc1"],
  [/encoder\.layer\.(\d+)\.output\.dense/, "layers.$1.mlp.fc2"],
  [/encoder\.layer\.(\d+)\.layernorm/, "layers.$1.layernorm"],
];

test("a ViT as transformers 5 has it in memory is written as it has it in files", async () => {
  const model = smallVit(VIT_TRANSFORMERS) as Model;
  const inMemory = (name: string) => IN_MEMORY.reduce((text, [from, to]) => text.replace(from, to), name);
  const file = await weightsOf(model, renamed(inMemory));
  await imported(file, { heads: 3 });
  await expectFigures(await figures(model));
  const names = [...(await readSafetensors(at("model", "model.safetensors"))).keys()];
  expect(names).toContain("vit.encoder.layer.1.attention.attention.query.weight");
  model.dispose();
});

const TO_TORCHVISION: readonly [RegExp, string][] = [
  [/^cls_token/, "class_token"],
  [/^pos_embed/, "encoder.pos_embedding"],
  [/^patch_embed\.proj/, "conv_proj"],
  [/^norm\./, "encoder.ln."],
  [/^blocks\.(\d+)\./, "encoder.layers.encoder_layer_$1."],
  [/norm(?=\d\.)/, "ln_"],
  [/attn\.qkv\./, "self_attention.in_proj_"],
  [/attn\.proj\./, "self_attention.out_proj."],
];

test.each([
  ["mlp.0.", "mlp.3.", "heads.head."],
  ["mlp.linear_1.", "mlp.linear_2.", "heads.1."],
  ["mlp.0.", "mlp.3.", "heads."],
])("a ViT of torchvision's with %s, %s and %s is written as timm's", async (first, second, head) => {
  const model = smallVit() as Model;
  const names = [...TO_TORCHVISION, [/mlp\.fc1\./, first], [/mlp\.fc2\./, second], [/^head\./, head]] as const;
  const inTorchvision = (name: string) => names.reduce((text, [from, to]) => text.replace(from, to), name);
  const { config, assumed } = await imported(await weightsOf(model, renamed(inTorchvision)), { heads: 3 });
  expect(config).toMatchObject({ num_classes: 5, pretrained_cfg: { interpolation: "bilinear", crop_pct: 0.875 } });
  expect(assumed).toMatchObject(IMAGENET);
  await expectFigures(await figures(model));
  expect([...(await readSafetensors(at("model", "model.safetensors"))).keys()]).toContain("blocks.1.attn.qkv.weight");
  model.dispose();
});

test("heads are those that lie beside the weights, else one for each 64 of the width", async () => {
  const wide = { ...VIT, model_args: { ...VIT.model_args, embed_dim: 128, num_heads: 2 } };
  const model = smallVit(wide) as Model;
  const file = await weightsOf(model);
  expect((await recognizeFile(file))?.assumed.heads).toBe(2);
  expect((await recognizeFile(file, { heads: 4 }))?.assumed.heads).toBeUndefined();
  const tensors = await readSafetensors(at("source", "model.safetensors"));
  writeFileSync(at("told.pth"), checkpointOf(tensors, push.dict({ model: push.dict({ num_heads: push.int(8) }) })));
  const told = await recognizeFile(at("told.pth"));
  expect(told?.config).toMatchObject({ model_args: { num_heads: 8 } });
  expect(told?.assumed.heads).toBeUndefined();
  model.dispose();
});

test("weights that do not tell how many heads they have name the flag that does", async () => {
  const model = smallVit() as Model;
  const recognizing = recognizeFile(await weightsOf(model));
  await expect(recognizing).rejects.toThrow(
    "weights.pth: does not tell how many heads it has, and its width 24 is no multiple of 64; say how many with --heads",
  );
  model.dispose();
});

test("weights of a known kind that do not fit it say which tensor", async () => {
  const model = smallResnet() as Model;
  const without = (name: string) => (tensors: Tensors) => {
    tensors.delete(name);
    return tensors;
  };
  await expect(recognizeFile(await weightsOf(model, without("fc.bias")))).rejects.toThrow(
    'tensor "fc.bias": is missing',
  );
  const more = await weightsOf(model, (tensors) => tensors.set("extra.weight", tensors.get("fc.bias") as StoredTensor));
  await expect(recognizeFile(more)).rejects.toThrow('tensor "extra.weight": is not a parameter of this resnet');
  await expect(recognizeFile(await weightsOf(smallVit() as Model), { heads: 3, imageSize: 32 })).rejects.toThrow(
    "its positions are those of images of 16 × 16, not 32 × 32",
  );
  model.dispose();
});

test("layers that are not dense are refused, for nothing says how they are to be read", async () => {
  const model = smallMixer() as Model;
  const tensor = (...shape: number[]): StoredTensor => {
    return { dtype: "F32", shape, data: new Float32Array(shape.reduce((product, side) => product * side, 1)) };
  };
  const file = await weightsOf(model, (tensors) => {
    tensors.delete("blocks.1.mlp_channels.fc1.weight");
    tensors.set("blocks.1.mlp_channels.fc1.left", tensor(96, 2));
    return tensors.set("blocks.1.mlp_channels.fc1.right", tensor(2, 24));
  });
  await expect(recognizeFile(file)).rejects.toThrow(
    'tensor "blocks.1.mlp_channels.fc1": has left, right, but config.json does not give',
  );
  model.dispose();
});

test("tensors of no known model are none", async () => {
  const tensor: StoredTensor = { dtype: "F32", shape: [2], data: Float32Array.of(1, 2) };
  writeFileSync(at("other.pth"), checkpointOf(new Map([["encoder.weight", tensor]]), push.dict({})));
  expect(await recognizeFile(at("other.pth"))).toBeUndefined();
  writeFileSync(at("empty.pth"), checkpoint(push.dict({ epoch: bytesOf("N") })));
  expect(await recognizeFile(at("empty.pth"))).toBeUndefined();
});
