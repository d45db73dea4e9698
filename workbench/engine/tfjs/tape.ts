// Computes the value of a loss and its gradients like tf.variableGrads, but in less memory. Tensors of the forward and
// the backward pass are freed as soon as they have been used, whereas TensorFlow.js keeps all of them until the end.
// For this purpose the gradient tape is recorded and traversed here, with the private state in internals.ts.

import {
  add,
  keep,
  onesLike,
  type Scalar,
  type Tensor,
  type Tensor2D,
  tidy,
  type Variable,
} from "@tensorflow/tfjs-core";
import { EngineError, ShapeError } from "../core/errors.ts";
import { type GradientThunk, recorderState, type TapeNode, takeTensorId } from "./internals.ts";

interface ValueAndGradients {
  /** value of the loss, a float32 scalar */
  value: Scalar;
  /** gradient of each variable on which the loss depends, in its shape; other variables have no entry */
  gradients: Map<Variable, Tensor>;
}

interface GradientOptions {
  /**
   * Gradients to add to, such as those of an earlier micro-batch. This avoids a second set of gradients in memory. They
   * are disposed of, also if an error is thrown.
   */
  onto?: Map<Variable, Tensor>;
  /**
   * Takes over each gradient as soon as it is complete, while those of earlier operations are still to be computed. Such
   * gradients are not returned. With `through`, all are complete only at the end.
   */
  take?: ((variable: Variable, gradient: Tensor) => void) | undefined;
  /**
   * Variables that are computed from others outside the loss, such as a merged weight, each with the chain rule to those
   * others. Their gradients are passed on as soon as they are computed, and are not returned.
   */
  through?: ReadonlyMap<Variable, PassOn>;
}

/** Gradients of some variables. */
export type Parts = [Variable, Tensor][];

/** The gradients of the variables from which a variable was computed, as new tensors. */
export interface PassOn {
  /** @param gradient of the computed variable */
  whole(gradient: Tensor): Parts;
  /** The same for a matrix whose gradient is leftᵀ right, from both factors. Default: `whole` of their product */
  product?: ((left: Tensor2D, right: Tensor2D) => Parts) | undefined;
}

/**
 * Computes a loss and its gradients with respect to variables. The numbers are bit-identical to those of
 * tf.variableGrads. The caller disposes of the returned tensors. Variables that are not trainable are ignored.
 * @param loss returns a float32 scalar
 * @throws ShapeError when the loss is something else; EngineError when it depends on none of the variables
 */
export function valueAndGradients(
  loss: () => Scalar,
  variables: readonly Variable[],
  { onto = new Map(), through = new Map(), take }: GradientOptions = {},
): ValueAndGradients {
  const given = variables.filter(({ trainable }) => trainable);
  const wanted = [...new Set([...given, ...onto.keys()])];
  const sources = [...given, ...through.keys()];
  try {
    const complete = new Map<Variable, Tensor | undefined>();
    const [value, ...found] = tidy("valueAndGradients", () => {
      const recorded = record(() => scalarOf(loss(), sources));
      const gradients: GradientMap = new Map([[recorded.value.id, onesLike(recorded.value)]]);
      const finish = (variable: Variable) => {
        const sum = summed(onto.get(variable), gradients.get(variable.id));
        if (!sum) return;
        gradients.delete(variable.id);
        if (take) take(variable, keep(sum));
        complete.set(variable, take ? undefined : sum);
      };
      const early = through.size > 0 ? [] : given;
      walkBackward(recorded.tape, { gradients, sources, target: recorded.value, through, early, finish });
      for (const variable of wanted) if (!complete.has(variable)) finish(variable);
      return [recorded.value, ...returned(complete, wanted).map(([, gradient]) => gradient)];
    }) as [Scalar, ...Tensor[]];
    if (complete.size > 0) {
      const names = returned(complete, wanted).map(([variable]) => variable);
      return { value, gradients: new Map(names.map((variable, i) => [variable, found[i] as Tensor])) };
    }
    value.dispose();
    throw new EngineError("the loss depends on no trainable variable", "compute it from the variables in the function");
  } catch (error) {
    for (const gradient of onto.values()) gradient.dispose();
    throw error;
  }
}

/** The gradients that were not taken, in the order of `wanted`. */
const returned = (
  complete: ReadonlyMap<Variable, Tensor | undefined>,
  wanted: readonly Variable[],
): [Variable, Tensor][] =>
  wanted.flatMap((variable): [Variable, Tensor][] => {
    const gradient = complete.get(variable);
    return gradient ? [[variable, gradient]] : [];
  });

