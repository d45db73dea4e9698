// The parameters of linear layers: what a folder of each structure has to hold, not the zeros that are stored with it.

import { expect, test } from "bun:test";
import { planConversion } from "../../workbench/compress/index.ts";
import { linearParameters, type Model } from "../../workbench/models/index.ts";
import { converted, tinyModel } from "../compress/tiny.ts";
import { forEachEngine } from "../engine/engines.ts";

forEachEngine("linear parameters", () => {
  test("of a dense model are the entries of its matrices", async () => {
    const model = tinyModel() as Model;
    let entries = 0;
    for (const { nIn, nOut } of model.layers.values()) entries += nIn * nOut;
    expect(await linearParameters(model)).toEqual({ parameters: entries, dense: entries });
    model.dispose();
  });

  test.each(["unstructured", "semi-structured"])("of %s matrices are the entries that are not 0", async (structure) => {
    const model = tinyModel() as Model;
    await converted(model, await planConversion(model, { structure, budget: 0.5 }));
    let kept = 0;
    let expected = 0;
    for (const [name, { nIn, nOut, structure }] of model.layers) {
      expected += structure.keepsZeros ? (nIn * nOut) / 2 : nIn * nOut;
      const { entries, weight } = model.structureParameters(name);
      kept += (await (entries ?? weight)?.data())?.filter((value) => value !== 0).length ?? 0;
    }
    const { parameters, dense } = await linearParameters(model);
    expect(parameters).toBe(kept);
    expect(parameters).toBe(expected);
    expect(parameters).toBeLessThan(0.6 * dense);
    model.dispose();
  });
});
