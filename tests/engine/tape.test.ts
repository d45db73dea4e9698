// Gradients that free as they go: the numbers of tf.variableGrads, without its memory, and nothing left behind.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import {
  attention,
  crossEntropy,
  dropout,
  embedding,
  gelu,
  layerNorm,
  linear,
} from "../../workbench/engine/ops/index.ts";
import { valueAndGradients } from "../../workbench/engine/tfjs/tape.ts";
import { GblrMatrix } from "../../workbench/gblr/matrix.ts";
import { forEachEngine } from "./engines.ts";
import { expectClose, liveTensors, sample, sampleIds } from "./ops/operands.ts";

const [TOKENS, WIDTH, HEADS, CLASSES, BLOCKS] = [12, 16, 2, 24, 6];

function variable(seed: number, shape: number[], scale = 0.3): tf.Variable {
  return tf.tidy(() => tf.variable(tf.tensor(Float32Array.from(sample(seed, shape, scale).values), shape)));
}

/** A transformer block of all fused ops over a tied embedding, one of its layers a GBLR matrix. */
function network() {
  const parameters = {
    table: variable(1, [CLASSES, WIDTH]),
    gain: variable(2, [WIDTH], 1),
    shift: variable(3, [WIDTH]),
    qkv: variable(4, [WIDTH, 3 * WIDTH]),
    lr_weight1: variable(5, [BLOCKS, 1, WIDTH]),
    lr_weight2: variable(6, [BLOCKS, WIDTH, 1]),
    widths: tf.tidy(() => tf.variable(tf.fill([2, BLOCKS], 0.6))),
    locations: tf.tidy(() => tf.variable(tf.fill([2, BLOCKS], 0.3))),
    unused: variable(7, [3]),
  };
  const ids = tf.tensor1d(sampleIds(8, TOKENS, CLASSES), "int32");
  const targets = tf.tensor1d(sampleIds(9, TOKENS, CLASSES), "int32");
  const loss = () => {
    const { table, gain, shift, qkv } = parameters;
    const x = dropout(embedding(table, ids), { rate: 0.1, seed: 5 });
    const normed = layerNorm(x, gain, shift);
    const heads = tf.split(linear(normed, qkv, undefined, { layout: "in_out" }), 3, -1);
    const [q, k, v] = heads.map((part) =>
      tf.transpose(tf.reshape(part, [1, TOKENS, HEADS, WIDTH / HEADS]), [0, 2, 1, 3]),
    ) as [tf.Tensor, tf.Tensor, tf.Tensor];
    const attended = tf.reshape(tf.transpose(attention(q, k, v, { causal: true }), [0, 2, 1, 3]), [TOKENS, WIDTH]);
    const hidden = tf.add(x, gelu(new GblrMatrix(parameters, { sigma: 8 }).apply(attended)));
    return tf.mean(crossEntropy(linear(hidden, table), targets)) as tf.Scalar;
  };
  const variables = Object.values(parameters);
  return { parameters, variables, loss, dispose: () => tf.dispose([ids, targets, ...variables]) };
}

/** Every number of a value and its gradients, by the variables' order; nothing where there is no gradient. */
async function numbers(value: tf.Tensor, gradients: (tf.Tensor | undefined)[]): Promise<number[][]> {
  const read = async (tensor: tf.Tensor | undefined) => (tensor ? Array.from(await tensor.data()) : []);
  return Promise.all([value, ...gradients].map(read));
}

async function fromTfjs(loss: () => tf.Scalar, variables: tf.Variable[]): Promise<number[][]> {
  const { value, grads } = tf.variableGrads(loss, variables);
  const found = await numbers(
    value,
    variables.map(({ name }) => grads[name]),
  );
  tf.dispose([value, grads]);
  return found;
}

async function fromOurs(...call: Parameters<typeof valueAndGradients>): Promise<number[][]> {
  const { value, gradients } = valueAndGradients(...call);
  const found = await numbers(
    value,
    call[1].map((variable) => gradients.get(variable)),
  );
  tf.dispose([value, ...gradients.values()]);
  return found;
}

