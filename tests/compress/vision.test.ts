// Conversions of vision models as published settings have them, counted; budgets held over convolutions; calibration by
// patches.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { layersOf } from "../../workbench/architectures/architecture.ts";
import {
  calibrate,
  convert,
  expectDense,
  exportDense,
  type PlanOptions,
  planConversion,
  takeApart,
} from "../../workbench/compress/index.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { linear } from "../../workbench/engine/ops/index.ts";
import {
  type Architecture,
  architectureOfConfig,
  classifierLogits,
  denseWeight,
  Model,
  modelCounts,
} from "../../workbench/models/index.ts";
import { dense } from "../../workbench/structures/dense.ts";
import { MIXER, RESNET_BOTTLENECKS, smallResnet, smallVit, someImages } from "../architectures/small-vision.ts";
import { forEachEngine } from "../engine/engines.ts";

/** Sizes decide: a model of the published size without its values. */
function hollow(json: Record<string, unknown>): Model {
  const architecture: Architecture = architectureOfConfig(json);
  const config = architecture.readConfig(json, "config");
  const layers = new Map(layersOf(architecture, config).map((layer) => [layer.name, { ...layer, structure: dense }]));
  return new Model({ architecture, config, json, parameters: new Map(), layers });
}

// The reference's counts, in tests/fixtures/structures/flops.json with all of their parts.
const RESNET_DENSE = 1819065856;

const RESNET18 = { architecture: "resnet18", num_classes: 1000 };
const VIT_B = { architecture: "vit_base_patch16_224", num_classes: 1000 };

test("ResNet-18 at lr0.35 costs what the reference counts, integrated and per kernel", async () => {
  const model = hollow(RESNET18);
  for (const [convolutions, total] of [
    ["integrated", 1014744576],
    ["per-kernel", 1541793280],
  ] as const) {
    const plan = await planConversion(model, { structure: "gblr", widths: "lr0.35", convolutions });
    expect(plan.counts.after.reference.total).toBe(total);
    expect(plan.counts.before.reference.total).toBe(RESNET_DENSE);
    expect(plan.layers.length).toBe(convolutions === "integrated" ? 16 : 16 * 9);
    expect(() =>
      expectDense(
        model,
        plan.layers.map(({ name }) => name),
      ),
    ).not.toThrow();
    expect(plan.layers.some(({ name }) => /downsample|^conv1/.test(name))).toBe(false);
  }
});

test("ViT-B/16 at lr0.25 costs what the reference counts, its attention's projection left dense", async () => {
  const plan = await planConversion(hollow(VIT_B), { structure: "gblr", widths: "lr0.25" });
  expect(plan.counts.after.reference.total).toBe(7078693632);
  expect(plan.layers.length).toBe(12 * 5);
});

test("relative FLOPs are met and never exceeded, also where structured layers count elsewhere than dense ones", async () => {
  for (const [json, flops] of [
    [VIT_B, 0.33],
    [RESNET18, 0.5562],
    [{ architecture: "mixer_s16_224", num_classes: 10 }, 0.4],
  ] as const) {
    const { counts } = await planConversion(hollow(json), { structure: "gblr", flops });
    expect(counts.after.reference.relative).toBeLessThanOrEqual(flops * (1 + 1e-9));
    expect(counts.after.reference.relative).toBeGreaterThan(flops - 0.002);
  }
});

test("what convolutions cannot be is refused by name", async () => {
  await openEngine();
  const [resnet, vit] = [smallResnet() as Model, smallVit() as Model];
  const refused = (model: Model, options: PlanOptions) => planConversion(model, options);
  await expect(refused(vit, { structure: "tucker", budget: 0.5 })).rejects.toThrow(
    "tucker is for convolutions, blocks.0.attn.q_proj is a linear layer",
  );
  await expect(refused(resnet, { structure: "tucker", budget: 0.5, convolutions: "per-kernel" })).rejects.toThrow(
    "tucker needs whole kernels",
  );
  await expect(refused(resnet, { structure: "tucker", budget: 0.5, allocation: "global" })).rejects.toThrow(
    "no rank that could be allocated",
  );
  await expect(refused(vit, { structure: "gblr", budget: 0.5, convolutions: "per-kernel" })).rejects.toThrow(
    "per kernel is for convolutions",
  );
  for (const model of [resnet, vit]) model.dispose();
});

