// Models in published and pruned structures, saved and loaded again: the same logits, also in PyTorch, and the same cost
// by inspection.

import { expect, setDefaultTimeout, test } from "bun:test";
import { cpSync } from "node:fs";
import path from "node:path";
import { checkModelFolder, findLayers, openModel } from "../../hub/model-folder/index.ts";
import { writeSafetensors } from "../../hub/safetensors/index.ts";
import { readSafetensors } from "../../hub/safetensors/read.ts";
import { sourcesOf } from "../../hub/safetensors/write.ts";
import { planConversion } from "../../workbench/compress/index.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { loadModelNow } from "../../workbench/models/folder/load.ts";
import { type Model, saveModelNow } from "../../workbench/models/index.ts";
import { describe } from "../../workbench/report/describe-model.ts";
import { converted, logitsOf, TINY, tinyModel, tokens } from "../compress/tiny.ts";
import { expectClose } from "../engine/ops/operands.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { askPython, PATIENCE, pythonWith } from "./python.ts";

setDefaultTimeout(PATIENCE);
await openEngine({ engine: "wasm" });

const torch = pythonWith("torch");
const folder = temporaryFolder();

/** Logits of the converted models, by structure. */
const truths = new Map<string, Float32Array>();

const STRUCTURES = ["pifa", "btt", "blast", "unstructured", "semi-structured"];

test.each(STRUCTURES)("a model of %s layers is saved, inspected and loaded again", async (structure) => {
  const model = tinyModel() as Model;
  await converted(model, await planConversion(model, { structure, budget: 0.6 }));
  const logits = await logitsOf(model);
  await saveModelNow(model, folder(structure));
  await checkModelFolder(folder(structure));

  const open = await openModel(folder(structure));
  const { inspection } = await describe(findLayers(open), { path: "saved" });
  await open.tensors.close();
  const layers = inspection.layers.filter((layer) => layer.structure === structure);
  expect(layers.length).toBeGreaterThan(3);
  for (const { name, cost } of layers) {
    const own = model.layer(name).structure;
    expect(cost).toBe(await own.cost(model.structureParameters(name)));
  }
  expect(inspection.totals.structured.share).toBeLessThanOrEqual(0.6);

  const loaded = await loadModelNow(folder(structure));
  expect(await logitsOf(loaded)).toEqual(logits);
  model.dispose();
  loaded.dispose();
  truths.set(structure, logits);
});

test.skipIf(!torch)("PyTorch computes the same logits", async () => {
  const ids = tokens(4);
  const rows = Array.from(await ids.data());
  ids.dispose();
  const asked = JSON.stringify([rows.slice(0, TINY.n_positions), rows.slice(TINY.n_positions)]);
  const args = [asked, ...STRUCTURES.map((structure) => `${folder(structure)}:auto`)];
  const answers = await askPython<{ logits: number[] }[]>(torch, "logits.py", { args });
  for (const [i, structure] of STRUCTURES.entries()) {
    expectClose(answers[i]?.logits ?? [], truths.get(structure) ?? [], { tolerance: 1e-4 });
  }
});

/** A folder whose first order has its first number twice. */
async function twiceInOrder(): Promise<string> {
  cpSync(folder("pifa"), folder("twice"), { recursive: true });
  const file = path.join(folder("twice"), "model.safetensors");
  const tensors = await readSafetensors(file);
  const [order] = [...tensors].flatMap(([name, { data }]) => (name.endsWith(".order") ? [data] : []));
  if (order) order[1] = order[0] as number;
  await writeSafetensors(file, sourcesOf(tensors));
  return folder("twice");
}

const TWICE = /c_attn.*order.*must have each of the numbers 0 (…|\.\.\.) 47 once$/;

test("an order of PIFA's rows that has a number twice is refused", async () => {
  await expect(loadModelNow(await twiceInOrder())).rejects.toThrow(TWICE);
});

test.skipIf(!torch)("PyTorch refuses an order of PIFA's rows that has a number twice", async () => {
  const args = ["[[1, 2]]", `${await twiceInOrder()}:auto`];
  const [answer] = await askPython<{ error?: string }[]>(torch, "logits.py", { args });
  expect(answer?.error).toMatch(TWICE);
});

test.skipIf(!torch)("the order of PIFA's rows is not a parameter in PyTorch either", async () => {
  const script = `
import json, sys
sys.path.insert(0, sys.argv[1])
from modeling_gblr import PivotedLinear
layer = PivotedLinear("fc", 6, 5, {"pivots": (2, 6), "coefficients": (3, 2), "order": (5,)})
print(json.dumps([name for name, _ in layer.named_parameters()]))
`;
  const names = await askPython<string[]>(torch, script, { args: [folder("pifa")] });
  expect(names.toSorted()).toEqual(["bias", "coefficients", "pivots"]);
});

test.skipIf(!torch)("the order of PIFA's rows is exact in half precision, however the model gets it", async () => {
  // bfloat16 has the integers to 256, and this layer has more rows. transformers sets the default type when it loads.
  const script = `
import json, sys
sys.path.insert(0, sys.argv[1])
import torch
from modeling_gblr import PivotedLinear
shapes = {"pivots": (2, 6), "coefficients": (598, 2), "order": (600,)}
order = torch.arange(600).flip(0)
cast = PivotedLinear("fc", 6, 600, shapes)
cast.order.copy_(order)
cast.to(torch.bfloat16)
torch.set_default_dtype(torch.bfloat16)
made = PivotedLinear("fc", 6, 600, shapes)
made.order.copy_(order)
print(json.dumps([[str(layer.pivots.dtype), bool((layer.order.long() == order).all())] for layer in (cast, made)]))
`;
  const layers = await askPython<[string, boolean][]>(torch, script, { args: [folder("pifa")] });
  expect(layers).toEqual([
    ["torch.bfloat16", true],
    ["torch.bfloat16", true],
  ]);
});