type Gauge = () => number;
const buffersAlive: Gauge = () => tf.memory().numDataBuffers;

/** x itself; at its gradient's turn, the gauge is read. */
const probe = (x: tf.Tensor, seen: number[], gauge: Gauge = buffersAlive): tf.Tensor =>
  tf.customGrad((input) => ({
    value: (input as tf.Tensor).clone(),
    gradFunc: (dy: tf.Tensor) => {
      seen.push(gauge());
      return dy.clone();
    },
  }))(x);

/** A deep network of residual layers, a probe before each. */
function deep(depth: number, { rows, width, gauge }: { rows: number; width: number; gauge?: Gauge }) {
  const weights = Array.from({ length: depth }, (_, i) => variable(i, [width, width], 0.3 / Math.sqrt(width)));
  const x = tf.tensor(Float32Array.from(sample(99, [rows, width]).values), [rows, width]);
  const seen: number[] = [];
  const layer = (h: tf.Tensor, weight: tf.Tensor) => tf.add(h, linear(h, weight, undefined, { activation: "gelu" }));
  const through = (h: tf.Tensor, weight: tf.Variable) => tf.tidy(() => layer(probe(h, seen, gauge), weight));
  const loss = () => tf.mean(tf.square(weights.reduce<tf.Tensor>(through, x))) as tf.Scalar;
  return { weights, x, seen, layer, loss, dispose: () => tf.dispose([x, ...weights]) };
}

