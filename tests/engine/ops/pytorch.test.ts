// The ops against numbers that PyTorch gave, from tests/fixtures/engine/ops.json (reference.py there tells how): values,
// gradients, and six clipped steps of torch.optim.AdamW. No PyTorch is needed to run it.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import {
  adamwStep,
  attention,
  crossEntropy,
  embedding,
  type GateActivation,
  type GeluForm,
  gatedActivation,
  gelu,
  layerNorm,
  linear,
  rmsNorm,
  rotary,
} from "../../../workbench/engine/ops/index.ts";
import fixture from "../../fixtures/engine/ops.json" with { type: "json" };
import { forEachEngine } from "../engines.ts";
import { expectClose, read, toTensor } from "./operands.ts";

interface Stored {
  shape: number[];
  values: number[];
}

interface Case {
  operands: Record<string, Stored>;
  dy: number[];
  y: number[];
  gradients: Record<string, number[]>;
}

/** Runs `op` on a case's operands, in the fixture's order. */
async function check(stored: Case, op: (...operands: tf.Tensor[]) => tf.Tensor): Promise<void> {
  const operands = Object.values(stored.operands).map(toTensor);
  const y = op(...operands);
  const dy = tf.tensor(stored.dy, y.shape, "float32");
  const { value, grads } = tf.valueAndGrads(op)(operands, dy);
  expectClose(await read(y), stored.y);
  expectClose(await read(value), stored.y);
  for (const [i, gradient] of Object.values(stored.gradients).entries()) {
    expectClose(await read(grads[i] as tf.Tensor), gradient);
  }
  tf.dispose([operands, y, dy, value, grads]);
}

/** The fixture's keys name every operand, but each case has its own: as a record for all. */
const asCase = (stored: object): Case => stored as Case;

forEachEngine("PyTorch's numbers", () => {
  test("for gelu", async () => {
    for (const stored of fixture.gelu) {
      const approximate = stored.settings.approximate as GeluForm;
      await check(asCase(stored), (x) => gelu(x as tf.Tensor, { approximate }));
    }
  });

  test("for linear", async () => {
    await check(asCase(fixture.linear), (x, weight, bias) => linear(x as tf.Tensor, weight as tf.Tensor, bias));
  });

  test("for layer_norm", async () => {
    const { epsilon } = fixture.layerNorm.settings;
    await check(asCase(fixture.layerNorm), (x, gain, bias) =>
      layerNorm(x as tf.Tensor, gain as tf.Tensor, bias as tf.Tensor, { epsilon }),
    );
  });

  test("for cross_entropy, its ignored rows and its smoothing", async () => {
    for (const stored of fixture.crossEntropy) {
      const targets = tf.tensor1d(stored.targets, "int32");
      await check(asCase(stored), (logits) => crossEntropy(logits as tf.Tensor, targets, stored.settings));
      targets.dispose();
    }
  });

  test("for embedding", async () => {
    const ids = tf.tensor2d(fixture.embedding.ids, undefined, "int32");
    await check(asCase(fixture.embedding), (table) => embedding(table as tf.Tensor, ids));
    ids.dispose();
  });

  test("for rms_norm", async () => {
    const { epsilon } = fixture.rmsNorm.settings;
    await check(asCase(fixture.rmsNorm), (x, gain) => rmsNorm(x as tf.Tensor, gain as tf.Tensor, { epsilon }));
  });

  test("for rotary positions as Hugging Face's models apply them, whole and partial", async () => {
    for (const stored of fixture.rotary) {
      const [cos, sin] = [toTensor(stored.cos), toTensor(stored.sin)];
      await check(asCase(stored), (x) => rotary(x as tf.Tensor, cos, sin));
      tf.dispose([cos, sin]);
    }
  });

  test("for silu and gelu as gates", async () => {
    for (const stored of fixture.gatedActivation) {
      const activation = stored.settings.activation as GateActivation;
      await check(asCase(stored), (gate, up) => gatedActivation(gate as tf.Tensor, up as tf.Tensor, activation));
    }
  });

  test("for scaled_dot_product_attention with shared keys and a window", async () => {
    for (const stored of fixture.groupedAttention) {
      const { window } = stored.settings;
      await check(asCase(stored), (q, k, v) =>
        attention(q as tf.Tensor, k as tf.Tensor, v as tf.Tensor, { causal: true, window }),
      );
    }
  });

  test("for AdamW with two groups and clip_grad_norm_", async () => {
    const { clipNorm, groups, steps } = fixture.adamw;
    const variables = (stored: Stored[], fill: (stored: Stored) => Stored) =>
      stored.map((each) => tf.tidy(() => tf.variable(toTensor(fill(each)))));
    const zeros = ({ shape, values }: Stored) => ({ shape, values: values.map(() => 0) });
    const live = groups.map(({ parameters, betas, ...settings }) => ({
      ...settings,
      betas: betas as [number, number],
      parameters: variables(parameters, (stored) => stored),
      firstMoments: variables(parameters, zeros),
      secondMoments: variables(parameters, zeros),
    }));
    for (const [at, { gradients, norm, parameters }] of steps.entries()) {
      const given = gradients.values();
      const withGradients = live.map((group) => ({
        ...group,
        gradients: group.parameters.map(({ shape }) => toTensor({ shape, values: given.next().value as number[] })),
      }));
      const reported = adamwStep(withGradients, { step: at + 1, clipNorm });
      expectClose(await read(reported), [norm]);
      const all = live.flatMap((group) => group.parameters);
      expect(all.length).toBe(parameters.length);
      for (const [i, expected] of parameters.entries()) {
        expectClose(await read(all[i] as tf.Tensor), expected);
      }
      tf.dispose([reported, withGradients.map((group) => group.gradients)]);
    }
    tf.dispose(live.map(({ parameters, firstMoments, secondMoments }) => [parameters, firstMoments, secondMoments]));
  });
});