/**
 * The gradient of earlier micro-batches plus that of this one, which is summed for itself before: so the processes of a
 * run, which sum theirs first, come to the same numbers. Uses up both.
 */
function summed(before: Tensor | undefined, own: Tensor | undefined): Tensor | undefined {
  if (!before || !own) return before ?? own;
  const sum = add(before, own);
  before.dispose();
  own.dispose();
  return sum;
}

/** The loss as a tensor that the caller may dispose of, also if it is one of the variables. */
function scalarOf(loss: Tensor, sources: readonly Variable[]): Scalar {
  if (loss.rank !== 0 || loss.dtype !== "float32") {
    throw new ShapeError(`valueAndGradients: loss must be float32 (), got ${loss.dtype} (${loss.shape.join(", ")})`);
  }
  return (sources.some(({ id }) => id === loss.id) ? loss.clone() : loss) as Scalar;
}

/**
 * Runs `f` with a tape of its own and disposes of intermediate tensors that no gradient needs. If `f` throws, saved
 * tensors are disposed of as well.
 * @throws EngineError within another recording, because gradients of gradients are not supported here
 */
function record<T extends Tensor>(f: () => T): { value: T; tape: TapeNode[] } {
  const state = recorderState();
  if (state.gradientDepth > 0) {
    throw new EngineError("gradients of gradients cannot be freed as they go", "use tf.grads for these");
  }
  const outer = state.activeTape;
  const tape: TapeNode[] = [];
  state.activeTape = tape;
  state.gradientDepth = 1;
  try {
    return { value: tidy("forward", f), tape };
  } catch (error) {
    freeUnfinished(tape);
    throw error;
  } finally {
    state.gradientDepth = 0;
    state.activeTape = outer;
  }
}

/** Frees the tensors that a node saved. Does nothing if they are freed already. */
function freeSaved(node: TapeNode): void {
  for (const tensor of node.saved ?? []) tensor.dispose();
}

/**
 * Frees the saved tensors of a tape whose recording failed. The operation that failed has no node, but each clone that
 * it saved is on the tape as a node.
 */
function freeUnfinished(tape: readonly TapeNode[]): void {
  for (const node of tape) {
    freeSaved(node);
    const [clone] = node.outputs;
    const isSaved = clone?.kept && clone.dataId === node.inputs.x?.dataId;
    if (isSaved) clone.dispose();
  }
}

/** Gradients by tensor id. The map owns its tensors. */
type GradientMap = Map<number, Tensor>;

interface Walk {
  gradients: GradientMap;
  sources: readonly Tensor[];
  target: Tensor;
  through: ReadonlyMap<Variable, PassOn>;
  /** variables for which `finish` is called when the last operation that uses them has been passed */
  early: readonly Variable[];
  finish: (variable: Variable) => void;
}

/** The chain rules of computed variables, by tensor id. */
type Passed = ReadonlyMap<number, PassOn>;

/**
 * Traverses the tape from its last node to its first and adds the gradients of `sources` to `gradients`, which contains
 * the gradient of the target at the start. Gradients are summed in the same order as by TensorFlow.js, so the numbers
 * are the same. A node's saved tensors and the gradient of its outputs are freed as soon as the gradients of its inputs
 * are computed.
 * @throws EngineError when an operation between the sources and the target has no gradient
 */
function walkBackward(tape: readonly TapeNode[], { gradients, sources, target, through, early, finish }: Walk): void {
  const passed = new Map(Array.from(through, ([{ id }, passOn]) => [id, passOn]));
  try {
    const between = nodesBetween(tape, sources, target);
    for (const node of tape) if (!between.has(node)) freeSaved(node);
    const uses = new Uses(between, early);
    for (let at = tape.length - 1; at >= 0; at--) {
      const node = tape[at] as TapeNode;
      const inputs = between.get(node);
      if (!inputs) continue;
      passBack(node, inputs, { gradients, passed });
      for (const variable of uses.lastOf(node, inputs)) finish(variable);
    }
  } finally {
    tape.forEach(freeSaved);
  }
}

/** The nodes that lead from a source to the target, each with the names of its inputs that depend on a source. */
function nodesBetween(tape: readonly TapeNode[], sources: readonly Tensor[], target: Tensor): Map<TapeNode, string[]> {
  const fromSource = new Set(sources.map(({ id }) => id));
  const reached = new Map<TapeNode, string[]>();
  for (const node of tape) {
    const names = Object.keys(node.inputs).filter((name) => fromSource.has(node.inputs[name]?.id as number));
    if (names.length === 0) continue;
    reached.set(node, names);
    for (const { id } of node.outputs) fromSource.add(id);
  }
  const toTarget = new Set([target.id]);
  for (const node of [...tape].reverse()) {
    if (!node.outputs.some(({ id }) => toTarget.has(id))) reached.delete(node);
    else for (const input of Object.values(node.inputs)) if (input) toTarget.add(input.id);
  }
  return reached;
}

