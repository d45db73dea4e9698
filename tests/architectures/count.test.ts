// Counts of whole models against those of the reference implementation, exactly.

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { type Architecture, countModel, layersOf } from "../../workbench/architectures/architecture.ts";
import type { Counts, LayerCosts } from "../../workbench/architectures/count.ts";
import type { LayerInfo } from "../../workbench/architectures/network.ts";
import { architectureOfConfig } from "../../workbench/architectures/registry.ts";

interface RowCosts {
  width_init: string;
  multiply_adds_per_row: Record<string, number>;
  relative_flops: number;
}

interface CountedLayer {
  per_position: number;
  input_size: [number, number];
  output_size: [number, number];
  stride: number;
  counted: number;
  at_output_positions: number;
}

interface Resnet {
  width_init: string;
  per_kernel: boolean;
  dense_total: number;
  dense_by_operator: Record<string, number>;
  counted: number;
  "relative_to_1.82e9": number;
  counted_at_output_positions: number;
  layers: Record<string, CountedLayer>;
}

interface Flops {
  gpt2_small: { runs: RowCosts[] };
  gpt2_medium: { runs: RowCosts[] };
  vit_b_16_224: {
    dense: { all_parts: number; counted_total: number; formula_parts: Record<string, number> };
    gblr: {
      multiply_adds_per_row: Record<string, number>;
      counted: number;
      "relative_to_1.72e10": number;
      empty_fc1_and_v_in_block_0: { counted: number };
    };
  };
  resnet18_224: { runs: Resnet[] };
}

const path = new URL("../fixtures/structures/flops.json", import.meta.url);
const FLOPS: Flops = JSON.parse(readFileSync(path, "utf8"));

/** A model of this config.json, as far as counts need it. */
class Counting {
  readonly layers: LayerInfo[];
  private readonly architecture: Architecture;
  private readonly config: unknown;

  constructor(json: Record<string, unknown>) {
    this.architecture = architectureOfConfig(json);
    this.config = this.architecture.readConfig(json, "config");
    this.layers = layersOf(this.architecture, this.config);
  }

  count(costs: LayerCosts = {}): Counts {
    return countModel(this.architecture, this.config, costs);
  }
}

const GPT2 = { model_type: "gpt2", n_layer: 12, n_embd: 768, n_head: 12, n_positions: 1024, vocab_size: 50257 };
const GPT2_SMALL = new Counting(GPT2);
const GPT2_MEDIUM = new Counting({ ...GPT2, n_layer: 24, n_embd: 1024, n_head: 16 });
const VIT_B_16 = new Counting({ architecture: "vit_base_patch16_224", num_classes: 1000 });
const RESNET18_224 = new Counting({ architecture: "resnet18", num_classes: 1000 });

/** The same costs in every block: `attn.c_attn` for `h.3.attn.c_attn`. */
function everywhere(perRow: Record<string, number>, layers: readonly { name: string }[]): Record<string, number> {
  const costs: Record<string, number> = {};
  for (const { name } of layers) {
    const cost = perRow[name.split(".").slice(2).join(".")];
    if (cost !== undefined) {
      costs[name] = cost;
    }
  }
  return costs;
}

const expectRatio = (actual: number, expected: number) => expect(Math.abs(actual / expected - 1)).toBeLessThan(1e-6);

function expectSums(counts: Counts): void {
  for (const { parts, total } of [counts.reference, counts.actual]) {
    expect(Object.values(parts).reduce((sum, part) => sum + part, 0)).toBe(total);
  }
}

const gpt2Runs: [string, Counting, RowCosts][] = [
  ...FLOPS.gpt2_small.runs.map((run): [string, Counting, RowCosts] => [`small ${run.width_init}`, GPT2_SMALL, run]),
  ...FLOPS.gpt2_medium.runs.map((run): [string, Counting, RowCosts] => [`medium ${run.width_init}`, GPT2_MEDIUM, run]),
];

