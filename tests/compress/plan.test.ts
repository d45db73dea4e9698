// Plans: what is asked for is never exceeded and nearly reached, whichever way it is asked; what makes no sense is refused
// in one line.

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { layersOf } from "../../workbench/architectures/architecture.ts";
import { type ConversionPlan, type PlanOptions, planConversion } from "../../workbench/compress/index.ts";
import { EngineError } from "../../workbench/engine/core/errors.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { createModel, gpt2 } from "../../workbench/models/index.ts";
import { smallLlama } from "../models/small-llama.ts";
import { matrixStructure } from "../structures/matrix-structures.ts";
import { TINY, tinyModel } from "./tiny.ts";

await openEngine({ engine: "cpu" });

const STRUCTURES = ["gblr", "lowrank", "monarch", "block-low-rank", "block-sparse"];

const sum = (plan: ConversionPlan, of: "dense" | "cost") =>
  plan.layers.reduce((total, layer) => total + layer.rows * layer[of], 0);

const sizes = fc.record({
  nIn: fc.integer({ min: 4, max: 200 }),
  nOut: fc.integer({ min: 4, max: 200 }),
  budget: fc.double({ min: 0.02, max: 1, noNaN: true }),
});

describe("the cost that a structure says a budget buys", () => {
  test.each(STRUCTURES)("%s: is within the budget for any size, or nothing is bought", (name) => {
    const property = fc.property(sizes, ({ budget, ...size }) => {
      let cost: number;
      try {
        cost = matrixStructure(name).costWithin(size, budget);
      } catch (error) {
        expect(error).toBeInstanceOf(EngineError);
        return;
      }
      expect(cost).toBeGreaterThan(0);
      expect(cost).toBeLessThanOrEqual(budget * size.nIn * size.nOut * (1 + 1e-9));
    });
    fc.assert(property, { seed: 5, numRuns: 300 });
  });

  test("gblr: is within 3 multiply-adds a row of what is allowed, lowrank within one rank", () => {
    const property = fc.property(sizes, ({ budget, nIn, nOut }) => {
      const allowed = Math.floor(budget * nIn * nOut);
      if (allowed < nIn + nOut) return;
      expect(allowed - matrixStructure("gblr").costWithin({ nIn, nOut }, budget)).toBeLessThanOrEqual(3);
      expect(allowed - matrixStructure("lowrank").costWithin({ nIn, nOut }, budget)).toBeLessThan(nIn + nOut);
    });
    fc.assert(property, { seed: 6, numRuns: 300 });
  });
});

