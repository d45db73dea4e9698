// Which files of a repository a model is run from: its weights once, and all that a folder made of it takes along.

import { expect, test } from "bun:test";
import { fileFilter } from "../../hub/access/file-patterns.ts";
import { MODEL_FILES } from "../../workbench/pipeline/fetch.ts";

const isFetched = fileFilter({ include: MODEL_FILES });

test.each([
  "config.json",
  "model.safetensors",
  "model-00001-of-00002.safetensors",
  "model.safetensors.index.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "spiece.model",
  "vocab.json",
  "vocab.txt",
  "merges.txt",
  "special_tokens_map.json",
  "generation_config.json",
  "chat_template.jinja",
  "chat_template.json",
  "additional_chat_templates/tool_use.jinja",
  "preprocessor_config.json",
  "README.md",
])("%s is fetched", (name) => {
  expect(isFetched(name)).toBe(true);
});

test.each([
  "trainable.safetensors",
  "model.fp16.safetensors",
  "pytorch_model.bin",
  "onnx/model.onnx",
  "tf_model.h5",
  "structure.png",
  "modeling_gblr.py",
])("%s is not fetched", (name) => {
  expect(isFetched(name)).toBe(false);
});