describe("GPT-2", () => {
  test.each(gpt2Runs)("%s costs the share that the reference gives", (_, model, run) => {
    const counts = model.count(everywhere(run.multiply_adds_per_row, model.layers));
    expectRatio(counts.reference.relative, run.relative_flops);
    expectSums(counts);
  });

  test("has the layers and the dense total of the published model", () => {
    const { layers } = GPT2_SMALL;
    expect(layers.length).toBe(48);
    expect(layers.reduce((sum, { nOut, nIn }) => sum + nOut * nIn, 0)).toBe(12 * 12 * 768 ** 2);
    const { reference, actual } = GPT2_SMALL.count();
    expect(reference.total).toBe(96636764160);
    expect(Object.keys(reference.parts).toSorted()).toEqual([
      "attention products, causal",
      "attention projections",
      "linears",
    ]);
    expect(actual.relative).toBe(1);
    // By hand: linears, two attention products, 25 normalizations, the head.
    const parts = [1024 * 144 * 768 ** 2, 2 * 12 * 1024 ** 2 * 768, 25 * 1024 * 768 * 5, 1024 * 768 * 50257];
    expect(actual.total).toBe(parts.reduce((sum, part) => sum + part, 0));
  });

  test("counts attention's projection as it is, where the reference takes it for dense", () => {
    const costs = { "h.3.attn.c_proj": 1000 };
    const [dense, one] = [GPT2_SMALL.count(), GPT2_SMALL.count(costs)];
    expect(one.reference.total).toBe(dense.reference.total);
    expect(dense.actual.total - one.actual.total).toBe(1024 * (768 ** 2 - 1000));
  });
});

describe("ViT-B/16", () => {
  const { dense, gblr } = FLOPS.vit_b_16_224;

  test("dense costs what the reference counts, and with all parts what it names", () => {
    const { reference, actual } = VIT_B_16.count();
    expect(reference.total).toBe(dense.counted_total);
    expect(actual.total).toBe(dense.all_parts);
    expect(Object.values(actual.parts).toSorted((a, b) => a - b)).toEqual(
      Object.values(dense.formula_parts).toSorted((a, b) => a - b),
    );
  });

  test("structured costs what the reference counts: patches for tokens, no attention product", () => {
    const costs = everywhere(gblr.multiply_adds_per_row, VIT_B_16.layers);
    const counts = VIT_B_16.count(costs);
    expect(counts.reference.total).toBe(gblr.counted);
    expectRatio(counts.reference.relative, gblr["relative_to_1.72e10"]);
    expectSums(counts);
    const rows = Object.values(costs).reduce((sum, cost) => sum + cost, 0);
    expect(counts.actual.total).toBe(
      gblr.counted + rows + 2 * (dense.formula_parts["attention scores (q k^T)"] as number),
    );
  });

  test("a block without values or hidden units costs the reference neither what feeds nor what follows them", () => {
    const costs = everywhere(gblr.multiply_adds_per_row, VIT_B_16.layers);
    const empty = VIT_B_16.count({ ...costs, "blocks.0.attn.v_proj": 0, "blocks.0.mlp.fc1": 0 });
    expect(empty.reference.total).toBe(gblr.empty_fc1_and_v_in_block_0.counted);
    const saved = 197 * ((costs["blocks.0.attn.v_proj"] as number) + (costs["blocks.0.mlp.fc1"] as number));
    expect(VIT_B_16.count(costs).actual.total - empty.actual.total).toBe(saved);
  });
});

describe("ResNet-18", () => {
  test.each(
    FLOPS.resnet18_224.runs.map((run): [string, Resnet] => [
      `${run.width_init} ${run.per_kernel ? "per kernel" : "integrated"}`,
      run,
    ]),
  )("%s costs what the reference counts at inputs, and what it names at outputs", (_, run) => {
    const costs: LayerCosts = Object.fromEntries(
      Object.entries(run.layers).map(([name, { per_position }]) => [name, per_position]),
    );
    const counts = RESNET18_224.count(costs);
    expect(counts.reference.total).toBe(run.counted);
    expectRatio(counts.reference.relative, run["relative_to_1.82e9"]);
    expect(counts.actual.total).toBe(run.counted_at_output_positions);
    expectSums(counts);
  });

  test("dense costs what the reference counts, operator by operator", () => {
    const [run] = FLOPS.resnet18_224.runs as [Resnet];
    const { reference, actual } = RESNET18_224.count();
    expect(reference.total).toBe(run.dense_total);
    expect(actual.total).toBe(run.dense_total);
    const { conv, batch_norm, avg_pool, linear } = run.dense_by_operator;
    expect(actual.parts).toMatchObject({ convolutions: conv, "batch norms": batch_norm, "average pool": avg_pool });
    expect(actual.parts.head).toBe(linear as number);
  });

  test("has the structured layers of the reference, at its sizes and costs", () => {
    const layers = new Map(RESNET18_224.layers.map((layer) => [layer.name, layer]));
    for (const { width_init, per_kernel, layers: counted } of FLOPS.resnet18_224.runs) {
      const share = Number(width_init.slice(2));
      for (const [name, expected] of Object.entries(counted)) {
        const { nIn, nOut, referenceRows, rows, convolution } = layers.get(name) as LayerInfo;
        expect({ referenceRows, rows, stride: convolution?.stride }).toEqual({
          referenceRows: expected.input_size[0] ** 2,
          rows: expected.output_size[0] ** 2,
          stride: expected.stride,
        });
        // lrR: R of all blocks at full width, each as many multiply-adds as both sides have samples.
        const [matrices, columns] = per_kernel ? [9, nIn / 9] : [1, nIn];
        const blocks = Math.floor(share * Math.min(columns, nOut));
        expect(matrices * blocks * (columns + nOut)).toBe(expected.per_position);
      }
    }
  });
});

