// A data set small enough to make, a tokenizer and a cache for it, in a folder of the test's own; and what becomes of it,
// in this process or one of its own.

import { expect } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { openTextTokens, type TokenFile, type TokenizeEvent } from "../../workbench/data/index.ts";
import type { TextTokensOptions } from "../../workbench/data/types.ts";
import { writeTinyTokenizer } from "./hub-folders.ts";

/** Makes a data set of one text file, a tokenizer, and the path of a cache that is not there yet, in a new folder. */
export function setUp(at: string, text: string, name = "train.txt"): TextTokensOptions {
  mkdirSync(join(at, "data"), { recursive: true });
  writeFileSync(join(at, "data", name), text);
  const tokenizer = writeTinyTokenizer(join(at, "tokenizer"));
  return { dataset: join(at, "data"), split: "train", tokenizer, cache: join(at, "cache/tokens") };
}

export async function tokensOf(
  options: TextTokensOptions,
): Promise<{ tokens: TokenFile; cached: boolean; events: TokenizeEvent[] }> {
  const events: TokenizeEvent[] = [];
  for await (const event of openTextTokens(options)) events.push(event);
  const last = events.at(-1);
  if (last?.kind !== "tokens") throw new Error("the last event is not the tokens");
  return { ...last, events };
}

/** Arguments of this runtime that tokenize in a process of their own and print the number of ids, or the error. */
export function commandFor(options: TextTokensOptions): string[] {
  const index = fileURLToPath(new URL("../../workbench/data/index.ts", import.meta.url));
  const config = fileURLToPath(new URL("../../deno.json", import.meta.url));
  const script = join(options.dataset, "../tokenize.ts");
  const settings = JSON.stringify({ ...options, workers: 1 });
  writeFileSync(
    script,
    `import { openTextTokens } from ${JSON.stringify(index)};
    try {
      for await (const event of openTextTokens(${settings})) if (event.kind === "tokens") console.log(event.tokens.length);
    } catch (error) {
      console.log(error.name, error.message);
    }`,
  );
  return process.versions.deno ? ["run", "-A", "--config", config, script] : [script];
}

export async function refusal(options: TextTokensOptions): Promise<string> {
  const error = await tokensOf(options).then(
    () => new Error("not refused"),
    (thrown: Error) => thrown,
  );
  expect(error.message).not.toContain("\n");
  expect(error.name).toBe("DataError");
  return error.message;
}

export const TEXT = Array.from(
  { length: 3000 },
  (_, i) => `the ${i} and then, é\u0301 👩‍👩‍👧 ${"a".repeat(i % 70)}${i % 9 ? "\n" : "\r\n"}`,
).join("");
