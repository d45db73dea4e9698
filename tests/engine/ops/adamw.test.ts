// adamwStep against float64 over twenty steps: groups, clipping, betas of zero; in place without touching copies.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { type AdamwGroup, adamwStep, gradientNorm } from "../../../workbench/engine/ops/index.ts";
import { forEachEngine } from "../engines.ts";
import { type AdamwSettings, type AdamwState, adamw, norm } from "./float64-adamw.ts";
import { expectClose, expectRefusal, liveTensors, type Operand, read, sample, toTensor } from "./operands.ts";

const DEFAULTS: AdamwSettings = { learningRate: 0.01, betas: [0.9, 0.999], epsilon: 1e-8, weightDecay: 0.1 };

/** A group on the engine, and the same in float64. */
interface Twin {
  group: AdamwGroup;
  states: AdamwState[];
  settings: AdamwSettings;
}

const variable = (operand: Operand): tf.Variable => tf.tidy(() => tf.variable(toTensor(operand)));

function twin(shapes: number[][], settings: AdamwSettings, seed: number): Twin {
  const operands = shapes.map((shape, i) => sample(seed + i, shape));
  const zeros = () => operands.map(({ shape, values }) => variable({ shape, values: new Float64Array(values.length) }));
  const states = operands.map(({ values }) => ({
    parameter: values.slice(),
    first: new Float64Array(values.length),
    second: new Float64Array(values.length),
  }));
  const moments = { firstMoments: zeros(), secondMoments: zeros() };
  const group = { parameters: operands.map(variable), gradients: [], ...moments, ...settings };
  return { group, states, settings };
}

const disposeTwin = ({ group }: Twin): void =>
  tf.dispose([...group.parameters, ...group.firstMoments, ...group.secondMoments, ...group.gradients]);

/** One step of both, on the same gradients; the norms agree. */
async function stepBoth(twins: Twin[], step: number, clipNorm?: number): Promise<void> {
  const gradients = twins.map(({ group }, g) =>
    group.parameters.map(({ shape }, i) => sample(1000 * step + 10 * g + i, shape, 2)),
  );
  const total = norm(gradients.flat().map(({ values }) => values));
  const factor = clipNorm === undefined ? 1 : Math.min(1, clipNorm / (total + 1e-6));
  const before = liveTensors();
  const groups = twins.map(({ group }, g) => ({ ...group, gradients: (gradients[g] as Operand[]).map(toTensor) }));
  const reported = adamwStep(groups, clipNorm === undefined ? { step } : { step, clipNorm });
  expectClose(await read(reported), [total]);
  tf.dispose([reported, ...groups.flatMap((group) => group.gradients)]);
  expect(liveTensors()).toEqual(before);
  twins.forEach(({ states, settings }, g) => {
    states.forEach((state, i) => {
      const { values } = (gradients[g] as Operand[])[i] as Operand;
      adamw(
        state,
        values.map((value) => value * factor),
        { ...settings, step },
      );
    });
  });
}

async function expectSame({ group, states }: Twin): Promise<void> {
  for (const [i, state] of states.entries()) {
    expectClose(await read(group.parameters[i] as tf.Variable), state.parameter);
    expectClose(await read(group.firstMoments[i] as tf.Variable), state.first);
    expectClose(await read(group.secondMoments[i] as tf.Variable), state.second);
  }
}

