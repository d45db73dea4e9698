import { readFileSync } from "node:fs";
import * as tf from "@tensorflow/tfjs-core";
import { openEngine } from "./workbench/engine/index.ts";
import { searchTiles } from "./workbench/gblr/tiles/search.ts";
import { layerErrors } from "./workbench/structures/layer-errors.ts";
import { gblr } from "./workbench/structures/gblr.ts";
const engine = await openEngine({ engine: "torch" } as never);
for (const k of (process.argv[2] as string).split(",")) {
  const [m, n] = readFileSync(`/work/proto/raw/${k}.s`, "utf8").split(" ").map(Number) as [number, number];
  const f = (x: string) => new Float32Array(readFileSync(`/work/proto/raw/${k}.${x}`).buffer.slice(0));
  const w = tf.tensor2d(f("w"), [m, n]); const c = tf.tensor2d(f("c"), [n, n]);
  const began = performance.now();
  const budget = Number(process.argv[3] ?? 0.5);
  for await (const e of searchTiles(w, c, { allowed: Math.floor(budget * m * n) })) {
    if (e.type === "progress") { if (e.step % 6 === 0 || e.step > e.steps - 4) console.log(e.step, e.steps, e.error.toFixed(4), ((performance.now() - began) / 1000).toFixed(1)); }
    else {
      const d = gblr.dense(e.parameters as never); const errs = await layerErrors(w, d, c);
      console.log(k, "found", e.error, errs, e.cost / m / n, (await gblr.cost(e.parameters as never)) / m / n, e.parameters.widths.shape, e.damping, (performance.now() - began) / 1000, "tensors", tf.memory().numTensors);
    }
  }
}
void engine;
