// What the architectures contribute to a GGUF file: its architecture in llama.cpp, metadata, and where each tensor of
// the file comes from. The tables of tensors are those with which files are imported (hub/gguf/family.ts).

import type { Entries } from "../../../hub/gguf/entries.ts";
import type { ModelTensor } from "../../../hub/gguf/family.ts";
import type { WrittenTensor } from "../../../hub/gguf/write.ts";
import { EngineError } from "../../engine/core/errors.ts";

/** A model as llama.cpp knows it. */
export interface GgufPlan {
  /** general.architecture */
  architecture: string;
  /** metadata of the architecture, without its name in front of the keys */
  metadata: Entries;
  /** the tensors of the model. Names in the model folder have the prefix with which transformers writes them */
  tensors: readonly ModelTensor[];
  /** that prefix */
  prefix: string;
  /** tensors that are no parameters */
  others?: readonly WrittenTensor[];
}

/** Name and types of the tensors that llama.cpp needs in float32 although they are matrices. */
export const ALWAYS_F32: ReadonlySet<string> = new Set(["position_embd.weight"]);

/** The error that llama.cpp does not compute what a model needs. @param what a clause, e.g. `llama.cpp has no …` */
export function notInLlamaCpp(
  what: string,
  remedy = "export with --to dense or --to onnx, and use the result without llama.cpp",
): EngineError {
  return new EngineError(what, remedy);
}
