// generation_config.json of a model's folder: what transformers takes for generating before it looks at config.json. Read
// for where a text ends, and nothing else: how to sample is for who generates to say.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { reason } from "../../../hub/files/byte-source.ts";
import { ModelError } from "../../../hub/model-folder/index.ts";
import { parseJson } from "../../../hub/text/json.ts";
import { textOfFile } from "../../../hub/text/utf8.ts";
import { EndOfText } from "../../architectures/parts/config-fields.ts";

const FIELDS = z.looseObject({ eos_token_id: EndOfText });

/**
 * Tokens that end a text by the folder's generation_config.json, which stands over config.json.
 * @returns nothing where there is no such file, or it says nothing of it
 * @throws ModelError when the file is damaged
 */
export async function endOfTextIn(folder: string): Promise<readonly number[] | undefined> {
  const file = join(folder, "generation_config.json");
  const fail = (problem: string, options?: ErrorOptions) => new ModelError(problem, { file }, options);
  const bytes = await readFile(file).catch((error: unknown) => {
    if ((error as { code?: unknown }).code === "ENOENT") return undefined;
    throw fail(`cannot be read: ${reason(error)}`, { cause: error });
  });
  if (bytes === undefined) return undefined;
  const parsed = FIELDS.safeParse(jsonOf(textOfFile(bytes, fail)));
  if (!parsed.success) throw fail("is no generation config: eos_token_id must be a token's number or a list of them");
  const { eos_token_id: ends } = parsed.data;
  return ends === undefined || ends === null ? undefined : [ends].flat();
}

function jsonOf(text: string): unknown {
  try {
    return parseJson(text);
  } catch {
    return undefined;
  }
}
