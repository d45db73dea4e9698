// Reads a tokenizer's two files: tokenizer.json and, if it exists, tokenizer_config.json. Each part of a tokenizer
// validates its own fields.

import { createHash } from "node:crypto";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { DataError, why } from "../errors.ts";
import { jsonOf, readIfThere } from "../optional-file.ts";
import { AnyPart } from "./read-part.ts";

const AddedToken = z.looseObject({ id: z.int().min(0), content: z.string() });
const ConfigToken = z.looseObject({ content: z.string() });
const Part = AnyPart.nullish().transform((part) => part ?? null);

const Definition = z.looseObject({
  added_tokens: z
    .array(AddedToken)
    .nullish()
    .transform((tokens) => tokens ?? []),
  normalizer: Part,
  pre_tokenizer: Part,
  post_processor: Part,
  decoder: Part,
  model: z.looseObject({ type: z.string().optional() }),
});

const Config = z.looseObject({
  eos_token: z.union([z.string(), ConfigToken]).nullish(),
  added_tokens_decoder: z.record(z.string().regex(/^\d+$/), ConfigToken).nullish(),
});

/** Content of tokenizer.json. */
export type TokenizerDefinition = z.infer<typeof Definition>;
/** Content of tokenizer_config.json. */
export type TokenizerConfig = z.infer<typeof Config>;

/** The files of a tokenizer. */
export interface TokenizerFiles {
  definition: TokenizerDefinition;
  config: TokenizerConfig;
  /** SHA-256 of both files, hexadecimal. Tokenizers with the same hash give the same ids */
  hash: string;
}

/** Runs a function that opens a part of a folder's tokenizer. @throws DataError that names the folder if it throws */
export function openFrom<T>(folder: string, open: () => T): T {
  try {
    return open();
  } catch (error) {
    throw new DataError(folder, `has a tokenizer.json that cannot be used: ${why(error)}`, { cause: error });
  }
}

/** Reads the files in a folder. @throws DataError if there is no tokenizer.json, or one of the files is damaged */
export async function readTokenizerFiles(folder: string): Promise<TokenizerFiles> {
  const [path, configPath] = [join(folder, "tokenizer.json"), join(folder, "tokenizer_config.json")];
  const bytes = await readIfThere(path);
  if (!bytes) throw await missing(folder);
  const configBytes = (await readIfThere(configPath)) ?? new TextEncoder().encode("{}");
  const hash = createHash("sha256").update(bytes).update("\0").update(configBytes).digest("hex");
  const [definition, config] = [parse(path, bytes, Definition), parse(configPath, configBytes, Config)];
  return { definition: withTokensOf(config, definition), config, hash };
}

/** Adds the tokens that are in tokenizer_config.json alone, in the order of their ids, as transformers does. */
function withTokensOf({ added_tokens_decoder: more }: TokenizerConfig, definition: TokenizerDefinition) {
  const known = new Set(definition.added_tokens.map(({ content }) => content));
  const late = Object.entries(more ?? {})
    .map(([id, token]) => ({ ...token, id: Number(id) }))
    .filter(({ content }) => !known.has(content))
    .sort((a, b) => a.id - b.id);
  return { ...definition, added_tokens: [...definition.added_tokens, ...late] };
}

/** Files of the forms that tokenizers had before tokenizer.json. */
const OLD_FILES = ["tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "vocab.json", "vocab.txt"];

/** The error for a folder without tokenizer.json. */
async function missing(folder: string): Promise<DataError> {
  const names = new Set(await readdir(folder).catch(() => []));
  const old = OLD_FILES.find((name) => names.has(name));
  if (old === undefined) {
    return new DataError(folder, "has no tokenizer.json; copy or pull it from the tokenizer's model");
  }
  const write = "AutoTokenizer.from_pretrained(folder).save_pretrained(folder)";
  return new DataError(folder, `has ${old} but no tokenizer.json; write one in Python with transformers: ${write}`);
}

function parse<T>(path: string, bytes: Uint8Array, form: z.ZodType<T>): T {
  const result = form.safeParse(jsonOf(path, bytes));
  if (result.success) return result.data;
  const issue = result.error.issues[0] as z.core.$ZodIssue;
  throw new DataError(path, `is not that of a tokenizer: ${issue.path.join(".") || "the file"}: ${issue.message}`);
}
