// Models that are cut to a size, on every engine: within the parameters asked for, the matrices are sums of the blocks
// kept, and a folder has the same cut as the model in memory.

import { beforeAll, expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { cutModel, planConversion, type SizesRecord } from "../../../workbench/compress/index.ts";
import { loadModelNow } from "../../../workbench/models/folder/load.ts";
import { denseWeight, type Model, saveModelNow } from "../../../workbench/models/index.ts";
import { forEachEngine } from "../../engine/engines.ts";
import { expectClose, read } from "../../engine/ops/operands.ts";
import { temporaryFolder } from "../../hub/temporary.ts";
import { tinyModel } from "../tiny.ts";
import { SIZED, SIZES, saveSized, sizedModel } from "./sized.ts";

const at = temporaryFolder();

async function parametersIn(model: Model, record: SizesRecord): Promise<{ kept: number; dense: number }> {
  let [kept, dense] = [0, 0];
  for (const name of Object.keys(record.layers)) {
    const { structure, nIn, nOut } = model.layer(name.replace(/^transformer\./, ""));
    kept += await structure.cost(model.structureParameters(name.replace(/^transformer\./, "")));
    dense += nIn * nOut;
  }
  return { kept, dense };
}

forEachEngine("a cut model", (_, { label, name }) => {
  const folderOf = (structure: string) => at(`${structure} of ${label}`);
  // The search takes long in plain JavaScript.
  const sized = SIZED.filter(([structure]) => structure === "lowrank" || name !== "cpu");

  beforeAll(async () => {
    for (const [structure, init] of sized) await saveSized(folderOf(structure), structure, init);
  }, 240_000);

  test.each(sized)("of %s has at most the parameters asked for, and nearly as many", async (structure) => {
    let before = 0;
    for (const keep of [0.3, 0.37, 0.5, 0.61, 0.7]) {
      const cut = await loadModelNow(folderOf(structure));
      const { sizes: record } = cut.json.gblr as { sizes: SizesRecord };
      await cutModel(cut, keep);
      const { kept, dense } = await parametersIn(cut, record);
      expect(kept).toBeLessThanOrEqual(keep * dense);
      // One rank of the widest of these small layers.
      expect(kept).toBeGreaterThan(keep * dense - 80 - (keep === SIZES.at(-1) ? 6 * 80 : 0));
      expect(kept).toBeGreaterThan(before);
      before = kept;
      cut.dispose();
    }
  });

  test.skipIf(name === "cpu")(
    "of gblr has matrices that are sums of the first blocks of each tile, in float64",
    async () => {
      const whole = await loadModelNow(folderOf("gblr"));
      const { sizes } = whole.json.gblr as { sizes: SizesRecord };
      for (const size of SIZES.keys()) {
        for (const [name, ranks] of Object.entries(sizes.layers)) {
          const { structure } = whole.layer(name);
          const parameters = whole.structureParameters(name);
          const nested = await structure.nestedMatrix?.(parameters, ranks);
          const held = await nested?.cut(ranks[size] as number[]);
          if (!nested || !held) throw new Error(`${name} cannot be cut`);
          const found = held.structure.dense(held.parameters);
          const expected = await sumOfBlocks(whole, name, { ranks, size });
          expectClose(await read(found), expected, { tolerance: 2e-4 });
          expect(await held.structure.cost(held.parameters)).toBeLessThanOrEqual(nested.cost(ranks[size] as number[]));
          tf.dispose([found, { ...held.parameters }]);
        }
      }
      whole.dispose();
    },
  );

  test.each(SIZED)(
    "of %s is an ordinary model, which saves and loads with the same matrices",
    async (structure, init) => {
      await saveSized(at(structure), structure, init);
      const cut = await loadModelNow(at(structure));
      await cutModel(cut, 0.45);
      await saveModelNow(cut, at(`${structure} again`));
      const again = await loadModelNow(at(`${structure} again`));
      for (const layer of cut.layers.keys()) {
        const [before, after] = [denseWeight(cut, layer), denseWeight(again, layer)];
        expect(await read(after)).toEqual(await read(before));
        tf.dispose([before, after]);
      }
      expect(again.json.gblr).not.toHaveProperty("sizes");
      expect(again.json.gblr).toMatchObject({ budget: 0.45 });
      await expect(cutModel(again, 0.4)).rejects.toThrow(
        /has no "gblr.sizes", so that the model has one size; make one/,
      );
      for (const model of [cut, again]) model.dispose();
    },
  );

  test.each(sized)("of %s at the largest size is the whole model", async (structure) => {
    const model = await loadModelNow(folderOf(structure));
    const layer = [...model.layers.keys()][1] as string;
    const whole = denseWeight(model, layer);
    await cutModel(model, SIZES.at(-1) as number);
    const cut = denseWeight(model, layer);
    expectClose(await read(cut), await read(whole), { tolerance: 2e-4 });
    tf.dispose([whole, cut]);
    model.dispose();
  });
});

test("a size outside of the range is refused with the range", async () => {
  const { model, record } = await sizedModel("lowrank", "activation");
  for (const keep of [0.29, 0.71, Number.NaN]) {
    await expect(cutModel(model, keep, { record })).rejects.toThrow(`the model has sizes from 0.3 to 0.7, not ${keep}`);
  }
  model.dispose();
});

test("a plan for several sizes leaves no layer dense, and gives no layer less at a larger size", async () => {
  const model = tinyModel();
  for (const allocation of ["uniform", "global"] as const) {
    const { layers, totals, sizes } = await planConversion(model, {
      structure: "lowrank",
      sizes: [0.2, 0.5, 0.9],
      allocation,
    });
    expect(sizes).toEqual([0.2, 0.5, 0.9]);
    expect(totals.share).toBeLessThanOrEqual(0.9);
    for (const { structure, sizes: own = [] } of layers) {
      expect(structure).toBe("lowrank");
      expect([...own].sort((a, b) => a - b)).toEqual([...own]);
    }
  }
  await expect(planConversion(model, { structure: "monarch", sizes: [0.2, 0.5] })).rejects.toThrow(
    "monarch cannot be made for several sizes; use gblr or lowrank",
  );
  model.dispose();
});

/** Σ u vᵀ over the first blocks of each tile of a packed layer. */
async function sumOfBlocks(
  model: Model,
  name: string,
  { ranks, size }: { ranks: readonly (readonly number[])[]; size: number },
): Promise<Float64Array> {
  const { nIn, nOut } = model.layer(name);
  const { spans, values_in, values_out } = model.structureParameters(name) as Record<string, tf.Tensor>;
  const [at, across, down] = await Promise.all([
    read(spans as tf.Tensor),
    read(values_in as tf.Tensor),
    read(values_out as tf.Tensor),
  ]);
  const count = at.length / 4;
  const kept = (ranks.at(-1) as readonly number[]).flatMap((rank, tile) =>
    Array.from({ length: rank }, (_, r) => r < (ranks[size]?.[tile] as number)),
  );
  const sum = new Float64Array(nOut * nIn);
  let [i, o] = [0, 0];
  for (let block = 0; block < count; block++) {
    const [from, columns, start, rows] = [0, 1, 2, 3].map((row) => at[row * count + block] as number) as [
      number,
      number,
      number,
      number,
    ];
    for (let a = 0; kept[block] && a < rows; a++) {
      for (let c = 0; c < columns; c++) {
        const place = (start + a) * nIn + from + c;
        sum[place] = (sum[place] as number) + (down[o + a] as number) * (across[i + c] as number);
      }
    }
    i += columns;
    o += rows;
  }
  return sum;
}