forEachEngine("valueAndGradients", (engine) => {
  test.each(["out_in", "in_out"] as const)(
    "gradients of a variable that was computed from others are passed on to these, layout %s",
    async (layout) => {
      const [a, b, x] = [variable(41, [WIDTH, 3]), variable(42, [3, WIDTH]), variable(43, [TOKENS, WIDTH])];
      const merged = tf.tidy(() => tf.variable(tf.matMul(a, b), true));
      const before = liveTensors();
      // The matrix is used twice, so that its parts are summed.
      const loss = (weight: tf.Tensor) =>
        tf.sum(tf.square(linear(gelu(linear(x, weight, undefined, { layout })), weight, undefined, { layout })));
      const whole = (gradient: tf.Tensor): [tf.Variable, tf.Tensor][] => [
        [a, tf.matMul(gradient, b, false, true)],
        [b, tf.matMul(a, gradient, true)],
      ];
      const product = (left: tf.Tensor2D, right: tf.Tensor2D): [tf.Variable, tf.Tensor][] => [
        [a, tf.matMul(left, tf.matMul(right, b, false, true), true)],
        [b, tf.matMul(tf.matMul(left, a), right, true)],
      ];
      const expected = await fromTfjs(() => loss(tf.matMul(a, b)) as tf.Scalar, [a, b, x]);
      for (const passOn of [{ whole }, { whole: () => [], product }]) {
        const options = { through: new Map([[merged, passOn]]) };
        const found = await fromOurs(() => loss(merged) as tf.Scalar, [a, b, x], options);
        for (const [i, numbers] of found.entries()) expectClose(numbers, expected[i] as number[], { tolerance: 1e-5 });
      }
      expect(liveTensors()).toEqual(before);
      tf.dispose([a, b, x, merged]);
    },
  );

  test("gives the numbers of tf.variableGrads bit by bit and leaves no tensor", async () => {
    const { variables, loss, dispose } = network();
    const expected = await fromTfjs(loss, variables);
    const before = liveTensors();
    const actual = await fromOurs(loss, variables);
    expect(liveTensors()).toEqual(before);
    expect(actual).toEqual(expected);
    expect(actual.at(-1)).toEqual([]);
    expect(actual[1]?.some((value) => value !== 0)).toBe(true);
    dispose();
  });

  test("holds ever less as it walks back, where tfjs holds ever more", () => {
    const { weights, seen, loss, dispose } = deep(12, { rows: 4, width: 8 });
    const walk = (run: () => void) => {
      seen.length = 0;
      run();
      return [...seen];
    };
    const tfjs = walk(() => tf.dispose(tf.variableGrads(loss, weights) as unknown as tf.TensorContainer));
    const ours = walk(() => {
      const { value, gradients } = valueAndGradients(loss, weights);
      tf.dispose([value, ...gradients.values()]);
    });
    // nothing is learned before the first probe
    expect(ours.length).toBe(11);
    expect(tfjs.at(-1)).toBeGreaterThan((tfjs[0] as number) + 11);
    for (let i = 1; i < 11; i++) expect(ours[i]).toBeLessThan(ours[i - 1] as number);
    dispose();
  });

  test("peaks near the activations alone, at about half of what tfjs needs", () => {
    if (engine().memory() === undefined) return;
    const [depth, rows, width] = [24, 512, 256];
    const gauge = () => engine().memory()?.inUse as number;
    const { weights, seen, loss, dispose } = deep(depth, { rows, width, gauge });
    const peakOf = (run: () => tf.Tensor[]) => {
      const before = gauge();
      seen.length = 0;
      tf.dispose(run());
      return Math.max(...seen) - before;
    };
    const ours = peakOf(() => {
      const { value, gradients } = valueAndGradients(loss, weights);
      return [value, ...gradients.values()];
    });
    const tfjs = peakOf(() => {
      const { value, grads } = tf.variableGrads(loss, weights);
      return [value, ...Object.values(grads)];
    });
    // of each layer: its input, its preactivation and its gelu are alive in the forward pass; its weight's gradient after
    const [activations, gradients] = [depth * 3 * rows * width * 4, depth * width * width * 4];
    console.log(`peak of ${depth} layers: ${(ours / 1e6).toFixed(1)} MB, tfjs ${(tfjs / 1e6).toFixed(1)} MB`);
    expect(ours).toBeLessThan(1.1 * (activations + gradients));
    expect(tfjs).toBeGreaterThan(1.6 * ours);
    dispose();
  });

  test("leaves no tensor when the loss throws, not even what a failing operation had saved", () => {
    const { variables, loss, dispose } = network();
    const fail = (): never => {
      throw new Error("on purpose");
    };
    const failLate = () => {
      loss();
      return fail();
    };
    const failing = tf.customGrad((x, save) => {
      (save as tf.GradSaveFunc)([x as tf.Tensor]);
      return fail();
    });
    const before = liveTensors();
    for (const broken of [failLate, () => failing(loss()) as tf.Scalar]) {
      const onto = new Map(variables.slice(0, 2).map((variable) => [variable, tf.zerosLike(variable)]));
      expect(() => valueAndGradients(broken, variables, { onto })).toThrow("on purpose");
      expect(liveTensors()).toEqual(before);
    }
    const unbroken = valueAndGradients(loss, variables);
    tf.dispose([unbroken.value, ...unbroken.gradients.values()]);
    expect(liveTensors()).toEqual(before);
    dispose();
  });

  test("leaves no tensor when an operation has no gradient, and names it", () => {
    const x = variable(1, [4]);
    const before = liveTensors();
    const broken = () => tf.sum(tf.mul(tf.cumprod(tf.square(x)), x)) as tf.Scalar;
    expect(() => valueAndGradients(broken, [x])).toThrow('operation "Cumprod" has no gradient');
    expect(liveTensors()).toEqual(before);
    x.dispose();
  });

  test("adds to gradients that are there and uses them up", async () => {
    const { variables, loss, dispose } = network();
    const alone = await fromOurs(loss, variables);
    const before = liveTensors();
    const first = valueAndGradients(loss, variables);
    first.value.dispose();
    const both = await fromOurs(loss, variables, { onto: first.gradients });
    expect(liveTensors()).toEqual(before);
    // Exactly: the table, which is used twice, is summed for itself before it is added, as the ranks of a run do.
    expect(both.slice(1)).toEqual(alone.slice(1).map((single) => single.map((value) => 2 * value)));
    dispose();
  });

  test("hands over the same gradients as soon as no operation adds to them", async () => {
    const { variables, loss, dispose } = network();
    const expected = await fromOurs(loss, variables);
    const before = liveTensors();
    const taken = new Map<tf.Variable, tf.Tensor>();
    const { value, gradients } = valueAndGradients(loss, variables, {
      take: (variable, gradient) => void taken.set(variable, gradient),
    });
    expect(gradients.size).toBe(0);
    expect(taken.size).toBe(variables.length - 1);
    expect(
      await numbers(
        value,
        variables.map((variable) => taken.get(variable)),
      ),
    ).toEqual(expected);
    tf.dispose([value, ...taken.values()]);
    expect(liveTensors()).toEqual(before);
    dispose();

    // A probe stands before each layer; there, the weights from this layer on have been handed over. None is before the first.
    const handed: tf.Tensor[] = [];
    const net = deep(5, { rows: 4, width: 6, gauge: () => handed.length });
    const found = valueAndGradients(net.loss, net.weights, { take: (_, gradient) => void handed.push(gradient) });
    expect(net.seen).toEqual([1, 2, 3, 4]);
    tf.dispose([found.value, ...handed]);
    net.dispose();
  });

  test("keeps tensors apart that a gradient function gives twice, or that are not its own", async () => {
    const [a, b] = [variable(1, [5]), variable(2, [5])];
    const constant = tf.ones([5]);
    const shared = tf.customGrad((x, y) => ({
      value: tf.add(x as tf.Tensor, y as tf.Tensor),
      gradFunc: (dy: tf.Tensor) => [dy, dy],
    }));
    const foreign = tf.customGrad((x) => ({
      value: (x as tf.Tensor).clone(),
      gradFunc: () => constant,
    }));
    const loss = () => tf.sum(tf.add(shared(a, b), foreign(tf.add(shared(b, a), a)))) as tf.Scalar;
    const before = liveTensors();
    expect(await fromOurs(loss, [a, b])).toEqual(await fromTfjs(loss, [a, b]));
    expect(liveTensors()).toEqual(before);
    expect(constant.isDisposed).toBe(false);
    tf.dispose([a, b, constant]);
  });

  test("passes over variables that do not learn, and takes a variable for a loss", async () => {
    const frozen = tf.tidy(() => tf.variable(tf.scalar(3), false));
    const x = tf.tidy(() => tf.variable(tf.scalar(2)));
    const product = valueAndGradients(() => tf.mul(x, frozen) as tf.Scalar, [x, frozen]);
    expect([...product.gradients.keys()]).toEqual([x]);
    expect(await numbers(product.value, [product.gradients.get(x)])).toEqual([[6], [3]]);
    const itself = valueAndGradients(() => x as unknown as tf.Scalar, [x]);
    expect(await numbers(itself.value, [itself.gradients.get(x)])).toEqual([[2], [1]]);
    tf.dispose([product.value, itself.value, ...product.gradients.values(), ...itself.gradients.values()]);
    expect(x.isDisposed).toBe(false);
    tf.dispose([x, frozen]);
  });

  test("refuses a loss that is no scalar, one that depends on nothing, and gradients of gradients", () => {
    const x = variable(1, [3]);
    const before = liveTensors();
    expect(() => valueAndGradients(() => tf.square(x) as unknown as tf.Scalar, [x])).toThrow(
      "loss must be float32 (), got float32 (3)",
    );
    expect(() => valueAndGradients(() => tf.scalar(1), [x])).toThrow("the loss depends on no trainable variable");
    expect(() => tf.grad((y) => valueAndGradients(() => tf.sum(y) as tf.Scalar, [x]).value)(x)).toThrow(
      "gradients of gradients",
    );
    expect(liveTensors()).toEqual(before);
    x.dispose();
  });
});
