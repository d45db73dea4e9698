// The two forward passes of a sequential calibration, of the dense model and of the one whose first layers have their new
// matrices, step by step over all inputs. The state of each input is kept, so no step runs from the beginning again.
// Both passes multiply by dense matrices, whatever the structure of the new layers is. The weights of a step are
// disposed of when a pass has left it.

import { clone, keep, type Tensor, type Tensor2D, tidy } from "@tensorflow/tfjs-core";
import type { Step, Stepwise } from "../architectures/task.ts";
import { EngineError } from "../engine/core/errors.ts";
import { replaceLayer } from "../models/index.ts";
import type { Model } from "../models/model.ts";
import { dense } from "../structures/dense.ts";

/** Layers that get the same tensor. */
export interface SharedInput {
  /** names of the layers, in the order in which they run */
  layers: string[];
  nIn: number;
}

/** Inputs that do not depend on each other's layers, such as those of the positions of one convolution. */
export interface InputGroup {
  /** number of the step in which they occur */
  step: number;
  inputs: SharedInput[];
  /** whether it is the last group of its step */
  isLast: boolean;
}

/** Thrown by an observer that has seen all it needs. */
class PassEnd extends Error {}

/** A forward pass over all inputs, which is at the same step for each of them. Must be disposed of. */
export class Stream {
  /** the step that runs next */
  at = 0;
  /** the state of each input before that step */
  states: Tensor[] = [];
  private readonly model: Model;
  private readonly stepwise: Stepwise;
  /** layers by step */
  private readonly layers: readonly (readonly string[])[];

  /** @param model belongs to the stream, which disposes of it */
  constructor(model: Model, { stepwise, groups }: { stepwise: Stepwise; groups: readonly InputGroup[] }) {
    [this.model, this.stepwise] = [model, stepwise];
    const steps = 1 + Math.max(0, ...groups.map(({ step }) => step));
    this.layers = Array.from({ length: steps }, (_, at) =>
      groups.filter(({ step }) => step === at).flatMap(({ inputs }) => inputs.flatMap(({ layers }) => layers)),
    );
  }

  /** Replaces the matrix of a layer. @param matrix float32 (n_out, n_in), which still belongs to the caller */
  replace(name: string, matrix: Tensor2D): void {
    if (this.model.layers.has(name)) replaceLayer(this.model, name, dense, { weight: clone(matrix) });
  }

  /** Runs the next step for one input. @returns the next state, which the caller disposes of */
  next(index: number): Tensor {
    return tidy(() => keep(clone(this.step(index))));
  }

  /**
   * The inputs of a group of layers in the next step, for one input of the model.
   * @param isWhole whether the step runs to its end; else it ends as soon as the inputs are known
   * @returns tensors in the order of `group.inputs` and, if the step ran to its end, the next state. The caller disposes
   *   of them
   */
  observe(index: number, group: InputGroup, isWhole: boolean): { seen: Tensor[]; next: Tensor | undefined } {
    const found = new Map<string, Tensor>();
    const first = new Set(group.inputs.map(({ layers }) => layers[0]));
    this.model.observer = (name, x) => {
      if (!first.has(name)) return;
      found.set(name, keep(clone(x)));
      if (!isWhole && found.size === first.size) throw new PassEnd();
    };
    let next: Tensor | undefined;
    try {
      next = this.next(index);
    } catch (error) {
      if (!(error instanceof PassEnd)) {
        for (const tensor of found.values()) tensor.dispose();
        throw error;
      }
    } finally {
      this.model.observer = undefined;
    }
    return { seen: group.inputs.map(({ layers: [name] }) => found.get(name as string) as Tensor), next };
  }

  /** Goes on to the next step. @param states of all inputs after this step; those before it are disposed of */
  advance(states: Tensor[]): void {
    for (const state of this.states) state.dispose();
    this.states = states;
    for (const name of this.layers[this.at] ?? []) this.forget(`${name}.weight`);
    this.at++;
  }

  /** Takes over copies of the states of another stream that has computed the same. */
  follow({ at, states }: Stream): void {
    const copies = states.map((state) => keep(clone(state)));
    while (this.at < at) this.advance([]);
    for (const state of this.states) state.dispose();
    this.states = copies;
  }

  dispose(): void {
    for (const state of this.states) state.dispose();
    this.states = [];
    this.model.dispose();
  }

  private step(index: number): Tensor {
    const state = this.states[index] as Tensor;
    return (this.stepwise.steps(this.model, state)[this.at] as Step)(state);
  }

  private forget(parameter: string): void {
    this.model.parameters.get(parameter)?.dispose();
    this.model.parameters.delete(parameter);
  }
}

/**
 * The steps of a model's forward pass: those of its architecture, or a single one, the whole pass.
 * @param forward the whole forward pass
 */
export function stepsOf(model: Model, forward: (model: Model, input: Tensor) => Tensor): Stepwise {
  const whole: Stepwise = {
    start: (_, input) => clone(input),
    steps: (stepped) => [(input) => forward(stepped as Model, input)],
  };
  return model.architecture.task.stepwise ?? whole;
}

/**
 * The groups of layers with the same input, in the order in which they run, found by one pass.
 * @param names of the layers to group
 * @param start state before the first step
 * @throws EngineError if a layer does not run
 */
export function groupsOf(
  model: Model,
  { names, stepwise, start }: { names: readonly string[]; stepwise: Stepwise; start: Tensor },
): InputGroup[] {
  const wanted = new Set(names);
  const groups: (InputGroup & { of: number | string })[] = [];
  let step = 0;
  model.observer = (name, x) => {
    if (!wanted.delete(name)) return;
    // All positions of a convolution run together, each with an input of its own.
    const { nIn, position } = model.layer(name);
    const of = position?.of ?? x.id;
    const group = groups.find((known) => known.step === step && known.of === of);
    if (!group) groups.push({ step, of, inputs: [{ layers: [name], nIn }], isLast: false });
    else if (position) group.inputs.push({ layers: [name], nIn });
    else group.inputs[0]?.layers.push(name);
  };
  try {
    tidy(() => {
      let state = start;
      const steps = stepwise.steps(model, start);
      for (; step < steps.length && wanted.size > 0; step++) {
        const run = steps[step] as Step;
        state = tidy(() => run(state));
      }
    });
  } finally {
    model.observer = undefined;
  }
  const [missing] = wanted;
  if (missing !== undefined) {
    throw new EngineError(`calibration: ${missing} receives no input in a forward pass`, "exclude it");
  }
  return groups.map(({ of: _, ...group }, i) => ({ ...group, isLast: groups[i + 1]?.step !== group.step }));
}
