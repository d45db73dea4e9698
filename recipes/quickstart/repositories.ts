// What the quickstart starts from, laid out as a Hub is: a data set of stories, and a GPT-2 that has learned nothing yet.

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createModel, gpt2, saveModelNow } from "../../workbench/models/index.ts";
import { makeStories, wordsOf } from "./stories.ts";
import { writeTokenizer } from "./tokenizer.ts";

export const STORIES = "quickstart/stories";
export const UNTRAINED = "quickstart/untrained";

const LINES = { train: 6000, validation: 200, test: 400 };
/** Two hundred thousand parameters. */
const SIZE = { n_layer: 3, n_embd: 64, n_head: 4, n_positions: 64 };

/** @param hub folder of the Hub; an engine must be open */
export async function makeRepositories(hub: string, seed: number): Promise<void> {
  const dataset = join(hub, "datasets", STORIES);
  await mkdir(dataset, { recursive: true });
  const texts = Object.entries(LINES).map(([split, lines], i) => ({
    split,
    text: makeStories({ lines, seed: seed + i }),
  }));
  for (const { split, text } of texts) await writeFile(join(dataset, `${split}.txt`), text);
  await writeFile(join(dataset, "README.md"), "---\nlicense: cc0-1.0\nlanguage: en\n---\nMade up stories.\n");
  const folder = join(hub, "models", UNTRAINED);
  const words = wordsOf(texts.map(({ text }) => text).join(""));
  const vocabulary = await writeTokenizer(folder, words);
  const model = createModel(gpt2, { ...SIZE, vocab_size: vocabulary, ...NO_DROPOUT }, { seed });
  await saveModelNow(model, folder);
  await writeFile(join(folder, "README.md"), "---\nlicense: cc0-1.0\nlanguage: en\n---\nKnows nothing yet.\n");
  model.dispose();
}

/** The text is larger than what such a model can learn by heart. */
const NO_DROPOUT = { embd_pdrop: 0, resid_pdrop: 0, attn_pdrop: 0 };
