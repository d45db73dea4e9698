// Everything of a model folder but the tensors, from a GGUF file: config.json, the files of the tokenizer,
// generation_config.json, chat_template.jinja, and a README.md with the license for the cards of models made from it.

import { quote } from "../files/file-error.ts";
import { expectTensors, type Family, type ModelPlan } from "./family.ts";
import { gpt2Family } from "./gpt2-family.ts";
import type { GgufFile } from "./header.ts";
import { llamaFamily } from "./llama-family.ts";
import type { Metadata } from "./metadata.ts";
import { type GgufTokenizer, tokenizerOf } from "./tokenizer.ts";
import { GgufError } from "./types.ts";

const FAMILIES: readonly Family[] = [llamaFamily, gpt2Family];

/** A model of a GGUF file, ready to be written. */
export interface GgufModel extends Pick<ModelPlan, "tensors"> {
  /** general.name, if given */
  name: string | undefined;
  /** content of config.json, but for `dtype` */
  config: Record<string, unknown>;
  /** texts of the other files, by name */
  texts: Map<string, string>;
}

/**
 * Plans the model of a GGUF file.
 * @throws GgufError for an architecture, a tokenizer or a setting that is not supported, or for inconsistent metadata
 */
export async function planModel(gguf: GgufFile): Promise<GgufModel> {
  const { file, metadata } = gguf;
  const architecture = metadata.text("general.architecture") ?? metadata.missing("general.architecture");
  const family = FAMILIES.find(({ architectures }) => architectures.includes(architecture));
  if (!family) {
    const known = FAMILIES.flatMap(({ architectures }) => architectures).join(", ");
    throw new GgufError(`is a model of architecture ${quote(architecture)}; ${known} are supported`, { file });
  }
  const plan = await family.plan(gguf, architecture);
  expectTensors(gguf, plan);
  const positions = metadata.needCount(`${architecture}.context_length`);
  if (positions < 1) throw metadata.fail(`${architecture}.context_length`, "1 or more", positions);
  const tokenizer = tokenizerOf(metadata, positions);
  const rows = plan.config.vocab_size as number;
  if (tokenizer.size > rows) {
    throw new GgufError(`has ${tokenizer.size} tokens, but only ${rows} rows in its embedding`, { file });
  }
  const { bos, eos, pad } = tokenizer.special;
  const ids = { bos_token_id: bos, eos_token_id: eos, pad_token_id: pad };
  return {
    name: metadata.text("general.name"),
    tensors: plan.tensors,
    config: sorted({ ...plan.config, ...ids }),
    texts: textsOf(metadata, tokenizer),
  };
}

function textsOf(metadata: Metadata, tokenizer: GgufTokenizer): Map<string, string> {
  const { definition, config, chatTemplate } = tokenizer;
  const card = cardOf(metadata);
  return new Map([
    ["tokenizer.json", definition],
    ["tokenizer_config.json", jsonOf(config)],
    ["generation_config.json", jsonOf(sorted(generationOf(metadata, tokenizer)))],
    ...(chatTemplate === undefined ? [] : [["chat_template.jinja", chatTemplate] as const]),
    ...(card === undefined ? [] : [["README.md", card] as const]),
  ]);
}

const jsonOf = (value: object): string => `${JSON.stringify(value, null, 2)}\n`;

/** Without fields that are undefined, in the order of names, as transformers writes configs. */
function sorted(fields: Record<string, unknown>): Record<string, unknown> {
  const present = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(present.sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** A text ends at the end of the text or, in a chat, of a turn. Newer files state how to sample. */
function generationOf(metadata: Metadata, { special: { bos, eos, pad, eot } }: GgufTokenizer): Record<string, unknown> {
  const sampling = {
    temperature: metadata.number("general.sampling.temp"),
    top_k: metadata.count("general.sampling.top_k"),
    top_p: metadata.number("general.sampling.top_p"),
    min_p: metadata.number("general.sampling.min_p"),
    repetition_penalty: metadata.number("general.sampling.penalty_repeat"),
  };
  const isSampled = Object.values(sampling).some((value) => value !== undefined);
  // In llama.cpp temperature 0 means the most likely token; transformers requires a temperature above 0.
  const { temperature, repetition_penalty } = sampling;
  const choice = temperature === 0 ? { do_sample: false, repetition_penalty } : { do_sample: true, ...sampling };
  const ends = eot === undefined || eot === eos ? eos : eos === undefined ? eot : [eos, eot];
  return {
    bos_token_id: bos,
    eos_token_id: ends,
    pad_token_id: pad,
    ...(isSampled && choice),
  };
}

/** A sentence of the cards that an import writes. */
export const IMPORTED = "Imported from a GGUF file.";

/** A card with front matter, if the file states a license, languages or a base model. */
function cardOf(metadata: Metadata): string | undefined {
  const fields = {
    license: metadata.text("general.license"),
    license_name: metadata.text("general.license.name"),
    license_link: metadata.text("general.license.link"),
    language: metadata.texts("general.languages"),
    base_model: repositoryOf(
      metadata.text("general.base_model.0.repo_url") ?? metadata.text("general.source.repo_url"),
    ),
  };
  // JSON is YAML, and quotes whatever YAML could misread.
  const lines = Object.entries(fields).flatMap(([key, value]) =>
    value === undefined ? [] : [`${key}: ${JSON.stringify(value)}`],
  );
  if (lines.length === 0) return undefined;
  const title = (metadata.text("general.name") ?? "Model").replace(/\s+/g, " ").trim();
  return `---\n${lines.join("\n")}\n---\n\n# ${title}\n\n${IMPORTED}\n`;
}

const repositoryOf = (url: string | undefined): string | undefined =>
  url?.match(/^https:\/\/huggingface\.co\/([\w.-]+\/[\w.-]+)\/?$/)?.[1];