forEachEngine("convolutions", (_, { name: engine }) => {
  test("of 1 × 1 become matrices of low rank where others become tucker, and stay whole per kernel", async () => {
    const make = () => smallResnet(RESNET_BOTTLENECKS) as Model;
    const structures = async (options: PlanOptions) => {
      const model = make();
      const plan = await planConversion(model, options);
      for await (const event of convert(model, plan)) {
        if (event.kind !== "converted") continue;
        expect(event.totals.share).toBeLessThanOrEqual(options.budget as number);
        expect(event.counts).toEqual(await modelCounts(model));
      }
      const found = new Map([...model.layers].map(([name, { structure }]) => [name, structure.name]));
      model.dispose();
      return found;
    };
    const tucker = await structures({ structure: "tucker", budget: 0.5 });
    expect(tucker.get("layer1.0.conv1")).toBe("lowrank");
    expect(tucker.get("layer1.0.conv2")).toBe("tucker");
    expect(tucker.get("layer2.0.conv3")).toBe("lowrank");
    expect(tucker.get("layer2.0.downsample.0")).toBe("dense");
    const perKernel = await structures({ structure: "gblr", budget: 0.8, convolutions: "per-kernel" });
    expect(perKernel.get("layer1.0.conv1")).toBe("gblr");
    expect(perKernel.get("layer1.0.conv2.8")).toBe("gblr");
    expect(perKernel.has("layer1.0.conv3.0")).toBe(false);
  });

  const WAYS: PlanOptions[] = [
    { structure: "gblr", budget: 0.5 },
    { structure: "gblr", budget: 0.8, convolutions: "per-kernel" },
    { structure: "lowrank", budget: 0.4, allocation: "global" },
    { structure: "tucker", budget: 0.4 },
    { structure: "monarch", budget: 0.4 },
  ];
  for (const options of WAYS) {
    const { structure, budget, convolutions = "integrated" } = options;
    test(`become ${structure}, ${convolutions}, within ${budget}, and are made dense as what they multiply`, async () => {
      const model = smallResnet() as Model;
      const plan = await planConversion(model, options);
      for await (const event of convert(model, plan)) {
        if (event.kind !== "converted") continue;
        expect(event.totals.share).toBeLessThanOrEqual(budget as number);
        expect(event.counts).toEqual(await modelCounts(model));
        expect(event.layers.every(({ error }) => error > 0 && error < 1)).toBe(true);
      }
      model.masks.mode = "eval";
      const images = someImages(2, 24);
      const before = tf.tidy(() => classifierLogits(model, images));
      exportDense(model);
      const after = tf.tidy(() => classifierLogits(model, images));
      const [worst] = await tf.tidy(() => tf.div(tf.max(tf.abs(tf.sub(before, after))), tf.max(tf.abs(before)))).data();
      expect(worst).toBeLessThan(1e-5);
      expect([...model.layers.keys()]).toEqual([...(smallResnet() as Model).layers.keys()]);
      tf.dispose([images, before, after]);
      model.dispose();
    });
  }

  test("are calibrated by the patches under their kernels: the matrix times those is the convolution", async () => {
    const model = smallResnet() as Model;
    for (const [name, side] of [
      ["conv1", 12],
      ["layer1.0.conv1", 24],
      ["layer2.0.conv1", 12],
      ["layer2.0.downsample.0", 12],
    ] as const) {
      const { nIn, convolution } = model.layer(name);
      const channels = nIn / (convolution?.kernel ?? [1, 1]).reduce((rows, columns) => rows * columns);
      const x = tf.randomNormal([2, 24, 24, channels], 0, 1, "float32", 4) as tf.Tensor4D;
      let patches: tf.Tensor | undefined;
      model.observer = (seen, inputs) => {
        expect(seen).toBe(name);
        patches = tf.keep(inputs.clone());
      };
      const expected = model.convolution(name, x);
      expect(patches?.shape).toEqual([2, side, side, nIn]);
      const matrix = denseWeight(model, name);
      const [worst] = await tf
        .tidy(() => tf.max(tf.abs(tf.sub(linear(patches as tf.Tensor, matrix), expected))))
        .data();
      expect(worst).toBeLessThan(1e-4);
      tf.dispose([x, expected, matrix, patches as tf.Tensor]);
    }
    model.dispose();
  });

  // Convolutions in plain JavaScript take seconds.
  test.skipIf(engine === "cpu")(
    "start nearer in their outputs when they have seen images, whole and per kernel",
    async () => {
      for (const convolutions of ["integrated", "per-kernel"] as const) {
        const errors: Record<string, number[]> = {};
        for (const init of ["svd", "activation"] as const) {
          const model = smallResnet() as Model;
          const plan = await planConversion(model, { structure: "lowrank", budget: 0.6, convolutions });
          takeApart(model, plan.layers);
          const layers = plan.layers.map(({ name }) => name);
          const forward = (images: tf.Tensor4D) => classifierLogits(model, images);
          const inputs = (async function* () {
            yield someImages(4, 24);
          })();
          for await (const event of calibrate(model, inputs, { layers, forward })) {
            if (event.kind !== "calibrated") continue;
            const { covariances } = event;
            for await (const done of convert(model, plan, { init, covariances })) {
              if (done.kind === "converted") errors[init] = done.layers.map(({ outputError }) => outputError as number);
            }
            for (const covariance of covariances.values()) covariance.dispose();
          }
          model.dispose();
        }
        const { svd = [], activation = [] } = errors;
        expect(svd.length).toBe(convolutions === "integrated" ? 4 : 36);
        for (const [i, error] of activation.entries()) expect(error).toBeLessThanOrEqual((svd[i] as number) + 1e-4);
        const total = (values: number[]) => values.reduce((sum, value) => sum + value, 0);
        expect(total(activation)).toBeLessThan(total(svd));
      }
    },
  );
});

test("rows of an MLP-Mixer are channels in one half of a block and patches in the other", async () => {
  const model = hollow(MIXER);
  const { layers } = await planConversion(model, { structure: "lowrank", budget: 0.5 });
  const rows = Object.fromEntries(layers.map(({ name, rows }) => [name, rows]));
  expect(rows["blocks.1.mlp_tokens.fc2"]).toBe(24);
  expect(rows["blocks.1.mlp_channels.fc1"]).toBe(16);
});
