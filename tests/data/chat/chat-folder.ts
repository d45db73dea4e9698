// Writes the tokenizer of a model folder with a chat template: a byte-level vocabulary with special tokens.

import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { ALPHABET } from "../hub-folders.ts";

/** Special tokens, whose ids follow those of the bytes. */
export const SPECIAL = [
  "<s>",
  "</s>",
  "<|im_start|>",
  "<|im_end|>",
  "<|start_header_id|>",
  "<|end_header_id|>",
  "<|eot_id|>",
  "[INST]",
  "[/INST]",
  "<|user|>",
  "<|system|>",
  "<|assistant|>",
  "<start_of_turn>",
  "<end_of_turn>",
];

/** Number of ids of the vocabulary. */
export const VOCABULARY = 256 + SPECIAL.length;

export interface ChatFolderOptions {
  /** file or field that holds the template. Default `chat_template.jinja` */
  place?: "chat_template.jinja" | "tokenizer_config.json" | "list" | "chat_template.json" | "none";
  /** token that ends a text. Default `</s>` */
  end?: string;
}

/** Writes tokenizer.json, tokenizer_config.json and the template. */
export function writeChatFolder(
  folder: string,
  template: string,
  { place = "chat_template.jinja", end = "</s>" }: ChatFolderOptions = {},
): string {
  mkdirSync(folder, { recursive: true });
  const write = (name: string, json: object) => writeFileSync(path.join(folder, name), JSON.stringify(json));
  const level = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
  write("tokenizer.json", {
    version: "1.0",
    added_tokens: SPECIAL.map((content, i) => ({
      id: 256 + i,
      content,
      special: true,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
    })),
    normalizer: null,
    pre_tokenizer: level,
    // As Llama's tokenizers do: texts begin with <s>, which the templates write themselves.
    post_processor: {
      type: "TemplateProcessing",
      single: [{ SpecialToken: { id: "<s>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
      pair: [{ Sequence: { id: "A", type_id: 0 } }, { Sequence: { id: "B", type_id: 1 } }],
      special_tokens: { "<s>": { id: "<s>", ids: [256], tokens: ["<s>"] } },
    },
    decoder: level,
    model: { type: "BPE", vocab: Object.fromEntries(ALPHABET.map((character, id) => [character, id])), merges: [] },
  });
  const fields = {
    "tokenizer_config.json": { chat_template: template },
    list: {
      chat_template: [
        { name: "tool_use", template: "tools" },
        { name: "default", template },
      ],
    },
  };
  write("tokenizer_config.json", {
    tokenizer_class: "PreTrainedTokenizerFast",
    bos_token: "<s>",
    eos_token: {
      __type: "AddedToken",
      content: end,
      lstrip: false,
      normalized: false,
      rstrip: false,
      single_word: false,
    },
    clean_up_tokenization_spaces: false,
    ...fields[place as keyof typeof fields],
  });
  if (place === "chat_template.jinja") writeFileSync(path.join(folder, place), template);
  if (place === "chat_template.json") write(place, { chat_template: template });
  return folder;
}
