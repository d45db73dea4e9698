// A strict program that uses each entry point with its types.

import { type Tensor3D, tensor2d } from "@tensorflow/tfjs-core";
import {
  architectureOf,
  type ConversionPlan,
  convert,
  createModel,
  languageLogits,
  type Model,
  openEngine,
  planConversion,
} from "gblr";
import { linear } from "gblr/engine";
import { type OpenModel, openModel, pull } from "gblr/hub";
import { type Recipe, runRecipe } from "gblr/recipes";

await openEngine({ engine: "wasm" });
// @ts-expect-error there is no such engine
await openEngine({ engine: "abacus" });
const model: Model = createModel(architectureOf("gpt2"), { n_layer: 1 });
const plan: ConversionPlan = await planConversion(model, { structure: "lowrank", budget: 0.5 });
for await (const event of convert(model, plan)) console.log(event.kind);
export const logits: Tensor3D = languageLogits(model, tensor2d([[1, 2, 3]], [1, 3], "int32"));
// @ts-expect-error a budget is a number
await planConversion(model, { structure: "lowrank", budget: "half" });

const recipe: Recipe = { name: "mine", summary: "Mine.", example: "node mine.ts", defaults: { budget: 0.5 } };
export const run = (): Promise<void> => runRecipe(recipe);
export const opened: Promise<OpenModel> = openModel("folder");
export const others = [linear, pull];
