// A program with the installed package: a small GPT-2 is converted, trained for some steps, saved and loaded again.

import { readdirSync, rmSync } from "node:fs";
import { tensor2d, tidy, train } from "@tensorflow/tfjs-core";
import {
  architectureOf,
  convert,
  createModel,
  languageLogits,
  languageLoss,
  loadModelNow,
  planConversion,
  saveModelNow,
} from "gblr";
import { openEngine } from "gblr/engine";
import { openModel } from "gblr/hub";

const OUT = "converted";
const engine = await openEngine({ engine: "wasm" });
const config = { vocab_size: 64, n_positions: 32, n_embd: 16, n_layer: 2, n_head: 2 };
const model = createModel(architectureOf("gpt2"), config, { seed: 1 });
for await (const _ of convert(model, await planConversion(model, { structure: "lowrank", budget: 0.5 })));

const windows = tensor2d([[1, 2, 3, 4, 5, 6, 7, 8, 9]], [1, 9], "int32");
const losses = [];
const optimizer = train.sgd(0.5);
for (let step = 0; step < 2; step++) {
  const loss = optimizer.minimize(() => languageLoss(model, windows), true);
  losses.push((await loss.data())[0]);
}

rmSync(OUT, { recursive: true, force: true });
await saveModelNow(model, OUT);
const files = readdirSync(OUT);
const stored = await openModel(OUT);
const again = await loadModelNow(OUT);
const ids = tensor2d([[1, 2, 3]], [1, 3], "int32");
const [before, after] = await Promise.all([model, again].map((each) => tidy(() => languageLogits(each, ids)).data()));
const difference = Math.max(...before.map((value, i) => Math.abs(value - after[i])));
const converted = [...model.layers.values()].filter(({ structure }) => structure.name === "lowrank").length;
await stored.close?.();
console.log(JSON.stringify({ engine: engine.name, converted, difference, losses, files }));
