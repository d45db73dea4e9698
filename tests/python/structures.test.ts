// Models in the published structures, saved and read by PyTorch: the same logits, and the same cost by inspection.

import { expect, setDefaultTimeout, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { checkModelFolder, findLayers, openModel } from "../../hub/model-folder/index.ts";
import { languageLogits } from "../../workbench/architectures/parts/language-model.ts";
import { planConversion } from "../../workbench/compress/index.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { loadModelNow } from "../../workbench/models/folder/load.ts";
import { type Model, saveModelNow } from "../../workbench/models/index.ts";
import { describe } from "../../workbench/report/describe-model.ts";
import { converted, TINY, tinyModel, tokens } from "../compress/tiny.ts";
import { expectClose } from "../engine/ops/operands.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { askPython, PATIENCE, pythonWith } from "./python.ts";

setDefaultTimeout(PATIENCE);
await openEngine({ engine: "wasm" });

const torch = pythonWith("torch");
const folder = temporaryFolder();

async function logitsOf(model: Model): Promise<Float32Array> {
  const ids = tokens(4);
  const logits = tf.tidy(() => languageLogits(model as never, ids));
  const values = (await logits.data()) as Float32Array;
  tf.dispose([ids, logits]);
  return values;
}

/** As evaluation has them, by structure. */
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

test("an order of PIFA's rows that is not a permutation is refused", async () => {
  const model = tinyModel() as Model;
  await converted(model, await planConversion(model, { structure: "pifa", budget: 0.6 }));
  const [layer] = [...model.layers.values()].flatMap(({ name, structure }) =>
    structure.name === "pifa" ? [name] : [],
  );
  const { order } = model.structureParameters(layer as string);
  const rows = (order as tf.Tensor).size;
  for (const bad of [rows, -1, 0.5, Number.NaN]) {
    const values = Array.from({ length: rows }, (_, o) => (o === 2 ? bad : o));
    tf.tidy(() => (order as tf.Variable).assign(tf.tensor1d(values)));
    await saveModelNow(model, folder("broken"));
    await expect(checkModelFolder(folder("broken"))).rejects.toThrow(
      `${layer}": order must have each of 0 … ${rows - 1} once, has ${bad} at 2`,
    );
  }
  model.dispose();
});

test.skipIf(!torch)("the order of PIFA's rows is not a parameter in PyTorch either, and is checked", async () => {
  const script = `
import json, sys, torch
sys.path.insert(0, sys.argv[1])
from modeling_gblr import PivotedLinear
layer = PivotedLinear("fc", 6, 5, {"pivots": (2, 6), "coefficients": (3, 2), "order": (5,)})
answers = []
for order in ([4, 0, 3, 1, 2], [0, 1, 2, 3, 5], [0, 0, 1, 2, 3], [0, 1, 2, 3, float("nan")]):
    layer.order.copy_(torch.tensor(order))
    try:
        answers.append(layer.check())
    except ValueError as error:
        answers.append(str(error))
print(json.dumps({"names": [name for name, _ in layer.named_parameters()], "answers": answers}))
`;
  const args = [folder("pifa")];
  const { names, answers } = await askPython<{ names: string[]; answers: (string | null)[] }>(torch, script, { args });
  expect(names.toSorted()).toEqual(["bias", "coefficients", "pivots"]);
  const refusal = 'tensor "fc.order": must have each of 0 ... 4 once';
  expect(answers).toEqual([null, refusal, refusal, refusal]);
});
