// What bench/llama.ts asks of a phase, ours or transformers', and what a phase answers.

import type { EngineName } from "../../workbench/engine/core/types.ts";

/** A request. The Python peer reads the same fields, apart from `engine` and `scratch`. */
export interface PhaseRequest {
  phase: "parity" | "evaluate" | "train" | "generate";
  /** model folder */
  folder: string;
  engine: EngineName;
  threads: number;
  /** windows of token ids, inputs and one more token each */
  windows: number[][];
  /** windows of a forward pass or a training step */
  batch: number;
  /** training steps, or repetitions of the generation */
  steps: number;
  /** ids that generation begins with, and the number of tokens to generate */
  prompt: number[];
  tokens: number;
  /** for parity: texts as token ids, and the file with transformers' logits of them, float32 */
  texts: number[][];
  logits: string;
  /** a scratch folder */
  scratch: string;
}

/** An answer. Each phase has its own fields. */
export interface PhaseAnswer {
  /** of the library that computed */
  version: string;
  /** peak memory of the process, bytes */
  peakBytes: number;
  /** seconds per window of each batch or step, or per token of each repetition */
  seconds?: number[];
  losses?: number[];
  /** mean negative log-likelihood of the windows */
  nll?: number;
  /** generated ids */
  greedy?: number[];
  /** largest relative error of the logits of a text, ours against transformers' */
  logitError?: number;
}