forEachEngine("adamwStep", () => {
  for (const clipNorm of [undefined, 1.5]) {
    test(`follows float64 for twenty steps of two groups, ${clipNorm ? "clipped" : "not clipped"}`, async () => {
      const twins = [
        twin([[3, 5], [7], []], DEFAULTS, 1),
        twin([[2, 3, 4]], { learningRate: 0.003, betas: [0.8, 0.95], epsilon: 1e-6, weightDecay: 0 }, 50),
      ];
      for (let step = 1; step <= 20; step++) {
        await stepBoth(twins, step, clipNorm);
      }
      for (const each of twins) {
        await expectSame(each);
        disposeTwin(each);
      }
    });
  }

  test("takes a first beta of zero", async () => {
    const one = twin([[4, 3]], { ...DEFAULTS, betas: [0, 0.999] }, 1);
    for (let step = 1; step <= 5; step++) {
      await stepBoth([one], step);
    }
    await expectSame(one);
    disposeTwin(one);
  });

  test("takes large parameters, empty ones, and a group of none", async () => {
    const twins = [
      twin(
        [
          [300, 251],
          [0, 4],
        ],
        DEFAULTS,
        1,
      ),
      twin([], DEFAULTS, 1),
    ];
    await stepBoth(twins, 1, 3);
    await stepBoth(twins, 2, 3);
    for (const each of twins) {
      await expectSame(each);
      disposeTwin(each);
    }
  });

  test("clips some of the gradients by the norm of all, to the bits that they have in a step of all", async () => {
    const [whole, part] = [0, 1].map(() => twin([[3, 5], [7], [40, 33]], DEFAULTS, 1)) as [Twin, Twin];
    const gradients = whole.group.parameters.map(({ shape }, i) => toTensor(sample(i, shape, 2)));
    const reported = adamwStep([{ ...whole.group, gradients }], { step: 1, clipNorm: 0.5 });
    const own = (list: tf.Variable[]) => [list[0], list[2]] as tf.Variable[];
    const { parameters, firstMoments, secondMoments } = part.group;
    const some = adamwStep(
      [
        {
          ...part.group,
          parameters: own(parameters),
          gradients: [gradients[0], gradients[2]] as tf.Tensor[],
          firstMoments: own(firstMoments),
          secondMoments: own(secondMoments),
        },
      ],
      { step: 1, clipNorm: 0.5, clipped: gradients },
    );
    expect(await read(some)).toEqual(await read(reported));
    for (const lists of [({ group }: Twin) => group.parameters, ({ group }: Twin) => group.secondMoments]) {
      for (const i of [0, 2]) {
        expect(await read(lists(part)[i] as tf.Variable)).toEqual(await read(lists(whole)[i] as tf.Variable));
      }
    }
    expect(await read(secondMoments[1] as tf.Variable)).toEqual(new Float32Array(7));
    tf.dispose([reported, some, ...gradients]);
    for (const each of [whole, part]) disposeTwin(each);
  });

  test("leaves the gradients as they are, and gradients below the norm unscaled", async () => {
    const one = twin([[4]], DEFAULTS, 1);
    const gradient = tf.tensor1d([1, -2, 3, -4]);
    adamwStep([{ ...one.group, gradients: [gradient] }], { step: 1, clipNorm: 100 }).dispose();
    expect(Array.from(await read(gradient))).toEqual([1, -2, 3, -4]);
    adamw(one.states[0] as AdamwState, Float64Array.of(1, -2, 3, -4), { ...DEFAULTS, step: 1 });
    await expectSame(one);
    gradient.dispose();
    disposeTwin(one);
  });

  test("changes no tensor that was copied, reshaped or sliced from a parameter before", async () => {
    const start = tf.tensor2d([
      [1, 2],
      [3, 4],
    ]);
    const parameter = tf.variable(start);
    const copies = [
      tf.clone(parameter),
      tf.reshape(parameter, [4]),
      tf.transpose(parameter),
      tf.slice(parameter, [1, 0], [1, 2]),
    ];
    const seen = await Promise.all([start, ...copies].map(read));
    const moments = [tf.variable(tf.zerosLike(start)), tf.variable(tf.zerosLike(start))] as const;
    const group = { ...DEFAULTS, firstMoments: [moments[0]], secondMoments: [moments[1]] };
    for (let step = 1; step <= 2; step++) {
      const gradient = tf.onesLike(start);
      adamwStep([{ ...group, parameters: [parameter], gradients: [gradient] }], { step }).dispose();
      gradient.dispose();
    }
    expect(await Promise.all([start, ...copies].map(read))).toEqual(seen);
    expect(await read(parameter)).not.toEqual(seen[0] as Float32Array);
    tf.dispose([start, parameter, ...copies, ...moments]);
  });

  test("takes parameters and gradients that are views of other tensors", async () => {
    const one = twin([[2, 3]], DEFAULTS, 1);
    const values = (one.states[0] as AdamwState).parameter;
    const parameter = tf.tidy(() => tf.variable(tf.transpose(tf.transpose(toTensor({ shape: [2, 3], values })))));
    const turned = tf.tidy(() => tf.variable(tf.transpose(tf.reshape(toTensor({ shape: [2, 3], values }), [3, 2]))));
    for (const start of [parameter, turned]) {
      const expected = Float64Array.from(await read(start));
      const state = { parameter: expected, first: new Float64Array(6), second: new Float64Array(6) };
      const gradient = tf.tidy(() => tf.transpose(tf.tensor2d([1, 2, 3, 4, 5, 6], [3, 2])));
      const moments = [tf.variable(tf.zeros([2, 3])), tf.variable(tf.zeros([2, 3]))] as const;
      const lists = { parameters: [start], firstMoments: [moments[0]], secondMoments: [moments[1]] };
      adamwStep([{ ...DEFAULTS, ...lists, gradients: [gradient] }], { step: 1 }).dispose();
      adamw(state, Float64Array.of(1, 3, 5, 2, 4, 6), { ...DEFAULTS, step: 1 });
      expectClose(await read(start), state.parameter);
      tf.dispose([gradient, start, ...moments]);
    }
    disposeTwin(one);
  });

  test("gives the norm over all gradients", async () => {
    const gradients = [sample(1, [3, 4]), sample(2, [5]), sample(3, [])];
    const tensors = gradients.map(toTensor);
    const result = gradientNorm(tensors);
    const nothing = gradientNorm([]);
    expectClose(await read(result), [norm(gradients.map(({ values }) => values))]);
    expect(Array.from(await read(nothing))).toEqual([0]);
    tf.dispose([result, nothing, ...tensors]);
  });

  test("names what does not fit", () => {
    const parameter = tf.variable(tf.ones([2]), true, "adamw-test");
    const moment = tf.variable(tf.zeros([2]));
    const [gradient, wrong] = [tf.ones([2]), tf.ones([3])];
    const moments = { firstMoments: [moment], secondMoments: [moment] };
    const group: AdamwGroup = { ...DEFAULTS, ...moments, parameters: [parameter], gradients: [gradient] };
    const refuse = (change: Partial<AdamwGroup>, message: string) =>
      expectRefusal(() => adamwStep([group, { ...group, ...change }], { step: 1 }), `adamwStep: ${message}`);
    refuse({ gradients: [] }, "group 1 must have as many gradients as parameters, got 0 for 1");
    refuse({ gradients: [wrong] }, "gradients[0] of adamw-test must be float32 (2), got float32 (3)");
    refuse({ betas: [0.9, 1] }, "betas must be each at least 0 and below 1, got 0.9,1");
    refuse({ learningRate: Number.NaN }, "learningRate must be a number of at least 0, got NaN");
    refuse({ epsilon: -1 }, "epsilon must be a number of at least 0, got -1");
    refuse({ weightDecay: -1 }, "weightDecay must be a number of at least 0, got -1");
    expectRefusal(() => adamwStep([group], { step: 0 }), "adamwStep: step must be an integer of at least 1, got 0");
    expectRefusal(
      () => adamwStep([group], { step: 1, clipNorm: 0 }),
      "adamwStep: clipNorm must be a number above 0, got 0",
    );
    tf.dispose([parameter, moment, gradient, wrong]);
  });
});