describe("a plan", () => {
  const model = tinyModel();

  test.each(STRUCTURES)(
    "%s: holds the budget over all layers together, whichever way it is shared out",
    async (structure) => {
      for (const allocation of ["uniform", "global"] as const) {
        for (const budget of [0.5, 0.613, 0.75, 0.9]) {
          const plan = await planConversion(model, { structure, budget, allocation });
          expect(sum(plan, "cost")).toBeLessThanOrEqual(budget * sum(plan, "dense"));
          expect(plan.totals.share).toBe(sum(plan, "cost") / sum(plan, "dense"));
          expect(plan.totals.budget).toBe(budget);
        }
      }
    },
  );

  test.each(["uniform", "global"] as const)("uses the budget up, shared out %s", async (allocation) => {
    for (const budget of [0.42, 0.613, 0.87]) {
      const dense = sum(await planConversion(model, { structure: "gblr", budget, allocation }), "dense");
      const left = async (structure: string) =>
        budget - (await planConversion(model, { structure, budget, allocation })).totals.share;
      // 3 multiply-adds a row of each of 6 layers, and less than one rank of the smallest layer
      expect(await left("gblr")).toBeLessThanOrEqual((24 * 6 * 3) / dense);
      expect(await left("lowrank")).toBeLessThan((24 * 80) / dense);
    }
  });

  test("global takes from layers whose singular values fall fast", async () => {
    const plan = await planConversion(model, { structure: "lowrank", budget: 0.6, allocation: "global" });
    const uniform = await planConversion(model, { structure: "lowrank", budget: 0.6 });
    const share = ({ layers }: ConversionPlan, name: string) => {
      const layer = layers.find((each) => each.name === name);
      return (layer?.cost ?? 0) / (layer?.dense ?? 1);
    };
    // Layers are made to fall by 0.97 and 0.75 in turn: c_attn and c_fc, and both c_proj.
    expect(share(plan, "h.0.attn.c_attn")).toBeGreaterThan(share(uniform, "h.0.attn.c_attn"));
    expect(share(plan, "h.0.mlp.c_proj")).toBeLessThan(share(uniform, "h.0.mlp.c_proj"));
  });

  test("by the loss, ranks cost what the initialization needs for them, so that more of them are affordable", async () => {
    const decay = (name: string) => (name.endsWith("c_proj") ? 0.75 : 0.97);
    const { layers } = await planConversion(model, { structure: "lowrank", budget: 0.5 });
    const energies = new Map(
      layers.map(({ name, nIn, nOut }) => {
        const values = Array.from({ length: Math.min(nIn, nOut) }, (_, i) => decay(name) ** (2 * i));
        return [name, values] as const;
      }),
    );
    /** the largest rank r with r (n_out + n_in − r) + r ≤ cost */
    const rankWithin = ({ nIn, nOut, cost }: ConversionPlan["layers"][number]) =>
      Math.max(
        ...Array.from({ length: Math.min(nIn, nOut) }, (_, i) => i + 1).filter((r) => r * (nIn + nOut - r) + r <= cost),
      );
    const left = ({ layers }: ConversionPlan) =>
      layers.reduce((total, layer) => {
        const rest = layer.structure === "dense" ? [] : (energies.get(layer.name) ?? []).slice(rankWithin(layer));
        return rest.reduce((sum, energy) => sum + energy, total);
      }, 0);
    const planned = (structure: string, init: PlanOptions["init"], budget: number) =>
      planConversion(model, { structure, allocation: "loss", energies, budget, ...(init && { init }) });
    for (const budget of [0.5, 0.8]) {
      const own = await planned("gblr", "search", budget);
      const plain = await planned("gblr", "activation", budget);
      for (const plan of [own, plain]) expect(plan.totals.share).toBeLessThanOrEqual(budget);
      expect(own.totals.share).toBeGreaterThan(budget - 0.01);
      // The search reaches these ranks with the costs of both plans.
      expect(left(own)).toBeLessThan(left(plain));
    }
  });

  test("takes the layers that the recipe converts, or those that a pattern names", async () => {
    const names = async (layers?: PlanOptions["layers"]) =>
      (await planConversion(model, { structure: "lowrank", budget: 0.5, ...(layers && { layers }) })).layers.map(
        ({ name }) => name,
      );
    expect(await names()).toEqual([
      "h.0.attn.c_attn",
      "h.0.mlp.c_fc",
      "h.0.mlp.c_proj",
      "h.1.attn.c_attn",
      "h.1.mlp.c_fc",
      "h.1.mlp.c_proj",
    ]);
    expect(await names("h.1.*c_proj")).toEqual(["h.1.attn.c_proj", "h.1.mlp.c_proj"]);
    expect(await names(["h.1.mlp.c_fc", "h.0.attn", "c_fc"])).toEqual([
      "h.0.attn.c_attn",
      "h.0.attn.c_proj",
      "h.0.mlp.c_fc",
      "h.1.mlp.c_fc",
    ]);
  });

  test("takes layers by their names in checkpoints too, which have a prefix", async () => {
    const llama = smallLlama();
    const options = { structure: "lowrank", budget: 0.5, layers: "model.layers.0.*v_proj" };
    const { layers } = await planConversion(llama, options);
    expect(layers.map(({ name }) => name)).toEqual(["layers.0.self_attn.v_proj"]);
    llama.dispose();
  });

  test("relative FLOPs of the whole model are held, and all but reached", async () => {
    for (const flops of [0.5, 0.6667, 0.8]) {
      for (const structure of ["gblr", "lowrank"]) {
        const { counts } = await planConversion(model, { structure, flops });
        expect(counts.before.reference.relative).toBe(1);
        expect(counts.after.reference.relative).toBeLessThanOrEqual(flops * (1 + 1e-12));
        expect(flops - counts.after.reference.relative).toBeLessThan(structure === "gblr" ? 2e-3 : 0.02);
      }
    }
  });

  test("GPT-2 small by lr0.25 has the published relative FLOPs, and 0.4375 is what 0.4375 asks for", async () => {
    const whole = gpt2SmallShapes();
    const published = await planConversion(whole, { structure: "gblr", widths: "lr0.25" });
    expect(published.layers[0]).toMatchObject({ name: "h.0.attn.c_attn", cost: 192 * (768 + 2304) });
    expect(published.counts.after.reference.relative).toBeCloseTo(0.43767, 5);
    const asked = await planConversion(whole, { structure: "gblr", flops: 0.4375 });
    expect(0.4375 - asked.counts.after.reference.relative).toBeWithin(0, 2e-6);
    const lowrank = await planConversion(whole, { structure: "lowrank", flops: 0.4375 });
    expect(0.4375 - lowrank.counts.after.reference.relative).toBeWithin(0, 1e-4);
    whole.dispose();
  });

  test.each([
    [{ structure: "lowrnk", budget: 0.5 }, 'there is no structure "lowrnk"; available: gblr, lowrank'],
    [{ structure: "gblr", budget: 0 }, "the budget must be above 0 and at most 1"],
    [{ structure: "gblr", budget: 1.01 }, "at most 1, a share of the converted layers' multiply-adds, got 1.01"],
    [{ structure: "gblr", budget: Number.NaN }, "got NaN"],
    [{ structure: "gblr", budget: 0.05 }, "one block of full width of (48, 16) takes 0.0833333"],
    [{ structure: "lowrank", budget: 0.05, allocation: "global" }, "rank 1 in each of 6 layers takes 0.07955"],
    [{ structure: "lowrank", budget: 0.5, allocation: "loss" }, "h.0.attn.c_attn has no energies for an allocation by"],
    [{ structure: "dense", budget: 0.9 }, "dense: all of (48, 16) takes 1 of the dense multiply-adds"],
    [{ structure: "gblr" }, "takes one of budget, flops and widths, got none of them"],
    [{ structure: "gblr", budget: 0.5, flops: 0.5 }, "got budget and flops; choose one"],
    [{ structure: "gblr", flops: 0.1 }, "relative FLOPs by the reference count must be above 0.1"],
    [{ structure: "gblr", flops: 1.1 }, "at most 1.000, with these layers at their dense cost, got 1.1"],
    [{ structure: "gblr", flops: 0.5, layers: "c_proj" }, "treat h.0.attn.c_proj as dense in any structure"],
    [{ structure: "lowrank", widths: "lr0.25" }, "widths are for GBLR layers, the structure is lowrank"],
    [{ structure: "gblr", widths: "lr2" }, 'no width rule "lr2"'],
    [{ structure: "gblr", widths: "lr0.25", allocation: "global" }, "so nothing can be allocated"],
    [
      { structure: "gblr", budget: 0.5, layers: "q_proj" },
      'no layer of gpt2 has "q_proj" in its name; layers: h.0.attn.c_attn, h.0.attn.c_proj, h.0.mlp.c_fc, …',
    ],
  ] as [PlanOptions, string][])("of %j is refused in one line", async (options, message) => {
    const error = await planConversion(model, options).catch((error: unknown) => error);
    expect(error).toBeInstanceOf(EngineError);
    expect((error as Error).message).toContain(message);
    expect((error as Error).message).not.toContain("\n");
  });
});

/** GPT-2 small in all that a plan by budget looks at, with tables that take no memory. */
function gpt2SmallShapes() {
  const model = createModel(gpt2, { ...TINY, n_layer: 1, n_embd: 12, n_head: 12 });
  const config = gpt2.readConfig(
    { n_layer: 12, n_embd: 768, n_head: 12, n_positions: 1024, vocab_size: 50257 },
    "small",
  );
  const { structure } = model.layer("h.0.mlp.c_fc");
  const layers = new Map(layersOf(gpt2, config).map((layer) => [layer.name, { ...layer, structure }]));
  return Object.assign(Object.create(Object.getPrototypeOf(model)) as typeof model, model, { config, layers });
}