describe("sizes beside the published ones", () => {
  test("ViT without a class token has as many rows as patches, a middle and a layer before the head of their own", () => {
    const sizes = { img_size: 8, in_chans: 1, embed_dim: 6, depth: 1, num_heads: 1, mlp_ratio: 10.5 / 6 };
    const model_args = { ...sizes, class_token: false, global_pool: "avg", representation_size: 5 };
    const { actual } = new Counting({ architecture: "vit_base_patch4_8", num_classes: 3, model_args }).count();
    expect(actual.parts).toEqual({
      "patch embedding": 4 * 6 * 16,
      "layer norms": 3 * 4 * 6 * 5,
      head: 6 * 5 + 5 * 3,
      linears: 4 * (4 * 36 + 2 * 60),
      "attention scores": 4 * 4 * 6,
      "attention values": 4 * 4 * 6,
    });
  });

  test("ResNet-34 has published multiply-adds, 3.66 G without normalizations", () => {
    const model = new Counting({ architecture: "resnet34", num_classes: 1000 });
    const { parts } = model.count().actual;
    expect(model.layers.length).toBe(36);
    expect(((parts.convolutions as number) + (parts.head as number)) / 1e9).toBeCloseTo(3.664, 2);
  });

  // torchvision's published figures: https://pytorch.org/vision/stable/models.html
  test.each([
    ["resnet50", 53, 4.089],
    ["resnet101", 104, 7.801],
    ["resnet152", 155, 11.514],
  ])("%s has %d convolutions and published multiply-adds, %d G without normalizations", (name, layers, published) => {
    const model = new Counting({ architecture: name, num_classes: 1000 });
    const { parts } = model.count().actual;
    expect(model.layers.length).toBe(layers);
    expect(((parts.convolutions as number) + (parts.head as number)) / 1e9).toBeCloseTo(published, 3);
    const { convolution, rows } = model.layers.find((layer) => layer.name === "layer2.0.conv2") as LayerInfo;
    expect({ rows, stride: convolution?.stride }).toEqual({ rows: 28 ** 2, stride: 2 });
  });

  test("MLP-Mixer-S/16 has published multiply-adds, 3.79 G, and its layers rows of their own", () => {
    const model = new Counting({ architecture: "mixer_s16_224", num_classes: 1000 });
    const { reference, actual } = model.count();
    expect(reference).toEqual(actual);
    const norms = actual.parts["layer norms"] as number;
    expect((actual.total - norms) / 1e9).toBeCloseTo(3.79, 1);
    const costs = { "blocks.0.mlp_tokens.fc1": 7, "blocks.7.mlp_channels.fc2": 11 };
    const saved = 512 * (196 * 256 - 7) + 196 * (2048 * 512 - 11);
    expect(actual.total - model.count(costs).actual.total).toBe(saved);
    expect(model.count(costs).actual.relative).toBe(1 - saved / actual.total);
  });
});

test("a cost for a layer that a model does not have is refused by name", () => {
  expect(() => GPT2_SMALL.count({ "h.12.mlp.c_fc": 1 })).toThrow(
    'GPT-2 has no layer "h.12.mlp.c_fc": there are 48, from h.0.attn.c_attn to h.11.mlp.c_proj; ' +
      "give costs by the names of its layers",
  );
  expect(() => VIT_B_16.count({ "blocks.0.attn.qkv": 1 })).toThrow('ViT has no layer "blocks.0.attn.qkv"');
  expect(() => RESNET18_224.count({ fc: 1 })).toThrow('ResNet has no layer "fc"');
});

test("a size that was not published is relative to the reference's own count of the dense model", () => {
  const tiny = new Counting({ ...GPT2, n_layer: 2, n_embd: 16, n_head: 2, n_positions: 12, vocab_size: 40 });
  expect(tiny.count().reference.relative).toBe(1);
  expect(GPT2_SMALL.count().reference.relative).toBe(96636764160 / 9.66e10);
  expect(new Counting({ ...GPT2, vocab_size: 1000 }).count().reference.relative).toBe(96636764160 / 9.66e10);
  expect(RESNET18_224.count().reference.relative).toBe(1819065856 / 1.82e9);
});
