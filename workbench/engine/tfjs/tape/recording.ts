// The gradient tape that tfjs-core records, taken out of its hands: recorded here, walked in backward.ts, freed by both.
// The engine's fields used are private to TypeScript, public in JavaScript, and those of tfjs-core 4.22.

import { engine, type NamedTensorMap, type Tensor, tidy } from "@tensorflow/tfjs-core";
import { EngineError } from "../../core/errors.ts";

/** One operation: what went in, what came out, and what it kept for its gradient. */
export interface TapeNode {
  id: number;
  kernelName: string;
  inputs: NamedTensorMap;
  outputs: Tensor[];
  /** clones under `keep`: nobody's but the tape's to dispose */
  saved?: Tensor[];
  /** one gradient an output, null where there is none → a thunk an input */
  gradient?: (dys: (Tensor | null)[]) => Record<string, () => Tensor>;
}

interface RecorderState {
  activeTape: TapeNode[] | null;
  gradientDepth: number;
}

const recorder = () => (engine() as unknown as { state: RecorderState }).state;

/**
 * Runs `f` with a tape of its own; intermediate tensors that no gradient needs are disposed. When `f` throws, so is all
 * that was saved.
 * @throws EngineError within another recording: gradients of gradients are tfjs's own business
 */
export function record<T extends Tensor>(f: () => T): { value: T; tape: TapeNode[] } {
  const state = recorder();
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

/** What a node kept; harmless when it is freed already. */
export function freeSaved(node: TapeNode): void {
  for (const tensor of node.saved ?? []) tensor.dispose();
}

/** An operation that fails after it saved is not on the tape, but the clones that it saved are, each as a node. */
function freeUnfinished(tape: readonly TapeNode[]): void {
  for (const node of tape) {
    freeSaved(node);
    const [clone] = node.outputs;
    const isSaved = clone?.kept && clone.dataId === node.inputs.x?.dataId;
    if (isSaved) clone.dispose();
  }
}
