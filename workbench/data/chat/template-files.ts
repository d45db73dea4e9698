// Finds the chat template of a model folder, and the special tokens that templates insert, in the files where
// transformers keeps them.

import { Buffer } from "node:buffer";
import { join } from "node:path";
import { z } from "zod";
import { isJsonObject } from "../../../hub/text/json.ts";
import { DataError, listed } from "../errors.ts";
import { jsonOf, readIfThere, textOf } from "../optional-file.ts";

/** The chat template of a model folder. */
export interface TemplateSource {
  /** file that has it */
  file: string;
  /** text of the template, in Jinja */
  text: string;
  /** special tokens by the names under which templates refer to them, such as `bos_token` */
  specialTokens: Readonly<Record<string, string>>;
}

/** Names of special tokens, as in transformers. */
const SPECIAL_TOKENS = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

const Named = z.array(z.looseObject({ name: z.string(), template: z.string() }));

/** Largest template, in bytes. Those of models have at most some 20 kB. */
const MOST_BYTES = 2 ** 20;

/**
 * Reads the chat template of a folder: chat_template.jinja, else the field `chat_template` of tokenizer_config.json (a
 * template, or a list of named ones with one called `default`), else that of chat_template.json.
 * @returns undefined if the folder has none
 * @throws DataError if a file is damaged
 */
export async function readTemplate(folder: string): Promise<TemplateSource | undefined> {
  const config = await readObject(join(folder, "tokenizer_config.json"));
  const found =
    (await ownFile(join(folder, "chat_template.jinja"))) ??
    fieldOf(config, join(folder, "tokenizer_config.json")) ??
    fieldOf(await readObject(join(folder, "chat_template.json")), join(folder, "chat_template.json"));
  if (!found) return undefined;
  if (Buffer.byteLength(found.text) > MOST_BYTES) {
    throw new DataError(found.file, `has a chat template of more than ${MOST_BYTES} bytes, which is the limit`);
  }
  return { ...found, specialTokens: await readSpecialTokens(folder) };
}

/** The special tokens of a folder, by names such as `bos_token`. @throws DataError if a file is damaged */
export async function readSpecialTokens(folder: string): Promise<Readonly<Record<string, string>>> {
  const config = await readObject(join(folder, "tokenizer_config.json"));
  const older = await readObject(join(folder, "special_tokens_map.json"));
  return { ...specialTokens(older), ...specialTokens(config) };
}

type Found = Omit<TemplateSource, "specialTokens">;

async function ownFile(file: string): Promise<Found | undefined> {
  const bytes = await readIfThere(file);
  // As Python does when it reads text.
  return bytes && { file, text: textOf(file, bytes).replace(/\r\n?/g, "\n") };
}

function fieldOf({ chat_template: field }: Readonly<Record<string, unknown>>, file: string): Found | undefined {
  if (field === undefined || field === null) return undefined;
  if (typeof field === "string") return { file, text: field };
  const named = Named.safeParse(field);
  if (!named.success) throw new DataError(file, "has a chat_template that is neither a text nor a list of named texts");
  const [template] = named.data.filter(({ name }) => name === "default");
  if (template) return { file, text: template.template };
  const names = named.data.map(({ name }) => name);
  throw new DataError(file, `has chat templates, but none is called default; it has ${listed(names)}`);
}

function specialTokens(config: Readonly<Record<string, unknown>>): Record<string, string> {
  const found = SPECIAL_TOKENS.map((name) => [name, contentOf(config[name])] as const);
  return Object.fromEntries(found.filter((entry): entry is [string, string] => entry[1] !== undefined));
}

/** The text of a token, which is a string or an object with `content`. */
function contentOf(token: unknown): string | undefined {
  const content = isJsonObject(token) ? token.content : token;
  return typeof content === "string" ? content : undefined;
}

/** The content of a JSON file, which must be an object; an empty one if there is no such file. */
async function readObject(file: string): Promise<Readonly<Record<string, unknown>>> {
  const bytes = await readIfThere(file);
  const json = bytes ? jsonOf(file, bytes) : {};
  if (isJsonObject(json)) return json;
  throw new DataError(file, "is not a JSON object; fetch it again");
}
