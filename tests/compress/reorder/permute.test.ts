// Free permutations: after any order of the units of any declared symmetry a model computes the same, on every
// architecture and engine; what is not declared does change it.

import { expect, test } from "bun:test";
import { type Symmetry, symmetriesOf } from "../../../workbench/architectures/symmetry.ts";
import { planConversion } from "../../../workbench/compress/index.ts";
import { permuteModel } from "../../../workbench/compress/reorder/permute.ts";
import type { Model } from "../../../workbench/models/index.ts";
import { forEachEngine } from "../../engine/engines.ts";
import { valuesOf } from "../../models/tiny.ts";
import { converted, tinyModel } from "../tiny.ts";
import { distance, logitsOf, MODELS, randomOrder } from "./cases.ts";

const symmetries = (model: Model): Symmetry[] => symmetriesOf(model.architecture, model.config);
const named = (model: Model, kind: string): string[] =>
  symmetries(model).flatMap((each) => (each.kind === kind ? [`${each.name}: ${each.size}`] : []));
const make = (name: string): Model => (MODELS[name] as () => Model)();

forEachEngine("free permutations", () => {
  for (const name of Object.keys(MODELS)) {
    test(`${name}: any order of each symmetry, and of all together, keeps the logits`, async () => {
      const model = make(name);
      const expected = await logitsOf(model);
      const all = symmetries(model).map((symmetry, i) => ({ symmetry, order: randomOrder(symmetry, 5 + i) }));
      expect(all.length).toBeGreaterThan(3);
      for (const { symmetry, order } of all) {
        const before = await valuesOf(model);
        permuteModel(model, [{ symmetry, order }]);
        const after = await valuesOf(model);
        const changed = [...after].filter(([key, values]) => values.some((value, i) => value !== before.get(key)?.[i]));
        const members = new Set(symmetry.members.map(({ parameter }) => parameter));
        expect(new Set(changed.map(([key]) => key)), symmetry.name).toEqual(members);
        expect(distance(await logitsOf(model), expected), `${symmetry.kind} of ${symmetry.name}`).toBeLessThan(2e-5);
      }
      permuteModel(model, all);
      expect(distance(await logitsOf(model), expected)).toBeLessThan(2e-5);
      model.dispose();
    });
  }

  test("orders that are undone give each parameter back, bit for bit", async () => {
    const model = make("llama, tied, biases");
    const before = await valuesOf(model);
    const all = symmetries(model).map((symmetry, i) => ({ symmetry, order: randomOrder(symmetry, 50 + i) }));
    permuteModel(model, all);
    const undone = all.map(({ symmetry, order }) => ({ symmetry, order: inverse(order) })).toReversed();
    permuteModel(model, undone);
    for (const [name, values] of await valuesOf(model)) expect(values).toEqual(before.get(name) as Float32Array);
    model.dispose();
  });

  test("components that rotary positions turn are not free: their order changes the logits", async () => {
    const model = make("llama");
    const expected = await logitsOf(model);
    const values = symmetries(model).find(({ kind }) => kind === "values") as Symmetry;
    const [queries, keys] = ["q_proj", "k_proj"].map((part) => `layers.0.self_attn.${part}.weight`);
    const within = { axis: 0, offset: 0, each: 1, stride: 8 };
    const members = [
      { ...within, parameter: queries as string, repeats: 2 },
      { ...within, parameter: keys as string, repeats: 1 },
    ];
    permuteModel(model, [{ symmetry: { ...values, members }, order: randomOrder(values, 3) }]);
    expect(distance(await logitsOf(model), expected)).toBeGreaterThan(1e-2);
    model.dispose();
  });
});

test("queries and keys are free only without positions, and for all heads alike if they share gains", () => {
  expect(named(make("qwen3"), "keys")).toEqual([]);
  expect(named(make("llama"), "keys")).toEqual([]);
  expect(named(make("qwen3, half of each head rotated"), "keys")[0]).toBe("layers.0.self_attn.o_proj: 8");
  expect(named(make("smollm3, a block without positions, biases"), "keys")).toEqual([
    "layers.0.self_attn.o_proj, group 0: 8",
    "layers.0.self_attn.o_proj, group 1: 8",
  ]);
});

test("the heads that share keys move together, and within their group", () => {
  expect(named(make("llama"), "heads").slice(0, 3)).toEqual([
    "layers.0.self_attn.o_proj, group 0: 2",
    "layers.0.self_attn.o_proj, group 1: 2",
    "layers.0.self_attn.o_proj: 2",
  ]);
  expect(named(make("gpt2, tied"), "heads")).toEqual(["h.0.attn.c_proj: 3", "h.1.attn.c_proj: 3"]);
});

test("a stream of channels ends where a shortcut has a convolution", () => {
  expect(named(make("resnet, hugging face"), "stream")).toEqual(["stream from conv1: 8", "stream from layer2.0: 12"]);
  expect(named(make("resnet of bottlenecks"), "channels")).toContain("layer1.1.conv3: 4");
});

test("an order that leaves a unit out, and a model that is compressed, are refused", async () => {
  const model = tinyModel() as Model;
  const [symmetry] = symmetries(model) as [Symmetry];
  const name = `the order of h.0.attn.c_proj, head 0 must name each of its 8 units once, it has 8 entries`;
  const order = new Int32Array(8);
  expect(() => permuteModel(model, [{ symmetry, order }])).toThrow(name);
  await converted(model, await planConversion(model, { structure: "lowrank", budget: 0.5 }));
  expect(() => permuteModel(model, [{ symmetry, order }])).toThrow("the model is compressed already");
  model.dispose();
});

function inverse(order: Int32Array): Int32Array {
  const back = new Int32Array(order.length);
  for (const [to, from] of order.entries()) back[from] = to;
  return back;
}
