// Exports language models as GGUF files, the format of llama.cpp (docs/gguf.md). The public surface of this folder.

import type { Entries } from "../../../hub/gguf/entries.ts";
import { type WriteGgufEvent, writeGguf } from "../../../hub/gguf/write.ts";
import { ARCHITECTURES, type FileType, type Model } from "../../models/index.ts";
import { generalEntries } from "./general.ts";
import { gpt2Plan } from "./gpt2.ts";
import { llamaPlan } from "./llama.ts";
import { type GgufPlan, notInLlamaCpp } from "./plan.ts";
import { writtenTensors } from "./tensors.ts";
import { tokenizerEntries } from "./tokenizer.ts";

/** The architectures that llama.cpp has, by type. */
const PLANS: Readonly<Record<string, (model: Model<never>) => GgufPlan>> = { gpt2: gpt2Plan, llama: llamaPlan };

/** Options of `exportGguf`. */
export interface GgufOptions {
  /** folder of the model, with tokenizer.json and the other files of the tokenizer */
  folder: string;
  /** name of the model in the file */
  name: string;
  /** number type of matrices; vectors are float32. Default `float32` */
  dtype?: FileType;
}

/**
 * Writes a model as a GGUF file. Structured layers become the matrices that they apply in evaluation, one at a time. If
 * the file cannot be written whole, an old file stays.
 * @param file path of the file, whose folder is created
 * @throws EngineError for an architecture or a setting that llama.cpp does not have
 * @throws DataError for a tokenizer that llama.cpp does not have, or none
 * @throws GgufError when the file cannot be written, or a value is too large for float16
 */
export async function* exportGguf<Config>(
  model: Model<Config>,
  file: string,
  { folder, name, dtype = "float32" }: GgufOptions,
): AsyncGenerator<WriteGgufEvent> {
  const plan = planOf(model);
  const tensors = writtenTensors(model, plan, { dtype, file });
  const size = tensors.reduce((sum, { shape }) => sum + shape.reduce((product, side) => product * side, 1), 0);
  const [{ shape: [rows] = [0] } = { shape: [0] }] = tensors;
  const { architecture } = plan;
  const metadata = {
    ...(await generalEntries(folder, { architecture, name, dtype, size })),
    ...prefixed(architecture, plan.metadata),
    ...(await tokenizerEntries(folder, model.json, rows as number)),
  };
  const { mode } = model.masks;
  // Blocks of one sample take part in training but not in evaluation.
  model.masks.mode = "eval";
  try {
    yield* writeGguf(file, { metadata, tensors });
  } finally {
    if (mode === undefined) delete model.masks.mode;
    else model.masks.mode = mode;
  }
}

/** @throws EngineError if llama.cpp does not have the architecture */
function planOf<Config>(model: Model<Config>): GgufPlan {
  const { type } = model.architecture;
  const plan = Object.hasOwn(PLANS, type) ? PLANS[type] : undefined;
  if (plan) return plan(model as unknown as Model<never>);
  const known = ARCHITECTURES.filter((each) => Object.hasOwn(PLANS, each.type)).map((each) => each.type);
  throw notInLlamaCpp(`GGUF files hold models of ${known.join(" and ")}; this is ${type}`);
}

const prefixed = (architecture: string, entries: Entries): Entries =>
  Object.fromEntries(Object.entries(entries).map(([key, entry]) => [`${architecture}.${key}`, entry]));
