// Opens a split of a text data set as a token file, which is created in the cache if it does not exist yet. The file's
// name is a hash of everything that the ids depend on, so that an outdated file is never read.

import { createHash } from "node:crypto";
import { basename, join } from "node:path";
import { gathered } from "../../distributed/shares.ts";
import { identityOf, splitFilesOf } from "../dataset/folder.ts";
import type { SplitFiles } from "../dataset/split-files.ts";
import { DataError } from "../errors.ts";
import { readTokenizerFiles } from "../tokenizer/definition.ts";
import { type Encoder, openEncoder } from "../tokenizer/encoder.ts";
import type { TextTokensOptions, TokenFile, TokenizeEvent } from "../types.ts";
import { FORMAT_VERSION, openTokenFile } from "./token-file.ts";
import { TOKENIZING, type Work, writeSharedTokens, writeTokens } from "./write-tokens.ts";

/** Incremented whenever a change of the code changes the ids, so that older token files are not read. */
const IDS_VERSION = 3;

/**
 * Opens the tokens of a split. Each row is tokenized separately, without special tokens, and the ids are concatenated.
 * The last event holds the tokens. If iteration stops earlier, no incomplete file is left in the cache.
 * @throws DataError if the data set, configuration, split, column or tokenizer is missing or damaged, or the cache
 * cannot be written, or if ranks have other texts or tokenizers; what `gathered` throws where another rank has failed;
 * the signal's reason if it aborts
 */
export async function* openTextTokens(options: TextTokensOptions): AsyncGenerator<TokenizeEvent> {
  const { dataset, ranks, signal } = options;
  const lookUp = lookUpTokens(options);
  const told = async () => {
    const { work, found } = await lookUp;
    return { name: basename(work.path), isFound: found !== undefined };
  };
  const all = await gathered(TOKENIZING, told, { ranks, signal });
  const { chosen, work, found } = await lookUp;
  yield { kind: "data", ...chosen };
  const other = all.findIndex(({ name }) => name !== basename(work.path));
  if (ranks && other >= 0) {
    const problem = `rank ${other} has other text, or another tokenizer, than rank ${ranks.rank}`;
    throw new DataError(dataset, `${problem}; give all ranks the same`);
  }
  if (!all.every(({ isFound }) => isFound)) {
    yield* ranks ? writeSharedTokens(work, { ranks, isFound: found !== undefined }) : writeTokens(work);
  }
  yield { kind: "tokens", tokens: found ?? (await openTokenFile(work.path)), cached: found !== undefined };
}

/** A split, and its token file if there is one. */
interface LookedUp {
  chosen: SplitFiles;
  work: Work;
  found: TokenFile | undefined;
}

async function lookUpTokens({ ranks: _, ...options }: TextTokensOptions): Promise<LookedUp> {
  const { dataset, config, split, column = "text", encoding, tokenizer, cache, signal } = options;
  const chosen = await splitFilesOf(dataset, { config, split });
  const files = await readTokenizerFiles(tokenizer);
  const settings = await settingsOf(dataset, chosen, { column, encoding, tokenizer: files.hash, signal });
  const name = createHash("sha256").update(JSON.stringify(settings)).digest("hex").slice(0, 32);
  const path = join(cache, `${name}.tokens`);
  const paths = chosen.files.map((file) => join(dataset, file));
  let encoder: Encoder | undefined;
  const open = () => {
    encoder ??= openEncoder(tokenizer, files);
    return encoder;
  };
  return { chosen, work: { ...options, column, settings, path, paths, open }, found: await openIfWhole(path) };
}

/** Everything that the ids depend on. */
async function settingsOf(
  dataset: string,
  { config, split, files }: SplitFiles,
  { tokenizer, signal, ...text }: Pick<TextTokensOptions, "column" | "encoding" | "tokenizer" | "signal">,
): Promise<Record<string, unknown>> {
  const data = [];
  for (const file of files) data.push({ file, ...(await identityOf(join(dataset, file), signal)) });
  return { format: FORMAT_VERSION, ids: IDS_VERSION, config, split, ...text, tokenizer, data };
}

/** @returns undefined if the file does not exist or is damaged, so that it is created again */
async function openIfWhole(path: string): Promise<TokenFile | undefined> {
  try {
    return await openTokenFile(path);
  } catch (error) {
    if (error instanceof DataError) return undefined;
    throw error;
  }
}
