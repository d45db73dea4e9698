// A Hub in a folder with a small Llama and the generated stories of tiny-hub.ts.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { wordsOf, writeTokenizer } from "../../recipes/quickstart/repositories.ts";
import { saveModelNow } from "../../workbench/models/index.ts";
import { smallLlama } from "../models/small-llama.ts";
import { makeTinyHub, sourcesIn } from "./tiny-hub.ts";

/** An engine must be open. @returns the folders of the model and of the data set */
export async function makeTinyLlama(folder: string): Promise<{ model: string; dataset: string }> {
  const { dataset } = sourcesIn(await makeTinyHub(folder));
  const texts = ["train", "validation", "test"].map((split) => readFileSync(join(dataset, `${split}.txt`), "utf8"));
  const model = join(folder, "models/tiny/llama");
  const vocabulary = await writeTokenizer(model, wordsOf(texts.join("")));
  const sizes = { vocab_size: vocabulary, max_position_embeddings: 32, hidden_size: 32, intermediate_size: 48 };
  const made = smallLlama({ model_type: "llama", tie_word_embeddings: true, ...sizes });
  await saveModelNow(made, model);
  made.dispose();
  return { model, dataset };
}