/** How many operations that lead to the target use each of some variables. */
class Uses {
  private readonly left = new Map<number, { variable: Variable; uses: number }>();

  constructor(between: ReadonlyMap<TapeNode, readonly string[]>, variables: readonly Variable[]) {
    for (const variable of variables) this.left.set(variable.id, { variable, uses: 0 });
    for (const [node, names] of between) for (const each of this.among(node, names)) each.uses++;
  }

  /** The variables that no operation before this one uses. Each operation is counted once, from the last to the first. */
  lastOf(node: TapeNode, names: readonly string[]): Variable[] {
    return this.among(node, names).flatMap((each) => (--each.uses === 0 ? [each.variable] : []));
  }

  private among(node: TapeNode, names: readonly string[]): { variable: Variable; uses: number }[] {
    return names.flatMap((name) => this.left.get((node.inputs[name] as Tensor).id) ?? []);
  }
}

function passBack(
  node: TapeNode,
  inputs: readonly string[],
  { gradients, passed }: { gradients: GradientMap; passed: Passed },
): void {
  const dys = node.outputs.map(({ id }) => gradients.get(id) ?? null);
  const found = tidy(() => inputGradients(node, inputs, { dys, passed }));
  freeSaved(node);
  for (const { id } of node.outputs) {
    gradients.get(id)?.dispose();
    gradients.delete(id);
  }
  for (const [id, gradient] of found) accumulate(gradients, id, gradient);
}

/**
 * The gradients of a node's inputs by tensor id. For an input in `passed`, they are the gradients of the variables from
 * which it was computed.
 */
function inputGradients(
  node: TapeNode,
  inputs: readonly string[],
  { dys, passed }: { dys: (Tensor | null)[]; passed: Passed },
): [id: number, gradient: Tensor][] {
  const { kernelName, gradient } = node;
  if (!gradient) throw new EngineError(`operation "${kernelName}" has no gradient`, "use one that has");
  const before = takeTensorId();
  const thunks = neededBy(inputs, () => gradient(dys));
  const seen = new Set<number>();
  return inputs.flatMap((name): [number, Tensor][] => {
    const thunk = thunks[name];
    if (!thunk) throw new EngineError(`operation "${kernelName}" has no gradient for its ${name}`, "use one that has");
    const { id } = node.inputs[name] as Tensor;
    const passOn = passed.get(id);
    if (passOn) return partsOf(node, name, { thunk, passOn });
    const made = tidy(thunk);
    expectLike(node, name, made);
    // The map owns its tensors, so a gradient with another owner, such as dy itself, is cloned.
    const own = made.id > before && !seen.has(made.id);
    seen.add(made.id);
    return [[id, own ? made : made.clone()]];
  });
}

/** The inputs whose gradients are computed of the present node; undefined outside `valueAndGradients`. */
let needed: readonly string[] | undefined;

/** Whether the gradient of an input of the present node is computed. tf.grads and its like do not tell; then it is. */
export const isNeeded = (input: string): boolean => needed?.includes(input) ?? true;

function neededBy<T>(inputs: readonly string[], f: () => T): T {
  needed = inputs;
  try {
    return f();
  } finally {
    needed = undefined;
  }
}

/** The gradients of the variables from which an input of a node was computed, by tensor id. */
function partsOf(
  node: TapeNode,
  name: string,
  { thunk, passOn }: { thunk: GradientThunk; passOn: PassOn },
): [number, Tensor][] {
  const parts = tidy((): Parts => {
    const { product } = passOn;
    if (thunk.product && product) return thunk.product(product);
    const made = thunk();
    expectLike(node, name, made);
    return passOn.whole(made);
  });
  return parts.map(([{ id }, part]) => [id, part]);
}

function expectLike({ kernelName, inputs }: TapeNode, name: string, made: Tensor): void {
  const { shape } = inputs[name] as Tensor;
  if (made.dtype === "float32" && made.shape.join() === shape.join()) return;
  throw new EngineError(
    `operation "${kernelName}" has a gradient ${made.dtype} (${made.shape.join(", ")}) for its ${name} float32 (${shape.join(", ")})`,
    "correct that gradient",
  );
}

function accumulate(gradients: GradientMap, id: number, more: Tensor): void {
  const sofar = gradients.get(id);
  if (!sofar) {
    gradients.set(id, more);
    return;
  }
  gradients.set(id, add(sofar, more));
  sofar.dispose();
  more.dispose();
}
