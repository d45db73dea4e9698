// Walks a tape from its last node to its first and frees as it goes: a node's saved tensors and the gradient of its
// outputs are gone once its inputs' gradients are there. tfjs's own walk keeps all of them until its end.

import { add, engine, type Tensor, tidy } from "@tensorflow/tfjs-core";
import { EngineError } from "../../core/errors.ts";
import { freeSaved, type TapeNode } from "./recording.ts";

/** Gradients by tensor id. Each tensor in it is the map's own. */
export type GradientMap = Map<number, Tensor>;

/**
 * Adds to `gradients` those of `sources`, starting from those of the tape's outputs that it holds, which are used up.
 * The sums are made in tfjs's order, so they are the same numbers. Frees all that the tape saved.
 * @throws EngineError when an operation on the way has no gradient
 */
export function walkBackward(
  tape: readonly TapeNode[],
  { gradients, sources, target }: { gradients: GradientMap; sources: readonly Tensor[]; target: Tensor },
): void {
  try {
    const between = nodesBetween(tape, sources, target);
    for (const node of tape) if (!between.has(node)) freeSaved(node);
    for (let at = tape.length - 1; at >= 0; at--) {
      const node = tape[at] as TapeNode;
      const inputs = between.get(node);
      if (inputs) passBack(node, inputs, gradients);
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

function passBack(node: TapeNode, inputs: readonly string[], gradients: GradientMap): void {
  const dys = node.outputs.map(({ id }) => gradients.get(id) ?? null);
  const found = tidy(() => inputGradients(node, inputs, dys));
  freeSaved(node);
  for (const { id } of node.outputs) {
    gradients.get(id)?.dispose();
    gradients.delete(id);
  }
  inputs.forEach((name, i) => {
    accumulate(gradients, (node.inputs[name] as Tensor).id, found[i] as Tensor);
  });
}

function inputGradients(node: TapeNode, inputs: readonly string[], dys: (Tensor | null)[]): Tensor[] {
  const { kernelName, gradient } = node;
  if (!gradient) throw new EngineError(`operation "${kernelName}" has no gradient`, "use one that has");
  const before = newestId();
  const thunks = gradient(dys);
  const seen = new Set<number>();
  return inputs.map((name) => {
    const thunk = thunks[name];
    if (!thunk) throw new EngineError(`operation "${kernelName}" has no gradient for its ${name}`, "use one that has");
    const made = tidy(thunk);
    expectLike(node, name, made);
    // A gradient that is someone else's tensor, such as dy itself, must outlive it: the map holds none but its own.
    const own = made.id > before && !seen.has(made.id);
    seen.add(made.id);
    return own ? made : made.clone();
  });
}

/** Tensors made from here on have larger ids. TypeScript has the counter as private. */
const newestId = (): number => (engine() as unknown as { nextTensorId(): number }).nextTensorId();

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
