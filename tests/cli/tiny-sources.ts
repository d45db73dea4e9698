// The sources of tests of verbs that calibrate: a tiny dense model with its tokenizer, and a text.

import { mkdirSync, writeFileSync } from "node:fs";
import { saveModelNow } from "../../workbench/models/index.ts";
import { tinyModel } from "../compress/tiny.ts";
import { writeTinyTokenizer } from "../data/hub-folders.ts";

/** Writes the model to `dense` and the text to `text`. @param splits of the text */
export async function writeTinySources(at: (name: string) => string, splits: readonly string[]): Promise<void> {
  const model = tinyModel(3, { vocab_size: 300 });
  await saveModelNow(model, at("dense"));
  model.dispose();
  writeTinyTokenizer(at("dense"));
  mkdirSync(at("text"));
  const line = (i: number) => `the ${i} there and then another ${"aeiou"[i % 5]}\n`;
  const text = Array.from({ length: 200 }, (_, i) => line(i * 7919)).join("");
  for (const split of splits) writeFileSync(`${at("text")}/${split}.txt`, text);
}
