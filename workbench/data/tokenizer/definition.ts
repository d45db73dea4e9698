// Reads a tokenizer's two files: tokenizer.json and, if it exists, tokenizer_config.json. Validates only the fields
// that are used here; the library validates the rest.

import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { parseJson } from "../../../hub/text/json.ts";
import { textOfFile } from "../../../hub/text/utf8.ts";
import { DataError, why } from "../errors.ts";

const AddedToken = z.looseObject({ id: z.int().min(0), content: z.string() });
const Part = z.looseObject({ type: z.string() });

const Definition = z.looseObject({
  added_tokens: z
    .array(AddedToken)
    .nullish()
    .transform((tokens) => tokens ?? []),
  normalizer: Part.nullish().transform((part) => part ?? null),
  pre_tokenizer: Part.nullish().transform((part) => part ?? null),
  post_processor: Part.nullish().transform((part) => part ?? null),
  decoder: Part.nullish().transform((part) => part ?? null),
  model: z.looseObject({ type: z.string().optional() }),
});

const Config = z.looseObject({
  eos_token: z.union([z.string(), z.looseObject({ content: z.string() })]).nullish(),
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

/** Reads the files in a folder. @throws DataError if there is no tokenizer.json, or one of the files is damaged */
export async function readTokenizerFiles(folder: string): Promise<TokenizerFiles> {
  const [path, configPath] = [join(folder, "tokenizer.json"), join(folder, "tokenizer_config.json")];
  const bytes = await readIfThere(path);
  if (!bytes) {
    throw new DataError(folder, "has no tokenizer.json; copy or pull it from the tokenizer's model");
  }
  const configBytes = (await readIfThere(configPath)) ?? new TextEncoder().encode("{}");
  const hash = createHash("sha256").update(bytes).update("\0").update(configBytes).digest("hex");
  return { definition: parse(path, bytes, Definition), config: parse(configPath, configBytes, Config), hash };
}

async function readIfThere(path: string): Promise<Uint8Array | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if ((error as { code?: unknown }).code === "ENOENT") return undefined;
    throw new DataError(path, `cannot be read: ${why(error)}`, { cause: error });
  }
}

function parse<T>(path: string, bytes: Uint8Array, form: z.ZodType<T>): T {
  const text = textOfFile(bytes, (problem, options) => new DataError(path, problem, options));
  let json: unknown;
  try {
    json = parseJson(text);
  } catch (error) {
    throw new DataError(path, `is not valid JSON (${why(error)}); fetch it again`, { cause: error });
  }
  const result = form.safeParse(json);
  if (result.success) return result.data;
  const issue = result.error.issues[0] as z.core.$ZodIssue;
  throw new DataError(path, `is not that of a tokenizer: ${issue.path.join(".") || "the file"}: ${issue.message}`);
}
